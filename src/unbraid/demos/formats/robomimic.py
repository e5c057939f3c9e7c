"""robomimic's HDF5: a group for each episode, with a table for each kind of observation.

What `read_robomimic` takes:

- ``data/demo_0``, ``data/demo_1``, ...: an episode each, in the order of their numbers; ``mask/NAME`` lists the
  episodes of a split, which the option `mask` chooses.
- ``actions`` (T, act); ``obs/KEY`` (T, ...) for each kind of observation, which the option `obs` chooses; by default
  all vectors, in alphabetical order. They are laid side by side, with a name for every column; a table in a group of
  its own is called ``GROUP/KEY``. Images are left out, and refused where they are asked for.
- ``next_obs/KEY`` (T, ...): gives each episode its final observation. **Where they are absent, each episode's last
  action, reward and cost are left out**, as in `unbraid.demos.formats.d4rl`.
- optional: ``rewards``, ``costs`` (T,), ``dones`` (T,), whose last one says whether the world ended the episode.
- the attribute ``env_args`` of ``data``: kept in `facts`.

`write_robomimic` writes ``obs`` and ``next_obs`` under the keys that the demonstrations came with, or as ``flat``; and
under ``unbraid/`` what robomimic has no place for. robomimic cannot hold an episode of no steps.

Source: Mandlekar et al., "What Matters in Learning from Offline Human Demonstrations for Robot Manipulation" (2021),
and the documentation of its data sets (version 0.3).
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import DataError
from unbraid.core.runs import new_file
from unbraid.demos.arrays import demos_from_arrays, require_dtype, without_last_actions
from unbraid.demos.episodes import Demos
from unbraid.demos.fields import said_lacking
from unbraid.demos.formats.archive import observations_of, said_unread
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.hdf5 import (
    appended,
    is_hdf5,
    new_hdf5,
    opened_hdf5,
    read_rows,
    read_text,
    require_following,
    require_steps,
)
from unbraid.demos.formats.notes import Notes, beside_the_format, notes_from, notes_text
from unbraid.demos.left_out import with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of

__all__ = [
    "FORMAT",
    "read_robomimic",
    "read_robomimic_parts",
    "recognise_robomimic",
    "write_robomimic",
    "write_robomimic_parts",
]

_OF_SOME = {"rewards": "Rewards", "costs": "Costs", "next_obs": "Final observations (`next_obs`)"}
"""What is kept where all episodes have it."""
_DEMO = re.compile(r"(?:demo|episode)_(\d+)$")
_OF_EPISODES, _BOUNDS = ("seeds", "labels"), ("action_low", "action_high")
_GYM_ENVIRONMENT = 2  # robomimic's EnvType.GYM_TYPE
_KEYS = "observation_keys"  # in facts: [[key, width], ...]


def write_robomimic(demos: Demos, path: Path) -> Path:
    """Writes one HDF5 file in robomimic's layout, whole or not at all.

    Raises:
        DataError: an episode has no steps, or `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    return write_robomimic_parts(iter([demos]), path)


def write_robomimic_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`write_robomimic` of parts of whole episodes with the same fields, of which one at a time is in memory."""
    n_episodes, n_steps = 0, 0
    with new_file(path) as temporary, new_hdf5(temporary) as (file, require_written):
        data, ours = file.create_group("data"), file.create_group("unbraid")
        for part in parts:
            require_steps(part, "robomimic")
            if n_episodes == 0:
                args = part.facts.get("env_args")
                args = args or {"env_name": part.facts.get("env_id", ""), "type": _GYM_ENVIRONMENT, "env_kwargs": {}}
                ours.create_dataset("meta", data=np.frombuffer(notes_text(part).encode(), dtype=np.uint8))
                data.attrs["env_args"] = json.dumps(args)
                for name in _BOUNDS:
                    if getattr(part, name) is not None:
                        ours.create_dataset(name, data=getattr(part, name))
            for index in range(part.n_episodes):
                _write_episode(data.create_group(f"demo_{n_episodes + index}"), part, index)
                require_written()
            for name in _OF_EPISODES:
                if getattr(part, name) is not None:
                    appended(ours, name, getattr(part, name))
            n_episodes, n_steps = n_episodes + part.n_episodes, n_steps + part.n_steps
        data.attrs["total"] = n_steps
    return path


def _write_episode(group: Any, demos: Demos, index: int) -> None:
    episode = demos.episode(index)
    group.attrs["num_samples"] = episode.n_steps
    first = 0
    for key, width in _keys_of(demos):
        columns = slice(first, first + width)
        group.create_dataset(f"obs/{key}", data=episode.observations[:-1, columns])
        group.create_dataset(f"next_obs/{key}", data=episode.observations[1:, columns])
        first += width
    dones = np.zeros(episode.n_steps, dtype=np.int64)
    dones[-1] = episode.terminated
    tables = {"actions": episode.actions, "rewards": episode.rewards, "costs": episode.costs, "dones": dones}
    for name, values in tables.items():
        if values is not None:
            group.create_dataset(name, data=values)


def _keys_of(demos: Demos) -> list[tuple[str, int]]:
    """The keys that the columns came from, each with its width; ``flat`` where that is not known."""
    told = demos.facts.get(_KEYS)
    try:
        keys = [(str(key), int(width)) for key, width in told] if isinstance(told, list) else []
    except (TypeError, ValueError):
        keys = []
    fit = sum(width for _, width in keys) == demos.observation_size and all(width > 0 for _, width in keys)
    apart = sorted({key for key, _ in keys}) == [key for key, _ in keys]  # as they are read: in alphabetical order
    plain = all(re.fullmatch(r"\w+(/\w+)*", key) for key, _ in keys)
    return keys if keys and fit and apart and plain else [("flat", demos.observation_size)]


def recognise_robomimic(path: Path) -> str | None:
    """What shows robomimic's layout: an HDF5 file with `data/demo_...`, which holds `actions` and `obs`."""
    import h5py

    if not is_hdf5(path):
        return None
    try:
        with opened_hdf5(path) as file:
            data = file.get("data")
            for name in data if isinstance(data, h5py.Group) else ():
                if _DEMO.match(str(name)):
                    return f"an HDF5 file with `data/{name}`"
    except DataError:
        pass
    return None


def read_robomimic(path: Path, options: ReadOptions | None = None) -> Demos:
    """Demonstrations from an HDF5 file in robomimic's layout, in memory.

    Args:
        path: the ``.hdf5`` file.
        options: `obs`, the keys to observe, and `mask`, the split to read.

    Raises:
        DataError: missing, truncated, of another layout; a key or split that is not there; images that were asked for;
            tables that do not fit together.
    """
    return joined_parts(read_robomimic_parts(path, options or ReadOptions(), sys.maxsize))


def read_robomimic_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_robomimic` in parts of whole episodes, of about `n_steps` steps each."""
    with opened_hdf5(path) as file:
        every = _episodes_in(file, path)
        chosen = _chosen(file, every, options.mask, path)
        demos = [(name, file[f"data/{name}"]) for name, at in zip(every, chosen, strict=True) if at]
        lengths = np.array([_n_steps(group, name, path) for name, group in demos], dtype=np.int64)
        keys, images = _observed(demos[0][1], options.obs, demos[0][0], path)
        notes = _notes(file, demos[0][1], keys, options, path)
        whole = all("next_obs" in group for _, group in demos)
        if images and not options.obs:
            notes["facts"] = with_left_out(notes["facts"], f"Images are not read: {', '.join(images)} left out.")
        if not whole:
            left_out = {"dropped_last_actions": True, "dropped_one_step_episodes": int((lengths < 2).sum())}
            notes["facts"] |= left_out
            if not (lengths > 1).any():
                raise DataError(
                    f"{path} must hold an episode of at least 2 steps, as it has no `next_obs`; its {len(lengths)} "
                    "episodes have fewer. Extract the next observations too, or give another file."
                )
        ours: dict[str, np.ndarray] = {}
        for name in (*_OF_EPISODES, *_BOUNDS):
            if f"unbraid/{name}" in file:
                values = read_rows(file[f"unbraid/{name}"], path)
                ours[name] = values[chosen] if name in _OF_EPISODES else values
        fields = ["actions", *(f for f in ("rewards", "costs") if all(f in group for _, group in demos))]
        held = [*demos[0][1], *([] if options.obs else (f"obs/{key}" for key in _tables_below(demos[0][1]["obs"])))]
        seen = {f"obs/{key}" for key in (*keys, *images)}
        told: list[str] = []
        for name, what in _OF_SOME.items():
            told += said_lacking(what, [name in group for _, group in demos])
        told += said_unread(held, {*fields, *seen, *_OF_SOME, "obs", "dones"})
        notes["facts"] = with_left_out(notes["facts"], *told) if told else notes["facts"]
        for first, last in spans_of(lengths, n_steps):
            observations = _observations(demos[first:last], keys, whole, path)
            arrays = {"observations": observations} | _by_step(demos[first:last], fields, path)
            arrays |= {n: v[first:last] if n in _OF_EPISODES else v for n, v in ours.items()}
            if not whole:
                arrays = without_last_actions(arrays, lengths[first:last])
            if len(arrays["lengths"]):
                yield demos_from_arrays(arrays, source=path, **notes)


def _episodes_in(file: Any, path: Path) -> list[str]:
    """The names of the episodes, in the order of their numbers."""
    data = file.get("data")
    names = [name for name in data if _DEMO.match(name)] if data is not None else []
    if not names:
        held = ", ".join(sorted(file.keys())[:8]) or "nothing"
        raise DataError(
            f"{path} must hold episodes as `data/demo_0`, ..., as robomimic's files do; there are none and it holds "
            f"{held}. Give a file of robomimic."
        )
    return sorted(names, key=lambda name: int(name.rsplit("_", 1)[1]))


def _chosen(file: Any, every: Sequence[str], mask: str | None, path: Path) -> np.ndarray:
    """(episode,) whether the split holds each episode; all where no split is asked for."""
    if mask is None:
        return np.ones(len(every), dtype=bool)
    if f"mask/{mask}" not in file:
        there = ", ".join(sorted(file["mask"].keys())) if "mask" in file else "no splits"
        raise DataError(f"{path} must hold the split `mask/{mask}`; it holds {there}. Choose one of them, or leave it.")
    wanted = {n.decode() if isinstance(n, bytes) else str(n) for n in read_rows(file[f"mask/{mask}"], path).tolist()}
    missing = sorted(wanted - set(every))
    if missing or not wanted:
        raise DataError(
            f"`mask/{mask}` of {path} must list episodes of the file; it lists {missing[0] if missing else 'none'}"
            f"{', which is not there' if missing else ''}. Repair the split, or choose another."
        )
    return np.array([name in wanted for name in every])


def _n_steps(group: Any, name: str, path: Path) -> int:
    """T, where the episode has actions and observations."""
    import h5py

    for field, kind in (("actions", h5py.Dataset), ("obs", h5py.Group)):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(field), kind):
            raise DataError(f"`data/{name}` of {path} must hold `{field}`; it is missing. Extract it, or leave it out.")
    actions = group["actions"]
    if not isinstance(actions, h5py.Dataset) or actions.ndim != 2:
        raise DataError(
            f"`data/{name}/actions` of {path} must be a table (step, actuator); got shape "
            f"{getattr(actions, 'shape', None)}. Reshape it."
        )
    if len(actions) == 0:
        raise DataError(
            f"`data/{name}` of {path} must have a step: without one, nothing of it was observed; it has none. Leave it "
            "out with a split (--mask), or remove it."
        )
    return len(actions)


def _tables_below(group: Any) -> dict[str, Any]:
    """Every table of a group by its key; one that stands in a group within it is called ``GROUP/KEY``."""
    found: dict[str, Any] = {}
    for key, node in group.items():
        within = (
            {f"{key}/{name}": table for name, table in _tables_below(node).items()} if hasattr(node, "items") else {}
        )
        found |= within or ({key: node} if hasattr(node, "shape") else {})
    return found


def _observed(group: Any, asked: tuple[str, ...], name: str, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys to observe, and those that hold images."""
    tables = _tables_below(group["obs"])
    vectors = tuple(sorted(k for k, node in tables.items() if node.ndim in (1, 2) and node.dtype.kind in "fiub"))
    images = tuple(sorted(key for key, node in tables.items() if node.ndim > 2))
    for key in asked:
        if key not in tables:
            raise DataError(
                f"`data/{name}/obs` of {path} must hold `{key}`, which was asked for; it holds "
                f"{', '.join(sorted(tables)) or 'nothing'}. Choose among these with --obs."
            )
        if key in images:
            raise DataError(
                f"`data/{name}/obs/{key}` of {path} must be vectors to be observed; it holds images, shape "
                f"{tables[key].shape}. Leave it out of --obs: images are not read in this release."
            )
    if not asked and not vectors:
        raise DataError(
            f"`data/{name}/obs` of {path} must hold vectors; it holds {', '.join(images) or 'nothing'}. Images are not "
            "read in this release; extract low-dimensional observations."
        )
    return asked or vectors, images


