"""The chapter on styles: there where a model has them, and drawn with labelled axes."""

import copy
from typing import Any

import pytest

from unbraid.report.chapters.style import style
from unbraid.report.figures import style_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Picture, Section, Table
from unbraid.report.style import NARROW, WIDE, Layout

FOUND = {
    "most_nats": 2.0,
    "modes": [
        {
            "mode": mode,
            "nats": 1.25 + mode,
            "style": {"value": 0.48, "low": 0.4, "high": 0.56, "n": 3, "unit_of_n": "episodes"},
            "styles": [0.1, 0.5, 0.9],
            "sizes": [0.5, 1.0, 1.5 + mode],
            "episodes": [[0.2, 0.6], [0.5, 0.9], [0.8, 1.4]],
        }
        for mode in (0, 1)
    ],
}


@pytest.fixture
def found() -> dict[str, Any]:
    return copy.deepcopy(FOUND)


def _told(own: dict[str, Any]) -> Section | None:
    return style(RunRecord(asked={}, results={"unbraid": {"n_modes": 2} | own}, moments=(), paths={}))


def test_a_model_without_styles_has_no_chapter():
    assert _told({}) is None


def test_styles_are_drawn_and_told(found: dict[str, Any]):
    section = _told({"style": found})
    assert section is not None
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    assert picture.alt.endswith("for 2 modes: mode 0 from 0.50 to 1.50; mode 1 from 0.50 to 2.50.")
    assert picture.wide_png.startswith(b"\x89PNG")
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [row.header for row in table.rows] == ["mode 0", "mode 1"]
    assert [cell.text for cell in table.rows[0].cells] == ["1.25", "0.48"]
    assert "n = 3 episodes" in table.rows[0].cells[1].detail


def test_a_mode_of_which_nothing_was_held_out_is_not_drawn(found: dict[str, Any]):
    found["modes"][1] |= {"style": None, "sizes": None, "episodes": []}
    section = _told({"style": found})
    assert section is not None
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    assert "mode 1" not in picture.alt
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.rows[1].cells[1].text == "no episode"


@pytest.mark.parametrize(("layout", "unit"), [(WIDE, "episodes"), (NARROW, "stretches")])
def test_the_sweep_and_the_episodes_share_labelled_axes(found: dict[str, Any], layout: Layout, unit: str):
    figure = style_figure(found["modes"], layout, unit=unit)
    assert f"held-out {unit}" in {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    figure.draw_without_rendering()
    assert [axes.get_title("left") for axes in figure.axes] == ["mode 0", "mode 1"]
    for axes, mode in zip(figure.axes, found["modes"], strict=True):
        assert axes.get_xlabel() == "style (0 to 1)"
        assert axes.get_ylabel() == "size of actions (deviations)"
        line, dots = axes.lines
        assert list(line.get_ydata()) == mode["sizes"]
        assert list(dots.get_xdata()) == [0.2, 0.5, 0.8]
