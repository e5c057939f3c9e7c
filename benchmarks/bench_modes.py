"""What does each method tell apart? Mixed demonstrations of two and of four experts, read on held-out episodes.

Rows: unbraid (its combined evidence, and its encoder alone), the encoder told the true labels (an upper bound), k-means
on statistics, the talk's method in its small preset, and unbraid with one of its ideas switched off at a time. Every
row is given the same demonstrations, in one process and on the same number of threads. Columns: normalised mutual
information (NMI) of the modes with the experts, for windows of 10 to 100 steps at stride 5 and for whole episodes; mean
over training seeds, in brackets the worst; and the seconds of the fit. A training seed decides the demonstrations and
the fit. Then the closed loop: each mode of unbraid acts from its not-hot context alone, and is compared with its expert
on the same 200 seeds.

Every result is kept in `--folder`, so that an interrupted run goes on where it was: run it again. When all are there,
`benchmarks/results/bench_modes.json` is written; until then, and with `--quick`, `bench_modes.json` in the folder.

    python benchmarks/bench_modes.py [--cases two,four] [--rows unbraid,kmeans] [--seeds 0,1,2] [--quick]
"""

import argparse
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import unbraid
from unbraid.core.randomness import named_generator
from unbraid.core.runs import provenance, read_json, write_json, write_text
from unbraid.demos.episodes import Demos
from unbraid.evaluation.baselines import kmeans_windows, supervised_bound
from unbraid.evaluation.behaviour import compare_modes, measure
from unbraid.evaluation.scores import agreement, contingency_by_episode, match_modes
from unbraid.modes.windows import Windows, cut_windows
from unbraid.steering.steered import steer
from unbraid.training.config import FitConfig, TalkConfig, UnbraidConfig, config_to_json
from unbraid.training.fit import fit
from unbraid.training.loop import computing
from unbraid.training.model import ModeModel
from unbraid.worlds.collect import collect
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

ENV_ID = "unbraid/PointGoal1-v0"
RESULT = Path(__file__).parent / "results" / "bench_modes.json"
LEVELS: dict[str, int | None] = {"10": 10, "25": 25, "50": 50, "100": 100, "episode": None}
METRICS = ("goals", "return", "cost", "distance", "displacement")
JUDGED = ("goals", "return", "distance", "displacement")
TRAINING_SEED, HELD_OUT_SEED, ROLLOUT_SEED = 31_000, 32_000, 930_000
TABLE_THREADS, TIMING_THREADS, SLACK, ROUNDING = 1, 1, 0.02, 1e-9


@dataclass(frozen=True)
class Case:
    """Whose demonstrations are mixed, and how many episodes of each are trained on."""

    name: str
    experts: tuple[str, ...]
    n_episodes: int


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the benchmark's, `QUICK` only shows that it runs."""

    most_episodes: int = 50
    n_held_out: int = 24
    n_steps: int = 1000
    n_fit_steps: int = 1500
    n_rollouts: int = 200


@dataclass(frozen=True)
class Job:
    """One result: a row of one case for one training seed."""

    case: Case
    row: str
    seed: int
    sizes: Sizes


