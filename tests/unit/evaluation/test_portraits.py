"""What is said of a mode is what its episodes are."""

import json

import numpy as np
import pytest
import torch

from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.portraits import borderline_of, oddness_of, portraits_entry, typical_of
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

LENGTHS = (40, 40, 60, 0, 20, 60)
MODES = (0, 1, 0, 1, 1, 0)  # of each episode, as the made-up model reads it


def episode(n, mode):
    """Columns: noise, a constant, one that grows with time and lies elsewhere by mode, and its like."""
    generator = np.random.default_rng(n)
    time = np.arange(n + 1.0)
    noise = generator.standard_normal((n + 1, 2))
    seen = np.stack([noise[:, 0], np.full(n + 1, 3.0), time + 200 * mode, time + 400 * mode], axis=1)
    acted = noise[:-1] + np.array([3.0 * mode, 0.0])
    return Episode(seen, acted, rewards=np.full(n, 1.0 + mode))


def say(model, scores):
    """An untrained model has nothing to say itself: here what it says of episodes; a later step is less likely."""

    def read(steps, windows, kinds):
        place = windows.starts + (windows.lengths - 1) / 2
        return {"policy": np.tile(-(windows.lengths * place)[:, None], (1, 3)), "combined": scores}

    model.scores_of_windows = read


@pytest.fixture(scope="module")
def demos():
    made = [episode(n, mode) for n, mode in zip(LENGTHS, MODES, strict=True)]
    return Demos.from_episodes(made, observation_names=("place_z", "fixed", "place_x", "place_y"))


@pytest.fixture
def model(demos):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ModeModel(UnbraidConfig(n_modes=3), observation_size=4, action_size=2)
    of_episode = np.array(MODES)[demos.lengths > 0]
    scores = np.where(of_episode[:, None] == np.arange(3), 0.0, -3.0)
    say(made, scores)
    return made


def test_each_mode_is_told_by_its_episodes(model, demos):
    numbers = np.array([7, 11, 12, 20, 30, 31])
    found = portraits_entry(model, demos, numbers)
    json.dumps(found, allow_nan=False)
    assert (found["unit"], found["n"]) == ("episodes", 5)  # one has no steps
    first, second, third = found["modes"]
    assert (first["n"], second["n"], third["n"]) == (3, 2, 0)
    assert first["share"]["value"] == pytest.approx(3 / 5)
    assert first["share"]["n"] == 5
    assert first["steps"]["value"] == pytest.approx((40 + 60 + 60) / 3)
    assert second["return"]["value"] == pytest.approx(2.0 * (40 + 20) / 2)
    assert "cost" not in first
    assert set(first["typical"]) == {7, 12, 31}
    assert first["typical"][0] == 12  # the median of its mode
    assert first["borderline"] == []
    assert third == {"mode": 2, "n": 0, "share": third["share"]}
    assert third["share"]["value"] == 0.0


def test_the_columns_that_tell_most_are_drawn_one_of_each_sensor_first(model, demos):
    found = portraits_entry(model, demos, np.arange(6))
    assert found["columns"][:2] == ["place_x", "action 0"]
    assert "fixed" not in found["columns"]
    assert found["columns"][3] == "place_y"  # where there is room
    run = found["modes"][0]["profile"]
    assert run["steps"] == 60  # two of three go on so long
    mean = np.array(run["columns"][0]["mean"])
    np.testing.assert_allclose(mean, np.arange(60.0), atol=1e-4)
    np.testing.assert_allclose(run["columns"][0]["example"], np.arange(60.0), atol=1e-4)
    other = found["modes"][1]["profile"]
    np.testing.assert_allclose(other["columns"][0]["mean"], 200 + np.arange(40.0), atol=1e-4)
    assert len(other["columns"][0]["example"]) in (20, 40)


def test_a_mode_is_drawn_as_long_as_a_fifth_of_its_episodes_last(model):
    lengths = [10] * 9 + [500]
    demos = Demos.from_episodes([episode(n, 0) for n in lengths])
    scores = np.tile([0.0, -3.0, -3.0], (10, 1))
    say(model, scores)
    assert portraits_entry(model, demos, np.arange(10))["modes"][0]["profile"]["steps"] == 10


def test_where_modes_change_stretches_stand_for_episodes(model, demos):
    model.switch_rate = 0.1
    told = np.where((np.arange(demos.n_steps) % 40 < 30)[:, None] == (np.arange(3) == 0), 0.0, -9.0)
    told[:, 2] = -30.0
    model.step_scores = lambda steps: told
    found = portraits_entry(model, demos, np.arange(6))
    json.dumps(found, allow_nan=False)
    assert found["unit"] == "stretches"
    first, second, third = found["modes"]
    assert first["n"] > 0
    assert second["n"] > 0
    assert third["n"] == 0
    assert first["share"]["unit_of_n"] == "episodes"
    assert first["share"]["value"] + second["share"]["value"] == pytest.approx(1)  # of short stretches, too
    assert found["least_steps"] == 25
    assert first["steps"]["unit_of_n"] == "stretches"
    assert "typical" not in first
    assert len(first["profile"]["columns"]) == 4


def test_the_ordinary_episode_comes_first_and_the_least_sure_is_borderline():
    modes = np.array([0, 0, 0, 1, 1, 0, 0, 0])
    scores = np.array([-1.0, -1.1, -5.0, 0.0, 0.0, -1.2, -0.2, 9.0])
    odd = oddness_of(scores, modes)
    assert odd[2] == odd[:3].max() > 3
    assert odd[7] == odd.min() < -3
    odd[7] = 0
    assert (odd[3:5] == 0).all()
    own = modes == 0
    assert typical_of(odd, own)[0] in (1, 7)
    sure = np.array([0.9, 0.99, 0.99, 1, 1, 0.5, 0.99, 0.99])
    assert borderline_of(odd, own, sure, but=[0, 1]) == [5, 2, 7, 6]
