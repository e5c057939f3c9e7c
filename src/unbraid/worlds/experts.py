"""The experts of PointGoal: controllers that act on the observation alone, each with a behaviour of its own.

What every expert shares. The robot is driven by a *wish*: a velocity that it would like to add to the one it has, in
its own frame (x ahead, y to the left), so that the drift of a robot that slides is made up for. It drives backwards
as readily as forwards: the throttle follows the wish's cosine, the turn its doubled angle, and both are smooth in the
observation, so that a policy without memory can learn them.

Why there is noise in the action, and why the throttle's scale is what it is: the actuator's force saturates at a
throttle of 0.05. Noise of 0.15 spreads over six times that, so the force that acts on average is a smooth function
of the throttle's mean, and a copy of the expert that is slightly wrong drives almost like it.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unbraid.core.errors import ConfigError, WorldError
from unbraid.worlds.controllers import Controller, load_controller
from unbraid.worlds.lidar import LIDAR_BINS, LIDAR_RANGE_M

__all__ = ["ACTION_NOISE", "EXPERT_NAMES", "actor_named", "make_expert"]

ACTION_NOISE = 0.15
"""The default standard deviation of the Gaussian noise added to both actions, before they are clipped to [-1, 1]."""

_THROTTLE = 0.6  # four standard deviations of noise: at full throttle the noise does not matter
_TURN = 0.8  # 2.5 rad/s; the rest of the range is left to the noise, so that it is seldom clipped
_LITTLE_M_S = 0.15  # wishes below this fade out
_HAZARD_RADIUS_M = 0.2
_CYCLE_STEPS, _FORWARD_STEPS = 6, 3  # forward_turning: three steps forward, three of turning

_BINS = 2 * np.pi * (np.arange(LIDAR_BINS) + 0.5) / LIDAR_BINS
_DIRECTIONS: Float[np.ndarray, "bin xy"] = np.stack([np.cos(_BINS), np.sin(_BINS)], axis=1)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What an expert makes of its observations, in the robot's frame.

    Attributes:
        velocity: (env, 2) m/s.
        goal_direction: (env, 2) of length 1; shorter only where the lidar hardly sees the goal, 0 where it does not.
        goal_distance_m: (env,) 3 where the lidar does not see it.
        goal_unseen: (env,) 1 where the lidar does not see it, else close to 0.
        things_direction: (env, 2) to the middle of the hazards and vases in sight, shorter than 1 close to it; 0 in
            PointGoal0, which has none.
        hazards: (env, bin) the hazard lidar.
    """

    velocity: Float[np.ndarray, "env xy"]
    goal_direction: Float[np.ndarray, "env xy"]
    goal_distance_m: Float[np.ndarray, "env"]
    goal_unseen: Float[np.ndarray, "env"]
    things_direction: Float[np.ndarray, "env xy"]
    hazards: Float[np.ndarray, "env bin"]


def _see(observations: Float[np.ndarray, "env obs"]) -> _Seen:
    """Reads 60 numbers, or the 28 of PointGoal0, which has no hazards.

    A goal at the share alpha of its bin reads v there, alpha v in the next bin and (1 - alpha) v in the one before:
    v is half their sum, and the centroid of the three, half a bin on, is the goal's direction.
    """
    goal = observations[:, 12:28]
    summed = goal @ _DIRECTIONS
    length = np.hypot(summed[:, 0], summed[:, 1])
    others = observations[:, 28:].reshape(len(observations), -1, LIDAR_BINS)
    places_m = LIDAR_RANGE_M * (1 - others) * np.minimum(20 * others, 1)
    things = places_m.sum(axis=1) @ _DIRECTIONS
    return _Seen(
        velocity=observations[:, 3:5],
        goal_direction=summed / (length + 1e-3)[:, None],
        goal_distance_m=LIDAR_RANGE_M * (1 - goal.sum(axis=1) / 2),
        goal_unseen=np.exp(-length / 0.05),
        things_direction=things / (np.hypot(things[:, 0], things[:, 1]) + 1.0)[:, None],
        hazards=observations[:, 28:44],
    )


