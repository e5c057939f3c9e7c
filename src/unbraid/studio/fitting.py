"""What a fit has told so far, as it comes: loss terms, the usage of codes, and pictures of its modes."""

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from unbraid.core.errors import UnbraidError
from unbraid.steering.steered import steer
from unbraid.studio.live import layout_of, top_down
from unbraid.training.checkpoint import latest_checkpoint, model_in_checkpoint
from unbraid.training.config import TalkConfig
from unbraid.training.pictures import PICTURES_FILE
from unbraid.worlds.making import make_world, spec_of
from unbraid.worlds.rollout import rollout

__all__ = ["Paths", "logs_of", "moments_since", "pictures_since"]

_MOST_BYTES = 1 << 20  # read at once; a page asks again for the rest
_COLUMNS = ("demonstrated", "mean", "deviation")
_SEED, _PATH_STEPS = 0, 300
_FILES = {"own": "metrics.jsonl", "talk": "metrics_talk.jsonl"}
_TITLES = {"unbraid": "unbraid's method", "talk": "the talk's method"}


def logs_of(run: Path, method: str) -> list[dict[str, str]]:
    """The logs that a run has so far: ``log``, as `moments_since` calls it, and ``title``, the method that it is of.

    Args:
        run: the run's folder.
        method: of the run's own fit. A demo fits the talk's, too, and has a log of its own of that.
    """
    methods = {"own": method, "talk": "talk"}
    return [
        {"log": log, "title": _TITLES.get(methods[log], methods[log])}
        for log, name in _FILES.items()
        if (run / name).is_file()
    ]


def moments_since(run: Path, log: str, offset: int) -> dict[str, Any]:
    """The moments that were logged beyond a place in the log, and the place to go on from.

    A line that is still being written is left for the next time; one that is no JSON object is passed over. A log that
    has become shorter, as a fit's that began anew, is read from its start.

    Args:
        run: the run's folder.
        log: ``own``, of the run's own fit, or ``talk``, of those that a demo compares it with; another is empty.
        offset: bytes that were read before.
    """
    source = run / _FILES[log] if log in _FILES else None
    return _since(source, offset, "moments", _moment)


def pictures_since(run: Path, offset: int) -> dict[str, Any]:
    """The pictures of modes (`training.pictures`) that were written beyond a place, likewise.

    Args:
        run: the run's folder.
        offset: bytes that were read before.
    """
    return _since(run / PICTURES_FILE, offset, "pictures", _picture)


def _since(
    source: Path | None, offset: int, what: str, read: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any]:
    if source is None or not source.is_file():
        return {what: [], "offset": 0, "restarted": False}
    restarted = offset > source.stat().st_size
    start = 0 if restarted else offset
    with source.open("rb") as file:
        file.seek(start)
        block = file.read(_MOST_BYTES)
    whole = block[: block.rfind(b"\n") + 1]
    objects = [content for line in whole.splitlines() if (content := _object(line)) is not None]
    found = [told for content in objects if _is_number(content.get("step")) and (told := read(content)) is not None]
    return {what: found, "offset": start + len(whole), "restarted": restarted}


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _moment(moment: dict[str, Any]) -> dict[str, Any]:
    logged = moment.get("terms")
    terms = {str(k): v for k, v in logged.items() if _is_number(v)} if isinstance(logged, dict) else {}
    told: dict[str, Any] = {"step": moment["step"], "terms": terms, "code_usage": _numbers(moment.get("code_usage"))}
    told |= {name: moment[name] for name in ("loss", "samples_per_s") if _is_number(moment.get(name))}
    return told | {name: moment[name] for name in ("delta_steps", "method") if isinstance(moment.get(name), int | str)}


def _picture(picture: dict[str, Any]) -> dict[str, Any] | None:
    modes = picture.get("modes")
    if not isinstance(modes, list) or not all(isinstance(own, dict) for own in modes):
        return None
    told: list[dict[str, Any]] = []
    for own in modes:
        numbers = {name: own[name] for name in ("mode", "share", "episode", "first_step", "every")
                   if _is_number(own.get(name))}  # fmt: skip
        columns = {name: [_numbers(column, holes=True) for column in own[name]] for name in _COLUMNS
                   if isinstance(own.get(name), list)}  # fmt: skip
        told.append(numbers | columns)
    return {"step": picture["step"], "modes": told}


def _numbers(values: Any, *, holes: bool = False) -> list[float | None]:
    """The numbers of a list; others are left out, or None stands in their place."""
    given = values if isinstance(values, list) else []
    return [v if _is_number(v) else None for v in given if holes or _is_number(v)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@final
class Paths:
    """What each mode drives like by now, in one of our worlds: rollouts of the model in the newest checkpoint.

    Safe to use from several threads. A checkpoint is rolled out once, when somebody looks.
    """

    def __init__(self, run: Path, env_id: str | None) -> None:
        """Notes where to look.

        Args:
            run: the run's folder.
            env_id: the world; None for none. Worlds that are not ours have no picture from above.
        """
        self._run, self._lock = run, threading.Lock()
        self._env_id = env_id if env_id is not None and env_id.startswith("unbraid/") else None
        self._known: tuple[str, dict[str, Any]] = ("", {"step": None, "modes": []})

    def now(self) -> dict[str, Any]:
        """``step``; ``layout`` and ``scene``, what stands where at the start; and each mode's path, in metres.

        The same as before where there is no newer checkpoint that can be read; ``step`` is None where there never was
        one, or no world to drive in.
        """
        if self._env_id is None:
            return self._known[1]
        with self._lock:
            newest = latest_checkpoint(self._run / "checkpoints")
            if newest is not None and newest.name != self._known[0]:
                try:
                    self._known = newest.name, self._rolled_out(newest, self._env_id)
                except UnbraidError:  # it gave way to a newer one, or fits no such world: what was drawn stays
                    self._known = newest.name, self._known[1]
            return self._known[1]

    def _rolled_out(self, checkpoint: Path, env_id: str) -> dict[str, Any]:
        model = model_in_checkpoint(checkpoint)
        if isinstance(model.config, TalkConfig):  # what it is steered with is known at its end
            return {"step": None, "modes": []}
        modes: list[dict[str, Any]] = []
        for mode in range(model.n_modes):
            (track,) = rollout(steer(model).toward(mode), env_id, seeds=[_SEED], max_steps=_PATH_STEPS).tracks
            modes.append({"mode": mode, "path": track["robot_xy"][::2].round(3).tolist()})
        world: Any = make_world(spec_of(env_id))
        world.reset(seed=_SEED)
        layout, scene = layout_of(world), top_down(world)
        world.close()
        return {"step": int(checkpoint.name.removeprefix("step_")), "layout": layout, "scene": scene, "modes": modes}
