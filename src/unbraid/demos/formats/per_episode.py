"""Plain arrays, an episode at a time: a folder with an ``.npz`` for each episode, or one ``.npz`` with all of them.

What `read_per_episode` takes:

- a folder of ``.npz`` files, each an episode, in the order of their names (numbers in names count as numbers); or
- one ``.npz`` whose arrays are called ``observations_0``, ``actions_0``, ``observations_1``, ..., or
  ``0/observations``, ``0/actions``, ...: an episode for each number.

Each episode has ``observations`` (T + 1, obs) and ``actions`` (T, act), and where they are there ``rewards``, ``costs``
(T,), ``terminated``, ``seed``, ``label``; others' names are those of `unbraid.demos.formats.archive.ALIASES`, and the
option `obs` names the observed ones. With T observations, pass ``drop_last_action``; an episode of a single step
vanishes by it. What not every episode has is left out, as arrays of other names are: ``facts["left_out"]`` says so.

`write_per_episode` writes such a folder, and ``unbraid.json`` beside the episodes.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_folder, write_text
from unbraid.demos.arrays import labels_and_names, require_dtype
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.fields import said_lacking
from unbraid.demos.formats.archive import (
    ALIASES,
    archive_arrays,
    keys_of,
    named,
    observations_of,
    open_npy,
    require_keys,
    said_unread,
)
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.notes import Notes, beside_the_format, notes_from, notes_text
from unbraid.demos.left_out import LARGE_SEEDS, VANISHED, seeds_that_fit, with_left_out
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts

__all__ = [
    "FORMAT",
    "read_per_episode",
    "read_per_episode_parts",
    "recognise_per_episode",
    "write_per_episode",
    "write_per_episode_parts",
]

_NOTES = "unbraid.json"
_BOUNDS = ("action_low", "action_high")
_KEY = re.compile(r"(?P<name>.+)_(?P<number>\d+)$|(?P<before>\d+)/(?P<after>[^/]+)$")

_FIELDS = {
    "rewards": "Rewards",
    "costs": "Costs",
    "terminated": "Ends by the world",
    "seeds": "Seeds",
    "labels": "Labels",
}

_Arrays = dict[str, np.ndarray]
_Found = list[tuple[str, tuple[str, ...], Callable[[Collection[str]], _Arrays]]]
"""(place, keys, how to load some of them) of every episode."""


def write_per_episode(demos: Demos, path: Path) -> Path:
    """Writes a folder with an ``.npz`` for each episode, whole or not at all.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    return write_per_episode_parts(iter([demos]), path)


