"""Padded windows lie where they should; long windows are read whole, in as few pieces as do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.modes import pieces
from unbraid.modes.pieces import PaddedPlaces, mean_over_pieces, padded, pieces_of
from unbraid.modes.windows import Windows


def windows_of(lengths):
    """Windows that lie one behind the other."""
    lengths = np.array(lengths, dtype=np.int64)
    return Windows(np.cumsum(lengths) - lengths, lengths, np.arange(len(lengths)))


def test_windows_of_different_lengths_stand_side_by_side():
    found = padded(torch.tensor([10, 3]), torch.tensor([2, 4]))
    assert found.steps.tolist() == [[10, 11, 11, 11], [3, 4, 5, 6]]
    assert found.mask.tolist() == [[True, True, False, False], [True] * 4]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 40), st.integers(0, 2**31))
def test_drawn_windows_lie_in_one_episode_and_are_as_long_as_they_may_be(lengths, window_steps, seed):
    if not any(lengths):
        return
    lengths = np.array(lengths, dtype=np.int64)
    places = PaddedPlaces(lengths, window_steps)
    assert len(places) == sum(max(n - window_steps, 0) + 1 for n in lengths if n)
    found = places.drawn(9, torch.Generator().manual_seed(seed))
    again = places.drawn(9, torch.Generator().manual_seed(seed))
    assert torch.equal(found.steps, again.steps)
    episode_of_step = np.repeat(np.arange(len(lengths)), lengths)
    for row, (steps, mask) in enumerate(zip(found.steps.numpy(), found.mask.numpy(), strict=True)):
        (episode,) = set(episode_of_step[steps])
        own = steps[mask]
        assert own.tolist() == list(range(own[0], own[0] + len(own)))
        most = min(window_steps, int(lengths[episode]))
        assert 1 <= len(own) <= most
        assert row < 4 or len(own) == most  # the first half are cut


def test_every_place_and_every_length_is_drawn():
    places = PaddedPlaces(np.array([3, 0, 7]), 5)
    found = places.drawn(4000, torch.Generator().manual_seed(0))
    lengths = found.mask.sum(1)
    counts = np.bincount(found.steps[2000:, 0], minlength=10)
    np.testing.assert_allclose(counts / 2000, [0.25, 0, 0, 0.25, 0.25, 0.25, 0, 0, 0, 0], atol=0.04)
    assert set(lengths[2000:].tolist()) == {3, 5}
    cut = np.bincount(lengths[:2000], minlength=6)[1:] / 2000
    np.testing.assert_allclose(cut, np.array([1 / 3, 1 / 3, 1 / 3, 0, 0]) / 4 + 0.75 / 5, atol=0.03)


@given(st.lists(st.integers(1, 250), min_size=1, max_size=6), st.integers(1, 60))
def test_pieces_hold_every_step_and_are_as_few_as_do(lengths, longest):
    windows = windows_of(lengths)
    found, of = pieces_of(windows, longest)
    assert len(found) == sum(-(-n // longest) for n in lengths)
    for number, n in enumerate(lengths):
        own = np.flatnonzero(of == number)
        held = {t for i in own for t in range(found.starts[i], found.starts[i] + found.lengths[i])}
        start = windows.starts[number]
        assert held == set(range(start, start + n))
        assert len(set(found.lengths[own])) == 1
        assert found.lengths[own[0]] <= longest
        assert (found.episodes[own] == number).all()


@pytest.mark.parametrize("at_once", [1, 40, 32768])
def test_a_window_is_the_mean_over_its_pieces_however_many_are_read_at_once(monkeypatch, at_once):
    monkeypatch.setattr(pieces, "_STEPS_AT_ONCE", at_once)
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 2)))
    most = []

    def read(windows):
        most.append(windows.steps.numel())
        return torch.stack([values[s][m].square().sum(0) for s, m in zip(windows.steps, windows.mask, strict=True)])

    windows = windows_of([7, 100, 1, 20, 41])
    found = mean_over_pieces(windows, 20, 2, read)
    assert max(most) <= max(at_once, 20)
    first = values[:7].square().sum(0)
    np.testing.assert_allclose(found[0], first)
    hundred = values[7:107].square().sum(0) / 5
    np.testing.assert_allclose(found[1], hundred)
    last = [values[128 + s : 128 + s + 14].square().sum(0) for s in (0, 13, 27)]  # 41 steps: three pieces of 14
    np.testing.assert_allclose(found[4], sum(last) / 3)


def test_no_windows_are_no_rows():
    assert mean_over_pieces(windows_of([]), 20, 3, lambda windows: torch.zeros(1, 3)).shape == (0, 3)
