"""Which head a policy gets: each learns for a while from four fifths of the demonstrations, and the others tell."""

from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.side_by_side import SideBySide
from unbraid.training.joint import UnbraidLearner
from unbraid.training.networks import ModeNetworks
from unbraid.training.policy_losses import PolicyLoss
from unbraid.training.refining import held_out_error, in_blocks
from unbraid.training.steps import Steps

__all__ = ["FEWEST_STEPS", "HeadTrial", "tried_heads"]

TRIAL_STEPS, TRIAL_BATCH = 300, 256
FEWEST_STEPS = 500
"""A joint fit of fewer gradient steps has no trial, which takes a fifth of them: it would say nothing."""
LEAST_GAIN, LEAST_ERRORS, MOST_MISSED = 0.1, 2.0, 1.02
"""A mixture must explain a step by so many nats better, and by so many standard errors over demonstrations; its mean
action may miss by so much more. Trials of docs/experiments.md, 15."""


@final
@dataclass(frozen=True)
class HeadTrial:
    """What a Gaussian and a mixture make of demonstrations that neither saw, under the modes that were found.

    Actions on a bound are left out of the likelihoods: there a density may grow without end, which tells of the bound.

    Attributes:
        gain_nats: how much likelier an action is by the mixture, in nats a step, the mean over spans.
        standard_error: of that, over the spans of each mode; None where no mode has two.
        missed: the mean absolute errors of the Gaussian's mean action and of the mixture's, in deviations. Where it
            matters, the Gaussian's is that of one that learned by the joint fit's loss.
    """

    gain_nats: float
    standard_error: float | None
    missed: tuple[float, float]

    @property
    def head(self) -> Literal["gaussian", "mixture"]:
        """The mixture where it is clearly likelier, and imitates as well."""
        sure = self.standard_error is not None and self.gain_nats >= LEAST_ERRORS * self.standard_error
        likelier = sure and self.gain_nats >= LEAST_GAIN
        return "mixture" if likelier and self.missed[1] <= MOST_MISSED * self.missed[0] else "gaussian"

    @property
    def is_open(self) -> bool:
        """Whether the mixture may yet be likelier by enough."""
        return self.standard_error is not None and self.gain_nats + LEAST_ERRORS * self.standard_error >= LEAST_GAIN


def tried_heads(
    first: UnbraidLearner,
    seen: Int[Tensor, "span"],
    left_out: Steps,
    modes: Int[Tensor, "left"],
    device: str,
) -> HeadTrial:
    """Lets policies with both heads learn by the likelihood for a while, and judges them on what was left out, first
    halfway: where the mixture is not close to being likelier by enough there, it is done. Before a mixture is taken, a
    Gaussian that learns by the joint fit's loss may show that it imitates better.

    Args:
        first: a learner that has found modes.
        seen: the spans that are learned from.
        left_out: the others, or some of them, each an episode.
        modes: the mode of each of those.
        device: where to learn.
    """
    steps, given = first.part(seen)
    n_steps = min(TRIAL_STEPS, int(first.n_steps) // 5)
    of_steps = modes.repeat_interleave(torch.from_numpy(left_out.lengths))
    inside = torch.from_numpy(~np.concatenate([first.extremes.on_bounds(block) for block in left_out.action_blocks()]))

    def learner(head: Literal["gaussian", "mixture"], loss: PolicyLoss) -> UnbraidLearner:
        config = replace(first.config, policy_head=head, policy_loss=loss)
        config = replace(config, n_steps=n_steps, policy_batch=TRIAL_BATCH)
        return UnbraidLearner(steps, config, device, given=given, one_thread=True)

    def judged(tried: UnbraidLearner, n_more: int) -> tuple[Float[Tensor, "step"], float]:
        for _ in range(n_more):
            tried.policy_part()
            tried.follow()
        networks = tried.model
        return _log_probs(networks, left_out, of_steps), held_out_error(networks, networks.policy, left_out, of_steps)

    def both_judged(n_more: int) -> HeadTrial:
        if first.model.device.type == "cpu" and not first.ranks.in_group:
            side_by_side = SideBySide()
            of_gaussian, of_mixture = side_by_side(lambda: judged(gaussian, n_more), lambda: judged(mixture, n_more))
        else:
            of_gaussian, of_mixture = judged(gaussian, n_more), judged(mixture, n_more)
        gain, error = _mean_gain((of_mixture[0] - of_gaussian[0]).double(), inside, left_out, modes)
        return HeadTrial(gain, error, (of_gaussian[1], of_mixture[1]))

    gaussian, mixture = learner("gaussian", "likelihood"), learner("mixture", "likelihood")
    trial = both_judged(n_steps // 2)
    if trial.is_open:
        trial = both_judged(n_steps - n_steps // 2)
    if trial.head == "mixture" and first.loss_kind != "likelihood":  # which may imitate better than both
        trial = replace(trial, missed=(judged(learner("gaussian", first.loss_kind), n_steps)[1], trial.missed[1]))
    gain, error, missed = first.ranks.shared_json([trial.gain_nats, trial.standard_error, trial.missed])
    return HeadTrial(gain, error, tuple(missed))


@torch.no_grad()
def _log_probs(networks: ModeNetworks, steps: Steps, modes: Int[Tensor, "step"]) -> Float[Tensor, "step"]:
    """log pi(a | s, k) of every step under its own mode, in scaled units."""
    blocks = in_blocks(networks, steps, modes)
    return torch.cat(
        [networks.policy.log_prob(inputs, contexts, actions).cpu() for inputs, contexts, actions in blocks]
    )


def _mean_gain(
    gains: Float[Tensor, "step"], counted: Bool[Tensor, "step"], steps: Steps, modes: Int[Tensor, "span"]
) -> tuple[float, float | None]:
    """The mean over spans of the mean of their counted steps, and its standard error; None where no mode has two spans.

    Modes are strata: that one gains and another does not is no error.
    """
    spans = steps.episodes[torch.arange(steps.n_steps)]
    sums = torch.zeros(2, steps.n_episodes, dtype=torch.float64)
    sums.index_add_(1, spans, torch.stack([gains * counted, counted.double()]))
    there = sums[1] > 0
    of_span, of_mode = (sums[0, there] / sums[1, there]).numpy(), modes[there].numpy()
    strata = [own for mode in np.unique(of_mode) if len(own := of_span[of_mode == mode]) > 1]
    if not strata:
        return 0.0, None
    of_strata = sum(len(own) * own.var(ddof=1) for own in strata) / sum(map(len, strata))
    return float(of_span.mean()), float((of_strata / len(of_span)) ** 0.5)
