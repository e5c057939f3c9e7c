"""Refining: after the joint fit the policy goes on alone, where its errors on demonstrations left out still fall.

The joint fit learns to tell modes apart, from little data. A policy that imitates experts who act almost without noise
has more to learn than that takes, and whether it has, shows on what it did not see.
"""

from collections.abc import Callable, Iterator
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.replay import Replay
from unbraid.core.schedule import scheduled
from unbraid.policy.gaussian import ActionPolicy
from unbraid.training.descent import Descent
from unbraid.training.networks import ModeNetworks
from unbraid.training.policy_losses import Batch, PolicyLoss, Precision, policy_loss
from unbraid.training.ranks import ONE_RANK, Ranks
from unbraid.training.steps import Steps

__all__ = ["PolicyRefiner", "held_out_error", "in_blocks"]

_LEARNING_RATE, _OF_WIDTH = 4e-3, 128
"""The highest learning rate of layers of this width. Wider ones learn at one that is as much smaller: of the same rate
their outputs move further (Yang et al. 2022, arXiv 2203.03466, table 3: hidden layers under Adam)."""
_WEIGHT_DECAY = 0.02
_CHUNK = 16384


@final
class PolicyRefiner:
    """Takes a policy on from where it is.

    Attributes:
        policy: what is refined.
        kind: what the policy learns by.
        n_steps: gradient steps in all, 0 until it begins; the learning rate warms up, then falls to 0 along a cosine.
        taken: those taken so far.
        optimizer: of the policy.
    """

    def __init__(
        self,
        policy: ActionPolicy,
        draw: Callable[[], Batch],
        ranks: Ranks = ONE_RANK,
        *,
        batch: int,
        precision: Precision = "float32",
    ) -> None:
        """Takes no step until it begins.

        Args:
            policy: what is refined.
            draw: gives a batch for each step; of several processes each gets its part.
            ranks: the processes.
            batch: how many steps all parts of a batch have together.
            precision: of the policy's matrix products.
        """
        self.policy, self._draw, self._ranks, self._share = policy, draw, ranks, ranks.share(batch)
        self._precision: Precision = precision
        self.kind: PolicyLoss = "beta"
        self.n_steps, self.taken = 0, 0
        rate = _LEARNING_RATE * min(1.0, _OF_WIDTH / max(policy.shape.hidden, default=_OF_WIDTH))
        self._descent = Descent(policy.parameters(), learning_rate=rate, weight_decay=_WEIGHT_DECAY)
        self.optimizer = self._descent.optimizer
        self._replay = Replay()

    def begin(self, kind: PolicyLoss, n_steps: int, *, taken: int = 0) -> None:
        """Says by which loss, and for how many gradient steps; and how many of them a resumed fit has taken."""
        self.kind, self.n_steps, self.taken = kind, n_steps, taken

    def step(self) -> Float[Tensor, ""]:
        """One gradient step; the loss of its batch."""
        (loss,) = self._ranks.total([self.policy], *self._replay(self._learned, *self._draw()))
        self._descent.step(scheduled(self.taken, self.n_steps))
        self.taken += 1
        return loss

    def _learned(self, *batch: Tensor) -> tuple[Float[Tensor, ""]]:
        """This process's share of the loss of a batch, whose gradient is added to what is there."""
        states, actions, contexts = batch
        loss = policy_loss(self.policy, self.kind, (states, actions, contexts), self._precision) * self._share
        loss.backward()
        return (loss.detach(),)


@torch.no_grad()
def held_out_error(networks: ModeNetworks, policy: ActionPolicy, steps: Steps, modes: Int[Tensor, "step"]) -> float:
    """The mean absolute error of a policy's mean action under the given modes, in deviations of the training set.

    Args:
        networks: what scales states and actions, and the contexts of the modes.
        policy: theirs, or one that takes its place.
        steps: which the policy has not seen.
        modes: (step,) one of each.
    """
    total = 0.0
    for inputs, contexts, actions in in_blocks(networks, steps, modes):
        mean, _ = policy.moments(inputs, contexts)
        total += float((mean - actions).abs().mean(1).sum())
    return total / steps.n_steps


def in_blocks(
    networks: ModeNetworks, steps: Steps, modes: Int[Tensor, "step"]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(inputs, contexts, actions) of a policy for all steps in their order, each under its mode, a block at a time."""
    for chosen in torch.arange(steps.n_steps).split(_CHUNK):
        contexts = networks.contexts[modes[chosen].to(networks.device)]
        yield networks.policy_inputs(steps, chosen), contexts, networks.action_normaliser(steps.actions(chosen))
