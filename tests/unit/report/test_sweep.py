"""A sweep's figure and table say what was measured, and over how many seeds."""

import io

import pytest
from rich.console import Console

from unbraid.report.style import NARROW, WIDE
from unbraid.report.sweep import SCORES, print_sweep, settings_text, sweep_figure

LIKELIHOOD, NMI = SCORES


def estimate(value, low=None, high=None, n=3):
    return {"value": value, "low": low, "high": high, "n": n, "unit_of_n": "training seeds"}


def combination(settings, scores, n_done=3):
    return {"settings": settings, "n_fits": 3, "n_done": n_done, "scores": scores}


@pytest.fixture
def combinations():
    return [
        combination(
            {"n_modes": 2, "hidden": [8, 8]}, {LIKELIHOOD: estimate(1.0, 0.5, 1.5), NMI: estimate(0.9, 0.8, 1)}
        ),
        combination({"n_modes": 2, "hidden": [16]}, {LIKELIHOOD: estimate(2.0, 1.5, 2.5)}),
        combination({"n_modes": "auto", "hidden": [8, 8]}, {LIKELIHOOD: estimate(3.0, n=1)}, n_done=1),
        combination({"n_modes": "auto", "hidden": [16]}, {}, n_done=0),
    ]


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_a_panel_a_score_and_a_line_for_each_other_setting(combinations, layout):
    figure = sweep_figure(combinations, layout)
    assert [axes.get_ylabel() for axes in figure.axes] == list(SCORES.values())
    assert [axes.get_xlabel() for axes in figure.axes] == ["n_modes"] * 2
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["2", "auto"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hidden 8x8", "hidden 16"]
    line = figure.axes[0].containers[0].lines[0]
    assert line.get_ydata().tolist() == [1, 3]
    (bars,) = figure.axes[0].containers[0].lines[2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[0.5, 1.5], [3, 3]]


def test_seeds_alone_are_one_point_without_a_legend():
    figure = sweep_figure([combination({}, {LIKELIHOOD: estimate(1.0, 0.5, 1.5)})], WIDE)
    assert (len(figure.axes), figure.legends) == (1, [])


def test_nothing_measured_is_no_figure():
    assert sweep_figure([combination({"n_modes": 2}, {})], WIDE) is None


def test_the_table_has_intervals_and_what_failed(combinations):
    trials = [
        {"name": "n_modes=2,seed=0", "state": "done", "message": None},
        {"name": "n_modes=9,seed=0", "state": "failed", "message": "[red]Ask for fewer[/red]"},
    ]
    said = io.StringIO()
    print_sweep({"combinations": combinations, "trials": trials}, Console(file=said, width=110))
    text = said.getvalue()
    assert "1.00 [0.50, 1.50]" in text
    assert "3.00 [interval not estimable]" in text
    assert "0 of 3" in text
    assert "failed: n_modes=9,seed=0: [red]Ask for fewer[/red]" in text
    assert "1 fit done, 1 failed" in text
    assert "not measured" in text


def test_settings_are_words():
    assert settings_text({"n_modes": "auto", "policy_hidden": [64, 64]}) == "n_modes auto, policy_hidden 64x64"
    assert settings_text({}) == "the defaults"
