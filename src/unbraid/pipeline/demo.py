"""`unbraid demo`: the talk's experiment repeated, extended and solved, on one screen."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.progress import by_totals, progress
from unbraid.core.runs import create_run, new_folder, provenance, write_json
from unbraid.demos.episodes import Demos
from unbraid.demos.store import read_store, save_demos
from unbraid.evaluation.behaviour import compare_modes
from unbraid.evaluation.evaluate import Evaluation, evaluate_all, fresh_seeds
from unbraid.evaluation.obedience import obedience_entries
from unbraid.evaluation.reliability import judged_windows, reliability_entry
from unbraid.evaluation.tables import agreement_entries, matching_of
from unbraid.pipeline.config import DemoConfig
from unbraid.pipeline.measured import seeds_entry
from unbraid.pipeline.paths import save_paths
from unbraid.pipeline.talk import repeat_talk, talk_modes_in_the_world
from unbraid.pipeline.unfinished import removed_unless, stopping_with
from unbraid.pipeline.verdicts import verdicts_of
from unbraid.report.page import write_report
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig, config_to_json
from unbraid.training.fit import fit
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert

__all__ = ["collect_demonstrations", "keep_demonstrations", "kept_demonstrations", "run_demo"]

_STOPPED = "Stopped; nothing was kept, as a demo is made in one go. Run the same command again."

_KEPT = "demonstrations"
_HELD_OUT_SEED = 1_000_000  # one held-out pile for all seeds, so that two seeds' scores can be compared


def run_demo(asked: DemoConfig) -> Path:
    """Collects, fits the talk's method and unbraid's, steers, measures, draws, and writes the page.

    Returns:
        The page, `OUT/report/index.html`.

    Raises:
        RunError: the run's folder exists.
        StorageError: the disk refused.
    """
    run = create_run(asked.out, {"command": "demo", "config": _asked(asked), "provenance": provenance(seed=asked.seed)})
    with removed_unless((run / "results.json").exists, run), stopping_with(_STOPPED):
        training, held_out = collect_demonstrations(asked)
        keep_demonstrations(run, training, held_out)
        talk = repeat_talk(asked, training.without_labels(), held_out)
        model = _fit_own_method(asked, training.without_labels(), run)
        experts, modes = _roll_out(asked, model)
        talk_modes = talk_modes_in_the_world(asked, talk)
        matching = matching_of(model, training)
        results: dict[str, Any] = {
            "format": "unbraid-results",
            "version": 1,
            "experts": list(asked.experts),
            "data": _describe(asked, training, held_out),
            "talk": talk.entry,
            "unbraid": _own_entry(asked, model, matching, held_out),
            "behaviour": _behaviour_entry(asked, model, (experts, modes), matching)
            | {"talk_modes": talk_modes.entries},
        }
        results["verdicts"] = verdicts_of(results)
        save_paths(run, experts, modes, talk_modes.paths)
        talk.save_metrics(run)
        write_json(run / "results.json", results)
    return write_report(run)


def _asked(asked: DemoConfig) -> dict[str, Any]:
    """What was asked, without saying where on whose machine."""
    content = {name: value for name, value in dataclasses.asdict(asked).items() if name in ("seed", "quick")}
    own = config_to_json(_own_config(asked))
    return {**content, "experts": list(asked.experts), "sizes": dataclasses.asdict(asked.sizes), "own_method": own}


def collect_demonstrations(asked: DemoConfig) -> tuple[Demos, Demos]:
    """(training, held out): the experts' episodes shuffled together, on seeds of their own."""
    sources = [(name, make_expert(name)) for name in asked.experts]
    sizes, piles = asked.sizes, []
    counts = (sizes.episodes, sizes.held_out_episodes)
    total = sum(counts) * len(sources) * sizes.max_steps
    with progress("collect", total, "steps") as advance:
        for part, count in enumerate(counts):
            seed = _HELD_OUT_SEED if part else asked.seed
            piles.append(
                collect(
                    sources,
                    env_id=asked.env_id,
                    n_episodes=count,
                    seed=seed,
                    max_steps=sizes.max_steps,
                    on_progress=by_totals(advance),
                )
            )
    return piles[0], piles[1]


