"""Some of the episodes of demonstrations, by number: what lies in a file stays there."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, split_numbers

__all__ = ["Selection"]

_CHUNK_ROWS = 65536


@final
@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the episodes of demonstrations, without a copy; `unbraid.fit` takes it in place of `Demos`.

    Attributes:
        demos: all of them, e.g. memory-mapped.
        episodes: (chosen,) the numbers of those that are meant, rising.
    """

    demos: Demos
    episodes: Int[np.ndarray, "chosen"]

    def __post_init__(self) -> None:
        numbers, n_there = self.episodes, self.demos.n_episodes
        if len(numbers) and (numbers[0] < 0 or numbers[-1] >= n_there or (np.diff(numbers) <= 0).any()):
            raise DataError(
                f"Episodes must rise within [0, {n_there}), each named once; got {numbers[:8].tolist()}... . Sort "
                "them, or take a copy with `Demos.select`, which takes any order."
            )

    @classmethod
    def split(cls, demos: Demos, *, held_out: float, generator: np.random.Generator) -> tuple["Selection", "Selection"]:
        """(training, held out): the episodes that `Demos.split` takes, without a copy."""
        training, left_out = split_numbers(demos, held_out=held_out, generator=generator)
        return cls(demos, training), cls(demos, left_out)

    @property
    def n_episodes(self) -> int:
        """The number of chosen episodes."""
        return len(self.episodes)

    @property
    def n_steps(self) -> int:
        """The number of their actions."""
        return int(self.lengths.sum())

    @property
    def lengths(self) -> Int[np.ndarray, "chosen"]:
        """(chosen,) the number of actions of each."""
        return self.demos.lengths[self.episodes]

    @property
    def seeds(self) -> Int[np.ndarray, "chosen"] | None:
        """(chosen,) the seeds that the world was reset with, or None."""
        return None if self.demos.seeds is None else self.demos.seeds[self.episodes]

    @property
    def observation_size(self) -> int:
        """The width of an observation."""
        return self.demos.observation_size

    @property
    def action_size(self) -> int:
        """The width of an action."""
        return self.demos.action_size

    def without_labels(self) -> "Selection":
        """The same episodes, with nobody saying who acted."""
        return replace(self, demos=self.demos.without_labels())

    def copied(self) -> Demos:
        """The chosen episodes in memory, for as many as fit there."""
        return self.demos.select(self.episodes)

    def fingerprint(self) -> str:
        """That of the copy: see `Demos.fingerprint`."""
        demos, digest = self.demos, hashlib.sha256()
        for values, starts in ((demos.observations, demos.row_starts), (demos.actions, demos.step_starts)):
            n_rows = int((starts[self.episodes + 1] - starts[self.episodes]).sum())
            digest.update(f"{values.dtype.str}{(n_rows, *values.shape[1:])}".encode())
            for first, last in self.runs():
                for start in range(int(starts[first]), int(starts[last]), _CHUNK_ROWS):
                    chunk = values[start : min(start + _CHUNK_ROWS, int(starts[last]))]
                    digest.update(np.ascontiguousarray(chunk).tobytes())
        for values in (self.lengths, demos.terminated[self.episodes]):
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def runs(self) -> Iterator[tuple[int, int]]:
        """Episodes that follow one another in the file: the first of each run, and the one behind its last."""
        edges = np.flatnonzero(np.diff(self.episodes, prepend=-2, append=self.demos.n_episodes + 1) != 1)
        return ((int(self.episodes[a]), int(self.episodes[b - 1]) + 1) for a, b in itertools.pairwise(edges))
