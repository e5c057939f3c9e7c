"""Products of powers of Gaussians: against densities on a grid, and what keeps them proper."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from unbraid.policy.products import moment_matched, product_of_powers


def factors(*pairs):
    """(factor, 1, 1) means and log-deviations."""
    means, deviations = zip(*pairs, strict=True)
    return torch.tensor(means)[:, None, None], torch.tensor(deviations).log()[:, None, None]


@pytest.mark.parametrize("powers", [[0.3, 0.7], [2.0, -1.0], [1.5, -0.5], [1.0, 0.0]])
def test_a_product_is_the_density_it_says(powers):
    means, log_stds = factors((0.0, 1.0), (1.0, 1.3))
    mean, log_std, floored = product_of_powers(means, log_stds, torch.tensor(powers)[:, None, None])
    grid = np.linspace(-12, 14, 20001)
    log_density = powers[0] * norm.logpdf(grid, 0.0, 1.0) + powers[1] * norm.logpdf(grid, 1.0, 1.3)
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    assert not floored.any()
    assert float(mean) == pytest.approx((weights * grid).sum(), abs=1e-4)
    assert float(log_std.exp()) == pytest.approx(np.sqrt((weights * (grid - float(mean)) ** 2).sum()), abs=1e-4)


def test_what_is_avoided_counts_as_no_more_certain_than_what_is_wanted_in_that_dimension_alone():
    means = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
    log_stds = torch.tensor([[[1.0, 1.0]], [[0.1, 5.0]]]).log()  # the avoided is far more certain in the first
    for strength in (0.25, 1.0, 3.0):
        powers = torch.tensor([1 + strength, -strength])[:, None, None]
        mean, log_std, floored = product_of_powers(means, log_stds, powers)
        assert floored.tolist() == [[True, False]]
        precisions = (-2 * log_std).exp()[0]
        assert float(precisions[0]) == pytest.approx(1.0)
        assert float(mean[0, 0]) == pytest.approx(-strength, rel=1e-4)  # pushed by what was asked for
        assert float(precisions[1]) == pytest.approx(1 + strength - strength / 25, rel=1e-5)


def test_every_product_is_a_proper_gaussian():
    generator = torch.Generator().manual_seed(0)
    means = 3 * torch.randn(4, 500, 2, generator=generator)
    log_stds = torch.randn(4, 500, 2, generator=generator)
    mean, log_std, floored = product_of_powers(means, log_stds, torch.tensor([3.0, 1.0, -2.0, -1.0])[:, None, None])
    assert torch.isfinite(mean).all()
    wanted = (torch.tensor([3.0, 1.0])[:, None, None] * (-2 * log_stds[:2]).exp()).sum(0) / 4
    assert ((-2 * log_std).exp() >= 0.999 * wanted).all()  # as certain as what is wanted, or more
    assert 0 < float(floored.float().mean()) < 1


def test_the_average_has_the_moments_of_the_mixture():
    means, log_stds = factors((0.0, 1.0), (4.0, 2.0))
    mean, log_std = moment_matched(means, log_stds, torch.tensor([3.0, 1.0]))  # shares need not sum to 1
    drawn = np.random.default_rng(0)
    which = drawn.random(400_000) < 0.25
    sample = np.where(which, drawn.normal(4, 2, 400_000), drawn.normal(0, 1, 400_000))
    assert float(mean) == pytest.approx(sample.mean(), abs=0.01)
    assert float(log_std.exp()) == pytest.approx(sample.std(), abs=0.01)
