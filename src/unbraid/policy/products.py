"""Gaussians made of the Gaussians of several modes: their average, and products of their powers."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["LEAST_PRECISION", "moment_matched", "moments_of_mixture", "product_of_powers"]

LEAST_PRECISION = 0.25
"""What a product keeps of the precision that its positive powers have: at most twice their deviation."""


def moments_of_mixture(
    weights: Float[Tensor, "part *#batch 1"],
    means: Float[Tensor, "part *batch act"],
    log_stds: Float[Tensor, "part *batch act"],
) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
    """(mean, log_std) of a mixture of Gaussians whose weights sum to 1, each dimension apart."""
    mean = (weights * means).sum(0)
    variance = (weights * ((2 * log_stds).exp() + (means - mean).square())).sum(0)
    return mean, 0.5 * variance.log()


def moment_matched(
    means: Float[Tensor, "mode batch act"],
    log_stds: Float[Tensor, "mode batch act"],
    shares: Float[Tensor, "mode"],
) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
    """(mean, log_std) of the Gaussian with the mean and the variance of the mixture of all modes, per dimension."""
    return moments_of_mixture((shares / shares.sum())[:, None, None], means, log_stds)


def product_of_powers(
    means: Float[Tensor, "factor batch act"],
    log_stds: Float[Tensor, "factor batch act"],
    powers: Float[Tensor, "factor #batch 1"],
) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"], Bool[Tensor, "batch act"]]:
    """(mean, log_std, floored) of the Gaussian proportional to prod_k N(a; mean_k, std_k^2)^power_k.

    Its precision is sum_k power_k / std_k^2, and its mean the average of the means, weighted with power_k / std_k^2.
    Negative powers may leave no precision, or less than none, and then there is no such Gaussian. So the negative
    powers together take at most three quarters of the precision that the positive ones have; where they would take
    more, in one dimension of one action, all of them are scaled down together there until they don't, and `floored`
    says so. A mode that is far more certain than what it is taken away from still pushes, by a bounded amount.

    Source: Hinton 2002, "Training products of experts", section 2, with real powers. Departs: the floor.
    """
    precisions = powers * (-2 * log_stds).exp()
    kept = precisions.clamp_min(0).sum(0)
    taken = -precisions.clamp_max(0).sum(0)
    most = (1 - LEAST_PRECISION) * kept
    floored = taken > most
    scale = torch.where(floored, most / taken.clamp_min(1e-30), 1.0)
    precisions = torch.where(precisions < 0, scale * precisions, precisions)
    total = precisions.sum(0)
    return (precisions * means).sum(0) / total, -0.5 * total.log(), floored
