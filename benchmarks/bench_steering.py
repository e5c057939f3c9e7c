"""Does steering obey? Four experts of PointGoal1, found without labels, then asked for, avoided and blended.

Obedience: rollouts of every mode are read again by the encoder alone, in windows of 50 steps, beside the rollouts of
the expert that the mode is matched with, on the same seeds; and after a change of instruction, beside an expert that
another takes over from at the same step. Motion: speed and turning of every mode, of four and of six experts
(`motion.py`). Blends: for every pair and nine weights, the product of powers, beside the
true experts blended by the same rule, and beside drawing one of the two modes for each episode. Away, from hazard
seeking and from goal seeking: strengths 0, 0.5, 1 and 2 against the average of all modes, beside leaving the mode out
of that average, and beside raising the mode's coordinate of the context alone.

Three training seeds (3 to 5; settings were chosen on seed 3): the unit of n. Every result is kept in `--folder`, so
that an interrupted run goes on; the models are those of the benchmark of modes, and are fitted where they are absent.

    python benchmarks/bench_steering.py [--seeds 3,4,5] [--quick]
"""

import argparse
import copy
import functools
import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from bench_modes import json_text
from changing import TakingOver
from mode_cases import CASES, QUICK, Sizes
from mode_rows import Job, own_model, result_of, source_fingerprint
from motion import QUANTILES, UNITS, motion
from unbraid.core.runs import read_json, write_json, write_text
from unbraid.evaluation.behaviour import measure
from unbraid.evaluation.evaluate import fresh_seeds
from unbraid.evaluation.intervals import mean_interval, paired_difference
from unbraid.evaluation.obedience import floored_share, obedience, steps_until_obeyed
from unbraid.steering.schedules import by_episode, in_turn
from unbraid.steering.steered import SteeredPolicy, steer
from unbraid.training.loop import computing
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import Rollouts, rollout

RESULT = Path(__file__).parent / "results" / "bench_steering.json"
WORLD, CASE, MOVING = "unbraid/PointGoal1-v0", "four", ("four", "six")
METRICS = ("return", "goals", "cost", "distance")
WEIGHTS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
STRENGTHS = (0.0, 0.5, 1.0, 2.0)
RAISED = (1.0, 1.5, 2.0, 3.0)
AVOIDED = ("hazard_seeking", "goal_seeking")
SHARE, AMOUNT, CORRELATION = (0.0, 1.0), (0.0, math.inf), (-1.0, 1.0)
POSSIBLE = {"obeyed": SHARE, "floored": SHARE, "share": SHARE, "neither": SHARE, "return": (-math.inf, math.inf)}
POSSIBLE |= dict.fromkeys(("goals", "cost", "distance"), AMOUNT)
KNOWN_FOR = {"hazard_seeking": "cost", "goal_seeking": "goals"}
LEAST_OBEYED, MOST_LATE_STEPS, LEAST_RANK, HALVED, GOALS_LEFT = 0.98, 5.0, 0.9, 0.5, 0.2


@dataclass(frozen=True)
class Amounts:
    """Episodes and steps of each part."""

    n_obeyed: int = 48
    n_moved: int = 24
    n_changed: int = 24
    n_blended: int = 24
    n_avoided: int = 96
    n_steps: int = 1000
    changed_at: int = 200
    n_after: int = 150
    n_blend_steps: int = 500


TINY = Amounts(
    n_obeyed=3,
    n_moved=2,
    n_changed=2,
    n_blended=2,
    n_avoided=2,
    n_steps=80,
    changed_at=30,
    n_after=40,
    n_blend_steps=80,
)


@dataclass(frozen=True)
class Steerable:
    """A model and who its modes are.

    Attributes:
        model: fitted without labels.
        mode_of: expert -> its mode.
    """

    model: ModeModel
    mode_of: Mapping[str, int]

    def toward(self, expert: str) -> SteeredPolicy:
        """The policy in the mode that an expert is matched with."""
        return steer(self.model).toward(self.mode_of[expert])


def run(controller: Controller, n: int, n_steps: int) -> Rollouts:
    """On seeds that no demonstration was recorded on, the same for everybody."""
    return rollout(controller, WORLD, seeds=fresh_seeds(n, seed=77), max_steps=n_steps)


