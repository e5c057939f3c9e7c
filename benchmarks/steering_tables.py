"""The tables and figures of steering, from `benchmarks/results/bench_steering.json`."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from motion import QUANTILES, motion_text
from page_tables import interval, markdown
from unbraid.report.style import MUTED, WIDE, Layout, dress, legend_below, mode_color, new_figure

WHO = {
    "policy": "the policy",
    "experts": "the true experts, by the same rule",
    "by_episode": "one mode for each episode",
}
LINES = {
    "away": "away from the average of all",
    "left_out": "left out of the average",
    "raised": "its coordinate raised",
}
SHOWN = {
    "share": "share in the second",
    "goals": "goals, 500 steps",
    "cost": "cost, 500 steps",
    "distance": "distance (m)",
}


def steering_text(content: Mapping[str, Any]) -> str:
    """All tables, with a line before each that says what it shows."""
    seeds, amounts = len(content["seeds"]), content["amounts"]
    obeyed = [
        [
            name,
            interval(of["mode"], 3),
            interval(of["expert"], 3),
            " ".join(_mean_of(part) for part in of["over_time"]),
        ]
        for name, of in content["obeyed"].items()
    ]
    changed = [
        [pair, *(interval(of[who], 1) for who in ("mode", "expert", "later"))]
        for pair, of in content["changed"].items()
    ]
    blends = [
        [
            pair,
            f"{min(of['rank_correlation']['of_seeds']):.3f}",
            *(" ".join(_with_spread(point["share"]) for point in of[who]) for who in ("policy", "experts")),
            _with_spread(max((point["neither"] for point in of["policy"]), key=lambda share: share["value"])),
        ]
        for pair, of in content["blends"].items()
    ]
    missed = [target for target in content["targets"] if not target["met"]]
    met = f"{len(content['targets']) - len(missed)} of {len(content['targets'])} targets are met."
    told = "; ".join(f"{target['what']}: {target['got']:.3f}" for target in missed)
    parts = [
        f"Four experts of PointGoal1, found without labels; {seeds} training seeds, which are the n of every interval.",
        f"**Obedience.** {amounts['n_obeyed']} rollouts of {amounts['n_steps']} steps for each; the share of 50-step "
        "windows that the encoder alone reads as the mode that was asked for. The expert's own rollouts, on the same "
        "seeds, are read the same way. By tenths of the episode:",
        markdown(["mode of", "mode", "expert", "mode, by tenths of the episode"], obeyed),
        f"**A change of instruction** at step {amounts['changed_at']}: steps until three windows of 10 steps in a row "
        "are read as the new mode; mean. The expert is one that another takes over from at the same step.",
        markdown(["change", "policy, steps", "expert, steps", "policy later by"], changed),
        f"**Motion.** {amounts['n_moved']} rollouts of each: speed and turning rate in every step, of modes and of "
        f"their experts on the same seeds, as quantiles ({', '.join(f'{100 * q:.0f}' for q in QUANTILES)} %), and how "
        "far the two distributions are apart (Wasserstein-1, in the same unit). For scale: how far the expert is from "
        "itself on other seeds, which nothing can be expected to better, and from the nearest other expert.",
        motion_text(content["motion"]),
        "**Blends.** From the first mode to the second in eight equal steps: the share of 50-step windows read as the "
        "second, of the policy and of the true experts blended by the same rule; the rank correlation of weight and "
        "share (worst seed); and the largest share read as neither of the two. Means over training seeds, with the "
        "least and the most of them in brackets where they differ by 0.01.",
        markdown(["blend", "rank correlation", "policy", "experts", "neither, at most"], blends),
    ]
    for expert, lines in content["avoided"].items():
        parts += [f"**Away from {expert}.** {amounts['n_avoided']} rollouts for each line.", _avoided(lines)]
        parts.append(_beside(content["beside_left_out"][expert]))
    parts.append(met + (f" Missed: {told}." if missed else ""))
    return "\n\n".join(parts)


def _with_spread(estimate: Mapping[str, Any]) -> str:
    """A mean over training seeds, with their least and most in brackets where these differ from it."""
    least, most = min(estimate["of_seeds"]), max(estimate["of_seeds"])
    return f"{estimate['value']:.2f}" + (f" ({least:.2f}-{most:.2f})" if most - least >= 0.01 else "")


def _mean_of(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else "-"


def _beside(of_strength: Mapping[str, Any]) -> str:
    """Away minus leaving the mode out, training seed by training seed."""
    (known_for,) = {name for of_seed in next(iter(of_strength.values())) for name in of_seed} - {"return", "better"}
    rows = [
        [
            f"{float(key):g}",
            *("; ".join(interval(seed[name]) for seed in of_seed) for name in (known_for, "return")),
        ]
        for key, of_seed in of_strength.items()
    ]
    head = ["strength", f"{known_for}, away minus left out, each training seed", "return, likewise"]
    return f"Paired by rollout, with intervals over rollouts:\n\n{markdown(head, rows)}"


def _avoided(lines: Mapping[str, Any]) -> str:
    rows = [
        [
            LINES[line],
            f"{float(key):g}" if line != "left_out" else "",
            *(interval(row[name]) for name in ("obeyed", "cost", "goals", "return")),
            f"{100 * row['floored']['value']:.0f} %",
        ]
        for line, by_key in lines.items()
        for key, row in by_key.items()
    ]
    head = [
        "",
        "strength, or coordinate",
        "read as the avoided mode",
        "cost",
        "goals",
        "return",
        "more certain than the rest",
    ]
    return markdown(head, rows)


def blends_figure(content: Mapping[str, Any]) -> Figure:
    """A column for each pair, a row for each measure: the policy, the true experts, and one mode for each episode.

    Lines are means over training seeds, bands go from the least of them to the most.
    """
    pairs = content["blends"]
    figure = new_figure(Layout(width_inches=15.0, max_columns=6, dots_per_inch=100), 9.0)
    for column, (pair, of) in enumerate(pairs.items()):
        for row, (name, label) in enumerate(SHOWN.items()):
            axes = figure.add_subplot(len(SHOWN), len(pairs), row * len(pairs) + column + 1)
            for index, who in enumerate(WHO):
                line = of[who]
                style, at, color = ("o-", "s--", "^:")[index], [p["weight"] for p in line], mode_color(index)
                ends = [(min(p[name]["of_seeds"]), max(p[name]["of_seeds"])) for p in line]
                axes.fill_between(at, *zip(*ends, strict=True), color=color, alpha=0.2, linewidth=0)
                axes.plot(at, [p[name]["value"] for p in line], style, color=color, ms=3)
            title = pair.replace(" and ", " to\n") if row == 0 else ""
            dress(axes, x="weight of the second", y=label if column == 0 else "", title=title)
    _legend(figure, WHO)
    return figure


def away_figure(content: Mapping[str, Any]) -> Figure:
    """A column for each avoided expert: how far it is read in the rollouts, what it is known for, and the return."""
    figure = new_figure(WIDE, 6.5)
    avoided = content["avoided"]
    for column, (expert, lines) in enumerate(avoided.items()):
        known_for = "cost" if expert == "hazard_seeking" else "goals"
        for row, (name, label) in enumerate(
            {
                "obeyed": "share read as that mode",
                known_for: f"{known_for} in an episode",
                "return": "return of an episode",
            }.items()
        ):
            axes = figure.add_subplot(3, len(avoided), row * len(avoided) + column + 1)
            own = lines["away"]
            at, means = [float(key) for key in own], [own[key][name]["value"] for key in own]
            spread = [[own[key][name]["of_seeds"][seed] for key in own] for seed in range(len(content["seeds"]))]
            for of_seed in spread:
                axes.plot(at, of_seed, "-", color=mode_color(0), lw=0.7, alpha=0.5)
            axes.plot(at, means, "o-", color=mode_color(0), ms=4)
            axes.axhline(lines["left_out"]["0.0"][name]["value"], color=mode_color(1), ls="--")
            title = f"away from {expert}" if row == 0 else ""
            dress(axes, x="strength", y=label, title=title)
    handles = [
        Line2D(
            [], [], color=mode_color(0), marker="o", label="away from the average of all (thin: each training seed)"
        ),
        Line2D([], [], color=mode_color(1), ls="--", label="left out of the average"),
    ]
    legend_below(figure, handles, 2)
    return figure


def _legend(figure: Figure, names: Mapping[str, str]) -> None:
    styles = (("o", "-"), ("s", "--"), ("^", ":"))
    handles = [
        Line2D([], [], color=mode_color(i), marker=mark, ls=line, label=name)
        for i, (name, (mark, line)) in enumerate(zip(names.values(), styles, strict=True))
    ]
    handles.append(Patch(color=MUTED, alpha=0.3, label="from the least to the most of three training seeds"))
    legend_below(figure, handles, len(handles))
