"""Does switching pay? PointGoal1, "reach goals, but pay little cost": a switcher beside the best mode alone.

The modes are those of a reckless goal-seeker, a careful one, and a hazard-avoider that ignores goals: as they were
fitted from demonstrations without labels (`modes`), or the three experts themselves (`experts`), which shows what
switching could do if every mode were copied without fault. lambda is fixed where the two best modes tie, by their
rollouts on seeds of their own; and half and twice that. Learners take at most 100,000 steps of the environment each,
for every lambda anew. A switcher and the modes are measured on the same fresh episodes: return - lambda x cost, paired
by seed. "The best mode alone" is the best one on these very episodes.

Every result is kept in `--folder`, so that an interrupted run goes on.

    python benchmarks/bench_switching.py [--seeds 0,1,2] [--who modes,experts] [--methods ...] [--horizons 10] [--quick]
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench_modes import json_text
from unbraid.core.runs import read_json, write_json, write_text
from unbraid.evaluation.evaluate import fresh_seeds
from unbraid.evaluation.intervals import Estimate, mean_interval, paired_difference
from unbraid.steering.steered import steer
from unbraid.switching.actor_critic import train_actor_critic
from unbraid.switching.bandit import train_bandit
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import SituationReader, situation_reader
from unbraid.switching.switcher import SwitchedPolicy, Switcher
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit
from unbraid.training.loop import computing
from unbraid.training.model import ModeModel
from unbraid.worlds.collect import collect
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

RESULT = Path(__file__).parent / "results" / "bench_switching.json"
WORLD = "unbraid/PointGoal1-v0"
EXPERTS = ("goal_seeking", "careful_goal_seeking", "hazard_avoiding")
METHODS = ("actor_critic", "ppo", "bandit")
FACTORS = (0.5, 1.0, 2.0)
POSSIBLE = {"return": (-np.inf, np.inf), "cost": (0.0, np.inf)}
"""What an episode can bring: the ends of intervals lie within."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    n_demonstrations: int = 60
    n_learning_steps: int = 100_000
    n_weighed: int = 96
    n_measured: int = 128
    n_steps: int = 1000
    n_fit_steps: int | None = None


QUICK = Sizes(n_demonstrations=2, n_learning_steps=2_000, n_weighed=2, n_measured=2, n_steps=60, n_fit_steps=20)


@dataclass(frozen=True)
class Bench:
    """One seed of one kind of modes.

    Attributes:
        controllers: one per mode.
        reader: what is seen of a situation.
        sizes: how much of everything.
        seed: of demonstrations, fit and learning.
    """

    controllers: tuple[Controller, ...]
    reader: SituationReader
    sizes: Sizes
    seed: int

    def measured(self, controller: Controller, n: int, seed: int) -> dict[str, list[float]]:
        """Return and cost of fresh episodes."""
        seeds = fresh_seeds(n, seed=seed)
        found = rollout(controller, WORLD, seeds=seeds, max_steps=self.sizes.n_steps).demos
        return {
            "return": [float(np.sum(episode.rewards)) for episode in found],
            "cost": [float(np.sum(episode.costs)) for episode in found],
        }

    def worlds(self, horizon_steps: int, cost_weight: float) -> OptionWorlds:
        """Where the switcher learns."""
        return OptionWorlds(
            self.controllers,
            WORLD,
            horizon_steps=horizon_steps,
            cost_weight=cost_weight,
            n_envs=16,
            max_steps=self.sizes.n_steps,
        )


def made(who: str, seed: int, sizes: Sizes, folder: Path) -> Bench:
    """The modes; fitted where they are not there yet."""
    reader = situation_reader("point_goal", observations=np.zeros((2, 60)))
    if who == "experts":
        return Bench(tuple(make_expert(name) for name in EXPERTS), reader, sizes, seed)
    path = folder / f"model_{seed}"
    if not path.exists():
        sources = [(name, make_expert(name)) for name in EXPERTS]
        pile = collect(
            sources, env_id=WORLD, n_episodes=sizes.n_demonstrations, seed=seed, max_steps=sizes.n_steps
        ).without_labels()
        steps = {} if sizes.n_fit_steps is None else {"n_steps": sizes.n_fit_steps, "search_steps": 20}
        fit(pile, UnbraidConfig(n_modes=len(EXPERTS), seed=seed, **steps)).save_pretrained(path)
    policy = steer(ModeModel.from_pretrained(path))
    return Bench(tuple(policy.toward(mode) for mode in range(len(EXPERTS))), reader, sizes, seed)


def kept(path: Path, work: Callable[[], Any]) -> Any:
    """What is in a file, or the work's result, which is put there."""
    if not path.exists():
        write_json(path, work())
    return read_json(path)


