"""The chain is what the enumeration of all sequences says; its rate is found; no episode knows of another."""

import itertools

import numpy as np
import pytest

from unbraid.modes.chain import (
    best_path,
    bounded,
    constant_log_evidence,
    estimated_rate,
    filtered,
    log_evidence,
    smoothed,
)

LENGTHS = np.array([5, 0, 1, 6, 3])  # 15 steps
RATE = 0.2
FEW = np.array([4, 0, 1, 5])


def scores(n_steps=15, n_modes=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n_steps, n_modes))


def enumerated(log_likelihoods, rate):
    """(probabilities, changes, log-evidence, best path) of one episode, from all sequences of modes."""
    n, n_modes = log_likelihoods.shape
    weights = {}
    for path in itertools.product(range(n_modes), repeat=n):
        moves = [1 - rate if a == b else rate / (n_modes - 1) for a, b in itertools.pairwise(path)]
        weights[path] = np.exp(log_likelihoods[range(n), path].sum()) * np.prod(moves) / n_modes
    total = sum(weights.values())
    probabilities, changes = np.zeros((n, n_modes)), np.zeros(n)
    for path, weight in weights.items():
        probabilities[range(n), path] += weight / total
        changes[1:] += (np.diff(path) != 0) * weight / total
    constant = sum(weight / total for path, weight in weights.items() if len(set(path[1:4])) == 1)
    return probabilities, changes, np.log(total), max(weights, key=weights.get), constant


def test_all_of_it_is_what_the_enumeration_says():
    """Episodes of different lengths, one without steps and one of a single step."""
    values = scores()
    found, path = smoothed(values, LENGTHS, RATE), best_path(values, LENGTHS, RATE)
    for episode, end in enumerate(np.cumsum(LENGTHS)):
        own = slice(int(end - LENGTHS[episode]), int(end))
        if LENGTHS[episode] == 0:
            assert found.log_evidence[episode] == 0
            continue
        probabilities, changes, evidence, best, constant = enumerated(values[own], RATE)
        np.testing.assert_allclose(found.probabilities[own], probabilities)
        np.testing.assert_allclose(found.changes[own], changes, atol=1e-12)
        np.testing.assert_allclose(found.log_evidence[episode], evidence)
        assert tuple(path[own]) == best
        if LENGTHS[episode] > 3:
            np.testing.assert_allclose(found.constant(own.start + 1, own.start + 3), constant)


@pytest.mark.parametrize("rate", [0.05, RATE, 0.45])
def test_the_best_path_is_the_likeliest_of_all(rate):
    for seed in range(8):
        values = scores(6, 2, seed)
        assert tuple(best_path(values, np.array([6]), rate)) == enumerated(values, rate)[3]


def test_without_switching_the_best_path_has_one_mode():
    values = np.tile([[0.0, -3.0], [-3.0, 0.0], [0.0, -3.0]], (5, 1))
    assert best_path(values, np.array([15]), 0.0).tolist() == [0] * 15


def test_the_order_of_episodes_decides_nothing():
    values = scores()
    order = [3, 0, 4, 2, 1]
    parts = np.split(values, np.cumsum(LENGTHS)[:-1])
    shuffled = np.concatenate([parts[i] for i in order])
    first = np.split(smoothed(values, LENGTHS, RATE).probabilities, np.cumsum(LENGTHS)[:-1])
    second = smoothed(shuffled, LENGTHS[order], RATE).probabilities
    np.testing.assert_allclose(second, np.concatenate([first[i] for i in order]))


def test_a_single_odd_step_is_no_change_however_odd():
    values = np.zeros((41, 2))
    values[:, 1] = -1.0
    values[20] = [-1000.0, 0.0]
    assert bounded(values)[20].tolist() == [-4.0, 0.0]
    assert set(best_path(values, np.array([41]), 0.01)) == {0}
    assert smoothed(values, np.array([41]), 0.01).probabilities[20, 0] > 0.9


def test_of_two_paths_as_likely_the_one_that_stays_is_taken():
    assert best_path(np.zeros((7, 3)), np.array([7]), 2 / 3).tolist() == [0] * 7
    assert best_path(np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), np.array([3]), 0.5).tolist() == [1, 1, 1]


