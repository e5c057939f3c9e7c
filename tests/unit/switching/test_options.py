"""Modes as options: what a held mode brings, episode by episode."""

import itertools
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RescaleAction
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, WorldError
from unbraid.steering.steered import steer
from unbraid.switching.actor_critic import train_actor_critic
from unbraid.switching.bandit import train_bandit
from unbraid.switching.options import OptionEnv, OptionWorlds, controllers_of, weights_of
from unbraid.switching.ppo import train_ppo
from unbraid.switching.situations import situation_reader
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


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


def test_a_controller_remembers_nothing_of_an_episode_before(icy_road, haste_and_care):
    """Also one that is chosen only after a while: its first step in an episode is where it begins."""
    told = []

    class Counting:
        def act(self, observations, state, episode_start, noise):
            count = np.zeros(len(observations)) if state is None else np.where(episode_start, 0.0, state[:, 0])
            told.extend(zip(count.tolist(), episode_start.tolist(), strict=True))
            return np.zeros_like(noise), (count + 1)[:, None]

    worlds = OptionWorlds([haste_and_care[0], Counting()], icy_road, horizon_steps=2, n_envs=1, max_steps=4)
    for mode in (0, 1, 0, 1, 1, 0):  # three episodes of two choices
        worlds.hold(np.array([mode]))
    assert told == [(0.0, True), (1.0, False)] * 3


class Uneven(gymnasium.Env):
    """Episodes of 3 to 12 steps, as their seeds say. Shows that number and the steps so far; the action is the reward,
    and every second step costs 1."""

    observation_space = gymnasium.spaces.Box(0, 20, (2,))
    action_space = gymnasium.spaces.Box(0, 20, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n, self.t = int(self.np_random.integers(3, 13)), 0
        return np.array([self.n, self.t], dtype=np.float32), {}

    def step(self, action):
        self.t += 1
        seen = np.array([self.n, self.t], dtype=np.float32)
        return seen, float(action[0]), self.t >= self.n, False, {"cost": float(self.t % 2)}


def test_worlds_side_by_side_end_each_at_their_own_time():
    """The mode's action is the number of steps so far, as it is shown: a hold brings their sum."""

    class Counts:
        def act(self, observations, state, episode_start, noise):
            return observations[:, 1:].copy(), None

    worlds = OptionWorlds([Counts(), Counts()], Uneven, horizon_steps=5, cost_weight=2, n_envs=6, max_steps=10, seed=1)
    assert not worlds.tells_costs
    now, begun = worlds.begin(1), []
    for _ in range(12):
        found = worlds.hold(np.array([0, 1] * 3))
        for row, (n, t) in enumerate(now.astype(int).tolist()):
            end = min(t + 5, n, 10)
            assert found.n_steps[row] == end - t
            assert found.returns[row] == sum(range(t, end))
            assert found.costs[row] == sum(step % 2 for step in range(t + 1, end + 1))
            assert found.rewards[row] == found.returns[row] - 2 * found.costs[row]
            assert (found.terminated[row], found.truncated[row]) == (end == n, end == 10 < n)
            assert found.final_observations[row].tolist() == [n, end]
            if end < min(n, 10):
                assert found.observations[row].tolist() == [n, end]
            else:
                assert found.observations[row, 1] == 0
                begun.append((row, int(found.observations[row, 0])))
        now = found.observations
    assert worlds.tells_costs
    assert all(len({n for row, n in begun if row == one}) > 1 for one in range(6))  # each on a seed of its own


def test_what_is_refused(icy_road, haste_and_care):
    for wrong in ({"horizon_steps": 0}, {"cost_weight": -1.0}, {"n_envs": 0}, {"max_steps": 0}, {"cost_weight": True}):
        with pytest.raises(ConfigError, match="must be"):
            OptionWorlds(haste_and_care, icy_road, **{"horizon_steps": 2, "max_steps": 40, **wrong})
    with pytest.raises(WorldError, match="limit of steps"):
        OptionWorlds(haste_and_care, icy_road, horizon_steps=2)
    with pytest.raises(ConfigError, match="at least two controllers"):
        controllers_of(haste_and_care[:1])
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=2, n_envs=2, max_steps=40)
    with pytest.raises(ConfigError, match="Modes must lie in"):
        worlds.hold(np.array([0, 2]))


