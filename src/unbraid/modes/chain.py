"""A sticky Markov chain over modes: where within an episode the mode changes, given what each step says of each mode.

The mode of the first step is any; from one step to the next it stays, or with the switch rate rho goes to one of the
others, all alike. The rate is estimated, not fixed.

Source: Rabiner 1989 (Proceedings of the IEEE 77), sections III.A to III.C: forward-backward, Viterbi, Baum-Welch.
Departs: one rate for all modes, so that few changes suffice to estimate it; scaled sums in float64.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

__all__ = [
    "Smoothed",
    "best_path",
    "bounded",
    "constant_log_evidence",
    "estimated_rate",
    "filtered",
    "log_evidence",
    "next_log_belief",
    "smoothed",
]

_LEAST_RATE, _MOST_RATE = 1e-12, 0.5
_MOST_NATS = 4.0
"""What one step may say against a mode, beside the best one: a single odd step is no change."""
_FIRST_RATE, _ROUNDS, _CLOSE, _NO_CHANGE = 0.01, 60, 1e-3, 1e-2


@final
@dataclass(frozen=True, eq=False)
class Smoothed:
    """What the chain says of every step, given the whole of its episode.

    Attributes:
        probabilities: (step, mode) p(mode of the step | the episode); rows sum to 1.
        stays: (step, mode) p(this step and the one before are both in the mode | the episode); at an episode's first
            step, p(mode).
        log_evidence: (episode,) log p(what was seen), in nats; 0 for an episode without steps.
    """

    probabilities: Float[np.ndarray, "step mode"]
    stays: Float[np.ndarray, "step mode"]
    log_evidence: Float[np.ndarray, "episode"]

    @property
    def changes(self) -> Float[np.ndarray, "step"]:
        """p(the mode of a step is not that of the step before | the episode); 0 at an episode's first step."""
        return (1 - self.stays.sum(1)).clip(0, 1)

    def constant(self, first: int, last: int) -> float:
        """p(the mode is the same from step `first` to step `last` of one episode | the episode); flat indices."""
        going_on = self.stays[first + 1 : last + 1] / self.probabilities[first:last].clip(1e-300)
        return float((self.probabilities[first] * going_on.prod(0)).sum())


def bounded(log_likelihoods: Float[np.ndarray, "*step mode"]) -> Float[np.ndarray, "*step mode"]:
    """Beside each step's best mode, and no mode by more than 4 nats below it."""
    return np.maximum(log_likelihoods - np.maximum.reduce(log_likelihoods, axis=-1, keepdims=True), -_MOST_NATS)


def smoothed(
    log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"], switch_rate: float
) -> Smoothed:
    """Forward-backward over every episode, all episodes side by side.

    Args:
        log_likelihoods: what each step says of each mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
        switch_rate: rho, the probability that a step changes the mode, in [0, 1).
    """
    packed = _Packed(lengths)
    n_modes = log_likelihoods.shape[1]
    seen, most = _likelihoods(log_likelihoods)
    stay, move = _moves(n_modes, switch_rate)
    forward, scales = _forward(packed, seen, switch_rate)
    probabilities, stays = forward.copy(), np.empty_like(seen)
    behind = np.ones((packed.n_episodes, n_modes))  # p(what comes after | mode), up to a factor
    for t in range(packed.longest - 1, 0, -1):
        rows = packed.rows_at(t)
        weighted = behind[: len(rows)] * seen[rows]
        before, after = forward[rows - 1], stay * weighted + move * weighted.sum(1, keepdims=True)
        both = before * after
        stays[rows] = (stay + move) * before * weighted / both.sum(1, keepdims=True)
        behind[: len(rows)] = after / after.max(1, keepdims=True)
        probabilities[rows - 1] = both
    probabilities /= probabilities.sum(1, keepdims=True)
    stays[packed.rows_at(0)] = probabilities[packed.rows_at(0)]
    return Smoothed(probabilities, stays, packed.sums(np.log(scales) + most))


