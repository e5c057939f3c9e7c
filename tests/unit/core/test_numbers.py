"""Whole numbers in a range, of Python or NumPy; whatever else is refused by the name of what was asked."""

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.core.numbers import require_whole


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(3)])
def test_whole_numbers_come_back_as_pythons(value):
    found = require_whole("--episodes", value, most=7)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [0, -1, 8, 3_000_000_000, 2.0, 2.5, True, "3", None, np.float64(3)])
def test_others_are_refused(value):
    with pytest.raises(ConfigError, match=r"^--episodes must be a whole number from 1 to 7; got .*\. Give fewer\.$"):
        require_whole("--episodes", value, most=7, remedy="Give fewer.")


def test_without_an_end():
    assert require_whole("changed_at", 10**12, least=0) == 10**12
    with pytest.raises(ConfigError, match="changed_at must be a whole number of at least 0; got -5"):
        require_whole("changed_at", -5, least=0)
