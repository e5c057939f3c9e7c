"""The talk's experiment, repeated: eight fits in a small preset, and what the modes of one of them do."""

import copy
import json
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from unbraid.core.progress import progress
from unbraid.core.runs import write_text
from unbraid.demos.episodes import Demos
from unbraid.evaluation.behaviour import COMPARED
from unbraid.evaluation.evaluate import Evaluation, evaluate, fresh_seeds
from unbraid.evaluation.tables import agreement_entry, confusion_entry
from unbraid.pipeline.config import DemoConfig
from unbraid.report.published import PUBLISHED_GRADIENT_STEPS
from unbraid.steering.steered import steer
from unbraid.training.config import TalkConfig
from unbraid.training.fit import learner_for
from unbraid.training.loop import LoopOptions, run_loop
from unbraid.training.model import ModeModel
from unbraid.training.talk import TalkLearner

__all__ = ["TalkModes", "TalkRepeated", "repeat_talk", "talk_modes_in_the_world"]

_N_MODES, _DELTA_STEPS = (2, 3, 4, 5), (1, 5)
_SHOWN = (4, 1)  # the fit whose modes are rolled out and drawn: K = 4, time step 1, as in the talk's figures


@dataclass(frozen=True, eq=False)
class TalkRepeated:
    """The eight fits.

    Attributes:
        entry: the block "talk" of `results.json`.
        stages: the model of the fit that is shown, "first_epoch", "midway" and "end".
        metrics: every line of metrics of every fit.
    """

    entry: dict[str, Any]
    stages: dict[str, ModeModel]
    metrics: tuple[dict[str, Any], ...]

    def save_metrics(self, run: Path) -> None:
        """Writes `metrics_talk.jsonl`."""
        write_text(run / "metrics_talk.jsonl", "".join(f"{json.dumps(line)}\n" for line in self.metrics))


@dataclass(frozen=True, eq=False)
class TalkModes:
    """What the modes of the fit that is shown do: entries for `results.json`, and paths by panel."""

    entries: list[dict[str, Any]]
    paths: dict[str, Evaluation]


def repeat_talk(asked: DemoConfig, training: Demos, held_out: Demos) -> TalkRepeated:
    """Fits the talk's method for K = 2 to 5 and time steps 1 and 5, and scores each on held-out transitions."""
    tables: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    stages: dict[str, ModeModel] = {}
    with progress("the talk's method", len(_N_MODES) * len(_DELTA_STEPS), "fits") as advance:
        for delta_steps in _DELTA_STEPS:
            for n_modes in _N_MODES:
                config = TalkConfig(
                    n_modes=n_modes, delta_steps=delta_steps, n_steps=asked.sizes.talk_steps, seed=asked.seed
                )
                since = time.perf_counter()
                found = _fit_in_stages(config, training, metrics)
                seconds = time.perf_counter() - since
                tables.append(_table(found["end"], held_out, config) | {"seconds": round(seconds, 2)})
                if (n_modes, delta_steps) == _SHOWN:
                    stages = found
                advance(1)
    config = TalkConfig()
    entry = {
        "objective": config.objective,
        "preset": f"small: 2 x {config.policy_hidden[0]} units, batch {config.batch_size}",
        "tables": tables,
        "published_sizes": _published_sizes(),
    }
    return TalkRepeated(entry, stages, tuple(metrics))


def _fit_in_stages(config: TalkConfig, training: Demos, metrics: list[dict[str, Any]]) -> dict[str, ModeModel]:
    """One fit, with the model as it stood after the first epoch, midway and at the end."""
    learner = learner_for(training, config)
    assert isinstance(learner, TalkLearner)
    about = {"method": "talk", "n_modes": config.n_modes, "delta_steps": config.delta_steps}
    stages: dict[str, ModeModel] = {}
    until = {"first_epoch": config.steps_per_batch, "midway": config.n_steps // 2, "end": config.n_steps}
    for stage, n_steps in until.items():
        learner.n_steps = n_steps
        options = LoopOptions(log_every=config.steps_per_batch, on_log=lambda line: metrics.append(about | line))
        run_loop(learner, options)
        stages[stage] = copy.deepcopy(learner.finished()).eval()
    return stages


def _table(model: ModeModel, held_out: Demos, config: TalkConfig) -> dict[str, Any]:
    episodes = agreement_entry(model, held_out, window_steps=None, evidence="encoder", seed=config.seed)
    return {
        "delta_steps": config.delta_steps,
        **confusion_entry(model, held_out, window_steps=1, seed=config.seed),
        "episode_nmi": episodes["nmi"],
        "gradient_steps": config.n_steps,
        "published_gradient_steps": PUBLISHED_GRADIENT_STEPS,
    }


def _published_sizes() -> dict[str, Any] | None:
    """What `benchmarks/bench_talk.py` found once, in the form of the report; None where it is not in the package."""
    source = resources.files("unbraid.pipeline") / "data" / "bench_talk.json"
    if not source.is_file():
        return None
    found = json.loads(source.read_text(encoding="utf-8"))
    runs = [
        {
            "delta_steps": run["delta_steps"],
            "seed": run["seed"],
            "gradient_steps": run["gradient_steps"],
            "percent": run["percent"],
            "nmi": run["transition"]["nmi"],
            "purity": run["transition"]["purity"],
            "curve": [{"step": point["step"], "nmi": point["transition"]["nmi"]} for point in run["curve"]],
        }
        for run in found["runs"]
    ]
    kept = ("gradient_steps", "n_modes", "episodes_per_expert", "held_out_per_expert", "verdict")
    return {name: found[name] for name in kept} | {"runs": runs}


def talk_modes_in_the_world(asked: DemoConfig, talk: TalkRepeated) -> TalkModes:
    """Rolls out every mode of the shown fit: one seed at each stage for the pictures, several at the end."""
    sizes = asked.sizes
    seeds = fresh_seeds(sizes.paired_seeds, seed=asked.seed)
    entries: list[dict[str, Any]] = []
    paths: dict[str, Evaluation] = {}
    n_rollouts = sum(model.n_modes for model in talk.stages.values())
    with progress("the talk's modes", n_rollouts, "modes") as advance:
        for stage, model in talk.stages.items():
            for mode in range(model.n_modes):
                chosen = seeds[: sizes.talk_seeds if stage == "end" else 1]
                found = evaluate(steer(model).toward(mode), asked.env_id, seeds=chosen, max_steps=sizes.max_steps)
                paths[f"talk/{stage}/{mode}"] = found
                if stage == "end":
                    shown = [name for name in COMPARED if name in found.metrics and name != "length"]
                    metrics = {name: found.metrics[name].to_json() for name in shown}
                    entries.append({"mode": mode, "stage": stage, "metrics": metrics})
                advance(1)
    return TalkModes(entries, paths)
