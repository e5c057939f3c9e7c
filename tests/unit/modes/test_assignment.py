"""Time is shared: the steps of a span vote together, and one impossible step does not decide an episode."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.modes.assignment import shared_responsibilities, spans_of, with_outlier_floor

LENGTHS = st.lists(st.integers(0, 35), min_size=1, max_size=6).filter(any)


@given(lengths=LENGTHS)
def test_a_span_is_an_episode_and_numbers_have_no_gaps(lengths):
    of_step = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    spans = spans_of(of_step, "episode")
    expected = [i for i, length in enumerate(x for x in lengths if x) for _ in range(length)]
    assert spans.tolist() == expected


@given(lengths=LENGTHS, window_steps=st.integers(1, 12))
def test_a_span_is_a_part_of_an_episode(lengths, window_steps):
    of_step = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    spans = spans_of(of_step, "window", window_steps=window_steps)
    expected, number = [], 0
    for length in lengths:
        for start in range(0, length, window_steps):
            expected += [number] * min(window_steps, length - start)
            number += 1
    assert spans.tolist() == expected


def test_responsibilities_are_the_posterior_of_all_steps_together():
    scores = torch.tensor([[-1.0, -2.0], [-3.0, -1.5], [0.0, -4.0]])
    spans, prior = torch.tensor([0, 0, 1]), torch.tensor([0.25, 0.75]).log()
    found = shared_responsibilities(scores, spans, prior)
    for row, (left, right) in zip(found, [(-4.0, -3.5), (0.0, -4.0)], strict=True):
        joint = np.array([0.25 * math.exp(left), 0.75 * math.exp(right)])
        np.testing.assert_allclose(row.numpy(), joint / joint.sum(), rtol=1e-5)


def test_responsibilities_of_long_episodes_stay_finite_and_sum_to_one():
    scores = torch.randn(5000, 3) * 10 - 1e4
    found = shared_responsibilities(scores, torch.arange(5000) // 1000, torch.zeros(3))
    assert found.shape == (5, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(5))


def test_the_floor_is_a_broad_gaussian_with_a_weight_of_two_percent():
    scores, targets = torch.tensor([[-1.0, -50.0]]), torch.tensor([[0.5, -1.0]])
    broad = torch.distributions.Normal(0.0, 2.0).log_prob(targets).sum(1, keepdim=True).exp()
    torch.testing.assert_close(with_outlier_floor(scores, targets), (0.98 * scores.exp() + 0.02 * broad).log())


def test_one_impossible_step_does_not_decide_an_episode():
    """50 steps speak for mode 0, a little each; one says that mode 0 is impossible."""
    scores = torch.tensor([[-1.0, -1.5]]).repeat(51, 1)
    scores[25] = torch.tensor([-1000.0, -1.0])
    spans, targets = torch.zeros(51, dtype=torch.long), torch.zeros(51, 2)
    without = shared_responsibilities(scores, spans, torch.zeros(2))
    assert without.argmax(1).tolist() == [1]
    floored = shared_responsibilities(with_outlier_floor(scores, targets), spans, torch.zeros(2))
    assert floored.argmax(1).tolist() == [0]
    assert float(floored[0, 0]) > 0.99