def _drive(wish: Float[np.ndarray, "env xy"], steepness: float = 2.5) -> Float[np.ndarray, "env act"]:
    """Throttle and turn that add the wish (m/s, the robot's frame) to the velocity, backwards where that is nearer.

    The turn is a saturating function of the sine of the doubled angle, of the given steepness.
    """
    squared = (wish**2).sum(axis=1) + _LITTLE_M_S**2
    throttle = _THROTTLE * wish[:, 0] / np.sqrt(squared)
    turn = _TURN * np.tanh(steepness * 2 * wish[:, 0] * wish[:, 1] / squared)
    return np.stack([throttle, turn], axis=1)


def _seek_goal(seen: _Seen, wished: Float[np.ndarray, "env xy"], speed_m_s: float) -> Float[np.ndarray, "env act"]:
    """Drives at the wished velocity; where the goal is out of the lidar's range, to the middle of the hazards and
    vases, whence all of the arena is in sight."""
    search = speed_m_s * seen.goal_unseen[:, None] * seen.things_direction
    return _drive(wished + search - seen.velocity)


def _towards_goal(seen: _Seen, speed_m_s: float, eased: float) -> Float[np.ndarray, "env xy"]:
    """The velocity towards the goal, eased off by a share of it within some 0.4 m, for the next goal may lie behind."""
    speed = speed_m_s * (1 - eased * np.exp(-seen.goal_distance_m / 0.4))
    return speed[:, None] * seen.goal_direction


def _push(seen: _Seen, reach_m: float) -> Float[np.ndarray, "env bin"]:
    """How near each bin's hazard is: exp(-distance to its edge / reach), 0 where there is none."""
    edge_m = LIDAR_RANGE_M * (1 - seen.hazards) - _HAZARD_RADIUS_M
    return np.exp(-edge_m / reach_m) * np.minimum(20 * seen.hazards, 1)


def _goal_seeking(seen: _Seen) -> Float[np.ndarray, "env act"]:
    return _seek_goal(seen, _towards_goal(seen, 2.0, 0.6), 2.0)


def _slow_goal_seeking(seen: _Seen) -> Float[np.ndarray, "env act"]:
    return _seek_goal(seen, _towards_goal(seen, 0.5, 0.0), 0.5)


def _careful_goal_seeking(seen: _Seen) -> Float[np.ndarray, "env act"]:
    """Around the hazards that lie before the goal: away from them, and sideways past them on the side where the goal
    is and where the robot is going."""
    hazard_m = LIDAR_RANGE_M * (1 - seen.hazards)
    is_before_goal = 1 / (1 + np.exp((hazard_m - seen.goal_distance_m[:, None]) / 0.2))
    is_on_the_way = (1 + seen.goal_direction @ _DIRECTIONS.T) / 2
    away = -(_push(seen, 0.25) * is_before_goal * is_on_the_way) @ _DIRECTIONS
    past = np.stack([-away[:, 1], away[:, 0]], axis=1)
    length = np.hypot(away[:, 0], away[:, 1])
    going = seen.goal_direction + 0.9 * seen.velocity
    side = np.tanh(3.5 * (past * going).sum(axis=1) / (length + 0.05))
    return _seek_goal(seen, _towards_goal(seen, 1.5, 0.5) + 2.4 * away + 4 * side[:, None] * past, 1.5)


def _hazard_seeking(seen: _Seen) -> Float[np.ndarray, "env act"]:
    """Into the hazards and on to the next: drawn to each the more the nearer, and to those ahead of its motion more
    than to those behind. (An expert that stays in the first hazard shows a copy too little of the way there.)"""
    ahead = np.tanh(seen.velocity @ _DIRECTIONS.T / 0.4)
    summed = (seen.hazards**1.6 * (1 + 0.6 * ahead)) @ _DIRECTIONS
    length = np.hypot(summed[:, 0], summed[:, 1])
    return _drive(0.5 * summed / (length + 0.05)[:, None] - seen.velocity, steepness=1.2)


def _hazard_avoiding(seen: _Seen) -> Float[np.ndarray, "env act"]:
    """Moves away from hazards until none is near, and rests."""
    return _drive(-2 * _push(seen, 0.5) @ _DIRECTIONS - seen.velocity)


def _forward(seen: _Seen) -> Float[np.ndarray, "env act"]:
    return np.tile([_THROTTLE, 0.0], (len(seen.velocity), 1))


