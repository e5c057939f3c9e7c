"""Do twenty clicks say which mode a person wants, and where? Simulated people, asked cleverly and at random.

Situations are those of PointGoal1 while its experts drive, seen by three features: a constant, how far the goal is,
and how near a hazard lies on the way there, scaled to a deviation of 1. A person's utilities of three modes are linear
in them, drawn anew for every run, so that each mode is the best one in 15 to 70 % of situations; "both fine" or
"neither" is said where two modes differ by less than a tenth of the person's usual difference. A tenth of the answers
is drawn at random. Held-out situations are of other episodes. A choice is right where the person would not say that
another mode is better: the share that is the very best mode is given beside it.

    python benchmarks/bench_preferences.py [--runs 20] [--quick]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench_modes import json_text
from unbraid.core.randomness import named_generator
from unbraid.core.runs import write_text
from unbraid.evaluation.intervals import mean_interval, paired_difference, share_interval
from unbraid.switching.preferences import ANSWERS, Answer, Preferences, random_pair
from unbraid.switching.situations import situation_reader
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

RESULT = Path(__file__).parent / "results" / "bench_preferences.json"
WORLD = "unbraid/PointGoal1-v0"
EXPERTS = ("goal_seeking", "careful_goal_seeking", "hazard_avoiding")
FEATURES = ("constant", "goal_distance", "hazard_on_way_far")
N_MODES, N_CLICKS, NOISE, RIGHT = 3, 20, 0.1, 0.9
LEAST_SHARE, MOST_SHARE = 0.15, 0.7


def situations(n_episodes: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, feature) to ask about, and held out; every tenth step of every expert's episodes."""
    piles = []
    for first in (0, n_episodes):
        seen = []
        for name in EXPERTS:
            seeds = range(50_000 + first, 50_000 + first + n_episodes)
            for episode in rollout(make_expert(name), WORLD, seeds=seeds, max_steps=n_steps).demos:
                seen.append(np.asarray(episode.observations[::10], dtype=np.float64))
        rows = np.concatenate(seen)
        piles.append(situation_reader("point_goal_few", observations=rows).read(rows))
    return piles[0], piles[1]


def person(features: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(mode, feature) weights of a person by whom every mode is the best one somewhere."""
    while True:
        weights = generator.normal(size=(N_MODES, features.shape[1])) * [0.5, *[1.0] * (features.shape[1] - 1)]
        shares = np.bincount((features @ weights.T).argmax(axis=1), minlength=N_MODES) / len(features)
        if shares.min() >= LEAST_SHARE and shares.max() <= MOST_SHARE:
            return weights


def said_of(left: float, right: float, little: float, generator: np.random.Generator) -> Answer:
    """What the person says of two utilities; a tenth of the time, anything."""
    if generator.random() < NOISE:
        return ANSWERS[int(generator.integers(len(ANSWERS)))]
    if abs(left - right) < little:
        return "both fine" if left + right > 0 else "neither"
    return "left" if left > right else "right"


def run(index: int, how: str, asked_of: np.ndarray, held_out: np.ndarray, n_clicks: int) -> list[tuple[float, float]]:
    """After every click, the share of held-out situations whose mode is right, and whose mode is the very best."""
    generator = named_generator(index, "person")
    weights = person(asked_of, generator)
    utilities = asked_of @ weights.T
    little = 0.1 * float(np.abs(utilities[:, 0] - utilities[:, 1]).mean())
    wanted = held_out @ weights.T
    known, right = Preferences(N_MODES, len(FEATURES)), []
    for click in range(n_clicks):
        if how == "informative":
            pair = known.next_pair(asked_of, seed=index)
        else:
            pair = random_pair(len(asked_of), N_MODES, seed=1000 * index + click)
        left, right_one = utilities[pair.situation, [pair.left, pair.right]]
        answer = said_of(float(left), float(right_one), little, generator)
        known = known.answered(asked_of[pair.situation], pair.left, pair.right, answer)
        missed = wanted.max(axis=1) - wanted[np.arange(len(wanted)), known.best(held_out)]
        right.append((float((missed < little).mean()), float((missed == 0).mean())))
    return right


def summary(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the runs say."""
    clicks = found["informative"].shape[1]
    unit = {"unit_of_n": "simulated people"}
    entry: dict[str, Any] = {}
    for how, both in found.items():
        right = both[:, :, 0]
        reached = [int(np.argmax(row >= RIGHT)) + 1 if (row >= RIGHT).any() else clicks + 1 for row in right]
        entry[how] = {
            "right_by_click": [round(float(value), 4) for value in right.mean(axis=0)],
            "right_at_the_end": mean_interval(right[:, -1], **unit).to_json(),
            "very_best_at_the_end": mean_interval(both[:, -1, 1], **unit).to_json(),
            "reached_90_percent": share_interval((right[:, -1] >= RIGHT) * 1.0, **unit).to_json(),
            "clicks_until_90_percent": mean_interval(np.array(reached, dtype=float), **unit).to_json(),
            "each": [round(float(value), 4) for value in right[:, -1]],
            "each_clicks": reached,
        }
    end = [found[how][:, -1, 0] for how in ("informative", "random")]
    until = [np.array(entry[how]["each_clicks"], dtype=float) for how in ("random", "informative")]
    entry["more_right_at_the_end"] = paired_difference(*end, **unit).to_json()
    entry["clicks_saved"] = paired_difference(*until, **unit).to_json()
    entry["claims"] = {
        "the right best mode in at least 90 % of held-out situations, on average, after the clicks": bool(
            found["informative"][:, -1, 0].mean() >= RIGHT
        ),
        "sooner than with random pairs (interval above 0)": bool((entry["clicks_saved"]["low"] or 0) > 0),
    }
    return entry


def main(argv: list[str] | None = None) -> int:
    """Asks everybody both ways, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="simulated people")
    parser.add_argument("--quick", action="store_true", help="2 people, 5 clicks, nothing written")
    asked = parser.parse_args(argv)
    n_runs, n_clicks = (2, 5) if asked.quick else (asked.runs, N_CLICKS)
    asked_of, held_out = situations(*((2, 60) if asked.quick else (8, 400)))
    found = {
        how: np.array([run(index, how, asked_of, held_out, n_clicks) for index in range(n_runs)])
        for how in ("informative", "random")
    }
    result = {
        "format": "unbraid-bench-preferences",
        "version": 1,
        "n_people": n_runs,
        "n_clicks": n_clicks,
        "noise": NOISE,
        "features": list(FEATURES),
        "n_situations": len(asked_of),
        "n_held_out": len(held_out),
        **summary(found),
    }
    text = json_text(result)
    print(text)
    if not asked.quick:
        write_text(RESULT, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
