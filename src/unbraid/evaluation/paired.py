"""`compare(a, b)`: two policies on the same layouts, episode by episode."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from unbraid.core.errors import DataError
from unbraid.evaluation.evaluate import Evaluation
from unbraid.evaluation.intervals import Estimate, paired_difference, share_interval

__all__ = ["BETTER", "Comparison", "compare"]

BETTER: dict[str, Literal["more", "less"]] = {
    "return": "more",
    "goals": "more",
    "success": "more",
    "smoothness": "more",
    "cost": "less",
    "energy": "less",
}
"""Which way is better. Whether a long episode or path is good depends on the world; so does a metric of one's own."""

_UNIT = "paired seeds"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two policies, a and b, on the same seeds.

    Attributes:
        env_id: the environment.
        seeds: of the episodes that were compared.
        differences: metric -> the mean of a minus b, seed by seed, with Student's 95 % interval.
        exceeds: metric -> the probability that a's value exceeds b's on the same seed, ties counting half, with
            Wilson's 95 % interval.
        units: metric -> its unit.
    """

    env_id: str
    seeds: tuple[int, ...]
    differences: dict[str, Estimate]
    exceeds: dict[str, Estimate]
    units: dict[str, str]

    @property
    def improvement(self) -> dict[str, Estimate]:
        """Metric -> the probability that a does better than b, for every metric of which `BETTER` says the way."""
        return {
            name: estimate if BETTER[name] == "more" else _complement(estimate)
            for name, estimate in self.exceeds.items()
            if name in BETTER
        }

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        estimates = {name: getattr(self, name) for name in ("differences", "exceeds", "improvement")}
        named = {name: {metric: e.to_json() for metric, e in of.items()} for name, of in estimates.items()}
        return {"env_id": self.env_id, "seeds": list(self.seeds), "units": self.units, **named}


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """Compares two policies pair by pair: what the layouts do to both cancels out.

    Metrics that only one of them has are left out.

    Source: Agarwal et al. 2021, arXiv 2108.13264 (probability of improvement). Departs: over pairs of the same seed,
    not over all pairs.

    Args:
        a: one policy's evaluation.
        b: another's, in the same environment, on the same seeds in the same order, with the same limit of steps.

    Raises:
        DataError: the two are not of the same episodes.
    """
    for one in (a, b):
        if not isinstance(one, Evaluation):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(
                f"What is compared must be two evaluations; got a {type(one).__name__}. Compare what evaluate(...) "
                "gives."
            )
    for what, of_a, of_b in (
        ("environment", a.env_id, b.env_id),
        ("seeds, in the same order", *_seeds_told(a.seeds, b.seeds)),
        ("most steps", _limit(a), _limit(b)),
    ):
        if of_a != of_b:
            raise DataError(
                f"Two evaluations that are compared must have the same {what}; got {of_a} and {of_b}. Evaluate both "
                "alike: evaluate(policy, env, seeds=seeds, max_steps=...)."
            )
    names = [name for name in a.values if name in b.values]
    return Comparison(
        env_id=a.env_id,
        seeds=a.seeds,
        differences={name: paired_difference(a.values[name], b.values[name]) for name in names},
        exceeds={
            name: share_interval(
                (1.0 + np.sign(a.values[name] - b.values[name])) / 2.0,
                unit_of_n=_UNIT,
            )
            for name in names
        },
        units={name: a.units.get(name, "") for name in names},
    )


def _seeds_told(of_a: tuple[int, ...], of_b: tuple[int, ...]) -> tuple[str, str]:
    """Two lists of seeds in short, alike where they are: how many, and how many of them the other has at that place."""
    if of_a == of_b:
        return "", ""
    n_alike = sum(one == other for one, other in zip(of_a, of_b, strict=False))
    return f"{len(of_a)} seeds", f"{len(of_b)}, of which {n_alike} are the same at the same place"


def _limit(evaluation: Evaluation) -> Any:
    return evaluation.rollouts.demos.facts.get("max_steps")


def _complement(share: Estimate) -> Estimate:
    low, high = (None if end is None else 1.0 - end for end in (share.high, share.low))
    return replace(share, value=1.0 - share.value, low=low, high=high)
