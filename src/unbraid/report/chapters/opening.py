"""What was asked, what came out, and what steering looks like from above."""

from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.report.chapters.building import difference_cell, drawn, metrics_row
from unbraid.report.claims import ONE_LABEL, match_of
from unbraid.report.estimates import (
    SCORE_DECIMALS,
    as_estimate,
    count_text,
    counted,
    interval_text,
    n_text,
    shared_decimals,
    shared_n_text,
    spelled,
    value_text,
)
from unbraid.report.figures import Comparison, behaviour_figure
from unbraid.report.paths import Panel, paths_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import (
    Block,
    KeyNumber,
    KeyNumbers,
    Paragraph,
    Picture,
    Row,
    Section,
    Table,
    Verdict,
    Verdicts,
)
from unbraid.report.style import mode_color

__all__ = ["asked", "result", "seen_from_above"]


def asked(record: RunRecord) -> Section:
    """What went in, and what was to come out."""
    data = record.data
    size = f"{counted(data['n_episodes'], 'episodes')}" if data.get("n_episodes") else "Episodes"
    size += f" ({counted(data['n_steps'], 'steps')})" if data.get("n_steps") else ""
    world = f" in {data['env_id']}" if data.get("env_id") else ""
    if record.experts:
        names = _listed(record.experts)
        pile = (
            f"{size} of {_experts(len(record.experts))}, {names}{world}, shuffled into one pile. "
            "Nothing that learns sees who acted: the labels are read only to score the result."
        )
    else:
        pile = f"{size}{world}, recorded without labels of who acted."
    question = (
        "The task: find the separate behaviours in the pile, the modes, and learn one policy that a person can steer "
        "between them by naming the mode they want."
    )
    blocks: list[Block] = [Paragraph(pile), Paragraph(question)]
    if record.talk:
        blocks.append(
            Paragraph(
                "A talk of 2021 (Eloundou, “Multiple Experts, Multiple Objectives”) asked this and answered in part: "
                "some of its modes followed an expert, others were unclear. Below, its experiment is repeated on "
                "the same demonstrations, and then unbraid's own method is shown in the same form."
            )
        )
    if data.get("held_out_episodes"):
        scored = counted(data["held_out_episodes"], "episodes")
        note = f"Scores of agreement come from {scored} that no training saw."
        if not (record.talk or record.unbraid.get("agreement") or record.unbraid.get("tables")):
            note = f"What is said of unseen episodes comes from {scored} that no training saw."
        blocks.append(Paragraph(note, tone="note"))
    return Section("asked", "What was asked", tuple(blocks))


def _experts(count: int) -> str:
    return f"{spelled(count).lower()} expert{'' if count == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def result(record: RunRecord) -> Section | None:
    """The run's answer: key numbers, claims, and each mode beside its expert."""
    blocks: list[Block] = []
    numbers = _key_numbers(record)
    if numbers:
        blocks.append(KeyNumbers(numbers))
    verdicts = tuple(Verdict(verdict["text"], verdict.get("holds")) for verdict in record.results.get("verdicts") or [])
    if verdicts:
        blocks.append(Verdicts(verdicts))
    if record.behaviour.get("modes"):
        blocks += [_behaviour_table(record.behaviour), *_behaviour_picture(record.behaviour)]
    return Section("result", "What came out", tuple(blocks)) if blocks else None


def _key_numbers(record: RunRecord) -> tuple[KeyNumber, ...]:
    numbers: list[KeyNumber] = []
    agreement = record.unbraid.get("agreement") or []
    episode = next((entry for entry in agreement if entry.get("level") == "episode"), None)
    if episode:
        numbers.append(_score_number("Episodes told apart (NMI)", episode["nmi"], ONE_LABEL if record.changes else ""))
    windows = [table for table in record.unbraid.get("tables") or [] if table.get("nmi") is not None]
    if windows and not record.changes:  # a window's own expert is not known there
        table = next((table for table in windows if table["window_steps"] == 25), windows[-1])
        steps = counted(table["window_steps"], "steps")
        numbers.append(_score_number(f"Windows of {steps} told apart (NMI)", table["nmi"]))
    tables = record.talk.get("tables") or []
    transitions = [table for table in tables if as_estimate(table.get("nmi"))["value"] is not None]
    if transitions:
        best = max(transitions, key=lambda table: table["nmi"]["value"])
        where = f"K = {best['n_modes']}, time step {best['delta_steps']}"
        numbers.append(_score_number(f"The talk's method here, best of {len(transitions)} ({where}; NMI)", best["nmi"]))
    if record.unbraid.get("fit_seconds") is not None:
        steps = record.unbraid.get("gradient_steps")
        detail = "" if steps is None else f"{count_text(steps)} gradient steps, n = 1 run"
        numbers.append(KeyNumber("Time to fit", f"{record.unbraid['fit_seconds']:.0f} s", detail))
    return tuple(numbers)


def _score_number(label: str, score: Any, caveat: str = "") -> KeyNumber:
    detail = ", ".join(part for part in (interval_text(score, SCORE_DECIMALS), n_text(score)) if part)
    return KeyNumber(label, value_text(score, SCORE_DECIMALS), ". ".join(part for part in (detail, caveat) if part))


