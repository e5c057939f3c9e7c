"""A guard: where too much cost may come, only modes whose certificate holds may be chosen.

Situations are put into groups by the cost that is expected there. For every group, the cost of one held mode has an
upper confidence bound, from episodes in which the switcher chose freely. Where the bound is at most `max_cost`, it
goes on choosing freely; in the other groups it must choose among the certified modes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import named_generator
from unbraid.evaluation.betting import confidence_sequence
from unbraid.evaluation.claims import Claim, EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.evaluation.verify import verify
from unbraid.training.model import ModeModel
from unbraid.worlds.making import spec_of

__all__ = ["Guard", "certified_modes", "episode_limit", "guard_from_json", "make_guard"]

_RIDGE = 1.0


@final
@dataclass(frozen=True, eq=False)
class Guard:
    """Limits what a switcher may choose.

    Attributes:
        certified: the modes whose certificate holds.
        max_cost: the most cost that one held mode may be expected to bring, where the choice is free.
        weights: (feature,) of the expected cost, by which situations are put into groups.
        edges: (group - 1,) between the groups, rising.
        bounds: (group,) the upper confidence bound on the mean cost of one held mode.
        n: (group,) the episodes behind every bound.
        alpha: the probability, at most, that any bound is too low.
        max_steps: the most steps in an episode that certificate and bounds are about, beside the environment's own
            limit; None: that alone, or, of a guard that was saved before this was kept, not known.
    """

    certified: tuple[int, ...]
    max_cost: float
    weights: Float[np.ndarray, "feature"]
    edges: Float[np.ndarray, "edge"]
    bounds: Float[np.ndarray, "group"]
    n: Int[np.ndarray, "group"]
    alpha: float
    max_steps: int | None = None

    def groups(self, features: Float[np.ndarray, "row feature"]) -> Int[np.ndarray, "row"]:
        """The group of every situation; 0 is where least cost is expected."""
        return np.searchsorted(self.edges, features @ self.weights, side="right")

    def allowed(self, features: Float[np.ndarray, "row feature"], n_modes: int) -> Bool[np.ndarray, "row mode"]:
        """Which modes may be chosen: all of them where the bound is low enough, else the certified ones."""
        is_certified = np.isin(np.arange(n_modes), self.certified)
        return (self.bounds[self.groups(features)] <= self.max_cost)[:, None] | is_certified

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "certified": list(self.certified),
            "max_cost": self.max_cost,
            "weights": self.weights.tolist(),
            "edges": self.edges.tolist(),
            "bounds": self.bounds.tolist(),
            "n": self.n.tolist(),
            "alpha": self.alpha,
            "max_steps": self.max_steps,
        }


def certified_modes(
    path: str | Path, model: ModeModel, env_id: str, *, max_steps: int | None = None
) -> tuple[int, ...]:
    """The modes whose cost a certificate limits from above, of which all that it claims about their cost holds.

    An upper limit is P(cost > x) <= p, P(cost < x) >= p or mean cost <= x. Equivalence with an expert is none, as it
    names no cost; but like every claim about a mode's cost, it must hold.

    Args:
        path: the certificate.
        model: whose modes they are.
        env_id: where they act.
        max_steps: the most steps of the episodes that are to be guarded, beside the environment's own limit. Costs add
            up: what holds of shorter episodes says nothing of these.

    Raises:
        DataError: the certificate is not verified for this model, or is about another environment or shorter episodes.
        ConfigError: it certifies an upper limit on the cost of no mode.
    """
    found = verify(path, policy=model)
    if not found.ok:
        raise DataError(
            f"{path} must be verified for this model; it is not: {'; '.join(found.differences)!s:.300}. "
            "Make another with `unbraid certify`."
        )
    certificate = found.certificate
    if certificate.environment.get("id") != env_id:
        raise DataError(
            f"{path} must be about {env_id}; it is about {certificate.environment.get('id')}. Make one for {env_id}."
        )
    certified, guarded = episode_limit(env_id, certificate.terms.max_steps), episode_limit(env_id, max_steps)
    if certified < guarded:
        raise DataError(
            f"{path} must be about episodes as long as those that are guarded; it is about {certified:g} steps, these "
            f"have up to {guarded:g}. Certify with --max-steps {guarded:g}, or guard shorter episodes (--max-steps "
            f"{certified:g})."
        )
    limited, doubted = set[int](), set[int]()
    for claim, result in zip(certificate.claims, certificate.results, strict=True):
        if claim.metric == "cost" and claim.mode is not None:
            if result.answer != "holds":
                doubted.add(claim.mode)
            elif _limits_from_above(claim):
                limited.add(claim.mode)
    modes = tuple(sorted(limited - doubted))
    if not modes:
        raise ConfigError(
            f"{path} must certify an upper limit on the cost of at least one mode, and all that it claims about that "
            "mode's cost must hold; it does for none. Claim one, as "
            '{"kind": "probability", "mode": 1, "metric": "cost", "above": 25, "at_most": 0.1}.'
        )
    return modes


def _limits_from_above(claim: Claim) -> bool:
    """Whether a claim says that a metric is not large: P(it > x) <= p, P(it < x) >= p, or a mean <= x."""
    match claim:
        case ProbabilityClaim():
            return (claim.above is not None) == (claim.at_most is not None)
        case MeanClaim():
            return claim.at_most is not None
        case EquivalenceClaim():
            return False


def episode_limit(env_id: str, max_steps: int | None) -> float:
    """The most steps that an episode can have, infinite without a limit.

    Raises:
        WorldError: the environment is not registered.
    """
    limits = [limit for limit in (max_steps, spec_of(env_id).max_episode_steps) if limit is not None]
    return float(min(limits, default=math.inf))


def make_guard(
    certified: Sequence[int],
    max_cost: float | int,
    *,
    features: Float[np.ndarray, "decision feature"],
    costs: Float[np.ndarray, "decision"],
    episodes: Int[np.ndarray, "decision"],
    largest_cost: float | int,
    settings: tuple[int, float, int] = (4, 0.05, 0),
) -> Guard:
    """A guard from decisions of a switcher that chose freely.

    The first half of the episodes decides the groups (ridge regression of the cost, cut at its quantiles), the other
    half the bounds: of every episode one decision per group, drawn at random, so that what is bet on is independent.

    Source: `evaluation.betting.confidence_sequence`; Bonferroni over groups.

    Args:
        certified: the modes that may always be chosen.
        max_cost: the most cost of one held mode, >= 0.
        features: of the situations.
        costs: what the held mode brought there.
        episodes: which episode each decision is of.
        largest_cost: what one held mode can bring at most, > 0.
        settings: (groups, alpha, seed).

    Raises:
        ConfigError: a negative max_cost, a largest_cost of 0 or less, an alpha outside (0, 1), or no certified mode.
        DataError: fewer than 4 episodes, or a cost above the largest one.
    """
    n_groups, alpha, seed = settings
    if not 0 < largest_cost < np.inf:
        raise ConfigError(
            f"A guard needs the most that one held mode can cost, a finite number above 0; got {largest_cost:g}. Say "
            "what one step can cost at most (--step-cost), times the steps that a mode is held."
        )
    if not (np.isfinite(max_cost) and max_cost >= 0 and 0 < alpha < 1 and n_groups >= 1 and len(certified) > 0):
        raise ConfigError(
            "A guard needs a max_cost >= 0, an alpha in (0, 1), and at least one group and certified mode; got "
            f"{max_cost}, {alpha}, {n_groups} and {list(certified)}. Correct them."
        )
    names = np.unique(episodes)
    if len(names) < 4 or costs.min() < 0 or costs.max() > largest_cost:
        raise DataError(
            f"A guard needs at least 4 episodes with costs in [0, {largest_cost:g}]; got {len(names)} and costs up to "
            f"{costs.max() if len(costs) else 0:g}. Roll out more, or state how much one step can cost at most."
        )
    is_first = np.isin(episodes, names[: len(names) // 2])
    seen = features[is_first]
    weights = np.linalg.solve(seen.T @ seen + _RIDGE * np.eye(seen.shape[1]), seen.T @ costs[is_first])
    edges = np.unique(np.quantile(seen @ weights, np.arange(1, n_groups) / n_groups))
    group = np.searchsorted(edges, features @ weights, side="right")
    generator = named_generator(seed, "guard")
    bounds, counts = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1, dtype=np.int64)
    for place in range(len(bounds)):
        drawn: list[float] = []
        for name in names[len(names) // 2 :]:
            at = np.flatnonzero((episodes == name) & (group == place))
            if len(at):
                drawn.append(float(costs[generator.choice(at)]) / largest_cost)
        two_sided = 1 - 2 * alpha / len(bounds)  # of which the upper side alone is wanted
        bounds[place] = largest_cost * confidence_sequence(np.array(drawn), confidence=max(two_sided, 1e-6))[1]
        counts[place] = len(drawn)
    return Guard(tuple(sorted(set(certified))), float(max_cost), weights, edges, bounds, counts, alpha)


def guard_from_json(content: Any, where: str) -> Guard:
    """What `Guard.to_json` gave.

    Raises:
        DataError: parts that are missing or damaged.
    """
    try:
        weights, edges, bounds = (np.array(content[name], dtype=np.float64) for name in ("weights", "edges", "bounds"))
        if bounds.shape != (len(edges) + 1,) or not all(np.isfinite(part).all() for part in (weights, edges, bounds)):
            raise ValueError("its groups do not fit together")
        return Guard(
            certified=tuple(int(mode) for mode in content["certified"]),
            max_cost=float(content["max_cost"]),
            weights=weights,
            edges=edges,
            bounds=bounds,
            n=np.array(content["n"], dtype=np.int64),
            alpha=float(content["alpha"]),
            max_steps=None if content.get("max_steps") is None else int(content["max_steps"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{where} must hold a whole guard; {said:.200}. Make the switcher again.") from None
