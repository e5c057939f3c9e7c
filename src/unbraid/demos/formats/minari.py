"""Minari: a folder of episodes with the spaces they come from, in HDF5 or in Arrow (or Parquet) files.

What `read_minari` takes, by its folder, by the ``data`` folder in it, or by an id such as ``minari:D4RL/door/human-v2``
below ``MINARI_DATASETS_PATH`` (``~/.minari/datasets`` where that is not set):

- observations of Box spaces, or of Dict spaces of them (nested too): flattened in the order of the file, with names
  ``a/b[0]``; `obs` chooses keys. Images, choices (Discrete, MultiBinary, ...) and other spaces are refused. Actions
  likewise.
- the final observation of each episode, which Minari has; `terminated` is the last of ``terminations``.
- ``infos["cost"]`` where every episode has it, and ``seed``.
- with `labels_from`, a key of the episodes' metadata that says who acted, e.g. "expert" or "options/who".
- what else ``metadata.json`` says (author, algorithm_name, env_spec, ...) goes to ``facts["minari"]``.

`write_minari` writes HDF5, `write_minari_arrow` Arrow; columns named as above become a Dict space again. What Minari
has no place for stands under ``unbraid`` in ``metadata.json``, so that nothing is lost. An episode of no steps is
refused.

Source: Farama Foundation, Minari 0.5 (https://minari.farama.org), and the files it writes.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_folder, read_json
from unbraid.demos.altered import altered_from, environment_facts
from unbraid.demos.arrays import demos_from_arrays
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.arrow import require_pyarrow
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.hdf5 import new_hdf5, require_steps
from unbraid.demos.formats.minari_spaces import Leaf, chosen_leaves, leaves_of, names_of, space_of
from unbraid.demos.formats.minari_storage import Head, StoredEpisodes, opened_episodes, write_arrow, write_hdf5
from unbraid.demos.formats.notes import beside_the_format, bounds_from, bounds_noted, notes_from, notes_text
from unbraid.demos.left_out import LARGE_SEEDS, seeds_that_fit, with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, spans_of

__all__ = [
    "FORMAT",
    "locate_minari",
    "looked_in_by_minari",
    "minari_not_held",
    "read_minari",
    "read_minari_parts",
    "stored_as",
    "write_minari",
    "write_minari_arrow",
    "write_minari_arrow_parts",
    "write_minari_parts",
]

_FORMATS = ("hdf5", "arrow", "parquet")
_MINARI_VERSION = "0.5.0"  # the oldest whose readers know both data formats; every later one reads its sets
_REMEDY = "Restore it from a copy, or write it again."
# What says how the data are laid out, and is made anew on writing; the rest of metadata.json is kept as facts.
_LAYOUT = {
    "data_format",
    "jpeg_encoding",
    "total_episodes",
    "total_steps",
    "dataset_size",
    "minari_version",
    "unbraid",
    "observation_space",
    "action_space",
}


def locate_minari(wanted: str) -> Path | None:
    """The folder of a set that Minari knows by this id, or None."""
    parts = wanted.split("/")
    if not wanted or any(part in ("", ".", "..") for part in parts):
        return None
    path = _sets().joinpath(*parts)
    return path if (path / "data" / "metadata.json").is_file() else None


def looked_in_by_minari() -> tuple[str, str]:
    """The folder of Minari's sets, and what to do where a set is not there."""
    told = os.environ.get("MINARI_DATASETS_PATH")
    why = "which MINARI_DATASETS_PATH names" if told else "where Minari keeps its sets"
    remedy = (
        "Fetch it with `minari download`, or name the folder that has it by MINARI_DATASETS_PATH, or give its path."
    )
    return f"{_sets()}, {why}", remedy


def _sets() -> Path:
    root = os.environ.get("MINARI_DATASETS_PATH")
    return Path(root) if root else Path.home() / ".minari" / "datasets"


