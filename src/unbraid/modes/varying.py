"""A mixture whose modes vary within themselves, in closed form: one number of its own sets each span apart from the
others of its mode.

Mode k predicts span i by B_k + z_i C_k, with z_i ~ N(0, 1) integrated out: a speed that is drawn for every
demonstration, a reach, a strength. A mixture of fixed predictors (`mixture.py`) has but one way to explain that
demonstrations of one expert differ: more modes. The sums over each span's steps are the same.

Source: one random coefficient in each regression of a mixture, Laird and Ware 1982 (Biometrics 38); EM as in a mixture
of factor analysers with one factor, Ghahramani and Hinton 1996 (CRG-TR-96-1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.modes.evidence import Evidence
from unbraid.modes.mixture import (
    RIDGE,
    SpanStatistics,
    alternating_halves,
    everybody,
    log_shares,
    scatter,
    span_statistics,
    sum_of,
    symmetric,
)
from unbraid.modes.starts import quiet

__all__ = ["VaryingModes"]

_FIRST_ROUNDS, _MORE_ROUNDS, _KEPT = 5, 8, 8
_Z_ROUNDS = 3
"""Rounds in which the numbers are found again from a part of the spans, whose modes are known."""
_FURTHEST, _FIRST_VARIANCE = 3.0, 0.1
_HEAPS, _FEWEST_JUDGED, _HEAP_FOLDS, _HEAP_ERRORS, _HEAP_NATS = (2, 3, 4), 10, 5, 3.0, 0.2
"""Of numbers that are drawn between two bounds with equal chances, heaps explain at most 0.18 nats more than one does.
Trials of docs/experiments.md, 20."""


@final
@dataclass(frozen=True, eq=False)
class _Numbers:
    """What is known of every span's number, were it of that mode: (start, span, mode) mean and mean square."""

    mean: Float[Tensor, "start span mode"]
    square: Float[Tensor, "start span mode"]


@final
@dataclass(frozen=True, eq=False)
class _Lines:
    """K lines of predictors of one kind of evidence, for every start.

    Attributes:
        centre: (start, mode, feature, target) B.
        direction: (start, mode, feature, target) C.
        variances: (start, mode, target).
    """

    centre: Float[Tensor, "start mode feature target"]
    direction: Float[Tensor, "start mode feature target"]
    variances: Float[Tensor, "start mode target"]


