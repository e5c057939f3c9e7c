"""A recording: a folder that grows while a program runs, and can be read whatever became of the program.

::

    FOLDER/  recording.json   format "unbraid-recording", version, widths and types of a row, facts
             action_low.npy   and action_high.npy, where the actions have bounds
             experts.jsonl    a line for every expert's name, in the order in which they came
             rows.bin         rows of one length, one behind the other: what a reset returned, or what a step did

A seed that does not fit in 64 bits is not kept: its row has no seed, and a 1 where the seed would be.

A row is written as it happens, so a program that is killed loses nothing it recorded; at every episode's end the disk
is told to keep it (fsync), so a machine that loses its power loses at most the running episode. A last row that is not
whole is left out on reading, and `facts["left_out"]` says so.
"""

import json
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from unbraid.core.errors import DataError, WorldError
from unbraid.core.runs import new_folder, read_json, saying_what_the_disk_refused, write_json
from unbraid.demos.arrays import demos_from_arrays, names_from
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import open_npy
from unbraid.demos.formats.format import Format
from unbraid.demos.left_out import LARGE_SEEDS, seeds_that_fit, with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of

__all__ = ["FORMAT", "RecordingWriter", "read_recording", "read_recording_parts", "recognise_recording"]

_FORMAT, _VERSION = "unbraid-recording", 1
_INDEX, _ROWS, _EXPERTS = "recording.json", "rows.bin", "experts.jsonl"
_BOUNDS = ("action_low", "action_high")
_RESET, _STEP = 1, 2  # 0 is what a disk leaves where nothing was written
_LARGE = 1  # stands for a seed that is not kept; without `has_seed`, so that older readers take it for none


def _row_type(observation: np.dtype, observation_size: int, action: np.dtype, action_size: int) -> np.dtype:
    return np.dtype(
        [
            ("kind", "u1"),
            ("terminated", "u1"),
            ("ended", "u1"),
            ("has_cost", "u1"),
            ("has_seed", "u1"),
            ("expert", "<i4"),
            ("seed", "<i8"),
            ("reward", "<f8"),
            ("cost", "<f8"),
            ("observation", observation.newbyteorder("<"), (observation_size,)),
            ("action", action.newbyteorder("<"), (action_size,)),
        ]
    )