CASES = {
    "two": Case("two", ("goal_seeking", "forward"), 25),
    "four": Case("four", ("goal_seeking", "forward", "circling", "hazard_seeking"), 50),
}
QUICK = Sizes(most_episodes=6, n_held_out=4, n_steps=200, n_fit_steps=180, n_rollouts=4)
SWITCHED_OFF: dict[str, dict[str, Any]] = {
    "codes_free": {"codes": "free"},
    "evidence_transitions": {"evidence": "transitions"},
    "start_random": {"start": "random"},
    "sharing_window": {"sharing": "window"},
    "echoes_shown": {"hide_echoes": False},
    "no_cross_fit": {"cross_fit": False},
}
TALK_DELTAS = {"talk_1": 1, "talk_5": 5}
SCORED = ("unbraid", "supervised", "kmeans", *TALK_DELTAS, *SWITCHED_OFF)
ROWS = ("unbraid", "closed_loop", *SCORED[1:], "fit_time")
LINES = (  # of the table: row, evidence, title
    ("unbraid", "combined", "unbraid"),
    ("unbraid", "encoder", "unbraid, encoder alone"),
    ("supervised", "labels", "the encoder, told the labels (upper bound)"),
    ("kmeans", "statistics", "k-means on window statistics"),
    ("talk_1", "encoder", "the talk's method, time step 1"),
    ("talk_5", "encoder", "the talk's method, time step 5"),
    ("codes_free", "combined", "unbraid without codes on a simplex"),
    ("evidence_transitions", "combined", "unbraid without the policy's evidence"),
    ("start_random", "combined", "unbraid without the closed-form start"),
    ("sharing_window", "combined", "unbraid without one expert an episode"),
    ("echoes_shown", "combined", "unbraid without hiding echoes"),
    ("no_cross_fit", "combined", "unbraid without cross-fitting"),
)
TARGETS = (  # case, level, NMI of unbraid's combined evidence: the mean reaches it, the worst seed at most SLACK less
    ("two", "25", 0.98),
    ("two", "episode", 1.0),
    ("four", "25", 0.95),
    ("four", "50", 0.99),
    ("four", "episode", 1.0),
)
FIT_SECONDS_TARGET = 30.0
LOOP_TITLE = (
    "Each expert and the mode matched with it, means over {n_rollouts} paired seeds: expert → mode (mean over training "
    "seeds), and with how many of the training seeds the mode is as good as its expert"
)
AS_GOOD = ("goal_seeking", "forward", "circling")  # the modes that must be as good as their experts


# What is trained on, and how


@functools.lru_cache(maxsize=1)
def piles(case: Case, sizes: Sizes, seed: int) -> tuple[Demos, Demos]:
    """Training demonstrations and held-out ones, of layouts that training did not see."""
    sources = [(name, make_expert(name)) for name in case.experts]
    n_episodes = min(case.n_episodes, sizes.most_episodes)
    collected = functools.partial(collect, sources, env_id=ENV_ID, max_steps=sizes.n_steps)
    training = collected(n_episodes=n_episodes, seed=TRAINING_SEED + seed)
    held_out = collected(n_episodes=sizes.n_held_out, seed=HELD_OUT_SEED + seed)
    assert training.seeds is not None
    assert held_out.seeds is not None
    assert not set(training.seeds.tolist()) & {*held_out.seeds.tolist(), *rollout_seeds(sizes)}
    return training, held_out


def rollout_seeds(sizes: Sizes) -> range:
    """The seeds on which modes and experts are compared, the same for all."""
    return range(ROLLOUT_SEED, ROLLOUT_SEED + sizes.n_rollouts)


