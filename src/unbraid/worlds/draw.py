"""A picture of a PointGoal world from above, painted with NumPy: no GL, no display."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from unbraid.core.errors import WorldError
from unbraid.worlds.layout import Level

__all__ = ["Scene", "check_size", "draw_top_down", "view_half_side_m"]

_GROUND = (246, 245, 241)
_ARENA = (255, 255, 255)
_EDGE = (208, 205, 196)
_HAZARD = (214, 69, 65)
_VASE = (38, 166, 154)
_GOAL = (67, 160, 71)
_ROBOT = (30, 102, 200)
_NOSE = (13, 52, 110)
_MARGIN_M = 0.35


@dataclass(frozen=True, eq=False)
class Scene:
    """What a picture shows of one world, in world coordinates (m, rad).

    Attributes:
        rules: the level; things are placed in a square of its half-side around the origin.
        robot_xy: (2,) the robot's centre.
        robot_heading_rad: its heading, counter-clockwise from the x axis.
        goal_xy: (2,) the goal's centre.
        hazards_xy: (hazard, 2) the hazards' centres.
        vases_xy: (vase, 2) the vases' centres.
        vases_heading_rad: (vase,) their headings.
    """

    rules: Level
    robot_xy: Float[np.ndarray, "2"]
    robot_heading_rad: float
    goal_xy: Float[np.ndarray, "2"]
    hazards_xy: Float[np.ndarray, "hazard 2"]
    vases_xy: Float[np.ndarray, "vase 2"]
    vases_heading_rad: Float[np.ndarray, " vase"]


def draw_top_down(scene: Scene, *, width: int = 512, height: int = 512) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """The scene from above, x to the right and y up: hazards red, vases teal, goal green, robot blue with a dark nose.

    The view holds the arena, and widens when the robot leaves it.

    Args:
        scene: what to draw.
        width: in pixels, at least 16.
        height: in pixels, at least 16.

    Raises:
        WorldError: the picture is too small.
    """
    check_size(width, height)
    half_side_m = scene.rules.half_side_m
    canvas = _Canvas(width, height, view_half_side_m(scene))
    canvas.box((0.0, 0.0), 0.0, half_side_m + 0.015, _EDGE)
    canvas.box((0.0, 0.0), 0.0, half_side_m, _ARENA)
    for x, y in scene.hazards_xy.tolist():
        canvas.disc((x, y), 0.2, _HAZARD, opacity=0.75)
    goal_x, goal_y = scene.goal_xy.tolist()
    canvas.disc((goal_x, goal_y), 0.3, _GOAL, opacity=0.8)
    for (x, y), heading in zip(scene.vases_xy.tolist(), scene.vases_heading_rad.tolist(), strict=True):
        canvas.box((x, y), heading, 0.1, _VASE)
    x, y = scene.robot_xy.tolist()
    heading = scene.robot_heading_rad
    canvas.disc((x, y), 0.1, _ROBOT)
    canvas.box((x + 0.1 * math.cos(heading), y + 0.1 * math.sin(heading)), heading, 0.05, _NOSE)
    return canvas.pixels()


def check_size(width: int, height: int) -> None:
    """Raises `WorldError` for a picture of less than 16 pixels a side."""
    if width < 16 or height < 16:
        raise WorldError(f"A picture must be at least 16 x 16 pixels; got {width} x {height}. Ask for more.")


def view_half_side_m(scene: Scene) -> float:
    """Half the side of the square around the origin that a picture shows: the arena, or more if the robot left it."""
    return max(scene.rules.half_side_m, float(np.abs(scene.robot_xy).max())) + _MARGIN_M


class _Canvas:
    """An image over a square of the world, painted shape by shape with smooth edges."""

    def __init__(self, width: int, height: int, view_half_side_m: float) -> None:
        self._pixel_m = 2.0 * view_half_side_m / min(width, height)
        self._x = (np.arange(width) + 0.5 - width / 2) * self._pixel_m
        self._y = (height / 2 - np.arange(height) - 0.5) * self._pixel_m
        self._image = np.empty((height, width, 3), dtype=np.float32)
        self._image[:] = _GROUND

    def disc(
        self, centre: tuple[float, float], radius_m: float, colour: tuple[int, int, int], opacity: float = 1.0
    ) -> None:
        rows, columns, dx, dy = self._around(centre, radius_m)
        self._paint(rows, columns, np.sqrt(dx * dx + dy * dy) - radius_m, colour, opacity)

    def box(
        self, centre: tuple[float, float], angle_rad: float, half_side_m: float, colour: tuple[int, int, int]
    ) -> None:
        rows, columns, dx, dy = self._around(centre, half_side_m * math.sqrt(2.0))
        along = np.abs(math.cos(angle_rad) * dx + math.sin(angle_rad) * dy)
        across = np.abs(math.cos(angle_rad) * dy - math.sin(angle_rad) * dx)
        self._paint(rows, columns, np.maximum(along, across) - half_side_m, colour, 1.0)

    def pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        return (self._image + 0.5).astype(np.uint8)

    def _around(
        self, centre: tuple[float, float], radius_m: float
    ) -> tuple[slice, slice, Float[np.ndarray, "1 column"], Float[np.ndarray, "row 1"]]:
        reach = radius_m + self._pixel_m
        first, last = np.searchsorted(self._x, [centre[0] - reach, centre[0] + reach])
        bottom, top = np.searchsorted(-self._y, [-centre[1] - reach, -centre[1] + reach])
        rows, columns = slice(int(bottom), int(top)), slice(int(first), int(last))
        return rows, columns, (self._x[columns] - centre[0])[None, :], (self._y[rows] - centre[1])[:, None]

    def _paint(
        self,
        rows: slice,
        columns: slice,
        outside_m: Float[np.ndarray, "row column"],
        colour: tuple[int, int, int],
        opacity: float,
    ) -> None:
        cover = (np.clip(0.5 - outside_m / self._pixel_m, 0.0, 1.0) * opacity).astype(np.float32)[..., None]
        patch = self._image[rows, columns]
        patch += cover * (np.array(colour, dtype=np.float32) - patch)
