"""The mode of a robot that is running: one step at a time, in NumPy, for torch takes longer to begin than to reckon."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError
from unbraid.modes.chain import bounded, next_log_belief
from unbraid.modes.encoders import StepWindowEncoder, TransitionEncoder
from unbraid.modes.sequence_encoders import SequenceEncoder
from unbraid.policy.gaussian import LOG_STD_HIGH, LOG_STD_LOW, GaussianPolicy
from unbraid.policy.mixture import N_COMPONENTS, MixturePolicy
from unbraid.policy.normaliser import MOST_SCALED, Normaliser
from unbraid.policy.squashed import TanhGaussianPolicy
from unbraid.training.config import TalkConfig
from unbraid.training.networks import (
    DISTANCE_TEMPERATURE,
    LEAST_NATS,
    POLICY_SHARE,
    STEP_SHARE,
    STEP_WINDOW,
    ModeNetworks,
)

__all__ = ["Belief", "Observer", "require_causal"]

_MEANS = [np.full(n, 1 / max(n, 1), dtype=np.float32) for n in range(STEP_WINDOW + 1)]
"""(n,) what makes the mean of n rows, a product: half the time of a sum."""


@final
@dataclass(frozen=True, eq=False)
class Belief:
    """What is known of the mode so far; it never changes, each step gives a new one.

    Attributes:
        log_probabilities: (mode,) log p(mode now | all up to now), in nats.
        recent: (step, width) what the encoder makes of the last 25 steps at the most, the oldest first; the scaled
            steps themselves, where it reads them in their order.
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

    def __init__(self, networks: ModeNetworks, *, switch_rate: float) -> None:
        """Takes over their weights as they are now.

        Args:
            networks: of a model of unbraid's own method.
            switch_rate: the probability that a step changes the mode: the model's own, or more, since a robot that a
                person steers changes its mode more often than demonstrations did.

        Raises:
            ConfigError: a model of the talk's method, whose encoder reads steps that are still to come; or a
                rate that is no probability.
        """
        if not isinstance(switch_rate, Real) or not 0 <= switch_rate <= 1:
            raise ConfigError(
                f"switch_rate must be a probability in [0, 1]; got {switch_rate!r:.40}. Give the model's own, or more."
            )
        policy = networks.policy
        assert isinstance(policy, GaussianPolicy | MixturePolicy)
        self._squash = None
        if isinstance(policy, TanhGaussianPolicy):
            assert policy.low is not None
            assert policy.high is not None
            self._squash = tuple(_array(values) for values in (policy.low, policy.high, *policy.squash()))
        linear = policy.log_std_of_context
        require_causal(networks)
        assert linear is not None
        assert not isinstance(networks.encoder, TransitionEncoder)
        self._states = _Scaling(networks.observation_normaliser, networks.observation_origin)
        self._actions = _Scaling(networks.action_normaliser)
        self._n_modes = networks.n_modes
        codes = _array(networks.codebook.codes())
        # -|z - e_k|^2 = 2 z e_k - |e_k|^2 and what all modes share: linear in z, and so in what z is made of
        share = np.float32(1 / (DISTANCE_TEMPERATURE * STEP_WINDOW))
        self._towards: _Layer = (codes.T * (2 * share), np.square(codes).sum(1) * -share)
        self._sequence: SequenceEncoder | None = None
        if isinstance(networks.encoder, StepWindowEncoder):
            self._per_step = _layers(networks.encoder.per_step)
            *hidden, (weights, bias) = _layers(networks.encoder.of_mean)
            self._of_mean = [*hidden, (weights @ self._towards[0], _through([self._towards], bias, _relu))]
        else:
            self._sequence = copy.deepcopy(networks.encoder).cpu()
        self._weights = np.full(networks.action_size, -POLICY_SHARE, dtype=np.float32)
        self._n_parts = N_COMPONENTS if isinstance(policy, MixturePolicy) else 1
        contexts = _array(networks.contexts)
        (first, bias), *rest = _layers(policy.trunk)
        of_context = contexts @ first[-networks.n_modes :] if policy.shape.context_as == "input" else 0.0
        *hidden, self._last = [(np.ascontiguousarray(first[: networks.state_size]), of_context + bias), *rest]
        norms = [layer for layer in policy.trunk if isinstance(layer, nn.LayerNorm)] or [None] * len(hidden)
        self._hidden = [_Hidden(layer, norm) for layer, norm in zip(hidden, norms, strict=True)]
        of_part = contexts @ _array(linear.weight).T + _array(linear.bias)
        self._log_stds = np.tile(of_part, self._n_parts)
        self._columns = np.tile(np.arange(networks.action_size), self._n_parts)
        self._of_parts = np.kron(np.eye(self._n_parts), np.ones((networks.action_size, 1))).astype(np.float32)
        self._bounds = None
        if self._squash is None and policy.low is not None and policy.high is not None:
            self._bounds = tuple(np.tile(_array(bound), self._n_parts) for bound in (policy.low, policy.high))
        self._rate = switch_rate
        self._sizes = (networks.observation_size, networks.action_size)
        self._shapes = tuple((n,) for n in self._sizes)

    def observe(self, belief: Belief | None, observation: ArrayLike, action: ArrayLike) -> Belief:
        """What is known after one more step.

        Args:
            belief: what was known before; None at an episode's first step.
            observation: (obs,) what was seen: an array, or what NumPy makes one of, such as a list.
            action: (act,) what was done on it, likewise.

        Raises:
            DataError: widths that don't fit, what is no number or not finite, or a belief of another model.
        """
        seen, acted = _numbers(observation), _numbers(action)
        if (seen.shape, acted.shape) != self._shapes or seen.dtype.kind not in "fiub" or acted.dtype.kind not in "fiub":
            raise DataError(
                f"An observation and an action must have {self._sizes[0]} and {self._sizes[1]} numbers; got "
                f"{_told(seen)} and {_told(acted)}. Give those that the model was fitted on."
            )
        if not (np.isfinite(seen).all() and np.isfinite(acted).all()):
            raise DataError("An observation and an action must be finite; got others. Leave such steps out.")
        with np.errstate(over="ignore"):  # what is too large to be scaled is clipped
            state, done = self._states(seen), self._actions(acted)
        step = np.concatenate([state, done])
        if self._sequence is None:
            step = _relu(_through(self._per_step, step, _relu))
        recent, before = step[None], None
        if belief is not None:
            if not isinstance(belief, Belief):
                raise DataError(
                    f"A belief must be None at an episode's first step, and then what the step before gave; got "
                    f"{type(belief).__name__}. Begin with None."
                )
            before = belief.log_probabilities
            if len(before) != self._n_modes or belief.recent.shape[1:] != step.shape:
                raise DataError(
                    f"A belief must be one of this model, of {self._n_modes} modes; got one of a model of "
                    f"{len(before)} modes. Begin with None, and hand on what this model's `observe` gives."
                )
            recent = np.concatenate([belief.recent[1 - STEP_WINDOW :], recent])
        of_policy = np.maximum(self._policy(state, done), POLICY_SHARE * LEAST_NATS)
        scores = STEP_SHARE * bounded(of_policy + self._encoder(recent))
        return Belief(next_log_belief(before, scores, self._rate), recent)

    def _policy(self, state: Float[np.ndarray, "obs"], action: Float[np.ndarray, "act"]) -> Float[np.ndarray, "mode"]:
        """The policy's share of log pi(a | s, k), up to what all modes share."""
        hidden = state
        for layer in self._hidden:
            hidden = layer(hidden)
        last, bias = self._last
        out, n = (np.dot(hidden, last) + bias).reshape(self._n_modes, -1), self._n_parts * len(action)
        if self._squash is not None:  # the density's factor is the same under all modes
            low, high, middle, half = self._squash
            action = half * np.arctanh((np.minimum(np.maximum(action, low), high) - middle) / half)
        wished = self._log_stds + 1.5 * np.tanh(out[:, n : 2 * n] / 1.5)
        mean, log_std = out[:, :n], np.minimum(np.maximum(wished, LOG_STD_LOW), LOG_STD_HIGH)
        if self._bounds is not None:
            mean = np.minimum(np.maximum(mean, self._bounds[0]), self._bounds[1])
        if self._n_parts == 1:
            return np.dot(0.5 * np.square((action - mean) * np.exp(-log_std)) + log_std, self._weights)
        misfits = 0.5 * np.square((action[self._columns] - mean) * np.exp(-log_std)) + log_std
        weights = out[:, 2 * n :]
        exponents = np.concatenate([weights - np.dot(misfits, self._of_parts), weights])
        most = exponents.max(1)
        sums = most + np.log(np.exp(exponents - most[:, None]).sum(1))  # of densities, then of weights
        return POLICY_SHARE * (sums[: len(out)] - sums[len(out) :])

    def _encoder(self, recent: Float[np.ndarray, "step width"]) -> Float[np.ndarray, "mode"]:
        """This step's share of the encoder's log-probabilities of the steps up to now, up to what all modes share."""
        if self._sequence is None:
            return _through(self._of_mean, np.dot(_MEANS[len(recent)], recent), _relu)
        return _through([self._towards], self._in_order(self._sequence, recent), _relu)

    @torch.no_grad()
    def _in_order(self, encoder: SequenceEncoder, recent: Float[np.ndarray, "step width"]) -> np.ndarray:
        """The latent of the last steps, by torch."""
        steps, n_observed = torch.from_numpy(recent).float()[None], self._sizes[0]
        return encoder(steps[..., :n_observed], steps[..., n_observed:])[0].numpy()