def _notes(file: Any, group: Any, keys: tuple[str, ...], options: ReadOptions, path: Path) -> Notes:
    """What unbraid wrote beside the episodes; or, in a file of others, names and facts that follow from it."""
    notes = notes_from(read_text(file.get("unbraid/meta"), path), where="unbraid/meta", source=path)
    if "unbraid/meta" in file and not options.obs:
        return notes
    widths = {key: int(np.prod(group[f"obs/{key}"].shape[1:])) for key in keys}
    _, names = observations_of({key: np.zeros((0, width)) for key, width in widths.items()}, keys, path)
    facts: dict[str, Any] = {_KEYS: [[key, width] for key, width in widths.items()]}
    text = file["data"].attrs.get("env_args")
    if isinstance(text, str | bytes):
        try:
            facts["env_args"] = json.loads(text)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            facts["env_args"] = text.decode(errors="replace") if isinstance(text, bytes) else text
    return {**notes, "observation_names": names, "facts": notes["facts"] | facts}


def _observations(
    demos: Sequence[tuple[str, Any]], keys: tuple[str, ...], whole: bool, path: Path
) -> Float[np.ndarray, "row obs"]:
    """The observations of some episodes end to end, each with its final one where all have `next_obs`."""
    tables: list[np.ndarray] = []
    for name, group in demos:
        n_steps, seen = len(group["actions"]), _table(group, "obs", keys, name, path)
        following = _table(group, "next_obs", keys, name, path) if whole else seen
        for place, values in (("obs", seen), ("next_obs", following)):
            if len(values) != n_steps:
                raise DataError(
                    f"`data/{name}/{place}` of {path} must have {n_steps} rows, one for each action; it has "
                    f"{len(values)}. Repair the episode, or leave it out with a split."
                )
        if tables and seen.shape[1] != tables[0].shape[1]:
            raise DataError(
                f"`data/{name}/obs` of {path} must be as wide as in the other episodes, {tables[0].shape[1]} columns; "
                f"it has {seen.shape[1]}. Choose other keys with --obs."
            )
        if whole:
            number, both = int(name.rsplit("_", 1)[1]), ("obs", "next_obs")
            require_following(seen, following, np.array([n_steps]), path=path, first=number, names=both)
        tables.append(np.concatenate([seen, following[-1:]]) if whole else seen)
    return np.concatenate(tables)


