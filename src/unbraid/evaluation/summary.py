"""What many values are like: mean, median, interquartile mean and quantiles, each with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Real

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
        mean: with Student's t interval.
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
) -> dict[str, Summary]:
    """Mean, median, interquartile mean and quantiles of every metric, with 95 % intervals.

    The mean has Student's interval. The others have the bootstrap's, of whole units, all metrics in the same resamples:
    the percentile interval with expanded quantiles. Where there are too few values for that to cover the truth
    (`fewest_for_quantile`; the interquartile mean counts as the median) there is no interval.
    `tests/statistics/test_summary.py` measures the coverage.

    Source: Agarwal et al. 2021, arXiv 2108.13264 (interquartile mean, as scipy's `trim_mean(x, 0.25)`); Efron 1979
    (percentile interval); Hesterberg 2014, arXiv 1411.5279, section 5.3 (expanded quantiles).

    Args:
        measures: metric -> (n,) one value per independent unit, for all metrics the same units in the same order.
        generator: draws the resamples.
        n_resamples: of the bootstrap.
        unit_of_n: what the units are.

    Raises:
        DataError: no values, some that are not finite, or metrics of different lengths.
    """
    lengths = {len(values) for values in measures.values()}
    if len(lengths) > 1:
        raise DataError(
            f"All metrics must be of the same {unit_of_n}; they have {sorted(lengths)}. Measure them again."
        )
    means = {name: mean_interval(values, unit_of_n=unit_of_n) for name, values in measures.items()}
    if not measures:
        return {}
    values = np.stack(list(measures.values())).astype(np.float64)
    n = values.shape[1]
    here = _statistics(np.sort(values, axis=1))
    if n < 2:
        ends = np.stack([here, here])
    else:
        tail = expanded_tail(n)
        ends = np.quantile(_resampled(values, generator, n_resamples), [tail, 1 - tail], axis=1)
    found: dict[str, Summary] = {}
    for row, (name, mean) in enumerate(means.items()):
        made = [
            _estimate(float(here[row, i]), ends[:, row, i], p, n=n, unit_of_n=unit_of_n)
            for i, p in enumerate((0.5, 0.5, *QUANTILES))
        ]
        found[name] = Summary(mean, made[0], made[1], dict(zip(QUANTILES, made[2:], strict=True)))
    return found


def _resampled(
    values: Float[np.ndarray, "metric n"], generator: np.random.Generator, n_resamples: int
) -> Float[np.ndarray, "metric resample statistic"]:
    """The statistics of resamples, each of the same units for every metric."""
    n = values.shape[1]
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1).astype(np.int32)
    ascending = np.sort(values, axis=1)
    size = max(1, _BLOCK // n)
    parts: list[np.ndarray] = []
    for first in range(0, n_resamples, size):
        units = generator.integers(n, size=(min(size, n_resamples - first), n))
        # Ranks instead of values: integers sort faster.
        drawn = [row[np.sort(rank[units], axis=1)] for row, rank in zip(ascending, ranks, strict=True)]
        parts.append(np.stack([_statistics(block) for block in drawn]))
    return np.concatenate(parts, axis=1)


def _statistics(ascending: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch statistic"]:
    """Median, interquartile mean and `QUANTILES` of values in ascending order."""
    n = ascending.shape[-1]
    cut = int(0.25 * n)
    places = np.array([0.5, *QUANTILES]) * (n - 1)
    below = np.floor(places).astype(int)
    share = places - below
    low, high = ascending[..., below], ascending[..., np.minimum(below + 1, n - 1)]
    quantiles = low + share * (high - low)
    iqm = ascending[..., cut : n - cut].mean(-1, keepdims=True)
    return np.concatenate([quantiles[..., :1], iqm, quantiles[..., 1:]], axis=-1)


def _estimate(value: float, ends: Float[np.ndarray, "2"], p: float, *, n: int, unit_of_n: str) -> Estimate:
    if n < fewest_for_quantile(p):
        return Estimate(value, None, None, n, unit_of_n)
    return Estimate(value, min(float(ends[0]), value), max(float(ends[1]), value), n, unit_of_n)
