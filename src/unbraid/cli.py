"""The command line: verbs -> pipeline. No logic of its own; how each answer is said, says `pipeline.answers`."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, assert_never, get_args

import tyro

from unbraid.core.errors import UnbraidError
from unbraid.core.interrupts import ctrl_c_after_imports
from unbraid.core.processes import own_place
from unbraid.pipeline.answers import (
    say_certify,
    say_check,
    say_collect,
    say_convert,
    say_export,
    say_fit,
    say_modes,
    say_page,
    say_results,
    say_steer,
    say_sweep,
    say_switch,
)
from unbraid.pipeline.config import DemoConfig
from unbraid.pipeline.flags import each_flag_once
from unbraid.pipeline.help import say_fields_in_one_line
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

_DONE, _OUR_BUG, _WRONG_INPUT, _ANSWER_IS_NO, _INTERRUPTED = 0, 1, 2, 3, 130

_DESCRIPTION = (
    "Find the separate behaviours in a mixed pile of demonstrations, and learn one policy that you can steer between "
    "them. Start with `unbraid demo`. Exit codes: 0 done, 1 our bug, 2 wrong input, 3 done but the answer is no, 130 "
    "interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; its exit code: 0 done, 1 our bug, 2 wrong input, 3 the answer is no, 130 interrupted."""
    try:
        asked = _understood(sys.argv[1:] if argv is None else argv)
        with ctrl_c_after_imports():
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


def _understood(given: Sequence[str]) -> Any:
    """What was asked; ends the program where that was help, or can't be understood.

    Raises:
        ConfigError: a flag that is given twice.
    """
    if {"-h", "--help"} & set(given):
        say_fields_in_one_line(*(get_args(verb)[0] for verb in get_args(_Request)))
    try:
        return tyro.cli(
            _Request,  # pyright: ignore[reportArgumentType]
            prog="unbraid",
            description=_DESCRIPTION,
            args=each_flag_once(given),
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    finally:
        sys.stdout.flush()  # of help; where its reader has enough, that is seen here


def _run(asked: Any) -> int:
    """Calls the verb's stage; heavy imports happen here, so that --help is fast."""
    if isinstance(asked, DemoConfig):
        return _demo(asked)
    if isinstance(asked, CheckRequest | ConvertRequest):
        return _data(asked)
    from unbraid.pipeline import stages

    match asked:
        case CollectRequest():
            return _answer(asked.json, stages.collect_stage(asked), say_collect)
        case FitRequest():
            from unbraid.pipeline.settings import config_of

            return _answer(asked.json, stages.fit_stage(asked, config_of(asked)), say_fit)
        case SweepRequest():
            from unbraid.pipeline.sweep import sweep_stage

            found = sweep_stage(asked)
            _answer(asked.json, found, say_sweep)
            return _DONE if all(trial["state"] == "done" for trial in found["trials"]) else _ANSWER_IS_NO
        case ModesRequest():
            return _answer(asked.json, stages.modes_stage(asked), say_modes)
        case SteerRequest():
            from unbraid.pipeline.steering import steer_stage

            return _answer(asked.json, steer_stage(asked), say_steer)
        case EvaluateRequest():
            return _answer(asked.json, stages.evaluate_stage(asked), say_results)
        case CertifyRequest():
            from unbraid.pipeline.guarantees import certify_stage

            found = certify_stage(asked)
            _answer(asked.json, found, say_certify)
            return _DONE if found["ok"] else _ANSWER_IS_NO
        case SwitchRequest():
            from unbraid.pipeline.switching import switch_stage

            return _answer(asked.json, switch_stage(asked), say_switch)
        case ReportRequest():
            return _answer(asked.json, stages.report_stage(asked.run), say_page)
        case ExportRequest():
            from unbraid.pipeline.export import export_stage

            return _answer(asked.json, export_stage(asked), say_export)
        case StudioRequest():
            from unbraid.pipeline.studio import studio_stage

            studio_stage(asked)
            return _DONE
        case _:
            assert_never(asked)


def _data(asked: CheckRequest | ConvertRequest) -> int:
    from unbraid.pipeline.data import check_stage, convert_stage

    if isinstance(asked, ConvertRequest):
        return _answer(asked.json, convert_stage(asked), say_convert)
    found = check_stage(asked)
    _answer(asked.json, found, say_check)
    return _DONE if found["ok"] else _ANSWER_IS_NO


def _demo(asked: DemoConfig) -> int:
    from unbraid.core.runs import read_json
    from unbraid.pipeline.demo import run_demo

    page = run_demo(asked)
    results = read_json(asked.out / "results.json")
    return _answer(asked.json, {**results, "page": str(page)}, say_results)


def _answer(as_json: bool, found: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> int:
    if not own_place().is_first:  # of the processes that torchrun started one speaks
        return _DONE
    if as_json:
        print(json.dumps(found, allow_nan=False))
    else:
        say(found)
    sys.stdout.flush()
    return _DONE
