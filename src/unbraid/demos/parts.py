"""Demonstrations in parts: whole episodes, a few at a time, so that no more than one part has to be in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError
from unbraid.demos.arrays import EPISODE_ARRAYS, STEP_ARRAYS
from unbraid.demos.episodes import Demos

__all__ = ["joined_parts", "parts_of", "spans_of"]


def spans_of(lengths: Int[np.ndarray, "episode"], n_steps: int) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of episodes that belong to one part: about `n_steps` steps each, and at least one episode."""
    ends, first = np.cumsum(lengths), 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + n_steps, side="right")), first + 1)
        yield first, last
        first = last


def parts_of(demos: Demos, n_steps: int) -> Iterator[Demos]:
    """Consecutive episodes of `demos`, about `n_steps` steps at a time, as views: what is memory-mapped stays so."""
    for first, last in spans_of(demos.lengths, n_steps):
        rows = slice(int(demos.row_starts[first]), int(demos.row_starts[last]))
        steps = slice(int(demos.step_starts[first]), int(demos.step_starts[last]))
        cut = {"observations": demos.observations[rows]}
        cut |= {n: v[steps] for n in STEP_ARRAYS if (v := getattr(demos, n)) is not None}
        cut |= {n: v[first:last] for n in EPISODE_ARRAYS if (v := getattr(demos, n)) is not None}
        yield replace(demos, **cut)


def joined_parts(parts: Iterable[Demos]) -> Demos:
    """Parts of one data set laid end to end; names, bounds and facts are those of the first.

    Raises:
        DataError: there are no parts.
    """
    every = list(parts)
    if not every:
        raise DataError("Demonstrations must hold at least one episode; got none. Record or select some.")
    if len(every) == 1:
        return every[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in every])
        for name in ("observations", *STEP_ARRAYS, *EPISODE_ARRAYS)
        if getattr(every[0], name) is not None
    }
    return replace(every[0], **arrays)
