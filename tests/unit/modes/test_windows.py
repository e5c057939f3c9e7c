"""Windows lie inside one episode, at every stride, and none that fits is left out."""

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.core.errors import ConfigError
from unbraid.modes.windows import cut_windows

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=8).map(lambda given: np.array(given, dtype=np.int64))


def by_hand(lengths, window_steps, stride_steps):
    """(start, episode) of every window, in order, counted out one by one."""
    found, start = [], 0
    for episode, length in enumerate(lengths.tolist()):
        t = 0
        while t + window_steps <= length:
            found.append((start + t, episode))
            t += stride_steps
        start += length
    return found


@given(lengths=LENGTHS, window_steps=st.integers(1, 45), stride_steps=st.integers(1, 12))
def test_windows_are_those_counted_out_by_hand_and_cross_no_end(lengths, window_steps, stride_steps):
    windows = cut_windows(lengths, window_steps, stride_steps=stride_steps)
    assert list(zip(windows.starts.tolist(), windows.episodes.tolist(), strict=True)) == by_hand(
        lengths, window_steps, stride_steps
    )
    assert len(windows) == len(windows.starts) == len(windows.lengths)
    assert (windows.lengths == window_steps).all()
    episode_of_step = np.repeat(np.arange(len(lengths)), lengths)
    for start, length, episode in zip(windows.starts, windows.lengths, windows.episodes, strict=True):
        assert (episode_of_step[start : start + length] == episode).all()
        assert start + length <= lengths.sum()


@given(lengths=LENGTHS)
def test_a_whole_episode_is_one_window_and_an_empty_one_none(lengths):
    windows = cut_windows(lengths)
    episode_of_step = np.repeat(np.arange(len(lengths)), lengths)
    assert windows.episodes.tolist() == sorted(set(episode_of_step.tolist()))
    assert windows.lengths.sum() == lengths.sum()
    for start, length, episode in zip(windows.starts, windows.lengths, windows.episodes, strict=True):
        assert np.flatnonzero(episode_of_step == episode).tolist() == list(range(start, start + length))


def test_windows_longer_than_every_episode_are_none():
    windows = cut_windows(np.array([3, 0, 4]), 5)
    assert len(windows) == 0
    assert windows.starts.dtype == np.int64


@pytest.mark.parametrize(("window_steps", "stride_steps"), [(0, 5), (-3, 5), (5, 0)])
def test_a_window_or_stride_of_nothing_is_refused(window_steps, stride_steps):
    with pytest.raises(ConfigError, match=rf"at least 1 step; got {window_steps} and {stride_steps}\. Ask for more"):
        cut_windows(np.array([10]), window_steps, stride_steps=stride_steps)


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        cut_windows(np.array([[3, 4], [5, 6]]), 2)
