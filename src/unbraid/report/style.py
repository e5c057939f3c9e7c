"""How every figure looks: sizes for a wide page and a phone's, colours that colour-blind readers can tell apart."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

__all__ = [
    "GOAL_COLOR",
    "GRID_COLOR",
    "HAZARD_COLOR",
    "INK",
    "MUTED",
    "NARROW",
    "WIDE",
    "Layout",
    "dress",
    "few_ticks",
    "label",
    "legend_below",
    "mode_color",
    "new_figure",
    "png",
]

INK = "#1c2430"
MUTED = "#5d6673"
GRID_COLOR = "#e4e7eb"
GOAL_COLOR = "#1565d8"
HAZARD_COLOR = "#d5332b"

_MODE_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#6f4fa0", "#8a8a00")
_LONGEST_LABEL = 28


@dataclass(frozen=True)
class Layout:
    """How wide a figure is drawn, how many panels fit side by side, and at how many dots per inch it is saved."""

    width_inches: float
    max_columns: int
    dots_per_inch: int


WIDE = Layout(width_inches=9.6, max_columns=4, dots_per_inch=140)
NARROW = Layout(width_inches=4.2, max_columns=2, dots_per_inch=170)


def mode_color(mode: int) -> str:
    """The colour of a mode, the same in every figure and table; the eight repeat.

    Source: Okabe and Ito 2008, without its yellow and black; two added.
    """
    return _MODE_COLORS[mode % len(_MODE_COLORS)]


def label(name: str) -> str:
    """A user's name as matplotlib should draw it: shortened, and its dollar signs no mathematics."""
    short = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
    return short.replace("$", r"\$")


def new_figure(layout: Layout, height_inches: float) -> Figure:
    """An empty figure on white, whose panels make room for their labels."""
    size = (layout.width_inches, height_inches)
    return Figure(figsize=size, dpi=layout.dots_per_inch, layout="constrained", facecolor="white")


def dress(axes: Axes, *, x: str, y: str, title: str = "") -> None:
    """Gives a panel its labels and title, and takes away what carries no information."""
    axes.set_xlabel(x, color=MUTED, fontsize=9)
    axes.set_ylabel(y, color=MUTED, fontsize=9)
    if title:
        axes.set_title(title, color=INK, fontsize=10, loc="left", fontweight="bold")
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.grid(visible=True, color=GRID_COLOR, linewidth=0.8)
    axes.set_axisbelow(True)


def few_ticks(axis: Axis) -> None:
    """At most seven ticks, at round numbers."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def legend_below(figure: Figure, handles: list[Any], n_columns: int) -> None:
    """One legend for the whole figure, outside its panels."""
    texts = figure.legend(handles=handles, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9)
    for text in texts.get_texts():
        _ink(text)


def _ink(text: Text) -> None:
    text.set_color(INK)


def png(figure: Figure) -> bytes:
    """A figure as PNG; a name in a script that matplotlib's font lacks is drawn as boxes, not refused."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(buffer)  # `savefig` would lay the figure out and draw it twice
    return buffer.getvalue()
