"""Nothing is ever half written, and nothing that was there is lost."""

import errno
import json
import os

import pytest

from unbraid.core import runs
from unbraid.core.errors import DataError, RunError, StorageError

FULL = OSError(errno.ENOSPC, "No space left on device")


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _refuse(monkeypatch, name, error=FULL):
    def refuses(*args, **kwargs):
        raise error

    monkeypatch.setattr(os, name, refuses)


def test_json_goes_and_comes(tmp_path):
    path = tmp_path / "deep" / "a.json"
    runs.write_json(path, {"n": 1, "name": "é"})
    assert runs.read_json(path) == {"n": 1, "name": "é"}
    assert _names(path.parent) == ["a.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_json_cannot_say_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    runs.write_json(path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        runs.write_json(path, float("nan"))
    assert runs.read_json(path) == 1


@pytest.mark.parametrize("refused", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, refused):
    path = tmp_path / "a.txt"
    runs.write_text(path, "old")
    _refuse(monkeypatch, refused)
    with pytest.raises(StorageError, match=r"a\.txt must be writable; .*No space left.* Free some space"):
        runs.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_a_read_only_place_says_so(tmp_path, monkeypatch):
    _refuse(monkeypatch, "fsync", OSError(errno.EROFS, "Read-only file system"))
    with pytest.raises(StorageError, match=r"Read-only file system\. Choose a folder"):
        runs.write_text(tmp_path / "a.txt", "new")


def test_an_error_without_a_number_still_says_what_happened(tmp_path):
    with pytest.raises(StorageError, match="800 requested and 12 written"), runs.new_folder(tmp_path / "a"):
        raise OSError("800 requested and 12 written")


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(RunError, match=r"no\.json must exist"):
        runs.read_json(tmp_path / "no.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(RunError, match=r"half\.json must be JSON"):
        runs.read_json(tmp_path / "half.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bytes\.json must be JSON; .* Ask again\."):
        runs.read_json(tmp_path / "bytes.json", error=DataError, remedy="Ask again.")
    with pytest.raises(RunError, match="must be readable"):
        runs.read_json(tmp_path)


@pytest.mark.parametrize(
    ("new", "write"),
    [
        (runs.new_folder, lambda temporary: (temporary / "x").write_text("x")),
        (runs.new_file, lambda temporary: temporary.write_text("x")),
    ],
)
class TestNew:
    """`new_folder` and `new_file` keep the same promise."""

    def test_it_appears_whole(self, tmp_path, new, write):
        with new(tmp_path / "deep" / "a") as temporary:
            write(temporary)
            assert not (tmp_path / "deep" / "a").exists()
        assert _names(tmp_path / "deep") == ["a"]

    def test_an_exception_leaves_nothing(self, tmp_path, new, write):
        def interrupted() -> None:
            with new(tmp_path / "a") as temporary:
                write(temporary)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert _names(tmp_path) == []

    def test_what_exists_is_refused_and_kept(self, tmp_path, new, write):
        with new(tmp_path / "a") as temporary:
            write(temporary)
        with pytest.raises(RunError, match="must not exist yet; it does"), new(tmp_path / "a"):
            pass

        def overtaken() -> None:
            with new(tmp_path / "b") as temporary:
                write(temporary)
                (tmp_path / "b").write_text("somebody was faster")

        with pytest.raises(RunError, match="must not exist yet"):
            overtaken()
        assert _names(tmp_path) == ["a", "b"]
        assert (tmp_path / "b").read_text() == "somebody was faster"

    def test_a_full_disk_leaves_nothing(self, tmp_path, monkeypatch, new, write):
        _refuse(monkeypatch, "rename")
        with pytest.raises(StorageError, match="Nothing that existed before was changed"), new(tmp_path / "a") as t:
            write(t)
        assert _names(tmp_path) == []


def test_a_run_says_what_was_asked(tmp_path):
    asked = runs.provenance(seed=3, data_fingerprint="ab")
    run = runs.create_run(tmp_path / "run", asked)
    assert runs.open_run(run) == {"format": "unbraid-run", "version": 1, **asked}
    assert asked["seed"] == 3
    assert asked["versions"]["numpy"]
    text = (run / "run.json").read_text()
    assert os.uname().nodename not in text
    assert str(tmp_path) not in text
    with pytest.raises(RunError, match="must not exist yet"):
        runs.create_run(tmp_path / "run", asked)


def test_what_can_go_on_is_not_to_be_removed(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(
        RunError, match=r"it does\. The same command with --resume goes on with it and keeps what is done"
    ):
        runs.refuse_existing(tmp_path, resumed_by="run.json")
    for name in (None, "sweep.json"):
        with pytest.raises(RunError, match=r"it does\. Name another one, or remove that one first\.$"):
            runs.refuse_existing(tmp_path, resumed_by=name)


def test_settings_that_differ_are_told_old_and_new():
    old = {"config": {"n": 1, "same": (1, 2), "name": "a", "gone": 0}, "seed": 0}
    new = {"config": {"n": 2, "same": [1, 2], "name": "b" * 50, "more": [True, None]}, "seed": 0}
    told = runs.differences(old, new)
    assert told == f"n 1 -> 2, name a -> {'b' * 40}..., gone 0 -> nothing, more nothing -> [true, null]"
    assert runs.differences(old, old) == ""


def test_of_two_methods_only_the_method_is_told_to_differ():
    old = {"config": {"method": "unbraid", "n": 1, "gone": 0}, "seed": 0}
    new = {"config": {"method": "talk", "n": 2, "more": 0}, "seed": 1}
    assert runs.differences(old, new) == "method unbraid -> talk, seed 0 -> 1"


def test_opening_what_is_no_run_says_so(tmp_path):
    with pytest.raises(RunError, match="must be a run's folder"):
        runs.open_run(tmp_path / "no")
    with pytest.raises(RunError, match=r"run\.json must exist"):
        runs.open_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(RunError, match="must be written by unbraid"):
        runs.open_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"format": "unbraid-run", "version": 2}))
    with pytest.raises(RunError, match="must have version 1; it has 2"):
        runs.open_run(tmp_path)


