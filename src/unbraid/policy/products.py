"""Gaussians made of the Gaussians of several modes: their average, and products of their powers."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["moment_matched", "moments_of_mixture", "product_of_powers"]


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

    The powers sum to 1.

    Its precision is sum_k power_k / std_k^2, and its mean the average of the means, weighted with power_k / std_k^2.
    Negative powers may leave no precision, or less than none, and then there is no such Gaussian. So what has a
    negative power counts as no more certain than what has positive ones is on average, by their powers; where it is, in
    one dimension of one action, its precision is lowered to theirs there, and `floored` says so. Then at least that
    average is left; and of two factors with powers 1 + w and -w the mean is at most w times their difference beyond the
    first, exactly that where both are equally certain, or the second was more so.

    Source: Hinton 2002, "Training products of experts", section 2, with real powers. Departs: the bound.
    """
    precisions, wanted = (-2 * log_stds).exp(), powers.clamp_min(0)
    kept, of_all = wanted * precisions, wanted.sum(0)
    most, middle = kept.sum(0) / of_all, (kept * means).sum(0) / kept.sum(0)
    floored = (powers < 0) & (precisions > most)
    taken = (wanted - powers) * torch.where(floored, most, precisions)
    # Not as sums over all factors, of which only rounding is left where powers are large.
    total = (kept.sum(0) - taken.sum(0)).clamp_min(most)
    return middle + (taken * (middle - means)).sum(0) / total, -0.5 * total.log(), floored.any(0)
