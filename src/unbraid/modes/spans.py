"""Where spans and windows are read from: demonstrations as they lie in memory or in a file, never copied as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.modes.evidence import Recorded

__all__ = ["SpanSource", "WindowPlaces", "places_in_spans"]


@final
@dataclass(frozen=True, eq=False)
class SpanSource:
    """All spans of demonstrations, of which a search reads as many as it can use: the whole is never copied.

    Attributes:
        rows: (row, obs) every observation, in its own units; a stretch of T steps has T + 1 consecutive ones.
        row_of_step: (step,) the row that an action was taken on.
        actions: (step, act) in their own units.
        spans: (step,) the stretch that shares one mode, 0, 0, ..., 1, 1, ..., without gaps.
        scale_rows, scale_actions: from rows of their own units to scaled ones.
    """

    rows: Float[Tensor, "row obs"]
    row_of_step: Int[Tensor, "step"]
    actions: Float[Tensor, "step act"]
    spans: Int[Tensor, "step"]
    scale_rows: Callable[[Tensor], Tensor]
    scale_actions: Callable[[Tensor], Tensor]

    @cached_property
    def lengths(self) -> Int[Tensor, "span"]:
        """The steps of every span."""
        return torch.bincount(self.spans)

    def of_spans(self, chosen: Int[Tensor, "chosen"]) -> Recorded:
        """The chosen spans alone, scaled, numbered anew in the order in which they are given."""
        lengths = self.lengths[chosen]
        first_step = (self.lengths.cumsum(0) - self.lengths)[chosen]
        steps = places_in_spans(first_step, lengths)
        rows = places_in_spans(self.row_of_step[first_step], lengths + 1)
        spans = torch.arange(len(chosen)).repeat_interleave(lengths)
        return Recorded(
            rows=self.scale_rows(self.rows[rows]),
            row_of_step=torch.arange(len(steps)) + spans,
            actions=self.scale_actions(self.actions[steps]),
            spans=spans,
        )


def places_in_spans(first: Int[Tensor, "span"], lengths: Int[Tensor, "span"]) -> Int[Tensor, "place"]:
    """first, first + 1, ..., as many as each span is long, span after span."""
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) + (first - before).repeat_interleave(lengths)


@final
class WindowPlaces:
    """All places where a window of one length fits into an episode, to draw from; one number an episode is kept."""

    def __init__(
        self, lengths: Int[np.ndarray, "episode"], window_steps: int, *, short_are_whole: bool = False
    ) -> None:
        """Args:
        lengths: the steps of each episode; at least one must be as long as the window.
        window_steps: steps in a window.
        short_are_whole: whether an episode that is shorter, and has steps, is one place, as a whole.
        """
        least = (lengths > 0).astype(lengths.dtype) if short_are_whole else 0
        counts = torch.from_numpy(np.maximum(lengths - window_steps + 1, least)).long()
        self.window_steps, self._ends = window_steps, counts.cumsum(0)
        first_step = torch.from_numpy(np.cumsum(lengths) - lengths).long()
        self._first_step_less_count = first_step - (self._ends - counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def drawn(self, n: int, generator: torch.Generator) -> Int[Tensor, "window"]:
        """The first step of `n` windows, each place as likely as any other."""
        return self.drawn_in_episodes(n, generator)[0]

    def drawn_in_episodes(
        self, n: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "window"], Int[Tensor, "window"]]:
        """The same, and the episode of each."""
        numbers = torch.randint(len(self), (n,), generator=generator)
        episodes = torch.searchsorted(self._ends, numbers, right=True)
        return numbers + self._first_step_less_count[episodes], episodes