def config_of(job: Job) -> FitConfig | None:
    """What the fit of a row is asked; None for rows that fit no model of ours."""
    n_modes, n_steps = len(job.case.experts), job.sizes.n_fit_steps
    if job.row in TALK_DELTAS:
        return TalkConfig(n_modes=n_modes, delta_steps=TALK_DELTAS[job.row], n_steps=n_steps, seed=job.seed)
    if job.row in ("supervised", "kmeans"):
        return None
    return UnbraidConfig(n_modes=n_modes, n_steps=n_steps, seed=job.seed, **SWITCHED_OFF.get(job.row, {}))


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What some work gives, its seconds on the clock and of the processor, and the load of the machine after it."""
    wall, processor = time.perf_counter(), time.process_time()
    given = work()
    seconds = {"seconds": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    seconds["load_per_core"] = os.getloadavg()[0] / (os.cpu_count() or 1)
    return given, {name: round(value, 2) for name, value in seconds.items()}


# One result


def scores(held_out: Demos, modes: Mapping[str, np.ndarray], n_modes: int) -> dict[str, Any]:
    """level -> NMI of the modes with the labels, its interval over episodes, and the accuracy of the best matching."""
    assert held_out.labels is not None
    found: dict[str, Any] = {}
    for level, of_window in modes.items():
        episodes = cut_windows(held_out.lengths, LEVELS[level]).episodes
        agreed = agreement(
            held_out.labels[episodes],
            of_window,
            episodes,
            generator=named_generator(0, "bootstrap"),
            n_labels=len(held_out.label_names),
            n_modes=n_modes,
        )
        numbers = {"nmi": agreed.nmi.value, "low": agreed.nmi.low, "high": agreed.nmi.high}
        numbers["accuracy"] = agreed.accuracy.value
        rounded = {name: value if value is None else round(value, 5) for name, value in numbers.items()}
        found[level] = rounded | {"n_episodes": agreed.nmi.n, "n_windows": len(of_window)}
    return found


def modes_of(model: ModeModel, demos: Demos) -> dict[str, dict[str, np.ndarray]]:
    """evidence -> level -> the mode of every window; the talk's method has its encoder alone."""
    cut = {level: cut_windows(demos.lengths, n_steps) for level, n_steps in LEVELS.items()}
    together = Windows(
        starts=np.concatenate([windows.starts for windows in cut.values()]),
        lengths=np.concatenate([windows.lengths for windows in cut.values()]),
        episodes=np.concatenate([windows.episodes for windows in cut.values()]),
    )
    evidence = {"encoder": model.window_scores(demos, together, "encoder")}
    if isinstance(model.config, UnbraidConfig):
        evidence["combined"] = model.window_scores(demos, together, "policy") + evidence["encoder"]
    ends = np.cumsum([len(windows) for windows in cut.values()])[:-1]
    return {
        name: dict(zip(LEVELS, np.split(of_window.argmax(1), ends), strict=True))
        for name, of_window in evidence.items()
    }


def run_fit(job: Job, folder: Path) -> dict[str, Any]:
    """A fit of ours, scored; unbraid's own model is kept for the closed loop, with the expert of each mode."""
    training, held_out = piles(job.case, job.sizes, job.seed)
    model, took = timed(lambda: fit(training.without_labels(), config_of(job)))
    evidence = {name: scores(held_out, modes, model.n_modes) for name, modes in modes_of(model, held_out).items()}
    result: dict[str, Any] = {"evidence": evidence, **took}
    if job.row == "unbraid":
        kept = model_folder(job, folder)
        shutil.rmtree(kept, ignore_errors=True)
        model.save_pretrained(kept)
        result["expert_of_mode"] = expert_of_mode(model, training)
    return result


def model_folder(job: Job, folder: Path) -> Path:
    """Where the model of unbraid's own row lies."""
    return folder / job.case.name / f"model_seed{job.seed}"


def expert_of_mode(model: ModeModel, training: Demos) -> list[str | None]:
    """The expert that each mode is matched with, one to one, on the training episodes."""
    assert training.labels is not None
    n_labels, episodes = len(training.label_names), np.arange(training.n_episodes)
    table = contingency_by_episode(
        training.labels, model.predict(training), episodes, n_labels=n_labels, n_modes=model.n_modes
    ).sum(0)
    return [training.label_names[label] if label >= 0 else None for label in match_modes(table)]


def run_supervised(job: Job, folder: Path) -> dict[str, Any]:
    """What an encoder of this size reads when it is told the training labels."""
    training, held_out = piles(job.case, job.sizes, job.seed)
    bound, took = timed(lambda: supervised_bound(training, seed=job.seed, n_iterations=job.sizes.n_fit_steps))
    modes = {level: bound.predict(held_out, window_steps=n_steps) for level, n_steps in LEVELS.items()}
    return {"evidence": {"labels": scores(held_out, modes, len(job.case.experts))}, **took}


def run_kmeans(job: Job, folder: Path) -> dict[str, Any]:
    """K-means, once for every length of window and once for episodes; the seconds are of all of them together."""
    training, held_out = piles(job.case, job.sizes, job.seed)
    n_modes = len(job.case.experts)

    def clustered() -> dict[str, np.ndarray]:
        find = functools.partial(kmeans_windows, training.without_labels(), held_out, n_modes=n_modes, seed=job.seed)
        return {level: find(window_steps=n_steps) for level, n_steps in LEVELS.items()}

    modes, took = timed(clustered)
    return {"evidence": {"statistics": scores(held_out, modes, n_modes)}, **took}


