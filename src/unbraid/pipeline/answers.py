"""How the answer of each verb is said on a terminal."""

import shlex
import sys
from pathlib import Path
from typing import Any

__all__ = [
    "say_certify",
    "say_check",
    "say_collect",
    "say_convert",
    "say_export",
    "say_fit",
    "say_modes",
    "say_page",
    "say_results",
    "say_steer",
    "say_sweep",
    "say_switch",
]

_WIDTH = 110  # characters of a line, where output goes to no terminal


def say_collect(found: dict[str, Any]) -> None:
    """What was collected."""
    from unbraid.report.estimates import counted

    size = f"{counted(found['n_episodes'], 'episodes')}, {counted(found['n_steps'], 'steps')}"
    print(f"{size} of {', '.join(found['experts'])}, in random order.")
    print(f"{found['demos']}: look at it with `unbraid check {shlex.quote(found['demos'])}`.")


def say_check(found: dict[str, Any]) -> None:
    """Each fault with its remedy, and how many there are."""
    from unbraid.report.estimates import counted

    for source in found["recognised"]:
        _say_recognised(source)
    for line in found["left_out"]:
        print(f"left out: {line}")
    for finding in found["findings"]:
        where = "" if finding["episode"] is None else f"episode {finding['episode']}, "
        print(f"{finding['severity']}: {where}{finding['field']}: {finding['message']} {finding['remedy']}")
    errors = sum(finding["severity"] == "error" for finding in found["findings"])
    warnings = len(found["findings"]) - errors
    size = f"{counted(found['n_episodes'], 'episodes')}, {counted(found['n_steps'], 'steps')}"
    print(f"{size}: {counted(errors, 'errors')}, {counted(warnings, 'warnings')}.")


def _say_recognised(source: dict[str, Any]) -> None:
    print(f"{source['path']} is {source['title']}: {source['why']}.")


def say_convert(found: dict[str, Any]) -> None:
    """What was read and written, and what was left out."""
    from unbraid.report.estimates import counted

    _say_recognised(found["recognised"])
    for line in found["left_out"]:
        print(f"left out: {line}")
    for line in found["not_held"]:
        print(f"{found['title']}: {line}")
    size = f"{counted(found['n_episodes'], 'episodes')}, {counted(found['n_steps'], 'steps')}"
    print(f"{found['target']}: {size}, as {found['title']}.")


def say_fit(found: dict[str, Any]) -> None:
    """What was found, and how sure that is."""
    from unbraid.report.claims import ONE_LABEL, likelihood_text, search_texts
    from unbraid.report.estimates import counted, estimate_text

    fitted = found["fit"]
    modes = counted(found["n_modes"], "modes")
    print(f"{modes} after {counted(found['gradient_steps'], 'gradient steps')} ({fitted['method']}).")
    search = found.get("search") or {}
    if search:
        print("\n".join(search_texts(search)))
    for warning in search.get("warnings") or []:
        print(f"warning: {warning}")
    if "held_out_log_likelihood_nats" in fitted:
        estimate = estimate_text(fitted["held_out_log_likelihood_nats"])
        print(f"Held-out log-likelihood {likelihood_text(fitted)}: {estimate}")
    for entry in found.get("agreement", []):
        level = "episodes" if entry["level"] == "episode" else f"{entry['window_steps']}-step windows"
        print(f"NMI of held-out {level}, {entry['evidence']}: {estimate_text(entry['nmi'])}")
    if found.get("agreement") and "over_time" in found:
        print(ONE_LABEL)
    say_page(found)


def say_sweep(found: dict[str, Any]) -> None:
    """Where a sweep's results are."""
    from rich.console import Console

    from unbraid.report.sweep import print_sweep

    print_sweep(found, Console(width=None if sys.stdout.isatty() else _WIDTH))
    drawn = "" if found["picture"] is None else ", results.png"
    print(f"{found['sweep']}: results.csv, results.json{drawn}; a run for each fit in trials.")


