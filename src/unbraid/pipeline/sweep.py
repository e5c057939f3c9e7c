"""`unbraid sweep`: from a grid of settings to runs, a table over seeds, and a figure."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.live import Show, live_table
from unbraid.core.processes import available_cores, own_place
from unbraid.core.runs import differences, new_folder, read_json, refuse_existing, write_bytes, write_json, write_text
from unbraid.evaluation.evaluate import csv_text
from unbraid.evaluation.intervals import mean_interval
from unbraid.pipeline.data import load_asked, reading_of, require_share
from unbraid.pipeline.requests import FitRequest, SweepRequest
from unbraid.pipeline.trial import order_of, run_trial
from unbraid.pipeline.unfinished import removed_unless, stopping_with
from unbraid.report.record import read_results
from unbraid.report.style import WIDE, png
from unbraid.report.sweep import SCORES, sweep_figure
from unbraid.training.config import config_to_json
from unbraid.training.fit import require_usable
from unbraid.training.process_workers import ProcessWorkers
from unbraid.training.ray_workers import RayWorkers
from unbraid.training.sweep import Outcome, State, Trial, Workers, run_trials, trials_of

__all__ = ["WORKER", "sweep_stage"]

WORKER = ("-m", "unbraid.pipeline.trial")
"""What Python is told to be a worker."""
_FORMAT, _VERSION = "unbraid-sweep", 1


def sweep_stage(asked: SweepRequest) -> dict[str, Any]:
    """Fits what was not fitted yet, and compares all that was asked.

    Raises:
        ConfigError: a setting or value that does not exist, a number of workers or retries that cannot be, no Ray.
        RunError: the folder is in the way, or holds a sweep of other data.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    trials = trials_of(asked.method, asked.grid)
    _require_possible(asked)
    if not asked.resume:
        refuse_existing(asked.out, resumed_by="sweep.json")
    content = _asked_content(asked)
    going_on = asked.resume and asked.out.exists()
    if going_on:
        _require_same(asked.out / "sweep.json", content)
        trials = _named_as_before(asked.out, trials)
        write_json(asked.out / "sweep.json", content)
    else:
        with new_folder(asked.out) as temporary:
            write_json(temporary / "sweep.json", content)
    outcomes = {trial.name: Outcome("done") for trial in trials if _is_done(asked.out, trial)}
    left = [trial for trial in trials if trial.name not in outcomes]
    if left:
        orders = {trial.name: order_of(_fit_request(asked, trial), trial.config) for trial in left}
        with (
            removed_unless(lambda: going_on or (asked.out / "trials").exists(), asked.out),
            contextlib.redirect_stdout(sys.stderr),  # Ray tells of lost workers there
            stopping_with("Stopped; fits that are done are kept. The same command with --resume does the rest."),
            live_table(f"{asked.out}", ("fit", "is", "for", *SCORES.values())) as show,
        ):
            table = _Table(asked.out, trials, list(outcomes), show)
            workers = _workers(asked, len(left))
            outcomes |= run_trials(orders, workers, retries=asked.retries, on_change=table.change)
    results = _results(asked, trials, outcomes)
    write_json(asked.out / "results.json", results)
    write_text(asked.out / "results.csv", csv_text([_row(group) for group in results["combinations"]]))
    drawn = sweep_figure(results["combinations"], WIDE)
    if drawn is None:
        (asked.out / "results.png").unlink(missing_ok=True)  # that of an earlier command
    else:
        write_bytes(asked.out / "results.png", png(drawn))
    picture = None if drawn is None else str(asked.out / "results.png")
    return {"sweep": str(asked.out), "picture": picture, **results}


