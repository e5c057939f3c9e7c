"""OGBench's NPZ: every state of every episode in one table, with an action of no meaning in each episode's last row.

What `read_ogbench` takes, N rows in all:

- ``observations`` (N, obs), or the keys that the option `obs` names, side by side (``qpos``, ``qvel``, ...): the final
  observation of each episode included.
- ``actions`` (N, act): the one in an episode's last row was never taken, and is not read; neither are rewards there.
- ``terminals`` (N,): marks each episode's last row. It says nothing of why the episode ended, so none counts as
  `terminated`.
- optional: ``rewards``, ``costs`` (N,).

`write_ogbench` writes zeros as the last action, reward and cost of each episode, and under ``unbraid/`` what OGBench
has no place for.

Source: Park et al., "OGBench: Benchmarking Offline Goal-Conditioned RL" (2024), `ogbench/utils.py`, which makes
`next_observations` by shifting the rows by one within each episode.
"""

from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_file
from unbraid.demos.arrays import STEP_ARRAYS, demos_from_arrays
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import archive_arrays, keys_of, named, observations_of, require_keys
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.notes import beside_the_format, notes_from, notes_text
from unbraid.demos.options import ReadOptions

__all__ = ["FORMAT", "read_ogbench", "recognise_ogbench", "write_ogbench"]

_OURS = ("terminated", "seeds", "labels", "action_low", "action_high")


def write_ogbench(demos: Demos, path: Path) -> Path:
    """Writes one uncompressed archive in OGBench's layout, whole or not at all.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    n_rows = len(demos.observations)
    arrays = {"observations": demos.observations, "terminals": np.zeros(n_rows, dtype=bool)}
    arrays["terminals"][demos.row_starts[1:] - 1] = True
    for name in STEP_ARRAYS:
        values = getattr(demos, name)
        if values is not None:
            arrays[name] = np.zeros((n_rows, *values.shape[1:]), dtype=values.dtype)
            arrays[name][demos.row_of_step] = values
    ours = {f"unbraid/{name}": getattr(demos, name) for name in _OURS}
    arrays |= {name: values for name, values in ours.items() if values is not None}
    meta = {"unbraid/meta": np.array(notes_text(demos))}
    with new_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **meta)
    return path


def recognise_ogbench(path: Path) -> str | None:
    """What shows OGBench's layout: an archive with `actions` and `terminals`, and nothing else that ends episodes."""
    keys = keys_of(path) or ()
    other = named(keys, "lengths") or named(keys, "episode_ends") or named(keys, "next_observations")
    if other is not None or "timeouts" in keys or not {"actions", "terminals"} <= set(keys):
        return None
    return "an .npz archive with `actions` and `terminals`, and no lengths"


def read_ogbench(path: Path, options: ReadOptions | None = None) -> Demos:
    """Demonstrations from an archive in OGBench's layout, in memory.

    Args:
        path: the ``.npz`` file.
        options: `obs`, the keys to observe.

    Raises:
        DataError: missing, truncated, of another layout; images; tables of different lengths; ends that are not marked.
    """
    options = options or ReadOptions()
    keys, observed = keys_of(path) or (), options.obs or ("observations",)
    wanted = {*observed, *STEP_ARRAYS, "terminals", "unbraid/meta", *(f"unbraid/{name}" for name in _OURS)}
    held = archive_arrays(path, wanted)  # no others: they may be large, or Python objects
    for name in ("actions", "terminals"):
        if name not in held:
            raise DataError(
                f"{path} must hold `{name}`, as OGBench's files do; it holds {', '.join(keys) or 'nothing'}. Add it, "
                "or give another file."
            )
    require_keys(observed, keys, path)
    observations, names = observations_of(held, observed, path)
    ends = _ends(held["terminals"], len(observations), path)
    starts = np.concatenate([[0], ends[:-1]])
    taken = np.ones(len(observations), dtype=bool)
    taken[ends - 1] = False
    arrays = {"observations": observations, "lengths": ends - starts - 1}
    for name in STEP_ARRAYS:
        if name in held:
            if held[name].ndim == 0 or len(held[name]) != len(observations):
                raise DataError(
                    f"`{name}` of {path} must have {len(observations)} rows, one for each observation; got shape "
                    f"{held[name].shape}. Repair the file, or leave out what does not fit."
                )
            arrays[name] = held[name][taken]
    arrays["terminated"] = np.zeros(len(ends), dtype=bool)
    arrays |= {name: held[f"unbraid/{name}"] for name in _OURS if f"unbraid/{name}" in held}
    notes = notes_from(str(held.get("unbraid/meta", "{}")), where="unbraid/meta", source=path)
    if options.obs:
        notes["observation_names"] = names
    return demos_from_arrays(arrays, source=path, **notes)


def _ends(terminals: np.ndarray, n_rows: int, path: Path) -> np.ndarray:
    """(episode,) the number of rows up to the end of each episode."""
    if terminals.shape != (n_rows,) or terminals.dtype.kind not in "biuf":
        raise DataError(
            f"`terminals` of {path} must be one flag for each of {n_rows} observations; got shape {terminals.shape} of "
            f"{terminals.dtype}. Repair the file."
        )
    ends = np.flatnonzero(terminals) + 1
    if len(ends) == 0 or ends[-1] != n_rows:
        raise DataError(
            f"`terminals` of {path} must mark the last row of every episode; the last of {n_rows} rows is not marked. "
            "Mark it, or cut off what does not end."
        )
    return ends.astype(np.int64)


FORMAT = Format(
    name="ogbench",
    title="OGBench's NPZ",
    endings=(),
    options=frozenset({"obs"}),
    recognise=recognise_ogbench,
    read=read_ogbench,
    write=write_ogbench,
    not_held=lambda demos: (
        *beside_the_format(demos, place="arrays below `unbraid/`", held=("costs",)),
        "It has an action in every episode's last row, which nobody took: zeros are written there.",
    ),
)