def say_modes(found: dict[str, Any]) -> None:
    """The modes of demonstrations."""
    from unbraid.report.estimates import counted, estimate_text

    what = "episodes" if found["window_steps"] is None else f"{found['window_steps']}-step windows"
    for mode in found["modes"]:
        sure = "" if mode["mean_probability"] is None else f", mean probability {mode['mean_probability']:.3f}"
        print(f"mode {mode['mode']}: {counted(mode['n'], what)}, {100 * mode['share']:.1f} %{sure}")
    unsure = found["not_sure"]
    if unsure["min_probability"] > 0:
        print(f"not sure: {100 * unsure['share']:.1f} %, where no mode has {unsure['min_probability']}")
    if "change_points" in found:
        shares = ", ".join(f"mode {mode} {100 * share:.1f} %" for mode, share in enumerate(found["shares_of_steps"]))
        n_changes = counted(len(found["change_points"]), "changes")
        print(f"Modes take over from one another within episodes: {n_changes}. Of the steps: {shares}.")
        one = "an episode" if found["window_steps"] is None else "a window"
        print(
            f"The mode of {one}, above, is the one that explains the whole of it best: its probability says nothing of"
        )
        print("changes. --json has the change points, and the stretches of one mode.")
    if "stability" in found:
        fits, ari = counted(found["stability"]["n_fits"], "fits"), estimate_text(found["stability"]["ari"])
        print(f"Stability, mean adjusted Rand index over pairs of {fits}: {ari}")
    if "agreement" in found:
        _say_agreement_of_modes(found, what)
    print("--json lists every one of them, with the probabilities of all modes.")


def _say_agreement_of_modes(found: dict[str, Any], what: str) -> None:
    from unbraid.report.claims import ONE_LABEL
    from unbraid.report.estimates import estimate_text

    told, unsure = found["agreement"], found["not_sure"]["share"] > 0
    decided = f" of the {what} that are decided" if unsure else ""
    nmi = f"not estimable, as those are not of several experts{'' if unsure else '; nothing is told apart'}"
    print(
        f"Agreement{decided} with {', '.join(found['experts'])}: "
        + (nmi if told is None else f"NMI {estimate_text(told['nmi'])}")
    )
    if "change_points" in found:
        print(ONE_LABEL)


def say_steer(found: dict[str, Any]) -> None:
    """What the steered policy did."""
    from unbraid.report.estimates import estimate_text

    print(f"{found['instruction']} in {found['env_id']}")
    for warning in found["warnings"]:
        print(f"warning: {warning}")
    if found["floored"] > 0:
        print(
            f"In {100 * found['floored']:.1f} % of {found['n_steps']} steps what is avoided is more certain of its "
            "action than what is wanted; there it counted as no more certain, so that a proper Gaussian is left."
        )
    turns = found.get("in_turn", [])
    for number, told in enumerate(turns, start=1):
        first = told["first_step"]
        last = turns[number]["first_step"] - 1 if number < len(turns) else None
        steps = f"from step {first} on" if last is None else f"steps {first} to {last}"
        print(f"{steps}: {told['instruction']}{'' if told['n_steps'] else '; no rollout got so far'}")
        _say_obeyed(told, "    ")
    for told in found.get("by_episode", []):
        print(f"{told['n_episodes']} of {len(found['episodes'])} episodes: {told['instruction']}")
        _say_obeyed(told, "    ")
    _say_obeyed(found, "")
    for name, estimate in found["metrics"].items():
        unit = found["units"][name]
        print(f"{name}{f' ({unit})' if unit not in ('', name) else ''}: {estimate_text(estimate)}")


def _say_obeyed(told: dict[str, Any], indent: str) -> None:
    """How one instruction was followed, where it asks for a mode and was acted on."""
    from unbraid.report.estimates import counted, estimate_text

    of, change = told.get("obedience"), told.get("steps_until_obeyed")
    if of is not None:
        what = f"obedience (share of {of['window_steps']}-step windows that the encoder reads as mode {of['mode']})"
        print(f"{indent}{what}: {estimate_text(of['share'])}")
    elif "obedience" in told and told["n_steps"]:
        print(
            f"{indent}obedience: not measured; it takes {'turns' if 'first_step' in told else 'rollouts'} of 50 steps"
        )
    if change is not None:
        windows = f"{change['n_windows']} windows of {change['window_steps']} steps in a row"
        missed = counted(change["n_never"], "episodes")
        never = f"; never in {missed}, counted as all steps that were left" if change["n_never"] else ""
        print(
            f"{indent}steps until {windows} are read as mode {change['mode']}: {estimate_text(change['steps'])}{never}"
        )
    elif "steps_until_obeyed" in told and told["n_steps"]:
        print(f"{indent}steps until it took effect: not measured; it takes 12 steps after the change")


