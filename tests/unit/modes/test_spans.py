"""Spans and windows are gathered where they lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid.modes.evidence import Recorded
from unbraid.modes.pieces import PaddedPlaces
from unbraid.modes.spans import SpanSource, WindowPlaces, places_in_spans
from unbraid.modes.windows import cut_windows


@pytest.fixture
def source(recorded_of):
    """Three spans of 3, 1 and 4 steps; rows are doubled and actions negated as they are read."""
    generator = np.random.default_rng(0)
    whole = recorded_of(
        [generator.normal(size=(n + 1, 2)) for n in (3, 1, 4)], [np.ones((n, 1)) * n for n in (3, 1, 4)]
    )
    first_row, first_place, lengths = torch.tensor([0, 4, 6]), torch.tensor([0, 3, 4]), torch.tensor([3, 1, 4])
    return SpanSource(whole.rows, whole.actions, first_row, first_place, lengths, lambda x: 2 * x, lambda x: -x)


def test_chosen_spans_are_gathered_in_the_order_asked_and_scaled(source):
    found = source.of_spans(torch.tensor([2, 0]))
    torch.testing.assert_close(found.states, 2 * source.rows[[6, 7, 8, 9, 0, 1, 2]])
    torch.testing.assert_close(found.rows, 2 * source.rows[[6, 7, 8, 9, 10, 0, 1, 2, 3]])
    assert found.actions[:, 0].tolist() == [-4] * 4 + [-3] * 3
    assert found.spans.tolist() == [0] * 4 + [1] * 3
    assert found.lengths.tolist() == [4, 3]


def test_all_spans_are_what_lies_there(source):
    found = source.of_spans(torch.arange(3))
    spans = torch.tensor([0] * 3 + [1] + [2] * 4)
    whole = Recorded(2 * source.rows, torch.arange(8) + spans, -source.actions, spans)
    for name in ("rows", "row_of_step", "actions", "spans"):
        assert torch.equal(getattr(found, name), getattr(whole, name)), name


def test_parts_of_an_episode_share_the_row_between_them():
    """Spans of two steps within one episode of four: the second starts at the row where the first ends."""
    rows = torch.arange(5.0)[:, None]
    first, lengths, same = torch.tensor([0, 2]), torch.tensor([2, 2]), torch.nn.Identity()
    source = SpanSource(rows, torch.zeros(4, 1), first, first, lengths, same, same)
    found = source.of_spans(torch.tensor([0, 1]))
    assert found.rows[:, 0].tolist() == [0, 1, 2, 2, 3, 4]
    assert found.states[:, 0].tolist() == [0, 1, 2, 3]


def test_only_what_is_chosen_is_read(source):
    read = []

    def scaled(rows):
        read.append(len(rows))
        return rows

    reading = replace(source, scale_rows=scaled, scale_actions=scaled)
    reading.of_spans(torch.tensor([1]))
    assert read == [2, 1]
    reading.first_steps(2).of_spans(torch.tensor([2, 1]))
    assert read[2:] == [3 + 2, 2 + 1]


def test_the_beginning_of_spans_is_what_a_search_takes_of_their_whole(source):
    chosen = torch.tensor([2, 0])
    beginning, whole = source.first_steps(2).of_spans(chosen), source.of_spans(chosen).first_steps(2)
    for name in ("states", "actions", "spans"):
        assert torch.equal(getattr(beginning, name), getattr(whole, name)), name
    assert torch.equal(beginning.rows[beginning.row_of_step + 1], whole.rows[whole.row_of_step + 1])


def test_places():
    assert places_in_spans(torch.tensor([5, 0]), torch.tensor([2, 3])).tolist() == [5, 6, 0, 1, 2]


def test_windows_are_drawn_from_every_place_alike():
    lengths = np.array([3, 0, 2, 6])
    places = WindowPlaces(lengths, 3)
    fits = cut_windows(lengths, 3, stride_steps=1).starts
    assert len(places) == len(fits) == 5
    assert places.at(torch.arange(5))[0].tolist() == fits.tolist()
    assert places.at(torch.arange(5))[1].tolist() == [0, 3, 3, 3, 3]
    drawn = places.drawn(20_000, torch.Generator().manual_seed(0))
    values, counts = torch.unique(drawn, return_counts=True)
    assert values.tolist() == fits.tolist()
    assert (counts / 20_000 - 1 / 5).abs().max() < 0.02
    assert torch.equal(drawn, places.drawn(20_000, torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, places.drawn(20_000, torch.Generator().manual_seed(1)))


def test_a_hundred_million_steps_are_drawn_from_uniformly():
    """No number a step is kept, and every part of the whole is as likely as any other."""
    lengths = np.random.default_rng(0).integers(100, 400, size=400_000)
    n_steps, n_bins = int(lengths.sum()), 50
    assert n_steps > 90_000_000
    ends = np.cumsum(lengths)
    for places in (WindowPlaces(lengths, 25), PaddedPlaces(lengths, 25)):
        drawn = places.drawn(200_000, torch.Generator().manual_seed(0))
        starts = (drawn if isinstance(drawn, torch.Tensor) else drawn.steps[:, 0]).numpy()
        counts = np.histogram(starts, bins=n_bins, range=(0, n_steps))[0]
        expected = len(starts) / n_bins
        assert ((counts - expected) ** 2 / expected).sum() < 100  # chi-square with 49 degrees: p < 0.0001 above
        left = ends[np.searchsorted(ends, starts, side="right")] - starts
        assert left.min() >= 25


@pytest.mark.parametrize("short_are_whole", [False, True])
def test_an_episode_shorter_than_a_window_is_one_place_or_none(short_are_whole):
    """Episodes of 3, 0, 6, 4 and 1 steps, windows of 4."""
    places = WindowPlaces(np.array([3, 0, 6, 4, 1]), 4, short_are_whole=short_are_whole)
    starts, episodes = places.at(torch.arange(len(places)))
    found = list(zip(starts.tolist(), episodes.tolist(), strict=True))
    long = [(3, 2), (4, 2), (5, 2), (9, 3)]
    assert found == ([(0, 0), *long, (13, 4)] if short_are_whole else long)
