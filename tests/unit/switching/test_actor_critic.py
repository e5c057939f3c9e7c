"""The natural actor-critic: where switching pays, it finds when, also where the reward comes later."""

import gymnasium
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError
from unbraid.switching.actor_critic import train_actor_critic
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import situation_reader

SITUATIONS = np.array([[0.0, 0.3], [1.0, -0.2], [0.0, 1.0], [1.0, 0.0]])
READER = situation_reader("observation", observations=SITUATIONS)


class Ladder(gymnasium.Env):
    """Two places. At the first, an action > 0.5 pays 1 and stays; any other pays nothing and climbs. At the second,
    whatever is done pays 10 and falls back."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.is_up = 0, False
        return np.zeros(2), {}

    def step(self, action):
        reward = 10.0 if self.is_up else float(action[0] > 0.5)
        self.is_up = not self.is_up and action[0] <= 0.5
        self.at += 1
        return np.array([float(self.is_up), 0.0]), reward, False, self.at >= 20, {}


def made(icy_road, controllers, **asked):
    asked = {"horizon_steps": 5, "cost_weight": 1, "n_envs": 8, "max_steps": 40, **asked}
    return OptionWorlds(controllers, icy_road, **asked)


def test_it_learns_when_haste_pays(icy_road, haste_and_care):
    counted = []
    worlds = made(icy_road, haste_and_care)
    switcher = train_actor_critic(worlds, READER, n_steps=8010, on_progress=counted.append)
    assert switcher.choose(SITUATIONS).tolist() == [0, 1, 0, 1]
    assert (switcher.method, switcher.horizon_steps, switcher.n_modes) == ("actor_critic", 5, 2)
    assert sum(counted) == 8000


@pytest.mark.parametrize(("discount", "mode"), [(0.95, 1), (0.0, 0)])
def test_it_counts_what_comes_later(haste_and_care, discount, mode):
    worlds = made(Ladder, haste_and_care, horizon_steps=1, cost_weight=0)
    switcher = train_actor_critic(worlds, READER, n_steps=4000, discount=discount)
    assert switcher.choose(SITUATIONS[:1]).tolist() == [mode]


def test_the_seed_matters_and_suffices(icy_road, haste_and_care):
    def weights(seed):
        return train_actor_critic(made(icy_road, haste_and_care), READER, n_steps=400, seed=seed).chooser.weights

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).any()


def test_of_many_columns_the_critic_sees_squares(haste_and_care):
    class Wide(Ladder):
        def __init__(self):
            super().__init__()
            self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (400,), np.float64)

        def reset(self, *, seed=None, options=None):
            seen, told = super().reset(seed=seed)
            return np.resize(seen, 400), told

        def step(self, action):
            seen, *rest = super().step(action)
            return np.resize(seen, 400), *rest

    reader = situation_reader("observation", observations=np.random.default_rng(0).random((4, 400)))
    worlds = made(Wide, haste_and_care, horizon_steps=1, cost_weight=0)
    assert train_actor_critic(worlds, reader, n_steps=400).choose(np.zeros((1, 400))).shape == (1,)


def test_what_is_refused(icy_road, haste_and_care):
    worlds = made(icy_road, haste_and_care)
    with pytest.raises(ConfigError, match="at least 40"):
        train_actor_critic(worlds, READER, n_steps=39)
    with pytest.raises(ConfigError, match=r"discount in \[0, 1\)"):
        train_actor_critic(worlds, READER, n_steps=80, discount=1.0)
    with pytest.raises(TypeCheckError):
        train_actor_critic(worlds, READER, n_steps=80.5)
