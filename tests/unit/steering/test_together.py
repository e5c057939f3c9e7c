"""Agents that share a call of the network do, bit for bit, what each does alone."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, DataError
from unbraid.steering.steered import steer
from unbraid.steering.together import act_together
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.fixture(
    scope="module",
    params=[
        UnbraidConfig(n_modes=3),
        UnbraidConfig(n_modes=3, style="on"),
        UnbraidConfig(n_modes=3, policy_head="mixture"),
        UnbraidConfig(n_modes=3, policy_head="tanh"),
        TalkConfig(n_modes=3),
    ],
    ids=["unbraid", "styles", "mixture", "tanh", "talk"],
)
def model(request):
    torch.manual_seed(0)
    return ModeModel(request.param, observation_size=60, action_size=2).eval()


def asked_of(policy):
    return [
        policy.toward(0),
        policy.toward(1),
        policy.toward(2, 0.5),
        policy.toward(1, 1.7),
        policy.away(0),
        policy.away(2, 0.3),
        policy.away(0).away(1, 2.0),
        policy.toward(0, 0),
        policy.toward(1).away(2, 1.5),
        policy.toward(2).away(0),
        policy.blend({0: 0.25, 1: 0.75}),
        policy.blend({1: 0.5, 2: 0.5}).away(0, 0.4),
        policy.blend({0: 0.2, 1: 0.3, 2: 0.5}),
        policy.with_context([0.3, 0.2, 1.0]),
        policy.with_context([1.0, 0.2, -1.0]).away(1),
    ]


def drawn(model, n, seed):
    draws = np.random.default_rng(seed)
    return draws.standard_normal((n, model.observation_size)), draws.standard_normal((n, model.action_size))


@pytest.mark.parametrize("n", [1, 7, 150])
def test_each_does_what_it_does_alone(model, n):
    kinds = asked_of(steer(model))
    if model.style_reader is not None:
        kinds += [policy.style(0.9) for policy in kinds[:3]]
    policies = [kinds[row % len(kinds)] for row in range(n)]
    observations, noise = drawn(model, n, seed=n)
    found = act_together(policies, observations, noise)
    for row, policy in enumerate(policies):
        due, _ = policy.act(observations[row][None], None, np.zeros(1, dtype=bool), noise[row][None])
        np.testing.assert_array_equal(found[row], due[0])


def test_bounds_are_each_ones_own(model):
    observations, noise = drawn(model, 2, seed=0)
    low, high = np.full(model.action_size, -0.01), np.full(model.action_size, 0.01)
    bound, free = steer(model, action_bounds=(low, high)).toward(0), steer(model).toward(0)
    found = act_together([bound, free], observations, noise)
    assert np.abs(found[0]).max() <= 0.01 < np.abs(found[1]).max()


def test_nobody_is_nobody(model):
    observations, noise = drawn(model, 0, seed=0)
    assert act_together([], observations, noise).shape == noise.shape


def test_what_act_refuses_is_refused(model):
    observations, noise = drawn(model, 1, seed=0)
    with pytest.raises(ConfigError, match="A mode must be chosen"):
        act_together([steer(model)], observations, noise)
    with pytest.raises(DataError, match="finite"):
        act_together([steer(model).toward(0)], observations * np.nan, noise)


def test_a_wrong_shape_raises(model):
    with pytest.raises(TypeCheckError):
        act_together([steer(model).toward(0)], np.zeros(3), np.zeros((1, 2)))
