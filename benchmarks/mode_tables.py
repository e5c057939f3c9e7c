"""The results of the benchmark of modes as Markdown that reads as text: all of them, and a few lines for the README."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mode_cases import BASELINES, COUNTED, LEVELS, LINES, METRICS, N_SEEDS, SWEPT, TOO_FEW, TOO_MANY
from mode_certainty import TITLE as CERTAINTY_TITLE
from mode_certainty import certainty_table
from mode_online import TITLE as ONLINE_TITLE
from mode_online import online_table

SWEPT_SHOWN = (0.1, 0.3, 0.5, 0.7, 0.9)

LOOP_TITLE = (
    "Each expert and the mode matched with it in {env_id}, means over {n_rollouts} paired seeds: expert → mode (mean "
    "over training seeds), and with how many of the training seeds the mode is as good as its expert. As good in all "
    "but cost: {n_as_good} of {n_modes} modes, by training seed."
)

OVER_TIME_TITLE = (
    "Every held-out step is read given its whole episode. A change that was found is matched with a true one of its "
    "episode, one to one, where they lie within 50 steps: the median error, then true changes that none is matched "
    "with and found ones that are not there, an episode; mean over seeds (worst). In interval: the share of found "
    "changes whose nine-in-ten interval holds the nearest true one."
)


ENCODERS_TITLE = (
    "A window is read without the order of its steps (mean), or in order. Every kind is fitted, alone, to the modes of "
    "one search for as many gradient steps, and has the same policy beside it. NMI with the experts on held-out "
    "windows, mean over training seeds (worst); seconds of the processor, on one thread, of its fit and of reading all "
    "those windows."
)

STYLE_TITLE = (
    "Every episode is driven at a speed of its own, which nobody is told. The share of the variance of an expert's "
    "speed that a line on the style explains, in held-out episodes: of the speed that was drawn, of the mean speed "
    "that came of it, and of the speed that was drawn by the style of 25 steps; mean over seeds (worst). Then the mean "
    "speed of the mode in m/s where its style is swept, mean over seeds, and in how many seeds it rises at every step."
)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand below each other in plain text, too."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in table]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def of_seeds(got: Mapping[str, Any] | None) -> str:
    """The mean over seeds, and in brackets the worst."""
    return "" if got is None else f"{got['mean']:.3f} ({got['worst']:.3f})"


def listed(values: Sequence[Any], decimals: int = 2) -> str:
    """One value a seed."""
    return " / ".join("–" if v is None else f"{v:.{decimals}f}" if isinstance(v, float) else str(v) for v in values)


def column_of(level: str) -> str:
    """A level's heading."""
    return level if LEVELS[level] is None else "1 step" if level == "1" else f"{level} steps"


# Everything


def text_of(content: Mapping[str, Any]) -> str:
    """All tables."""
    parts: list[str] = [earlier_text(content)]
    for name, case in content["cases"].items():
        if case["rows"]:
            parts += [f"## {name}: {case['title']}", heading(case), markdown(agreement_table(case))]
        if "closed_loop" in case:
            parts += loop_part(case, content["sizes"])
    parts += [left_out_text(content)]
    if content["checks"]:
        parts += ["## Too few modes, too many, and a rare expert", checks_part(content["checks"])]
    if content["curve"]:
        parts += ["## Fewer demonstrations", "NMI with four experts by training episodes of each; mean (worst)"]
        parts += [markdown(curve_table(content["curve"]))]
    if content["auto"]:
        parts += [
            "## The number of modes, found",
            "By training seed; the seconds are of search and fit, mean (longest)",
        ]
        parts += [markdown(auto_table(content["auto"])), auto_text(content["auto"])]
    if content["over_time"]:
        parts += ["## Experts that change within an episode", OVER_TIME_TITLE]
        parts += [markdown(over_time_table(content["over_time"]))]
    if content.get("online"):
        parts += ["## While an episode goes on", ONLINE_TITLE, markdown(online_table(content["online"]))]
    certainty = certainty_table(content["cases"])
    if len(certainty) > 1:
        parts += ["## How sure", CERTAINTY_TITLE, markdown(certainty)]
    if content.get("encoders"):
        parts += ["## Kinds of encoders", ENCODERS_TITLE]
        for evidence, title in (("encoder", "The encoder alone:"), ("combined", "Together with the policy:")):
            parts += [title, markdown(encoders_table(content["encoders"], evidence))]
    if content.get("style"):  # results of before have none
        parts += ["## Experts that vary within themselves", STYLE_TITLE]
        for of in content["style"].values():
            parts += [f"{of['title'][0].upper()}{of['title'][1:]}:", markdown(style_table(of)), style_text(of)]
    parts += [time_text(content)]
    if content["targets"]:
        parts += ["## Targets", count_of(content["targets"]), markdown(targets_table(content["targets"]))]
    return "\n\n".join(part for part in parts if part)


