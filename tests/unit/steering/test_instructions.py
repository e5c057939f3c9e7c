"""What a person asks for, as powers of Gaussians."""

import json
import math

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.policy.contexts import require_mode
from unbraid.steering.instructions import BASE, Instruction

NOTHING = Instruction(4)


@pytest.mark.parametrize(
    ("asked", "powers"),
    [
        (NOTHING, {BASE: 1}),
        (NOTHING.toward(2, 1.0), {2: 1}),
        (NOTHING.toward(2, 0.0), {BASE: 1}),
        (NOTHING.toward(2, 1.5), {BASE: -0.5, 2: 1.5}),
        (NOTHING.avoiding(0, 2.0), {BASE: 3, 0: -2}),
        (NOTHING.avoiding(0, 2.0).avoiding(3, 1.0), {BASE: 4, 0: -2, 3: -1}),
        (NOTHING.toward(2, 1.0).avoiding(0, 0.5), {2: 1.5, 0: -0.5}),
        (NOTHING.blended({1: 0.75, 3: 0.25}), {1: 0.75, 3: 0.25}),
        (NOTHING.blended({1: 0.75, 3: 0.25}).avoiding(0, 1.0), {0: -1, 1: 1.5, 3: 0.5}),
        (NOTHING.blended({1: 0.75, 3: 0.25}).toward(2, 0.5), {1: 0.375, 2: 0.5, 3: 0.125}),
        (NOTHING.blended({1: 0.75, 3: 0.25}).toward(1, 0.5), {1: 0.875, 3: 0.125}),
        (NOTHING.blended({1: 1.0, 3: 0.0}), {1: 1}),
        (NOTHING.under([0.0, 1.0, 1.0, 1.0]), {BASE: 1}),
        (NOTHING.under([0.0, 1.0, 1.0, 1.0]).avoiding(1, 1.0), {BASE: 2, 1: -1}),
    ],
)
def test_powers(asked, powers):
    assert asked.powers == pytest.approx(powers)
    assert sum(asked.powers.values()) == pytest.approx(1)


def test_away_is_taken_back_with_a_strength_of_0():
    assert NOTHING.toward(1, 1.0).avoiding(0, 2.0).avoiding(0, 0.0) == NOTHING.toward(1, 1.0)


def test_a_new_wish_replaces_the_old_and_keeps_what_is_avoided():
    asked = NOTHING.toward(1, 2.0).avoiding(0, 1.0)
    assert asked.blended({2: 0.5, 3: 0.5}) == NOTHING.blended({2: 0.5, 3: 0.5}).avoiding(0, 1.0)
    assert asked.under([1.0, 1.0, 0.0, 1.0]) == NOTHING.under([1.0, 1.0, 0.0, 1.0]).avoiding(0, 1.0)
    assert asked.toward(3, 1.0) == NOTHING.toward(3, 1.0).avoiding(0, 1.0)


@pytest.mark.parametrize("base", [NOTHING.blended({1: 0.75, 3: 0.25}), NOTHING.under([0.0, 1.0, 1.0, 1.0])])
def test_a_base_of_which_nothing_is_left_is_not_told_of(base):
    assert base.toward(2, 1.0) == NOTHING.toward(2, 1.0)
    for strength in (0.0, 0.5, 1.5):
        assert set(base.toward(2, strength).powers) - {2}, strength


def test_what_is_wanted_cannot_be_avoided():
    for contradiction in (
        lambda: NOTHING.toward(1, 1.0).avoiding(1, 1.0),
        lambda: NOTHING.avoiding(1, 1.0).toward(1, 1.0),
        lambda: NOTHING.avoiding(1, 1.0).blended({0: 0.5, 1: 0.5}),
    ):
        with pytest.raises(ConfigError, match="wanted or avoided, not both; got both for mode 1"):
            contradiction()


@pytest.mark.parametrize("strength", [-0.1, 10_001, 1e300, math.inf, math.nan])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(ConfigError, match="A strength must be a number from 0 to 10,000; got"):
        NOTHING.toward(1, strength)
    with pytest.raises(ConfigError, match="A strength must be a number from 0 to 10,000; got"):
        NOTHING.avoiding(1, strength)


@pytest.mark.usefixtures("unchecked")
def test_a_mode_that_was_numpys_goes_into_json():
    assert json.dumps(require_mode(np.int64(1), 4)) == "1"


@pytest.mark.parametrize("mode", [-1, 4])
def test_a_mode_that_does_not_exist_is_refused(mode):
    for ask in (lambda: NOTHING.toward(mode, 1.0), lambda: NOTHING.avoiding(mode, 1.0)):
        with pytest.raises(ConfigError, match=f"one of 0 to 3; got {mode}"):
            ask()


@pytest.mark.parametrize("strength", ["a", None, True])
@pytest.mark.usefixtures("unchecked")
def test_a_strength_that_is_no_number_is_refused(strength):
    for ask in (Instruction.toward, Instruction.avoiding):
        with pytest.raises(ConfigError, match=rf"A strength must be a number .*; got {strength!r}\. 1 is"):
            ask(NOTHING, 1, strength)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([0.5, 0.5], r"must give a weight for each mode, as in \{1: 0\.7, 3: 0\.3\}; got \[0\.5, 0\.5\]"),
        ({0: "a", 1: 0.5}, "must be numbers >= 0 that sum to 1; got"),
        ({}, "must be numbers >= 0 that sum to 1; got"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_blend_of_something_else_is_refused(weights, said):
    with pytest.raises(ConfigError, match=said):
        NOTHING.blended(weights)


def test_all_that_was_asked_is_told_as_json():
    """A certificate tells policies apart by it."""
    context = NOTHING.under([0.0, 0.5, 1.0, -2.0]).toward(2, 0.5).avoiding(0, 1.5)
    told = {"mode": 2, "strength": 0.5, "blend": [], "context": [0.0, 0.5, 1.0, -2.0], "away": [[0, 1.5]]}
    assert json.loads(json.dumps(context.to_json())) == told
    blend = NOTHING.blended({3: 0.25, 1: 0.75})
    told = {"mode": None, "strength": 1.0, "blend": [[1, 0.75], [3, 0.25]], "context": None, "away": []}
    assert json.loads(json.dumps(blend.to_json())) == told


@pytest.mark.parametrize("context", [[0.0, 1.0], [0.0, 1.0, 1.0, -math.inf], [0.0, 1.0, -1e39, 1.0]])
def test_a_context_that_is_none_is_refused(context):
    with pytest.raises(ConfigError, match="A context must have 4 finite numbers, one per mode; got"):
        NOTHING.under(context)