def _by_step(demos: Sequence[tuple[str, Any]], fields: Sequence[str], path: Path) -> dict[str, np.ndarray]:
    """The tables of steps of some episodes end to end, with their lengths and how they ended."""
    of: dict[str, list[np.ndarray]] = {field: [] for field in fields}
    terminated: list[bool] = []
    for name, group in demos:
        n_steps = len(group["actions"])
        for field in fields:
            values = read_rows(group[field], path)
            if values.ndim == 0 or len(values) != n_steps:
                raise DataError(
                    f"`data/{name}/{field}` of {path} must have {n_steps} rows, one for each action; got shape "
                    f"{values.shape}. Repair the episode, or leave it out with a split."
                )
            of[field].append(require_dtype(field, values, path))
        terminated.append("dones" in group and n_steps > 0 and bool(read_rows(group["dones"], path).reshape(-1)[-1]))
    widths = sorted({values.shape[1] for values in of["actions"]})
    if len(widths) > 1:
        raise DataError(f"`actions` of {path} must be equally wide in all episodes; got {widths}. Load them apart.")
    ended = {"lengths": np.array([len(v) for v in of["actions"]], dtype=np.int64), "terminated": np.array(terminated)}
    return ended | {field: np.concatenate(values) for field, values in of.items()}


def _table(group: Any, place: str, keys: tuple[str, ...], name: str, path: Path) -> Float[np.ndarray, "step obs"]:
    """The chosen observations of one episode side by side."""
    held = {key: read_rows(group[place][key], path) for key in keys if key in group[place]}
    try:
        return observations_of(held, keys, path)[0]
    except DataError as error:
        raise DataError(f"`data/{name}/{place}`: {error}") from None


FORMAT = Format(
    name="robomimic",
    title="robomimic's HDF5",
    endings=(),
    options=frozenset({"obs", "mask"}),
    recognise=recognise_robomimic,
    read=read_robomimic,
    write=write_robomimic,
    not_held=lambda demos: beside_the_format(demos, place="the group `unbraid`", held=("costs",)),
    read_parts=read_robomimic_parts,
    write_parts=write_robomimic_parts,
)
