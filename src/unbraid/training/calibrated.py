"""A learner and its twin: the twin sees four fifths of the demonstrations, and the others tell how sure it may be, and
whether the policy has more to learn."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, final, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.randomness import named_generator, named_seed
from unbraid.core.side_by_side import SideBySide
from unbraid.modes.calibration import CALIBRATED_LENGTHS, Calibration, LeftOut, fitted_temperatures
from unbraid.modes.stretches import some_within
from unbraid.modes.windows import cut_windows, joined_windows
from unbraid.policy.gaussian import ActionPolicy
from unbraid.training.config import UnbraidConfig
from unbraid.training.given import Given
from unbraid.training.heads import FEWEST_STEPS, HeadTrial, tried_heads
from unbraid.training.joint import MOST_READ_STEPS, UnbraidLearner
from unbraid.training.model import ModeModel
from unbraid.training.networks import Evidence, ModeNetworks
from unbraid.training.order import IN_ORDER, OrderTrial, in_order, tried_in_order
from unbraid.training.policy_losses import Batch, PolicyLoss
from unbraid.training.ranks import ONE_RANK, Ranks
from unbraid.training.reading import MOST_HELD_STEPS
from unbraid.training.refining import PolicyRefiner, held_out_error
from unbraid.training.steps import Steps

__all__ = ["FEWEST_SPANS", "LEFT_OUT", "MANY_STEPS", "CalibratedLearner"]

LEFT_OUT = 0.2
FEWEST_SPANS = 4
MANY_STEPS = 50_000
"""From so many recorded steps on, the twin takes every other step: it has little to learn by heart."""
PILOT_STEPS, LEAST_GAIN = 300, 0.05
"""Refining pays where so many gradient steps of it, or a fifth of the joint fit's where that has few, take a twentieth
off the twin's error on what was left out."""
REFINE_STEPS_PER_STEP, REFINE_BATCH = 4, 512
_SMALLEST_BATCH, _MOST_WINDOWS = 128, 20_000
_LOSSES: tuple[PolicyLoss, ...] = get_args(PolicyLoss)


