"""How sure unbraid is, and whether it comes true: what is measured, its table, and its targets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from mode_cases import CALIBRATED_STEPS, MOST_CALIBRATION_ERROR, SLACK
from unbraid.demos.episodes import Demos
from unbraid.evaluation.reliability import calibration_error, judged_windows, reliability_entry
from unbraid.training.model import ModeModel

SHOWN_LEAST = 0.9
RIGHT = {"expert": "the expert's mode", "episode": "the mode of its episode"}
TITLE = (
    "Windows at stride 5 of held-out episodes: the expected calibration error of the likeliest mode's probability, in "
    "15 bins of as many windows; mean over seeds (worst). A window is right if its mode is the one matched with its "
    "expert, or, reading no label, if it is the mode of its whole episode. Before: without a calibration. By chance: "
    f"what true probabilities would show with as many windows, were they independent. At {SHOWN_LEAST}: the share of "
    'windows whose mode is at least so probable, and how many of those are wrong (by expert); the others are "not '
    'sure".'
)


def certainty_of(model: ModeModel, held_out: Demos, expert_of_mode: np.ndarray) -> list[dict[str, Any]]:
    """One object for each length of window and each idea of what is right."""
    found: list[dict[str, Any]] = []
    for judged in judged_windows(model, held_out, window_lengths=CALIBRATED_STEPS, expert_of_mode=expert_of_mode):
        entry, before, right = reliability_entry(judged, seed=0), softmax(judged.scores, axis=1), judged.right
        at = next(point for point in entry["risk_coverage"] if point["min_probability"] == SHOWN_LEAST)
        told = {name: entry[name] for name in ("window_steps", "right_is", "n_windows", "by_chance")}
        told |= {"error": entry["calibration_error"], "before": calibration_error(before.max(1), right)}
        found.append(told | {"share_right": float(right.mean()), "sure": at["coverage"], "wrong": at["error"]})
    return found


def certainty_summary(by_seed: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of one case: for each length of window and idea of what is right, the numbers of every seed."""
    per_seed = [result["certainty"] for result in by_seed.values()]
    found: list[dict[str, Any]] = []
    for same in zip(*per_seed, strict=True):
        first = same[0]
        errors = [round(entry["error"]["value"], 5) for entry in same]
        told = {name: first[name] for name in ("window_steps", "right_is", "n_windows")}
        told |= {"mean": float(np.mean(errors)), "worst": max(errors), "per_seed": errors}
        told |= {f"error_{end}": [entry["error"][end] for entry in same] for end in ("low", "high")}
        for name in ("before", "by_chance", "share_right", "sure", "wrong"):
            told[name] = [entry[name] for entry in same]
        found.append(told)
    return found


def certainty_table(cases: Mapping[str, Any]) -> list[list[str]]:
    """A line for every case and length of window."""
    head = ["case", "windows", "error, by expert", "before", "error, by episode", "before", "by chance"]
    table = [[*head, f"sure at {SHOWN_LEAST}", "of those, wrong"]]
    for name, case in cases.items():
        entries = {(e["window_steps"], e["right_is"]): e for e in case.get("certainty", [])}
        for steps in sorted({steps for steps, _ in entries}):
            expert, episode = entries[steps, "expert"], entries[steps, "episode"]
            wrong = [w for w in expert["wrong"] if w is not None]
            cells = [name, f"{steps} steps", _spread(expert), _mean(expert["before"]), _spread(episode)]
            cells += [_mean(episode["before"]), _mean(expert["by_chance"]), f"{100 * np.mean(expert['sure']):.0f} %"]
            table.append([*cells, f"{100 * np.mean(wrong):.1f} %" if wrong else ""])
    return table


def _spread(entry: Mapping[str, Any]) -> str:
    return f"{entry['mean']:.3f} ({entry['worst']:.3f})"


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}"


def certainty_targets(cases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calibration errors of all cases, by length of window and by what is right: each case must reach it."""
    found: list[dict[str, Any]] = []
    for right_is, right in RIGHT.items():
        for steps in CALIBRATED_STEPS:
            of_case = {
                name: entry
                for name, case in cases.items()
                for entry in case.get("certainty", [])
                if (entry["window_steps"], entry["right_is"]) == (steps, right_is)
            }
            if of_case:
                missed = [name for name, entry in of_case.items() if not _reached(entry)]
                worst = max(of_case.values(), key=lambda entry: entry["mean"])
                what = (
                    f"calibration error of {steps}-step windows, right being {right}, <= {MOST_CALIBRATION_ERROR} in "
                    f"every one of {len(of_case)} cases (here the worst)"
                )
                what += f"; missed in {', '.join(missed)}" if missed else ""
                found.append({"case": "all", "what": what, "mean": worst["mean"], "worst": worst["worst"]})
                found[-1] |= {"n_seeds": len(worst["per_seed"]), "met": not missed}
    return found


def _reached(entry: Mapping[str, Any]) -> bool:
    """The mean does, and the worst seed nearly."""
    return entry["mean"] <= MOST_CALIBRATION_ERROR and entry["worst"] <= MOST_CALIBRATION_ERROR + SLACK
