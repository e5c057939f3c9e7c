"""Encoders that read a window's steps in their order: a perceptron, a temporal convolution, an LSTM, attention.

All of them, and `StepWindowEncoder`, which knows no order, share one interface: states (window, step, obs), actions
(window, step, act) and a mask (window, step) give latents (window, latent). In a window's row its own steps come first,
then padding. What stands in the padding, and how much of it there is, changes no latent.
"""

import math
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unbraid.modes.encoders import masked_mean

__all__ = [
    "READERS",
    "AttentionReader",
    "ConvolutionReader",
    "LSTMReader",
    "SequenceEncoder",
    "WindowReader",
]

_SLOTS = 25
_KERNEL, _DILATIONS = 3, (1, 2, 4, 8)
_HEADS, _LAYERS, _LONGEST_WAVE = 4, 1, 10_000.0


@final
class WindowReader(nn.Module):
    """A perceptron on 25 steps laid side by side, each with a flag that says whether there is a step.

    A shorter window leaves the last places empty; a longer one is read in pieces of 25 steps, the last of which may be
    shorter, and the mean over the pieces is taken: the order of steps counts within a piece.
    """

    def __init__(self, input_size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(_SLOTS * (input_size + 1), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )

    def forward(
        self, steps: Float[Tensor, "window step input"], mask: Bool[Tensor, "window step"]
    ) -> Float[Tensor, "window width"]:
        """What is made of each window; the padding holds zeros."""
        flagged = torch.cat([steps, mask[..., None].to(steps.dtype)], dim=2)
        missing = -steps.shape[1] % _SLOTS
        pieces = nn.functional.pad(flagged, (0, 0, 0, missing)).unflatten(1, (-1, _SLOTS))
        there = nn.functional.pad(mask, (0, missing)).unflatten(1, (-1, _SLOTS))
        return masked_mean(self.layers(pieces.flatten(2)), there.any(2))


@final
class ConvolutionReader(nn.Module):
    """Four residual convolutions over time, dilated by 1, 2, 4 and 8 steps, then the mean over the window's steps.

    An output sees 15 steps to either side. Source: Bai et al. 2018, arXiv 1803.01271. Departs: not causal, since a
    window is read whole.
    """

    def __init__(self, input_size: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(input_size, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, _KERNEL, padding="same", dilation=dilation) for dilation in _DILATIONS
        )

    def forward(
        self, steps: Float[Tensor, "window step input"], mask: Bool[Tensor, "window step"]
    ) -> Float[Tensor, "window width"]:
        """What is made of each window; the padding is set to zero before every layer, as beyond a window's ends."""
        there = mask[:, None].to(steps.dtype)
        hidden = torch.relu(self.first(steps)).transpose(1, 2) * there
        for layer in self.layers:
            hidden = hidden + torch.relu(layer(hidden)) * there
        return masked_mean(hidden.transpose(1, 2), mask)


@final
class LSTMReader(nn.Module):
    """One layer of LSTM from the first step to the last, then the mean of its outputs over the window's steps.

    It goes forwards only, so that what comes after a window's last step is never seen.

    Source: Hochreiter and Schmidhuber 1997, Neural Computation 9(8).
    """

    def __init__(self, input_size: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(input_size, width), nn.ReLU())
        self.memory = nn.LSTM(width, width, batch_first=True)

    def forward(
        self, steps: Float[Tensor, "window step input"], mask: Bool[Tensor, "window step"]
    ) -> Float[Tensor, "window width"]:
        """What is made of each window."""
        outputs, _ = self.memory(self.first(steps))
        return masked_mean(outputs, mask)


@final
class AttentionReader(nn.Module):
    """One layer of self-attention with sinusoidal positions, then the mean over the window's steps.

    Source: Vaswani et al. 2017, arXiv 1706.03762. Departs: normalised before each part, no dropout (a fit is resumed
    bit for bit).
    """

    def __init__(self, input_size: int, width: int) -> None:
        super().__init__()
        heads = next(n for n in (_HEADS, 2, 1) if width % n == 0)
        self.first = nn.Linear(input_size, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, _LAYERS, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(
        self, steps: Float[Tensor, "window step input"], mask: Bool[Tensor, "window step"]
    ) -> Float[Tensor, "window width"]:
        """What is made of each window; no step attends to the padding."""
        hidden = self.first(steps)
        hidden = hidden + _positions(hidden.shape[1], hidden.shape[2]).to(hidden)
        return masked_mean(self.layers(hidden, src_key_padding_mask=~mask), mask)


def _positions(n_steps: int, width: int) -> Float[Tensor, "step width"]:
    """Sines and cosines of a step's place at wavelengths from 2 pi to 10,000 x 2 pi steps.

    Source: Vaswani et al. 2017, section 3.5.
    """
    half = (width + 1) // 2
    rates = torch.exp(-math.log(_LONGEST_WAVE) * torch.arange(half) / half)
    angles = torch.arange(n_steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


READERS: dict[str, type[WindowReader | ConvolutionReader | LSTMReader | AttentionReader]] = {
    "window_mlp": WindowReader,
    "convolution": ConvolutionReader,
    "lstm": LSTMReader,
    "attention": AttentionReader,
}
"""kind -> what reads the steps of a window in their order."""


@final
class SequenceEncoder(nn.Module):
    """[state, action] at every step of a window, read in their order, and a perceptron on what was read -> latent.

    Attributes:
        reader: one of `READERS`, from (window, step, obs + act) and a mask to (window, width).
    """

    def __init__(self, kind: str, observation_size: int, action_size: int, *, width: int, latent_size: int) -> None:
        """Args:
        kind: a key of `READERS`.
        observation_size, action_size: widths of what is read; an action of no numbers is left out.
        width: of every layer.
        latent_size: of what is given.
        """
        super().__init__()
        self.reader = READERS[kind](observation_size + action_size, width)
        self.of_read = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent_size))

    def forward(
        self,
        states: Float[Tensor, "window step obs"],
        actions: Float[Tensor, "window step act"],
        mask: Bool[Tensor, "window step"] | None = None,
    ) -> Float[Tensor, "window latent"]:
        """A latent for each window.

        Args:
            states, actions: scaled; a window's own steps first, then anything.
            mask: True at a window's own steps, of which there is one at least; None where all are.
        """
        steps = torch.cat([states, actions], dim=-1)
        if mask is None:
            mask = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device)
        return self.of_read(self.reader(steps.masked_fill(~mask[..., None], 0.0), mask))
