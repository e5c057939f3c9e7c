"""The chapter on how sure a reading is."""

from typing import Any

import pytest

from unbraid.report.chapters.how_sure import how_sure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Paragraph, Picture, Section, Table


def _entry(window_steps: int, right_is: str) -> dict[str, Any]:
    return {
        "window_steps": window_steps,
        "right_is": right_is,
        "n_windows": 1234,
        "calibration_error": {"value": 0.021, "low": 0.015, "high": 0.04, "n": 8, "unit_of_n": "episodes"},
        "by_chance": 0.008,
        "bins": [{"probability": p, "right": p - 0.02, "n_windows": 80} for p in (0.6, 0.8, 0.97)],
        "risk_coverage": [
            {"min_probability": 0.0, "coverage": 1.0, "error": 0.12},
            {"min_probability": 0.9, "coverage": 0.4, "error": 0.03},
            {"min_probability": 0.99, "coverage": 0.0, "error": None},
        ],
    }


def _told(entries: list[dict[str, Any]], config: dict[str, Any] | None = None, **own: Any) -> Section:
    results = {"unbraid": {"reliability": entries, **own}}
    section = how_sure(RunRecord(asked={"config": config or {}}, results=results, moments=(), paths={}))
    assert section is not None
    return section


def test_without_held_out_episodes_there_is_no_chapter():
    assert how_sure(RunRecord(asked={}, results={"unbraid": {}}, moments=(), paths={})) is None


def test_errors_are_told_with_their_interval_and_what_chance_gives():
    section = _told([_entry(10, "episode"), _entry(10, "expert")])
    errors, unsure = [block for block in section.blocks if isinstance(block, Table)]
    assert [row.cells[0].text for row in errors.rows] == ["the mode of its whole episode", "the expert's own mode"]
    assert errors.rows[0].cells[1].text.startswith("0.021")
    assert errors.rows[0].cells[1].detail == "[0.015, 0.040], n = 8 episodes"
    assert errors.rows[0].cells[2].text == "0.008"
    assert [(row.header, *(cell.text for cell in row.cells)) for row in unsure.rows] == [
        ("any", "100.0 %", "12.0 %"),
        ("0.90", "40.0 %", "3.0 %"),
        ("0.99", "0.0 %", "none left"),
    ]
    assert "the expert's own mode" in unsure.note


@pytest.mark.parametrize("judged", ["episode", "expert"])
def test_the_picture_says_what_is_right_and_how_far_off(judged: str):
    section = _told([_entry(10, judged), _entry(1, judged)])
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    of_either = "0.021 [0.015, 0.040], n = 8 episodes"
    assert f"windows of 10 steps: {of_either}; windows of 1 step: {of_either}" in picture.alt
    assert {"episode": "whole episode", "expert": "expert's own mode"}[judged] in picture.caption
    assert picture.wide_png.startswith(b"\x89PNG")
    assert picture.narrow_png.startswith(b"\x89PNG")


def test_shares_of_the_unsure_have_intervals_where_they_were_measured():
    entry = _entry(10, "expert")
    share = {"value": 0.4, "low": 0.25, "high": 0.575, "n": 8, "unit_of_n": "episodes"}
    entry["risk_coverage"][1] |= {"coverage_estimate": share, "error_estimate": {**share, "low": None, "high": None}}
    entry["risk_coverage"][2] |= {"coverage_estimate": {**share, "value": 0.0}, "error_estimate": None}
    table = [block for block in _told([entry]).blocks if isinstance(block, Table)][1]
    assert table.rows[0].cells[0].detail == ""  # an older run has none
    assert [cell.detail for cell in table.rows[1].cells] == [
        "[25.0, 57.5], n = 8 episodes",
        "[interval not estimable], n = 8 episodes",
    ]
    assert table.rows[2].cells[1].text == "none left"
    assert "95 % intervals over episodes" in table.note
    old = [block for block in _told([_entry(10, "expert")]).blocks if isinstance(block, Table)][1]
    assert "intervals" not in old.note


@pytest.mark.parametrize(
    ("config", "own", "said"),
    [
        ({}, {}, "did not see a fifth of the training demonstrations; on those"),
        ({"method": "unbraid"}, {"calibrated_on": 20}, "a fifth of the training demonstrations (n = 20); on those"),
        ({"method": "unbraid"}, {"calibrated_on": 0}, "no mode has the four demonstrations"),
        ({"method": "unbraid", "calibration": "off"}, {"calibrated_on": 0}, "(calibration off)"),
        ({"method": "unbraid", "calibration": "off"}, {}, "(calibration off)"),
        ({"method": "talk"}, {"calibrated_on": 0}, "the talk's method leaves no demonstrations out"),
        ({"method": "talk"}, {}, "the talk's method leaves no demonstrations out"),
    ],
)
def test_it_is_said_whether_probabilities_were_made_to_come_true(
    config: dict[str, Any], own: dict[str, Any], said: str
):
    first = _told([_entry(10, "expert")], config, **own).blocks[0]
    assert isinstance(first, Paragraph)
    assert said in first.text
    assert ("second, smaller fit" in first.text) == ("a fifth" in said)
    assert ("Nothing made these come true" in first.text) == ("a fifth" not in said)
