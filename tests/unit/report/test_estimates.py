"""Numbers as text: never without their interval and n."""

import pytest

from unbraid.report.estimates import (
    counted,
    decimals_of,
    estimate_text,
    n_text,
    percent_text,
    shared_decimals,
    shared_n_text,
    spelled,
)

GOALS = {"value": 12.87, "low": 12.1, "high": 13.62, "n": 32, "unit_of_n": "episodes"}


def test_an_estimate_says_its_interval_and_n():
    assert estimate_text(GOALS) == "12.9 [12.1, 13.6], n = 32 episodes"


def test_one_is_singular_and_a_missing_interval_is_said():
    lone = {**GOALS, "low": None, "high": None, "n": 1}
    assert estimate_text(lone) == "12.9 [interval not estimable], n = 1 episode"


def test_a_missing_value_is_not_estimable():
    assert estimate_text({**GOALS, "value": None}) == "not estimable, n = 32 episodes"
    assert estimate_text(None) == "not estimable"


def test_a_bare_number_has_no_interval():
    assert estimate_text(0.5512) == "0.551 [interval not estimable]"
    assert n_text(0.5512) == ""


@pytest.mark.parametrize(("value", "decimals"), [(123.4, 0), (-12.3, 1), (1.23, 2), (0.123, 3), (None, 3)])
def test_decimals_show_three_digits(value: float | None, decimals: int):
    assert decimals_of(value) == decimals


def test_a_table_has_one_number_of_decimals_per_metric():
    rows = [{"goals": 0.5, "cost": 120.0}, {"goals": 12.5, "cost": None}]
    assert shared_decimals(rows, ["goals", "cost", "return"]) == {"goals": 1, "cost": 0, "return": 0}


def test_no_minus_before_zero():
    assert estimate_text({**GOALS, "value": -0.0001, "low": -0.0004, "high": 0.0002}, 3).startswith("0.000 [0.000")


def test_n_is_shared_only_where_all_agree():
    assert shared_n_text([GOALS, GOALS]) == "n = 32 episodes"
    assert shared_n_text([GOALS, {**GOALS, "n": 31}]) is None


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0"), (0.01, "<0.1"), (0.3, "0.3"), (41.4, "41"), (99.7, "99.7"), (99.99, ">99.9"), (100, "100")],
)
def test_a_percent_is_never_rounded_to_none_or_all(share: float, text: str):
    assert percent_text(share) == text


def test_counts_in_words():
    assert (counted(1, "steps"), counted(50_000, "steps")) == ("1 step", "50,000 steps")
    assert (spelled(2), spelled(40)) == ("Two", "40")
