"""A mixture of K linear-Gaussian predictors in closed form: what tells spans apart, and what it is worth held out.

Each span is summed up once, for each kind of evidence, by G = phi'phi, C = phi'y and Q = sum y^2 (weighted), with phi
the features of its states. EM over K ridge regressions, and scoring each half of the spans by what the other half
taught, need nothing else, so that many starts cost a second.

Source: EM, Dempster et al. 1977; annealing, Ueda and Nakano 1998.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.modes.evidence import Evidence

__all__ = [
    "RIDGE",
    "Predictors",
    "SpanStatistics",
    "SteadyModes",
    "alternating_halves",
    "everybody",
    "expectation_maximisation",
    "fit_predictors",
    "log_evidence",
    "log_likelihoods",
    "log_shares",
    "scatter",
    "scored",
    "scored_across_halves",
    "span_statistics",
    "step_statistics",
    "sum_of",
    "symmetric",
]

RIDGE = 3.0
"""Observations' worth of everybody's predictor in each mode's."""
_GROWTH, _FIRST_ROUNDS, _MORE_ROUNDS, _KEPT = 1.6, 7, 8, 8
_CHUNK = 16384


@final
@dataclass(frozen=True, eq=False)
class SpanStatistics:
    """What a mixture needs of each span, for one kind of evidence.

    Attributes:
        gram: (span, pair) the upper triangle of G, the weighted sum of phi phi' over the span's steps.
        cross: (span, feature, target) C, the weighted sum of phi y'.
        square: (span, target) Q, the weighted sum of y^2.
        counts: (span,) its independent observations: the sum of the steps' weights.
        floor: the least variance of a prediction.
    """

    gram: Float[Tensor, "span pair"]
    cross: Float[Tensor, "span feature target"]
    square: Float[Tensor, "span target"]
    counts: Float[Tensor, "span"]
    floor: float

    def of_spans(self, chosen: Bool[Tensor, "span"]) -> "SpanStatistics":
        """The chosen spans alone."""
        return SpanStatistics(
            self.gram[chosen], self.cross[chosen], self.square[chosen], self.counts[chosen], self.floor
        )


@final
@dataclass(frozen=True, eq=False)
class Predictors:
    """K predictors of one kind of evidence, for every start.

    Attributes:
        slopes: (start, mode, feature, target) B.
        variances: (start, mode, target).
    """

    slopes: Float[Tensor, "start mode feature target"]
    variances: Float[Tensor, "start mode target"]

    def with_shared_variances(self, weights: Float[Tensor, "start mode"]) -> "Predictors":
        """The same predictions, where all modes of a start have the mean of their variances.

        Args:
            weights: how much each mode counts for.
        """
        shared = (self.variances * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1, keepdim=True)
        return replace(self, variances=shared.expand_as(self.variances))


def span_statistics(
    features: Float[Tensor, "step feature"], evidence: Evidence, spans: Int[Tensor, "step"], *, floor: float
) -> SpanStatistics:
    """Sums up spans of consecutive steps.

    Args:
        features: phi of every step.
        evidence: what is to be predicted, and what each step counts for.
        spans: the span of every step, without gaps.
        floor: the least variance of a prediction.
    """
    counts = torch.bincount(spans).tolist()
    upper = torch.triu_indices(features.shape[1], features.shape[1])
    gram, cross = [], []
    weighted = features * evidence.weights[:, None]
    parts = zip(features.split(counts), weighted.split(counts), evidence.targets.split(counts), strict=True)
    for phi, phi_weighted, y in parts:
        gram.append((phi.T @ phi_weighted)[upper[0], upper[1]])
        cross.append(phi_weighted.T @ y)
    square = torch.zeros(len(counts), evidence.targets.shape[1])
    square.index_add_(0, spans, evidence.targets.square() * evidence.weights[:, None])
    n = torch.zeros(len(counts)).index_add_(0, spans, evidence.weights)
    return SpanStatistics(torch.stack(gram), torch.stack(cross), square, n, floor)


def step_statistics(
    features: Float[Tensor, "step feature"],
    evidence: Evidence,
    responsibilities: Float[Tensor, "step mode"],
    *,
    floor: float,
) -> SpanStatistics:
    """Sums up the steps of each mode, as if they were one span.

    Args:
        features: phi of every step.
        evidence: what is to be predicted, and what each step counts for.
        responsibilities: how much of each step each mode learns from.
        floor: the least variance of a prediction.
    """
    upper = torch.triu_indices(features.shape[1], features.shape[1])
    gram, cross = [], []
    weights = responsibilities * evidence.weights[:, None]
    for weight in weights.T:
        weighted = features * weight[:, None]
        gram.append((features.T @ weighted)[upper[0], upper[1]])
        cross.append(weighted.T @ evidence.targets)
    square = weights.T @ evidence.targets.square()
    return SpanStatistics(torch.stack(gram), torch.stack(cross), square, weights.sum(0), floor)


