"""What a run's folder says, read and checked once: everything that a report may show."""

import json
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unbraid.core.errors import RunError
from unbraid.core.runs import open_run, read_json

__all__ = ["PATH_ARRAYS", "RunRecord", "TopDownPath", "read_record", "read_results", "results_if_any"]

PATH_ARRAYS = ("robot_xy", "goal_xy", "goal_reached", "hazards_xy", "vases_xy")
_SECTIONS = ("data", "talk", "unbraid", "fit", "behaviour", "evaluation")
_REMEDY = "Restore it from a copy, or make the run again (of a fit: remove this file and repeat it with --resume)."


@dataclass(frozen=True, eq=False)
class TopDownPath:
    """One rollout of T steps seen from above; places are in metres.

    Attributes:
        robot_xy: (T + 1, 2), where the robot was.
        goal_xy: (T + 1, 2), where the goal was.
        goal_reached: (T,), whether the step reached the goal.
        hazards_xy: (hazard, 2), centres.
        vases_xy: (vase, 2), centres at the start.
    """

    robot_xy: Float[np.ndarray, "steps_and_one 2"]
    goal_xy: Float[np.ndarray, "steps_and_one 2"]
    goal_reached: Bool[np.ndarray, "step"]
    hazards_xy: Float[np.ndarray, "hazard 2"]
    vases_xy: Float[np.ndarray, "vase 2"]

    @property
    def n_steps(self) -> int:
        """T, the number of steps."""
        return len(self.goal_reached)


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run, as far as a report shows it.

    Attributes:
        asked: `run.json`.
        results: `results.json`; every number that a report shows.
        moments: the logged moments of every fit, in the order in which they were logged.
        paths: top-down paths by panel: "expert/NAME", "mode/0", "talk/first_epoch/0".
    """

    asked: dict[str, Any]
    results: dict[str, Any]
    moments: tuple[dict[str, Any], ...]
    paths: dict[str, TopDownPath]

    @property
    def experts(self) -> tuple[str, ...]:
        """The experts' names, none where the data has no labels."""
        return tuple(self.results.get("experts") or ())

    @property
    def data(self) -> dict[str, Any]:
        """What the demonstrations were; empty where it was not recorded."""
        return self.results.get("data") or {}

    @property
    def talk(self) -> dict[str, Any]:
        """Results of the talk's method; empty where the run did not repeat it."""
        return self.results.get("talk") or {}

    @property
    def unbraid(self) -> dict[str, Any]:
        """Results of unbraid's own method; empty where there are none."""
        return self.results.get("unbraid") or {}

    @property
    def config(self) -> dict[str, Any]:
        """The config of the run's fit; of a demo, what it asked."""
        return self.asked.get("config") or {}

    @property
    def method(self) -> str:
        """The method of the run's own fit: "unbraid", or "talk"."""
        return self.config.get("method") or "unbraid"

    @property
    def changes(self) -> bool:
        """Whether modes change within episodes, as the fit has it."""
        return bool(self.unbraid.get("over_time"))

    @property
    def behaviour(self) -> dict[str, Any]:
        """What experts and modes do in the environment; empty where the run rolled nothing out."""
        return self.results.get("behaviour") or {}

    def moments_of(self, method: str) -> list[dict[str, Any]]:
        """The logged moments of one method, "unbraid" or "talk", that have a step and named terms."""
        return [
            moment
            for moment in self.moments
            if moment.get("method", "unbraid") == method and "step" in moment and moment.get("terms")
        ]


def read_record(run: Path) -> RunRecord:
    """Reads a run's folder; only `run.json` and `results.json` must be there.

    Raises:
        RunError: this is no run's folder, it has no results yet, or a file in it is damaged.
    """
    asked, results = open_run(run), read_results(run)
    moments = [*_read_moments(run / "metrics.jsonl"), *_read_moments(run / "metrics_talk.jsonl")]
    return RunRecord(asked=asked, results=results, moments=tuple(moments), paths=_read_paths(run / "paths.npz"))


