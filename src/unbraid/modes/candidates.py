"""What a search holds while it goes on: the best modes of each number, under each model of a mode."""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unbraid.modes.mixture import SteadyModes
from unbraid.modes.varying import VaryingModes

__all__ = ["Candidate", "Tried", "agreement_of_rivals", "stability_of"]

_AS_GOOD_ERRORS = 2.0


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """K modes, and what they are worth.

    Attributes:
        responsibilities: (span, mode) of the sampled spans.
        held_out: (span,) each span's log-likelihood under the mixture of the half that it is not in, in nats.
        origin: what proposed it.
        refined: which of EM's results it is; None for a start.
    """

    responsibilities: Float[Tensor, "span mode"]
    held_out: Float[Tensor, "span"]
    origin: str
    refined: Tensor | None


@final
@dataclass(frozen=True, eq=False)
class Tried:
    """What was found under one model of a mode.

    Attributes:
        modes: the model.
        candidates: number of modes -> the best.
        refined: number of modes -> what EM made of the starts.
    """

    modes: SteadyModes | VaryingModes
    candidates: dict[int, Candidate] = field(default_factory=dict[int, Candidate])
    refined: dict[int, list[Tensor]] = field(default_factory=dict[int, list[Tensor]])

    def others(self, n_modes: int) -> list[Tensor]:
        """What EM made of the starts beside the best of this number of modes; nothing for one mode."""
        if n_modes < 2 or n_modes not in self.candidates:
            return []
        best = self.candidates[n_modes].refined
        return [own for own in self.refined[n_modes] if own is not best]


def agreement_of_rivals(best: Candidate, others: list[Tensor], held_out: Float[Tensor, "other span"]) -> float | None:
    """The least adjusted Rand index between the best and what explains left-out spans as well; None where nothing does.

    As well is within two standard errors of the difference, over spans.

    Args:
        best: the chosen modes.
        others: (span, mode) responsibilities of other modes, as many.
        held_out: what `Candidate.held_out` is, of these.
    """
    from sklearn.metrics import adjusted_rand_score

    if not others or held_out.shape[1] < 2:
        return None
    behind = (best.held_out - held_out).double()
    errors = behind.std(1) / behind.shape[1] ** 0.5
    as_good = behind.mean(1) <= _AS_GOOD_ERRORS * errors
    groups = best.responsibilities.argmax(1)
    rivals = [other for other, good in zip(others, as_good.tolist(), strict=True) if good]
    return min((float(adjusted_rand_score(groups, rival.argmax(1))) for rival in rivals), default=None)


def stability_of(tried: Tried) -> dict[int, float]:
    """For every number of modes that has any, the mean adjusted Rand index between the best and the others of EM's."""
    from sklearn.metrics import adjusted_rand_score

    found: dict[int, float] = {}
    for n_modes, best in tried.candidates.items():
        groups, others = best.responsibilities.argmax(1), tried.others(n_modes)
        if others:
            found[n_modes] = float(np.mean([adjusted_rand_score(groups, own.argmax(1)) for own in others]))
    return found
