"""Writes a LeRobotDataset v3.0: frames and episodes in Parquet files that are cut as LeRobot cuts them, with
statistics.

::

    data/chunk-000/file-000.parquet            a row for each step: what was seen before the action, and the action
    meta/info.json, stats.json, tasks.parquet  as LeRobot has them; the experts are the tasks, where there are labels
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
from itertools import groupby
from pathlib import Path
from typing import Any, final

import numpy as np

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
    kept = beside_the_format(demos, place="meta/unbraid", held=("costs", "labels"))
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
        features: dict[str, dict[str, Any]] = {}
        notes, tasks, fps = "{}", [""], 1.0
        totals = _Totals()
        with ExitStack() as stack:
            frames = stack.enter_context(_CutTables(folder, _DATA_PATH))
            index = stack.enter_context(_CutTables(folder, _EPISODES_PATH))
            final_rows = stack.enter_context(_CutTables(folder, "meta/unbraid/episodes.parquet"))
            for part in parts:
                require_steps(part, "a LeRobotDataset")
                if not features:
                    features, tasks, fps, notes = _features(part), _tasks(part), _fps(part), _notes(part)
                columns = _frames(part, features, n_episodes, n_frames, fps)
                frames.put(columns)
                index.put(_index_rows(part, columns, features, (n_episodes, n_frames), tasks, totals, (frames, index)))
                final_rows.put(_final_rows(part, features))
                n_episodes, n_frames = n_episodes + part.n_episodes, n_frames + part.n_steps
        info = {
            "codebase_version": "v3.0",
            "robot_type": _kept(notes).get("robot_type"),
            "total_episodes": n_episodes,
            "total_frames": n_frames,
            "total_tasks": len(tasks),
            "chunks_size": _FILES_PER_CHUNK,
            "data_files_size_in_mb": _FILE_MB,
            "video_files_size_in_mb": 200,
            "fps": int(fps) if fps == int(fps) else fps,
            "splits": {"train": f"0:{n_episodes}"},
            "data_path": _DATA_PATH,
            "video_path": None,
            "features": {
                name: {k: v for k, v in feature.items() if k != "columns"} for name, feature in features.items()
            },
        }
        meta = folder / "meta"
        for name, content in (("info", info), ("stats", totals.statistics())):
            (meta / f"{name}.json").write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")
        _write_tasks(meta / "tasks.parquet", tasks)
        (meta / "unbraid" / "demos.json").write_text(notes, encoding="utf-8")
    return path


def _kept(notes: str) -> Mapping[str, Any]:
    kept = json.loads(notes).get("facts", {}).get("lerobot", {})
    return kept if isinstance(kept, dict) else {}


def _notes(demos: Demos) -> str:
    return notes_text(demos, has_labels=demos.labels is not None, **bounds_noted(demos))


def _tasks(demos: Demos) -> list[str]:
    return list(demos.label_names) if demos.labels is not None else ["demonstration"]


def _fps(demos: Demos) -> float:
    kept = demos.facts.get("lerobot", {})
    fps = kept.get("fps") if isinstance(kept, dict) else None
    return float(fps) if isinstance(fps, int | float) and fps > 0 else 1.0


def _features(demos: Demos) -> dict[str, dict[str, Any]]:
    """LeRobot's features; those of observations say under "columns" which of ours they are."""
    features: dict[str, dict[str, Any]] = {}
    parsed = [_NAME.fullmatch(name) for name in demos.observation_names]
    groups = [(key, list(group)) for key, group in groupby(m["feature"] if m else "" for m in parsed)]
    if not groups or any(key == "" for key, _ in groups) or len({key for key, _ in groups}) < len(groups):
        names = list(demos.observation_names) or None
        features["observation.state"] = _feature(demos.observations.dtype.name, demos.observation_size, names)
        features["observation.state"]["columns"] = (0, demos.observation_size)
    else:
        start = 0
        for key, group in groups:
            end = start + len(group)
            names = [match["name"] for match in parsed[start:end] if match]
            numbered = names == [str(i) for i in range(len(names))]
            features[key] = _feature(demos.observations.dtype.name, len(names), None if numbered else names)
            features[key]["columns"] = (start, end)
            start = end
    kept = demos.facts.get("lerobot", {})
    action = kept.get("features", {}).get("action", {}) if isinstance(kept, dict) else {}
    names = action.get("names") if action.get("shape") == [demos.action_size] else None
    features["action"] = _feature(demos.actions.dtype.name, demos.action_size, names)
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


