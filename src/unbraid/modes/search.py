"""The search for modes: latents, starts of several kinds, EM, and the choice by what holds on spans left out.

Nothing here knows a policy, a label or a data set. A good start is never lost: what EM makes of a start is taken only
where it explains left-out spans better than the start itself did.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.modes import mixture
from unbraid.modes.codebook import code_usage, perplexity
from unbraid.modes.evidence import Recorded, kinds_of_evidence
from unbraid.modes.latents import span_latents
from unbraid.modes.selection import CountOfModes, HeldOut, Walk
from unbraid.modes.starts import Starts, described, merges, proposals, splits

__all__ = ["Candidate", "Found", "ModeSearch"]

MOST_SPANS, MOST_STEPS = 2000, 300_000
"""The mixture is fitted on a uniform sample of at most so many spans and steps; the others are assigned after."""
MOST_MODES = 16
CLOSE_ERRORS = 2.0
"""Modes that explain left-out spans as well as the best, up to so many standard errors of the difference, are chosen
among by how well they explain all spans: a mode of a single span is known to neither half."""


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """K modes, and what they are worth.

    Attributes:
        responsibilities: (span, mode) of the sampled spans.
        held_out: (span,) each span's log-likelihood under the mixture of the half that it is not in, in nats.
        fitted: the log-likelihood of all spans under the mixture fitted to all of them, in nats.
        origin: what proposed it.
    """

    responsibilities: Float[Tensor, "span mode"]
    held_out: Float[Tensor, "span"]
    fitted: float
    origin: str


@final
@dataclass(frozen=True, eq=False)
class Found:
    """What a search gives.

    Attributes:
        responsibilities: (span, mode) of all spans; rows sum to 1.
        count: what the evidence says of the number of modes.
        gain_of_kind: kind of evidence -> what the modes add to it held out, in nats a span.
        stability: the mean adjusted Rand index between the modes and what EM made of every other start.
        silhouette: of the latents under the modes, in [-1, 1]; None with one mode.
        origin: what proposed the modes.
    """

    responsibilities: Float[Tensor, "span mode"]
    count: CountOfModes
    gain_of_kind: dict[str, float]
    stability: float | None
    silhouette: float | None
    origin: str

    def facts(self) -> dict[str, Any]:
        """All but the responsibilities, as JSON, with the perplexity of the modes' shares and warnings in words."""
        shares = code_usage(self.responsibilities.argmax(1), self.responsibilities.shape[1])
        return {
            "n_modes": self.responsibilities.shape[1],
            "n_supported": self.count.n_supported,
            "verdict": self.count.verdict(self.responsibilities.shape[1]),
            "sureness_standard_errors": self.count.sureness,
            "n_spans": self.count.n_spans,
            "counts": [dataclasses.asdict(count) for count in self.count.counts],
            "gain_of_kind_nats": self.gain_of_kind,
            "shares": shares.tolist(),
            "perplexity": perplexity(shares),
            "stability": self.stability,
            "silhouette": self.silhouette,
            "origin": self.origin,
        }


