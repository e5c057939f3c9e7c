"""The search for modes: latents, starts of several kinds, EM, and the choice by what holds on spans left out.

Nothing here knows a policy, a label or a data set. A good start is never lost: it remains a candidate beside what EM
makes of it.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.core.side_by_side import SideBySide
from unbraid.modes import mixture
from unbraid.modes.candidates import Candidate, Tried, agreement_of_rivals, stability_of
from unbraid.modes.evidence import Recorded, kinds_of_evidence
from unbraid.modes.found import Found
from unbraid.modes.latents import span_latents
from unbraid.modes.selection import (
    CountOfModes,
    HeldOut,
    Walk,
    WithinModes,
    are_as_good,
    are_clearly_better,
    is_gain,
)
from unbraid.modes.spans import SpanSource
from unbraid.modes.starts import (
    Start,
    Starts,
    described,
    groups_of,
    kmeans_groups,
    merges,
    proposals,
    single_threaded_and_quiet,
    splits,
)
from unbraid.modes.varying import VaryingModes

__all__ = ["ModeSearch"]

MOST_SPANS, MOST_STEPS, PIECE_STEPS = 2000, 300_000, 5000
"""The mixture is fitted on a uniform sample of at most so many spans and steps; the others are assigned after. Of spans
that are longer than that allows, their beginning is taken: at least so many steps of each."""
_MOST_READ = 1_000_000
"""The most steps that are read of any span: memory holds one span as a whole."""
_MOST_MODES = 32
_CLOSE_ERRORS = 2.0
"""Modes that explain left-out spans as well as the best, up to so many standard errors of the difference, are chosen
among by how well they explain all spans: a mode of a single span is known to neither half."""
_ENOUGH_FOR_HALVES = 40


@final
class ModeSearch:
    """Tells spans apart. `found` is the verb; the rest serves it."""

    def __init__(
        self,
        recorded: Recorded | SpanSource,
        generator: np.random.Generator,
        *,
        kinds: Literal["both", "actions", "transitions"] = "both",
        starts: Literal["several", "random"] = "several",
        n_steps: int = 500,
    ) -> None:
        """Fits the latents of a sample of the spans.

        Args:
            recorded: the demonstrations.
            generator: decides everything drawn.
            kinds: which evidence to use.
            starts: of several kinds, or random ones alone (to see what the others buy).
            n_steps: gradient steps of the latents.
        """
        self._recorded, self._generator = recorded, generator
        self._asked: Literal["both", "actions", "transitions"] = kinds
        self._starts_asked: Literal["several", "random"] = starts
        self._n_all = len(recorded.lengths)
        self._piece_steps = max(MOST_STEPS // self._n_all, PIECE_STEPS)
        self._sampled = self._sample()
        sample = recorded.first_steps(self._piece_steps).of_spans(self._sampled)
        self.n_spans = len(self._sampled)
        there = kinds_of_evidence(sample, kinds)
        if not there:
            raise ConfigError(
                f"evidence must be both or actions here; got {kinds!r}, and no observation changes within a "
                "demonstration. Bring observations that move."
            )
        self.latents = span_latents(sample, there, generator, n_steps=n_steps)
        features = self.latents.features_of(sample.states)
        self.statistics = [
            mixture.span_statistics(features, evidence, sample.spans, floor=kind.floor)
            for kind, evidence in zip(self.latents.kinds, self.latents.evidences, strict=True)
        ]
        self.sample = sample
        self._descriptions, self._n_steps = described(sample), n_steps
        self._searches_apart: list[_SearchApart] = []
        self._steady = Tried(mixture.SteadyModes(self.statistics))
        self._varying = Tried(VaryingModes(self.statistics, self.latents.means))
        self._varies = False

    def found(self, n_modes: int | Literal["auto"]) -> Found:
        """K modes, or as many as the evidence supports; and what it says of more and of fewer.

        Where the demonstrations of one mode differ among themselves, modes are found again that vary within
        themselves; no more of them, since what varies made more. They are taken where it is much that varies, or where
        they are others and clearly better; where the number was left open, if they are fewer, too, and as good.
        """
        count = self._counted(n_modes, min(_MOST_MODES, self.n_spans))
        n_chosen = count.n_supported if n_modes == "auto" else n_modes
        within = self._within(n_chosen) if n_chosen > 1 else None
        if within is not None and (within.is_modelled or (n_modes == "auto" and self._fewer_may_do(n_chosen))):
            self._varies = True
            anew = self._counted(n_modes, max(count.n_supported, n_chosen))
            if n_modes != "auto" or self._do(anew.n_supported, n_chosen, within):
                count, n_chosen = anew, anew.n_supported if n_modes == "auto" else n_modes
                within = replace(self._by_numbers(self._candidate(n_chosen)), is_modelled=True)
            else:
                self._varies, within = False, replace(within, is_modelled=False)
        return self._described(self._candidate(n_chosen), n_chosen, count, within)

    def _counted(self, n_modes: int | Literal["auto"], most: int) -> CountOfModes:
        walk = Walk(self._held_out_of, self._found_again, most=most)
        if n_modes == "auto":
            return walk.whole()
        if not self._varies and n_modes > 2 and not self._is_found_twice(n_modes):
            self._grow(n_modes)
        return walk.around(n_modes)

    def _is_found_twice(self, n_modes: int) -> bool:
        """Whether EM came to the same groups from two starts."""
        self._candidate(n_modes - 1)  # a mode of theirs split is a start
        groups = groups_of(self._candidate(n_modes).responsibilities)
        return sum(groups_of(found) == groups for found in self._steady.refined[n_modes]) > 1

    def _grow(self, n_modes: int) -> None:
        """Takes modes that grew from one, a split at a time, in place of those found at once where they are clearly
        better. EM does not get from two groups for one expert and one for two others to a group for each, which among
        many modes is common."""
        modes, draws = self._steady.modes, copy.deepcopy(self._generator)  # what else is drawn is as without this
        assert isinstance(modes, mixture.SteadyModes)
        at_once, one = self._candidate(n_modes), self._candidate(1)
        grown = one
        for _ in range(1, n_modes):
            starts = [start for _, start, _ in splits(grown.responsibilities, self.latents.means, draws)]
            if not starts:
                return  # no mode has three spans
            refined = modes.refined(torch.stack(starts), torch.ones(len(starts)))
            held_out = self._held_out(refined, modes)
            best = int(held_out.sum(1).argmax())
            grown = Candidate(refined[best], held_out[best], "one mode, split", refined[best])
        if is_gain((grown.held_out - at_once.held_out).numpy(), (at_once.held_out - one.held_out).numpy()):
            self._steady.candidates[n_modes] = grown

    def _within(self, n_modes: int) -> WithinModes:
        """What one number of each span, within its mode, explains of left-out spans; whether modes should have it."""
        within = self._by_numbers(self._candidate(n_modes))
        if not within.is_there:
            return within
        best = self._candidate_of(self._varying, n_modes)
        are_others = best.refined is not self._varying.refined[n_modes][0]
        is_modelled = (within.is_much or are_others) and self._lie_about_one_place(best)
        return replace(within, is_modelled=is_modelled)

    def _by_numbers(self, modes: Candidate) -> WithinModes:
        steady, varying = (
            self._held_out(modes.responsibilities[None], tried.modes)[0] for tried in (self._steady, self._varying)
        )
        one = self._candidate_of(self._steady, 1).held_out
        return WithinModes.of((varying - steady).numpy(), (steady - one).numpy())

    def _fewer_may_do(self, n_modes: int) -> bool:
        """Whether fewer modes, found without a number for each span, explain as much with it; see `_do`."""
        fewer = [self._candidate(k) for k in range(1, n_modes)]
        return any(
            self._is_as_much(self._held_out(modes.responsibilities[None], self._varying.modes)[0], n_modes)
            and self._lie_about_one_place(modes)
            for modes in fewer
        )

    def _do(self, n_anew: int, n_modes: int, within: WithinModes) -> bool:
        """Whether as many modes that vary, or fewer, explain as much as those that do not, by numbers in no heaps."""
        modes = self._candidate_of(self._varying, n_anew)
        if not self._is_as_much(modes.held_out, n_modes):
            return False
        if n_anew == n_modes:
            return within.is_modelled  # `_within` has asked after the heaps of as many
        return self._lie_about_one_place(modes)

    def _is_as_much(self, held_out: Float[Tensor, "span"], n_modes: int) -> bool:
        return are_as_good((held_out - self._candidate_of(self._steady, n_modes).held_out).numpy())

    def _lie_about_one_place(self, modes: Candidate) -> bool:
        assert isinstance(self._varying.modes, VaryingModes)
        return self._varying.modes.lie_about_one_place(modes.responsibilities)

    @property
    def _tried(self) -> Tried:
        return self._varying if self._varies else self._steady

    def of_sample(self, n_modes: int) -> Float[Tensor, "span mode"]:
        """Responsibilities of K modes for the spans of `sample`."""
        return self._candidate(n_modes).responsibilities

    def glance(self, n_modes: int | Literal["auto"]) -> Float[Tensor, "span mode"]:
        """Responsibilities of K modes for all spans, or of as many as the evidence supports: a look that is not the
        last. Of more modes and fewer nothing is said, and nothing is found again from a part."""
        if n_modes == "auto":
            n_modes = Walk(self._held_out_of, most=min(_MOST_MODES, self.n_spans)).whole().n_supported
        elif n_modes > 2:
            self._candidate(n_modes - 1)  # a mode of theirs split is a start
        return self._of_everybody(self._candidate(n_modes))

    def _sample(self) -> Int[Tensor, "chosen"]:
        """As many spans as there may be; of a long one, no more steps than its share of them (see `_piece_steps`)."""
        order = torch.from_numpy(self._generator.permutation(self._n_all))[:MOST_SPANS]
        steps = self._recorded.lengths[order].clamp_max(self._piece_steps).cumsum(0)
        return order[: max(int((steps <= MOST_STEPS).sum()), 1)].sort().values

    # One number of modes

    def _held_out_of(self, n_modes: int) -> HeldOut:
        return HeldOut(n_modes, self._candidate(n_modes).held_out.numpy())

    def _found_again(self, n_modes: int) -> HeldOut:
        """Of each fold of the spans by a search that sees the others alone: latents, groups and predictors. Two folds
        at a time, each with draws of its own, so that which is first decides nothing."""
        if not self._searches_apart:
            folds = self._folds(self._candidate(n_modes))
            draws = self._generator.spawn(len(folds))
            self._searches_apart = [_SearchApart(fold, own) for fold, own in zip(folds, draws, strict=True)]

        def score(some: list[_SearchApart]) -> None:
            for apart in some:
                found[apart.left_out] = self._scored_apart(apart, n_modes)

        found = torch.zeros(self.n_spans)
        with single_threaded_and_quiet():
            SideBySide()(lambda: score(self._searches_apart[::2]), lambda: score(self._searches_apart[1::2]))
        return HeldOut(n_modes, found.numpy())

    def _folds(self, modes: Candidate) -> list[Int[Tensor, "left_out"]]:
        """Halves, or quarters of few spans, with as much of each mode in all."""
        n_folds = 2 if self.n_spans >= _ENOUGH_FOR_HALVES else min(4, self.n_spans)
        drawn = torch.from_numpy(self._generator.permutation(self.n_spans))
        order = drawn[modes.responsibilities.argmax(1)[drawn].argsort(stable=True)]
        return [order[fold::n_folds].sort().values for fold in range(n_folds)]

    def _scored_apart(self, apart: "_SearchApart", n_modes: int) -> Float[Tensor, "left_out"]:
        if apart.search is None:
            seen = torch.ones(self.n_spans, dtype=torch.bool)
            seen[apart.left_out] = False
            n_steps = math.ceil(self._n_steps * int(seen.sum()) / self.n_spans)  # as often over each span
            apart.search = ModeSearch(
                self.sample.of_spans(torch.nonzero(seen)[:, 0]),
                apart.generator,
                kinds=self._asked,
                starts=self._starts_asked,
                n_steps=n_steps,
            )
        apart.search._varies = self._varies
        left_out = self.sample.of_spans(apart.left_out)
        return apart.search.log_likelihoods(left_out, apart.search._candidate(n_modes)).logsumexp(1)

    def _candidate(self, n_modes: int) -> Candidate:
        return self._candidate_of(self._tried, n_modes)

    def _candidate_of(self, tried: Tried, n_modes: int) -> Candidate:
        if n_modes not in tried.candidates:
            best = self._best if tried is self._steady else self._best_varying
            tried.candidates[n_modes] = best(tried, n_modes)
        return tried.candidates[n_modes]

    def _best(self, tried: Tried, n_modes: int) -> Candidate:
        """Starts, what EM makes of them, and the choice."""
        assert isinstance(tried.modes, mixture.SteadyModes)
        starts = self._starts(tried, n_modes)
        begun = torch.stack([responsibilities for _, responsibilities, _ in starts])
        refined = tried.modes.refined(begun, torch.tensor([beta for _, _, beta in starts]))
        tried.refined[n_modes] = list(refined)
        both = torch.cat([begun, refined])
        held_out, fitted = self._held_out(both, tried.modes), self._fitted(both, tried.modes)
        behind = held_out[held_out.sum(1).argmax()] - held_out
        close = behind.sum(1) <= _CLOSE_ERRORS * behind.std(1, correction=0) * len(behind[0]) ** 0.5
        best = int(torch.where(close, fitted, -torch.inf).argmax())
        made = None if best < len(starts) else tried.refined[n_modes][best - len(starts)]
        origin = starts[best][0] if made is None else "EM"
        return Candidate(both[best], held_out[best], origin, made)

    def _best_varying(self, tried: Tried, n_modes: int) -> Candidate:
        """What EM makes of the modes that were found without variation within them, or, where they are clearly better,
        of the starts: with a number for each span, other groups may explain almost as much."""
        assert isinstance(tried.modes, VaryingModes)
        steady = self._candidate_of(self._steady, n_modes)
        begun = [responsibilities for _, responsibilities, beta in self._starts(tried, n_modes) if beta == 1]
        begun = torch.stack([*begun, *self._steady.refined[n_modes]])
        refined = torch.cat([tried.modes.refined(steady.responsibilities[None]), tried.modes.refined(begun)])
        tried.refined[n_modes] = list(refined)
        held_out = self._held_out(refined, tried.modes)
        best = int(held_out.sum(1).argmax())
        of_steady = steady.held_out - self._candidate_of(self._steady, 1).held_out
        if not are_clearly_better((held_out[best] - held_out[0]).numpy(), of_steady.numpy()):
            best = 0
        return Candidate(refined[best], held_out[best], "EM, varying", tried.refined[n_modes][best])

    def _starts(self, tried: Tried, n_modes: int) -> Starts:
        """Proposals; of those that make the same groups, one."""
        found: dict[bytes, Start] = {}
        for start in self._proposed(tried, n_modes):
            found.setdefault(groups_of(start[1]), start)
        return list(found.values())

    def _proposed(self, tried: Tried, n_modes: int) -> Starts:
        random_only = self._starts_asked == "random"
        starts = proposals(
            self.latents.means, self._descriptions, n_modes, self._generator, random_only=random_only or n_modes == 1
        )
        if random_only or n_modes == 1:
            return starts
        if n_modes - 1 in tried.candidates:
            starts += splits(tried.candidates[n_modes - 1].responsibilities, self.latents.means, self._generator)
        return starts + self._merged_from_many(n_modes)

    def _merged_from_many(self, n_modes: int) -> Starts:
        """Twice as many groups, and the two whose union costs least made one, until K are left."""
        many = min(2 * n_modes, self.n_spans - 1, n_modes + 6)
        if many <= n_modes:
            return []
        start = kmeans_groups(self.latents.means, many, self._generator)
        while start.shape[1] > n_modes:
            start = merges(start)[self._held_out_of_unions(start).sum(1).argmax()]
        return [("more groups, merged", start, 1.0)]

    def _held_out(
        self, responsibilities: Float[Tensor, "start span mode"], modes: mixture.SteadyModes | VaryingModes
    ) -> Float[Tensor, "start span"]:
        return mixture.log_evidence(modes.scored_across_halves(responsibilities), responsibilities)

    def _fitted(
        self, responsibilities: Float[Tensor, "start span mode"], modes: mixture.SteadyModes | VaryingModes
    ) -> Float[Tensor, "start"]:
        return mixture.log_evidence(modes.scored(responsibilities), responsibilities).sum(-1)

    def _held_out_of_unions(self, responsibilities: Float[Tensor, "span mode"]) -> Float[Tensor, "pair span"]:
        """About `_held_out` of every pair of modes made one, to choose among pairs: what all the other modes say is
        worked out once, and a union is drawn towards itself, not towards everybody."""
        halves = mixture.alternating_halves(responsibilities[None])
        pairs = torch.combinations(torch.arange(responsibilities.shape[1]))
        unions = responsibilities[:, pairs].sum(2).T[..., None]
        alone = mixture.sum_of(mixture.scored_across_halves(self.statistics, responsibilities[None], halves))[0]
        as_one = mixture.sum_of(mixture.scored_across_halves(self.statistics, unions, halves.expand(len(pairs), -1)))[
            ..., 0
        ]
        others = (
            (alone + mixture.log_shares(responsibilities))
            .expand(len(pairs), -1, -1)
            .scatter(2, pairs[:, None].expand(-1, len(responsibilities), -1), -torch.inf)
        )
        union_shares = mixture.log_shares(unions)[..., 0]
        return torch.cat([others, (as_one + union_shares)[..., None]], dim=2).logsumexp(-1)

    # What is said of the chosen

    def _described(self, chosen: Candidate, n_modes: int, count: CountOfModes, within: WithinModes | None) -> Found:
        from sklearn.metrics import silhouette_score

        modes = chosen.responsibilities.argmax(1)
        one = torch.ones(1, self.n_spans, 1)
        alone = mixture.scored_across_halves(self.statistics, one)
        apart = mixture.scored_across_halves(self.statistics, chosen.responsibilities[None])
        own = [part[0].gather(1, modes[:, None])[:, 0].mean() for part in apart]
        gains = [float(mine - part[0].mean()) for mine, part in zip(own, alone, strict=True)]
        others = self._tried.others(n_modes)
        held_out = self._held_out(torch.stack(others), self._tried.modes) if others else torch.zeros(0, self.n_spans)
        several = 1 < len(modes.unique()) < self.n_spans
        return Found(
            responsibilities=self._of_everybody(chosen),
            count=count,
            gain_of_kind={kind.name: gain for kind, gain in zip(self.latents.kinds, gains, strict=True)},
            stability_of=stability_of(self._tried),
            of_rivals=agreement_of_rivals(chosen, others, held_out),
            merge_into=self._merged(chosen),
            silhouette=float(silhouette_score(self.latents.means, modes)) if several else None,
            origin=chosen.origin,
            within=within,
        )

    def _of_everybody(self, chosen: Candidate) -> Float[Tensor, "span mode"]:
        """Responsibilities of all spans: the sampled ones have theirs, the others get them from what those taught."""
        if self.n_spans == self._n_all:
            return chosen.responsibilities
        found, read = torch.zeros(self._n_all, chosen.responsibilities.shape[1]), self._recorded.first_steps(_MOST_READ)
        n_blocks = min(int(self._recorded.lengths.sum()) // MOST_STEPS + 1, self._n_all)
        for spans in torch.arange(self._n_all).tensor_split(n_blocks):
            found[spans] = torch.softmax(self.log_likelihoods(read.of_spans(spans), chosen), dim=1)
        found[self._sampled] = chosen.responsibilities
        return found

    def log_likelihoods(self, recorded: Recorded, modes: Candidate) -> Float[Tensor, "span mode"]:
        """Of other spans: log of a mode's share, and the log-likelihood of the span under it, in nats."""
        evidences = [kind.read(recorded) for kind in self.latents.kinds]
        features = self.latents.features_of(recorded.states)
        found = self._tried.modes.scored_of_others(evidences, features, recorded.spans, modes.responsibilities)
        return found + mixture.log_shares(modes.responsibilities)

    def _merged(self, chosen: Candidate) -> tuple[int, ...]:
        """The group of each mode, where two are made one as long as left-out spans are explained as well."""
        responsibilities, held_out = chosen.responsibilities, chosen.held_out
        groups = list(range(responsibilities.shape[1]))
        alone = self._held_out(torch.ones(1, self.n_spans, 1), self._tried.modes)[0]
        while responsibilities.shape[1] > 1:
            best = int(self._held_out_of_unions(responsibilities).sum(1).argmax())
            merged = merges(responsibilities)[best]
            held_out_merged = self._held_out(merged[None], self._tried.modes)[0]
            if is_gain((held_out - held_out_merged).numpy(), (held_out - alone).numpy()):
                break
            first, second = torch.combinations(torch.arange(responsibilities.shape[1]))[best].tolist()
            groups = [first if g == second else g - (g > second) for g in groups]
            responsibilities, held_out = merged, held_out_merged
        return tuple(groups)


@final
@dataclass(eq=False)
class _SearchApart:
    """A search that sees all spans but some; made when it is first asked.

    Attributes:
        left_out: the spans that it does not see.
        generator: decides all that it draws.
        search: the search; None before it was asked.
    """

    left_out: Int[Tensor, "left_out"]
    generator: np.random.Generator
    search: ModeSearch | None = None
