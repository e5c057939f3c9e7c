"""How one result of the benchmark of modes is computed, and kept: a row of one case for one training seed."""

import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import unbraid
from changing import EXPERT
from encoders import KINDS, fitted_encoder, fitted_policy
from machine import load_per_core
from mode_cases import (
    ENCODERS,
    IN_ORDER_LEVELS,
    LEVELS,
    METRICS,
    SCORED,
    SWEPT,
    SWITCHED_OFF,
    TALK,
    TALK_ENCODERS,
    TOO_FEW,
    TOO_MANY,
    Case,
    Sizes,
    pile_of,
)
from mode_certainty import certainty_of
from mode_online import online_of
from unbraid.core.randomness import named_generator
from unbraid.core.runs import read_json, write_json
from unbraid.demos.episodes import Demos
from unbraid.evaluation.baselines import kmeans_windows, supervised_fit
from unbraid.evaluation.behaviour import compare_modes, measure
from unbraid.evaluation.boundaries import boundary_scores
from unbraid.evaluation.categorical_vae import categorical_vae
from unbraid.evaluation.linear_policies import linear_policies
from unbraid.evaluation.scores import agreement, contingency_by_episode, purity
from unbraid.evaluation.tables import matching_of
from unbraid.evaluation.transition_kmeans import kmeans_transitions
from unbraid.modes.timeline import ChangePoint, change_steps
from unbraid.modes.windows import cut_windows, joined_windows
from unbraid.steering.steered import steer
from unbraid.training.config import FitConfig, TalkConfig, UnbraidConfig, config_to_json
from unbraid.training.fit import fit
from unbraid.training.model import ModeModel
from unbraid.training.networks import Evidence
from unbraid.training.steps import Steps
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout
from varying import SPEED, mean_speeds

ROLLOUT_SEED = 930_000
OUR_OWN = ("modes", "policy", "steering", "training")
OTHERS_NEED = (
    *(f"demos/{name}.py" for name in ("arrays", "episodes")),
    *(f"evaluation/{n}.py" for n in ("baselines", "categorical_vae", "linear_policies", "scores", "transition_kmeans")),
    *(f"modes/{name}.py" for name in ("codebook", "encoders", "pieces", "sequence_encoders", "windows")),
    *(f"policy/{name}.py" for name in ("bounds", "contexts", "gaussian", "normaliser")),
    *(f"training/{name}.py" for name in ("adabelief", "objectives", "talk")),
    *(f"worlds/{name}.py" for name in ("collect", "experts", "lidar", "layout", "point_goal_physics", "rollout")),
)
"""The code that other methods' results hang on."""
FINDS_MODES = tuple(
    f"modes/{n}.py" for n in ("changes", "evidence", "latents", "mixture", "search", "selection", "starts")
)
"""The code of the search for modes. A fit that is told the labels needs none of it, nor does a model that acts."""
Kind = Literal["fits", "modes given", "other methods"]
OF_TALK, OF_UNBRAID = TALK | TALK_ENCODERS, SWITCHED_OFF | ENCODERS
EVIDENCE: dict[str, tuple[Evidence, ...]] = {"unbraid": ("encoder", "policy", "combined"), "talk": ("encoder",)}


@dataclass(frozen=True)
class Job:
    """One result: a row of one case for one training seed."""

    case: Case
    row: str
    seed: int
    sizes: Sizes


def config_of(job: Job) -> FitConfig | None:
    """What the fit of a row is asked; None for rows that fit no model of ours. One default for all cases."""
    n_steps = {} if job.sizes.n_fit_steps is None else {"n_steps": job.sizes.n_fit_steps}
    if job.row in OF_TALK:
        return TalkConfig(n_modes=job.case.n_modes, seed=job.seed, **OF_TALK[job.row], **n_steps)
    if job.row not in RUNNERS_OF_FITS:
        return None
    search = {} if job.sizes.n_search_steps is None else {"search_steps": job.sizes.n_search_steps}
    n_modes = {"too_few": TOO_FEW, "too_many": TOO_MANY, "auto": "auto"}.get(job.row, job.case.n_modes)
    asked = OF_UNBRAID.get(job.row, {}) | ({"style": "on"} if job.row == "style" else {})
    return UnbraidConfig(n_modes=n_modes, seed=job.seed, **asked, **n_steps, **search)


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What some work gives, its seconds on the clock and of the processor, and the load of the machine after it."""
    wall, processor = time.perf_counter(), time.process_time()
    given = work()
    seconds = {"seconds": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    seconds["load_per_core"] = load_per_core()
    return given, {name: round(value, 2) for name, value in seconds.items()}


# Agreement with the experts


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


def modes_of(model: ModeModel, demos: Demos, levels: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
    """evidence -> level -> the mode of every window; the talk's method has its encoder alone."""
    cut = [cut_windows(demos.lengths, LEVELS[level]) for level in levels]
    together = joined_windows(cut)
    ends = np.cumsum([len(windows) for windows in cut])[:-1]
    read = model.scores_of_windows(Steps.of(demos), together, EVIDENCE[model.config.method])
    return {
        evidence: dict(zip(levels, np.split(scores.argmax(1), ends), strict=True)) for evidence, scores in read.items()
    }


