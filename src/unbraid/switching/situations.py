"""What a switcher sees of the situation: a few numbers, read off the observation alone."""

from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError, DataError
from unbraid.worlds.lidar import LIDAR_BINS, LIDAR_RANGE_M

__all__ = ["Kind", "SituationReader", "reader_from_json", "situation_reader"]

Kind = Literal["point_goal", "point_goal_few", "observation"]
"""How a situation is read."""

_POINT_GOAL = (
    "constant",
    "goal_distance",
    "goal_near",
    "speed",
    "speed_to_goal",
    "hazard_near",
    "hazard_ahead",
    "hazard_on_way",
    "hazard_on_way_far",
    "hazard_crossed",
    "hazard_crossed_far",
    "hazard_hit",
)
_FEW: tuple[tuple[str, float, float], ...] = (("goal_distance", 0.5, 0.25), ("hazard_on_way_far", 0.15, 0.2))
_WIDTH = 28  # sensors and goal lidar; then the hazards', from PointGoal1 on
_HAZARD_RADIUS_M = 0.2
_MARGIN_M = 0.05  # the robot weaves a little: this much is added to a hazard's radius where it is crossed
_GOAL_RADIUS_M = 0.3
_SPEED_M_S = 1.5
_BINS = 2 * np.pi * (np.arange(LIDAR_BINS) + 0.5) / LIDAR_BINS
_DIRECTIONS: Float[np.ndarray, "bin xy"] = np.stack([np.cos(_BINS), np.sin(_BINS)], axis=1)


@final
@dataclass(frozen=True, eq=False)
class SituationReader:
    """Reads features off observations; the first is the constant 1.

    ``point_goal``: of PointGoal1 and 2, how far the goal is, how fast the robot goes, there and at all, how near a
    hazard is (anywhere, where the robot is going, and before the goal), and how much of a straight way lies in hazards:
    of the way to the goal, the first 0.6 and 1.2 m, and of where the robot is going; all of them of the size of 1.
    ``point_goal_few``: the goal's distance and the hazard before it alone, scaled to a deviation of about 1: so few
    that twenty answers of a person say something about all of them.
    ``observation``: every column, less its mean and divided by its deviation, and cut off at 5 of them.

    Attributes:
        kind: which of them.
        names: of the features.
        center, scale: (obs,) of the columns; used by ``observation`` alone.
    """

    kind: Kind
    names: tuple[str, ...]
    center: Float[np.ndarray, "obs"]
    scale: Float[np.ndarray, "obs"]

    def read(self, observations: Float[np.ndarray, "row obs"]) -> Float[np.ndarray, "row feature"]:
        """The features of every row.

        Raises:
            DataError: observations of the wrong width.
        """
        if observations.shape[1] != len(self.center):
            raise DataError(
                f"Observations must have {len(self.center)} numbers, as those that this reader was made for; got "
                f"{observations.shape[1]}. Use the same environment."
            )
        if self.kind == "point_goal":
            return _point_goal(observations.astype(np.float64))
        if self.kind == "point_goal_few":
            every = _point_goal(observations.astype(np.float64))
            few = [(every[:, _POINT_GOAL.index(name)] - center) / scale for name, center, scale in _FEW]
            return np.stack([every[:, 0], *few], axis=1)
        scaled = np.clip((observations - self.center) / self.scale, -5.0, 5.0)
        return np.concatenate([np.ones((len(scaled), 1)), scaled], axis=1)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "kind": self.kind,
            "names": list(self.names),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }


def situation_reader(
    kind: Literal["auto"] | Kind,
    *,
    observations: Float[np.ndarray, "row obs"],
    env_id: str | None = None,
    names: tuple[str, ...] = (),
) -> SituationReader:
    """A reader for the situations of one environment.

    Args:
        kind: ``auto``: ``point_goal`` in PointGoal1 and 2, else ``observation``.
        observations: some of the environment's, at least 2, for the columns' mean and deviation.
        env_id: the environment, where it is known.
        names: of the columns, where they are known.

    Raises:
        ConfigError: ``point_goal`` for observations that are not PointGoal's.
        DataError: fewer than two observations.
    """
    width = observations.shape[1]
    is_ours = env_id is not None and env_id.startswith("unbraid/PointGoal") and width == _WIDTH + 2 * LIDAR_BINS
    if kind in ("point_goal", "point_goal_few") and width != _WIDTH + 2 * LIDAR_BINS:
        raise ConfigError(
            f"The features {kind} need the {_WIDTH + 2 * LIDAR_BINS} columns of PointGoal1 or 2; got {width}. "
            "Use `observation`."
        )
    if len(observations) < 2:
        raise DataError(f"A reader needs at least two observations; got {len(observations)}. Give some of the demos.")
    if kind == "point_goal" or (kind == "auto" and is_ours):
        return SituationReader("point_goal", _names("point_goal"), np.zeros(width), np.ones(width))
    if kind == "point_goal_few":
        return SituationReader(kind, _names(kind), np.zeros(width), np.ones(width))
    center, scale = observations.mean(axis=0, dtype=np.float64), observations.std(axis=0, dtype=np.float64)
    known = names if len(names) == width else tuple(f"observation_{column}" for column in range(width))
    return SituationReader("observation", ("constant", *known), center, np.where(scale > 1e-6, scale, 1.0))


