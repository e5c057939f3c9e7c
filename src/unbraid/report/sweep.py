"""How a sweep's combinations of settings compare: a figure, and a table. Nothing here writes a file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unbraid.report.estimates import counted, interval_text, value_text
from unbraid.report.style import Layout, dress, label, legend_below, mode_color, new_figure

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SCORES", "print_sweep", "settings_text", "sweep_figure"]

SCORES = {
    "held_out_log_likelihood_nats": "held-out log-likelihood, nats a step",
    "episode_nmi": "NMI of held-out episodes",
}
"""What fits are compared by, and how it is called; both are better where they are higher."""


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """A combination in words: "n_modes 2, delta_steps 5"."""
    return ", ".join(f"{name} {_text(value)}" for name, value in settings.items()) or "the defaults"


def _varied(combinations: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that differ between combinations."""
    names = combinations[0]["settings"]
    return [name for name in names if len({_text(c["settings"][name]) for c in combinations}) > 1]


def sweep_figure(combinations: Sequence[Mapping[str, Any]], layout: Layout) -> Figure | None:
    """Each score against the first setting that varies, a line for every combination of the others.

    Args:
        combinations: each with "settings" and "scores", estimates by name.
        layout: how wide.

    Returns:
        A panel for each score that was measured; None where none was.
    """
    shown = [name for name in SCORES if any(name in combination["scores"] for combination in combinations)]
    if not shown:
        return None
    names, varied = list(combinations[0]["settings"]), _varied(combinations)
    across = (varied or names or [None])[0]
    ticks = list(dict.fromkeys(_text(c["settings"].get(across)) for c in combinations))
    others = [name for name in varied if name != across]
    lines = list(dict.fromkeys(settings_text({n: c["settings"][n] for n in others}) for c in combinations))
    beside = layout.max_columns > 2
    figure = new_figure(layout, (3.4 if beside else 3.1 * len(shown)) + 0.25 * (len(lines) // layout.max_columns))
    panels = figure.subplots(*((1, len(shown)) if beside else (len(shown), 1)), squeeze=False).flatten()
    for axes, score in zip(panels, shown, strict=True):
        for number, line in enumerate(lines):
            own = [
                c for c in combinations
                if settings_text({n: c["settings"][n] for n in others}) == line and score in c["scores"]
            ]  # fmt: skip
            places = np.array([ticks.index(_text(c["settings"].get(across))) for c in own], dtype=float)
            places += 0.06 * (number - (len(lines) - 1) / 2)  # or intervals would lie on one another
            estimates = [c["scores"][score] for c in own]
            values = np.array([e["value"] for e in estimates])
            ends = np.array([[e["value"] if e[end] is None else e[end] for e in estimates] for end in ("low", "high")])
            spread = np.abs(ends - values) if own else None
            axes.errorbar(places, values, spread, color=mode_color(number), marker="o", markersize=4, capsize=3)
        dress(axes, x=label(across or ""), y=SCORES[score])
        axes.set_xticks(range(len(ticks)), [label(tick) for tick in ticks])
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    if others:
        handles = [Line2D([], [], color=mode_color(i), marker="o", label=label(line)) for i, line in enumerate(lines)]
        legend_below(figure, handles, min(len(handles), layout.max_columns))
    return figure


def print_sweep(results: Mapping[str, Any], console: "Console") -> None:
    """A line for each combination, and what went wrong."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("settings", *SCORES.values(), "seeds", box=box.SIMPLE_HEAD, pad_edge=False)
    combinations = results["combinations"]
    varied = _varied(combinations)
    for combination in combinations:
        cells = [
            f"{value_text(estimate)} {interval_text(estimate)}" if estimate is not None else "not measured"
            for estimate in (combination["scores"].get(name) for name in SCORES)
        ]
        n = str(combination["n_done"])
        n = n if combination["n_done"] == combination["n_fits"] else f"{n} of {combination['n_fits']}"
        settings = {name: combination["settings"][name] for name in varied or combination["settings"]}
        table.add_row(*map(Text, (settings_text(settings), *cells, n)))
    console.print(table)
    failed = [trial for trial in results["trials"] if trial["state"] == "failed"]
    for trial in failed:
        console.print(Text(f"failed: {trial['name']}: {trial['message']}"))
    n_done = len(results["trials"]) - len(failed)
    console.print(Text(f"{counted(n_done, 'fits')} done, {len(failed)} failed. Means over seeds, 95 % intervals."))
