"""Scales columns by what the training set showed, inside the model, so that nobody can forget to."""

from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Normaliser"]


@final
class Normaliser(nn.Module):
    """(x - mean) / scale, clipped to +-clip.

    Attributes:
        mean: (column,) in the columns' own units.
        scale: (column,) likewise, > 0.
        clip: () in scales.
    """

    mean: Tensor
    scale: Tensor
    clip: Tensor

    def __init__(self, size: int) -> None:
        """Changes nothing until told otherwise: mean 0, scale 1, no clipping."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("clip", torch.tensor(float("inf")))

    @classmethod
    def of(cls, values: Float[np.ndarray, "rows column"], *, floor: float, clip: float = float("inf")) -> "Normaliser":
        """Reads mean and deviation off a table, block by block, in float64.

        Args:
            values: the training set's rows.
            floor: added to the deviation, so that a column which hardly moves (a lidar bin that saw something
                once) is not blown up to full size, and a constant one becomes 0.
            clip: the bound after scaling.
        """
        origin = np.asarray(values[0], dtype=np.float64)
        total, squares = np.zeros_like(origin), np.zeros_like(origin)
        for start in range(0, len(values), 65536):
            block = np.asarray(values[start : start + 65536], dtype=np.float64) - origin
            total += block.sum(0)
            squares += np.square(block).sum(0)
        mean = total / len(values)
        deviation = np.sqrt(np.maximum(squares / len(values) - np.square(mean), 0))
        made = cls(values.shape[1])
        made.mean.copy_(torch.as_tensor(mean + origin))
        made.scale.copy_(torch.as_tensor(deviation + floor))
        made.clip.fill_(clip)
        return made

    def forward(self, values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """Scaled values, on the normaliser's own device."""
        scaled = (values.to(self.mean.device) - self.mean).div_(self.scale)
        return scaled.clamp_max_(self.clip).clamp_min_(-self.clip)  # a tenth of the time of clamp_ with two tensors

    def undo(self, values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """From scaled values to the columns' own units (what was clipped stays clipped)."""
        return values * self.scale + self.mean