def reader_from_json(content: Any, where: str) -> SituationReader:
    """What `SituationReader.to_json` gave.

    Raises:
        DataError: parts that are missing or damaged.
    """
    try:
        kind, names = content["kind"], tuple(str(name) for name in content["names"])
        center, scale = (np.array(content[part], dtype=np.float64) for part in ("center", "scale"))
        fits = len(names) == len(center) + 1 if kind == "observation" else names == _names(kind)
        if kind not in get_args(Kind) or center.ndim != 1 or center.shape != scale.shape or not fits:
            raise ValueError("its parts do not fit together")
        if not (np.isfinite(center).all() and (scale > 0).all()):
            raise ValueError("its numbers are not finite")
    except (KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{where} must hold a reader of situations; {said:.200}. Make the switcher again.") from None
    return SituationReader(kind, names, center, scale)


def _names(kind: Kind) -> tuple[str, ...]:
    return _POINT_GOAL if kind == "point_goal" else ("constant", *(name for name, _, _ in _FEW))


def _point_goal(observations: Float[np.ndarray, "row obs"]) -> Float[np.ndarray, "row feature"]:
    """Of PointGoal1 and 2; distances by the lidar, in the robot's frame."""
    velocity, goal = observations[:, 3:5], observations[:, 12:28]
    summed = goal @ _DIRECTIONS
    direction = summed / (np.hypot(summed[:, 0], summed[:, 1]) + 1e-3)[:, None]
    goal_m = LIDAR_RANGE_M * (1 - np.minimum(goal.sum(axis=1) / 2, 1))
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    heading = velocity / (speed + 0.1)[:, None]
    seen = observations[:, 28:44]
    edge_m = LIDAR_RANGE_M * (1 - seen) - _HAZARD_RADIUS_M
    is_seen = np.minimum(20 * seen, 1)
    before_goal = 1 / (1 + np.exp((edge_m - goal_m[:, None]) / 0.2))
    ahead, on_way = (np.maximum(to @ _DIRECTIONS.T, 0) ** 4 for to in (heading, direction))

    goal_rad, heading_rad = (np.arctan2(to[:, 1], to[:, 0]) for to in (direction, velocity))
    way_m = np.maximum(goal_m - _GOAL_RADIUS_M, 0)
    centers = _centers(seen)

    def nearest(reach_m: float, weight: np.ndarray) -> Float[np.ndarray, "row"]:
        return (np.exp(-np.maximum(edge_m, -_HAZARD_RADIUS_M) / reach_m) * is_seen * weight).max(axis=1)

    return np.stack(
        [
            np.ones(len(observations)),
            goal_m / LIDAR_RANGE_M,
            np.exp(-goal_m / 0.5),
            speed / _SPEED_M_S,
            (velocity * direction).sum(axis=1) / _SPEED_M_S,
            nearest(0.25, np.ones_like(edge_m)),
            nearest(0.5, ahead),
            nearest(0.25, on_way * before_goal),
            nearest(0.8, on_way * before_goal),
            _crossed(centers, goal_rad, np.minimum(way_m, 0.6)),
            _crossed(centers, goal_rad, np.minimum(way_m, 1.2)),
            _crossed(centers, heading_rad, 0.4 * speed),
        ],
        axis=1,
    )


def _centers(lidar: Float[np.ndarray, "row bin"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, bin) distance (m) and angle (rad) of the hazard in a bin, and whether the bin is where it is read best.

    A hazard at the share alpha of its bin reads v there, alpha v in the next bin and (1 - alpha) v in the one before.
    """
    after, before = np.roll(lidar, -1, axis=1), np.roll(lidar, 1, axis=1)
    share = after / np.maximum(after + before, 1e-9)
    is_peak = (lidar >= after) & (lidar > before) & (lidar > 0.01)
    return LIDAR_RANGE_M * (1 - lidar), 2 * np.pi * (np.arange(LIDAR_BINS) + share) / LIDAR_BINS, is_peak


def _crossed(
    centers: tuple[np.ndarray, np.ndarray, np.ndarray],
    angle_rad: Float[np.ndarray, "row"],
    length_m: Float[np.ndarray, "row"],
) -> Float[np.ndarray, "row"]:
    """How much of a straight way lies in hazards, in units of a hazard's diameter."""
    distance_m, bearing_rad, is_peak = centers
    apart_rad = bearing_rad - angle_rad[:, None]
    along_m, beside_m = distance_m * np.cos(apart_rad), distance_m * np.sin(apart_rad)
    half_m = np.sqrt(np.maximum((_HAZARD_RADIUS_M + _MARGIN_M) ** 2 - beside_m**2, 0))
    first, last = (np.clip(along_m + sign * half_m, 0, length_m[:, None]) for sign in (-1, 1))
    return np.where(is_peak, last - first, 0).sum(axis=1) / (2 * _HAZARD_RADIUS_M)
