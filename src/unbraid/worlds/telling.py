"""What worlds tell beside observations and rewards: whether an episode succeeded, and how fast their actuators move."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["EVENTS", "FLOAT32_HOLDS", "LAYOUT", "STATES", "SUCCESS", "successes_told", "velocity_reader"]

FLOAT32_HOLDS = "float32_holds"
"""In an environment's `metadata`: whether float32 holds all that it shows and takes, though its spaces are float64."""

# What a world may tell of itself in `info`, kept beside the episodes for pictures and scores (never for the learner).
STATES = ("robot_xy", "goal_xy", "robot_heading_rad")
"""Told by reset and by every step: (T + 1, ...)."""
EVENTS = ("goal_reached", "cost_hazards", "cost_vases")
"""Told by every step: (T, ...)."""
LAYOUT = ("hazards_xy", "vases_xy")
"""Told by reset, kept as it was then."""

SUCCESS = ("is_success", "success")
"""Gymnasium-Robotics and Stable-Baselines3; Meta-World. The first one told counts."""


def successes_told(infos: Mapping[str, Any]) -> dict[int, float]:
    """Environment -> 1 for success and 0 for none, for those whose `info` says ``is_success`` or ``success`` now."""
    told: dict[int, float] = {}
    for name in reversed(SUCCESS):
        if name not in infos:
            continue
        values = np.asarray(infos[name])
        mask = np.asarray(infos.get(f"_{name}", np.ones(len(values), dtype=bool)))
        for env in np.flatnonzero(mask).tolist():
            value = values[env]
            if np.ndim(value) == 0 and isinstance(value, bool | int | float | np.bool_ | np.number):
                told[env] = float(bool(value))
    return told


def velocity_reader(worlds: Any, action_size: int) -> Callable[[], Float[np.ndarray, "env act"]] | None:
    """Reads how fast the actuator behind every action moves; None where the environments do not offer that.

    A world offers it by an attribute ``actuator_velocity`` (act,), or as Gymnasium's MuJoCo environments do, by
    MuJoCo's ``data.actuator_velocity``, if there is one actuator for each column of the action. MuJoCo's is the time
    derivative of an actuator's length, its gear included (m/s or rad/s for a gear of 1).

    Args:
        worlds: the vector environment.
        action_size: the columns of one environment's action.
    """
    whole = worlds.unwrapped
    if hasattr(whole, "actuator_velocity"):
        return lambda: np.array(whole.actuator_velocity, dtype=np.float64)
    singles = [world.unwrapped for world in getattr(whole, "envs", ())]
    if not singles:
        return None
    read = _own if hasattr(singles[0], "actuator_velocity") else _mujocos
    if np.shape(read(singles[0])) != (action_size,):
        return None
    return lambda: np.array([read(world) for world in singles], dtype=np.float64)


def _own(world: Any) -> Any:
    return world.actuator_velocity


def _mujocos(world: Any) -> Any:
    return getattr(getattr(world, "data", None), "actuator_velocity", None)
