"""Experts that take over from one another within an episode: whether they do, and which stretch is whose.

Modes are searched for among whole episodes first. Where those modes explain left-out episodes clearly better if they
may take over from one another, the search is repeated among stretches: episodes are cut into parts that are shorter
than an expert's turn, modes are found among the parts, a sticky chain under these modes says where they really change,
and the search begins again from the stretches between the changes. Each round knows better where the stretches end, so
that the next one sees more of one expert at once.

The chain is not run inside one mixture: the search for modes, with its latents and many starts, is repeated on what the
chain cuts. Restarts (parts of several lengths) are chosen by evidence on left-out episodes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.side_by_side import SideBySide
from unbraid.modes import mixture
from unbraid.modes.assignment import stretches_of
from unbraid.modes.chain import best_path, constant_log_evidence, estimated_rate, smoothed
from unbraid.modes.evidence import ACTION_FLOOR, Evidence, Recorded
from unbraid.modes.latents import SpanLatents
from unbraid.modes.search import MOST_STEPS, ModeSearch
from unbraid.modes.spans import SpanSource
from unbraid.modes.starts import single_threaded_and_quiet
from unbraid.modes.varying import VaryingModes

__all__ = ["Changes", "changes_within", "stretches_of_one_mode"]

_LEAST_NATS, _LEAST_ERRORS, _LEAST_SHARE = 4.0, 3.0, 0.15
_LEAST_ALIKE = 0.2
"""The part of the gain that must be left where all modes scatter alike."""
_LOOKED_AT_STEPS = 50_000
_RATE = 1e-8
"""While learning, a change must be worth 18 nats: predictors err the same way on neighbouring steps."""
_SHARES_OF_TURN = (1 / 4, 1 / 3, 1 / 2)
_ROUNDS = 4
_SEARCHES: tuple[tuple[int, int | None], ...] = ((2, 1), (2, 2), (1, None), (1, None))
"""Of each round, how many modes there are for one that is asked for, and the longest spans after it in first parts'
lengths; in the end stretches are left whole. With no more modes than experts, parts where nobody meets the others (an
expert that took over far away) share a mode with what came before, and are never cut from it."""
_SHORTEST_PART, _MOST_PARTS, _SHORT = 5, 800, 1 / 4


@final
@dataclass(frozen=True)
class Changes:
    """Whether experts change within an episode.

    Attributes:
        gain_nats: what a left-out episode's log-likelihood gains where its mode may change, the mean of an episode.
        gain_error: its standard error over episodes; None with one episode.
        modes_nats: what the modes explain of it where they may not change, over one mode.
        turn_steps: how long an expert acts before another takes over, as it looks under these modes; None where that
            was not asked.
        alike_nats: the gain where all modes scatter alike; None where that was not asked, since the rest says no.
        within_nats: what is gained where modes may not change, but each episode has a number of its own within its
            mode; None where that was not asked.
    """

    gain_nats: float
    gain_error: float | None
    modes_nats: float
    turn_steps: float | None = None
    alike_nats: float | None = None
    within_nats: float | None = None

    @property
    def are_there(self) -> bool:
        """Whether the gain is more than chance, more than a price of a change, and something beside the modes' own; not
        for the most part one of calmer modes in calmer moments; and more than that of episodes that differ as a whole.
        """
        return (
            self.gain_error is not None
            and self.gain_nats > _LEAST_ERRORS * self.gain_error
            and self.gain_nats > _LEAST_NATS
            and self.gain_nats > _LEAST_SHARE * self.modes_nats
            and (self.alike_nats is None or self.alike_nats > _LEAST_ALIKE * self.gain_nats)
            and (self.within_nats is None or self.gain_nats > self.within_nats)
        )

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "within_episodes": self.are_there,
            "gain_nats": self.gain_nats,
            "gain_error": self.gain_error,
            "modes_nats": self.modes_nats,
            "alike_nats": self.alike_nats,
            "within_nats": self.within_nats,
        }


def changes_within(search: ModeSearch, n_modes: int, *, assumed: bool = False) -> Changes:
    """Whether modes that were found among whole episodes take over from one another within them.

    Every episode is scored by what the other half of the episodes taught. A mode that scatters little explains the calm
    parts of everybody's episodes best (an arm that holds still), and that is no change of expert: what looks like one
    must be one, too, where all modes scatter alike. An episode between two modes, slower than the one and faster than
    the other, is explained by turns of both, and better by a speed of its own: changes must explain more than that.

    Args:
        search: a search among episodes.
        n_modes: how many modes there are; at least 2.
        assumed: whether they are known to, so that `turn_steps` is wanted in any case.
    """
    responsibilities = search.of_sample(n_modes)
    halves = mixture.alternating_halves(responsibilities[None])[0]
    n_spans = len(responsibilities)
    n_looked_at = max(min(round(n_spans * _LOOKED_AT_STEPS / len(search.sample.spans)), n_spans), 1)
    chosen = torch.arange(n_looked_at) * n_spans // n_looked_at
    some, lengths = _across_halves(search, responsibilities, halves, chosen)
    one, _ = _across_halves(search, torch.ones(n_spans, 1), halves, chosen)
    constant = constant_log_evidence(some, lengths)
    gain = _gain(some, lengths)
    error = float(gain.std(ddof=1) / math.sqrt(len(gain))) if len(gain) > 1 else None
    modes_nats = float((constant - constant_log_evidence(one, lengths)).mean())
    found = Changes(float(gain.mean()), error, modes_nats)
    if found.are_there:
        alike, _ = _across_halves(search, responsibilities, halves, chosen, variances="shared")
        found = replace(found, alike_nats=float(_gain(alike, lengths).mean()))
    if found.are_there:
        found = replace(found, within_nats=_gain_within(search, responsibilities))
    return replace(found, turn_steps=1 / estimated_rate(some, lengths)) if assumed or found.are_there else found


def _gain(scores: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "span"]) -> Float[np.ndarray, "span"]:
    """What the log-likelihood of every episode gains where its mode may change, once an episode or so."""
    rate = 1 / max(float(lengths.mean()), 2.0)
    return smoothed(scores, lengths, rate).log_evidence - constant_log_evidence(scores, lengths)


def _gain_within(search: ModeSearch, responsibilities: Float[Tensor, "span mode"]) -> float:
    """What the log-likelihood of a left-out episode gains, in the mean, where each has a number of its own."""
    used = [s for s, k in zip(search.statistics, search.latents.kinds, strict=True) if k.says_something_of_a_step]
    steady, varying = (
        mixture.log_evidence(modes.scored_across_halves(responsibilities[None])[0], responsibilities)
        for modes in (mixture.SteadyModes(used), VaryingModes(used, search.latents.means))
    )
    return float((varying - steady).mean())


def _across_halves(
    search: ModeSearch,
    responsibilities: Float[Tensor, "span mode"],
    halves: Int[Tensor, "span"],
    chosen: Int[Tensor, "chosen"],
    variances: Literal["own", "shared"] = "own",
) -> tuple[Float[np.ndarray, "step mode"], Int[np.ndarray, "chosen"]]:
    """The log-likelihood of every step of the chosen spans under modes of the half that its span is not in; and the
    spans' lengths."""
    recorded = search.sample.of_spans(chosen)
    steps = _StepEvidence.of(search.latents, recorded)
    used = [i for i, kind in enumerate(search.latents.kinds) if kind.says_something_of_a_step]
    found: list[Float[np.ndarray, "step mode"]] = []
    for half in range(2):
        learned_from = (responsibilities * (halves != half)[:, None])[None]
        predictors = [mixture.fit_predictors(search.statistics[i], learned_from) for i in used]
        if variances == "shared":
            predictors = [p.with_shared_variances(learned_from.sum(1)) for p in predictors]
        found.append(steps.under(predictors))
    first = (halves[chosen] == 0)[recorded.spans].numpy()[:, None]
    return np.where(first, found[0], found[1]), recorded.lengths.numpy()


