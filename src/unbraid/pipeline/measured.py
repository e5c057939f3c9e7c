"""What an evaluation leaves in a run's folder: every episode as CSV and JSON, and the summary for `results.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.runs import write_json, write_text
from unbraid.demos.episodes import Demos
from unbraid.demos.selection import Selection
from unbraid.evaluation.evaluate import Evaluation, csv_text
from unbraid.evaluation.training_seeds import across_seeds
from unbraid.report.record import results_if_any

__all__ = ["across_entry", "collected_seeds", "evaluation_entry", "save_episodes", "seeds_entry"]


def evaluation_entry(found: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The entry "evaluation" of `results.json`: of every actor, the summary of every metric; and their units.

    Args:
        found: by name, at least one, all on the same seeds.
    """
    first = next(iter(found.values()))
    return {
        "env_id": first.env_id,
        "n_episodes": len(first.seeds),
        "max_steps": first.rollouts.demos.facts.get("max_steps"),
        "units": {name: unit for evaluation in found.values() for name, unit in evaluation.units.items()},
        "actors": [
            {"name": name, "summary": {metric: summary.to_json() for metric, summary in evaluation.summary.items()}}
            for name, evaluation in found.items()
        ],
    }


def across_entry(
    modes_of_runs: Sequence[Sequence[Evaluation]], matchings: Sequence[np.ndarray], experts: Sequence[str]
) -> list[dict[str, Any]]:
    """For every expert, its mode in the runs of several training seeds; training seeds are the unit.

    Args:
        modes_of_runs: of every run, the evaluation of every mode, all on the same seeds.
        matchings: of every run, (mode,) the expert of each mode, or -1.
        experts: their names.

    Returns:
        for every expert its name, the mode of each run (None where none is matched with it), and the metrics over
        runs, none where a run has no mode for it.
    """
    entries: list[dict[str, Any]] = []
    for index, name in enumerate(experts):
        places = [np.flatnonzero(np.asarray(matching) == index) for matching in matchings]
        modes = [int(place[0]) if len(place) else None for place in places]
        runs = [of_run[mode] for of_run, mode in zip(modes_of_runs, modes, strict=True) if mode is not None]
        metrics = across_seeds(runs).metrics if len(runs) == len(modes) else {}
        entries.append({"expert": name, "modes": modes, "metrics": {m: e.to_json() for m, e in metrics.items()}})
    return entries


def save_episodes(run: Path, found: Mapping[str, Evaluation], entry: Mapping[str, Any]) -> None:
    """Writes every episode of everybody into `run/evaluation.csv` and `run/evaluation.json`; older ones are replaced.

    Args:
        run: the run's folder.
        found: by name.
        entry: what `evaluation_entry` said of them.
    """
    rows = [{"actor": name, **row} for name, evaluation in found.items() for row in evaluation.table]
    write_text(run / "evaluation.csv", csv_text(rows))
    actors = [{**actor, "episodes": found[actor["name"]].table} for actor in entry["actors"]]
    write_json(run / "evaluation.json", {"format": "unbraid-evaluation", "version": 1, **entry, "actors": actors})


def seeds_entry(*piles: Demos | Selection | None) -> dict[str, list[int]]:
    """What `results.json` keeps, in "data", of the seeds of the demonstrations; nothing where none were recorded."""
    seeds = [pile.seeds for pile in piles if pile is not None and pile.seeds is not None]
    return {"seeds": np.unique(np.concatenate(seeds)).tolist()} if seeds else {}


def collected_seeds(*runs: Path) -> list[int]:
    """The seeds of the demonstrations that runs were fitted on, as far as their `results.json` says."""
    seeds: set[int] = set()
    for run in runs:
        seeds.update((results_if_any(run).get("data") or {}).get("seeds") or [])
    return sorted(seeds)
