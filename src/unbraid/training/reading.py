"""Whether encoder and policy together read demonstrations in the modes that the search put them in."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.modes.windows import cut_windows
from unbraid.training.networks import ModeNetworks
from unbraid.training.steps import Steps

__all__ = ["MOST_HELD_STEPS", "Reading", "reading_of", "sure_of"]

MOST_HELD_STEPS = 20_000
"""The most steps of demonstrations that are read to tell."""
_SURE, _MISREAD = 0.9, 0.1


@final
@dataclass(frozen=True)
class Reading:
    """How many demonstrations that the search was sure of were read, and how many of them in another mode."""

    n_spans: int
    n_misread: int

    @property
    def is_bad(self) -> bool:
        """More than a tenth, and more than one."""
        return self.n_misread > max(1, _MISREAD * self.n_spans)

    def warnings(self, what: str, *, order_may_help: bool) -> list[str]:
        """What to say of it, and what to do: nothing where it is not bad.

        Args:
            what: what was read, in the plural.
            order_may_help: whether an encoder that sees the order of steps has not been tried.
        """
        if not self.is_bad:
            return []
        order = ", or with the encoder window_mlp, which sees the order of steps" if order_may_help else ""
        return [
            f"What was learned reads {self.n_misread} of {self.n_spans} {what} that the search was sure of in another "
            f"mode than it put them in. Fit with more gradient steps{order}; where that changes nothing, they say too "
            "little of their mode: bring longer ones, or ask for fewer modes."
        ]


def sure_of(responsibilities: Float[Tensor, "span mode"]) -> Int[Tensor, "sure"]:
    """The spans of which a search says with nine tenths whose they are."""
    return torch.nonzero(responsibilities.max(1).values > _SURE)[:, 0]


def reading_of(networks: ModeNetworks, steps: Steps, modes: Int[Tensor, "span"]) -> Reading:
    """Reads whole spans by all evidence.

    Args:
        networks: what reads.
        steps: the spans, each an episode; those without steps do not count.
        modes: the mode of each.
    """
    if not steps.n_steps:
        return Reading(0, 0)
    spans = cut_windows(steps.lengths)
    read = networks.scores_of_windows(steps, spans, ("combined",))["combined"].argmax(1)
    return Reading(len(spans), int((read != modes.numpy()[spans.episodes]).sum()))
