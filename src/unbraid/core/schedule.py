"""How a learning rate goes, wherever something of ours is learned by gradient steps."""

import math

__all__ = ["scheduled"]

_WARM_UP = 50


def scheduled(taken: int, n_steps: int) -> float:
    """The share of the highest learning rate after so many gradient steps of all: a warm-up, then a cosine to 0."""
    warm = min(1.0, (taken + 1) / _WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * taken / n_steps))
