"""Which steps belong together because one mode holds throughout: whole episodes, or stretches of them."""

import numpy as np
from jaxtyping import Int

from unbraid.demos.episodes import Demos
from unbraid.modes.assignment import stretches_of
from unbraid.modes.windows import Windows
from unbraid.training.model import ModeModel
from unbraid.training.style import PIECE_STEPS

__all__ = ["long_stretches", "of_one_mode"]


def of_one_mode(model: ModeModel, demos: Demos) -> tuple[Windows, Int[np.ndarray, "window"]]:
    """Episodes with steps, or `long_stretches` of them where modes change within an episode, and the mode of each."""
    if model.switch_rate == 0:
        windows = model.cut(demos, None)
        return windows, model.window_scores(demos, windows).argmax(1)
    return long_stretches(demos, model.timeline(demos).modes)


def long_stretches(demos: Demos, modes: Int[np.ndarray, "step"]) -> tuple[Windows, Int[np.ndarray, "window"]]:
    """Stretches of one mode that have 25 steps and more, or, of a mode that has none, its longest; the mode of each.

    Args:
        demos: the episodes.
        modes: (step,) the mode of every step.
    """
    stretches = stretches_of(modes, demos.episode_of_step)
    starts, lengths = np.flatnonzero(np.diff(stretches, prepend=-1)), np.bincount(stretches)
    of_stretch = modes[starts]
    longest = np.zeros(modes.max(initial=0) + 1, dtype=np.int64)
    np.maximum.at(longest, of_stretch, lengths)
    kept = lengths >= np.minimum(longest, PIECE_STEPS)[of_stretch]
    starts, lengths = starts[kept], lengths[kept]
    return Windows(starts, lengths, demos.episode_of_step[starts]), of_stretch[kept]
