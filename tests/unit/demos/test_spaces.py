"""Spaces of actions that are not covered: what is said of each is true of it."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from unbraid.demos.spaces import remedy_for_actions

VECTOR = Box(-1.0, 1.0, (2,))


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (Discrete(3), "A choice among few, as Discrete is, is not covered: choose an environment"),
        (MultiDiscrete([2, 3]), "A choice among few, as MultiDiscrete is, is not covered: choose an environment"),
        (MultiBinary(4), "A choice among few, as MultiBinary is, is not covered: choose an environment"),
        (Box(0, 3, (2,), np.int64), "Whole numbers are not covered: where they stand for continuous ones, wrap"),
        (Dict(x=VECTOR), "Actions of another form must become one: wrap the environment first"),
        (Tuple([VECTOR]), "Actions of another form must become one: wrap the environment first"),
        (Box(-1.0, 1.0, (2, 2)), "Actions of another form must become one: wrap the environment first"),
        (Box(-1.0, 1.0, ()), "Actions of another form must become one: wrap the environment first"),
    ],
)
def test_what_is_not_covered_is_named_and_a_wrapper_that_helps(space, says):
    told = remedy_for_actions(space)
    assert told.startswith(says)
    assert "gymnasium.wrappers.TransformAction(env, function, action_space)" in told
    assert told.endswith(".")
