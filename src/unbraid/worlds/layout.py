"""Where things stand in a PointGoal world: the levels' rules, a drawn or given layout, and the goals to come."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import WorldError
from unbraid.core.randomness import named_generator

__all__ = [
    "CANDIDATES_PER_GOAL",
    "GOALS_PER_BLOCK",
    "LEVELS",
    "Layout",
    "Level",
    "check_layout",
    "draw_layout",
    "finite_array",
    "goal_candidates",
    "level_rules",
    "next_goals",
]

# Two things stand no nearer to each other than the sum of their keep-outs; each stands in the arena shrunk by its own.
_ROBOT_KEEP_OUT_M = 0.4
_GOAL_KEEP_OUT_M = 0.305
_HAZARD_KEEP_OUT_M = 0.18
_VASE_KEEP_OUT_M = 0.15

GOALS_PER_BLOCK = 8
CANDIDATES_PER_GOAL = 48
_DRAWS_PER_GOAL = 96  # of 1500 layouts, none left less than 0.19 of the places to a goal
_MAX_MAGNITUDE = 1e6
_TRIES_PER_THING = 100
_TRIES_PER_LAYOUT = 10_000


@dataclass(frozen=True)
class Level:
    """What differs between PointGoal0, 1 and 2.

    Source: openai/safety-gym suite.py; PKU-Alignment/safety-gymnasium goal_level0 to 2.

    Attributes:
        level: 0, 1 or 2.
        half_side_m: things are placed uniformly in a square of this half-side, shrunk by their keep-out.
        n_hazards: how many hazards.
        n_vases: how many vases.
        vases_cost: whether touching or moving a vase costs.
    """

    level: int
    half_side_m: float
    n_hazards: int
    n_vases: int
    vases_cost: bool

    @property
    def obs_width(self) -> int:
        """12 sensor readings, and 16 lidar bins for every kind of thing: goal; hazards and vases where there are."""
        return 12 + 16 * (1 if self.level == 0 else 3)


LEVELS = (
    Level(level=0, half_side_m=1.0, n_hazards=0, n_vases=0, vases_cost=False),
    Level(level=1, half_side_m=1.5, n_hazards=8, n_vases=1, vases_cost=False),
    Level(level=2, half_side_m=2.0, n_hazards=10, n_vases=10, vases_cost=True),
)


def level_rules(level: int) -> Level:
    """The rules of PointGoal0, 1 or 2.

    Raises:
        WorldError: there is no such level.
    """
    if isinstance(level, bool) or level not in (0, 1, 2):
        raise WorldError(f"level must be 0, 1 or 2; got {level!r}. Choose one of the three PointGoal worlds.")
    return LEVELS[level]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where everything stands when an episode starts, in world coordinates (m, rad).

    Attributes:
        robot_xy: (2,) the robot's centre.
        robot_heading_rad: the robot's heading, counter-clockwise from the x axis.
        goal_xy: (2,) the goal's centre.
        hazards_xy: (hazard, 2) the hazards' centres.
        vases_xy: (vase, 2) the vases' centres.
        vases_heading_rad: (vase,) the vases' headings.
    """

    robot_xy: Float[np.ndarray, "2"]
    robot_heading_rad: float
    goal_xy: Float[np.ndarray, "2"]
    hazards_xy: Float[np.ndarray, "hazard 2"]
    vases_xy: Float[np.ndarray, "vase 2"]
    vases_heading_rad: Float[np.ndarray, " vase"]


def check_layout(given: Layout | Mapping[str, Any], rules: Level) -> Layout:
    """A layout that a user gave, checked and copied.

    Args:
        given: a `Layout`, or a mapping with its fields as keys; `vases_heading_rad` may be left out (zeros).
        rules: the level that it is for.

    Raises:
        WorldError: a field is missing, unknown, of a wrong shape, or not finite.
    """
    names = [field.name for field in fields(Layout)]
    values = dict(given) if isinstance(given, Mapping) else {name: getattr(given, name) for name in names}
    values.setdefault("vases_heading_rad", np.zeros(rules.n_vases))
    if set(values) != set(names):
        wrong = sorted(set(values) ^ set(names))
        raise WorldError(f"A layout must have the fields {', '.join(names)}; {wrong} differ. Correct these keys.")
    shapes = {
        "robot_xy": (2,),
        "robot_heading_rad": (),
        "goal_xy": (2,),
        "hazards_xy": (rules.n_hazards, 2),
        "vases_xy": (rules.n_vases, 2),
        "vases_heading_rad": (rules.n_vases,),
    }
    arrays = {name: finite_array(values[name], shapes[name], f"layout's {name}") for name in names}
    heading_rad = float(arrays.pop("robot_heading_rad"))
    return Layout(robot_heading_rad=heading_rad, **arrays)


