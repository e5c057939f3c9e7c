"""What a search holds while it goes on: the best modes of each number, under each model of a mode."""

from dataclasses import dataclass, field
from typing import final

from jaxtyping import Float
from torch import Tensor

from unbraid.modes.mixture import SteadyModes
from unbraid.modes.varying import VaryingModes

__all__ = ["Candidate", "Tried"]


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