def stretches_of_one_mode(
    source: SpanSource,
    search_among: Callable[[Recorded, np.random.Generator], ModeSearch],
    n_modes: int | Literal["auto"],
    turn_steps: float,
    generator: np.random.Generator,
) -> Int[Tensor, "stretch"]:
    """Cuts episodes where one mode takes over from another.

    Args:
        source: the demonstrations, a span for each episode. Of many, a sample teaches where to cut.
        search_among: a search among the spans of what was recorded.
        n_modes: how many there are to tell apart.
        turn_steps: about how long an expert acts before another takes over.
        generator: decides all that is drawn.

    Returns:
        the lengths of the stretches between the cuts, in order.
    """
    order = torch.from_numpy(generator.permutation(len(source.lengths)))
    sampled = order[: max(int((source.lengths[order].cumsum(0) <= MOST_STEPS).sum()), 1)].sort().values
    recorded = source.of_spans(sampled)
    shortest = max(_SHORTEST_PART, len(recorded.spans) // _MOST_PARTS)
    widths = sorted({max(round(share * turn_steps), shortest) for share in _SHARES_OF_TURN})
    own = generator.spawn(len(widths))
    begun = [_Cutting(recorded, search_among, n_modes, w, draws) for w, draws in zip(widths, own, strict=True)]

    def rounds(some: Sequence[_Cutting]) -> None:
        for cutting in some:
            for times, n in _SEARCHES:
                cutting.round(times, longest_steps=None if n is None else n * cutting.width)

    with single_threaded_and_quiet():
        SideBySide()(lambda: rounds(begun[::2]), lambda: rounds(begun[1::2]))
    judge = begun[len(begun) // 2]
    best = max(begun, key=lambda cutting: judge.evidence_of(cutting.path))
    if len(sampled) == len(source.lengths):
        return _lengths_of(best.path, recorded)
    n_blocks = min(int(source.lengths.sum()) // MOST_STEPS + 1, len(source.lengths))
    blocks = (source.of_spans(some) for some in torch.arange(len(source.lengths)).tensor_split(n_blocks))
    return torch.cat([_lengths_of(best.path_of(block), block) for block in blocks])


def _lengths_of(path: Int[np.ndarray, "step"], recorded: Recorded) -> Int[Tensor, "stretch"]:
    """The lengths of the stretches of one mode."""
    return torch.from_numpy(np.bincount(stretches_of(path, recorded.spans.numpy())))


@final
class _Cutting:
    """One restart: it knows where the spans are now, and which mode each step is in."""

    def __init__(
        self,
        recorded: Recorded,
        search_among: Callable[[Recorded, np.random.Generator], ModeSearch],
        n_modes: int | Literal["auto"],
        width: int,
        generator: np.random.Generator,
    ) -> None:
        self._recorded, self._search_among, self._generator = recorded, search_among, generator
        self._n_modes: int | Literal["auto"] = n_modes
        self.width, self._lengths, self._episodes = width, recorded.lengths.numpy(), recorded.spans.numpy()
        self._spans = _parts(self._episodes, width)
        self.path = np.zeros(len(self._spans), dtype=np.int64)
        self._features_to_judge_by: Tensor | None = None
        self._steps: _StepEvidence | None = None
        self._modes = torch.zeros(0)

    def round(self, times: int, *, longest_steps: int | None) -> None:
        """Modes among the spans, where they change, and new spans between the changes, none longer than that.

        Args:
            times: how many modes there are for each that is asked for.
            longest_steps: of the new spans.
        """
        among = replace(self._recorded, spans=torch.from_numpy(self._spans))
        search = self._search_among(among, self._generator)
        modes = search.glance(self._n_modes)
        if times > 1:
            modes = search.glance(min(times * modes.shape[1], len(modes)))
        self._modes = modes[among.spans]
        self._steps = _StepEvidence.of(search.latents, among)
        if self._features_to_judge_by is None:
            self._features_to_judge_by = self._steps.features
        scores = self._steps.scored(self._modes)
        for _ in range(_ROUNDS - 1):
            self._modes = torch.from_numpy(smoothed(scores, self._lengths, _RATE).probabilities).float()
            scores = self._steps.scored(self._modes)
        path = best_path(scores, self._lengths, _RATE)
        absorbed = torch.from_numpy(_absorbed(path, self._episodes))
        self._modes = torch.nn.functional.one_hot(absorbed, scores.shape[1]).float()
        self.path = best_path(self._steps.scored(self._modes), self._lengths, _RATE)
        spans = stretches_of(self.path, self._episodes)
        self._spans = spans if longest_steps is None else _parts(spans, longest_steps)

    def path_of(self, recorded: Recorded) -> Int[np.ndarray, "step"]:
        """The modes of other episodes."""
        assert self._steps is not None
        return best_path(self._steps.scored(self._modes, of=recorded), recorded.lengths.numpy(), _RATE)

    def evidence_of(self, path: Int[np.ndarray, "step"]) -> float:
        """What modes explain of left-out episodes' actions, in nats, by the features of this one's first round."""
        assert self._features_to_judge_by is not None
        modes = torch.nn.functional.one_hot(torch.from_numpy(path)).float()
        actions = Evidence(self._recorded.actions, torch.ones(len(path)))
        steps = _StepEvidence(self._features_to_judge_by, (actions,), (ACTION_FLOOR,))
        scores = steps.scored_across_halves(modes, self._recorded.spans % 2)
        return float(smoothed(scores, self._lengths, _RATE).log_evidence.sum())


@final
@dataclass(frozen=True, eq=False)
class _StepEvidence:
    """What modes predict of single steps, in closed form.

    Attributes:
        features: (step, feature) what predictors are linear in.
        evidences: what they predict, of each kind.
        floors: the least variance of a prediction, of each kind.
        latents: where features and evidence are from; None where only these steps are scored.
    """

    features: Float[Tensor, "step feature"]
    evidences: tuple[Evidence, ...]
    floors: tuple[float, ...]
    latents: SpanLatents | None = None

    @classmethod
    def of(cls, latents: SpanLatents, recorded: Recorded) -> "_StepEvidence":
        """Of every kind that says something of a step, and not of all that is left of a span."""
        kinds = [kind for kind in latents.kinds if kind.says_something_of_a_step]
        evidences = tuple(kind.read(recorded) for kind in kinds)
        return cls(latents.features_of(recorded.states), evidences, tuple(kind.floor for kind in kinds), latents)

    def scored(
        self, responsibilities: Float[Tensor, "step mode"], *, of: Recorded | None = None
    ) -> Float[np.ndarray, "scored mode"]:
        """The log-likelihood of every step (or of others) under modes that learn from all of these, in nats."""
        scored = self
        if of is not None:
            assert self.latents is not None
            scored = _StepEvidence.of(self.latents, of)
        alone = torch.eye(responsibilities.shape[1])[None]
        predictors = [
            mixture.fit_predictors(mixture.step_statistics(self.features, e, responsibilities, floor=floor), alone)
            for e, floor in zip(self.evidences, self.floors, strict=True)
        ]
        return scored.under(predictors)

    def under(self, predictors: Sequence[mixture.Predictors]) -> Float[np.ndarray, "step mode"]:
        """The log-likelihood of every step under predictors of each kind, in nats."""
        each = torch.arange(len(self.features))
        return mixture.log_likelihoods(self.evidences, self.features, each, predictors).double().numpy()

    def scored_across_halves(
        self, responsibilities: Float[Tensor, "step mode"], halves: Int[Tensor, "step"]
    ) -> Float[np.ndarray, "step mode"]:
        """The same under modes that learn from the half that a step is not in."""
        found = [self.scored(responsibilities * (halves != half)[:, None]) for half in range(2)]
        return np.where((halves == 0).numpy()[:, None], found[0], found[1])


def _absorbed(path: Int[np.ndarray, "step"], episode_of_step: Int[np.ndarray, "step"]) -> Int[np.ndarray, "step"]:
    """The modes, where a stretch that is short has the mode of the longer of its neighbours in the episode.

    Short is less than a quarter of the stretch that half of all steps lie in or in longer ones. What an expert does for
    a moment (setting out from rest, say) may look like another's. Once its mode has learned from it, the chain can say
    whether it is.
    """
    stretches = stretches_of(path, episode_of_step)
    first = np.flatnonzero(np.diff(stretches, prepend=-1))
    n_steps, modes = np.bincount(stretches), path[first]
    episodes = episode_of_step[first]
    told = modes.copy()
    typical = np.sort(n_steps[stretches])[len(stretches) // 2]
    for short in np.flatnonzero(n_steps < _SHORT * typical):
        beside = [i for i in (short - 1, short + 1) if 0 <= i < len(modes) and episodes[i] == episodes[short]]
        if beside:
            told[short] = modes[max(beside, key=lambda i: n_steps[i])]
    return told[stretches]


def _parts(spans: Int[np.ndarray, "step"], longest_steps: int) -> Int[np.ndarray, "step"]:
    """Every span in equal parts of about so many steps, a fifth more at the most."""
    lengths = np.bincount(spans)
    n_parts = np.maximum(np.ceil(lengths / longest_steps - 0.2), 1).astype(np.int64)
    within = np.arange(len(spans)) - (np.cumsum(lengths) - lengths)[spans]
    part = np.minimum(within * n_parts[spans] // lengths[spans], n_parts[spans] - 1)
    return (np.cumsum(n_parts) - n_parts)[spans] + part
