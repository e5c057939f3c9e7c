"""An encoder that reads steps in their order, in place of one that does not, where that one fails."""

from dataclasses import dataclass, replace
from typing import Any, Literal, final

from jaxtyping import Int
from torch import Tensor

from unbraid.core.progress import progress
from unbraid.training.given import Given
from unbraid.training.joint import UnbraidLearner
from unbraid.training.networks import Reader
from unbraid.training.reading import Reading, reading_of
from unbraid.training.steps import Steps

__all__ = ["IN_ORDER", "OrderTrial", "in_order", "reader_alone", "tried_in_order"]

IN_ORDER: Literal["window_mlp"] = "window_mlp"
"""The encoder that sees the order of steps and takes no more time than the mean (docs/experiments.md, 12)."""

_LEAST_ERRORS, _MOST_STEPS = 2.0, 10_000


@final
@dataclass(frozen=True)
class OrderTrial:
    """What was read of demonstrations left out, without the order of steps and with it.

    Attributes:
        without: by an encoder that does not see the order.
        seen: by one that does.
    """

    without: Reading
    seen: Reading

    @property
    def is_taken(self) -> bool:
        """Whether order tells what is not seen without it, by two standard errors of the difference of both counts."""
        before, after = self.without.n_misread, self.seen.n_misread
        clearly = before - after >= _LEAST_ERRORS * (before + after) ** 0.5
        return self.without.is_bad and not self.seen.is_bad and clearly

    def facts(self) -> dict[str, Any]:
        """Of how many demonstrations how many were misread, by each kind of encoder."""
        misread = {"mean": self.without.n_misread, IN_ORDER: self.seen.n_misread}
        return {"n_left_out": self.without.n_spans, "misread": misread}


def tried_in_order(learner: UnbraidLearner, left_out: Steps, modes: Int[Tensor, "left"]) -> OrderTrial | None:
    """Lets a learner whose encoder does not see the order of steps read what it did not learn from; where it reads that
    badly, an encoder that sees the order is trained, and taken where it reads it well.

    Args:
        learner: one that has taken all its gradient steps.
        left_out: demonstrations that it did not learn from.
        modes: the mode of each of those.

    Returns:
        What both read; None where the learner reads well as it is.
    """
    without = _reading(learner, left_out, modes)
    if not without.is_bad:
        return None
    before = learner.model.reader
    learner.take_reader(IN_ORDER, in_order(learner))
    trial = OrderTrial(without, _reading(learner, left_out, modes))
    if not trial.is_taken:
        learner.take_reader("mean", before)
    return trial


def in_order(learner: UnbraidLearner) -> Reader:
    """An encoder that sees the order of steps, and its codebook, which learned as `reader_alone` says for as many
    gradient steps as the learner, up to 10,000."""
    return reader_alone(learner, IN_ORDER, n_steps=min(learner.n_steps, _MOST_STEPS))


def reader_alone(learner: UnbraidLearner, kind: str, *, n_steps: int) -> Reader:
    """An encoder of a kind, and its codebook, which learned from the same steps and modes as the learner, alone:
    nothing keeps what is done so far."""
    seen = learner.model.observation_normaliser
    given = Given(learner.spans, learner.responsibilities, seen=seen, extremes=learner.extremes)
    config = replace(learner.config, encoder=kind, n_steps=n_steps)
    device = str(learner.model.device)
    own = UnbraidLearner(learner.steps, config, device, given=given, one_thread=True, ranks=learner.ranks)
    with progress("encoder", total=own.n_steps, unit="steps") as advance:
        while own.taken < own.n_steps:
            own.ranks.total(own.modules().values(), *own.encoder_part())
            own.follow()
            advance()
    return own.model.reader


def _reading(learner: UnbraidLearner, steps: Steps, modes: Int[Tensor, "span"]) -> Reading:
    return Reading(**learner.ranks.shared_json(vars(reading_of(learner.model, steps, modes))))
