"""All results of the benchmark of modes in one object: by case, check and curve, with the targets and what was met."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mode_cases import (
    AUTO_SECONDS,
    CASES,
    CHECKS,
    COUNTED,
    CURVE,
    FIT_SECONDS,
    LEAST_EXPLAINED,
    LEAST_PURITY,
    LEAST_WHOLE,
    METRICS,
    MOST_ERROR_STEPS,
    MOST_NMI_APART,
    MOST_OTHERS,
    MOST_SPURIOUS,
    N_SEEDS,
    OVER_TIME,
    RISING,
    ROWS,
    SCORED,
    SLACK,
    TARGETS,
    TOO_FEW,
    TOO_MANY,
    Case,
    Sizes,
)
from mode_certainty import certainty_summary, certainty_targets
from mode_online import online_summary, online_targets
from mode_rows import Job, asked_of, kind_of, path_of, source_fingerprint, stored_at
from unbraid.core.runs import provenance
from unbraid.evaluation.boundaries import FARTHEST_STEPS

JUDGED = ("goals", "return", "distance", "displacement")
AS_GOOD = {"two": ("goal_seeking", "forward"), "four": ("goal_seeking", "forward", "circling")}
"""The modes that must be as good as their experts."""
N_THREADS, ROUNDING = 1, 1e-9
BySeed = Mapping[int, dict[str, Any]]


def jobs_of(cases: Iterable[str], rows: Iterable[str], seeds: Iterable[int], sizes: Sizes) -> list[Job]:
    """What there is to do: seed by seed, so that demonstrations are made once; nothing where data are not there."""
    asked = [row for row in ROWS if row in set(rows)]
    there = [CASES[case] for case in cases if CASES[case].is_there]
    return [
        Job(case, row, seed, sizes)
        for case in there
        for seed in seeds_of(case, seeds)
        for row in asked
        if row in case.rows
    ]


def seeds_of(case: Case, seeds: Iterable[int]) -> list[int]:
    """A case's training seeds: those of all, and the next ones where it has more."""
    own = list(seeds)
    return own + [max(own) + 1 + i for i in range(case.n_more_seeds)]


def summary(seeds: Sequence[int], sizes: Sizes, folder: Path, *, keep_earlier: bool = False) -> dict[str, Any]:
    """Every result that is there, with its n, and whether targets are met.

    Args:
        seeds: training seeds.
        sizes: of everything.
        folder: where results are kept.
        keep_earlier: all may be there though some cases are of an earlier version of the source.
    """
    jobs = jobs_of(CASES, ROWS, seeds, sizes)
    found = {job: stored for job in jobs if (stored := stored_at(path_of(job, folder), asked_of(job, folder)))}
    results: dict[str, dict[str, dict[int, Any]]] = {name: {} for name in CASES}  # case -> row -> seed -> result
    for job, stored in found.items():
        results[job.case.name].setdefault(job.row, {})[job.seed] = stored["result"]
    earlier = {
        j.case.name for j, of in found.items() if of["source"] != source_fingerprint(kind_of(j.row), j.case.world)
    }
    content = {"benchmark": "modes", "sizes": asdict(sizes), "n_threads": N_THREADS}
    all_there = len(found) == len(jobs) and len(seeds) >= N_SEEDS
    content |= {"complete": all_there and (keep_earlier or not earlier)}
    content |= {
        "of_an_earlier_version": [name for name in CASES if name in earlier],
        "left_out": [c.name for c in CASES.values() if not c.is_there],
    }
    content |= {"cases": {c.name: case_summary(c, results[c.name]) for c in CASES.values() if c.has_table}}
    content |= {"checks": checks_of(results), "auto": auto_of(results), "curve": curve_of(results)}
    content |= {"over_time": over_time_of(results), "online": online_summary(results)}
    content |= {"encoders": encoders_of(results), "style": style_of(results)}
    content |= {"fit_time": {row: times_of(list(of.values())) for row, of in results["four_short"].items()}}
    content |= {"targets": targets_of(content)}
    return content | {"provenance": {k: v for k, v in provenance(seed=0).items() if k in ("python", "versions")}}


