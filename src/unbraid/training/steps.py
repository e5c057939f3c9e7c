"""Demonstrations as the learner sees them: tensors and numbers of steps, no labels, no rewards."""

import itertools
import mmap
import os
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos
from unbraid.demos.selection import Selection
from unbraid.modes.stretches import Stretches

__all__ = ["Steps"]

_BLOCK, _LARGE_SHARE = 65536, 0.5


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Recorded steps, numbered from 0 on, episode after episode. They are read from where they lie when they are asked
    for: tables are shared with the demonstrations, and beside them a few numbers an episode are kept.

    Attributes:
        row_table: (row, obs) observations, T + 1 in a row per episode; those of other episodes may lie between.
        action_table: (action, act) likewise, T per episode.
        first_row: (episode,) the row of its first observation.
        first_action: (episode,) the row of its first action.
        episodes: which episode a step is of.
        maps: of the tables that lie in files.
        columns: (obs,) the columns of `row_table` that are read, in this order; None for all as they are.
        origin: (obs,) float64, what is taken away from observations as they are read (`training.origin`); None where
            nothing is.
        is_moved: whether that has been taken away from `row_table`, as from all that is in memory.
    """

    row_table: Float[Tensor, "row obs"]
    action_table: Float[Tensor, "action act"]
    first_row: Int[Tensor, "episode"]
    first_action: Int[Tensor, "episode"]
    episodes: Stretches
    maps: tuple[mmap.mmap, ...] = ()
    columns: Int[Tensor, "obs"] | None = None
    origin: Float[Tensor, "obs"] | None = None
    is_moved: bool = False

    @classmethod
    def of(
        cls,
        demos: Demos | Selection,
        *,
        columns: Sequence[int] | None = None,
        origin: Float[np.ndarray, "obs"] | None = None,
    ) -> "Steps":
        """The steps of demonstrations, or of some of their episodes.

        Args:
            demos: what they are read from.
            columns: the columns of an observation, in the order that is wanted; all as they are by default.
            origin: what is taken away from each of these columns, before it becomes float32; by default nothing.

        Raises:
            DataError: there are none.
        """
        if demos.n_steps == 0:
            raise DataError("Demonstrations must hold at least one step; got none. Record or select some.")
        whole = demos.demos if isinstance(demos, Selection) else demos
        chosen = demos.episodes if isinstance(demos, Selection) else slice(None)
        of_table = origin
        if origin is not None and columns is not None:
            of_table = np.empty_like(origin)
            of_table[list(columns)] = origin
        return cls(
            row_table=_shared(whole.observations, of_table),
            action_table=_shared(whole.actions),
            first_row=torch.from_numpy(whole.row_starts[:-1][chosen]),
            first_action=torch.from_numpy(whole.step_starts[:-1][chosen]),
            episodes=Stretches(torch.from_numpy(demos.lengths).long()),
            maps=tuple(own for own in (_map_of(whole.observations), _map_of(whole.actions)) if own is not None),
            columns=None if columns is None else torch.tensor(columns),
            origin=None if origin is None else torch.from_numpy(origin),
            is_moved=not isinstance(whole.observations, np.memmap),
        )

    def of_episodes(self, chosen: Int[Tensor, "chosen"] | slice) -> "Steps":
        """The steps of the chosen episodes, numbered anew."""
        return replace(
            self,
            first_row=self.first_row[chosen],
            first_action=self.first_action[chosen],
            episodes=Stretches(self.episodes.lengths[chosen]),
        )

    def of_stretches(self, stretches: Stretches, chosen: Int[Tensor, "chosen"]) -> "Steps":
        """The steps of the chosen stretches, each an episode of its own. No transition may be read from what a stretch
        does not hold."""
        first = stretches.starts[chosen]
        return replace(
            self,
            first_row=self.rows_of(first),
            first_action=self.places_of(first),
            episodes=Stretches(stretches.lengths[chosen]),
        )

    def parts(self, most_steps: int) -> Iterator[tuple["Steps", int]]:
        """All steps, some consecutive episodes at a time that have about so many, and the first step of each part."""
        numbers = self.episodes.starts // most_steps
        edges = [0, *(torch.nonzero(numbers.diff())[:, 0] + 1).tolist(), self.n_episodes]
        for first, last in itertools.pairwise(edges):
            yield self.of_episodes(slice(first, last)), int(self.episodes.starts[first])

    @contextmanager
    def read_at_random(self) -> Generator[None]:
        """While the block runs, a file larger than half of the machine's memory is read at the places asked for, not on
        around each: a kernel may read 8 MB for every step, and drop them before another of them is asked for.

        Smaller files are left as they are: reading on is what brings them into memory.
        """
        large = [own for own in self.maps if len(own) > _LARGE_SHARE * _memory_bytes()]
        for own in large:
            own.madvise(mmap.MADV_RANDOM)
        try:
            yield
        finally:
            for own in large:
                own.madvise(mmap.MADV_NORMAL)

    @property
    def lengths(self) -> Int[np.ndarray, "episode"]:
        """(episode,) actions per episode."""
        return self.episodes.lengths.numpy()

    @property
    def n_steps(self) -> int:
        """The number of actions in all."""
        return self.episodes.n_steps

    @property
    def n_episodes(self) -> int:
        """The number of episodes."""
        return len(self.episodes)

    @property
    def observation_size(self) -> int:
        """The width of an observation."""
        return self.row_table.shape[1]

    @property
    def action_size(self) -> int:
        """The width of an action."""
        return self.action_table.shape[1]

    # Where a step is

    def rows_of(self, steps: Int[Tensor, "*chosen"]) -> Int[Tensor, "*chosen"]:
        """The rows of `row_table` that the chosen actions were taken on."""
        return steps + self._row_shift[self.episodes[steps]]

    def places_of(self, steps: Int[Tensor, "*chosen"]) -> Int[Tensor, "*chosen"]:
        """The rows of `action_table` of the chosen steps."""
        return steps if self._place_shift is None else steps + self._place_shift[self.episodes[steps]]

    def steps_left(self, steps: Int[Tensor, "*chosen"]) -> Int[Tensor, "*chosen"]:
        """From each step to the end of its episode, itself included: T at the first, 1 at the last."""
        return self.episodes.ends[self.episodes[steps]] - steps

    @cached_property
    def _row_shift(self) -> Int[Tensor, "episode"]:
        return self.first_row - self.episodes.starts

    @cached_property
    def _place_shift(self) -> Int[Tensor, "episode"] | None:
        """None where actions lie as steps are numbered."""
        shift = self.first_action - self.episodes.starts
        return shift if bool(shift.any()) else None

    # What is there

    def observations(self, steps: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        """The observations that the chosen actions were taken on, less the `origin`, float32."""
        return self._seen(self.rows_of(steps))

    def actions(self, steps: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen act"]:
        """The chosen actions, float32."""
        return _read(self.action_table, self.places_of(steps))

    def transitions(
        self, steps: Int[Tensor, "*chosen"], delta_steps: int | Int[Tensor, "*chosen"]
    ) -> Float[Tensor, "*chosen obs"]:
        """s[t + delta_steps] - s[t] at the chosen steps, which must lie that far from their episode's end."""
        rows = self.rows_of(steps)
        return self._seen(rows + delta_steps) - self._seen(rows)

    def nth_observations(self, numbers: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        """Observations by their number among all of these episodes', the last one of each included."""
        return self._seen(numbers + self._shift_of_observations[self._observed[numbers]])

    def observation_blocks(self) -> Iterator[Float[np.ndarray, "block obs"]]:
        """All observations of these episodes in their order, the last one of each included, float32, in blocks."""
        for numbers in _blocks(self._observed.n_steps):
            yield self.nth_observations(numbers).numpy()

    def action_blocks(self) -> Iterator[Float[np.ndarray, "block act"]]:
        """All actions of these episodes in their order, float32, in blocks."""
        for steps in _blocks(self.n_steps):
            yield self.actions(steps).numpy()

    def moved(self, rows: Float[Tensor, "*row obs"]) -> Float[Tensor, "*row obs"]:
        """Rows of `row_table`, which has its columns in order, less the `origin`; float32."""
        if self.origin is None or self.is_moved:
            return rows.float()
        return (rows.double() - self.origin).float()

    def _seen(self, rows: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        """Observations by their rows in the table."""
        if self.origin is None or self.is_moved:
            found = _read(self.row_table, rows)
            return found if self.columns is None else found[..., self.columns]
        found = self.row_table.index_select(0, rows.flatten())
        found = found if self.columns is None else found[:, self.columns]
        return (found.double() - self.origin).float().view(*rows.shape, -1)

    @cached_property
    def _observed(self) -> Stretches:
        return Stretches(self.episodes.lengths + 1)

    @property
    def _shift_of_observations(self) -> Int[Tensor, "episode"]:
        return self.first_row - self._observed.starts


def _shared(
    values: Real[np.ndarray, "row column"], origin: Float[np.ndarray, "column"] | None = None
) -> Float[Tensor, "row column"]:
    """A tensor on the array's own memory, be it a read-only map: nobody here writes. What is in memory becomes float32
    at once, less the origin where there is one; what is mapped, as it is read."""
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if isinstance(values, np.memmap):
            return torch.from_numpy(values)
        if origin is not None:
            return torch.from_numpy((values - origin).astype(np.float32))
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _map_of(values: np.ndarray) -> mmap.mmap | None:
    """The map of a file that an array lies in, where it does, and where its use can be told to the kernel."""
    found = getattr(values, "_mmap", None) if isinstance(values, np.memmap) else None
    return found if isinstance(found, mmap.mmap) and hasattr(mmap, "MADV_RANDOM") else None


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read(table: Float[Tensor, "row column"], rows: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen column"]:
    found = table.index_select(0, rows.flatten())  # indexing takes twice the time
    return found.view(*rows.shape, table.shape[1]).float()


def _blocks(n: int) -> Iterator[Int[Tensor, "block"]]:
    return (torch.arange(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))
