"""Windows: which consecutive steps of one episode belong together, as indices into flat arrays (never copies)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import ConfigError

__all__ = ["Windows", "cut_windows", "joined_windows"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of equal length, or one window for each whole episode.

    Attributes:
        starts: (window,) the flat index of each window's first step.
        lengths: (window,) the number of steps in each.
        episodes: (window,) the episode that each was cut from.
    """

    starts: Int[np.ndarray, "window"]
    lengths: Int[np.ndarray, "window"]
    episodes: Int[np.ndarray, "window"]

    def __len__(self) -> int:
        return len(self.starts)


def cut_windows(
    lengths: Int[np.ndarray, "episode"], window_steps: int | None = None, *, stride_steps: int = 5
) -> Windows:
    """Cuts windows of `window_steps` steps at every `stride_steps`, none across an episode's end.

    Args:
        lengths: (episode,) the number of steps in each episode.
        window_steps: steps in a window; None makes one window of every episode that has steps.
        stride_steps: steps between the starts of neighbouring windows of an episode.

    Raises:
        ConfigError: a window or stride shorter than one step.
    """
    step_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if window_steps is None:
        episodes = np.flatnonzero(lengths > 0)
        return Windows(step_starts[episodes], lengths[episodes].astype(np.int64), episodes)
    if window_steps < 1 or stride_steps < 1:
        raise ConfigError(
            f"A window and its stride must have at least 1 step; got {window_steps} and {stride_steps}. Ask for more."
        )
    counts = np.maximum((lengths - window_steps) // stride_steps + 1, 0)
    episodes = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return Windows(
        starts=step_starts[episodes] + within * stride_steps,
        lengths=np.full(len(episodes), window_steps, dtype=np.int64),
        episodes=episodes,
    )


def joined_windows(windows: Sequence[Windows]) -> Windows:
    """All of several, one after another, so that one reading serves them all."""
    return Windows(
        starts=np.concatenate([some.starts for some in windows]),
        lengths=np.concatenate([some.lengths for some in windows]),
        episodes=np.concatenate([some.episodes for some in windows]),
    )
