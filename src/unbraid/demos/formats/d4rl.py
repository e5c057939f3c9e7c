"""D4RL's flat HDF5: every step of every episode in one table, ends marked by `terminals` and `timeouts`.

What `read_d4rl` takes, N steps in all:

- ``observations`` (N, obs) and ``actions`` (N, act): row t holds the state and the action taken on it.
- ``terminals`` (N,): the world ended the episode with this step. ``timeouts`` (N,): a time limit did; without them,
  say `max_episode_steps`. An episode that the end of the file cuts off counts as one that a time limit ended.
- ``next_observations`` (N, obs), where present: gives each episode its final observation. **Where they are absent, each
  episode's last observation becomes its final one and its last action, reward and cost are left out**; as that was
  the step that ended it, no episode of such a file counts as `terminated`. Episodes of a single step vanish by it.
  `facts` says what was left out.
- optional: ``rewards`` (N,), and costs as ``costs``, ``cost`` or ``infos/cost`` (N,).

`write_d4rl` writes ``next_observations``, and under ``unbraid/`` what D4RL has no place for (seeds, labels, bounds,
names, facts), so that nothing is lost. D4RL cannot hold an episode of no steps.

Source: Fu et al., "D4RL: Datasets for Deep Data-Driven Reinforcement Learning" (2020), and its HDF5 files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.runs import new_file
from unbraid.demos.arrays import demos_from_arrays, names_from, require_dtype
from unbraid.demos.episodes import Demos

__all__ = ["read_d4rl", "write_d4rl"]

_VERSION = 1
_REMEDY = "Restore it from a copy, or write it again."
_COSTS = ("costs", "cost", "infos/cost")
_TABLES = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations", *_COSTS)
_OURS = ("seeds", "labels", "action_low", "action_high")


def write_d4rl(demos: Demos, path: Path) -> Path:
    """Writes one HDF5 file in D4RL's layout, whole or not at all.

    Raises:
        DataError: an episode has no steps, or `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    import h5py

    if (demos.lengths == 0).any():
        raise DataError(
            f"Every episode must have a step to be written as D4RL; episode {int((demos.lengths == 0).argmax())} has "
            "none. Leave it out with `select`."
        )
    try:
        meta = json.dumps(
            {
                "version": _VERSION,
                "label_names": list(demos.label_names),
                "observation_names": list(demos.observation_names),
                "facts": demos.facts,
            },
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"`facts` must be JSON values; {error}. Keep to text, finite numbers, lists, dicts.") from None
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
    tables |= {f"unbraid/{name}": getattr(demos, name) for name in _OURS}
    with new_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, values in tables.items():
            if values is not None:
                file.create_dataset(name, data=values)
        file.require_group("unbraid").create_dataset("meta", data=np.frombuffer(meta.encode(), dtype=np.uint8))
    return path


def read_d4rl(path: Path, *, max_episode_steps: int | None = None) -> Demos:
    """Demonstrations from an HDF5 file in D4RL's flat layout, in memory.

    Args:
        path: the ``.hdf5`` file.
        max_episode_steps: the time limit that ended the episodes, for files without `timeouts`.

    Raises:
        DataError: missing, truncated, of another layout; tables of different lengths; ends that are not marked.
        ConfigError: `max_episode_steps` is less than 1.
    """
    tables, meta = _read_tables(path)
    observations = require_dtype("observations", tables["observations"], path)
    ends, terminated = _ends(tables, path, max_episode_steps)
    lengths = np.diff(ends, prepend=0)
    arrays = {"actions": tables["actions"], "terminated": terminated}
    costs = next((tables[name] for name in _COSTS if name in tables), None)
    arrays |= {name: v for name, v in (("rewards", tables.get("rewards")), ("costs", costs)) if v is not None}
    arrays |= {name: tables[f"unbraid/{name}"] for name in _OURS if f"unbraid/{name}" in tables}
    facts = dict(meta["facts"])
    if "next_observations" in tables:
        following = require_dtype("next_observations", tables["next_observations"], path)
        if following.shape != observations.shape:
            raise DataError(
                f"`next_observations` of {path} must be shaped like `observations`, {observations.shape}; got "
                f"{following.shape}. Repair the file, or leave them out."
            )
        _require_following(observations, following, ends, path)
        arrays["observations"] = _with_final(observations, following, ends)
        arrays["lengths"] = lengths
    else:
        arrays = _without_last_actions(arrays, ends) | {"observations": observations[_in_longer(lengths)]}
        facts |= {"dropped_last_actions": True, "dropped_one_step_episodes": int((lengths < 2).sum())}
        if len(arrays["lengths"]) == 0:
            raise DataError(
                f"{path} must hold an episode of at least 2 steps, as it has no `next_observations`; its "
                f"{len(lengths)} episodes have fewer. Add `next_observations`, or give another file."
            )
    return demos_from_arrays(
        arrays,
        source=path,
        label_names=names_from(meta["label_names"], "unbraid/meta label_names", path),
        observation_names=names_from(meta["observation_names"], "unbraid/meta observation_names", path),
        facts=facts,
    )


def _read_tables(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What of the file we know, by name, and our own words about it; all tables of steps are equally long."""
    import h5py

    if not path.is_file():
        raise DataError(f"{path} must exist; there is no such file. Check the path.")
    try:
        with h5py.File(path, "r") as file:
            _require_flat(sorted(file.keys()), path)
            tables: dict[str, np.ndarray] = {}
            for name in (*_TABLES, *(f"unbraid/{name}" for name in _OURS)):
                node = file.get(name)
                if isinstance(node, h5py.Dataset):
                    tables[name] = np.asarray(node[()])
            node = file.get("unbraid/meta")
            text = bytes(np.asarray(node[()]).astype(np.uint8)) if isinstance(node, h5py.Dataset) else b"{}"
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path} must be a whole HDF5 file; it is truncated or damaged ({error}). {_REMEDY}") from None
    for name in ("observations", "actions"):
        if name not in tables:
            raise DataError(f"`{name}` of {path} must be a table; it is a group. Flatten it to (step, column).")
    n_steps = len(tables["actions"])
    for name, values in tables.items():
        if not name.startswith("unbraid/") and (values.ndim == 0 or len(values) != n_steps):
            raise DataError(
                f"`{name}` of {path} must have {n_steps} rows, one for each row of `actions`; got shape "
                f"{values.shape}. Repair the file, or leave out what does not fit."
            )
    if n_steps == 0:
        raise DataError(f"{path} must hold at least one step; it holds none. Give another file.")
    return tables, _meta(text, path)


def _require_flat(keys: list[str], path: Path) -> None:
    missing = [name for name in ("observations", "actions") if name not in keys]
    if not missing:
        return
    if "data" in keys:
        hint = "It looks like robomimic's layout, which is not read."
    elif any(key.startswith("episode_") for key in keys):
        hint = "It looks like Minari's layout, which is not read."
    else:
        hint = "Rename its tables, or write an .npz."
    raise DataError(
        f"{path} must hold `observations` and `actions` at its top level, as D4RL's files do; `{missing[0]}` is "
        f"missing and it holds {', '.join(keys[:8]) or 'nothing'}. {hint}"
    )


def _meta(text: bytes, path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"`unbraid/meta` of {path} must be JSON text; {error}. {_REMEDY}") from None
    version = meta.get("version", 1) if isinstance(meta, dict) else None
    if not isinstance(version, int) or not 1 <= version <= _VERSION or not isinstance(meta.get("facts", {}), dict):
        raise DataError(
            f"`unbraid/meta` of {path} must have a version up to {_VERSION}; it has {version!r}. Use the unbraid that "
            "wrote it, or a newer one."
        )
    return {"label_names": [], "observation_names": [], "facts": {}} | meta


def _ends(
    tables: Mapping[str, np.ndarray], path: Path, max_episode_steps: int | None
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


def _flags(tables: Mapping[str, np.ndarray], name: str, path: Path) -> Bool[np.ndarray, "step"]:
    if name not in tables:
        raise DataError(f"{path} must hold `{name}`; it is missing. Add it (all zero where the world ends nothing).")
    values = tables[name]
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise DataError(
            f"`{name}` of {path} must be one flag per step; got shape {values.shape} of {values.dtype}. Reshape it."
        )
    return values.astype(bool)


def _require_following(
    observations: Float[np.ndarray, "step obs"],
    following: Float[np.ndarray, "step obs"],
    ends: Int[np.ndarray, "episode"],
    path: Path,
) -> None:
    """Within an episode, the next observation of a step is the observation of the next: else rows are shifted."""
    within = np.ones(len(observations) - 1, dtype=bool)
    within[ends[:-1] - 1] = False
    close = np.isclose(following[:-1], observations[1:], rtol=1e-4, atol=1e-6, equal_nan=True)
    astray = np.flatnonzero(within & ~np.all(close, axis=1))
    if len(astray):
        step = int(astray[0])
        episode = int(np.searchsorted(ends, step, side="right"))
        first = int(ends[episode - 1]) if episode else 0
        raise DataError(
            f"Episode {episode} of {path} must go on where it was: `next_observations` of its step {step - first} must "
            f"be `observations` of step {step - first + 1}; they differ. The rows are shifted, or an end is not "
            "marked in `terminals` or `timeouts`; repair the file."
        )


def _with_final(
    observations: Float[np.ndarray, "step obs"],
    following: Float[np.ndarray, "step obs"],
    ends: Int[np.ndarray, "episode"],
) -> Float[np.ndarray, "row obs"]:
    """(step + episode, obs): each episode's observations with its final one behind them."""
    return np.insert(observations, ends, following[ends - 1], axis=0)


def _in_longer(lengths: Int[np.ndarray, "episode"]) -> Bool[np.ndarray, "step"]:
    """(step,) whether each step belongs to an episode of at least two."""
    return np.repeat(lengths > 1, lengths)


def _without_last_actions(arrays: Mapping[str, np.ndarray], ends: Int[np.ndarray, "episode"]) -> dict[str, np.ndarray]:
    """T observations and T actions an episode -> T and T - 1, the episodes of one step left out."""
    lengths = np.diff(ends, prepend=0)
    kept_steps, kept = np.ones(int(lengths.sum()), dtype=bool), lengths > 1
    kept_steps[ends - 1] = False
    by_step = {name: arrays[name][kept_steps] for name in ("actions", "rewards", "costs") if name in arrays}
    by_episode = {name: arrays[name][kept] for name in ("seeds", "labels") if name in arrays}
    bounds = {name: arrays[name] for name in ("action_low", "action_high") if name in arrays}
    ended = {"lengths": lengths[kept] - 1, "terminated": np.zeros(int(kept.sum()), dtype=bool)}
    return by_step | by_episode | bounds | ended
