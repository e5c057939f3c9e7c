"""The talk's objectives: a VQ loss and a policy's likelihood joined in four ways, all published under one name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Mean", "ObjectiveName", "VQTerms", "joined", "vq_terms"]

ObjectiveName = Literal["ratio", "product", "log_ratio", "sum"]
Mean = Callable[[Tensor], Tensor]
"""The mean over a batch, ()."""


@final
@dataclass(frozen=True)
class VQTerms:
    """The three terms of a VQ-VAE's loss, each a mean over batch and dimensions.

    Attributes:
        reconstruction: () of (x - decoded)^2.
        codebook: () of (sg[z] - e)^2.
        commitment: () of (z - sg[e])^2, before its weight.
    """

    reconstruction: Float[Tensor, ""]
    codebook: Float[Tensor, ""]
    commitment: Float[Tensor, ""]

    def total(self, beta: float) -> Float[Tensor, ""]:
        """reconstruction + codebook + beta x commitment."""
        return self.reconstruction + self.codebook + beta * self.commitment


def vq_terms(
    transitions: Float[Tensor, "transition obs"],
    decoded: Float[Tensor, "transition obs"],
    latents: Float[Tensor, "batch latent"],
    quantised: Float[Tensor, "batch latent"],
    mean: Mean = torch.mean,
) -> VQTerms:
    """The VQ-VAE's terms, where a latent stands for one transition or for several.

    `mean` is over the batch, which several processes may share (`training.ranks`).

    Source: van den Oord et al. 2017, arXiv 1711.00937, equation 3.
    """
    return VQTerms(
        reconstruction=mean((transitions - decoded).square()),
        codebook=mean((latents.detach() - quantised).square()),
        commitment=mean((latents - quantised.detach()).square()),
    )


def _ratio(vq: Tensor, log_probs: Tensor, mean: Mean) -> Tensor:
    # The blog writes log p below the line, which changes sign; read as the likelihood. A floor keeps it finite.
    return vq / (mean(log_probs.sum(-1).exp()) + 1e-6)


def _product(vq: Tensor, log_probs: Tensor, mean: Mean) -> Tensor:
    return vq * mean((1 / (log_probs.exp() + 0.1)).sum(-1))


def _log_ratio(vq: Tensor, log_probs: Tensor, mean: Mean) -> Tensor:
    return vq.log() - mean(log_probs.sum(-1))


def _sum(vq: Tensor, log_probs: Tensor, mean: Mean) -> Tensor:
    return vq - mean(log_probs.sum(-1))


_OBJECTIVES: dict[str, Callable[[Tensor, Tensor, Mean], Tensor]] = {
    "ratio": _ratio,
    "product": _product,
    "log_ratio": _log_ratio,
    "sum": _sum,
}


def joined(name: ObjectiveName) -> Callable[[Tensor, Tensor, Mean], Tensor]:
    """The objective of that name: (vq (), log_probs (batch, act) in nats, mean over the batch) -> ().

    ``ratio``: VQ / mean p(a | s, d), the talk's. ``product``: VQ x mean over the batch of the sum over action
    dimensions of 1 / (p(a_k | s, d) + 0.1), its code's. ``log_ratio``: log VQ - mean log p, the ratio's stable
    reading. ``sum``: VQ - mean log p.

    Source: Eloundou 2021.
    """
    return _OBJECTIVES[name]
