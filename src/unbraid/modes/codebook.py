"""Codebooks: K codes, the squared distance of a latent to each of them, and how much each code is used."""

import math
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["FreeCodebook", "SimplexCodebook", "code_usage", "perplexity", "squared_distances"]


def squared_distances(
    latents: Float[Tensor, "*batch latent"], codes: Float[Tensor, "mode latent"]
) -> Float[Tensor, "*batch mode"]:
    """Squared Euclidean distance of every latent to every code; >= 0 exactly."""
    crossed = latents @ codes.T
    squares = latents.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * crossed
    return squares.clamp_min(0)


def code_usage(modes: Int[Tensor, "row"], n_modes: int) -> Float[Tensor, "mode"]:
    """The share of rows in each mode; sums to 1."""
    return torch.bincount(modes, minlength=n_modes).to(torch.float32) / max(len(modes), 1)


def perplexity(usage: Float[Tensor, "mode"]) -> float:
    """exp of the entropy of the usage: K where all codes are used alike, 1 where one is used alone."""
    return math.exp(float(torch.special.entr(usage).sum()))


@final
class FreeCodebook(nn.Module):
    """K codes anywhere in latent space, as in a VQ-VAE; they start uniform in +-1/K.

    Source: van den Oord et al. 2017, arXiv 1711.00937, section 3.
    """

    def __init__(self, n_modes: int, latent_size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(n_modes, latent_size).uniform_(-1 / n_modes, 1 / n_modes))

    def codes(self) -> Float[Tensor, "mode latent"]:
        """The codes."""
        return self.embedding

    def forward(self, latents: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch mode"]:
        """Squared distances of latents to the codes."""
        return squared_distances(latents, self.codes())

    @torch.no_grad()
    def start_again(
        self, chosen: Bool[Tensor, "mode"], latents: Float[Tensor, "row latent"], generator: torch.Generator
    ) -> None:
        """Moves the chosen codes to latents drawn at random: at the start, and where codes are dead.

        Source: Dhariwal et al. 2020, arXiv 2005.00341 (random restarts of dead codes).
        """
        drawn = torch.randint(len(latents), (int(chosen.sum()),), generator=generator)
        self.embedding[chosen] = latents[drawn]


@final
class SimplexCodebook(nn.Module):
    """K codes at equal distances: the orthonormalised rows of a learnable matrix, over sqrt 2.

    All pairwise squared distances are exactly 1, so the squared distances of a quantised latent *are* the not-hot
    vector: 0 at its own code and 1 elsewhere. Under responsibilities r the expected vector is 1 - r.

    Departs: from a VQ-VAE's free codes (`FreeCodebook`).
    """

    def __init__(self, n_modes: int, latent_size: int) -> None:
        super().__init__()
        if latent_size < n_modes:
            raise ValueError(f"a simplex of {n_modes} codes needs at least as many dimensions; got {latent_size}")
        self.matrix = nn.Parameter(torch.randn(n_modes, latent_size) / math.sqrt(latent_size))

    def codes(self) -> Float[Tensor, "mode latent"]:
        """The codes; the sign of each QR direction is fixed, so that they move continuously with the matrix."""
        q, r = torch.linalg.qr(self.matrix.T)
        return (q * torch.sign(torch.diagonal(r))).T / math.sqrt(2)

    def forward(self, latents: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch mode"]:
        """Squared distances of latents to the codes."""
        return squared_distances(latents, self.codes())
