"""NPZ: one NumPy archive with the arrays of `unbraid.demos.arrays`, as flat as the store; or a folder with an ``.npy``
for each of them.

What `read_npz` takes (others' names for the same arrays in brackets, see `unbraid.demos.formats.archive.ALIASES`):

- ``observations`` (``state``, ``obs``; or the keys that `obs` names, side by side) (sum of T + 1, obs): the final
  observation of each episode included. Without them, (sum of T, obs), pass ``drop_last_action``: each episode's last
  observation is then taken as its final one, and the action taken on it (with its reward and cost) is left out; an
  episode of a single step vanishes by it.
- ``actions`` (``action``, ``act``) (sum of T, act), floating-point.
- ``lengths`` (``ep_len``) (episode,): T of each; or ``episode_ends`` (episode,): the number of actions up to the end of
  each, as the replay buffers of diffusion policies have it.
- optional: ``terminated`` (all False where absent), ``rewards``, ``costs``, ``seeds``, ``labels``, ``action_low``,
  ``action_high``. Labels are numbers or, where no names stand beside them, text; `labels_from` names another array
  of them.
- optional: ``meta``, a JSON text with ``format``, ``version``, ``label_names``, ``observation_names``, ``facts``.
  Labels without names are called by their numbers. `facts["left_out"]` names the arrays that are not read.

`write_npz` writes ``lengths`` and ``meta`` and loses nothing.

Both work in parts: of what has a row for each step, only arrays in Fortran order are ever in memory as a whole.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError
from unbraid.demos.arrays import (
    EPISODE_ARRAYS,
    OPTIONAL_ARRAYS,
    STEP_ARRAYS,
    arrays_of,
    demos_from_arrays,
    labels_and_names,
    one_row,
    require_form,
    without_last_actions,
)
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
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.notes import Notes, notes_from, notes_text
from unbraid.demos.formats.rows import chunked, opened_rows, write_archive
from unbraid.demos.left_out import LARGE_SEEDS, VANISHED, seeds_that_fit, with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of
from unbraid.demos.store import write_spooled

__all__ = ["FORMAT", "read_npz", "read_npz_parts", "recognise_npz", "write_npz", "write_npz_parts"]

_FORMAT = "unbraid-npz"
_ENDS = ("lengths", "episode_ends")
_FIELDS = ("actions", "terminated", *_ENDS, *OPTIONAL_ARRAYS)


def write_npz(demos: Demos, path: Path) -> Path:
    """Writes one uncompressed archive, whole or not at all.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    arrays = {"meta": np.array(notes_text(demos, format=_FORMAT)), **arrays_of(demos)}
    return write_archive({name: chunked(values) for name, values in arrays.items()}, path)


