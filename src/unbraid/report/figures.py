"""Data -> figure: numbers of modes, losses, use of the codes, agreement, behaviour. Nothing here writes a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from unbraid.report.estimates import as_estimate
from unbraid.report.style import INK, MUTED, Layout, dress, few_ticks, label, legend_below, mode_color, new_figure

__all__ = [
    "Agreement",
    "Comparison",
    "Curve",
    "Training",
    "agreement_figure",
    "behaviour_figure",
    "code_usage_figure",
    "curves_figure",
    "loss_figure",
    "mode_counts_figure",
    "reliability_figure",
    "style_figure",
    "timeline_figure",
]

_STEPS_LABEL = "gradient steps"
_UNITS_OF_TERMS = {
    "policy": "nats",
    "style": "nats a demonstration",
    "encoder": "nats",
    "commitment": "squared latent distance",
    "codebook": "squared latent distance",
    "reconstruction": "squared scaled change",
}
_TOTAL = "loss"


@dataclass(frozen=True, eq=False)
class Training:
    """One fit's logged moments, and how its line is drawn.

    Attributes:
        name: what the line stands for.
        moments: each with a "step", "terms" by name, and perhaps "loss" and "code_usage".
        color: of its line.
        dashed: whether its line is dashed.
    """

    name: str
    moments: Sequence[Mapping[str, Any]]
    color: str = INK
    dashed: bool = False


@dataclass(frozen=True)
class Curve:
    """A line of (step, value) pairs; a `dashed` one is the second of its colour."""

    name: str
    points: Sequence[tuple[int, float | int]]
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class Agreement:
    """One score, by name; `published` is the talk's own number for it, where there is one."""

    name: str
    score: Any
    color: str
    published: float | int | None = None


@dataclass(frozen=True)
class Comparison:
    """A mode beside its expert: estimates by metric, and the margin within which they count as equal."""

    mode: int
    expert: str
    mode_metrics: Mapping[str, Any]
    expert_metrics: Mapping[str, Any]
    margins: Mapping[str, float | int]


