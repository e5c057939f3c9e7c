"""Estimates carry their interval and n; resamples are of whole episodes; equivalence is not "no difference found"."""

import inspect
import json

import numpy as np
import pytest
from scipy import stats

from unbraid.core.errors import ConfigError, DataError
from unbraid.evaluation.intervals import (
    Estimate,
    as_good_as,
    bootstrap_counts,
    bootstrap_over_episodes,
    bootstrap_several,
    mean_interval,
    paired_difference,
    share_interval,
)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_mean_has_scipys_t_interval() -> None:
    values = seeded().normal(size=12)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    estimate = mean_interval(values, confidence=0.9)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.n, estimate.unit_of_n) == (12, "episodes")


def test_one_value_is_an_estimate_without_an_interval() -> None:
    assert mean_interval(np.array([3.0]), unit_of_n="seeds") == Estimate(3.0, None, None, 1, "seeds")


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert mean_interval(np.full(5, 2)) == Estimate(2.0, 2.0, 2.0, 5, "episodes")


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf, 1.0])])
def test_values_that_have_no_mean_are_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"at least one value|must be finite"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ConfigError, match="must lie in"):
        mean_interval(np.arange(3.0), confidence=confidence)


def test_an_estimate_is_json() -> None:
    estimate = mean_interval(np.array([1.0]))
    assert json.loads(json.dumps(estimate.to_json())) == {
        "value": 1.0,
        "low": None,
        "high": None,
        "n": 1,
        "unit_of_n": "episodes",
    }


def test_two_values_have_an_interval_and_its_width_is_students() -> None:
    found = mean_interval(np.array([1.0, 3.0]))
    assert (found.low, found.high) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-3)


