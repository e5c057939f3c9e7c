"""Writes a LeRobotDataset v3.0: frames and episodes in Parquet files that are cut as LeRobot cuts them, with
statistics.

::

    data/chunk-000/file-000.parquet            a row for each step: what was seen before the action, and the action
    meta/info.json, stats.json, tasks.parquet  as LeRobot has them; the experts are the tasks, where there are labels,
                                               else the one task of the set that was read
    meta/episodes/chunk-000/file-000.parquet   a row for each episode: where its frames are, and their statistics
    meta/unbraid/episodes.parquet, demos.json  final observations, ends, seeds; names, bounds, facts: what LeRobot has
                                               no place for, and does not look at

Columns called ``observation.state[x]`` become the feature ``observation.state`` with a column ``x``; all other
observations are one ``observation.state``. Rewards are ``next.reward``, costs ``next.cost``, the end of an episode
``next.done``. Frames per second are those of ``facts["lerobot"]["fps"]``, or else 1, so that timestamps count steps.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, final

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_folder
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.arrow import require_pyarrow
from unbraid.demos.formats.format import PART_STEPS
from unbraid.demos.formats.hdf5 import require_steps
from unbraid.demos.formats.notes import beside_the_format, bounds_noted, notes_text
from unbraid.demos.parts import parts_of

__all__ = ["lerobot_not_held", "write_lerobot", "write_lerobot_parts"]

_FILE_MB = 100
_FILES_PER_CHUNK = 1000
_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
_NAME = re.compile(r"(?P<feature>observation\.[^/\[\]]+)\[(?P<name>.*)\]", re.DOTALL)
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_Columns = dict[str, np.ndarray]


def lerobot_not_held(demos: Demos) -> tuple[str, ...]:
    """What is kept where LeRobot does not look."""
    kept = beside_the_format(demos, place="meta/unbraid", held=("costs", "labels", "observation_names"))
    return (
        "LeRobot has no final observations and no ends by the world: kept in meta/unbraid, where only unbraid looks.",
        *kept,
    )


def write_lerobot(demos: Demos, path: Path) -> Path:
    """Writes a LeRobotDataset, whole or not at all; ``LeRobotDataset(repo_id, root=path)`` opens it.

    Raises:
        DataError: an episode has no steps, or `demos.facts` holds what JSON cannot say.
        ConfigError: pyarrow is not installed.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    return write_lerobot_parts(parts_of(demos, PART_STEPS), path)


def write_lerobot_parts(parts: Iterator[Demos], path: Path) -> Path:
    """The same from parts that have the same fields, names and facts."""
    require_pyarrow("lerobot")
    with new_folder(path) as folder:
        n_episodes = n_frames = 0
        layout: _Layout | None = None
        totals = _Totals()
        with ExitStack() as stack:
            frames = stack.enter_context(_CutTables(folder, _DATA_PATH))
            index = stack.enter_context(_CutTables(folder, _EPISODES_PATH))
            final_rows = stack.enter_context(_CutTables(folder, "meta/unbraid/episodes.parquet"))
            for part in parts:
                require_steps(part, "a LeRobotDataset")
                layout = layout or _layout(part)
                columns = _frames(part, layout, n_episodes, n_frames)
                frames.put(columns)
                index.cut()
                rows = _index_rows(part, layout, n_episodes, n_frames)
                rows |= frames.place("data", part.n_episodes) | index.place("meta/episodes", part.n_episodes)
                index.put(rows | _statistics_of_episodes(part, columns, totals))
                final_rows.put(_final_rows(part, layout))
                n_episodes, n_frames = n_episodes + part.n_episodes, n_frames + part.n_steps
        if layout is None:
            raise DataError("Demonstrations must hold at least one episode; got none. Record or select some.")
        info = {
            "codebase_version": "v3.0",
            "robot_type": layout.robot_type,
            "total_episodes": n_episodes,
            "total_frames": n_frames,
            "total_tasks": len(layout.tasks),
            "chunks_size": _FILES_PER_CHUNK,
            "data_files_size_in_mb": _FILE_MB,
            "video_files_size_in_mb": 200,
            "fps": int(layout.fps) if layout.fps == int(layout.fps) else layout.fps,
            "splits": {"train": f"0:{n_episodes}"},
            "data_path": _DATA_PATH,
            "video_path": None,
            "features": layout.features,
        }
        meta = folder / "meta"
        for name, content in (("info", info), ("stats", totals.statistics())):
            (meta / f"{name}.json").write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")
        _write_tasks(meta / "tasks.parquet", layout.tasks)
        (meta / "unbraid" / "demos.json").write_text(layout.notes, encoding="utf-8")
    return path


@dataclass(frozen=True)
class _Layout:
    """What is the same for every part.

    Attributes:
        features: as meta/info.json has them.
        columns: for every feature of observations, which of our columns it holds.
        tasks: the text of each task.
        fps: frames per second.
        robot_type: as it was read, or None.
        notes: what LeRobot has no place for.
    """

    features: dict[str, dict[str, Any]]
    columns: dict[str, slice]
    tasks: list[str]
    fps: float
    robot_type: Any
    notes: str