def test_long_episodes_neither_vanish_nor_overflow():
    values = np.tile([[0.0, -3.0]], (20_000, 1))
    values[10_000:] = [[-3.0, 0.0]]
    found = smoothed(values, np.array([20_000]), 1e-4)
    assert np.isfinite(found.probabilities).all()
    assert np.flatnonzero(np.diff(best_path(values, np.array([20_000]), 1e-4))).tolist() == [9_999]
    np.testing.assert_allclose(found.changes.sum(), 1, rtol=1e-3)
    np.testing.assert_allclose(found.log_evidence, np.log(1e-4) + 9_999 * 2 * np.log1p(-1e-4) - np.log(2), rtol=1e-2)


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.1])
def test_the_rate_of_switching_is_estimated(rate):
    generator = np.random.default_rng(1)
    lengths = np.full(40, 500)
    switches = generator.random((40, 500)) < rate
    modes = (np.cumsum(switches, axis=1) % 2).ravel()
    values = np.where(modes[:, None] == np.arange(2), 2.0, 0.0) + generator.normal(size=(len(modes), 2))
    assert estimated_rate(values, lengths) == pytest.approx(rate, rel=0.25)
    assert estimated_rate(np.repeat(values[:40], 500, axis=0), lengths) < 1e-9  # every episode has one mode
    assert estimated_rate(values[:, :1], lengths) < 1e-9


def test_the_rate_is_at_most_a_half_and_where_nothing_can_change_the_least():
    restless = np.tile([[0.0, -4.0], [-4.0, 0.0]], (50, 1))
    assert estimated_rate(restless, np.array([100])) == 0.5
    assert estimated_rate(restless, np.ones(100, dtype=np.int64)) == 1e-12
    assert estimated_rate(restless[:0], np.zeros(3, dtype=np.int64)) == 1e-12


def test_one_mode_and_no_steps():
    found = smoothed(np.zeros((4, 1)), np.array([4]), 0.0)
    assert (found.probabilities == 1).all()
    assert (found.changes == 0).all()
    assert len(best_path(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), RATE)) == 0


def test_an_episode_of_one_mode_is_the_limit_of_no_switching():
    values = scores(seed=2)
    np.testing.assert_allclose(
        constant_log_evidence(values, LENGTHS), smoothed(values, LENGTHS, 1e-13).log_evidence, atol=1e-9
    )


def test_a_long_episode_of_one_mode_has_an_evidence_that_is_a_number():
    values = np.tile([[0.0, -3.0]], (3000, 1))
    assert constant_log_evidence(values, np.array([3000])).tolist() == pytest.approx([np.log(0.5)])


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_what_is_known_so_far_is_what_the_episode_cut_there_says_of_its_end(rate):
    values = scores()
    found = filtered(values, LENGTHS, rate)
    for end, n in zip(np.cumsum(LENGTHS).tolist(), LENGTHS.tolist(), strict=True):
        for t in range(1, n + 1):
            cut = smoothed(values[end - n : end - n + t], np.array([t]), max(rate, 1e-13))
            np.testing.assert_allclose(found[end - n + t - 1], cut.probabilities[-1], rtol=1e-9)


@pytest.mark.parametrize("n_modes", [2, 3])
def test_the_evidence_is_what_the_enumeration_says_and_no_step_is_bounded(n_modes):
    values = 10 * np.random.default_rng(0).normal(size=(10, n_modes))
    parts = np.split(values, np.cumsum(FEW)[:-1])
    found = log_evidence(values, FEW, RATE)
    np.testing.assert_allclose(found, [enumerated(part, RATE)[2] if len(part) else 0.0 for part in parts])


def test_one_mode_has_the_sum_and_nothing_has_none():
    values = np.arange(10.0)[:, None]
    np.testing.assert_allclose(log_evidence(values, FEW, 1e-12), [6, 0, 4, 35])
    assert log_evidence(values[:0], np.zeros(0, dtype=np.int64), RATE).shape == (0,)


def test_likelihoods_beyond_every_exponential_are_numbers():
    values = np.array([[-1e5, -1e6], [-1e6, -1e5]])
    (found,) = log_evidence(values, np.array([2]), RATE)
    assert found == pytest.approx(-2e5 + np.log(0.5 * RATE), abs=1e-6)
