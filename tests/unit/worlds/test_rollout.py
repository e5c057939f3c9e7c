"""Rollouts: an episode depends on its seed alone; what is recorded is what happened; misfits are said clearly."""

import dataclasses
import inspect

import gymnasium
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, WorldError
from unbraid.worlds.controllers import from_function
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import first_noise, rollout

POINT_GOAL, PENDULUM, CAR = "unbraid/PointGoal1-v0", "Pendulum-v1", "MountainCarContinuous-v0"


class Counting:
    """Acts by noise and by what it remembers: how many steps it has seen of the episode, and the noise so far."""

    def __init__(self):
        self.rows = []

    def act(self, observations, state, episode_start, noise):
        self.rows.append((len(observations), episode_start.copy()))
        memory = np.zeros((len(observations), 2)) if state is None else np.where(episode_start[:, None], 0.0, state)
        memory = memory + np.stack([np.ones(len(noise)), noise[:, 0]], axis=1)
        return np.tanh(0.1 * memory[:, 1:] + 0.01 * memory[:, :1] + 0.3 * noise), memory


def pumping():
    """Reaches the top of the hill after a time that the seed decides."""
    return from_function(lambda observations: np.sign(observations[:, 1:2]))


def the_same(one, other):
    assert one.demos.fingerprint() == other.demos.fingerprint()
    np.testing.assert_array_equal(one.demos.rewards, other.demos.rewards)
    np.testing.assert_array_equal(one.demos.seeds, other.demos.seeds)
    for track, again in zip(one.tracks, other.tracks, strict=True):
        assert track.keys() == again.keys()
        for name in track:
            np.testing.assert_array_equal(track[name], again[name])


@pytest.mark.parametrize(
    ("make", "env_id", "max_steps"),
    [
        (lambda: make_expert("goal_seeking"), POINT_GOAL, 60),
        (lambda: make_expert("forward_turning"), POINT_GOAL, 60),
        (Counting, PENDULUM, 300),
        (pumping, CAR, None),
    ],
    ids=["no memory", "memory", "memory and noise", "episodes of different lengths"],
)
def test_episodes_do_not_depend_on_what_runs_beside_them(make, env_id, max_steps):
    seeds = [3, 14, 15, 9, 2, 6, 5]
    runs = [rollout(make(), env_id, seeds=seeds, max_steps=max_steps, n_envs=n) for n in (1, 3, 64)]
    the_same(runs[0], runs[1])
    the_same(runs[0], runs[2])
    assert list(runs[0].demos.seeds) == seeds
    alone = rollout(make(), env_id, seeds=[9], max_steps=max_steps)
    np.testing.assert_array_equal(alone.demos.observations, runs[0].demos.episode(3).observations)


def test_seed_and_noise_seed_matter_and_suffice():
    expert = make_expert("goal_seeking")
    base = rollout(expert, POINT_GOAL, seeds=[1, 2], max_steps=20)
    the_same(base, rollout(expert, POINT_GOAL, seeds=[1, 2], max_steps=20))
    other_noise = rollout(expert, POINT_GOAL, seeds=[1, 2], max_steps=20, noise_seed=1)
    np.testing.assert_array_equal(base.tracks[0]["hazards_xy"], other_noise.tracks[0]["hazards_xy"])
    assert not np.array_equal(base.demos.actions, other_noise.demos.actions)
    other_layout = rollout(expert, POINT_GOAL, seeds=[3, 2], max_steps=20)
    assert not np.array_equal(base.tracks[0]["hazards_xy"], other_layout.tracks[0]["hazards_xy"])
    np.testing.assert_array_equal(base.demos.episode(1).actions, other_layout.demos.episode(1).actions)


