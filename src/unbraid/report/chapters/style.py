"""What varies between demonstrations of one mode, and what the policy does where it is swept. Reads no label."""

from typing import Any

from unbraid.report.chapters.building import drawn, estimate_cell
from unbraid.report.estimates import counted, value_text
from unbraid.report.figures import style_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Cell, Paragraph, Picture, Row, Section, Table
from unbraid.report.style import mode_color

__all__ = ["style"]

_ONE = {"episodes": "episode", "stretches": "stretch of one mode"}


def style(record: RunRecord) -> Section | None:
    """The style swept, mode by mode, beside held-out episodes; None where the model has no styles."""
    found = record.unbraid.get("style")
    if not found:
        return None
    unit = found.get("unit", "episodes")
    blocks: list[Block] = [
        Paragraph(
            "Beside its mode, every demonstration has a style: one number for what varies between those of a mode. It "
            "is a share: 0.5 is the mode's typical demonstration, and 0.8 exceeds four fifths of those that were "
            f"learned from. Styles may tell {value_text(found['most_nats'], 0)} nats of a demonstration, not more."
        )
    ]
    if any(mode["sizes"] is not None for mode in found["modes"]):
        blocks.append(_picture(found["modes"], unit))
    blocks.append(_table(found["modes"], unit))
    return Section("style", "How each mode is done", tuple(blocks))


def _picture(modes: list[dict[str, Any]], unit: str) -> Picture:
    shown = [mode for mode in modes if mode["sizes"] is not None]
    said = "; ".join(f"mode {m['mode']} from {m['sizes'][0]:.2f} to {m['sizes'][-1]:.2f}" for m in shown)
    return drawn(
        "styles",
        lambda layout: style_figure(modes, layout, unit=unit),
        alt=f"The size of the policy's actions against its style, for {counted(len(shown), 'modes')}: {said}.",
        caption=f"Lines: the size of the policy's actions on states of held-out {unit}, where its style is swept. "
        f"Dots: held-out {unit}, at the style that is read of them.",
    )


def _table(modes: list[dict[str, Any]], unit: str) -> Table:
    rows = tuple(
        Row(
            f"mode {mode['mode']}",
            (
                Cell(value_text(mode["nats"], 2)),
                Cell(f"no {_ONE[unit]}") if mode["style"] is None else estimate_cell(mode["style"], 2, with_n=True),
            ),
            swatch=mode_color(mode["mode"]),
        )
        for mode in modes
    )
    return Table(
        caption="What styles tell",
        corner="mode",
        columns=(f"nats a training {_ONE[unit]}, at the most", f"mean style of held-out {unit}"),
        rows=rows,
        note=f"A mean style far from 0.5 says that held-out {unit} are done otherwise than those of training.",
    )
