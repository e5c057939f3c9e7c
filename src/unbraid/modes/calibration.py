"""How sure a reading of a mode is: temperatures that make probabilities come true on spans left out of a fit.

A window's readings of neighbouring steps err alike, so that their sum claims too much, the more the longer the window.
One temperature for every length of window mends that; which mode is likeliest stays as it is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import log_softmax

from unbraid.core.errors import ConfigError, ModelError

__all__ = ["CALIBRATED_LENGTHS", "NOT_SURE", "Calibration", "LeftOut", "fitted_temperatures", "likeliest"]

NOT_SURE = -1
"""In place of a mode; scikit-learn's clusterers say so of noise."""
CALIBRATED_LENGTHS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
"""Lengths of windows, in steps, that get a temperature of their own; others lie between."""
_USUAL, _SPREAD, _SMOOTHNESS = np.log(1.4), 1.0, 0.5
"""Log-temperatures before anything was seen: their mean, their deviation, and that between neighbouring lengths. Few
left-out spans, or such as are read without an error, leave them there."""


@final
@dataclass(frozen=True)
class LeftOut:
    """Windows of one length, of spans that a fit did not see.

    Attributes:
        scores: (window, mode) how well each mode explains each, in nats.
        modes: (window,) the mode of the span that each is of.
        n_spans: how many spans they come from.
    """

    scores: Float[np.ndarray, "window mode"]
    modes: Int[np.ndarray, "window"]
    n_spans: int


@final
@dataclass(frozen=True)
class Calibration:
    """Temperatures by length of window and kind of evidence: p = softmax(scores / temperature).

    Attributes:
        window_steps: (length,) rising lengths of windows.
        temperatures: kind of evidence -> (length,) above 0.
        n_spans: how many left-out spans they were fitted on.
    """

    window_steps: tuple[int, ...]
    temperatures: dict[str, tuple[float, ...]]
    n_spans: int

    def of(self, evidence: str, lengths: Int[np.ndarray, "window"]) -> Float[np.ndarray, "window"]:
        """The temperature of each window: linear between two lengths, in logarithms of both; constant beyond."""
        of_lengths = np.log(self.temperatures[evidence])
        return np.exp(np.interp(np.log(np.maximum(lengths, 1)), np.log(self.window_steps), of_lengths))

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Calibration":
        """What `to_json` gave.

        Raises:
            ModelError: it is no such thing.
        """
        try:
            steps = tuple(int(n) for n in content["window_steps"])
            temperatures = {k: tuple(float(t) for t in of) for k, of in content["temperatures"].items()}
            made = cls(steps, temperatures, int(content["n_spans"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"A calibration must have lengths and temperatures; {error!r}. Fit again.") from None
        if not steps or any(len(of) != len(steps) or min(of) <= 0 for of in temperatures.values()):
            raise ModelError("A calibration must have a temperature above 0 for each length. Fit again.")
        return made


def likeliest(
    probabilities: Float[np.ndarray, "window mode"], min_probability: float = 0.0
) -> Int[np.ndarray, "window"]:
    """The likeliest mode of each window; -1, not sure, where it is less probable than asked.

    Raises:
        ConfigError: what is asked is no probability.
    """
    if not 0 <= min_probability <= 1:
        raise ConfigError(f"min_probability must lie in [0, 1]; got {min_probability}. 0.9 asks for nine in ten.")
    return np.where(probabilities.max(1) < min_probability, NOT_SURE, probabilities.argmax(1))


def fitted_temperatures(left_out: Sequence[LeftOut]) -> Float[np.ndarray, "length"]:
    """The temperature of each length of window that makes the modes of left-out windows likeliest.

    Maximises over the log-temperatures t_w: sum_w n_spans_w mean(log softmax(s / exp(t_w))[mode]), the windows of a
    length counting together for the spans that they come from, and a Gaussian prior that binds neighbouring lengths.

    Source: Guo et al. 2017, arXiv 1706.04599, section 4.2. Departs: a temperature for each length, with a prior.

    Args:
        left_out: windows of each length, the shortest first.

    Returns:
        (length,) temperatures above 0.
    """

    def loss(logs: Float[np.ndarray, "length"]) -> tuple[float, Float[np.ndarray, "length"]]:
        value, slope = 0.0, np.zeros(len(logs))
        for i, (log, of_length) in enumerate(zip(logs, left_out, strict=True)):
            scaled = of_length.scores * np.exp(-log)
            log_probs = log_softmax(scaled, axis=1)
            rows = np.arange(len(scaled))
            value -= of_length.n_spans * log_probs[rows, of_length.modes].mean()
            expected = (np.exp(log_probs) * scaled).sum(1)
            slope[i] = of_length.n_spans * (scaled[rows, of_length.modes] - expected).mean()
        off, steps = logs - _USUAL, np.diff(logs)
        value += 0.5 * float((off**2).sum() / _SPREAD**2 + (steps**2).sum() / _SMOOTHNESS**2)
        slope += off / _SPREAD**2
        slope[1:] += steps / _SMOOTHNESS**2
        slope[:-1] -= steps / _SMOOTHNESS**2
        return value, slope

    found = minimize(
        loss, np.full(len(left_out), _USUAL), jac=True, method="L-BFGS-B", bounds=[(-3.0, 6.0)] * len(left_out)
    )
    return np.exp(found.x)