def earlier_text(content: Mapping[str, Any]) -> str:
    """Which cases an earlier version of the source was measured on; nothing where there are none."""
    names = ", ".join(content["of_an_earlier_version"])
    title = "Measured with an earlier version of the source, and not again since (by their names in all tables)"
    return f"{title}: {names}." if names else ""


def left_out_text(content: Mapping[str, Any]) -> str:
    """Which cases' data were not there; nothing where all were."""
    names = ", ".join(content["left_out"])
    return f"Left out, since their data were not there: {names}." if names else ""


def heading(case: Mapping[str, Any]) -> str:
    """What a table of agreement is about."""
    pile, n_seeds = case["pile"], max(len(row["seeds"]) for row in case["rows"].values())
    return (
        f"NMI with {len(pile['experts'])} experts ({'; '.join(pile['experts'])}): {pile['n_training_episodes']} "
        f"training episodes, together {pile['n_training_steps']:,} steps, and {pile['n_held_out_episodes']} held out; "
        f"mean over {n_seeds} training seed{'s' if n_seeds > 1 else ''} (worst)"
    )


def agreement_table(case: Mapping[str, Any]) -> list[list[str]]:
    """A line for every row that has results."""
    table = [["method", *map(column_of, case["levels"]), "fit s"]]
    most = max(len(row["seeds"]) for row in case["rows"].values())
    for row, evidence, title in LINES:
        if row in case["rows"]:
            nmi, n_seeds = case["rows"][row]["nmi"][evidence], len(case["rows"][row]["seeds"])
            title += f" ({n_seeds} of {most} seeds)" if n_seeds < most else ""
            cells = [of_seeds(nmi.get(level)) for level in case["levels"]]
            table.append([title, *cells, f"{case['rows'][row]['seconds']['mean']:.1f}"])
    return table


def loop_part(case: Mapping[str, Any], sizes: Mapping[str, Any]) -> list[str]:
    """The closed loop with its title."""
    loop = case["closed_loop"]
    title = LOOP_TITLE.format(
        env_id=loop["env_id"],
        n_rollouts=sizes["n_rollouts"],
        n_as_good=listed(loop["n_as_good"]),
        n_modes=case["n_modes"],
    )
    return [title, markdown(loop_table(loop))]


def loop_table(loop: Mapping[str, Any]) -> list[list[str]]:
    """A line for every expert: its mean, its modes' mean, and with how many training seeds they are as good."""
    table = [["expert", *METRICS]]
    for expert, of_metric in loop["modes"].items():
        cells: list[str] = []
        for metric in METRICS:
            there = [comparison for comparison in of_metric[metric] if comparison is not None]
            modes = f"{np.mean([c['mode'] for c in there]):.2f}" if there else "none"
            held = f"{sum(bool(c['holds']) for c in there)}/{len(of_metric[metric])}"
            cells.append(f"{loop['experts'][expert][metric]['value']:.2f} → {modes}, {held}")
        table.append([expert, *cells])
    return table


