"""The picture of a bandit's regret."""

import pytest

from unbraid.core.errors import DataError
from unbraid.report.style import NARROW, WIDE, png
from unbraid.report.switching import regret_figure

TOLD = {"decision": [1, 50, 100], "regret": [0.2, 3.0, 3.5]}


def test_a_line_for_every_bandit():
    figure = regret_figure({"linucb": TOLD, "thompson": {**TOLD, "regret": [0.3, 4.0, 4.1]}}, WIDE)
    (axes,) = figure.axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.2, 3.0, 3.5], [0.3, 4.0, 4.1]]
    assert len({line.get_linestyle() for line in axes.lines}) == 2  # told apart without colour
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["linucb", "thompson"]
    assert png(regret_figure({"linucb": TOLD}, NARROW)).startswith(b"\x89PNG")


def test_nothing_to_draw():
    for nothing in ({}, {"linucb": {"decision": [], "regret": []}}):
        with pytest.raises(DataError, match="at least one bandit"):
            regret_figure(nothing, WIDE)
