"""What is observed step by step is what the demonstrations say of each step up to it."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.training.fit import fit
from unbraid.training.online import Observer


@pytest.fixture(scope="module", params=["gaussian", "mixture", "tanh", "components", "input", "normed", "normed_input"])
def model(request, demos, tiny):
    others = {"components": {"observation_components": 2}, "input": {"policy_context": "input"}}
    others |= {"normed": {"policy_layer_norm": "on"}}
    others["normed_input"] = others["input"] | others["normed"]
    asked = others.get(request.param, {"policy_head": request.param})
    return fit(demos, tiny("unbraid", n_modes=3, **asked))


@pytest.fixture(params=[0.0, 0.03])
def switching(request, model):
    """The model, with and without changes within an episode."""
    before, model.switch_rate, model._observer = model.switch_rate, request.param, None
    yield model
    model.switch_rate, model._observer = before, None


def observed(model, episode):
    belief, found = None, []
    for observation, action in zip(episode.observations[:-1], episode.actions, strict=True):
        belief = model.observe(belief, observation, action)
        found.append(belief.probabilities)
    return np.array(found)


def test_it_is_the_posterior_that_sees_the_same_past(switching, demos):
    found = switching.filter(demos)
    np.testing.assert_allclose(found.sum(1), 1)
    for number, (start, n) in enumerate(zip(demos.step_starts[:-1], demos.lengths, strict=True)):
        own = observed(switching, demos.episode(number))
        np.testing.assert_allclose(own, found[start : start + n], atol=1e-5)


@pytest.mark.parametrize("head", ["gaussian", "mixture"])
def test_it_knows_the_bounds_of_actions(demos, tiny, head):
    model = fit(demos, tiny("unbraid", policy_head=head))
    free, n = model.filter(demos), int(demos.lengths[0])
    model.policy.hold_within(torch.full((2,), -0.1), torch.tensor([torch.inf, 0.1]))
    held = model.filter(demos)
    assert np.abs(held - free).max() > 0.01, "else nothing is held"
    np.testing.assert_allclose(observed(model, demos.episode(0)), held[:n], atol=1e-5)


def test_what_comes_later_changes_nothing(switching, demos):
    first = demos.episode(0)
    short = dataclasses.replace(first, observations=first.observations[:31], actions=first.actions[:30])
    np.testing.assert_array_equal(observed(switching, first)[:30], observed(switching, short))


def test_a_belief_never_changes(model, demos):
    episode = demos.episode(0)
    first = model.observe(None, episode.observations[0], episode.actions[0])
    kept = first.probabilities.copy(), first.recent.copy()
    belief = first
    for t in range(1, 40):
        belief = model.observe(belief, episode.observations[t], episode.actions[t])
        assert len(belief.recent) == min(t + 1, 25)
    np.testing.assert_array_equal(first.probabilities, kept[0])
    np.testing.assert_array_equal(first.recent, kept[1])
    again = model.observe(None, episode.observations[0], episode.actions[0])
    np.testing.assert_array_equal(again.probabilities, kept[0])


def test_a_step_that_does_not_fit_is_refused(model, demos):
    episode = demos.episode(0)
    with pytest.raises(DataError, match="must have 3 and 2 numbers; got 2 and 2"):
        model.observe(None, episode.observations[0, :2], episode.actions[0])
    with pytest.raises(DataError, match="must be finite; got others"):
        model.observe(None, np.array([0.0, np.nan, 0.0]), episode.actions[0])


def test_what_numpy_makes_an_array_of_is_taken(model, demos):
    episode = demos.episode(0)
    seen, acted = (values[0].astype(np.float64) for values in (episode.observations, episode.actions))
    once = model.observe(None, seen, acted)
    for kind in (list, torch.tensor, lambda values: torch.tensor(values, requires_grad=True)):
        np.testing.assert_array_equal(model.observe(None, kind(seen), kind(acted)).probabilities, once.probabilities)
    assert np.isfinite(model.observe(once, [0, 1, 0], [0, 1]).probabilities).all()
    with pytest.raises(DataError, match=r"got an array of the shape \(1, 3\) and 2\."):
        model.observe(None, seen[None], acted)
    with pytest.raises(DataError, match=r"got 3 and an array of the shape \(\)\."):
        model.observe(None, seen, np.array(1.0))
    with pytest.raises(DataError, match=r"got what is no number \(<U1\) and 2\."):
        model.observe(None, ["a", "b", "c"], acted)
    with pytest.raises(DataError, match=r"got what is no number \(object\) and 2\."):
        model.observe(None, [[0, 1], [2]], acted)


@pytest.mark.parametrize("rate", [-0.1, 1.5, np.nan])
def test_a_rate_that_is_no_probability_is_refused(model, rate):
    with pytest.raises(ConfigError, match=r"switch_rate must be a probability in \[0, 1\]; got "):
        Observer(model, switch_rate=rate)


def test_what_is_read_in_order_takes_lists_too(demos, tiny):
    model, episode = fit(demos, tiny("unbraid", encoder="lstm")), demos.episode(0)
    once = model.observe(None, episode.observations[0], episode.actions[0])
    listed = model.observe(None, episode.observations[0].tolist(), episode.actions[0].tolist())
    np.testing.assert_allclose(listed.probabilities, once.probabilities, atol=1e-5)


def test_a_state_of_another_model_is_refused(model, demos, tiny):
    episode, other = demos.episode(0), fit(demos, tiny("unbraid", n_modes=2))
    belief = other.observe(None, episode.observations[0], episode.actions[0])
    with pytest.raises(DataError, match=r"of this model, of 3 modes; got one of a model of 2 modes\. Begin with None"):
        model.observe(belief, episode.observations[1], episode.actions[1])


@pytest.mark.parametrize("absurd", [np.float32(1e18), np.float32(-3e38), 1e18, 1e300])
def test_an_absurd_number_leaves_the_belief_finite(switching, demos, absurd):
    episode = demos.episode(0)
    belief = switching.observe(None, episode.observations[0], np.array([absurd, 0], dtype=np.asarray(absurd).dtype))
    belief = switching.observe(belief, np.full(3, absurd), episode.actions[1])
    for t in range(2, 40):
        belief = switching.observe(belief, episode.observations[t], episode.actions[t])
        assert np.isfinite(belief.log_probabilities).all()
    assert belief.probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_without_a_warning_before(model, demos, bad):
    episode = demos.episode(0)
    for dtype in (np.float32, np.float64):
        with pytest.raises(DataError, match="must be finite; got others"):
            model.observe(None, episode.observations[0], np.array([0, bad], dtype=dtype))
        with pytest.raises(DataError, match="must be finite; got others"):
            model.observe(None, np.array([bad, 0, 0], dtype=dtype), episode.actions[0])


def test_the_talks_method_reads_what_is_to_come(demos, tiny):
    with pytest.raises(ConfigError, match="of the talk's, which reads where a step leads"):
        Observer(fit(demos, tiny("talk")), switch_rate=0.0)


@pytest.mark.parametrize("encoder", ["mean", "lstm"])
@pytest.mark.parametrize("far", [0.0, 1e8])
def test_a_model_that_has_observed_can_be_copied(demos, tiny, encoder, far):
    """By Python itself, as a process hands it to another; the project's own files know no pickle."""
    moved = dataclasses.replace(demos, observations=demos.observations.astype(np.float64) + far)
    model, episode = fit(moved, tiny("unbraid", encoder=encoder)), moved.episode(0)
    assert (model.observation_origin is not None) == (far > 0)
    once = model.observe(None, episode.observations[0], episode.actions[0])
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        again = made.observe(once, episode.observations[1], episode.actions[1])
        expected = model.observe(once, episode.observations[1], episode.actions[1])
        np.testing.assert_array_equal(again.probabilities, expected.probabilities)


def test_actions_beyond_a_tanhs_bounds_are_taken_for_the_bound(demos, tiny):
    model = fit(demos, tiny("unbraid", policy_head="tanh"))
    actions = demos.actions.copy()
    actions[3] = [1e6, -1e6]
    far = dataclasses.replace(demos, actions=actions)
    n = int(demos.lengths[0])
    np.testing.assert_allclose(observed(model, far.episode(0)), model.filter(far)[:n], atol=1e-5)