def means(rollouts: Rollouts) -> dict[str, float]:
    """metric -> mean over episodes."""
    measured = measure(rollouts.demos, rollouts.tracks)
    return {metric: round(float(measured[metric].mean()), 4) for metric in METRICS}


def obeyed_part(of: Steerable, amounts: Amounts) -> dict[str, Any]:
    """expert -> how often its mode's rollouts, and its own, are read as the mode, all in all and by tenths."""
    found: dict[str, Any] = {}
    for expert, mode in of.mode_of.items():
        both = {"mode": of.toward(expert), "expert": make_expert(expert)}
        found[expert] = {
            who: obedience(of.model, run(actor, amounts.n_obeyed, amounts.n_steps).demos, mode).to_json()
            for who, actor in both.items()
        }
    return found


def changed_part(of: Steerable, amounts: Amounts) -> dict[str, Any]:
    """Ordered pair -> steps until the change takes effect, of the policy, of experts, and their paired difference."""
    found: dict[str, Any] = {}
    at, n_steps = amounts.changed_at, amounts.changed_at + amounts.n_after
    for first, second in itertools.permutations(of.mode_of, 2):
        turns = np.full(amounts.n_changed, at)
        both: dict[str, Controller] = {
            "mode": in_turn({0: of.toward(first), at: of.toward(second)}),
            "expert": TakingOver(make_expert(first), make_expert(second), turns),
        }
        steps = {
            who: steps_until_obeyed(
                of.model, run(actor, amounts.n_changed, n_steps).demos, of.mode_of[second], changed_at=at
            )
            for who, actor in both.items()
        }
        late = paired_difference(steps["mode"], steps["expert"])
        of_each = {who: {"mean": float(s.mean()), "median": float(np.median(s))} for who, s in steps.items()}
        found[f"{first} to {second}"] = of_each | {"later": late.to_json()}
    return found


@dataclass(frozen=True)
class Blended:
    """Two experts, blended as the policy blends modes: with equal noise, the weighted mean of what they do."""

    one: Controller
    other: Controller
    weight: float

    def act(self, observations: np.ndarray, state: Any, episode_start: np.ndarray, noise: np.ndarray) -> Any:
        """See `worlds.controllers.Controller`; neither expert has a memory."""
        done = [expert.act(observations, None, episode_start, noise)[0] for expert in (self.one, self.other)]
        return (1 - self.weight) * done[0] + self.weight * done[1], None


def blend_part(of: Steerable, amounts: Amounts) -> dict[str, Any]:
    """Pair -> who blends -> for every weight of the second: the share of windows in its mode, in neither, metrics."""
    found: dict[str, Any] = {}
    for one, other in itertools.combinations(of.mode_of, 2):
        a, b = of.mode_of[one], of.mode_of[other]
        of_pair: dict[str, list[dict[str, float]]] = {"policy": [], "experts": [], "by_episode": []}
        for weight in WEIGHTS:
            chosen = {of.toward(one): 1 - weight, of.toward(other): weight}
            actors: dict[str, Controller] = {
                "policy": steer(of.model).blend({a: 1 - weight, b: weight}),
                "experts": Blended(make_expert(one), make_expert(other), weight),
                "by_episode": by_episode({policy: share for policy, share in chosen.items() if share > 0}),
            }
            for who, actor in actors.items():
                rollouts = run(actor, amounts.n_blended, amounts.n_blend_steps)
                performed = obedience(of.model, rollouts.demos, b).performed
                read = {"share": float(performed[b]), "neither": float(1 - performed[a] - performed[b])}
                of_pair[who].append({"weight": weight, **read, **means(rollouts)})
        found[f"{one} and {other}"] = of_pair
    return found