def _layout(demos: Demos) -> _Layout:
    told = demos.facts.get("lerobot", {})
    kept: Mapping[str, Any] = told if isinstance(told, dict) else {}
    fps = kept.get("fps")
    features, columns = _observation_features(demos)
    return _Layout(
        features=features | _other_features(demos, kept),
        columns=columns,
        tasks=list(demos.label_names) if demos.labels is not None else _only_task(kept),
        fps=float(fps) if isinstance(fps, int | float) and fps > 0 else 1.0,
        robot_type=kept.get("robot_type"),
        notes=notes_text(demos, has_labels=demos.labels is not None, **bounds_noted(demos)),
    )


def _only_task(kept: Mapping[str, Any]) -> list[str]:
    """The text of the task that all episodes had when they were read."""
    told = kept.get("tasks")
    return [told[0]] if isinstance(told, list) and len(told) == 1 and isinstance(told[0], str) else ["demonstration"]


def _observation_features(demos: Demos) -> tuple[dict[str, dict[str, Any]], dict[str, slice]]:
    """LeRobot's features of observations, and which of our columns each holds."""
    dtype = demos.observations.dtype.name
    features: dict[str, dict[str, Any]] = {}
    columns: dict[str, slice] = {}
    parsed = [_NAME.fullmatch(name) for name in demos.observation_names]
    groups = [(key, list(group)) for key, group in groupby(m["feature"] if m else "" for m in parsed)]
    if not groups or any(key == "" for key, _ in groups) or len({key for key, _ in groups}) < len(groups):
        names = list(demos.observation_names) or None
        feature = _feature(dtype, demos.observation_size, names)
        return {"observation.state": feature}, {"observation.state": slice(0, demos.observation_size)}
    start = 0
    for key, group in groups:
        end = start + len(group)
        names = [match["name"] for match in parsed[start:end] if match]
        numbered = names == [str(i) for i in range(len(names))]
        features[key] = _feature(dtype, len(names), None if numbered else names)
        columns[key] = slice(start, end)
        start = end
    return features, columns


