"""Gradient steps of AdamW, as encoder, codebook and policy take them."""

from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.replay import Replay

__all__ = ["CLIP_NORM", "Descent"]

CLIP_NORM = 5.0


@final
class Descent:
    """AdamW down gradients whose norm is clipped to 5; on a GPU by a CUDA graph, with gradients that keep their place.

    Attributes:
        optimizer: whose state a checkpoint keeps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float) -> None:
        """Args:
        parameters: all on one device.
        learning_rate: the highest.
        weight_decay: AdamW's.
        """
        self._parameters, self._learning_rate = list(parameters), learning_rate
        self._on_gpu = self._parameters[0].is_cuda
        self.optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
        self._replay = Replay()

    def step(self, share: float) -> None:
        """One step at this share of the highest learning rate; the gradients are gone after it."""
        rate = self._learning_rate * share
        if self._on_gpu:
            self._replay(self._descended, torch.full((), rate, device=self._parameters[0].device))
        else:
            self._descended(rate)

    def _descended(self, rate: float | Float[Tensor, ""]) -> tuple[Tensor, ...]:
        nn.utils.clip_grad_norm_(self._parameters, CLIP_NORM)
        for group in self.optimizer.param_groups:
            group["lr"], group["capturable"] = rate, self._on_gpu and torch.cuda.is_current_stream_capturing()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self._on_gpu)
        return ()
