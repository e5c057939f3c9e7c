"""The talk's experiment, repeated: its tables beside the published ones, its sizes, its modes in the environment."""

from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.report.chapters.building import confusion_table, drawn, metrics_row
from unbraid.report.claims import scores_text, steps_share_text
from unbraid.report.estimates import as_estimate, counted, shared_decimals, spelled
from unbraid.report.figures import Curve, curves_figure
from unbraid.report.paths import Panel, paths_figure
from unbraid.report.published import PUBLISHED_GRADIENT_STEPS, PublishedTable, published_by_setting, published_source
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Card, Cards, Paragraph, Section, Table
from unbraid.report.style import mode_color

__all__ = ["talk_repeated"]

_STAGES = {"first_epoch": "after the first epoch", "midway": "midway", "end": "at the end"}


def talk_repeated(record: RunRecord) -> Section | None:
    """The talk's method on these demonstrations; None where the run did not repeat it."""
    talk = record.talk
    if not talk:
        return None
    objective = f" with the objective “{talk['objective']}”" if talk.get("objective") else ""
    preset = f" Its networks here: {talk['preset']}." if talk.get("preset") else ""
    intro = (
        f"The talk encodes state transitions with a VQ-VAE, and trains a policy on the distances to its codes"
        f"{objective}.{preset} Each table says how the experts' transitions fall on the codes: an expert with codes of "
        "its own would be told apart. Which code has which number is arbitrary."
    )
    sections = (_tables(record), _published_sizes(record), _in_the_world(record))
    return Section(
        "talk",
        "The talk's experiment, repeated",
        (Paragraph(intro),),
        tuple(section for section in sections if section is not None),
    )


def _tables(record: RunRecord) -> Section | None:
    tables = record.talk.get("tables")
    if not tables:
        return None
    published = published_by_setting()
    cards = tuple(
        _pair(record.experts, table, published.get((table["delta_steps"], table["n_modes"]))) for table in tables
    )
    note = (
        f"Published: {published_source()} Its NMI and purity are computed from its tables, without intervals: it gives "
        "one seed."
    )
    title = f"{spelled(len(cards))} table{'' if len(cards) == 1 else 's'} beside the published"
    return Section("talk-tables", title, (Cards(cards), Paragraph(note, tone="note")))


def _pair(experts: Sequence[str], table: Mapping[str, Any], published: PublishedTable | None) -> Card:
    asked = table.get("published_gradient_steps") or PUBLISHED_GRADIENT_STEPS
    seconds = "" if table.get("seconds") is None else f"; {table['seconds']:.0f} s"
    note = scores_text(table)
    here = confusion_table("here", experts, table["percent"], note=note, counts=table.get("counts"))
    return Card(
        title=f"K = {table['n_modes']} codes, time step {table['delta_steps']}",
        subtitle=f"{steps_share_text(table['gradient_steps'], asked)}{seconds}",
        tables=(here, *([_published_table(experts, published)] if published else [])),
    )


def _published_table(experts: Sequence[str], table: PublishedTable) -> Table:
    """A published table, its rows in this run's order of experts where they are the same ones."""
    names = experts if set(experts) == set(table.percent) else tuple(table.percent)
    note = f"NMI {table.nmi:.3f}; purity {table.purity:.3f}; one seed, 100 transitions per expert, no interval"
    return confusion_table("published", names, [table.percent[name] for name in names], note=note)


def _published_sizes(record: RunRecord) -> Section | None:
    """The same at the published sizes and steps, which took hours, not minutes, and so was run beforehand."""
    sizes = record.talk.get("published_sizes")
    if not sizes:
        return None
    published = published_by_setting()
    cards = tuple(
        _published_sizes_card(record.experts, sizes, run, published.get((run["delta_steps"], sizes["n_modes"])))
        for run in sizes["runs"]
    )
    blocks: list[Block] = [
        Paragraph(
            "Is it the short training? The same method was also trained once at the published sizes "
            f"(K = {sizes['n_modes']}), for {steps_share_text(sizes['gradient_steps'], PUBLISHED_GRADIENT_STEPS)}. "
            "That run is part of the package, not of this one."
        )
    ]
    if sizes.get("verdict"):
        blocks.append(Paragraph(f"What it says: {sizes['verdict']}"))
    curves = [_curve(run) for run in sizes["runs"] if run.get("curve")]
    deltas = dict.fromkeys(run["delta_steps"] for run in sizes["runs"])
    matching = {delta: published[delta, sizes["n_modes"]] for delta in deltas if (delta, sizes["n_modes"]) in published}
    levels = [
        Curve(f"published, time step {delta}", ((0, table.nmi),), mode_color(int(delta != 1)))
        for delta, table in matching.items()
    ]
    if curves:
        blocks.append(
            drawn(
                "talk_published_sizes",
                lambda layout: curves_figure(curves, levels, layout),
                alt=f"NMI against gradient steps for {counted(len(curves), 'fits')} at the published sizes; "
                "the last values are in the tables below.",
                caption="Agreement with the experts while the talk's method trains at its published sizes.",
            )
        )
    return Section("talk-published-sizes", "At the published sizes", (*blocks, Cards(cards)))


