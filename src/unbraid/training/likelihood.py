"""How likely demonstrations are under modes that take over from one another."""

import math

import numpy as np
from jaxtyping import Float, Int

__all__ = ["chain_log_likelihoods"]


def chain_log_likelihoods(
    log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"], switch_rate: float
) -> Float[np.ndarray, "episode"]:
    """log p(actions of an episode), in nats, summed over all sequences of modes; 0 for one of no steps.

    The chain is that of `modes.chain`: any mode at first; then it stays, or goes to one of the others. No step's
    likelihood is bounded, as it is there: what is asked for is a likelihood and not who acted.

    Source: Rabiner 1989 (Proceedings of the IEEE 77), section III.A, the forward procedure.

    Args:
        log_likelihoods: of every step's action under every mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
        switch_rate: the probability that a step changes the mode, in (0, 1).
    """
    n_modes = log_likelihoods.shape[1]
    move = switch_rate / max(n_modes - 1, 1)
    stay = 1 - switch_rate - move
    order = np.argsort(-lengths, kind="stable")  # so that those that still go on at a time are the first ones
    first = (np.cumsum(lengths) - lengths)[order]
    going_on = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(lengths.max(initial=0)), side="right")
    expected, totals = np.full((len(lengths), n_modes), -math.log(n_modes)), np.zeros(len(lengths))
    for t, n in enumerate(going_on.tolist()):
        both = expected[:n] + log_likelihoods[first[:n] + t]
        seen = np.logaddexp.reduce(both, axis=1, keepdims=True)
        totals[:n] += seen[:, 0]
        expected = np.log(stay * np.exp(both - seen) + move) if n_modes > 1 else expected
    found = np.empty_like(totals)
    found[order] = totals
    return found
