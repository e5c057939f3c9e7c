"""What a GPU buys, and what its CUDA graphs, bfloat16 and `torch.compile` do to a gradient step. Needs a GPU.

On 100,100 made-up steps of 60 numbers and 2 actions, for networks of the default's size and of wide ones. Round by
round each side takes so many gradient steps, in an order that is drawn anew; a speed-up is against the same step kernel
by kernel, in the same round. Medians over rounds, with 95 % intervals. Sides:

- kernel by kernel: every kernel is launched by itself, as PyTorch does.
- graph: as a fit does on a GPU (`core.replay`).
- graph, bfloat16: the same, with the policy's matrix products in bfloat16.
- graph, compiled: the same, with the policy's forward pass compiled by `torch.compile`.

Then whole fits with K given, of the same data and, where they are there, of HalfCheetah's six policies (on which the
policy is refined): on the processor with four threads, and on the GPU with graphs and without; seconds, and episode NMI
of held-out episodes.

    python benchmarks/bench_gpu.py [--rounds 15] [--steps 40] [--quick] [--cheetah FOLDER]
"""

import argparse
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import normalized_mutual_info_score

import piles
from bench_training import made_up, median_of
from gpu_tables import gpu_text
from unbraid.core import replay
from unbraid.core.runs import provenance, write_json
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit, learner_for
from unbraid.training.joint import UnbraidLearner
from unbraid.training.loop import LoopOptions, computing

RESULT = Path(__file__).parent / "results" / "bench_gpu.json"
NETWORKS = (((128, 128, 128), 1000), ((1024, 1024, 1024), 4096))
SIDES = ("kernel by kernel", "graph", "graph, bfloat16", "graph, compiled")
PLACES = ("cuda, graph", "cpu", "cuda, kernel by kernel")
NEVER = 10**9
N_THREADS = 4
Step = Callable[[], object]


class Side:
    """A learner whose steps are taken in one of the ways."""

    def __init__(self, name: str, demos: piles.Demos, config: UnbraidConfig) -> None:
        """Fits up to the first step, and takes enough of them that all is recorded; says how long these took."""
        self.warm_ups = NEVER if name == "kernel by kernel" else replay.WARM_UPS
        precision = "bfloat16" if name.endswith("bfloat16") else "float32"
        calibrated = learner_for(demos, replace(config, precision=precision), "cuda")
        assert isinstance(calibrated, CalibratedLearner)
        self.learner: UnbraidLearner = calibrated.first
        if name.endswith("compiled"):
            self.learner.model.policy.compile()
        start = time.perf_counter()
        for step in (self.policy, self.joint):
            self.take(step, 40)
        self.first_steps_s = time.perf_counter() - start

    def policy(self) -> None:
        """A step of the policy alone."""
        self.learner.policy_part()
        self.learner.follow()

    def joint(self) -> None:
        """A step of encoder, codebook and policy."""
        self.learner.step()

    def take(self, step: Step, n_steps: int) -> float:
        """The seconds of so many steps."""
        with graphs_after(self.warm_ups):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(n_steps):
                step()
            torch.cuda.synchronize()
            return time.perf_counter() - start


@contextmanager
def graphs_after(n_calls: int) -> Generator[None]:
    """Lets work be recorded after so many calls."""
    own, replay.WARM_UPS = replay.WARM_UPS, n_calls
    try:
        yield
    finally:
        replay.WARM_UPS = own


def steps_compared(demos: piles.Demos, n_rounds: int, n_steps: int) -> list[dict[str, Any]]:
    """Microseconds a step of every side, and speed-ups, for each kind of network and of step."""
    rows: list[dict[str, Any]] = []
    order = torch.Generator().manual_seed(0)
    for hidden, batch in NETWORKS:
        sizes: dict[str, Any] = {"policy_hidden": hidden, "policy_batch": batch, "n_steps": 20_000}
        config = UnbraidConfig(n_modes=2, search_steps=20, sharing="episode", calibration="off", **sizes)
        sides = {name: Side(name, demos, config) for name in SIDES}
        for part in ("policy", "joint"):
            times: dict[str, list[float]] = {name: [] for name in SIDES}
            for _ in range(n_rounds):
                for index in torch.randperm(len(SIDES), generator=order).tolist():
                    side = sides[SIDES[index]]
                    times[SIDES[index]].append(side.take(getattr(side, part), n_steps) / n_steps)
            slow = torch.tensor(times[SIDES[0]], dtype=torch.float64)
            for name in SIDES:
                own = torch.tensor(times[name], dtype=torch.float64)
                rows.append(
                    {
                        "hidden": list(hidden),
                        "batch": batch,
                        "part": part,
                        "side": name,
                        "microseconds": median_of((1e6 * own).numpy()).to_json(),
                        "speed_up": median_of((slow / own).numpy()).to_json(),
                        "first_steps_s": round(sides[name].first_steps_s, 2),
                    }
                )
    for row in rows:
        print(row, flush=True)
    return rows


def fitted(pile: piles.Pile, n_modes: int, where: str) -> dict[str, Any]:
    """Seconds and episode NMI of a whole fit."""
    training, held_out = pile
    assert held_out.labels is not None
    options = LoopOptions(device=where.split(",", maxsplit=1)[0], n_threads=N_THREADS)
    start = time.perf_counter()
    with graphs_after(NEVER if where.endswith(SIDES[0]) else replay.WARM_UPS):
        model = fit(training.without_labels(), UnbraidConfig(n_modes=n_modes), options)
    seconds = time.perf_counter() - start
    score = float(normalized_mutual_info_score(held_out.labels, model.predict(held_out)))
    assert model.search is not None
    refine_steps = model.search["refining"]["n_steps"]
    found = {"where": where, "seconds": round(seconds, 2), "nmi": round(score, 4), "refine_steps": refine_steps}
    print(found, flush=True)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40, help="gradient steps of each side in a round")
    parser.add_argument("--quick", action="store_true", help="few demonstrations, to see that it runs")
    parser.add_argument("--cheetah", type=Path, default=piles.SHARED, help="where halfcheetah_experts lies")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there must be a GPU that PyTorch can use; there is none here. Run it where there is one.")
    demos = made_up(4 if asked.quick else 100)
    piles_of_fits: dict[str, tuple[Callable[[], piles.Pile], int]] = {"made up": (lambda: (demos, made_up(10)), 2)}
    if (asked.cheetah / "halfcheetah_experts").exists():
        piles_of_fits["HalfCheetah"] = lambda: piles.half_cheetah(0, asked.cheetah), 6
    found: dict[str, Any] = {"benchmark": "gpu", "gpu": torch.cuda.get_device_name(), "fits": []}
    with computing(N_THREADS):
        found["steps"] = steps_compared(demos.without_labels(), asked.rounds, asked.steps)
    for name, (pile, n_modes) in piles_of_fits.items():
        for where in PLACES:
            found["fits"].append({"data": name, **fitted(pile(), n_modes, where)})
            write_json(asked.out, found | {"provenance": provenance(seed=0)})
    print(gpu_text(found | {"provenance": provenance(seed=0)}))


if __name__ == "__main__":
    main()
