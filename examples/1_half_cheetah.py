"""1. Six trained policies in one pile, nobody saying which is which: found, and run in the simulator.

    python examples/1_half_cheetah.py half_cheetah.npz runs/half_cheetah

The file holds recordings of HalfCheetah: `obs` and `act` (step, n), `ep_len` (episode,), and, for judging alone,
`ep_expert` (episode,) with `expert_names`. Any arrays will do; docs/formats.md lists what is read as it is.

Each mode is then run beside its expert's recorded speed, and beside the mode of a second fit, the same in everything,
seed and order of modes included, that was told the true labels. Speeds are of mean actions, in m/s; `results.json` has
them all.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import unbraid
from unbraid import cli
from unbraid.core.randomness import named_generator
from unbraid.core.runs import read_json, write_json
from unbraid.demos.selection import Selection
from unbraid.evaluation.baselines import supervised_fit
from unbraid.evaluation.intervals import mean_interval
from unbraid.worlds.controllers import from_predict

ENV_ID, FORWARD_VELOCITY = "HalfCheetah-v5", 8  # the observation's column with the body's speed along x (m/s)


def recorded(path: Path) -> unbraid.Demos:
    """The demonstrations; the last action of an episode is left out, as nobody recorded what came of it."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    last = np.cumsum(arrays["ep_len"]) - 1
    names = tuple(str(name) for name in arrays["expert_names"])
    return unbraid.Demos(
        observations=arrays["obs"].astype(np.float32),
        actions=np.delete(arrays["act"], last, axis=0).astype(np.float32),
        lengths=arrays["ep_len"].astype(np.int64) - 1,
        terminated=np.zeros(len(last), dtype=bool),
        labels=arrays["ep_expert"].astype(np.int64),
        label_names=names,
    )


def verb(*words: object) -> None:
    """Runs `unbraid WORDS`, as one would in a terminal."""
    print("\n$ unbraid", *words, flush=True)
    if code := cli.main([str(word) for word in words]):
        raise SystemExit(code)


def speed(episode: unbraid.Episode) -> float:
    """Mean speed of an episode (m/s)."""
    return float(episode.observations[:, FORWARD_VELOCITY].mean())


def speeds(model: unbraid.ModeModel, mode: int, *, n_episodes: int, max_steps: int) -> np.ndarray:
    """(episode,) speeds of one mode's mean actions, on the same seeds for everybody."""
    policy = from_predict(unbraid.steer(model).toward(mode))
    found = unbraid.evaluate(policy, ENV_ID, n_episodes=n_episodes, max_steps=max_steps, metrics={"speed": speed})
    return found.values["speed"]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """The example; returns what it writes to `results.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--n-modes", default="auto", help="as many as the evidence supports, or a number")
    parser.add_argument("--n-steps", type=int, help="of the joint fit")
    parser.add_argument("--refine-steps", type=int, default=60_000, help="that the policy learns alone")
    parser.add_argument("--policy-hidden", type=int, nargs="+", default=[256, 256, 256], help="widths of its layers")
    parser.add_argument("--episodes", type=int, default=16, help="rollouts of each mode")
    parser.add_argument("--max-steps", type=int, default=1000, help="in a rollout")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)

    demos = recorded(asked.file)
    pile, run = unbraid.save_demos(demos, asked.out / "pile"), asked.out / "run"
    verb("check", pile)
    sizes = [] if asked.n_steps is None else ["--n-steps", asked.n_steps]
    settings = ["--n-modes", asked.n_modes, *sizes, "--refine-steps", asked.refine_steps, "--seed", asked.seed]
    settings += ["--policy-hidden", *asked.policy_hidden]
    verb("fit", pile, "--out", run, *settings)
    verb("evaluate", run, "--env", ENV_ID, "--episodes", asked.episodes, "--max-steps", asked.max_steps)
    verb("report", run)

    # The same demonstrations, with their labels
    model = unbraid.ModeModel.from_pretrained(run / "model")
    training = Selection.split(demos, held_out=0.2, generator=named_generator(asked.seed, "held out"))[0].copied()
    mode_of = found_modes(model, demos)
    ordered = in_order_of(mode_of, training)
    told = supervised_fit(ordered, replace(model.config, calibration="off"))
    told_of = [ordered.label_names.index(name) for name in demos.label_names]
    results = {"seed": asked.seed, "n_modes": model.n_modes, "refine_steps": asked.refine_steps}
    results |= {"policy_hidden": asked.policy_hidden}
    results |= {"agreement": read_json(run / "results.json")["unbraid"].get("agreement")}
    actors = {"mode": (model, mode_of), "told": (told, told_of)}
    results |= compared(actors, demos, n_episodes=asked.episodes, max_steps=asked.max_steps)
    write_json(asked.out / "results.json", results)
    print(f"\n{'expert':8s}{'its speed':>10s}{'mode':>8s}{'told':>8s}   mode / expert, mode / told")
    for name, of in results["experts"].items():
        shares = " ".join("   -" if of[key] is None else f"{of[key]:.2f}" for key in ("of_expert", "of_told"))
        print(f"{name:8s}{of['expert']:10.2f}{of['mode']['value']:8.2f}{of['told']['value']:8.2f}   {shares}")
    return results


def found_modes(model: unbraid.ModeModel, demos: unbraid.Demos) -> list[int]:
    """For each label the mode that most of its episodes are in."""
    assert demos.labels is not None
    modes, labels = model.predict(demos), range(len(demos.label_names))
    return [int(np.bincount(modes[demos.labels == label]).argmax()) for label in labels]


def in_order_of(mode_of: list[int], demos: unbraid.Demos) -> unbraid.Demos:
    """The labels numbered as the modes are, where each has its own: what is drawn at random is then the same for both
    fits, and what differs is who was in which mode."""
    assert demos.labels is not None
    if sorted(mode_of) != list(range(len(demos.label_names))):
        return demos
    names = tuple(demos.label_names[mode_of.index(mode)] for mode in range(len(mode_of)))
    return replace(demos, labels=np.array(mode_of, dtype=np.int64)[demos.labels], label_names=names)


def compared(
    actors: Mapping[str, tuple[unbraid.ModeModel, list[int]]], demos: unbraid.Demos, *, n_episodes: int, max_steps: int
) -> dict[str, Any]:
    """expert -> speeds (m/s) recorded, and of each actor, a model with its mode for each label."""
    assert demos.labels is not None
    own = np.array([speed(episode) for episode in demos])
    experts: dict[str, Any] = {}
    for label, name in enumerate(demos.label_names):
        run = {
            who: speeds(model, mode_of[label], n_episodes=n_episodes, max_steps=max_steps)
            for who, (model, mode_of) in actors.items()
        }
        expert = float(own[demos.labels == label].mean())
        ours, theirs = float(run["mode"].mean()), float(run["told"].mean())
        experts[name] = {
            "expert": expert,
            "found_mode": actors["mode"][1][label],
            **{who: mean_interval(values).to_json() for who, values in run.items()},
            "of_expert": ours / expert,
            "of_told": ours / theirs if theirs > 0.1 * expert else None,  # of a policy that does not run, no share
        }
    return {"n_episodes": n_episodes, "max_steps": max_steps, "experts": experts}


if __name__ == "__main__":
    main()
