"""The run's tables for the terminal: the talk's eight beside the published ones, unbraid's, the behaviour table."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.report.claims import (
    difference_texts,
    headline,
    scores_text,
    search_texts,
    step_text,
    steps_share_text,
)
from unbraid.report.estimates import (
    counted,
    estimate_text,
    interval_text,
    percent_text,
    shared_decimals,
    shared_n_text,
    value_text,
)
from unbraid.report.published import PUBLISHED_GRADIENT_STEPS, PublishedTable, published_by_setting

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["format_tables", "print_results"]


def print_results(results: Mapping[str, Any], console: "Console") -> None:
    """Prints every table of a run's `results.json`, in the order of the page."""
    parts = (_talk_parts, _search_parts, _own_parts, _behaviour_parts, _evaluation_parts, _verdict_parts)
    for part in (part for parts_of in parts for part in parts_of(results)):
        console.print(part)
        console.print()


def format_tables(results: Mapping[str, Any], width: int = 110) -> str:
    """The same as plain text, without colour."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    print_results(results, console)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).strip() + "\n"


def _plain(text: str, style: str = "") -> "Text":
    """Text as it is: brackets in a name are no markup."""
    from rich.text import Text

    return Text(text, style=style)


def _table() -> "Table":
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False)


def _titled(title: str, table: "Table", note: str = "") -> "RenderableType":
    """A table below its title and above its note; both as wide as the terminal, not as the table."""
    from rich.console import Group

    return Group(_plain(title, "bold"), table, *([_plain(note)] if note else []))


def _talk_parts(results: Mapping[str, Any]) -> "list[RenderableType]":
    tables = (results.get("talk") or {}).get("tables") or []
    if not tables:
        return []
    published = published_by_setting()
    experts = results.get("experts") or []
    opening = _plain("The talk's method, repeated: percent of each expert's transitions per code.")
    pairs = [_pair(experts, table, published.get((table["delta_steps"], table["n_modes"]))) for table in tables]
    return [opening, *pairs]


def _pair(experts: Sequence[str], table: Mapping[str, Any], published: PublishedTable | None) -> "RenderableType":
    """One confusion table, the published one to its right where the experts are the same."""
    asked = table.get("published_gradient_steps") or PUBLISHED_GRADIENT_STEPS
    note = f"here: {scores_text(table)}"
    if published is not None:
        note += f"\npublished: NMI {published.nmi:.3f}; purity {published.purity:.3f}; one seed, no interval"
    title = (
        f"K = {table['n_modes']}, time step {table['delta_steps']}: {steps_share_text(table['gradient_steps'], asked)}"
    )
    grid = _table()
    beside = published.percent if published is not None and set(published.percent) == set(experts) else {}
    grid.add_column(_plain("expert"))
    for code in range(table["n_modes"]):
        grid.add_column(_plain(str(code)), justify="right", min_width=4)
    for code in range(table["n_modes"] if beside else 0):
        grid.add_column(_plain(f"published {code}" if code == 0 else str(code)), justify="right", min_width=4)
    for name, shares in zip(_named(experts, table["percent"]), table["percent"], strict=True):
        cells = [percent_text(share) for share in (*shares, *beside.get(name, ()))]
        grid.add_row(_plain(name), *map(_plain, cells))
    return _titled(title, grid, note)


def _named(experts: Sequence[str], rows: Sequence[Any]) -> list[str]:
    return [experts[index] if index < len(experts) else f"expert {index}" for index in range(len(rows))]


def _search_parts(results: Mapping[str, Any]) -> "list[RenderableType]":
    """What the search for modes said, and the numbers of modes that it compared."""
    found = (results.get("unbraid") or {}).get("search")
    if not found:
        return []
    grid = _table()
    for column in ("modes", "gain over one (nats per span)", "the last one adds (± standard error)", "supported"):
        grid.add_column(_plain(column), justify="right")
    for count in found.get("counts") or []:
        added = step_text(count)
        answer = "" if not added else "yes" if count["supported"] else "no"
        grid.add_row(*map(_plain, (str(count["n_modes"]), value_text(count["gain_nats"]), added, answer)))
    said = [*search_texts(found), *(f"warning: {warning}" for warning in found.get("warnings") or [])]
    return [_titled("How many modes", grid, "\n".join(said))]


def _own_parts(results: Mapping[str, Any]) -> "list[RenderableType]":
    own = results.get("unbraid") or {}
    parts: list[RenderableType] = []
    for table in own.get("tables") or []:
        steps = own.get("gradient_steps") if results.get("talk") else None
        share = "" if steps is None else f": {steps_share_text(steps, PUBLISHED_GRADIENT_STEPS)}"
        title = f"unbraid, windows of {counted(table['window_steps'], 'steps')}{share}"
        grid = _table()
        grid.add_column(_plain("expert"))
        for mode in range(len(table["percent"][0])):
            grid.add_column(_plain(str(mode)), justify="right", min_width=4)
        for name, shares in zip(_named(results.get("experts") or [], table["percent"]), table["percent"], strict=True):
            grid.add_row(_plain(name), *(_plain(percent_text(share)) for share in shares))
        parts.append(_titled(title, grid, scores_text(table)))
    if own.get("agreement"):
        parts.append(_agreement(own["agreement"]))
    return parts


def _agreement(entries: Sequence[Mapping[str, Any]]) -> "RenderableType":
    grid = _table()
    for column in ("level", "evidence", "scores"):
        grid.add_column(_plain(column))
    for entry in entries:
        window = entry.get("window_steps")
        level = entry["level"] if window is None else f"{entry['level']}, {counted(window, 'steps')}"
        scores = _plain(scores_text(entry).replace("; ", "\n"))
        grid.add_row(_plain(level), _plain(entry.get("evidence") or ""), scores)
    return _titled("Agreement of unbraid's modes with the experts", grid)


def _behaviour_parts(results: Mapping[str, Any]) -> "list[RenderableType]":
    behaviour = results.get("behaviour") or {}
    modes = behaviour.get("modes") or []
    if not modes:
        return []
    order = list(behaviour.get("metrics") or modes[0]["metrics"])
    units = behaviour.get("units") or {}
    grid = _table()
    grid.add_column(_plain("who acted"))
    for metric in order:
        grid.add_column(_plain(f"{metric}\n({units[metric]})" if units.get(metric) else metric), justify="right")
    experts = {expert["name"]: expert["metrics"] for expert in behaviour.get("experts") or []}
    decimals = shared_decimals((actor["metrics"] for actor in (*modes, *(behaviour.get("experts") or []))), order)
    for mode in modes:
        expert = mode.get("expert")
        grid.add_row(*_metrics_row(f"mode {mode['mode']}", mode["metrics"], decimals))
        if expert in experts:
            grid.add_row(*_metrics_row(f"its expert, {expert}", experts[expert], decimals))
        if mode.get("difference"):
            grid.add_row(*_difference_row(mode, order), end_section=True)
    note = f"In brackets: 95 % intervals{'; a difference is mode minus expert, paired by seed' if experts else ''}."
    return [_titled("Each mode beside its expert" if experts else "What each mode does", grid, note)]


def _metrics_row(name: str, metrics: Mapping[str, Any], decimals: Mapping[str, int]) -> "list[Text]":
    known = {metric: metrics[metric] for metric in decimals if metrics.get(metric) is not None}
    shared = shared_n_text(known.values())
    cells = [_estimate(known.get(metric), places, with_n=shared is None) for metric, places in decimals.items()]
    return [_plain(f"{name}\n{shared}" if shared else name), *map(_plain, cells)]


def _estimate(quantity: Any, decimals: int, *, with_n: bool) -> str:
    if quantity is None:
        return "not measured"
    if with_n:
        return estimate_text(quantity, decimals).replace(" [", "\n[").replace("], ", "]\n")
    return f"{value_text(quantity, decimals)}\n{interval_text(quantity, decimals)}".strip()


def _difference_row(mode: Mapping[str, Any], order: Sequence[str]) -> "list[Text]":
    answers, margins = mode.get("as_good") or {}, mode.get("margin") or {}
    cells: list[Text] = []
    for metric in order:
        given = mode["difference"].get(metric)
        texts = difference_texts(given, as_good=answers.get(metric), margin=margins.get(metric))
        cells.append(_plain("\n".join(part for part in texts or ("not estimable",) if part)))
    n = shared_n_text(mode["difference"][metric] for metric in order if metric in mode["difference"])
    return [_plain(f"difference\n{n}" if n else "difference"), *cells]


def _evaluation_parts(results: Mapping[str, Any]) -> "list[RenderableType]":
    """Every actor's episodes in figures, and every expert's mode over training seeds."""
    evaluation = results.get("evaluation") or {}
    parts: list[RenderableType] = []
    units = evaluation.get("units") or {}
    for actor in evaluation.get("actors") or []:
        grid = _table()
        for column in ("metric", "mean", "median", "interquartile mean"):
            justify = "left" if column == "metric" else "right"
            grid.add_column(_plain(column), justify=justify, no_wrap=column == "metric")
        for metric, summary in actor["summary"].items():
            cells = [_with_interval(summary[kind]) for kind in ("mean", "median", "iqm")]
            grid.add_row(*map(_plain, (_of_unit(metric, units), *cells)))
        n = shared_n_text(summary["mean"] for summary in actor["summary"].values())
        parts.append(_titled(f"Episodes of {actor['name']}" + (f", {n}" if n else ""), grid))
    if parts:
        note = "In brackets: 95 % intervals; a figure without has none that is estimable from so few episodes."
        parts.append(_plain(f"{note} evaluation.csv in the run's folder has every episode."))
    across = evaluation.get("training_seeds") or []
    if across:
        grid = _table()
        grid.add_column(_plain("metric"))
        for entry in across:
            grid.add_column(_plain(f"mode of {entry['expert']}"), justify="right")
        for metric in dict.fromkeys(metric for entry in across for metric in entry["metrics"]):
            cells = [_over_seeds(entry["metrics"], metric) for entry in across]
            grid.add_row(*map(_plain, (_of_unit(metric, units), *cells)))
        n = shared_n_text(quantity for entry in across for quantity in entry["metrics"].values())
        parts.append(_titled("Over training seeds" + (f", {n}" if n else ""), grid))
    return parts


def _over_seeds(metrics: Mapping[str, Any], metric: str) -> str:
    if not metrics:
        return "no mode in some run"
    return _with_interval(metrics[metric]) if metric in metrics else "not measured"


def _of_unit(metric: str, units: Mapping[str, str]) -> str:
    return f"{metric} ({units[metric]})" if units.get(metric) else metric


def _with_interval(quantity: Mapping[str, Any]) -> str:
    """The value and its interval; the value alone where no interval is estimable, as the note below says."""
    known = quantity["low"] is not None and quantity["high"] is not None
    return f"{value_text(quantity)} {interval_text(quantity)}" if known else value_text(quantity)


def _verdict_parts(results: Mapping[str, Any]) -> "list[RenderableType]":
    words = {True: "holds", False: "does not hold", None: "not judged"}
    lines = [f"{words[verdict.get('holds')]}: {verdict['text']}" for verdict in results.get("verdicts") or []]
    return [_plain("\n".join([headline(results), *(f"  {line}" for line in lines)]), "bold" if not lines else "")]