def write_per_episode_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`write_per_episode` of parts of whole episodes with the same fields, of which one at a time is in memory."""
    n_episodes = 0
    with new_folder(path) as folder:
        for part in parts:
            if n_episodes == 0:
                write_text(folder / _NOTES, notes_text(part) + "\n")
                for name in _BOUNDS:
                    if getattr(part, name) is not None:
                        np.save(folder / f"{name}.npy", getattr(part, name), allow_pickle=False)
            for episode in part:
                arrays = {
                    "observations": episode.observations,
                    "actions": episode.actions,
                    "rewards": episode.rewards,
                    "costs": episode.costs,
                    "terminated": np.array(episode.terminated),
                    "seed": None if episode.seed is None else np.array(episode.seed),
                    "label": None if episode.label is None else np.array(episode.label),
                }
                known = {name: values for name, values in arrays.items() if values is not None}
                with open(folder / f"episode_{n_episodes:06d}.npz", "wb") as file:
                    # Numbers, which are never pickled; NumPy 2.0 would take `allow_pickle` for the name of an array.
                    np.savez(file, **known)  # pyright: ignore[reportArgumentType]
                n_episodes += 1
    return path


def recognise_per_episode(path: Path) -> str | None:
    """What shows this layout: files, or numbered arrays, that each have actions."""
    if path.is_dir():
        first = next(iter(_files_in(path)), None)
        keys = keys_of(first) if first is not None else None
        has = keys is not None and named(keys, "actions") is not None and named(keys, "lengths") is None
        return f"a folder of .npz files with `{named(keys, 'actions')}`" if has and keys is not None else None
    for keys in _numbered(keys_of(path) or ()).values():
        name = named(keys, "actions")
        if name is not None:
            return f"an .npz archive with `{keys[name]}`, an array for each episode"
    return None


def read_per_episode(path: Path, options: ReadOptions | None = None) -> Demos:
    """Demonstrations from such a folder or archive, in memory.

    Args:
        path: the folder or the ``.npz`` file.
        options: `obs` and `drop_last_action`; see above.

    Raises:
        DataError: an episode that is truncated, holds Python objects, lacks an array, or is as wide as no other.
    """
    return joined_parts(read_per_episode_parts(path, options or ReadOptions(), sys.maxsize))


def read_per_episode_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """`read_per_episode` in parts of whole episodes, of about `n_steps` steps each; an archive is read at once."""
    wanted = {*options.obs, *(name for field in ("observations", "actions", *_FIELDS) for name in ALIASES[field])}
    episodes = _from_folder(path) if path.is_dir() else _from_archive(path, wanted)
    if not episodes:
        raise DataError(f"{path} must hold an .npz for each episode; it holds none. Give the folder of the episodes.")
    kept = frozenset.intersection(*(frozenset(f for f in _FIELDS if named(ks, f) is not None) for _, ks, _ in episodes))
    notes_file, bounds = path / _NOTES, None
    notes = notes_from(
        notes_file.read_text(encoding="utf-8") if notes_file.is_file() else "{}", where=_NOTES, source=path
    )
    if all((path / f"{name}.npy").is_file() for name in _BOUNDS):
        bounds = (np.array(open_npy(path / "action_low.npy")), np.array(open_npy(path / "action_high.npy")))
    notes["facts"] |= _left_out(episodes, kept, options, path)
    if "seeds" in kept and seeds_that_fit([int(seed) for seed in _of_episodes(episodes, "seeds", "seed")]) is None:
        kept, notes["facts"] = kept - {"seeds"}, with_left_out(notes["facts"], LARGE_SEEDS)
    labels: np.ndarray | None = None
    if "labels" in kept:
        told = np.array(_of_episodes(episodes, "labels", "label"))
        labels, notes["label_names"] = labels_and_names(told, notes["label_names"], "label", path)
    gathered: list[Episode] = []
    n_gathered = 0
    for number, (place, keys, load) in enumerate(episodes):
        episode, names = _episode(load(wanted), keys, place, kept, options)
        if options.obs:
            notes["observation_names"] = names
        if episode.n_steps or not options.drop_last_action:
            gathered.append(episode if labels is None else replace(episode, label=int(labels[number])))
            n_gathered += episode.n_steps
        if gathered and (n_gathered >= n_steps or number == len(episodes) - 1):
            yield _together(gathered, notes, bounds, path)
            gathered, n_gathered = [], 0


def _together(episodes: list[Episode], notes: Notes, bounds: tuple[np.ndarray, np.ndarray] | None, path: Path) -> Demos:
    try:
        return Demos.from_episodes(episodes, **notes, action_bounds=bounds)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _left_out(episodes: _Found, kept: frozenset[str], options: ReadOptions, path: Path) -> dict[str, Any]:
    """Facts on what is left out: last actions, episodes that vanish by it, and arrays that are not read."""
    fields = ("actions", *kept) if options.obs else ("observations", "actions", *kept)
    unread = [] if path.is_dir() else _of_no_episode(path)
    partial = [field for field in _FIELDS if field not in kept]
    for _, keys, _ in episodes:
        read = (*options.obs, *(named(keys, field) for field in (*fields, *partial)))
        unread += [key for key in keys if key not in read]
    told: list[str] = []
    for field in partial:
        told += said_lacking(_FIELDS[field], [named(keys, field) is not None for _, keys, _ in episodes])
    told += said_unread(dict.fromkeys(unread), ())
    facts = with_left_out({}, *told) if told else {}
    if not options.drop_last_action:
        return facts
    lengths = [_n_actions(keys, load) for _, keys, load in episodes]
    if max(lengths) < 2:
        raise DataError(
            f"{path} must hold an episode of at least 2 steps to drop last actions; its {len(lengths)} episodes have "
            "fewer. Append the final observations, or give other episodes."
        )
    return facts | {"dropped_last_actions": True, VANISHED: sum(length < 2 for length in lengths)}


def _of_no_episode(path: Path) -> list[str]:
    """The keys of an archive that belong to none of its episodes."""
    keys = keys_of(path) or ()
    groups = [group for group in _numbered(keys).values() if named(group, "actions") is not None]
    return [key for key in keys if not any(key in group.values() for group in groups)]


def _n_actions(keys: Collection[str], load: Callable[[Collection[str]], _Arrays]) -> int:
    key = named(keys, "actions")
    shape = () if key is None else load((key,))[key].shape
    return shape[0] if shape else 0


def _of_episodes(episodes: _Found, field: str, name: str) -> list[float | int | bool]:
    """One number for each episode, which all of them have."""
    numbers: list[float | int | bool] = []
    for place, keys, load in episodes:
        key = str(named(keys, field))
        numbers.append(_number(load((key,))[key], name, place, kinds="biuf" if field == "labels" else "biu"))
    return numbers


def _files_in(path: Path) -> list[Path]:
    files = [child for child in path.iterdir() if child.suffix.lower() == ".npz" and not child.is_dir()]
    return sorted(files, key=_in_order)


def _in_order(file: Path) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names as numbers: episode_2 before episode_10."""
    return [(0, int(w), "") if w.isdecimal() else (1, 0, w) for w in re.split(r"(\d+)", file.name)]


