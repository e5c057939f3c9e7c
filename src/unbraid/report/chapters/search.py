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


def search(record: RunRecord) -> Section | None:
    """How many modes the evidence supports, and what tells them apart; None where no search was made."""
    found = record.unbraid.get("search")
    if not found:
        return None
    intro = (
        "Before the policy learns, a search puts every episode (every span, in its own words) into a mode: episodes "
        "belong together when one simple model predicts what is done in them and where it leads. It reads no label. "
        "Numbers of modes are compared by how well they predict episodes that they were not fitted on: each half of "
        "the episodes is predicted by what the other half taught."
    )
    if _spans(found) == "stretches":
        intro += " Experts change within an episode here: an episode of this chapter is a stretch between two changes."
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


def _spans(found: Mapping[str, Any]) -> str:
    """What the search put into modes."""
    return "stretches" if (found.get("changes") or {}).get("n_changes") else "episodes"


def _key_numbers(found: Mapping[str, Any]) -> tuple[KeyNumber, ...]:
    n_modes = found["n_modes"]
    gain = next((count["gain_nats"] for count in found.get("counts") or [] if count["n_modes"] == n_modes), None)
    return (
        KeyNumber(
            "Held-out gain over one mode",
            value_text(gain),
            f"nats per episode: how much better {n_modes} modes predict an episode than one does; "
            f"n = {counted(found['n_spans'], _spans(found))}",
        ),
        KeyNumber(
            "Sureness of the number",
            value_text(found.get("sureness_standard_errors"), 1),
            "standard errors between what the last supported mode adds and nothing",
        ),
        KeyNumber(
            "Stability over starts",
            value_text(found.get("stability"), SCORE_DECIMALS),
            "adjusted Rand index of these modes with what other starts of the search led to; 1: the same, 0: by chance",
        ),
        KeyNumber(
            "Silhouette",
            value_text(found.get("silhouette"), SCORE_DECIMALS),
            "how much closer an episode lies to its own mode than to the next; 1: far apart, 0: on the border",
        ),
        KeyNumber(
            "Perplexity of the shares",
            f"{found['perplexity']:.2f} of {n_modes}",
            "the number of modes of equal size that would be used as evenly as these",
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
        lambda layout: mode_counts_figure(counts, layout, n_chosen=n_modes, n_supported=n_supported),
        alt=f"Held-out gain over one mode, in nats per episode, against the number of modes: {spoken}. "
        f"This model has {n_modes}; the evidence supports {n_supported}.",
        caption="How much better more modes predict left-out episodes than one does. Where the curve goes flat, a "
        "further mode only splits a behaviour. Bars: one standard error, either way, of what the last mode adds.",
    )


def _counts_table(found: Mapping[str, Any]) -> Table:
    counts = found["counts"]
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
            "gain over one mode (nats per episode)",
            "the last one adds (nats per episode)",
            *(("found again without them (nats per episode)",) if with_again else ()),
            "is it supported?",
            *(("stability over starts (ARI)",) if with_stability else ()),
        ),
        rows=rows,
        note="A mode is supported when it predicts left-out episodes better than one mode fewer does, by clearly more "
        "than the standard error (after ±) and than a trifle of the whole gain. The mean of all episodes must say so, "
        "or the mean without the tenth that gain most and the tenth that gain least (trimmed). Where it is not plain, "
        "modes are found again from a part of the episodes, and must gain on the others, which that search has not "
        "seen. n = "
        f"{counted(found['n_spans'], _spans(found))}.",
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
    total = sum(gains.values())
    rows = tuple(
        Row(_kind_text(kind), (Cell(text), _part_cell(gain, total)))
        for (kind, gain), text in zip(gains.items(), _alike(gains.values()), strict=True)
    )
    return Table(
        caption="What tells the modes apart",
        corner="kind of evidence",
        columns=("gain over one mode (nats per episode)", "part of the sum"),
        rows=rows,
        note="How much better each kind of evidence of a left-out episode is predicted by the episode's own mode than "
        "by one mode for all. A kind below 0 does not tell them apart. n = "
        f"{counted(found['n_spans'], _spans(found))}.",
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
    rows = tuple(
        Row(
            f"mode {mode}",
            (
                *(
                    Cell(f"{percent_text(100.0 * part)} %", heat_percent=100.0 * part)
                    for part in (share, *read[mode:][:1])
                ),
                *((_apart_cell(mode, groups),) if merging else ()),
            ),
            swatch=mode_color(mode),
        )
        for mode, share in enumerate(found["shares"])
    )
    return Table(
        caption="How the episodes are shared out",
        corner="mode",
        columns=(
            "share of the episodes",
            *(("share of 25-step windows that the encoder reads so",) if read else ()),
            *(("told apart from the others?",) if merging else ()),
        ),
        rows=rows,
        note="A mode with hardly any episodes is one odd episode or none; a policy can learn little from it."
        + (" Where the encoder reads a mode much less than it holds, its code has collapsed." if read else ""),
    )


def _apart_cell(mode: int, groups: Sequence[int]) -> Cell:
    others = [str(other) for other, group in enumerate(groups) if group == groups[mode] and other != mode]
    if not others:
        return Cell("yes", tone="good")
    return Cell(f"not from mode{'' if len(others) == 1 else 's'} {', '.join(others)}", tone="bad")
