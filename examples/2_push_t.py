"""2. People who push a T to one of two places, which no observation tells: found, and run in the simulator.

    scripts/env-beside pusht gym-pusht==0.1.8 pymunk==6.11.1 pygame==2.6.1 shapely==2.1.2 \\
        opencv-python-headless==4.11.0.86 cffi==1.17.1 pycparser==2.22
    .venv-pusht/bin/python examples/2_push_t.py pusht_center.npz pusht_x356y356.npz runs/push_t

Each file holds recordings of people with one target: `state` (step, 5), the pusher's and the T's place (pixels) and
the T's angle (rad); `action` (step, 2), where the pusher is told to go (pixels); `episode_ends` (episode,). The pile is
both together, in random order. Angles go in as sine and cosine, since a full turn apart they are the same.

Each mode then acts, with the spread that it learned, in gym-pusht with the target in either place, from the same
starts: how much of the target the T covers at best. A second fit, the same in everything, that was told whose is whose
stands beside it.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import unbraid
from unbraid import cli
from unbraid.core.randomness import named_generator
from unbraid.core.runs import read_json, write_json
from unbraid.demos.selection import Selection
from unbraid.evaluation.baselines import supervised_fit
from unbraid.evaluation.intervals import share_interval

TARGETS = {"center": (256.0, 256.0, np.pi / 4), "corner": (356.0, 356.0, np.pi / 4)}  # x, y (pixels), angle (rad)
COVERED_AT_REWARD_1 = 0.95  # gym-pusht's reward is the share covered, over this, at most 1
NAMES = ("agent_x", "agent_y", "block_x", "block_y", "block_sin", "block_cos")


def seen(state: np.ndarray) -> np.ndarray:
    """(..., 6) what the policy sees of (..., 5) states: the angle as sine and cosine."""
    turned = state[..., 4:]
    return np.concatenate([state[..., :4], np.sin(turned), np.cos(turned)], axis=-1).astype(np.float32)


def recorded(paths: dict[str, Path], seed: int) -> unbraid.Demos:
    """Both files' episodes in random order; the last action of each is left out, since what came of it is unknown."""
    states, actions, labels = [], [], []
    for label, path in enumerate(paths.values()):
        with np.load(path, allow_pickle=False) as file:
            state, action, ends = file["state"], file["action"], file["episode_ends"]
        states += np.split(seen(state), ends[:-1])
        actions += [part[:-1].astype(np.float32) for part in np.split(action, ends[:-1])]
        labels += [label] * len(ends)
    order = named_generator(seed, "order of the pile").permutation(len(labels))
    return unbraid.Demos(
        observations=np.concatenate([states[i] for i in order]),
        actions=np.concatenate([actions[i] for i in order]),
        lengths=np.array([len(actions[i]) for i in order]),
        terminated=np.zeros(len(order), dtype=bool),
        labels=np.array(labels)[order],
        label_names=tuple(paths),
        observation_names=NAMES,
    )


class PushT(gymnasium.Wrapper):
    """gym-pusht as it was recorded, with the target in one of the places; the observation does not tell which."""

    def __init__(self, target: str) -> None:
        import gym_pusht  # noqa: F401  # registers the environment

        super().__init__(gymnasium.make("gym_pusht/PushT-v0", disable_env_checker=True))
        self.target = TARGETS[target]
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (len(NAMES),), np.float32)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """As gym-pusht's."""
        state, info = self.env.reset(**options)
        self.env.unwrapped.goal_pose = np.array(self.target)
        return seen(state), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """As gym-pusht's; the action is in pixels."""
        state, reward, terminated, truncated, info = self.env.step(action)
        return seen(state), float(reward), bool(terminated), truncated, info


def covered(episode: unbraid.Episode) -> float:
    """The largest share of the target that the T covered in an episode."""
    return float(episode.rewards.max()) * COVERED_AT_REWARD_1


def verb(*words: object) -> None:
    """Runs `unbraid WORDS`, as one would in a terminal."""
    print("\n$ unbraid", *words, flush=True)
    if code := cli.main([str(word) for word in words]):
        raise SystemExit(code)


def main(arguments: list[str] | None = None, *, world: Callable[[str], gymnasium.Env] = PushT) -> dict[str, Any]:
    """The example; returns what it writes to `results.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("center", type=Path)
    parser.add_argument("corner", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--n-modes", default="auto", help="as many as the evidence supports, or a number")
    parser.add_argument("--n-steps", type=int, help="of the joint fit")
    parser.add_argument("--episodes", type=int, default=24, help="rollouts of each mode for each target")
    parser.add_argument("--max-steps", type=int, default=300, help="in a rollout")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)

    demos = recorded({"center": asked.center, "corner": asked.corner}, asked.seed)
    pile, run = unbraid.save_demos(demos, asked.out / "pile"), asked.out / "run"
    verb("check", pile)
    sizes = [] if asked.n_steps is None else ["--n-steps", asked.n_steps]
    verb("fit", pile, "--out", run, "--n-modes", asked.n_modes, *sizes, "--seed", asked.seed)
    verb("report", run)

    # The same demonstrations, with their labels
    model = unbraid.ModeModel.from_pretrained(run / "model")
    training = Selection.split(demos, held_out=0.2, generator=named_generator(asked.seed, "held out"))[0].copied()
    told = supervised_fit(training, replace(model.config, n_modes=len(demos.label_names)))
    modes = model.predict(demos)
    results = {"seed": asked.seed, "n_modes": model.n_modes, "episodes": asked.episodes, "max_steps": asked.max_steps}
    results |= {"agreement": read_json(run / "results.json")["unbraid"].get("agreement"), "covered": {}}
    print(f"\n{'people with':12s}{'target':>8s}{'their mode covers':>20s}{'told covers':>20s}")
    for label, name in enumerate(demos.label_names):
        mode = int(np.bincount(modes[demos.labels == label], minlength=model.n_modes).argmax())
        for target in TARGETS:
            cell = {}
            for who, policy in {"mode": (model, mode), "told": (told, label)}.items():
                found = unbraid.evaluate(
                    unbraid.steer(policy[0]).toward(policy[1]),
                    lambda target=target: world(target),
                    n_episodes=asked.episodes,
                    max_steps=asked.max_steps,
                    metrics={"covered": covered},
                )
                cell[who] = share_interval(found.values["covered"]).to_json()
            results["covered"][f"{name}, target {target}"] = cell | {"found_mode": mode}
            texts = [f"{of['value']:.2f} [{of['low']:.2f}, {of['high']:.2f}]" for of in cell.values()]
            print(f"{name:12s}{target:>8s}{texts[0]:>20s}{texts[1]:>20s}", flush=True)
    write_json(asked.out / "results.json", results)
    return results


if __name__ == "__main__":
    main()
