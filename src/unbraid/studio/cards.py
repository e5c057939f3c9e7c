"""A card for every mode: how much it holds, what its episodes are like, and who it is taken for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.demos.episodes import Demos
from unbraid.evaluation.intervals import mean_interval
from unbraid.evaluation.portraits import borderline_of, typical_of
from unbraid.studio.catalogue import Catalogue, shown_as
from unbraid.studio.edits import Shown
from unbraid.training.model import ModeModel

__all__ = ["Confusion", "cards_of", "confusion", "measured_of", "motion_of"]

_CONFUSED_STEPS = 10  # windows so short that they leave something to confuse


@final
@dataclass(frozen=True, eq=False)
class Confusion:
    """How short windows are read.

    Attributes:
        probabilities: (window, mode) of each; rows sum to 1.
        episodes: (window,) the episode that each comes from.
        window_steps: how long they are.
    """

    probabilities: Float[np.ndarray, "window mode"]
    episodes: Int[np.ndarray, "window"]
    window_steps: int


def cards_of(
    catalogue: Catalogue,
    demos: Demos,
    shown: Sequence[Shown],
    confused: Confusion,
    *,
    leads: Sequence[int],
) -> list[dict[str, Any]]:
    """One card for each mode shown.

    Args:
        catalogue: what is known of the episodes.
        demos: the episodes.
        shown: the modes as the page shows them.
        confused: as `confusion` gives it; a window is read as what is likeliest of all that is shown.
        leads: (mode,) the mode that each is shown as.
    """
    probabilities = catalogue.shown(leads)
    modes, sure = probabilities.argmax(1), probabilities.max(1)
    numbers = motion_of(demos) | {
        name: values
        for name, values in (("return", catalogue.returns), ("cost", catalogue.costs))
        if values is not None
    }
    windows = shown_as(confused.probabilities, leads)
    read = windows.argmax(1)
    steps = np.array([[sum(n for k, n in runs if leads[k] == s.mode) for s in shown] for runs in catalogue.stretches])
    cards: list[dict[str, Any]] = []
    for index, mode in enumerate(shown):
        own = modes == mode.mode
        card: dict[str, Any] = {**mode.to_json(), "n_episodes": int(own.sum())}
        card["share_of_episodes"] = float(own.mean())
        card["share_of_steps"] = float(steps[:, index].sum() / max(int(steps.sum()), 1))
        card["measured"] = measured_of(numbers, own)
        card["typical"] = typical_of(catalogue.oddness, own)
        card["borderline"] = borderline_of(catalogue.oddness, own, sure, but=card["typical"])
        card["n_windows"], card["window_steps"] = int((read == mode.mode).sum()), confused.window_steps
        taken: list[dict[str, Any]] = [
            {"mode": other.mode, "probability": _mean_of(windows[:, other.mode], read == mode.mode, confused.episodes)}
            for other in shown
            if other.mode != mode.mode and card["n_windows"]
        ]
        card["taken_for"] = sorted(taken, key=lambda entry: -entry["probability"]["value"])
        cards.append(card)
    return cards


def motion_of(demos: Demos) -> dict[str, Float[np.ndarray, "episode"]]:
    """(episode,) means over an episode's steps: speed and turning where columns tell them, and the size of actions.

    Speed is the length of ``velocimeter_x`` and ``_y`` (m/s), turning the size of ``gyro_z`` (rad/s); an episode
    without steps has 0.
    """
    found = {"size of actions": np.linalg.norm(np.asarray(demos.actions, dtype=np.float64), axis=1)}
    names = demos.observation_names
    if {"velocimeter_x", "velocimeter_y", "gyro_z"} <= set(names):
        seen = np.asarray(demos.observations)[demos.row_of_step].astype(np.float64)
        planar = seen[:, [names.index("velocimeter_x"), names.index("velocimeter_y")]]
        found = {
            "speed (m/s)": np.linalg.norm(planar, axis=1),
            "turning (rad/s)": np.abs(seen[:, names.index("gyro_z")]),
        } | found
    counts = np.maximum(demos.lengths, 1)
    of_step = demos.episode_of_step
    return {name: np.bincount(of_step, values, minlength=demos.n_episodes) / counts for name, values in found.items()}


def measured_of(
    numbers: dict[str, Float[np.ndarray, "episode"]], own: Bool[np.ndarray, "episode"]
) -> dict[str, dict[str, Any]]:
    """Each number's mean over a mode's episodes, with its interval; nothing for a mode without episodes."""
    return {name: mean_interval(values[own]).to_json() for name, values in numbers.items()} if own.any() else {}


def confusion(model: ModeModel, demos: Demos) -> Confusion:
    """How windows of 10 steps are read; as long as the longest episode, where that is shorter.

    Raises:
        DataError: data that does not fit the model, or without a step.
    """
    steps = max(1, min(_CONFUSED_STEPS, int(demos.lengths.max(initial=0))))
    windows = model.cut(demos, steps, steps)
    return Confusion(model.predict_proba(demos, window_steps=steps, stride_steps=steps), windows.episodes, steps)


def _mean_of(
    values: Float[np.ndarray, "window"], own: Bool[np.ndarray, "window"], episodes: Int[np.ndarray, "window"]
) -> dict[str, Any]:
    """The mean over a mode's windows, with its interval over the episodes that have such windows.

    Source: Cochran 1977, section 6.3: each episode's own error, as a ratio of two sums has it.
    """
    _, rows = np.unique(episodes[own], return_inverse=True)
    counts, mean = np.bincount(rows), values[own].mean()
    # a probability
    return mean_interval(mean + np.bincount(rows, values[own] - mean) / counts.mean(), within=(0.0, 1.0)).to_json()
