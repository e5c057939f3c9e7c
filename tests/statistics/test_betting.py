"""Confidence sequences cover the mean at all n at once, and answers are wrong as seldom as they promise.

10,000 repetitions at the nominal 95 %; bounds are those that a right method misses by chance once in 10,000 such tests.
"""

import numpy as np
import pytest
from scipy import stats

from unbraid.evaluation.betting import anytime_p, confidence_sequence
from unbraid.evaluation.claims import EquivalenceClaim, ProbabilityClaim
from unbraid.evaluation.significance import Doubts, answers_of, doubts_of, estimates_of

N_REPETITIONS, N_VALUES, ALPHA = 10_000, 120, 0.05


def most(share: float, n: int) -> int:
    return int(stats.binom.ppf(1 - 1e-4, n, share))


def zero_or_one(probability):
    return lambda generator, size: ((generator.random(size) < probability).astype(float), probability)


def beta(generator, size):
    return generator.beta(2, 5, size), 2 / 7


def heavy_tailed(generator, size):
    """A lognormal of which one value in 300 is clipped; more than half of its mean comes from a tenth of its values."""
    spread, largest = 1.5, 60.0
    inside = stats.norm.cdf(np.log(largest) / spread - spread) * np.exp(spread**2 / 2)
    mean = float(inside / largest + stats.norm.sf(np.log(largest) / spread))
    return np.minimum(generator.lognormal(0, spread, size), largest) / largest, mean


def constant(generator, size):
    return np.full(size, 0.3), 0.3


LAWS = {
    "0/1, 1 in 50": zero_or_one(0.02),
    "0/1, 1 in 2": zero_or_one(0.5),
    "Beta": beta,
    "heavy-tailed": heavy_tailed,
    "constant": constant,
}


@pytest.mark.parametrize("law", LAWS)
def test_the_mean_is_covered_at_all_n_at_once(law):
    values, mean = LAWS[law](np.random.default_rng(0), (N_REPETITIONS, N_VALUES))
    too_high = anytime_p(values, mean)[:, -1] <= ALPHA / 2  # the smallest so far: whether it was ever left
    too_low = anytime_p(1 - values, 1 - mean)[:, -1] <= ALPHA / 2
    n_missed = int((too_high | too_low).sum())
    assert n_missed <= most(ALPHA, N_REPETITIONS)
    if law == "0/1, 1 in 2":
        assert n_missed >= N_REPETITIONS / 100, "so wide that it says little"


@pytest.mark.parametrize("law", ["0/1, 1 in 50", "heavy-tailed", "constant"])
def test_the_interval_is_that_of_the_means_which_are_not_rejected(law):
    values, mean = LAWS[law](np.random.default_rng(1), (15, N_VALUES))
    for row in values:
        low, high = confidence_sequence(row)
        kept = anytime_p(row, mean)[-1] > ALPHA / 2 and anytime_p(1 - row, 1 - mean)[-1] > ALPHA / 2
        assert (low < mean < high) == kept


def test_looking_at_a_t_interval_again_and_again_would_not_cover():
    values, mean = LAWS["0/1, 1 in 2"](np.random.default_rng(2), (N_REPETITIONS, N_VALUES))
    n = np.arange(1, N_VALUES + 1)
    means = values.cumsum(1) / n
    spreads = np.sqrt(np.maximum(means - means**2, 0.04) / n)
    missed = (np.abs(means - mean) > 1.96 * spreads)[:, 9:].any(axis=1)
    assert missed.sum() > 3 * most(ALPHA, N_REPETITIONS)


@pytest.mark.parametrize("probability", [0.02, 0.3])
def test_clopper_and_pearson_cover_at_the_stated_n(probability):
    """Exactly: over all numbers of events, with their probabilities."""
    claim = ProbabilityClaim("cost", above=0, at_most=probability, method="clopper_pearson", n=50)
    missed = rejected = 0.0
    for n_events in range(51):
        values = np.repeat([1.0, 0.0], [n_events, 50 - n_events])
        found = estimates_of(claim, values, confidence=1 - ALPHA)["probability"]
        chance = stats.binom.pmf(n_events, 50, probability)
        missed += chance * (not found.low <= probability <= found.high)
        rejected += chance * (doubts_of(claim, values).of_true <= ALPHA)
    assert 0 < missed <= ALPHA
    assert 0 < rejected <= ALPHA


@pytest.mark.parametrize(
    ("claim", "expert_mean", "gap"),
    [
        (EquivalenceClaim("return", "forward", within=1.0, n=40), 10.0, 1.0),
        (EquivalenceClaim("return", "forward", within_percent=10, n=40), 10.0, 1.0),
        (EquivalenceClaim("return", "forward", within_percent=10, n=40), -10.0, -1.0),
        (EquivalenceClaim("return", "forward", within_percent=40, n=40), 0.0, 0.001),
        (EquivalenceClaim("return", "forward", within=1.0, method="betting", bounds=(0, 20)), 10.0, 1.0),
    ],
)
def test_a_mode_at_the_margin_is_seldom_called_equivalent_or_not(claim, expert_mean, gap):
    generator, n_repetitions = np.random.default_rng(3), 250
    n_held = n_refuted = 0
    for _ in range(n_repetitions):
        expert = generator.normal(expert_mean, 2, 40).clip(-20, 20)
        doubts = doubts_of(claim, expert + gap + generator.uniform(-1, 1, 40), expert)
        n_held += doubts.of_false <= ALPHA
        n_refuted += doubts.of_true <= ALPHA
    assert n_held <= most(ALPHA, n_repetitions)
    assert n_refuted <= most(ALPHA, n_repetitions)


def test_in_a_whole_file_some_answer_is_seldom_wrong():
    """Four claims on the same episodes, two of them true by a hair and two wrong by one, and two that are clear."""
    generator, n_repetitions = np.random.default_rng(4), 2000
    draws = generator.random((n_repetitions, N_VALUES))
    limits = (0.1, 0.5, 0.1, 0.5, 0.9, 0.05)
    events = [(draws < p).astype(float) for p in (0.1, 0.5, 0.1, 0.5, 0.5, 0.5)]
    is_true = [True, True, False, False, True, False]  # "at most" is true at its limit; "less than" is not
    false = [anytime_p(1 - x, 1 - limit)[:, -1] for x, limit in zip(events, limits, strict=True)]
    true = [anytime_p(x, limit)[:, -1] for x, limit in zip(events, limits, strict=True)]
    n_wrong = n_clear = 0
    for row in range(n_repetitions):
        doubts = [Doubts(float(f[row]), float(t[row])) for f, t in zip(false, true, strict=True)]
        answers = answers_of(doubts, ALPHA)
        wrong = [answer == ("refuted" if right else "holds") for answer, right in zip(answers, is_true, strict=True)]
        n_wrong += any(wrong)
        n_clear += answers[4:] == ["holds", "refuted"]
    assert n_wrong <= most(ALPHA, n_repetitions)
    assert n_clear >= 0.99 * n_repetitions
