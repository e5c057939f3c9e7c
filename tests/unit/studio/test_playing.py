"""A recorded episode as it was: from above, and as columns."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.studio.playing import MOST_COLUMNS, column_names, columns_of, scenes_of

ENV = "unbraid/PointGoal1-v0"


def test_the_picture_follows_the_recorded_robot(demos):
    found = scenes_of(demos, 2, ENV)
    assert len(found["frames"]) == 61
    headings = np.array([frame["robot"][2] for frame in found["frames"]])
    magnetometer = demos.episode(2).observations[:, 9:11]  # the north in the robot's frame
    direction = np.arctan2(magnetometer[:, 0], magnetometer[:, 1])
    turned = np.angle(np.exp(1j * (headings - direction)))
    np.testing.assert_allclose(np.diff(np.unwrap(turned)), 0, atol=0.01)


def test_no_picture_without_a_seed_of_another_world_or_of_other_observations(demos):
    assert scenes_of(replace(demos, seeds=None), 0, ENV) is None
    assert scenes_of(demos, 0, "Pendulum-v1") is None
    assert scenes_of(replace(demos, seeds=demos.seeds + 1), 0, ENV) is None
    assert scenes_of(demos, 0, "unbraid/PointGoal0-v0") is None


def test_columns_are_named_and_are_the_data(demos):
    names = column_names(demos)
    assert names[:2] == ["accelerometer_x", "accelerometer_y"]
    assert names[60:] == ["action 0", "action 1", "reward", "cost"]
    found = columns_of(demos, 1, [3, 61, 62])
    episode = demos.episode(1)
    due = [episode.observations[:-1, 3], episode.actions[:, 1], episode.rewards]
    np.testing.assert_allclose(found, due, atol=1e-4)


def test_columns_without_names_and_rewards_are_numbered(demos):
    bare = replace(demos, observation_names=(), rewards=None, costs=None)
    assert column_names(bare) == [f"observation {i}" for i in range(60)] + ["action 0", "action 1"]


@pytest.mark.parametrize("columns", [[], [64], [-1], list(range(MOST_COLUMNS + 1))])
def test_other_columns_are_refused(demos, columns):
    with pytest.raises(ConfigError, match="Columns must"):
        columns_of(demos, 0, columns)


@pytest.mark.parametrize("episode", [-1, 8])
def test_other_episodes_are_refused(demos, episode):
    with pytest.raises(ConfigError, match="An episode must"):
        columns_of(demos, episode, [0])
    with pytest.raises(ConfigError, match="An episode must"):
        scenes_of(demos, episode, ENV)


def test_a_long_episode_is_thinned(demos, monkeypatch):
    monkeypatch.setattr("unbraid.studio.playing._MOST_ROWS", 20)
    found = scenes_of(demos, 0, ENV)
    assert (found["every"], len(found["frames"])) == (3, 21)
    np.testing.assert_allclose(columns_of(demos, 0, [60])[0], demos.episode(0).actions[::3, 0], atol=1e-4)