def avoid_part(of: Steerable, amounts: Amounts) -> dict[str, Any]:
    """expert -> line -> strength, or coordinate -> obedience to the avoided mode, metrics, and share of floored steps.

    The metrics are lists, one number per episode, on the same seeds for everybody.
    """
    found: dict[str, Any] = {}
    for expert in AVOIDED:
        mode, n_modes = of.mode_of[expert], of.model.n_modes
        without = copy.copy(of.model)  # the same weights; the average of all other modes is its base
        without.shares = [0.0 if k == mode else share for k, share in enumerate(of.model.shares)]
        context = 1 - np.array(of.model.shares)
        policies = {
            "away": {strength: _away(of.model, mode, strength) for strength in STRENGTHS},
            "left_out": {0.0: steer(without).toward(mode, strength=0)},
            "raised": {
                value: steer(of.model).with_context(np.where(np.arange(n_modes) == mode, value, context))
                for value in RAISED
            },
        }
        found[expert] = {
            line: {str(key): avoided(of, policy, mode, amounts) for key, policy in by_key.items()}
            for line, by_key in policies.items()
        }
    return found


def _away(model: ModeModel, mode: int, strength: float) -> SteeredPolicy:
    return steer(model).away(mode, strength) if strength > 0 else steer(model).toward(mode, strength=0)


def avoided(of: Steerable, policy: SteeredPolicy, mode: int, amounts: Amounts) -> dict[str, Any]:
    """One policy's rollouts."""
    rollouts = run(policy, amounts.n_avoided, amounts.n_steps)
    measured = measure(rollouts.demos, rollouts.tracks)
    return {
        "obeyed": obedience(of.model, rollouts.demos, mode).share.value,
        "floored": floored_share(policy, rollouts.demos),
        **{metric: measured[metric].tolist() for metric in METRICS},
    }


def motion_part(of: Steerable, amounts: Amounts, *, case: str) -> dict[str, Any]:
    """See `motion.motion`."""
    modes = {expert: of.toward(expert) for expert in of.mode_of}
    return motion(modes, env_id=WORLD, noise=CASES[case].noise, n=amounts.n_moved, n_steps=amounts.n_steps)


Part = Callable[[Steerable, Amounts], dict[str, Any]]
PARTS: dict[str, Part] = {"obeyed": obeyed_part, "changed": changed_part, "blends": blend_part, "avoided": avoid_part}


def steerable(case: str, seed: int, sizes: Sizes, folder: Path) -> Steerable:
    """The model of a training seed, with the modes' experts; an expert that no mode is matched with gets one left."""
    job = Job(CASES[case], "unbraid", seed, sizes)
    model = own_model(job, folder)
    result = result_of(job, folder)
    matched = {name: mode for mode, name in enumerate(result["expert_of_mode"]) if name is not None}
    left = iter(mode for mode in range(model.n_modes) if mode not in matched.values())
    return Steerable(
        model, {name: matched[name] if name in matched else next(left) for name in result["pile"]["experts"]}
    )


def part_of(name: str, seed: int, of: Steerable, amounts: Amounts, folder: Path, work: Part) -> dict[str, Any]:
    """A part's result, kept; computed where it is absent or was another model's."""
    path = folder / f"{name}_seed{seed}.json"
    asked = {"model": of.model.fingerprint(), "amounts": vars(amounts), "source": source_fingerprint("fits", None)}
    if path.exists() and (stored := read_json(path)).get("asked") == asked:
        return stored["result"]
    result = work(of, amounts)
    write_json(path, {"asked": asked, "result": result})
    return result


# What is made of it


