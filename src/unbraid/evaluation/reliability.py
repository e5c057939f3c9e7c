"""Does a probability come true? Reliability, expected calibration error, and what is left where the unsure are out."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import DataError
from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos
from unbraid.evaluation.intervals import Estimate, bootstrap_counts
from unbraid.modes.windows import Windows
from unbraid.training.model import ModeModel

__all__ = [
    "N_BINS",
    "Bin",
    "JudgedWindows",
    "RiskCoverage",
    "calibration_error",
    "calibration_error_by_chance",
    "judged_windows",
    "reliability_bins",
    "reliability_entry",
    "risk_coverage",
]

N_BINS = 15
_CHANCES, _BILLIONTHS = 20, 1e9
_SHOWN_PROBABILITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@final
@dataclass(frozen=True)
class Bin:
    """Windows that are about as sure.

    Attributes:
        probability: the mean probability of their likeliest mode.
        right: the share of them for which it is the mode.
        n_windows: how many there are.
    """

    probability: float
    right: float
    n_windows: int


@final
@dataclass(frozen=True)
class RiskCoverage:
    """What is left where windows that are not sure enough get no mode.

    Attributes:
        min_probability: what the likeliest mode must have.
        coverage: the share of windows that get a mode.
        error: the share of those that get a wrong one; None where none gets one.
    """

    min_probability: float
    coverage: float
    error: float | None


@final
@dataclass(frozen=True, eq=False)
class JudgedWindows:
    """Held-out windows of one length, and whether each is right.

    Attributes:
        windows: what was read.
        right_is: what the likeliest mode must be: that of the whole "episode", or the "expert"'s.
        scores: (window, mode) `ModeModel.window_scores`.
        probabilities: (window,) of the likeliest mode.
        right: (window,) whether it is right.
    """

    windows: Windows
    right_is: Literal["episode", "expert"]
    scores: Float[np.ndarray, "window mode"]
    probabilities: Float[np.ndarray, "window"]
    right: Bool[np.ndarray, "window"]


def reliability_bins(
    probabilities: Float[np.ndarray, "window"], right: Bool[np.ndarray, "window"], n_bins: int = N_BINS
) -> tuple[Bin, ...]:
    """Windows by rising probability in bins of equal mass.

    Windows that are equally sure stand for one another: each counts as right as often as all of them are, so that
    their order decides nothing where a bin's edge falls among them.
    """
    parts = _parts_in_bins(probabilities, n_bins)
    sizes, sums = np.rint(parts.sum(0)).astype(int), (probabilities @ parts, right @ parts)
    bins = zip(*sums, sizes.tolist(), strict=True)
    return tuple(Bin(float(p) / n, float(r) / n, n) for p, r, n in bins if n)


def _parts_in_bins(probabilities: Float[np.ndarray, "window"], n_bins: int) -> Float[np.ndarray, "window bin"]:
    """How much of every window lies in each bin; of those that are equally sure, as much in each as of them all."""
    _, group, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), n_bins))
    for number, windows in enumerate(np.array_split(np.argsort(probabilities, kind="stable"), n_bins)):
        counts[:, number] = np.bincount(group[windows], minlength=len(sizes))
    return (counts / sizes[:, None])[group]


def _error_with_interval(
    probabilities: Float[np.ndarray, "window"],
    right: Bool[np.ndarray, "window"],
    episodes: Int[np.ndarray, "window"],
    generator: np.random.Generator,
) -> Estimate:
    """`calibration_error`, with an interval over episodes; the resamples keep the bins."""
    parts = _parts_in_bins(probabilities, N_BINS)
    _, row = np.unique(episodes, return_inverse=True)
    counts = np.zeros((row.max() + 1, N_BINS, 3))
    for column, values in enumerate((np.ones(len(right)), probabilities, right)):
        np.add.at(counts[..., column], row, values[:, None] * parts * _BILLIONTHS)

    def error(sums: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(sums[..., 1] - sums[..., 2]).sum(-1) / sums[..., 0].sum(-1))

    return bootstrap_counts(error, np.rint(counts).astype(np.int64), generator=generator, within=(0.0, 1.0))


def calibration_error(
    probabilities: Float[np.ndarray, "window"], right: Bool[np.ndarray, "window"], n_bins: int = N_BINS
) -> float:
    """The expected calibration error: the mean over windows of |probability - share right| of their bin.

    Source: Naeini et al. 2015 (equal-width bins); bins of equal mass as in Nguyen and O'Connor 2015, arXiv 1508.05154.

    Args:
        probabilities: (window,) of the likeliest mode, in [0, 1].
        right: (window,) whether it is the mode.
        n_bins: bins of equal mass.

    Raises:
        DataError: no windows.
    """
    if not len(probabilities):
        raise DataError("A calibration error needs at least one window; got none. Use shorter windows.")
    bins = reliability_bins(probabilities, right, n_bins)
    return sum(b.n_windows * abs(b.probability - b.right) for b in bins) / len(probabilities)


def calibration_error_by_chance(
    probabilities: Float[np.ndarray, "window"], generator: np.random.Generator, n_bins: int = N_BINS
) -> float:
    """What `calibration_error` is on average where every probability is true, and windows are independent: its floor
    with so few windows."""
    drawn = [generator.random(len(probabilities)) < probabilities for _ in range(_CHANCES)]
    return float(np.mean([calibration_error(probabilities, right, n_bins) for right in drawn]))


def risk_coverage(
    probabilities: Float[np.ndarray, "window"],
    right: Bool[np.ndarray, "window"],
    min_probabilities: Float[np.ndarray, "threshold"],
) -> tuple[RiskCoverage, ...]:
    """Coverage and error for each least probability.

    Source: El-Yaniv and Wiener 2010 (the risk-coverage curve of a selective classifier).
    """
    found: list[RiskCoverage] = []
    for least in min_probabilities.tolist():
        answered = probabilities >= least
        error = 1 - float(right[answered].mean()) if answered.any() else None
        found.append(RiskCoverage(least, float(answered.mean()), error))
    return tuple(found)


def judged_windows(
    model: ModeModel,
    held_out: Demos,
    *,
    window_lengths: tuple[int, ...],
    expert_of_mode: Int[np.ndarray, "mode"] | None,
) -> Iterator[JudgedWindows]:
    """Reads held-out windows of each length once, and judges the likeliest mode of each by every truth there is.

    A window's mode is right where it is that of its whole episode, as the model reads it; and, where there are
    experts, where it is matched with the expert.

    Args:
        model: of any method.
        held_out: episodes that no training saw.
        window_lengths: in steps; those that no episode has are left out.
        expert_of_mode: (mode,) the label that each is matched with on training episodes, -1 for none; None where
            labels are not to be read.
    """
    whole = model.predict(held_out)
    for window_steps in window_lengths:
        if window_steps > int(held_out.lengths.max(initial=0)):
            continue
        windows = model.cut(held_out, window_steps)
        scores = model.window_scores(held_out, windows)
        probabilities = model.calibrated(scores, windows)
        modes, sure = probabilities.argmax(1), probabilities.max(1)
        yield JudgedWindows(windows, "episode", scores, sure, modes == whole[windows.episodes])
        if expert_of_mode is not None and held_out.labels is not None:
            right = expert_of_mode[modes] == held_out.labels[windows.episodes]
            yield JudgedWindows(windows, "expert", scores, sure, right)


def reliability_entry(judged: JudgedWindows, *, seed: int) -> dict[str, Any]:
    """How often windows are right that are so and so sure, as a JSON object.

    Args:
        judged: windows of one length.
        seed: of the bootstrap over episodes.
    """
    sure, right, generator = judged.probabilities, judged.right, named_generator(seed, "bootstrap")
    entry: dict[str, Any] = {"window_steps": int(judged.windows.lengths[0]), "right_is": judged.right_is}
    entry["n_windows"] = len(sure)
    entry["calibration_error"] = _error_with_interval(sure, right, judged.windows.episodes, generator).to_json()
    entry["by_chance"] = calibration_error_by_chance(sure, generator)
    entry["bins"] = [asdict(b) for b in reliability_bins(sure, right)]
    points = risk_coverage(sure, right, np.array(_SHOWN_PROBABILITIES))
    entry["risk_coverage"] = [asdict(point) | _risk_intervals(judged, point, generator) for point in points]
    return entry


def _risk_intervals(judged: JudgedWindows, point: RiskCoverage, generator: np.random.Generator) -> dict[str, Any]:
    """The same two shares with intervals over episodes, as JSON; None where no window gets a mode."""
    _, row = np.unique(judged.windows.episodes, return_inverse=True)
    answered = judged.probabilities >= point.min_probability
    # (episode, [windows without a mode, wrong, right])
    counts = np.zeros((row.max() + 1, 3), dtype=np.int64)
    np.add.at(counts, (row, np.where(answered, 1 + judged.right, 0)), 1)

    def share(counts: Int[np.ndarray, "episode kind"], of: slice) -> dict[str, Any]:
        return bootstrap_counts(
            lambda sums: sums[..., of].sum(-1) / sums.sum(-1), counts, generator=generator, within=(0.0, 1.0)
        ).to_json()

    coverage, error = share(counts, slice(1, 3)), share(counts[:, 1:], slice(0, 1)) if answered.any() else None
    return {"coverage_estimate": coverage, "error_estimate": error}
