"""Sliders ask what the line of Python beside them asks."""

import ast
import functools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.core.errors import ConfigError
from unbraid.steering.steered import steer
from unbraid.studio.asking import STRONGEST, asked_of
from unbraid.studio.edits import Edit, Edits
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

RUN = Path("runs/first")


@functools.cache
def four_modes():
    """Asked for, never run: it needs no training."""
    model = ModeModel(UnbraidConfig(n_modes=4, policy_hidden=(8,)), observation_size=3, action_size=1)
    model.shares = [0.5, 0.3, 0.15, 0.05]
    return model


def asked(model, sliders, shown=None):
    return asked_of(steer(model), sliders, shown or Edits(model.n_modes).shown, run=RUN)


def by_its_line(line):
    """The calls of the line, as they stand there."""
    assert line.startswith("policy = steer(ModeModel.from_pretrained('runs/first'))")
    return line.removeprefix("policy = steer(ModeModel.from_pretrained('runs/first'))")


def run_by_hand(model, line):
    """The policy that the line gives: each of its calls is read, and made on the model at hand."""
    calls = []
    node = ast.parse(line).body[0].value
    while isinstance(node.func, ast.Attribute):
        calls.append((node.func.attr, [ast.literal_eval(argument) for argument in node.args]))
        node = node.func.value
    assert node.func.id == "steer"
    policy = steer(model)
    for name, arguments in reversed(calls):
        policy = getattr(policy, name)(*arguments)
    return policy


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


def test_what_was_merged_is_asked_for_without_a_strength(model):
    """A blend has none, so that words must not name one."""
    shown = Edits(2).saying(Edit("merge", 1, 0)).shown
    weak, strong = asked(model, [0.5], shown), asked(model, [3.0], shown)
    assert weak.policy.instruction == strong.policy.instruction
    assert weak.words == strong.words == "towards mode 0"
    assert asked(model, [-0.5], shown).words == "away from mode 0 x 0.5"


@pytest.mark.parametrize("sliders", [[1.0], [1.0, 0.0, 0.0], [4.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
def test_other_sliders_are_refused(model, sliders):
    with pytest.raises(ConfigError, match="Sliders must be 2 numbers"):
        asked(model, sliders)


def test_a_style_needs_a_model_with_styles(model):
    with pytest.raises(ConfigError, match="styles"):
        asked_of(steer(model), [1.0, 0.0], Edits(2).shown, run=RUN, style=0.5)


SLIDERS = st.one_of(
    st.just(0.0), st.just(1.0), st.floats(-STRONGEST, STRONGEST), st.integers(-30, 30).map(lambda n: n / 10)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SLIDERS, min_size=4, max_size=4), st.sampled_from([(), ((1, 0),), ((3, 2),), ((1, 0), (3, 2))]))
def test_the_line_of_python_asks_for_what_runs(sliders, merges):
    """Instructions are equal to the last bit, whatever was merged."""
    model = four_modes()
    edits = Edits(4)
    for about, into in merges:
        edits = edits.saying(Edit("merge", about, into))
    found = asked(model, sliders[: len(edits.shown)], edits.shown)
    assert run_by_hand(model, found.line).instruction == found.policy.instruction


def test_towards_and_away_at_once_are_what_steer_does(model):
    model = four_modes()
    found = asked(model, [1.0, 0.0, -1.0, -0.5])
    assert found.policy.instruction == steer(model).toward(0).away(2).away(3, 0.5).instruction
    assert found.words == "towards mode 0, away from mode 2, away from mode 3 x 0.5"
    blended = asked(model, [2.0, 1.0, -1.0, 0.0])
    assert dict(blended.policy.instruction.blend) == pytest.approx({0: 2 / 3, 1: 1 / 3}, abs=1e-6)
    assert blended.policy.instruction.away == ((2, 1.0),)
    assert blended.words == "between 67 % mode 0 + 33 % mode 1, away from mode 2"


def test_names_are_those_that_a_person_gave(model):
    shown = Edits(2).saying(Edit("rename", 1, text="the slow one")).shown
    assert asked(model, [0.0, 1.5], shown).words == "towards the slow one x 1.5"