def log_evidence(
    log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"], switch_rate: float
) -> Float[np.ndarray, "episode"]:
    """log p(what was seen) of every episode, in nats, summed over all sequences of modes; 0 for one of no steps.

    No step is bounded, as it is by `smoothed`: what is asked for is a likelihood, and not who acted.

    Args:
        log_likelihoods: of every step under every mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
        switch_rate: rho, the probability that a step changes the mode, in (0, 1).
    """
    packed, most = _Packed(lengths), log_likelihoods.max(1).astype(np.float64)
    _, scales = _forward(packed, np.exp(log_likelihoods - most[:, None]), switch_rate)
    return packed.sums(np.log(scales) + most)


def constant_log_evidence(
    log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"]
) -> Float[np.ndarray, "episode"]:
    """log p(what was seen) of every episode where its mode never changes, in nats: `smoothed`'s at a rate of 0."""
    seen = bounded(log_likelihoods) + log_likelihoods.max(1, keepdims=True)
    sums = _Packed(lengths).sums(seen)
    most = sums.max(1, keepdims=True)
    return (most + np.log(np.exp(sums - most).mean(1, keepdims=True)))[:, 0]


def best_path(
    log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"], switch_rate: float
) -> Int[np.ndarray, "step"]:
    """The likeliest sequence of modes of every episode (Viterbi); of two alike, the one that stays.

    Args:
        log_likelihoods: what each step says of each mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
        switch_rate: rho, the probability that a step changes the mode, in [0, 1).
    """
    packed, seen = _Packed(lengths), bounded(log_likelihoods)
    n_modes = log_likelihoods.shape[1]
    stay, move = _moves(n_modes, max(switch_rate, 1e-300))
    log_stay, log_move = math.log(stay + move), math.log(move) if n_modes > 1 else -math.inf
    came_from = np.empty((len(log_likelihoods), n_modes), dtype=np.int64)
    own = np.arange(n_modes)
    best = np.zeros((packed.n_episodes, n_modes))
    path = np.empty(len(log_likelihoods), dtype=np.int64)
    for t in range(packed.longest):
        rows = packed.rows_at(t)
        if t:
            before = best[: len(rows)]
            likeliest = before.argmax(1)[:, None]
            moved = np.take_along_axis(before, likeliest, axis=1) + log_move
            stays = before + log_stay >= moved
            came_from[rows] = np.where(stays, own, likeliest)
            best[: len(rows)] = np.where(stays, before + log_stay, moved)
        best[: len(rows)] += seen[rows]
    last = best.argmax(1)
    for t in range(packed.longest - 1, -1, -1):
        rows = packed.rows_at(t)
        path[rows] = last[: len(rows)]
        if t:
            last[: len(rows)] = came_from[rows, last[: len(rows)]]
    return path


def filtered(
    log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"], switch_rate: float
) -> Float[np.ndarray, "step mode"]:
    """p(mode of the step | the episode up to it): what can be known while it goes on.

    Args:
        log_likelihoods: what each step says of each mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
        switch_rate: rho, the probability that a step changes the mode, in [0, 1).
    """
    packed, seen = _Packed(lengths), bounded(log_likelihoods)
    found = np.empty(log_likelihoods.shape)
    belief: Float[np.ndarray, "episode mode"] | None = None
    for t in range(packed.longest):
        rows = packed.rows_at(t)
        before = None if belief is None else belief[: len(rows)]
        belief = next_log_belief(before, seen[rows], switch_rate)
        found[rows] = np.exp(belief)
    return found


def next_log_belief(
    belief: Float[np.ndarray, "*episode mode"] | None,
    log_likelihoods: Float[np.ndarray, "*episode mode"],
    switch_rate: float,
) -> Float[np.ndarray, "*episode mode"]:
    """One step of `filtered`, in logarithms.

    Args:
        belief: log p(mode of the step before | all up to it); None before the first step.
        log_likelihoods: what this step says of each mode, in nats, bounded.
        switch_rate: rho, the probability that a step changes the mode, in [0, 1).
    """
    now = log_likelihoods
    if belief is not None and switch_rate > 0:
        stay, move = _moves(now.shape[-1], switch_rate)
        now = now + np.log(stay * np.exp(belief) + move)
    elif belief is not None:
        now = now + belief
    return now - np.logaddexp.reduce(now, axis=-1, keepdims=True)


