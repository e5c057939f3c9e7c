"""How modes are first told apart: a mixture of K linear-Gaussian predictors, by annealed EM, in closed form.

Each span of an episode (a window, or the whole of it) is summed up once by G = phi'phi, C = phi'y and Q = sum y^2, with
phi the features of its states and y what they are to predict (the actions). EM over K ridge regressions needs nothing
else, so that many restarts take a second.

Source: METHOD, part 2, change 3. EM: Dempster et al. 1977; annealing: Ueda and Nakano 1998.
"""

import warnings
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["MixtureFit", "SpanStatistics", "fit_mixture", "span_statistics"]

RIDGE, VARIANCE_FLOOR = 3.0, 1e-3
RESTARTS, FIRST_ROUNDS, BEST, MORE_ROUNDS = 16, 10, 4, 8
_PRINCIPAL_COMPONENTS = 16


@final
@dataclass(frozen=True, eq=False)
class SpanStatistics:
    """What EM needs of each span.

    Attributes:
        gram: (span, feature, feature) G, the sum of phi phi' over its steps.
        cross: (span, feature, target) C, the sum of phi y'.
        square: (span, target) Q, the sum of y^2.
        counts: (span,) its steps.
    """

    gram: Float[Tensor, "span feature feature"]
    cross: Float[Tensor, "span feature target"]
    square: Float[Tensor, "span target"]
    counts: Float[Tensor, "span"]


@final
@dataclass(frozen=True, eq=False)
class MixtureFit:
    """The best of all restarts.

    Attributes:
        responsibilities: (span, mode), rows sum to 1.
        evidence: log-likelihood of the targets per step, in nats, of the restart that was taken.
        evidences: (restart,) the same of every restart that was finished, best first.
    """

    responsibilities: Float[Tensor, "span mode"]
    evidence: float
    evidences: tuple[float, ...]


def span_statistics(
    features: Float[Tensor, "step feature"], targets: Float[Tensor, "step target"], spans: Int[Tensor, "step"]
) -> SpanStatistics:
    """Sums up spans of consecutive steps.

    Args:
        features: phi of every step.
        targets: y of every step.
        spans: the span that each step belongs to, 0, 0, ..., 1, 1, ..., without gaps.
    """
    counts = torch.bincount(spans)
    pairs = list(zip(features.split(counts.tolist()), targets.split(counts.tolist()), strict=True))
    return SpanStatistics(
        gram=torch.stack([f.T @ f for f, _ in pairs]),
        cross=torch.stack([f.T @ y for f, y in pairs]),
        square=torch.stack([y.square().sum(0) for _, y in pairs]),
        counts=counts.to(features.dtype),
    )