def _other_features(demos: Demos, kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of actions, with the names that were read, of rewards and costs, and what LeRobot counts by."""
    told = kept.get("features")
    action = told.get("action", {}) if isinstance(told, dict) else {}
    names = action.get("names") if action.get("shape") == [demos.action_size] else None
    features = {"action": _feature(demos.actions.dtype.name, demos.action_size, names)}
    for name, values in (("next.reward", demos.rewards), ("next.cost", demos.costs)):
        if values is not None:
            features[name] = _feature(values.dtype.name, 1, None)
    features["next.done"] = _feature("bool", 1, None)
    features["timestamp"] = _feature("float32", 1, None)
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = _feature("int64", 1, None)
    return features


def _feature(dtype: str, size: int, names: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": names}


def _frames(demos: Demos, layout: _Layout, first_episode: int, first_frame: int) -> _Columns:
    """The columns of a data file: (frame,) or (frame, width) by feature."""
    within = np.arange(demos.n_steps) - np.repeat(demos.step_starts[:-1], demos.lengths)
    last = np.zeros(demos.n_steps, dtype=bool)
    last[demos.step_starts[1:] - 1] = True
    labels = np.zeros(demos.n_episodes, dtype=np.int64) if demos.labels is None else demos.labels
    before = demos.observations[demos.row_of_step]
    columns: _Columns = {name: before[:, ours] for name, ours in layout.columns.items()}
    columns["action"] = np.asarray(demos.actions)
    columns |= {
        n: np.asarray(v) for n, v in (("next.reward", demos.rewards), ("next.cost", demos.costs)) if v is not None
    }
    columns["next.done"] = last
    columns["timestamp"] = (within / layout.fps).astype(np.float32)
    columns["frame_index"] = within
    columns["episode_index"] = first_episode + demos.episode_of_step
    columns["index"] = first_frame + np.arange(demos.n_steps)
    columns["task_index"] = labels[demos.episode_of_step]
    return columns


def _index_rows(demos: Demos, layout: _Layout, first_episode: int, first_frame: int) -> dict[str, Any]:
    """A row of ``meta/episodes`` for each episode."""
    of_label = [0] * demos.n_episodes if demos.labels is None else demos.labels.tolist()
    return {
        "episode_index": first_episode + np.arange(demos.n_episodes),
        "tasks": [[layout.tasks[label]] for label in of_label],
        "length": demos.lengths,
        "dataset_from_index": first_frame + demos.step_starts[:-1],
        "dataset_to_index": first_frame + demos.step_starts[1:],
    }


def _statistics_of_episodes(demos: Demos, columns: _Columns, totals: "_Totals") -> dict[str, Any]:
    """The statistics of each episode, as columns of ``meta/episodes``; gathered in `totals`."""
    rows: dict[str, Any] = {}
    for name, values in columns.items():
        spans = pairwise(demos.step_starts.tolist())
        every = [_statistics(values[first:last]) for first, last in spans]
        totals.add(name, every)
        rows |= {f"stats/{name}/{key}": [stats[key].tolist() for stats in every] for key in every[0]}
    return rows


def _final_rows(demos: Demos, layout: _Layout) -> dict[str, Any]:
    """A row of ``meta/unbraid/episodes.parquet`` for each episode."""
    last = demos.observations[demos.row_starts[1:] - 1]
    rows: dict[str, Any] = {name: last[:, ours] for name, ours in layout.columns.items()}
    seeds = [None] * demos.n_episodes if demos.seeds is None else demos.seeds.tolist()
    return rows | {"length": demos.lengths, "terminated": demos.terminated, "seed": seeds}


def _statistics(values: np.ndarray) -> _Columns:
    """What LeRobot wants to know of an episode's feature, each as an array: (width,), or (1,) for a single number."""
    table = values.reshape(len(values), -1)
    stats: _Columns = {"min": table.min(axis=0), "max": table.max(axis=0)}
    numbers = table.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        stats |= {"mean": numbers.mean(axis=0), "std": numbers.std(axis=0), "count": np.array([len(table)])}
        quantiles = np.quantile(numbers, _QUANTILES, axis=0)
    return stats | {f"q{round(q * 100):02d}": row for q, row in zip(_QUANTILES, quantiles, strict=True)}


@final
class _Totals:
    """The statistics of all frames, gathered from those of episodes; a quantile is the mean of theirs, as LeRobot's."""

    def __init__(self) -> None:
        self._of: dict[str, _Columns] = {}

    def add(self, name: str, every: Sequence[_Columns]) -> None:
        """Takes in the statistics of some episodes."""
        if name in self._of:
            every = [self._of[name], *every]
        stacked = {key: np.stack([stats[key] for stats in every]) for key in every[0]}
        count = stacked["count"].astype(np.float64)
        joined = {
            "min": stacked["min"].min(axis=0),
            "max": stacked["max"].max(axis=0),
            "count": stacked["count"].sum(axis=0),
        }
        with np.errstate(over="ignore", invalid="ignore"):
            for key in ("mean", *(key for key in stacked if key.startswith("q"))):
                joined[key] = (stacked[key] * count).sum(axis=0) / count.sum()
            spread = stacked["std"] ** 2 + (stacked["mean"] - joined["mean"]) ** 2
            joined["std"] = np.sqrt((spread * count).sum(axis=0) / count.sum())
        self._of[name] = {key: joined[key] for key in every[0]}

    def statistics(self) -> dict[str, dict[str, Any]]:
        """By feature and name, as JSON values."""
        return {name: {key: values.tolist() for key, values in stats.items()} for name, stats in self._of.items()}


@final
class _CutTables:
    """Parquet files of one schema, a new one begun where the last has grown large enough, numbered as LeRobot does."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder = folder
        self._pattern = pattern
        self._writer: Any = None
        self._size = 0
        self._chunk = 0
        self._number = 0

    def __enter__(self) -> "_CutTables":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def cut(self) -> None:
        """Closes a file that is large enough, so that what comes next goes to another."""
        if self._size >= _FILE_MB * 2**20 and "{" in self._pattern:
            self._writer.close()
            self._writer, self._size = None, 0
            self._number += 1
            if self._number == _FILES_PER_CHUNK:
                self._chunk, self._number = self._chunk + 1, 0

    def place(self, name: str, n_rows: int) -> dict[str, np.ndarray]:
        """For each of so many episodes, in which file what was put last (or, after `cut`, comes next) stands."""
        return {
            f"{name}/chunk_index": np.full(n_rows, self._chunk),
            f"{name}/file_index": np.full(n_rows, self._number),
        }

    def put(self, columns: Mapping[str, Any]) -> None:
        """Appends rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.cut()
        table = pa.table({name: _arrow(values) for name, values in columns.items()})
        if self._writer is None:
            path = self._folder / self._pattern.format(chunk_index=self._chunk, file_index=self._number)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema)
        self._writer.write_table(table)
        self._size += table.nbytes


def _arrow(values: Any) -> Any:
    """An Arrow column: single numbers where a table has one column, as LeRobot has it, else lists of one length."""
    import pyarrow as pa

    if not isinstance(values, np.ndarray):
        return pa.array(values, type=pa.int64() if all(v is None or isinstance(v, int) for v in values) else None)
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(np.ascontiguousarray(values.reshape(len(values))))
    kind = pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1])
    return pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(values).ravel(), type=kind)


def _write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """The tasks as pandas writes a frame whose index is the task: LeRobot reads it with pandas, and asks its index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = "__index_level_0__"
    described = [
        {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, field, kind, numpy in (
            ("task_index", "task_index", "int64", "int64"),
            (None, index, "unicode", "object"),
        )
    ]
    pandas = {"index_columns": [index], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), type=pa.int64()), index: pa.array(list(tasks), type=pa.string())}
    )
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)