def fit_predictors(s: SpanStatistics, responsibilities: Float[Tensor, "start span mode"]) -> Predictors:
    """Weighted ridge regressions, drawn towards the one of all modes together (3 observations' worth), and variances.

    Args:
        s: the spans' statistics.
        responsibilities: how much of each span each mode learns from.
    """
    n_features = s.cross.shape[1]
    weights = responsibilities.transpose(1, 2).flatten(0, 1)  # (start mode, span)
    gram = symmetric(weights @ s.gram, n_features)
    cross = (weights @ s.cross.flatten(1)).view(len(weights), n_features, -1)
    square, counts = weights @ s.square, weights @ s.counts
    shape = responsibilities.shape[0], responsibilities.shape[2]
    shared, variance = everybody(gram, cross, square, counts, n_modes=shape[1], floor=s.floor)
    slopes = torch.linalg.solve(gram + RIDGE * torch.eye(n_features), cross + RIDGE * shared)
    residual = scatter(slopes, gram, cross, square).clamp_min(0)
    # one observation's worth of everybody's variance
    variances = (residual + variance) / (counts[:, None] + 1) + s.floor
    return Predictors(slopes.view(*shape, *slopes.shape[1:]), variances.view(*shape, -1))


def everybody(
    gram: Float[Tensor, "row feature feature"],
    cross: Float[Tensor, "row feature target"],
    square: Float[Tensor, "row target"],
    counts: Float[Tensor, "row"],
    *,
    n_modes: int,
    floor: float,
) -> tuple[Float[Tensor, "row feature target"], Float[Tensor, "row target"]]:
    """One predictor of all that a start's modes learn from, its slopes and its variance, for each of these modes.

    Args:
        gram, cross, square, counts: the sums of each mode of each start: row r is mode r % K of start r // K.
        n_modes: K.
        floor: the least variance.
    """
    gram, cross, square, counts = (
        part.view(-1, n_modes, *part.shape[1:]).sum(1) for part in (gram, cross, square, counts)
    )
    slopes = torch.linalg.solve(gram + RIDGE * torch.eye(gram.shape[1]), cross)
    variances = (scatter(slopes, gram, cross, square) / counts.clamp_min(1e-6)[:, None]).clamp_min(floor)
    return slopes.repeat_interleave(n_modes, 0), variances.repeat_interleave(n_modes, 0)


def scatter(
    slopes: Float[Tensor, "row feature target"],
    gram: Float[Tensor, "row feature feature"],
    cross: Float[Tensor, "row feature target"],
    square: Float[Tensor, "row target"],
) -> Float[Tensor, "row target"]:
    """The weighted sum of the squares that predictors leave, from the sums of what they learn from."""
    return square - 2 * (slopes * cross).sum(1) + (slopes * (gram @ slopes)).sum(1)


def scored(s: SpanStatistics, predictors: Predictors) -> Float[Tensor, "start span mode"]:
    """The log-likelihood of every span under every predictor, in nats."""
    slopes = predictors.slopes
    starts, modes, n_features, targets = slopes.shape
    flat = slopes.transpose(2, 3).reshape(-1, n_features)
    upper = torch.triu_indices(n_features, n_features)
    twice = torch.where(upper[0] == upper[1], 1.0, 2.0)
    squares = flat[:, upper[0]] * flat[:, upper[1]] * twice
    quadratic = (squares @ s.gram.T).view(starts, modes, targets, -1).transpose(2, 3)
    crossed = torch.einsum("rkft,sft->rkst", slopes, s.cross)
    errors = (s.square - 2 * crossed + quadratic).clamp_min(0)
    found = -0.5 * (errors / predictors.variances[:, :, None]).sum(-1)
    found = found - 0.5 * s.counts * (2 * torch.pi * predictors.variances).log().sum(-1)[..., None]
    return found.transpose(1, 2)


def expectation_maximisation(
    statistics: Sequence[SpanStatistics],
    responsibilities: Float[Tensor, "start span mode"],
    *,
    first_beta: Float[Tensor, "start"],
) -> Float[Tensor, "kept span mode"]:
    """EM over all kinds of evidence, all starts side by side; the inverse temperature grows to 1.

    Seven rounds of all starts, then eight more of the best eight by log-likelihood; the best comes first.

    Args:
        statistics: of every kind.
        responsibilities: where each start begins.
        first_beta: the inverse temperature of each start's first round, in (0, 1]; 1 is plain EM.
    """
    kept = torch.arange(len(responsibilities))
    for round_ in range(_FIRST_ROUNDS + _MORE_ROUNDS):
        beta = (first_beta[kept] * _GROWTH**round_).clamp_max(1)
        joint = log_shares(responsibilities) + sum_of(
            [scored(s, fit_predictors(s, responsibilities)) for s in statistics]
        )
        responsibilities = torch.softmax(beta[:, None, None] * joint, dim=-1)
        if round_ + 1 in (_FIRST_ROUNDS, _FIRST_ROUNDS + _MORE_ROUNDS):
            best = joint.logsumexp(-1).sum(-1).argsort(descending=True)[:_KEPT]
            responsibilities, kept = responsibilities[best], kept[best]
    return responsibilities