def run_fit_time(job: Job, folder: Path) -> dict[str, Any]:
    """The seconds of unbraid's fit on the threads that a user has, with nothing scored."""
    training, _ = piles(job.case, job.sizes, job.seed)
    with computing(TIMING_THREADS):
        _, took = timed(lambda: fit(training.without_labels(), config_of(job)))
    return took | {"n_threads": TIMING_THREADS, "n_training_steps": training.n_steps}


def run_closed_loop(job: Job, folder: Path) -> dict[str, Any]:
    """Each mode, asked for by its not-hot context alone, beside the expert that it was matched with."""
    found = result_of(replace(job, row="unbraid"), folder)["expert_of_mode"]
    model = ModeModel.from_pretrained(model_folder(job, folder))
    experts = {name: measured_expert(name, job.sizes, folder) for name in job.case.experts}
    modes = [measured(steer(model).toward(mode), job.sizes) for mode in range(model.n_modes)]
    matching = np.array([-1 if name is None else job.case.experts.index(name) for name in found])
    table = compare_modes(modes, experts, matching)
    return {
        "experts": {e.name: {metric: e.metrics[metric].to_json() for metric in METRICS} for e in table.experts},
        "modes": {
            m.expert: {
                metric: {"mode": m.metrics[metric].value, **m.equivalence[metric].to_json()} for metric in METRICS
            }
            for m in table.modes
            if m.expert is not None
        },
    }


def measured(controller: Controller, sizes: Sizes) -> dict[str, np.ndarray]:
    """metric -> (seed,) of a controller's rollouts."""
    rollouts = rollout(controller, ENV_ID, seeds=rollout_seeds(sizes), max_steps=sizes.n_steps)
    return measure(rollouts.demos, rollouts.tracks)


def measured_expert(name: str, sizes: Sizes, folder: Path) -> dict[str, np.ndarray]:
    """The same of an expert, which depends on no training seed."""
    asked = {"expert": name, "n_steps": sizes.n_steps, "n_rollouts": sizes.n_rollouts, "source": source_fingerprint()}

    def work() -> dict[str, list[float]]:
        return {metric: values.tolist() for metric, values in measured(make_expert(name), sizes).items()}

    stored = kept(folder / "experts" / f"{name}.json", asked, work)
    return {metric: np.array(values) for metric, values in stored.items()}


RUNNERS: dict[str, Callable[[Job, Path], dict[str, Any]]] = {
    **dict.fromkeys(SCORED, run_fit),
    "supervised": run_supervised,
    "kmeans": run_kmeans,
    "closed_loop": run_closed_loop,
    "fit_time": run_fit_time,
}


# All results, and keeping them


def jobs_of(cases: Iterable[str], rows: Iterable[str], seeds: Iterable[int], sizes: Sizes) -> list[Job]:
    """What there is to do: seed by seed, so that demonstrations are collected once; fits are timed for two experts."""
    rows = [row for row in ROWS if row in set(rows)]
    every = [Job(CASES[case], row, seed, sizes) for case in cases for seed in seeds for row in rows]
    return [job for job in every if job.row != "fit_time" or job.case.name == "two"]


def asked_of(job: Job) -> dict[str, Any]:
    """What a kept result must have been asked, to be taken for this job's."""
    config, sizes = config_of(job), asdict(job.sizes)
    if job.row != "closed_loop":
        del sizes["n_rollouts"]
    return {
        "case": {"experts": list(job.case.experts), "n_episodes": job.case.n_episodes},
        "row": job.row,
        "sizes": sizes,
        "seed": job.seed,
        "config": None if config is None else json.loads(json.dumps(config_to_json(config))),
    }


def path_of(job: Job, folder: Path) -> Path:
    """Where a job's result is kept."""
    return folder / job.case.name / f"{job.row}_seed{job.seed}.json"


def result_of(job: Job, folder: Path) -> dict[str, Any]:
    """A job's result: the kept one, or its work done now."""
    return kept(path_of(job, folder), asked_of(job), lambda: RUNNERS[job.row](job, folder))