def table_of(demos: Demos, modes: np.ndarray, level: str, n_modes: int) -> np.ndarray:
    """(label, mode) how many windows of each expert lie in each mode."""
    assert demos.labels is not None
    episodes = cut_windows(demos.lengths, LEVELS[level]).episodes
    return contingency_by_episode(
        demos.labels[episodes], modes, episodes, n_labels=len(demos.label_names), n_modes=n_modes
    ).sum(0)


def about(training: Demos, held_out: Demos) -> dict[str, Any]:
    """What a row was computed on."""
    return {
        "experts": list(training.label_names),
        "n_training_episodes": training.n_episodes,
        "n_training_steps": training.n_steps,
        "n_held_out_episodes": held_out.n_episodes,
    }


def run_fit(job: Job, folder: Path) -> dict[str, Any]:
    """A fit of ours, scored; unbraid's own model is kept for other rows, with the expert of each mode."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    model, took = timed(lambda: fit(training.without_labels(), config_of(job)))
    modes = modes_of(model, held_out, job.case.levels)
    evidence = {name: scores(held_out, of_level, model.n_modes) for name, of_level in modes.items()}
    result: dict[str, Any] = {"evidence": evidence, **took, "pile": about(training, held_out)}
    if job.row == "unbraid":
        lies = model_folder(job, folder)
        shutil.rmtree(lies, ignore_errors=True)
        model.save_pretrained(lies)
        matched = matching_of(model, training)
        result["expert_of_mode"] = [training.label_names[label] if label >= 0 else None for label in matched]
        result |= {"search": said_of(model), "certainty": certainty_of(model, held_out, matched)}
    return result


def said_of(model: ModeModel) -> dict[str, Any]:
    """What the search said of the number of modes."""
    assert model.search is not None
    names = ("n_modes", "n_supported", "verdict", "sureness_standard_errors", "n_spans", "stability", "origin")
    names += ("gain_of_kind_nats", "counts", "silhouette", "perplexity", "warnings")
    return {name: model.search[name] for name in names}


def model_folder(job: Job, folder: Path) -> Path:
    """Where the model of unbraid's own row lies."""
    return folder / job.case.name / f"model_seed{job.seed}"


def run_supervised(job: Job, folder: Path) -> dict[str, Any]:
    """The same fit, told the training labels in place of a search."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    config = config_of(job)
    assert isinstance(config, UnbraidConfig)
    model, took = timed(lambda: supervised_fit(training, config))
    modes = modes_of(model, held_out, job.case.levels)
    evidence = {name: scores(held_out, of_level, model.n_modes) for name, of_level in modes.items()}
    table = table_of(held_out, model.predict(held_out), "episode", model.n_modes)
    own = (table.diagonal() / table.sum(1)).round(5).tolist()
    return {"evidence": evidence, "in_own_mode": own, **took, "pile": about(training, held_out)}


BY_WINDOWS: dict[str, tuple[str, Callable[..., np.ndarray]]] = {  # row -> evidence, method
    "kmeans": ("statistics", kmeans_windows),
    "kmeans_transitions": ("transitions", kmeans_transitions),
    "linear_policies": ("actions", linear_policies),
    "categorical_vae": ("encoder", categorical_vae),
}


def run_by_windows(job: Job, folder: Path) -> dict[str, Any]:
    """A method that is run once for every length of window; the seconds are of all of them together.

    The VAE, which takes longest, is run for the case's headline and for whole episodes alone.
    """
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    evidence, method = BY_WINDOWS[job.row]
    levels, more = job.case.levels, {}
    if job.row == "categorical_vae":
        levels = tuple(level for level in levels if level in (job.case.headline, "episode"))
        more = {} if job.sizes.n_fit_steps is None else {"n_gradient_steps": job.sizes.n_fit_steps}
    find = functools.partial(method, training.without_labels(), held_out, n_modes=job.case.n_modes, seed=job.seed)
    modes, took = timed(lambda: {level: find(window_steps=LEVELS[level], **more) for level in levels})
    found = {evidence: scores(held_out, modes, job.case.n_modes)}
    return {"evidence": found, **took, "pile": about(training, held_out)}


# Checks


def run_too_few(job: Job, folder: Path) -> dict[str, Any]:
    """Fewer modes than experts: what the search says of it, and whether any expert was split between modes."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    model, took = timed(lambda: fit(training.without_labels(), config_of(job)))
    table = table_of(held_out, model.predict(held_out), "episode", model.n_modes)
    whole = table.max(1) / table.sum(1)
    in_main_mode = dict(zip(held_out.label_names, whole.round(5).tolist(), strict=True))
    return {"search": said_of(model), "in_main_mode": in_main_mode, "n_held_out": held_out.n_episodes, **took}