def fit_mixture(statistics: SpanStatistics, n_modes: int, *, generator: np.random.Generator) -> MixtureFit:
    """EM over K linear-Gaussian predictors from 16 starts: half random, half k-means on score features.

    All restarts run 10 rounds side by side, the best 4 by evidence 8 more, and the best is taken.

    Args:
        statistics: of every span.
        n_modes: K.
        generator: draws the starts.
    """
    scores = _score_features(statistics)
    starts = [_random_start(len(scores), n_modes, generator) for _ in range(RESTARTS // 2)]
    starts += [_kmeans_start(scores, n_modes, generator) for _ in range(RESTARTS - RESTARTS // 2)]
    responsibilities = torch.stack(starts)
    first_beta = torch.tensor([0.02] * (RESTARTS // 2) + [0.1] * (RESTARTS - RESTARTS // 2))
    evidence = torch.zeros(RESTARTS)
    for round_ in range(FIRST_ROUNDS):
        beta = (first_beta * 1.6**round_).clamp_max(1)
        responsibilities, evidence = _em_round(statistics, responsibilities, beta)
    best = evidence.argsort(descending=True)[:BEST]
    responsibilities = responsibilities[best]
    for round_ in range(FIRST_ROUNDS, FIRST_ROUNDS + MORE_ROUNDS):
        beta = (first_beta[best] * 1.6**round_).clamp_max(1)
        responsibilities, evidence = _em_round(statistics, responsibilities, beta)
    order = evidence.argsort(descending=True)
    per_step = evidence[order] / statistics.counts.sum()
    return MixtureFit(responsibilities[order[0]], float(per_step[0]), tuple(per_step.tolist()))


def _em_round(
    s: SpanStatistics, responsibilities: Float[Tensor, "restart span mode"], beta: Float[Tensor, "restart"]
) -> tuple[Float[Tensor, "restart span mode"], Float[Tensor, "restart"]]:
    """M-step, then E-step at inverse temperature beta; the evidence is at beta = 1."""
    weights = responsibilities.transpose(1, 2)  # (restart, mode, span)
    n_features = s.gram.shape[-1]
    gram = torch.einsum("rks,spq->rkpq", weights, s.gram)
    cross = torch.einsum("rks,spt->rkpt", weights, s.cross)
    square = torch.einsum("rks,st->rkt", weights, s.square)
    mass = torch.einsum("rks,s->rk", weights, s.counts)
    ridge = gram + RIDGE * torch.eye(n_features, dtype=gram.dtype)
    slopes = torch.linalg.solve(ridge, cross)
    residual = square - 2 * (slopes * cross).sum(2) + (slopes * (gram @ slopes)).sum(2)
    variance = (residual / mass.clamp_min(1)[..., None]).clamp_min(0) + VARIANCE_FLOOR
    share = (mass / s.counts.sum()).clamp_min(1e-6).log()
    errors = _squared_errors(s, slopes)
    log_likelihood = -0.5 * (errors / variance[:, :, None]).sum(-1)
    log_likelihood = log_likelihood - 0.5 * s.counts * (2 * torch.pi * variance).log().sum(-1)[..., None]
    joint = log_likelihood.transpose(1, 2) + share[:, None]
    return torch.softmax(beta[:, None, None] * joint, dim=-1), joint.logsumexp(-1).sum(-1)


def _squared_errors(
    s: SpanStatistics, slopes: Float[Tensor, "restart mode feature target"]
) -> Float[Tensor, "restart mode span target"]:
    """Q - 2 b'C + b'Gb of every span under every predictor."""
    restarts, modes, features, targets = slopes.shape
    flat = slopes.permute(0, 1, 3, 2).reshape(-1, features)  # (restart mode target, feature)
    through = flat @ s.gram.reshape(len(s.gram), features, features)  # (span, ..., feature)
    quadratic = (through * flat).sum(-1).T.reshape(restarts, modes, targets, len(s.gram)).transpose(2, 3)
    crossed = torch.einsum("rkpt,spt->rkst", slopes, s.cross)
    return (s.square - 2 * crossed + quadratic).clamp_min(0)


def _score_features(s: SpanStatistics) -> Float[np.ndarray, "span component"]:
    """Where one predictor for all is wrong: whitened G0^(-1/2) (C - G B0) per step of a span, principal components."""
    total = s.gram.sum(0) + RIDGE * torch.eye(s.gram.shape[-1], dtype=s.gram.dtype)
    slopes = torch.linalg.solve(total, s.cross.sum(0))
    values, vectors = torch.linalg.eigh(total / s.counts.sum())
    whiten = (vectors / values.clamp_min(1e-4).sqrt()) @ vectors.T
    scores = whiten @ (s.cross - s.gram @ slopes) / s.counts.clamp_min(1)[:, None, None]
    flat = scores.flatten(1) - scores.flatten(1).mean(0)
    left, singular, _ = torch.linalg.svd(flat, full_matrices=False)
    return (left * singular)[:, :_PRINCIPAL_COMPONENTS].numpy()


def _random_start(n_spans: int, n_modes: int, generator: np.random.Generator) -> Float[Tensor, "span mode"]:
    return torch.as_tensor(generator.dirichlet(np.full(n_modes, 0.5), n_spans), dtype=torch.float32)


def _kmeans_start(
    scores: Float[np.ndarray, "span component"], n_modes: int, generator: np.random.Generator
) -> Float[Tensor, "span mode"]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(generator.integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of spans that are all alike; EM starts there anyway
        kmeans = KMeans(
            min(n_modes, len(scores)),
            n_init=1,  # pyright: ignore[reportArgumentType]  # its stub allows "auto" alone
            random_state=seed,
        )
        found = kmeans.fit_predict(scores)
    hard = torch.nn.functional.one_hot(torch.as_tensor(found, dtype=torch.long), n_modes)
    return 0.9 * hard.to(torch.float32) + 0.1 / n_modes