@pytest.mark.parametrize(("n_of_one", "n"), [(0, 10), (10, 10), (3, 10), (1, 2), (41, 200)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_share_has_scipys_wilson_interval(n_of_one, n, confidence) -> None:
    found = share_interval((np.arange(n) < n_of_one) * 1.0, confidence=confidence, unit_of_n="pairs")
    expected = stats.binomtest(n_of_one, n).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.value, found.n, found.unit_of_n) == (n_of_one / n, n, "pairs")
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_share_of_halves_lies_about_a_half_and_one_value_has_no_interval() -> None:
    ties, tosses = share_interval(np.full(20, 0.5)), share_interval(np.arange(20) % 2)
    assert (ties.value, ties.low, ties.high) == pytest.approx((0.5, tosses.low, tosses.high))
    assert share_interval(np.array([1.0])) == Estimate(1.0, None, None, 1, "episodes")


@pytest.mark.parametrize("wrong", [[0.0, 1.1], [-0.1, 1.0], [90.0, 95.0]])
def test_shares_in_per_cent_are_refused(wrong) -> None:
    with pytest.raises(DataError, match=r"must be of values in \[0, 1\]; got .* Scale them"):
        share_interval(np.array(wrong))


def test_a_paired_difference_is_narrow_where_pairs_move_together() -> None:
    expert = seeded().normal(scale=10, size=50)
    mode = expert + seeded(1).normal(scale=0.1, size=50) + 1
    difference = paired_difference(mode, expert)
    assert difference.value == pytest.approx(1, abs=0.1)
    assert difference.low is not None
    assert difference.high is not None
    assert difference.high - difference.low < 0.1
    with pytest.raises(DataError, match="same seeds"):
        inspect.unwrap(paired_difference)(mode[:-1], expert)  # past the shape check, which only the tests have


def test_unsigned_counts_are_subtracted_without_wrapping_around() -> None:
    assert paired_difference(np.array([1, 2], np.uint8), np.array([3, 4], np.uint8)).value == -2


def test_equivalence_holds_for_a_small_and_well_known_difference() -> None:
    expert = seeded().normal(10, 3, size=200)
    verdict = as_good_as(expert + seeded(1).normal(0.2, 1, size=200), expert, range_between_experts=20.0)
    assert verdict.margin == pytest.approx(0.1 * expert.mean())
    assert verdict.holds is True


@pytest.mark.parametrize("shift", [-2.0, 2.0])
def test_equivalence_is_refuted_by_a_difference_on_either_side(shift: float) -> None:
    expert = seeded().normal(10, 3, size=200)
    assert as_good_as(expert + shift, expert, range_between_experts=20.0).holds is False


def test_equivalence_does_not_hold_merely_because_no_difference_was_found() -> None:
    expert = seeded().normal(10, 1, size=4)
    verdict = as_good_as(expert + np.array([-5.0, 5.0, -5.0, 5.0]), expert, range_between_experts=20.0)
    assert verdict.difference.value == pytest.approx(0)
    assert verdict.holds is False


def test_an_expert_whose_value_is_zero_is_judged_by_the_range_between_experts() -> None:
    zero = np.zeros(50)
    nearly = np.full(50, 0.1)
    assert as_good_as(nearly, zero, range_between_experts=13.0).margin == pytest.approx(0.26)
    assert as_good_as(nearly, zero, range_between_experts=13.0).holds is True
    assert as_good_as(nearly, zero, range_between_experts=0.0).holds is False
    assert as_good_as(zero, zero, range_between_experts=0.0).holds is True


def test_the_margin_of_an_expert_whose_value_is_negative_is_a_tenth_of_its_size() -> None:
    expert = np.array([-19.0, -21.0, -20.0, -20.0])
    assert as_good_as(expert + 1, expert, range_between_experts=30.0).margin == pytest.approx(2)
    assert as_good_as(expert + 1, expert, range_between_experts=30.0).holds
    assert not as_good_as(expert + 3, expert, range_between_experts=30.0).holds


def test_equivalence_of_one_seed_is_not_estimable() -> None:
    verdict = as_good_as(np.array([1.0]), np.array([1.0]), range_between_experts=1.0)
    assert verdict.holds is None
    assert verdict.to_json()["difference"]["low"] is None


def wobbly_rows() -> tuple[np.ndarray, np.ndarray]:
    """30 episodes of 40 equal rows: what counts is 30."""
    means = seeded(3).normal(size=30)
    return np.repeat(np.arange(30), 40), np.repeat(means, 40)


def mean_of(values: np.ndarray) -> float:
    return float(values.mean())


def test_the_bootstrap_resamples_episodes_not_rows() -> None:
    episode_of_row, values = wobbly_rows()
    estimate = bootstrap_over_episodes(mean_of, episode_of_row, [values], generator=seeded())
    by_episode = mean_interval(values[::40])
    assert estimate.n == 30
    assert estimate.value == pytest.approx(by_episode.value)
    assert (estimate.low, estimate.high) == pytest.approx((by_episode.low, by_episode.high), abs=0.08)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_the_seed_suffices_and_matters(order: slice) -> None:
    episode_of_row, values = (rows[order] for rows in wobbly_rows())

    def interval(seed: int) -> Estimate:
        return bootstrap_over_episodes(mean_of, episode_of_row, [values], generator=seeded(seed), n_resamples=100)

    assert interval(7) == interval(7)
    assert interval(7).low != interval(8).low


@pytest.mark.parametrize("skewed", [lambda x: float((x**4).mean()), lambda x: -float((x**4).mean()), lambda x: x.max()])
def test_the_interval_is_that_of_the_percentiles_joined_with_its_mirror_image(skewed) -> None:
    """Of 8 episodes of two rows: quantiles that lie as far out as Student's t of 7 does, and more."""
    drawn: list[float] = []

    def statistic(values: np.ndarray) -> float:
        drawn.append(float(skewed(values)))
        return drawn[-1]

    values = np.random.default_rng(1).normal(1, 1, size=16)
    found = bootstrap_over_episodes(statistic, np.repeat(np.arange(8), 2), [values], generator=seeded())
    value, *resampled = drawn
    tail = stats.norm.sf(stats.t.isf(0.025, 7) * np.sqrt(8 / 7))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    mirrored = 2 * value - high, 2 * value - low
    assert (found.low, found.high) == pytest.approx((min(low, mirrored[0]), max(high, mirrored[1])))
    assert mirrored != pytest.approx((low, high), rel=0.05)


def test_every_array_is_resampled_alike() -> None:
    episode_of_row, values = wobbly_rows()

    def disagreement(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b).max())

    estimate = bootstrap_over_episodes(
        disagreement, episode_of_row, [values, values], generator=seeded(), n_resamples=50
    )
    assert estimate == Estimate(0.0, 0.0, 0.0, 30, "episodes")


