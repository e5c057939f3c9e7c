"""The chapter on what each mode is like."""

import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from unbraid.report.chapters.portraits import portraits
from unbraid.report.page import render
from unbraid.report.profiles import profiles_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Table
from unbraid.report.style import NARROW, WIDE, Layout


def estimate(value: float, half: float = 0.05, n: int = 30, unit: str = "episodes") -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": n, "unit_of_n": unit}


def mode(number: int, n: int, *, n_columns: int = 2, **more: Any) -> dict[str, Any]:
    run = {name: [number + offset, number + offset + 1.0] for name, offset in (("low", -1.0), ("high", 1.0))}
    run |= {"mean": [float(number), number + 1.0], "example": [float(number)]}
    told = {"mode": number, "n": n, "share": estimate(0.4), "steps": estimate(100.0, 5.0)}
    return told | {"profile": {"steps": 80, "columns": [run] * n_columns}} | more


def record(modes: list[dict[str, Any]], unit: str = "episodes", n_columns: int = 2) -> RunRecord:
    columns = [f"column {i}" for i in range(n_columns)]
    found = {"unit": unit, "n": 30, "columns": columns, "modes": modes}
    return RunRecord(asked={}, results={"unbraid": {"portraits": found}}, moments=(), paths={})


def test_a_run_that_did_not_look_has_no_such_chapter():
    assert portraits(RunRecord(asked={}, results={"unbraid": {}}, moments=(), paths={})) is None


def test_every_mode_has_its_numbers_and_its_episodes():
    examples: dict[str, Any] = {"typical": [3, 1], "borderline": [14], "return": estimate(2.5)}
    modes = [mode(0, 12, **examples), {"mode": 1, "n": 0, "share": estimate(0.0, 0.0)}]
    section = portraits(record(modes))
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert table.columns[1:3] == ("steps, mean of episodes", "return, mean of episodes")
    assert table.columns[3:] == ("typical episodes", "borderline episodes")
    texts = [[cell.text for cell in row.cells] for row in table.rows]
    assert texts == [["40", "100", "2.50", "3, 1", "14"], ["0", "none", "none", "none", "none"]]
    assert table.rows[0].cells[0].detail == "[35, 45]"
    assert table.rows[0].note == "n = 12 episodes"
    page = render(record(modes), (section,))
    assert "step of the episode" not in page  # which is drawn
    assert "mode 0: column 0 from 0 to 1, column 1 from 0 to 1" in page


def test_stretches_have_no_typical_episodes():
    section = portraits(record([mode(0, 12), mode(1, 4)], unit="stretches"))
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert table.columns == ("share of an episode's steps (%)", "steps, mean of stretches")
    assert "counted from 0" not in table.note


def test_which_stretches_are_read_is_said():
    run = record([mode(0, 12)], unit="stretches")
    run.results["unbraid"]["portraits"]["least_steps"] = 25
    section = portraits(run)
    assert section is not None
    assert "30 stretches of 25 steps and more, or the longest of their mode, that" in render(run, (section,))


def test_of_many_modes_the_largest_are_drawn():
    section = portraits(record([mode(k, 100 - k) for k in range(20)]))
    assert section is not None
    (picture,) = section.pictures()
    assert "mode 11:" in picture.alt
    assert "mode 12:" not in picture.alt
    assert "Not drawn: 8 modes of the fewest episodes." in picture.caption
    all_but_one = portraits(record([mode(k, 100 - k) for k in range(13)]))
    assert all_but_one is not None
    assert "Not drawn: 1 mode of the fewest episodes." in all_but_one.pictures()[0].caption
    few = portraits(record([mode(0, 3)]))
    assert few is not None
    assert "Not drawn" not in few.pictures()[0].caption


def axes_of(layout: Layout, n_columns: int) -> list[Any]:
    modes = [mode(k, 9, n_columns=n_columns) for k in range(3)]
    return profiles_figure(modes, [f"column {i}" for i in range(n_columns)], layout, x="step").axes


def test_each_mode_has_a_panel_for_every_column_on_one_scale():
    panels = axes_of(WIDE, 4)
    assert len(panels) == 12
    assert len({axes.get_ylim() for axes in panels[::4]}) == 1
    assert [axes.get_ylabel() for axes in panels[:5]] == ["mode 0"] * 4 + ["mode 1"]
    assert {axes.get_title(loc="left") for axes in panels} == {f"column {i}" for i in range(4)}
    assert [axes.get_xlabel() for axes in panels] == [""] * 8 + ["step"] * 4
    assert len(axes_of(NARROW, 4)) == 12
    assert len(axes_of(NARROW, 1)) == 3


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_long_names_of_columns_do_not_lie_on_one_another(layout: Layout):
    modes = [mode(k, 9, n_columns=4) for k in range(2)]
    figure = profiles_figure(
        modes, [f"robot{i}_end_effector_position_in_the_world" for i in range(4)], layout, x="step"
    )
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text().startswith(("robot", "mode"))]
    assert len(texts) == 2 * len(figure.axes)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(first.overlaps(other) for first, other in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_column_that_hardly_varies_is_drawn_too():
    flat = mode(0, 9)
    for run in flat["profile"]["columns"]:
        run |= {name: [0.0, 0.0] for name in ("low", "mean", "high")} | {"example": [0.0]}
    panels = profiles_figure([flat], ["a", "b"], WIDE, x="step").axes
    low, high = panels[0].get_ylim()
    assert np.isfinite([low, high]).all()
    assert low < 0 < high
    json.dumps(flat)


def test_one_step_is_drawn_as_long_as_it_lasts():
    short = mode(0, 9)
    for run in short["profile"]["columns"]:
        run |= {name: [value] for name, value in (("low", -1.0), ("mean", 0.0), ("high", 1.0), ("example", 0.5))}
    short["profile"]["steps"] = 1
    (axes, _) = profiles_figure([short], ["a", "b"], WIDE, x="step").axes
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[0, 1], [0, 1]]
    assert len(axes.collections) == 1
