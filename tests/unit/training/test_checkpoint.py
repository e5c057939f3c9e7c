"""Checkpoints: whole or not at all, the newest two, and refused where they don't fit."""

import errno
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from unbraid.core.errors import ModelError, RunError, StorageError
from unbraid.training.checkpoint import latest_checkpoint, load_checkpoint, model_in_checkpoint, save_checkpoint
from unbraid.training.fit import fit, learner_for
from unbraid.training.joint import UnbraidLearner
from unbraid.training.loop import LoopOptions


def kept(folder):
    return sorted(path.name for path in folder.iterdir())


def metrics_of(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "samples_per_s"} for line in lines]


@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_a_learner_comes_back_as_it_was(demos, tiny, same_weights, tmp_path, method):
    first, second = (learner_for(demos, tiny(method)) for _ in range(2))
    for _ in range(7):
        first.step()
    beside = {"n": torch.tensor(3)}
    path = save_checkpoint(first, tmp_path, {"config": 1}, beside)
    assert path.name == "step_0000007"
    assert load_checkpoint(second, path, {"config": 1}) == beside
    assert second.taken == 7
    for _ in range(9):
        assert {n: float(v) for n, v in first.step().items()} == {n: float(v) for n, v in second.step().items()}
    assert same_weights(first.model, second.model)


def test_responsibilities_come_back_too(demos, tiny, tmp_path):
    """They are what the modes are: a search that finds others elsewhere must not have a say."""
    first, second = (learner_for(demos, tiny("unbraid")).first for _ in range(2))
    first.step()
    path = save_checkpoint(first, tmp_path, {}, {})
    second.responsibilities = second.responsibilities.flip(1)
    load_checkpoint(second, path, {})
    assert torch.equal(first.responsibilities, second.responsibilities)


@pytest.mark.parametrize("method", ["talk", "unbraid", "unbraid, clipped", "unbraid, tanh", "unbraid, components"])
@pytest.mark.parametrize("stop_after", [1, 7, 10])
def test_a_fit_that_stops_anywhere_ends_where_an_unbroken_one_does(
    demos, clipped, tiny, same_weights, fit_in_two, tmp_path, method, stop_after
):
    """Bit for bit, metrics too, wherever it stopped between two lines of them."""
    if method == "unbraid, clipped":
        demos = clipped(demos)
    asked = {"unbraid, tanh": {"policy_head": "tanh"}, "unbraid, components": {"observation_components": 2}}
    config = tiny(method.split(",")[0], **asked.get(method, {}))
    unbroken = fit(demos, config, LoopOptions(run=tmp_path / "unbroken", log_every=4, checkpoint_every=stop_after))
    stopped = LoopOptions(run=tmp_path / "stopped", log_every=4, checkpoint_every=stop_after)
    went_on = fit_in_two(demos, config, stopped, stop_after)
    assert same_weights(unbroken, went_on)
    assert metrics_of(tmp_path / "unbroken") == metrics_of(tmp_path / "stopped")
    assert [line["step"] for line in metrics_of(tmp_path / "stopped")] == [4, 8, 12, 16, 20]


@pytest.mark.parametrize("sharing", ["episode", "changing"])
def test_a_resume_does_not_search_again(demos, tiny, same_weights, fit_in_two, tmp_path, monkeypatch, sharing):
    config = tiny("unbraid", sharing=sharing, calibration="left_out")
    whole, searched = fit(demos, config), []
    search = UnbraidLearner._searched

    def counted(*given):
        searched.append(given)
        return search(*given)

    monkeypatch.setattr(UnbraidLearner, "_searched", counted)
    options = LoopOptions(run=tmp_path, log_every=4, checkpoint_every=4)
    in_two = fit_in_two(demos, config, options, 8)
    assert len(searched) == 1
    assert same_weights(whole, in_two)
    assert in_two.search == whole.search


def test_a_checkpoint_of_before_it_kept_its_search_is_resumed_too(demos, tiny, same_weights, tmp_path):
    config, run = tiny("unbraid", calibration="left_out"), tmp_path / "run"
    whole = fit(demos, config, LoopOptions(run=run, log_every=4, checkpoint_every=8))
    for newest in sorted((run / "checkpoints").iterdir(), reverse=True)[:-1]:
        shutil.rmtree(newest)
    (older,) = (run / "checkpoints").iterdir()
    path = older / "state.safetensors"
    kept = {n: t for n, t in load_file(path).items() if not n.endswith(("search", "span_lengths"))}
    assert len(kept) == len(load_file(path)) - 4  # of the learner and its twin
    save_file(kept, path)
    assert same_weights(fit(demos, config, LoopOptions(run=run, resume=True)), whole)


def test_the_newest_two_are_kept_and_what_a_kill_half_wrote_goes(demos, tiny, tmp_path):
    learner = learner_for(demos, tiny("talk"))
    (tmp_path / ".step_0000001.abc.part").mkdir()
    for _ in range(4):
        learner.step()
        save_checkpoint(learner, tmp_path, {}, {})
    assert kept(tmp_path) == ["step_0000003", "step_0000004"]
    assert latest_checkpoint(tmp_path).name == "step_0000004"


def test_the_newest_is_by_number(tmp_path):
    for name in ("step_9999999", "step_10000000", "step_0000500", "steps", "step_x", "step_10000001_kept"):
        (tmp_path / name).mkdir()
    assert latest_checkpoint(tmp_path).name == "step_10000000"
    assert latest_checkpoint(tmp_path / "nothing") is None


