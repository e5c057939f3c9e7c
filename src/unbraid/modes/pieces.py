"""Windows of different lengths in one table with a mask; places to draw them from; long ones read in pieces."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.modes.spans import WindowPlaces
from unbraid.modes.windows import Windows

__all__ = ["PaddedPlaces", "PaddedWindows", "mean_over_pieces", "padded", "pieces_of"]

_STEPS_AT_ONCE = 32768


@final
@dataclass(frozen=True, eq=False)
class PaddedWindows:
    """Windows side by side.

    Attributes:
        steps: (window, step) the flat index of each step; beyond a window's end its last step again.
        mask: (window, step) True at a window's own steps, which come first.
    """

    steps: Int[Tensor, "window step"]
    mask: Bool[Tensor, "window step"]

    def part(self, rows: slice) -> "PaddedWindows":
        """Some of the windows."""
        return PaddedWindows(self.steps[rows], self.mask[rows])


def padded(starts: Int[Tensor, "window"], lengths: Int[Tensor, "window"]) -> PaddedWindows:
    """Consecutive steps from each start on, padded to the longest window's number of them."""
    within = torch.arange(int(lengths.max()))
    last = (lengths - 1)[:, None]
    return PaddedWindows(steps=starts[:, None] + within.minimum(last), mask=within <= last)


@final
class PaddedPlaces:
    """All places of a window of one length in episodes, to draw from; an episode that is shorter is one, as a whole."""

    def __init__(self, lengths: Int[np.ndarray, "episode"], window_steps: int) -> None:
        """Args:
        lengths: the steps of each episode; at least one must have some.
        window_steps: the most steps in a window.
        """
        self.window_steps, self._lengths = window_steps, torch.from_numpy(lengths).long()
        self._places = WindowPlaces(lengths, window_steps, short_are_whole=True)

    def __len__(self) -> int:
        return len(self._places)

    def drawn(self, n: int, generator: torch.Generator) -> PaddedWindows:
        """`n` windows, each place as likely as any other; the first half are cut to lengths drawn at random.

        For an encoder that reads steps in their order has to see every length that it is to read.
        """
        starts, episodes = self._places.drawn_in_episodes(n, generator)
        lengths = self._lengths[episodes].clamp_max(self.window_steps)
        shares = torch.rand(n // 2, generator=generator)
        lengths[: n // 2] = (shares * lengths[: n // 2]).long().minimum(lengths[: n // 2] - 1) + 1
        return padded(starts, lengths)


def pieces_of(windows: Windows, longest: int) -> tuple[Windows, Int[np.ndarray, "piece"]]:
    """Cuts windows longer than `longest` steps into as few pieces as do, of one length, evenly spread over the window.

    Neighbouring pieces of a window overlap where their number does not divide its steps. A window that is short enough
    is its own piece.

    Returns:
        The pieces, window by window, and (piece,) the window that each was cut from.
    """
    n_pieces = -(-windows.lengths // longest)
    lengths = -(-windows.lengths // np.maximum(n_pieces, 1))
    of = np.repeat(np.arange(len(windows)), n_pieces)
    within = np.arange(len(of)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    room = (windows.lengths - lengths)[of]
    offsets = within * room // np.maximum(n_pieces - 1, 1)[of]
    return Windows(windows.starts[of] + offsets, lengths[of], windows.episodes[of]), of


def mean_over_pieces(
    windows: Windows,
    longest: int,
    n_modes: int,
    read: Callable[[PaddedWindows], Float[Tensor, "piece mode"]],
) -> Float[np.ndarray, "window mode"]:
    """The mean over a window's pieces of what is read of each; memory holds some 32,768 steps at a time.

    Args:
        windows: of any lengths, at least one step each.
        longest: the most steps that are read as one.
        n_modes: the columns of what is read.
        read: from padded pieces to rows; pieces of like lengths come together.
    """
    pieces, of = pieces_of(windows, longest)
    order = np.argsort(pieces.lengths, kind="stable")
    sums = np.zeros((len(windows), n_modes))
    at_once = max(_STEPS_AT_ONCE // max(int(pieces.lengths.max(initial=1)), 1), 1)
    for chosen in np.split(order, range(at_once, len(order), at_once)):
        if len(chosen):
            rows = read(padded(torch.from_numpy(pieces.starts[chosen]), torch.from_numpy(pieces.lengths[chosen])))
            np.add.at(sums, of[chosen], rows.cpu().double().numpy())
    return sums / np.bincount(of, minlength=len(windows))[:, None]