def scored_across_halves(
    statistics: Sequence[SpanStatistics],
    responsibilities: Float[Tensor, "start span mode"],
    halves: Int[Tensor, "start span"] | None = None,
) -> list[Float[Tensor, "start span mode"]]:
    """For every kind, each span's log-likelihoods under the predictors of the half of the spans that it is not in.

    Args:
        statistics: of every kind.
        responsibilities: how much of each span each mode learns from.
        halves: 0 or 1 for every span; by default `alternating_halves` of the modes.
    """
    halves = alternating_halves(responsibilities) if halves is None else halves
    found: list[Tensor] = []
    for s in statistics:
        parts = [scored(s, fit_predictors(s, responsibilities * (halves != half)[..., None])) for half in range(2)]
        found.append(torch.where((halves == 0)[..., None], parts[0], parts[1]))
    return found


def alternating_halves(responsibilities: Float[Tensor, "start span mode"]) -> Int[Tensor, "start span"]:
    """0 or 1 for every span: those of one mode alternate, so that both halves know the mode, and a mode of a single
    span is known by none.
    """
    modes = responsibilities.argmax(-1)
    member = torch.nn.functional.one_hot(modes, responsibilities.shape[-1])
    rank = (member.cumsum(1) * member).sum(-1)
    return (rank + modes) % 2


def log_likelihoods(
    evidences: Sequence[Evidence],
    features: Float[Tensor, "step feature"],
    spans: Int[Tensor, "step"],
    predictors: Sequence[Predictors],
) -> Float[Tensor, "span mode"]:
    """The same as `scored` summed over kinds, of the first start, from the steps themselves, a block at a time."""
    found = torch.zeros(int(spans[-1]) + 1, predictors[0].slopes.shape[1])
    for evidence, predictor in zip(evidences, predictors, strict=True):
        for chosen in torch.arange(len(spans)).split(_CHUNK):
            mean = torch.einsum("sf,kft->skt", features[chosen], predictor.slopes[0])
            variance = predictor.variances[0]
            misfit = (evidence.targets[chosen, None] - mean).square() / variance + (2 * torch.pi * variance).log()
            found.index_add_(0, spans[chosen], -0.5 * misfit.sum(-1) * evidence.weights[chosen, None])
    return found


def log_shares(responsibilities: Float[Tensor, "*start span mode"]) -> Float[Tensor, "*start 1 mode"]:
    """The logarithm of each mode's share of the spans, to be added to the log-likelihoods of spans under modes."""
    return responsibilities.mean(-2, keepdim=True).clamp_min(1e-6).log()


def log_evidence(
    scores: Float[Tensor, "*start span mode"], responsibilities: Float[Tensor, "*start span mode"]
) -> Float[Tensor, "*start span"]:
    """The log-likelihood of every span under a mixture: its log-likelihoods under modes, weighted by their shares."""
    return (scores + log_shares(responsibilities)).logsumexp(-1)


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return torch.stack(list(parts)).sum(0)


def symmetric(upper: Float[Tensor, "row pair"], size: int) -> Float[Tensor, "row size size"]:
    """Matrices from their upper triangles, row by row."""
    where = torch.triu_indices(size, size)
    whole = torch.zeros(len(upper), size, size)
    whole[:, where[0], where[1]] = upper
    whole[:, where[1], where[0]] = upper
    return whole


@final
@dataclass(frozen=True, eq=False)
class SteadyModes:
    """What a search asks of modes that have one predictor each; `varying.VaryingModes` answers the same.

    Attributes:
        statistics: the spans', of every kind of evidence.
    """

    statistics: Sequence[SpanStatistics]

    def refined(
        self, responsibilities: Float[Tensor, "start span mode"], first_beta: Float[Tensor, "start"]
    ) -> Float[Tensor, "kept span mode"]:
        """See `expectation_maximisation`."""
        return expectation_maximisation(self.statistics, responsibilities, first_beta=first_beta)

    def scored(self, responsibilities: Float[Tensor, "start span mode"]) -> Float[Tensor, "start span mode"]:
        """The log-likelihood of every span under every mode, in nats."""
        return sum_of([scored(s, fit_predictors(s, responsibilities)) for s in self.statistics])

    def scored_across_halves(
        self, responsibilities: Float[Tensor, "start span mode"]
    ) -> Float[Tensor, "start span mode"]:
        """The same under the modes of the half of the spans that each is not in."""
        return sum_of(scored_across_halves(self.statistics, responsibilities))

    def scored_of_others(
        self,
        evidences: Sequence[Evidence],
        features: Float[Tensor, "step feature"],
        spans: Int[Tensor, "step"],
        responsibilities: Float[Tensor, "span mode"],
    ) -> Float[Tensor, "other mode"]:
        """The log-likelihood of other spans under every mode, from their steps, a block at a time.

        Args:
            evidences: what is to be predicted of their steps, of every kind.
            features: phi of every step.
            spans: the span of each, without gaps.
            responsibilities: how much of each of the known spans each mode learns from.
        """
        predictors = [fit_predictors(s, responsibilities[None]) for s in self.statistics]
        return log_likelihoods(evidences, features, spans, predictors)
