"""A timeline says who acts when, where that changes, and how sure it is of the place."""

import itertools
import json

import numpy as np
import pytest

from unbraid.modes.timeline import timeline_of

LENGTHS = np.array([60, 40, 0, 50])


def scores(strength, seed=0):
    """Modes of episodes that change from 0 to 1 at step 25, never, and from 1 to 0 at step 10; and their scores."""
    modes = np.concatenate([np.arange(60) >= 25, np.full(40, 1), np.arange(50) < 10]).astype(int)
    noise = np.random.default_rng(seed).normal(size=(150, 2))
    return modes, strength * (np.where(modes[:, None] == np.arange(2), 1.0, 0.0) + 0.5 * noise)


def test_changes_are_where_they_are():
    modes, values = scores(3.0)
    found = timeline_of(values, LENGTHS, 0.01)
    np.testing.assert_array_equal(found.modes, modes)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert [(c.episode, c.step, c.before, c.after) for c in found.change_points] == [(0, 25, 0, 1), (3, 10, 1, 0)]
    for change in found.change_points:
        assert change.low_step <= change.step <= change.high_step
        assert change.probability > 0.99
    assert json.loads(json.dumps(found.change_points[0].to_json()))["step"] == 25


def test_weaker_evidence_leaves_the_place_less_sure_and_the_truth_within():
    widths = []
    for strength in (3.0, 0.6):
        inside = 0
        spread = []
        for seed in range(40):
            _, values = scores(strength, seed)
            for change in timeline_of(values, LENGTHS, 0.01).change_points:
                if change.episode == 0 and abs(change.step - 25) <= 12:
                    inside += change.low_step <= 25 <= change.high_step
                    spread.append(change.high_step - change.low_step)
        assert inside / len(spread) > 0.8
        widths.append(np.mean(spread))
    assert widths[1] > widths[0] + 1


def test_without_switching_an_episode_has_one_mode():
    _, values = scores(3.0)
    found = timeline_of(values, LENGTHS, 0.0)
    assert found.change_points == ()
    for own, probable in zip(np.split(found.modes, [60, 100]), np.split(found.probabilities, [60, 100]), strict=True):
        assert len(set(own)) == 1
        assert (probable == probable[0]).all()
        assert probable[0].argmax() == own[0]


def test_without_switching_a_mode_is_as_probable_as_all_steps_together_say():
    _, values = scores(0.1)
    found = timeline_of(values, LENGTHS, 0.0)
    for own, probable in zip(np.split(values, [60, 100]), np.split(found.probabilities, [60, 100]), strict=True):
        weights = [float(np.prod(np.exp(column))) for column in own.T]
        np.testing.assert_allclose(probable[-1], np.array(weights) / sum(weights))


def test_nothing_overflows_without_switching():
    found = timeline_of(np.full((3000, 2), [2.0, 0.0]), np.array([3000]), 0.0)
    np.testing.assert_array_equal(found.probabilities[0], [1.0, 0.0])


@pytest.mark.parametrize("seed", range(4))
def test_a_change_and_its_place_are_as_sure_as_all_sequences_of_modes_say(seed):
    """Of 2^13 sequences: between the middles of two stretches, where the mode changes, and whether it does."""
    n, rate = 13, 0.1
    truth = np.searchsorted([4, 10], np.arange(n), side="right") % 2
    values = 1.5 * (truth[:, None] == np.arange(2)) + np.random.default_rng(seed).normal(size=(n, 2)) * 0.4
    before = np.zeros((3, 2))  # another episode, which says nothing
    found = timeline_of(np.concatenate([before, values]), np.array([3, n]), rate)
    paths = np.array(list(itertools.product(range(2), repeat=n)))
    moved = np.diff(paths, axis=1) != 0  # column t: from step t to t + 1
    weights = np.exp(values[np.arange(n), paths].sum(1)) * np.prod(np.where(moved, rate, 1 - rate), axis=1)
    weights /= weights.sum()
    one, two = found.change_points
    assert [(c.episode, c.before, c.after) for c in (one, two)] == [(1, 0, 1), (1, 1, 0)]
    middles = [one.step // 2, (one.step + two.step) // 2, (two.step + n) // 2]
    for change, first, last in zip((one, two), middles, middles[1:], strict=False):
        between = moved[:, first:last]
        assert change.probability == pytest.approx(weights @ between.any(1))
        places = weights @ between
        so_far = np.cumsum(places / places.sum())
        steps = np.arange(first + 1, last + 1)
        assert change.low_step == steps[so_far >= 0.05][0]
        assert change.high_step == steps[so_far >= 0.95][0]
