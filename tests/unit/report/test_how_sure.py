"""The chapter on how sure a reading is."""

from typing import Any

import pytest

from unbraid.report.chapters.how_sure import how_sure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Picture, Section, Table


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


def _told(entries: list[dict[str, Any]]) -> Section:
    section = how_sure(RunRecord(asked={}, results={"unbraid": {"reliability": entries}}, moments=(), paths={}))
    assert section is not None
    return section


def test_without_held_out_episodes_there_is_no_chapter():
    assert how_sure(RunRecord(asked={}, results={"unbraid": {}}, moments=(), paths={})) is None


def test_errors_are_told_with_their_interval_and_what_chance_gives():
    section = _told([_entry(10, "episode"), _entry(10, "expert")])
    errors, unsure = [block for block in section.blocks if isinstance(block, Table)]
    assert [row.cells[0].text for row in errors.rows] == ["the mode of its whole episode", "the expert's own mode"]
    assert errors.rows[0].cells[1].text.startswith("0.021")
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
    assert "windows of 10 steps: 0.021; windows of 1 step: 0.021" in picture.alt
    assert {"episode": "whole episode", "expert": "expert's own mode"}[judged] in picture.caption
    assert picture.wide_png.startswith(b"\x89PNG")
    assert picture.narrow_png.startswith(b"\x89PNG")
