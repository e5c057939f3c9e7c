"""Whatever the demonstrations: every format gives back what it was given, at once and in parts; no selection mixes them
up, and the doctor never breaks down."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.recognise import formats
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.parts import joined_parts, parts_of

WRITTEN = {format_.name: format_ for format_ in formats() if format_.write is not None}
HOLD_NO_STEPS = ("store", "npz", "ogbench", "padded", "per_episode")  # of those here, the others refuse them

_FACTS = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)


_KEYS = st.sampled_from(
    ["a", "b", "a/b", "goal", "observation", "ω", "a.b", "observation.state", "x[0]", "", "a[", "]", "/"]
)


@st.composite
def column_names(draw) -> tuple[str, ...]:
    """Names as flattened Dict spaces have them, ``goal/at[0]`` or ``m[0,1]``, in any order; and names like these."""
    names: list[str] = []
    for key in draw(st.lists(_KEYS, min_size=1, max_size=2, unique=True)):
        kind = draw(st.sampled_from(["scalar", "vector", "matrix", "permuted"]))
        if kind == "scalar":
            names += [key]
        elif kind == "matrix":
            names += [f"{key}[{i},{j}]" for i in range(2) for j in range(2)]
        else:
            order = range(3) if kind == "vector" else draw(st.permutations(range(3)))
            names += [f"{key}[{i}]" for i in [*order][: draw(st.integers(1, 3))]]
    return tuple(draw(st.permutations(names)) if draw(st.booleans()) else names)


@st.composite
def contents(draw, shortest: int = 1) -> dict[str, Any]:
    """What makes a `Demos`: ragged episodes, some of one step; float32 or float64, any value; fields present or
    not; names in unicode, and those of Dict spaces."""
    columns = draw(st.lists(st.text(max_size=3), min_size=1, max_size=3) | column_names())
    obs, act = len(columns), draw(st.integers(1, 2))
    lengths = draw(st.lists(st.integers(shortest, 4), min_size=1, max_size=5))
    names = draw(st.lists(st.text(max_size=4), min_size=1, max_size=3, unique=True))

    def table(*shape: int) -> np.ndarray:
        width = draw(st.sampled_from([32, 64]))
        return draw(arrays.arrays(f"float{width}", shape, elements=st.floats(width=width)))

    def per_episode(values: st.SearchStrategy[Any], dtype: type) -> np.ndarray:
        return np.array([draw(values) for _ in lengths], dtype=dtype)

    n_steps = sum(lengths)
    given: dict[str, Any] = {
        "observations": table(n_steps + len(lengths), obs),
        "actions": table(n_steps, act),
        "lengths": np.array(lengths),
        "terminated": per_episode(st.booleans(), bool),
        "facts": draw(_FACTS),
    }
    for name in ("rewards", "costs"):
        if draw(st.booleans()):
            given[name] = table(n_steps)
    if draw(st.booleans()):
        given["seeds"] = per_episode(st.integers(0, 2**63 - 1), np.int64)
    if draw(st.booleans()):
        given |= {"labels": per_episode(st.integers(0, len(names) - 1), np.int64), "label_names": tuple(names)}
    if draw(st.booleans()):
        given |= {"action_low": np.full(act, -np.inf), "action_high": np.full(act, 0.1)}
    if draw(st.booleans()):
        given["observation_names"] = tuple(columns)
    return given


def same(one: Demos, other: Demos) -> None:
    for name in Demos.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, name
            assert a.shape == b.shape, name
            assert a.tobytes() == b.tobytes(), name
        else:
            assert a == b, name


@pytest.mark.parametrize("name", WRITTEN)
@given(given=contents())
@settings(max_examples=25, deadline=None)
def test_what_goes_in_comes_out_bit_for_bit(name, given):
    demos, format_ = Demos(**given), WRITTEN[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"left{format_.endings[0] if format_.endings else ''}"
        assert format_.write(demos, path) == path
        assert find_source(path).format.name == name
        same(demos, load_demos(path))
        assert all(sentence.endswith(".") for sentence in format_.not_held(demos))


@pytest.mark.parametrize("name", WRITTEN)
@given(given=contents(), n_steps=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_in_parts_it_is_the_same(name, given, n_steps):
    demos, format_ = Demos(**given), WRITTEN[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"left{format_.endings[0] if format_.endings else ''}"
        format_.write_parts(parts_of(demos, n_steps), path)
        parts = list(load_parts(find_source(path), n_steps=n_steps))
        assert len(parts) == len(list(parts_of(demos, n_steps))) or name == "per_episode"
        same(demos, joined_parts(parts))


@pytest.mark.parametrize("name", HOLD_NO_STEPS)
@given(given=contents(shortest=0))
@settings(max_examples=20, deadline=None)
def test_episodes_of_no_steps_survive_where_they_can_be_held(name, given):
    demos, format_ = Demos(**given), WRITTEN[name]
    with tempfile.TemporaryDirectory() as folder:
        format_.write(demos, Path(folder) / "left")
        same(demos, load_demos(Path(folder) / "left"))


@given(given=contents(shortest=0), n_steps=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_parts_laid_end_to_end_are_the_whole(given, n_steps):
    demos = Demos(**given)
    same(demos, joined_parts(parts_of(demos, n_steps)))


@given(given=contents(shortest=0), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_selecting_undoes_itself_and_keeps_every_pairing(given, seed):
    demos = Demos(**given)
    order = np.random.default_rng(seed).permutation(demos.n_episodes)
    shuffled = demos.select(order)
    same(demos, shuffled.select(np.argsort(order)))
    for i, episode in zip(order, shuffled, strict=True):
        assert episode.observations.tobytes() == demos.episode(int(i)).observations.tobytes()
        assert episode.actions.tobytes() == demos.episode(int(i)).actions.tobytes()


@given(given=contents(shortest=0))
@settings(max_examples=60, deadline=None)
def test_the_doctor_never_breaks_down_and_finds_every_value_that_is_not_finite(given):
    demos = Demos(**given)
    report = check_demos(demos)
    for field in ("observations", "actions", "rewards", "costs"):
        values = getattr(demos, field)
        bad = values is not None and not np.isfinite(values).all()
        assert bad == any(f.code == "not-finite" and f.field == field for f in report.findings)
    assert report.ok == all(f.severity == "warning" for f in report.findings)
