"""A model's modes held against the labels: confusion tables and agreement, as the entries of `results.json`."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError
from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos
from unbraid.demos.left_out import said_of
from unbraid.evaluation.scores import (
    Agreement,
    agreement,
    confusion_estimates,
    confusion_percent,
    contingency_by_episode,
    match_modes,
)
from unbraid.modes.calibration import NOT_SURE
from unbraid.modes.windows import Windows
from unbraid.training.model import ModeModel
from unbraid.training.networks import Evidence

__all__ = ["agreement_entries", "agreement_entry", "agreement_of_modes", "confusion_entry", "matching_of"]

_SCORES = ("nmi", "ari", "accuracy", "purity")


def confusion_entry(model: ModeModel, held_out: Demos, *, window_steps: int, seed: int) -> dict[str, Any]:
    """How each expert's windows fall on the modes, with the scores of that table.

    Args:
        model: of any method; it reads the modes as its method does.
        held_out: labelled episodes that no training saw.
        window_steps: steps in a window (1: the talk's transitions, each by itself).
        seed: of the bootstrap over episodes.

    Returns:
        `window_steps`, `n_modes`, `counts`, `percent` and `percent_estimates` (label, mode), the last with intervals
        over each expert's episodes; `nmi`, `ari`, `accuracy` and `purity` with intervals.
    """
    return _confusion(_agreement(model, held_out, _read(model, held_out, window_steps, None), seed), window_steps, seed)


def agreement_entry(
    model: ModeModel,
    held_out: Demos,
    *,
    window_steps: int | None,
    evidence: Evidence | None,
    seed: int,
) -> dict[str, Any]:
    """NMI, ARI, purity and accuracy of windows (or of episodes, where `window_steps` is None), with intervals."""
    kind = evidence or model.own_evidence
    return _scores(_agreement(model, held_out, _read(model, held_out, window_steps, kind), seed), window_steps, kind)


def agreement_of_modes(
    model: ModeModel,
    demos: Demos,
    windows: Windows,
    modes: Int[np.ndarray, "window"],
    *,
    window_steps: int | None,
    seed: int,
) -> dict[str, Any]:
    """`agreement_entry` of modes that the model has read already, by its own evidence; those not sure do not count.

    Args:
        model: what read them.
        demos: labelled episodes.
        windows: of theirs.
        modes: (window,) the mode of each, or `NOT_SURE`.
        window_steps: steps in a window; None where they are whole episodes.
        seed: of the bootstrap over episodes.
    """
    decided = modes != NOT_SURE
    episodes = windows.episodes[decided]
    read = (_labels_of(demos)[episodes], modes[decided], episodes)
    return _scores(_agreement(model, demos, read, seed), window_steps, model.own_evidence)


def agreement_entries(
    model: ModeModel, held_out: Demos, *, window_lengths: Sequence[int], seed: int
) -> dict[str, list[dict[str, Any]]]:
    """The entries "tables" and "agreement" of `results.json`, every pair of window and evidence read once.

    Args:
        model: of any method.
        held_out: labelled episodes that no training saw.
        window_lengths: in steps, the first for a table alone; episodes are scored beside them.
        seed: of the bootstrap over episodes.
    """

    @functools.cache
    def read(steps: int | None, evidence: Evidence) -> Agreement:
        return _agreement(model, held_out, _read(model, held_out, steps, evidence), seed)

    both: tuple[Evidence, ...] = ("combined", "encoder")
    return {
        "tables": [_confusion(read(w, model.own_evidence), w, seed) for w in window_lengths],
        "agreement": [_scores(read(w, e), w, e) for w in (None, *window_lengths[1:]) for e in both],
    }


def matching_of(model: ModeModel, training: Demos) -> Int[np.ndarray, "mode"]:
    """The expert of each mode, -1 for none, by Hungarian assignment on training episodes."""
    labels, modes, episodes = _read(model, training, None, None)
    n_labels = len(training.label_names)
    counts = contingency_by_episode(labels, modes, episodes, n_labels=n_labels, n_modes=model.n_modes)
    return match_modes(counts.sum(0))


def _confusion(found: Agreement, window_steps: int, seed: int) -> dict[str, Any]:
    estimates = confusion_estimates(found.by_episode, generator=named_generator(seed, "bootstrap of cells"))
    return {
        "window_steps": window_steps,
        "n_modes": found.contingency.shape[1],
        "counts": found.contingency.tolist(),
        "percent": np.round(confusion_percent(found.contingency), 2).tolist(),
        "percent_estimates": [[cell.to_json() for cell in row] for row in estimates],
        **{name: getattr(found, name).to_json() for name in _SCORES},
    }


def _scores(found: Agreement, window_steps: int | None, evidence: Evidence) -> dict[str, Any]:
    level = {"level": "episode"} if window_steps is None else {"level": "window", "window_steps": window_steps}
    scores = {name: getattr(found, name).to_json() for name in _SCORES}
    return {**level, "evidence": evidence, **scores}


_Read = tuple[Int[np.ndarray, "window"], Int[np.ndarray, "window"], Int[np.ndarray, "window"]]
"""(labels, modes, episodes) of windows."""


def _agreement(model: ModeModel, held_out: Demos, read: _Read, seed: int) -> Agreement:
    return agreement(
        *read,
        generator=named_generator(seed, "bootstrap"),
        n_labels=len(held_out.label_names),
        n_modes=model.n_modes,
    )


def _read(model: ModeModel, demos: Demos, window_steps: int | None, evidence: Evidence | None) -> _Read:
    labels, windows = _labels_of(demos), model.cut(demos, window_steps)
    modes = model.window_scores(demos, windows, evidence).argmax(1)
    return labels[windows.episodes], modes, windows.episodes


def _labels_of(demos: Demos) -> Int[np.ndarray, "episode"]:
    if demos.labels is None:
        why = "".join(f" {line}" for line in said_of(demos.facts) if "labels" in line.lower())
        raise DataError(
            f"Demonstrations must have labels to be scored against; these have none.{why} Load some that have."
        )
    return demos.labels
