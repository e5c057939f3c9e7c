"""How fast a fit goes: samples a second of the joint step and of its policy part, beside a bare PyTorch loop.

The bare loop has the same networks, optimiser and batch sizes, on the same steps, in the same run. It is what one would
write by hand for this data alone: states and actions scaled once beforehand, the mode of every step known and fixed,
nothing logged or checked. Round by round, both sides take so many steps, in an order that alternates; a ratio is ours
over the bare loop's in the same round. Medians and quartiles are over rounds. The joint step learns its encoder on a
second thread, which the bare loop has not: the ratio of processor time, of all threads together, says what that leaves
out. It is also what a busy machine disturbs less. Last, the parts of a whole fit in seconds: the search for modes with
their number given and left open, and all joint steps, those of the twin that calibrates beside them.

    python benchmarks/bench_fit.py [--rounds 15] [--steps 40] [--quick] [--out benchmarks/results/bench_fit.json]
"""

import argparse
import copy
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import piles
from machine import load_per_core
from unbraid.core.runs import provenance, write_json
from unbraid.modes.windows import cut_windows
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import UnbraidConfig
from unbraid.training.descent import CLIP_NORM
from unbraid.training.fit import learner_for
from unbraid.training.joint import COMMITMENT, UnbraidLearner
from unbraid.training.loop import computing
from unbraid.training.networks import DISTANCE_TEMPERATURE
from unbraid.training.window_draws import STEPS_PER_WINDOW

TARGET_RATIO, TARGET_SECONDS, TARGET_SECONDS_AUTO = 0.9, 20.0, 60.0
RESULT = Path(__file__).parent / "results" / "bench_fit.json"
Step = Callable[[], object]


class BareLoop:
    """The joint step as one would write it by hand, for tensors that are ready."""

    def __init__(self, learner: UnbraidLearner) -> None:
        """Takes the learner's networks as they stand, and its data, scaled once."""
        every = torch.arange(learner.steps.n_steps)
        self.model, self.config = copy.deepcopy(learner.model), learner.config
        self.states = learner.model.observation_normaliser(learner.steps.observations(every))
        self.actions = learner.model.action_normaliser(learner.steps.actions(every))
        self.modes = learner.responsibilities.argmax(1)[learner.spans[every]]
        self.contexts, lengths = self.model.contexts, learner.windows.window_lengths
        cut = [(length, cut_windows(learner.steps.lengths, length, stride_steps=1).starts) for length in lengths]
        self.window_starts = [(length, torch.from_numpy(starts)) for length, starts in cut]
        settings = {"lr": self.config.learning_rate, "weight_decay": self.config.weight_decay, "fused": True}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **settings)

    def policy_loss(self) -> Tensor:
        """Negative log-likelihood of a batch of steps, its gradients weighted with the deviation."""
        chosen = torch.randint(len(self.states), (self.config.policy_batch,))
        mean, log_std = self.model.policy(self.states[chosen], self.contexts[self.modes[chosen]])
        misfit = ((self.actions[chosen] - mean) * (-log_std).exp()).square()
        losses = 0.5 * misfit + log_std + 0.5 * math.log(2 * math.pi)
        return (losses * log_std.detach().exp()).sum(-1).mean() + self.model.policy.penalty()

    def encoder_loss(self) -> Tensor:
        """Cross-entropy of a batch of windows with their modes, and the distance to the mode's code."""
        length, starts = self.window_starts[int(torch.randint(len(self.window_starts), ()))]
        starts = starts[torch.randint(len(starts), (self.config.window_batch,))]
        if length <= STEPS_PER_WINDOW:
            within = torch.arange(length)
        else:
            within = torch.rand(len(starts), length).argsort(1)[:, :STEPS_PER_WINDOW]
        chosen, modes = starts[:, None] + within, self.modes[starts]
        distances = self.model.codebook(self.model.encoder(self.states[chosen], self.actions[chosen]))
        crossentropy = functional.cross_entropy(-distances / DISTANCE_TEMPERATURE, modes)
        return crossentropy + COMMITMENT * distances.gather(1, modes[:, None]).mean()

    def step(self) -> None:
        """One joint step."""
        self.take(self.policy_loss() + self.encoder_loss())

    def policy_step(self) -> None:
        """One step of the policy alone."""
        self.take(self.policy_loss())

    def take(self, loss: Tensor) -> None:
        """Follows the gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()


def seconds(step: Step, n_steps: int) -> tuple[float, float]:
    """Wall time and processor time of so many steps."""
    start, start_processor = time.perf_counter(), time.process_time()
    for _ in range(n_steps):
        step()
    return time.perf_counter() - start, time.process_time() - start_processor


def compare(ours: Step, bare: Step, *, batch: int, n_rounds: int, n_steps: int) -> dict[str, Any]:
    """Rates of both sides in samples a second, and ratios, over paired rounds."""
    for side in (ours, bare):
        seconds(side, 5)
    times = np.empty((n_rounds, 2, 2))
    for index in range(n_rounds):
        for side in (0, 1) if index % 2 else (1, 0):
            times[index, side] = seconds((ours, bare)[side], n_steps)
    walls, processors = times[..., 0], times[..., 1]
    return {
        "samples_per_s": spread(batch * n_steps / walls[:, 0]),
        "bare_samples_per_s": spread(batch * n_steps / walls[:, 1]),
        "ratio": spread(walls[:, 1] / walls[:, 0]),
        "ratio_of_processor_time": spread(processors[:, 1] / processors[:, 0]),
        "target_ratio": TARGET_RATIO,
    }


def spread(values: np.ndarray) -> dict[str, float]:
    """Median and quartiles."""
    names = {"median": 0.5, "quartile_1": 0.25, "quartile_3": 0.75}
    return {name: float(np.quantile(values, share)) for name, share in names.items()}


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What some work gives, and its seconds."""
    start, start_processor = time.perf_counter(), time.process_time()
    given = work()
    return given, {"seconds": time.perf_counter() - start, "processor_s": time.process_time() - start_processor}


