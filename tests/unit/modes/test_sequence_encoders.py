"""Every kind of encoder: padding never leaks, windows read alike alone and beside others, and order counts or not."""

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.modes.encoders import StepWindowEncoder, masked_mean
from unbraid.modes.sequence_encoders import READERS, SequenceEncoder

KINDS = ["mean", *READERS]
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def made(kind, width=16, latent_size=8):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "mean":
            return StepWindowEncoder(5, 2, width=width, latent_size=latent_size)
        return SequenceEncoder(kind, 5, 2, width=width, latent_size=latent_size)


ENCODERS = {kind: made(kind) for kind in KINDS}


def windows(lengths, seed, n_more=0):
    """States, actions and the mask of windows with noise in their padding."""
    generator = torch.Generator().manual_seed(seed)
    n = max(lengths) + n_more
    mask = torch.arange(n) < torch.tensor(lengths)[:, None]
    states = torch.randn(len(lengths), n, 5, generator=generator)
    return states, torch.randn(len(lengths), n, 2, generator=generator), mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_steps", [1, 24, 25, 26, 60])
def test_a_latent_for_each_window_of_any_length(kind, n_steps):
    states, actions, mask = windows([n_steps] * 3, 0)
    found = ENCODERS[kind](states, actions, mask)
    assert found.shape == (3, 8)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(ENCODERS[kind](states, actions), found)  # without a mask all steps count


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, n_more=st.integers(0, 30), seed=st.integers(0, 2**31))
@torch.no_grad()
def test_what_stands_in_the_padding_is_never_read(kind, lengths, n_more, seed):
    states, actions, mask = windows(lengths, seed, n_more)
    found = ENCODERS[kind](states, actions, mask)
    for other in (1e6, float("inf"), float("nan")):
        for values in (states, actions):
            values[~mask] = other
        assert torch.equal(ENCODERS[kind](states, actions, mask), found)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, n_more=st.integers(0, 30), seed=st.integers(0, 2**31))
@torch.no_grad()
def test_a_window_reads_alike_alone_and_beside_longer_ones_and_with_more_padding(kind, lengths, n_more, seed):
    states, actions, mask = windows(lengths, seed, n_more)
    found = ENCODERS[kind](states, actions, mask)
    for row, n in enumerate(lengths):
        alone = ENCODERS[kind](states[row : row + 1, :n], actions[row : row + 1, :n])
        torch.testing.assert_close(found[row : row + 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_steps_of_a_window_are_all_read(kind):
    """The last one, too, in windows longer than 25 steps."""
    states, actions, mask = windows([60, 33], 1)
    found = ENCODERS[kind](states, actions, mask)
    for step in (0, 20, 32):
        changed = states.clone()
        changed[1, step] += 3
        moved = (ENCODERS[kind](changed, actions, mask) - found).abs().amax(1)
        assert moved[0] < 1e-6  # another window has no say
        assert moved[1] > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_order_counts_for_all_but_the_mean(kind):
    states, actions, _ = windows([20] * 4, 2)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    moved = ENCODERS[kind](states[:, order], actions[:, order]) - ENCODERS[kind](states, actions)
    assert (float(moved.abs().max()) < 1e-5) == (kind == "mean")


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_comes_from_the_padding(kind):
    states, actions, mask = windows([4, 30], 4)
    states.requires_grad_()
    made(kind)(states, actions, mask).square().sum().backward()
    assert (states.grad[0, 4:] == 0).all()
    assert (states.grad[mask].abs().sum(1) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_reading_is_the_same_while_training_and_after(kind):
    states, actions, mask = windows([12, 3], 5)
    encoder = made(kind)
    training = encoder.train()(states, actions, mask)
    torch.testing.assert_close(encoder.eval()(states, actions, mask), training, atol=1e-5, rtol=1e-4)


def laps(n, generator):
    """Windows of ten steps that visit ten places, each next one or each third, with noise in the action; and which."""
    label = torch.randint(2, (n,), generator=generator)
    first = torch.randint(10, (n, 1), generator=generator)
    angle = (first + (1 + 2 * label[:, None]) * torch.arange(10)) * (2 * torch.pi / 10)
    states = torch.stack([angle.cos(), angle.sin(), *[torch.zeros_like(angle)] * 3], dim=2)
    return states, torch.randn(n, 10, 2, generator=generator), label


@pytest.mark.parametrize("kind", KINDS)
def test_what_order_alone_tells_is_learned_by_all_but_the_mean(kind):
    generator = torch.Generator().manual_seed(6)
    encoder = made(kind, width=32, latent_size=2)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=4e-3)
    for _ in range(150):
        states, actions, label = laps(64, generator)
        torch.nn.functional.cross_entropy(encoder(states, actions), label).backward()
        optimizer.step()
        optimizer.zero_grad()
    states, actions, label = laps(1000, generator)
    with torch.no_grad():
        right = float((encoder(states, actions).argmax(1) == label).float().mean())
    assert right < 0.6 if kind == "mean" else right > 0.95, right


def test_a_masked_mean_is_the_mean_of_what_is_there():
    values = torch.tensor([[[1.0], [3.0], [float("nan")]], [[2.0], [4.0], [6.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert masked_mean(values, mask).tolist() == [[2.0], [4.0]]


def test_a_wrong_shape_is_seen():
    states, actions, mask = windows([4, 3], 7)
    with pytest.raises(jaxtyping.TypeCheckError):
        ENCODERS["lstm"](states, actions, mask[:, :2])


@pytest.mark.parametrize("width", [6, 7])
def test_attention_takes_any_width(width):
    states, actions, mask = windows([4, 3], 8)
    assert made("attention", width=width)(states, actions, mask).shape == (2, 8)