@final
class CalibratedLearner:
    """unbraid's learner, and beside it a smaller one that calibrates it. The first is what it would be without.

    The twin fits encoder, codebook and policy to the modes that the first has found, on all spans but a fifth, with a
    quarter of the policy's batch (its temperatures serve a full one: docs/experiments.md). What it says of the windows
    of the fifth, held against the mode of the whole span, gives the temperatures.

    After that, both may go on with their policies alone (`training.refining`): for as long as was asked, or where a
    short pilot on the twin says that it pays.
    """

    def __init__(
        self,
        steps: Steps,
        config: UnbraidConfig,
        device: str = "cpu",
        *,
        given: Given | None = None,
        ranks: Ranks = ONE_RANK,
    ) -> None:
        """Searches for modes, unless they are given, and draws the initial weights of both.

        Raises:
            ConfigError: more modes than spans.
        """
        self.first = UnbraidLearner(steps, config, device, given=given, ranks=ranks)
        self._pace = 2 if steps.n_steps >= MANY_STEPS else 1
        left_out = _left_out(self.first.responsibilities.argmax(1).numpy(), config.seed)
        self.twin: UnbraidLearner | None = None
        self.head_trial: HeadTrial | None = None
        self.order_trial: OrderTrial | None = None
        # Ten steps are too few to be read well; free codes are the policy's, too.
        self._may_read_in_order = config.encoder == "auto" and config.sharing != "window" and config.codes == "simplex"
        if config.calibration != "off" and left_out.any() and self.first.model.n_modes > 1:
            self._left_out = torch.from_numpy(np.flatnonzero(left_out))
            seen = torch.from_numpy(np.flatnonzero(~left_out))
            # What styles are for, a speed that varies, would look like heaps to a policy without them.
            tried = config.policy_head == "auto" and config.style == "off" and self.first.n_steps >= FEWEST_STEPS
            if tried:
                self.head_trial = tried_heads(self.first, seen, *self._judges(), device)
                self.first.take_head(self.head_trial.head)
            self.twin = self._twin(seen, device)
        self._refiners = {which: _refiner_of(own) for which, own in self._own().items()}
        self._side_by_side: SideBySide | None = None
        if self.twin is not None and self.first.model.device.type == "cpu" and not ranks.in_group:
            self._side_by_side = SideBySide()
        self._is_half_done = False
        self.pilot: dict[str, float] = {}

    def _twin(self, seen: Int[Tensor, "span"], device: str) -> UnbraidLearner:
        first = self.first
        assert first.config.policy_batch != "auto"
        batch = max(first.config.policy_batch // 4, min(first.config.policy_batch, _SMALLEST_BATCH))
        n_steps = -(-first.n_steps // self._pace)
        config = replace(first.config, policy_batch=batch, n_steps=n_steps, policy_loss=first.loss_kind)
        part, given = first.part(seen)
        return UnbraidLearner(part, config, device, given=given, one_thread=True, ranks=first.ranks)

    @property
    def model(self) -> ModeModel:
        """The model of the first, as it is so far."""
        return self.first.model

    @property
    def n_steps(self) -> int:
        """Gradient steps in all, as far as is known: whether the policy is refined is decided after the joint fit."""
        return self.first.n_steps + self._refiners[""].n_steps

    @property
    def taken(self) -> int:
        """Gradient steps taken so far."""
        return self.first.taken + self._refiners[""].taken

    @property
    def samples_per_step(self) -> int:
        """Recorded steps that one gradient step of the first learns from."""
        return self.first.samples_per_step

    def step(self) -> dict[str, Tensor]:
        """One gradient step of both; the terms are those of the first."""
        if self.first.taken == self.first.n_steps:
            loss = self._step_of(list(self._refiners.values()))
            return {"loss": loss, "policy": loss}
        terms = self.first.step(self._due_of_the_twin())
        if self.first.taken == self.first.n_steps:
            self._settle()
            kind, n_steps = self._wanted_refining()
            for refiner in self._refiners.values():
                refiner.begin(kind, n_steps)
        return terms

    def _due_of_the_twin(self) -> Callable[[], object] | None:
        """What the twin has to do behind the first's next step: one of its own, or of every other one a half.

        It shares a thread with the first's encoder. A whole step behind every other one of the first's would hold up
        the encoder there, and leave the thread idle in between.
        """
        if self._is_half_done:
            self._is_half_done = False
            return self._second_half
        if self.twin is None or self.first.taken % self._pace:
            return None
        self._is_half_done = self._pace > 1 and self._side_by_side is not None
        return self.twin.policy_part if self._is_half_done else self.twin.step

    def _second_half(self) -> None:
        assert self.twin is not None
        self.twin.encoder_part()
        self.twin.follow()

    def _settle(self) -> None:
        """Waits for the twin, and ends its step."""
        self.first.settle()
        if self._is_half_done:
            self._is_half_done = False
            self._second_half()

    def _step_of(self, refiners: list[PolicyRefiner]) -> Float[Tensor, ""]:
        """One step of each, two at once where there are two; the loss of the first."""
        if self._side_by_side is not None and len(refiners) == 2:
            return self._side_by_side(refiners[0].step, refiners[1].step)[0]
        losses = [refiner.step() for refiner in refiners]
        return losses[0]

    def _wanted_refining(self) -> tuple[PolicyLoss, int]:
        """By which loss the policy is refined, which is the joint fit's, and for how many gradient steps."""
        kind, asked = self.first.loss_kind, self.first.config.refine_steps
        # Of few demonstrations, a policy that goes on learns those by heart, and reads others worse.
        few = self.first.config.are_few(self.first.steps.n_steps)
        if asked == 0 or (asked == "auto" and (few or self.twin is None)):
            return kind, 0
        if self.twin is not None:
            self.pilot = self._piloted(self.twin, kind)  # which the page tells, whoever decides
        if asked != "auto":
            return kind, asked
        pays = self.pilot[kind] <= (1 - LEAST_GAIN) * self.pilot["before"]
        return kind, REFINE_STEPS_PER_STEP * self.first.n_steps if pays else 0

    def _piloted(self, twin: UnbraidLearner, kind: PolicyLoss) -> dict[str, float]:
        """The twin's error on what was left out, before, and after a few steps of a copy of its policy."""
        left_out, modes = self._judges()
        of_steps = modes.repeat_interleave(torch.from_numpy(left_out.lengths))
        pilot = _refiner_of(twin, copy.deepcopy(twin.model.policy))
        n_steps = min(PILOT_STEPS, max(self.first.n_steps // 5, 1))
        pilot.begin(kind, n_steps)
        for _ in range(n_steps):
            pilot.step()
        policies = {"before": twin.model.policy, kind: pilot.policy}
        errors = {name: held_out_error(twin.model, policy, left_out, of_steps) for name, policy in policies.items()}
        return self.first.ranks.shared_json(errors)

    def _judges(self) -> tuple[Steps, Int[Tensor, "span"]]:
        """What was left out, or a uniform subset of it, and the mode of each span."""
        generator = named_generator(self.first.config.seed, "unbraid", "calibrated on")
        some = some_within(self.first.spans.lengths[self._left_out].numpy(), MOST_READ_STEPS, generator)
        chosen = self._left_out[torch.from_numpy(some)]
        modes = self.first.responsibilities[chosen].argmax(1)
        return self.first.steps.of_stretches(self.first.spans, chosen), modes

    def usage(self) -> Float[Tensor, "mode"]:
        """The share of the steps in each code, by responsibility."""
        return self.first.usage()

    def pictures(self) -> list[dict[str, Any]]:
        """What the first's modes look like so far: see `picture_modes`."""
        return self.first.pictures()

    def finished(self) -> ModeModel:
        """The model as it stands, calibrated where there was something to leave out."""
        self._settle()
        self._choose_encoder()
        if self._side_by_side is None:
            model, calibration = self.first.finished(), self._calibration()
        else:
            model, calibration = self._side_by_side(self.first.finished, self._calibration)
        model.calibration = calibration
        if model.search is not None:
            trial = {} if self.head_trial is None else {"trial": vars(self.head_trial)}
            head = {"head": self.first.config.policy_head, **trial}
            tried = {} if self.order_trial is None else {"trial": self.order_trial.facts()}
            encoder = {"encoder": self.first.config.encoder, **tried}
            model.search |= {"refining": self._refining_facts(), "policy_head": head, "encoder": encoder}
        return model

    def _choose_encoder(self) -> None:
        """Takes an encoder that sees the order of steps where the twin reads what was left out badly without it, and
        well with it."""
        if not self._may_read_in_order or self.twin is None:
            return
        self._may_read_in_order = False
        generator = named_generator(self.first.config.seed, "unbraid", "order tried on")
        some = some_within(self.first.spans.lengths[self._left_out].numpy(), MOST_HELD_STEPS, generator)
        steps, modes = self.first.sure_part(self._left_out[torch.from_numpy(some)])
        self.order_trial = tried_in_order(self.twin, steps, modes)
        if self.order_trial is not None:
            self.first.order_is_no_help = not self.order_trial.is_taken
            if self.order_trial.is_taken:
                self.first.take_reader(IN_ORDER, in_order(self.first))

    def _calibration(self) -> Calibration | None:
        if self.twin is None:
            return None
        left_out, modes = self._judges()
        return _calibration(self.twin.model, left_out, modes.numpy())

    def _refining_facts(self) -> dict[str, Any]:
        """What was refined, and the mean absolute errors on what was left out that spoke for it, in deviations."""
        refiner, asked = self._refiners[""], self.first.config.refine_steps != "auto"
        loss = refiner.kind if refiner.n_steps else None
        return {"loss": loss, "n_steps": refiner.n_steps, "asked": asked, "pilot": self.pilot}

    # What an exact resume needs (see checkpoint.py)

    def _own(self) -> dict[str, UnbraidLearner]:
        return {"": self.first} | ({} if self.twin is None else {"twin_": self.twin})

    def _both(self) -> dict[str, UnbraidLearner]:
        self._settle()
        return self._own()

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights."""
        return {f"{which}{name}": m for which, own in self._both().items() for name, m in own.modules().items()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """For each of the two one of all networks, and one of the policy that is refined."""
        own = {f"{which}{name}": o for which, own in self._both().items() for name, o in own.optimizers().items()}
        return own | {f"{which}refined": refiner.optimizer for which, refiner in self._refiners.items()}

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's."""
        state = {f"{which}{name}": t for which, own in self._both().items() for name, t in own.tensors().items()}
        refiner = self._refiners[""]
        state["refining"] = torch.tensor([_LOSSES.index(refiner.kind), refiner.n_steps])
        return state | {f"pilot_{name}": torch.tensor(error, dtype=torch.float64) for name, error in self.pilot.items()}

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, and the number of steps taken."""
        of_joint = min(taken, self.first.n_steps)
        for which, own in self._both().items():
            of_own = of_joint if own is self.first else -(-of_joint // self._pace)
            # An older checkpoint has fewer; what a learner can't do without, it asks for itself.
            there = {name: tensors[key] for name in own.tensors() if (key := f"{which}{name}") in tensors}
            own.restore(there, of_own)
        kind, n_steps = tensors["refining"].tolist()
        for refiner in self._refiners.values():
            refiner.begin(_LOSSES[kind], n_steps, taken=taken - of_joint)
        pilot = {name: t for name, t in tensors.items() if name.startswith("pilot_")}
        self.pilot = {name.removeprefix("pilot_"): float(error) for name, error in pilot.items()}


def _refiner_of(learner: UnbraidLearner, copied: ActionPolicy | None = None) -> PolicyRefiner:
    """Refines the policy of a learner, or a copy of it that leaves the learner's generator alone."""
    draws = learner.generator
    if copied is not None:
        draws = torch.Generator().manual_seed(named_seed(learner.config.seed, "unbraid", "pilot"))

    @torch.no_grad()
    def draw() -> Batch:
        return learner.drawn(REFINE_BATCH, draws)

    policy, precision = copied or learner.model.policy, learner.config.precision
    return PolicyRefiner(policy, draw, learner.ranks, batch=REFINE_BATCH, precision=precision)


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