def all_steps(learner: CalibratedLearner) -> None:
    """The rest of a fit, once modes are found."""
    while learner.taken < learner.n_steps:
        learner.step()
    learner.first.settle()


def measure(n_rounds: int, n_steps: int, *, quick: bool) -> dict[str, Any]:
    """Everything, on four experts' demonstrations: 100,000 steps."""
    training, _ = piles.point_goal(piles.FOUR, 4 if quick else 25, 0, n_held_out=1, n_steps=150 if quick else 1000)
    config = UnbraidConfig(n_modes=4)
    if quick:
        config = replace(config, n_steps=20, search_steps=60)
    demos = training.without_labels()
    learner_for(demos, replace(config, search_steps=2))  # what is imported at the first fit is no part of it
    calibrated, search = timed(lambda: learner_for(demos, config))
    _, search_auto = timed(lambda: learner_for(demos, replace(config, n_modes="auto")))
    assert isinstance(calibrated, CalibratedLearner)
    learner = calibrated.first
    bare = BareLoop(learner)

    def policy_step() -> None:
        learner.policy_part()
        learner.follow()

    def sides(ours: Step, theirs: Step) -> dict[str, Any]:
        return compare(ours, theirs, batch=learner.samples_per_step, n_rounds=n_rounds, n_steps=n_steps)

    steps = {"joint": sides(learner.step, bare.step), "policy": sides(policy_step, bare.policy_step)}
    learner.taken = 0
    _, joint = timed(lambda: all_steps(calibrated))
    wholes = {
        name: {unit: joint[unit] + part[unit] for unit in joint}
        for name, part in (("fit", search), ("fit_auto", search_auto))
    }
    parts = {"search": search, "search_auto": search_auto, "joint_steps": joint} | wholes
    sizes = {"n_training_steps": training.n_steps, "n_rounds": n_rounds, "steps_per_round": n_steps}
    return {**sizes, "steps": steps, "seconds": parts}


def text_of(found: dict[str, Any]) -> str:
    """What is printed."""
    lines = [f"A fit of {found['n_training_steps']:,} steps"]
    for name in ("joint", "policy"):
        part = found["steps"][name]
        rates = f"{part['samples_per_s']['median']:,.0f} samples/s, bare {part['bare_samples_per_s']['median']:,.0f}"
        of = part["ratio"]
        ratio = f"ratio {of['median']:.3f} [{of['quartile_1']:.3f}, {of['quartile_3']:.3f}]"
        processor = f"of processor time {part['ratio_of_processor_time']['median']:.3f}"
        lines.append(f"{name} step: {rates}, {ratio}, {processor} (target {TARGET_RATIO})")
    for name, part in found["seconds"].items():
        lines.append(f"{name}: {part['seconds']:.1f} s ({part['processor_s']:.1f} s of the processor)")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40, help="steps of each side in a round")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    with computing(1):
        found = measure(asked.rounds, asked.steps, quick=asked.quick)
    load = load_per_core()
    print(text_of(found))
    print(f"load of the machine: {load:.1f} processes per core")
    write_json(asked.out, {"benchmark": "fit", "load_per_core": load, **found, "provenance": provenance(seed=0)})


if __name__ == "__main__":
    main()
