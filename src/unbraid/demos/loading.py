"""One door for demonstrations in any format: it recognises what is there, says so, and reads it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.arrays import STEP_ARRAYS
from unbraid.demos.episodes import Demos
from unbraid.demos.fields import kind_of
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.recognise import located, recognised
from unbraid.demos.joining import join_demos
from unbraid.demos.left_out import said_of
from unbraid.demos.options import ReadOptions, require_taken, taken_by
from unbraid.demos.store import read_store

__all__ = ["Source", "find_source", "left_out", "load_demos", "load_parts"]


@dataclass(frozen=True)
class Source:
    """Demonstrations that were found and recognised, and not read yet.

    Attributes:
        path: the file or folder.
        format: its format.
        why: what in the content showed the format.
    """

    path: Path
    format: Format
    why: str


def find_source(source: str | os.PathLike[str]) -> Source:
    """Finds and recognises demonstrations by their content.

    Args:
        source: a path; or an id that a format knows, such as ``minari:NAME``.

    Raises:
        DataError: nothing is there, or no format recognises it; or it is no path.
    """
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"A source must be a path, or an id such as minari:NAME; got {kind_of(source)}. Give several one after "
            "another: load_demos(first, second)."
        )
    path, named = located(os.fspath(source))
    if named is not None:
        return Source(path, named, f"{os.fspath(source)} is an id of {named.title}")
    return Source(path, *recognised(path))


def load_demos(
    source: str | os.PathLike[str],
    *more: str | os.PathLike[str],
    weights: Sequence[float] | None = None,
    options: ReadOptions | None = None,
    in_memory: bool = False,
    drop_last_action: bool = False,
    max_episode_steps: int | None = None,
) -> Demos:
    """Demonstrations in any format that docs/formats.md lists, recognised by their content.

    A store is memory-mapped: opening it reads the headers, not the rows. `unbraid.demos.check.check_demos` looks at
    every row.

    Args:
        source: the folder or file; or an id that a format knows, such as ``minari:NAME``.
        more: others, to be read together with it: see `unbraid.demos.joining.join_demos`.
        weights: the share of steps that each source gets in the result; by default all episodes are kept.
        options: what the readers are told, where a format leaves something open. Of several sources, each is told what
            its format takes.
        in_memory: read a store's arrays into memory instead of mapping them.
        drop_last_action, max_episode_steps: the options of these names.

    Raises:
        DataError: missing, damaged, of another program or of a newer version; sources that don't fit together; the
            message names file and field.
        ConfigError: an option that no format takes; weights that are not one above 0 for each source.
    """
    told = ReadOptions() if options is None else options
    if drop_last_action:
        told = replace(told, drop_last_action=True)
    if max_episode_steps is not None:
        told = replace(told, max_episode_steps=max_episode_steps)
    found = [find_source(one) for one in (source, *more)]
    taken = frozenset[str]().union(*(one.format.options for one in found))
    title = " and ".join(sorted({one.format.title for one in found}))
    require_taken(told, taken, title=title, source=", ".join(str(one.path) for one in found))
    demos = [_read(one, taken_by(told, one.format.options), in_memory=in_memory) for one in found]
    if len(demos) == 1 and weights is None:
        return demos[0]
    return join_demos(demos, weights=weights, titles=[str(one.path) for one in found])


def _read(source: Source, options: ReadOptions, *, in_memory: bool) -> Demos:
    if in_memory and source.format.name == "store":
        return read_store(source.path, in_memory=True)
    return source.format.read(source.path, options)


def left_out(demos: Demos) -> tuple[str, ...]:
    """Sentences on what the file had not, or a reader left out, as `facts` has it."""
    return said_of(demos.facts)


def load_parts(source: Source, *, options: ReadOptions | None = None, n_steps: int = PART_STEPS) -> Iterator[Demos]:
    """The same in parts of whole episodes, of about `n_steps` steps each, with numbers of the same types.

    Raises:
        ConfigError: fewer than one step, or an option that the format does not take.
        DataError: as `load_demos`; or numbers of later episodes do not fit in the type of the first.
    """
    if n_steps < 1:
        raise ConfigError(f"A part must have at least 1 step; got {n_steps}. Ask for more.")
    told = options or ReadOptions()
    require_taken(told, source.format.options, title=source.format.title, source=source.path)
    return _of_one_type(source.format.read_parts(source.path, told, n_steps), source.path)


def _of_one_type(parts: Iterator[Demos], path: Path) -> Iterator[Demos]:
    """Parts whose tables have the types of the first: episodes of others may differ, and no writer takes both."""
    types: dict[str, np.dtype] = {}
    n_before = 0
    for part in parts:
        tables = {name: v for name in ("observations", *STEP_ARRAYS) if (v := getattr(part, name)) is not None}
        types = types or {name: values.dtype for name, values in tables.items()}
        differ = {name: values for name, values in tables.items() if values.dtype != types.get(name, values.dtype)}
        for name, values in differ.items():
            if not np.can_cast(values.dtype, types[name]):
                raise DataError(
                    f"`{name}` of {path} must have the same type in all episodes, to be read in parts; episodes before "
                    f"number {n_before} have {types[name]}, and later ones {values.dtype}. Write it with "
                    f"{values.dtype} throughout."
                )
        yield replace(part, **{n: v.astype(types[n]) for n, v in differ.items()}) if differ else part
        n_before += part.n_episodes