def run_too_many(job: Job, folder: Path) -> dict[str, Any]:
    """More modes than experts: how many groups the search would merge them into, and how pure groups are; and a refit
    with as many modes as groups. Without proposals to merge, nothing is merged."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    config = config_of(job)
    assert isinstance(config, UnbraidConfig)
    model, took = timed(lambda: fit(training.without_labels(), config))
    assert model.search is not None
    merge_into = model.search.get("merge_into")
    result = {"search": said_of(model), "merge_into": merge_into, "n_held_out": held_out.n_episodes, **took}
    result["purity"] = {"apart": purities(model, held_out, range(model.n_modes))}
    if merge_into is None:
        return result | {"n_groups": None}
    result |= {"n_groups": len(set(merge_into))}
    refitted = fit(training.without_labels(), replace(config, n_modes=result["n_groups"]))
    result["purity"]["merged"] = purities(model, held_out, merge_into)
    result["purity"]["refitted"] = purities(refitted, held_out, range(refitted.n_modes))
    return result


def purities(model: ModeModel, held_out: Demos, group_of_mode: range | list[int]) -> dict[str, float]:
    """level -> the share of the windows that belong to the commonest expert of their mode's group."""
    groups, found = np.unique(group_of_mode, return_inverse=True)[1], {}
    for level, modes in modes_of(model, held_out, ("25", "episode"))["combined"].items():
        table = table_of(held_out, groups[modes], level, int(groups.max()) + 1)
        found[level] = round(float(purity(table)), 5)
    return found


def run_rarest(job: Job, folder: Path) -> dict[str, Any]:
    """Whether the expert with the fewest training episodes has a mode of its own: on training episodes, and on held-out
    ones; and the share of those that are read as its own, beside that of the same fit told the labels."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    assert training.labels is not None
    model = own_model(job, folder)
    seen, unseen = (table_of(demos, model.predict(demos), "episode", model.n_modes) for demos in (training, held_out))
    rarest = int(np.bincount(training.labels, minlength=len(seen)).argmin())
    others = np.delete(np.arange(len(seen)), rarest)
    main, in_training = unseen.argmax(1), int(seen[rarest].argmax())
    shares = unseen / unseen.sum(1, keepdims=True)
    bound = result_of(replace(job, row="supervised"), folder)["in_own_mode"]
    return {
        "expert": training.label_names[rarest],
        "n_training": int((training.labels == rarest).sum()),
        "n_held_out": int(unseen[rarest].sum()),
        "share": round(float(shares[rarest, main[rarest]]), 5),
        "share_told_labels": bound[rarest],
        "others_share": round(float(shares[others, main[rarest]].max()), 5),
        "alone": bool((main[others] != main[rarest]).all()),
        "alone_in_training": bool((seen[others, in_training] == 0).all()),
        "same_mode": bool(main[rarest] == in_training),
    }


def own_model(job: Job, folder: Path) -> ModeModel:
    """The model of unbraid's own row of the same case and seed, which is fitted now where it is not there."""
    result_of(replace(job, row="unbraid"), folder)
    return ModeModel.from_pretrained(model_folder(job, folder))


