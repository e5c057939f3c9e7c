"""How sure a reading is, whether that comes true, and what is left where the unsure are out."""

from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.report.chapters.building import drawn, estimate_cell
from unbraid.report.estimates import as_estimate, count_text, counted, value_text
from unbraid.report.figures import reliability_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Cell, Paragraph, Picture, Row, Section, Table

__all__ = ["how_sure"]

_RIGHT = {"expert": "the expert's own mode", "episode": "the mode of its whole episode"}


def how_sure(record: RunRecord) -> Section | None:
    """Reliability and risk-coverage of held-out windows; None where nothing was held out."""
    found = record.unbraid.get("reliability")
    if not found:
        return None
    # Experts, where they are known, are the harder judges
    judged = "expert" if any(entry["right_is"] == "expert" for entry in found) else "episode"
    shown = [entry for entry in found if entry["right_is"] == judged]
    blocks: list[Block] = [
        Paragraph(
            "Each window gets a probability for every mode. A second, smaller fit did not see a fifth of the training "
            "demonstrations; on those the probabilities were made to come true, with one temperature for each length "
            "of window. Below is whether they do on held-out episodes."
        ),
        _picture(shown, judged),
        _errors_table(found),
        *(_unsure_table(entry, judged) for entry in shown),
    ]
    return Section("how-sure", "How sure a reading is", tuple(blocks))


def _picture(entries: Sequence[Mapping[str, Any]], judged: str) -> Picture:
    spoken = "; ".join(
        f"windows of {counted(e['window_steps'], 'steps')}: {as_estimate(e['calibration_error'])['value']:.3f}"
        for e in entries
    )
    return drawn(
        "reliability",
        lambda layout: reliability_figure(entries, layout),
        alt=f"Left, the share of windows that are right against their probability, in 15 bins of as many windows; "
        f"right, the share of wrong ones against the share that gets a mode. Calibration errors: {spoken}.",
        caption="Left: of windows with a probability of 0.9, nine in ten should be right (the line). Right: windows "
        "that are less sure than asked get no mode; the fewer get one, the fewer should be wrong. What is right is "
        f"{_RIGHT[judged]}.",
    )


def _errors_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        Row(
            f"windows of {counted(entry['window_steps'], 'steps')}",
            (
                Cell(_RIGHT[entry["right_is"]]),
                estimate_cell(entry["calibration_error"], 3),
                Cell(value_text(entry["by_chance"], 3)),
                Cell(count_text(entry["n_windows"])),
            ),
        )
        for entry in entries
    )
    return Table(
        caption="Expected calibration error on held-out episodes",
        corner="level",
        columns=("right is", "calibration error", "by chance alone", "windows"),
        rows=rows,
        note="The mean distance between probability and share right, in 15 bins of as many windows; in brackets 95 % "
        "intervals over episodes. By chance alone: what true probabilities would show with so few windows.",
    )


def _unsure_table(entry: Mapping[str, Any], judged: str) -> Table:
    rows = tuple(
        Row(
            f"{point['min_probability']:.2f}" if point["min_probability"] > 0 else "any",
            (
                Cell(f"{100 * point['coverage']:.1f} %"),
                Cell("none left" if point["error"] is None else f"{100 * point['error']:.1f} %"),
            ),
        )
        for point in entry["risk_coverage"]
    )
    return Table(
        caption=f"Not sure: windows of {counted(entry['window_steps'], 'steps')}",
        corner="least probability",
        columns=("windows that get a mode", "of those, wrong"),
        rows=rows,
        note=f"What is right is {_RIGHT[judged]}. `model.predict(demos, window_steps={entry['window_steps']}, "
        "min_probability=0.9)` gives -1 for the others.",
    )
