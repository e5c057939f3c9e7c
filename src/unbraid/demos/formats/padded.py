"""Padded arrays in a folder, as Behavior Transformers have them: every episode is as long as the longest.

What `read_padded` takes, N episodes of at most T steps:

- ``observations_seq.npy``, ``actions_seq.npy``, ``existence_mask.npy``; or ``multimodal_push_observations.npy``,
  ``multimodal_push_actions.npy``, ``multimodal_push_masks.npy``.
- Observations and actions are (T, N, ...) in the first, (N, T, ...) in the second, and others have swapped them. The
  mask tells: an episode is ones, then zeros. Where both axes look like that (all equally long), say `time_axis`.
- **There are no final observations, so each episode's last action is left out**, and episodes of one step with it, as
  in `unbraid.demos.formats.d4rl`; unless unbraid wrote the folder.

`write_padded` writes (T, N, ...), and beside it what there is no place for: ``final_observations.npy`` and the other
arrays as ``rewards_seq.npy``, ``labels.npy``, ..., and ``unbraid.json``.

Source: Shafiullah et al., "Behavior Transformers: Cloning k modes with one stone" (2022), `dataloaders/`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.runs import new_folder, write_text
from unbraid.demos.arrays import EPISODE_ARRAYS, demos_from_arrays, require_dtype, without_last_actions
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import open_npy
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.notes import beside_the_format, notes_from, notes_text
from unbraid.demos.formats.rows import Chunked, chunked, write_npy
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of
from unbraid.demos.store import write_spooled

__all__ = [
    "FORMAT",
    "read_padded",
    "read_padded_parts",
    "recognise_padded",
    "write_padded",
    "write_padded_parts",
]

_NAMES = (
    ("observations_seq", "actions_seq", "existence_mask"),
    ("multimodal_push_observations", "multimodal_push_actions", "multimodal_push_masks"),
)
_FINAL, _NOTES = "final_observations.npy", "unbraid.json"
_OF_STEPS = ("rewards", "costs")
_OURS = ("terminated", "seeds", "labels", "action_low", "action_high")


def write_padded(demos: Demos, path: Path) -> Path:
    """Writes a folder of padded arrays, (T, N, ...), whole or not at all.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    ends = demos.row_starts[1:]
    final = (demos.observations[ends[i : i + PART_STEPS] - 1] for i in range(0, len(ends), PART_STEPS))
    arrays = {
        "observations_seq": _padded(demos.observations, demos.row_starts[:-1], demos.lengths),
        "actions_seq": _padded(demos.actions, demos.step_starts[:-1], demos.lengths),
        "existence_mask": _padded(None, demos.step_starts[:-1], demos.lengths),
        "final_observations": Chunked((len(ends), demos.observation_size), demos.observations.dtype, final),
    }
    of_steps = {f"{n}_seq": v for n in _OF_STEPS if (v := getattr(demos, n)) is not None}
    arrays |= {n: _padded(v, demos.step_starts[:-1], demos.lengths) for n, v in of_steps.items()}
    arrays |= {n: chunked(v) for n in _OURS if (v := getattr(demos, n)) is not None}
    text = notes_text(demos, time_axis=0)
    with new_folder(path) as folder:
        for name, array in arrays.items():
            with open(folder / f"{name}.npy", "wb") as file:
                write_npy(file, array)
        write_text(folder / _NOTES, text + "\n")
    return path


