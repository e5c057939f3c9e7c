"""Intervals of a summary, of a share and over training seeds cover the truth about as often as they say.

Bounds are those that an interval with the coverage named misses by chance less than once in 10,000 such tests.
"""

import numpy as np
import pytest
from scipy import stats

from unbraid.evaluation.intervals import share_interval
from unbraid.evaluation.summary import summarise

N_TRIALS, N_RESAMPLES = 300, 400

# How values may fall, and the quantile of each: a symmetric law, and one with a long tail.
LAWS = {"normal": stats.norm(), "exponential": stats.expon()}


def fewest_hits(coverage: float) -> int:
    return int(stats.binom.ppf(1e-4, N_TRIALS, coverage))


def iqm_of(law) -> float:
    middle = np.linspace(0.25, 0.75, 20_001)
    return float(law.ppf((middle[1:] + middle[:-1]) / 2).mean())


@pytest.mark.parametrize("name", list(LAWS))
@pytest.mark.parametrize(("n", "coverage"), [(6, 0.93), (13, 0.93), (80, 0.93)])
def test_median_interquartile_mean_and_quantiles_are_covered(name, n, coverage):
    law, generator = LAWS[name], np.random.default_rng(n)
    # All trials at once: every one is a metric of the same n units.
    values = law.ppf(generator.uniform(size=(N_TRIALS, n)))
    found = summarise(
        {str(i): row for i, row in enumerate(values)}, generator=generator, n_resamples=N_RESAMPLES
    ).values()
    of_kind = {"iqm": ([s.iqm for s in found], iqm_of(law)), "median": ([s.median for s in found], law.ppf(0.5))}
    of_kind |= {str(p): ([s.quantiles[p] for s in found], law.ppf(p)) for p in (0.05, 0.25, 0.75, 0.95)}
    for kind, (estimates, truth) in of_kind.items():
        if estimates[0].low is None:
            assert n < 13 or kind in ("0.05", "0.95")
            continue
        hits = sum(e.low <= truth <= e.high for e in estimates)
        assert hits >= fewest_hits(coverage if kind == "iqm" else 0.95), kind
        assert hits < N_TRIALS or n < 20, kind


def test_below_the_fewest_values_no_interval_between_them_would_cover():
    generator = np.random.default_rng(0)
    least = generator.uniform(size=(N_TRIALS, 30)).min(axis=1)
    assert (least <= 0.05).sum() < fewest_hits(0.93)


@pytest.mark.parametrize(("n", "share"), [(10, 0.5), (20, 0.9), (100, 0.97)])
def test_a_share_is_covered(n, share):
    generator = np.random.default_rng(1)
    estimates = [share_interval((generator.uniform(size=n) < share).astype(float)) for _ in range(N_TRIALS)]
    assert sum(e.low <= share <= e.high for e in estimates) >= fewest_hits(0.92)


def test_with_ties_as_halves_it_is_wide_enough():
    generator = np.random.default_rng(2)
    estimates = [share_interval(generator.choice([0.0, 0.5, 1.0], size=20, p=[0.2, 0.4, 0.4])) for _ in range(N_TRIALS)]
    assert sum(e.low <= 0.6 <= e.high for e in estimates) >= fewest_hits(0.95)
