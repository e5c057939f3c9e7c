"""Reliability: hand-counted cases, ties, chance, and what is left where the unsure are out."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.reliability import (
    JudgedWindows,
    _error_with_interval,
    calibration_error,
    calibration_error_by_chance,
    judged_windows,
    reliability_bins,
    reliability_entry,
    risk_coverage,
)
from unbraid.modes.windows import Windows
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


def test_a_hand_counted_case():
    probabilities = np.array([0.5, 0.6, 0.9, 1.0])
    right = np.array([True, False, True, True])
    low, high = reliability_bins(probabilities, right, 2)
    assert (low.probability, low.right, low.n_windows) == pytest.approx((0.55, 0.5, 2))
    assert (high.probability, high.right, high.n_windows) == pytest.approx((0.95, 1.0, 2))
    assert calibration_error(probabilities, right, 2) == pytest.approx(0.05)


def test_the_order_of_those_that_are_equally_sure_decides_nothing():
    probabilities = np.full(100, 0.8)
    right = np.arange(100) < 80
    assert calibration_error(probabilities, right) == pytest.approx(0, abs=1e-12)
    assert calibration_error(probabilities, right[::-1]) == pytest.approx(0, abs=1e-12)


def test_true_probabilities_err_by_chance_alone_and_false_ones_by_more():
    draws = np.random.default_rng(0)
    probabilities = draws.uniform(0.5, 1, size=3000)
    right = draws.random(3000) < probabilities
    floor = calibration_error_by_chance(probabilities, draws)
    assert 0.005 < floor < 0.04
    assert calibration_error(probabilities, right) < 2 * floor
    overconfident = 1 - (1 - probabilities) / 4
    assert calibration_error(overconfident, right) == pytest.approx(
        float((overconfident - probabilities).mean()), abs=0.02
    )


def test_there_may_be_fewer_windows_than_bins_but_not_none():
    assert calibration_error(np.array([0.7]), np.array([True])) == pytest.approx(0.3)
    with pytest.raises(DataError, match="at least one window"):
        calibration_error(np.zeros(0), np.zeros(0, dtype=bool))


def test_the_fewer_get_a_mode_the_fewer_are_wrong():
    probabilities = np.array([0.5, 0.7, 0.9, 0.95])
    right = np.array([False, False, True, True])
    any_, some, most, none = risk_coverage(probabilities, right, np.array([0.0, 0.6, 0.8, 0.99]))
    assert (any_.coverage, any_.error) == (1.0, 0.5)
    assert (some.coverage, some.error) == pytest.approx((0.75, 1 / 3))
    assert (most.coverage, most.error) == (0.5, 0.0)
    assert (none.coverage, none.error) == (0.0, None)


def test_the_interval_is_over_episodes_about_the_error_itself():
    draws = np.random.default_rng(0)
    probabilities = draws.uniform(0.5, 1, size=600)
    right = draws.random(600) < probabilities - 0.2
    episodes = np.repeat(np.arange(30), 20)
    found = _error_with_interval(probabilities, right, episodes, draws)
    assert found.value == pytest.approx(calibration_error(probabilities, right), abs=1e-5)
    assert found.low < found.value < found.high
    assert (found.n, found.unit_of_n) == (30, "episodes")
    alone = _error_with_interval(probabilities, right, np.zeros(600, dtype=np.int64), draws)
    assert (alone.low, alone.high) == (None, None)


def test_the_interval_tells_how_episodes_differ_where_all_windows_are_as_sure():
    draws = np.random.default_rng(0)
    episodes = np.repeat(np.arange(30), 20)
    covered = 0
    for _ in range(100):
        right = draws.random(600) < draws.beta(7, 3, 30)[episodes]
        found = _error_with_interval(np.ones(600), right, episodes, draws)
        assert found.value == pytest.approx(1 - right.mean(), abs=1e-8)
        covered += found.low <= 0.3 <= found.high
    assert covered > 80


def test_shares_of_windows_that_get_a_mode_have_intervals_over_episodes():
    draws = np.random.default_rng(1)
    lengths = np.full(400, 10)
    windows = Windows(np.arange(400) * 10, lengths, np.repeat(np.arange(20), 20))
    sure = draws.uniform(0.5, 1, size=400)
    right = draws.random(400) < sure
    judged = JudgedWindows(windows, "expert", np.zeros((400, 2)), sure, right)
    for point in reliability_entry(judged, seed=0)["risk_coverage"]:
        coverage, error = point["coverage_estimate"], point["error_estimate"]
        assert coverage["value"] == pytest.approx(point["coverage"])
        assert coverage["low"] <= coverage["value"] <= coverage["high"]
        assert (coverage["n"], coverage["unit_of_n"]) == (20, "episodes")
        if point["error"] is not None:
            assert error["value"] == pytest.approx(point["error"])
            assert error["low"] < error["value"] < error["high"] or point["min_probability"] > 0.9
    nothing = JudgedWindows(windows, "expert", np.zeros((400, 2)), np.full(400, 0.55), right)
    assert reliability_entry(nothing, seed=0)["risk_coverage"][-1]["error_estimate"] is None


def test_a_windows_mode_is_right_where_it_is_the_episodes_and_where_it_is_the_experts():
    draws = np.random.default_rng(2)
    lengths, labels = [30, 12, 40, 25, 9, 31], [0, 1, 1, 0, 1, 0]
    demos = Demos.from_episodes(
        [
            Episode(observations=5 * draws.normal(size=(n + 1, 3)), actions=draws.normal(size=(n, 2)), label=label)
            for n, label in zip(lengths, labels, strict=True)
        ],
        label_names=("here", "there"),
    )
    torch.manual_seed(1)
    model = ModeModel(UnbraidConfig(n_modes=3), observation_size=3, action_size=2).eval()
    with torch.no_grad():
        for weights in model.policy.parameters():
            weights.mul_(2)  # untrained, it finds all windows alike
    expert_of_mode = np.array([1, -1, 0])
    found = list(judged_windows(model, demos, window_lengths=(10, 41), expert_of_mode=expert_of_mode))
    assert [judged.right_is for judged in found] == ["episode", "expert"]  # no episode has 41 steps
    whole = model.predict(demos).tolist()
    modes = model.predict(demos, window_steps=10).tolist()
    episodes = [e for e, n in enumerate(lengths) for _ in range(0, n - 9, 5)]
    of_episode, of_expert = found
    assert of_episode.right.tolist() == [mode == whole[e] for mode, e in zip(modes, episodes, strict=True)]
    assert of_expert.right.tolist() == [
        {0: 1, 2: 0}.get(mode) == labels[e] for mode, e in zip(modes, episodes, strict=True)
    ]
    assert len({*of_episode.right.tolist()}) == len({*of_expert.right.tolist()}) == 2
    sure = model.predict_proba(demos, window_steps=10).max(1)
    np.testing.assert_allclose(of_expert.probabilities, sure)
    for unread in ({"expert_of_mode": None}, {"held_out": demos.without_labels(), "expert_of_mode": expert_of_mode}):
        given = {"held_out": demos, "window_lengths": (10, 40), **unread}
        only = list(judged_windows(model, **given))
        assert [(judged.right_is, int(judged.windows.lengths[0])) for judged in only] == [
            ("episode", 10),
            ("episode", 40),
        ]


def test_a_window_is_sure_enough_at_just_the_least_probability():
    windows = Windows(np.arange(4), np.ones(4, dtype=np.int64), np.array([0, 0, 1, 2]))
    judged = JudgedWindows(
        windows, "expert", np.zeros((4, 2)), np.array([0.9, 0.6, 0.9, 0.5]), np.array([False, True, True, True])
    )
    point = next(p for p in reliability_entry(judged, seed=0)["risk_coverage"] if p["min_probability"] == 0.9)
    assert (point["coverage"], point["error"]) == (0.5, 0.5)
    assert (point["coverage_estimate"]["value"], point["error_estimate"]["value"]) == (0.5, 0.5)
    assert (point["coverage_estimate"]["n"], point["error_estimate"]["n"]) == (3, 2)  # one episode has no such window