def test_noise_is_standard_normal_without_seams_between_blocks():
    noise = []

    class Listening:
        def act(self, observations, state, episode_start, noise_now):
            noise.append(noise_now.copy())
            return 0.0 * noise_now, None

    rollout(Listening(), POINT_GOAL, seeds=list(range(16)), max_steps=600)
    drawn = np.stack(noise)
    np.testing.assert_array_equal(first_noise(range(16), 2), drawn[0])
    assert not np.array_equal(first_noise(range(16), 2, noise_seed=1), drawn[0])
    assert drawn.shape == (600, 16, 2)
    assert len(np.unique(drawn)) == drawn.size
    assert abs(drawn.mean()) < 0.03
    assert abs(drawn.std() - 1) < 0.03


def test_what_is_recorded_is_what_happened():
    """Replaying the recorded actions in one plain environment gives the recorded episode."""
    wild = from_function(lambda observations: 3.0 * observations[:, [3, 9]])
    run = rollout(wild, POINT_GOAL, seeds=[8, 5], max_steps=50)
    env = gymnasium.make(POINT_GOAL)
    for episode, track in zip(run.demos, run.tracks, strict=True):
        assert np.abs(episode.actions).max() == 1.0  # clipped, since that is what was executed
        observation, info = env.reset(seed=episode.seed)
        np.testing.assert_array_equal(track["hazards_xy"], info["hazards_xy"])
        np.testing.assert_array_equal(track["vases_xy"], info["vases_xy"])
        for t, action in enumerate(episode.actions):
            np.testing.assert_array_equal(episode.observations[t], observation.astype(np.float32))
            np.testing.assert_array_equal(track["robot_xy"][t], info["robot_xy"])
            np.testing.assert_array_equal(track["goal_xy"][t], info["goal_xy"])
            observation, reward, _, _, info = env.step(action.astype(np.float64))
            assert episode.rewards[t] == reward
            assert episode.costs[t] == info["cost"]
            assert track["goal_reached"][t] == info["goal_reached"]
        np.testing.assert_array_equal(episode.observations[-1], observation.astype(np.float32))
        assert track["robot_xy"].shape == (51, 2)
        assert track["robot_heading_rad"].shape == (51,)
        assert track["cost_hazards"].shape == track["cost_vases"].shape == (50,)
    env.close()
    assert run.demos.observations.dtype == run.demos.actions.dtype == np.float32
    assert run.demos.facts == {"env_id": POINT_GOAL, "max_steps": 50}
    np.testing.assert_array_equal(run.demos.action_high, [1.0, 1.0])


def test_ends_are_told_apart_from_time_limits():
    run = rollout(pumping(), CAR, seeds=[0, 1, 2])
    assert run.demos.terminated.all()
    assert len(set(run.demos.lengths)) > 1
    assert run.demos.costs is None
    assert run.tracks[0] == {}
    short = rollout(pumping(), CAR, seeds=[0, 1, 2], max_steps=20)
    assert not short.demos.terminated.any()
    assert list(short.demos.lengths) == [20, 20, 20]


def test_controllers_get_the_live_rows_and_are_told_of_starts():
    controller = Counting()
    run = rollout(controller, PENDULUM, seeds=[1, 2, 3, 4, 5], n_envs=3)
    n_rows = [n for n, _ in controller.rows]
    assert n_rows == [3] * 200 + [2] * 200  # two waves; the slot that is left over does not act
    starts = [start.any() for _, start in controller.rows]
    assert np.flatnonzero(starts).tolist() == [0, 200]
    assert run.demos.n_episodes == 5


def test_episodes_longer_than_the_first_tape():
    spec = dataclasses.replace(gymnasium.spec(PENDULUM), max_episode_steps=2500)
    run = rollout(Counting(), spec, seeds=[1, 2])
    assert list(run.demos.lengths) == [2500, 2500]
    short = rollout(Counting(), PENDULUM, seeds=[1, 2])
    np.testing.assert_array_equal(run.demos.episode(1).observations[:200], short.demos.episode(1).observations[:200])
    assert np.abs(run.demos.episode(1).observations[2400:]).max() > 0


