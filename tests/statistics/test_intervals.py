"""The 95 % intervals cover the truth about as often as they say, for data like ours: windows that cluster by episode.

Bounds are those that a covering interval misses by chance less than once in 10,000 such tests, or, where coverage is
known to fall short, what was measured.
"""

import numpy as np
import pytest
from scipy import stats

from unbraid.evaluation.intervals import Estimate, as_good_as, bootstrap_counts, mean_interval
from unbraid.evaluation.scores import accuracy, ari, nmi

N_TRIALS = 300
N_RESAMPLES = 400


def covers(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= truth <= estimate.high


def fewest_hits(coverage: float, n_trials: int = N_TRIALS) -> int:
    return int(stats.binom.ppf(1e-4, n_trials, coverage))


def most_hits(coverage: float, n_trials: int = N_TRIALS) -> int:
    return int(stats.binom.ppf(1 - 1e-4, n_trials, coverage))


def some_episodes(generator: np.random.Generator, *, n_episodes: int, correct: float, spread: float) -> np.ndarray:
    """(episode, 2, 2) counts of 100 windows; each episode has its own share of right windows, Beta-distributed."""
    share = generator.beta(correct * spread, (1 - correct) * spread, size=n_episodes)
    right = generator.binomial(100, share)
    counts = np.zeros((n_episodes, 2, 2), dtype=np.int64)
    label = np.arange(n_episodes) % 2
    counts[np.arange(n_episodes), label, label] = right
    counts[np.arange(n_episodes), label, 1 - label] = 100 - right
    return counts


@pytest.mark.parametrize("n", [3, 30])
def test_the_mean_of_seeds_is_covered(n: int) -> None:
    generator = np.random.default_rng(0)
    hits = sum(covers(mean_interval(generator.normal(5, 2, size=n)), 5) for _ in range(2000))
    assert fewest_hits(0.95, 2000) <= hits <= most_hits(0.95, 2000)


@pytest.mark.parametrize("score", [nmi, ari, accuracy])
@pytest.mark.parametrize("n_episodes", [8, 48])
def test_scores_of_clustered_windows_are_covered(score, n_episodes: int) -> None:
    generator = np.random.default_rng(1)
    law = {"correct": 0.8, "spread": 3.0}
    truth = float(score(some_episodes(generator, n_episodes=40_000, **law).sum(0)))
    hits = sum(
        covers(
            bootstrap_counts(
                score,
                some_episodes(generator, n_episodes=n_episodes, **law),
                generator=generator,
                n_resamples=N_RESAMPLES,
                within=(-1.0, 1.0),
            ),
            truth,
        )
        for _ in range(N_TRIALS // 2 if score is accuracy else N_TRIALS)
    )
    assert hits >= fewest_hits(0.92, N_TRIALS // 2 if score is accuracy else N_TRIALS)


def test_a_share_is_covered_from_the_fewest_episodes_on() -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(N_TRIALS):
        right = generator.binomial(40, generator.beta(2, 2, size=5))
        share = bootstrap_counts(
            lambda counts: counts[..., 0] / counts.sum(-1),
            np.stack([right, 40 - right], axis=1),
            generator=generator,
            n_resamples=N_RESAMPLES,
            within=(0.0, 1.0),
        )
        hits += covers(share, 0.5)
    assert hits >= fewest_hits(0.92)


def test_chance_is_covered_although_nmi_is_biased_upwards() -> None:
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(N_TRIALS):
        counts = some_episodes(generator, n_episodes=48, correct=0.5, spread=0.2)
        estimate = bootstrap_counts(nmi, counts, generator=generator, n_resamples=N_RESAMPLES, within=(0.0, 1.0))
        hits += covers(estimate, 0.0)
    assert hits >= fewest_hits(0.95)


def test_pretending_that_windows_are_independent_would_not_cover() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(N_TRIALS):
        right = some_episodes(generator, n_episodes=20, correct=0.8, spread=3.0)[:, [0, 1], [0, 1]].sum()
        naive = mean_interval(np.repeat([1.0, 0.0], [right, 2000 - right]))
        hits += covers(naive, 0.8)
    assert hits < most_hits(0.6)


def test_a_mode_just_outside_the_margin_is_rarely_called_as_good() -> None:
    generator = np.random.default_rng(4)
    n_wrong = 0
    for _ in range(N_TRIALS):
        expert = generator.normal(10, 3, size=200)
        verdict = as_good_as(expert + generator.normal(1.02, 2, size=200), expert, range_between_experts=20.0)
        n_wrong += verdict.holds is True
    assert n_wrong <= most_hits(0.025)


def test_a_mode_that_equals_its_expert_is_nearly_always_called_as_good() -> None:
    generator = np.random.default_rng(5)
    n_right = 0
    for _ in range(N_TRIALS):
        expert = generator.normal(10, 3, size=200)
        verdict = as_good_as(expert + generator.normal(0, 3, size=200), expert, range_between_experts=20.0)
        n_right += verdict.holds is True
    assert n_right >= fewest_hits(0.99)