def _behaviour_table(behaviour: Mapping[str, Any]) -> Table:
    order, units = _metrics_of(behaviour), behaviour.get("units") or {}
    experts = {expert["name"]: expert["metrics"] for expert in behaviour.get("experts") or []}
    actors = [*behaviour["modes"], *(behaviour.get("experts") or [])]
    decimals = shared_decimals((actor["metrics"] for actor in actors), order)
    rows: list[Row] = []
    shown: set[str] = set()
    for mode in behaviour["modes"]:
        name = f"mode {mode['mode']}"
        rows.append(metrics_row(name, mode["metrics"], decimals, swatch=mode_color(mode["mode"]), starts_group=True))
        expert = mode.get("expert")
        if expert in experts:
            shown.add(expert)
            rows.append(metrics_row(f"its expert, {expert}", experts[expert], decimals))
        if mode.get("difference"):
            rows.append(_difference_row(mode, order))
    rows += [
        metrics_row(f"expert {name}, matched by no mode", metrics, decimals, starts_group=True)
        for name, metrics in experts.items()
        if name not in shown
    ]
    seeds = f" on the same {counted(behaviour['n_seeds'], 'seeds')}" if behaviour.get("n_seeds") else ""
    compared = (
        " A difference is mode minus expert, paired by seed. A mode counts as as good where the whole interval of that "
        "difference lies within the margin, on either side."
    )
    return Table(
        caption=f"{'Each mode beside its expert' if experts else 'What each mode does'}{seeds}",
        corner="who acted",
        columns=tuple(f"{metric} ({units[metric]})" if units.get(metric) else metric for metric in order),
        rows=tuple(rows),
        note=f"In brackets: 95 % intervals.{compared if experts else ''}",
    )


def _metrics_of(behaviour: Mapping[str, Any]) -> list[str]:
    named = behaviour.get("metrics")
    return list(named) if named else list(dict.fromkeys(key for mode in behaviour["modes"] for key in mode["metrics"]))


def _difference_row(mode: Mapping[str, Any], order: list[str]) -> Row:
    answers, margins = mode.get("as_good") or {}, mode.get("margin") or {}
    differences = mode["difference"]
    cells = tuple(
        difference_cell(differences.get(metric), as_good=answers.get(metric), margin=margins.get(metric))
        for metric in order
    )
    n = shared_n_text(differences[metric] for metric in order if metric in differences)
    return Row("difference", cells, note=n or "")


def _behaviour_picture(behaviour: Mapping[str, Any]) -> tuple[Picture, ...]:
    experts = {expert["name"]: expert["metrics"] for expert in behaviour.get("experts") or []}
    pairs = [
        Comparison(
            mode=mode["mode"],
            expert=mode["expert"],
            mode_metrics=mode["metrics"],
            expert_metrics=experts[mode["expert"]],
            margins=mode.get("margin") or {},
        )
        for mode in behaviour["modes"]
        if mode.get("expert") in experts
    ]
    if not pairs:
        return ()
    order, units = _metrics_of(behaviour), behaviour.get("units") or {}
    pairs_named = "; ".join(f"mode {pair.mode} beside {pair.expert}" for pair in pairs)
    return (
        drawn(
            "behaviour",
            lambda layout: behaviour_figure(pairs, units, layout, metrics=order),
            alt=f"One panel per metric ({', '.join(order)}), each mode's estimate with its interval below its "
            f"expert's: {pairs_named}. The numbers are in the table above.",
            caption=f"The same numbers drawn: {pairs_named}. The band is the margin around the expert's value; the "
            "answer itself rests on the paired difference in the table.",
        ),
    )


def seen_from_above(record: RunRecord) -> Section | None:
    """Steering in pictures: every mode of the final policy beside its expert, same layout, same seed."""
    modes = sorted(int(key.split("/")[1]) for key in record.paths if key.startswith("mode/") and key[5:].isdigit())
    experts = [key.split("/", 1)[1] for key in record.paths if key.startswith("expert/")]
    if not modes and not experts:
        return None
    match = match_of(record.results) or {}
    rows: list[list[Panel]] = []
    for expert in experts:
        mates = [mode for mode in modes if match.get(mode) == expert]
        rows.append([_expert_panel(record, expert), *(_mode_panel(record, mode) for mode in mates)])
    rest = [_mode_panel(record, mode) for mode in modes if match.get(mode) not in experts]
    if not match:
        rows = [[panel for row in rows for panel in row]] if rows else []
    rows += [rest] if rest else []
    caption = (
        "Blue dots: where goals were. Red dots: hazards, to scale. The line is the robot's path, dark with time, from "
        "the square. All panels start from the same layout, and their goals appear in the same places in the same "
        "order; panels of one row cover the same ground."
    )
    intro = (
        "One policy, one seed, everything else fixed: only the mode that is asked for differs, and each is asked for "
        f"by its context alone{', beside the expert that it matches' if match else ''}."
    )
    counts = "; ".join(f"mode {mode}: {_goals(record, f'mode/{mode}')}" for mode in modes)
    picture = drawn(
        "paths",
        lambda layout: paths_figure(rows, layout),
        alt=f"Top-down paths of {''.join(f'{name}, ' for name in experts)}{counted(len(modes), 'modes')} of the "
        f"policy. In this one rollout {counts}.",
        caption=caption,
    )
    return Section("steering", "Steering, seen from above", (Paragraph(intro), picture))


def _goals(record: RunRecord, panel: str) -> str:
    return counted(int(record.paths[panel].goal_reached.sum()), "goals")


def _expert_panel(record: RunRecord, expert: str) -> Panel:
    return Panel(f"expert {expert}", record.paths[f"expert/{expert}"])


def _mode_panel(record: RunRecord, mode: int) -> Panel:
    return Panel(f"mode {mode}", record.paths[f"mode/{mode}"], color=mode_color(mode))