def _frames(demos: Demos, features: Mapping[str, Any], first_episode: int, first_frame: int, fps: float) -> _Columns:
    """The columns of a data file: (frame,) or (frame, width) by feature."""
    within = np.arange(demos.n_steps) - np.repeat(demos.step_starts[:-1], demos.lengths)
    last = np.zeros(demos.n_steps, dtype=bool)
    last[demos.step_starts[1:] - 1] = True
    labels = np.zeros(demos.n_episodes, dtype=np.int64) if demos.labels is None else demos.labels
    before = demos.observations[demos.row_of_step]
    columns: _Columns = {
        name: before[:, slice(*feature["columns"])] for name, feature in features.items() if "columns" in feature
    }
    columns["action"] = np.asarray(demos.actions)
    columns |= {
        n: np.asarray(v) for n, v in (("next.reward", demos.rewards), ("next.cost", demos.costs)) if v is not None
    }
    columns["next.done"] = last
    columns["timestamp"] = (within / fps).astype(np.float32)
    columns["frame_index"] = within
    columns["episode_index"] = first_episode + demos.episode_of_step
    columns["index"] = first_frame + np.arange(demos.n_steps)
    columns["task_index"] = labels[demos.episode_of_step]
    return columns


def _index_rows(
    demos: Demos,
    columns: _Columns,
    features: Mapping[str, Any],
    firsts: tuple[int, int],
    tasks: Sequence[str],
    totals: "_Totals",
    files: tuple["_CutTables", "_CutTables"],
) -> dict[str, Any]:
    """A row of ``meta/episodes`` for each episode, and its statistics into `totals`."""
    ends = firsts[1] + demos.step_starts[1:]
    of_label = [0] * demos.n_episodes if demos.labels is None else demos.labels.tolist()
    rows: dict[str, Any] = {
        "episode_index": firsts[0] + np.arange(demos.n_episodes),
        "tasks": [[tasks[label]] for label in of_label],
        "length": demos.lengths,
        "data/chunk_index": np.full(demos.n_episodes, files[0].chunk),
        "data/file_index": np.full(demos.n_episodes, files[0].number),
        "dataset_from_index": ends - demos.lengths,
        "dataset_to_index": ends,
    }
    for name in features:
        spans = zip(demos.step_starts[:-1].tolist(), demos.step_starts[1:].tolist(), strict=True)
        every = [_statistics(columns[name][first:last]) for first, last in spans]
        totals.add(name, every)
        rows |= {f"stats/{name}/{key}": [stats[key].tolist() for stats in every] for key in every[0]}
    files[1].cut()
    rows["meta/episodes/chunk_index"] = np.full(demos.n_episodes, files[1].chunk)
    rows["meta/episodes/file_index"] = np.full(demos.n_episodes, files[1].number)
    return rows


def _final_rows(demos: Demos, features: Mapping[str, Any]) -> dict[str, Any]:
    final_observations = demos.observations[demos.row_starts[1:] - 1]
    rows: dict[str, Any] = {
        name: final_observations[:, slice(*feature["columns"])]
        for name, feature in features.items()
        if "columns" in feature
    }
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
        self.chunk = 0
        self.number = 0

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
            self.chunk, self.number = (
                (self.chunk, self.number + 1) if self.number + 1 < _FILES_PER_CHUNK else (self.chunk + 1, 0)
            )

    def put(self, columns: Mapping[str, Any]) -> None:
        """Appends rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.cut()
        table = pa.table({name: _arrow(values) for name, values in columns.items()})
        if self._writer is None:
            path = self._folder / self._pattern.format(chunk_index=self.chunk, file_index=self.number)
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
