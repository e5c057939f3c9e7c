"""Which columns tell modes apart, and how they run over time: what is drawn where there is no picture from above."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unbraid.demos.episodes import Demos

__all__ = ["column_names", "plotted", "profile", "sensor_of", "telling_columns"]

_MOST_STEPS, _LEAST_STEPS, _MOST_NUMBERS = 50_000, 2_000, 5_000_000
"""Read of the data, more say the same; of wide tables fewer steps, as each column takes time."""
_TENTHS = np.arange(1, 10) / 10
_MOST_PARTS = 60  # of time, in a profile
_NAMES = ("low", "mean", "high")


def plotted(value: float) -> float:
    """A number as plots get it: with four digits, and with all whole ones and four decimals where it is larger than 1,
    so that what varies is seen of columns in small units, and of those that lie far from 0."""
    return float(f"{value:.4g}") if abs(value) < 1 else round(float(value), 4)


def column_names(demos: Demos) -> list[str]:
    """Names of all columns that can be plotted: observations, actions, and the reward and cost where recorded."""
    seen = demos.observation_names or tuple(f"observation {i}" for i in range(demos.observation_size))
    names = [*seen, *(f"action {i}" for i in range(demos.action_size))]
    return names + [name for name in ("reward", "cost") if getattr(demos, f"{name}s") is not None]


def sensor_of(name: str) -> str:
    """What a column's name says that it is a part of: names that end in a number or an axis and share what stands
    before it, as ``goal_lidar_3``, are one sensor's."""
    stem, underscore, last = name.rpartition("_")
    return stem if underscore and (last.isdigit() or last in ("x", "y", "z")) else name


def telling_columns(demos: Demos, modes: Int[np.ndarray, "step"]) -> list[int]:
    """All columns of observations and actions, those first that say most about who acts.

    What a column says is the mutual information of a step's mode and of the tenth of all values that the column's lies
    in, so that modes may differ in where a column lies or in how far it spreads. Columns that say the same stay in
    their order, constant ones last.

    Args:
        demos: the episodes; of more than 50,000 steps every n-th is read, and of more than 100 columns fewer.
        modes: (step,) the mode of every step; -1 for those that are left out.
    """
    known, n_columns = np.flatnonzero(modes >= 0), demos.observation_size + demos.action_size
    most_steps = min(_MOST_STEPS, max(_MOST_NUMBERS // n_columns, _LEAST_STEPS))
    chosen = known[:: max(1, -(-len(known) // most_steps))]
    if not len(chosen):
        return list(range(n_columns))
    rows = np.unique(modes[chosen], return_inverse=True)[1]
    tables = (demos.observations[demos.row_of_step[chosen]], demos.actions[chosen])
    columns = (np.asarray(column, dtype=np.float64) for table in tables for column in table.T)
    told = np.array([_information(rows, column) if np.ptp(column) > 0 else -1.0 for column in columns])
    return np.argsort(-told.round(9), kind="stable").tolist()


def _information(modes: Int[np.ndarray, "step"], values: Float[np.ndarray, "step"]) -> float:
    """In nats; values on the edge of a tenth, as those on a bound, are a part of their own."""
    edges = np.unique(np.quantile(values, _TENTHS))
    parts = np.searchsorted(edges, values) + np.searchsorted(edges, values, side="right")
    width = 2 * len(edges) + 1
    joint = np.bincount(modes * width + parts, minlength=(int(modes.max()) + 1) * width).reshape(-1, width)
    joint = joint / joint.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    held = joint > 0
    return float((joint[held] * np.log(joint[held] / apart[held])).sum())


def profile(values: Float[np.ndarray, "row column"], times: Int[np.ndarray, "row"], n_steps: int) -> dict[str, Any]:
    """How some columns run over time: the mean, and where the middle 80 % of values lie.

    Time is cut into at most 60 parts that are equally long.

    Args:
        values: of episodes, one below the other.
        times: (row,) the step in its episode that each row is of, in [0, n_steps).
        n_steps: how long is looked at; some row must lie in every part of it.

    Returns:
        ``steps``; ``columns``, for each ``low``, ``mean`` and ``high``, (part,) each. Of no steps there are no columns.
    """
    if not n_steps:
        return {"steps": 0, "columns": []}
    n_parts = min(_MOST_PARTS, n_steps)
    parts = times * n_parts // n_steps
    order = np.argsort(parts, kind="stable")
    told = np.stack([_spread(own) for own in np.split(values[order], np.cumsum(np.bincount(parts))[:-1])])
    return {
        "steps": n_steps,
        "columns": [
            {name: [plotted(value) for value in told[:, row, column]] for row, name in enumerate(_NAMES)}
            for column in range(values.shape[1])
        ],
    }


def _spread(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "3 column"]:
    low, high = np.quantile(values, [0.1, 0.9], axis=0)
    return np.stack([low, values.mean(0), high])