@final
@dataclass(frozen=True, eq=False)
class VaryingModes:
    """What a search asks of modes that vary within themselves.

    Attributes:
        statistics: the spans', of every kind of evidence.
        latents: (span, latent) where spans of one mode lie along a direction; says where their numbers begin.
    """

    statistics: Sequence[SpanStatistics]
    latents: Float[np.ndarray, "span latent"]

    def refined(self, responsibilities: Float[Tensor, "start span mode"]) -> Float[Tensor, "kept span mode"]:
        """Plain EM of all starts side by side, then of the best eight by log-likelihood; the best comes first."""
        numbers = self._first_numbers(responsibilities)
        for round_ in range(_FIRST_ROUNDS + _MORE_ROUNDS):
            shares = log_shares(responsibilities)
            scores, numbers = _scored(self.statistics, self._lines(responsibilities, numbers))
            joint = scores + shares
            responsibilities = torch.softmax(joint, dim=-1)
            if round_ + 1 in (_FIRST_ROUNDS, _FIRST_ROUNDS + _MORE_ROUNDS):
                best = joint.logsumexp(-1).sum(-1).argsort(descending=True)[:_KEPT]
                responsibilities = responsibilities[best]
                numbers = _Numbers(numbers.mean[best], numbers.square[best])
        return responsibilities

    def scored(self, responsibilities: Float[Tensor, "start span mode"]) -> Float[Tensor, "start span mode"]:
        """The log-likelihood of every span under every mode, its number integrated out, in nats."""
        return _scored(self.statistics, self._settled(responsibilities))[0]

    def scored_across_halves(
        self, responsibilities: Float[Tensor, "start span mode"]
    ) -> Float[Tensor, "start span mode"]:
        """The same under the modes of the half of the spans that each is not in."""
        halves = alternating_halves(responsibilities)
        first, second = (
            _scored(self.statistics, self._settled(responsibilities * (halves != half)[..., None]))[0]
            for half in range(2)
        )
        return torch.where((halves == 0)[..., None], first, second)

    def scored_of_others(
        self,
        evidences: Sequence[Evidence],
        features: Float[Tensor, "step feature"],
        spans: Tensor,
        responsibilities: Float[Tensor, "span mode"],
    ) -> Float[Tensor, "other mode"]:
        """The log-likelihood of other spans under every mode.

        Args:
            evidences: what is to be predicted of their steps, of every kind.
            features: phi of every step.
            spans: (step,) the span of each, without gaps.
            responsibilities: how much of each of the known spans each mode learns from.
        """
        others = [
            span_statistics(features, evidence, spans, floor=s.floor)
            for s, evidence in zip(self.statistics, evidences, strict=True)
        ]
        return _scored(others, self._settled(responsibilities[None]))[0][0]

    def lie_about_one_place(self, responsibilities: Float[Tensor, "span mode"]) -> bool:
        """Whether the numbers of every mode's spans lie about one place, and not in heaps: in heaps they are no speed
        that varies, but tell behaviours apart that share the mode.

        In heaps: two, three or four Gaussians explain left-out numbers better than one, by 0.2 nats and by three
        standard errors. Of a mode of fewer than ten spans it can not be said, so that the answer is no.
        """
        _, numbers = _scored(self.statistics, self._settled(responsibilities[None]))
        modes = responsibilities.argmax(1)
        of_modes = [numbers.mean[0, modes == mode, mode].double().numpy() for mode in range(responsibilities.shape[1])]
        return all(len(own) >= _FEWEST_JUDGED and not _in_heaps(own) for own in of_modes)

    def _settled(self, responsibilities: Float[Tensor, "start span mode"]) -> list[_Lines]:
        """Lines that learn from spans whose modes are known, and whose numbers are not."""
        numbers = self._first_numbers(responsibilities)
        for _ in range(_Z_ROUNDS - 1):
            _, numbers = _scored(self.statistics, self._lines(responsibilities, numbers))
        return self._lines(responsibilities, numbers)

    def _first_numbers(self, responsibilities: Float[Tensor, "start span mode"]) -> _Numbers:
        """Where each span's latent lies along the first principal direction of its mode's."""
        latents = torch.as_tensor(self.latents, dtype=torch.float32)
        weights = responsibilities.transpose(1, 2)
        total = weights.sum(2, keepdim=True).clamp_min(1e-6)
        apart = latents - ((weights @ latents) / total)[:, :, None]
        covariance = torch.einsum("rkn,rkna,rknb->rkab", weights, apart, apart) / total[..., None]
        variances, directions = torch.linalg.eigh(covariance)
        along = torch.einsum("rkna,rka->rkn", apart, directions[..., -1])
        z = (along / variances[..., -1:].clamp_min(1e-6).sqrt()).clamp(-_FURTHEST, _FURTHEST).transpose(1, 2)
        return _Numbers(z, z.square() + _FIRST_VARIANCE)

    def _lines(self, responsibilities: Float[Tensor, "start span mode"], numbers: _Numbers) -> list[_Lines]:
        return [_fit_lines(s, responsibilities, numbers) for s in self.statistics]


def _fit_lines(s: SpanStatistics, responsibilities: Float[Tensor, "start span mode"], numbers: _Numbers) -> _Lines:
    """Weighted ridge regressions on features and features times the number; B is drawn towards everybody's predictor,
    C towards none (3 observations' worth), and the variance is as in `mixture.fit_predictors`."""
    n_features, (n_starts, _, n_modes) = s.cross.shape[1], responsibilities.shape
    weights, by_mean, by_square = (
        (responsibilities * by).transpose(1, 2).flatten(0, 1)  # (start mode, span)
        for by in (torch.ones(()), numbers.mean, numbers.square)
    )
    gram, gram_by_mean, gram_by_square = (symmetric(w @ s.gram, n_features) for w in (weights, by_mean, by_square))
    flat = s.cross.flatten(1)
    cross, cross_by_mean = ((w @ flat).view(len(w), n_features, -1) for w in (weights, by_mean))
    square, counts = weights @ s.square, weights @ s.counts
    shared, variance = everybody(gram, cross, square, counts, n_modes=n_modes, floor=s.floor)
    both = torch.cat([torch.cat([gram, gram_by_mean], 2), torch.cat([gram_by_mean, gram_by_square], 2)], 1)
    target = torch.cat([cross, cross_by_mean], 1)
    prior = torch.cat([RIDGE * shared, torch.zeros_like(cross_by_mean)], 1)
    slopes = torch.linalg.solve(both + RIDGE * torch.eye(2 * n_features), target + prior)
    residual = scatter(slopes, both, target, square).clamp_min(0)
    variances = (residual + variance) / (counts[:, None] + 1) + s.floor
    centre, direction = slopes.view(n_starts, n_modes, 2 * n_features, -1).split(n_features, dim=2)
    return _Lines(centre, direction, variances.view(n_starts, n_modes, -1))


