"""Time is shared: a span is an episode, or a part of one."""

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.modes.assignment import spans_of

LENGTHS = st.lists(st.integers(0, 35), min_size=1, max_size=6).filter(any)


@given(lengths=LENGTHS)
def test_a_span_is_an_episode_and_numbers_have_no_gaps(lengths):
    spans = spans_of(torch.tensor(lengths), "episode")[torch.arange(sum(lengths))]
    expected = [i for i, length in enumerate(x for x in lengths if x) for _ in range(length)]
    assert spans.tolist() == expected


@given(lengths=LENGTHS, window_steps=st.integers(1, 12))
def test_a_span_is_a_part_of_an_episode(lengths, window_steps):
    spans = spans_of(torch.tensor(lengths), "window", window_steps=window_steps)[torch.arange(sum(lengths))]
    expected, number = [], 0
    for length in lengths:
        for start in range(0, length, window_steps):
            expected += [number] * min(window_steps, length - start)
            number += 1
    assert spans.tolist() == expected


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        spans_of(torch.zeros(4, 2, dtype=torch.long), "episode")