def _from_folder(path: Path) -> _Found:
    """The episodes of a folder."""
    found: _Found = []
    for file in _files_in(path):
        keys = keys_of(file)
        keys = tuple(archive_arrays(file)) if keys is None else keys  # says so where it is damaged
        found.append((str(file), keys, lambda wanted, f=file: archive_arrays(f, wanted)))
    return found


def _from_archive(path: Path, wanted: Collection[str]) -> _Found:
    """The episodes of an archive, of which no other arrays are read: they may be large, or Python objects."""
    numbered = _numbered(keys_of(path) or ())
    held = archive_arrays(path, {key for keys in numbered.values() for name, key in keys.items() if name in wanted})
    acted = next((name for keys in numbered.values() if (name := named(keys, "actions")) is not None), "actions")
    found: _Found = []
    for number, keys in sorted(numbered.items()):
        if named(keys, "actions") is not None:
            there = {name: held[key] for name, key in keys.items() if key in held}
            found.append((f"episode {number} of {path}", tuple(keys), lambda _, arrays=there: arrays))
        elif any(name in wanted for name in keys):
            raise DataError(
                f"Episode {number} of {path} must hold `{acted}`, as others do; it holds {', '.join(keys.values())}. "
                "Add it, or leave out all arrays of this number."
            )
    return found


def _numbered(keys: Collection[str]) -> dict[int, dict[str, str]]:
    """Episode number -> name -> key, of the keys that have a number."""
    numbered: dict[int, dict[str, str]] = {}
    for key in keys:
        match = _KEY.match(key)
        if match is not None:
            number, name = match["number"] or match["before"], match["name"] or match["after"]
            numbered.setdefault(int(number), {})[name] = key
    return numbered


def _episode(
    arrays: _Arrays, keys: Collection[str], place: str, kept: frozenset[str], options: ReadOptions
) -> tuple[Episode, tuple[str, ...]]:
    """One episode, and names for its columns."""
    source, key = Path(place), named(arrays, "actions")
    observed = options.obs or ((found,) if (found := named(arrays, "observations")) is not None else ())
    if key is None or not observed:
        raise DataError(
            f"{place} must hold `observations` and `actions`; it holds {', '.join(keys) or 'nothing'}. Rename them, "
            "or say which ones are observed with --obs."
        )
    require_keys(observed, keys, source)
    observations, names = observations_of(arrays, observed, source)
    actions = require_dtype("actions", arrays[key], source)
    fields = {f: arrays[str(named(arrays, f))] for f in kept}
    tables = {f: require_dtype(f, fields[f], source) for f in ("rewards", "costs") if f in fields}
    for name, values in tables.items():
        if len(values) != len(actions):
            raise DataError(
                f"`{name}` of {place} must have {len(actions)} rows, one for each action; it has {len(values)}. Repair "
                "it, or leave it out of every episode."
            )
    terminated = bool(_number(fields.get("terminated", np.array(False)), "terminated", place))
    if options.drop_last_action:
        if len(observations) != len(actions) or len(actions) == 0:
            raise DataError(
                f"{place} must have as many observations as actions to drop the last action; it has "
                f"{len(observations)} and {len(actions)}. Leave --drop-last-action out."
            )
        actions, terminated = actions[:-1], False
        tables = {name: values[:-1] for name, values in tables.items()}
    elif len(observations) == len(actions):
        raise DataError(
            f"{place} must have one more observation than actions; got {len(observations)} rows of each. Append the "
            "final observation, or pass drop_last_action=True (--drop-last-action)."
        )
    try:
        episode = Episode(
            observations=observations,
            actions=actions,
            rewards=tables.get("rewards"),
            costs=tables.get("costs"),
            terminated=terminated,
            seed=int(_number(fields["seeds"], "seed", place)) if "seeds" in fields else None,
        )
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    return episode, names


def _number(values: np.ndarray, name: str, place: str, kinds: str = "biu") -> float | int | bool:
    """One number: an array of no axes, or of one entry."""
    if values.size != 1 or values.dtype.kind not in kinds:
        raise DataError(
            f"`{name}` of {place} must be one whole number; got shape {values.shape} of {values.dtype}. Repair it, or "
            "leave it out."
        )
    return values.reshape(()).item()


FORMAT = Format(
    name="per_episode",
    title="an .npz for each episode",
    endings=(),
    options=frozenset({"obs", "drop_last_action"}),
    recognise=recognise_per_episode,
    read=read_per_episode,
    write=write_per_episode,
    not_held=lambda demos: beside_the_format(demos, place="unbraid.json", held=("costs", "seeds", "labels")),
    read_parts=read_per_episode_parts,
    write_parts=write_per_episode_parts,
)