def _panels(layout: Layout, n_panels: int, height_inches: float, most_columns: int) -> tuple[Figure, list[Axes]]:
    n_columns = max(min(most_columns, layout.max_columns, n_panels), 1)
    n_rows = -(-n_panels // n_columns)
    figure = new_figure(layout, n_rows * height_inches + 0.5)
    grid = figure.add_gridspec(n_rows, n_columns)
    return figure, [figure.add_subplot(grid[index // n_columns, index % n_columns]) for index in range(n_panels)]


def loss_figure(trainings: Sequence[Training], layout: Layout) -> Figure:
    """The loss and each of its named terms against gradient steps, one panel each, one line per fit.

    A panel is logarithmic where all its values are positive and span more than a factor of ten.
    """
    terms = list(
        dict.fromkeys(term for training in trainings for moment in training.moments for term in moment["terms"])
    )
    has_total = any("loss" in moment for training in trainings for moment in training.moments)
    names = ([_TOTAL] if has_total else []) + terms
    columns = 1 if layout.max_columns <= 2 else 4 if len(names) == 4 else 3
    figure, panels = _panels(layout, len(names), 2.3, most_columns=columns)
    for axes, name in zip(panels, names, strict=True):
        drawn: list[np.ndarray] = []
        for training in trainings:
            steps, values = _term(training, name)
            drawn.append(values)
            axes.plot(
                steps,
                values,
                color=training.color,
                linestyle="--" if training.dashed else "-",
                marker="o" if len(steps) < 3 else "",
                markersize=3,
                linewidth=1.5,
            )
        dress(axes, x=_STEPS_LABEL, y=_UNITS_OF_TERMS.get(name, "as optimised"), title=label(name))
        _count_steps(axes)
        few_ticks(axes.yaxis)
        _log_where_it_helps(axes, np.concatenate(drawn))
    if len(trainings) > 1:
        legend_below(figure, [_line_handle(t.name, t.color, t.dashed) for t in trainings], layout.max_columns)
    return figure


def _term(training: Training, name: str) -> tuple[Float[np.ndarray, "moment"], Float[np.ndarray, "moment"]]:
    pairs = [
        (moment["step"], moment.get("loss") if name == _TOTAL else moment["terms"].get(name))
        for moment in training.moments
    ]
    known = np.array([pair for pair in pairs if pair[1] is not None], dtype=np.float64).reshape(-1, 2)
    return known[:, 0], known[:, 1]


def _log_where_it_helps(axes: Axes, values: Float[np.ndarray, "value"]) -> None:
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0.0 and finite.max() > 10.0 * finite.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _count_steps(axes: Axes) -> None:
    """A few ticks of gradient steps, their thousands apart."""
    few_ticks(axes.xaxis)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))


def _line_handle(name: str, color: str, dashed: bool) -> Line2D:
    return Line2D([], [], color=color, linestyle="--" if dashed else "-", label=label(name))


def code_usage_figure(trainings: Sequence[Training], layout: Layout) -> Figure:
    """The share of samples that each code takes, over training: one panel per fit, stacked to 1."""
    many = len(trainings) > 1
    figure, panels = _panels(layout, len(trainings), 1.9 if many else 2.3, most_columns=4)
    n_codes = 0
    for axes, training in zip(panels, trainings, strict=True):
        logged = [moment for moment in training.moments if moment.get("code_usage")]
        width = max(len(moment["code_usage"]) for moment in logged)
        shares = np.zeros((width, len(logged)))
        for index, moment in enumerate(logged):
            shares[: len(moment["code_usage"]), index] = moment["code_usage"]
        colors = [mode_color(code) for code in range(width)]
        axes.stackplot([moment["step"] for moment in logged], shares, colors=colors, edgecolor="white", linewidth=0.4)
        axes.set_ylim(0.0, 1.0)
        axes.set_yticks([0.0, 0.5, 1.0])
        axes.margins(x=0.0)
        dress(axes, x=_STEPS_LABEL, y="share of samples", title=label(training.name) if many else "")
        _count_steps(axes)
        n_codes = max(n_codes, width)
    handles = [Patch(color=mode_color(code), label=f"code {code}") for code in range(n_codes)]
    legend_below(figure, handles, min(n_codes, 2 * layout.max_columns))
    return figure


def curves_figure(curves: Sequence[Curve], levels: Sequence[Curve], layout: Layout) -> Figure:
    """NMI against gradient steps, with published levels as dotted lines.

    Args:
        curves: one line per fit.
        levels: one point each, whose value is drawn across the panel.
        layout: how wide.
    """
    figure, (axes,) = _panels(layout, 1, 3.0, most_columns=1)
    for curve in curves:
        xs, ys = zip(*curve.points, strict=True)
        axes.plot(xs, ys, color=curve.color, linestyle="--" if curve.dashed else "-", linewidth=1.6, marker="o", ms=3)
    for level in levels:
        axes.axhline(level.points[0][1], color=level.color, linestyle=":", linewidth=1.6)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(left=0)
    dress(axes, x=_STEPS_LABEL, y="NMI (0 to 1)")
    _count_steps(axes)
    handles = [_line_handle(curve.name, curve.color, curve.dashed) for curve in curves]
    handles += [Line2D([], [], color=level.color, linestyle=":", label=label(level.name)) for level in levels]
    legend_below(figure, handles, 2 if layout.max_columns > 2 else 1)
    return figure


def mode_counts_figure(
    counts: Sequence[Mapping[str, Any]], layout: Layout, *, n_chosen: int, n_supported: int, unit: str
) -> Figure:
    """The held-out gain over one mode, in nats per episode or what else was put into modes, against their number.

    Args:
        counts: each with "n_modes", "gain_nats" and "step_error", one standard error of what the last mode adds (None:
            no bar); the line is dotted over numbers that are not among them.
        layout: how wide.
        n_chosen: the number that the model has; a larger dot.
        n_supported: the number that the evidence supports; a vertical line.
        unit: what was put into modes: "episode", "stretch" or "window".
    """
    figure, (axes,) = _panels(layout, 1, 2.9, most_columns=1)
    known = sorted((count["n_modes"], count["gain_nats"], count.get("step_error")) for count in counts)
    axes.axvline(n_supported, color=INK, linestyle="--", linewidth=1.2)
    for (n_modes, gain, _), (n_next, gain_next, _) in pairwise(known):
        line = "-" if n_next == n_modes + 1 else ":"
        axes.plot([n_modes, n_next], [gain, gain_next], color=MUTED, linestyle=line, linewidth=1.5)
    for n_modes, gain, error in known:
        if error is not None:
            axes.errorbar(n_modes, gain, yerr=error, color=INK, capsize=6, linewidth=1.4, zorder=4)
        chosen = n_modes == n_chosen
        color = mode_color(0) if chosen else MUTED
        axes.plot(n_modes, gain, marker="o", markersize=8 if chosen else 5, color=color, linestyle="", zorder=5)
    axes.set_xticks([n_modes for n_modes, _, _ in known])
    axes.set_xlim(known[0][0] - 0.4, known[-1][0] + 0.4)
    few_ticks(axes.yaxis)
    dress(axes, x="number of modes", y=f"nats per {unit}", title="Held-out gain over one mode")
    handles = [
        Line2D([], [], color=mode_color(0), marker="o", markersize=8, linestyle="", label="this model"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="supported by the evidence"),
        Line2D([], [], color=INK, linewidth=1.4, label="± 1 standard error of what the last mode adds"),
    ]
    legend_below(figure, handles, 3 if layout.max_columns > 2 else 1)
    return figure


def agreement_figure(agreements: Sequence[Agreement], layout: Layout) -> Figure:
    """Each score as a dot with its interval, the talk's published one beside it as a hollow diamond."""
    figure, (axes,) = _panels(layout, 1, 0.30 * len(agreements) + 0.7, most_columns=1)
    for place, agreement in enumerate(agreements):
        if agreement.published is not None:
            axes.plot(agreement.published, place, marker="D", markersize=7, mfc="white", mec=MUTED, mew=1.4, zorder=3)
        _dot(axes, agreement.score, place, color=agreement.color, hollow=False)
    axes.set_yticks(range(len(agreements)), [label(agreement.name) for agreement in agreements])
    axes.set_ylim(len(agreements) - 0.4, -0.6)
    axes.set_xlim(-0.03, 1.03)
    dress(axes, x="NMI (0 none, 1 perfect)", y="method and level")
    handles = [
        Line2D([], [], color=INK, marker="o", label="measured here, 95 % interval"),
        *(
            [Line2D([], [], linestyle="", marker="D", mfc="white", mec=MUTED, mew=1.4, label="published, one seed")]
            if any(agreement.published is not None for agreement in agreements)
            else []
        ),
    ]
    legend_below(figure, handles, 2 if layout.max_columns > 2 else 1)
    return figure


def behaviour_figure(
    comparisons: Sequence[Comparison], units: Mapping[str, str], layout: Layout, *, metrics: Sequence[str]
) -> Figure:
    """Each mode's behaviour as a dot with its interval, its expert's above it, one panel per metric.

    The band around the expert is the margin within which the mode counts as as good.
    """
    figure, panels = _panels(
        layout, len(metrics), 0.62 * len(comparisons) + 1.0, most_columns=3 if layout.max_columns > 2 else 1
    )
    for axes, metric in zip(panels, metrics, strict=True):
        for place, pair in enumerate(comparisons):
            expert = as_estimate(pair.expert_metrics.get(metric))
            margin = pair.margins.get(metric)
            if margin is not None and expert["value"] is not None:
                axes.fill_betweenx(
                    [place - 0.4, place + 0.4],
                    expert["value"] - margin,
                    expert["value"] + margin,
                    color=mode_color(pair.mode),
                    alpha=0.14,
                    linewidth=0,
                )
            _dot(axes, expert, place - 0.17, color=INK, hollow=True)
            _dot(axes, pair.mode_metrics.get(metric), place + 0.17, color=mode_color(pair.mode), hollow=False)
        axes.set_yticks(range(len(comparisons)), [f"mode {pair.mode}" for pair in comparisons])
        axes.set_ylim(len(comparisons) - 0.45, -0.55)
        axes.margins(x=0.08)
        few_ticks(axes.xaxis)
        unit = units.get(metric)
        dress(axes, x=f"{label(metric)} ({unit})" if unit else label(metric), y="mode", title=label(metric))
    handles = [
        Line2D([], [], color=INK, marker="D", markerfacecolor="white", label="the expert"),
        Line2D([], [], color=MUTED, marker="o", label="the mode (its own colour)"),
        Patch(color=MUTED, alpha=0.2, label="margin for “as good”"),
    ]
    legend_below(figure, handles, 3 if layout.max_columns > 2 else 1)
    return figure


def _dot(axes: Axes, quantity: Any, place: float | int, *, color: str, hollow: bool) -> None:
    estimate = as_estimate(quantity)
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=color, linewidth=2.0, solid_capstyle="butt", zorder=3)
    marker = "D" if hollow else "o"
    face = "white" if hollow else color
    axes.plot(value, place, marker=marker, markersize=6, mfc=face, mec=color, mew=1.4, linestyle="", zorder=4)


def reliability_figure(entries: Sequence[Mapping[str, Any]], layout: Layout) -> Figure:
    """The share right against probability, beside the share wrong against the share that gets a mode.

    Args:
        entries: one for each length of window, with "window_steps", "bins" and "risk_coverage".
        layout: how wide.
    """
    beside = layout.max_columns > 2  # or below one another
    figure = new_figure(layout, 3.4 if beside else 6.4)
    shape = (1, 2) if beside else (2, 1)
    (reliable, risky) = figure.subplots(*shape).flatten()
    reliable.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, zorder=1)
    handles: list[Line2D] = []
    for number, entry in enumerate(entries):
        color = mode_color(number)
        bins, points = entry["bins"], [p for p in entry["risk_coverage"] if p["error"] is not None]
        reliable.plot(
            [b["probability"] for b in bins], [b["right"] for b in bins], "o-", color=color, markersize=4, linewidth=1.2
        )
        risky.plot(
            [100 * p["coverage"] for p in points],
            [100 * p["error"] for p in points],
            "o-",
            color=color,
            markersize=4,
            linewidth=1.2,
        )
        steps = entry["window_steps"]
        handles.append(Line2D([], [], color=color, marker="o", label=f"{steps} step{'s' if steps != 1 else ''}"))
    least = min(min(b["probability"], b["right"]) for entry in entries for b in entry["bins"])
    reliable.set_xlim(max(0.1 * np.floor(10 * least), 0) - 0.02, 1.02)
    reliable.set_ylim(*reliable.get_xlim())
    dress(reliable, x="probability of the likeliest mode", y="share of windows right")
    dress(risky, x="windows that get a mode, in %", y="of those, wrong, in %")
    risky.set_ylim(bottom=0)
    for axes in (reliable, risky):
        few_ticks(axes.xaxis)
    legend_below(figure, handles, min(len(handles), layout.max_columns))
    return figure