_Layer = tuple[np.ndarray, np.ndarray]
"""(in, out) weights, and a bias."""


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()


def _layers(network: nn.Module) -> list[_Layer]:
    """A perceptron's linear layers."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(_array(layer.weight).T, _array(layer.bias)) for layer in linear]


def _through(layers: Sequence[_Layer], rows: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What linear layers make of rows, with an activation between them."""
    *first, (weights, bias) = layers
    for own, shift in first:
        rows = activation(np.dot(rows, own) + shift)
    return np.dot(rows, weights) + bias


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _silu(values: np.ndarray) -> np.ndarray:
    below = np.exp(-values)
    below += 1
    return np.divide(values, below, out=below)


class _Hidden:
    """A hidden layer of a policy: linear, perhaps normalised, and SiLU."""

    def __init__(self, layer: _Layer, norm: nn.LayerNorm | None) -> None:
        """Takes the layer's outputs less by their mean, where they are normalised: the half of that weights can do."""
        self._weights, self._bias = layer
        self._norm = None
        if norm is not None:
            self._weights = self._weights - self._weights.mean(-1, keepdims=True)
            self._bias = self._bias - self._bias.mean(-1, keepdims=True)
            n = self._bias.shape[-1]
            self._norm = _array(norm.weight) * np.sqrt(n, dtype=np.float32), _array(norm.bias), norm.eps * n

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        out = np.dot(rows, self._weights) + self._bias
        if self._norm is None:
            return _silu(out)
        gain, bias, eps = self._norm
        squares = np.einsum("...i,...i->...", out, out) + eps
        return _silu(out / np.sqrt(squares)[..., None] * gain + bias)


