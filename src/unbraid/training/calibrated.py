"""A learner and its twin: the twin sees four fifths of the demonstrations, and the others tell how sure it may be."""

import copy
from dataclasses import replace
from typing import final, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.randomness import named_generator
from unbraid.modes.calibration import CALIBRATED_LENGTHS, Calibration, LeftOut, fitted_temperatures
from unbraid.modes.stretches import some_within
from unbraid.modes.windows import cut_windows, joined_windows
from unbraid.training.config import UnbraidConfig
from unbraid.training.joint import MOST_READ_STEPS, Given, UnbraidLearner
from unbraid.training.model import ModeModel
from unbraid.training.networks import Evidence, ModeNetworks
from unbraid.training.ranks import ONE_RANK, Ranks
from unbraid.training.steps import Steps

__all__ = ["FEWEST_SPANS", "LEFT_OUT", "MANY_STEPS", "CalibratedLearner"]

LEFT_OUT = 0.2
FEWEST_SPANS = 4
MANY_STEPS = 50_000
"""From so many recorded steps on, the twin takes every other step: it has little to learn by heart."""
_SMALLEST_BATCH, _MOST_WINDOWS = 128, 20_000


@final
class CalibratedLearner:
    """unbraid's learner, and beside it a smaller one that calibrates it. The first is what it would be without.

    The twin fits encoder, codebook and policy to the modes that the first has found, on all spans but a fifth, with a
    quarter of the policy's batch (its temperatures serve a full one: docs/experiments.md). What it says of the windows
    of the fifth, held against the mode of the whole span, gives the temperatures.
    """

    def __init__(self, steps: Steps, config: UnbraidConfig, device: str = "cpu", *, ranks: Ranks = ONE_RANK) -> None:
        """Searches for modes, and draws the initial weights of both.

        Raises:
            ConfigError: more modes than spans.
        """
        self.first = UnbraidLearner(steps, config, device, ranks=ranks)
        self._pace = 2 if steps.n_steps >= MANY_STEPS else 1
        left_out = _left_out(self.first.responsibilities.argmax(1).numpy(), config.seed)
        self.twin: UnbraidLearner | None = None
        if left_out.any() and self.first.model.n_modes > 1:
            self._left_out = torch.from_numpy(np.flatnonzero(left_out))
            self.twin = self._twin(torch.from_numpy(np.flatnonzero(~left_out)), device)

    def _twin(self, seen: Int[Tensor, "span"], device: str) -> UnbraidLearner:
        first = self.first
        assert first.config.policy_batch != "auto"
        batch = max(first.config.policy_batch // 4, min(first.config.policy_batch, _SMALLEST_BATCH))
        config = replace(first.config, policy_batch=batch, n_steps=-(-first.n_steps // self._pace))
        part = first.steps.of_stretches(first.spans, seen)
        given = Given(part.episodes, first.responsibilities[seen], copy.deepcopy(first.model.observation_normaliser))
        return UnbraidLearner(part, config, device, given=given, one_thread=True, ranks=first.ranks)

    @property
    def n_steps(self) -> int:
        """Gradient steps that were asked for."""
        return self.first.n_steps

    @property
    def taken(self) -> int:
        """Gradient steps taken so far."""
        return self.first.taken

    @property
    def samples_per_step(self) -> int:
        """Recorded steps that one gradient step of the first learns from."""
        return self.first.samples_per_step

    def step(self) -> dict[str, Tensor]:
        """One gradient step of both; the terms are those of the first."""
        due = self.twin is not None and self.first.taken % self._pace == 0
        return self.first.step(self.twin.step if self.twin is not None and due else None)

    def usage(self) -> Float[Tensor, "mode"]:
        """The share of the steps in each code, by responsibility."""
        return self.first.usage()

    def finished(self) -> ModeModel:
        """The model as it stands, calibrated where there was something to leave out."""
        self.first.settle()
        model = self.first.finished()
        if self.twin is not None:
            generator = named_generator(self.first.config.seed, "unbraid", "calibrated on")
            some = some_within(self.first.spans.lengths[self._left_out].numpy(), MOST_READ_STEPS, generator)
            chosen = self._left_out[torch.from_numpy(some)]
            left_out = self.first.steps.of_stretches(self.first.spans, chosen)
            modes = self.first.responsibilities[chosen].argmax(1).numpy()
            model.calibration = _calibration(self.twin.model, left_out, modes)
        return model

    # What an exact resume needs (see checkpoint.py)

    def _both(self) -> dict[str, UnbraidLearner]:
        self.first.settle()
        return {"": self.first} | ({} if self.twin is None else {"twin_": self.twin})

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights."""
        return {f"{which}{name}": m for which, own in self._both().items() for name, m in own.modules().items()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser for each of the two."""
        return {f"{which}{name}": o for which, own in self._both().items() for name, o in own.optimizers().items()}

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's."""
        return {f"{which}{name}": t for which, own in self._both().items() for name, t in own.tensors().items()}

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, and the number of steps taken."""
        for which, own in self._both().items():
            of_own = taken if own is self.first else -(-taken // self._pace)
            own.restore({name: tensors[f"{which}{name}"] for name in own.tensors()}, of_own)


def _left_out(modes: Int[np.ndarray, "span"], seed: int) -> Bool[np.ndarray, "span"]:
    """A fifth of the spans of each mode; of a mode with fewer than four, none: it has none to spare."""
    draws = named_generator(seed, "unbraid", "left out")
    left_out = np.zeros(len(modes), dtype=bool)
    for mode in np.unique(modes):
        own = draws.permutation(np.flatnonzero(modes == mode))
        if len(own) >= FEWEST_SPANS:
            left_out[own[: max(round(LEFT_OUT * len(own)), 1)]] = True
    return left_out


def _calibration(networks: ModeNetworks, left_out: Steps, modes: Int[np.ndarray, "span"]) -> Calibration:
    """The temperatures of every kind of evidence."""
    lengths = [n for n in CALIBRATED_LENGTHS if n <= max(int(left_out.lengths.max()), 1)]
    windows = [cut_windows(left_out.lengths, n, stride_steps=_stride(left_out.lengths, n)) for n in lengths]
    kinds: tuple[Evidence, ...] = get_args(Evidence)
    together = networks.scores_of_windows(left_out, joined_windows(windows), kinds)
    ends = np.cumsum([len(own) for own in windows])[:-1]
    temperatures: dict[str, tuple[float, ...]] = {}
    for kind, scores in together.items():
        of_lengths = zip(windows, np.split(scores, ends), strict=True)
        seen = [LeftOut(read, modes[own.episodes], len(np.unique(own.episodes))) for own, read in of_lengths]
        temperatures[kind] = tuple(fitted_temperatures(seen).round(4).tolist())
    return Calibration(tuple(lengths), temperatures, left_out.n_episodes)


def _stride(lengths: Int[np.ndarray, "span"], window_steps: int) -> int:
    """Such that there are at most so many windows, and at least two to a window's length where that is long."""
    return max(5, window_steps // 4, int(lengths.sum()) // _MOST_WINDOWS)
