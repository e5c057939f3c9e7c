"""The mode of a robot that is running: what a step takes, and whether it is what is read of the same steps at once."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from mode_cases import FEWEST_OBSERVED, MOST_DIFFERENCE, MOST_MICROSECONDS, SWITCH_RATE
from unbraid.demos.episodes import Demos
from unbraid.training.model import ModeModel

WARM_UP = 100
TITLE = (
    "One step of `observe`, on one core: the median over the steps of held-out episodes, in microseconds; and the "
    "largest difference of a probability from `filter`, which reads the same episodes at once (float32 has 7 digits). "
    f"The chain may switch at a rate of {SWITCH_RATE} a step. Mean over seeds (largest)."
)


def online_of(model: ModeModel, held_out: Demos) -> dict[str, Any]:
    """Observes whole episodes until there are enough steps."""
    model.switch_rate = SWITCH_RATE  # the costlier kind
    n_episodes = int(np.searchsorted(np.cumsum(held_out.lengths), FEWEST_OBSERVED)) + 1
    episodes = list(held_out.select(np.arange(min(n_episodes, held_out.n_episodes))))
    once = model.filter(Demos.from_episodes(episodes))
    observed, seconds = np.empty_like(once), np.empty(len(once))
    row = 0
    for episode in episodes:
        belief = None
        for observation, action in zip(episode.observations, episode.actions, strict=False):
            since = time.perf_counter()
            belief = model.observe(belief, observation, action)
            seconds[row] = time.perf_counter() - since
            observed[row] = belief.probabilities
            row += 1
    micros = np.quantile(1e6 * seconds[min(WARM_UP, row // 2) :], [0.5, 0.99])
    return {
        "n_steps": row,
        "n_modes": model.n_modes,
        "observation_size": model.observation_size,
        "median_us": round(float(micros[0]), 2),
        "p99_us": round(float(micros[1]), 2),
        "largest_difference": float(np.abs(observed - once).max()),
    }


def online_summary(results: Mapping[str, Mapping[str, Mapping[int, Any]]]) -> dict[str, Any]:
    """case -> the numbers of every seed."""
    return {case: list(by_row["online"].values()) for case, by_row in results.items() if "online" in by_row}


def online_table(online: Mapping[str, Any]) -> list[list[str]]:
    """A line for every case."""
    table = [["case", "modes", "observation", "median, microseconds", "99 in 100 below", "largest difference"]]
    for case, of_seed in online.items():
        micros, late = [r["median_us"] for r in of_seed], [r["p99_us"] for r in of_seed]
        cells = [case, str(of_seed[0]["n_modes"]), str(of_seed[0]["observation_size"])]
        cells += [f"{np.mean(values):.0f} ({max(values):.0f})" for values in (micros, late)]
        table.append([*cells, f"{max(r['largest_difference'] for r in of_seed):.0e}"])
    return table


def online_targets(online: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Microseconds a step, and agreement, of every case."""
    found: list[dict[str, Any]] = []
    for case, of_seed in online.items():
        asked = (("median_us", MOST_MICROSECONDS), ("largest_difference", MOST_DIFFERENCE))
        whats = ("microseconds a step of observe, every seed <", "observe and filter differ, every seed <=")
        for (name, most), what in zip(asked, whats, strict=True):
            values = [r[name] for r in of_seed]
            told = {"case": case, "what": f"{what} {most:g}", "mean": float(np.mean(values)), "worst": max(values)}
            found.append(told | {"n_seeds": len(values), "met": max(values) < most})
    return found
