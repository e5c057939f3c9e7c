"""A run's folder after work that did not finish: gone, or kept where there is something to go on from."""

import pytest

from unbraid.core.errors import StorageError
from unbraid.pipeline.unfinished import removed_unless, resumed_from, stopping_with


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "beside").write_text("somebody else's")
    return tmp_path / "run"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_failed_is_removed_and_the_failure_goes_on(run, failure):
    with pytest.raises(failure), removed_unless(lambda: False, run):
        raise failure
    assert not run.exists()
    assert (run.parent / "beside").exists()


def test_what_is_worth_keeping_is_asked_after_the_failure(run):
    @removed_unless((run / "results.json").exists, run)
    def work():
        (run / "results.json").write_text("{}")
        raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        work()
    assert (run / "results.json").exists()


def test_a_full_disk_says_how_to_go_on_where_something_is_kept():
    told = r"^Free some space\. What was fitted is kept: .* with --resume goes on"
    with pytest.raises(StorageError, match=told), resumed_from(lambda: True):
        raise StorageError("Free some space.")
    with pytest.raises(StorageError, match=r"^Free some space\.$"), resumed_from(lambda: False):
        raise StorageError("Free some space.")


def test_what_is_done_stays(run):
    with removed_unless(lambda: False, run):
        pass
    assert (run / "run.json").exists()


def test_a_folder_that_is_gone_already_is_no_fault(tmp_path):
    with pytest.raises(ValueError, match="first"), removed_unless(lambda: False, tmp_path / "run"):
        raise ValueError("first")


def test_ctrl_c_says_what_this_stage_says():
    with pytest.raises(KeyboardInterrupt, match="all is kept"), stopping_with("all is kept"):
        raise KeyboardInterrupt("something else")
    with pytest.raises(ValueError, match="not mine"), stopping_with("all is kept"):
        raise ValueError("not mine")
