"""What scales observations for a fit, and actions, whatever single ones lie far beyond the others."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.demos.far_values import Watch, faults
from unbraid.policy.bounds import Extremes
from unbraid.policy.normaliser import Normaliser
from unbraid.training.ranks import Ranks
from unbraid.training.steps import Steps

__all__ = ["Scaling", "scaling_of_actions", "scaling_of_observations"]

_FLOOR, _CLIP, _MOST_ROWS = 0.02, 6.0, 20_000
"""Of observations; principal components are those of at most so many, evenly spread over all."""
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


def scaling_of_observations(steps: Steps, n_components: int | None, ranks: Ranks) -> Normaliser:
    """Reads all observations once; and where components are asked for, some of them again.

    Args:
        steps: the demonstrations.
        n_components: how many principal components are kept; None: the columns are.
        ranks: the processes that fit together; all take the components of the first.
    """
    made = Normaliser.of_blocks(steps.observation_blocks(), floor=_FLOOR, of_range=True, clip=_CLIP)
    if n_components is None:
        return made
    if ranks.is_first:
        n_rows = steps.n_steps + steps.n_episodes
        some = torch.arange(0, n_rows, math.ceil(n_rows / _MOST_ROWS))
        made.keep_components(steps.nth_observations(some).numpy(), n_components, floor=_FLOOR)
    found = {} if made.components is None else {"components": made.components}
    made.components = ranks.shared_tensors(found)["components"]
    return made


def scaling_of_actions(steps: Steps) -> Scaling:
    """Reads all actions once; and again where single values lie far beyond the others (`demos.far_values`).

    Such values count for the largest that are usual: one alone would make the scale of its column, and its misfit would
    outweigh all that experts do. Where a column has many of them, experts do that now and then, and they stay.

    What is scaled is clipped somewhat beyond what was seen: a fault in what is read later is no more than unusual.
    """
    extremes, watch = Extremes(), Watch(steps.n_steps, steps.action_size)
    normaliser = _normaliser(watch.watched(extremes.watched(steps.action_blocks())))
    fence = watch.fence()
    if fence is None:
        return Scaling(_clipped(normaliser, extremes), extremes, [])
    n_faults = faults(fence, steps.action_blocks(), steps.n_episodes)
    if not n_faults.any():
        return Scaling(_clipped(normaliser, extremes), extremes, [])
    fence = fence.of_columns(n_faults > 0)
    extremes = Extremes()
    normaliser = _normaliser(extremes.watched(fence.within(block) for block in steps.action_blocks()))
    return Scaling(_clipped(normaliser, extremes), extremes, [_warning(n_faults)])


def _normaliser(blocks: Iterable[Float[np.ndarray, "_ act"]]) -> Normaliser:
    return Normaliser.of_blocks(blocks, floor=1e-3, of_range=True)


def _clipped(normaliser: Normaliser, seen: Extremes) -> Normaliser:
    """The same, with its clip."""
    mean, scale = normaliser.mean.numpy(), normaliser.scale.numpy()
    furthest = max(float(np.abs((end - mean) / scale).max()) for end in seen.extent())
    normaliser.clip.fill_(min(max(_BEYOND * furthest, _LEAST), _MOST))
    return normaliser


def _warning(n_faults: Int[np.ndarray, "act"]) -> str:
    columns, n = np.flatnonzero(n_faults), int(n_faults.sum())
    named = ", ".join(str(column) for column in columns[:8]) + (" and others" if len(columns) > 8 else "")
    return (
        f"{n} {'action lies' if n == 1 else 'actions lie'} far beyond all others of the same column ({named}): more "
        "than ten times the width of what is usual there. They counted for the furthest of the others. Look for a "
        "fault of the recording (`unbraid check` names the episode), and leave that episode out."
    )