def stored_as(path: Path) -> str | None:
    """How the data of a Minari set are stored ("hdf5", "arrow", "parquet"), or None where this is no such set."""
    try:
        metadata = json.loads(((_data_of(path) or path) / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(metadata, dict) and "minari_version" in metadata and "total_episodes" in metadata
    return str(metadata.get("data_format", "hdf5")) if known else None


def _recognise(path: Path) -> str | None:
    stored = stored_as(path)
    return (
        None if stored in (None, "arrow", "parquet") else f"`metadata.json` has a minari_version, and data in {stored}"
    )


def _data_of(path: Path) -> Path | None:
    for folder in (path / "data", path):
        if (folder / "metadata.json").is_file():
            return folder
    return None


@dataclass(frozen=True)
class _Set:
    """What a set says of itself, and what of it is read."""

    data: Path
    n_episodes: int
    observation: tuple[Leaf, ...]
    action: tuple[Leaf, ...]
    ours: dict[str, Any] | None
    facts: dict[str, Any]


def read_minari(path: Path, options: ReadOptions) -> Demos:
    """Demonstrations from a Minari set, in memory.

    Args:
        path: its folder, or the ``data`` folder in it.
        options: `obs` and `labels_from`.

    Raises:
        DataError: missing, truncated, of another layout; a space that is no row of real numbers; a label that is
        missing.
        ConfigError: `obs` names what is not there, or pyarrow is needed and missing.
    """
    return joined_parts(read_minari_parts(path, options, PART_STEPS))


def read_minari_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """The same in parts of whole episodes, of about `n_steps` steps."""
    data = _data_of(path)
    if data is None:
        raise DataError(f"{path} must hold metadata.json, as Minari's sets do; it does not. Check the path.")
    metadata = read_json(data / "metadata.json", error=DataError, remedy=_REMEDY)
    stored = metadata.get("data_format", "hdf5") if isinstance(metadata, dict) else None
    if stored not in _FORMATS:
        raise DataError(
            f"`data_format` of {data / 'metadata.json'} must be one of {', '.join(_FORMATS)}; got {stored!r}. Convert "
            "the set with Minari."
        )
    with opened_episodes(data, stored) as episodes:
        described = _describe(metadata, data, episodes, options)
        heads = [episodes.head(i) for i in range(described.n_episodes)]
        lengths = np.array([head.n_steps for head in heads], dtype=np.int64)
        labels, label_names = _labels(heads, options, described)
        seeds, facts = _seeds(heads, described.facts)
        for first, last in spans_of(lengths, n_steps):
            arrays = _arrays(described, episodes, heads, range(first, last))
            if labels is not None:
                arrays["labels"] = labels[first:last]
            if seeds is not None:
                arrays["seeds"] = seeds[first:last]
            yield demos_from_arrays(
                arrays,
                source=path,
                label_names=label_names,
                observation_names=_names(described, options),
                facts=facts,
            )


def _describe(metadata: dict[str, Any], data: Path, episodes: StoredEpisodes, options: ReadOptions) -> _Set:
    path = data / "metadata.json"
    n_episodes = metadata.get("total_episodes")
    if not isinstance(n_episodes, int) or n_episodes < 1:
        raise DataError(f"`total_episodes` of {path} must be at least 1; got {n_episodes!r}. Give a set with episodes.")
    spaces: dict[str, tuple[Leaf, ...]] = {}
    for what in ("observation", "action"):
        text = metadata.get(f"{what}_space")
        try:  # where the set does not say, its first episode shows it; Minari would make the environment and ask that
            space = json.loads(text) if isinstance(text, str) else text or episodes.space(f"{what}s")
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"`{what}_space` of {path} must be JSON text; {error}. {_REMEDY}") from None
        leaves = leaves_of(space, what=what, source=path)
        spaces[what] = chosen_leaves(leaves, options.obs if what == "observation" else (), what=what, source=path)
    ours = metadata.get("unbraid")
    facts: dict[str, Any] = {}
    if ours is None:
        facts = {"minari": {key: value for key, value in metadata.items() if key not in _LAYOUT}}
        names = names_of(spaces["action"])
        facts |= {"action_names": list(names)} if names else {}
        facts |= _environment(metadata.get("env_spec"))
    else:
        ours = {
            **(ours if isinstance(ours, dict) else {}),
            **notes_from(json.dumps(ours), where="unbraid", source=path),
        }
        facts = ours["facts"]
    return _Set(data, n_episodes, spaces["observation"], spaces["action"], ours, facts)


def _environment(text: object) -> dict[str, str]:
    """By which id the environment is known, and how it differs from what that alone makes."""
    try:
        spec = json.loads(text) if isinstance(text, str) else None
    except (json.JSONDecodeError, RecursionError):
        return {}
    if not isinstance(spec, dict) or not spec.get("id"):
        return {}
    env_id, arguments, around = str(spec["id"]), spec.get("kwargs"), spec.get("additional_wrappers")
    wrappers = [str(w.get("name")) for w in around if isinstance(w, dict)] if isinstance(around, list) else []
    differs = altered_from(env_id, arguments if isinstance(arguments, dict) else {}, wrappers)
    return environment_facts(env_id, differs)


def _names(described: _Set, options: ReadOptions) -> tuple[str, ...]:
    if described.ours is None or options.obs:
        return names_of(described.observation)
    return described.ours["observation_names"]


def _arrays(described: _Set, episodes: StoredEpisodes, heads: Sequence[Head], numbers: range) -> dict[str, np.ndarray]:
    """Some episodes as named arrays."""
    ours, here = described.ours or {}, [heads[i] for i in numbers]
    every = [episodes.arrays(i, heads[i], described.observation, described.action) for i in numbers]
    arrays = {name: np.concatenate([e[name] for e in every]) for name in ("observations", "actions")}
    arrays["lengths"] = np.array([head.n_steps for head in here], dtype=np.int64)
    arrays["terminated"] = np.array([bool(e["terminations"][-1]) if len(e["terminations"]) else False for e in every])
    if ours.get("has_rewards", True):
        arrays["rewards"] = np.concatenate([e["rewards"] for e in every])
    if all(head.has_cost for head in heads):
        arrays["costs"] = np.concatenate([e["costs"] for e in every])
    return arrays | (_bounds(described.action) if described.ours is None else bounds_from(described.ours))


def _seeds(heads: Sequence[Head], facts: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
    """(episode,) the seeds where every episode has one, and the facts. Minari draws its own from 64 bits without sign:
    where one is too large for us, all are left out, and the facts say so."""
    told = [head.metadata.get("seed") for head in heads]
    if not all(isinstance(seed, int) for seed in told):
        return None, facts
    seeds = seeds_that_fit([int(seed) for seed in told if seed is not None])
    return seeds, facts if seeds is not None else with_left_out(facts, LARGE_SEEDS)


def _bounds(action: Sequence[Leaf]) -> dict[str, np.ndarray]:
    """The actuators' bounds, as far as the space tells of any."""
    bounds: dict[str, np.ndarray] = {}
    for name in ("low", "high"):
        bound = np.array([value for leaf in action for value in getattr(leaf, name)], dtype=np.float64)
        if np.isfinite(bound).any():
            bounds[f"action_{name}"] = bound
    return bounds


def _labels(heads: Sequence[Head], options: ReadOptions, described: _Set) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(episode,) who acted, and their names; the ones that we wrote ourselves, where no other key is asked for."""
    ours = described.ours or {}
    key = options.labels_from or ("label" if ours.get("has_labels") else None)
    if key is None:
        return None, tuple(ours.get("label_names", ()))
    for index, head in enumerate(heads):
        if not isinstance(head.metadata.get(key), str | int | float):
            raise DataError(
                f"The metadata of episode {index} of {described.data} must have {key!r}, a text or a number, to take "
                f"labels from; it has {', '.join(sorted(head.metadata)) or 'none'}. Name another key with "
                "--labels-from."
            )
    values = [head.metadata[key] for head in heads]
    if options.labels_from is None:
        return np.array(values, dtype=np.int64), tuple(ours.get("label_names", ()))
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    return np.array([distinct.index(value) for value in values], dtype=np.int64), tuple(
        str(value) for value in distinct
    )


def write_minari(demos: Demos, path: Path) -> Path:
    """Writes a Minari set with its data in HDF5, whole or not at all.

    `minari.MinariDataset(path / "data")` opens it, and `minari.load_dataset(id)` where `path` is that id below
    ``MINARI_DATASETS_PATH``.

    Raises:
        DataError: an episode has no steps, or `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    return write_minari_parts(iter([demos]), path)


def write_minari_parts(parts: Iterator[Demos], path: Path) -> Path:
    """The same from parts that have the same fields, names and facts."""
    return _write(parts, path, "hdf5")


def write_minari_arrow(demos: Demos, path: Path) -> Path:
    """`write_minari` with the data in Arrow files.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    return write_minari_arrow_parts(iter([demos]), path)


def write_minari_arrow_parts(parts: Iterator[Demos], path: Path) -> Path:
    """The same from parts that have the same fields, names and facts."""
    require_pyarrow("minari")
    return _write(parts, path, "arrow")


def _write(parts: Iterator[Demos], path: Path, stored: str) -> Path:
    with new_folder(path) as folder, ExitStack() as stack:
        data = folder / "data"
        data.mkdir()
        put: Callable[..., None] = write_arrow
        target: Any = data
        require_written: Callable[[], None] | None = None
        if stored == "hdf5":
            opened = new_hdf5(data / "main_data.hdf5", track_order=True)
            put, (target, require_written) = write_hdf5, stack.enter_context(opened)
        n_episodes = n_steps = 0
        metadata: dict[str, Any] = {}
        leaves: dict[str, tuple[Leaf, ...]] = {}
        for part in parts:
            require_steps(part, "Minari")
            if not metadata:
                metadata = _metadata(part, path, stored)
                leaves = {
                    f"{what}s": leaves_of(json.loads(metadata[f"{what}_space"]), what=what, source=path)
                    for what in ("observation", "action")
                }
            for episode in part:
                known = {n: v for n, v in (("seed", episode.seed), ("label", episode.label)) if v is not None}
                put(target, n_episodes, episode, leaves, known)
                if require_written is not None:
                    require_written()
                n_episodes, n_steps = n_episodes + 1, n_steps + episode.n_steps
        stack.close()
        if not metadata:
            raise DataError("Demonstrations must hold at least one episode; got none. Record or select some.")
        size = round(sum(file.stat().st_size for file in data.rglob("*")) / 1e6, 1)
        counts = {"total_episodes": n_episodes, "total_steps": n_steps, "dataset_size": size}
        (data / "metadata.json").write_text(json.dumps(metadata | counts), encoding="utf-8")
    return path


def _metadata(demos: Demos, path: Path, stored: str) -> dict[str, Any]:
    """``metadata.json`` but for the counts."""
    has = {"has_rewards": demos.rewards is not None, "has_labels": demos.labels is not None}
    action_names = demos.facts.get("action_names", ())
    kept = demos.facts.get("minari", {})
    return {
        **({key: value for key, value in kept.items() if key not in _LAYOUT} if isinstance(kept, Mapping) else {}),
        "dataset_id": _id_of(path),
        "minari_version": _MINARI_VERSION,
        "data_format": stored,
        "jpeg_encoding": True,
        "observation_space": json.dumps(
            space_of(demos.observation_names, width=demos.observation_size, dtype=demos.observations.dtype)
        ),
        "action_space": json.dumps(
            space_of(
                action_names if isinstance(action_names, list) and len(action_names) == demos.action_size else (),
                width=demos.action_size,
                dtype=demos.actions.dtype,
                low=demos.action_low,
                high=demos.action_high,
            )
        ),
        "unbraid": json.loads(notes_text(demos, **has, **bounds_noted(demos))),
    }


def _id_of(path: Path) -> str:
    """An id that Minari takes: the path below its folder, or the last name, with a version."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    below = path.resolve()
    inside = root is not None and below.is_relative_to(Path(root).resolve())
    name = below.relative_to(Path(root).resolve()).as_posix() if inside and root is not None else below.name
    name = re.sub(r"[^-/\w]", "_", name)
    return name if re.search(r"-v\d+$", name) else f"{name}-v0"


def minari_not_held(demos: Demos) -> tuple[str, ...]:
    """What is kept where Minari does not look, or cannot be kept."""
    lost = (
        () if demos.rewards is not None else ("It must have rewards: zeros are written, and unbraid leaves them out.",)
    )
    space = space_of(demos.observation_names, width=demos.observation_size, dtype=demos.observations.dtype)
    names = ("observation_names",) if space["type"] == "Dict" else ()
    held = ("costs", "seeds", "labels", "action_low", *names)
    return (*lost, *beside_the_format(demos, place="`metadata.json`, under `unbraid`", held=held))


FORMAT = Format(
    name="minari",
    title="a Minari set",
    endings=(),
    options=frozenset({"labels_from", "obs"}),
    recognise=_recognise,
    read=read_minari,
    write=write_minari,
    not_held=minari_not_held,
    read_parts=read_minari_parts,
    write_parts=write_minari_parts,
    locate=locate_minari,
    looked_in=looked_in_by_minari,
)