def estimated_rate(log_likelihoods: Float[np.ndarray, "step mode"], lengths: Int[np.ndarray, "episode"]) -> float:
    """The switch rate under which the episodes are likeliest, by Baum-Welch; at least 1e-12, at most a half.

    Args:
        log_likelihoods: what each step says of each mode, in nats.
        lengths: (episode,) the steps of each, which lie end to end.
    """
    n_chances = int(np.maximum(lengths - 1, 0).sum())
    if n_chances == 0 or log_likelihoods.shape[1] == 1:
        return _LEAST_RATE
    rate = _FIRST_RATE
    for _ in range(_ROUNDS):
        found = float(smoothed(log_likelihoods, lengths, rate).changes.sum()) / n_chances
        if found * n_chances < _NO_CHANGE:
            return _LEAST_RATE
        found = min(found, _MOST_RATE)
        if abs(math.log(found / rate)) < _CLOSE:
            return found
        rate = found
    return rate


def _moves(n_modes: int, switch_rate: float) -> tuple[float, float]:
    """(stay, move): a transition matrix is stay on its diagonal, and move everywhere."""
    if n_modes == 1:
        return 1.0, 0.0
    move = switch_rate / (n_modes - 1)
    return 1 - switch_rate - move, move


def _likelihoods(
    log_likelihoods: Float[np.ndarray, "step mode"],
) -> tuple[Float[np.ndarray, "step mode"], Float[np.ndarray, "step"]]:
    """Likelihoods in units of each step's largest, none less than exp(-4), and the logarithm of the largest."""
    most = log_likelihoods.max(1).astype(np.float64)
    return np.exp(bounded(log_likelihoods)), most


def _forward(
    packed: "_Packed", seen: Float[np.ndarray, "step mode"], switch_rate: float
) -> tuple[Float[np.ndarray, "step mode"], Float[np.ndarray, "step"]]:
    """p(mode of a step | all up to it), and p(the step | all before it), in the units of `seen`, its likelihoods."""
    n_modes = seen.shape[1]
    stay, move = _moves(n_modes, switch_rate)
    forward, scales = np.empty_like(seen), np.empty(len(seen))
    belief = np.full((packed.n_episodes, n_modes), 1 / n_modes)
    for t in range(packed.longest):
        rows = packed.rows_at(t)
        before = belief[: len(rows)]
        expected = before if t == 0 else stay * before + move * before.sum(1, keepdims=True)
        belief = expected * seen[rows]
        scale = belief.sum(1, keepdims=True)
        belief /= scale
        forward[rows], scales[rows] = belief, scale[:, 0]
    return forward, scales


@final
class _Packed:
    """Episodes side by side, the longest first, so that those that still go on at a time are the first ones."""

    def __init__(self, lengths: Int[np.ndarray, "episode"]) -> None:
        self.n_episodes, self.longest = len(lengths), int(lengths.max(initial=0))
        self._lengths = lengths
        ends = np.cumsum(lengths)
        order = np.argsort(-lengths, kind="stable")
        self._first = (ends - lengths)[order]
        self._n_going_on = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(self.longest), side="right")

    def rows_at(self, t: int) -> Int[np.ndarray, "going_on"]:
        """The flat index of step t of every episode that has one."""
        return self._first[: self._n_going_on[t]] + t if t < self.longest else self._first[:0]

    def sums(self, values: Float[np.ndarray, "step *value"]) -> Float[np.ndarray, "episode *value"]:
        """The sum over each episode."""
        totals = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
        ends = np.cumsum(self._lengths)
        return totals[ends] - totals[ends - self._lengths]