class Telling(gymnasium.Wrapper):
    """Gives something else in one step, of the first world alone or of all."""

    def __init__(self, env, told, step=2):
        super().__init__(env)
        self.told, self.due, self.at = told, step, 0

    def reset(self, **asked):
        self.at = 0
        return self.env.reset(**asked)

    def step(self, action):
        self.at += 1
        given = dict(
            zip(("observation", "reward", "terminated", "truncated", "info"), self.env.step(action), strict=True)
        )
        return tuple((given | (self.told if self.at == self.due else {})).values())


class Free(gymnasium.Wrapper):
    """Tells no costs."""

    def step(self, action):
        return *self.env.step(action)[:4], {}


NAN = float("nan")
FAULTS = [
    ({"info": {"cost": "high"}}, r"The cost .* of IcyRoad in step 2 of seed \d+ must be one number; got 'high'"),
    ({"info": {"cost": np.zeros(2)}}, r"The cost .* of IcyRoad in step 2 of seed \d+ must be one number"),
    ({"info": {"cost": NAN}}, r"The cost .* of IcyRoad in step 2 of seed \d+ must be finite; got nan"),
    ({"reward": NAN}, r"The reward of IcyRoad in step 2 of seed \d+ must be finite; got nan"),
    ({"reward": None}, r"The reward of IcyRoad in step 2 of seed \d+ must be one number"),
    ({"observation": np.array([0.0, NAN])}, r"observation of IcyRoad in step 2 of seed \d+ must be finite.*column 1"),
]


@pytest.mark.parametrize(("told", "said"), FAULTS)
def test_what_is_no_number_is_refused_with_its_environment_and_step(icy_road, haste_and_care, told, said):
    worlds = OptionWorlds(haste_and_care, lambda: Telling(icy_road(), told), horizon_steps=5, n_envs=2, max_steps=40)
    with pytest.raises(WorldError, match=said):
        worlds.hold(np.array([0, 0]))
    env = OptionEnv(haste_and_care, lambda: Telling(icy_road(), told), horizon_steps=5, max_steps=40)
    env.reset(seed=0)
    with pytest.raises(WorldError, match=said):
        env.step(0)


@pytest.mark.parametrize("learn", [train_bandit, train_actor_critic, train_ppo])
@pytest.mark.parametrize(("told", "said"), FAULTS[2:4])
def test_nothing_is_learned_from_what_is_no_number(icy_road, haste_and_care, learn, told, said):
    worlds = OptionWorlds(haste_and_care, lambda: Telling(icy_road(), told), horizon_steps=5, n_envs=2, max_steps=40)
    reader = situation_reader("observation", observations=np.random.default_rng(0).normal(size=(9, 2)))
    with pytest.raises(WorldError, match=said):
        learn(worlds, reader, n_steps=2000)


@pytest.mark.parametrize("learn", [train_bandit, train_actor_critic, train_ppo])
def test_nothing_is_learned_of_costs_where_none_are_told(icy_road, haste_and_care, learn):
    reader = situation_reader("observation", observations=np.random.default_rng(0).normal(size=(9, 2)))
    settings = {"horizon_steps": 5, "n_envs": 2, "max_steps": 40}
    with pytest.raises(ConfigError, match=r"needs an environment that tells costs.* told none in any step\. Leave it"):
        learn(OptionWorlds(haste_and_care, lambda: Free(icy_road()), cost_weight=1, **settings), reader, n_steps=400)
    learn(OptionWorlds(haste_and_care, lambda: Free(icy_road()), **settings), reader, n_steps=400)
    learn(OptionWorlds(haste_and_care, icy_road, cost_weight=1, **settings), reader, n_steps=400)