def share_of_first(counts: np.ndarray) -> np.ndarray:
    return counts[..., 0] / counts.sum(-1)


def test_both_bootstraps_tell_the_same_story() -> None:
    generator = seeded(5)
    counts = generator.multinomial(20, generator.dirichlet([1, 1], size=40))
    episode_of_row = np.repeat(np.arange(40), 20)
    rows = np.concatenate([np.repeat([1.0, 0.0], c) for c in counts])
    fast = bootstrap_counts(share_of_first, counts, generator=seeded(), within=(0.0, 1.0))
    slow = bootstrap_over_episodes(mean_of, episode_of_row, [rows], generator=seeded(1), within=(0.0, 1.0))
    assert fast.value == pytest.approx(slow.value)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=0.02)


def test_an_interval_of_few_episodes_is_as_wide_as_students() -> None:
    first = np.array([2, 5, 6, 8, 9, 11, 14, 17])
    counts = np.stack([first, 20 - first], axis=1)
    resampled = bootstrap_counts(share_of_first, counts, generator=seeded(), n_resamples=20_000)
    students = mean_interval(first / 20)
    assert (resampled.low, resampled.high) == pytest.approx((students.low, students.high), abs=0.02)


def test_the_fast_bootstraps_seed_suffices_and_matters() -> None:
    counts = seeded(5).integers(0, 9, size=(12, 2)) + 1

    def interval(seed: int) -> Estimate:
        return bootstrap_counts(share_of_first, counts, generator=seeded(seed), n_resamples=200)

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_the_interval_holds_its_value_and_stays_within_bounds() -> None:
    counts = np.array([[9, 1], [10, 0], [10, 0], [2, 8], [10, 0]])
    estimate = bootstrap_counts(share_of_first, counts, generator=seeded(), within=(0.0, 1.0))
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0 <= estimate.low < estimate.value < estimate.high <= 1


def test_empty_episodes_do_not_count_and_one_episode_has_no_interval() -> None:
    counts = np.array([[3, 1], [0, 0]])
    assert bootstrap_counts(share_of_first, counts, generator=seeded()) == Estimate(0.75, None, None, 1, "episodes")
    alone = bootstrap_over_episodes(mean_of, np.zeros(4, np.int64), [np.arange(4.0)], generator=seeded())
    assert alone == Estimate(1.5, None, None, 1, "episodes")


@pytest.mark.parametrize(("n_episodes", "known"), [(2, False), (4, False), (5, True)])
def test_resamples_of_few_episodes_make_no_interval(n_episodes: int, known: bool) -> None:
    first = np.arange(n_episodes)
    of_counts = bootstrap_counts(share_of_first, np.stack([first, 9 - first], axis=1), generator=seeded())
    of_rows = bootstrap_over_episodes(mean_of, first, [first.astype(float)], generator=seeded())
    for estimate in (of_counts, of_rows):
        assert estimate.n == n_episodes
        assert (estimate.low is not None, estimate.high is not None) == (known, known)


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(DataError, match="at least one window"):
        bootstrap_counts(share_of_first, np.zeros((3, 2), np.int64), generator=seeded())
    with pytest.raises(DataError, match="at least one window"):
        bootstrap_over_episodes(mean_of, np.zeros(0, np.int64), [np.zeros(0)], generator=seeded())


def test_a_wrong_shape_raises_in_the_tests() -> None:
    with pytest.raises(Exception, match="Type-check"):
        mean_interval(np.zeros((2, 2)))


def test_several_statistics_of_the_same_counts_share_their_resamples():
    counts = np.random.default_rng(0).integers(0, 9, size=(20, 3))
    asked = [(lambda sums, k=k: sums[..., k] / sums.sum(-1), (0.0, 1.0)) for k in range(3)]
    together = bootstrap_several(asked, counts, generator=np.random.default_rng(5))
    alone = [
        bootstrap_counts(statistic, counts, generator=np.random.default_rng(5), within=within)
        for statistic, within in asked
    ]
    assert together == alone
    drawn = np.random.default_rng(5)
    bootstrap_several(asked, counts, generator=drawn)
    once = np.random.default_rng(5)
    bootstrap_counts(*asked[0][:1], counts, generator=once)
    assert drawn.integers(2**63) == once.integers(2**63)
