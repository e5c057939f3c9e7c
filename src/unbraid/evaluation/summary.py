"""What many values are like: mean, median, interquartile mean and quantiles, each with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Real
from scipy.special import bdtr

from unbraid.core.errors import DataError
from unbraid.evaluation.intervals import Estimate, expanded_tail, mean_interval

__all__ = ["QUANTILES", "Summary", "fewest_for_quantile", "summarise"]

QUANTILES = (0.05, 0.25, 0.75, 0.95)
"""The quantiles of a summary, beside the median."""

_BLOCK = 4_000_000  # resampled values held at once


@dataclass(frozen=True, eq=False)
class Summary:
    """One metric over many episodes, or over many runs.

    Attributes:
        mean: with Student's t interval; of a share, in an `Evaluation`, with Wilson's.
        median: the middle value.
        iqm: the mean of the middle half of the values: a quarter, rounded down, is left out at either end.
        quantiles: p -> the value below which a share p lies, for every p in `QUANTILES`.
    """

    mean: Estimate
    median: Estimate
    iqm: Estimate
    quantiles: dict[float, Estimate]

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object; quantiles are named by their p, as in "0.05"."""
        whole = {name: getattr(self, name).to_json() for name in ("mean", "median", "iqm")}
        return {**whole, "quantiles": {str(p): estimate.to_json() for p, estimate in self.quantiles.items()}}


def fewest_for_quantile(p: float) -> int:
    """The fewest values from which a 95 % interval of the quantile p can be given: 6 for the median, 72 for 0.05.

    With fewer, the quantile lies beyond all of them more often than in 2.5 % of samples, on one side, and no interval
    between the values covers it.
    """
    return int(np.ceil(np.log(0.025) / np.log(max(p, 1 - p))))


def summarise(
    measures: Mapping[str, Real[np.ndarray, "n"]],
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
    unit_of_n: str = "episodes",
    means: Mapping[str, Estimate] | None = None,
) -> dict[str, Summary]:
    """Mean, median, interquartile mean and quantiles of every metric, with 95 % intervals.

    The mean has Student's interval. Median and quantiles have the exact one, between two of the values, for any law: it
    covers at least 95 %. The interquartile mean has the bootstrap's, of whole units, all metrics in the same resamples:
    the percentile interval with expanded quantiles. Where there are too few values for that to cover the truth
    (`fewest_for_quantile`; the interquartile mean counts as the median) there is no interval.
    `tests/statistics/test_summary.py` measures the coverage.

    Source: Agarwal et al. 2021, arXiv 2108.13264 (interquartile mean, as scipy's `trim_mean(x, 0.25)`); Efron 1979
    (percentile interval); Hesterberg 2014, arXiv 1411.5279, section 5.3 (expanded quantiles); Thompson 1936, doi
    10.1214/aoms/1177732502 (quantiles between order statistics).

    Args:
        measures: metric -> (n,) one value per independent unit, for all metrics the same units in the same order.
        generator: draws the resamples.
        n_resamples: of the bootstrap.
        unit_of_n: what the units are.
        means: of every metric, where they are known already.

    Raises:
        DataError: no values, some that are not finite, or metrics of different lengths.
    """
    lengths = {len(values) for values in measures.values()}
    if len(lengths) > 1:
        raise DataError(
            f"All metrics must be of the same {unit_of_n}; they have {sorted(lengths)}. Measure them again."
        )
    if means is None:
        means = {name: mean_interval(values, unit_of_n=unit_of_n) for name, values in measures.items()}
    if not measures:
        return {}
    values = np.stack(list(measures.values())).astype(np.float64)
    n, ascending = values.shape[1], np.sort(values, axis=1)
    places = (0.5, *QUANTILES)
    middle = [_between(ascending, p, unit_of_n=unit_of_n) for p in places]
    iqms = _iqm(ascending)
    ends = np.stack([iqms, iqms])
    if n >= fewest_for_quantile(0.5):
        tail = expanded_tail(n)
        ends = np.quantile(_resampled_iqm(values, generator, n_resamples), [tail, 1 - tail], axis=1)
    found: dict[str, Summary] = {}
    for row, name in enumerate(measures):
        iqm = _estimate(float(iqms[row]), ends[:, row], 0.5, n=n, unit_of_n=unit_of_n)
        quantiles = {p: of_each[row] for p, of_each in zip(places, middle, strict=True)}
        found[name] = Summary(means[name], quantiles.pop(0.5), iqm, quantiles)
    return found


def _between(ascending: Float[np.ndarray, "metric n"], p: float, *, unit_of_n: str) -> list[Estimate]:
    """The quantile p of every metric, between the two of its values that have it between them at 95 % or more.

    How many of n values lie below it is binomial, whatever their law: beyond either end it is in 2.5 % at most.
    """
    n = ascending.shape[1]
    place = p * (n - 1)
    below, above = int(np.floor(place)), int(np.ceil(place))
    values = ascending[:, below] + (place - below) * (ascending[:, above] - ascending[:, below])
    at_most = bdtr(np.arange(n), n, p)
    first, last = int((at_most < 0.025).sum()) - 1, min(int((at_most < 0.975).sum()), n - 1)
    ends = ascending[:, [max(first, 0), last]]
    return [_estimate(float(value), end, p, n=n, unit_of_n=unit_of_n) for value, end in zip(values, ends, strict=True)]


def _resampled_iqm(
    values: Float[np.ndarray, "metric n"], generator: np.random.Generator, n_resamples: int
) -> Float[np.ndarray, "metric resample"]:
    """The interquartile means of resamples, each of the same units for every metric."""
    n = values.shape[1]
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1).astype(np.int32)
    ascending = np.sort(values, axis=1)
    size = max(1, _BLOCK // n)
    parts: list[np.ndarray] = []
    for first in range(0, n_resamples, size):
        units = generator.integers(n, size=(min(size, n_resamples - first), n))
        # Ranks instead of values: integers sort faster.
        drawn = [row[np.sort(rank[units], axis=1)] for row, rank in zip(ascending, ranks, strict=True)]
        parts.append(np.stack([_iqm(block) for block in drawn]))
    return np.concatenate(parts, axis=1)


def _iqm(ascending: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """The interquartile mean of values in ascending order."""
    n = ascending.shape[-1]
    cut = int(0.25 * n)
    return np.asarray(ascending[..., cut : n - cut].mean(-1))


def _estimate(value: float, ends: Float[np.ndarray, "2"], p: float, *, n: int, unit_of_n: str) -> Estimate:
    if n < fewest_for_quantile(p):
        return Estimate(value, None, None, n, unit_of_n)
    return Estimate(value, min(float(ends[0]), value), max(float(ends[1]), value), n, unit_of_n)
