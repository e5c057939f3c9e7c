"""LeRobotDataset v3: Parquet files of frames, and ``meta/`` that says what they are.

What `read_lerobot` takes: a folder with ``meta/info.json`` of codebase_version v3.x, ``meta/episodes/`` and ``data/``.

- observations: ``observation.state`` and ``observation.environment_state``, whichever are there, in this order; `obs`
  chooses other features of numbers. Columns are called ``observation.state[NAME]``, by the features' names, or their
  numbers.
- ``action``; ``next.reward`` and ``next.cost`` where present. With `labels_from` "task_index" the tasks become labels;
  any other feature that stays the same within an episode will do too. The text of a task that is the only one is kept
  in ``facts["lerobot"]``, and written back; that there are several is said.
- images and videos are never read; ``facts["left_out"]`` says which features were not. Names, statistics, fps and
  robot type are in ``facts["lerobot"]``.
- **LeRobot keeps T frames of an episode and nothing of what the last action led to: the last frame's observation
  becomes the final one, and its action, reward and cost are left out.** As that was the step that ended it, no episode
  counts as terminated, and episodes of one frame vanish. `facts` says so.

What `write_lerobot` writes has the final observations, and what else LeRobot has no place for, under
``meta/unbraid/``, which LeRobot does not look at: there and back loses nothing.

Source: Hugging Face, LeRobot 0.4 (https://github.com/huggingface/lerobot), LeRobotDataset v3.0.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.runs import read_json
from unbraid.demos.arrays import demos_from_arrays, without_last_actions
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.arrow import (
    columns_of,
    numbers_of,
    opened_arrow,
    require_pyarrow,
    saying_what_is_damaged,
)
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.lerobot_write import lerobot_not_held, write_lerobot, write_lerobot_parts
from unbraid.demos.formats.notes import bounds_from, notes_from
from unbraid.demos.left_out import with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of

__all__ = ["FORMAT", "read_lerobot", "read_lerobot_parts", "write_lerobot", "write_lerobot_parts"]

_OBSERVATIONS = ("observation.state", "observation.environment_state")
_BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "next.done")
_REMEDY = "Restore it from a copy, or write it again."


def _recognise(path: Path) -> str | None:
    try:
        info = json.loads((path / "meta" / "info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    version = info.get("codebase_version") if isinstance(info, dict) and "features" in info else None
    return None if version is None else f"`meta/info.json` has codebase_version {version}"


@dataclass(frozen=True)
class _Set:
    """What a data set says of itself, and what of it is read.

    Attributes:
        path: its folder.
        features: all of them, by name.
        observation: the features that make up an observation.
        files: for every data file, its path and the numbers of its first episode and of the one after its last.
        lengths: (episode,) the frames of each.
        tasks: the text of each task by its index, or None where they are not asked for, or no file says them.
        ours: what stands in ``meta/unbraid/demos.json``, or None.
        facts: what the reader leaves in `Demos.facts`.
    """

    path: Path
    features: Mapping[str, Mapping[str, Any]]
    observation: tuple[str, ...]
    files: tuple[tuple[Path, int, int], ...]
    lengths: Int[np.ndarray, "episode"]
    tasks: Mapping[int, str] | None
    ours: dict[str, Any] | None
    facts: dict[str, Any]


def read_lerobot(path: Path, options: ReadOptions) -> Demos:
    """Demonstrations from a LeRobotDataset v3, in memory.

    Args:
        path: its folder.
        options: `obs` and `labels_from`.

    Raises:
        DataError: missing, truncated, of another version; frames that do not fit ``meta/episodes``; labels that change
            within an episode.
        ConfigError: `obs` names what is not there or no numbers, or pyarrow is missing.
    """
    return joined_parts(read_lerobot_parts(path, options, PART_STEPS))


def read_lerobot_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """The same in parts of whole episodes, of about `n_steps` steps; one data file is held at a time."""
    require_pyarrow("lerobot")
    described = _describe(path, options)
    labels, label_names = _labels(described, options)
    final = None if described.ours is None else _final(described)
    names = _names(described, options)
    for file, first, last in described.files:
        frames = _frames(described, file, first, last)
        starts = np.concatenate([[0], np.cumsum(described.lengths[first:last])])
        for begin, end in spans_of(described.lengths[first:last], n_steps):
            rows, here = slice(int(starts[begin]), int(starts[end])), slice(first + begin, first + end)
            arrays = {name: values[rows] for name, values in frames.items()}
            if labels is not None:
                arrays["labels"] = labels[here]
            lengths = described.lengths[here]
            if final is None:
                arrays = without_last_actions(arrays, lengths)
                if len(arrays["lengths"]) == 0:
                    continue
            else:
                arrays |= {n: final[n][here] for n in ("terminated", "seeds") if n in final}
                arrays |= {n: final[n] for n in ("action_low", "action_high") if n in final}
                arrays["observations"] = np.insert(
                    arrays["observations"], np.cumsum(lengths), final["rows"][here], axis=0
                )
                arrays["lengths"] = lengths
            yield demos_from_arrays(
                arrays, source=path, label_names=label_names, observation_names=names, facts=described.facts
            )


def _describe(path: Path, options: ReadOptions) -> _Set:
    where = path / "meta" / "info.json"
    info = read_json(where, error=DataError, remedy="Give the folder of a LeRobotDataset.")
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"v3(\.\d+)*", version):
        raise DataError(f"`codebase_version` of {where} must be v3.0; got {version!r}. {_remedy_for(version)}")
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(f, dict) and "dtype" in f for f in features.values()):
        raise DataError(f"`features` of {where} must describe each feature, with its dtype; it does not. {_REMEDY}")
    if "action" not in features:
        raise DataError(f"{where} must have the feature `action`; it has {', '.join(features)}. Give another set.")
    ours_at = path / "meta" / "unbraid" / "demos.json"
    observation = _observation(features, options, where, ours=ours_at.is_file())
    files, lengths = _episodes(path, info)
    by_label = options.labels_from == "task_index"
    if ours_at.is_file():
        ours = read_json(ours_at, error=DataError, remedy=_REMEDY)
        notes = notes_from(json.dumps(ours), where="demos.json", source=ours_at.parent)
        tasks = _tasks(path) if by_label else None
        return _Set(path, features, observation, files, lengths, tasks, {**ours, **notes}, notes["facts"])
    if not (lengths > 1).any():
        raise DataError(
            f"{path} must hold an episode of at least 2 frames, as LeRobot keeps no final observations; its "
            f"{len(lengths)} episodes have fewer. Give another set."
        )
    read = (*observation, "action", "next.reward", "next.cost")
    about = {
        "fps": info.get("fps"),
        "robot_type": info.get("robot_type"),
        "features": {name: feature for name, feature in features.items() if name in read},
        "stats": _statistics(path, read),
    }
    facts: dict[str, Any] = {
        "lerobot": about,
        "dropped_last_actions": True,
        "dropped_one_step_episodes": int((lengths < 2).sum()),
    }
    facts |= _left_out([name for name in features if name not in read and name not in _BOOKKEEPING], features)
    tasks: Mapping[int, str] | None = None
    try:
        tasks = _tasks(path)
    except DataError as error:
        if by_label:
            raise  # demonstrations can be read without tasks; labels of them cannot
        facts = with_left_out(facts, f"Tasks are not read: {error}")
    if tasks is not None and len(tasks) == 1:
        facts = {**facts, "lerobot": {**about, "tasks": list(tasks.values())}}
    elif tasks and not by_label:
        remedy = "--labels-from task_index keeps them where each episode has one"
        facts = with_left_out(facts, f"The texts of {len(tasks)} tasks are not read: {remedy}.")
    return _Set(path, features, observation, files, lengths, tasks, None, facts)


def _remedy_for(version: object) -> str:
    number = re.match(r"v(\d+)", version) if isinstance(version, str) else None
    if number is None:
        return "Give the folder of a LeRobotDataset."
    if int(number[1]) > 3:
        return "That is newer than what is read here: use a newer unbraid, or a copy of the set in v3.0."
    first = "" if str(version).startswith("v2.1") else " It takes v2.1: an older LeRobot brings earlier sets to that."
    script = "lerobot.datasets.v30.convert_dataset_v21_to_v30"
    return f"Convert the set with LeRobot: `python -m {script} --repo-id=NAME`.{first}"


def _observation(
    features: Mapping[str, Mapping[str, Any]], options: ReadOptions, where: Path, *, ours: bool
) -> tuple[str, ...]:
    usable = [name for name, feature in features.items() if _is_vector(feature)]
    if not options.obs:
        asked = [name for name in usable if name.startswith("observation.")] if ours else _OBSERVATIONS
        chosen = tuple(name for name in asked if name in usable)
        if not chosen:
            raise DataError(
                f"{where} must have observation.state or observation.environment_state; it has {', '.join(features)}. "
                "Choose what to read with --obs."
            )
        return chosen
    for name in options.obs:
        if name not in usable:
            raise ConfigError(
                f"--obs must name features of {where} that are rows of numbers, {', '.join(usable)}; got {name!r}. "
                "Choose among these."
            )
    return options.obs


def _is_vector(feature: Mapping[str, Any]) -> bool:
    shape = feature.get("shape")
    numbers = re.fullmatch(r"(float|int|uint)\d+|bool", str(feature["dtype"]))
    return numbers is not None and isinstance(shape, list) and len(shape) <= 1


def _left_out(names: Sequence[str], features: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    seen = [name for name in names if features[name]["dtype"] in ("image", "video")]
    others = [name for name in names if name not in seen]
    said = [f"Images and videos are not read: {', '.join(seen)}."] if seen else []
    said += [f"These features are not read: {', '.join(others)}."] if others else []
    return {"left_out": said} if said else {}


def _statistics(path: Path, names: Sequence[str]) -> dict[str, Any]:
    where = path / "meta" / "stats.json"
    stats = read_json(where, error=DataError, remedy=_REMEDY) if where.is_file() else {}
    return {name: stats[name] for name in names if name in stats} if isinstance(stats, dict) else {}


def _episodes(
    path: Path, info: Mapping[str, Any]
) -> tuple[tuple[tuple[Path, int, int], ...], Int[np.ndarray, "episode"]]:
    """For every data file, its path and its episodes; and (episode,) the number of frames of each."""
    where = path / "meta" / "episodes"
    files = sorted(where.glob("*/*.parquet"))
    if not files:
        raise DataError(f"{where} must hold Parquet files on the episodes; it holds none. {_REMEDY}")
    wanted = ("episode_index", "length", "data/chunk_index", "data/file_index")
    table = opened_arrow(files, "parquet", wanted)
    index, lengths, chunks, numbers = (numbers_of(table, (name,), where=str(where)) for name in wanted)
    totals = (info.get("total_episodes"), info.get("total_frames"))
    if not np.array_equal(index, np.arange(len(index))) or (lengths < 1).any() or (len(index), lengths.sum()) != totals:
        raise DataError(
            f"{where} must number the episodes from 0, {totals[0]} of {totals[1]} frames in all and none without "
            f"frames, as meta/info.json says; it holds {len(index)} of {lengths.sum()} frames. {_REMEDY}"
        )
    pattern = info.get("data_path")
    cuts = np.flatnonzero((np.diff(chunks) != 0) | (np.diff(numbers) != 0)) + 1
    starts = [0, *cuts.tolist(), len(index)]
    listed: list[tuple[Path, int, int]] = []
    for first, last in pairwise(starts):
        try:
            name = str(pattern).format(chunk_index=int(chunks[first]), file_index=int(numbers[first]))
        except (KeyError, IndexError, ValueError):
            name = ""
        below = PurePosixPath(name)  # as it is spelt: files may be links, as those of the Hub's cache are
        if not name.endswith(".parquet") or below.is_absolute() or ".." in below.parts or "\\" in name:
            raise DataError(
                f"`data_path` of {path / 'meta' / 'info.json'} must be "
                f"data/chunk-{{chunk_index:03d}}/file-{{file_index:03d}}"
                f".parquet, or the like below this folder; got {pattern!r}. {_REMEDY}"
            )
        listed.append((path / name, first, last))
    return tuple(listed), lengths.astype(np.int64)


def _frames(described: _Set, file: Path, first: int, last: int) -> dict[str, np.ndarray]:
    """The frames of one data file, by our names."""
    names = {"actions": "action", "rewards": "next.reward", "costs": "next.cost"}
    names = {ours: theirs for ours, theirs in names.items() if theirs in described.features}
    wanted = dict.fromkeys((*described.observation, *names.values(), "episode_index", "frame_index"))
    table = _opened(file, tuple(wanted))
    lengths = described.lengths[first:last]
    expected = np.repeat(np.arange(first, last), lengths)
    within = np.arange(len(expected)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found = numbers_of(table, ("episode_index",), where=str(file)), numbers_of(table, ("frame_index",), where=str(file))
    if not np.array_equal(found[0], expected) or not np.array_equal(found[1], within):
        raise DataError(
            f"{file} must hold the {len(expected)} frames of episodes {first} to {last - 1} in order, as "
            f"meta/episodes says; it holds {table.num_rows} frames, of other episodes or in another order. {_REMEDY}"
        )
    frames = {ours: numbers_of(table, (theirs,), where=str(file)) for ours, theirs in names.items()}
    frames["actions"] = frames["actions"].reshape(table.num_rows, -1)
    frames["observations"] = columns_of(table, described.observation, where=str(file))
    return frames


def _opened(file: Path, names: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    with saying_what_is_damaged(file, "parquet"):
        there = pq.read_schema(file).names
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"{file} must have a column `{missing[0]}`, as meta/info.json says; it has {', '.join(there)}. {_REMEDY}"
        )
    return opened_arrow([file], "parquet", names)


def _final(described: _Set) -> dict[str, np.ndarray]:
    """What we keep of every episode in ``meta/unbraid``: ``rows`` are the final observations."""
    file = described.path / "meta" / "unbraid" / "episodes.parquet"
    table = _opened(file, (*described.observation, "length", "terminated", "seed"))
    if not np.array_equal(numbers_of(table, ("length",), where=str(file)), described.lengths):
        raise DataError(
            f"{file} must belong to these episodes; it has others, so the set was changed after unbraid wrote it. "
            f"Remove {file.parent} to read it as LeRobot left it, without final observations."
        )
    final = {"rows": columns_of(table, described.observation, where=str(file))}
    final["terminated"] = numbers_of(table, ("terminated",), where=str(file)).astype(bool)
    if table.column("seed").null_count == 0:
        final["seeds"] = numbers_of(table, ("seed",), where=str(file))
    return final | bounds_from(described.ours or {})


def _names(described: _Set, options: ReadOptions) -> tuple[str, ...]:
    if described.ours is not None and not options.obs:
        return described.ours["observation_names"]
    return tuple(f"{key}[{name}]" for key in described.observation for name in _names_of(described.features[key]))


def _names_of(feature: Mapping[str, Any]) -> list[str]:
    """The names of a feature's columns, however LeRobot tells them; their numbers where it does not."""
    size = int(np.prod(feature["shape"], dtype=np.int64))
    names = feature.get("names")
    if isinstance(names, dict):
        lists = [value for value in names.values() if isinstance(value, list)]
        names = [name for value in lists for name in value] if len(lists) == len(names) else list(names)
    return (
        [str(name) for name in names]
        if isinstance(names, list) and len(names) == size
        else [str(i) for i in range(size)]
    )


