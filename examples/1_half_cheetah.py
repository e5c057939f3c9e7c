"""1. Six trained policies in one pile, nobody saying which is which: found, and run in the simulator.

    python examples/1_half_cheetah.py half_cheetah.npz runs/half_cheetah

The file holds recordings of HalfCheetah: `obs` and `act` (step, n), `ep_len` (episode,), and, for judging alone,
`ep_expert` (episode,) with `expert_names`. Any arrays will do; docs/formats.md lists what is read as it is.

Each mode is then run beside its expert's recorded speed, and beside the mode of a second fit, the same in everything,
seed and order of modes included, that was told the true labels. An expert whose recorded actions are all
clip(W s + b, -1, 1) of some W and b can be run itself, from the same starts as its mode, and then is. Speeds are of
mean actions, in m/s; `results.json` has them all.
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
from unbraid.worlds.controllers import Controller, from_function, from_predict

ENV_ID, FORWARD_VELOCITY = "HalfCheetah-v5", 8  # the observation's column with the body's speed along x (m/s)
SLOW = 0.5  # of the recorded speed: below it an episode has had a fall


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


def speeds(policy: Controller, *, n_episodes: int, max_steps: int) -> np.ndarray:
    """(episode,) speeds of a policy, on the same seeds for everybody."""
    found = unbraid.evaluate(policy, ENV_ID, n_episodes=n_episodes, max_steps=max_steps, metrics={"speed": speed})
    return found.values["speed"]


def mean_actions(model: unbraid.ModeModel, mode: int) -> Controller:
    """One mode, acting by its mean actions."""
    return from_predict(unbraid.steer(model).toward(mode))


def written_down(demos: unbraid.Demos) -> Controller | None:
    """The expert itself, where clip(W s + b, -1, 1) is all that it does: W and b are read off actions inside the
    bounds, and every recorded action must come out to 1e-5."""
    states = np.concatenate([episode.observations[:-1] for episode in demos]).astype(np.float64)
    actions = np.concatenate([episode.actions for episode in demos]).astype(np.float64)
    inputs, weights = np.column_stack([states, np.ones(len(states))]), []
    for action in actions.T:
        inside = np.abs(action) < 1
        weights.append(np.linalg.lstsq(inputs[inside], action[inside], rcond=None)[0])
    slopes, offset = np.split(np.array(weights).T, [states.shape[1]])
    if np.abs((states @ slopes + offset).clip(-1, 1) - actions).max() > 1e-5:
        return None
    return from_function(lambda observations: (observations @ slopes + offset).clip(-1, 1))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """The example; returns what it writes to `results.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--n-modes", default="auto", help="as many as the evidence supports, or a number")
    parser.add_argument("--n-steps", type=int, help="of the joint fit")
    parser.add_argument("--refine-steps", type=int, default=30_000, help="that the policy learns alone")
    parser.add_argument("--policy-hidden", type=int, nargs="+", default=[256, 256, 256], help="widths of its layers")
    parser.add_argument("--episodes", type=int, default=256, help="rollouts of each mode")
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
    print(f"\n{'expert':8s}{'recorded':>10s}{'here':>8s}{'mode':>8s}{'told':>8s}   mode / expert, mode / told")
    for name, of in results["experts"].items():
        shares = " ".join("   -" if of[key] is None else f"{of[key]:.2f}" for key in ("of_expert", "of_told"))
        here = f"{of['here']['value']:8.2f}" if of["here"] else f"{'-':>8s}"
        print(f"{name:8s}{of['expert']:10.2f}{here}{of['mode']['value']:8.2f}{of['told']['value']:8.2f}   {shares}")
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
    """expert -> its recorded speed (m/s), its own from the modes' starts where it can be run, and that of each actor, a
    model with its mode for each label."""
    assert demos.labels is not None
    own = np.array([speed(episode) for episode in demos])
    how: dict[str, Any] = {"n_episodes": n_episodes, "max_steps": max_steps}
    experts: dict[str, Any] = {}
    for label, name in enumerate(demos.label_names):
        acting = {who: mean_actions(model, mode_of[label]) for who, (model, mode_of) in actors.items()}
        if (itself := written_down(demos.select(np.flatnonzero(demos.labels == label)))) is not None:
            acting["here"] = itself
        run = {who: speeds(policy, **how) for who, policy in acting.items()}
        expert = float(own[demos.labels == label].mean())
        ours, theirs = float(run["mode"].mean()), float(run["told"].mean())
        experts[name] = {
            "expert": expert,
            "here": None,
            "found_mode": actors["mode"][1][label],
            **{who: mean_interval(values).to_json() for who, values in run.items()},
            "n_slow": {who: int((values < SLOW * expert).sum()) for who, values in run.items()},
            "of_expert": ours / (float(run["here"].mean()) if "here" in run else expert),
            "of_told": ours / theirs if theirs > 0.1 * expert else None,  # of a policy that does not run, no share
        }
    return {"n_episodes": n_episodes, "max_steps": max_steps, "experts": experts}


if __name__ == "__main__":
    main()