def say_certify(found: dict[str, Any]) -> None:
    """What is certified, claim by claim."""
    from unbraid.report.estimates import counted, estimate_text

    doubted = "verified" in found and not found["ok"]
    if doubted:
        print(f"{found['certificate']} is NOT verified. What it claims:")
    for result in found["results"]:
        print(result["sentence"])
        for name, estimate in result["estimates"].items():
            print(f"    {name}: {estimate_text(estimate)}")
        if result["note"] is not None:
            print(f"    {result['note']}")
    if found["max_steps"] is not None:
        print(f"That is about episodes that are cut after {counted(found['max_steps'], 'steps')}.")
    for told, what in (("differences", "problem"), ("remarks", "remark")):
        for line in found.get(told, []):
            print(f"{what}: {line}")
    if "verified" not in found:
        print(f"Some answer is wrong with a probability of at most {found['alpha']:g}. {found['certificate']}")
    elif found["ok"]:
        print(f"{found['certificate']} is verified. Looked at: {'; '.join(found['checked'])}.")
    else:
        print(f"{found['certificate']} is NOT verified. Looked at: {'; '.join(found['checked'])}.")


def say_switch(found: dict[str, Any]) -> None:
    """What switching gained."""
    from unbraid.report.estimates import estimate_text

    taken = f", after {found['n_steps']:,} steps" if found["n_steps"] else ""
    print(f"{found['method']} switcher{taken}: a mode for every {found['horizon_steps']} steps")
    for actor in found["actors"]:
        print(f"{actor['name']}: {'; '.join(f'{name} {estimate_text(e)}' for name, e in actor['metrics'].items())}")
    print(f"share of the time in each mode: {', '.join(f'{100 * share:.1f} %' for share in found['shares'])}")
    if found["guard"] is not None:
        print(
            f"guard: free where one held mode costs at most {found['guard']['max_cost']:g} by its upper bound "
            f"({100 * found['guarded']:.1f} % of choices were limited to modes {found['guard']['certified']})"
        )
    print(f"objective, less that of {found['best_mode']}, the best mode alone: {estimate_text(found['gain'])}")
    for line in found["remarks"]:
        print(f"remark: {line}")
    if "switcher" in found:
        print(found["switcher"])


def say_results(found: dict[str, Any]) -> None:
    """A run's key numbers."""
    from rich.console import Console

    from unbraid.report.tables import print_results

    print_results(found, Console(width=None if sys.stdout.isatty() else _WIDTH))
    say_page(found)


def say_export(found: dict[str, Any]) -> None:
    """What was written, and what it takes."""
    for told in (found[form] for form in ("onnx", "program") if form in found):
        inputs = ", ".join(f"{name} ({width})" for name, width in told["inputs"].items())
        print(f"{told['path']}: {inputs} -> mean, log_std")
        print(
            f"Checked against PyTorch on {told['n_checked']:,} random inputs: off by at most "
            f"{told['mean_difference']:.1e} in mean and {told['log_std_difference']:.1e} in log_std."
        )
    if "hub_folder" in found:
        print(f"{found['hub_folder']}: what the Hub would get; README.md is the card.")
    if "pushed" in found:
        print(f"Sent to {found['pushed']}")
    if not found["evaluated"] and ("hub_folder" in found or "pushed" in found):
        print("There is no results.json beside the model: the card says that nothing was measured.")


def say_page(found: dict[str, Any]) -> None:
    """Where the page is."""
    print(f"The page: {Path(found['page']).resolve()}")
