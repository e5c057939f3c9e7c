"""Data larger than memory: how much memory a fit takes, and how fast it reads, beside a fit on arrays in memory.

Stores of 5 and of 50 million steps are made (58 observations and 2 actions as float32; 50 million are 12 GB on disk),
measured and removed. Each number comes from a process of its own.

- "fit": `unbraid fit` as the command does it, with few gradient steps: seconds, the peak of anonymous memory (RssAnon,
  which a memory-mapped file is no part of) in all and by how much it grew over what imports take, and what the modes
  that were found share with the experts.
- "rates": samples a second of the joint step, on the mapped store with its pages in memory (warm), and on the 5 million
  steps as arrays in memory, in rounds that alternate; a ratio is of one round. Then with the pages dropped from memory
  before every round (cold: posix_fadvise DONTNEED), and what was read from disk meanwhile.
- "reads": observations of 1024 random steps at a time and nothing else, warm and cold; and the file from end to end.
- "blocks": steps drawn uniformly from some blocks of the file that change now and then, in place of the whole: how fast
  that reads cold, and whether the fit is as good.

    python benchmarks/bench_store.py [--steps 5000000 50000000] [--rounds 15] [--quick] [--folder DIR] [--out FILE]
"""

import argparse
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from machine import load_per_core
from unbraid.core.runs import provenance, write_json
from unbraid.demos.episodes import Demos
from unbraid.demos.loading import load_demos
from unbraid.modes.stretches import Stretches
from unbraid.training import steps as steps_module
from unbraid.training.config import UnbraidConfig
from unbraid.training.given import Given
from unbraid.training.joint import UnbraidLearner
from unbraid.training.loop import computing
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps
from unbraid.training.window_draws import WindowDraws
from wide_world import MEAN_STEPS, N_EXPERTS, part_of_world, write_world

RESULT = Path(__file__).parent / "results" / "bench_store.json"
MOST_ANONYMOUS_GB, LEAST_RATIO = 1.5, 0.9
_BLOCK_EPISODES, _N_BLOCKS, _PERIOD = 32, 64, 100


# What a process takes


def anonymous_gb() -> float:
    """Resident memory that is no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1e6
    raise RuntimeError("/proc/self/status must name RssAnon; this benchmark needs Linux")


class Watched:
    """The peak of anonymous memory while a block runs, looked at every 10 ms."""

    def __enter__(self) -> "Watched":
        self.before_gb = self.peak_gb = anonymous_gb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.peak_gb = max(self.peak_gb, anonymous_gb())

    def __exit__(self, *ended: object) -> None:
        self._done.set()
        self._thread.join()


def read_gb() -> float:
    """What this process had read from disk so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1]) / 1e9
    return 0.0


def drop(demos: Demos, folder: Path) -> None:
    """Lets the kernel forget a store's pages, those that are mapped here included."""
    for name in ("observations", "actions"):
        table = getattr(demos, name)
        if isinstance(table, np.memmap):
            mapped = table._mmap
            mapped.madvise(mmap.MADV_DONTNEED)
        with open(folder / f"{name}.npy", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm(demos: Demos) -> None:
    """Reads everything once."""
    for table in (demos.observations, demos.actions):
        for start in range(0, len(table), 262144):
            np.asarray(table[start : start + 262144]).sum()


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    names = {"median": 0.5, "quartile_1": 0.25, "quartile_3": 0.75}
    return {name: float(np.quantile(values, share)) for name, share in names.items()}


# What is measured, each in a process of its own


def measure_fit(folder: Path, n_steps: int, scratch: Path) -> dict[str, Any]:
    """A whole fit by the command's own stage."""
    from unbraid.evaluation.scores import nmi
    from unbraid.pipeline.requests import FitRequest
    from unbraid.pipeline.stages import fit_stage

    held_out = part_of_world(80, np.random.default_rng(99))
    before, start = read_gb(), time.perf_counter()
    with Watched() as watched:
        run = scratch / "run"
        config = UnbraidConfig(n_modes=N_EXPERTS, n_steps=n_steps)
        fit_stage(FitRequest(data=folder, out=run, n_modes=N_EXPERTS), config)
    seconds = time.perf_counter() - start
    model = ModeModel.from_pretrained(run)
    assert held_out.labels is not None
    table = np.zeros((N_EXPERTS, N_EXPERTS), int)
    np.add.at(table, (held_out.labels, model.predict(held_out)), 1)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "gradient_steps": n_steps,
        "seconds": seconds,
        "gradient_seconds": sum(50 * 1024 / line["samples_per_s"] for line in lines),
        "read_gb": read_gb() - before,
        "peak_anonymous_gb": watched.peak_gb,
        "grown_anonymous_gb": watched.peak_gb - watched.before_gb,
        "nmi_of_unseen_episodes": float(nmi(table)),
    }


