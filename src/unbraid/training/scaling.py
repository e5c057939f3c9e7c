"""What scales actions for a fit, whatever single ones lie far beyond the others."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from unbraid.demos.far_values import AT_LEAST, Watch
from unbraid.policy.bounds import Extremes
from unbraid.policy.normaliser import Normaliser
from unbraid.training.steps import Steps

__all__ = ["Scaling", "scaling_of_actions"]


_FEW = 0.05
_BEYOND, _LEAST, _MOST = 1.5, 10.0, 1e3
"""Scaled actions are clipped half as far again out as those that were learned from, at 10 deviations or more, and never
beyond 1,000: a policy's misfit is squared, and an encoder takes means over windows."""


@final
@dataclass(frozen=True, eq=False)
class Scaling:
    """What scales actions.

    Attributes:
        normaliser: of their columns.
        extremes: of the values that are no faults.
        warnings: that say which are, in words.
    """

    normaliser: Normaliser
    extremes: Extremes
    warnings: list[str]


def scaling_of_actions(steps: Steps) -> Scaling:
    """Reads all actions once; and again where single values lie far beyond the others (`demos.far_values`).

    Such values count for the largest that are usual: one alone would make the scale of its column, and its misfit would
    outweigh all that experts do. Where a column has more of them than one in twenty episodes could have, they are
    something that experts do now and then, and stay. What is scaled is clipped somewhat beyond what was seen, so that a
    fault in what is read later is no more than unusual.
    """
    extremes, watch = Extremes(), Watch(steps.n_steps)
    normaliser = _normaliser(watch.watched(extremes.watched(steps.action_blocks())))
    fence = watch.fence()
    if fence is None:
        return Scaling(_clipped(normaliser, extremes), extremes, [])
    n_far = np.sum([fence.is_far(block).sum(0) for block in steps.action_blocks()], axis=0)
    faults = (n_far > 0) & (n_far <= max(math.ceil(_FEW * steps.n_episodes), AT_LEAST))
    if not faults.any():
        return Scaling(_clipped(normaliser, extremes), extremes, [])
    fence = fence.of_columns(faults)
    extremes = Extremes()
    normaliser = _normaliser(extremes.watched(fence.within(block) for block in steps.action_blocks()))
    return Scaling(_clipped(normaliser, extremes), extremes, [_warning(np.where(faults, n_far, 0))])


def _normaliser(blocks: Iterable[Float[np.ndarray, "_ act"]]) -> Normaliser:
    return Normaliser.of_blocks(blocks, floor=1e-3, of_range=True)


def _clipped(normaliser: Normaliser, seen: Extremes) -> Normaliser:
    """The same, with its clip."""
    mean, scale = normaliser.mean.numpy(), normaliser.scale.numpy()
    furthest = max(float(np.abs((end - mean) / scale).max()) for end in seen.extent())
    normaliser.clip.fill_(min(max(_BEYOND * furthest, _LEAST), _MOST))
    return normaliser


def _warning(n_far: Int[np.ndarray, "act"]) -> str:
    columns, n = np.flatnonzero(n_far), int(n_far.sum())
    named = ", ".join(str(column) for column in columns[:8]) + (" and others" if len(columns) > 8 else "")
    return (
        f"{n} {'action lies' if n == 1 else 'actions lie'} far beyond all others of the same column ({named}): more "
        "than ten times the width of what is usual there. They counted for the furthest of the others. Look for a "
        "fault of the recording (`unbraid check` names the episode), and leave that episode out."
    )