def _scored(
    statistics: Sequence[SpanStatistics], lines: Sequence[_Lines]
) -> tuple[Float[Tensor, "start span mode"], _Numbers]:
    """The log-likelihood of every span under every mode with its number integrated out, in nats; and the number's
    posterior N(m / (1 + p), 1 / (1 + p)) there, m and p summed over kinds."""
    parts = [_terms(s, line) for s, line in zip(statistics, lines, strict=True)]
    of_centre, pull, precision = (sum_of(part) for part in zip(*parts, strict=True))
    mean = pull / (1 + precision)
    found = of_centre + 0.5 * pull * mean - 0.5 * (1 + precision).log()
    return found, _Numbers(mean, mean.square() + 1 / (1 + precision))


def _terms(s: SpanStatistics, lines: _Lines) -> tuple[Tensor, Tensor, Tensor]:
    """(start, span, mode) of one kind: the log-likelihood at z = 0, m = C'(y - B) / v, and p = C'C / v, over steps."""
    starts, modes, n_features, targets = lines.centre.shape
    upper = torch.triu_indices(n_features, n_features)
    centre, direction = (part.transpose(2, 3).reshape(-1, n_features) for part in (lines.centre, lines.direction))

    def form(one: Tensor, other: Tensor) -> Float[Tensor, "start mode span target"]:
        """The sum over steps of the product of two predictions."""
        pairs = one[:, upper[0]] * other[:, upper[1]]
        pairs += torch.where(upper[0] == upper[1], 0.0, 1.0) * one[:, upper[1]] * other[:, upper[0]]
        return (pairs @ s.gram.T).view(starts, modes, targets, -1).transpose(2, 3)

    weights = 1 / lines.variances[:, :, None]
    by_centre, by_direction = (
        torch.einsum("rkft,sft->rkst", part, s.cross) for part in (lines.centre, lines.direction)
    )
    errors = (s.square - 2 * by_centre + form(centre, centre)).clamp_min(0)
    pull = ((by_direction - form(centre, direction)) * weights).sum(-1)
    precision = (form(direction, direction).clamp_min(0) * weights).sum(-1)
    found = -0.5 * (errors * weights).sum(-1)
    found = found - 0.5 * s.counts * (2 * torch.pi * lines.variances).log().sum(-1)[..., None]
    return found.transpose(1, 2), pull.transpose(1, 2), precision.transpose(1, 2)


def _in_heaps(numbers: Float[np.ndarray, "span"]) -> bool:
    from sklearn.mixture import GaussianMixture

    values = numbers[:, None]
    folds = np.argsort(np.argsort(numbers, kind="stable"), kind="stable") % _HEAP_FOLDS  # as many of each heap in all

    def of_left_out(n_heaps: int) -> Float[np.ndarray, "span"]:
        found = np.zeros(len(numbers))
        for fold in range(_HEAP_FOLDS):
            gaussians = GaussianMixture(n_heaps, reg_covar=1e-3, n_init=min(n_heaps, 2), random_state=0)
            with quiet():
                found[folds == fold] = gaussians.fit(values[folds != fold]).score_samples(values[folds == fold])
        return found

    about_one = of_left_out(1)
    for n_heaps in _HEAPS:
        gain = of_left_out(n_heaps) - about_one
        if gain.mean() > max(_HEAP_NATS, _HEAP_ERRORS * gain.std(ddof=1) / len(gain) ** 0.5):
            return True
    return False
