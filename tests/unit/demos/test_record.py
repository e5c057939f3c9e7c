"""Recording: what passed through the environment is what is kept."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from unbraid.core.errors import DataError, WorldError
from unbraid.demos.check import check_demos
from unbraid.demos.loading import load_demos
from unbraid.demos.record import RecordDemos


class Counter(gymnasium.Env):
    """Observes (seed, step) in one array that it reuses; the action says how the episode ends."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.state = np.array([seed or 0, 0.0])
        return self.state, {}

    def step(self, action):
        self.state[1] += 1
        info = {} if self.state[0] == 9 else {"cost": 0.5}
        return self.state, float(self.state[1]), bool(action[0] > 1), bool(action[0] < -1), info


def _play(env: RecordDemos, seed: int, *actions: float) -> None:
    env.reset(seed=seed)
    for action in actions:
        env.step(np.array([action]))


def test_it_keeps_what_passed_through():
    env = RecordDemos(Counter(), expert="left")
    _play(env, 1, 0, 0, 2)  # the world ends it
    env.expert = "right"
    _play(env, 2, 0, -2)  # a time limit does
    _play(env, 3, 0)  # the next reset does
    _play(env, 4, 0, 0)  # it is running
    demos = env.demos()
    assert demos.lengths.tolist() == [3, 2, 1, 2]
    assert demos.terminated.tolist() == [True, False, False, False]
    assert demos.seeds.tolist() == [1, 2, 3, 4]
    assert demos.episode(0).observations.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3]]
    assert demos.rewards.tolist() == [1, 2, 3, 1, 2, 1, 1, 2]
    assert demos.costs.tolist() == [0.5] * 8
    assert demos.actions.dtype == np.float32
    assert [demos.label_names[i] for i in demos.labels] == ["left", "right", "right", "right"]
    assert (demos.action_low, demos.action_high) == (-2, 2)
    env.step(np.array([0.0]))
    assert env.demos().lengths.tolist() == [3, 2, 1, 3]


def test_what_not_every_episode_has_is_left_out():
    env = RecordDemos(Counter())
    _play(env, 9, 0, 2)
    env.expert = "late"
    _play(env, 1, 0, 2)
    demos = env.demos()
    assert demos.costs is None
    assert demos.labels is None
    assert demos.label_names == ()


def test_it_saves_a_store_that_the_doctor_can_read(tmp_path):
    env = RecordDemos(gymnasium.make("Pendulum-v1", max_episode_steps=20))
    env.action_space.seed(0)
    for seed in range(3):
        env.reset(seed=seed)
        truncated = False
        while not truncated:
            *_, truncated, _ = env.step(env.action_space.sample())
    demos = load_demos(env.save(tmp_path / "pendulum"))
    assert demos.lengths.tolist() == [20, 20, 20]
    assert demos.facts == {"env_id": "Pendulum-v1"}
    assert check_demos(demos).ok


def test_nothing_recorded_or_no_reset_says_so():
    env = RecordDemos(Counter())
    with pytest.raises(DataError, match="nothing was recorded"):
        env.demos()
    with pytest.raises(WorldError, match="must begin with a reset"):
        env.step(np.zeros(1))


@pytest.mark.parametrize(("name", "space"), [("action", Discrete(2)), ("observation", Box(0, 1, (2, 2)))])
def test_spaces_that_do_not_fit_are_refused(name, space):
    env = Counter()
    setattr(env, f"{name}_space", space)
    with pytest.raises(WorldError, match=f"The {name} space must be a Box with one axis"):
        RecordDemos(env)