def spread(values: Sequence[float], *, worst: Callable[[Sequence[float]], float] = min) -> dict[str, Any]:
    """Mean and worst over seeds, and each seed's."""
    return {"mean": round(float(np.mean(values)), 5), "worst": worst(values), "per_seed": list(values)}


# Cases


def case_summary(case: Case, by_row: Mapping[str, BySeed]) -> dict[str, Any]:
    """One case: what it is, its rows, its closed loop."""
    rows = {row: row_summary(by_row[row]) for row in SCORED if row in by_row}
    content: dict[str, Any] = {"title": case.title, "n_modes": case.n_modes, "levels": list(case.levels)}
    content |= {"headline": case.headline, "rows": rows}
    if rows:
        content["pile"] = next(iter(by_row[next(iter(rows))].values()))["pile"]
    if "unbraid" in by_row:
        content["search"] = [result["search"] for result in by_row["unbraid"].values()]
        content["certainty"] = certainty_summary(by_row["unbraid"])
    if "closed_loop" in by_row:
        content["closed_loop"] = {"env_id": case.env_id, **loop_summary(by_row["closed_loop"])}
    return content


def row_summary(by_seed: BySeed) -> dict[str, Any]:
    """One row: for each evidence and level the NMI over seeds, with each seed's interval over episodes."""
    results = list(by_seed.values())
    evidence: dict[str, Any] = {}
    for name, levels in results[0]["evidence"].items():
        evidence[name] = {}
        for level in levels:
            at = [result["evidence"][name][level] for result in results]
            numbers = spread([a["nmi"] for a in at]) | {"low": [a["low"] for a in at], "high": [a["high"] for a in at]}
            numbers |= {"accuracy": [a["accuracy"] for a in at]}
            evidence[name][level] = numbers | {k: at[0][k] for k in ("n_episodes", "n_windows")}
    return {"seeds": list(by_seed), "nmi": evidence, **times_of(results)}


