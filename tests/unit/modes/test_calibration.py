"""Temperatures: those that made the data are found again, few data leave them where they were."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from unbraid.core.errors import ConfigError, ModelError
from unbraid.modes.calibration import Calibration, LeftOut, fitted_temperatures, likeliest


def windows(temperature, n=4000, n_spans=400, seed=0):
    """Scores whose softmax over a temperature is the truth."""
    draws = np.random.default_rng(seed)
    scores = draws.normal(size=(n, 3)) * 6
    probabilities = softmax(scores / temperature, axis=1)
    modes = (draws.random((n, 1)) > probabilities.cumsum(1)).sum(1)
    return LeftOut(scores, modes, n_spans)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_that_made_the_data_is_found(temperature):
    (found,) = fitted_temperatures([windows(temperature)])
    assert found == pytest.approx(temperature, rel=0.1)


def test_each_length_has_its_own_and_neighbours_hold_it():
    free = fitted_temperatures([windows(1.0), windows(3.0, seed=1)])
    assert free == pytest.approx([1.0, 3.0], rel=0.15)
    few = fitted_temperatures([windows(1.0), windows(3.0, n_spans=1, seed=1)])
    assert few[0] < few[1] < 0.8 * free[1]


def test_spans_without_an_error_do_not_make_it_certain():
    scores = np.tile([[9.0, 0.0]], (50, 1))
    (found,) = fitted_temperatures([LeftOut(scores, np.zeros(50, dtype=int), 5)])
    assert found == pytest.approx(1.4, rel=0.05)


def test_the_slope_is_the_losss():
    """Against a search that needs no slope."""
    from scipy.optimize import minimize_scalar

    data = windows(2.0, n=300, n_spans=20)

    def loss(log):
        log_probs = np.log(softmax(data.scores / np.exp(log), axis=1))
        return -20 * log_probs[np.arange(300), data.modes].mean() + 0.5 * (log - np.log(1.4)) ** 2

    (found,) = fitted_temperatures([data])
    assert np.log(found) == pytest.approx(minimize_scalar(loss, bounds=(-3, 6), method="bounded").x, abs=1e-3)


def test_it_is_the_best_of_all_temperatures_given_that_neighbours_are_alike():
    """Against a search that needs no slope; deviations: 1 about log 1.4, and a half between neighbours."""
    data = [windows(t, n=200, n_spans=n, seed=n) for t, n in ((0.7, 12), (3.0, 5), (2.0, 9))]

    def loss(logs):
        value = 0.5 * ((logs - np.log(1.4)) ** 2).sum() + 0.5 * (np.diff(logs) ** 2).sum() / 0.25
        for log, given in zip(logs, data, strict=True):
            probabilities = softmax(given.scores / np.exp(log), axis=1)[np.arange(200), given.modes]
            value -= given.n_spans * np.log(probabilities).mean()
        return value

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}).x
    np.testing.assert_allclose(np.log(fitted_temperatures(data)), best, atol=2e-3)


def test_temperatures_stay_within_reason():
    """However sure: scores that say nothing, or that are right by next to nothing in as many spans as one likes."""
    wrong = LeftOut(np.tile([[1e4, 0.0]], (50, 1)), np.arange(50) % 2, 10**9)
    right = LeftOut(np.tile([[1e-4, 0.0]], (50, 1)), np.zeros(50, dtype=int), 10**9)
    assert np.log(fitted_temperatures([wrong])) == pytest.approx([6.0])
    assert np.log(fitted_temperatures([right])) == pytest.approx([-3.0])


def test_lengths_between_two_lie_between_and_those_beyond_are_the_ends():
    made = Calibration((1, 100), {"combined": (1.0, 4.0)}, 7)
    assert made.of("combined", np.array([1, 10, 100, 5000])) == pytest.approx([1.0, 2.0, 4.0, 4.0])


def test_it_comes_back_from_json():
    made = Calibration((1, 10), {"combined": (1.0, 2.0), "policy": (1.5, 3.0)}, 7)
    assert Calibration.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"window_steps": [], "temperatures": {}, "n_spans": 1},
        {"window_steps": [1, 2], "temperatures": {"combined": [1.0]}, "n_spans": 1},
        {"window_steps": [1], "temperatures": {"combined": [0.0]}, "n_spans": 1},
        {"window_steps": [1], "temperatures": [1.0], "n_spans": 1},
        {"window_steps": ["a"], "temperatures": {}, "n_spans": 1},
    ],
)
def test_what_is_no_calibration_is_refused(content):
    with pytest.raises(ModelError, match=r"A calibration must have .* Fit again"):
        Calibration.from_json(content)


def test_below_the_least_probability_there_is_no_mode():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    assert likeliest(probabilities).tolist() == [0, 1, 0]
    assert likeliest(probabilities, 0.6).tolist() == [0, 1, -1]
    assert likeliest(probabilities, 1.0).tolist() == [-1, -1, -1]
    for least in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"min_probability must lie in \[0, 1\]"):
            likeliest(probabilities, least)
