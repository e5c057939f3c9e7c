"""What is known of who acted, before a policy learns: found by a search, told by somebody, or kept in a checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.modes.stretches import Stretches
from unbraid.policy.bounds import Extremes
from unbraid.policy.normaliser import Normaliser
from unbraid.training.ranks import Ranks

__all__ = ["Given", "told_by_the_first"]


@final
@dataclass(frozen=True, eq=False)
class Given:
    """What is known of who acted.

    Attributes:
        spans: the stretches that share a mode.
        responsibilities: (span, mode); rows sum to 1.
        seen: what scales observations; read off the steps where it is None.
        extremes: what says the bounds of actions; read off the steps where it is None.
        facts: what the search said that found them, as JSON; None where there was none.
    """

    spans: Stretches
    responsibilities: Float[Tensor, "span mode"]
    seen: Normaliser | None = None
    extremes: Extremes | None = None
    facts: dict[str, Any] | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Spans, responsibilities and facts, to be sent or kept."""
        facts = torch.frombuffer(bytearray(json.dumps(self.facts).encode()), dtype=torch.uint8)
        responsibilities = self.responsibilities.contiguous()
        return {"responsibilities": responsibilities, "span_lengths": self.spans.lengths, "search": facts}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> "Given":
        """What `tensors` gave.

        Raises:
            KeyError: they lack some.
        """
        facts = json.loads(tensors["search"].numpy().tobytes())
        return cls(Stretches(tensors["span_lengths"]), tensors["responsibilities"], facts=facts)


def told_by_the_first(ranks: Ranks, given: Given | None) -> Given | None:
    """What the first of the processes knows, which may be nothing; what the others bring is not looked at."""
    if not ranks.in_group:
        return given
    tensors = ranks.shared_tensors({} if given is None else given.tensors())
    return Given.of_tensors(tensors) if tensors else None
