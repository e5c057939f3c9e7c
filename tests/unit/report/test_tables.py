"""The same tables for the terminal."""

import copy
from typing import Any

import pytest

from unbraid.report import format_tables


@pytest.fixture
def text(results: dict[str, Any]) -> str:
    return format_tables(results)


def test_eight_tables_beside_the_published(text: str):
    assert text.count("1,500 gradient steps, 3 % of the published 50,000") == 8 + 4
    for table in [f"K = {n_modes}, time step {delta}:" for delta in (1, 5) for n_modes in (2, 3, 4, 5)]:
        assert table in text
    assert "published: NMI 0.551; purity 0.935; one seed, no interval" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("goal_seeking"))
    assert row.split()[-2:] == ["57", "43"]


def test_own_tables_agreement_behaviour_and_verdicts(text: str):
    words = " ".join(text.split())
    assert "unbraid, windows of 25 steps" in words
    assert "NMI 0.932 [0.927, 0.936] ARI" in words
    assert "n = 20 episodes" in words
    assert "mode 1 12.6 24.9 53.0" in words
    assert "[11.9, 13.3]" in words
    assert "margin ±1.23" in words
    assert "Two experts, two modes: each mode as good as its expert" in words
    assert "does not hold: A made-up claim that fails." in words


def test_what_the_search_said(text: str):
    words = " ".join(text.split())
    assert "The evidence supports 2 modes (the last of them by 17.4 standard errors, on 100 spans)." in words
    assert "gain over one (nats per span) the last one adds (± standard error)" in words
    rows = [line.split() for line in text.splitlines()]
    assert ["2", "413", "413", "±", "24", "yes"] in rows
    assert ["3", "409", "-3.64", "±", "2.17", "no"] in rows
    assert text.index("How many modes") < text.index("unbraid, windows of")


def test_warnings_of_the_search_are_passed_on(results: dict[str, Any]):
    results["unbraid"]["search"]["warnings"] = ["A made-up warning. Do this."]
    assert "warning: A made-up warning. Do this." in format_tables(results)


def test_brackets_in_a_name_are_no_markup(results: dict[str, Any]):
    named = copy.deepcopy(results)
    named["experts"] = ["[red]a[/red]", "forward"]
    assert "[red]a[/red]" in format_tables(named)


def test_a_minimal_run_prints_what_there_is():
    results = {"format": "unbraid-results", "version": 1, "data": {"n_episodes": 12}, "unbraid": {"n_modes": 3}}
    assert format_tables(results) == "Three modes found in 12 episodes\n"


def _estimate(value: float, half: float | None, n: int = 12, unit: str = "episodes") -> dict[str, Any]:
    low, high = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": low, "high": high, "n": n, "unit_of_n": unit}


def test_episodes_and_training_seeds_in_figures():
    summary = {
        "mean": _estimate(12.5, 1.5),
        "median": _estimate(11.0, None),
        "iqm": _estimate(11.5, 0.5),
    }
    across = {"expert": "forward", "modes": [0, 1], "metrics": {"return": _estimate(12.0, 4.0, 2, "training seeds")}}
    none = {"expert": "[other]", "modes": [1, None], "metrics": {}}
    results = {
        "unbraid": {"n_modes": 2},
        "evaluation": {
            "units": {"return": "reward"},
            "actors": [{"name": "mode [0]", "summary": {"return": summary}}],
            "training_seeds": [across, none],
        },
    }
    rows = [" ".join(line.split()) for line in format_tables(results).splitlines()]
    assert "Episodes of mode [0], n = 12 episodes" in rows
    assert "return (reward) 12.5 [11.0, 14.0] 11.0 11.5 [11.0, 12.0]" in rows
    assert "Over training seeds, n = 2 training seeds" in rows
    assert "return (reward) 12.0 [8.0, 16.0] no mode in some run" in rows
    assert "metric mode of forward mode of [other]" in rows


def test_what_cannot_be_estimated_is_said(results: dict[str, Any]):
    results["behaviour"]["modes"][0]["metrics"]["cost"] = None
    results["behaviour"]["modes"][0]["difference"]["cost"] = None
    results["behaviour"]["modes"][0]["as_good"]["cost"] = None
    text = format_tables(results)
    assert "not measured" in text
    assert "not estimable" in text
    assert "None" not in text


def test_modes_that_were_measured_alone_are_compared_with_nobody(results: dict[str, Any]):
    behaviour = copy.deepcopy(results["behaviour"]) | {"experts": []}
    for mode in behaviour["modes"]:
        mode |= {"expert": None, "difference": None, "as_good": None, "margin": None}
    text = format_tables({"behaviour": behaviour})
    assert text.startswith("What each mode does")
    assert "its expert" not in text
    assert "In brackets: 95 % intervals.\n" in text
