"""Values far beyond what a column holds otherwise: a sensor's fault, a wrong unit, a simulation that diverged.

One such number would make the scale of its column, and all else in it small.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["AT_LEAST", "Fence", "Watch"]

AT_LEAST = 3
"""The largest thousandth of a column, and the smallest, but at least three values of each, are not what is usual."""
_SAMPLE_ROWS, _FEW = 100_000, 1e-3
_WIDTHS = 10.0


@final
@dataclass(frozen=True, eq=False)
class Fence:
    """What is usual in each column: all but a thousandth on each side; further out than ten times its width is far.

    Attributes:
        low, high: (column,) what is usual, in the columns' own units.
    """

    low: Float[np.ndarray, "column"]
    high: Float[np.ndarray, "column"]

    def is_far(self, rows: Float[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
        """Which values are far; in a column that hardly ever changes, none is."""
        width = self.high - self.low
        beyond = (rows < self.low - _WIDTHS * width) | (rows > self.high + _WIDTHS * width)
        return beyond & (width > 0)

    def of_columns(self, chosen: Bool[np.ndarray, "column"]) -> "Fence":
        """The fence of the chosen columns; in others nothing is far."""
        return Fence(np.where(chosen, self.low, 0.0), np.where(chosen, self.high, 0.0))

    def within(self, rows: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
        """The rows, where a far value is the largest that is usual, or the smallest; in their own type."""
        usual = np.clip(rows, self.low, self.high).astype(rows.dtype)
        return np.where(self.is_far(rows), usual, rows)


@final
class Watch:
    """Sees rows pass, some at a time, and then says where their fence is, if any of them lies beyond it."""

    def __init__(self, n_rows: int) -> None:
        """Args:
        n_rows: how many there will be; a hundred thousand of them, evenly spread, are kept.
        """
        self._stride = max(n_rows // _SAMPLE_ROWS, 1)
        self._n_seen = 0
        self._kept: list[Float[np.ndarray, "_ column"]] = []
        self._low, self._high = np.array(math.inf), np.array(-math.inf)

    def watched(self, blocks: Iterable[Float[np.ndarray, "_ column"]]) -> Iterator[Float[np.ndarray, "_ column"]]:
        """The same blocks, looked at as they pass."""
        for block in blocks:
            self._kept.append(block[-self._n_seen % self._stride :: self._stride].astype(np.float64))
            self._low, self._high = np.minimum(self._low, block.min(0)), np.maximum(self._high, block.max(0))
            self._n_seen += len(block)
            yield block

    def fence(self) -> Fence | None:
        """None where no value was far."""
        sample = np.concatenate(self._kept)
        n_beyond = min(math.ceil(_FEW * len(sample)) + AT_LEAST - 1, (len(sample) - 1) // 2)
        ends = [n_beyond, len(sample) - 1 - n_beyond]
        low, high = np.partition(sample, ends, axis=0)[ends]
        fence = Fence(low, high)
        return fence if fence.is_far(np.stack([self._low, self._high])).any() else None
