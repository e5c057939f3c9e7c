"""What a person asks of a policy: towards a mode, away from others, between some, or a context of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError
from unbraid.policy.contexts import require_mode

__all__ = ["BASE", "MOST_STRENGTH", "Instruction"]

BASE = -1
"""The factor of an `Instruction` that is no mode but what the modes are weighed against."""

MOST_STRENGTH = 10_000
"""The largest strength. Powers are products of two, and differences of such products times precisions are taken in
float32, which must stay finite and keep some digits."""


@final
@dataclass(frozen=True)
class Instruction:
    """Powers of Gaussians, from which one Gaussian is made: see `powers`.

    Attributes:
        n_modes: K of the model.
        blend: mode -> its weight, > 0; they sum to 1. Empty where no blend was asked for.
        context: one number per mode, in place of a blend; None where none was given.
        mode: what is wanted; None for what the base does.
        strength: how much of the way from the base to the mode: 0 is the base, 1 the mode, more exaggerates it.
        away: mode -> how strongly it is avoided, > 0.
    """

    n_modes: int
    blend: tuple[tuple[int, float], ...] = ()
    context: tuple[float, ...] | None = None
    mode: int | None = None
    strength: float = 1.0
    away: tuple[tuple[int, float], ...] = ()

    def toward(self, mode: int, strength: float | int) -> "Instruction":
        """The same, towards a mode. At a strength of 1 nothing is left of a blend or a context, which are forgotten.

        Raises:
            ConfigError: a mode that does not exist or is avoided, or a strength beyond 0 to 10,000.
        """
        made = replace(self, mode=require_mode(mode, self.n_modes), strength=_strength(strength))
        if made.strength == 1:
            made = replace(made, blend=(), context=None)
        return made._without_contradiction()

    def avoiding(self, mode: int, strength: float | int) -> "Instruction":
        """The same, away from a mode, beside those that it already avoids; a strength of 0 takes that back.

        Raises:
            ConfigError: a mode that does not exist or is wanted, or a strength beyond 0 to 10,000.
        """
        kept = {**dict(self.away), require_mode(mode, self.n_modes): _strength(strength)}
        made = replace(self, away=tuple(sorted((k, w) for k, w in kept.items() if w > 0)))
        return made._without_contradiction()

    def blended(self, weights: Mapping[int, float]) -> "Instruction":
        """The same, but between modes, in proportions, in place of what was wanted before.

        Raises:
            ConfigError: no mapping of numbers, a mode that does not exist or is avoided, a negative weight, or weights
                that don't sum to 1.
        """
        if not isinstance(weights, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"A blend must give a weight for each mode, as in {{1: 0.7, 3: 0.3}}; got {weights!r:.80}."
            )
        given = list(weights.values())
        fitting = all(map(_is_number, given)) and given and min(given) >= 0
        if not (fitting and abs(sum(given) - 1) <= 1e-6):  # so that NaN is refused
            raise ConfigError(
                f"The weights of a blend must be numbers >= 0 that sum to 1; got {dict(weights)}. Give others."
            )
        kept = sorted((require_mode(mode, self.n_modes), float(weight)) for mode, weight in weights.items())
        made = replace(self, blend=tuple((k, w) for k, w in kept if w > 0), context=None, mode=None, strength=1.0)
        return made._without_contradiction()

    def under(self, context: Sequence[float] | Float[np.ndarray, "mode"]) -> "Instruction":
        """The same, but under a context of one's own, in place of what was wanted before.

        Raises:
            ConfigError: the wrong size, or not finite.
        """
        try:
            given = np.asarray(context, dtype=np.float64)
        except (TypeError, ValueError):
            given = np.array(np.nan)
        if given.shape != (self.n_modes,) or not (np.abs(given) <= np.finfo(np.float32).max).all():
            raise ConfigError(
                f"A context must have {self.n_modes} finite numbers, one per mode; got {context!s:.80}. "
                "0 at the wanted mode and 1 elsewhere asks for one mode."
            )
        return replace(self, context=tuple(given.tolist()), blend=(), mode=None, strength=1.0)

    @property
    def asks(self) -> bool:
        """Whether anything was asked for yet."""
        return bool(self.blend or self.away) or self.context is not None or self.mode is not None

    @property
    def powers(self) -> dict[int, float]:
        """Mode, or `BASE` -> the power of its Gaussian in the product; those of 0 are left out.

        With s towards mode i and w_j away from modes j, W their sum:
        pi proportional to (base^(1 - s) pi_i^s)^(1 + W) / prod_j pi_j^(w_j). The base is the context's Gaussian, the
        blend prod_k pi_k^(b_k), or, where neither was given, the Gaussian with the moments of all modes' mixture.

        Source: Dhariwal and Nichol 2021, arXiv 2105.05233, and Ho and Salimans 2022, arXiv 2207.12598, equation 6 (a
        power above 1 against a base), in the closed form of Gaussians (Hinton 2002).
        """
        total = 1.0 + sum(strength for _, strength in self.away)
        of_base = total * (1.0 if self.mode is None else 1.0 - self.strength)
        found = {BASE: of_base} if not self.blend else {mode: of_base * weight for mode, weight in self.blend}
        if self.mode is not None:
            found[self.mode] = found.get(self.mode, 0.0) + total * self.strength
        for mode, strength in self.away:
            found[mode] = found.get(mode, 0.0) - strength
        return {factor: power for factor, power in sorted(found.items()) if power != 0.0}

    def to_json(self) -> dict[str, Any]:
        """What was asked, as a JSON object; null and empty where it was not."""
        return {
            "mode": self.mode,
            "strength": self.strength,
            "blend": [[mode, weight] for mode, weight in self.blend],
            "context": None if self.context is None else list(self.context),
            "away": [[mode, strength] for mode, strength in self.away],
        }

    def _without_contradiction(self) -> "Instruction":
        wanted = {mode for mode, _ in self.blend} | ({self.mode} if self.mode is not None else set())
        if both := sorted(wanted & {mode for mode, _ in self.away}):
            raise ConfigError(
                f"A mode must be wanted or avoided, not both; got both for mode {both[0]}. Leave one of them out."
            )
        return self


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _strength(strength: Any) -> float:
    if not (_is_number(strength) and 0 <= strength <= MOST_STRENGTH):  # NaN is refused, too
        raise ConfigError(
            f"A strength must be a number from 0 to {MOST_STRENGTH:,}; got {strength!r:.40}. 1 is the usual one."
        )
    return float(strength)
