"""The likelihood under modes that change is the sum over all sequences of modes, and no episode knows of another."""

import itertools

import numpy as np
import pytest

from unbraid.training.likelihood import chain_log_likelihoods

LENGTHS = np.array([4, 0, 1, 5])
RATE = 0.2


def enumerated(log_likelihoods, rate):
    """The logarithm of the sum over every sequence of modes of one episode."""
    n_steps, n_modes = log_likelihoods.shape
    total = 0.0
    for path in itertools.product(range(n_modes), repeat=n_steps):
        moves = [1 - rate if a == b else rate / (n_modes - 1) for a, b in itertools.pairwise(path)]
        total += np.exp(log_likelihoods[range(n_steps), path].sum()) * np.prod(moves) / n_modes
    return np.log(total)


@pytest.mark.parametrize("n_modes", [2, 3])
def test_it_is_what_the_enumeration_says_and_no_step_is_bounded(n_modes):
    values = 10 * np.random.default_rng(0).normal(size=(10, n_modes))
    parts = np.split(values, np.cumsum(LENGTHS)[:-1])
    found = chain_log_likelihoods(values, LENGTHS, RATE)
    np.testing.assert_allclose(found, [enumerated(part, RATE) if len(part) else 0.0 for part in parts])


def test_one_mode_has_the_sum_and_nothing_has_none():
    values = np.arange(10.0)[:, None]
    np.testing.assert_allclose(chain_log_likelihoods(values, LENGTHS, 1e-12), [6, 0, 4, 35])
    assert chain_log_likelihoods(values[:0], np.zeros(0, dtype=np.int64), RATE).shape == (0,)


def test_likelihoods_beyond_every_exponential_are_numbers():
    values = np.array([[-1e5, -1e6], [-1e6, -1e5]])
    (found,) = chain_log_likelihoods(values, np.array([2]), RATE)
    assert found == pytest.approx(-2e5 + np.log(0.5 * RATE), abs=1e-6)
