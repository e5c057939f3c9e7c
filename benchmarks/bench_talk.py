"""Does more training change the verdict? The talk's method at its published sizes, for its published 50,000 steps.

K = 4, time steps 1 and 5, two seeds: four runs of about 45 minutes each on one core. Resumable: run it again and it
goes on from the newest checkpoints. `--part 0` to `--part 3` run one each (side by side, if you like); without it all
four are run one after the other. When all four are there, `benchmarks/results/bench_talk.json` is written.

    python benchmarks/bench_talk.py [--part N] [--folder runs/bench_talk]
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unbraid  # noqa: F401  (registers the worlds)
from unbraid.core.runs import write_json
from unbraid.demos.episodes import Demos
from unbraid.evaluation.behaviour import measure
from unbraid.evaluation.scores import confusion_percent, contingency_by_episode, nmi, purity
from unbraid.modes.windows import cut_windows
from unbraid.steering.steered import steer
from unbraid.training.config import TalkConfig, config_to_json
from unbraid.training.fit import learner_for
from unbraid.training.loop import LoopOptions, run_loop
from unbraid.training.model import ModeModel
from unbraid.training.talk import TalkLearner
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

EXPERTS = ("goal_seeking", "forward")
ENV_ID = "unbraid/PointGoal1-v0"
PARTS = [(delta_steps, seed) for seed in (0, 1) for delta_steps in (1, 5)]
N_STEPS, N_EPISODES, N_HELD_OUT, ROLLOUT_SEEDS = 50_000, 100, 20, range(900_000, 900_016)
RESULT = Path(__file__).parent / "results" / "bench_talk.json"


def published_config(delta_steps: int, seed: int) -> TalkConfig:
    """The sizes of the talk's code: actor 2 x 256, decoder 2 x 1000, batch 500, 50 steps a batch."""
    return TalkConfig(
        n_modes=4,
        delta_steps=delta_steps,
        n_steps=N_STEPS,
        batch_size=500,
        steps_per_batch=50,
        policy_hidden=(256, 256),
        decoder_hidden=(1000, 1000),
        codebook="published",
        seed=seed,
    )


def piles(seed: int) -> tuple[Demos, Demos]:
    """Training demonstrations (100 episodes x 1000 steps per expert, as published) and held-out ones of fresh seeds."""
    sources = [(name, make_expert(name)) for name in EXPERTS]
    training = collect(sources, env_id=ENV_ID, n_episodes=N_EPISODES, seed=1000 + seed)
    return training, collect(sources, env_id=ENV_ID, n_episodes=N_HELD_OUT, seed=2000 + seed)


def agreement_of(model: ModeModel, held_out: Demos) -> dict[str, Any]:
    """NMI and purity of held-out transitions, 25-step windows and episodes, and the table of transitions."""
    assert held_out.labels is not None
    found: dict[str, Any] = {}
    for level, window_steps in (("transition", 1), ("window_25", 25), ("episode", None)):
        windows = cut_windows(held_out.lengths, window_steps)
        modes = model.window_scores(held_out, windows).argmax(1)
        labels = held_out.labels[windows.episodes]
        table = contingency_by_episode(labels, modes, windows.episodes, n_labels=2, n_modes=model.n_modes).sum(0)
        found[level] = {"nmi": round(float(nmi(table)), 4), "purity": round(float(purity(table)), 4)}
        if level == "transition":
            found["percent"] = np.round(confusion_percent(table), 1).tolist()
    return found


def behaviour_of(model: ModeModel) -> list[dict[str, float]]:
    """What each not-hot context does in the world: means over 16 seeded rollouts."""
    measured = []
    for mode in range(model.n_modes):
        rollouts = rollout(steer(model).toward(mode), ENV_ID, seeds=list(ROLLOUT_SEEDS))
        values = measure(rollouts.demos, rollouts.tracks)
        measured.append({name: round(float(v.mean()), 2) for name, v in values.items()})
    return measured


