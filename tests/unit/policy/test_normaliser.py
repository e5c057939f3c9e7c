"""The normaliser reads what NumPy reads, in any number of blocks, and a column that never moves becomes 0."""

import numpy as np
import pytest
import torch

from unbraid.policy.normaliser import Normaliser


def test_mean_and_deviation_are_numpys():
    values = np.random.default_rng(0).normal([1, -50, 1e3], [0.1, 5, 1e-2], size=(1000, 3))
    made = Normaliser.of(values, floor=0.02, clip=6.0)
    np.testing.assert_allclose(made.mean.numpy(), values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(made.scale.numpy(), values.std(0) + 0.02, rtol=1e-5)
    expected = np.clip((values - values.mean(0)) / (values.std(0) + 0.02), -6, 6)
    np.testing.assert_allclose(made(torch.from_numpy(values)).numpy(), expected, atol=1e-2)


def test_many_blocks_are_read_as_one():
    values = np.random.default_rng(0).normal(3, 2, size=(150_000, 2)).astype(np.float32)
    values[65_536:] += 4  # the blocks differ
    made = Normaliser.of(values, floor=0.0)
    np.testing.assert_allclose(made.mean.numpy(), values.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(made.scale.numpy(), values.astype(np.float64).std(0), rtol=1e-6)


def test_a_small_deviation_far_from_zero_keeps_its_digits():
    values = 1e6 + np.random.default_rng(0).normal(0, 1e-3, size=(5000, 1))
    assert float(Normaliser.of(values, floor=0.0).scale[0]) == pytest.approx(values.std(), rel=1e-4)


@pytest.mark.parametrize("constant", [0.0, 7.3, -1e5])
def test_a_constant_column_becomes_zero(constant):
    values = np.full((100, 2), constant)
    values[:, 1] = np.arange(100)
    scaled = Normaliser.of(values, floor=0.02)(torch.from_numpy(values).float())
    assert (scaled[:, 0].abs() < 1e-3).all()
    assert float(scaled[:, 1].std()) == pytest.approx(1, abs=0.02)


def test_what_lies_beyond_the_clip_is_cut():
    values = np.concatenate([np.zeros((99, 1)), np.full((1, 1), 100.0)])
    made = Normaliser.of(values, floor=0.02, clip=6.0)
    assert float(made(torch.tensor([[100.0]]))) == 6
    assert float(made(torch.tensor([[-1e9]]))) == -6
    assert float(Normaliser.of(values, floor=0.02)(torch.tensor([[100.0]]))) > 9


def test_undo_gives_back_what_came():
    values = np.random.default_rng(0).normal(3, 2, size=(100, 4))
    made, given = Normaliser.of(values, floor=1e-3), torch.from_numpy(values).float()
    torch.testing.assert_close(made.undo(made(given)), given, atol=1e-5, rtol=1e-5)


def test_a_new_one_changes_nothing_and_learns_nothing():
    made, values = Normaliser(3), torch.randn(5, 3) * 1e6
    assert torch.equal(made(values), values)
    assert list(made.parameters()) == []
    assert set(made.state_dict()) == {"mean", "scale", "clip"}
