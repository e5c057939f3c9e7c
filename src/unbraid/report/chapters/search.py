"""What the search for modes said: how many there are, how sure that is, and what tells them apart. Reads no label."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unbraid.report.chapters.building import drawn
from unbraid.report.claims import again_text, changes_text, step_text, within_text
from unbraid.report.estimates import SCORE_DECIMALS, counted, decimals_of, percent_text, value_text
from unbraid.report.figures import mode_counts_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import (
    Block,
    Cell,
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

__all__ = ["search"]

_ONE_SEARCH = "A number of this one search: no interval"


def search(record: RunRecord) -> Section | None:
    """How many modes the evidence supports, and what tells them apart; None where no search was made."""
    found: dict[str, Any] = record.unbraid.get("search") or {}
    if not found:
        return None
    unit, units = _unit(found, record.config)
    found = found | {"unit": unit, "units": units}
    intro = (
        f"Before the policy learns, a search puts every {unit} (every span, in its own words) into a mode: {units} "
        "belong together when one simple model predicts what is done in them and where it leads. It reads no label. "
        f"Numbers of modes are compared by how well they predict {units} that they were not fitted on: each half of "
        f"the {units} is predicted by what the other half taught."
    )
    intro += _UNITS_TOLD.get(unit, "")
    several = found["n_modes"] > 1
    blocks: list[Block] = [Paragraph(intro), _verdicts(found)]
    if several:
        blocks.append(KeyNumbers(_key_numbers(found)))
    if found.get("counts"):
        blocks += [_counts_picture(found), _counts_table(found)]
    if several and found.get("gain_of_kind_nats"):
        blocks.append(_evidence_table(found))
    if several:
        blocks.append(_shares_table(found))
    return Section("search", "How many modes, and what tells them apart", tuple(blocks))


def _verdicts(found: Mapping[str, Any]) -> Verdicts:
    """The verdict, whether experts change within an episode or a mode's episodes differ, and the search's warnings."""
    n_modes, n_supported = found["n_modes"], found["n_supported"]
    answer = "supported" if n_modes == n_supported else "too few" if n_modes < n_supported else "too many"
    verdict = Verdict(found["verdict"], n_modes == n_supported, answer=answer)
    if not found.get("is_decided", True):
        verdict = Verdict(found["verdict"], None, answer="not decided")
    told = [verdict]
    if changes := found.get("changes"):
        told.append(Verdict(changes_text(changes), None, "seen" if changes["n_changes"] else "none seen"))
    if (within := found.get("within")) and within["is_modelled"]:
        told.append(Verdict(within_text(within), None, "seen"))
    told += [Verdict(warning, False, answer="warning") for warning in found.get("warnings") or []]
    return Verdicts(tuple(told))


_UNITS_TOLD = {
    "stretch": " Experts change within an episode here: a stretch lies between two changes.",
    "window": " As was asked (sharing window), windows of 10 steps share a mode here, not whole episodes.",
}


def _unit(found: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, str]:
    """What the search put into modes: one of them, and several."""
    if config.get("sharing") == "window":
        return "window", "windows"
    changing = (found.get("changes") or {}).get("n_changes")
    return ("stretch", "stretches") if changing else ("episode", "episodes")


def _key_numbers(found: Mapping[str, Any]) -> tuple[KeyNumber, ...]:
    n_modes, unit = found["n_modes"], found["unit"]
    gain = next((count["gain_nats"] for count in found.get("counts") or [] if count["n_modes"] == n_modes), None)
    return (
        KeyNumber(
            "Held-out gain over one mode",
            value_text(gain),
            f"nats per {unit}: how much better {n_modes} modes predict a left-out {unit} than one does; "
            f"n = {counted(found['n_spans'], found['units'])}; the table has standard errors of what modes add",
        ),
        KeyNumber(
            "Sureness of the number",
            value_text(found.get("sureness_standard_errors"), 1),
            "standard errors between what the last supported mode adds and nothing",
        ),
        KeyNumber(
            "Stability over starts",
            value_text(found.get("stability"), SCORE_DECIMALS),
            "adjusted Rand index of these modes with what other starts of the search led to; 1: the same, 0: by "
            f"chance. {_ONE_SEARCH}",
        ),
        KeyNumber(
            "Silhouette",
            value_text(found.get("silhouette"), SCORE_DECIMALS),
            f"how much closer one {unit} lies to its own mode than to the next; 1: far apart, 0: on the border. "
            f"{_ONE_SEARCH}",
        ),
        KeyNumber(
            "Perplexity of the shares",
            f"{found['perplexity']:.2f} of {n_modes}",
            f"the number of modes of equal size that would be used as evenly as these. {_ONE_SEARCH}",
        ),
    )


def _counts_picture(found: Mapping[str, Any]) -> Picture:
    counts, n_modes, n_supported = found["counts"], found["n_modes"], found["n_supported"]
    gains = _alike(count["gain_nats"] for count in counts)
    spoken = "; ".join(
        f"{counted(count['n_modes'], 'modes')} {gain}" for count, gain in zip(counts, gains, strict=True)
    )
    return drawn(
        "mode_counts",
        lambda layout: mode_counts_figure(
            counts, layout, n_chosen=n_modes, n_supported=n_supported, unit=found["unit"]
        ),
        alt=f"Held-out gain over one mode, in nats per {found['unit']}, against the number of modes: {spoken}. "
        f"This model has {n_modes}; the evidence supports {n_supported}.",
        caption=f"How much better more modes predict left-out {found['units']} than one does. Where the curve goes "
        "flat, a further mode only splits a behaviour. Bars: one standard error, either way, of what the last mode "
        "adds.",
    )


def _counts_table(found: Mapping[str, Any]) -> Table:
    counts, unit, units = found["counts"], found["unit"], found["units"]
    gains = _alike(count["gain_nats"] for count in counts)
    with_stability = any(count.get("stability") is not None for count in counts)
    with_again = any(count.get("again_nats") is not None for count in counts)
    rows = tuple(
        Row(
            counted(count["n_modes"], "modes"),
            (
                Cell(gain),
                _step_cell(count),
                *((Cell(again_text(count) or "not asked"),) if with_again else ()),
                _answer_cell(count),
                *((Cell(value_text(count.get("stability"), SCORE_DECIMALS)),) if with_stability else ()),
            ),
            note="this model" if count["n_modes"] == found["n_modes"] else "",
        )
        for count, gain in zip(counts, gains, strict=True)
    )
    return Table(
        caption="The numbers of modes that were compared",
        corner="how many",
        columns=(
            f"gain over one mode (nats per {unit})",
            f"the last one adds (nats per {unit})",
            *((f"found again without them (nats per {unit})",) if with_again else ()),
            "is it supported?",
            *(("stability over starts (ARI)",) if with_stability else ()),
        ),
        rows=rows,
        note=f"A mode is supported when it predicts left-out {units} better than one mode fewer does, by clearly more "
        f"than the standard error (after ±) and than a trifle of the whole gain. The mean of all {units} must say so, "
        "or the mean without the tenth that gain most and the tenth that gain least (trimmed). Where it is not plain, "
        f"modes are found again from a part of the {units}, and must gain on the others, which that search has not "
        "seen. Gains over one mode are sums of such steps, and stability is of this one search: neither has an "
        f"interval of its own. n = {counted(found['n_spans'], units)}.",
    )


def _alike(gains: Iterable[float | int]) -> list[str]:
    """Numbers of one column, all with the decimals that the largest of them needs."""
    known = list(gains)
    decimals = min(map(decimals_of, known))
    return [value_text(gain, decimals) for gain in known]


def _step_cell(count: Mapping[str, Any]) -> Cell:
    return Cell(step_text(count) or ("" if count["n_modes"] == 1 else "not compared"))


def _answer_cell(count: Mapping[str, Any]) -> Cell:
    if count.get("step_nats") is None:
        return Cell("" if count["n_modes"] == 1 else "not compared")
    return Cell("yes", tone="good") if count["supported"] else Cell("no")


def _evidence_table(found: Mapping[str, Any]) -> Table:
    gains: Mapping[str, float | int] = found["gain_of_kind_nats"]
    unit = found["unit"]
    total = sum(gains.values())
    rows = tuple(
        Row(_kind_text(kind), (Cell(text), _part_cell(gain, total)))
        for (kind, gain), text in zip(gains.items(), _alike(gains.values()), strict=True)
    )
    return Table(
        caption="What tells the modes apart",
        corner="kind of evidence",
        columns=(f"gain over one mode (nats per {unit})", "part of the sum"),
        rows=rows,
        note=f"How much better each kind of evidence of a left-out {unit} is predicted by the {unit}'s own mode than "
        "by one mode for all. A kind below 0 does not tell them apart. Means of this one search, without an interval. "
        f"n = {counted(found['n_spans'], found['units'])}.",
    )


def _part_cell(gain: float | int, total: float | int) -> Cell:
    if total <= 0:
        return Cell("not estimable")
    percent = 100.0 * gain / total
    return Cell(f"{percent_text(percent) if percent > 0 else value_text(percent, 0)} %", heat_percent=max(percent, 0.0))


def _kind_text(kind: str) -> str:
    """A kind of evidence in plain words: "transitions over 100 steps" -> "where it leads over 100 steps"."""
    over = re.fullmatch(r"transitions over (\d+) steps?", kind)
    if over:
        return f"where it leads over {counted(int(over[1]), 'steps')}"
    return {"actions": "what is done", "transitions to the end": "where it leads by the end"}.get(kind, kind)


def _shares_table(found: Mapping[str, Any]) -> Table:
    groups: Sequence[int] = found.get("merge_into") or range(found["n_modes"])
    merging = len(set(groups)) < len(groups)
    read: Sequence[float | int] = found.get("encoder_shares") or []
    due: Sequence[float | int] = found.get("window_shares") or []  # older runs do not say
    units = found["units"]
    rows = tuple(
        Row(
            f"mode {mode}",
            (
                *(
                    Cell(f"{percent_text(100.0 * part)} %", heat_percent=100.0 * part)
                    for part in (share, *due[mode:][:1], *read[mode:][:1])
                ),
                *((_apart_cell(mode, groups),) if merging else ()),
            ),
            swatch=mode_color(mode),
        )
        for mode, share in enumerate(found["shares"])
    )
    return Table(
        caption=f"How the {units} are shared out",
        corner="mode",
        columns=(
            f"share of the {units}",
            *(("share of 25-step windows that it holds",) if due else ()),
            *(("share of 25-step windows that the encoder reads so",) if read else ()),
            *(("told apart from the others?",) if merging else ()),
        ),
        rows=rows,
        note=f"A mode with hardly any {units} is one odd {found['unit']} or none; a policy can learn little from it."
        + (_read_text(units, with_due=bool(due)) if read else "")
        + f" Shares of n = {counted(found['n_spans'], units)}, all of which are counted: they have no interval.",
    )


def _read_text(units: str, *, with_due: bool) -> str:
    """What the encoder's shares are to be held against."""
    if with_due:
        return " Where the encoder reads a mode in far fewer windows than it holds, its code has collapsed."
    return (
        " Where the encoder reads a mode much less than it holds, its code has collapsed; but a mode of short "
        f"{units} has few windows, too."
    )


def _apart_cell(mode: int, groups: Sequence[int]) -> Cell:
    others = [str(other) for other, group in enumerate(groups) if group == groups[mode] and other != mode]
    if not others:
        return Cell("yes", tone="good")
    return Cell(f"not from mode{'' if len(others) == 1 else 's'} {', '.join(others)}", tone="bad")