def require_causal(networks: ModeNetworks) -> None:
    """Raises `ConfigError` for a model of the talk's method, whose encoder reads steps that are still to come."""
    if isinstance(networks.config, TalkConfig):
        raise ConfigError(
            "The mode up to a step must be asked of a model of unbraid's own method; this one is of the talk's, which "
            "reads where a step leads. Fit with --method unbraid, or read the whole episode with timeline."
        )


@final
class _Scaling:
    """What a normaliser does, less the origin first; an object, so that a model that observes can be copied."""

    def __init__(self, normaliser: Normaliser, origin: Tensor | None = None) -> None:
        self._mean, self._scale = _array(normaliser.mean), _array(normaliser.scale)
        self._clip = min(float(normaliser.clip), MOST_SCALED)
        self._origin = None if origin is None else origin.cpu().numpy()
        self._components = None if normaliser.components is None else _array(normaliser.components)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        moved = values if self._origin is None else values - self._origin
        scaled = self._clipped((moved - self._mean) / self._scale)
        if self._origin is not None or self._components is not None:
            scaled = scaled.astype(np.float32, copy=False)
        return scaled if self._components is None else self._clipped(np.dot(scaled, self._components))

    def _clipped(self, values: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(values, -self._clip), self._clip)


def _numbers(values: ArrayLike) -> np.ndarray:
    """What NumPy makes of them, of a tensor wherever it is, too."""
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (ValueError, TypeError):  # such as rows of several lengths
        return np.array(None)


def _told(values: np.ndarray) -> str:
    """How many numbers there are, or what there is in their place."""
    if values.dtype.kind not in "fiub":
        return f"what is no number ({values.dtype})"
    return str(len(values)) if values.ndim == 1 else f"an array of the shape {values.shape}"
