"""Sliders ask what the line of Python beside them asks."""

import math
from pathlib import Path

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.steering.steered import steer
from unbraid.studio.asking import asked_of
from unbraid.studio.edits import Edit, Edits

RUN = Path("runs/first")


def asked(model, sliders, shown=None):
    return asked_of(steer(model), sliders, shown or Edits(model.n_modes).shown, run=RUN)


def by_its_line(line):
    """What the line gives; its calls are read, not run."""
    assert line.startswith("policy = steer(ModeModel.from_pretrained('runs/first'))")
    return line.removeprefix("policy = steer(ModeModel.from_pretrained('runs/first'))")


def test_one_slider_asks_towards_its_mode(model):
    found = asked(model, [0.0, 1.0])
    assert found.policy.instruction == steer(model).toward(1).instruction
    assert by_its_line(found.line) == ".toward(1)"
    assert found.to_json()["context"] == model.contexts[1].tolist()


def test_a_strength_is_said(model):
    found = asked(model, [1.5, 0.0])
    assert found.policy.instruction == steer(model).toward(0, 1.5).instruction
    assert by_its_line(found.line) == ".toward(0, 1.5)"
    assert found.words == "towards mode 0 x 1.5"


def test_several_ask_for_a_blend_whose_weights_sum_to_one(model):
    found = asked(model, [0.1, 0.2])
    weights = dict(found.policy.instruction.blend)
    assert math.isclose(sum(weights.values()), 1)
    np.testing.assert_allclose(weights[1], 2 / 3, atol=1e-5)
    assert by_its_line(found.line) == f".blend({{0: {weights[0]!r}, 1: {weights[1]!r}}})"


def test_below_zero_asks_away(model):
    found = asked(model, [-0.5, 1.0])
    assert found.policy.instruction == steer(model).toward(1).away(0, 0.5).instruction
    assert by_its_line(found.line) == ".toward(1).away(0, 0.5)"
    assert asked(model, [-1.0, 0.0]).policy.instruction == steer(model).away(0).instruction


def test_nothing_asks_for_the_average(model):
    found = asked(model, [0.0, 0.0])
    assert found.policy.instruction.powers == {-1: 1.0}
    assert found.words == "the average of all modes"


def test_what_was_merged_moves_as_one(model):
    shown = Edits(2).saying(Edit("merge", 1, 0)).shown
    found = asked(model, [1.0], shown)
    np.testing.assert_allclose([w for _, w in found.policy.instruction.blend], model.shares, atol=1e-5)
    away = dict(asked(model, [-1.0], shown).policy.instruction.away)
    np.testing.assert_allclose([away[0], away[1]], model.shares, atol=1e-6)


@pytest.mark.parametrize("sliders", [[1.0], [1.0, 0.0, 0.0], [4.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
def test_other_sliders_are_refused(model, sliders):
    with pytest.raises(ConfigError, match="Sliders must be 2 numbers"):
        asked(model, sliders)


def test_a_style_needs_a_model_with_styles(model):
    with pytest.raises(ConfigError, match="styles"):
        asked_of(steer(model), [1.0, 0.0], Edits(2).shown, run=RUN, style=0.5)
