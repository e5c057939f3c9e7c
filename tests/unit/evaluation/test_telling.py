"""The columns that tell modes apart come first, and a profile is what was done over time."""

import tracemalloc

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation import telling
from unbraid.evaluation.telling import profile, sensor_of, telling_columns


def pile(observations, actions, *, n_episodes):
    """Equal parts of tables of steps, each with a last observation."""
    parts = zip(np.split(observations, n_episodes), np.split(actions, n_episodes), strict=True)
    return Demos.from_episodes([Episode(np.vstack([seen, seen[-1:]]), acted) for seen, acted in parts])


@pytest.fixture(scope="module")
def modes():
    return np.repeat([0, 1], 300)


@pytest.fixture(scope="module")
def made(modes):
    """Columns: noise, a constant, one that lies elsewhere by mode, one that spreads further; a rare bit, and noise."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((600, 6))
    seen = np.stack([noise[:, 0], np.full(600, 3.0), noise[:, 1] + 6 * modes, noise[:, 2] * (1 + 4 * modes)], axis=1)
    rare = (modes == 1) & (generator.random(600) < 0.1)
    return pile(seen, np.stack([rare, noise[:, 5]], axis=1), n_episodes=6)


def test_columns_that_lie_elsewhere_or_spread_further_come_first_and_constant_ones_last(made, modes):
    found = telling_columns(made, modes)
    assert found[:3] == [2, 3, 4]
    assert found[-1] == 1
    assert sorted(found) == list(range(6))


def test_what_modes_are_called_does_not_matter_and_one_mode_says_nothing(made, modes):
    assert telling_columns(made, 7 - 3 * modes) == telling_columns(made, modes)
    assert telling_columns(made, np.zeros(600, dtype=int)) == [0, 2, 3, 4, 5, 1]


def test_long_data_are_read_in_part(made, modes, monkeypatch):
    monkeypatch.setattr("unbraid.evaluation.telling._MOST_STEPS", 100)
    assert telling_columns(made, modes)[:2] == [2, 3]


def test_of_wide_data_fewer_steps_are_read(made, modes, monkeypatch):
    read = []
    found = telling._information
    monkeypatch.setattr(telling, "_information", lambda rows, values: read.append(len(values)) or found(rows, values))
    monkeypatch.setattr(telling, "_LEAST_STEPS", 100)
    monkeypatch.setattr(telling, "_MOST_NUMBERS", 6 * 200)
    assert telling_columns(made, modes)[:2] == [2, 3]
    assert set(read) == {200}
    read.clear()
    monkeypatch.setattr(telling, "_MOST_NUMBERS", 6)
    assert telling_columns(made, modes)[:2] == [2, 3]
    assert set(read) == {100}


def test_data_without_a_step_have_columns_all_the_same():
    empty = Demos.from_episodes([Episode(np.zeros((1, 2)), np.zeros((0, 1)))])
    assert telling_columns(empty, np.zeros(0, dtype=int)) == [0, 1, 2]


def test_steps_that_are_left_out_say_nothing(made, modes):
    some = np.where(np.arange(600) % 3 == 0, modes, -1)
    assert telling_columns(made, some)[:3] == [2, 3, 4]
    assert telling_columns(made, np.full(600, -1)) == list(range(6))


def test_wide_tables_are_not_held_in_double_precision(modes):
    seen = np.random.default_rng(0).normal(size=(600, 1500)).astype(np.float32)
    seen[:, 700] += 9 * modes
    demos = pile(seen, np.zeros((600, 1), dtype=np.float32), n_episodes=6)
    tracemalloc.start()
    order = telling_columns(demos, modes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert order[0] == 700
    assert peak < 2 * seen.nbytes


def test_columns_of_one_sensor_are_known_by_their_names():
    names = ("goal_lidar_3", "velocimeter_x", "gyro_z", "_7", "arm_left", "observation 3", "x_1_y")
    assert [sensor_of(n) for n in names] == [
        "goal_lidar",
        "velocimeter",
        "gyro",
        "",
        "arm_left",
        "observation 3",
        "x_1",
    ]


def test_a_profile_is_the_mean_and_the_middle_of_what_was_done():
    values = np.random.default_rng(0).normal(size=(200, 2))
    found = profile(values, np.tile(np.arange(100), 2), 100)
    assert found["steps"] == 100
    first = values[[0, 1, 100, 101], 1]  # 100 steps in 60 parts: the first has two of each episode
    column = found["columns"][1]
    assert [len(column[name]) for name in ("low", "mean", "high")] == [60, 60, 60]
    assert column["mean"][0] == pytest.approx(first.mean(), rel=1e-3)
    assert [column["low"][0], column["high"][0]] == pytest.approx(np.quantile(first, [0.1, 0.9]), rel=1e-3)
    assert profile(values[:0], np.zeros(0, dtype=int), 0) == {"steps": 0, "columns": []}
