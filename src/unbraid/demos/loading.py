"""One door for demonstrations in any format: it recognises what is there, says so, and reads it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.recognise import located, recognised
from unbraid.demos.options import ReadOptions, require_taken
from unbraid.demos.parts import parts_of
from unbraid.demos.store import read_store

__all__ = ["Source", "find_source", "load_demos", "load_parts"]


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
        DataError: nothing is there, or no format recognises it.
    """
    path, named = located(os.fspath(source))
    if named is not None:
        return Source(path, named, f"{os.fspath(source)} is an id of {named.title}")
    return Source(path, *recognised(path))


def load_demos(
    source: str | os.PathLike[str],
    *,
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
        options: what the reader is told, where a format leaves something open.
        in_memory: read a store's arrays into memory instead of mapping them.
        drop_last_action, max_episode_steps: the options of these names.

    Raises:
        DataError: missing, damaged, of another program or of a newer version; the message names file and field.
        ConfigError: an option that the format does not take.
    """
    found, told = find_source(source), options or ReadOptions()
    if drop_last_action:
        told = replace(told, drop_last_action=True)
    if max_episode_steps is not None:
        told = replace(told, max_episode_steps=max_episode_steps)
    require_taken(told, found.format.options, title=found.format.title, source=found.path)
    if in_memory and found.format.name == "store":
        return read_store(found.path, in_memory=True)
    return found.format.read(found.path, told)


def load_parts(source: Source, *, options: ReadOptions | None = None, n_steps: int = PART_STEPS) -> Iterator[Demos]:
    """The same in parts of whole episodes, of about `n_steps` steps each.

    Formats that can only be read at once are read at once, and given in parts.

    Raises:
        ConfigError: fewer than one step, or an option that the format does not take.
        DataError: as `load_demos`.
    """
    if n_steps < 1:
        raise ConfigError(f"A part must have at least 1 step; got {n_steps}. Ask for more.")
    told = options or ReadOptions()
    require_taken(told, source.format.options, title=source.format.title, source=source.path)
    if source.format.read_parts is None:
        return parts_of(source.format.read(source.path, told), n_steps)
    return source.format.read_parts(source.path, told, n_steps)
