"""How well modes agree with the experts: scores of a contingency table, with intervals over episodes.

A contingency table is (label, mode): how many windows (or steps, or episodes) of each expert lie in each mode. Every
score takes any number of leading axes, so that thousands of resampled tables are scored in one call.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import ArrayLike
from scipy.special import entr, rel_entr

from unbraid.core.errors import DataError
from unbraid.core.randomness import require_generator
from unbraid.evaluation.intervals import Estimate, bootstrap_counts, bootstrap_several

__all__ = [
    "Agreement",
    "accuracy",
    "agreement",
    "ari",
    "confusion_estimates",
    "confusion_percent",
    "contingency_by_episode",
    "match_modes",
    "nmi",
    "purity",
    "stability",
]


def contingency_by_episode(
    labels: Int[np.ndarray, "window"],
    modes: Int[np.ndarray, "window"],
    episode_of_row: Int[np.ndarray, "window"],
    *,
    n_labels: int,
    n_modes: int,
) -> Int[np.ndarray, "episode label mode"]:
    """(episode, label, mode) how often each pair occurs in each episode that has windows, in the episodes' order.

    Raises:
        DataError: the three differ in length, or labels or modes lie outside [0, n).
    """
    if not len(labels) == len(modes) == len(episode_of_row):
        raise DataError(
            "Labels, modes and episodes must have one entry per window; got "
            f"{len(labels)}, {len(modes)} and {len(episode_of_row)}. Cut all three from the same windows."
        )
    for what, values, n in (("labels", labels, n_labels), ("modes", modes, n_modes)):
        if len(values) and not 0 <= values.min() <= values.max() < n:
            raise DataError(
                f"The {what} must lie in [0, {n}); got {values.min()} to {values.max()}. Leave out windows without one."
            )
    episodes, index = np.unique(episode_of_row, return_inverse=True)
    cell = (index * n_labels + labels) * n_modes + modes
    counts = np.bincount(cell, minlength=len(episodes) * n_labels * n_modes)
    return counts.reshape(len(episodes), n_labels, n_modes)


def nmi(contingency: Real[np.ndarray, "*batch label mode"]) -> Float[np.ndarray, "*batch"]:
    """Normalised mutual information of labels and modes, in [0, 1]; 1 where either names the other.

    Normalised by the arithmetic mean of the two entropies. One mode for several labels (or the other way round)
    scores 0; one mode for one label scores 1, scikit-learn's convention.

    Source: Strehl & Ghosh 2002; scikit-learn's `normalized_mutual_info_score`.
    """
    joint = contingency / _totals(contingency)[..., None, None]
    of_label, of_mode = joint.sum(-1), joint.sum(-2)
    information = rel_entr(joint, of_label[..., :, None] * of_mode[..., None, :]).sum((-2, -1))
    entropy = (entr(of_label).sum(-1) + entr(of_mode).sum(-1)) / 2
    share = np.divide(information, entropy, out=np.ones(entropy.shape), where=entropy > 0)
    return np.asarray(np.clip(share, 0.0, 1.0))


def ari(contingency: Real[np.ndarray, "*batch label mode"]) -> Float[np.ndarray, "*batch"]:
    """Adjusted Rand index: agreement over pairs of windows, 0 on average by chance, 1 at best, -0.5 at worst.

    Source: Hubert & Arabie 1985, equation 5; scikit-learn's `adjusted_rand_score`.
    """
    together = _pairs(contingency).sum((-2, -1))
    of_label, of_mode = _pairs(contingency.sum(-1)).sum(-1), _pairs(contingency.sum(-2)).sum(-1)
    all_pairs = np.maximum(_pairs(_totals(contingency)), 1.0)
    by_chance = of_label * (of_mode / all_pairs)
    room = np.asarray((of_label + of_mode) / 2 - by_chance)
    return np.divide(together - by_chance, room, out=np.ones(room.shape), where=room > 0)


def purity(contingency: Real[np.ndarray, "*batch label mode"]) -> Float[np.ndarray, "*batch"]:
    """The share of windows that belong to the commonest label of their mode, in (0, 1].

    Grows with the number of modes: compare it at the same number only.

    Source: Manning, Raghavan & Schütze 2008, equation 16.1.
    """
    return np.asarray(contingency.max(-2).sum(-1) / _totals(contingency))


def accuracy(contingency: Real[np.ndarray, "*batch label mode"]) -> Float[np.ndarray, "*batch"]:
    """The share of windows in the mode matched to their label, under the best one-to-one matching.

    Modes left over when there are more modes than labels (or labels, when there are more of them) count as wrong.

    Source: Kuhn 1955 (Hungarian method); Xie et al. 2016, arXiv 1511.06335, equation 10.
    """
    from scipy.optimize import linear_sum_assignment

    totals = _totals(contingency)
    tables = contingency.reshape(-1, *contingency.shape[-2:])
    matched = [table[linear_sum_assignment(table, maximize=True)].sum() for table in tables]
    return np.asarray(np.asarray(matched, dtype=np.float64).reshape(totals.shape) / totals)


def match_modes(contingency: Real[np.ndarray, "label mode"]) -> Int[np.ndarray, "mode"]:
    """(mode,) the label that each mode is matched with one to one, so that the most windows agree.

    -1 where a mode has none: there are more modes than labels, or it shares no window with the label left to it.

    Source: Kuhn 1955 (Hungarian method).
    """
    from scipy.optimize import linear_sum_assignment

    labels, modes = linear_sum_assignment(contingency, maximize=True)
    shares_windows = contingency[labels, modes] > 0
    matching = np.full(contingency.shape[1], -1, dtype=np.int64)
    matching[modes[shares_windows]] = labels[shares_windows]
    return matching


def confusion_percent(contingency: Real[np.ndarray, "label mode"]) -> Float[np.ndarray, "label mode"]:
    """(label, mode) the percentage of each label's windows that lie in each mode: the talk's confusion table.

    Rows sum to 100; a label without windows has a row of zeros.
    """
    totals = contingency.sum(1, keepdims=True)
    return 100 * contingency / np.maximum(totals, 1)


def confusion_estimates(
    by_episode: Int[np.ndarray, "episode label mode"], *, generator: np.random.Generator, n_resamples: int = 2000
) -> list[list[Estimate]]:
    """`confusion_percent` with intervals: (label, mode) estimates in percent, each over the label's own episodes.

    A label of fewer than 5 episodes has no intervals; one without windows has zeros, and n = 0.

    Args:
        by_episode: the contingency table of every episode, as `contingency_by_episode` gives it.
        generator: draws the bootstrap's resamples; the same ones for all cells of a label.
        n_resamples: of the bootstrap.
    """
    seed = int(generator.integers(2**63))
    _, n_labels, n_modes = by_episode.shape
    rows: list[list[Estimate]] = []
    for label in range(n_labels):
        counts = by_episode[:, label]
        if not counts.any():
            rows.append([Estimate(0.0, None, None, 0, "episodes")] * n_modes)
            continue
        shares = [partial(_percent_in, mode) for mode in range(n_modes)]
        rows.append(
            bootstrap_several(
                [(share, (0.0, 100.0)) for share in shares],
                counts,
                generator=np.random.default_rng(seed),
                n_resamples=n_resamples,
            )
        )
    return rows


def _percent_in(mode: int, tables: Int[np.ndarray, "*batch mode"]) -> Float[np.ndarray, "*batch"]:
    """Of a label's windows, those in a mode."""
    return np.asarray(100 * tables[..., mode] / tables.sum(-1))


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well modes agree with labels, every interval a bootstrap over episodes.

    Fewer than 5 episodes give none: their resamples are too few of a kind. Nor do NMI and ARI have one where there is
    a single mode or a single label: they are then 0 (or 1) by definition, whatever the episodes.

    Attributes:
        nmi: normalised mutual information, in [0, 1].
        ari: adjusted Rand index, in [-0.5, 1].
        purity: in (0, 1].
        accuracy: after Hungarian matching, in [0, 1].
        by_episode: (episode, label, mode) how many windows of each episode that has any.
    """

    nmi: Estimate
    ari: Estimate
    purity: Estimate
    accuracy: Estimate
    by_episode: Int[np.ndarray, "episode label mode"]

    @property
    def contingency(self) -> Int[np.ndarray, "label mode"]:
        """(label, mode) how many windows."""
        return self.by_episode.sum(0)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        scores = {name: getattr(self, name).to_json() for name in _SCORES}
        return {**scores, "contingency": self.contingency.tolist()}


def agreement(
    labels: ArrayLike,
    modes: ArrayLike,
    episode_of_row: ArrayLike,
    *,
    generator: np.random.Generator,
    n_labels: int | None = None,
    n_modes: int | None = None,
    n_resamples: int = 2000,
) -> Agreement:
    """Scores modes against labels.

    Args:
        labels: (window,) who acted, from 0; windows, steps or episodes alike.
        modes: (window,) the mode that each was given, from 0.
        episode_of_row: (window,) the episode that each belongs to; `np.arange` where rows are episodes.
        generator: draws the bootstrap's resamples; the same ones for each of the four scores.
        n_labels, n_modes: how many there are; None reads them off the largest that occurs.
        n_resamples: of the bootstrap.

    Raises:
        DataError: no windows, arrays of different lengths, or labels or modes outside their range.
        ConfigError: what draws the resamples is no generator.
    """
    require_generator(generator)
    labels, modes = _whole_numbers("labels", labels), _whole_numbers("modes", modes)
    episode_of_row = _whole_numbers("episodes", episode_of_row)
    if not len(labels):
        raise DataError("An agreement needs at least one window; got none. Use shorter windows, or longer episodes.")
    counts = contingency_by_episode(
        labels,
        modes,
        episode_of_row,
        n_labels=int(labels.max()) + 1 if n_labels is None else n_labels,
        n_modes=int(modes.max()) + 1 if n_modes is None else n_modes,
    )
    seed = int(generator.integers(2**63))
    found = bootstrap_several(
        [(score, (lowest, 1.0)) for score, lowest in _SCORES.values()],
        counts,
        generator=np.random.default_rng(seed),
        n_resamples=n_resamples,
    )
    scores = dict(zip(_SCORES, found, strict=True))
    if min(int(np.count_nonzero(counts.sum(axes))) for axes in ((0, 1), (0, 2))) == 1:
        scores |= {name: replace(scores[name], low=None, high=None) for name in ("nmi", "ari")}
    return Agreement(**scores, by_episode=counts)


def stability(
    modes_of_fits: Sequence[ArrayLike],
    episode_of_row: ArrayLike,
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
) -> Estimate:
    """How alike several fits read the same windows: the mean adjusted Rand index over all pairs of fits; no labels.

    Near 1: the modes do not depend on the seed of the fit. Near 0: trust none of them. Fewer than 5 episodes give no
    interval.

    Source: von Luxburg 2010, arXiv 1007.1075 (stability of a clustering over runs).

    Args:
        modes_of_fits: of every fit, (window,) the mode of each window; numbers and counts of modes may differ.
        episode_of_row: (window,) the episode that each belongs to; `np.arange` where rows are episodes.
        generator: draws the bootstrap's resamples of episodes.
        n_resamples: of the bootstrap.

    Raises:
        DataError: fewer than two fits, no windows, or fits that read different windows.
        ConfigError: what draws the resamples is no generator.
    """
    require_generator(generator)
    if not isinstance(modes_of_fits, Sequence | np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DataError(f"Modes must come in a list, those of each fit; got {modes_of_fits!r:.60}. Write [first, ...].")
    if len(modes_of_fits) < 2:
        raise DataError(f"A stability needs at least two fits; got {len(modes_of_fits)}. Fit again with another seed.")
    fits = [_whole_numbers("modes", modes) for modes in modes_of_fits]
    episodes = _whole_numbers("episodes", episode_of_row)
    n_modes = max(int(modes.max(initial=-1)) + 1 for modes in fits)
    pairs = [
        contingency_by_episode(first, second, episodes, n_labels=n_modes, n_modes=n_modes)
        for first, second in itertools.combinations(fits, 2)
    ]
    return bootstrap_counts(
        lambda tables: ari(tables).mean(-1),
        np.stack(pairs, axis=1),
        generator=generator,
        n_resamples=n_resamples,
        within=(-0.5, 1.0),
    )


def _whole_numbers(what: str, values: ArrayLike) -> Int[np.ndarray, "window"]:
    """An array of what may be a list."""
    numbers = np.asarray(values)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iub" and len(numbers)):
        raise DataError(
            f"The {what} must be one whole number for each window; got shape {numbers.shape} of {numbers.dtype}. Give "
            "what `ModeModel.predict` gives, say, or a list of such numbers."
        )
    return numbers.astype(np.int64)


_SCORES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "nmi": (nmi, 0.0),
    "ari": (ari, -0.5),
    "purity": (purity, 0.0),
    "accuracy": (accuracy, 0.0),
}


def _totals(contingency: Real[np.ndarray, "*batch label mode"]) -> Float[np.ndarray, "*batch"]:
    """How many windows each table holds."""
    totals = np.asarray(contingency.sum((-2, -1)), dtype=np.float64)
    if (totals <= 0).any():
        raise DataError("A contingency table must hold at least one window; one is empty. Use shorter windows.")
    return totals


def _pairs(counts: Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The number of pairs among each count."""
    counts = np.asarray(counts, dtype=np.float64)
    return np.asarray(counts * (counts - 1) / 2)