@pytest.mark.parametrize("said_in", [(5,), (1500,), (5, 1500), (2100,)])
def test_costs_that_are_mentioned_now_and_then_in_long_episodes(said_in):
    class Rare(gymnasium.Wrapper):
        n_steps = 0

        def step(self, action):
            self.n_steps += 1
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, info | ({"cost": 1.0} if self.n_steps in said_in else {})

    bare = gymnasium.make(PENDULUM).unwrapped.__class__
    costs = rollout(Counting(), lambda: Rare(bare()), seeds=[1], max_steps=2200).demos.costs
    assert (np.flatnonzero(costs) + 1).tolist() == list(said_in)


def test_progress_counts_steps_of_all_episodes():
    told = []
    rollout(make_expert("forward"), POINT_GOAL, seeds=[1, 2, 3], max_steps=4, n_envs=2, on_progress=told.append)
    assert told == [2, 4, 6, 8, 9, 10, 11, 12]


class Far(gymnasium.Env):
    """Three steps that begin at `start`, in the type `kind`; what is done is added, and the info tells `told`."""

    def __init__(self, kind, start=1e8, told=(), bounds=(-np.inf, np.inf)):
        self.observation_space = gymnasium.spaces.Box(*np.array(bounds, dtype=kind), (1,), kind)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64 if kind == np.float64 else np.float32)
        self.start, self.told, self.n = start, list(told), 0

    def seen(self):
        return np.array([self.at]).astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        self.at, self.n = self.start + seed / 8, 0
        return self.seen(), {}

    def step(self, action):
        self.at, self.n = self.at + float(action[0]), self.n + 1
        told = self.told[self.n - 1] if self.told else {}
        return self.seen(), 0.0, False, self.n == 3, told


def push(observations):
    return np.full((len(observations), 1), 1 / 3)


@pytest.mark.parametrize(
    ("kind", "bounds", "kept"),
    [
        (np.float64, (-np.inf, np.inf), np.float64),
        (np.float32, (-np.inf, np.inf), np.float32),
        (np.float16, (-np.inf, np.inf), np.float32),
        (np.int64, (-2, 2**24), np.float32),
        (np.int64, (-2, 2**40), np.float64),
    ],
)
def test_what_is_seen_is_kept_as_the_space_has_it(kind, bounds, kept):
    start = 1e8 if kind == np.float64 or bounds[1] == 2**40 else 5.0
    run = rollout(from_function(push), lambda: Far(kind, start, bounds=bounds), seeds=[1, 8], max_steps=3)
    assert run.demos.observations.dtype == kept
    env = Far(kind, start, bounds=bounds)
    for episode in run.demos:
        seen = [env.reset(seed=episode.seed)[0], *(env.step(action)[0] for action in episode.actions)]
        np.testing.assert_array_equal(episode.observations, np.stack(seen).astype(np.float64))
    done = np.float64 if kind == np.float64 else np.float32
    assert run.demos.actions.dtype == done
    np.testing.assert_array_equal(run.demos.actions, done(1 / 3))


@pytest.mark.parametrize(
    ("told", "costs"),
    [
        ([{"cost": None}, {"cost": 2}, {}], [0.0, 2.0, 0.0]),
        ([{"cost": np.array([1.5])}, {"cost": True}, {"cost": None}], [1.5, 1.0, 0.0]),
        ([{"cost": None}] * 3, None),
    ],
)
def test_a_cost_that_is_none_is_not_told(told, costs):
    found = rollout(from_function(push), lambda: Far(np.float32, told=told), seeds=[1, 2], max_steps=3).demos.costs
    assert (None if found is None else found.tolist()) == (None if costs is None else costs * 2)


