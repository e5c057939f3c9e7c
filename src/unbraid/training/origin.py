"""Columns that lie far from 0 beside how much they vary, as map coordinates do, and numbers that float32 can't hold.

A model computes with float32, which would round away what varies in such a column: it is moved to 0 in float64 first.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Real

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos
from unbraid.demos.far_values import is_rounded
from unbraid.demos.selection import Selection
from unbraid.policy.normaliser import spread_of_blocks

__all__ = ["MOST", "origin_of", "require_held"]

MOST = 1e37
"""No number may be larger, in either direction: float32, in which sums are taken, too, ends at 3.4e38."""
_BLOCK = 65536


def origin_of(demos: Demos | Selection) -> Float[np.ndarray, "obs"] | None:
    """(obs,) what is taken away from each column of the observations, in its own units: the mean of a column that lies
    far from 0, and 0 for others; None where no column does. float32 has been rounded already.

    Raises:
        DataError: an observation or action that float32 can't hold, or actions that lie far from 0.
    """
    whole = demos.demos if isinstance(demos, Selection) else demos
    require_held(whole.actions, "actions")
    require_held(whole.observations, "observations", whole.observation_names)
    chosen = demos if isinstance(demos, Selection) else Selection(demos, np.arange(demos.n_episodes))
    if chosen.n_episodes == 0:
        return None
    _require_near(chosen)
    if not _is_wide(whole.observations):
        return None
    mean, far = _far(_blocks(chosen, "observations"))
    return np.where(far, mean, 0.0) if far.any() else None


def _far(
    blocks: Iterable[Real[np.ndarray, "_ column"]],
) -> tuple[Float[np.ndarray, "column"], Bool[np.ndarray, "column"]]:
    """The mean of each column, and whether it lies far from 0."""
    mean, deviation, _ = spread_of_blocks(blocks)
    return mean, is_rounded(mean, deviation)


def _require_near(chosen: Selection) -> None:
    """Raises `DataError` for actions that lie far from 0: they are learned, and given, as float32."""
    if not _is_wide(chosen.demos.actions) or chosen.demos.n_steps == 0:
        return
    mean, far = _far(_blocks(chosen, "actions"))
    if far.any():
        column = int(far.argmax())
        raise DataError(
            f"The demonstrations' actions must lie near 0 beside how much they vary, as they are computed with "
            f"float32; those of column {column} lie around {mean[column]:g}, and would be rounded. Take that number "
            "away from the column, and add it to what the policy does."
        )


def require_held(
    values: Real[np.ndarray, "row column"],
    what: str,
    names: Sequence[str] = (),
    origin: Float[np.ndarray, "column"] | float = 0.0,
) -> None:
    """Raises `DataError` that names the column of the first number which float32 can't hold.

    Args:
        values: finite ones.
        what: how the message calls them.
        names: of the columns, where they have any.
        origin: what is taken away from each before it becomes float32.
    """
    if not _is_wide(values):
        return
    for start in range(0, len(values), _BLOCK):
        beyond = np.abs(values[start : start + _BLOCK] - origin) > MOST
        if beyond.any():
            row, column = np.argwhere(beyond)[0].tolist()
            named = f" ({names[column]})" if names else ""
            raise DataError(
                f"The demonstrations' {what} must be at most {MOST:g} in size, as they are computed with float32; row "
                f"{start + row} holds {values[start + row, column]:g} in column {column}{named}. Bring that column to "
                "other units, or leave it out."
            )


def _is_wide(values: np.ndarray) -> bool:
    """Whether values of its type may need more digits than float32 has: whole numbers do beyond 16 bits."""
    return values.dtype.kind in "fiu" and values.dtype.itemsize > (4 if values.dtype.kind == "f" else 2)


def _blocks(chosen: Selection, of: Literal["observations", "actions"]) -> Iterator[Real[np.ndarray, "block column"]]:
    """All rows of the chosen episodes, in blocks: each of episodes that lie side by side."""
    whole = chosen.demos
    table, edges = (
        (whole.observations, whole.row_starts) if of == "observations" else (whole.actions, whole.step_starts)
    )
    for first, last in chosen.runs():
        end = int(edges[last])
        for start in range(int(edges[first]), end, _BLOCK):
            yield table[start : min(start + _BLOCK, end)]