def _require_possible(asked: SweepRequest) -> None:
    if own_place().size > 1:
        raise ConfigError("unbraid sweep must run as one process; torchrun started several. Leave torchrun out.")
    if asked.workers is not None and asked.workers < 1:
        raise ConfigError(f"--workers must be at least 1; got {asked.workers}. Leave it out for one a core.")
    if asked.retries < 0:
        raise ConfigError(f"--retries must be at least 0; got {asked.retries}. Leave it out for 2.")
    if asked.gpus_per_trial != 0 and not _is_on_ray(asked):
        raise ConfigError(
            f"--gpus-per-trial must come with --ray or --ray-address; got {asked.gpus_per_trial:g} without. Add --ray, "
            "or leave it out: the fits then take the GPUs in turn."
        )
    require_share(asked.held_out)
    if asked.device != "auto" and not _is_on_ray(asked):
        require_usable(asked.device)


def _is_on_ray(asked: SweepRequest) -> bool:
    return asked.ray or asked.ray_address is not None


def _asked_content(asked: SweepRequest) -> dict[str, Any]:
    """The sweep's `sweep.json`; reading the demonstrations now shows what is wrong with them before the first fit."""
    demos = load_asked(asked)
    content: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "method": asked.method}
    content |= {"held_out": asked.held_out, "data_fingerprint": demos.fingerprint(), "grid": list(asked.grid)}
    return content | reading_of(asked.more)


def _require_same(path: Path, content: dict[str, Any]) -> None:
    """A sweep goes on with the data and method that it began with; its grid may grow."""
    known = read_json(path, remedy="Give a folder that `unbraid sweep` made.")
    known = known if isinstance(known, dict) else {}
    for name in ("format", "version", "method", "held_out", "data_fingerprint"):
        if known.get(name) != content[name]:
            told = differences({name: known.get(name)}, {name: content[name]})
            raise RunError(
                f"{path.parent} must be resumed with the {name.replace('_', ' ')} that it was made with; they differ: "
                f"{told}. Repeat the first call's data and settings, or name another folder with --out."
            )


