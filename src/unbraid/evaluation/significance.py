"""How surely outcomes speak for a claim, and against it: p-values of both, adjusted over all claims of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.special import stdtr

from unbraid.evaluation.betting import anytime_p, confidence_sequence
from unbraid.evaluation.claims import Claim, EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.evaluation.intervals import Estimate, mean_interval

__all__ = ["Answer", "Doubts", "alpha_of_a_side", "answers_of", "doubts_of", "estimates_of", "holm"]

Answer = Literal["holds", "refuted", "not decided"]

_NO_SPREAD = 1e-12  # relative to the values: below it a t-test has no spread to go by
_NO_SPREAD_NOTE = (
    "The paired values do not vary, so that a t-test has no spread to go by. State bounds, and use the method betting."
)


@dataclass(frozen=True)
class Doubts:
    """What speaks against a claim's being false, and against its being true.

    Attributes:
        of_false: the p-value of "the claim is false": the claim holds where it is small.
        of_true: the p-value of "the claim is true": the claim is refuted where it is small.
        note: why neither can be told, where the reason is not the number of episodes; else None.
    """

    of_false: float
    of_true: float
    note: str | None = None


def doubts_of(
    claim: Claim, values: Float[np.ndarray, "episode"], expert_values: Float[np.ndarray, "episode"] | None = None
) -> Doubts:
    """The p-values of a claim and of its opposite, both valid at any time at which one may stop.

    By betting: `betting.anytime_p` of the values, scaled by their bounds. With a stated n: 1 before n episodes, then
    that of the exact binomial test (Clopper & Pearson 1934) or of paired t-tests of the first n.

    Equivalence is a pair of linear contrasts that must both have a mean of at least 0: M - E + d and d - (M - E) for a
    margin d; for a share r of the expert's mean M - (1 - r) E and (1 + r) E - M where that mean is positive, and with
    the signs of r changed where it is negative, so that the margin need not be known. (Where no bounds tell the sign,
    both pairs are tested, and the p-value is doubled.)

    Source: Schuirmann 1987 (two one-sided tests); Sasabuchi 1988 (margins in shares of a mean); Waudby-Smith & Ramdas
    2023 (betting).

    Args:
        claim: one claim; where it has bounds, the values lie within.
        values: (episode,) its metric, in the order of the seeds.
        expert_values: (episode,) the expert's on the same seeds, for equivalence.
    """
    if isinstance(claim, EquivalenceClaim):
        return _equivalence(claim, values, values if expert_values is None else expert_values)
    if isinstance(claim, MeanClaim):
        low, high = claim.bounds
        scaled, limit = (values - low) / (high - low), (_limit_of(claim) - low) / (high - low)
    else:
        scaled, limit = _events(claim, values), _limit_of(claim)
    if claim.method == "betting":
        above, below = _last(anytime_p(scaled, limit)), _last(anytime_p(1 - scaled, 1 - limit))
    elif claim.n is None or len(values) < claim.n:
        above, below = 1.0, 1.0
    else:
        n_events = int(scaled[: claim.n].sum())
        above = float(stats.binomtest(n_events, claim.n, limit, alternative="greater").pvalue)
        below = float(stats.binomtest(n_events, claim.n, limit, alternative="less").pvalue)
    return Doubts(of_false=below, of_true=above) if claim.at_most is not None else Doubts(above, below)


def estimates_of(
    claim: Claim,
    values: Float[np.ndarray, "episode"],
    expert_values: Float[np.ndarray, "episode"] | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """What a claim is about, with an interval by the claim's own method, for this claim alone.

    Returns:
        ``probability`` or ``mean``; for equivalence ``difference`` (policy minus expert) and ``expert`` (the expert's
        mean, with Student's t interval). The interval by betting holds at all n at once.
    """
    values = values[: claim.n]
    if isinstance(claim, ProbabilityClaim):
        events = _events(claim, values)
        if claim.method == "betting":
            return {"probability": _by_betting(events, (0.0, 1.0), confidence)}
        found = stats.binomtest(int(events.sum()), len(events)).proportion_ci(confidence, method="exact")
        return {
            "probability": Estimate(float(events.mean()), float(found.low), float(found.high), len(events), "episodes")
        }
    if isinstance(claim, MeanClaim):
        return {"mean": _by_betting(values, claim.bounds, confidence)}
    others = values if expert_values is None else expert_values[: len(values)]
    difference = mean_interval(values - others, confidence=confidence, unit_of_n="paired seeds")
    if claim.method == "betting" and claim.bounds is not None:
        span = float(claim.bounds[1] - claim.bounds[0])
        difference = _by_betting(values - others, (-span, span), confidence, "paired seeds")
    return {"difference": difference, "expert": mean_interval(others, confidence=confidence)}


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that all those at most a may be rejected, with a chance of at most a that any is true.

    They may depend on one another in any way; those that are valid at any time stay so.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return adjusted.tolist()


def alpha_of_a_side(alpha: float, n_claims: int) -> float:
    """What each family, "the claim is false" over all claims and "the claim is true" over all claims, is tested at.

    A half of alpha, so that some answer of the whole file is wrong with a probability of at most alpha. Of one claim
    alone only one of the two can be true, so that each side has the whole of it.
    """
    return alpha if n_claims == 1 else alpha / 2


def answers_of(doubts: Sequence[Doubts], alpha: float) -> list[Answer]:
    """The answer to every claim: by Holm over all claims, on either side at `alpha_of_a_side`.

    Where both sides are rejected, the smaller p-value counts.
    """
    level = alpha_of_a_side(alpha, len(doubts))
    false, true = holm([d.of_false for d in doubts]), holm([d.of_true for d in doubts])
    answers: list[Answer] = []
    for of_false, of_true, raw in zip(false, true, doubts, strict=True):
        if of_false <= level and (of_true > level or raw.of_false < raw.of_true):
            answers.append("holds")
        elif of_true <= level and (of_false > level or raw.of_true < raw.of_false):
            answers.append("refuted")
        else:
            answers.append("not decided")
    return answers


def _events(claim: ProbabilityClaim, values: Float[np.ndarray, "episode"]) -> Float[np.ndarray, "episode"]:
    """1 where the episode's metric lies beyond the threshold, else 0."""
    if claim.above is not None:
        return (values > claim.above).astype(np.float64)
    return (values < float(claim.below or 0)).astype(np.float64)


def _limit_of(claim: ProbabilityClaim | MeanClaim) -> float:
    return float(claim.at_most if claim.at_most is not None else claim.at_least or 0)


def _last(p_values: Float[np.ndarray, "episode"]) -> float:
    return float(p_values[-1]) if len(p_values) else 1.0


def _by_betting(
    values: Float[np.ndarray, "episode"],
    bounds: tuple[float | int, float | int],
    confidence: float,
    unit_of_n: str = "episodes",
) -> Estimate:
    low, high = float(bounds[0]), float(bounds[1])
    ends = confidence_sequence((values - low) / (high - low), confidence=confidence)
    below, above = (low + end * (high - low) for end in ends)
    return Estimate(float(values.mean()), below, above, len(values), unit_of_n)


# Equivalence


@dataclass(frozen=True)
class _Contrast:
    """mode weight x M + expert weight x E + constant."""

    mode: float
    expert: float
    constant: float = 0.0

    def of(self, values: np.ndarray, others: np.ndarray) -> np.ndarray:
        return self.mode * values + self.expert * others + self.constant

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """The least and the largest value, where M and E lie in [low, high]."""
        ends = [sorted((weight * low, weight * high)) for weight in (self.mode, self.expert)]
        return sum(end[0] for end in ends) + self.constant, sum(end[1] for end in ends) + self.constant


def _pairs_of(claim: EquivalenceClaim) -> list[tuple[_Contrast, _Contrast]]:
    """The claim is true where the two contrasts of a pair, of any of the pairs, have means of at least 0."""
    if claim.within is not None:
        margin = float(claim.within)
        return [(_Contrast(1.0, -1.0, margin), _Contrast(-1.0, 1.0, margin))]
    share = float(claim.within_percent or 0) / 100
    positive = (_Contrast(1.0, share - 1), _Contrast(-1.0, 1 + share))
    negative = (_Contrast(1.0, -share - 1), _Contrast(-1.0, 1 - share))
    if claim.bounds is not None and claim.bounds[0] >= 0:
        return [positive]
    if claim.bounds is not None and claim.bounds[1] <= 0:
        return [negative]
    return [positive, negative]


def _equivalence(
    claim: EquivalenceClaim, values: Float[np.ndarray, "episode"], others: Float[np.ndarray, "episode"]
) -> Doubts:
    false: list[float] = []
    true: list[float] = []
    notes: list[str] = []
    pairs = _pairs_of(claim)
    for pair in pairs:
        sides = [_contrast_doubts(claim, contrast, values, others) for contrast in pair]
        notes += [side.note for side in sides if side.note is not None]
        false.append(max(side.of_false for side in sides))  # both contrasts must be above 0
        true.append(min(1.0, 2 * min(side.of_true for side in sides)))  # it is enough that one is below
    return Doubts(min(1.0, len(pairs) * min(false)), max(true), next(iter(notes), None))


def _contrast_doubts(claim: EquivalenceClaim, contrast: _Contrast, values: np.ndarray, others: np.ndarray) -> Doubts:
    """Of "the contrast's mean is at least 0"."""
    if claim.method == "betting" and claim.bounds is not None:
        low, high = contrast.bounds(float(claim.bounds[0]), float(claim.bounds[1]))
        if low >= 0:
            return Doubts(0.0, 1.0)
        limit = -low / (high - low)
        scaled = np.clip((contrast.of(values, others) - low) / (high - low), 0, 1)
        return Doubts(_last(anytime_p(scaled, limit)), _last(anytime_p(1 - scaled, 1 - limit)))
    if claim.n is None or len(values) < claim.n:
        return Doubts(1.0, 1.0)
    first = contrast.of(values[: claim.n], others[: claim.n])
    if np.ptp(first) <= _NO_SPREAD * max(1.0, float(np.abs(first).max())):
        return Doubts(1.0, 1.0, _NO_SPREAD_NOTE)
    above: Any = stats.ttest_1samp(first, 0.0, alternative="greater")
    return Doubts(of_false=float(above.pvalue), of_true=float(stdtr(above.df, above.statistic)))