def kept(path: Path, asked: dict[str, Any], work: Callable[[], Any]) -> Any:
    """What lies at `path` if it was asked the same; otherwise what `work` gives, which then lies there, whole."""
    stored = stored_at(path, asked)
    if stored is None:
        stored = {"asked": asked, "source": source_fingerprint(), "result": work()}
        write_json(path, stored)
    return stored["result"]


def stored_at(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What lies at `path`, if it was asked the same."""
    stored = read_json(path) if path.exists() else None
    return stored if stored is not None and stored["asked"] == asked else None


@functools.cache
def source_fingerprint() -> str:
    """Names the code that results come from, so that a table says when it mixes two versions."""
    root, digest = Path(unbraid.__file__).parent, hashlib.sha256()
    for package in ("demos", "evaluation", "modes", "policy", "steering", "training", "worlds"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


# The summary


def spread(values: Sequence[float], *, worst: Callable[[Sequence[float]], float] = min) -> dict[str, Any]:
    """Mean and worst over seeds, and each seed's."""
    return {"mean": round(float(np.mean(values)), 5), "worst": worst(values), "per_seed": list(values)}


def summary(seeds: Sequence[int], sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Every result that is there, with its n, and whether targets are met."""
    jobs = jobs_of(CASES, ROWS, seeds, sizes)
    found = {job: stored for job in jobs if (stored := stored_at(path_of(job, folder), asked_of(job)))}
    cases = {c.name: case_summary(c, {j: s for j, s in found.items() if j.case == c}) for c in CASES.values()}
    content = {"benchmark": "modes", "env_id": ENV_ID, "sizes": asdict(sizes), "n_threads": TABLE_THREADS}
    versions = sorted({stored["source"] for stored in found.values()})
    content |= {"complete": len(found) == len(jobs) and len(seeds) >= 3 and len(versions) == 1}
    content |= {"source_versions": versions}
    content |= {"cases": cases, "targets": targets_of(cases)}
    content |= {"provenance": {k: v for k, v in provenance(seed=0).items() if k in ("python", "versions")}}
    return content | {"markdown": text_of(content)}


def case_summary(case: Case, found: Mapping[Job, dict[str, Any]]) -> dict[str, Any]:
    """One case: its rows, its fit's seconds, its closed loop."""
    by_row: dict[str, dict[int, Any]] = {}
    for job, stored in found.items():
        by_row.setdefault(job.row, {})[job.seed] = stored["result"]
    rows = {row: row_summary(by_row[row]) for row in SCORED if row in by_row}
    content: dict[str, Any] = {"experts": list(case.experts), "n_episodes_per_expert": case.n_episodes, "rows": rows}
    if "fit_time" in by_row:
        content["fit_time"] = {"seeds": list(by_row["fit_time"]), "n_threads": TIMING_THREADS}
        content["fit_time"] |= times_of(list(by_row["fit_time"].values()))
    if "closed_loop" in by_row:
        content["closed_loop"] = loop_summary(case, by_row["closed_loop"])
    return content


def row_summary(by_seed: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """One row: for each evidence and level the NMI over seeds, with each seed's interval over episodes."""
    results = list(by_seed.values())
    evidence: dict[str, Any] = {}
    for name in results[0]["evidence"]:
        evidence[name] = {}
        for level in LEVELS:
            at = [result["evidence"][name][level] for result in results]
            numbers = spread([a["nmi"] for a in at]) | {"low": [a["low"] for a in at], "high": [a["high"] for a in at]}
            numbers |= {"accuracy": [a["accuracy"] for a in at]}
            evidence[name][level] = numbers | {k: at[0][k] for k in ("n_episodes", "n_windows")}
    return {"seeds": list(by_seed), "nmi": evidence, **times_of(results)}


def times_of(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seconds on the clock and of the processor over seeds (the worst is the longest), and the load beside them."""
    times = {name: spread([r[name] for r in results], worst=max) for name in ("seconds", "processor_s")}
    return times | {"load_per_core": [r["load_per_core"] for r in results]}


def loop_summary(case: Case, by_seed: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Every expert, and for every training seed how the mode matched with it (if any) compares, metric by metric."""
    results = list(by_seed.values())
    modes = {
        expert: {metric: [r["modes"].get(expert, {}).get(metric) for r in results] for metric in METRICS}
        for expert in case.experts
    }
    return {"seeds": list(by_seed), "experts": results[0]["experts"], "modes": modes}


def targets_of(cases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every target of which there is a result: what it is, what was reached (mean, worst), whether it is met."""
    checked: list[dict[str, Any]] = []

    def check(case: str, what: str, got: Mapping[str, Any], met: bool) -> None:
        n_seeds = len(got["per_seed"])
        checked.append({"case": case, "what": what, "mean": got["mean"], "worst": got["worst"], "n_seeds": n_seeds})
        checked[-1]["met"] = bool(met)

    for case, level, target in TARGETS:
        if "unbraid" in cases[case]["rows"]:
            got = cases[case]["rows"]["unbraid"]["nmi"]["combined"][level]
            of = "episodes" if level == "episode" else f"{level}-step windows"
            met = got["mean"] >= target - ROUNDING and got["worst"] >= target - SLACK - ROUNDING
            check(case, f"NMI of {of} >= {target}", got, met)
    for case, content in cases.items():
        if "fit_time" in content:
            got, what = content["fit_time"]["seconds"], f"seconds of a fit ({TIMING_THREADS} thread)"
            check(case, f"{what} < {FIT_SECONDS_TARGET:.0f}", got, got["worst"] < FIT_SECONDS_TARGET)
        for expert in AS_GOOD:
            if expert in content.get("closed_loop", {}).get("modes", {}):
                judged = {metric: content["closed_loop"]["modes"][expert][metric] for metric in JUDGED}
                got = spread(shares_held(judged))
                check(case, f"{expert} mode as good as its expert in {', '.join(JUDGED)}", got, got["worst"] == 1)
    return checked


def shares_held(of_metric: Mapping[str, Sequence[dict[str, Any] | None]]) -> list[float]:
    """For each training seed, the share of the metrics in which a mode is as good as its expert."""
    return [sum(bool(c and c["holds"]) for c in seed) / len(seed) for seed in zip(*of_metric.values(), strict=True)]


# The tables


def text_of(content: Mapping[str, Any]) -> str:
    """All tables, in Markdown that reads as text."""
    parts: list[str] = []
    for case in content["cases"].values():
        if case["rows"]:
            parts += [heading(case, content["sizes"]), markdown(agreement_table(case))]
        if "fit_time" in case:
            parts += [time_text(case["fit_time"])]
        if "closed_loop" in case:
            parts += [LOOP_TITLE.format(**content["sizes"]), markdown(loop_table(case["closed_loop"]))]
    if content["targets"]:
        lines = [[t["case"], t["what"], f"{t['mean']:.3f} ({t['worst']:.3f})", met_text(t)] for t in content["targets"]]
        parts += [markdown([["experts", "target", "mean (worst)", ""], *lines])]
    if (n_versions := len(content["source_versions"])) > 1:
        parts += [f"Not complete: made by {n_versions} versions of the source. Remove the folder and run it again."]
    return "\n\n".join(parts)


def time_text(times: Mapping[str, Any]) -> str:
    """The fit's seconds, and what the machine was doing meanwhile."""
    clock, processor = times["seconds"], times["processor_s"]
    return (
        f"A fit of unbraid on {times['n_threads']} thread(s): {clock['mean']:.1f} s (longest {clock['worst']:.1f}), "
        f"{processor['mean']:.1f} s of the processor; load up to {max(times['load_per_core']):.1f} per core."
    )


def met_text(target: Mapping[str, Any]) -> str:
    """The verdict, and on how many seeds it stands where that is fewer than three."""
    few = "" if target["n_seeds"] >= 3 else f" ({target['n_seeds']} of 3 seeds)"
    return ("met" if target["met"] else "missed") + few


def heading(case: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
    """What a table of agreement is about."""
    n_training = min(case["n_episodes_per_expert"], sizes["most_episodes"])
    n_seeds = max(len(row["seeds"]) for row in case["rows"].values())
    return (
        f"NMI with {len(case['experts'])} experts ({', '.join(case['experts'])}): {n_training} training and "
        f"{sizes['n_held_out']} held-out episodes each, of {sizes['n_steps']} steps; mean over {n_seeds} training "
        f"seed{'s' if n_seeds > 1 else ''} (worst)"
    )


def agreement_table(case: Mapping[str, Any]) -> list[list[str]]:
    """A line for every row that has results."""
    columns = [f"{level} steps" if LEVELS[level] else level for level in LEVELS]
    table = [["method", *columns, "fit s"]]
    most = max(len(row["seeds"]) for row in case["rows"].values())
    for row, evidence, title in LINES:
        if row in case["rows"]:
            nmi = case["rows"][row]["nmi"][evidence]
            n_seeds = len(case["rows"][row]["seeds"])
            title += f" ({n_seeds} of {most} seeds)" if n_seeds < most else ""
            cells = [f"{nmi[level]['mean']:.3f} ({nmi[level]['worst']:.3f})" for level in LEVELS]
            table.append([title, *cells, f"{case['rows'][row]['seconds']['mean']:.1f}"])
    return table


def loop_table(loop: Mapping[str, Any]) -> list[list[str]]:
    """A line for every expert: its mean, its modes' mean, and with how many training seeds they are as good."""
    table = [["expert", *METRICS]]
    for expert, of_metric in loop["modes"].items():
        cells: list[str] = []
        for metric in METRICS:
            there = [comparison for comparison in of_metric[metric] if comparison is not None]
            modes = f"{np.mean([c['mode'] for c in there]):.2f}" if there else "none"
            held = f"{sum(bool(c['holds']) for c in there)}/{len(of_metric[metric])}"
            cells.append(f"{loop['experts'][expert][metric]['value']:.2f} → {modes}, {held}")
        table.append([expert, *cells])
    return table


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand below each other in plain text, too."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in table]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def json_text(content: Any) -> str:
    """JSON with every list of numbers on one line."""
    text = json.dumps(content, indent=2, allow_nan=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


# The command line


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked; lists of names must be among those that exist."""

    def listed(names: Iterable[str]) -> Callable[[str], list[str]]:
        def names_in(text: str) -> list[str]:
            if unknown := sorted(set(text.split(",")) - set(names)):
                raise argparse.ArgumentTypeError(f"must be among {', '.join(names)}; got {unknown[0]}")
            return text.split(",")

        return names_in

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=listed(CASES), default=list(CASES), help=f"of {','.join(CASES)}")
    parser.add_argument("--rows", type=listed(ROWS), default=list(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--closed-loop", action=argparse.BooleanOptionalAction, default=True, help="let modes act")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the numbers mean nothing"
    )
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/bench_modes, or ..._quick)")
    parser.add_argument("--out", type=Path, help=f"the summary (benchmarks/results/{RESULT.name} when all is there)")
    asked = parser.parse_args(arguments)
    asked.rows = [row for row in asked.rows if asked.closed_loop or row != "closed_loop"]
    asked.folder = asked.folder or Path("runs/bench_modes_quick" if asked.quick else "runs/bench_modes")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    asked = parsed(arguments)
    sizes = QUICK if asked.quick else Sizes()
    jobs = jobs_of(asked.cases, asked.rows, asked.seeds, sizes)
    with computing(TABLE_THREADS), threadpool_limits(TABLE_THREADS):
        for i, job in enumerate(jobs):
            since = time.perf_counter()
            result_of(job, asked.folder)
            done = f"{job.case.name} experts, seed {job.seed}, {job.row}: {time.perf_counter() - since:.1f} s"
            print(f"[{i + 1}/{len(jobs)}] {done}", file=sys.stderr, flush=True)
    content = summary(asked.seeds, sizes, asked.folder)
    print(content["markdown"])
    committed = content["complete"] and not asked.quick
    write_text(asked.out or (RESULT if committed else asked.folder / RESULT.name), json_text(content))


if __name__ == "__main__":
    main()
