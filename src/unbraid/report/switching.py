"""The picture of a bandit's regret."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unbraid.core.errors import DataError
from unbraid.report.style import Layout, dress, few_ticks, label, legend_below, mode_color, new_figure

__all__ = ["regret_figure"]

_STYLES = ("-", "--", "-.", ":")


def regret_figure(regrets: Mapping[str, Mapping[str, Sequence[Any]]], layout: Layout) -> Figure:
    """The regret so far against the number of choices, a line for every bandit.

    Args:
        regrets: name -> what `BanditHistory.regret_json` gave.
        layout: how wide.

    Raises:
        DataError: no bandit, or one that chose nothing.
    """
    if not regrets or any(len(told["decision"]) == 0 for told in regrets.values()):
        raise DataError("A picture of regret needs at least one bandit that chose; got none. Train one first.")
    figure = new_figure(layout, 3.0)
    axes = figure.add_subplot()
    handles: list[Line2D] = []
    for place, (name, told) in enumerate(regrets.items()):
        style = _STYLES[place % len(_STYLES)]
        axes.plot(told["decision"], told["regret"], linestyle=style, color=mode_color(place), linewidth=1.6)
        handles.append(Line2D([], [], linestyle=style, color=mode_color(place), label=label(name)))
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    few_ticks(axes.xaxis)
    dress(axes, x="choices of a mode", y="regret so far (reward)")
    legend_below(figure, handles, 2 if layout.max_columns > 2 else 1)
    return figure
