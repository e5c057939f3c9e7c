"""Names of columns and Minari's spaces, there and back."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.demos.episodes import Demos
from unbraid.demos.formats.minari import read_minari, write_minari, write_minari_arrow
from unbraid.demos.formats.minari_spaces import leaves_of, names_of, space_of
from unbraid.demos.options import ReadOptions

_BOXES = st.lists(st.integers(1, 3), min_size=1, max_size=2).map(
    lambda shape: {"type": "Box", "dtype": "float64", "shape": shape, "low": -1.0, "high": 1.0}
)
_KEYS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=4)
_DICTS = st.recursive(
    _BOXES,
    lambda below: st.dictionaries(_KEYS, below, min_size=1, max_size=3).map(lambda d: {"type": "Dict", "subspaces": d}),
    max_leaves=5,
)


def _leaves(space):
    return leaves_of(space, what="observation", source=Path("metadata.json"))


@given(space=_DICTS)
@settings(max_examples=60, deadline=None)
def test_a_space_comes_back_from_the_names_of_its_columns(space):
    leaves = _leaves(space)
    width = sum(leaf.size for leaf in leaves)
    again = space_of(names_of(leaves), width=width, dtype=np.dtype("float64"))
    keys = [key for leaf in leaves for key in leaf.path]
    if space["type"] == "Dict" and not any(key in (".", "..") for key in keys):
        assert [(leaf.path, leaf.shape) for leaf in _leaves(again)] == [(leaf.path, leaf.shape) for leaf in leaves]
    else:
        assert again["shape"] == [width]


@pytest.mark.parametrize("write", [write_minari, write_minari_arrow])
@given(space=_DICTS)
@settings(max_examples=25, deadline=None)
def test_dict_observations_come_back_with_their_names(write, space):
    names = names_of(_leaves(space))
    width = sum(leaf.size for leaf in _leaves(space))
    rows = np.arange(5 * width, dtype=np.float64).reshape(5, width)
    demos = Demos(
        rows, np.zeros((3, 1)), np.array([2, 1]), np.array([False, True]), rewards=np.zeros(3), observation_names=names
    )
    with tempfile.TemporaryDirectory() as folder:
        again = read_minari(write(demos, Path(folder) / "set"), ReadOptions())
    assert again.observation_names == names
    assert again.fingerprint() == demos.fingerprint()


@pytest.mark.parametrize(
    "names",
    [
        ("a[0]", "b"),  # not all have a place
        ("a[0]", "a[2]"),  # one is missing
        ("a[1]", "a[0]"),  # in another order
        ("a[0]", "b[0]", "a[1]"),  # torn apart
        ("a[0]", "a/b[0]"),  # a Box is no Dict
        ("a/b[0]", "a[0]"),
        ("a/b[0]", "c[0]", "a/d[0]"),  # a Dict would put them in another order
        ("/a[0]", "b[0]"),
        ("a//b[0]", "b[0]"),
        ("../a[0]", "b[0]"),
        ("a[0,0]", "a[0]"),
        (),
    ],
)
def test_other_names_make_one_box(names):
    width = len(names) or 2
    space = space_of(names, width=width, dtype=np.dtype("float32"))
    assert space["type"] == "Box"
    assert space["shape"] == [width]
    assert json.loads(json.dumps(space)) == space


def test_bounds_follow_their_columns():
    space = space_of(
        ("a[0]", "b[0]", "b[1]"), width=3, dtype=np.dtype("float64"), low=np.arange(3.0), high=np.arange(3.0) + 1
    )
    assert space["subspaces"]["b"]["low"] == [1, 2]
    assert [leaf.high for leaf in _leaves(space)] == [(1.0,), (2.0, 3.0)]