def write_padded_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`write_padded` of parts of whole episodes with the same fields, of which one at a time is in memory."""
    return write_spooled(write_padded, parts, path)


def _padded(
    values: np.ndarray | None, starts: Int[np.ndarray, "episode"], lengths: Int[np.ndarray, "episode"]
) -> Chunked:
    """(time, episode, ...) some times at once: the row `starts` + time of `values` while the episode lasts, then zeros.

    Without values it is ones, then zeros.
    """
    n_longest, at_once = int(lengths.max(initial=0)), max(PART_STEPS // max(len(lengths), 1), 1)
    row, dtype = ((), np.dtype(np.float32)) if values is None else (values.shape[1:], values.dtype)

    def chunk(first: int) -> np.ndarray:
        times = np.arange(first, min(first + at_once, n_longest))[:, None]
        there = times < lengths
        table = np.zeros((*there.shape, *row), dtype=dtype)
        table[there] = 1 if values is None else values[(starts + times)[there]]
        return table

    shape = (n_longest, len(lengths), *row)
    return Chunked(shape, dtype, (chunk(first) for first in range(0, n_longest, at_once)))


def recognise_padded(path: Path) -> str | None:
    """What shows this layout: the three arrays, by one of their names."""
    names = next((ns for ns in _NAMES if all((path / f"{n}.npy").is_file() for n in ns)), None)
    return None if names is None else f"it holds {', '.join(f'{name}.npy' for name in names)}"


def read_padded(path: Path, options: ReadOptions | None = None) -> Demos:
    """Demonstrations from a folder of padded arrays, in memory.

    Args:
        path: the folder.
        options: `time_axis`, where the mask does not tell.

    Raises:
        DataError: an array is missing, truncated, of Python objects or of another shape; a mask that has gaps, or does
            not tell which axis is time.
    """
    return joined_parts(read_padded_parts(path, options or ReadOptions(), sys.maxsize))


def read_padded_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_padded` in parts of whole episodes, of about `n_steps` steps each; the arrays are memory-mapped."""
    names = next((ns for ns in _NAMES if (path / f"{ns[0]}.npy").is_file()), _NAMES[0])
    observations, actions, mask = (open_npy(path / f"{name}.npy") for name in names)
    _require_alike(dict(zip(names, (observations, actions, mask), strict=True)), path)
    notes_file = path / _NOTES
    text = notes_file.read_text(encoding="utf-8") if notes_file.is_file() else "{}"
    notes = notes_from(text, where=_NOTES, source=path)
    ours = notes_file.is_file() and (path / _FINAL).is_file()
    axis = 0 if ours else _time_axis(np.asarray(mask) != 0, options.time_axis, path)
    there = np.moveaxis(np.asarray(mask) != 0, axis, 1)
    lengths = there.sum(axis=1).astype(np.int64)
    tables = {"observations": observations, "actions": actions}
    arrays: dict[str, np.ndarray] = {}
    if ours:
        arrays |= {n: np.array(open_npy(path / f"{n}.npy")) for n in _OURS if (path / f"{n}.npy").exists()}
        tables |= {n: open_npy(path / f"{n}_seq.npy") for n in _OF_STEPS if (path / f"{n}_seq.npy").exists()}
        final = open_npy(path / _FINAL)
    else:
        arrays["terminated"] = np.zeros(len(lengths), dtype=bool)
        left_out = {"dropped_last_actions": True, "dropped_one_step_episodes": int((lengths < 2).sum())}
        notes["facts"] |= left_out
        if not (lengths > 1).any():
            raise DataError(
                f"{path} must hold an episode of at least 2 steps, as it has no final observations; its {len(lengths)} "
                "episodes have fewer. Give another folder."
            )
        final = None
    arrays["lengths"] = lengths
    for first, last in spans_of(lengths, n_steps):
        part = {n: np.moveaxis(v, axis, 1)[first:last][there[first:last]] for n, v in tables.items()}
        part |= {n: v[first:last] if n in EPISODE_ARRAYS else v for n, v in arrays.items()}
        if final is None:
            part = without_last_actions(part, lengths[first:last])
        else:
            part["observations"] = np.insert(
                part["observations"], np.cumsum(lengths[first:last]), final[first:last], axis=0
            )
        if len(part["lengths"]):
            yield demos_from_arrays(part, source=path, **notes)


def _require_alike(arrays: dict[str, np.ndarray], path: Path) -> None:
    (seen, observations), (done, actions), (told, mask) = arrays.items()
    for name, name_of, values in ((seen, "observations", observations), (done, "actions", actions)):
        if values.ndim != 3:
            what = "images" if values.ndim == 5 else f"shape {values.shape}"
            raise DataError(
                f"`{name}` of {path} must be (time, episode, column) or (episode, time, column); got {what}. Flatten "
                "vectors; images are not read in this release."
            )
        require_dtype(name_of, values.reshape(-1, values.shape[2])[:0], path)
    if mask.ndim != 2 or mask.dtype.kind not in "biuf" or not np.isin(np.unique(mask), (0, 1)).all():
        raise DataError(
            f"`{told}` of {path} must be a table of zeros and ones; got shape {mask.shape} of {mask.dtype}. Give 1 "
            "where a step is there, 0 where it is padding."
        )
    if not observations.shape[:2] == actions.shape[:2] == mask.shape:
        raise DataError(
            f"`{seen}`, `{done}` and `{told}` of {path} must agree in their first two axes; got {observations.shape}, "
            f"{actions.shape} and {mask.shape}. Pad them alike."
        )


def _time_axis(mask: Bool[np.ndarray, "first second"], asked: int | None, path: Path) -> int:
    """The axis along which every episode is ones, then zeros."""
    if asked not in (None, 0, 1):
        raise ConfigError(f"time_axis (--time-axis) must be 0 or 1; got {asked}. Say which axis of the arrays is time.")
    could = [axis for axis in (0, 1) if not (np.diff(mask.astype(np.int8), axis=axis) > 0).any()]
    if asked is not None and asked in could:
        return asked
    if len(could) == 1 and asked is None:
        return could[0]
    if not could or asked is not None:
        raise DataError(
            f"The mask of {path} must be ones, then zeros, along {'time' if asked is None else f'axis {asked}'}; it "
            "has gaps. Cut episodes at the gaps, or give the other axis."
        )
    raise DataError(
        f"The mask of {path} must tell which axis is time; with shape {mask.shape}, both could be. Pass time_axis=0 or "
        "1 (--time-axis)."
    )


FORMAT = Format(
    name="padded",
    title="padded arrays in a folder",
    endings=(),
    options=frozenset({"time_axis"}),
    recognise=recognise_padded,
    read=read_padded,
    write=write_padded,
    not_held=lambda demos: (
        "It has no place for final observations: kept in final_observations.npy, where only unbraid looks.",
        *beside_the_format(demos, place="files of their own beside the three", lacks=("rewards", "terminated")),
    ),
    read_parts=read_padded_parts,
    write_parts=write_padded_parts,
)
