"""The command line: verbs -> pipeline, and how each answer is said. No logic of its own."""

import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, assert_never

import tyro

from unbraid.core.errors import ConfigError, UnbraidError
from unbraid.core.processes import own_place
from unbraid.pipeline.config import DemoConfig
from unbraid.pipeline.flags import each_flag_once
from unbraid.pipeline.requests import (
    CertifyRequest,
    CheckRequest,
    CollectRequest,
    ConvertRequest,
    EvaluateRequest,
    ExportRequest,
    FitRequest,
    ModesRequest,
    ReportRequest,
    SteerRequest,
    StudioRequest,
    SweepRequest,
    SwitchRequest,
)

__all__ = ["main"]

_Request = (
    Annotated[DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[CollectRequest, tyro.conf.subcommand("collect")]
    | Annotated[CheckRequest, tyro.conf.subcommand("check")]
    | Annotated[ConvertRequest, tyro.conf.subcommand("convert")]
    | Annotated[FitRequest, tyro.conf.subcommand("fit")]
    | Annotated[SweepRequest, tyro.conf.subcommand("sweep")]
    | Annotated[ModesRequest, tyro.conf.subcommand("modes")]
    | Annotated[SteerRequest, tyro.conf.subcommand("steer")]
    | Annotated[EvaluateRequest, tyro.conf.subcommand("evaluate")]
    | Annotated[CertifyRequest, tyro.conf.subcommand("certify")]
    | Annotated[SwitchRequest, tyro.conf.subcommand("switch")]
    | Annotated[ReportRequest, tyro.conf.subcommand("report")]
    | Annotated[ExportRequest, tyro.conf.subcommand("export")]
    | Annotated[StudioRequest, tyro.conf.subcommand("studio")]
)

_WIDTH = 110  # characters of a line, where output goes to no terminal
_DONE, _OUR_BUG, _WRONG_INPUT, _ANSWER_IS_NO, _INTERRUPTED = 0, 1, 2, 3, 130

_READ_BY = {
    "unbraid": ("sharing", "style", "refine_steps", "policy_head", "policy_loss", "precision"),
    "talk": ("delta_steps",),
}

_DESCRIPTION = (
    "Find the separate behaviours in a mixed pile of demonstrations, and learn one policy that you can steer between "
    "them. Start with `unbraid demo`. Exit codes: 0 done, 1 our bug, 2 wrong input, 3 done but the answer is no, 130 "
    "interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; its exit code: 0 done, 1 our bug, 2 wrong input, 3 the answer is no, 130 interrupted."""
    try:
        given = each_flag_once(sys.argv[1:] if argv is None else argv)
    except ConfigError as error:
        print(f"unbraid: {error}", file=sys.stderr)
        return _WRONG_INPUT
    asked = tyro.cli(
        _Request,  # pyright: ignore[reportArgumentType]
        prog="unbraid",
        description=_DESCRIPTION,
        args=given,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    try:
        from unbraid.training.loop import computing

        with computing(1):  # small networks: more threads gain little, and lose much where others are at work
            return _run(asked)
    except UnbraidError as error:
        print(f"unbraid: {error}", file=sys.stderr)
        return _WRONG_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"unbraid: {str(interrupt) or 'Stopped. Run the same command again.'}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough; Python would complain of it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _DONE
    except Exception:
        traceback.print_exc()
        print("unbraid: this is a bug of ours; please report the lines above.", file=sys.stderr)
        return _OUR_BUG


def _run(asked: Any) -> int:
    """Calls the verb's stage; heavy imports happen here, so that --help is fast."""
    if isinstance(asked, DemoConfig):
        return _demo(asked)
    if isinstance(asked, CheckRequest | ConvertRequest):
        return _data(asked)
    from unbraid.pipeline import stages

    match asked:
        case CollectRequest():
            return _answer(asked.json, stages.collect_stage(asked), _say_collect)
        case FitRequest():
            return _answer(asked.json, stages.fit_stage(asked, _config_of(asked)), _say_fit)
        case SweepRequest():
            from unbraid.pipeline.sweep import sweep_stage

            found = sweep_stage(asked)
            _answer(asked.json, found, _say_sweep)
            return _DONE if all(trial["state"] == "done" for trial in found["trials"]) else _ANSWER_IS_NO
        case ModesRequest():
            return _answer(asked.json, stages.modes_stage(asked), _say_modes)
        case SteerRequest():
            from unbraid.pipeline.steering import steer_stage

            return _answer(asked.json, steer_stage(asked), _say_steer)
        case EvaluateRequest():
            return _answer(asked.json, stages.evaluate_stage(asked), _say_results)
        case CertifyRequest():
            from unbraid.pipeline.guarantees import certify_stage

            found = certify_stage(asked)
            _answer(asked.json, found, _say_certify)
            return _DONE if found["ok"] else _ANSWER_IS_NO
        case SwitchRequest():
            from unbraid.pipeline.switching import switch_stage

            return _answer(asked.json, switch_stage(asked), _say_switch)
        case ReportRequest():
            return _answer(asked.json, stages.report_stage(asked.run), _say_page)
        case ExportRequest():
            from unbraid.pipeline.export import export_stage

            return _answer(asked.json, export_stage(asked), _say_export)
        case StudioRequest():
            from unbraid.pipeline.studio import studio_stage

            studio_stage(asked)
            return _DONE
        case _:
            assert_never(asked)


def _data(asked: CheckRequest | ConvertRequest) -> int:
    from unbraid.pipeline.data import check_stage, convert_stage

    if isinstance(asked, ConvertRequest):
        return _answer(asked.json, convert_stage(asked), _say_convert)
    found = check_stage(asked)
    _answer(asked.json, found, _say_check)
    return _DONE if found["ok"] else _ANSWER_IS_NO


def _demo(asked: DemoConfig) -> int:
    from unbraid.core.runs import read_json
    from unbraid.pipeline.demo import run_demo

    page = run_demo(asked)
    results = read_json(asked.out / "results.json")
    return _answer(asked.json, {**results, "page": str(page)}, _say_results)


def _config_of(asked: FitRequest) -> Any:
    """The method's config, with the settings that the verb offers."""
    from unbraid.training.config import TalkConfig, UnbraidConfig

    _require_read(asked)
    if asked.method == "talk":
        if asked.n_modes == "auto":
            raise ConfigError(
                "--n-modes must be a number for --method talk, which has no search that could count modes; got auto. "
                "Give a number, or leave --method talk out."
            )
        config = TalkConfig(n_modes=asked.n_modes, delta_steps=asked.delta_steps, seed=asked.seed)
    else:
        config = UnbraidConfig(
            n_modes=asked.n_modes,
            sharing=asked.sharing,
            style=asked.style,
            refine_steps=asked.refine_steps,
            policy_head=asked.policy_head,
            policy_loss=asked.policy_loss,
            precision=asked.precision,
            seed=asked.seed,
        )
    wanted = {"n_steps": asked.n_steps, "encoder": asked.encoder, "policy_hidden": asked.policy_hidden}
    return dataclasses.replace(config, **{name: value for name, value in wanted.items() if value is not None})


def _require_read(asked: FitRequest) -> None:
    """Raises `ConfigError` for options that were given and that the method does not read."""
    other = "talk" if asked.method == "unbraid" else "unbraid"
    unread = [f for f in dataclasses.fields(FitRequest) if f.name in _READ_BY[other]]
    given = [f"--{f.name.replace('_', '-')}" for f in unread if getattr(asked, f.name) != f.default]
    if given:
        raise ConfigError(
            f"{' and '.join(given)} must come with --method {other}, which alone reads such; got --method "
            f"{asked.method}. Leave {'it' if len(given) == 1 else 'them'} out, or take --method {other}."
        )


def _answer(as_json: bool, found: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> int:
    if not own_place().is_first:  # of the processes that torchrun started one speaks
        return _DONE
    if as_json:
        print(json.dumps(found, allow_nan=False))
    else:
        say(found)
    sys.stdout.flush()
    return _DONE


def _say_collect(found: dict[str, Any]) -> None:
    print(
        f"{found['n_episodes']} episodes, {found['n_steps']:,} steps of {', '.join(found['experts'])}, in random order."
    )
    print(f"{found['demos']}: look at it with `unbraid check {found['demos']}`.")


def _say_check(found: dict[str, Any]) -> None:
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


def _say_convert(found: dict[str, Any]) -> None:
    from unbraid.report.estimates import counted

    _say_recognised(found["recognised"])
    for line in found["left_out"]:
        print(f"left out: {line}")
    for line in found["not_held"]:
        print(f"{found['title']}: {line}")
    size = f"{counted(found['n_episodes'], 'episodes')}, {counted(found['n_steps'], 'steps')}"
    print(f"{found['target']}: {size}, as {found['title']}.")


def _say_fit(found: dict[str, Any]) -> None:
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
    _say_page(found)


def _say_sweep(found: dict[str, Any]) -> None:
    from rich.console import Console

    from unbraid.report.sweep import print_sweep

    print_sweep(found, Console(width=None if sys.stdout.isatty() else _WIDTH))
    print(f"{found['sweep']}: results.csv, results.json, results.png; a run for each fit in trials.")


def _say_modes(found: dict[str, Any]) -> None:
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


def _say_steer(found: dict[str, Any]) -> None:
    from unbraid.report.estimates import estimate_text

    print(f"{found['instruction']} in {found['env_id']}")
    if found["floored"] > 0:
        print(
            f"In {100 * found['floored']:.1f} % of {found['n_steps']} steps the push away was cut back, in part, so "
            "that the policy stays a proper Gaussian: what it is pushed away from is more certain there than the rest."
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


def _say_certify(found: dict[str, Any]) -> None:
    from unbraid.report.estimates import estimate_text

    doubted = "verified" in found and not found["ok"]
    if doubted:
        print(f"{found['certificate']} is NOT verified. What it claims:")
    for result in found["results"]:
        print(result["sentence"])
        for name, estimate in result["estimates"].items():
            print(f"    {name}: {estimate_text(estimate)}")
        if result["note"] is not None:
            print(f"    {result['note']}")
    for told, what in (("differences", "problem"), ("remarks", "remark")):
        for line in found.get(told, []):
            print(f"{what}: {line}")
    if "verified" not in found:
        print(f"Some answer is wrong with a probability of at most {found['alpha']:g}. {found['certificate']}")
    elif found["ok"]:
        print(f"{found['certificate']} is verified. Looked at: {'; '.join(found['checked'])}.")
    else:
        print(f"{found['certificate']} is NOT verified. Looked at: {'; '.join(found['checked'])}.")


def _say_switch(found: dict[str, Any]) -> None:
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


def _say_results(found: dict[str, Any]) -> None:
    from rich.console import Console

    from unbraid.report.tables import print_results

    print_results(found, Console(width=None if sys.stdout.isatty() else _WIDTH))
    _say_page(found)


def _say_export(found: dict[str, Any]) -> None:
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


def _say_page(found: dict[str, Any]) -> None:
    print(f"The page: {Path(found['page']).resolve()}")
