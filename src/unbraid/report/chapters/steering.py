"""Whether modes do what they are asked for, and what is guaranteed of them."""

import shlex
from collections.abc import Mapping
from typing import Any

from unbraid.report.chapters.building import estimate_cell
from unbraid.report.estimates import counted, estimate_text
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Cell, Facts, Paragraph, Row, Section, Table, Verdict, Verdicts
from unbraid.report.style import mode_color

__all__ = ["certificates", "obedience"]

_HOLDS = {"holds": True, "refuted": False, "not decided": None}


def obedience(record: RunRecord) -> Section | None:
    """How often rollouts of a mode are read as that mode; None where nothing was rolled out for long enough."""
    found = record.behaviour.get("obedience")
    if not found:
        return None
    windows = f"windows of {counted(found['window_steps'], 'steps')}"
    told = Paragraph(
        "Every mode was asked for, by its not-hot context alone, and what the policy did was read again as if it were "
        f"a demonstration: by the encoder alone, in {windows}. Beside it, how often the expert's own rollouts are read "
        "as its mode: no policy can be expected to obey more than that."
    )
    table = Table(
        caption="Windows that are read as the mode that was asked for",
        corner="asked for",
        columns=("all windows", "first tenth", "last tenth with any", "the expert's own"),
        rows=tuple(_obeyed_row(entry) for entry in found["modes"]),
        note="Shares, in brackets 95 % intervals over episodes that have such windows. A window counts in the tenth of "
        "the longest episode in which it begins; where windows are long, none begins in the last ones.",
    )
    return Section("obedience", "Does it obey?", (told, table))


def _obeyed_row(entry: Mapping[str, Any]) -> Row:
    over_time = [part for part in entry["over_time"] if part is not None]
    known = entry["expert_share"]
    own = Cell("no expert is matched") if known is None else estimate_cell(known, 3, with_n=True)
    shares = (entry["share"], over_time[0], over_time[-1])
    cells = (*(estimate_cell(share, 3, with_n=True) for share in shares), own)
    name = f"mode {entry['mode']}"
    return Row(name, cells, note=entry["expert"] or "", swatch=mode_color(entry["mode"]))


def certificates(record: RunRecord) -> Section | None:
    """What was claimed of the modes with a guarantee, and what became of it; None where nothing was certified."""
    found = record.results.get("certificates")
    if not found:
        return None
    sections = tuple(_certificate(number, entry) for number, entry in enumerate(found))
    told = Paragraph(
        "Each of these claims was decided by a test whose error is bounded, however many episodes it took: the "
        "probability that any answer of a certificate is wrong is at most the alpha beside it. A claim that was not "
        "decided is neither true nor false."
    )
    return Section("certificates", "What is guaranteed", (told,), sections)


def _certificate(number: int, entry: Mapping[str, Any]) -> Section:
    verdicts = tuple(
        Verdict(
            _with_estimates(result),
            _HOLDS[result["answer"]],
            answer=result["answer"],
        )
        for result in entry["results"]
    )
    episodes = "; ".join(f"{actor}: {counted(n, 'episodes')}" for actor, n in entry["episodes"].items())
    cut = entry.get("max_steps")
    file = shlex.quote(entry["file"])
    own = entry.get("within_run", "/" not in entry["file"])
    facts = (
        ("environment", entry["env_id"]),
        *((("episodes are cut after", counted(cut, "steps")),) if cut is not None else ()),
        ("alpha", f"{entry['alpha']:g}"),
        ("episodes", episodes),
        ("weights, SHA-256", entry["weights_sha256"]),
        ("see for yourself", f"unbraid certify RUN --verify {'RUN/' if own else ''}{file} --replay"),
    )
    blocks: tuple[Block, ...] = (Verdicts(verdicts), Facts(facts))
    return Section(f"certificate-{number}", entry["file"], blocks)


def _with_estimates(result: Mapping[str, Any]) -> str:
    """The claim, after how many episodes it was answered, and what was estimated."""
    answered, _, claim = result["sentence"].partition(": ")
    said = "; ".join(f"{name} {estimate_text(estimate)}" for name, estimate in result["estimates"].items())
    return f"{claim}{answered.removeprefix(result['answer'])}{f' ({said})' if said else ''}"