def run_auto(job: Job, folder: Path) -> dict[str, Any]:
    """The number of modes that the search chooses, how sure it is, and the seconds of search and fit."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    model, took = timed(lambda: fit(training.without_labels(), config_of(job)))
    modes = {"episode": model.predict(held_out)}
    nmi = scores(held_out, modes, model.n_modes)["episode"]["nmi"]
    return {"search": said_of(model), "nmi_episode": nmi, "n_training_steps": training.n_steps, **took}


def run_over_time(job: Job, folder: Path) -> dict[str, Any]:
    """Experts that change within an episode: the agreement of every step's mode with its expert, and where the changes
    are found; of a fit, and of one told who acted at every step."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    told = np.array(training.facts[EXPERT])
    config = config_of(job)
    assert isinstance(config, UnbraidConfig)
    model, took = timed(lambda: fit(replace(training, facts={}), config))
    bound = supervised_fit(replace(training, facts={}), config, labels_of_steps=told)
    assert model.search is not None
    result = {"search": said_of(model), "changes": model.search["changes"], "switch_rate": model.switch_rate, **took}
    result |= {"unbraid": read_over_time(model, held_out), "supervised": read_over_time(bound, held_out)}
    result["pile"] = {"experts": list(training.facts["experts"]), "n_training_episodes": training.n_episodes}
    return result | {"n_training_steps": training.n_steps, "n_held_out_episodes": held_out.n_episodes}


def read_over_time(model: ModeModel, held_out: Demos) -> dict[str, Any]:
    """NMI of single steps with its interval over episodes, and the errors of changes."""
    told, names = np.array(held_out.facts[EXPERT]), held_out.facts["experts"]
    timeline = model.timeline(held_out)
    agreed = agreement(
        told,
        timeline.modes,
        held_out.episode_of_step,
        generator=named_generator(0, "bootstrap"),
        n_labels=len(names),
        n_modes=model.n_modes,
    )
    within = [c.low_step <= true <= c.high_step for c, true in matched_changes(timeline.change_points, told, held_out)]
    found = {"nmi": agreed.nmi.value, "low": agreed.nmi.low, "high": agreed.nmi.high, "n_episodes": agreed.nmi.n}
    found |= boundary_scores(told, timeline.modes, held_out.lengths).to_json()
    return found | {"within_interval": float(np.mean(within)) if within else None}


def matched_changes(found: Sequence[ChangePoint], told: np.ndarray, demos: Demos) -> Iterator[tuple[ChangePoint, int]]:
    """Each found change beside the nearest true one of its episode."""
    for change in found:
        start, n = demos.step_starts[change.episode], demos.lengths[change.episode]
        true = change_steps(told[start : start + n])
        if len(true):
            yield change, int(true[np.abs(true - change.step).argmin()])


