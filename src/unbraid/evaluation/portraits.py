"""What each mode is like, read off the demonstrations: how much it holds, its ordinary episodes, how columns run."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.demos.episodes import Demos
from unbraid.evaluation.behaviour import range_of
from unbraid.evaluation.intervals import mean_interval, share_interval
from unbraid.evaluation.one_mode import long_stretches
from unbraid.evaluation.telling import column_names, plotted, profile, sensor_of, telling_columns
from unbraid.modes.windows import Windows
from unbraid.training.model import ModeModel
from unbraid.training.style import PIECE_STEPS

__all__ = ["borderline_of", "episodes_read", "oddness_of", "portraits_entry", "typical_of"]

_N_EXAMPLES, _SHOWN_COLUMNS = 5, 4
_LASTING_SHARE = 0.2
"""A mode is drawn for as long as this share of its episodes lasts; of fewer, bands would say little."""
_ANY_SIZE = (0.0, np.inf)


def portraits_entry(model: ModeModel, demos: Demos, numbers: Int[np.ndarray, "episode"]) -> dict[str, Any]:
    """Of each mode its share, what its episodes brought, which are ordinary, and how four columns run in them.

    The columns are those of observations and actions that say most about the mode of a step (`telling_columns`), one
    of each sensor. Where modes change within an episode, stretches of one mode stand for episodes (`long_stretches`);
    shares are of all steps.

    Args:
        model: whose modes.
        demos: demonstrations with a step; labels are not read.
        numbers: (episode,) what each episode is called.

    Returns:
        a JSON object: ``unit``, ``n``, and of stretches ``least_steps``, as many as are asked of one where its mode has
        such; ``columns``, their names; and ``modes``: of each its share of the steps of an
        episode (of the episodes, where they have one mode each), ``typical`` and ``borderline`` episodes by number, the
        estimates ``steps``, ``return`` and ``cost``, and a ``profile`` of the columns, with an ``example``, the most
        typical episode. A mode without an episode has its share alone.
    """
    changing = model.switch_rate > 0
    unit = "stretches" if changing else "episodes"
    of_step, windows, modes, oddness, sure = _read(model, demos)
    steps = _steps_of(windows)
    columns = _columns(demos, of_step)
    called = numbers[windows.episodes]
    sums = {
        name: np.add.reduceat(np.append(np.asarray(values, dtype=np.float64), 0.0)[steps], _firsts(windows))
        for name, values in (("return", demos.rewards), ("cost", demos.costs))
        if values is not None
    }
    found: list[dict[str, Any]] = []
    for mode in range(model.n_modes):
        own = modes == mode
        told: dict[str, Any] = {"mode": mode, "n": int(own.sum()), "share": _share(demos, of_step == mode, changing)}
        found.append(told)
        if not own.any():
            continue
        typical = typical_of(oddness, own)
        if not changing:
            told["typical"] = called[typical].tolist()
            told["borderline"] = called[borderline_of(oddness, own, sure, but=typical)].tolist()
        lengths = windows.lengths[own].astype(np.float64)
        told["steps"] = mean_interval(lengths, unit_of_n=unit, within=_ANY_SIZE).to_json()
        told |= {
            name: mean_interval(values[own], unit_of_n=unit, within=range_of(name, values[own])).to_json()
            for name, values in sums.items()
        }
        told["profile"] = _profile(demos, columns, windows, own, typical[0])
    names = column_names(demos)
    shown = [names[column] for column in columns]
    least = {"least_steps": PIECE_STEPS} if changing else {}
    return {"unit": unit, "n": len(windows), **least, "columns": shown, "modes": found}


def _read(
    model: ModeModel, demos: Demos
) -> tuple[
    Int[np.ndarray, "step"],
    Windows,
    Int[np.ndarray, "window"],
    Float[np.ndarray, "window"],
    Float[np.ndarray, "window"],
]:
    """The mode of every step; and episodes, or stretches of one mode: of each its mode, how odd it is, and the
    probability of the mode."""
    if model.switch_rate > 0:
        of_step = model.timeline(demos).modes
        windows, modes = long_stretches(demos, of_step)
        likelihoods, sure = model.window_log_likelihoods(model.steps_of(demos), windows), np.ones(len(modes))
    else:
        windows, modes, probabilities, oddness = episodes_read(model, demos)
        return np.repeat(modes, windows.lengths), windows, modes, oddness, probabilities.max(1)
    return of_step, windows, modes, oddness_of(_steps_scored(likelihoods, modes, windows), modes), sure


def episodes_read(
    model: ModeModel, demos: Demos
) -> tuple[Windows, Int[np.ndarray, "window"], Float[np.ndarray, "window mode"], Float[np.ndarray, "window"]]:
    """Every episode that has steps as one window: its mode, the probability of every mode, and how odd it is.

    All is read once, some steps at a time: of a mapped store no more than those are in memory.

    Raises:
        DataError: data that does not fit the model.
    """
    windows, own = model.cut(demos, None), model.own_evidence
    read = model.scores_of_windows(model.steps_of(demos), windows, (own, "policy"))
    modes = read[own].argmax(1)
    oddness = oddness_of(_steps_scored(read["policy"], modes, windows), modes)
    return windows, modes, model.calibrated(read[own], windows), oddness


def oddness_of(scores: Float[np.ndarray, "window"], modes: Int[np.ndarray, "window"]) -> Float[np.ndarray, "window"]:
    """How far below its mode's median each window's score lies, in robust standard deviations of its mode's.

    1.4826 x the median distance from the median estimates a normal's deviation (Hampel 1974).

    Args:
        scores: (window,) of each the log-likelihood a step under its mode.
        modes: (window,) its mode.

    Returns:
        (window,) the larger, the odder.
    """
    found = np.zeros(len(scores))
    for mode in np.unique(modes):
        own = modes == mode
        middle = np.median(scores[own])
        spread = 1.4826 * np.median(np.abs(scores[own] - middle))
        found[own] = (middle - scores[own]) / max(float(spread), 1e-9)
    return np.clip(found, -1e6, 1e6)


def _steps_scored(
    likelihoods: Float[np.ndarray, "window mode"], modes: Int[np.ndarray, "window"], windows: Windows
) -> Float[np.ndarray, "window"]:
    """Of each window the log-likelihood a step under its mode."""
    return likelihoods[np.arange(len(modes)), modes] / windows.lengths


def typical_of(oddness: Float[np.ndarray, "episode"], own: Bool[np.ndarray, "episode"]) -> list[int]:
    """The most ordinary of a mode's episodes, at most five, the most ordinary one first."""
    episodes = np.flatnonzero(own)
    return episodes[np.argsort(np.abs(oddness[episodes]), kind="stable")][:_N_EXAMPLES].tolist()


