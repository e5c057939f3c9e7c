"""Betting against a mean: p-values and confidence sequences of bounded values that hold at every n at once.

Whoever doubts that a mean is at most m may bet on every value: a fraction f of the capital is staked on the value,
which pays value / m for each unit, and the rest is kept. If the mean is at most m, no such bet is worth more than its
stake, so the capital seldom grows: it ever reaches 1 / a with a probability of at most a. Nothing is assumed of the
values but that they are independent, in [0, 1], with one mean: no shape, no large n, and no n that was chosen before.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import bisect
from scipy.special import expit

from unbraid.core.errors import ConfigError, DataError

__all__ = ["FRACTIONS", "anytime_p", "capital", "confidence_sequence"]

FRACTIONS: tuple[float, ...] = tuple(float(f) for f in expit(np.linspace(-5, 5, 21)))
"""What is staked, each with a 21st of the capital: from 0.7 % (for means close to m) to 99.3 % (for far ones)."""

_MOST = 1e300  # a capital that is as good as endless; its inverse is still a number


def capital(values: Float[np.ndarray, "*repetition n"], mean: float) -> Float[np.ndarray, "*repetition n"]:
    """The capital after each value of whoever bets that the mean is above `mean`, beginning with 1.

    The average over f in `FRACTIONS` of the products of 1 + f (value / mean - 1). If the values' mean is at most
    `mean`, it is a supermartingale, and ever reaches 1 / a with a probability of at most a (Ville 1939). It falls as
    `mean` rises. To bet that the mean is below m: ``capital(1 - values, 1 - m)``.

    Source: Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting", arXiv 2010.09686:
    the capital process with one-sided bets (section 4), the bets by diversified Kelly betting (its appendix on other
    strategies). Departs: the fractions are spaced evenly on the logit scale, so that means close to `mean`, and
    probabilities close to 0, are both decided with few values; and each side is one-sided, where the paper hedges.

    Args:
        values: (..., n) in [0, 1], in the order in which they came.
        mean: the mean that is doubted, in (0, 1).

    Raises:
        DataError: values outside [0, 1], or not numbers.
        ConfigError: `mean` is outside (0, 1).
    """
    if not 0 < mean < 1:
        raise ConfigError(f"The mean that is doubted must lie in (0, 1); got {mean}. Scale it as the values are.")
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError("Values that are bet on must lie in [0, 1]; some do not. Scale them by their bounds.")
    payoff = values / mean - 1
    total = np.zeros_like(payoff)
    with np.errstate(over="ignore", under="ignore"):  # an endless capital stays so; a lost one, too
        for fraction in FRACTIONS:
            total += np.minimum(np.cumprod(1 + fraction * payoff, axis=-1), _MOST)
    return total / len(FRACTIONS)


def anytime_p(values: Float[np.ndarray, "*repetition n"], mean: float) -> Float[np.ndarray, "*repetition n"]:
    """After each value, the p-value of "the mean is at most `mean`": 1 / the largest capital so far, at most 1.

    It is valid whenever and for whatever reason one stops: the probability that it is ever a or less is at most a.

    Raises:
        DataError, ConfigError: as `capital`.
    """
    return 1 / np.maximum(np.maximum.accumulate(capital(values, mean), axis=-1), 1)


def confidence_sequence(values: Float[np.ndarray, "n"], *, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of the interval of means that no bet has made doubtful so far: it covers the mean at all n at once.

    A mean is outside if whoever bets that the true one is higher, or lower, ever had 2 / (1 - confidence). With no
    values it is [0, 1].

    Source: as `capital`; Theorem 3 there, with the two sides' capital kept apart.

    Raises:
        DataError: values outside [0, 1].
        ConfigError: `confidence` outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must lie in (0, 1); got {confidence}. 0.95 is the usual choice.")
    level = (1 - confidence) / 2
    return _lower_end(values, level), 1 - _lower_end(1 - values, level)


def _lower_end(values: Float[np.ndarray, "n"], level: float) -> float:
    """The largest mean that is still too small: the p-value rises with the mean, so one crossing is to be found."""
    smallest, largest = 1e-9, 1 - 1e-9

    def excess(mean: float) -> float:
        return float(anytime_p(values, mean)[-1]) - level

    if len(values) == 0 or excess(smallest) > 0:
        return 0.0
    if excess(largest) <= 0:
        return largest
    crossing: Any = bisect(excess, smallest, largest, xtol=1e-9)
    return float(crossing)
