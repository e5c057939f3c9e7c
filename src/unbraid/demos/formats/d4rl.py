"""D4RL's flat HDF5: every step of every episode in one table, ends marked by `terminals` and `timeouts`.

What `read_d4rl` takes, N steps in all:

- ``observations`` (N, obs) and ``actions`` (N, act): row t holds the state and the action taken on it.
- ``terminals`` (N,): the world ended the episode with this step. ``timeouts`` (N,): a time limit did; without them,
  say `max_episode_steps`. An episode that the end of the file cuts off counts as one that a time limit ended.
- ``next_observations`` (N, obs), where present: gives each episode its final observation. **Where they are absent, each
  episode's last observation becomes its final one and its last action, reward and cost are left out**; as that was
  the step that ended it, no episode of such a file counts as `terminated`. Episodes of a single step vanish by it.
  `facts` says what was left out.
- optional: ``rewards`` (N,), and costs as ``costs``, ``cost`` or ``infos/cost`` (N,). `facts["left_out"]` names the
  tables that are not read.

`write_d4rl` writes ``next_observations``, and under ``unbraid/`` what D4RL has no place for (seeds, labels, bounds,
names, facts), so that nothing is lost. D4RL cannot hold an episode of no steps.

Both work in parts: of the tables, only the flags are ever in memory as a whole.

Source: Fu et al., "D4RL: Datasets for Deep Data-Driven Reinforcement Learning" (2020), and its HDF5 files.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.runs import new_file
from unbraid.demos.arrays import demos_from_arrays, one_row, require_dtype, require_flags, without_last_actions
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import said_unread
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.hdf5 import (
    appended,
    is_hdf5,
    names_in,
    new_hdf5,
    opened_hdf5,
    read_rows,
    read_text,
    require_following,
    require_steps,
)
from unbraid.demos.formats.notes import beside_the_format, notes_from, notes_text
from unbraid.demos.left_out import with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of

__all__ = ["FORMAT", "read_d4rl", "read_d4rl_parts", "recognise_d4rl", "write_d4rl", "write_d4rl_parts"]

_COSTS = ("costs", "cost", "infos/cost")
_FLAGS = ("terminals", "timeouts")
_TABLES = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations", *_COSTS)
_OF_EPISODES, _BOUNDS = ("seeds", "labels"), ("action_low", "action_high")


def write_d4rl(demos: Demos, path: Path) -> Path:
    """Writes one HDF5 file in D4RL's layout, whole or not at all.

    Raises:
        DataError: an episode has no steps, or `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    return write_d4rl_parts(iter([demos]), path)


def write_d4rl_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`write_d4rl` of parts of whole episodes with the same fields, of which one at a time is in memory."""
    first: Demos | None = None
    with new_file(path) as temporary, new_hdf5(temporary) as (file, require_written):
        for part in parts:
            require_steps(part, "D4RL")
            for name, values in _tables_of(part).items():
                appended(file, name, values)
            require_written()
            if first is None:
                first = part
                ours = file.require_group("unbraid")
                for name in _BOUNDS:
                    if getattr(part, name) is not None:
                        ours.create_dataset(name, data=getattr(part, name))
                ours.create_dataset("meta", data=np.frombuffer(notes_text(part).encode(), dtype=np.uint8))
    return path


def _tables_of(demos: Demos) -> dict[str, np.ndarray]:
    last = np.zeros(demos.n_steps, dtype=bool)
    last[demos.step_starts[1:] - 1] = True
    terminals = last & demos.terminated[demos.episode_of_step]
    tables: dict[str, np.ndarray | None] = {
        "observations": demos.observations[demos.row_of_step],
        "next_observations": demos.observations[demos.row_of_step + 1],
        "actions": demos.actions,
        "rewards": demos.rewards,
        "costs": demos.costs,
        "terminals": terminals,
        "timeouts": last & ~terminals,
    }
    tables |= {f"unbraid/{name}": getattr(demos, name) for name in _OF_EPISODES}
    return {name: values for name, values in tables.items() if values is not None}


def recognise_d4rl(path: Path) -> str | None:
    """What shows D4RL's layout: an HDF5 file with `observations` and `actions` at its top level."""
    if not is_hdf5(path):
        return None
    try:
        with opened_hdf5(path) as file:
            names = [name for name in ("observations", "actions", "terminals", "timeouts") if name in file]
    except DataError:
        return None
    both = names[:2] == ["observations", "actions"]
    return f"an HDF5 file with {', '.join(f'`{name}`' for name in names)} at its top level" if both else None


def read_d4rl(path: Path, options: ReadOptions | None = None) -> Demos:
    """Demonstrations from an HDF5 file in D4RL's flat layout, in memory.

    Args:
        path: the ``.hdf5`` file.
        options: `max_episode_steps`, the time limit that ended the episodes, for files without `timeouts`.

    Raises:
        DataError: missing, truncated, of another layout; tables of different lengths; ends that are not marked.
        ConfigError: `max_episode_steps` is less than 1.
    """
    return joined_parts(read_d4rl_parts(path, options or ReadOptions(), sys.maxsize))


def read_d4rl_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_d4rl` in parts of whole episodes, of about `n_steps` steps each."""
    with opened_hdf5(path) as file:
        tables = _tables_in(file, path)
        ends, terminated = _ends(tables, path, options.max_episode_steps)
        lengths = np.diff(ends, prepend=0)
        notes = notes_from(read_text(file.get("unbraid/meta"), path), where="unbraid/meta", source=path)
        ours = {n: read_rows(file[f"unbraid/{n}"], path) for n in (*_OF_EPISODES, *_BOUNDS) if f"unbraid/{n}" in file}
        unread = said_unread(names_in(file, path), {*tables})
        if "timeouts" in tables and options.max_episode_steps is not None:
            unread = (*unread, "max_episode_steps is not used: `timeouts` mark where time limits ended episodes.")
        notes["facts"] = with_left_out(notes["facts"], *unread) if unread else notes["facts"]
        if "next_observations" not in tables:
            if not (lengths > 1).any():
                raise DataError(
                    f"{path} must hold an episode of at least 2 steps, as it has no `next_observations`; its "
                    f"{len(lengths)} episodes have fewer. Add `next_observations`, or give another file."
                )
            left_out = {"dropped_last_actions": True, "dropped_one_step_episodes": int((lengths < 2).sum())}
            notes["facts"] |= left_out
        for first, last in spans_of(lengths, n_steps):
            rows = slice(int(ends[first - 1]) if first else 0, int(ends[last - 1]))
            arrays = {name: read_rows(table, path, rows) for name, table in tables.items() if name not in _FLAGS}
            costs = [arrays.pop(name) for name in _COSTS if name in arrays]
            arrays |= {"costs": costs[0]} if costs else {}
            arrays |= {n: v[first:last] if n in _OF_EPISODES else v for n, v in ours.items()}
            arrays |= {"lengths": lengths[first:last], "terminated": terminated[first:last]}
            arrays = _with_final_observations(arrays, path, first)
            if len(arrays["lengths"]):
                yield demos_from_arrays(arrays, source=path, **notes)


def _with_final_observations(arrays: dict[str, np.ndarray], path: Path, first: int) -> dict[str, np.ndarray]:
    """N rows of observations -> one row more for each episode, or one action fewer where nothing followed was kept."""
    lengths = arrays["lengths"]
    observations = require_dtype("observations", arrays["observations"], path)
    if "next_observations" not in arrays:
        return without_last_actions(arrays | {"observations": observations}, lengths)
    following = require_dtype("next_observations", arrays.pop("next_observations"), path)
    if following.shape != observations.shape:
        raise DataError(
            f"`next_observations` of {path} must be shaped like `observations`, {observations.shape}; got "
            f"{following.shape}. Repair the file, or leave them out."
        )
    require_following(observations, following, lengths, path=path, first=first)
    return arrays | {"observations": _with_final(observations, following, np.cumsum(lengths))}


def _tables_in(file: Any, path: Path) -> dict[str, Any]:
    """The tables of steps that we know, by name, unread; all are equally long."""
    import h5py

    missing = [name for name in ("observations", "actions") if name not in file]
    if missing:
        held = ", ".join(sorted(file.keys())[:8]) or "nothing"
        raise DataError(
            f"{path} must hold `observations` and `actions` at its top level, as D4RL's files do; `{missing[0]}` is "
            f"missing and it holds {held}. Rename its tables, or write an .npz."
        )
    tables = {name: file[name] for name in _TABLES if isinstance(file.get(name), h5py.Dataset)}
    for name in ("observations", "actions"):
        if name not in tables:
            raise DataError(f"`{name}` of {path} must be a table; it is a group. Flatten it to (step, column).")
    n_steps = len(tables["actions"]) if tables["actions"].ndim else 0
    for name, table in tables.items():
        if table.ndim == 0 or len(table) != n_steps:
            raise DataError(
                f"`{name}` of {path} must have {n_steps} rows, one for each row of `actions`; got shape "
                f"{table.shape}. Repair the file, or leave out what does not fit."
            )
    if n_steps == 0:
        raise DataError(f"{path} must hold at least one step; it holds none. Give another file.")
    return tables


def _ends(
    tables: Mapping[str, Any], path: Path, max_episode_steps: int | None
) -> tuple[Int[np.ndarray, "episode"], Bool[np.ndarray, "episode"]]:
    """(episode,) the number of steps up to the end of each episode, and whether the world ended it."""
    n_steps = len(tables["actions"])
    terminals = _flags(tables, "terminals", path)
    if "timeouts" in tables:
        marked = terminals | _flags(tables, "timeouts", path)
    elif max_episode_steps is None:
        raise DataError(
            f"{path} must mark where time limits ended its episodes; it has no `timeouts`. Pass max_episode_steps "
            "(--max-episode-steps), the limit that the data were recorded under."
        )
    elif max_episode_steps < 1:
        raise ConfigError(f"max_episode_steps must be at least 1; got {max_episode_steps}. Pass the recording's limit.")
    else:
        marked = terminals
    ends = np.flatnonzero(marked) + 1
    if len(ends) == 0 or ends[-1] != n_steps:
        ends = np.append(ends, n_steps)
    if "timeouts" not in tables and max_episode_steps is not None:
        lengths = np.diff(ends, prepend=0)
        counts = -(-lengths // max_episode_steps)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        ends = np.minimum(np.repeat(ends - lengths, counts) + within * max_episode_steps, np.repeat(ends, counts))
    return ends.astype(np.int64), terminals[ends - 1]


def _flags(tables: Mapping[str, Any], name: str, path: Path) -> Bool[np.ndarray, "step"]:
    if name not in tables:
        raise DataError(f"{path} must hold `{name}`; it is missing. Add it (all zero where the world ends nothing).")
    values = one_row(read_rows(tables[name], path))
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise DataError(
            f"`{name}` of {path} must be one flag per step; got shape {values.shape} of {values.dtype}. Reshape it."
        )
    require_flags(values, name, path)
    return values.astype(bool)


def _with_final(
    observations: Float[np.ndarray, "step obs"],
    following: Float[np.ndarray, "step obs"],
    ends: Int[np.ndarray, "episode"],
) -> Float[np.ndarray, "row obs"]:
    """(step + episode, obs): each episode's observations with its final one behind them."""
    return np.insert(observations, ends, following[ends - 1], axis=0)


FORMAT = Format(
    name="d4rl",
    title="D4RL's flat HDF5",
    endings=(".hdf5", ".h5", ".hdf"),
    options=frozenset({"max_episode_steps"}),
    recognise=recognise_d4rl,
    read=read_d4rl,
    write=write_d4rl,
    not_held=lambda demos: beside_the_format(demos, place="the group `unbraid`", held=("costs",)),
    read_parts=read_d4rl_parts,
    write_parts=write_d4rl_parts,
)
