"""Draws the figures of the pages in `docs`, into `docs/images`.

python benchmarks/method_figures.py
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import example_tables
import steering_tables
import switching_tables
from mode_cases import SWEPT
from readme_tables import load
from unbraid.core.runs import write_bytes
from unbraid.report.style import INK, WIDE, dress, legend_below, mode_color, new_figure, png

ROOT = Path(__file__).parent.parent
KINDS = {"actions": "what is done", "transitions": "where it leads in some steps", "end": "where it leads by the end"}
ABLATIONS = {  # row -> evidence it is read by, its name
    "unbraid": ("combined", "unbraid"),
    "evidence_actions": ("combined", "actions alone"),
    "evidence_transitions": ("combined", "transitions alone"),
    "starts_random": ("combined", "random starts alone"),
    "codes_free": ("combined", "codes anywhere"),
    "context_input": ("combined", "the context as an input"),
    "policy_plain": ("combined", "plain layers of the policy"),
    "sharing_window": ("combined", "an expert for ten steps"),
    "talk_1": ("encoder", "the talk, repaired"),
    "kmeans": ("statistics", "k-means"),
    "linear_policies": ("actions", "linear policies"),
    "supervised": ("combined", "told the labels"),
}
COUNTS_SHOWN = ("two", "four_short", "six", "others", "pushing", "hopper")


def evidence_figure(cases: Mapping[str, Any]) -> Figure:
    """Of what modes explain of left-out spans, the share of each kind of evidence: one bar a case, mean over seeds."""
    shown = {name: case["search"] for name, case in cases.items() if "search" in case}
    figure = new_figure(WIDE, 0.34 * len(shown) + 1.2)
    axes = figure.add_subplot()
    for place, searches in enumerate(shown.values()):
        shares = np.mean([shares_of(search["gain_of_kind_nats"]) for search in searches], axis=0)
        starts = np.concatenate([[0], np.cumsum(shares)[:-1]])
        axes.barh([place] * 3, shares, left=starts, color=[mode_color(k) for k in range(3)], height=0.7)
    axes.set_yticks(range(len(shown)), list(shown))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    dress(axes, x="share of the held-out gain over one mode", y="case")
    legend_below(figure, [Patch(color=mode_color(k), label=name) for k, name in enumerate(KINDS.values())], 3)
    return figure


def shares_of(gains: Mapping[str, float]) -> list[float]:
    """The share of each kind in the sum; what lost counts for nothing."""
    sums = dict.fromkeys(KINDS, 0.0)
    for name, gain in gains.items():
        kind = "actions" if name == "actions" else "end" if name.endswith("to the end") else "transitions"
        sums[kind] += max(gain, 0.0)
    return [value / max(sum(sums.values()), 1e-9) for value in sums.values()]


def ablation_figure(cases: Mapping[str, Any]) -> Figure:
    """What each idea buys: NMI of one level, mean over seeds as a bar, seeds as dots; a panel for each of two cases."""
    panels = (("four", "25", "four experts, 25-step windows"), ("order", "episode", "errands in four orders, episodes"))
    figure = new_figure(WIDE, 3.6)
    for index, (name, level, title) in enumerate(panels):
        rows = cases[name]["rows"]
        there = [row for row, (by, _) in ABLATIONS.items() if row in rows and level in rows[row]["nmi"].get(by, {})]
        axes = figure.add_subplot(1, 2, index + 1)
        for place, row in enumerate(there):
            found = rows[row]["nmi"][ABLATIONS[row][0]][level]
            axes.barh(place, found["mean"], color=mode_color(0 if row == "unbraid" else 4), height=0.7)
            axes.plot(found["per_seed"], [place] * len(found["per_seed"]), "o", color=INK, markersize=3.5)
        axes.set_yticks(range(len(there)), [ABLATIONS[row][1] for row in there])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.02)
        dress(axes, x="NMI with the experts (0 to 1)", y="", title=title)
    return figure


def counts_figure(auto: Mapping[str, Any]) -> Figure:
    """What each further mode adds, in standard errors, beside the three that it must reach: a line a seed."""
    shown = {name: auto[name] for name in COUNTS_SHOWN if name in auto and auto[name].get("searches")}
    n_rows = max(-(-len(shown) // 3), 1)
    figure = new_figure(WIDE, 2.9 * n_rows)
    for index, (name, found) in enumerate(shown.items()):
        axes = figure.add_subplot(n_rows, 3, index + 1)
        for seed, search in enumerate(found["searches"]):
            steps = [c for c in search["counts"] if c["step_nats"] is not None and c["step_error"]]
            numbers = [c["n_modes"] for c in steps]
            axes.plot(numbers, [c["step_nats"] / c["step_error"] for c in steps], "o-", color=mode_color(seed), ms=4)
        axes.axhline(3, color=INK, linestyle=":", linewidth=1.2)
        axes.axvline(found["n_experts"], color=INK, linewidth=6, alpha=0.12)
        axes.xaxis.get_major_locator().set_params(integer=True)
        title = f"{found['n_experts']} experts ({name})"
        dress(axes, x="number of modes", y="what the last adds (s.e.)" if index % 3 == 0 else "", title=title)
    return figure


def styles_figure(of: Mapping[str, Any]) -> Figure:
    """One mode whose style is swept: how fast it drives, a line a seed; and, of held-out episodes, the speed that was
    drawn for each against the style that is read of it. A column for each expert."""
    experts = list(of["per_seed"][0]["explained"])
    figure = new_figure(WIDE, 5.2)
    for index, expert in enumerate(experts):
        swept, read = (
            figure.add_subplot(2, len(experts), index + 1),
            figure.add_subplot(2, len(experts), len(experts) + index + 1),
        )
        for seed, result in enumerate(of["per_seed"]):
            if expert in result["swept"]:
                swept.plot(SWEPT, result["swept"][expert], "o-", color=mode_color(seed), ms=4)
            styles, drawn, _ = np.asarray(result["episodes"][expert]).T
            read.plot(styles, drawn, "o", color=mode_color(seed), ms=3.5)
        for axes in (swept, read):
            axes.set_xlim(-0.03, 1.03)
        dress(swept, x="style asked for", y="mean speed of the mode (m/s)" if index == 0 else "", title=expert)
        dress(read, x="style read off the episode", y="speed drawn (share of top)" if index == 0 else "")
    seeds = [Patch(color=mode_color(i), label=f"training seed {seed}") for i, seed in enumerate(of["seeds"])]
    legend_below(figure, seeds, len(seeds))
    return figure


def drawn() -> dict[str, Figure]:
    """Every figure, by the name of its file, from the results as they are."""
    content = load("bench_modes")
    figures = {
        "method_evidence": evidence_figure(content["cases"]),
        "method_ablations": ablation_figure(content["cases"]),
        "method_counts": counts_figure(content["auto"]),
    }
    for of in content.get("style", {}).values():  # results of before have none
        figures["method_style"] = styles_figure(of)
    steering = load("bench_steering")
    figures |= {
        "steering_blends": steering_tables.blends_figure(steering),
        "steering_away": steering_tables.away_figure(steering),
    }
    switching = load("bench_switching")
    figures["switching"] = switching_tables.switching_figure(switching)
    cheetah = load("example_half_cheetah")
    figures["example_half_cheetah"] = example_tables.half_cheetah_figure(cheetah["runs"])
    return figures


def main() -> None:
    """The command line."""
    for name, figure in drawn().items():
        write_bytes(ROOT / "docs" / "images" / f"{name}.png", png(figure))


if __name__ == "__main__":
    main()
