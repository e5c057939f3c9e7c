"""Which columns tell modes apart, and how they run over time: what is drawn where there is no picture from above."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unbraid.demos.episodes import Demos
from unbraid.studio.live import drawn
from unbraid.studio.playing import table_of

__all__ = ["profile_of", "telling_columns"]

_MOST_STEPS = 50_000  # read of the data; more say the same
_TENTHS = np.arange(1, 10) / 10
_MOST_PARTS = 60  # of time, in a profile
_NAMES = ("low", "mean", "high")


def telling_columns(demos: Demos, modes: Int[np.ndarray, "step"]) -> list[int]:
    """All columns of observations and actions, those first that say most about who acts.

    What a column says is the mutual information of a step's mode and of the tenth of all values that the column's lies
    in, so that modes may differ in where a column lies or in how far it spreads. Columns that say the same stay in
    their order, constant ones last.

    Args:
        demos: the episodes; of more than 50,000 steps every n-th is read.
        modes: (step,) the mode of every step.
    """
    chosen = np.arange(0, demos.n_steps, max(1, -(-demos.n_steps // _MOST_STEPS)))
    seen = np.asarray(demos.observations[demos.row_of_step[chosen]], dtype=np.float64)
    table = np.concatenate([seen, np.asarray(demos.actions[chosen], dtype=np.float64)], axis=1)
    if not len(table):
        return list(range(table.shape[1]))
    rows = np.unique(modes[chosen], return_inverse=True)[1]
    told = np.array([_information(rows, column) for column in table.T])
    told[np.ptp(table, axis=0) == 0] = -1.0
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


def profile_of(demos: Demos, episodes: Sequence[int], columns: Sequence[int]) -> dict[str, Any]:
    """How some columns run over time in some episodes: the mean, and where the middle 80 % of values lie.

    Time is cut into at most 60 parts that are equally long; an episode that ends early is in the first ones alone.

    Args:
        demos: the episodes.
        episodes: which of them.
        columns: as `column_names` counts them.

    Returns:
        ``steps``, of the longest episode; ``columns``, for each ``low``, ``mean`` and ``high``, (part,) each. Without
        a step there is nothing: 0, and no columns.

    Raises:
        ConfigError: no such episode or column, or more than 8 columns.
    """
    tables = [table_of(demos, episode, columns) for episode in episodes]
    longest = max((int(demos.lengths[episode]) for episode in episodes), default=0)
    if not longest:
        return {"steps": 0, "columns": []}
    n_parts = min(_MOST_PARTS, longest)
    parts = np.concatenate([np.arange(len(table)) * every * n_parts // longest for table, every in tables])
    values = np.concatenate([table for table, _ in tables])
    told = np.stack([_spread(values[parts == part]) for part in range(n_parts)])
    return {
        "steps": longest,
        "columns": [
            {name: [drawn(value) for value in told[:, row, column]] for row, name in enumerate(_NAMES)}
            for column in range(len(columns))
        ],
    }


def _spread(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "3 column"]:
    low, high = np.quantile(values, [0.1, 0.9], axis=0)
    return np.stack([low, values.mean(0), high])