@pytest.mark.parametrize("told", ["high", np.zeros(2), [1.0, 2.0], 1j])
def test_a_cost_that_is_no_number_is_refused(told):
    with pytest.raises(WorldError, match=r"^The cost .* of Far in step 2 of seed 1 must be one number; .*sum it up"):
        rollout(from_function(push), lambda: Far(np.float32, told=[{}, {"cost": told}, {}]), seeds=[1], max_steps=3)


class Mentioning(gymnasium.Wrapper):
    """Mentions a cost only where there is one."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.env.unwrapped.np_random.random() < 0.02:
            info = {**info, "cost": 1.0}
        return observation, reward, terminated, truncated, info


def test_costs_that_are_mentioned_now_and_then():
    gymnasium.register("Mentioning-v0", lambda: Mentioning(gymnasium.make(PENDULUM)), max_episode_steps=30)
    try:
        runs = [rollout(Counting(), "Mentioning-v0", seeds=list(range(12)), n_envs=n) for n in (1, 12)]
    finally:
        del gymnasium.registry["Mentioning-v0"]
    costs = runs[0].demos.costs
    assert 0 < costs.sum() < 40
    assert set(costs) == {0.0, 1.0}
    np.testing.assert_array_equal(costs, runs[1].demos.costs)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", "actions of CartPole-v1 must be vectors"),
        ("Blackjack-v1", "observations of Blackjack-v1 must be vectors"),
        ("NoSuchWorld-v0", "must be registered"),
        ("no_such_module:World-v0", "no_such_module must be importable; it raised ModuleNotFoundError"),
    ],
)
def test_environments_that_do_not_fit(env_id, message):
    with pytest.raises(WorldError, match=message):
        rollout(Counting(), env_id, seeds=[1], max_steps=2)


def test_an_environment_without_an_end_needs_one():
    spec = dataclasses.replace(gymnasium.spec(PENDULUM), max_episode_steps=None)
    with pytest.raises(WorldError, match="Give max_steps"):
        rollout(Counting(), spec, seeds=[1])
    assert rollout(Counting(), spec, seeds=[1], max_steps=7).demos.n_steps == 7


def test_impossible_requests():
    with pytest.raises(WorldError, match="at least one seed"):
        rollout(Counting(), PENDULUM, seeds=[])
    with pytest.raises(WorldError, match=">= 0"):
        rollout(Counting(), PENDULUM, seeds=[4, -1])
    for wrong in ({"n_envs": 0}, {"max_steps": 0}):
        with pytest.raises(ConfigError, match="whole number of at least 1; got 0"):
            rollout(Counting(), PENDULUM, seeds=[1], **wrong)
    for seeds in (3, ["1"], [1.5]):
        with pytest.raises(WorldError, match=r"must be a list of integers, one per episode; got .* seeds=\[0, 1\]"):
            inspect.unwrap(rollout)(Counting(), PENDULUM, seeds=seeds)
    with pytest.raises(WorldError, match="must be a function of observations, or have `act` or `predict`; it is a int"):
        rollout(3, PENDULUM, seeds=[1])


def test_whatever_can_act_is_rolled_out():
    class Predicting:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return observation[:, :1], state

    of_all = [
        rollout(who, PENDULUM, seeds=[1, 2], max_steps=4).demos.fingerprint()
        for who in (Predicting(), lambda o: o[:, :1], from_function(lambda o: o[:, :1]))
    ]
    assert of_all[0] == of_all[1] == of_all[2]


def test_actions_that_do_not_fit():
    class Wide:
        def act(self, observations, state, episode_start, noise):
            return np.zeros((len(observations), 3)), None

    with pytest.raises(WorldError, match=r"shape \(1, 2\).*got \(1, 3\)"):
        rollout(Wide(), POINT_GOAL, seeds=[1])
    with pytest.raises(WorldError, match=r"episode 1 \(seed 2\), step 0"):
        rollout(from_function(lambda o: np.where(np.arange(len(o)) == 1, np.nan, 0.0)[:, None]), PENDULUM, seeds=[1, 2])
