"""Top-down pictures, as in the talk: where the robot went, where goals were (blue), where hazards are (red)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, LineCollection, PatchCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from unbraid.report.record import TopDownPath
from unbraid.report.style import (
    GOAL_COLOR,
    HAZARD_COLOR,
    INK,
    MUTED,
    Layout,
    dress,
    few_ticks,
    label,
    legend_below,
    new_figure,
)

__all__ = ["HAZARD_RADIUS_M", "Panel", "paths_figure"]

HAZARD_RADIUS_M = 0.2
_VASE_HALF_SIDE_M = 0.1
_LARGE_M = 3.0  # half a panel's side from which a hazard drawn to scale is hard to see
_VASE_COLOR = "#8b93a1"
_TIME_COLORS = LinearSegmentedColormap.from_list("unbraid_time", ["#f2b134", "#4fae7b", "#3b4a87", "#1d1135"])


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture: its title, its path, and a `note` below the title; `color` marks a mode by its axes."""

    title: str
    path: TopDownPath
    note: str = ""
    color: str = MUTED


def paths_figure(rows: Sequence[Sequence[Panel]], layout: Layout) -> Figure:
    """Panels in rows; those of one row cover the same ground, so that they can be compared.

    Args:
        rows: what belongs beside one another; a row too long for the layout goes on below.
        layout: how wide.
    """
    n_columns = min(layout.max_columns, max(len(row) for row in rows))
    lines = [(row, row[at : at + n_columns]) for row in rows for at in range(0, len(row), n_columns)]
    side_inches = layout.width_inches / n_columns
    figure = new_figure(layout, len(lines) * (side_inches + 0.25) + 1.2)
    grid = figure.add_gridspec(len(lines), n_columns)
    longest = max(panel.path.n_steps for row in rows for panel in row)
    time = Normalize(0, longest)
    all_axes: list[Axes] = []
    for index, (row, line) in enumerate(lines):
        center, half = _ground(row)
        for column, panel in enumerate(line):
            axes = figure.add_subplot(grid[index, column])
            _draw_panel(axes, panel, time)
            if half > _LARGE_M:
                _keep_visible(axes, panel.path.hazards_xy, HAZARD_COLOR)
            axes.set_xlim(center[0] - half, center[0] + half)
            axes.set_ylim(center[1] - half, center[1] + half)
            all_axes.append(axes)
    bar = figure.colorbar(
        ScalarMappable(time, _TIME_COLORS), ax=all_axes, location="bottom", shrink=0.6, aspect=40, pad=0.02
    )
    bar.set_label("time along the path (control steps)", color=MUTED, fontsize=9)
    bar.ax.tick_params(colors=MUTED, labelsize=8.5, length=3)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    legend_below(figure, _legend_handles(), 5 if layout.max_columns > 2 else 3)
    return figure


def _ground(row: Sequence[Panel]) -> tuple[Float[np.ndarray, "2"], float]:
    """The centre and half-side, in metres, of the square that all panels of a row fit in."""
    places = np.concatenate(
        [
            xy
            for panel in row
            for xy in (panel.path.robot_xy, panel.path.goal_xy, panel.path.hazards_xy, panel.path.vases_xy)
        ]
    )
    low, high = places.min(axis=0), places.max(axis=0)
    return (low + high) / 2.0, float((high - low).max()) / 2.0 * 1.04 + 0.25


def _draw_panel(axes: Axes, panel: Panel, time: Normalize) -> None:
    path = panel.path
    hazards = [Circle((x, y), HAZARD_RADIUS_M) for x, y in path.hazards_xy]
    axes.add_collection(PatchCollection(hazards, facecolor=HAZARD_COLOR, alpha=0.75, linewidth=0, zorder=2))
    side = 2.0 * _VASE_HALF_SIDE_M
    vases = [Rectangle((x - side / 2, y - side / 2), side, side) for x, y in path.vases_xy]
    axes.add_collection(PatchCollection(vases, facecolor=_VASE_COLOR, linewidth=0, zorder=2))
    segments = np.stack([path.robot_xy[:-1], path.robot_xy[1:]], axis=1)
    line = LineCollection(list(segments), cmap=_TIME_COLORS, norm=time, linewidth=1.5, capstyle="round", zorder=3)
    line.set_array(np.arange(len(segments)))
    axes.add_collection(line)
    places = _goal_places(path)
    _mark(axes, places[:-1], "o", face=GOAL_COLOR, edge="white")
    _mark(axes, places[-1:], "o", face="white", edge=GOAL_COLOR)
    _mark(axes, path.robot_xy[:1], "s", face="white", edge=INK)
    few_ticks(axes.xaxis)
    few_ticks(axes.yaxis)
    axes.set_aspect("equal", adjustable="box")
    n_goals = int(path.goal_reached.sum())
    goals = f"{n_goals} goal{'' if n_goals == 1 else 's'}"
    title = f"{label(panel.title)}, {goals}\n{label(panel.note)}" if panel.note else f"{label(panel.title)}\n{goals}"
    dress(axes, x="x (m)", y="y (m)", title=title)
    axes.spines[["left", "bottom"]].set(color=panel.color, linewidth=2.0)


def _mark(axes: Axes, places: Float[np.ndarray, "place 2"], shape: str, *, face: str, edge: str) -> None:
    width = 0.8 if edge == "white" else 1.6
    axes.plot(*places.T, linestyle="", marker=shape, ms=6.5, mfc=face, mec=edge, mew=width, zorder=5)


def _keep_visible(axes: Axes, places: Float[np.ndarray, "place 2"], color: str) -> None:
    """A dot of three points at each place, for panels so large that what is drawn to scale would vanish."""
    dots = EllipseCollection(
        [3.0] * len(places),
        [3.0] * len(places),
        [0.0] * len(places),
        units="points",
        offsets=places,
        offset_transform=axes.transData,
        facecolor=color,
        linewidth=0,
        zorder=2,
    )
    axes.add_collection(dots)


def _goal_places(path: TopDownPath) -> Float[np.ndarray, "goal 2"]:
    """Where goals were, in order; the last one was not reached within the rollout."""
    moved = np.any(np.diff(path.goal_xy, axis=0) != 0.0, axis=1)
    return path.goal_xy[np.concatenate([[True], moved])]


def _legend_handles() -> list[Line2D]:
    marks = [
        ("goal, reached", "o", GOAL_COLOR, GOAL_COLOR),
        ("goal, not reached", "o", "white", GOAL_COLOR),
        ("hazard (to scale)", "o", HAZARD_COLOR, HAZARD_COLOR),
        ("vase", "s", _VASE_COLOR, _VASE_COLOR),
        ("start", "s", "white", INK),
    ]
    return [
        Line2D([], [], linestyle="", marker=shape, markersize=7, mfc=face, mec=edge, label=name)
        for name, shape, face, edge in marks
    ]
