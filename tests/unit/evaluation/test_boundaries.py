"""Changes are matched one to one; those that nothing matches are counted apart."""

import itertools

import numpy as np
import pytest

from unbraid.evaluation.boundaries import boundary_scores


def steps(n, *changes):
    """Modes of an episode that alternate at the given steps."""
    return np.searchsorted(np.array(changes), np.arange(n), side="right") % 2


def test_errors_missing_and_spurious_ones():
    lengths = np.array([100, 100, 100, 0, 1])
    labels = np.concatenate([steps(100, 40), steps(100, 20, 70), steps(100), [0]])
    modes = np.concatenate([steps(100, 43), steps(100, 21), steps(100, 30, 33), [1]])
    found = boundary_scores(labels, modes, lengths)
    assert sorted(found.errors_steps.tolist()) == [1, 3]
    assert found.missing.tolist() == [0, 1, 0, 0, 0]
    assert found.spurious.tolist() == [0, 0, 2, 0, 0]
    told = found.to_json()
    assert told["n_matched"] == 2
    assert told["error_quartiles_steps"][1] == 2
    assert told["missing_per_episode"]["value"] == 0.2


def test_as_many_as_possible_are_matched_and_none_twice():
    """The nearest first would match 50 with 52, and leave 10 and 90 without a partner that is near enough."""
    found = boundary_scores(steps(100, 50, 60), steps(100, 52, 55), np.array([100]))
    assert sorted(found.errors_steps.tolist()) == [2, 5]
    found = boundary_scores(steps(100, 50), steps(100, 49, 51), np.array([100]))
    assert found.errors_steps.tolist() == [1]
    assert found.spurious.tolist() == [1]


def test_what_lies_too_far_apart_is_no_match():
    found = boundary_scores(steps(200, 20), steps(200, 150), np.array([200]))
    assert len(found.errors_steps) == 0
    assert (found.missing.tolist(), found.spurious.tolist()) == ([1], [1])
    assert found.to_json()["error_quartiles_steps"] is None
    assert len(boundary_scores(steps(200, 20), steps(200, 150), np.array([200]), farthest_steps=130).errors_steps) == 1


def test_changes_that_lie_just_as_far_apart_as_may_be_are_matched():
    for step, n in ((70, 1), (71, 0)):
        assert len(boundary_scores(steps(200, 20), steps(200, step), np.array([200])).errors_steps) == n


def test_what_is_too_far_apart_does_not_count_for_the_sum():
    """Of all four changes the least sum is 9 + 12; of what may be matched, 10 with 9 is nearer."""
    found = boundary_scores(steps(60, 1, 11), steps(60, 10, 23), np.array([60]), farthest_steps=10)
    assert found.errors_steps.tolist() == [1]


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_best_of_all_matchings(seed):
    """The most matched pairs, and of those matchings the least sum of distances, by trying all of them."""
    generator = np.random.default_rng(seed)
    true, found = (np.sort(generator.choice(np.arange(1, 60), n, replace=False)) for n in generator.integers(2, 5, 2))
    every = []
    for n in range(min(len(true), len(found)) + 1):
        for some, others in itertools.product(itertools.combinations(true, n), itertools.permutations(found, n)):
            apart = [abs(int(a) - int(b)) for a, b in zip(some, others, strict=True)]
            if max(apart, default=0) <= 10:
                every.append((-n, sum(apart)))
    scored = boundary_scores(steps(60, *true), steps(60, *found), np.array([60]), farthest_steps=10)
    errors = scored.errors_steps
    assert (-len(errors), int(errors.sum())) == min(every)
    assert scored.missing.tolist() == [len(true) - len(errors)]
    assert scored.spurious.tolist() == [len(found) - len(errors)]


def test_what_is_told_has_the_quartiles():
    told = boundary_scores(steps(100, 10, 40, 70), steps(100, 12, 46, 80), np.array([100])).to_json()
    assert told["error_quartiles_steps"] == [4, 6, 8]
