"""Figures: every axis labelled, intervals drawn, colours the same everywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from unbraid.report.figures import (
    Agreement,
    Comparison,
    Curve,
    Training,
    agreement_figure,
    behaviour_figure,
    code_usage_figure,
    curves_figure,
    loss_figure,
    mode_counts_figure,
)
from unbraid.report.paths import HAZARD_RADIUS_M, Panel, paths_figure
from unbraid.report.record import RunRecord, read_record
from unbraid.report.style import GOAL_COLOR, NARROW, WIDE, Layout, label, mode_color, png

LAYOUTS = [WIDE, NARROW]


@pytest.fixture(scope="module")
def record(demo_run: Path) -> RunRecord:
    return read_record(demo_run)


def assert_every_axis_is_labelled(figure: Figure) -> None:
    figure.draw_without_rendering()
    assert figure.axes
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel() or axes.get_label() == "<colorbar>"


def panels_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_paths(record: RunRecord, layout: Layout):
    rows = [
        [Panel("expert", record.paths["expert/goal_seeking"]), Panel("mode 1", record.paths["mode/1"])],
        [Panel("expert", record.paths["expert/forward"]), Panel("mode 0", record.paths["mode/0"], color=mode_color(0))],
    ]
    figure = paths_figure(rows, layout)
    assert_every_axis_is_labelled(figure)
    first, second, third, fourth = panels_of(figure)
    assert first.get_xlim() == second.get_xlim() != third.get_xlim() == fourth.get_xlim()
    assert all(axes.get_aspect() == 1.0 for axes in (first, third))
    assert "(m)" in first.get_xlabel()


def test_paths_show_goals_hazards_and_time(record: RunRecord):
    path = record.paths["expert/goal_seeking"]
    (axes,) = panels_of(paths_figure([[Panel("expert", path)]], WIDE))
    circles = next(c for c in axes.collections if isinstance(c, PatchCollection)).get_paths()
    widths = [np.ptp(circle.vertices[:, 0]) for circle in circles]
    assert len(circles) == 8
    assert widths == pytest.approx([2 * HAZARD_RADIUS_M] * 8, abs=1e-3)
    reached = [line for line in axes.lines if line.get_markerfacecolor() == GOAL_COLOR]
    assert len(reached[0].get_xdata()) == path.goal_reached.sum()
    (line,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert np.array_equal(line.get_array(), np.arange(path.n_steps))


def test_a_long_row_goes_on_below_on_a_phone(record: RunRecord):
    row = [Panel(f"mode {mode}", record.paths[f"talk/end/{mode}"], note="at the end") for mode in range(4)]
    wide, narrow = paths_figure([row], WIDE), paths_figure([row], NARROW)
    for figure in (wide, narrow):
        figure.draw_without_rendering()
    assert len({round(axes.get_position().y0, 2) for axes in panels_of(wide)}) == 1
    assert len({round(axes.get_position().y0, 2) for axes in panels_of(narrow)}) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_losses(record: RunRecord, layout: Layout):
    figure = loss_figure([Training("unbraid", record.moments_of("unbraid"))], layout)
    assert_every_axis_is_labelled(figure)
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "policy", "encoder", "commitment"]
    scales = {axes.get_title("left"): axes.get_yscale() for axes in figure.axes}
    assert scales["policy"] == "linear"  # it is negative: a logarithm would hide it


def test_a_loss_that_is_positive_and_wide_is_logarithmic():
    moments = [
        {"step": step, "terms": {"wide": 10.0 ** -(step / 10), "narrow": 1.0 + step / 100}} for step in range(30)
    ]
    wide, narrow = loss_figure([Training("x", moments)], WIDE).axes
    assert (wide.get_yscale(), narrow.get_yscale()) == ("log", "linear")


def test_losses_of_several_fits_are_told_apart():
    fits = [
        Training(f"fit {k}", [{"step": 1, "loss": 2.0, "terms": {"policy": None}}], mode_color(k), dashed=k == 1)
        for k in (0, 1)
    ]
    figure = loss_figure(fits, WIDE)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fit 0", "fit 1"]
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_code_usage_is_stacked_in_the_modes_colours(layout: Layout):
    moments = [
        {"step": 1, "terms": {}, "code_usage": [0.5, 0.25, 0.25]},
        {"step": 9, "terms": {}, "code_usage": [0.9, 0.1]},
    ]
    figure = code_usage_figure([Training("unbraid", moments)], layout)
    assert_every_axis_is_labelled(figure)
    (axes,) = figure.axes
    assert [to_hex(area.get_facecolor()[0]) for area in axes.collections] == [mode_color(code) for code in range(3)]
    assert axes.get_ylim() == (0.0, 1.0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_agreement_has_intervals(layout: Layout):
    score = {"value": 0.4, "low": 0.3, "high": 0.6, "n": 9, "unit_of_n": "episodes"}
    rows = [Agreement("a", score, "#000000", published=0.7), Agreement("b", {**score, "low": None}, "#000000")]
    figure = agreement_figure(rows, layout)
    assert_every_axis_is_labelled(figure)
    drawn = [list(map(float, np.atleast_1d(line.get_xdata()))) for line in figure.axes[0].lines]
    assert drawn == [[0.7], [0.3, 0.6], [0.4], [0.4]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_behaviour_shows_mode_expert_and_margin(layout: Layout):
    one: dict[str, Any] = {"goals": {"value": 12.0, "low": 11.0, "high": 13.0, "n": 4}}
    pair = Comparison(0, "forward", mode_metrics=one, expert_metrics={"goals": None}, margins={"goals": 1.0})
    both = Comparison(1, "x", mode_metrics=one, expert_metrics=one, margins={"goals": 1.0})
    figure = behaviour_figure([pair, both], {"goals": "per episode"}, layout, metrics=["goals"])
    assert_every_axis_is_labelled(figure)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "goals (per episode)"
    assert len(axes.collections) == 1  # the band: only where the expert's value is known
    assert len(axes.lines) == 6


def test_curves():
    curve = Curve("seed 0", [(0, 0.1), (100, 0.2)], "#000000")
    figure = curves_figure([curve], [Curve("published", [(0, 0.55)], "#ff0000")], WIDE)
    assert_every_axis_is_labelled(figure)
    assert list(figure.axes[0].lines[1].get_ydata()) == [0.55, 0.55]


@pytest.mark.parametrize(("layout", "unit"), [(WIDE, "episode"), (NARROW, "stretch")])
def test_numbers_of_modes_have_their_errors_and_marks(layout: Layout, unit: str):
    counts = [
        {"n_modes": 4, "gain_nats": 60.0, "step_nats": 2.0, "step_error": 5.0},
        {"n_modes": 1, "gain_nats": 0.0, "step_nats": None, "step_error": None},
        {"n_modes": 3, "gain_nats": 58.0, "step_nats": None},
    ]
    figure = mode_counts_figure(counts, layout, n_chosen=4, n_supported=3, unit=unit)
    assert_every_axis_is_labelled(figure)
    (axes,) = figure.axes
    assert axes.get_ylabel() == f"nats per {unit}"
    joined = [line for line in axes.lines if line.get_linestyle() in ("-", ":") and len(line.get_xdata()) == 2]
    assert [(list(line.get_xdata()), line.get_linestyle()) for line in joined] == [([1, 3], ":"), ([3, 4], "-")]
    (supported,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert list(supported.get_xdata()) == [3, 3]
    (chosen,) = [line for line in axes.lines if line.get_color() == mode_color(0)]
    assert (list(chosen.get_xdata()), list(chosen.get_ydata())) == ([4], [60.0])
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]  # only where there is an error
    np.testing.assert_allclose(bars.get_segments()[0], [[4, 55.0], [4, 65.0]])
    assert list(axes.get_xticks()) == [1, 3, 4]


def test_names_are_drawn_as_they_are(record: RunRecord):
    path = record.paths["mode/0"]
    rows = [[Panel(r"$\frac{1}", path), Panel("a$b$c", path), Panel("専門家", path), Panel("x" * 80, path)]]
    figure = paths_figure(rows, WIDE)
    assert png(figure).startswith(b"\x89PNG")
    assert label("x" * 80) == "x" * 27 + "…"


def test_the_same_data_gives_the_same_picture(record: RunRecord):
    def draw() -> bytes:
        return png(loss_figure([Training("unbraid", record.moments_of("unbraid")[:5])], NARROW))

    assert draw() == draw()
