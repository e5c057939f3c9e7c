"""OGBench's NPZ: every state of every episode in one table, with an action of no meaning in each episode's last row.

What `read_ogbench` takes, N rows in all:

- ``observations`` (N, obs), or the keys that the option `obs` names, side by side (``qpos``, ``qvel``, ...): the final
  observation of each episode included.
- ``actions`` (N, act): the one in an episode's last row was never taken, and is not read; neither are rewards there.
- ``terminals`` (N,): marks each episode's last row. It says nothing of why the episode ended, so none counts as
  `terminated`.
- optional: ``rewards``, ``costs`` (N,). `facts["left_out"]` names the arrays that are not read.

Both work in parts: of the tables, only the flags are ever in memory as a whole, and what is in Fortran order.

`write_ogbench` writes zeros as the last action, reward and cost of each episode, and under ``unbraid/`` what OGBench
has no place for.

Source: Park et al., "OGBench: Benchmarking Offline Goal-Conditioned RL" (2024), `ogbench/utils.py`, which makes
`next_observations` by shifting the rows by one within each episode.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError
from unbraid.demos.arrays import EPISODE_ARRAYS, STEP_ARRAYS, demos_from_arrays, require_flags, require_form
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import (
    archive_arrays,
    keys_of,
    named,
    observations_of,
    require_keys,
    require_tables,
    said_unread,
)
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.notes import beside_the_format, notes_from, notes_text
from unbraid.demos.formats.rows import Chunked, chunked, opened_rows, write_archive
from unbraid.demos.left_out import with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, parts_of, spans_of
from unbraid.demos.store import write_spooled

__all__ = [
    "FORMAT",
    "read_ogbench",
    "read_ogbench_parts",
    "recognise_ogbench",
    "write_ogbench",
    "write_ogbench_parts",
]

_OURS = ("terminated", "seeds", "labels", "action_low", "action_high")


def write_ogbench(demos: Demos, path: Path) -> Path:
    """Writes one uncompressed archive in OGBench's layout, whole or not at all.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    terminals = np.zeros(len(demos.observations), dtype=bool)
    terminals[demos.row_starts[1:] - 1] = True
    arrays = {"observations": chunked(demos.observations), "terminals": chunked(terminals)}
    arrays |= {name: _by_row(demos, name) for name in STEP_ARRAYS if getattr(demos, name) is not None}
    arrays |= {f"unbraid/{n}": chunked(v) for n in _OURS if (v := getattr(demos, n)) is not None}
    arrays["unbraid/meta"] = chunked(np.array(notes_text(demos)))
    return write_archive(arrays, path)


def write_ogbench_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`write_ogbench` of parts of whole episodes with the same fields, of which one at a time is in memory."""
    return write_spooled(write_ogbench, parts, path)


def _by_row(demos: Demos, name: str) -> Chunked:
    """What there is for each step, with a row of zeros behind every episode."""
    values = getattr(demos, name)

    def chunk(part: Demos) -> np.ndarray:
        table = np.zeros((len(part.observations), *values.shape[1:]), dtype=values.dtype)
        table[part.row_of_step] = getattr(part, name)
        return table

    shape = (len(demos.observations), *values.shape[1:])
    return Chunked(shape, values.dtype, (chunk(part) for part in parts_of(demos, PART_STEPS)))


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
    return joined_parts(read_ogbench_parts(path, options or ReadOptions(), sys.maxsize))


def read_ogbench_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_ogbench` in parts of whole episodes, of about `n_steps` steps each."""
    keys, observed = keys_of(path) or (), options.obs or ("observations",)
    # no others: they may be large, or Python objects
    held = archive_arrays(path, {"terminals", "unbraid/meta", *(f"unbraid/{name}" for name in _OURS)})
    for name in ("actions", "terminals"):
        if name not in keys:
            raise DataError(
                f"{path} must hold `{name}`, as OGBench's files do; it holds {', '.join(keys) or 'nothing'}. Add it, "
                "or give another file."
            )
    require_keys(observed, keys, path)
    steps = [name for name in STEP_ARRAYS if name in keys]
    notes = notes_from(str(held.get("unbraid/meta", "{}")), where="unbraid/meta", source=path)
    unread = said_unread(keys, {"terminals", *observed, *steps, *held})
    notes["facts"] = with_left_out(notes["facts"], *unread) if unread else notes["facts"]
    with opened_rows(path, {*observed, *steps}) as rows:
        form = {key: array.like for key, array in rows.items()}
        require_tables(form, observed, path)
        n_rows = len(form[observed[0]])
        ends = _ends(held["terminals"], n_rows, path)
        for name in steps:
            if len(form[name]) != n_rows:
                raise DataError(
                    f"`{name}` of {path} must have {n_rows} rows, one for each observation; got shape "
                    f"{form[name].shape}. Repair the file, or leave out what does not fit."
                )
        of_all = {name: held[f"unbraid/{name}"] for name in _OURS if f"unbraid/{name}" in held}
        of_all.setdefault("terminated", np.zeros(len(ends), dtype=bool))
        of_all["lengths"] = np.diff(ends, prepend=0) - 1
        require_form(of_all | {name: form[name][: n_rows - len(ends)] for name in steps}, path)
        for first, last in spans_of(of_all["lengths"], n_steps):
            lengths = of_all["lengths"][first:last]
            block = {key: array.next(int(lengths.sum()) + len(lengths)) for key, array in rows.items()}
            taken = np.ones(int(lengths.sum()) + len(lengths), dtype=bool)
            taken[np.cumsum(lengths + 1) - 1] = False
            arrays = {name: values[first:last] if name in EPISODE_ARRAYS else values for name, values in of_all.items()}
            arrays |= {name: block[name][taken] for name in steps}
            arrays["observations"], names = observations_of(block, observed, path)
            if options.obs:
                notes["observation_names"] = names
            yield demos_from_arrays(arrays, source=path, **notes)


def _ends(terminals: np.ndarray, n_rows: int, path: Path) -> np.ndarray:
    """(episode,) the number of rows up to the end of each episode."""
    if terminals.shape != (n_rows,) or terminals.dtype.kind not in "biuf":
        raise DataError(
            f"`terminals` of {path} must be one flag for each of {n_rows} observations; got shape {terminals.shape} of "
            f"{terminals.dtype}. Repair the file."
        )
    require_flags(terminals, "terminals", path)
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
    read_parts=read_ogbench_parts,
    write_parts=write_ogbench_parts,
    not_held=lambda demos: (
        *beside_the_format(demos, place="arrays below `unbraid/`", held=("costs",), lacks=("terminated",)),
        "It has an action in every episode's last row, which nobody took: zeros are written there.",
    ),
)
