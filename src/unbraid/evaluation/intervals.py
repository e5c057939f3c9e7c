"""Intervals: no number without its uncertainty and its n, and "not estimable" where there is none to give."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real, Shaped
from scipy.special import ndtr, ndtri, stdtrit

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.shapes import require_finite

__all__ = [
    "Equivalence",
    "Estimate",
    "as_good_as",
    "bootstrap_counts",
    "bootstrap_over_episodes",
    "bootstrap_several",
    "expanded_tail",
    "mean_interval",
    "paired_difference",
    "share_interval",
]

_ANY_VALUE = (-np.inf, np.inf)
_FEWEST_EPISODES = 5
"""Resamples of fewer are too few of a kind: 95 % intervals of two, three and four cover the truth 55, 78 and 91 times
in 100."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the estimate.
        low, high: the interval's ends, at 95 % unless the maker was asked otherwise; both None where the spread is
            not estimable (n < 2; of a bootstrap, n < 5).
        n: how many independent units stand behind it.
        unit_of_n: what they are, e.g. ``"episodes"`` or ``"seeds"``.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit_of_n: str

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object; None becomes null."""
        return asdict(self)


@dataclass(frozen=True)
class Equivalence:
    """Whether a mode is as good as its expert in one metric.

    Attributes:
        difference: mode minus expert, paired by seed.
        margin: how far from 0 the difference may lie, in the metric's unit.
        holds: True where the whole interval lies within +-margin; False where it does not (worse, better, or too few
            seeds to tell); None where there is no interval.
    """

    difference: Estimate
    margin: float
    holds: bool | None

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def mean_interval(
    values: Real[np.ndarray, "n"],
    *,
    confidence: float = 0.95,
    unit_of_n: str = "episodes",
    within: tuple[float, float] = _ANY_VALUE,
) -> Estimate:
    """The mean of independent values with Student's t interval, cut off where no value can lie.

    Student's t rather than a bootstrap: a bootstrap of 3 seeds is far too narrow, and at 200 episodes both agree.
    Values that are all equal have an interval of width 0.

    Source: Student 1908, "The probable error of a mean".

    Args:
        values: (n,) one number per independent unit.
        confidence: the interval's coverage, in (0, 1).
        unit_of_n: what the units are.
        within: what any value can be; the interval never leaves it.

    Raises:
        DataError: no values, or some that are not finite.
        ConfigError: `confidence` outside (0, 1).
    """
    _require_confidence(confidence)
    if len(values) == 0:
        raise DataError(f"A mean needs at least one value; got none. Produce some {unit_of_n} first.")
    require_finite(
        values, f"The {len(values)} values of a mean over {unit_of_n}", "Leave the metric out, or repair it."
    )
    n, value = len(values), float(values.mean())
    if n < 2:
        return Estimate(value, None, None, n, unit_of_n)
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(value, max(value - half, within[0]), min(value + half, within[1]), n, unit_of_n)


def paired_difference(
    a: Real[np.ndarray, "n"], b: Real[np.ndarray, "n"], *, confidence: float = 0.95, unit_of_n: str = "paired seeds"
) -> Estimate:
    """The mean of a - b, unit by unit, with Student's t interval.

    Raises:
        DataError: `a` and `b` differ in length, are empty or are not finite.
    """
    if a.shape != b.shape:
        raise DataError(
            f"A paired difference needs as many values on either side; got {len(a)} and {len(b)}. "
            "Roll both out on the same seeds."
        )
    return mean_interval(np.subtract(a, b, dtype=np.float64), confidence=confidence, unit_of_n=unit_of_n)


def share_interval(values: Real[np.ndarray, "n"], *, confidence: float = 0.95, unit_of_n: str = "episodes") -> Estimate:
    """The mean of independent values in [0, 1], such as whether something happened, with Wilson's score interval.

    Unlike Student's it does not leave [0, 1], and is not of width 0 where all values are 0 or all are 1. Of values
    between the two, such as halves for ties, it is wider than it need be.

    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.

    Raises:
        DataError: no values, or some outside [0, 1].
        ConfigError: `confidence` outside (0, 1).
    """
    share = mean_interval(values, confidence=confidence, unit_of_n=unit_of_n)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"A share must be of values in [0, 1]; got {values.min()} to {values.max()}. Scale them.")
    if share.n < 2:
        return share
    z2, n = float(ndtri((1 + confidence) / 2)) ** 2, share.n
    centre = (share.value + z2 / (2 * n)) / (1 + z2 / n)
    half = float(np.sqrt(z2 * (share.value * (1 - share.value) / n + z2 / (4 * n**2)))) / (1 + z2 / n)
    low, high = min(centre - half, share.value), max(centre + half, share.value)
    return Estimate(share.value, max(low, 0.0), min(high, 1.0), n, unit_of_n)


def as_good_as(
    mode_values: Real[np.ndarray, "seed"], expert_values: Real[np.ndarray, "seed"], *, range_between_experts: float
) -> Equivalence:
    """Tests whether a mode is as good as its expert: equivalence, not "no significant difference".

    It holds if the 95 % interval of the paired difference lies within
    +-max(10 % of the expert's mean, 2 % of the range between the experts' means).

    Source: Schuirmann 1987 (two one-sided tests, doi 10.1007/BF01068419), by its interval form; the interval is the
    95 % one, so that each side is tested at 2.5 %.

    Args:
        mode_values: (seed,) the metric of the mode's rollouts.
        expert_values: (seed,) the metric of the expert's, on the same seeds in the same order.
        range_between_experts: largest minus smallest of the experts' means, >= 0.
    """
    difference = paired_difference(mode_values, expert_values)
    margin = max(0.1 * abs(float(expert_values.mean())), 0.02 * range_between_experts)
    if difference.low is None or difference.high is None:
        return Equivalence(difference, margin, None)
    return Equivalence(difference, margin, -margin <= difference.low and difference.high <= margin)


def bootstrap_over_episodes(
    statistic: Callable[..., float],
    episode_of_row: Int[np.ndarray, "row"],
    arrays: Sequence[Shaped[np.ndarray, "row ..."]],
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
    within: tuple[float, float] = _ANY_VALUE,
) -> Estimate:
    """Any statistic of rows that belong to episodes, with a bootstrap interval that resamples whole episodes.

    Rows of one episode are not independent, so that episodes are what n counts; fewer than 5 of them give no interval.
    One call of `statistic` per resample: for statistics of counts, `bootstrap_counts` is far faster.

    Source: Davison & Hinkley 1997, section 3.8 (cluster resampling); the interval is `bootstrap_counts`'.

    Args:
        statistic: takes the resampled rows of every array, returns a number.
        episode_of_row: (row,) which episode each row belongs to; any integers.
        arrays: each (row, ...).
        generator: draws the resamples.
        n_resamples: how many.
        within: the statistic's possible range; the interval never leaves it.

    Raises:
        DataError: no rows.
    """
    _require_rows(len(episode_of_row))
    value = float(statistic(*arrays))
    _, counts = np.unique(episode_of_row, return_counts=True)
    n = len(counts)
    if n < _FEWEST_EPISODES:
        return Estimate(value, None, None, n, "episodes")
    rows_of = np.split(np.argsort(episode_of_row, kind="stable"), np.cumsum(counts)[:-1])
    resampled = np.empty(n_resamples)
    for i in range(n_resamples):
        rows = np.concatenate([rows_of[episode] for episode in generator.integers(n, size=n)])
        resampled[i] = statistic(*(values[rows] for values in arrays))
    return _interval(value, resampled, n=n, within=within)


def bootstrap_counts(
    statistic: Callable[[np.ndarray], np.ndarray],
    counts: Int[np.ndarray, "episode ..."],
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
    within: tuple[float, float] = _ANY_VALUE,
) -> Estimate:
    """A statistic of counts summed over episodes, with a bootstrap interval that resamples whole episodes.

    The 95 % interval is the percentile interval with two repairs, both measured in `tests/statistics`. Its
    quantiles are moved outwards by the factor by which Student's t exceeds the normal, times sqrt(n / (n - 1)), or
    it is too narrow for few episodes. And it is joined with its mirror image about the value (the "basic"
    interval): a statistic that is biased upwards near chance, as NMI is, is biased twice in the resamples, and the
    percentile interval alone then never reaches down to the truth. Where no episode went wrong, no resample does,
    and the interval has width 0: read it with n (about 3 / n of all episodes may still go wrong). Fewer than 5 episodes
    give none: their resamples are too few of a kind.

    Source: Efron 1979 (percentile); Hesterberg 2014, arXiv 1411.5279, section 5.3 (expanded quantiles).

    Args:
        statistic: takes (resample, ...) counts, returns (resample,); works on any number of leading axes.
        counts: (episode, ...) of each episode; episodes whose counts are all 0 are left out.
        generator: draws the resamples.
        n_resamples: how many.
        within: the statistic's possible range; the interval never leaves it.

    Raises:
        DataError: no counts.
    """
    of_one = bootstrap_several([(statistic, within)], counts, generator=generator, n_resamples=n_resamples)
    return of_one[0]


def bootstrap_several(
    statistics: Sequence[tuple[Callable[[np.ndarray], np.ndarray], tuple[float, float]]],
    counts: Int[np.ndarray, "episode ..."],
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
) -> list[Estimate]:
    """`bootstrap_counts` of several statistics of the same counts, on the same resamples, which are drawn once.

    Args:
        statistics: each with its possible range.
        counts, generator, n_resamples: as there.

    Raises:
        DataError: no counts.
    """
    flat = counts.reshape(len(counts), -1)
    flat = flat[flat.any(axis=1)]
    n = len(flat)
    _require_rows(n)
    total = flat.sum(0).reshape(counts.shape[1:])
    values = [float(statistic(total)) for statistic, _ in statistics]
    if n < _FEWEST_EPISODES:
        return [Estimate(value, None, None, n, "episodes") for value in values]
    times_drawn = generator.multinomial(n, np.full(n, 1 / n), size=n_resamples)
    sums = np.rint(times_drawn.astype(np.float64) @ flat.astype(np.float64)).astype(np.int64)
    resampled = sums.reshape(n_resamples, *counts.shape[1:])
    return [
        _interval(value, statistic(resampled), n=n, within=within)
        for value, (statistic, within) in zip(values, statistics, strict=True)
    ]


def _interval(
    value: float, resampled: Float[np.ndarray, "resample"], *, n: int, within: tuple[float, float]
) -> Estimate:
    """The expanded percentile interval joined with its mirror image about the value."""
    tail = expanded_tail(n)
    low, high = (float(q) for q in np.quantile(resampled, [tail, 1 - tail]))
    low, high = min(low, 2 * value - high, value), max(high, 2 * value - low, value)
    return Estimate(value, max(low, within[0]), min(high, within[1]), n, "episodes")


def expanded_tail(n: int) -> float:
    """The share of resamples to leave out on either side of a 95 % percentile interval of n >= 2 units.

    Source: Hesterberg 2014, arXiv 1411.5279, section 5.3 (expanded quantiles).
    """
    return float(ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975)))


def _require_rows(n: int) -> None:
    if n == 0:
        raise DataError(
            "A score needs at least one window; got none. Use shorter windows, or episodes that are longer."
        )


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must lie in (0, 1); got {confidence}. 0.95 is the usual choice.")