@final
class ModeSearch:
    """Tells spans apart. `found` is the verb; the rest serves it."""

    def __init__(
        self,
        recorded: Recorded,
        generator: np.random.Generator,
        *,
        kinds: Literal["both", "actions", "transitions"] = "both",
        starts: Literal["several", "random"] = "several",
        n_steps: int = 600,
    ) -> None:
        """Fits the latents of a sample of the spans.

        Args:
            recorded: the demonstrations, scaled.
            generator: decides everything drawn.
            kinds: which evidence to use.
            starts: of several kinds, or random ones alone (to see what the others buy).
            n_steps: gradient steps of the latents.
        """
        self._recorded, self._asked, self._starts_asked, self._generator = recorded, kinds, starts, generator
        self._n_all = int(recorded.spans[-1]) + 1
        self._sampled = self._sample()
        sample = recorded if len(self._sampled) == self._n_all else recorded.of_spans(self._sampled)
        self.n_spans = len(self._sampled)
        self.latents = span_latents(sample, kinds_of_evidence(sample, kinds), generator, n_steps=n_steps)
        features = self.latents.features_of(sample.states)
        self.statistics = [
            mixture.span_statistics(features, kind.read(sample), sample.spans, floor=kind.floor)
            for kind in self.latents.kinds
        ]
        self._descriptions = described(sample)
        self._candidates: dict[int, Candidate] = {}
        self._refined: dict[int, list[Tensor]] = {}

    def found(self, n_modes: int | Literal["auto"]) -> Found:
        """K modes, or as many as the evidence supports; and what it says of more and of fewer."""
        walk = Walk(self._held_out_of, most=min(MOST_MODES, self.n_spans))
        count = walk.whole() if n_modes == "auto" else walk.around(n_modes)
        n_chosen = count.n_supported if n_modes == "auto" else n_modes
        return self._described(self._candidate(n_chosen), n_chosen, count)

    def _sample(self) -> Int[Tensor, "chosen"]:
        order = torch.from_numpy(self._generator.permutation(self._n_all))[:MOST_SPANS]
        steps = torch.bincount(self._recorded.spans)[order].cumsum(0)
        return order[: max(int((steps <= MOST_STEPS).sum()), 1)].sort().values

    # One number of modes

    def _held_out_of(self, n_modes: int) -> HeldOut:
        return HeldOut(n_modes, self._candidate(n_modes).held_out.numpy())

    def _candidate(self, n_modes: int) -> Candidate:
        if n_modes not in self._candidates:
            self._candidates[n_modes] = self._best(n_modes)
        return self._candidates[n_modes]

    def _best(self, n_modes: int) -> Candidate:
        """Starts, what EM makes of them, and the choice."""
        starts = self._starts(n_modes)
        begun = torch.stack([responsibilities for _, responsibilities, _ in starts])
        first_beta = torch.tensor([beta for _, _, beta in starts])
        refined = mixture.expectation_maximisation(self.statistics, begun, first_beta=first_beta)
        self._refined[n_modes] = [r.argmax(1) for r in refined]
        both = torch.cat([begun, refined])
        held_out, fitted = self._held_out(both), self._fitted(both)
        behind = held_out[held_out.sum(1).argmax()] - held_out
        close = behind.sum(1) <= CLOSE_ERRORS * behind.std(1, correction=0) * len(behind[0]) ** 0.5
        best = int(torch.where(close, fitted, -torch.inf).argmax())
        origin = starts[best][0] if best < len(starts) else "EM"
        return Candidate(both[best], held_out[best], float(fitted[best]), origin)

    def _starts(self, n_modes: int) -> Starts:
        random_only = self._starts_asked == "random"
        starts = proposals(
            self.latents.means, self._descriptions, n_modes, self._generator, random_only=random_only or n_modes == 1
        )
        if random_only or n_modes == 1:
            return starts
        if n_modes - 1 in self._candidates:
            starts += splits(self._candidates[n_modes - 1].responsibilities, self.latents.means, self._generator)
        return starts + self._merged_from_many(n_modes)

    def _merged_from_many(self, n_modes: int) -> Starts:
        """Twice as many groups, and the two whose union costs least made one, until K are left."""
        many = min(2 * n_modes, self.n_spans - 1, n_modes + 6)
        if many <= n_modes:
            return []
        start = proposals(self.latents.means, self._descriptions, many, self._generator)[2][1]
        while start.shape[1] > n_modes:
            pairs = merges(start)
            start = pairs[self._held_out(pairs).sum(1).argmax()]
        return [("more groups, merged", start, 1.0)]

    def _held_out(self, responsibilities: Float[Tensor, "start span mode"]) -> Float[Tensor, "start span"]:
        log_shares = responsibilities.mean(1).clamp_min(1e-6).log()[:, None]
        across = mixture.scored_across_halves(self.statistics, responsibilities)
        return (mixture.sum_of(across) + log_shares).logsumexp(-1)

    def _fitted(self, responsibilities: Float[Tensor, "start span mode"]) -> Float[Tensor, "start"]:
        log_shares = responsibilities.mean(1).clamp_min(1e-6).log()[:, None]
        own = [mixture.scored(s, mixture.fit_predictors(s, responsibilities)) for s in self.statistics]
        return (mixture.sum_of(own) + log_shares).logsumexp(-1).sum(-1)

    # What is said of the chosen

    def _described(self, chosen: Candidate, n_modes: int, count: CountOfModes) -> Found:
        from sklearn.metrics import adjusted_rand_score, silhouette_score

        modes = chosen.responsibilities.argmax(1)
        one = torch.ones(1, self.n_spans, 1)
        alone = mixture.scored_across_halves(self.statistics, one)
        apart = mixture.scored_across_halves(self.statistics, chosen.responsibilities[None])
        own = [part[0].gather(1, modes[:, None])[:, 0].mean() for part in apart]
        gains = [float(mine - part[0].mean()) for mine, part in zip(own, alone, strict=True)]
        others = [float(adjusted_rand_score(modes, other)) for other in self._refined[n_modes]]
        several = 1 < len(modes.unique()) < self.n_spans
        return Found(
            responsibilities=self._of_everybody(chosen),
            count=count,
            gain_of_kind={kind.name: gain for kind, gain in zip(self.latents.kinds, gains, strict=True)},
            stability=float(np.mean(others)) if n_modes > 1 else None,
            silhouette=float(silhouette_score(self.latents.means, modes)) if several else None,
            origin=chosen.origin,
        )

    def _of_everybody(self, chosen: Candidate) -> Float[Tensor, "span mode"]:
        """Responsibilities of all spans: the sampled ones have theirs, the others get them from what those taught."""
        if self.n_spans == self._n_all:
            return chosen.responsibilities
        predictors = [mixture.fit_predictors(s, chosen.responsibilities[None]) for s in self.statistics]
        log_shares = chosen.responsibilities.mean(0).clamp_min(1e-6).log()
        found = torch.zeros(self._n_all, chosen.responsibilities.shape[1])
        for spans in torch.arange(self._n_all).split(MOST_SPANS):
            part = self._recorded.of_spans(spans)
            evidences = [kind.read(part) for kind in self.latents.kinds]
            scores = mixture.log_likelihoods(evidences, self.latents.features_of(part.states), part.spans, predictors)
            found[spans] = torch.softmax(scores + log_shares, dim=1)
        found[self._sampled] = chosen.responsibilities
        return found
