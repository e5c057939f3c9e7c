"""The learner with a twin: the first is what it is alone, and the twin sees nothing that is left out."""

import dataclasses

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, ModelError
from unbraid.training.calibrated import CalibratedLearner, _calibration, _left_out
from unbraid.training.checkpoint import load_checkpoint, save_checkpoint
from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps


def _rows(steps):
    return set(steps.rows_of(torch.arange(steps.n_steps)).tolist())


@pytest.fixture
def calibrated(tiny):
    return tiny("unbraid", calibration="left_out")


def test_the_first_is_what_it_is_without_a_twin(demos, tiny, calibrated, same_weights):
    """Other weights would make every result of before void."""
    calibrated = dataclasses.replace(calibrated, refine_steps=0)
    alone, beside = fit(demos, tiny("unbraid", refine_steps=0)), fit(demos, calibrated)
    assert same_weights(alone, beside)
    assert alone.calibration is None
    assert beside.calibration is not None
    assert np.array_equal(alone.predict(demos), beside.predict(demos))


def test_the_twin_sees_no_step_that_is_left_out(demos, calibrated):
    learner = learner_for(demos, calibrated)
    assert isinstance(learner, CalibratedLearner)
    assert learner.twin is not None
    left_out = learner.first.steps.of_stretches(learner.first.spans, learner._left_out)
    seen, unseen = _rows(learner.twin.steps), _rows(left_out)
    assert seen.isdisjoint(unseen)
    assert seen | unseen == _rows(learner.first.steps)
    assert unseen
    wanted = learner.first.responsibilities[torch.isin(torch.arange(demos.n_episodes), learner._left_out, invert=True)]
    assert torch.equal(learner.twin.responsibilities, wanted)


def test_the_twin_is_held_within_the_bounds_of_all_demonstrations(demos, clipped, calibrated):
    """Also where the actions at one end are all left out."""
    actions = clipped(demos).actions
    left_out = learner_for(demos, calibrated)._left_out
    of_left_out = np.isin(np.repeat(np.arange(demos.n_episodes), demos.lengths), left_out)
    actions = np.where(of_left_out[:, None], actions, actions.clip(None, 0.4))
    learner = learner_for(dataclasses.replace(demos, actions=actions), calibrated)
    assert learner._left_out.tolist() == left_out.tolist(), "else the test is of something else"
    first, twin = learner.first.model, learner.twin.model
    for own in (first, twin):
        np.testing.assert_allclose(own.action_normaliser.undo(own.policy.low), [-0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(first.action_normaliser.undo(first.policy.high), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(twin.action_normaliser.undo(twin.policy.high), [0.5, 0.5], atol=1e-6)


def test_a_fifth_of_each_mode_is_left_out_and_none_of_a_rare_one():
    modes = np.array([0] * 20 + [1] * 5 + [2] * 3)
    left_out = _left_out(modes, 0)
    assert np.bincount(modes[left_out], minlength=3).tolist() == [4, 1, 0]
    assert np.array_equal(left_out, _left_out(modes, 0))
    assert not np.array_equal(left_out, _left_out(modes, 1))


def test_where_there_is_nothing_to_spare_there_is_no_calibration(demos, calibrated):
    few = demos.select([0, 1, 2])
    learner = learner_for(few, calibrated)
    assert isinstance(learner, CalibratedLearner)
    assert learner.twin is None
    learner.step()
    assert learner.finished().calibration is None


def test_a_fit_goes_on_to_the_same_calibration(demos, calibrated, same_weights, fit_in_two, tmp_path):
    unbroken = fit(demos, calibrated)
    options = LoopOptions(run=tmp_path, log_every=4, checkpoint_every=7)
    went_on = fit_in_two(demos, calibrated, options, 8)
    assert same_weights(unbroken, went_on)
    assert went_on.calibration == unbroken.calibration


def test_a_model_keeps_its_calibration(demos, calibrated, tmp_path):
    model = fit(demos, calibrated)
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert again.calibration == model.calibration
    np.testing.assert_array_equal(again.predict_proba(demos), model.predict_proba(demos))
    (tmp_path / "model" / "calibration.json").write_text('{"window_steps": [1], "temperatures": {"combined": []}}')
    with pytest.raises(ModelError, match="calibration"):
        ModeModel.from_pretrained(tmp_path / "model")


def test_a_probability_is_the_softmax_over_the_temperature_of_the_windows_length(demos, calibrated):
    model = fit(demos, calibrated)
    windows = model.cut(demos, 10)
    scores = model.window_scores(demos, windows)
    (temperature,) = set(model.calibration.of("combined", windows.lengths).tolist())
    wanted = torch.from_numpy(scores / temperature).softmax(1).numpy()
    np.testing.assert_allclose(model.predict_proba(demos, window_steps=10), wanted, atol=1e-12)
    assert np.array_equal(model.predict(demos, window_steps=10), scores.argmax(1))


def test_windows_that_are_not_sure_enough_get_no_mode(demos, calibrated):
    model = fit(demos, calibrated)
    probabilities = model.predict_proba(demos, window_steps=5)
    least = float(np.median(probabilities.max(1)))
    modes = model.predict(demos, window_steps=5, min_probability=least)
    assert np.array_equal(modes, np.where(probabilities.max(1) < least, -1, probabilities.argmax(1)))
    assert 0 < (modes == -1).mean() < 1
    with pytest.raises(ConfigError, match="min_probability must lie in"):
        model.predict(demos, min_probability=90.0)


def test_every_kind_of_evidence_has_temperatures_for_every_length_that_there_is(demos, calibrated):
    learner = learner_for(demos, calibrated)
    steps = Steps.of(demos)
    found = _calibration(learner.twin.model, steps, np.zeros(demos.n_episodes, dtype=int))
    longest = int(demos.lengths.max())
    assert found.window_steps == tuple(n for n in (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000) if n <= longest)
    assert set(found.temperatures) == {"combined", "encoder", "policy"}
    assert found.n_spans == demos.n_episodes


@pytest.mark.parametrize(("n_steps", "of_twin"), [(20, 10), (21, 11)])
def test_with_many_steps_the_twin_takes_every_other(demos, tiny, monkeypatch, tmp_path, n_steps, of_twin):
    monkeypatch.setattr("unbraid.training.calibrated.MANY_STEPS", demos.n_steps)
    config = tiny("unbraid", calibration="left_out", n_steps=n_steps)
    learner = learner_for(demos, config)
    for _ in range(5):
        learner.step()
    path = save_checkpoint(learner, tmp_path, {}, {})
    other = learner_for(demos, config)
    load_checkpoint(other, path, {})
    assert (learner.twin.taken, other.twin.taken, learner.twin.n_steps) == (3, 3, of_twin)
    for one in (learner, other):
        for _ in range(n_steps - 5):
            one.step()
        one._settle()
        assert one.twin.taken == of_twin
    assert learner.finished().calibration == other.finished().calibration


@pytest.mark.parametrize("n_steps", [20, 21])
def test_a_step_of_the_twin_in_two_halves_is_a_step(demos, tiny, monkeypatch, same_weights, n_steps):
    monkeypatch.setattr("unbraid.training.calibrated.MANY_STEPS", demos.n_steps)
    config = tiny("unbraid", calibration="left_out", n_steps=n_steps, refine_steps=0)
    halved, whole = learner_for(demos, config), learner_for(demos, config)
    whole._side_by_side = None
    for _ in range(n_steps):
        halved.step()
        whole.step()
    assert halved.finished().calibration == whole.finished().calibration
    assert same_weights(halved.twin.model, whole.twin.model)
