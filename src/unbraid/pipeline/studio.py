"""The verb `studio`: finds the run's demonstrations, as far as it can, and opens the page."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from unbraid.core.errors import ConfigError, DataError, RunError, StorageError
from unbraid.core.randomness import named_generator
from unbraid.core.runs import open_run, read_json
from unbraid.demos.altered import ALTERED
from unbraid.demos.episodes import Demos
from unbraid.demos.loading import load_demos
from unbraid.demos.options import ReadOptions
from unbraid.pipeline.config import DemoConfig
from unbraid.pipeline.demo import collect_demonstrations, keep_demonstrations, kept_demonstrations
from unbraid.pipeline.environment import environment_entry
from unbraid.pipeline.requests import StudioRequest
from unbraid.report.record import results_if_any
from unbraid.training.columns import columns_in_order
from unbraid.worlds.making import make_world, spec_of

__all__ = ["desk_of", "studio_stage"]

_OURS = ("unbraid/PointGoal1-v0", "unbraid/PointGoal0-v0", "unbraid/PointGoal2-v0")
_UNCHECKED = "These demonstrations cannot be compared with those that the run was fitted on: it did not note them."
_OTHERS = "These are not the demonstrations that the run was fitted on; the model reads them as new data."


def studio_stage(asked: StudioRequest) -> None:
    """Serves the page until it is interrupted; says on stdout where it is.

    Raises:
        ConfigError: the extra `studio` is not installed, or the address or port cannot be had.
        RunError, DataError: what was named is no run, or no demonstrations.
    """
    try:
        from unbraid.studio.server import serve
    except ImportError as error:
        raise ConfigError(
            f"The studio needs {error.name}, which is not installed. Run `pip install 'unbraid[studio]'`."
        ) from None
    desk = desk_of(asked)

    def said(address: str) -> None:
        import json

        print(json.dumps({"page": address}) if asked.json else f"The studio: {address}", flush=True)
        print("Ctrl-C ends it.", file=sys.stderr)

    serve(desk, host=asked.host, port=asked.port, token=asked.token, open_browser=not asked.no_browser, said=said)


def desk_of(asked: StudioRequest) -> Any:
    """The run with its demonstrations: those that were named, or a demo's own.

    Raises:
        RunError, DataError: what was named is no run, or no demonstrations, or such as the model cannot read.
        ConfigError: a named environment that cannot be made.
    """
    from unbraid.studio.desk import Desk

    facts, results = open_run(asked.run), results_if_any(asked.run)
    data = results.get("data") or {}
    remarks: list[str] = []
    demos, held_out = None, None
    path = " ".join(asked.demos)
    if asked.demos:
        read = load_demos(*asked.demos, weights=asked.weights or None, options=asked.reading)
        demos, held_out = _named(read, facts, remarks)
        if (misfit := _misfit(asked.run, path, demos)) is not None:
            raise DataError(misfit)
    elif asked.reading != ReadOptions() or asked.weights:
        raise ConfigError(
            "Options that say how demonstrations are read need --demos, which was not given. Name them, or leave these "
            "options out."
        )
    elif facts.get("command") == "demo":
        demos, held_out = _of_demo(asked.run, facts, data, remarks)
    else:
        remarks.append("A run does not say where its demonstrations lie. Start with --demos PATH to see them.")

    def find_worlds() -> tuple[tuple[str, ...], tuple[str, ...]]:
        data, more = results_if_any(asked.run).get("data") or {}, list(remarks)
        if asked.demos and demos is not None:  # of a fit that went on at the start, it shows only now
            more += filter(None, [_misfit(asked.run, path, demos)])
        recorded = {} if demos is None else environment_entry(demos.facts)
        env_id = asked.env or data.get("env_id") or recorded.get("env_id")
        differs = data.get(ALTERED) or recorded.get(ALTERED)
        if differs and asked.env is None:
            more.append(f"The demonstrations were recorded in {differs}, which its id alone does not make. Give --env.")
        return _fitting_worlds(asked.run, [str(env_id)] if env_id else [], more), tuple(more)

    env_ids, said = find_worlds()
    if asked.env is not None and asked.env not in env_ids:
        raise ConfigError(f"--env must be an environment that fits the model; {asked.env} does not. {said[-1]}")
    goes_on = not (asked.run / "model" / "config.json").exists()  # then it is not known yet which worlds fit
    return Desk(
        asked.run,
        demos=demos,
        held_out=held_out,
        env_ids=env_ids,
        remarks=said,
        find_worlds=find_worlds if goes_on else None,
    )


def _named(demos: Demos, facts: dict[str, Any], remarks: list[str]) -> tuple[Demos, Demos | None]:
    """Demonstrations that a person named, and those that the fit left out, where they are the fit's own."""
    known = (facts.get("provenance") or {}).get("data_fingerprint")
    share, seed = facts.get("held_out"), (facts.get("provenance") or {}).get("seed")
    if known is None:
        remarks.append(_UNCHECKED)
        return demos, None
    if isinstance(share, float | int) and share > 0 and isinstance(seed, int):
        training, held_out = demos.split(held_out=float(share), generator=named_generator(seed, "held out"))
        if training.fingerprint() == known:
            return demos, held_out
    elif demos.fingerprint() == known:
        return demos, None
    remarks.append(" ".join([_OTHERS, *_together(facts)]))
    return demos, demos


