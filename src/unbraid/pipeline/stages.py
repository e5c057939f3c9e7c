"""The stages one by one, as the command line's verbs call them: each takes what was asked and gives a JSON object."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.core.progress import by_totals, progress
from unbraid.core.randomness import named_generator
from unbraid.core.runs import (
    create_run,
    differences,
    open_run,
    provenance,
    refuse_existing,
    require_free,
    write_json,
)
from unbraid.demos.check import require_fit_ready
from unbraid.demos.episodes import Demos
from unbraid.demos.selection import Selection
from unbraid.demos.store import save_demos
from unbraid.evaluation.behaviour import COMPARED, compare_modes
from unbraid.evaluation.evaluate import Evaluation, evaluate_all, fresh_seeds, require_fitting_world
from unbraid.evaluation.intervals import mean_interval
from unbraid.evaluation.obedience import obedience_entries
from unbraid.evaluation.over_time import over_time_entry
from unbraid.evaluation.portraits import portraits_entry
from unbraid.evaluation.reliability import judged_windows, reliability_entry
from unbraid.evaluation.scores import contingency_by_episode, match_modes, stability
from unbraid.evaluation.style import style_entry
from unbraid.evaluation.tables import agreement_entries, agreement_of_modes, matching_of
from unbraid.evaluation.training_seeds import require_different_models
from unbraid.modes.assignment import stretches_of
from unbraid.modes.calibration import NOT_SURE, likeliest
from unbraid.modes.stretches import some_within
from unbraid.pipeline.data import load_asked, naming, reading_of, require_share
from unbraid.pipeline.environment import environment_entry, environment_of, require_possible_numbers
from unbraid.pipeline.measured import across_entry, collected_seeds, evaluation_entry, save_episodes, seeds_entry
from unbraid.pipeline.paths import save_paths
from unbraid.pipeline.requests import (
    CollectRequest,
    EvaluateRequest,
    FitRequest,
    ModesRequest,
)
from unbraid.pipeline.unfinished import removed_unless, resumed_from, stopping_with
from unbraid.pipeline.verdicts import verdicts_of
from unbraid.report.page import write_report
from unbraid.report.record import read_results
from unbraid.steering.steered import steer
from unbraid.training.checkpoint import latest_checkpoint
from unbraid.training.config import FitConfig, config_to_json, modes_of_episodes
from unbraid.training.fit import fit
from unbraid.training.joint import MOST_READ_STEPS
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.training.ranks import Ranks, ranks_of_torchrun
from unbraid.worlds.collect import collect
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import actor_named

__all__ = ["collect_stage", "evaluate_stage", "fit_stage", "modes_stage", "report_stage"]

_SHOWN_WINDOWS = (1, 10, 25, 50)
_PORTRAYED_STEPS = 50_000
"""What each mode is like is read of so many recorded steps at most: more say the same."""


def collect_stage(asked: CollectRequest) -> dict[str, Any]:
    """Records demonstrations of the named experts, shuffled together, into a new folder."""
    require_possible_numbers(asked)
    require_free(asked.out)
    sources = [(name, actor_named(name, action_noise=asked.action_noise)) for name in asked.experts]
    with progress("collect", len(sources) * asked.episodes * (asked.max_steps or 1000), "steps") as advance:
        demos = collect(
            sources,
            env_id=asked.env,
            n_episodes=asked.episodes,
            seed=asked.seed,
            max_steps=asked.max_steps,
            on_progress=by_totals(advance),
        )
    save_demos(demos, asked.out)
    about = {"demos": str(asked.out), "n_episodes": demos.n_episodes, "n_steps": demos.n_steps}
    return about | {"experts": list(asked.experts), "env_id": asked.env, "data_fingerprint": demos.fingerprint()}


def fit_stage(asked: FitRequest, config: FitConfig) -> dict[str, Any]:
    """Fits, saves the model, scores it on held-out episodes, and writes the run's page.

    Under torchrun all processes fit together; the first writes, and the others get what it answers.
    """
    with ranks_of_torchrun(asked.device) as ranks:
        if ranks.is_first:
            return ranks.shared_json(_fit_and_write(asked, config, ranks))
        training, _ = _training_and_held_out(asked, config)
        if not ranks.shared_json(None):  # the first process says whether the run has its model already
            with naming(asked.data):
                fit(training.without_labels(), config, _options(asked, config, training.fingerprint(), ranks))
        return ranks.shared_json(None)


def _training_and_held_out(asked: FitRequest, config: FitConfig) -> tuple[Selection, Selection | None]:
    require_share(asked.held_out)
    demos = load_asked(asked)
    with naming(asked.data):
        # Of all episodes, so that a message counts them as the file does; the fit asks again of those it is given.
        n_modes = 2 if config.n_modes == "auto" else config.n_modes
        require_fit_ready(demos, window_steps=1, n_modes=n_modes, of_episodes=modes_of_episodes(config))
        training, held_out = _split(demos, asked, config.seed)  # no copies, which may not fit in memory
        _require_enough_left(training, held_out, config)
        return training, held_out


def _require_enough_left(training: Selection, held_out: Selection | None, config: FitConfig) -> None:
    """Says where it is for want of what is held out, which a fit knows nothing of, that it would refuse.

    Raises:
        DataError: fewer than 2 episodes.
        ConfigError: more modes than episodes, where each has one.
    """
    if held_out is None:
        return
    n_left = int(np.count_nonzero(training.lengths))  # an episode of no steps teaches nothing
    n_all = n_left + held_out.n_episodes
    left = f"{n_left} of {n_all} {'is' if n_left == 1 else 'are'} left after holding out {held_out.n_episodes}"
    if n_left < 2:
        raise DataError(f"A fit must have at least 2 episodes; {left}. Use --held-out 0, or record more.")
    n_modes = config.n_modes
    if modes_of_episodes(config) and n_modes != "auto" and n_left < n_modes <= n_all:
        raise ConfigError(
            f"n_modes must be at most the number of episodes that are fitted; {left}, for {n_modes} modes. Use "
            "--held-out 0, ask for fewer modes, or bring more demonstrations."
        )


def _options(asked: FitRequest, config: FitConfig, fingerprint: str, ranks: Ranks) -> LoopOptions:
    return LoopOptions(
        run=asked.out,
        resume=asked.resume,
        device=asked.device,
        tensorboard=asked.tensorboard,
        checkpoint_every=asked.checkpoint_every,
        asked={"config": config_to_json(config), "data": fingerprint},
        ranks=ranks,
    )


def _fit_and_write(asked: FitRequest, config: FitConfig, ranks: Ranks) -> dict[str, Any]:
    run = asked.out
    if not asked.resume:
        refuse_existing(run, resumed_by="run.json")
    training, held_out = _training_and_held_out(asked, config)
    fingerprint = training.fingerprint()
    content = {"command": "fit", "config": config_to_json(config), "held_out": asked.held_out}
    content |= reading_of(asked.more)
    content |= {"provenance": provenance(seed=config.seed, data_fingerprint=fingerprint)}
    going_on = asked.resume and run.exists()
    if going_on:
        _require_same(open_run(run), content, run)
    else:
        create_run(run, content)

    def worth_keeping() -> bool:
        return going_on or latest_checkpoint(run / "checkpoints") is not None

    is_fitted = ranks.shared_json(going_on and (run / "model").exists())
    if is_fitted:
        model = ModeModel.from_pretrained(run)
    else:
        with resumed_from(worth_keeping), removed_unless(worth_keeping, run), naming(asked.data):
            model = fit(training.without_labels(), config, _options(asked, config, fingerprint, ranks))
    with (
        resumed_from(worth_keeping),
        stopping_with("Stopped; the fit is done and kept. The same command with --resume does the rest."),
    ):
        if not is_fitted:
            model.save_pretrained(run / "model")
        if is_fitted and (run / "results.json").exists():  # with what was evaluated since
            results = read_results(run)
        else:
            results = _fit_results(model, training, held_out)
            write_json(run / "results.json", results)
        page = write_report(run)
    return {"run": str(run), "page": str(page), **results["unbraid"], "fit": results["fit"]}


def _require_same(known: dict[str, Any], content: dict[str, Any], run: Path) -> None:
    """A fit goes on with what it began with: `run.json` must stay true."""
    known, content = ({**of, "data": (of.get("provenance") or {}).get("data_fingerprint")} for of in (known, content))
    for name in ("command", "config", "held_out", "data"):
        if known.get(name) != json.loads(json.dumps(content[name])):
            raise RunError(
                f"{run} must be resumed with the {name} that it was made with; they differ: "
                f"{differences({name: known.get(name)}, {name: content[name]})}. Repeat the first call's settings and "
                "data, or start a new run."
            )


def _split(demos: Demos, asked: FitRequest, seed: int) -> tuple[Selection, Selection | None]:
    if asked.held_out == 0:
        return Selection(demos, np.arange(demos.n_episodes)), None
    return Selection.split(demos, held_out=asked.held_out, generator=named_generator(seed, "held out"))


def _some(chosen: Selection, seed: int, most_steps: int = MOST_READ_STEPS) -> Selection:
    """As many episodes as are read for the page: all, up to so many steps, or a uniform subset."""
    some = some_within(chosen.lengths, most_steps, named_generator(seed, "read for the page"))
    return replace(chosen, episodes=chosen.episodes[some])


def _fit_results(model: ModeModel, fitted_on: Selection, left_out: Selection | None) -> dict[str, Any]:
    """What the page shows of a fit: the search, held-out likelihood, and agreement where there are labels."""
    training = _some(fitted_on, model.config.seed).copied()
    held_out = None if left_out is None else _some(left_out, model.config.seed).copied()
    data: dict[str, Any] = {"n_episodes": fitted_on.n_episodes, "n_steps": fitted_on.n_steps}
    data |= environment_entry(training.facts)
    if training.n_steps < fitted_on.n_steps:
        data["n_steps_read"] = training.n_steps
    data |= seeds_entry(fitted_on, left_out)
    data |= {"observation_names": list(training.observation_names)} if training.observation_names else {}
    own: dict[str, Any] = {"n_modes": model.n_modes, "gradient_steps": model.config.n_steps}
    own["calibrated_on"] = 0 if model.calibration is None else model.calibration.n_spans
    own |= {} if model.search is None else {"search": model.search}
    if model.n_modes > 1:
        shown = _some(fitted_on, model.config.seed, _PORTRAYED_STEPS)
        own["portraits"] = portraits_entry(model, shown.copied(), shown.episodes)
    fitted: dict[str, Any] = {"method": model.config.method, "training_log_likelihood_nats": model.score(training)}
    fitted["log_likelihood_under"] = "changing_modes" if model.switch_rate > 0 else "best_mode"
    if left_out is not None and held_out is not None:
        data["held_out_episodes"] = left_out.n_episodes
        own |= {"over_time": over_time_entry(model, held_out)} if model.switch_rate > 0 else {}
        if model.n_modes > 1 and model.switch_rate == 0:  # one mode is always right, and a change within a window never
            matching = None if training.labels is None else matching_of(model, training)
            judged = judged_windows(model, held_out, window_lengths=(10, 50), expert_of_mode=matching)
            own["reliability"] = [reliability_entry(windows, seed=model.config.seed) for windows in judged]
        own |= {} if model.style_reader is None else {"style": style_entry(model, held_out)}
        per_episode = np.array([model.score(held_out.select([e])) for e in np.flatnonzero(held_out.lengths).tolist()])
        fitted["held_out_log_likelihood_nats"] = mean_interval(per_episode).to_json()
        if held_out.labels is not None and len(np.unique(held_out.labels)) > 1:  # of one expert nothing is told apart
            seed = model.config.seed
            lengths = [w for w in _SHOWN_WINDOWS if w <= int(held_out.lengths.max())]
            own |= agreement_entries(model, held_out, window_lengths=lengths, seed=seed)
    experts = list(training.label_names)
    results = {"format": "unbraid-results", "version": 1, "experts": experts, "data": data, "unbraid": own}
    return results | {"fit": fitted}


def modes_stage(asked: ModesRequest) -> dict[str, Any]:
    """The mode of every episode (or window) of a data set, how probable each is, and what each mode holds."""
    model, demos = ModeModel.from_pretrained(asked.run), load_asked(asked)
    with naming(asked.data):
        windows = model.cut(demos, asked.window_steps)
        scores = model.window_scores(demos, windows)
    probabilities = model.calibrated(scores, windows)
    modes = likeliest(probabilities, asked.min_probability)
    shares = np.bincount(modes[modes != NOT_SURE], minlength=model.n_modes) / len(modes)
    found: dict[str, Any] = {"n_modes": model.n_modes, "window_steps": asked.window_steps}
    found["not_sure"] = {"min_probability": asked.min_probability, "share": float((modes == NOT_SURE).mean())}
    found["modes"] = [
        {
            "mode": mode,
            "share": float(shares[mode]),
            "n": int((modes == mode).sum()),
            "mean_probability": float(probabilities[modes == mode, mode].mean()) if (modes == mode).any() else None,
        }
        for mode in range(model.n_modes)
    ]
    found["assignment"] = [
        {
            "episode": int(e),
            "first_step": int(s),
            "mode": int(m),
            "probability": float(p.max()),
            "probabilities": p.tolist(),
        }
        for e, s, m, p in zip(
            windows.episodes, windows.starts - demos.step_starts[windows.episodes], modes, probabilities, strict=True
        )
    ]
    if model.style_reader is not None:
        styles = model.styles_of(demos, windows, scores.argmax(1))
        for entry, style in zip(found["assignment"], styles, strict=True):
            entry["style"] = float(style)
    if model.switch_rate > 0:
        found |= _changes_of(model, demos)
    if asked.beside:
        of_each = windows.episodes if asked.window_steps is None else slice(None)  # episodes of no steps have no window
        with naming(asked.data):
            others = [
                ModeModel.from_pretrained(r).predict(demos, window_steps=asked.window_steps)[of_each]
                for r in asked.beside
            ]
        alike = stability(
            [probabilities.argmax(1), *others],
            windows.episodes,
            generator=named_generator(model.config.seed, "stability"),
        )
        found["stability"] = {"n_fits": 1 + len(others), "ari": alike.to_json()}
    if demos.labels is not None and len(np.unique(demos.labels[windows.episodes])) > 1:
        found["experts"] = list(demos.label_names)
        decided = windows.episodes[modes != NOT_SURE]
        found["agreement"] = None
        if len(np.unique(demos.labels[decided])) > 1:  # of one expert nothing is told apart
            found["agreement"] = agreement_of_modes(
                model, demos, windows, modes, window_steps=asked.window_steps, seed=model.config.seed
            )
    return found


def _changes_of(model: ModeModel, demos: Demos) -> dict[str, Any]:
    """Where modes take over from one another within episodes: the share of the steps in each mode, the change points,
    and the likeliest path as the stretches of one mode, each with its steps' mean probability of that mode."""
    timeline = model.timeline(demos)
    stretches = stretches_of(timeline.modes, demos.episode_of_step)
    first, n_steps = np.flatnonzero(np.diff(stretches, prepend=-1)), np.bincount(stretches)
    sure = timeline.probabilities[np.arange(demos.n_steps), timeline.modes]
    episodes, modes = demos.episode_of_step[first], timeline.modes[first]
    columns = {
        "episode": episodes,
        "first_step": first - demos.step_starts[episodes],
        "n_steps": n_steps,
        "mode": modes,
        "probability": np.bincount(stretches, sure) / n_steps,
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return {
        "switch_rate": model.switch_rate,
        "shares_of_steps": (np.bincount(timeline.modes, minlength=model.n_modes) / demos.n_steps).tolist(),
        "change_points": [point.to_json() for point in timeline.change_points],
        "stretches": [dict(zip(columns, row, strict=True)) for row in rows],
    }


def evaluate_stage(asked: EvaluateRequest) -> dict[str, Any]:
    """Measures every mode, beside the named experts on the same seeds, and adds it to the run's results and page."""
    require_possible_numbers(asked)
    open_run(asked.run)
    results = read_results(asked.run)
    models = [ModeModel.from_pretrained(run) for run in (asked.run, *asked.beside)]
    if asked.beside and not asked.experts:
        raise ConfigError(
            "--beside needs --experts, as modes of several runs are told apart by the expert that each does; got none. "
            "Name them."
        )
    env_id = environment_of(asked.run, asked.env, models[0])
    for model in models[1:]:
        require_fitting_world(model, env_id)
    require_different_models(models)
    experts = {name: actor_named(name) for name in asked.experts}
    actors: dict[str, Controller] = dict(experts)
    for run, model in enumerate(models):
        actors |= {_mode_name(run, mode): steer(model).toward(mode) for mode in range(model.n_modes)}
    seeds = fresh_seeds(asked.episodes, seed=asked.seed, avoid=collected_seeds(asked.run, *asked.beside))
    found = evaluate_all(actors, env_id, seeds=seeds, max_steps=asked.max_steps)
    modes = [[found[_mode_name(run, k)] for k in range(model.n_modes)] for run, model in enumerate(models)]
    matchings = [_matching(model, [found[name].rollouts.demos for name in experts]) for model in models]
    compared = compare_modes(
        [_compared(mode) for mode in modes[0]], {name: _compared(found[name]) for name in experts}, matchings[0]
    )
    behaviour = {"env_id": env_id, "n_seeds": asked.episodes, **compared.to_json()}
    behaviour["obedience"] = obedience_entries(
        models[0],
        [mode.rollouts for mode in modes[0]],
        {name: found[name].rollouts for name in experts},
        matchings[0].tolist(),
    )
    evaluation = evaluation_entry(found)
    if asked.beside:
        evaluation["training_seeds"] = across_entry(modes, matchings, list(experts))
    save_episodes(asked.run, found, evaluation)
    measured = _with_behaviour(results, behaviour, list(experts)) | {"evaluation": evaluation}
    write_json(asked.run / "results.json", measured)
    save_paths(asked.run, {name: found[name] for name in experts}, modes[0])
    page = write_report(asked.run)
    told = {"run": str(asked.run), "page": str(page), "experts": measured["experts"]}
    return {**told, "behaviour": behaviour, "evaluation": evaluation}


def _mode_name(run: int, mode: int) -> str:
    """How a mode is called in the table of episodes; run 0 is the one that was asked for."""
    return f"mode {mode}" if run == 0 else f"run {run}, mode {mode}"


def _compared(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """The metrics that the page's table has columns for."""
    return {name: evaluation.values[name] for name in COMPARED if name in evaluation.values}


def _with_behaviour(results: dict[str, Any], behaviour: dict[str, Any], experts: list[str]) -> dict[str, Any]:
    """A run's results with what was measured now; what a demo found beside it stays, and is judged again."""
    before = results.get("behaviour") or {}
    told = {"talk_modes": before["talk_modes"]} if "talk_modes" in before else {}
    results = results | {"experts": results.get("experts") or experts, "behaviour": behaviour | told}
    return results | {"verdicts": verdicts_of(results)} if "verdicts" in results else results


def _matching(model: ModeModel, rollouts: Sequence[Demos]) -> np.ndarray:
    """The expert of each mode, by re-encoding the experts' own rollouts; -1 for all where none were named."""
    if not rollouts:
        return np.full(model.n_modes, -1)
    modes = [model.predict(demos) for demos in rollouts]
    labels = np.repeat(np.arange(len(modes)), [len(m) for m in modes])
    every = np.concatenate(modes)
    counts = contingency_by_episode(labels, every, np.arange(len(every)), n_labels=len(modes), n_modes=model.n_modes)
    return match_modes(counts.sum(0))


def report_stage(run: Path) -> dict[str, Any]:
    """Draws the run's page again."""
    return {"run": str(run), "page": str(write_report(run))}
