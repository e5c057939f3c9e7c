"""What each mode is like: how much it holds, which episodes to look at, and how the columns that tell most run."""

from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.report.chapters.building import drawn, estimate_cell
from unbraid.report.estimates import counted, in_percent
from unbraid.report.profiles import profiles_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Cell, Paragraph, Picture, Row, Section, Table
from unbraid.report.style import mode_color

__all__ = ["portraits"]

_MEASURED = {"steps": 0, "return": None, "cost": None}
"""Estimates of an episode, with their decimals."""
_MOST_DRAWN = 12


def portraits(record: RunRecord) -> Section | None:
    """Each mode as its demonstrations show it; None where the run did not look."""
    found = record.unbraid.get("portraits")
    if not found:
        return None
    unit = found["unit"]
    long = f" of {found['least_steps']} steps and more, or the longest of their mode," if "least_steps" in found else ""
    blocks: list[Block] = [
        Paragraph(
            f"Read off {counted(found['n'], unit)}{long} that the fit learned from. A mode is what its {unit} have in "
            "common; it has no name until somebody gives it one. "
            "The studio (unbraid studio RUN --demos DATA) plays every episode, and keeps the names."
        ),
        _table(found["modes"], unit),
    ]
    drawable = [mode for mode in found["modes"] if "profile" in mode]
    if drawable:
        blocks.append(_picture(drawable, found["columns"], unit))
    return Section("portraits", "What each mode is like", tuple(blocks))


def _table(modes: Sequence[Mapping[str, Any]], unit: str) -> Table:
    measured = [name for name in _MEASURED if any(name in mode for mode in modes)]
    examples = [name for name in ("typical", "borderline") if any(name in mode for mode in modes)]
    rows = tuple(
        Row(
            f"mode {mode['mode']}",
            (
                estimate_cell(in_percent(mode["share"]), 0),
                *(estimate_cell(mode[name], _MEASURED[name]) if name in mode else Cell("none") for name in measured),
                *(Cell(", ".join(map(str, mode.get(name, []))) or "none") for name in examples),
            ),
            note=f"n = {counted(mode['n'], unit)}",
            swatch=mode_color(mode["mode"]),
        )
        for mode in modes
    )
    share = "share of the episodes (%)" if unit == "episodes" else "share of an episode's steps (%)"
    numbers = " Episodes are counted from 0, as the data has them. Typical: as likely under their mode as its median "
    numbers += "episode is. Borderline: read with the least certainty, then the least likely."
    return Table(
        caption="The modes",
        corner="mode",
        columns=(share, *(f"{name}, mean of {unit}" for name in measured), *(f"{name} episodes" for name in examples)),
        rows=rows,
        note=f"In brackets: 95 % intervals over {unit if unit == 'episodes' else 'episodes, or stretches'}."
        + (numbers if examples else ""),
    )


def _but_for(n_modes: int, unit: str) -> str:
    return f" Not drawn: {counted(n_modes, 'modes')} of the fewest {unit}." if n_modes else ""


def _picture(modes: Sequence[Mapping[str, Any]], columns: Sequence[str], unit: str) -> Picture:
    largest = sorted(modes, key=lambda mode: -mode["n"])[:_MOST_DRAWN]
    shown, n_modes = sorted(largest, key=lambda mode: mode["mode"]), len(modes)
    x = "step of the episode" if unit == "episodes" else "steps in the mode"
    ends = "; ".join(
        f"mode {mode['mode']}: "
        + ", ".join(
            f"{name} from {run['mean'][0]:.3g} to {run['mean'][-1]:.3g}"
            for name, run in zip(columns, mode["profile"]["columns"], strict=True)
        )
        for mode in shown
    )
    which = counted(len(columns), "columns")
    return drawn(
        "profiles",
        lambda layout: profiles_figure(shown, columns, layout, x=x),
        alt=f"{which} over time in each mode; means at the beginning and the end: {ends}.",
        caption=f"How {which} of observations and actions run in each mode: of those that say most about the mode of a "
        f"single step, one of each sensor first. The thin line is the most typical of the mode's {unit}; the others "
        f"are of all of them, and end where fewer than a fifth go on.{_but_for(n_modes - len(shown), unit)}",
    )
