"""Scales columns by what the training set showed, inside the model, so that nobody can forget to."""

import itertools
from collections.abc import Iterable
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from unbraid.core.replay import sent

__all__ = ["MOST_SCALED", "Normaliser", "spread_of_blocks"]

MOST_SCALED = 1e12
"""No scaled value is taken to be larger, in either direction, whatever the clip: it will be squared, in float32."""
_BLOCK = 65536


@final
class Normaliser(nn.Module):
    """(x - mean) / scale, clipped to +-clip; where there are components, z @ components of that, clipped likewise.

    Attributes:
        mean: (column,) in the columns' own units.
        scale: (column,) likewise, > 0.
        clip: () in scales.
        components: (column, component) of scaled columns; None: they are given as they are.
    """

    mean: Tensor
    scale: Tensor
    clip: Tensor
    components: Tensor | None

    def __init__(self, size: int, n_components: int | None = None) -> None:
        """Changes nothing until told otherwise: mean 0, scale 1, no clipping. Components are 0 until they are given."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("clip", torch.tensor(float("inf")))
        self.register_buffer("components", None if n_components is None else torch.zeros(size, n_components))

    @classmethod
    def of(cls, values: Float[np.ndarray, "rows column"], *, floor: float, clip: float = float("inf")) -> "Normaliser":
        """`of_blocks` of a table, whose training set's rows are these."""
        blocks = (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))
        return cls.of_blocks(blocks, floor=floor, clip=clip)

    @classmethod
    def of_blocks(
        cls,
        blocks: Iterable[Float[np.ndarray, "_ column"]],
        *,
        floor: float,
        of_range: bool = False,
        clip: float = float("inf"),
    ) -> "Normaliser":
        """Reads mean and deviation off a table, block by block, in float64.

        Args:
            blocks: the training set's rows, some at a time; at least one, and each looked at once.
            floor: added to the deviation, so that a column which hardly moves (a lidar bin that saw something
                once) is not blown up to full size, and a constant one becomes 0.
            of_range: whether the floor is a share of a column's range where that is below 1, for units may be large.
            clip: the bound after scaling.
        """
        mean, deviation, extent = spread_of_blocks(blocks)
        made = cls(len(mean))
        made.mean.copy_(torch.as_tensor(mean))
        if of_range:
            ranges = torch.as_tensor(extent)
            made.scale.copy_(torch.as_tensor(deviation))
            made.scale += floor * torch.where(ranges > 0, ranges.clamp_max(1.0), 1.0)
        else:
            made.scale.copy_(torch.as_tensor(deviation + floor))
        made.clip.fill_(clip)
        return made

    def keep_components(self, rows: Float[np.ndarray, "rows column"], n_components: int, *, floor: float) -> None:
        """Gives, from now on, the first principal components of scaled columns, over the root of their mean variance.

        Each over its own deviation would blow up what is noise (docs/experiments.md, 26).

        Args:
            rows: some of the training set's; no more components are kept than there are rows or columns.
            n_components: how many.
            floor: added to that root, so that where nothing varies all become 0.
        """
        from sklearn.decomposition import PCA

        scaled = self(torch.from_numpy(np.asarray(rows, dtype=np.float32))).numpy()
        found = PCA(min(n_components, *scaled.shape), random_state=0).fit(scaled)
        directions = np.asarray(found.components_) / (np.sqrt(found.explained_variance_.mean()) + floor)
        self.components = torch.from_numpy(directions).float().T.contiguous()

    def forward(self, values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch state"]:
        """Scaled values, or their components, on the normaliser's own device."""
        scaled = (sent(values, self.mean.device) - self.mean).div_(self.scale)
        most = self.clip.clamp_max(MOST_SCALED)
        scaled = scaled.clamp_max_(most).clamp_min_(-most)  # a tenth of the time of clamp_ with two tensors
        if self.components is None:
            return scaled
        return (scaled @ self.components).clamp_max_(most).clamp_min_(-most)

    def undo(self, values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """From scaled values to the columns' own units (what was clipped stays clipped); of columns, not components."""
        return values * self.scale + self.mean


def spread_of_blocks(
    blocks: Iterable[Real[np.ndarray, "_ column"]],
) -> tuple[Float[np.ndarray, "column"], Float[np.ndarray, "column"], Real[np.ndarray, "column"]]:
    """Each column's mean and deviation, in float64, and the range of its values, in their own type.

    Args:
        blocks: a table's rows, some at a time; at least one, and each looked at once.
    """
    rows = iter(blocks)
    first = next(rows)
    n_rows, origin, low, high = 0, np.asarray(first[0], dtype=np.float64), first[0], first[0]
    total, squares = np.zeros_like(origin), np.zeros_like(origin)
    for read in itertools.chain([first], rows):
        block = np.asarray(read, dtype=np.float64) - origin
        total += block.sum(0)
        squares += np.square(block).sum(0)
        low, high, n_rows = np.minimum(low, read.min(0)), np.maximum(high, read.max(0)), n_rows + len(read)
    mean = total / n_rows
    deviation = np.sqrt(np.maximum(squares / n_rows - np.square(mean), 0))
    return mean + origin, deviation, high - low
