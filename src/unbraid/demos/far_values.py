"""Values far beyond what a column holds otherwise: a sensor's fault, a wrong unit, a simulation that diverged.

One such number would make the scale of its column, and all else in it small. And columns all of whose values lie far
from 0, as map coordinates do, which single precision would round.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Fence", "Watch", "faults", "first_faults", "is_rounded"]

_SAMPLE_ROWS, _SAMPLE_VALUES = 100_000, 5_000_000
_FEW, _AT_LEAST = 1e-3, 3
"""The largest thousandth of a column, and the smallest, but at least three values of each, are not what is usual."""
_FEW_EPISODES = 0.05
_WIDTHS = 10.0
_FAR, _ROUNDED = 1e3, 1e-3
"""A column is far from 0 whose mean is at least so large, and where rounding to float32 is more than a thousandth of
its deviation."""


def is_rounded(mean: Float[np.ndarray, "column"], deviation: Float[np.ndarray, "column"]) -> Bool[np.ndarray, "column"]:
    """Which columns lie so far from 0 beside how much they vary that float32 would round away what varies."""
    rounded = np.abs(mean) * np.finfo(np.float32).eps / 2
    return (np.abs(mean) >= _FAR) & (deviation > 0) & (rounded > _ROUNDED * deviation)


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

    def __init__(self, n_rows: int, n_columns: int) -> None:
        """Args:
        n_rows: how many there will be; a hundred thousand of them, evenly spread, are kept, or fewer wide ones.
        n_columns: their width.
        """
        most = max(min(_SAMPLE_ROWS, _SAMPLE_VALUES // max(n_columns, 1)), 1)
        self._stride = max(-(-n_rows // most), 1)
        self._n_rows, self._n_seen = n_rows, 0
        self._kept: Float[np.ndarray, "kept column"] | None = None
        self._low, self._high = np.array(math.inf), np.array(-math.inf)

    def watched(self, blocks: Iterable[Float[np.ndarray, "_ column"]]) -> Iterator[Float[np.ndarray, "_ column"]]:
        """The same blocks, looked at as they pass."""
        for block in blocks:
            if self._kept is None:
                self._kept = np.empty((-(-self._n_rows // self._stride), block.shape[1]), dtype=block.dtype)
            some = block[-self._n_seen % self._stride :: self._stride]
            first = -(-self._n_seen // self._stride)
            self._kept[first : first + len(some)] = some
            self._low, self._high = np.minimum(self._low, block.min(0)), np.maximum(self._high, block.max(0))
            self._n_seen += len(block)
            yield block

    def fence(self) -> Fence | None:
        """None where no value was far; once all rows have passed."""
        assert self._kept is not None
        sample = self._kept
        n_beyond = min(math.ceil(_FEW * len(sample)) + _AT_LEAST - 1, (len(sample) - 1) // 2)
        ends = [n_beyond, len(sample) - 1 - n_beyond]
        low, high = np.partition(sample, ends, axis=0)[ends]
        fence = Fence(low.astype(np.float64), high.astype(np.float64))
        return fence if fence.is_far(np.stack([self._low, self._high])).any() else None


def faults(fence: Fence, blocks: Iterable[Float[np.ndarray, "_ column"]], n_episodes: int) -> Int[np.ndarray, "column"]:
    """(column,) how many values are far, where that are no more than one in twenty episodes could have; else 0.

    More of them are something that experts do now and then: a button that is pressed.

    Args:
        fence: of the table.
        blocks: the table's rows, some at a time.
        n_episodes: how many it holds.
    """
    n_far = np.sum([fence.is_far(block).sum(0) for block in blocks], axis=0)
    return np.where(n_far <= max(math.ceil(_FEW_EPISODES * n_episodes), _AT_LEAST), n_far, 0)


def first_faults(table: Float[np.ndarray, "row column"], n_episodes: int, block_rows: int) -> dict[int, int]:
    """Column -> the row of its first fault, for the columns that have any.

    Args:
        table: finite numbers; at least one row.
        n_episodes: how many it holds.
        block_rows: how many rows to look at together.
    """

    def blocks() -> Iterator[Float[np.ndarray, "_ column"]]:
        return (table[start : start + block_rows] for start in range(0, len(table), block_rows))

    watch = Watch(len(table), table.shape[1])
    for _ in watch.watched(blocks()):
        pass
    fence = watch.fence()
    if fence is None:
        return {}
    fence, found = fence.of_columns(faults(fence, blocks(), n_episodes) > 0), dict[int, int]()
    for number, block in enumerate(blocks()):
        far = fence.is_far(block)
        for column in np.flatnonzero(far.any(0)).tolist():
            found.setdefault(column, number * block_rows + int(far[:, column].argmax()))
    return found
