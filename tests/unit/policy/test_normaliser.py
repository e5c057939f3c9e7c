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


def test_components_are_the_directions_of_most_variance_with_the_shares_that_they_have_of_it():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(400, 2)) * [3.0, 1.0] @ generator.normal(size=(2, 6))
    values += 0.05 * generator.normal(size=values.shape)
    made = Normaliser.of(values, floor=0.02, clip=60.0)
    scaled = made(torch.from_numpy(values)).numpy()
    made.keep_components(values, 2, floor=0.0)
    found = made(torch.from_numpy(values).float()).numpy()
    left, sizes, _ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    assert sizes[2] < 0.1 * sizes[1], "else two directions are not all that there is"
    shares = sizes[:2] ** 2 / (sizes[:2] ** 2).mean()
    np.testing.assert_allclose(np.cov(found.T), np.diag(shares), atol=1e-4)
    np.testing.assert_allclose(np.abs(found.T @ left[:, :2]) / np.sqrt(399), np.diag(shares**0.5), atol=1e-2)


def test_components_are_clipped_as_columns_are():
    values = np.random.default_rng(0).normal(size=(200, 1)) + 0.01 * np.random.default_rng(1).normal(size=(200, 5))
    made = Normaliser.of(values, floor=0.02, clip=2.0)
    made.keep_components(values, 1, floor=0.02)
    assert float(made(torch.full((1, 5), 100.0)).abs()) == 2


def test_no_more_components_are_kept_than_there_are_rows_or_columns_and_what_never_varies_is_zero():
    values = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    made = Normaliser.of(values, floor=0.02)
    made.keep_components(values, 9, floor=0.02)
    assert made.components.shape == (5, 3)
    found = made(torch.from_numpy(values))
    assert torch.isfinite(found).all()
    assert (found[:, 2] - found[:, 2].mean()).abs().max() < 1e-3, "three rows vary in two directions"


def test_a_new_one_changes_nothing_and_learns_nothing():
    made, values = Normaliser(3), torch.randn(5, 3) * 1e6
    assert torch.equal(made(values), values)
    assert list(made.parameters()) == []
    assert set(made.state_dict()) == {"mean", "scale", "clip"}


def test_with_a_floor_of_the_range_units_do_not_matter():
    """A column in kilometres is scaled like one in metres; constant columns become 0, not infinite."""
    values = np.random.default_rng(0).uniform(-1, 1, size=(500, 3)).astype(np.float32)
    values[:, 2] = 5.0
    small = values * np.array([1e-3, 1, 1], np.float32)
    scaled, again = (
        Normaliser.of_blocks([rows[:100], rows[100:]], floor=0.02, of_range=True)(torch.from_numpy(rows))
        for rows in (values, small)
    )
    np.testing.assert_allclose(again[:, 0], scaled[:, 0], rtol=0.04)  # the floor is 0.02 of 1, or of the range
    assert (again[:, 2] == 0).all()


def test_blocks_are_read_as_the_whole_is():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(100, 2))
    whole, blocks = Normaliser.of(values, floor=0.1), Normaliser.of_blocks(np.split(values, [7, 50]), floor=0.1)
    torch.testing.assert_close(whole.scale, blocks.scale)
    torch.testing.assert_close(whole.mean, blocks.mean)
