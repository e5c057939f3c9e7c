"""Stretches of steps: the one that a step is in is found, with a number a step or without."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.modes import stretches
from unbraid.modes.stretches import Stretches, some_within

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=8)


@given(lengths=LENGTHS, told=st.sampled_from([0, 1_000_000]))
def test_every_step_finds_its_stretch(lengths, told):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "_TOLD_STEPS", told)
        made = Stretches(torch.tensor(lengths))
    expected = [number for number, length in enumerate(lengths) for _ in range(length)]
    assert len(made) == len(lengths)
    assert made.n_steps == len(expected)
    assert made[torch.arange(made.n_steps)].tolist() == expected
    assert (made.ends - made.starts).tolist() == lengths
    backwards = torch.arange(made.n_steps).flip(0).view(-1, 1).expand(-1, 2)
    assert made[backwards].tolist() == [[number] * 2 for number in expected[::-1]]


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        Stretches(torch.zeros(2, 2, dtype=torch.long))


def test_a_subset_is_uniform_ordered_and_no_larger_than_asked():
    lengths, times = np.array([3, 0, 5, 2, 4, 6]), np.zeros(6)
    for seed in range(3000):
        chosen = some_within(lengths, 10, np.random.default_rng(seed))
        assert lengths[chosen].sum() <= 10
        assert (np.diff(chosen) > 0).all()
        times[chosen] += 1
    equal = np.zeros(8)
    for seed in range(3000):
        equal[some_within(np.full(8, 5), 19, np.random.default_rng(seed))] += 1
    assert np.abs(equal / 3000 - 3 / 8).max() < 0.04
    assert times.min() > 600  # the longest, too


def test_all_are_taken_where_there_is_room_and_nothing_is_drawn():
    generator = np.random.default_rng(0)
    assert some_within(np.array([3, 0, 5]), 8, generator).tolist() == [0, 1, 2]
    assert generator.random() == np.random.default_rng(0).random()
    assert len(some_within(np.array([30, 50]), 8, generator)) == 1  # one at least