def timeline_figure(episodes: Sequence[Mapping[str, Any]], layout: Layout) -> Figure:
    """Every episode as a bar over its steps, in the mixture of its modes' colours by probability, with its changes.

    Args:
        episodes: each with "episode", "n_steps", "probabilities" (moment, mode) and "change_points".
        layout: how wide.
    """
    n_modes = len(episodes[0]["probabilities"][0])
    colors = np.array([to_rgb(mode_color(mode)) for mode in range(n_modes)])
    figure = new_figure(layout, 0.26 * len(episodes) + 1.3)
    axes = figure.add_subplot()
    for row, episode in enumerate(episodes):
        mixed = np.clip(np.asarray(episode["probabilities"]) @ colors, 0, 1)
        extent = (0, episode["n_steps"], row - 0.38, row + 0.38)
        axes.imshow(mixed[None], extent=extent, aspect="auto", interpolation="nearest", zorder=2)
        for point in episode["change_points"]:
            axes.plot([point["step"]] * 2, [row - 0.46, row + 0.46], color=INK, linewidth=1.4, zorder=4)
            width = point["high_step"] - point["low_step"]
            axes.add_patch(
                Rectangle((point["low_step"], row - 0.46), width, 0.92, color=INK, alpha=0.35, linewidth=0, zorder=3)
            )
    axes.set_xlim(0, max(episode["n_steps"] for episode in episodes))
    axes.set_ylim(len(episodes) - 0.4, -0.6)
    dress(axes, x="step of the episode", y="held-out episode")
    axes.grid(visible=False)
    axes.set_yticks(range(len(episodes)), [str(episode["episode"]) for episode in episodes])
    few_ticks(axes.xaxis)
    handles = [Patch(color=mode_color(mode), label=f"mode {mode}") for mode in range(n_modes)]
    legend_below(figure, handles, min(n_modes, layout.max_columns))
    return figure