def keep_demonstrations(run: Path, training: Demos, held_out: Demos) -> None:
    """Writes `RUN/demonstrations/`, so that the studio shows them at once; nothing breaks where it is removed.

    Raises:
        RunError: it exists.
        StorageError: the disk refused.
    """
    with new_folder(run / _KEPT) as temporary:
        save_demos(training, temporary / "training")
        save_demos(held_out, temporary / "held_out")


def kept_demonstrations(run: Path) -> tuple[Demos, Demos] | None:
    """(training, held out) as `keep_demonstrations` wrote them, memory-mapped; None where there are none.

    Raises:
        DataError: they are damaged.
    """
    if not (run / _KEPT).is_dir():
        return None
    return read_store(run / _KEPT / "training"), read_store(run / _KEPT / "held_out")


def _own_config(asked: DemoConfig) -> UnbraidConfig:
    """unbraid's own method with its defaults, one mode per expert."""
    return UnbraidConfig(n_modes=len(asked.experts), n_steps=asked.sizes.fit_steps, seed=asked.seed)


def _fit_own_method(asked: DemoConfig, training: Demos, run: Path) -> ModeModel:
    """Fits and saves the model that a user takes away."""
    model = fit(training, _own_config(asked), LoopOptions(run=run, title="unbraid's method"))
    model.save_pretrained(run / "model")
    return model


def _roll_out(asked: DemoConfig, model: ModeModel) -> tuple[dict[str, Evaluation], list[Evaluation]]:
    """Every expert, and every mode from its not-hot context alone, on the same seeds."""
    sizes = asked.sizes
    seeds = fresh_seeds(sizes.paired_seeds, seed=asked.seed)
    actors: dict[str, Any] = {name: make_expert(name) for name in asked.experts}
    actors |= {f"mode {mode}": steer(model).toward(mode) for mode in range(model.n_modes)}
    found = evaluate_all(actors, asked.env_id, seeds=seeds, max_steps=sizes.max_steps)
    experts = {name: found[name] for name in asked.experts}
    return experts, [found[f"mode {mode}"] for mode in range(model.n_modes)]


def _describe(asked: DemoConfig, training: Demos, held_out: Demos) -> dict[str, Any]:
    """What the demonstrations are."""
    return {
        "env_id": asked.env_id,
        "n_episodes": training.n_episodes,
        "n_steps": training.n_steps,
        "held_out_episodes": held_out.n_episodes,
        "data_fingerprint": training.fingerprint(),
        **seeds_entry(training, held_out),
    }


def _own_entry(asked: DemoConfig, model: ModeModel, matching: np.ndarray, held_out: Demos) -> dict[str, Any]:
    """What the search for modes said, unbraid's own method in the talk's form, and its agreement with the experts."""
    scores = agreement_entries(model, held_out, window_lengths=(1, 10, 25, 50), seed=asked.seed)
    judged = judged_windows(model, held_out, window_lengths=(10, 50), expert_of_mode=matching)
    scores["reliability"] = [reliability_entry(windows, seed=asked.seed) for windows in judged]
    own: dict[str, Any] = {"n_modes": model.n_modes, "gradient_steps": model.config.n_steps, "search": model.search}
    own["calibrated_on"] = 0 if model.calibration is None else model.calibration.n_spans
    return {**own, **scores}


def _behaviour_entry(
    asked: DemoConfig,
    model: ModeModel,
    found: tuple[dict[str, Evaluation], list[Evaluation]],
    matching: np.ndarray,
) -> dict[str, Any]:
    """Each mode beside the expert that it matches, paired by seed; and whether it does what was asked."""
    experts, modes = found
    compared = compare_modes(
        [_shown(mode) for mode in modes],
        {name: _shown(expert) for name, expert in experts.items()},
        matching,
    )
    obeyed = obedience_entries(
        model,
        [mode.rollouts for mode in modes],
        {name: expert.rollouts for name, expert in experts.items()},
        matching.tolist(),
    )
    return {
        "env_id": asked.env_id,
        "n_seeds": asked.sizes.paired_seeds,
        **compared.to_json(),
        "obedience": obeyed,
    }


def _shown(evaluation: Evaluation) -> dict[str, Any]:
    """What the page's table has columns for; every episode has the same length here."""
    return {name: evaluation.values[name] for name in ("goals", "return", "cost", "distance", "displacement")}
