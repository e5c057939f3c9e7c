"""Modes as options: what a held mode brings, episode by episode."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, WorldError
from unbraid.switching.options import OptionEnv, OptionWorlds, controllers_of


def test_a_held_mode_sums_reward_less_weighted_cost(icy_road, haste_and_care):
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=5, cost_weight=0.5, n_envs=8, max_steps=40, seed=3)
    before = worlds.begin(3)
    found = worlds.hold(np.array([0, 1] * 4))
    icy = before[:, 0]
    assert set(icy) == {0.0, 1.0}
    hurries = np.array([1.0, 0.0] * 4)
    np.testing.assert_allclose(found.returns, 5 * np.where(hurries, 1.0, 0.25))
    np.testing.assert_allclose(found.costs, 5 * hurries * icy)
    np.testing.assert_allclose(found.rewards, found.returns - 0.5 * found.costs)
    assert found.n_steps.tolist() == [5] * 8
    assert not (found.terminated | found.truncated).any()


@pytest.mark.parametrize(
    ("limits", "ends", "kind"),
    [
        ({"n_steps": 7}, [5, 2], "truncated"),
        ({"n_steps": 40, "ends_at": 7}, [5, 2], "terminated"),
    ],
)
def test_an_episode_that_ends_while_a_mode_is_held(icy_road, haste_and_care, limits, ends, kind):
    worlds = OptionWorlds(haste_and_care, lambda: icy_road(**limits), horizon_steps=5, n_envs=3, max_steps=100, seed=0)
    held = [worlds.hold(np.zeros(3, dtype=np.int64)) for _ in range(4)]
    assert [found.n_steps.tolist() for found in held] == [[n] * 3 for n in ends * 2]
    assert [bool(getattr(found, kind).all()) for found in held] == [False, True] * 2
    other = "terminated" if kind == "truncated" else "truncated"
    assert not any(getattr(found, other).any() for found in held)
    np.testing.assert_array_equal(held[0].observations, held[0].final_observations)
    assert (held[1].observations != held[1].final_observations).any()


def test_our_own_limit_of_steps_truncates(icy_road, haste_and_care):
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=4, n_envs=2, max_steps=6)
    assert worlds.hold(np.array([0, 0])).n_steps.tolist() == [4, 4]
    found = worlds.hold(np.array([0, 0]))
    assert found.n_steps.tolist() == [2, 2]
    assert found.truncated.all()
    assert worlds.hold(np.array([0, 0])).n_steps.tolist() == [4, 4]


def test_the_seed_matters_and_suffices(icy_road, haste_and_care):
    def seen(seed):
        worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=3, n_envs=4, max_steps=40, seed=seed)
        return np.stack([worlds.hold(np.zeros(4, dtype=np.int64)).observations for _ in range(20)])

    np.testing.assert_array_equal(seen(1), seen(1))
    assert (seen(1) != seen(2)).any()


def test_the_environment_is_one_of_gymnasium(icy_road, haste_and_care):
    env = OptionEnv(haste_and_care, icy_road, horizon_steps=5, cost_weight=1, max_steps=40)
    check_env(env, skip_render_check=True)
    assert env.action_space == gymnasium.spaces.Discrete(2)
    observation, _ = env.reset(seed=4)
    _, reward, terminated, truncated, info = env.step(0)
    assert info == {"return": 5.0, "cost": 5.0 * observation[0], "n_steps": 5}
    assert reward == info["return"] - info["cost"]
    n_held = 1
    while not (terminated or truncated):
        _, _, terminated, truncated, _ = env.step(1)
        n_held += 1
    assert n_held == 8
    with pytest.raises(WorldError, match="reset"):
        env.step(0)


def test_a_controller_keeps_its_memory_for_its_own_rows(icy_road, haste_and_care):
    class Counting:
        def act(self, observations, state, episode_start, noise):
            count = np.zeros(len(observations)) if state is None else np.where(episode_start, 0.0, state[:, 0])
            return np.repeat(count[:, None] / 10, noise.shape[1], 1), (count + 1)[:, None]

    worlds = OptionWorlds([haste_and_care[0], Counting()], icy_road, horizon_steps=3, n_envs=2, max_steps=40)
    np.testing.assert_allclose(worlds.hold(np.array([0, 1])).returns, [3.0, 0.3], rtol=1e-5)
    np.testing.assert_allclose(worlds.hold(np.array([0, 1])).returns, [3.0, 1.2], rtol=1e-5)


def test_what_is_refused(icy_road, haste_and_care):
    for wrong in ({"horizon_steps": 0}, {"cost_weight": -1.0}, {"n_envs": 0}, {"max_steps": 0}):
        with pytest.raises(ConfigError, match="must be"):
            OptionWorlds(haste_and_care, icy_road, **{"horizon_steps": 2, "max_steps": 40, **wrong})
    with pytest.raises(WorldError, match="limit of steps"):
        OptionWorlds(haste_and_care, icy_road, horizon_steps=2)
    with pytest.raises(ConfigError, match="at least two controllers"):
        controllers_of(haste_and_care[:1])
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=2, n_envs=2, max_steps=40)
    with pytest.raises(ConfigError, match="Modes must lie in"):
        worlds.hold(np.array([0, 2]))


def test_a_wrong_shape_raises(icy_road, haste_and_care):
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=2, n_envs=2, max_steps=40)
    with pytest.raises(TypeCheckError):
        worlds.hold(np.zeros((2, 1), dtype=np.int64))
