"""Sums over spans equal the sums; a window's latent does not depend on the order of its steps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.modes.encoders import SpanSums, StepWindowEncoder, TransitionEncoder


@given(st.integers(0, 2**32 - 1))
def test_span_sums_are_the_sums(seed):
    generator = np.random.default_rng(seed)
    rows = torch.from_numpy(generator.normal(size=(50, 3)).astype(np.float32))
    starts = torch.from_numpy(generator.integers(0, 50, 20))
    lengths = torch.from_numpy(generator.integers(0, 50, 20)).minimum(50 - starts)
    found = SpanSums(rows)(starts, lengths)
    assert found.dtype == torch.float64
    for start, length, total in zip(starts.tolist(), lengths.tolist(), found, strict=True):
        torch.testing.assert_close(total, rows[start : start + length].double().sum(0), atol=1e-9, rtol=0)


def test_a_span_far_down_a_long_table_keeps_its_digits():
    rows = torch.full((200_000, 1), 1e3)
    rows[-10:] = 1e-3
    assert float(SpanSums(rows)(torch.tensor([199_990]), torch.tensor([10]))) == pytest.approx(1e-2, rel=1e-4)


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StepWindowEncoder(5, 2, width=16, latent_size=8)


@torch.no_grad()
def test_a_window_reads_the_same_in_any_order(encoder):
    states, actions = torch.randn(4, 30, 5), torch.randn(4, 30, 2)
    order = torch.randperm(30)
    torch.testing.assert_close(
        encoder(states, actions), encoder(states[:, order], actions[:, order]), atol=1e-5, rtol=1e-5
    )
    apart = encoder(states, actions[:, order])  # the pairing of state and action does matter
    assert float((encoder(states, actions) - apart).abs().max()) > 1e-3


def test_a_window_is_the_mean_of_its_steps_features(encoder):
    states, actions = torch.randn(4, 30, 5), torch.randn(4, 30, 2)
    features = torch.stack([encoder.features(states[:, t], actions[:, t]) for t in range(30)])
    torch.testing.assert_close(encoder(states, actions), encoder.of_mean(features.mean(0)), atol=1e-5, rtol=1e-5)
    doubled = encoder(states.repeat(1, 2, 1), actions.repeat(1, 2, 1))  # any length will do
    torch.testing.assert_close(doubled, encoder(states, actions), atol=1e-5, rtol=1e-5)


def test_the_talks_encoder_has_the_published_widths():
    encoder = TransitionEncoder(60, latent_size=60)
    kinds = [type(layer).__name__ for layer in encoder.layers]
    assert kinds == ["Linear", "Tanh", "Linear", "Tanh", "Linear", "Tanh", "Linear"]
    linear = [layer for layer in encoder.layers if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(60, 60), (60, 30), (30, 60), (60, 60)]
    assert encoder(torch.randn(7, 60)).shape == (7, 60)
    assert TransitionEncoder(1, latent_size=1)(torch.randn(7, 1)).shape == (7, 1)
