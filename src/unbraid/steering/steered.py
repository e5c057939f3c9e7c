"""`steer(model)`: from a model to a policy that a person steers, towards a mode or with a context of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.shapes import require_finite
from unbraid.policy.contexts import require_mode
from unbraid.policy.style import TYPICAL_STYLE, require_style
from unbraid.training.model import ModeModel

__all__ = ["SteeredPolicy", "steer"]

_ROWS = 64  # linear layers are bit-equal for equal row counts only, so every batch is padded to a multiple of this


@final
@dataclass(frozen=True, eq=False)
class SteeredPolicy:
    """pi(a | s, c) with the context fixed. Never changes: `toward` and the others give a new one.

    It has Stable-Baselines3's `predict`, so its `evaluate_policy` takes it as it is, and `act`, so that `rollout`
    runs many side by side.

    Attributes:
        model: whose policy it is.
        context: (mode,) what the policy is conditioned on; None before a mode was chosen.
        action_low, action_high: (act,) the bounds that actions are clipped to, or None.
        seed: of the sampled actions in `predict`.
        style_quantile: how the mode is done, in [0, 1]; of a model without styles it has no say.
    """

    model: ModeModel
    context: Float[np.ndarray, "mode"] | None = None
    action_low: Float[np.ndarray, "act"] | None = None
    action_high: Float[np.ndarray, "act"] | None = None
    seed: int = 0
    style_quantile: float = TYPICAL_STYLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "_generator", np.random.default_rng(self.seed))

    def toward(self, mode: int) -> "SteeredPolicy":
        """The policy in one mode: the not-hot context of the talk (0 at the mode, 1 elsewhere).

        For the talk's method with its repaired steering, the ones are on the scale of the distances it was trained on.

        Raises:
            ConfigError: the mode does not exist.
        """
        row = self.model.contexts[require_mode(mode, self.model.n_modes)]
        return replace(self, context=row.cpu().double().numpy())

    def blend(self, weights: Mapping[int, float]) -> "SteeredPolicy":
        """The policy under the expected context of a mixture of modes: sum of w_k x context k; 1 - w on a simplex.

        Raises:
            ConfigError: a mode that does not exist, a negative weight, or weights that don't sum to 1.
        """
        given = list(weights.values())
        if not (given and min(given) >= 0 and abs(sum(given) - 1) <= 1e-6):  # so that NaN is refused
            raise ConfigError(f"The weights of a blend must be >= 0 and sum to 1; got {dict(weights)}. Scale them.")
        rows = self.model.contexts.cpu().double().numpy()
        context = sum(weight * rows[require_mode(mode, len(rows))] for mode, weight in weights.items())
        return replace(self, context=np.asarray(context))

    def with_context(self, context: Sequence[float] | Float[np.ndarray, "mode"]) -> "SteeredPolicy":
        """The policy under a context of your own, one number per mode.

        Raises:
            ConfigError: the wrong size, or not finite.
        """
        try:
            given = np.asarray(context, dtype=np.float64)
        except (TypeError, ValueError):
            given = np.array(np.nan)
        if given.shape != (self.model.n_modes,) or not np.isfinite(given).all():
            raise ConfigError(
                f"A context must have {self.model.n_modes} finite numbers, one per mode; got {context!s:.80}. "
                "0 at the wanted mode and 1 elsewhere asks for one mode."
            )
        return replace(self, context=given)

    def style(self, quantile: float | int) -> "SteeredPolicy":
        """The policy in another style: 0.5 is a mode's typical demonstration, 0.8 exceeds four fifths of them.

        It may be set before the mode or after it. Under a blend the styles of the modes are blended, too.

        Raises:
            ConfigError: a model without styles, or a style outside [0, 1].
        """
        if self.model.style_reader is None:
            raise ConfigError("A model must have styles; this one was fitted without. Fit with style on (--style on).")
        return replace(self, style_quantile=require_style(quantile))

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions for one observation (obs,) or many (env, obs), as Stable-Baselines3's `predict`.

        Args:
            observation: in the environment's own units.
            state: handed back as it came; the policy has no memory.
            episode_start: not used, likewise.
            deterministic: the mean action; otherwise sampled from a generator that `seed` seeds.

        Returns:
            The actions, clipped to the bounds, shaped as the observations were; and the state.

        Raises:
            ConfigError, DataError: as `act`.
        """
        given = np.asarray(observation)
        if given.dtype.kind not in "biuf":
            raise DataError(f"An observation must be an array of numbers; got {given.dtype}. Flatten it into one.")
        rows = np.atleast_2d(given).astype(np.float64, copy=False)
        noise = np.zeros((len(rows), self.model.action_size))
        if not deterministic:
            noise = self._generator.standard_normal(noise.shape)  # pyright: ignore[reportAttributeAccessIssue]
        actions, _ = self.act(rows, None, np.zeros(len(rows), dtype=bool), noise)
        return (actions[0] if given.ndim == 1 else actions), state

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Any,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Any]:
        """Actions for many environments: mean + deviation x noise, clipped to the bounds (worlds.rollout.Controller).

        Raises:
            ConfigError: no mode was chosen yet.
            DataError: observations of the wrong width, or not finite.
        """
        if self.context is None:
            raise ConfigError("A mode must be chosen before the policy can act; none was. Call .toward(mode) first.")
        if observations.ndim != 2 or observations.shape[1] != self.model.observation_size:
            raise DataError(
                f"Observations must have {self.model.observation_size} numbers; got shape {observations.shape}. "
                "Use the environment that the demonstrations came from."
            )
        require_finite(observations, "Observations", "Find out why the environment gives such numbers.")
        n = len(observations)
        padded = np.zeros((-(-n // _ROWS) * _ROWS, self.model.observation_size), dtype=np.float32)
        padded[:n] = observations
        contexts = torch.as_tensor(self.context, dtype=torch.float32).expand(len(padded), -1)
        mean, deviation = self.model.action_distribution(torch.from_numpy(padded), contexts, self.style_quantile)
        actions = mean[:n].double().numpy() + deviation[:n].double().numpy() * noise
        if self.action_low is not None or self.action_high is not None:
            actions = np.clip(actions, self.action_low, self.action_high)
        return actions, state


def steer(
    model: ModeModel, *, action_bounds: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0
) -> SteeredPolicy:
    """A policy to steer: `steer(model).toward(2)`.

    Args:
        model: of any method.
        action_bounds: (low, high), each (act,), to clip actions to.
        seed: of the sampled actions in `predict`.
    """
    low, high = action_bounds or (None, None)
    return SteeredPolicy(model.eval(), action_low=low, action_high=high, seed=seed)