def read_results(run: Path) -> dict[str, Any]:
    """The `results.json` of a run's folder; of a key that is not in it, `[key]` raises a `RunError` that names both.

    Raises:
        RunError: there is none, it is damaged, or of a newer version.
    """
    source = run / "results.json"
    if not source.exists():
        raise RunError(
            f"{run} must hold results.json; it does not. Let the run finish first (a fit: repeat it with --resume)."
        )
    results = read_json(source)
    if not isinstance(results, dict) or results.get("format") != "unbraid-results":
        raise RunError(f"{source} must be written by unbraid; it is not. Restore it, or make the run again.")
    if results.get("version") != 1:
        raise RunError(
            f"{source} must have version 1; it has {results.get('version')}. "
            "Use the unbraid that wrote it, or a newer one."
        )
    for name in _SECTIONS:
        if not isinstance(results.get(name), dict | None):
            raise RunError(f"{source} must hold an object as {name}; it holds {results[name]!r:.40}. {_REMEDY}")
    return _Entries.of({name: entry for name, entry in results.items() if entry is not None}, source)


def results_if_any(run: Path) -> dict[str, Any]:
    """`read_results`; of a run that has none yet, nothing."""
    return read_results(run) if (run / "results.json").exists() else {}


class _Entries(dict[str, Any]):
    """A JSON object of a file that says, of a key that it lacks, which file must hold what."""

    def __init__(self, source: Path, place: str) -> None:
        super().__init__()
        self._source, self._place = source, place

    def __missing__(self, key: str) -> Any:
        raise RunError(f"{self._source} must hold {self._place}{key}; it does not. {_REMEDY}")

    def __or__(self, added: dict[str, Any]) -> "_Entries":  # pyright: ignore[reportIncompatibleMethodOverride]
        found = _Entries(self._source, self._place)
        found.update(self)
        found.update(added)
        return found

    @classmethod
    def of(cls, value: Any, source: Path, place: str = "") -> Any:
        """A JSON value, with every object in it as one of these."""
        if isinstance(value, list):
            return [cls.of(entry, source, f"{place.removesuffix('.')}[{i}].") for i, entry in enumerate(value)]
        if not isinstance(value, dict):
            return value
        found = cls(source, place)
        found.update((name, cls.of(entry, source, f"{place}{name}.")) for name, entry in value.items())
        return found


def _read_moments(source: Path) -> list[dict[str, Any]]:
    if not source.exists():
        return []
    lines = source.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # a fit that was cut off leaves half a line at the end, and no more than that
    moments: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            moment = json.loads(line)
        except ValueError as error:
            raise RunError(
                f"{source} must hold one JSON object a line; line {number} is not one ({error}). Remove that line."
            ) from None
        if not isinstance(moment, dict):
            raise RunError(
                f"{source} must hold one JSON object a line; line {number} is {line[:40]!r}. Remove that line."
            )
        moments.append(moment)
    return moments


def _read_paths(source: Path) -> dict[str, TopDownPath]:
    if not source.exists():
        return {}
    panels: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for key in archive.files:
                panel, _, name = key.rpartition("/")
                panels[panel][name] = archive[key]
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise RunError(
            f"{source} must be a NumPy archive; it is not ({error}). Remove it, or make the run again."
        ) from None
    return {panel: _checked_path(source, panel, arrays) for panel, arrays in panels.items()}


def _checked_path(source: Path, panel: str, arrays: dict[str, np.ndarray]) -> TopDownPath:
    missing = [name for name in PATH_ARRAYS if name not in arrays]
    if missing:
        raise RunError(f"{source} must hold {panel}/{missing[0]}; it does not. Remove the file, or make the run again.")
    n_steps = arrays["goal_reached"].size
    if n_steps == 0:
        raise RunError(f"{source} must hold at least one step in {panel}; it has none. Remove the file.")
    due = {"robot_xy": (n_steps + 1, 2), "goal_xy": (n_steps + 1, 2), "goal_reached": (n_steps,)}
    for name in PATH_ARRAYS:
        shape = arrays[name].shape
        fits = shape == due[name] if name in due else len(shape) == 2 and shape[1] == 2
        if not fits:
            raise RunError(
                f"{source} must hold {panel}/{name} with shape {due.get(name, '(n, 2)')}; it has {shape}. "
                "Remove the file, or make the run again."
            )
        if arrays[name].dtype.kind not in "biuf" or not np.isfinite(arrays[name]).all():
            raise RunError(
                f"{source} must hold finite numbers in {panel}/{name}; it does not. "
                "Remove the file, or make the run again."
            )
    places = {name: arrays[name].astype(np.float64) for name in PATH_ARRAYS if name != "goal_reached"}
    return TopDownPath(**places, goal_reached=arrays["goal_reached"].astype(bool))