def run_part(part: int, folder: Path) -> None:
    """Trains one of the four to its end, writing `result.json` beside its checkpoints."""
    delta_steps, seed = PARTS[part]
    run = folder / f"delta{delta_steps}_seed{seed}"
    if (run / "result.json").exists():
        return
    run.mkdir(parents=True, exist_ok=True)
    training, held_out = piles(seed)
    config = published_config(delta_steps, seed)
    learner = learner_for(training.without_labels(), config)
    assert isinstance(learner, TalkLearner)
    curve_file = run / "curve.jsonl"
    since = time.perf_counter()

    def on_log(line: dict[str, Any]) -> None:
        point = {"step": line["step"], "loss": round(line["loss"], 4), "code_usage": line["code_usage"]}
        point |= {k: v for k, v in agreement_of(learner.model, held_out).items() if k != "percent"}
        with curve_file.open("a") as file:
            file.write(json.dumps(point | {"seconds": round(time.perf_counter() - since, 1)}) + "\n")

    asked = {"config": config_to_json(config), "data": training.fingerprint()}
    options = LoopOptions(run=run, resume=True, log_every=1000, checkpoint_every=1000, asked=asked, on_log=on_log)
    run_loop(learner, options)
    model = learner.finished().eval()
    points = {p["step"]: p for p in map(json.loads, curve_file.read_text().splitlines())}
    curve = [points[step] for step in sorted(points)]
    result = {"delta_steps": delta_steps, "seed": seed, "gradient_steps": N_STEPS, **agreement_of(model, held_out)}
    result |= {"behaviour": behaviour_of(model), "curve": curve}
    write_json(run / "result.json", result)


def summarise(folder: Path) -> None:
    """Puts the four results into one file, with the experts' own behaviour on the same seeds and the verdict."""
    runs = [json.loads((folder / f"delta{d}_seed{s}" / "result.json").read_text()) for d, s in PARTS]
    experts = {}
    for name in EXPERTS:
        rollouts = rollout(make_expert(name), ENV_ID, seeds=list(ROLLOUT_SEEDS))
        experts[name] = {k: round(float(v.mean()), 2) for k, v in measure(rollouts.demos, rollouts.tracks).items()}
    early = [run["curve"][0]["window_25"]["nmi"] for run in runs]
    late = [run["window_25"]["nmi"] for run in runs]
    goals = max(b["goals"] for run in runs for b in run["behaviour"])
    verdict = (
        f"From step {runs[0]['curve'][0]['step']:,} to {N_STEPS:,} the NMI of held-out 25-step windows goes from "
        f"{np.mean(early):.2f} ({min(early):.2f} to {max(early):.2f}) to {np.mean(late):.2f} "
        f"({min(late):.2f} to {max(late):.2f}) over {len(runs)} runs; the best mode reaches {goals:.1f} goals, "
        f"the goal-seeking expert {experts['goal_seeking']['goals']:.1f}. "
        f"More training {'changes' if np.mean(late) > np.mean(early) + 0.1 else 'does not change'} the verdict."
    )
    content = {"config": config_to_json(published_config(1, 0)), "n_modes": 4, "gradient_steps": N_STEPS}
    content |= {"env_id": ENV_ID, "episodes_per_expert": N_EPISODES, "held_out_per_expert": N_HELD_OUT}
    write_json(RESULT, content | {"experts": experts, "runs": runs, "verdict": verdict})
    print(verdict)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, choices=range(len(PARTS)), help="run only this one of the four")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_talk"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    # Lets oneDNN do the matrix products, twice as fast here as the default library; it falls back to float32 kernels
    # (error 1e-4 in a product of 1000 terms, as the default) on processors without bfloat16 tiles.
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    for part in range(len(PARTS)) if asked.part is None else [asked.part]:
        run_part(part, asked.folder)
    if all((asked.folder / f"delta{d}_seed{s}" / "result.json").exists() for d, s in PARTS):
        summarise(asked.folder)


if __name__ == "__main__":
    main()