def finite_array(value: Any, shape: tuple[int, ...], what: str) -> Float[np.ndarray, "..."]:
    """A float64 copy of an array that a user gave.

    Raises:
        WorldError: it has another shape, is not finite, or is larger than any world.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise WorldError(f"The {what} must be numbers; got {value!r:.80}. Pass an array of shape {shape}.") from None
    if array.size == 0 and math.prod(shape) == 0:
        array = array.reshape(shape)
    if array.shape != shape:
        raise WorldError(f"The {what} must have shape {shape}; got {array.shape}. Pass one for this level.")
    if not (np.abs(array) <= _MAX_MAGNITUDE).all():
        raise WorldError(
            f"The {what} must be finite, at most {_MAX_MAGNITUDE:g} in size; got {value!r:.80}. Correct it."
        )
    return array


def draw_layout(rules: Level, seed: int) -> Layout:
    """A layout drawn from a seed: robot, goal, hazards, vases in turn, each uniform among the places left to it.

    Source: openai/safety-gym engine.py: a place is refused while nearer to another thing than the sum of the
    keep-outs; after 100 refusals of one thing all start anew.

    Args:
        rules: the level.
        seed: >= 0.
    """
    generator = named_generator(seed, "layout")
    keep_outs = (
        [_ROBOT_KEEP_OUT_M, _GOAL_KEEP_OUT_M]
        + [_HAZARD_KEEP_OUT_M] * rules.n_hazards
        + [_VASE_KEEP_OUT_M] * rules.n_vases
    )
    for _ in range(_TRIES_PER_LAYOUT):
        places = _draw_places(rules.half_side_m, keep_outs, generator)
        if places is not None:
            break
    else:  # pragma: no cover - the three levels leave room enough
        raise WorldError(f"PointGoal{rules.level} must leave room for a layout; seed {seed} found none. Use another.")
    first_vase = 2 + rules.n_hazards
    return Layout(
        robot_xy=places[0],
        robot_heading_rad=float(generator.uniform(0.0, 2.0 * math.pi)),
        goal_xy=places[1],
        hazards_xy=places[2:first_vase],
        vases_xy=places[first_vase:],
        vases_heading_rad=generator.uniform(0.0, 2.0 * math.pi, rules.n_vases),
    )


def _draw_places(
    half_side_m: float, keep_outs: list[float], generator: np.random.Generator
) -> Float[np.ndarray, "thing 2"] | None:
    places: list[tuple[float, float, float]] = []
    for keep_out in keep_outs:
        room = half_side_m - keep_out
        for _ in range(_TRIES_PER_THING):
            x = room * (2.0 * generator.random() - 1.0)
            y = room * (2.0 * generator.random() - 1.0)
            if all((x - u) ** 2 + (y - v) ** 2 >= (keep_out + other) ** 2 for u, v, other in places):
                places.append((x, y, keep_out))
                break
        else:
            return None
    return np.array(places)[:, :2].copy()


def goal_candidates(rules: Level, layout: Layout, seed: int, block: int) -> Float[np.ndarray, "goal candidate 2"]:
    """The places that goals `block * GOALS_PER_BLOCK` and onwards may take, in order of preference, for 8 goals.

    Each goal has its own list, drawn from the seed and its number alone. Places that keep the keep-outs of the
    initial layout's hazards and vases come first, in the order drawn; then the others, the nearest to keeping them
    first, so that no list is ever empty.

    Departs: the original draws a goal's next place when the last one is reached, from a generator that everything
    shares, against the things' present places. Here a goal's place depends on the seed alone, so that two policies on
    one seed meet the same goals.
    """
    room = rules.half_side_m - _GOAL_KEEP_OUT_M
    drawn = named_generator(seed, "goals", block).uniform(-room, room, (GOALS_PER_BLOCK, _DRAWS_PER_GOAL, 2))
    others = np.concatenate([layout.hazards_xy, layout.vases_xy])
    if not len(others):
        return drawn[:, :CANDIDATES_PER_GOAL].copy()
    keep_outs = np.repeat([_HAZARD_KEEP_OUT_M, _VASE_KEEP_OUT_M], [len(layout.hazards_xy), len(layout.vases_xy)])
    dx = drawn[..., 0, None] - others[:, 0]
    dy = drawn[..., 1, None] - others[:, 1]
    dx *= dx
    dy *= dy
    dx += dy
    spare = (dx - (keep_outs + _GOAL_KEEP_OUT_M) ** 2).min(axis=2)
    rank = np.where(spare >= 0.0, np.arange(_DRAWS_PER_GOAL), _DRAWS_PER_GOAL - spare)
    order = np.argsort(rank, axis=1)[:, :CANDIDATES_PER_GOAL]
    return np.take_along_axis(drawn, order[..., None], axis=1)


def next_goals(
    candidates: Float[np.ndarray, "row candidate 2"], reached_xy: Float[np.ndarray, "row 2"]
) -> Float[np.ndarray, "row 2"]:
    """Every row's next goal: the first candidate that is no nearer to the goal just reached than the robot's keep-out.

    The robot is within 0.3 m of the goal that it reached, so that it stands at least 0.405 m from the next.

    Departs: the original keeps the robot's own place clear, which differs from policy to policy.

    Args:
        candidates: (row, candidate, 2) of `goal_candidates`.
        reached_xy: (row, 2) the goal that was reached.
    """
    offset = candidates - reached_xy[:, None, :]
    distance = np.sqrt(np.einsum("rci,rci->rc", offset, offset))
    is_clear = distance >= _ROBOT_KEEP_OUT_M + _GOAL_KEEP_OUT_M
    chosen = np.where(is_clear.any(axis=1), is_clear.argmax(axis=1), distance.argmax(axis=1))
    return candidates[np.arange(len(candidates)), chosen]
