"""How well changes of the mode are found: errors of those that are, and those that are missing or not there."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Int

from unbraid.evaluation.intervals import mean_interval
from unbraid.modes.timeline import change_steps

__all__ = ["FARTHEST_STEPS", "BoundaryScores", "boundary_scores"]

FARTHEST_STEPS = 50
"""Changes that lie farther apart are not the same."""


@final
@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Changes that were found, beside those that are there.

    Attributes:
        errors_steps: (matched,) the distance of each found change from the true one that it is matched with, in steps.
        missing: (episode,) the true changes that none is matched with.
        spurious: (episode,) the found changes that none is matched with.
    """

    errors_steps: Int[np.ndarray, "matched"]
    missing: Int[np.ndarray, "episode"]
    spurious: Int[np.ndarray, "episode"]

    def to_json(self) -> dict[str, Any]:
        """The median error with its quartiles, and missing and spurious changes an episode with intervals."""
        quartiles = np.quantile(self.errors_steps, [0.25, 0.5, 0.75]).tolist() if len(self.errors_steps) else None
        return {
            "n_matched": len(self.errors_steps),
            "error_quartiles_steps": quartiles,
            "missing_per_episode": mean_interval(self.missing.astype(np.float64), within=(0.0, np.inf)).to_json(),
            "spurious_per_episode": mean_interval(self.spurious.astype(np.float64), within=(0.0, np.inf)).to_json(),
        }


def boundary_scores(
    labels: Int[np.ndarray, "step"],
    modes: Int[np.ndarray, "step"],
    lengths: Int[np.ndarray, "episode"],
    *,
    farthest_steps: int = FARTHEST_STEPS,
) -> BoundaryScores:
    """Matches changes one to one within each episode, as many as possible, with the least sum of distances.

    Args:
        labels: the true expert of every step.
        modes: the mode that was read.
        lengths: (episode,) the steps of each, which lie end to end.
        farthest_steps: changes that lie farther apart are not matched.
    """
    from scipy.optimize import linear_sum_assignment

    errors: list[int] = []
    missing, spurious = np.zeros(len(lengths), dtype=np.int64), np.zeros(len(lengths), dtype=np.int64)
    for episode, (end, n) in enumerate(zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True)):
        true, found = change_steps(labels[end - n : end]), change_steps(modes[end - n : end])
        apart = np.abs(true[:, None] - found)
        far = (farthest_steps + 1) * (1 + min(apart.shape))  # more than all that could be matched
        rows, columns = linear_sum_assignment(np.where(apart <= farthest_steps, apart, far))
        own = apart[rows, columns]
        matched = own[own <= farthest_steps]
        errors += matched.tolist()
        missing[episode], spurious[episode] = len(true) - len(matched), len(found) - len(matched)
    return BoundaryScores(np.array(errors, dtype=np.int64), missing, spurious)
