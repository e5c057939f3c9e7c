"""Profiles -> figure: how a few columns run over time in each mode."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from unbraid.report.style import INK, MUTED, Layout, dress, label, legend_below, mode_color, new_figure

__all__ = ["profiles_figure"]

_NAMES = ("low", "mean", "high", "example")


def profiles_figure(modes: Sequence[Mapping[str, Any]], columns: Sequence[str], layout: Layout, *, x: str) -> Figure:
    """A row of panels for each mode, one panel a column, on one scale for all modes: the mean over time, where the
    middle 80 % of values lie, and an example.

    Args:
        modes: each with "mode" and "profile" (`evaluation.portraits`).
        columns: their names, in the profiles' order.
        layout: how wide; what does not fit beside one another goes below.
        x: what time is called.
    """
    beside = min(len(columns), layout.max_columns)
    blocks = [range(first, min(first + beside, len(columns))) for first in range(0, len(columns), beside)]
    figure = new_figure(layout, 1.35 * len(modes) * len(blocks) + 0.9)
    grid = figure.add_gridspec(len(modes) * len(blocks), beside)
    longest = max(mode["profile"]["steps"] for mode in modes)
    for number, block in enumerate(blocks):
        for row, mode in enumerate(modes):
            for place, column in enumerate(block):
                axes = figure.add_subplot(grid[number * len(modes) + row, place])
                _draw(axes, mode, column)
                axes.set_xlim(-0.02 * longest, 1.02 * longest)
                axes.set_ylim(*_limits(modes, column))
                _dress(axes, x=x if row == len(modes) - 1 else "", y=f"mode {mode['mode']}", title=columns[column])
    handles = [
        Line2D([], [], color=MUTED, linewidth=2.0, label="mean"),
        Patch(color=MUTED, alpha=0.25, label="middle 80 % of values"),
        Line2D([], [], color=INK, linewidth=0.8, label="an example"),
    ]
    legend_below(figure, handles, len(handles) if layout.max_columns > 2 else 1)
    return figure


def _draw(axes: Axes, mode: Mapping[str, Any], column: int) -> None:
    run, color = mode["profile"]["columns"][column], mode_color(mode["mode"])
    low, mean, high, example = (np.asarray(run[name], dtype=np.float64) for name in _NAMES)
    n_parts, n_steps = len(mean), mode["profile"]["steps"]
    at = (np.arange(n_parts) + 0.5) * n_steps / n_parts
    if n_parts == 1:  # of one step there is no line: it is drawn as long as it lasts
        at, (low, mean, high, example) = np.array([0, n_steps]), (np.repeat(v, 2) for v in (low, mean, high, example))
    axes.fill_between(at, low, high, color=color, alpha=0.25, linewidth=0)
    axes.plot(at, mean, color=color, linewidth=2.0)
    axes.plot(at[: len(example)], example, color=INK, linewidth=0.8)


def _dress(axes: Axes, *, x: str, y: str, title: str) -> None:
    """With the column's name, which may be long, where there is room for it: a panel is wider than high."""
    dress(axes, x=x, y=y)
    axes.set_title(label(title), color=MUTED, fontsize=7.5, loc="left")
    axes.tick_params(labelsize=7.5)
    axes.yaxis.label.set(color=INK, fontsize=8.5, fontweight="bold")
    if not x:
        axes.tick_params(labelbottom=False)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _limits(modes: Sequence[Mapping[str, Any]], column: int) -> tuple[float, float]:
    """What all modes' panels of a column show, with a margin."""
    values = [value for mode in modes for name in _NAMES for value in mode["profile"]["columns"][column][name]]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.06
    return low - margin, high + margin