def _curve(run: Mapping[str, Any]) -> Curve:
    points = tuple((point["step"], as_estimate(point["nmi"])["value"]) for point in run["curve"])
    delta, seed = run["delta_steps"], run["seed"]
    return Curve(f"time step {delta}, seed {seed}", points, mode_color(int(delta != 1)), dashed=bool(seed))


def _published_sizes_card(
    experts: Sequence[str], sizes: Mapping[str, Any], run: Mapping[str, Any], published: PublishedTable | None
) -> Card:
    steps = steps_share_text(run.get("gradient_steps") or sizes["gradient_steps"], PUBLISHED_GRADIENT_STEPS)
    seconds = "" if run.get("seconds") is None else f"; {run['seconds'] / 60.0:.0f} min"
    table = confusion_table("here", experts, run["percent"], note=scores_text(run), counts=run.get("counts"))
    tables = (table, *([_published_table(experts, published)] if published else []))
    return Card(f"Time step {run['delta_steps']}, seed {run['seed']}", f"{steps}{seconds}", tables)


def _in_the_world(record: RunRecord) -> Section | None:
    """What the talk's modes do in the environment while their policy trains."""
    split = [key.split("/") for key in record.paths]
    keys = [key for key in split if len(key) == 3 and key[0] == "talk" and key[2].isdigit()]
    stages = sorted({key[1] for key in keys}, key=_stage_order)
    blocks: list[Block] = []
    if stages:
        rows = [
            [_panel(record, stage, mode) for mode in sorted(int(key[2]) for key in keys if key[1] == stage)]
            for stage in stages
        ]
        said = ", ".join(_STAGES.get(stage, stage) for stage in stages)
        goals = "; ".join(
            f"{panel.title} {panel.note}: {counted(int(panel.path.goal_reached.sum()), 'goals')}"
            for row in rows
            for panel in row
        )
        blocks.append(
            drawn(
                "talk_paths",
                lambda layout: paths_figure(rows, layout),
                alt=f"Top-down paths of the talk's modes {said}. {goals}.",
                caption=f"The talk's modes {said} of training, steered by its not-hot context, on the layout and "
                "seed of the pictures above. Panels of one row cover the same ground.",
            )
        )
    actors = record.behaviour.get("talk_modes") or []
    if actors:
        blocks.append(_behaviour(record.behaviour, actors))
    return Section("talk-steering", "Its modes in the environment", tuple(blocks)) if blocks else None


def _panel(record: RunRecord, stage: str, mode: int) -> Panel:
    path = record.paths[f"talk/{stage}/{mode}"]
    return Panel(f"mode {mode}", path, note=_STAGES.get(stage, stage), color=mode_color(mode))


def _stage_order(stage: str) -> tuple[int, str]:
    known = list(_STAGES)
    return (known.index(stage) if stage in known else len(known), stage)


def _behaviour(behaviour: Mapping[str, Any], actors: Sequence[Mapping[str, Any]]) -> Table:
    units = behaviour.get("units") or {}
    experts = behaviour.get("experts") or []
    decimals = shared_decimals(
        (actor["metrics"] for actor in (*actors, *experts)), behaviour.get("metrics") or actors[0]["metrics"]
    )
    rows = [
        metrics_row(
            f"mode {actor['mode']}, {_STAGES.get(actor.get('stage', 'end'), actor.get('stage', ''))}",
            actor["metrics"],
            decimals,
            swatch=mode_color(actor["mode"]),
        )
        for actor in actors
    ]
    rows += [metrics_row(f"expert {expert['name']}", expert["metrics"], decimals) for expert in experts]
    return Table(
        caption="What the talk's modes do, and the experts beside them",
        corner="who acted",
        columns=tuple(f"{metric} ({units[metric]})" if units.get(metric) else metric for metric in decimals),
        rows=tuple(rows),
        note="In brackets: 95 % intervals.",
    )