def test_places_are_seen_to_before_the_work_and_nothing_is_touched(tmp_path):
    (tmp_path / "notes").write_text("hello")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    runs.require_free(tmp_path / "a.json", tmp_path / "deep" / "er" / "b.json", tmp_path / "deep" / "er" / "c")
    for path in (tmp_path / "notes" / "a.json", tmp_path / "notes" / "deep" / "a.json", tmp_path / "lost" / "a.json"):
        with pytest.raises(
            StorageError, match=r"a\.json must be writable; the system said: .* is not a folder\. Name another place\."
        ):
            runs.require_free(path)
    with pytest.raises(StorageError, match=r"must be writable; the system said: .*too long\. Name another place"):
        runs.require_free(tmp_path / ("x" * 300))
    with pytest.raises(RunError, match="must not exist yet"):
        runs.require_free(tmp_path / "a.json", tmp_path / "notes")
    for one, other in (("a", "a"), ("a", "a/b"), ("a/b", "a")):
        with pytest.raises(RunError, match=f"{other} must be a place of its own; .*/{one} is asked for, too"):
            runs.require_free(tmp_path / one, tmp_path / other)
    assert _names(tmp_path) == ["lost", "notes"]


def test_a_place_that_may_not_be_written_to_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StorageError, match=r"Permission denied\. Choose a folder"):
        runs.require_free(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "model", "demonstrations"),
    [
        ("run.json", "is a run whose fit is not finished: repeat it with --resume.", "that it was fitted on."),
        ("sweep.json", "is a sweep: its runs are the folders in ", "is a sweep: its runs are the folders in "),
        ("demos.json", "--out RUN` makes a run of it.", "--out RUN` makes a run of it."),
        ("other.json", "", ""),
    ],
)
def test_a_folder_of_another_kind_is_told_by_what_it_holds(tmp_path, name, model, demonstrations):
    (tmp_path / name).write_text("{}")
    assert model in (told := runs.kind_of_folder(tmp_path, wanted="model"))
    assert demonstrations in runs.kind_of_folder(tmp_path, wanted="demonstrations")
    assert bool(told) == bool(model)