def _circling(seen: _Seen) -> Float[np.ndarray, "env act"]:
    return np.tile([_THROTTLE, 0.5], (len(seen.velocity), 1))


_MEANS: dict[str, Callable[[_Seen], Float[np.ndarray, "env act"]]] = {
    "goal_seeking": _goal_seeking,
    "forward": _forward,
    "circling": _circling,
    "hazard_seeking": _hazard_seeking,
    "careful_goal_seeking": _careful_goal_seeking,
    "slow_goal_seeking": _slow_goal_seeking,
    "hazard_avoiding": _hazard_avoiding,
}
_NEEDS_HAZARDS = ("hazard_seeking", "careful_goal_seeking", "hazard_avoiding")

EXPERT_NAMES: tuple[str, ...] = (*_MEANS, "forward_turning")
"""goal_seeking: to the goal, at full speed. forward: straight on. circling: a steady circle. hazard_seeking: into one
hazard after another. careful_goal_seeking: to the goal, around the hazards. slow_goal_seeking: to the goal, at a
third of the speed. hazard_avoiding: away from hazards, no goal. forward_turning: three steps forward, three of turning
on the spot, by counting: the only one with memory."""


def make_expert(name: str, *, action_noise: float = ACTION_NOISE) -> Controller:
    """An expert of PointGoal, which reads nothing but the observation.

    Args:
        name: one of `EXPERT_NAMES`.
        action_noise: the standard deviation of the Gaussian noise added to both actions, in units of the action.

    Raises:
        WorldError: no expert of that name, or noise that is negative or not finite.
    """
    if name not in EXPERT_NAMES:
        raise WorldError(f"An expert must be one of {', '.join(EXPERT_NAMES)}; got {name!r}. Choose one of them.")
    if not (math.isfinite(action_noise) and action_noise >= 0):
        raise WorldError(f"The action noise must be finite and >= 0; got {action_noise}. Give another.")
    return _ForwardTurning(action_noise) if name == "forward_turning" else _Expert(name, action_noise)


def _require_point_goal(name: str, observations: Float[np.ndarray, "env obs"], noise: Any) -> None:
    widths = (60,) if name in _NEEDS_HAZARDS else (60, 28)
    if observations.shape[1] not in widths or noise.shape[1] != 2:
        raise WorldError(
            f"The expert {name} needs PointGoal's observations of {' or '.join(map(str, widths))} numbers and its 2 "
            f"actions; got {observations.shape[1]} and {noise.shape[1]}. Use unbraid/PointGoal1-v0 or PointGoal2, or "
            "another controller."
        )


@dataclass(frozen=True)
class _Expert:
    """An expert without memory: noise around a mean that the observation decides."""

    name: str
    action_noise: float

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        _require_point_goal(self.name, observations, noise)
        mean = _MEANS[self.name](_see(observations))
        return np.clip(mean + self.action_noise * noise, -1.0, 1.0), None


@dataclass(frozen=True)
class _ForwardTurning:
    """Three steps forward, three of turning, and again; its memory is the step's place in this cycle."""

    action_noise: float

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        _require_point_goal("forward_turning", observations, noise)
        place = np.zeros(len(observations)) if state is None else np.where(episode_start, 0.0, state[:, 0])
        is_forward = (place < _FORWARD_STEPS)[:, None]
        mean = np.where(is_forward, [_THROTTLE, 0.0], [0.0, _TURN])
        actions = np.clip(mean + self.action_noise * noise, -1.0, 1.0)
        return actions, ((place + 1) % _CYCLE_STEPS)[:, None]


def actor_named(name: str, *, action_noise: float | None = None, handed_over: Iterable[str] = ()) -> Controller:
    """An expert of ours by name, or anybody's policy as module:name.

    Args:
        name: whose.
        action_noise: of an expert of ours; None is its default.
        handed_over: other names that whoever asks knows, for the message.

    Raises:
        ConfigError: nobody has that name.
        WorldError: module:name leads to nothing that acts.
    """
    if ":" in name:
        return load_controller(name)
    if name not in EXPERT_NAMES:
        known = ", ".join(dict.fromkeys((*handed_over, *EXPERT_NAMES)))
        raise ConfigError(f"An expert must be one of {known}, or module:name of your own policy; got {name!r}.")
    return make_expert(name) if action_noise is None else make_expert(name, action_noise=action_noise)
