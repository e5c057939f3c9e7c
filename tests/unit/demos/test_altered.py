"""What an environment is beside its id: wrappers and arguments that make another one are told, onlookers are not."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import registry
from gymnasium.wrappers import ClipAction, NormalizeObservation, RecordEpisodeStatistics, RescaleAction, TimeLimit

from unbraid.demos.altered import ALTERED, altered
from unbraid.demos.record import RecordDemos


def pendulum(**how):
    return gymnasium.make("Pendulum-v1", **how)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: RescaleAction(pendulum(), -1, 1), "Pendulum-v1, in RescaleAction"),
        (lambda: RecordEpisodeStatistics(NormalizeObservation(pendulum())), "Pendulum-v1, in NormalizeObservation"),
        (lambda: pendulum(g=2.0, render_mode="rgb_array"), "Pendulum-v1 with g=2.0"),
        (lambda: RescaleAction(pendulum(g=2.0), -1, 1), "Pendulum-v1 with g=2.0, in RescaleAction"),
        (lambda: gymnasium.make("unbraid/PointGoal1-v0", level=2), "unbraid/PointGoal1-v0 with level=2"),
    ],
)
def test_what_makes_another_environment_is_told_and_recorded(make, told, tmp_path):
    assert altered(make()) == told
    env = RecordDemos(make(), tmp_path / "recorded")
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape, dtype=np.float32))
    env.close()
    assert env.demos().facts[ALTERED] == told


@pytest.mark.parametrize(
    "make",
    [
        pendulum,
        lambda: pendulum(render_mode="rgb_array", max_episode_steps=60),
        lambda: ClipAction(RecordEpisodeStatistics(TimeLimit(pendulum(), 20))),
        lambda: gymnasium.make("unbraid/PointGoal2-v0"),
    ],
)
def test_what_looks_on_or_ends_episodes_makes_no_other(make):
    assert altered(make()) is None


def test_wrappers_that_were_registered_belong_to_the_id(monkeypatch):
    """So that who registers an environment as it was recorded is not told again that it is another."""
    monkeypatch.setattr("gymnasium.envs.registration.registry", dict(registry))
    monkeypatch.setattr("unbraid.demos.altered.registry", gymnasium.envs.registration.registry)
    gymnasium.register("Within-v0", lambda **_: RescaleAction(pendulum(), -1, 1), max_episode_steps=9)
    around = (RescaleAction.wrapper_spec(min_action=-1, max_action=1),)
    gymnasium.register("Around-v0", "gymnasium.envs.classic_control:PendulumEnv", additional_wrappers=around)
    for name in ("Within-v0", "Around-v0"):
        assert altered(gymnasium.make(name)) is None
        told = f"{name}, in NormalizeObservation"
        assert altered(RecordEpisodeStatistics(NormalizeObservation(gymnasium.make(name)))) == told


def test_of_what_is_not_registered_nothing_is_known():
    assert altered(pendulum().unwrapped.__class__()) is None
