"""Columns are found by their names, or it is said which are not there."""

import pytest

from unbraid.core.errors import DataError
from unbraid.training.columns import columns_in_order


@pytest.mark.parametrize(
    ("known", "given", "found"),
    [
        ("xyz", "xyz", None),
        ("xxz", "xxz", None),
        ("", "xyz", None),
        ("xyz", "", None),
        ("xyz", "zxy", (1, 2, 0)),
    ],
)
def test_each_known_column_has_its_place_among_those_given(known, given, found):
    assert columns_in_order(tuple(known), tuple(given)) == found
    if found:
        assert [given[i] for i in found] == list(known)


@pytest.mark.parametrize(
    ("known", "given", "told"),
    [
        ("xyz", "xy", r"these lack z\. Read"),
        ("xy", "xyz", r"these hold z, which it does not know\. Read"),
        ("abcdefgh", "a", r"these lack b, c, d, e, f and 2 more\."),
        ("xxz", "xzx", r"must have names of their own to be matched; 'x' comes twice\."),
        ("xz", "zxx", r"'x' comes twice\."),
    ],
)
def test_columns_that_cannot_be_found_are_named(known, given, told):
    with pytest.raises(DataError, match=told):
        columns_in_order(tuple(known), tuple(given))