def run_encoders(job: Job, folder: Path) -> dict[str, Any]:
    """Every kind of encoder, fitted to the modes of one search beside one policy: what it reads of held-out windows,
    and the seconds of its fit and of reading all of them."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    config = config_of(job)
    assert isinstance(config, UnbraidConfig)
    learner, took = timed(lambda: fitted_policy(training.without_labels(), config))
    levels = tuple(level for level in IN_ORDER_LEVELS if (LEVELS[level] or 1) <= held_out.lengths.max())
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        model, of_fit = timed(lambda kind=kind: fitted_encoder(learner, kind))
        modes, of_reading = timed(lambda model=model: modes_of(model, held_out, levels))
        found = {name: scores(held_out, modes[name], model.n_modes) for name in ("encoder", "combined")}
        kinds[kind] = {"evidence": found, **of_fit, "reading_processor_s": of_reading["processor_s"]}
    return {"kinds": kinds, **took, "pile": about(training, held_out)}


# Styles


def run_style(job: Job, folder: Path) -> dict[str, Any]:
    """Experts that vary within themselves: what the style says of the speed that nobody was told, within every expert's
    held-out episodes; what it says of the expert; what modes are told apart with styles and without; and how fast each
    mode drives where its style is swept."""
    training, held_out = pile_of(job.case, job.sizes, job.seed)
    config = config_of(job)
    assert isinstance(config, UnbraidConfig)
    asked = replace(training.without_labels(), facts={})
    (model, took), without = timed(lambda: fit(asked, config)), fit(asked, replace(config, style="off"))
    levels = ("10", "25", "episode")
    agreed = {
        name: {e: scores(held_out, modes, job.case.n_modes) for e, modes in modes_of(each, held_out, levels).items()}
        for name, each in (("on", model), ("off", without))
    }
    result: dict[str, Any] = {"nmi": agreed, **took, "pile": about(training, held_out)}
    result |= explained_speeds(model, held_out)
    assert model.style_reader is not None
    result["nats"] = [round(float(nats), 4) for nats in model.style_reader.nats]
    matched = enumerate(matching_of(model, training))
    swept = {training.label_names[label]: swept_speeds(model, k, job) for k, label in matched if label >= 0}
    return result | {"swept": swept}


def explained_speeds(model: ModeModel, held_out: Demos) -> dict[str, Any]:
    """Expert -> the share of the variance of its episodes' speeds that a line on their style explains, of the speed
    that was drawn and of the mean speed that came of it; and how often a style tells whose episode it is."""
    from sklearn.model_selection import LeaveOneOut, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    assert held_out.labels is not None
    drawn, realised = np.array(held_out.facts[SPEED]), mean_speeds(held_out)
    found: dict[str, Any] = {"episodes": {}, "explained": {}}
    levels = {level: model.styles(held_out, window_steps=LEVELS[level], stride_steps=25) for level in ("25", "episode")}
    for label, name in enumerate(held_out.label_names):
        found["explained"][name] = {}
        for level, styles in levels.items():
            episodes = cut_windows(held_out.lengths, LEVELS[level], stride_steps=25).episodes
            own = held_out.labels[episodes] == label
            shares = {
                "drawn": explained(styles[own], drawn[episodes[own]]),
                "realised": explained(styles[own], realised[episodes[own]]),
            }
            found["explained"][name][level] = shares | {"n": int(own.sum())}
        own = held_out.labels == label
        triples = np.column_stack([levels["episode"][own], drawn[own], realised[own]])
        found["episodes"][name] = triples.round(4).tolist()
    nearest = KNeighborsClassifier(min(10, held_out.n_episodes - 1))
    told = cross_val_predict(nearest, levels["episode"][:, None], held_out.labels, cv=LeaveOneOut())
    return found | {"expert_from_style": round(float((told == held_out.labels).mean()), 5)}


def explained(styles: np.ndarray, values: np.ndarray) -> float:
    """The share of the values' variance that a line on the styles explains; 0 where either stands still."""
    if styles.std() == 0 or values.std() == 0:
        return 0.0
    return round(float(np.corrcoef(styles, values)[0, 1] ** 2), 5)


def swept_speeds(model: ModeModel, mode: int, job: Job) -> list[float]:
    """The mean speed of a mode at every style, in m/s, on the same seeds."""
    speeds: list[float] = []
    seeds = range(ROLLOUT_SEED, ROLLOUT_SEED + min(job.sizes.n_rollouts, 24))
    for style in SWEPT:
        controller = steer(model).toward(mode).style(style)
        run = rollout(controller, job.case.env_id, seeds=seeds, max_steps=min(job.sizes.n_steps, 500))
        speeds.append(round(float(mean_speeds(run.demos).mean()), 4))
    return speeds


# The closed loop


def rollout_seeds(sizes: Sizes) -> range:
    """The seeds on which modes and experts are compared, the same for all."""
    return range(ROLLOUT_SEED, ROLLOUT_SEED + sizes.n_rollouts)


def run_closed_loop(job: Job, folder: Path) -> dict[str, Any]:
    """Each mode, asked for by its not-hot context alone, beside the expert that it was matched with."""
    of_fit = result_of(replace(job, row="unbraid"), folder)
    names, found = of_fit["pile"]["experts"], of_fit["expert_of_mode"]
    model = own_model(job, folder)
    experts = {name: measured_expert(name, job, folder) for name in names}
    modes = [measured(steer(model).toward(mode), job) for mode in range(model.n_modes)]
    matching = np.array([-1 if name is None else names.index(name) for name in found])
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


def measured(controller: Controller, job: Job) -> dict[str, np.ndarray]:
    """metric -> (seed,) of a controller's rollouts."""
    seeds = rollout_seeds(job.sizes)
    rollouts = rollout(controller, job.case.env_id, seeds=seeds, max_steps=job.sizes.n_steps)
    return measure(rollouts.demos, rollouts.tracks)


