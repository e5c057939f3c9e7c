"""`steer(model)`: from a model to a policy that a person steers: towards a mode, away from others, or between some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import ndtr

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.shapes import require_finite
from unbraid.policy.style import TYPICAL_STYLE, require_style
from unbraid.steering.distribution import steered_distribution
from unbraid.steering.instructions import BASE, Instruction
from unbraid.training.model import ModeModel

__all__ = ["ROWS", "SteeredPolicy", "as_taken", "begins", "number_of", "observation_rows", "padded", "steer"]

_DIGITS = 4  # the first decide the action's noise; those behind them are as good as drawn anew
ROWS = 64  # linear layers are bit-equal for equal row counts only, so every batch is padded to a multiple of this


@final
@dataclass(frozen=True, eq=False)
class SteeredPolicy:
    """A policy under one instruction. Never changes: `toward`, `away` and the others give a new one.

    They combine: see `Instruction.powers`. `blend` and `with_context` replace what was wanted before them, and `toward`
    after them goes on from there, at another strength than 1; `away` stays. It has Stable-Baselines3's
    `predict`, so its `evaluate_policy` takes it as it is, and `act`, so that `rollout` runs many side by side.

    Attributes:
        model: whose policy it is.
        instruction: what is asked of it.
        action_low, action_high: (act,) the bounds that actions are clipped to; None: nothing is clipped.
        seed: of the sampled actions in `predict`.
        style_quantile: how the mode is done, in [0, 1]; of a model without styles it has no say.
    """

    model: ModeModel = field(repr=False)
    instruction: Instruction
    action_low: Float[np.ndarray, "act"] | None = None
    action_high: Float[np.ndarray, "act"] | None = None
    seed: int = 0
    style_quantile: float = TYPICAL_STYLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "_generator", np.random.default_rng(self.seed))

    def toward(self, mode: int, strength: float | int = 1.0) -> "SteeredPolicy":
        """The policy in one mode: the not-hot context of the talk (0 at the mode, 1 elsewhere).

        For the talk's method with its repaired steering, the ones are on the scale of the distances it was trained on.

        Args:
            mode: which.
            strength: how much of the way there from the base (a blend or a context of your own if one was given, else
                the average of all modes): 0 is the base, 1 the mode, and more exaggerates what sets it apart.

        Raises:
            ConfigError: the mode does not exist or is avoided, or a strength beyond 0 to 10,000.
        """
        return replace(self, instruction=self.instruction.toward(mode, strength))

    def away(self, mode: int, strength: float | int = 1.0) -> "SteeredPolicy":
        """The policy less like a mode: p(a) proportional to base(a)^(1 + strength) / pi(a | s, mode)^strength.

        The base is what is wanted otherwise: a mode, a blend, a context of your own, or, when nothing was, the average
        of all modes, weighted by their share of the data. It may be said of several modes.

        Raises:
            ConfigError: the mode does not exist or is wanted, or a strength beyond 0 to 10,000.
        """
        return replace(self, instruction=self.instruction.avoiding(mode, strength))

    def blend(self, weights: Mapping[int, float]) -> "SteeredPolicy":
        """The policy between modes: p(a) proportional to prod_k pi(a | s, k)^(w_k), in every step.

        It takes the place of a mode or a context that was asked for before.

        Raises:
            ConfigError: no mapping of numbers, a mode that does not exist or is avoided, a negative weight, or weights
                that don't sum to 1.
        """
        return replace(self, instruction=self.instruction.blended(weights))

    def with_context(self, context: Sequence[float] | Float[np.ndarray, "mode"]) -> "SteeredPolicy":
        """The policy under a context of your own, one number per mode, in place of modes or a blend.

        Raises:
            ConfigError: the wrong size, or not finite.
        """
        return replace(self, instruction=self.instruction.under(context))

    @property
    def context(self) -> Float[np.ndarray, "mode"] | None:
        """What the network is conditioned on, where that is one context: a mode's, or one of your own; else None."""
        asked, factors = self.instruction, list(self.instruction.powers)
        if len(factors) > 1:
            return None
        if factors[0] != BASE:
            return self.model.contexts[factors[0]].cpu().double().numpy()
        return None if asked.context is None else np.array(asked.context)

    def style(self, quantile: float | int) -> "SteeredPolicy":
        """The policy in another style: 0.5 is a mode's typical demonstration, 0.8 exceeds four fifths of them.

        It may be set before the mode or after it. Under a blend the styles of the modes are blended, too.

        Raises:
            ConfigError: a model without styles, or a style outside [0, 1].
        """
        self.model.require_styles()
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
            The actions, clipped to the bounds, shaped as the observations were, of the type of `as_taken`; and the
            state.

        Raises:
            ConfigError, DataError: as `act`.
        """
        rows = observation_rows(observation)
        noise = np.zeros((len(rows), self.model.action_size))
        if not deterministic:
            noise = self._generator.standard_normal(noise.shape)  # pyright: ignore[reportAttributeAccessIssue]
        actions = as_taken(self.act(rows, None, np.zeros(len(rows), dtype=bool), noise)[0], [self])
        return (actions[0] if np.ndim(observation) == 1 else actions), state

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Any,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Any]:
        """Actions for many environments: mean + deviation x noise, clipped to the bounds
        (worlds.controllers.Controller); of a tanh-Gaussian, what that is squashed to.

        Of a mixture under one mode or context, mean and deviation are those of a part that the noise draws; without
        noise, those of the whole.

        Raises:
            ConfigError: no mode was chosen yet.
            DataError: observations of the wrong width, or not finite as float32.
        """
        mean, deviation, _ = self._distribution(observations, number_of(noise))
        actions = self.model.actions_of(mean + deviation * noise)
        if self.action_low is not None or self.action_high is not None:
            actions = np.clip(actions, self.action_low, self.action_high)
        return actions, state

    def require_acting_on(self, observations: np.ndarray) -> None:
        """Raises what `act` raises of such observations."""
        if not self.instruction.asks:
            raise ConfigError("A mode must be chosen before the policy can act; none was. Call .toward(mode) first.")
        if observations.ndim != 2 or observations.shape[1] != self.model.observation_size:
            raise DataError(
                f"Observations must have {self.model.observation_size} numbers; got shape {observations.shape}. "
                "Use the environment that the demonstrations came from."
            )
        remedy = "Find out why the environment gives such numbers."
        require_finite(observations, "Observations", remedy)
        with np.errstate(over="ignore"):  # the network computes with float32, where 1e39 is infinite
            require_finite(observations.astype(np.float32, copy=False), "Observations, as float32,", remedy)

    def floored(self, observations: Float[np.ndarray, "step obs"]) -> Bool[np.ndarray, "step"]:
        """(step,) whether what is avoided counted as less certain than it is there, so that a Gaussian was left.

        See `product_of_powers`.

        Raises:
            ConfigError, DataError: as `act`.
        """
        return self._distribution(observations)[2]

    def _distribution(
        self, observations: Float[np.ndarray, "env obs"], numbers: Float[np.ndarray, "env"] | None = None
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env act"], Bool[np.ndarray, "env"]]:
        """Mean and deviation of what `ModeNetworks.actions_of` takes, and what `floored` says."""
        self.require_acting_on(observations)
        n = len(observations)
        seen, drawn = padded(observations, np.full(n, -1.0) if numbers is None else numbers)
        mean, deviation, floored = steered_distribution(self.model, seen, self.instruction, self.style_quantile, drawn)
        return mean[:n].double().numpy(), deviation[:n].double().numpy(), floored[:n].numpy()


def as_taken(actions: Float[np.ndarray, "env act"], policies: Sequence[SteeredPolicy]) -> Float[np.ndarray, "env act"]:
    """Actions of some policies as float32, as Stable-Baselines3's `predict` gives them: a Gymnasium Box of float32
    contains no float64, and one of float64 both. As float64 where one of their bounds is a number that float32 has not.
    """
    given = [bound for policy in policies for bound in (policy.action_low, policy.action_high) if bound is not None]
    with np.errstate(over="ignore"):
        held = all((bound.astype(np.float32) == bound).all() for bound in given)
    return actions.astype(np.float32) if held else actions


def padded(
    observations: Float[np.ndarray, "row obs"], numbers: Float[np.ndarray, "row"]
) -> tuple[Float[torch.Tensor, "padded obs"], Float[torch.Tensor, "padded"]]:
    """Observations and the numbers of `number_of`, with rows that nobody needs up to a multiple of 64."""
    n = len(observations)
    kind = np.float64 if observations.dtype == np.float64 else np.float32  # a model may lie far from 0
    seen = np.zeros((-(-n // ROWS) * ROWS, observations.shape[1]), dtype=kind)
    drawn = np.full(len(seen), -1.0)
    seen[:n], drawn[:n] = observations, numbers
    return torch.from_numpy(seen), torch.from_numpy(drawn)


def number_of(noise: Float[np.ndarray, "env act"], digits: int = _DIGITS) -> Float[np.ndarray, "env"]:
    """(env,) a number in [0, 1), as good as drawn beside the noise; -1 where there is none, for the mean action.

    Args:
        noise: of the actions.
        digits: how many of the noise's own are passed over; numbers behind twice as many are as good as drawn beside
            those behind these.
    """
    return np.where(noise.any(1), (10.0**digits * ndtr(noise[:, 0])) % 1, -1.0)


def begins(n_rows: int, state: Any, episode_start: np.ndarray | None) -> Bool[np.ndarray, "env"]:
    """(env,) where an episode begins, for a `predict` with a memory: as told, also in numbers; untold, everywhere
    before the first call alone, which has no state yet.

    Raises:
        ConfigError: not one entry for each row, or a state that is not of so many rows.
    """
    if state is not None and not (isinstance(state, tuple) and len(state) == 1 and np.shape(state[0]) == (n_rows, 2)):
        told = [np.shape(part) for part in state] if isinstance(state, tuple) else type(state).__name__
        raise ConfigError(
            f"`state` must be what the last call gave, for as many observations: a tuple of one array ({n_rows}, 2); "
            f"got {told}. Hand it back as it came, and None before the first call, or where environments are others."
        )
    if episode_start is None:
        return np.full(n_rows, state is None)
    told = np.atleast_1d(np.asarray(episode_start))
    if told.shape != (n_rows,) or told.dtype.kind not in "biuf":
        raise ConfigError(
            f"`episode_start` must say of each of {n_rows} observations whether its episode begins; got "
            f"{episode_start!r:.60}. Give as many of True and False."
        )
    return told != 0


def observation_rows(observation: np.ndarray) -> Float[np.ndarray, "env obs"]:
    """One observation (obs,) or many (env, obs) of any kind of numbers, as rows of float64.

    Raises:
        DataError: what was given holds no numbers.
    """
    try:
        given = np.asarray(observation)
    except RuntimeError as error:  # a tensor on a GPU, or of a graph
        said = str(error).rstrip(".")
        raise DataError(
            f"An observation must be an array of numbers; {said}. Hand it over on the CPU, detached."
        ) from None
    except ValueError:  # what was given has parts of several shapes
        raise DataError(
            f"An observation must be an array of numbers; got a {type(observation).__name__} of other things. Of what "
            "an environment's reset and step return, give the first alone."
        ) from None
    if given.dtype.kind not in "biuf":
        raise DataError(f"An observation must be an array of numbers; got {given.dtype}. Flatten it into one.")
    return np.atleast_2d(given).astype(np.float64, copy=False)


def steer(
    model: ModeModel, *, action_bounds: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0
) -> SteeredPolicy:
    """A policy to steer: `steer(model).toward(2)`.

    Args:
        model: of any method.
        action_bounds: (low, high), each (act,) or one number, to clip actions to; by default those that the
            demonstrations came with (`ModeModel.action_bounds`). Where they had none, nothing is clipped.
        seed: of the sampled actions in `predict`, a whole number >= 0.

    Raises:
        ConfigError: what was given is no model; bounds of another size, or the lower above the higher; or no seed.
    """
    if not isinstance(model, ModeModel):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"steer must be given a model; got {model!r:.80}. Load it: ModeModel.from_pretrained('runs/first')."
        )
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(f"`seed` must be a whole number >= 0; got {seed!r:.40}. Give one; 0 will do.")
    given = model.action_bounds if action_bounds is None else action_bounds
    low, high = (None, None) if given is None else _bounds(given, model.action_size)
    return SteeredPolicy(model.eval(), Instruction(model.n_modes), action_low=low, action_high=high, seed=int(seed))


def _bounds(given: Any, action_size: int) -> tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]]:
    """The bounds of actions, (low, high), each (act,)."""
    try:
        low, high = (np.broadcast_to(np.asarray(bound, dtype=np.float64), (action_size,)) for bound in given)
    except (TypeError, ValueError):
        raise ConfigError(
            f"`action_bounds` must be (low, high), each one number or {action_size}, one for each actuator; got "
            f"{given!r:.100}. Give those of the environment's action space."
        ) from None
    if not (low <= high).all():  # so that NaN is refused
        worst = int((low <= high).argmin())
        raise ConfigError(
            f"`action_bounds` must be (low, high), none of the lower above its higher; actuator {worst} has "
            f"{low[worst]:g} and {high[worst]:g}. Correct them."
        )
    return low, high