def style_figure(modes: Sequence[Mapping[str, Any]], layout: Layout, *, unit: str) -> Figure:
    """How large actions are against the style, a panel a mode: the policy where its style is swept, and episodes.

    Args:
        modes: each with "mode", "styles" and "sizes" (the sweep, None where nothing of the mode was held out), and
            "episodes" (style, size).
        layout: how wide.
        unit: what the dots are: "episodes", or "stretches" of them.
    """
    shown = [mode for mode in modes if mode["sizes"] is not None]
    figure, panels = _panels(layout, len(shown), 2.5, most_columns=3)
    for axes, mode in zip(panels, shown, strict=True):
        color = mode_color(mode["mode"])
        axes.plot(mode["styles"], mode["sizes"], color=color, linewidth=2)
        styles, sizes = np.asarray(mode["episodes"]).T
        axes.plot(styles, sizes, "o", color=INK, markersize=3.5, alpha=0.6)
        axes.set_xlim(-0.03, 1.03)
        dress(axes, x="style (0 to 1)", y="size of actions (deviations)", title=f"mode {mode['mode']}")
        few_ticks(axes.yaxis)
    handles = [_line_handle("the policy, its style swept", INK, False)]
    handles.append(Line2D([], [], color=INK, marker="o", linestyle="", markersize=4, label=f"held-out {unit}"))
    legend_below(figure, handles, layout.max_columns)
    return figure
