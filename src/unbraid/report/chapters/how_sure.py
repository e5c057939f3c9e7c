"""How sure a reading is, whether that comes true, and what is left where the unsure are out."""

from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.report.chapters.building import drawn, estimate_cell
from unbraid.report.estimates import count_text, counted, estimate_text, in_percent, interval_text, n_text, value_text
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
        Paragraph(f"Each window gets a probability for every mode. {_calibration_text(record)}"),
        _picture(shown, judged),
        _errors_table(found),
        *(_unsure_table(entry, judged) for entry in shown),
    ]
    return Section("how-sure", "How sure a reading is", tuple(blocks))


def _calibration_text(record: RunRecord) -> str:
    """How the probabilities were made to come true, or why they were not, and what that means."""
    asked_for = record.method == "unbraid" and record.config.get("calibration", "left_out") != "off"
    n_spans = record.unbraid.get("calibrated_on")  # older runs do not say
    if asked_for and n_spans != 0:
        few = "" if n_spans is None else f" (n = {count_text(n_spans)})"
        return (
            f"A second, smaller fit did not see a fifth of the training demonstrations{few}; on those the "
            "probabilities were made to come true, with one temperature for each length of window. Below is whether "
            "they do on held-out episodes."
        )
    if record.method != "unbraid":
        why = "the talk's method leaves no demonstrations out to do it on"
    elif asked_for:
        why = "no mode has the four demonstrations that it takes to leave one out"
    else:
        why = "the fit was asked to leave no demonstrations out for it (calibration off)"
    return (
        f"Nothing made these come true: {why}. They are what the model says of itself, and may claim far too much or "
        "too little; below is how far off they are on held-out episodes."
    )


def _picture(entries: Sequence[Mapping[str, Any]], judged: str) -> Picture:
    spoken = "; ".join(
        f"windows of {counted(e['window_steps'], 'steps')}: {estimate_text(e['calibration_error'], 3)}" for e in entries
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
                estimate_cell(entry["calibration_error"], 3, with_n=True),
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
            (_share_cell(point, "coverage"), _share_cell(point, "error")),
        )
        for point in entry["risk_coverage"]
    )
    with_intervals = any(point.get("coverage_estimate") for point in entry["risk_coverage"])
    return Table(
        caption=f"Not sure: windows of {counted(entry['window_steps'], 'steps')}",
        corner="least probability",
        columns=("windows that get a mode", "of those, wrong"),
        rows=rows,
        note=f"What is right is {_RIGHT[judged]}. `model.predict(demos, window_steps={entry['window_steps']}, "
        "min_probability=0.9)` gives -1 for the others."
        + (" In brackets: 95 % intervals over episodes that have such windows." if with_intervals else ""),
    )


def _share_cell(point: Mapping[str, Any], name: str) -> Cell:
    """A share of windows in percent, with its interval; older runs have none."""
    if point[name] is None:
        return Cell("none left")
    estimate = point.get(f"{name}_estimate")
    detail = ""
    if estimate is not None:
        detail = f"{interval_text(in_percent(estimate), 1)}, {n_text(estimate)}"
    return Cell(f"{100 * point[name]:.1f} %", detail=detail)