def _together(facts: dict[str, Any]) -> list[str]:
    """A sentence on how to name the demonstrations of a fit that read several data sets together."""
    reading = facts.get("reading")
    told: dict[str, Any] = reading if isinstance(reading, dict) else {}
    n_more, weights = told.get("n_more_demos", 0), told.get("weights")
    if not n_more and not weights:
        return []
    share = f", with --weights {' '.join(f'{weight:g}' for weight in weights)}" if weights else ""
    return [f"It read {1 + n_more} data sets: name as many after --demos, in the order of the fit{share}."]


def _misfit(run: Path, path: str, demos: Demos) -> str | None:
    """Why the run's model cannot read the columns of demonstrations; None where it can, or there is none yet."""
    due, has = _widths(run), (demos.observation_size, demos.action_size)
    if due is None:
        return None
    if has != due:
        return (
            f"--demos {path} must hold demonstrations of {due[0]} observation and {due[1]} action columns, as the "
            f"model in {run} was fitted on; got {has[0]} and {has[1]}. Name the matching data, or fit a model on these."
        )
    try:
        columns_in_order(_names(run), demos.observation_names)
    except DataError as error:
        return f"--demos {path} cannot be read by the model in {run}: {error}"
    return None


def _widths(run: Path) -> tuple[int, int] | None:
    """How many observation and action columns the run's model has; None where there is none yet, or a damaged one."""
    content = _model_config(run)
    seen, acted = content.get("observation_size"), content.get("action_size")
    return (seen, acted) if isinstance(seen, int) and isinstance(acted, int) else None


def _names(run: Path) -> tuple[str, ...]:
    """The names of the observation columns that the run's model knows; empty where it knows none."""
    names = _model_config(run).get("observation_names")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _model_config(run: Path) -> dict[str, Any]:
    source = run / "model" / "config.json"
    content = read_json(source) if source.exists() else None
    return content if isinstance(content, dict) else {}


def _of_demo(
    run: Path, facts: dict[str, Any], data: dict[str, Any], remarks: list[str]
) -> tuple[Demos | None, Demos | None]:
    """A demo's demonstrations, as they were kept; where they were not, its experts act again on the same seeds."""
    known = data.get("data_fingerprint")
    kept: tuple[Demos, Demos] | None = None
    with contextlib.suppress(DataError):  # what is damaged is recorded again
        kept = kept_demonstrations(run)
    if kept is not None and known in (None, kept[0].fingerprint()):  # None: the demo goes on
        return kept
    config = facts.get("config") or {}
    asked = DemoConfig(out=run, seed=int(config.get("seed", 0)), quick=bool(config.get("quick")))
    print("This demo kept no demonstrations: its experts act again, once.", file=sys.stderr)
    training, held_out = collect_demonstrations(asked)
    if known is None:
        return training, held_out  # the demo keeps them itself
    if training.fingerprint() != known:
        remarks.append(
            "The demo's demonstrations, recorded again, differ from those it was fitted on (other versions)."
        )
    elif kept is None:
        with contextlib.suppress(RunError, StorageError):  # a run that cannot be written to can still be looked at
            keep_demonstrations(run, training, held_out)
    return training, held_out


def _fitting_worlds(run: Path, first: list[str], remarks: list[str]) -> tuple[str, ...]:
    """Environments that have the widths of the run's model: those named first, then ours."""
    due = _widths(run)
    if due is None:
        return tuple(first)
    found: list[str] = []
    for env_id in dict.fromkeys([*first, *_OURS]):
        try:
            world: Any = make_world(spec_of(env_id))
            has = tuple(int(space.shape[0]) for space in (world.observation_space, world.action_space))
            world.close()
        except Exception as error:  # a world of anybody's may raise anything
            remarks.append(f"{env_id} cannot be made here: {str(error).rstrip('.'):.160}.")
            continue
        if has == due:
            found.append(env_id)
        elif env_id in first:
            remarks.append(
                f"{env_id} has {has[0]} observation and {has[1]} action columns; the model has {due[0]} and {due[1]}."
            )
    return tuple(found)
