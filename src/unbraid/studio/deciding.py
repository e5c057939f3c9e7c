"""Which inputs decide a mode: how much evidence is lost when one input's values are swapped between windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos
from unbraid.evaluation.intervals import Estimate, mean_interval
from unbraid.evaluation.telling import sensor_of
from unbraid.modes.windows import cut_windows
from unbraid.training.model import ModeModel

__all__ = ["Deciding", "deciding_inputs", "input_groups"]

_WINDOW_STEPS = 25
_MOST_WINDOWS = 300
_REPEATS = 3
_MOST_ALONE, _RUNS = 128, 32
"""Of more inputs than can be swapped one by one, neighbours are swapped together, as so many inputs."""


@final
@dataclass(frozen=True)
class Deciding:
    """What one input does for the windows of one mode.

    Attributes:
        mode: whose windows.
        name: of the input.
        lost_nats: how much less the windows speak for their mode against the next best one without it, per window.
        window_steps: how long the windows are.
    """

    mode: int
    name: str
    lost_nats: Estimate
    window_steps: int

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        told = {"mode": self.mode, "name": self.name, "lost_nats": self.lost_nats.to_json()}
        return told | {"window_steps": self.window_steps}


def input_groups(demos: Demos) -> dict[str, list[int]]:
    """The inputs that are swapped together, by name: columns of observations, then of actions.

    The columns of one sensor (`sensor_of`) are one input: they say one thing together, and swapping one of them says
    little. Of more than 128 inputs of an observation,
    such as an embedding of pictures, neighbours are one, so that 32 are left.
    """
    names = demos.observation_names or tuple(f"observation {i}" for i in range(demos.observation_size))
    found: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        found.setdefault(sensor_of(name), []).append(column)
    if len(found) > _MOST_ALONE:
        runs = np.array_split(np.array(list(found)), _RUNS)
        found = {f"{run[0]} to {run[-1]}": [c for name in run.tolist() for c in found[name]] for run in runs}
    for column in range(demos.action_size):
        found[f"action {column}"] = [demos.observation_size + column]
    return found


def deciding_inputs(
    model: ModeModel, held_out: Demos, *, leads: Sequence[int] | None = None, seed: int = 0
) -> list[Deciding]:
    """Permutation importance on windows that no training saw, strongest first within each mode.

    For every input, its 25 steps are swapped between windows, at random, three times; what is counted is the fall of
    the margin, in nats, between the window's mode and the next best one. The episode is the unit of the interval.
    Where all episodes are shorter, windows are as long as the longest.

    Modes that a person merged are one: its score is the log of the sum of theirs.

    Source: Breiman 2001, doi 10.1023/A:1010933404324, section 10, with the margin in place of the error.

    Args:
        model: whose modes.
        held_out: the episodes.
        leads: (mode,) the mode that each is shown as; None for each by itself.
        seed: of the windows that are chosen, and of how they are swapped.

    Returns:
        One entry for each input and each mode shown that some window is read as.

    Raises:
        DataError: data that does not fit the model, or without a step.
    """
    demos, episodes = _windows_as_episodes(model, held_out, seed)
    whole = cut_windows(demos.lengths, None)
    shown = np.arange(model.n_modes) if leads is None else np.asarray(leads)
    scores = _scores_shown(model.window_scores(demos, whole), shown)
    modes, generator = scores.argmax(1), named_generator(seed, "deciding")
    before, steps = _margins(scores, modes), int(demos.lengths[0])
    found: list[Deciding] = []
    for name, columns in input_groups(held_out).items():
        lost = np.zeros(len(modes))
        for _ in range(_REPEATS):
            swapped = _swapped(demos, columns, generator.permutation(len(modes)))
            now = _scores_shown(model.window_scores(swapped, whole), shown)
            lost += (before - _margins(now, modes)) / _REPEATS
        for mode in np.unique(modes).tolist():
            own = modes == mode
            of_episode = [lost[own & (episodes == e)].mean() for e in np.unique(episodes[own])]
            found.append(Deciding(int(np.unique(shown)[mode]), name, mean_interval(np.array(of_episode)), steps))
    return sorted(found, key=lambda entry: (entry.mode, -entry.lost_nats.value))


def _windows_as_episodes(model: ModeModel, demos: Demos, seed: int) -> tuple[Demos, Int[np.ndarray, "window"]]:
    """Windows, at most 300, each as an episode of its own, and the episode that each comes from."""
    length = max(1, min(_WINDOW_STEPS, int(demos.lengths.max(initial=0))))
    cut = model.cut(demos, length, length)
    chosen = np.arange(len(cut))
    if len(chosen) > _MOST_WINDOWS:
        chosen = np.sort(named_generator(seed, "windows").choice(len(chosen), _MOST_WINDOWS, replace=False))
    starts, episodes = cut.starts[chosen], cut.episodes[chosen]
    rows = (demos.row_of_step[starts][:, None] + np.arange(length + 1)).ravel()
    steps = (starts[:, None] + np.arange(length)).ravel()
    lengths = np.full(len(chosen), length)
    made = Demos(
        observations=np.array(demos.observations[rows]),
        actions=np.array(demos.actions[steps]),
        lengths=lengths,
        terminated=np.zeros(len(chosen), dtype=bool),
        observation_names=demos.observation_names,  # by which the model finds its columns
    )
    return made, episodes


def _swapped(demos: Demos, columns: Sequence[int], order: Int[np.ndarray, "window"]) -> Demos:
    """The windows with some columns taken from others; an action's number is counted on from the observations'."""
    width, n = demos.observation_size, demos.n_episodes
    seen, acted = demos.observations.copy(), demos.actions.copy()
    for column in columns:
        table, own = (seen, column) if column < width else (acted, column - width)
        table[:, own] = table[:, own].reshape(n, -1)[order].ravel()
    return replace(demos, observations=seen, actions=acted)


def _scores_shown(
    scores: Float[np.ndarray, "window mode"], leads: Int[np.ndarray, "mode"]
) -> Float[np.ndarray, "window shown"]:
    """The scores of the modes that are shown, in their order: of merged ones the log of the sum."""
    return np.stack([np.logaddexp.reduce(scores[:, leads == lead], axis=1) for lead in np.unique(leads)], axis=1)


def _margins(scores: Float[np.ndarray, "window mode"], modes: Int[np.ndarray, "window"]) -> Float[np.ndarray, "window"]:
    """How far each window's mode is ahead of the best other one; of one mode alone, its own score."""
    rows = np.arange(len(modes))
    if scores.shape[1] == 1:
        return scores[:, 0]
    others = scores.copy()
    others[rows, modes] = -np.inf
    return scores[rows, modes] - others.max(1)
