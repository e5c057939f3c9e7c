"""What lies far from 0 is read as if it did not; what lies near is read as it always was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.demos.loading import load_demos
from unbraid.demos.selection import Selection
from unbraid.demos.store import save_demos
from unbraid.steering.steered import steer
from unbraid.training.checkpoint import latest_checkpoint, model_in_checkpoint
from unbraid.training.fit import fit
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.training.origin import MOST, origin_of, require_held
from unbraid.training.steps import Steps

FAR = np.array([5e6, 0.0, 1e9])


def wide(demos, by=0.0):
    return replace(demos, observations=demos.observations.astype(np.float64) + by)


def without_steps(demos):
    nothing = {name: getattr(demos, name)[:0] for name in ("observations", "actions", "lengths", "terminated")}
    return wide(replace(demos, **nothing, labels=None))


@pytest.fixture(scope="module")
def moved(demos):
    return wide(demos, FAR)


@pytest.fixture(scope="module", params=["unbraid", "talk"])
def pair(request, demos, moved, tiny):
    """The same fit of the same demonstrations, near 0 and far from it."""
    return fit(wide(demos), tiny(request.param)), fit(moved, tiny(request.param))


def test_columns_far_from_zero_have_their_mean_and_others_nothing(demos, moved):
    found = origin_of(moved)
    np.testing.assert_allclose(found, moved.observations.mean(0) * (FAR > 0), rtol=1e-12)
    some = Selection(moved, np.array([0, 1, 5]))
    np.testing.assert_allclose(origin_of(some), some.copied().observations.mean(0) * (FAR > 0), rtol=1e-12)
    assert origin_of(wide(demos)) is None


@pytest.mark.parametrize(
    "ordinary",
    [
        lambda demos: replace(demos, observations=(demos.observations + FAR).astype(np.float32)),  # rounded already
        lambda demos: wide(demos, 100.0),
        lambda demos: wide(replace(demos, observations=demos.observations * 1e9)),
        lambda demos: replace(demos, observations=np.full(demos.observations.shape, 5e6)),  # nothing varies
        without_steps,
    ],
    ids=["float32", "not far", "large, and varies as much", "constant", "none"],
)
def test_ordinary_columns_stay_as_they_are(demos, ordinary):
    assert origin_of(ordinary(demos)) is None


def test_what_is_learned_far_from_zero_is_what_is_learned_near_it(pair, demos, moved):
    near, far = pair
    assert near.observation_origin is None
    assert "observation_origin" not in near.state_dict()
    here = wide(demos)
    assert far.score(moved) == pytest.approx(near.score(here), rel=1e-3)
    np.testing.assert_allclose(far.transform(moved), near.transform(here), rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(far.predict(moved, window_steps=9), near.predict(here, window_steps=9))


def test_whole_numbers_far_from_zero_are_moved_like_others(demos):
    """They are no floating-point numbers, as `Demos` asks for; nobody who checks no types is stopped from it."""
    rows = np.round(1000 * demos.observations.astype(np.float64)) + 1.7e12
    floating = replace(demos, observations=rows)
    whole = replace(demos)
    object.__setattr__(whole, "observations", rows.astype(np.int64))
    wanted, found = origin_of(floating), origin_of(whole)
    np.testing.assert_array_equal(found, wanted)
    seen = Steps.of(whole, origin=found).observations(torch.arange(5)).numpy()
    np.testing.assert_allclose(seen, rows[:5] - wanted, atol=1e-3)


def test_weights_with_and_without_an_origin_are_loaded_like_any_modules(pair, moved):
    near, far = pair
    sizes = {"observation_size": far.observation_size, "action_size": far.action_size}
    made = ModeModel(far.config, **sizes).eval()
    for own in (far, near, far):
        made.load_state_dict(own.state_dict())
        assert (made.observation_origin is None) == (own is near)
        np.testing.assert_array_equal(made.transform(moved), own.transform(moved))


def test_actions_far_from_zero_are_refused(demos):
    far = replace(demos, actions=demos.actions.astype(np.float64) + 1e10)
    with pytest.raises(DataError, match=r"actions must lie near 0 .*column 0 lie around 1e\+10.*Take that number away"):
        origin_of(far)


def test_a_policy_and_an_observer_see_what_the_model_reads(pair, moved):
    _, far = pair
    rows = moved.observations[:40]
    actions, _ = steer(far).toward(0).predict(rows, deterministic=True)
    states = far.observation_normaliser(far.steps_of(moved).nth_observations(torch.arange(40)))
    with torch.no_grad():
        wanted = far.action_normaliser.undo(far.policy.moments(states, far.contexts[:1].expand(40, -1))[0])
    np.testing.assert_allclose(actions, wanted.numpy(), rtol=1e-4, atol=1e-5)
    if far.config.method == "unbraid":
        belief, episode = None, moved.episode(0)
        for seen, done in zip(episode.observations[:-1], episode.actions, strict=True):
            belief = far.observe(belief, seen, done)
        wanted = far.filter(moved)[episode.n_steps - 1]
        np.testing.assert_allclose(belief.probabilities, wanted, atol=1e-3)


def test_a_file_and_columns_in_another_order_are_moved_alike(pair, moved, tmp_path, monkeypatch):
    _, far = pair
    wanted, order = far.transform(moved, window_steps=9), [2, 0, 1]
    np.testing.assert_array_equal(far.transform(load_demos(save_demos(moved, tmp_path / "a")), window_steps=9), wanted)
    monkeypatch.setattr(far, "observation_names", ("x", "y", "z"))
    mixed = replace(moved, observations=moved.observations[:, order], observation_names=("z", "x", "y"))
    np.testing.assert_array_equal(far.transform(mixed, window_steps=9), wanted)
    np.testing.assert_array_equal(far.transform(load_demos(save_demos(mixed, tmp_path / "b")), window_steps=9), wanted)


def test_a_fit_of_a_file_is_that_of_what_is_in_memory(moved, tiny, tmp_path, same_weights):
    mapped = load_demos(save_demos(moved, tmp_path / "store"))
    assert same_weights(fit(mapped, tiny("talk")), fit(moved, tiny("talk")))
    steps = Steps.of(mapped, origin=origin_of(mapped))
    assert torch.equal(steps.moved(steps.row_table), Steps.of(moved, origin=origin_of(moved)).row_table)


def test_a_folder_and_a_checkpoint_keep_it(moved, tiny, tmp_path, same_weights):
    model = fit(moved, tiny("unbraid"), LoopOptions(run=tmp_path))
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert same_weights(again, model)
    assert torch.equal(again.observation_origin, torch.from_numpy(origin_of(moved)))
    stopped = model_in_checkpoint(latest_checkpoint(tmp_path / "checkpoints"))
    assert torch.equal(stopped.observation_origin, model.observation_origin)


def test_a_fit_with_its_twin_stops_and_goes_on_as_an_unbroken_one_does(moved, tiny, tmp_path, fit_in_two, same_weights):
    """Model and twin have each an origin of its own: a checkpoint holds no tensor twice."""
    config = tiny("unbraid", calibration="left_out")
    unbroken = fit(moved, config, LoopOptions(run=tmp_path / "unbroken", log_every=4, checkpoint_every=5))
    assert unbroken.calibration is not None
    stopped = LoopOptions(run=tmp_path / "stopped", log_every=4, checkpoint_every=5)
    went_on = fit_in_two(moved, config, stopped, 7)
    assert same_weights(unbroken, went_on)
    assert went_on.calibration == unbroken.calibration


@pytest.mark.parametrize("field", ["observations", "actions"])
def test_a_number_that_float32_cannot_hold_is_refused(demos, tiny, field):
    values = getattr(demos, field).astype(np.float64)
    values[7, 1] = 1e40
    beyond = replace(demos, **{field: values}, observation_names=("x", "y", "z"))
    named = r" \(y\)" if field == "observations" else ""
    told = rf"{field} must be at most 1e\+37 in size, .*; row 7 holds 1e\+40 in column 1{named}\. Bring that column"
    model = fit(demos, tiny("talk"))
    for verb in (lambda: fit(beyond, tiny("talk")), lambda: model.predict(beyond), lambda: model.transform(beyond)):
        with pytest.raises(DataError, match=told):
            verb()


def test_the_largest_numbers_are_still_fitted(demos, tiny):
    large = wide(replace(demos, observations=demos.observations.astype(np.float64) * (MOST / 10)))
    require_held(large.observations, "observations")
    assert np.isfinite(fit(large, tiny("unbraid")).score(large))
