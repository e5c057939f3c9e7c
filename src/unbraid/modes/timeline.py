"""Modes over time: the mode of every step, and where one takes over from another, each with how sure that is."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from unbraid.modes.chain import best_path, smoothed

__all__ = ["ChangePoint", "Timeline", "change_steps", "timeline_of"]

_TAIL = 0.05


@final
@dataclass(frozen=True)
class ChangePoint:
    """Where one mode takes over from another.

    Attributes:
        episode: which one.
        step: the first step of the new mode, counted within the episode.
        before, after: the modes.
        low_step, high_step: nine times in ten the first step lies between them, both included, if there is a change.
        probability: that there is a change between the middles of the two stretches that meet here.
    """

    episode: int
    step: int
    before: int
    after: int
    low_step: int
    high_step: int
    probability: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return dict(vars(self))


@final
@dataclass(frozen=True, eq=False)
class Timeline:
    """What is known of every step, given its whole episode.

    Attributes:
        modes: (step,) the likeliest sequence of modes.
        probabilities: (step, mode) of every step by itself; rows sum to 1.
        change_points: in the order of time.
    """

    modes: Int[np.ndarray, "step"]
    probabilities: Float[np.ndarray, "step mode"]
    change_points: tuple[ChangePoint, ...]


def change_steps(modes: Int[np.ndarray, "step"]) -> Int[np.ndarray, "change"]:
    """The steps of one episode whose mode is not that of the step before."""
    return np.flatnonzero(modes[1:] != modes[:-1]) + 1


def timeline_of(
    scores: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"], switch_rate: float
) -> Timeline:
    """The timeline of episodes.

    Args:
        scores: what each step says of each mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
        switch_rate: the probability that a step changes the mode; at 0 an episode has one mode throughout.
    """
    if switch_rate == 0:
        episodes = np.repeat(np.arange(len(lengths)), lengths)
        sums = np.zeros((len(lengths), scores.shape[1]))
        np.add.at(sums, episodes, scores)
        weights = np.exp(sums - sums.max(1, keepdims=True))
        return Timeline(sums.argmax(1)[episodes], (weights / weights.sum(1, keepdims=True))[episodes], ())
    found, modes = smoothed(scores, lengths, switch_rate), best_path(scores, lengths, switch_rate)
    points: list[ChangePoint] = []
    for episode, start in enumerate((np.cumsum(lengths) - lengths).tolist()):
        end = start + int(lengths[episode])
        own = modes[start:end]
        edges = np.concatenate([[0], change_steps(own), [len(own)]])
        middles = (edges[1:] + edges[:-1]) // 2
        for i, step in enumerate(edges[1:-1].tolist()):
            likely = found.changes[start + middles[i] + 1 : start + middles[i + 1] + 1]
            low, high = np.searchsorted(np.cumsum(likely) / likely.sum(), [_TAIL, 1 - _TAIL])
            first = int(middles[i]) + 1
            points.append(
                ChangePoint(
                    episode=episode,
                    step=step,
                    before=int(own[step - 1]),
                    after=int(own[step]),
                    low_step=first + int(low),
                    high_step=first + min(int(high), len(likely) - 1),
                    probability=1 - found.constant(start + int(middles[i]), start + int(middles[i + 1])),
                )
            )
    return Timeline(modes, found.probabilities, tuple(points))