def times_of(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seconds on the clock and of the processor over seeds (the worst is the longest), and the load beside them."""
    times = {name: spread([r[name] for r in results], worst=max) for name in ("seconds", "processor_s")}
    return times | {"load_per_core": [r["load_per_core"] for r in results]}


def loop_summary(by_seed: BySeed) -> dict[str, Any]:
    """Every expert, and for every training seed how the mode matched with it (if any) compares, metric by metric."""
    results = list(by_seed.values())
    experts = results[0]["experts"]
    modes = {
        expert: {metric: [r["modes"].get(expert, {}).get(metric) for r in results] for metric in METRICS}
        for expert in experts
    }
    held = [shares_held({metric: of_metric[metric] for metric in JUDGED}) for of_metric in modes.values()]
    n_as_good = [sum(share == 1 for share in of_seed) for of_seed in zip(*held, strict=True)]
    return {"seeds": list(by_seed), "experts": experts, "modes": modes, "n_as_good": n_as_good}


def shares_held(of_metric: Mapping[str, Sequence[dict[str, Any] | None]]) -> list[float]:
    """For each training seed, the share of the metrics in which a mode is as good as its expert."""
    return [sum(bool(c and c["holds"]) for c in seed) / len(seed) for seed in zip(*of_metric.values(), strict=True)]


# Checks, the number of modes, and the curve


def checks_of(results: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Any]:
    """check -> what it was done on, and each seed's result."""
    found: dict[str, Any] = {}
    for check in CHECKS:
        for case, by_row in results.items():
            if check in by_row and check != "auto":
                found[check] = {"case": case, "n_experts": CASES[case].n_modes, "seeds": list(by_row[check])}
                found[check] |= {"per_seed": list(by_row[check].values())}
    return found


def auto_of(results: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Any]:
    """case -> the numbers of modes that were chosen, how surely, and the seconds of the fit."""
    found: dict[str, Any] = {}
    for case, by_row in results.items():
        if "auto" in by_row:
            of_seed = list(by_row["auto"].values())
            found[case] = {"n_experts": CASES[case].n_modes, "seeds": list(by_row["auto"])}
            found[case]["n_modes"] = [r["search"]["n_modes"] for r in of_seed]
            found[case]["sureness_standard_errors"] = [r["search"]["sureness_standard_errors"] for r in of_seed]
            found[case]["searches"] = [r["search"] for r in of_seed]
            found[case]["nmi_episode"] = spread([r["nmi_episode"] for r in of_seed])
            found[case] |= {"n_training_steps": of_seed[0]["n_training_steps"], **times_of(of_seed)}
    return found


def over_time_of(results: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Any]:
    """case -> experts that change within an episode: what is read of every step, and of the changes, by seed."""
    found: dict[str, Any] = {}
    for case, by_row in results.items():
        if "over_time" in by_row:
            of_seed = list(by_row["over_time"].values())
            found[case] = {"title": CASES[case].title, "seeds": list(by_row["over_time"]), "pile": of_seed[0]["pile"]}
            found[case] |= {name: of_seed[0][name] for name in ("n_training_steps", "n_held_out_episodes")}
            for row in ("unbraid", "supervised"):
                read = [r[row] for r in of_seed]
                found[case][row] = {"nmi": spread([round(r["nmi"], 5) for r in read]), "per_seed": read}
            found[case]["found"] = [r["changes"]["within_episodes"] for r in of_seed]
            found[case] |= times_of(of_seed)
    return found


def encoders_of(results: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Any]:
    """case -> kind of encoder -> what it reads at every length of window, beside its seconds; modes and policy are the
    same for all kinds."""
    found: dict[str, Any] = {}
    for case, by_row in results.items():
        if "encoders" in by_row:
            of_seed = list(by_row["encoders"].values())
            found[case] = {"title": CASES[case].title, "seeds": list(by_row["encoders"]), "pile": of_seed[0]["pile"]}
            found[case]["kinds"] = {}
            for kind in of_seed[0]["kinds"]:
                of_kind = {seed: result["kinds"][kind] for seed, result in by_row["encoders"].items()}
                reading = [result["reading_processor_s"] for result in of_kind.values()]
                found[case]["kinds"][kind] = row_summary(of_kind) | {"reading_processor_s": spread(reading, worst=max)}
    return found


def style_of(results: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Any]:
    """case -> experts that vary within themselves: what their styles say, by seed."""
    found: dict[str, Any] = {}
    for case, by_row in results.items():
        if "style" in by_row:
            of_seed = list(by_row["style"].values())
            found[case] = {"title": CASES[case].title, "seeds": list(by_row["style"]), "pile": of_seed[0]["pile"]}
            found[case]["per_seed"] = [{k: v for k, v in r.items() if k != "pile"} for r in of_seed]
            found[case] |= times_of(of_seed)
    return found


def curve_of(results: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Any]:
    """Training episodes of each expert -> row -> the row."""
    found = {str(n): results[case] for n, case in CURVE.items()}
    shown = {n: [row for row in ("unbraid", "supervised") if row in by_row] for n, by_row in found.items()}
    return {n: {row: row_summary(found[n][row]) for row in rows} for n, rows in shown.items() if rows}


# Targets


def targets_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every target of which there is a result: what it is, what was reached (mean, worst), whether it is met."""
    return [
        *nmi_targets(content["cases"]),
        *rising_targets(content["cases"]),
        *loop_targets(content["cases"]),
        *check_targets(content["checks"]),
        *auto_targets(content["auto"]),
        *over_time_targets(content["over_time"]),
        *certainty_targets(content["cases"]),
        *online_targets(content["online"]),
        *style_targets(content["style"]),
        *time_targets(content),
    ]


def verdict(case: str, what: str, got: Mapping[str, Any], met: bool) -> dict[str, Any]:
    """One target with what was reached."""
    return {
        "case": case,
        "what": what,
        "mean": got["mean"],
        "worst": got["worst"],
        "n_seeds": len(got["per_seed"]),
        "met": bool(met),
    }


def reaches(got: Mapping[str, Any], least: float) -> bool:
    """The mean does, and the worst seed nearly."""
    return got["mean"] >= least - ROUNDING and got["worst"] >= least - SLACK - ROUNDING


def nmi_targets(cases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of unbraid's agreement with the experts, or of its share of another row's."""
    found: list[dict[str, Any]] = []
    for target in TARGETS:
        rows = cases.get(target.case, {"rows": {}})["rows"]
        if "unbraid" not in rows or target.of not in (None, *rows):
            continue
        got = rows["unbraid"]["nmi"][target.evidence][target.level]
        if target.of is not None:
            of_row = rows[target.of]["nmi"]
            bound = of_row[target.evidence if target.evidence in of_row else next(iter(of_row))][target.level]
            both = dict(zip(rows["unbraid"]["seeds"], got["per_seed"], strict=True))
            others = dict(zip(rows[target.of]["seeds"], bound["per_seed"], strict=True))
            got = spread([round(both[seed] / max(others[seed], ROUNDING), 5) for seed in both if seed in others])
        found.append(verdict(target.case, target.what, got, reaches(got, target.least)))
    return found


def rising_targets(cases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of longer windows, which must be read no worse than shorter ones."""
    found: list[dict[str, Any]] = []
    for case, levels in RISING.items():
        rows = cases.get(case, {"rows": {}})["rows"]
        if "unbraid" in rows:
            nmi = [rows["unbraid"]["nmi"]["combined"][level]["per_seed"] for level in levels]
            got = spread([round(min(b - a for a, b in pairwise(of)), 5) for of in zip(*nmi, strict=True)])
            what = f"NMI of windows of {', '.join(levels)} steps: least rise from one to the next, every seed >= 0"
            found.append(verdict(case, what, got, got["worst"] >= -ROUNDING))
    return found


def loop_targets(cases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of modes that act."""
    found: list[dict[str, Any]] = []
    for case, experts in AS_GOOD.items():
        modes = cases.get(case, {}).get("closed_loop", {}).get("modes", {})
        for expert in experts:
            if expert in modes:
                got = spread(shares_held({metric: modes[expert][metric] for metric in JUDGED}))
                what = f"{expert} mode as good as its expert in {', '.join(JUDGED)}"
                found.append(verdict(case, what, got, got["worst"] == 1))
    return found


def check_targets(checks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of too few modes, too many, and of a rare expert."""
    found: list[dict[str, Any]] = []
    if "too_few" in checks:
        case, per_seed = checks["too_few"]["case"], checks["too_few"]["per_seed"]
        got = spread([r["search"]["n_supported"] - TOO_FEW for r in per_seed])
        short = checks["too_few"]["n_experts"] - TOO_FEW
        right = set(got["per_seed"]) == {short}
        found.append(verdict(case, f"asked for {TOO_FEW}, says that they are too few by {short}", got, right))
        got = spread([min(r["in_main_mode"].values()) for r in per_seed])
        what = f"asked for {TOO_FEW}, each expert's episodes in one mode, >= {LEAST_WHOLE}"
        found.append(verdict(case, what, got, got["worst"] >= LEAST_WHOLE - ROUNDING))
    if "too_many" in checks:
        found += too_many_targets(checks["too_many"])
    if "rarest" in checks:
        case, per_seed = checks["rarest"]["case"], checks["rarest"]["per_seed"]
        own = [float(r["alone_in_training"]) for r in per_seed]
        what = "the rarest expert's training episodes have a mode of their own, share of seeds"
        found.append(verdict(case, what, spread(own), min(own) == 1))
        own = [float(r["alone"] and r["same_mode"] and r["others_share"] <= MOST_OTHERS + ROUNDING) for r in per_seed]
        what = f"its held-out episodes, too, with at most {MOST_OTHERS} of any other's in it, share of seeds"
        found.append(verdict(case, what, spread(own), min(own) == 1))
    return found


def too_many_targets(check: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of modes that are to be merged; 0 groups stand for no proposal."""
    case, per_seed, n_experts = check["case"], check["per_seed"], check["n_experts"]
    n_groups = [r["n_groups"] or 0 for r in per_seed]
    got = spread(n_groups, worst=lambda numbers: max(numbers, key=lambda n: abs(n - n_experts)))
    asked = f"asked for {TOO_MANY}"
    found = [verdict(case, f"{asked}, merged into {n_experts} groups", got, set(n_groups) == {n_experts})]
    for which, what in (("merged", "merged"), ("refitted", "fitted again with as many")):
        if all(which in r["purity"] for r in per_seed):
            for level, of in (("25", "25-step windows"), ("episode", "whole episodes")):
                got = spread([r["purity"][which][level] for r in per_seed])
                said = f"{asked}, {what}: purity of {of} >= {LEAST_PURITY}"
                found.append(verdict(case, said, got, got["worst"] >= LEAST_PURITY - ROUNDING))
    return found


def auto_targets(auto: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The share of seeds with which the number of experts is found, which must be all."""
    found: list[dict[str, Any]] = []
    for case in (*COUNTED, "one"):
        if case in auto:
            n_experts = auto[case]["n_experts"]
            got = spread([float(n == n_experts) for n in auto[case]["n_modes"]])
            found.append(verdict(case, f'"auto" finds {n_experts}, share of seeds', got, got["worst"] == 1))
    return found


def over_time_targets(over_time: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of experts that change within an episode."""
    found: list[dict[str, Any]] = []
    for case, of in over_time.items():
        least, share_of = OVER_TIME[case]
        got, per_seed = of["unbraid"]["nmi"], of["unbraid"]["per_seed"]
        if share_of is None:
            what = f"NMI of single steps, every seed >= {least}"
            found.append(verdict(case, what, got, got["worst"] >= least - ROUNDING))
        else:
            both = zip(got["per_seed"], of[share_of]["nmi"]["per_seed"], strict=True)
            got = spread([round(own / max(bound, ROUNDING), 5) for own, bound in both])
            found.append(verdict(case, f"NMI of single steps over the bound's, >= {least}", got, reaches(got, least)))
        # where none is matched, the farthest that any may be
        got = spread([(r["error_quartiles_steps"] or [0.0, float(FARTHEST_STEPS)])[1] for r in per_seed], worst=max)
        what = f"median error of a change, in steps, every seed <= {MOST_ERROR_STEPS:.0f}"
        found.append(verdict(case, what, got, got["worst"] <= MOST_ERROR_STEPS))
        got = spread([round(r["spurious_per_episode"]["value"], 5) for r in per_seed], worst=max)
        what = f"changes an episode that are not there, mean <= {MOST_SPURIOUS}, every seed at most {SLACK} more"
        met = got["mean"] <= MOST_SPURIOUS + ROUNDING and got["worst"] <= MOST_SPURIOUS + SLACK + ROUNDING
        found.append(verdict(case, what, got, met))
    return found


def style_targets(style: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of experts that vary within themselves."""
    found: list[dict[str, Any]] = []
    for case, of in style.items():
        for level, what in (("25", "25-step windows"), ("episode", "whole episodes")):
            apart = [
                round(abs(r["nmi"]["on"]["combined"][level]["nmi"] - r["nmi"]["off"]["combined"][level]["nmi"]), 5)
                for r in of["per_seed"]
            ]
            got = spread(apart, worst=max)
            said = f"NMI of {what} with styles and without, every seed at most {MOST_NMI_APART} apart"
            found.append(verdict(case, said, got, got["worst"] <= MOST_NMI_APART + ROUNDING))
        got = spread([min(e["episode"]["drawn"] for e in r["explained"].values()) for r in of["per_seed"]])
        said = f"share of the variance of speed that the style explains, least of the experts, >= {LEAST_EXPLAINED}"
        found.append(verdict(case, said, got, reaches(got, LEAST_EXPLAINED)))
    return found


def time_targets(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The seconds of a fit of 100,000 steps: the fits of four experts, with their number given, and found."""
    found: list[dict[str, Any]] = []
    for row, what, most in (("unbraid", "K given", FIT_SECONDS), ("auto", '"auto"', AUTO_SECONDS)):
        if row in content["fit_time"]:
            got = content["fit_time"][row]["seconds"]
            said = f"seconds of a fit of 100,000 steps, {what}, every seed < {most:.0f}"
            found.append(verdict("four_short", said, got, got["worst"] < most))
    return found
