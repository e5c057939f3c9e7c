"""Checks of arrays that come from outside."""

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.core.shapes import first_bad_row, require_finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 65535, 65536, 99_999])
def test_the_first_bad_row_is_found_in_every_chunk(bad, row):
    values = np.zeros((100_000, 2))
    values[row:, 1] = bad
    assert first_bad_row(values) == row


def test_finite_arrays_pass():
    assert first_bad_row(np.zeros((3, 2, 2))) is None
    assert first_bad_row(np.zeros(0)) is None
    require_finite(np.zeros(3), "Costs", "Repair them.")


def test_the_message_has_three_parts():
    with pytest.raises(DataError, match=r"Costs must be finite; row 1 holds nan\. Repair them\."):
        require_finite(np.array([0.0, np.nan]), "Costs", "Repair them.")