@pytest.fixture
def begun(demos, tiny, tmp_path):
    """A run of the talk's method with checkpoints of steps 10 and 20."""
    fit(demos, tiny("talk"), LoopOptions(run=tmp_path, checkpoint_every=10))
    return tmp_path


def go_on(run, demos, config):
    return fit(demos, config, LoopOptions(run=run, checkpoint_every=10, resume=True))


def test_a_resume_with_other_settings_is_refused(begun, demos, tiny):
    with pytest.raises(
        ModelError, match=r"resumed with the config that it was made with; they differ: seed 0 -> 1\. Repeat the fir"
    ):
        go_on(begun, demos, tiny("talk", seed=1))


def test_a_resume_with_another_method_is_refused(begun, demos, tiny):
    with pytest.raises(ModelError, match=r"resumed with the config that it was made with"):
        go_on(begun, demos, tiny("unbraid"))


def test_a_resume_with_other_data_is_refused(begun, reflexes, tiny):
    with pytest.raises(
        ModelError, match=r"resumed with the data that it was made with; they differ: data \w+\.\.\. -> "
    ):
        go_on(begun, reflexes(seed=1), tiny("talk"))


def test_other_labels_are_no_other_data(begun, demos, tiny):
    go_on(begun, demos.without_labels(), tiny("talk"))


def test_a_new_fit_does_not_touch_anothers_checkpoints(begun, demos, tiny):
    before = (begun / "metrics.jsonl").read_text()
    with pytest.raises(
        RunError, match=r"checkpoints must hold no .*; it holds step_0000020\. Go on .* \(in Python, resume=True\), or"
    ):
        fit(demos, tiny("talk", seed=1), LoopOptions(run=begun))
    assert kept(begun / "checkpoints") == ["step_0000010", "step_0000020"]
    assert (begun / "metrics.jsonl").read_text() == before


def damage_weights(path):
    content = (path / "state.safetensors").read_bytes()
    (path / "state.safetensors").write_bytes(content[: len(content) // 2])


def damage_facts(path):
    (path / "state.json").write_text('{"format": "unbraid-che')


def lose_weights(path):
    (path / "state.safetensors").unlink()


def not_an_object(path):
    (path / "state.json").write_text("[1, 2]")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weights, r"step_0000020 must be a whole checkpoint; .*\. Remove it, to go on from an older one\."),
        (damage_facts, r"step_0000020 must be a whole checkpoint; .*\. Remove it"),
        (lose_weights, r"step_0000020 must be a whole checkpoint; .*\. Remove it"),
        (not_an_object, r"step_0000020 must have format unbraid-checkpoint, version 1; it has not"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_the_older_one_still_serves(
    begun, demos, tiny, same_weights, damage, message
):
    whole = go_on(begun, demos, tiny("talk"))
    newest = begun / "checkpoints" / "step_0000020"
    damage(newest)
    with pytest.raises(ModelError, match=message):
        go_on(begun, demos, tiny("talk"))
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    assert same_weights(go_on(begun, demos, tiny("talk")), whole)


def test_a_newer_version_is_refused(begun, demos, tiny):
    path = begun / "checkpoints" / "step_0000020" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(
        ModelError, match=r"must have format unbraid-checkpoint, version 1; it has not\. Use the unbraid"
    ):
        go_on(begun, demos, tiny("talk"))


def test_weights_of_another_size_are_refused(begun, demos, tiny):
    """Where nothing was asked of the resume, the sizes still are."""
    learner = learner_for(demos, tiny("talk", policy_hidden=(9,)))
    with pytest.raises(ModelError, match=r"must hold all that the fit needs; .*size mismatch.* Remove it"):
        load_checkpoint(learner, begun / "checkpoints" / "step_0000020", {})


def test_a_full_disk_stops_the_fit_and_older_checkpoints_survive(demos, tiny, tmp_path, monkeypatch, same_weights):
    config = tiny("talk")
    whole = fit(demos, config)
    fsync = os.fsync

    def full(handle):
        if "step_0000015" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"must be writable; the system said: No space left on device\. Free some"):
        fit(demos, config, LoopOptions(run=tmp_path, checkpoint_every=5))
    monkeypatch.undo()
    assert kept(tmp_path / "checkpoints") == ["step_0000005", "step_0000010"]
    assert same_weights(fit(demos, config, LoopOptions(run=tmp_path, resume=True)), whole)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_the_model_in_a_checkpoint_can_be_looked_at(demos, tiny, same_weights, clipped, tmp_path, method, bounded):
    if bounded:  # then the policy of unbraid's own is held between bounds, which are weights, too
        demos = clipped(demos)
    of_unbraid = {"n_modes": "auto", "observation_components": 2} if method == "unbraid" else {}
    config = tiny(method, **of_unbraid)
    fit(demos, config, LoopOptions(run=tmp_path, checkpoint_every=10))
    newest = latest_checkpoint(tmp_path / "checkpoints")
    found, learner = model_in_checkpoint(newest), learner_for(demos, config)
    load_checkpoint(learner, newest, {})
    assert same_weights(found, learner.model)
    assert not found.training
    assert (found.policy.low is not None) == (bounded and method == "unbraid")


@pytest.mark.parametrize("damage", ["weights", "facts", "gone"])
def test_a_checkpoint_without_a_model_to_look_at_is_said(begun, damage):
    path = latest_checkpoint(begun / "checkpoints")
    if damage == "gone":
        path = path.with_name("step_0000007")
    elif damage == "weights":
        damage_weights(path)
    else:
        facts = json.loads((path / "state.json").read_text())
        (path / "state.json").write_text(json.dumps(facts | {"asked": {}}))
    with pytest.raises(ModelError, match="must"):
        model_in_checkpoint(path)
