"""The tables and figures of `docs/examples.md`, from what the examples wrote, one run for each training seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from page_tables import interval, markdown
from unbraid.report.style import WIDE, dress, mode_color, new_figure

Run = Mapping[str, Any]
ENOUGH, NEAR = 0.95, 0.1  # of the speed of the fit that was told; off the expert's speed, as a share


def half_cheetah_text(runs: Sequence[Run]) -> str:
    """Speeds of experts, modes and the fit that was told, for each seed; and how many reach what was asked."""
    head = ["expert", "recorded (m/s)", "itself, from the modes' starts"]
    head += [f"{who} over that, seed {run['seed']}" for run in runs for who in ("its mode", "told")]
    rows: list[list[str]] = []
    for name, first in runs[0]["experts"].items():
        cells = [f"{first['expert']:.2f}", "" if first["here"] is None else interval(first["here"])]
        for run in runs:
            of = run["experts"][name]
            cells += [f"{of['of_expert']:.2f}", f"{of['told']['value'] / own_speed(of):.2f}"]
        rows.append([name, *cells])
    lines = [markdown(head, rows), ""]
    for run in runs:
        slow = [name for name, of in run["experts"].items() if of["of_told"] is not None and of["of_told"] < ENOUGH]
        near = [name for name, of in run["experts"].items() if abs(of["of_expert"] - 1) <= NEAR]
        behind = f"slower than {ENOUGH} of the fit that was told: {', '.join(slow) or 'none'}"
        within = f"within a tenth of their expert's speed ({', '.join(near) or 'none'})"
        lines.append(
            f"- Seed {run['seed']}: {run['n_modes']} modes; {agreement_text(run)}; {len(near)} of "
            f"{len(run['experts'])} run {within}; {behind}. "
            f"Rollouts of {run['n_episodes']} below half of the recorded speed: {falls_text(run)}."
        )
    return "\n".join(lines)


def own_speed(of: Mapping[str, Any]) -> float:
    """An expert's speed (m/s): its own from the modes' starts where it can be run, else that of its recordings."""
    return of["expert"] if of["here"] is None else of["here"]["value"]


def falls_text(run: Run) -> str:
    """Of each mode that has slow rollouts how many, and of its expert, where that can be run."""
    said = [
        f"{name} {slow['mode']}" + (f" (its expert {slow['here']})" if "here" in slow else "")
        for name, slow in ((name, of["n_slow"]) for name, of in run["experts"].items())
        if slow["mode"]
    ]
    return ", ".join(said) or "none"


def half_cheetah_figure(runs: Sequence[Run]) -> Figure:
    """For each expert the speed of its mode and of the fit that was told, over the expert's own: a dot a seed."""
    names = list(runs[0]["experts"])
    figure = new_figure(WIDE, 2.6)
    axes = figure.add_subplot()
    axes.axhline(1.0, color="0.6", linewidth=1)
    for offset, (who, label) in enumerate({"mode": "its mode", "told": "the fit that was told"}.items()):
        for place, name in enumerate(names):
            of = [run["experts"][name] for run in runs]
            at = place + (offset - 0.5) * 0.25 + np.linspace(-0.06, 0.06, len(runs))
            shares = [one[who]["value"] / own_speed(one) for one in of]
            axes.plot(at, shares, "o", color=mode_color(offset), label=label if place == 0 else None)
    axes.set_xticks(range(len(names)), names)
    dress(axes, x="expert", y="mean speed over the expert's")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def push_t_text(runs: Sequence[Run]) -> str:
    """What each mode, and the fit that was told, cover of either target: mean and interval over rollouts, by seed."""
    head = ["people with, target", *(f"{who}, seed {run['seed']}" for run in runs for who in ("their mode", "told"))]
    cells = list(runs[0]["covered"])
    rows = [
        [cell, *(interval(run["covered"][cell][who]) for run in runs for who in ("mode", "told"))] for cell in cells
    ]
    said = [f"- Seed {run['seed']}: {run['n_modes']} modes; {agreement_text(run)}." for run in runs]
    return "\n".join([markdown(head, rows), "", *said])


def agreement_text(run: Run) -> str:
    """How far modes and experts agree on the whole episodes that the fit did not see."""
    (found,) = (of for of in run["agreement"] if (of["level"], of["evidence"]) == ("episode", "combined"))
    return f"NMI of held-out episodes with who made them {interval(found['nmi'])}, n = {found['nmi']['n']}"
