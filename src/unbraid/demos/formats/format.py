"""What a format of demonstrations is: a name, how its files are recognised, a reader and a writer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unbraid.demos.episodes import Demos
from unbraid.demos.options import ReadOptions

__all__ = ["PART_STEPS", "Format", "holds_everything"]

PART_STEPS = 65536
"""About how many steps of whole episodes are in memory at once where a format is read or written in parts."""


def holds_everything(demos: Demos) -> tuple[str, ...]:
    """The `not_held` of a format that keeps all that `Demos` hold."""
    del demos
    return ()


@dataclass(frozen=True)
class Format:
    """One format of demonstrations. Its module has one of these, called ``FORMAT``.

    Attributes:
        name: what `unbraid convert --to` calls it, e.g. "robomimic".
        title: what a message calls it, e.g. "robomimic's HDF5".
        endings: the endings of a target that mean this format, with the dot; empty where only the name does.
        options: the names of the `ReadOptions` that it takes; the others are refused before `read` is called.
        recognise: what in the content of an existing file or folder shows this format, as a piece of a sentence
            ("`data/demo_0` holds `obs`"), or None. Cheap; never raises for a file that is damaged or something else.
        read: (path, options) -> everything, in memory or memory-mapped.
        write: (demos, path) -> path. Whole or not at all; refuses a path that exists. None where it is only read.
        not_held: sentences on what of these demonstrations the format cannot hold, or holds where the format's own
            readers do not look, and what is done about it. No counts: it is asked of every part; repeats are dropped.
        read_parts: (path, options, steps) -> parts of whole episodes, each of about so many steps; all have the same
            fields, names and facts.
        write_parts: (parts, path) -> path; takes such parts and never holds more than one. None where it is only read.
        locate: the path that an id stands for, or None where it knows of none; None for formats without ids.
        looked_in: where `locate` looks for an id, and what to do when it is not there, as a piece of a sentence and a
            sentence; None likewise.
    """

    name: str
    title: str
    endings: tuple[str, ...]
    options: frozenset[str]
    recognise: Callable[[Path], str | None]
    read: Callable[[Path, ReadOptions], Demos]
    write: Callable[[Demos, Path], Path] | None
    read_parts: Callable[[Path, ReadOptions, int], Iterator[Demos]]
    write_parts: Callable[[Iterator[Demos], Path], Path] | None
    not_held: Callable[[Demos], tuple[str, ...]] = holds_everything
    locate: Callable[[str], Path | None] | None = None
    looked_in: Callable[[], tuple[str, str]] | None = None