@pytest.mark.parametrize(("cost_weight", "n_warnings"), [(1, 1), (0, 0)])
def test_an_environment_warns_once_where_costs_weigh_and_none_are_told(
    icy_road, haste_and_care, cost_weight, n_warnings
):
    settings = {"horizon_steps": 20, "cost_weight": cost_weight, "max_steps": 40}
    env = OptionEnv(haste_and_care, lambda: Free(icy_road()), **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            env.reset(seed=0)
            while not any(env.step(0)[2:4]):
                pass
    assert len(caught) == n_warnings
    assert all("cost_weight=) needs an environment that tells costs" in str(one.message) for one in caught)


@pytest.mark.parametrize("step", [1, 2])
def test_a_cost_of_none_is_none_also_beside_worlds_that_tell_one(icy_road, haste_and_care, step):
    """Gymnasium makes NaN of a None beside numbers, and objects of numbers beside a None."""
    tells = itertools.cycle([True, False])  # the first is made to be looked at

    def made():
        return icy_road() if next(tells) else Telling(icy_road(), {"info": {"cost": None}}, step)

    both = OptionWorlds(haste_and_care, made, horizon_steps=5, n_envs=4, max_steps=40)
    alone = OptionWorlds(haste_and_care, icy_road, horizon_steps=5, n_envs=4, max_steps=40)
    found, due = (worlds.hold(np.zeros(4, dtype=np.int64)).costs for worlds in (both, alone))
    is_icy = due > 0
    np.testing.assert_array_equal(found, due - is_icy * np.array([1.0, 0.0, 1.0, 0.0]))


def test_a_cost_that_is_an_array_of_one_number_is_that_number(icy_road, haste_and_care):
    told = {"info": {"cost": np.array([0.25])}}
    worlds = OptionWorlds(haste_and_care, lambda: Telling(icy_road(), told), horizon_steps=2, n_envs=2, max_steps=40)
    assert worlds.hold(np.array([1, 1])).costs.tolist() == [0.25, 0.25]


def test_a_wrong_shape_raises(icy_road, haste_and_care):
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=2, n_envs=2, max_steps=40)
    with pytest.raises(TypeCheckError):
        worlds.hold(np.zeros((2, 1), dtype=np.int64))


def model_of(observation_size=2, seed=0):
    torch.manual_seed(seed)
    return ModeModel(UnbraidConfig(n_modes=3), observation_size=observation_size, action_size=1).eval()


def test_a_world_that_its_id_alone_does_not_make_is_noted_so():
    """What is learned there is not rolled out in the plain one unasked."""
    model = model_of(observation_size=3)
    worlds = OptionWorlds(model, lambda: RescaleAction(gymnasium.make("Pendulum-v1"), -1, 1), horizon_steps=2, n_envs=2)
    assert worlds.origin.env_id == "Pendulum-v1, in RescaleAction"


def test_a_models_modes_are_what_is_chosen_among(icy_road):
    model = model_of()
    for policy in (model, steer(model)):
        assert [one.instruction.mode for one in controllers_of(policy)] == [0, 1, 2]
        worlds = OptionWorlds(policy, icy_road, horizon_steps=2, cost_weight=3, n_envs=2, max_steps=4)
        assert worlds.n_modes == 3
        assert (worlds.origin.weights_sha256, worlds.origin.cost_weight) == (model.fingerprint(), 3.0)
    with pytest.raises(ConfigError, match="must not be asked for anything yet; this one is"):
        controllers_of(steer(model).toward(1))
    with pytest.raises(WorldError, match="must"):
        OptionWorlds(model_of(observation_size=5), icy_road, horizon_steps=2, max_steps=4)


def test_controllers_are_of_a_model_only_where_all_are_modes_of_the_same(haste_and_care):
    one, other = (controllers_of(model_of(seed=seed)) for seed in (0, 1))
    assert weights_of(one) == model_of().fingerprint() != weights_of(other)
    assert weights_of(one[1:]) == weights_of(one)
    for mixed in ([one[0], other[1]], [one[0], haste_and_care[0]], [haste_and_care[0], one[0]], haste_and_care):
        assert weights_of(mixed) is None


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_act_is_no_mode(haste_and_care):
    with pytest.raises(ConfigError, match="at least two controllers with `act`"):
        controllers_of([haste_and_care[0], "forward"])
