"""AdaBelief, the optimiser of the talk's code; torch has none, and its authors' package is no longer kept."""

# torch's own optimisers are built on its _foreach functions, which have no public name.
# pyright: reportPrivateUsage=false

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor

__all__ = ["AdaBelief"]


@final
class AdaBelief(torch.optim.Optimizer):
    """Adam whose second moment is that of the gradient's surprise, (g - m)^2.

    Source: Zhuang et al. 2020, arXiv 2010.07468, algorithm 2 (no weight decay, no rectification).
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-16
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients = [p.grad for p in parameters]
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.zeros(()),
                        "mean": torch.zeros_like(p),
                        "surprise": torch.zeros_like(p),
                    }
            states = [self.state[p] for p in parameters]
            means, surprises = [s["mean"] for s in states], [s["surprise"] for s in states]
            for s in states:
                s["step"] += 1
            taken = float(states[0]["step"])
            beta1, beta2 = group["betas"]
            torch._foreach_lerp_(means, gradients, 1 - beta1)
            surprise = torch._foreach_sub(gradients, means)
            torch._foreach_mul_(surprises, beta2)
            torch._foreach_addcmul_(surprises, surprise, surprise, 1 - beta2)
            torch._foreach_add_(surprises, group["eps"])
            below = torch._foreach_sqrt(surprises)
            torch._foreach_div_(below, (1 - beta2**taken) ** 0.5)
            torch._foreach_add_(below, group["eps"])
            torch._foreach_addcdiv_(parameters, means, below, -group["lr"] / (1 - beta1**taken))
