"""What worlds tell of success and of their actuators, whatever form they tell it in."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from jaxtyping import TypeCheckError

from unbraid.worlds.controllers import from_function
from unbraid.worlds.point_goal import PointGoalEnv
from unbraid.worlds.point_goal_model import point_goal_models
from unbraid.worlds.rollout import rollout
from unbraid.worlds.telling import successes_told, velocity_reader

PENDULUM = "Pendulum-v1"


def still(n_actions: int = 1):
    return from_function(lambda observations: np.zeros((len(observations), n_actions)))


class Telling(gymnasium.Wrapper):
    """Succeeds where the pendulum starts on the right; says so in many ways, and only at the end of an episode."""

    def __init__(self, how):
        super().__init__(gymnasium.make(PENDULUM))
        self.how, self.n_steps, self.won = how, 0, False

    def reset(self, **options):
        observation, info = super().reset(**options)
        self.n_steps, self.won = 0, observation[1] > 0
        return observation, info

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        self.n_steps += 1
        told = self.how(self.won) if self.n_steps == 5 else {"is_success": False}
        return observation, reward, terminated, truncated, {**info, **told}


def runs_of(how, **options):
    return [rollout(still(), lambda: Telling(how), seeds=range(9), max_steps=5, n_envs=n, **options) for n in (1, 9)]


@pytest.mark.parametrize(
    "how",
    [
        lambda won: {"is_success": bool(won)},
        lambda won: {"is_success": np.float32(won)},
        lambda won: {"is_success": np.bool_(won)},
        lambda won: {"is_success": won * 1, "success": 1 - won},
        lambda won: {"is_success": np.nan, "success": won},  # no number is no success
        lambda won: {"is_success": True} if won else {},  # mentioned only where there is one
    ],
    ids=["bool", "float32", "bool_", "two names", "NaN beside a name", "now and then"],
)
def test_success_is_what_the_last_step_says(how):
    for run in runs_of(how):
        started_right = [float(episode.observations[0, 1] > 0) for episode in run.demos]
        assert [float(track["success"]) for track in run.tracks] == started_right
        assert 0 < sum(started_right) < 9


def test_a_world_that_says_nothing_of_success_has_none():
    assert all("success" not in track for track in rollout(still(), PENDULUM, seeds=[1], max_steps=2).tracks)
    assert successes_told({}) == {}
    assert successes_told({"is_success": np.array(["yes", None], dtype=object)}) == {}
    assert successes_told({"success": np.array([1.0, 0.0]), "_success": np.array([True, False])}) == {0: 1.0}


def test_mujocos_actuators_are_read_after_every_step():
    push = from_function(lambda observations: np.tile([0.5, -0.5], (len(observations), 1)))
    runs = [rollout(push, "Reacher-v5", seeds=[1, 2, 3], max_steps=6, n_envs=n) for n in (1, 3)]
    env = gymnasium.make("Reacher-v5")
    env.reset(seed=2)
    for t in range(6):
        env.step(np.array([0.5, -0.5]))
        for run in runs:
            np.testing.assert_array_equal(run.tracks[1]["actuator_velocity"][t], env.unwrapped.data.actuator_velocity)
    env.close()
    assert np.abs(runs[0].tracks[1]["actuator_velocity"]).max() > 0


def test_point_goals_actuators_move_as_mujoco_has_it():
    """Against MuJoCo's own figure for the same pose and velocities."""
    env = PointGoalEnv(0)
    env.reset(seed=3)
    model = point_goal_models(0).free
    data = mujoco.MjData(model)
    for action in ([1.0, 0.5], [0.3, -1.0], [1.0, 1.0]):
        env.step(action)
        data.qpos[:], data.qvel[:] = env._physics.qpos[0], env._physics.qvel[0]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(env.actuator_velocity, data.actuator_velocity, atol=1e-12)
    assert np.abs(env.actuator_velocity).min() > 1e-4
    run = rollout(still(2), "unbraid/PointGoal0-v0", seeds=[1], max_steps=3)
    assert run.tracks[0]["actuator_velocity"].shape == (3, 2)
    env.close()


class Offering(PendulumEnv):
    """An environment of somebody's that says how fast its actuators move."""

    width = 1

    @property
    def actuator_velocity(self):
        return np.full(self.width, self.state[1])


def test_a_world_may_offer_velocities_of_its_own_if_there_is_one_per_action(monkeypatch):
    run = rollout(still(), Offering, seeds=[1], max_steps=3)
    np.testing.assert_allclose(run.tracks[0]["actuator_velocity"][:, 0], run.demos.observations[1:, 2], rtol=1e-6)
    monkeypatch.setattr(Offering, "width", 2)
    assert rollout(still(), Offering, seeds=[1], max_steps=3).tracks[0] == {}
    assert "actuator_velocity" not in rollout(still(), PENDULUM, seeds=[1], max_steps=2).tracks[0]


def test_a_wrong_shape_raises():
    class Odd:
        unwrapped = property(lambda self: self)
        actuator_velocity = np.zeros(3)

    read = velocity_reader(Odd(), 3)
    with pytest.raises(TypeCheckError):
        PointGoalEnv(0)._physics.step(read())
