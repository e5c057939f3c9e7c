"""The one list of array names."""

from pathlib import Path

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.demos.arrays import OPTIONAL_ARRAYS, REQUIRED_ARRAYS, arrays_of, demos_from_arrays, names_from
from unbraid.demos.episodes import Demos

DEMOS = Demos(np.zeros((3, 2)), np.zeros((2, 1)), np.array([2]), np.ones(1, bool), costs=np.ones(2))


def test_it_names_every_array_that_demos_can_hold():
    fields = set(Demos.__dataclass_fields__) - {"label_names", "observation_names", "facts"}
    assert fields == {*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS}
    assert list(arrays_of(DEMOS)) == ["observations", "actions", "lengths", "terminated", "costs"]


@pytest.mark.parametrize("name", REQUIRED_ARRAYS)
def test_a_missing_array_is_named_with_its_file(name):
    arrays = arrays_of(DEMOS)
    del arrays[name]
    with pytest.raises(DataError, match=rf"left\.x must hold `{name}`; it is missing"):
        demos_from_arrays(arrays, source=Path("left.x"))


def test_names_must_be_a_list_of_text():
    assert names_from(["a", "é"], "names", Path("x")) == ("a", "é")
    for wrong in ("ab", [1], None, {"a": 1}):
        with pytest.raises(DataError, match="`names` of x must be a list of names"):
            names_from(wrong, "names", Path("x"))


def test_true_and_false_are_numbers_but_for_actions_and_no_decimals_have_more_than_64_bits():
    flags = {
        "observations": np.zeros((3, 2), bool),
        "rewards": np.array([True, False]),
        "costs": np.ones(2, np.longdouble),
    }
    demos = demos_from_arrays(arrays_of(DEMOS) | flags, source=Path("left.x"))
    assert [demos.observations.dtype, demos.rewards.dtype, demos.costs.dtype] == [np.float64] * 3
    assert demos.rewards.tolist() == [1, 0]
    with pytest.raises(DataError, match="continuous actions only"):
        demos_from_arrays(arrays_of(DEMOS) | {"actions": np.zeros((2, 1), bool)}, source=Path("left.x"))