def write_npz_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`write_npz` of parts of whole episodes with the same fields, of which one at a time is in memory."""
    return write_spooled(write_npz, parts, path)


def recognise_npz(path: Path) -> str | None:
    """What shows this layout: an archive (or .npy files) with actions, and with observations or where episodes end."""
    keys = keys_of(path) or ()
    found = [named(keys, field) for field in ("actions", "observations", "lengths", "episode_ends")]
    told = [f"`{key}`" for key in found if key is not None]
    what = "a folder of .npy files" if path.is_dir() else "an .npz archive"
    return f"{what} with {', '.join(told)}" if found[0] is not None and len(told) > 1 else None


def read_npz(path: Path, options: ReadOptions | None = None) -> Demos:
    """Demonstrations from an archive in the layout above, in memory.

    Args:
        path: the ``.npz`` file, or the folder.
        options: `drop_last_action`, `obs` and `labels_from`; see above.

    Raises:
        DataError: missing, truncated, of another layout or a newer version; arrays that do not fit together.
    """
    return joined_parts(read_npz_parts(path, options or ReadOptions(), sys.maxsize))


def read_npz_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_npz` in parts of whole episodes, of about `n_steps` steps each."""
    keys = keys_of(path) or ()
    observed = options.obs or ((key,) if (key := named(keys, "observations")) is not None else ())
    of_field = {field: key for field in _FIELDS if (key := named(keys, field)) is not None}
    asked = (*observed, *(() if options.labels_from is None else (options.labels_from,)))
    if options.labels_from is not None:
        of_field.pop("labels", None)
    steps = {field: of_field.pop(field) for field in STEP_ARRAYS if field in of_field}
    # no others: they may be large, or Python objects
    held = archive_arrays(path, {*of_field.values(), "meta", options.labels_from or "meta"})
    notes = notes_from(str(held.get("meta", "{}")), where="meta", source=path)
    if not observed or "actions" not in steps:
        raise DataError(
            f"{path} must hold `observations` and `actions`; it holds {', '.join(keys) or 'nothing'}. Rename them, or "
            "say which ones are observed with --obs."
        )
    require_keys(asked, keys, path)
    notes["facts"] |= _said_unread(keys, {*observed, *of_field.values(), *steps.values(), *asked}, notes["facts"])
    with opened_rows(path, {*observed, *steps.values()}) as rows:
        form = {"observations": rows[observed[0]].like} | {field: rows[key].like for field, key in steps.items()}
        if options.obs:
            require_tables({key: rows[key].like for key in observed}, observed, path)
            form["observations"] = np.broadcast_to(0.0, (len(form["observations"]), 1))
        lengths = _read_lengths(held, len(form["actions"]), path)
        of_all = {field: held[key] for field, key in of_field.items() if field not in _ENDS} | {"lengths": lengths}
        of_all.setdefault("terminated", np.zeros(len(lengths), dtype=bool))
        _name_labels(of_all, notes, held, options, path)
        _fit_seeds(of_all, notes)
        without_final = _are_without_final(form, observed[0], lengths, options, path)
        if without_final:
            _require_steps(form, lengths, path)
            notes["facts"] |= {"dropped_last_actions": True, VANISHED: int((lengths < 2).sum())}
            with_final = (len(form["observations"]) + len(lengths), *form["observations"].shape[1:])
            form["observations"] = np.broadcast_to(np.empty((), form["observations"].dtype), with_final)
        require_form(of_all | form, path)
        for first, last in [*spans_of(lengths, n_steps)] or [(0, 0)]:
            n_taken = int(lengths[first:last].sum())
            n_seen = n_taken if without_final else n_taken + last - first
            block = {key: array.next(n_seen if key in observed else n_taken) for key, array in rows.items()}
            arrays = {name: values[first:last] if name in EPISODE_ARRAYS else values for name, values in of_all.items()}
            arrays |= {"observations": block[observed[0]]} | {field: block[key] for field, key in steps.items()}
            if options.obs:
                arrays["observations"], notes["observation_names"] = observations_of(block, observed, path)
            if without_final:
                arrays = without_last_actions(arrays, lengths[first:last])
            if len(arrays["lengths"]) or not without_final:
                yield demos_from_arrays(arrays, source=path, **notes)


def _are_without_final(
    form: Mapping[str, np.ndarray],
    observed: str,
    lengths: Int[np.ndarray, "episode"],
    options: ReadOptions,
    path: Path,
) -> bool:
    """Whether there is no row for the final observations; then `drop_last_action` must be asked for."""
    if len(form["observations"]) != len(form["actions"]) or lengths.sum() == 0:
        return False
    if not options.drop_last_action:
        raise DataError(
            f"Every episode of {path} must have one more observation than actions; got {lengths.sum()} rows of "
            f"`{observed}` for {lengths.sum()} actions in {len(lengths)} episodes. Append the final "
            "observation, or pass drop_last_action=True (--drop-last-action)."
        )
    return True