def _named_as_before(sweep: Path, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials, each by the name of the run that has its settings already: whatever order a grid names them in."""
    runs = sorted((sweep / "trials").glob("*/run.json"))
    known = {_as_text(read_json(run).get("config")): run.parent.name for run in runs}
    return tuple(replace(trial, name=known.get(_as_text(config_to_json(trial.config)), trial.name)) for trial in trials)


def _run_of(sweep: Path, trial: Trial) -> Path:
    return sweep / "trials" / trial.name


def _is_done(sweep: Path, trial: Trial) -> bool:
    """Whether its fit has written all that a fit writes, with these settings."""
    run = _run_of(sweep, trial)
    if not all((run / name).exists() for name in ("run.json", "results.json", "report/index.html")):
        return False
    return _as_text(read_json(run / "run.json").get("config")) == _as_text(config_to_json(trial.config))


def _as_text(config: Any) -> str:
    """What two configs share if they are the same, be they read from a file or not."""
    return json.dumps(config, sort_keys=True)


def _fit_request(asked: SweepRequest, trial: Trial) -> FitRequest:
    return FitRequest(
        data=asked.data,
        out=_run_of(asked.out, trial),
        method=asked.method,
        held_out=asked.held_out,
        seed=trial.config.seed,
        device=asked.device,
        checkpoint_every=asked.checkpoint_every,
        resume=True,
        more=asked.more,
    )


def _workers(asked: SweepRequest, n_trials: int) -> Workers:
    n_cores = available_cores()
    if _is_on_ray(asked):
        return RayWorkers(
            run_trial,
            address=asked.ray_address,
            n_workers=asked.workers,
            n_local=min(n_cores, n_trials),
            gpus_per_trial=asked.gpus_per_trial,
        )
    n_workers = min(asked.workers or n_cores, n_trials)
    return ProcessWorkers([sys.executable, *WORKER], n_workers, _gpus() if asked.device in ("auto", "cuda") else ())


def _gpus() -> Sequence[str]:
    """This machine's GPUs as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(i) for i in range(torch.cuda.device_count())] if named is None else [n for n in named.split(",") if n]


@final
class _Table:
    """What the terminal shows: fits that run, those that failed, the others that are done, those that wait."""

    _ORDER: tuple[State, ...] = ("running", "lost", "failed", "done", "waiting")

    def __init__(self, sweep: Path, trials: Sequence[Trial], done: Sequence[str], show: Show) -> None:
        self._runs = {trial.name: _run_of(sweep, trial) for trial in trials}
        self._states: dict[str, State] = {name: "done" if name in done else "waiting" for name in self._runs}
        self._since: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._show = show
        self._draw()

    def change(self, name: str, state: State) -> None:
        """Notes what has become of a trial, and shows it."""
        now = time.perf_counter()
        if state == "running":
            self._since[name] = now
        elif name in self._since:
            self._seconds[name] = now - self._since[name]
        self._states[name] = state
        self._draw()

    def _draw(self) -> None:
        names = sorted(self._states, key=lambda name: self._ORDER.index(self._states[name]))
        counts = ", ".join(
            f"{n} {state}" for state in self._ORDER if (n := list(self._states.values()).count(state)) > 0
        )
        self._show([self._row(name) for name in names], counts)

    def _row(self, name: str) -> list[str]:
        state = self._states[name]
        scores = _scores_of(self._runs[name]) if state == "done" else {}
        seconds = f"{self._seconds[name]:.0f} s" if name in self._seconds and state != "running" else ""
        return [name, state, seconds, *(f"{scores[key]:.3f}" if key in scores else "" for key in SCORES)]


def _scores_of(run: Path) -> dict[str, float]:
    """What a fit's `results.json` says of held-out episodes, by the score's name."""
    results = read_results(run)
    found: dict[str, Any] = {"held_out_log_likelihood_nats": results["fit"].get("held_out_log_likelihood_nats")}
    for entry in results["unbraid"].get("agreement", []):
        if (entry["level"], entry["evidence"]) == ("episode", "combined"):
            found["episode_nmi"] = entry["nmi"]
    return {name: found[name]["value"] for name in SCORES if found.get(name) and found[name]["value"] is not None}


def _results(asked: SweepRequest, trials: Sequence[Trial], outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Every trial, and every combination of settings over its seeds."""
    entries: list[dict[str, Any]] = []
    for trial in trials:
        outcome = outcomes[trial.name]
        entry = {"name": trial.name, "settings": _plain(trial.settings), "state": outcome.state}
        entry |= {"message": outcome.message, "scores": {}}
        if outcome.state == "done":
            entry["scores"] = _scores_of(_run_of(asked.out, trial))
        entries.append(entry)
    combinations: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        settings = {name: value for name, value in entry["settings"].items() if name != "seed"}
        combinations.setdefault(json.dumps(settings), []).append(entry)
    compared = [_combination(json.loads(key), own) for key, own in combinations.items()]
    about = {"format": "unbraid-sweep-results", "version": 1, "method": asked.method, "held_out": asked.held_out}
    return about | {"trials": entries, "combinations": compared}


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _combination(settings: dict[str, Any], entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each score's mean over the seeds that are done, with its interval."""
    done = [entry for entry in entries if entry["state"] == "done"]
    found: dict[str, Any] = {"settings": settings, "n_fits": len(entries), "n_done": len(done), "scores": {}}
    for name in SCORES:
        values = [entry["scores"][name] for entry in done if name in entry["scores"]]
        if values:
            within = (0.0, 1.0) if name == "episode_nmi" else (-np.inf, np.inf)
            found["scores"][name] = mean_interval(np.array(values), unit_of_n="training seeds", within=within).to_json()
    return found


def _row(combination: dict[str, Any]) -> dict[str, Any]:
    """A line of `results.csv`."""
    row = {n: "x".join(map(str, v)) if isinstance(v, list) else v for n, v in combination["settings"].items()}
    row |= {"n_fits": combination["n_fits"], "n_done": combination["n_done"]}
    for name in SCORES:
        estimate = combination["scores"].get(name) or {}
        row |= {name: estimate.get("value"), f"{name}_low": estimate.get("low"), f"{name}_high": estimate.get("high")}
    return row
