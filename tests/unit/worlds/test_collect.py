"""Collecting: every expert in layouts of its own, shuffled, with labels that only say who."""

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, WorldError
from unbraid.worlds.collect import collect, observation_names
from unbraid.worlds.controllers import from_function
from unbraid.worlds.experts import make_expert

POINT_GOAL = "unbraid/PointGoal1-v0"


def sources(*names):
    return [(name, make_expert(name)) for name in names]


def collected(seed=0, **changes):
    asked = {"env_id": POINT_GOAL, "n_episodes": (6, 3), "max_steps": 12, "seed": seed, **changes}
    return collect(sources("circling", "forward"), **asked)


def test_labels_say_who_acted():
    demos = collected()
    assert demos.label_names == ("circling", "forward")
    assert np.bincount(demos.labels).tolist() == [6, 3]
    for episode in demos:
        turn = episode.actions[:, 1].mean()
        assert (turn > 0.25) == (demos.label_names[episode.label] == "circling")


def test_every_episode_has_a_layout_of_its_own():
    demos = collected()
    assert len(set(demos.seeds)) == demos.n_episodes
    assert demos.seeds.max() < 2**31
    assert len(np.unique(demos.observations[demos.row_starts[:-1]], axis=0)) == demos.n_episodes


def test_the_order_is_shuffled():
    labels = np.array([collected(seed=seed, max_steps=1).labels for seed in range(12)])
    assert (np.diff(labels, axis=1) < 0).any()
    assert 0 < labels[:, 0].mean() < 1


def test_the_seed_matters_and_suffices():
    one, again, other = collected(seed=3), collected(seed=3), collected(seed=4)
    assert one.fingerprint() == again.fingerprint()
    np.testing.assert_array_equal(one.labels, again.labels)
    assert not set(one.seeds) & set(other.seeds)
    assert one.fingerprint() != other.fingerprint()


def test_what_is_known_of_the_source_is_kept():
    demos = collected()
    assert demos.facts == {"env_id": POINT_GOAL, "max_steps": 12, "seed": 0}
    np.testing.assert_array_equal(demos.action_low, [-1, -1])
    np.testing.assert_array_equal(demos.action_high, [1, 1])
    assert demos.rewards is not None
    assert demos.costs is not None
    first = dict(zip(demos.observation_names, demos.observations[0], strict=True))
    assert first["accelerometer_z"] == pytest.approx(9.81)
    assert np.hypot(first["magnetometer_x"], first["magnetometer_y"]) == pytest.approx(0.5)
    nearest = [
        max(v for name, v in first.items() if name.startswith(kind)) for kind in ("goal_l", "hazard_l", "vase_l")
    ]
    assert min(nearest) > 0


def test_names_only_where_the_environment_is_known():
    assert observation_names("Pendulum-v1", 3) == ()
    assert observation_names("unbraid/PointGoal0-v0", 28)[-1] == "goal_lidar_15"
    assert len(set(observation_names(POINT_GOAL, 60))) == 60


def test_other_environments_and_functions():
    def push(observations):
        return np.zeros((len(observations), 1))

    demos = collect([("push", from_function(push))], env_id="Pendulum-v1", n_episodes=2, max_steps=5, seed=1)
    assert demos.n_steps == 10
    assert demos.costs is None
    assert demos.observation_names == ()


class Predicting:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full((len(observation), 1), 0.25), None


def test_plain_functions_and_policies_are_experts_too():
    """As `--experts module:name` and `evaluate` take them."""
    sources = [("half", lambda observations: np.full((len(observations), 1), 0.5)), ("quarter", Predicting())]
    demos = collect(sources, env_id="Pendulum-v1", n_episodes=2, max_steps=3, seed=1)
    for episode in demos:
        assert set(episode.actions[:, 0]) == {(0.5, 0.25)[episode.label]}
    with pytest.raises(WorldError, match="The expert third must be a function of observations"):
        collect([("third", 3)], env_id="Pendulum-v1", n_episodes=1, seed=1)


def test_progress_goes_on_from_expert_to_expert():
    told = []
    collected(n_episodes=2, max_steps=2, on_progress=told.append)
    assert told == [2, 4, 6, 8]


def test_impossible_requests():
    for n_episodes in ((1,), (1, 2, 3)):
        with pytest.raises(WorldError, match="must have a number of episodes"):
            collected(n_episodes=n_episodes)
    for n_episodes in (0, (1, 0), -1, 3_000_000_000):
        with pytest.raises(ConfigError, match="number of episodes of a source must be a whole number from 1 to"):
            collected(n_episodes=n_episodes)
    for names in ((), ("forward", "forward")):
        with pytest.raises(WorldError, match="at least one source"):
            collect(sources(*names), env_id=POINT_GOAL, n_episodes=1, seed=0)
