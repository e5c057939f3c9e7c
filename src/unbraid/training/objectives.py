"""The talk's objectives: a VQ loss and a policy's likelihood joined in four ways, all published under one name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor

__all__ = ["ObjectiveName", "VQTerms", "joined", "vq_terms"]

ObjectiveName = Literal["ratio", "product", "log_ratio", "sum"]


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
) -> VQTerms:
    """The VQ-VAE's terms, where a latent stands for one transition or for several.

    Source: van den Oord et al. 2017, arXiv 1711.00937, equation 3.
    """
    return VQTerms(
        reconstruction=(transitions - decoded).square().mean(),
        codebook=(latents.detach() - quantised).square().mean(),
        commitment=(latents - quantised.detach()).square().mean(),
    )


def _ratio(vq: Tensor, log_probs: Tensor) -> Tensor:
    # The blog writes log p below the line, which changes sign; read as the likelihood. A floor keeps it finite.
    return vq / (log_probs.sum(-1).exp().mean() + 1e-6)


def _product(vq: Tensor, log_probs: Tensor) -> Tensor:
    return vq * (1 / (log_probs.exp() + 0.1)).sum(-1).mean()


def _log_ratio(vq: Tensor, log_probs: Tensor) -> Tensor:
    return vq.log() - log_probs.sum(-1).mean()


def _sum(vq: Tensor, log_probs: Tensor) -> Tensor:
    return vq - log_probs.sum(-1).mean()


_OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ratio": _ratio,
    "product": _product,
    "log_ratio": _log_ratio,
    "sum": _sum,
}


def joined(name: ObjectiveName) -> Callable[[Tensor, Tensor], Tensor]:
    """The objective of that name: (vq (), log_probs (batch, act) in nats) -> ().

    ``ratio``: VQ / mean p(a | s, d), the talk's. ``product``: VQ x mean over the batch of the sum over action
    dimensions of 1 / (p(a_k | s, d) + 0.1), its code's. ``log_ratio``: log VQ - mean log p, the ratio's stable
    reading. ``sum``: VQ - mean log p.

    Source: Eloundou 2021 (METHOD, part 1).
    """
    return _OBJECTIVES[name]