def _said_unread(keys: Collection[str], read: Collection[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fact on arrays that are not read, where there are any."""
    unread = said_unread(keys, {*read, "meta"})
    return with_left_out(facts, *unread) if unread else {}


def _name_labels(
    of_all: dict[str, np.ndarray], notes: Notes, held: Mapping[str, np.ndarray], options: ReadOptions, path: Path
) -> None:
    """Puts the labels that were asked for among the arrays, and names for labels among the notes."""
    if options.labels_from is not None:
        of_all["labels"], notes["label_names"] = _labels_from(held, options.labels_from, path)
    elif "labels" in of_all:
        key = str(named(held, "labels"))
        if held[key].dtype.kind in "US" and not notes["label_names"]:
            of_all["labels"], notes["label_names"] = _labels_from(held, key, path)
            return
        of_all["labels"], notes["label_names"] = labels_and_names(of_all["labels"], notes["label_names"], key, path)


def _fit_seeds(of_all: dict[str, np.ndarray], notes: Notes) -> None:
    """Leaves out seeds that are too large for us, and says so."""
    seeds = of_all.get("seeds")
    if seeds is not None and seeds.dtype.kind == "u" and seeds_that_fit(seeds.reshape(-1).tolist()) is None:
        del of_all["seeds"]
        notes["facts"] = with_left_out(notes["facts"], LARGE_SEEDS)


def _labels_from(
    held: Mapping[str, np.ndarray], key: str, path: Path
) -> tuple[Int[np.ndarray, "episode"], tuple[str, ...]]:
    """(episode,) who acted, and their names, from an array of numbers or of text."""
    values = one_row(held[key])
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "biuUS":
        raise DataError(
            f"`{key}` of {path} must say who acted in each episode, by a whole number or a name; got shape "
            f"{values.shape} of {values.dtype}. Name another array."
        )
    blank = [i for i, name in enumerate(values.tolist()) if not name.strip()] if values.dtype.kind in "US" else []
    if blank:
        raise DataError(
            f"`{key}` of {path} must say who acted in each episode; it is empty for episode {blank[0]}. Name the "
            "expert, or drop the array where it is not known of every episode: nothing is learned from it."
        )
    names, labels = np.unique(values, return_inverse=True)
    text = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())
    return labels.reshape(-1).astype(np.int64), text


def _read_lengths(held: Mapping[str, np.ndarray], n_actions: int, path: Path) -> Int[np.ndarray, "episode"]:
    of_lengths = named(held, "lengths")
    name = of_lengths or named(held, "episode_ends")
    if name is None:
        raise DataError(
            f"{path} must say where its episodes end; it has neither `lengths` nor `episode_ends`. Add `lengths`, the "
            "number of actions of each episode."
        )
    values = one_row(held[name])
    if values.ndim != 1 or (values.dtype.kind not in "iu" and len(values)):
        raise DataError(
            f"`{name}` of {path} must be one row of whole numbers; got shape {values.shape} of {values.dtype}. "
            "Give one number for each episode."
        )
    values = values.astype(np.int64)
    lengths = np.diff(values, prepend=0) if of_lengths is None else values
    if (lengths < 0).any():
        episode = int((lengths < 0).argmax())
        raise DataError(
            f"Episode {episode} of {path} must have at least 0 steps; `{name}` gives {lengths[episode]}. Ends must "
            "not decrease, lengths must not be negative."
        )
    if lengths.sum() != n_actions:
        raise DataError(
            f"`{name}` of {path} must account for every action; it gives {lengths.sum()} steps in {len(lengths)} "
            f"episodes, and there are {n_actions} rows of actions. Repair `{name}`."
        )
    return lengths


def _require_steps(form: Mapping[str, np.ndarray], lengths: Int[np.ndarray, "episode"], path: Path) -> None:
    """Sees that last actions can be dropped, and that something stays."""
    if (lengths < 1).any():
        raise DataError(
            f"Episode {int((lengths < 1).argmax())} of {path} must have at least 1 step to drop the last action of; it "
            "has 0. Remove it from `lengths`."
        )
    for name, values in form.items():
        if len(values) != lengths.sum():
            raise DataError(
                f"`{name}` of {path} must have {lengths.sum()} rows, one for each action; got {len(values)}. Repair "
                "it, or leave it out."
            )
    if not (lengths > 1).any():
        raise DataError(
            f"{path} must hold an episode of at least 2 steps to drop last actions; its {len(lengths)} episodes have "
            "1. Append the final observations, or give another file."
        )


FORMAT = Format(
    name="npz",
    title="flat arrays",
    endings=(".npz",),
    options=frozenset({"drop_last_action", "obs", "labels_from"}),
    recognise=recognise_npz,
    read=read_npz,
    write=write_npz,
    read_parts=read_npz_parts,
    write_parts=write_npz_parts,
)
