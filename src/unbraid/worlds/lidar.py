"""The pseudo-lidar: how near the nearest thing of a kind is, in 16 directions around the robot."""

import math

import numpy as np
from jaxtyping import Float, Int

__all__ = ["LIDAR_BINS", "LIDAR_RANGE_M", "lidar_readings"]

LIDAR_BINS = 16
LIDAR_RANGE_M = 3.0


def lidar_readings(
    distances_m: Float[np.ndarray, "env thing"],
    bearings_rad: Float[np.ndarray, "env thing"],
    kinds: Int[np.ndarray, " thing"],
    n_kinds: int,
) -> Float[np.ndarray, "env reading"]:
    """What the lidars read: n_kinds x 16 values in [0, 1] for every environment, kind after kind.

    Bin 0 starts straight ahead, and bins go counter-clockwise. A thing at distance d reads max(0, 3 - d) / 3 in its
    bin; with alpha its position in the bin, the next bin reads alpha times, the previous (1 - alpha) times that; the
    largest value counts where several things read in one bin.

    Source: openai/safety-gym engine.py, `obs_lidar_pseudo` with `lidar_alias`.

    Args:
        distances_m: (env, thing) from the robot.
        bearings_rad: (env, thing) counter-clockwise from the robot's heading, in any turn.
        kinds: (thing,) which kind each is, in [0, n_kinds).
        n_kinds: how many kinds.
    """
    n_envs = len(distances_m)
    values = np.maximum(LIDAR_RANGE_M - distances_m, 0.0)
    values /= LIDAR_RANGE_M
    turns = bearings_rad * (0.5 / math.pi)
    turns -= np.floor(turns)
    turns *= LIDAR_BINS
    whole = np.floor(turns)
    alpha = turns - whole
    bins = whole.astype(np.intp) & (LIDAR_BINS - 1)
    base = (np.arange(n_envs)[:, None] * n_kinds + kinds) * LIDAR_BINS
    readings = np.zeros(n_envs * n_kinds * LIDAR_BINS)
    after = alpha * values
    before = values - after
    where = np.stack([bins, (bins + 1) & (LIDAR_BINS - 1), (bins - 1) & (LIDAR_BINS - 1)])
    where += base
    np.maximum.at(readings, where.reshape(-1), np.stack([values, after, before]).reshape(-1))
    return readings.reshape(n_envs, n_kinds * LIDAR_BINS)
