"""Where spans and windows are read from: demonstrations as they lie in memory or in a file, never copied as a whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
        actions: (place, act) every action in its own units.
        first_row, first_place: (span,) the rows of a span's first observation and of its first action.
        lengths: (span,) the steps of every span.
        scale_rows, scale_actions: from rows of their own units to scaled ones, in float32; the first also from float64.
    """

    rows: Float[Tensor, "row obs"]
    actions: Float[Tensor, "place act"]
    first_row: Int[Tensor, "span"]
    first_place: Int[Tensor, "span"]
    lengths: Int[Tensor, "span"]
    scale_rows: Callable[[Tensor], Tensor]
    scale_actions: Callable[[Tensor], Tensor]

    def of_spans(self, chosen: Int[Tensor, "chosen"]) -> Recorded:
        """The chosen spans alone, scaled, numbered anew in the order in which they are given."""
        lengths = self.lengths[chosen]
        rows = places_in_spans(self.first_row[chosen], lengths + 1)
        places = places_in_spans(self.first_place[chosen], lengths)
        spans = torch.arange(len(chosen)).repeat_interleave(lengths)
        return Recorded(
            rows=self.scale_rows(self.rows[rows]),
            row_of_step=torch.arange(len(places)) + spans,
            actions=self.scale_actions(self.actions[places].float()),
            spans=spans,
        )

    def first_steps(self, n_steps: int) -> "SpanSource":
        """The beginning of every span, at most so many steps of each."""
        return replace(self, lengths=self.lengths.clamp_max(n_steps))


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
        return self.at(torch.randint(len(self), (n,), generator=generator))

    def at(self, numbers: Int[Tensor, "window"]) -> tuple[Int[Tensor, "window"], Int[Tensor, "window"]]:
        """The first step and the episode of places by their numbers, which are 0, 1, ... in the order of time."""
        episodes = torch.searchsorted(self._ends, numbers, right=True)
        return numbers + self._first_step_less_count[episodes], episodes