def borderline_of(
    oddness: Float[np.ndarray, "episode"],
    own: Bool[np.ndarray, "episode"],
    sure: Float[np.ndarray, "episode"],
    *,
    but: Sequence[int],
) -> list[int]:
    """Of a mode's episodes, but for some, the five of whose mode one is least sure, then the oddest."""
    episodes = np.setdiff1d(np.flatnonzero(own), but)
    return episodes[np.lexsort((-oddness[episodes], sure[episodes].round(3)))][:_N_EXAMPLES].tolist()


def _columns(demos: Demos, of_step: Int[np.ndarray, "step"]) -> list[int]:
    """The most telling columns that vary: one of each sensor, and then others."""
    names, found = column_names(demos), dict[str, int]()
    order = telling_columns(demos, of_step)
    for column in order:
        found.setdefault(sensor_of(names[column]), column)
    chosen = list(dict.fromkeys([*found.values(), *order]))
    varying = (column for column in chosen if np.ptp(_column(demos, column)) > 0)
    return list(islice(varying, _SHOWN_COLUMNS)) or chosen[:1]


def _column(demos: Demos, column: int) -> Float[np.ndarray, "step"]:
    if column < demos.observation_size:
        return np.asarray(demos.observations[demos.row_of_step, column], dtype=np.float64)
    return np.asarray(demos.actions[:, column - demos.observation_size], dtype=np.float64)


def _share(demos: Demos, is_own: Bool[np.ndarray, "step"], changing: bool) -> dict[str, Any]:
    """The share of an episode's steps in a mode; where an episode has one mode, of the episodes."""
    with_steps = demos.lengths > 0
    in_mode = np.bincount(demos.episode_of_step, is_own, minlength=demos.n_episodes)[with_steps]
    shares = in_mode / demos.lengths[with_steps]
    found = mean_interval(shares, within=(0.0, 1.0)) if changing else share_interval(shares.round())
    return found.to_json()


def _profile(
    demos: Demos, columns: Sequence[int], windows: Windows, own: Bool[np.ndarray, "window"], example: int
) -> dict[str, Any]:
    """`telling.profile` of a mode's windows, and how the columns run in one of them: at the first step of each part."""
    lengths = windows.lengths[own]
    lasting = int(np.quantile(lengths, 1 - _LASTING_SHARE, method="inverted_cdf"))
    kept = Windows(windows.starts[own], np.minimum(lengths, lasting), windows.episodes[own])
    steps, times = _steps_of(kept), _steps_of(Windows(np.zeros_like(kept.starts), kept.lengths, kept.episodes))
    values = np.stack([_column(demos, column)[steps] for column in columns], axis=1)
    found = profile(values, times, lasting)
    n_parts = len(found["columns"][0]["mean"])
    firsts = -(-np.arange(n_parts) * lasting // n_parts)
    firsts = int(windows.starts[example]) + firsts[firsts < windows.lengths[example]]
    for told, column in zip(found["columns"], columns, strict=True):
        told["example"] = [plotted(value) for value in _column(demos, column)[firsts]]
    return found


def _steps_of(windows: Windows) -> Int[np.ndarray, "step"]:
    """The steps of all windows, one window after another."""
    within = np.arange(int(windows.lengths.sum())) - np.repeat(_firsts(windows), windows.lengths)
    return np.repeat(windows.starts, windows.lengths) + within


def _firsts(windows: Windows) -> Int[np.ndarray, "window"]:
    """Where each window begins among the steps of all."""
    return np.cumsum(windows.lengths) - windows.lengths
