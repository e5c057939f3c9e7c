"""What `bench_switching.py` and `bench_preferences.py` found, as the tables and the figure of a page."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from page_tables import interval, markdown
from unbraid.report.style import INK, WIDE, dress, legend_below, mode_color, new_figure

METHODS = {"actor_critic": "actor-critic", "ppo": "PPO", "bandit": "bandit"}
WHO = {"modes": "fitted modes", "experts": "the experts themselves"}
FACTORS = {0.5: "half", 1.0: "tie", 2.0: "twice"}
MARKERS = {0.5: "^", 1.0: "o", 2.0: "v"}


def switching_text(found: Mapping[str, Any]) -> str:
    """What the modes do alone, and what switching gains."""
    alone = [
        [
            WHO[of["who"]],
            str(of["seed"]),
            f"{of['tie']:.2f}",
            *("; ".join(interval(mode[name], 1) for mode in of["alone"]) for name in ("return", "cost")),
        ]
        for of in found["modes"]
    ]
    rows = [
        [
            f"{WHO[entry['who']]}, {METHODS[entry['method']]}",
            str(entry["seed"]),
            f"{entry['cost_weight']:.2f} ({FACTORS[entry['factor']]})",
            f"{entry['return']:.1f}",
            f"{entry['cost']:.1f}",
            f"{entry['objective']:.1f}",
            f"{entry['best_alone']:.1f}",
            interval(entry["gain"]),
            "yes" if entry["beats"] else "no",
        ]
        for entry in found["entries"]
    ]
    head = ["modes, method", "seed", "lambda", "return", "cost", "objective", "best mode alone", "gain", "beats it"]
    return "\n\n".join(
        [
            f"{found['n_measured']} fresh episodes of 1,000 steps each, at most {found['n_learning_steps']:,} steps to "
            "learn from; 95 % intervals. What every mode does alone:",
            markdown(["modes", "seed", "lambda of the tie", "return of each", "cost of each"], alone),
            "The objective is return - lambda x cost; the gain is paired by episode.",
            markdown(head, rows),
        ]
    )


def preferences_text(found: Mapping[str, Any]) -> str:
    """Asking for the most informative pair, beside random pairs."""
    sides = ("informative", "random")
    rows = [
        ["right in held-out situations (share)", *(interval(found[side]["right_at_the_end"]) for side in sides)],
        ["the very best mode there (share)", *(interval(found[side]["very_best_at_the_end"]) for side in sides)],
        ["people of whom 90 % are right (share)", *(interval(found[side]["reached_90_percent"]) for side in sides)],
        ["clicks until 90 % are right", *(interval(found[side]["clicks_until_90_percent"], 1) for side in sides)],
    ]
    about = f"{found['n_people']} people, {found['n_clicks']} clicks; means with 95 % intervals"
    return (
        f"{markdown([about, 'the most informative pair', 'random pairs'], rows)}\n\n"
        f"Random pairs take {interval(found['clicks_saved'], 1)} clicks more (paired by person; who never gets there "
        f"counts as {found['n_clicks'] + 1})."
    )


def switching_figure(found: Mapping[str, Any]) -> Figure:
    """Return against cost of every mode alone and of every switcher; and every switcher's gain with its interval."""
    names = [method for method in METHODS if any(entry["method"] == method for entry in found["entries"])]
    kinds = [who for who in WHO if any(of["who"] == who for of in found["modes"])]
    colors = {method: mode_color(place) for place, method in enumerate(names)}
    figure = new_figure(WIDE, 3.4 * len(kinds))
    for row, who in enumerate(kinds):
        places, gains = (figure.add_subplot(len(kinds), 2, 2 * row + column) for column in (1, 2))
        for of in found["modes"]:
            if of["who"] == who:
                values = [[mode[name]["value"] for mode in of["alone"]] for name in ("cost", "return")]
                places.plot(*values, "x", color=INK, markersize=6)
        shown = [entry for entry in found["entries"] if entry["who"] == who]
        for place, entry in enumerate(shown):
            color, marker = colors[entry["method"]], MARKERS[entry["factor"]]
            places.plot(entry["cost"], entry["return"], marker, color=color, markersize=6)
            of = entry["gain"]
            gains.plot([of["low"], of["high"]], [place, place], "-", color=color)
            gains.plot(of["value"], place, marker, color=color, markersize=6)
        gains.axvline(0, color=INK, linestyle=":", linewidth=1.2)
        gains.set_yticks(range(len(shown)), [f"{FACTORS[e['factor']]}, seed {e['seed']}" for e in shown], fontsize=8)
        gains.invert_yaxis()
        dress(places, x="cost an episode (steps in hazards)", y="return an episode (m + goals)", title=WHO[who])
        dress(gains, x="gain over the best mode alone (m + goals)", y="")
    handles = [Line2D([], [], linestyle="", marker="x", color=INK, label="a mode alone")]
    handles += [Line2D([], [], color=colors[method], label=METHODS[method]) for method in names]
    handles += [
        Line2D([], [], linestyle="", marker=MARKERS[f], color=INK, label=f"lambda: {name}")
        for f, name in FACTORS.items()
    ]
    legend_below(figure, handles, 3)
    return figure
