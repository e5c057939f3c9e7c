"""The mode of a robot that is running: one step at a time, in NumPy, for torch takes longer to begin than to reckon."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError
from unbraid.modes.chain import bounded, next_log_belief
from unbraid.modes.encoders import StepWindowEncoder
from unbraid.policy.gaussian import LOG_STD_HIGH, LOG_STD_LOW
from unbraid.policy.normaliser import Normaliser
from unbraid.training.model import ModeModel
from unbraid.training.networks import DISTANCE_TEMPERATURE, POLICY_SHARE, STEP_SHARE, STEP_WINDOW

__all__ = ["Belief", "Observer"]


@final
@dataclass(frozen=True, eq=False)
class Belief:
    """What is known of the mode so far; it never changes, each step gives a new one.

    Attributes:
        log_probabilities: (mode,) log p(mode now | all up to now), in nats.
        recent: (step, width) what the encoder makes of the last 25 steps at the most, the oldest first.
    """

    log_probabilities: Float[np.ndarray, "mode"]
    recent: Float[np.ndarray, "step width"]

    @property
    def probabilities(self) -> Float[np.ndarray, "mode"]:
        """(mode,) in [0, 1]; they sum to 1."""
        return np.exp(self.log_probabilities)


@final
class Observer:
    """Takes steps one by one: the numbers of `ModeModel.filter`, but for the last digits of float32."""

    def __init__(self, model: ModeModel) -> None:
        """Takes over the model's weights as they are now.

        Raises:
            ConfigError: a model of the talk's method, whose encoder reads steps that are still to come.
        """
        if not isinstance(model.encoder, StepWindowEncoder) or model.policy.log_std_of_context is None:
            raise ConfigError(
                "A mode can be observed with a model of unbraid's own method; this one is of the talk's, which reads "
                "where a step leads. Fit with --method unbraid."
            )
        self._states, self._actions = _scaling(model.observation_normaliser), _scaling(model.action_normaliser)
        self._per_step, self._of_mean = _layers(model.encoder.per_step), _layers(model.encoder.of_mean)
        self._codes = _array(model.codebook.codes())
        contexts = _array(model.contexts)
        (first, bias), *self._rest = _layers(model.policy.trunk)
        n_observed = model.observation_size
        self._of_state, self._of_context = first[:n_observed], contexts @ first[-model.n_modes :] + bias
        linear = model.policy.log_std_of_context
        self._log_stds = contexts @ _array(linear.weight).T + _array(linear.bias)
        self._rate, self._sizes = model.switch_rate, (model.observation_size, model.action_size)

    def observe(
        self, belief: Belief | None, observation: Float[np.ndarray, "obs"], action: Float[np.ndarray, "act"]
    ) -> Belief:
        """What is known after one more step.

        Args:
            belief: what was known before; None at an episode's first step.
            observation: what was seen.
            action: what was done on it.

        Raises:
            DataError: widths that don't fit, or numbers that are not finite.
        """
        sizes = observation.shape[0], action.shape[0]
        if sizes != self._sizes:
            raise DataError(
                f"An observation and an action must have {self._sizes[0]} and {self._sizes[1]} numbers; got {sizes[0]} "
                f"and {sizes[1]}. Give those that the model was fitted on."
            )
        state = self._states(observation)
        done = self._actions(action)
        step = _relu(_through(self._per_step, np.concatenate([state, done])[None], _relu))
        if not math.isfinite(step.sum()):
            raise DataError("An observation and an action must be finite; got others. Leave such steps out.")
        recent = step if belief is None else np.concatenate([belief.recent[1 - STEP_WINDOW :], step])
        before = None if belief is None else belief.log_probabilities
        scores = STEP_SHARE * bounded(POLICY_SHARE * self._policy(state, done) + self._encoder(recent))
        return Belief(next_log_belief(before, scores, self._rate), recent)

    def _policy(self, state: Float[np.ndarray, "obs"], action: Float[np.ndarray, "act"]) -> Float[np.ndarray, "mode"]:
        """log pi(a | s, k) up to what all modes share."""
        hidden = _silu(state @ self._of_state + self._of_context)
        out, n = _through(self._rest, hidden, _silu), len(action)
        wished = self._log_stds + 1.5 * np.tanh(out[:, n:] / 1.5)
        mean, log_std = out[:, :n], np.minimum(np.maximum(wished, LOG_STD_LOW), LOG_STD_HIGH)
        return -(0.5 * np.square((action - mean) * np.exp(-log_std)) + log_std).sum(1)

    def _encoder(self, recent: Float[np.ndarray, "step width"]) -> Float[np.ndarray, "mode"]:
        """This step's share of the encoder's log-probabilities of the steps up to now."""
        latent = _through(self._of_mean, np.add.reduce(recent) / len(recent), _relu)
        read = np.square(latent - self._codes).sum(1) / -DISTANCE_TEMPERATURE
        read -= read.max()
        return (read - math.log(float(np.exp(read).sum()))) / STEP_WINDOW


_Layer = tuple[np.ndarray, np.ndarray]
"""(in, out) weights, and a bias."""


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()


def _layers(network: nn.Module) -> list[_Layer]:
    """A perceptron's linear layers."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(np.ascontiguousarray(_array(layer.weight).T), _array(layer.bias)) for layer in linear]


def _through(layers: Sequence[_Layer], rows: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What linear layers make of rows, with an activation between them."""
    *first, (weights, bias) = layers
    for own, shift in first:
        rows = activation(rows @ own + shift)
    return rows @ weights + bias


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _silu(values: np.ndarray) -> np.ndarray:
    return values / (1 + np.exp(-values))


def _scaling(normaliser: Normaliser) -> Callable[[np.ndarray], np.ndarray]:
    mean, scale, clip = _array(normaliser.mean), _array(normaliser.scale), float(normaliser.clip)
    if clip == math.inf:
        return lambda values: (values - mean) / scale
    return lambda values: np.minimum(np.maximum((values - mean) / scale, -clip), clip)