def checks_part(checks: Mapping[str, Any]) -> str:
    """What every check found, by training seed, and what the search said in words."""
    table, said = [["check", "case", "what", "by training seed"]], []
    for name, check in checks.items():
        lines = {"too_few": too_few_lines, "too_many": too_many_lines, "rarest": rarest_lines}[name](check)
        table += [[name, check["case"], what, listed(values, 3)] for what, values in lines]
        searched = [r["search"]["verdict"] for r in check["per_seed"] if "search" in r]
        said += [f"- {check['case']}, seed {s}: {v}" for s, v in zip(check["seeds"], searched, strict=False)]
    return "\n\n".join([markdown(table), *(["What the search said:", "\n".join(said)] if said else [])])


def too_few_lines(check: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Fewer modes than experts."""
    per_seed = check["per_seed"]
    supported = [r["search"]["n_supported"] for r in per_seed]
    return [
        (f"modes supported, {TOO_FEW} asked, {check['n_experts']} experts", supported),
        ("standard errors of the last of them", [r["search"]["sureness_standard_errors"] for r in per_seed]),
        (f"too few by, of {check['n_experts'] - TOO_FEW}", [n - TOO_FEW for n in supported]),
        ("episodes in the expert's main mode, worst expert", [min(r["in_main_mode"].values()) for r in per_seed]),
    ]


def too_many_lines(check: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """More modes than experts."""
    per_seed = check["per_seed"]
    titles = {"apart": "as fitted", "merged": "merged", "refitted": "fitted again with as many"}
    lines = [
        (f"groups to merge into, {TOO_MANY} asked, {check['n_experts']} experts", [r["n_groups"] for r in per_seed])
    ]
    for which, title in titles.items():
        for level, of in (("25", "25-step windows"), ("episode", "episodes")):
            lines.append((f"purity of {of}, {title}", [r["purity"].get(which, {}).get(level) for r in per_seed]))
    return lines


def rarest_lines(check: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """An expert with few episodes."""
    per_seed = check["per_seed"]
    first = per_seed[0]
    rarest = f"{first['expert']} ({first['n_training']} training episode{'' if first['n_training'] == 1 else 's'})"

    def yes(*names: str) -> list[str]:
        return ["yes" if all(r[name] for name in names) else "no" for r in per_seed]

    return [
        (f"{rarest}: alone in a mode of training episodes", yes("alone_in_training")),
        (f"share of {first['n_held_out']} held-out episodes in its main mode", [r["share"] for r in per_seed]),
        ("the same, of a fit told the labels", [r["share_told_labels"] for r in per_seed]),
        ("most of any other expert in that mode", [r["others_share"] for r in per_seed]),
        ("the mode of its training episodes, and nobody else's", yes("alone", "same_mode")),
    ]


def curve_table(curve: Mapping[str, Any]) -> list[list[str]]:
    """A line for every number of training episodes."""
    table = [
        ["episodes of each", *(f"{who}, {column_of(x)}" for who in ("unbraid", "bound") for x in ("25", "episode"))]
    ]
    for n, rows in curve.items():
        of_row = (("unbraid", "combined"), ("supervised", "combined"))
        nmi = [rows[row]["nmi"][evidence] if row in rows else {} for row, evidence in of_row]
        table.append([n, *(of_seeds(levels.get(level)) for levels in nmi for level in ("25", "episode"))])
    return table


def auto_table(auto: Mapping[str, Any]) -> list[list[str]]:
    """A line for every case."""
    table = [["case", "experts", "modes found", "standard errors", "NMI of episodes", "training steps", "fit s"]]
    for case, found in auto.items():
        seconds, nmi = found["seconds"], found["nmi_episode"]
        line = [case, str(found["n_experts"]), listed(found["n_modes"]), listed(found["sureness_standard_errors"], 1)]
        line += [of_seeds(nmi) if found["n_experts"] > 1 else "", f"{found['n_training_steps']:,}"]
        table.append([*line, f"{seconds['mean']:.1f} ({seconds['worst']:.1f})"])
    return table


def auto_text(auto: Mapping[str, Any]) -> str:
    """How often the number of experts is found where it must be."""
    right = [n == auto[case]["n_experts"] for case in COUNTED if case in auto for n in auto[case]["n_modes"]]
    return (
        f"The number of experts of {', '.join(COUNTED)} is found {sum(right)} of {len(right)} times." if right else ""
    )


def over_time_table(over_time: Mapping[str, Any]) -> list[list[str]]:
    """Two lines for every case: unbraid, and the bound."""
    table = [
        ["demonstrations", "seeds", "", "NMI of steps", "error, steps", "missing", "not there", "in interval", "fit s"]
    ]
    for of in over_time.values():
        for row, title in (("unbraid", "unbraid"), ("supervised", "told who acts when")):
            read = of[row]["per_seed"]
            quartiles = [r["error_quartiles_steps"] for r in read if r["error_quartiles_steps"]]
            median = (
                f"{np.mean([q[1] for q in quartiles]):.1f} ({max(q[1] for q in quartiles):.1f})" if quartiles else ""
            )
            cells = [of["title"], str(len(read)), title] if row == "unbraid" else ["", "", title]
            cells += [of_seeds(of[row]["nmi"]), median]
            for name in ("missing_per_episode", "spurious_per_episode"):
                values = [r[name]["value"] for r in read]
                cells.append(f"{np.mean(values):.2f} ({max(values):.2f})")
            inside = [r["within_interval"] for r in read if r["within_interval"] is not None]
            cells.append(f"{np.mean(inside):.2f}" if inside else "")
            table.append([*cells, f"{of['seconds']['mean']:.0f}" if row == "unbraid" else ""])
    return table


def encoders_table(encoders: Mapping[str, Any], evidence: str) -> list[list[str]]:
    """A line for every case and kind; lengths that a case does not have are left empty."""
    read = [kind["nmi"][evidence] for of in encoders.values() for kind in of["kinds"].values()]
    order = [level for level in LEVELS if any(level in levels for levels in read)]
    table = [["demonstrations", "seeds", "encoder", *map(column_of, order), "fit s", "reading s"]]
    for of in encoders.values():
        title, n_seeds = of["title"], str(len(of["seeds"]))
        for kind, of_kind in of["kinds"].items():
            cells = [of_seeds(of_kind["nmi"][evidence].get(level)) for level in order]
            seconds = [f"{of_kind[name]['mean']:.1f}" for name in ("processor_s", "reading_processor_s")]
            table.append([title, n_seeds, kind, *cells, *seconds])
            title = n_seeds = ""
    return table


def style_table(of: Mapping[str, Any]) -> list[list[str]]:
    """A line for every expert."""
    table = [["expert", "speed drawn", "mean speed", "drawn, 25 steps", *(f"style {s}" for s in SWEPT_SHOWN), "rises"]]
    for expert in of["per_seed"][0]["explained"]:
        cells = [expert]
        for level, speed in (("episode", "drawn"), ("episode", "realised"), ("25", "drawn")):
            values = [r["explained"][expert][level][speed] for r in of["per_seed"]]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f})")
        swept = [r["swept"][expert] for r in of["per_seed"] if expert in r["swept"]]
        for style in SWEPT_SHOWN:
            cells.append(f"{np.mean([s[SWEPT.index(style)] for s in swept]):.2f}" if swept else "")
        table.append([*cells, f"{sum(bool((np.diff(s) > 0).all()) for s in swept)}/{len(of['per_seed'])}"])
    return table


def style_text(of: Mapping[str, Any]) -> str:
    """What styles cost and tell beside the speed."""
    per_seed = of["per_seed"]
    nmi = {
        f"styles {name} ({level if level == 'episode' else level + ' steps'})": [
            r["nmi"][name]["combined"][level]["nmi"] for r in per_seed
        ]
        for level in ("25", "episode")
        for name in ("on", "off")
    }
    told = [r["expert_from_style"] for r in per_seed]
    nats = [float(np.mean(r["nats"])) for r in per_seed]
    return (
        f"NMI of modes, by training seed: {'; '.join(f'{k} {listed(v, 3)}' for k, v in nmi.items())}. A style tells at "
        f"most {listed(nats)} nats of its demonstration. From an episode's style alone its expert is guessed right, by "
        f"the ten nearest styles, {listed(told)} of the time; chance is {1 / len(per_seed[0]['explained']):.2f}."
    )


def time_text(content: Mapping[str, Any]) -> str:
    """The seconds of a fit of four experts, and what the machine was doing meanwhile."""
    of = {"K given": content["fit_time"].get("unbraid"), '"auto"': content["fit_time"].get("auto")}
    lines = [
        f"{what}: {times['seconds']['mean']:.1f} s on the clock (longest {times['seconds']['worst']:.1f}), "
        f"{times['processor_s']['mean']:.1f} s of the processor, load up to {max(times['load_per_core']):.1f} per core"
        for what, times in of.items()
        if times is not None
    ]
    return f"A fit of four experts, 100,000 steps; {'; '.join(lines)}." if lines else ""


def targets_table(targets: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for every target."""
    lines = [[t["case"], t["what"], f"{t['mean']:.3f} ({t['worst']:.3f})", met_text(t)] for t in targets]
    return [["case", "target", "mean (worst)", ""], *lines]


def met_text(target: Mapping[str, Any]) -> str:
    """The verdict, and on how many seeds it stands where that is fewer than three."""
    few = "" if target["n_seeds"] >= N_SEEDS else f" ({target['n_seeds']} of {N_SEEDS} seeds)"
    return ("met" if target["met"] else "missed") + few


def count_of(targets: Sequence[Mapping[str, Any]]) -> str:
    """How many targets are met, and which are not."""
    missed = [f"- {t['case']}: {t['what']}: {t['mean']:.3f}" for t in targets if not t["met"]]
    met = f"{len(targets) - len(missed)} of {len(targets)} targets are met."
    return "\n".join(
        [f"{met} Missed, with the mean over seeds:", "", *missed] if missed else [f"{met} None is missed."]
    )


# A few lines


def short_text(content: Mapping[str, Any]) -> str:
    """For the README: every case at its headline level, how many targets are met, and two closed loops."""
    parts = [markdown(short_table(content["cases"])), earlier_text(content), left_out_text(content)]
    if content["over_time"]:
        parts += [
            "Experts that take over from one another within an episode. NMI of single held-out steps; the median error "
            "of a change; an episode's missing changes, and found ones that are not there; mean over seeds (worst)."
        ]
        parts += [markdown([line[:-1] for line in over_time_table(content["over_time"])])]
    parts += [count_of(content["targets"])]
    for name in ("two", "four"):
        if "closed_loop" in content["cases"][name]:
            parts += loop_part(content["cases"][name], content["sizes"])
    return "\n\n".join(part for part in parts if part)


def short_table(cases: Mapping[str, Any]) -> list[list[str]]:
    """A line for every case that has results: unbraid, the bound, and the best of the other methods."""
    table = [["demonstrations", "read on", "unbraid", "told the labels", "best other method", "which"]]
    evidence_of, title_of = {row: e for row, e, _ in LINES}, {row: title for row, _, title in LINES}
    evidence_of |= {"unbraid": "combined", "supervised": "combined"}
    for case in cases.values():
        level = case["headline"]
        found = {row: of_row["nmi"][evidence_of[row]].get(level) for row, of_row in case["rows"].items()}
        others = {row: found[row] for row in BASELINES if found.get(row) is not None}
        best = max(others, key=lambda row: others[row]["mean"]) if others else None
        if found:
            line = [case["title"], column_of(level), of_seeds(found.get("unbraid")), of_seeds(found.get("supervised"))]
            table.append([*line, of_seeds(others[best]) if best else "", title_of[best] if best else ""])
    return table