def measured_expert(name: str, job: Job, folder: Path) -> dict[str, np.ndarray]:
    """The same of an expert, which depends on no training seed."""
    asked = {"expert": name, "env_id": job.case.env_id, "noise": job.case.noise, "n_steps": job.sizes.n_steps}
    asked |= {"n_rollouts": job.sizes.n_rollouts, "source": source_fingerprint("fits", None)}

    def work() -> dict[str, list[float]]:
        values = measured(make_expert(name, action_noise=job.case.noise), job)
        return {metric: numbers.tolist() for metric, numbers in values.items()}

    world = job.case.env_id.partition("/")[2]
    stored = kept(folder / "experts" / f"{name}_{world}_{job.case.noise}.json", asked, work, source=asked["source"])
    return {metric: np.array(values) for metric, values in stored.items()}


def run_online(job: Job, folder: Path) -> dict[str, Any]:
    """The mode of every step while the episode goes on, of unbraid's own model."""
    return online_of(own_model(job, folder), pile_of(job.case, job.sizes, job.seed)[1])


RUNNERS_OF_FITS: dict[str, Callable[[Job, Path], dict[str, Any]]] = {
    **{row: run_fit for row in SCORED if row not in (*BY_WINDOWS, "supervised")},
    "supervised": run_supervised,
    "too_few": run_too_few,
    "too_many": run_too_many,
    "auto": run_auto,
    "over_time": run_over_time,
    "encoders": run_encoders,
    "style": run_style,
}
RUNNERS: dict[str, Callable[[Job, Path], dict[str, Any]]] = {
    **RUNNERS_OF_FITS,
    **dict.fromkeys(BY_WINDOWS, run_by_windows),
    "rarest": run_rarest,
    "closed_loop": run_closed_loop,
    "online": run_online,
}
OF_A_MODEL = ("closed_loop", "online")
"""Rows that are read from the model of unbraid's own."""


# Keeping results


def asked_of(job: Job, folder: Path) -> dict[str, Any]:
    """What a kept result must have been asked, to be taken for this job's; of modes that act, which model they are."""
    config, sizes = config_of(job), asdict(job.sizes)
    if job.row != "closed_loop":
        del sizes["n_rollouts"]
    weights = model_folder(job, folder) / "model.safetensors"
    acts = job.row in OF_A_MODEL and weights.exists()
    return {
        **({"model": hashlib.sha256(weights.read_bytes()).hexdigest()[:12]} if acts else {}),
        "case": {"name": job.case.name, "n_modes": job.case.n_modes, "levels": list(job.case.levels)},
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
    if job.row in OF_A_MODEL:
        result_of(replace(job, row="unbraid"), folder)  # first: what is asked names the model
    source = source_fingerprint(kind_of(job.row), job.case.world)
    return kept(path_of(job, folder), asked_of(job, folder), lambda: RUNNERS[job.row](job, folder), source=source)


def kind_of(row: str) -> Kind:
    """Which code a row's results hang on."""
    if row in (*BY_WINDOWS, *OF_TALK):
        return "other methods"
    return "modes given" if row in ("supervised", *OF_A_MODEL) else "fits"


def kept(path: Path, asked: dict[str, Any], work: Callable[[], Any], *, source: str) -> Any:
    """What lies at `path` if it was asked the same; otherwise what `work` gives, which then lies there, whole."""
    stored = stored_at(path, asked)
    if stored is None:
        stored = {"asked": asked, "source": source, "result": work()}
        write_json(path, stored)
    return stored["result"]


def stored_at(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What lies at `path`, if it was asked the same."""
    stored = read_json(path) if path.exists() else None
    return stored if stored is not None and stored["asked"] == asked else None


@functools.cache
def source_fingerprint(of: Kind, world: str | None) -> str:
    """Names the code that results come from, so that a table says when it mixes two versions of one kind.

    Args:
        of: fits of unbraid's own method; those whose modes are given, which need no search for them; other methods,
            which need none of the code of ours.
        world: the module beside this one that makes a case's demonstrations; None for PointGoal's and recordings.
    """
    root, here, digest = Path(unbraid.__file__).parent, Path(__file__).parent, hashlib.sha256()
    if of == "other methods":
        paths = [root / name for name in OTHERS_NEED]
    else:
        packages = ("demos", "evaluation", "worlds", *OUR_OWN)
        paths = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
        if of == "modes given":
            paths = [path for path in paths if path.relative_to(root).as_posix() not in FINDS_MODES]
    paths += [here / f"{name}.py" for name in ("piles", *([] if world is None else [world]))]
    for path in paths:
        digest.update(path.read_bytes())
    return f"{of}{'' if world is None else f' on {world}'} {digest.hexdigest()[:12]}"