def told(demos: Demos, config: UnbraidConfig) -> UnbraidLearner:
    """A learner that is told who acted, so that it reads nothing but what its steps need."""
    assert demos.labels is not None
    steps = Steps.of(demos.without_labels())
    modes = torch.nn.functional.one_hot(torch.from_numpy(demos.labels), N_EXPERTS).float()
    few = Steps.of(demos.select(np.arange(min(demos.n_episodes, 200))))
    seen = UnbraidLearner(few, config, given=Given(few.episodes, modes[: few.n_episodes])).model.observation_normaliser
    return UnbraidLearner(steps, config, given=Given(steps.episodes, modes, seen))


def timed(learner: UnbraidLearner, n_steps: int) -> float:
    """Samples a second."""
    start = time.perf_counter()
    for _ in range(n_steps):
        learner.step()
    return n_steps * learner.samples_per_step / (time.perf_counter() - start)


def measure_rates(folder: Path, beside: Path, n_rounds: int, n_steps: int) -> dict[str, Any]:
    """The joint step on a mapped store, beside arrays in memory."""
    config = UnbraidConfig(n_modes=N_EXPERTS, n_steps=15_000, policy_batch=1024)
    mapped_demos, memory_demos = load_demos(folder), load_demos(beside, in_memory=True)
    mapped, memory = told(mapped_demos, config), told(memory_demos, config)
    warm(mapped_demos)
    for learner in (mapped, memory):
        timed(learner, 2 * n_steps)
    rates: dict[str, list[float]] = {"warm": [], "in_memory": [], "ratio": []}
    for index in range(n_rounds):
        both = {}
        for name in ("warm", "in_memory") if index % 2 else ("in_memory", "warm"):
            both[name] = timed(mapped if name == "warm" else memory, n_steps)
            rates[name].append(both[name])
        rates["ratio"].append(both["warm"] / both["in_memory"])
    found: dict[str, Any] = {name: spread(values) for name, values in rates.items()}
    n_cold = max(n_steps // 8, 1)
    for name in ("cold", "cold_at_random"):
        cold: list[float] = []
        before = read_gb()
        steps_module._LARGE_SHARE = 0.0 if name == "cold_at_random" else np.inf
        for _ in range(max(n_rounds // 3, 2)):
            drop(mapped_demos, folder)
            with mapped.steps.read_at_random():
                cold.append(timed(mapped, n_cold))
        found[name] = spread(cold)
        found[f"{name}_read_mb_a_step"] = 1e3 * (read_gb() - before) / len(cold) / n_cold
    drop(mapped_demos, folder)
    found["warming_up"] = [round(timed(mapped, n_steps)) for _ in range(max(n_rounds // 2, 2))]
    return found


def measure_reads(folder: Path) -> dict[str, Any]:
    """Reading alone: random steps, and the whole in order."""
    demos = load_demos(folder)
    steps, generator = Steps.of(demos), torch.Generator().manual_seed(0)

    def gather(n_batches: int) -> float:
        start = time.perf_counter()
        for _ in range(n_batches):
            steps.observations(torch.randint(steps.n_steps, (1024,), generator=generator)).sum()
        return n_batches * 1024 / (time.perf_counter() - start)

    drop(demos, folder)
    found: dict[str, Any] = {"cold_steps_per_s": gather(5)}
    mapped = demos.observations._mmap  # pyright: ignore
    mapped.madvise(mmap.MADV_RANDOM)
    drop(demos, folder)
    found["cold_steps_per_s_without_read_ahead"] = gather(5)
    mapped.madvise(mmap.MADV_NORMAL)
    drop(demos, folder)
    before, start = read_gb(), time.perf_counter()
    warm(demos)
    found["whole_gb_per_s"] = (read_gb() - before) / (time.perf_counter() - start)
    gather(100)
    found["warm_steps_per_s"] = gather(300)
    return found


def in_blocks(learner: UnbraidLearner, whole: Steps, modes: torch.Tensor, generator: np.random.Generator) -> None:
    """Lets a learner draw from some blocks of episodes alone, until it is told others."""
    n_blocks = max(whole.n_episodes // _BLOCK_EPISODES, 1)
    blocks = np.sort(generator.permutation(n_blocks)[:_N_BLOCKS])
    chosen = (blocks[:, None] * _BLOCK_EPISODES + np.arange(_BLOCK_EPISODES)).ravel()
    part = whole.of_episodes(torch.from_numpy(chosen[chosen < whole.n_episodes]))
    learner.steps, learner.spans = part, Stretches(part.episodes.lengths)
    learner.responsibilities = modes[torch.from_numpy(chosen[chosen < whole.n_episodes])]
    lengths, n_windows, draws = learner.config.window_lengths, learner.windows.n_windows, learner.windows.generator
    learner.windows = WindowDraws(part.lengths, window_lengths=lengths, n_windows=n_windows, generator=draws)


def advance(learner: UnbraidLearner, n_steps: int, change: Callable[[], None] | None) -> None:
    """Takes steps, with a change now and then."""
    for index in range(n_steps):
        if change is not None and index % _PERIOD == 0:
            change()
        learner.step()


def measure_blocks(folder: Path, n_steps: int, n_cold: int) -> dict[str, Any]:
    """The same fit with steps drawn from the whole, and from blocks that change every so many steps."""
    demos, unseen = load_demos(folder), part_of_world(80, np.random.default_rng(99))
    config = UnbraidConfig(n_modes=N_EXPERTS, n_steps=n_steps, policy_batch=1024)
    assert demos.labels is not None
    modes = torch.nn.functional.one_hot(torch.from_numpy(demos.labels), N_EXPERTS).float()
    found: dict[str, Any] = {"block_episodes": _BLOCK_EPISODES, "n_blocks": _N_BLOCKS, "steps_a_change": _PERIOD}
    for name in ("whole", "blocks"):
        learner, draws = told(demos, config), np.random.default_rng(0)
        whole = learner.steps
        change = None if name == "whole" else partial(in_blocks, learner, whole, modes, draws)
        start = time.perf_counter()
        advance(learner, n_steps, change)
        seconds = time.perf_counter() - start
        learner.settle()
        learner.steps, learner.spans, learner.responsibilities = whole, Stretches(whole.episodes.lengths), modes
        model = learner.finished().cpu().eval()
        right = {str(w): right_share(model, unseen, w) for w in (10, 50)}
        learner.taken = 0
        drop(demos, folder)
        before, start = read_gb(), time.perf_counter()
        advance(learner, n_cold, change)
        found[name] = {
            "samples_per_s": n_steps * 1024 / seconds,
            "log_likelihood_of_unseen_nats": model.score(unseen),
            "accuracy_of_unseen_windows": right,
            "cold_samples_per_s": n_cold * 1024 / (time.perf_counter() - start),
            "cold_read_mb_a_step": 1e3 * (read_gb() - before) / n_cold,
        }
        learner.settle()
    return found


def right_share(model: ModeModel, demos: Demos, window_steps: int) -> float:
    """The share of windows whose mode is their expert's number, as the learner was told it."""
    assert demos.labels is not None
    modes = model.predict(demos, window_steps=window_steps)
    return float((modes == demos.labels[model.cut(demos, window_steps).episodes]).mean())


def apart(name: str, **asked: object) -> dict[str, Any]:
    """What one measurement gives, made in a process of its own."""
    program = [sys.executable, __file__, "--measure", name, "--asked", json.dumps(asked, default=str)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring {name} must end well; it said: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


MEASURES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "fit": lambda a: measure_fit(Path(a["folder"]), a["n_steps"], Path(a["scratch"])),
    "rates": lambda a: measure_rates(Path(a["folder"]), Path(a["beside"]), a["n_rounds"], a["n_steps"]),
    "reads": lambda a: measure_reads(Path(a["folder"])),
    "blocks": lambda a: measure_blocks(Path(a["folder"]), a["n_steps"], a["n_cold"]),
    "make": lambda a: {"path": str(write_world(Path(a["folder"]), a["n_steps"]))},
}


def measure(sizes: list[int], n_rounds: int, n_steps: int, place: Path) -> dict[str, Any]:
    """Everything, at every size, the smallest first."""
    found: dict[str, Any] = {"sizes": []}
    with tempfile.TemporaryDirectory(dir=place, prefix="bench_store_") as name:
        scratch = Path(name)
        smallest = scratch / str(sizes[0])
        for size in sizes:
            folder = scratch / str(size)
            start = time.perf_counter()
            apart("make", folder=folder, n_steps=size)
            seconds = time.perf_counter() - start
            gb = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
            entry: dict[str, Any] = {"n_steps": size, "gb": gb, "seconds_to_write": seconds}
            print(f"{size:,} steps, {gb:.1f} GB, written in {seconds:.0f} s", flush=True)
            entry["fit"] = apart("fit", folder=folder, n_steps=n_steps, scratch=scratch)
            shutil.rmtree(scratch / "run")
            print(text_of_fit(entry["fit"]), flush=True)
            entry["rates"] = apart("rates", folder=folder, beside=smallest, n_rounds=n_rounds, n_steps=40)
            entry["reads"] = apart("reads", folder=folder)
            print(text_of_rates(entry["rates"], entry["reads"]), flush=True)
            found["sizes"].append(entry)
            if folder != smallest:
                shutil.rmtree(folder)
        found["blocks"] = apart("blocks", folder=smallest, n_steps=n_steps, n_cold=max(n_steps // 5, 2))
        print(text_of_blocks(found["blocks"]), flush=True)
    found["at_100_million_steps"] = at_100_million(found["sizes"])
    print(json.dumps(found["at_100_million_steps"]), flush=True)
    return found


def at_100_million(sizes: list[dict[str, Any]]) -> dict[str, float]:
    """What a line through the smallest and the largest size says of 100 million steps."""
    small, large = sizes[0], sizes[-1]
    span = max(large["n_steps"] - small["n_steps"], 1)

    def told_of(read: Callable[[dict[str, Any]], float]) -> float:
        return read(large) + (read(large) - read(small)) / span * (100_000_000 - large["n_steps"])

    return {
        "peak_anonymous_gb": told_of(lambda e: e["fit"]["peak_anonymous_gb"]),
        "seconds_beside_gradient_steps": told_of(lambda e: e["fit"]["seconds"] - e["fit"]["gradient_seconds"]),
        "warm_samples_per_s": told_of(lambda e: e["rates"]["warm"]["median"]),
    }


def text_of_fit(part: dict[str, Any]) -> str:
    """What is printed of a whole fit."""
    return (
        f"  fit: {part['seconds']:.0f} s, of which {part['gradient_seconds']:.0f} s are {part['gradient_steps']} "
        f"gradient steps; RssAnon at most {part['peak_anonymous_gb']:.2f} GB ({part['grown_anonymous_gb']:.2f} grown; "
        f"target {MOST_ANONYMOUS_GB}); NMI {part['nmi_of_unseen_episodes']:.3f}"
    )


def text_of_rates(rates: dict[str, Any], reads: dict[str, Any]) -> str:
    """What is printed of rates."""
    ratio = rates["ratio"]
    return (
        f"  joint step: warm {rates['warm']['median']:,.0f} samples/s, in memory {rates['in_memory']['median']:,.0f}, "
        f"ratio {ratio['median']:.3f} [{ratio['quartile_1']:.3f}, {ratio['quartile_3']:.3f}] (target {LEAST_RATIO}); "
        f"cold {rates['cold']['median']:,.0f} ({rates['cold_read_mb_a_step']:.0f} MB read a step), and "
        f"{rates['cold_at_random']['median']:,.0f} ({rates['cold_at_random_read_mb_a_step']:.0f} MB) where nothing is "
        f"read on around a step as of files larger than memory; after being dropped "
        f"{rates['warming_up']}\n"
        f"  random steps a second: warm {reads['warm_steps_per_s']:,.0f}, cold {reads['cold_steps_per_s']:,.0f} "
        f"({reads['cold_steps_per_s_without_read_ahead']:,.0f} without read-ahead); the whole in order "
        f"{reads['whole_gb_per_s']:.2f} GB/s"
    )


def text_of_blocks(part: dict[str, Any]) -> str:
    """What is printed of draws from blocks."""
    lines = []
    for name in ("whole", "blocks"):
        own = part[name]
        lines.append(
            f"  drawn from {name}: {own['samples_per_s']:,.0f} samples/s, cold {own['cold_samples_per_s']:,.0f} "
            f"({own['cold_read_mb_a_step']:.1f} MB read a step); unseen episodes "
            f"{own['log_likelihood_of_unseen_nats']:.4f} nats a step, windows right {own['accuracy_of_unseen_windows']}"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[5_000_000, 50_000_000], help="sizes, rising")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gradient-steps", type=int, default=1500)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where stores are made")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--measure", choices=sorted(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--asked", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        with computing(1):
            print(json.dumps(MEASURES[asked.measure](json.loads(asked.asked))))
        return
    sizes, n_rounds, n_steps = asked.steps, asked.rounds, asked.gradient_steps
    if asked.quick:
        sizes, n_rounds, n_steps = [20 * MEAN_STEPS, 40 * MEAN_STEPS], 2, 50
    found = measure(sizes, n_rounds, n_steps, asked.folder)
    load = load_per_core()
    print(f"load of the machine: {load:.1f} processes per core")
    write_json(asked.out, {"benchmark": "store", "load_per_core": load, **found, "provenance": provenance(seed=0)})


if __name__ == "__main__":
    main()