def across(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> dict[str, Any]:
    """Mean, interval and all values; the training seed is the unit, and the interval stays within what can be."""
    found = mean_interval(np.array(values, dtype=np.float64), unit_of_n="training seeds").to_json()
    if found["low"] is not None:
        found["low"], found["high"] = max(found["low"], within[0]), min(found["high"], within[1])
    return {key: _rounded(value) for key, value in found.items()} | {
        "of_seeds": [round(float(value), 4) for value in values]
    }


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def summary(of_seed: Mapping[int, Mapping[str, Any]], amounts: Amounts) -> dict[str, Any]:
    """All parts over the training seeds, and what was to be reached."""
    seeds = list(of_seed)
    content: dict[str, Any] = {"benchmark": "steering", "seeds": seeds, "amounts": vars(amounts)}
    experts = list(of_seed[seeds[0]]["obeyed"])
    content["obeyed"] = {
        expert: {
            who: across([of_seed[s]["obeyed"][expert][who]["share"]["value"] for s in seeds], SHARE)
            for who in ("mode", "expert")
        }
        | {
            "over_time": [
                [_value(of_seed[s]["obeyed"][expert]["mode"]["over_time"][part]) for s in seeds] for part in range(10)
            ]
        }
        for expert in experts
    }
    content["changed"] = {
        pair: {
            who: across([of_seed[s]["changed"][pair][who]["mean"] for s in seeds], AMOUNT) for who in ("mode", "expert")
        }
        | {"later": across([of_seed[s]["changed"][pair]["later"]["value"] for s in seeds])}
        for pair in of_seed[seeds[0]]["changed"]
    }
    content["motion"] = {case: _motion([of["motion"][case] for of in of_seed.values()]) for case in MOVING}
    content["blends"] = {
        pair: {
            who: [
                {"weight": weight}
                | {
                    name: across([of_seed[s]["blends"][pair][who][i][name] for s in seeds], POSSIBLE[name])
                    for name in ("share", "neither", *METRICS)
                }
                for i, weight in enumerate(WEIGHTS)
            ]
            for who in lines
        }
        | {"rank_correlation": across([_rank(of_seed[s]["blends"][pair]["policy"]) for s in seeds], CORRELATION)}
        for pair, lines in of_seed[seeds[0]]["blends"].items()
    }
    content["avoided"] = {
        expert: {
            line: {
                key: {
                    name: across(
                        [float(np.mean(of_seed[s]["avoided"][expert][line][key][name])) for s in seeds], POSSIBLE[name]
                    )
                    for name in ("obeyed", "floored", *METRICS)
                }
                for key in by_key
            }
            for line, by_key in lines.items()
        }
        for expert, lines in of_seed[seeds[0]]["avoided"].items()
    }
    content["beside_left_out"] = {
        expert: {
            key: [beside_left_out(of_seed[s]["avoided"][expert], key, KNOWN_FOR[expert]) for s in seeds]
            for key in map(str, STRENGTHS[1:])
        }
        for expert in AVOIDED
    }
    content["targets"] = targets(content)
    return content


def _motion(of_seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """expert -> speed, turning -> distances over the training seeds, and the mean quantiles."""

    def over(expert: str, what: str) -> dict[str, Any]:
        each = [of[expert][what] for of in of_seeds]
        distances = ("from_expert", "expert_from_itself", "expert_from_nearest")
        found: dict[str, Any] = {key: across([one[key] for one in each], AMOUNT) for key in distances}
        for who in ("mode", "expert"):
            found[who] = [round(float(np.mean([one[who][i] for one in each])), 4) for i in range(len(QUANTILES))]
        return found

    return {expert: {what: over(expert, what) for what in UNITS} for expert in of_seeds[0]}


def beside_left_out(lines: Mapping[str, Any], key: str, known_for: str) -> dict[str, Any]:
    """Of one training seed: away minus leaving the mode out of the average, paired by rollout, and which is better.

    Better is: less of what the mode is known for, with the whole interval below 0; and a return whose interval does
    not lie below 0.
    """
    own, out = lines["away"][key], lines["left_out"]["0.0"]
    less, gain = (
        paired_difference(np.array(own[metric], dtype=np.float64), np.array(out[metric], dtype=np.float64))
        for metric in (known_for, "return")
    )
    assert less.high is not None
    assert gain.high is not None
    numbers = {
        name: {k: _rounded(v) for k, v in e.to_json().items()} for name, e in ((known_for, less), ("return", gain))
    }
    return {**numbers, "better": bool(less.high < 0 and gain.high >= 0)}


def _value(estimate: dict[str, Any] | None) -> float | None:
    return None if estimate is None else round(estimate["value"], 4)


def _rank(line: Sequence[Mapping[str, float]]) -> float:
    """Spearman's correlation of the weight with the share of windows read as the second mode; 0 where none is."""
    shares = [point["share"] for point in line]
    return float(spearmanr(WEIGHTS, shares)[0]) if len(set(shares)) > 1 else 0.0


def targets(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was to be reached, what was reached, and whether it is met by the mean over training seeds."""
    found: list[dict[str, Any]] = []

    def add(what: str, got: float, met: bool) -> None:
        found.append({"what": what, "got": round(got, 4), "met": bool(met)})

    for expert, line in content["obeyed"].items():
        ratio = line["mode"]["value"] / max(line["expert"]["value"], 1e-9)
        add(
            f"{expert}: obedience, as a share of the expert's own (at least {LEAST_OBEYED})",
            ratio,
            ratio >= LEAST_OBEYED,
        )
    for pair, line in content["changed"].items():
        later = line["later"]["value"]
        add(
            f"{pair}: steps later than a switched expert (at most {MOST_LATE_STEPS:g})", later, later <= MOST_LATE_STEPS
        )
    for pair, line in content["blends"].items():
        rank = line["rank_correlation"]
        worst = min(rank["of_seeds"])
        add(
            f"{pair}: rank correlation of weight and share, worst seed (at least {LEAST_RANK})",
            worst,
            worst >= LEAST_RANK,
        )
    for expert, left in (("hazard_seeking", HALVED), ("goal_seeking", GOALS_LEFT)):
        lines, metric = content["avoided"][expert], KNOWN_FOR[expert]
        for key in map(str, STRENGTHS[1:]):
            own, base = lines["away"][key], lines["away"]["0.0"]
            kept = own[metric]["value"] / max(base[metric]["value"], 1e-9)
            add(f"away from {expert}, {key}: {metric}, as a share of the base's (at most {left})", kept, kept <= left)
            better = [of_seed["better"] for of_seed in content["beside_left_out"][expert][key]]
            what = f"less {metric} than without it, at no lower return, paired: share of training seeds (at least 1)"
            add(f"away from {expert}, {key}: {what}", sum(better) / len(better), all(better))
    return found


def text_of(content: Mapping[str, Any]) -> str:
    """The summary for a terminal."""
    lines = [f"steering, {len(content['seeds'])} training seeds"]
    for expert, of in content["avoided"].items():
        lines.append(f"away from {expert}: obeyed, cost, goals, return, floored")
        for line, by_key in of.items():
            for key, row in by_key.items():
                numbers = [f"{row[name]['value']:8.2f}" for name in ("obeyed", "cost", "goals", "return", "floored")]
                lines.append(f"  {line:9s} {key:4s}" + " ".join(numbers))
    lines += [f"{'met   ' if t['met'] else 'MISSED'} {t['got']:9.4f}  {t['what']}" for t in content["targets"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[3, 4, 5])
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the numbers mean nothing"
    )
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/bench_steering, or ..._quick)")
    parser.add_argument(
        "--models", type=Path, help="the folder of the benchmark of modes (runs/bench_modes, ..._quick)"
    )
    parser.add_argument("--out", type=Path, help=f"the summary (benchmarks/results/{RESULT.name}, or in the folder)")
    asked = parser.parse_args(arguments)
    suffix = "_quick" if asked.quick else ""
    folder = asked.folder or Path(f"runs/bench_steering{suffix}")
    models = asked.models or Path(f"runs/bench_modes{suffix}")
    sizes, amounts = (QUICK, TINY) if asked.quick else (Sizes(), Amounts())
    of_seed: dict[int, dict[str, Any]] = {}
    with computing(1), threadpool_limits(1):
        for seed in asked.seeds:
            of_case = {case: steerable(case, seed, sizes, models) for case in (CASE, *MOVING)}
            of_seed[seed] = {}
            for name, work in PARTS.items():
                of_seed[seed][name] = part_of(name, seed, of_case[CASE], amounts, folder, work)
                print(f"seed {seed}: {name}", file=sys.stderr)
            of_seed[seed]["motion"] = {
                case: part_of(
                    f"motion_{case}", seed, of_case[case], amounts, folder, functools.partial(motion_part, case=case)
                )
                for case in MOVING
            }
            print(f"seed {seed}: motion", file=sys.stderr)
    content = summary(of_seed, amounts)
    out = asked.out or (folder / RESULT.name if asked.quick else RESULT)
    write_text(out, json_text(content))
    print(text_of(content))


if __name__ == "__main__":
    main()