def tie(modes: Sequence[Mapping[str, Sequence[float]]]) -> float:
    """The least lambda > 0 at which two modes tie that no third one beats."""
    means = [(float(np.mean(mode["return"])), float(np.mean(mode["cost"]))) for mode in modes]
    ties = []
    for (r, c), (other_r, other_c) in itertools.combinations(means, 2):
        weight = (r - other_r) / (c - other_c) if c != other_c else 0.0
        if weight > 0 and r - weight * c >= max(a - weight * b for a, b in means) - 1e-9:
            ties.append(weight)
    if not ties:
        raise SystemExit(f"No two modes tie where they are the best: (return, cost) {means}.")
    return min(ties)


def learned(bench: Bench, method: str, horizon_steps: int, weight: float) -> Switcher:
    """The switcher of one method."""
    worlds, n_steps = bench.worlds(horizon_steps, weight), bench.sizes.n_learning_steps
    try:
        if method == "bandit":
            return train_bandit(worlds, bench.reader, n_steps=n_steps, seed=bench.seed)[0]
        if method == "actor_critic":
            return train_actor_critic(worlds, bench.reader, n_steps=n_steps, seed=bench.seed)
        from unbraid.switching.ppo import train_switcher

        return train_switcher(worlds, bench.reader, n_steps=n_steps, seed=bench.seed)
    finally:
        worlds.close()


def gain(switched: Mapping[str, Sequence[float]], modes: Sequence[Mapping[str, Any]], weight: float) -> dict[str, Any]:
    """The switcher's objective less that of the best mode."""
    objective = [np.array(one["return"]) - weight * np.array(one["cost"]) for one in (switched, *modes)]
    best = 1 + int(np.argmax([values.mean() for values in objective[1:]]))
    found: Estimate = paired_difference(objective[0], objective[best])
    return {
        "cost_weight": weight,
        "best_mode": best - 1,
        "objective": float(objective[0].mean()),
        "best_alone": float(objective[best].mean()),
        "return": float(np.mean(switched["return"])),
        "cost": float(np.mean(switched["cost"])),
        "gain": found.to_json(),
        "beats": bool(found.low is not None and found.low > 0),
    }


def run(asked: argparse.Namespace, sizes: Sizes) -> dict[str, Any]:
    """Every seed, kind of modes, horizon, method and weight; and what the modes do alone."""
    entries: list[dict[str, Any]] = []
    modes: list[dict[str, Any]] = []
    for who, seed in itertools.product(asked.who.split(","), map(int, asked.seeds.split(","))):
        folder = asked.folder / f"{who}_{seed}"
        bench = made(who, seed, sizes, asked.folder)
        weighed = kept(
            folder / "weighed.json",
            lambda b=bench, s=seed: [b.measured(one, sizes.n_weighed, 1000 + s) for one in b.controllers],
        )
        alone = kept(
            folder / "alone.json",
            lambda b=bench, s=seed: [b.measured(one, sizes.n_measured, 2000 + s) for one in b.controllers],
        )
        weight = tie(weighed)
        found = [
            {name: mean_interval(np.array(one[name]), within=possible).to_json() for name, possible in POSSIBLE.items()}
            for one in alone
        ]
        modes.append({"who": who, "seed": seed, "tie": weight, "alone": found})
        for horizon, method in itertools.product(map(int, asked.horizons.split(",")), asked.methods.split(",")):
            for factor in FACTORS:

                def work(
                    b: Bench = bench, m: str = method, h: int = horizon, w: float = factor * weight
                ) -> dict[str, list[float]]:
                    policy = SwitchedPolicy(b.controllers, learned(b, m, h, w))
                    return b.measured(policy, b.sizes.n_measured, 2000 + b.seed)

                switched = kept(folder / f"{method}_{horizon}_{factor}.json", work)
                about = {"who": who, "seed": seed, "method": method, "horizon_steps": horizon, "factor": factor}
                entries.append({**about, **gain(switched, alone, factor * weight)})
                print(_line(entries[-1]), file=sys.stderr, flush=True)
    return {"modes": modes, "entries": entries}


def _line(entry: Mapping[str, Any]) -> str:
    of = entry["gain"]
    about = " ".join(str(entry[name]) for name in ("who", "seed", "method", "horizon_steps", "factor"))
    return f"{about}: {entry['objective']:.2f} against {entry['best_alone']:.2f}, {of['value']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"  # noqa: E501


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--who", default="modes,experts")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--horizons", default="10")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_switching"))
    parser.add_argument("--quick", action="store_true", help="tiny, and nothing is written to results")
    asked = parser.parse_args(argv)
    sizes = QUICK if asked.quick else Sizes()
    with computing(1):
        found = run(asked, sizes)
    of = {"n_learning_steps": sizes.n_learning_steps, "n_measured": sizes.n_measured}
    text = json_text({"format": "unbraid-bench-switching", "version": 1, "world": WORLD, **of, **found})
    print(text)
    if not asked.quick:
        write_text(RESULT, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