@final
class RecordingWriter:
    """Appends to a new recording, row by row.

    Raises:
        RunError: there is something at the path already.
        WorldError: it was closed.
        StorageError: the disk refused; what was recorded before stays readable.
    """

    def __init__(
        self,
        path: Path,
        *,
        observation: tuple[np.dtype, int],
        action: tuple[np.dtype, int],
        action_bounds: tuple[np.ndarray, np.ndarray] | None = None,
        observation_names: tuple[str, ...] = (),
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Args:
        path: the folder; must not exist.
        observation, action: the type and the width of each.
        action_bounds: the lowest and the highest of each actuator.
        observation_names: a name for every column, or none.
        facts: JSON values.
        """
        self.path = path
        self._type = _row_type(observation[0], observation[1], action[0], action[1])
        self._row, self._experts = np.zeros(1, dtype=self._type), list[str]()
        self._n_rows = 0
        index: dict[str, Any] = {"format": _FORMAT, "version": _VERSION}
        for name, (dtype, size) in (("observation", observation), ("action", action)):
            index[name] = {"dtype": dtype.name, "size": size}
        with new_folder(path) as folder:
            for name, values in zip(_BOUNDS, action_bounds or (), strict=False):
                np.save(folder / f"{name}.npy", values, allow_pickle=False)
            (folder / _ROWS).touch()
            (folder / _EXPERTS).touch()
            write_json(folder / _INDEX, index | {"observation_names": list(observation_names), "facts": facts or {}})
        with saying_what_the_disk_refused(path):
            self._file = os.open(path / _ROWS, os.O_WRONLY | os.O_APPEND)
        self._closing = weakref.finalize(self, os.close, self._file)

    def reset(self, observation: np.ndarray, *, seed: int | None, expert: str | None) -> None:
        """A new episode begins; one that was running ends here, if it did not before."""
        self.require_open()
        row = self._row
        row[...] = np.zeros((), dtype=self._type)
        row["kind"], row["observation"] = _RESET, observation
        if seed is not None:
            fits = seeds_that_fit([seed]) is not None
            row["has_seed"], row["seed"] = fits, seed if fits else _LARGE
        row["expert"] = self._expert_number(expert)
        self._append()

    def step(
        self,
        action: np.ndarray,
        observation: np.ndarray,
        *,
        reward: float,
        cost: float | None,
        terminated: bool,
        ended: bool,
    ) -> None:
        """What a step did; where it ended the episode, the disk is told to keep all that came so far."""
        self.require_open()
        row = self._row
        row["kind"], row["action"], row["observation"] = _STEP, action, observation
        row["reward"], row["has_cost"], row["cost"] = reward, cost is not None, 0.0 if cost is None else cost
        row["terminated"], row["ended"] = terminated, ended
        self._append()
        if ended:
            self.sync()

    def sync(self) -> None:
        """Tells the disk to keep what was recorded."""
        self.require_open()
        with saying_what_the_disk_refused(self.path):
            os.fsync(self._file)

    def require_open(self) -> None:
        """Raises `WorldError` where the recording was closed: its file's number may be another file's by now."""
        if not self._closing.alive:
            raise WorldError(
                f"The recording {self.path} must be open to go on; it was closed. Make another RecordDemos, with a "
                "path of its own, and load both together."
            )

    def close(self) -> None:
        """Ends the recording."""
        if self._closing.alive:
            self.sync()
            self._closing()

    def _append(self) -> None:
        content = memoryview(self._row.tobytes())
        with saying_what_the_disk_refused(self.path):
            try:
                while content:
                    content = content[os.write(self._file, content) :]
            except OSError:
                os.ftruncate(self._file, self._n_rows * self._type.itemsize)  # no half a row between whole ones
                raise
        self._n_rows += 1

    def _expert_number(self, expert: str | None) -> int:
        if expert is None:
            return -1
        if expert not in self._experts:
            with saying_what_the_disk_refused(self.path), open(self.path / _EXPERTS, "a", encoding="utf-8") as file:
                file.write(json.dumps(expert) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._experts.append(expert)
        return self._experts.index(expert)


def recognise_recording(path: Path) -> str | None:
    """What shows a recording: its `recording.json`."""
    return f"it holds {_INDEX}" if (path / _INDEX).is_file() else None


def read_recording(path: Path) -> Demos:
    """What was recorded so far, in memory.

    Costs are kept where a step has one, and are 0 in those that have none, as a world may tell a cost only where there
    is one; seeds and labels are kept where every episode has one.

    Raises:
        DataError: no recording, a damaged one, or one of a newer version; nothing was recorded.
    """
    return joined_parts(read_recording_parts(path, ReadOptions(), sys.maxsize))


def read_recording_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_recording` in parts of whole episodes, of about `n_steps` steps each; it takes no options."""
    del options
    index = _read_index(path / _INDEX)
    rows, left_out = _open_rows(path, index)
    kinds = np.asarray(rows["kind"])
    starts = np.flatnonzero(kinds == _RESET)
    if len(starts) == 0 or (kinds == _STEP).sum() == 0:
        raise DataError(f"A recording must have a step; nothing was recorded in {path}. Call reset and step first.")
    ends = np.append(starts[1:], len(rows))
    starts, ends = starts[ends - starts > 1], ends[ends - starts > 1]  # a reset that no step follows is no episode
    has_seed, seeds = np.asarray(rows["has_seed"][starts]) != 0, np.asarray(rows["seed"][starts])
    facts = dict(index["facts"])
    if not rows["ended"][-1] and kinds[-1] == _STEP:
        left_out += [f"The recording stops within its last episode, after {int(ends[-1] - starts[-1]) - 1} steps."]
    if (~has_seed & (seeds == _LARGE)).any():
        left_out += [LARGE_SEEDS]
    if left_out:
        facts = with_left_out(facts, *left_out)
    experts, names = np.asarray(rows["expert"][starts]), _read_experts(path)
    if len(experts) and experts.max() >= len(names):
        raise DataError(
            f"{path / _EXPERTS} must name expert {experts.max()}; it names {len(names)}. Restore it from a copy."
        )
    known = sorted({names[i] for i in experts.tolist() if i >= 0}) if (experts >= 0).all() else []
    of_episodes: dict[str, np.ndarray] = {
        "lengths": ends - starts - 1,
        "terminated": np.asarray(rows["terminated"][ends - 1]) != 0,
    }
    if known:
        of_episodes["labels"] = np.array([known.index(names[i]) for i in experts.tolist()], dtype=np.int64)
    if has_seed.all():
        of_episodes["seeds"] = seeds.astype(np.int64)
    costly = bool((np.asarray(rows["has_cost"])[kinds == _STEP] != 0).any())  # a step without one has 0 in its row
    bounds = {n: np.array(open_npy(path / f"{n}.npy")) for n in _BOUNDS if (path / f"{n}.npy").is_file()}
    for first, last in spans_of(of_episodes["lengths"], n_steps):
        # A reset that no step follows may lie between two episodes: its row is no observation of either.
        chosen = np.concatenate([rows[a:b] for a, b in zip(starts[first:last], ends[first:last], strict=True)])
        steps = chosen[chosen["kind"] == _STEP]
        arrays = {"observations": np.ascontiguousarray(chosen["observation"])}
        arrays |= {"actions": np.ascontiguousarray(steps["action"]), "rewards": np.ascontiguousarray(steps["reward"])}
        arrays |= {"costs": np.ascontiguousarray(steps["cost"])} if costly else {}
        arrays |= {name: values[first:last] for name, values in of_episodes.items()}
        yield demos_from_arrays(
            arrays | bounds,
            source=path,
            label_names=tuple(known),
            observation_names=index["observation_names"],
            facts=facts,
        )


def _read_index(path: Path) -> dict[str, Any]:
    remedy = "Restore it from a copy."
    index = read_json(path, error=DataError, remedy=remedy)
    if not isinstance(index, dict) or index.get("format") != _FORMAT:
        raise DataError(f"{path} must say format {_FORMAT!r}; it does not. Give a folder that RecordDemos made.")
    if index.get("version") != _VERSION:
        raise DataError(
            f"{path} must have version {_VERSION}; it has {index.get('version')!r}. Use the unbraid that wrote it, or "
            "a newer one."
        )
    try:
        kinds = [(np.dtype(str(index[n]["dtype"])), int(index[n]["size"])) for n in ("observation", "action")]
    except (KeyError, TypeError, ValueError):
        kinds = []
    facts = index.get("facts", {})
    if not kinds or any(dtype.kind != "f" or size < 0 for dtype, size in kinds) or not isinstance(facts, dict):
        raise DataError(f"{path} must say type and width of `observation` and `action`; it does not. {remedy}")
    names = names_from(index.get("observation_names", []), "observation_names", path)
    return {"row": _row_type(*kinds[0], *kinds[1]), "facts": facts, "observation_names": names}


def _open_rows(path: Path, index: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """The whole rows, memory-mapped, and what is said of a last one that is not whole."""
    file, row = path / _ROWS, index["row"]
    try:
        size = file.stat().st_size
        rows = _mapped(file, row, size // row.itemsize)
    except OSError as error:
        said = error.strerror or str(error)
        raise DataError(f"{file} must be readable; the system said: {said}. Restore it from a copy.") from None
    kinds = np.asarray(rows["kind"])
    unwritten = np.flatnonzero(kinds == 0)
    n_whole = int(unwritten[0]) if len(unwritten) else len(rows)
    if (kinds[:n_whole] > _STEP).any() or (n_whole and kinds[0] != _RESET):
        raise DataError(
            f"{file} must hold resets and steps, each of {row.itemsize} bytes; it does not. It is damaged, or belongs "
            f"to another {_INDEX}: restore it from a copy."
        )
    torn = size - n_whole * row.itemsize
    told = [f"The recording was cut off: its last {torn} bytes are no whole step."] if torn else []
    return rows[:n_whole], told


def _mapped(file: Path, row: np.dtype, n_rows: int) -> np.ndarray:
    return np.memmap(file, dtype=row, mode="r", shape=(n_rows,)) if n_rows else np.zeros(0, dtype=row)


def _read_experts(path: Path) -> list[str]:
    """The experts' names; a last line that is not whole was never used."""
    try:
        lines = (path / _EXPERTS).read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return [str(json.loads(line)) for line in lines]
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{path / _EXPERTS} must hold a name on every line; {error}. Restore it from a copy.") from None


FORMAT = Format(
    name="recording",
    title="a recording of RecordDemos",
    endings=(),
    options=frozenset(),
    recognise=recognise_recording,
    read=lambda path, _: read_recording(path),
    write=None,
    read_parts=read_recording_parts,
    write_parts=None,
)