def _labels(described: _Set, options: ReadOptions) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(episode,) who acted, and their names; the ones that we wrote ourselves, where nothing else is asked for."""
    ours = described.ours or {}
    key = options.labels_from or ("task_index" if ours.get("has_labels") else None)
    if key is None:
        return None, tuple(ours.get("label_names", ()))
    usable = [name for name, f in described.features.items() if _is_vector(f) and np.prod(f["shape"], dtype=int) == 1]
    if options.labels_from is not None and key not in usable:
        raise ConfigError(
            f"--labels-from must name a feature of {described.path} that is one number a frame; got {key!r}. Choose "
            f"among {', '.join(usable)}."
        )
    parts: list[np.ndarray] = []
    for file, first, last in described.files:
        values = numbers_of(_opened(file, (key,)), (key,), where=str(file))
        lengths = described.lengths[first:last]
        if len(values) != lengths.sum() or values.ndim != 1:
            raise DataError(
                f"`{key}` of {file} must be one number for each of {lengths.sum()} frames; it is not. {_REMEDY}"
            )
        starts = np.cumsum(lengths) - lengths
        changes = values[np.repeat(starts, lengths)] != values
        if changes.any():
            episode = first + int(np.searchsorted(starts, int(changes.argmax()), side="right")) - 1
            raise DataError(
                f"`{key}` of {described.path} must stay the same within an episode to be its label; it changes in "
                f"episode {episode}. Name another feature with --labels-from, or split the episode."
            )
        parts.append(values[starts])
    return _named(described, key, np.concatenate(parts), options)


def _named(
    described: _Set, key: str, values: np.ndarray, options: ReadOptions
) -> tuple[Int[np.ndarray, "episode"], tuple[str, ...]]:
    if options.labels_from is None and described.ours is not None:
        return values.astype(np.int64), described.ours["label_names"]
    if key != "task_index":
        distinct, labels = np.unique(values, return_inverse=True)
        return labels.astype(np.int64), tuple(str(value) for value in distinct.tolist())
    file, tasks = described.path / "meta" / "tasks.parquet", described.tasks
    if tasks is None:
        raise DataError(f"{file} must exist; there is no such file. {_REMEDY}")
    unnamed = [task for task in np.unique(values).tolist() if task not in tasks]
    if unnamed:
        raise DataError(f"{file} must name every task; task {unnamed[0]} has no text. {_REMEDY}")
    places = {task: place for place, task in enumerate(tasks)}  # a set that was cut may number them with gaps
    return np.array([places[task] for task in values.tolist()], dtype=np.int64), tuple(tasks.values())


def _tasks(path: Path) -> dict[int, str] | None:
    """The text of each task by its index, rising; None where no file says them."""
    file = path / "meta" / "tasks.parquet"
    if not file.is_file():
        return None
    table = opened_arrow([file], "parquet")
    texts = [name for name in table.column_names if str(table.schema.field(name).type) in ("string", "large_string")]
    if "task_index" not in table.column_names or len(texts) != 1:
        raise DataError(
            f"{file} must have a task_index and a text for each; it has {', '.join(table.column_names)}. {_REMEDY}"
        )
    indices = numbers_of(table, ("task_index",), where=str(file)).tolist()
    if len(set(indices)) < len(indices):
        raise DataError(f"{file} must have one text for each task_index; one comes twice. {_REMEDY}")
    return dict(sorted(zip(indices, table.column(texts[0]).to_pylist(), strict=True)))


FORMAT = Format(
    name="lerobot",
    title="a LeRobotDataset",
    endings=(),
    options=frozenset({"labels_from", "obs"}),
    recognise=_recognise,
    read=read_lerobot,
    write=write_lerobot,
    not_held=lerobot_not_held,
    read_parts=read_lerobot_parts,
    write_parts=write_lerobot_parts,
)
