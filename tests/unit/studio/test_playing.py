"""A recorded episode as it was: from above, and as columns."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.telling import column_names
from unbraid.studio.playing import MOST_COLUMNS, columns_of, profile_of, scenes_of

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


def test_what_varies_is_seen_of_columns_in_small_units_and_far_from_0():
    run = np.linspace(0, 1, 11)[:, None]
    seen = np.hstack([1e-6 * run, 5e8 + run, run])
    far = Demos.from_episodes([Episode(seen, np.zeros((10, 1)))])
    small, large, plain = (np.array(column) for column in columns_of(far, 0, [0, 1, 2]))
    np.testing.assert_allclose(small * 1e6, plain, rtol=1e-3)
    np.testing.assert_allclose(large - 5e8, plain, atol=1e-4)
    of_small, of_large, of_plain = (np.array(c["mean"]) for c in profile_of(far, [0], [0, 1, 2])["columns"])
    np.testing.assert_allclose(of_small * 1e6, of_plain, rtol=1e-3)
    np.testing.assert_allclose(of_large - 5e8, of_plain, atol=1e-4)


def test_columns_without_names_and_rewards_are_numbered(demos):
    bare = replace(demos, observation_names=(), rewards=None, costs=None)
    assert column_names(bare) == [f"observation {i}" for i in range(60)] + ["action 0", "action 1"]


@pytest.mark.parametrize("columns", [[], [64], [-1], list(range(MOST_COLUMNS + 1))])
def test_other_columns_are_refused(demos, columns):
    with pytest.raises(ConfigError, match="Columns must"):
        columns_of(demos, 0, columns)
    with pytest.raises(ConfigError, match="Columns must"):
        profile_of(demos, [0], columns)


def test_a_profile_is_of_all_episodes_asked_for(demos):
    found = profile_of(demos, [0, 4], [3, 61])
    assert found["steps"] == 60
    seen = np.stack([demos.episode(e).observations[:-1, 3] for e in (0, 4)])
    np.testing.assert_allclose(found["columns"][0]["mean"], seen.mean(0), atol=1e-3)
    assert found["columns"][1]["low"][0] <= found["columns"][1]["mean"][0] <= found["columns"][1]["high"][0]


def test_an_episode_that_ends_early_is_in_the_first_parts_alone():
    seen = [np.full((n + 1, 1), float(n)) for n in (10, 30)]
    short = Demos.from_episodes([Episode(s, np.zeros((len(s) - 1, 1))) for s in seen])
    (column,) = profile_of(short, [0, 1], [0])["columns"]
    assert column["mean"] == [20.0] * 10 + [30.0] * 20


def test_episodes_without_a_step_have_no_profile():
    empty = Demos.from_episodes([Episode(np.zeros((1, 2)), np.zeros((0, 1)))])
    assert profile_of(empty, [0], [1]) == {"steps": 0, "columns": []}


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
