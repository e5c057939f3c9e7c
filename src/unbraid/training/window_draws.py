"""The windows that an encoder learns from."""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.modes.pieces import PaddedPlaces, PaddedWindows
from unbraid.modes.spans import WindowPlaces

__all__ = ["STEPS_PER_WINDOW", "WindowDraws"]

STEPS_PER_WINDOW = 25
"""The most steps that are read of a longer window, where their order does not count."""


@final
class WindowDraws:
    """Windows of a length that is drawn from some, at random places in episodes.

    Attributes:
        window_lengths: those lengths; one that is longer than every episode is the longest one's.
        n_windows: how many are drawn at once.
        generator: which they are drawn with.
    """

    def __init__(
        self,
        lengths: Int[np.ndarray, "episode"],
        *,
        window_lengths: Sequence[int],
        n_windows: int,
        generator: torch.Generator,
    ) -> None:
        """Args:
        lengths: the steps of each episode.
        window_lengths: steps in a window, in any order.
        n_windows: how many at once.
        generator: what to draw them with.
        """
        self.window_lengths = sorted({min(length, int(lengths.max())) for length in window_lengths})
        self.n_windows, self.generator = n_windows, generator
        self._places = [WindowPlaces(lengths, length) for length in self.window_lengths]
        self._padded_places = [PaddedPlaces(lengths, length) for length in self.window_lengths]

    def drawn(self) -> Int[Tensor, "window step"]:
        """The steps of windows, of each at most 25 in no order; episodes shorter than the window have none."""
        draws = self.generator
        places = self._places[int(torch.randint(len(self._places), (), generator=draws))]
        starts, length = places.drawn(self.n_windows, draws), places.window_steps
        if length <= STEPS_PER_WINDOW:
            return starts[:, None] + torch.arange(length)
        within = torch.rand(len(starts), length, generator=draws).argsort(1)[:, :STEPS_PER_WINDOW]
        return starts[:, None] + within

    def drawn_in_order(self) -> PaddedWindows:
        """Windows with all their steps in order; of a shorter episode the whole.

        Of windows above 25 steps there are fewer, so that a batch has no more steps.
        """
        draws = self.generator
        places = self._padded_places[int(torch.randint(len(self._padded_places), (), generator=draws))]
        n_windows = self.n_windows * STEPS_PER_WINDOW // max(places.window_steps, STEPS_PER_WINDOW)
        return places.drawn(max(n_windows, 1), draws)
