"""The lowest and the highest action that an environment takes, as demonstrations declare them, in a model's folder."""

from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["ActionBounds", "bound_to_json", "bounds_from_json", "bounds_to_json"]

ActionBounds = tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]]
"""(low, high), in the actions' own units; infinite where there is no bound."""


def bounds_to_json(bounds: ActionBounds | None) -> list[Any] | None:
    """[low, high] as JSON, that `bounds_from_json` reads; None where there are none."""
    return None if bounds is None else [bound_to_json(bound) for bound in bounds]


def bound_to_json(bound: Float[np.ndarray, "act"] | None) -> list[float | None] | None:
    """Either of them as JSON, which has no word for infinity: None stands for it."""
    return None if bound is None else [value if np.isfinite(value) else None for value in bound.tolist()]


def bounds_from_json(told: Any, action_size: int) -> ActionBounds | None:
    """The bounds in a file.

    Raises:
        TypeError, ValueError: it tells other things.
    """
    if told is None:
        return None
    low, high = (
        np.array([sign * np.inf if value is None else value for value in bound], dtype=np.float64)
        for sign, bound in zip((-1, 1), told, strict=True)
    )
    if not low.shape == high.shape == (action_size,) or not (low <= high).all():
        raise ValueError(f"action_bounds must be the lowest and the highest of {action_size} actuators")
    return low, high
