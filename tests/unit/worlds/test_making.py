"""Worlds by id, by specification, and by a function of anybody's."""

import dataclasses

import gymnasium
import numpy as np
import pytest

from unbraid.core.errors import WorldError
from unbraid.worlds.controllers import from_function
from unbraid.worlds.making import spec_of
from unbraid.worlds.rollout import rollout

PENDULUM = "Pendulum-v1"


def acting():
    return from_function(lambda observations: observations[:, :1])


def test_a_function_makes_what_its_id_makes():
    runs = [
        rollout(acting(), world, seeds=[1, 2], max_steps=9, n_envs=2)
        for world in (PENDULUM, gymnasium.spec(PENDULUM), lambda: gymnasium.make(PENDULUM))
    ]
    assert len({run.demos.fingerprint() for run in runs}) == 1
    assert [run.demos.facts["env_id"] for run in runs] == [PENDULUM] * 3


def test_the_limit_of_steps_is_that_of_what_is_made():
    assert spec_of(lambda: gymnasium.make(PENDULUM, max_episode_steps=7)).max_episode_steps == 7
    run = rollout(acting(), lambda: gymnasium.make(PENDULUM, max_episode_steps=7), seeds=[1, 2])
    assert run.demos.lengths.tolist() == [7, 7]
    bare = gymnasium.make(PENDULUM).unwrapped.__class__
    with pytest.raises(WorldError, match="PendulumEnv must have a limit of steps per episode"):
        rollout(acting(), bare, seeds=[1])
    assert rollout(acting(), bare, seeds=[1], max_steps=4).demos.n_steps == 4


def test_a_specification_with_arguments():
    spec = dataclasses.replace(gymnasium.spec(PENDULUM), kwargs={"g": 1.0})
    assert spec_of(spec) is spec
    light, heavy = (rollout(acting(), world, seeds=[1], max_steps=5).demos.observations for world in (spec, PENDULUM))
    assert not np.array_equal(light, heavy)


def test_a_function_that_makes_no_environment():
    with pytest.raises(WorldError, match=r"must return a gymnasium\.Env; it returned a int"):
        spec_of(lambda: 3)
