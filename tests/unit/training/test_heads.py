"""Which head a policy gets: the one that explains demonstrations left out, and imitates them."""

import dataclasses

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.policy.gaussian import GaussianPolicy
from unbraid.policy.mixture import MixturePolicy
from unbraid.policy.squashed import TanhGaussianPolicy
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit, learner_for
from unbraid.training.heads import HeadTrial, _mean_gain
from unbraid.training.joint import UnbraidLearner
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps


def demos_with(noise, *, low=-np.inf, high=np.inf):
    """Two experts that answer what they see in opposite ways; `noise` of a generator and a shape is what they add."""
    draws, episodes = np.random.default_rng(0), []
    for sign in np.tile([1.0, -1.0], 8):
        seen = draws.normal(size=(121, 3)).astype(np.float32)
        done = np.clip(sign * seen[:-1, :2] + noise(draws, (120, 2)), low, high)
        episodes.append(Episode(observations=seen, actions=done.astype(np.float32)))
    return Demos.from_episodes(episodes)


def gaussian(draws, shape):
    return 0.3 * draws.normal(size=shape)


def in_two_heaps(draws, shape):
    """To the left or to the right, as by the toss of a coin: as people pass an obstacle."""
    return 0.5 * draws.choice([-1.0, 1.0], size=shape) + 0.05 * draws.normal(size=shape)


@pytest.fixture
def judged(tiny):
    return tiny("unbraid", calibration="left_out", n_steps=1000, policy_hidden=(32, 32), learning_rate=1e-2)


def test_a_mixture_is_taken_of_actions_in_heaps(judged):
    model = fit(demos_with(in_two_heaps), judged)
    assert isinstance(model.policy, MixturePolicy)
    assert model.config.policy_head == model.search["policy_head"]["head"] == "mixture"
    assert model.search["policy_head"]["trial"]["gain_nats"] > 0.3


def test_a_gaussian_is_taken_of_what_is_gaussian_and_the_trial_leaves_no_trace(judged):
    demos = demos_with(gaussian)
    tried, asked = (fit(demos, dataclasses.replace(judged, policy_head=head)) for head in ("auto", "gaussian"))
    assert isinstance(tried.policy, GaussianPolicy)
    assert "trial" in tried.search["policy_head"]
    assert asked.search["policy_head"] == {"head": "gaussian"}
    for name, value in asked.state_dict().items():
        assert torch.equal(value, tried.state_dict()[name]), name


def test_a_density_that_grows_on_a_bound_does_not_count(judged):
    """A third of the actions lie on a bound, where a narrow part of a mixture may gain nats without end."""
    model = fit(demos_with(gaussian, low=-0.5, high=0.5), dataclasses.replace(judged, policy_l1=0.0))
    assert model.search["policy_head"]["trial"]["gain_nats"] < 0.1
    assert isinstance(model.policy, GaussianPolicy)


@pytest.mark.parametrize(
    ("gain", "error", "missed", "head"),
    [
        (0.3, 0.02, (0.2, 0.2), "mixture"),
        (0.01, 0.0, (0.2, 0.2), "gaussian"),  # too little
        (0.3, 0.2, (0.2, 0.2), "gaussian"),  # not sure
        (0.3, None, (0.2, 0.2), "gaussian"),  # one demonstration
        (0.3, 0.02, (0.2, 0.3), "gaussian"),  # imitates worse
    ],
)
def test_a_mixture_must_be_surely_likelier_and_imitate_as_well(gain, error, missed, head):
    assert HeadTrial(gain, error, missed).head == head


@pytest.mark.parametrize(
    ("gain", "error", "is_open"), [(0.02, 0.01, False), (0.02, 0.05, True), (0.3, 0.01, True), (0.3, None, False)]
)
def test_a_trial_goes_on_where_the_mixture_may_yet_be_taken(gain, error, is_open):
    assert HeadTrial(gain, error, (0.2, 0.2)).is_open == is_open


@pytest.mark.parametrize(("gain", "n_each"), [(0.0, 100), (0.3, 200)])
def test_a_trial_ends_halfway_where_it_is_plain(judged, monkeypatch, gain, n_each):
    """A trial has a fifth of the joint fit's steps."""
    taken, own = [], UnbraidLearner.policy_part
    monkeypatch.setattr(UnbraidLearner, "policy_part", lambda self: taken.append(id(self)) or own(self))
    monkeypatch.setattr("unbraid.training.heads._mean_gain", lambda *_: (gain, 0.01))
    learner_for(demos_with(in_two_heaps), judged)
    assert {taken.count(which) for which in set(taken)} == {n_each}


def test_that_one_mode_gains_and_another_does_not_is_no_error():
    """Two spans of each of two modes, two steps each; the last step of each span lies on a bound."""
    gains = torch.tensor([1.0, 9.0, 1.2, 9.0, 0.0, 9.0, 0.2, 9.0])
    actions = Demos.from_episodes([Episode(observations=np.zeros((3, 1)), actions=np.zeros((2, 1)))] * 4)
    counted, modes = torch.tensor([True, False] * 4), torch.tensor([0, 0, 1, 1])
    gain, error = _mean_gain(gains, counted, Steps.of(actions), modes)
    assert gain == pytest.approx(0.6)
    assert error == pytest.approx((0.02 / 4) ** 0.5)  # each pair's variance is .02
    assert _mean_gain(gains, counted, Steps.of(actions), torch.arange(4))[1] is None


def test_a_mixture_goes_to_its_file_and_back(demos, tiny, tmp_path):
    model = fit(demos, tiny("unbraid", policy_head="mixture"))
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert isinstance(again.policy, MixturePolicy)
    np.testing.assert_array_equal(again.predict_proba(demos), model.predict_proba(demos))


@pytest.mark.parametrize("loss", ["likelihood", "beta", "huber"])
def test_a_tanh_gaussian_learns_by_every_loss_and_goes_to_its_file_and_back(demos, tiny, tmp_path, loss):
    model = fit(demos, tiny("unbraid", policy_head="tanh", policy_loss=loss))
    assert model.search["policy_head"] == {"head": "tanh"}
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert isinstance(again.policy, TanhGaussianPolicy)
    np.testing.assert_array_equal(again.predict_proba(demos), model.predict_proba(demos))
    rows = 9 * np.random.default_rng(0).normal(size=(50, demos.observations.shape[1]))
    actions, _ = steer(again).away(0, 3.0).predict(rows)
    lowest, highest = demos.actions.min(0), demos.actions.max(0)
    assert (actions >= lowest - 1e-5).all()
    assert (actions <= highest + 1e-5).all()


def test_a_mixture_has_no_other_loss():
    with pytest.raises(ConfigError, match=r"A mixture must learn by its likelihood; got policy_loss 'beta'\."):
        UnbraidConfig(policy_head="mixture", policy_loss="beta")
    assert UnbraidConfig(policy_head="mixture").joint_loss_for(10**6) == "likelihood"
