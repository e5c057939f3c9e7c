"""Minari's spaces: what of a Dict or Box space makes up a row of numbers, and what its columns are called.

A Box is flattened in C order. A Dict is the flattened Boxes below it, in the order that the file lists them; their
columns are called ``key[0]``, nested ones ``a/b[0]``, and those of a Box with more axes ``key[0,1]``. `space_of` goes
the other way, where the names allow it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError

__all__ = ["Leaf", "chosen_leaves", "leaves_of", "names_of", "space_of"]

_NAME = re.compile(r"(?P<path>.+)\[(?P<index>\d+(?:,\d+)*)\]", re.DOTALL)


@dataclass(frozen=True)
class Leaf:
    """One Box below a space, or what stands where a Box should.

    Attributes:
        path: its keys from the top; empty where the space has none.
        kind: "Box", or the name of another type of space.
        shape: of one value.
        dtype: of a Box.
        low, high: a Box's bounds in C order.
    """

    path: tuple[str, ...]
    kind: str = "Box"
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """The path as one word, e.g. "a/b"."""
        return "/".join(self.path)

    @property
    def size(self) -> int:
        """The number of columns."""
        return prod(self.shape)


def leaves_of(space: object, *, what: str, source: Path) -> tuple[Leaf, ...]:
    """The leaves of a space as Minari writes it, in its order, of whatever type they are.

    Args:
        space: the parsed JSON.
        what: "observation" or "action".
        source: the file that says so.

    Raises:
        DataError: it is no space.
    """
    leaves: list[Leaf] = []

    def visit(node: object, path: tuple[str, ...]) -> None:
        kind = node.get("type") if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(kind, str):
            raise DataError(
                f"`{what}_space` of {source} must describe a space at {'/'.join(path) or 'its top'}; it holds "
                f"{node!r:.80}. Restore the file from a copy."
            )
        if kind == "Dict" and isinstance(node.get("subspaces"), Mapping):
            for key, child in node["subspaces"].items():
                visit(child, (*path, str(key)))
        elif kind == "Box":
            leaves.append(_box(node, path, what, source))
        else:
            leaves.append(Leaf(path, kind))

    visit(space, ())
    return tuple(leaves)


def _box(node: Mapping[str, Any], path: tuple[str, ...], what: str, source: Path) -> Leaf:
    try:
        shape = tuple(int(n) for n in node["shape"])
        dtype = np.dtype(node["dtype"])
        bounds = [np.broadcast_to(np.asarray(node[n], dtype=np.float64), shape).ravel() for n in ("low", "high")]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"`{what}_space` of {source} must give each Box a shape, a dtype, low and high; "
            f"{'/'.join(path) or 'its Box'} does not ({error}). Restore the file from a copy."
        ) from None
    return Leaf(path, "Box", shape, dtype.name, tuple(bounds[0].tolist()), tuple(bounds[1].tolist()))


def chosen_leaves(leaves: Sequence[Leaf], chosen: Sequence[str], *, what: str, source: Path) -> tuple[Leaf, ...]:
    """The leaves that are read: all, or those at or below the `chosen` keys, in the order chosen.

    Raises:
        ConfigError: a key that is not there.
        DataError: one of them cannot be a row of real numbers (an image, or no Box).
    """
    picked = list(leaves)
    if chosen:
        picked = [leaf for key in chosen for leaf in leaves if leaf.key == key or leaf.key.startswith(key + "/")]
        for key in chosen:
            if not any(leaf.key == key or leaf.key.startswith(key + "/") for leaf in leaves if leaf.path):
                keys = ", ".join(leaf.key for leaf in leaves if leaf.path)
                raise ConfigError(
                    f"--obs must name keys of the {what} space of {source}, {keys or 'which is one Box and has none'}; "
                    f"got {key!r}. Choose among these, or leave --obs out."
                )
    for leaf in picked:
        problem = _problem(leaf)
        if problem is not None:
            usable = ", ".join(other.key for other in leaves if other.path and _problem(other) is None)
            remedy = (
                f"Choose what to read with --obs: {usable}."
                if usable and what == "observation"
                else "Choose another set."
            )
            raise DataError(
                f"The {what} space of {source} must be a Box of real numbers, or a Dict of them; "
                f"{leaf.key or 'it'} is {problem}. {remedy}"
            )
    return tuple(picked)


def _problem(leaf: Leaf) -> str | None:
    if leaf.kind != "Box":
        return f"a {leaf.kind} space"
    if leaf.dtype == "uint8" and len(leaf.shape) >= 2:
        return f"an image, {'x'.join(str(n) for n in leaf.shape)} of uint8"
    return None


def names_of(leaves: Sequence[Leaf]) -> tuple[str, ...]:
    """A name for every column; none where the space is one Box."""
    return tuple(
        f"{leaf.key}[{','.join(str(i) for i in index)}]" if leaf.shape else leaf.key
        for leaf in leaves
        if leaf.path
        for index in np.ndindex(leaf.shape)
    )


def space_of(
    names: Sequence[str], *, width: int, dtype: np.dtype, low: np.ndarray | None = None, high: np.ndarray | None = None
) -> dict[str, Any]:
    """The space of rows of `width` numbers: the Dict that gives the columns these names, or else one Box.

    Args:
        names: the columns' names, or empty.
        width: the number of columns.
        dtype: theirs.
        low, high: (width,) their bounds; infinite where absent.

    Returns:
        What Minari writes as JSON.
    """
    lows = np.full(width, -np.inf) if low is None else low
    highs = np.full(width, np.inf) if high is None else high
    parsed = [_NAME.fullmatch(name) for name in names]
    if not parsed or not all(parsed):
        return _box_of((width,), dtype, lows, highs)
    top: dict[str, Any] = {"type": "Dict", "subspaces": {}}
    start = 0
    for path, group in groupby(match["path"] for match in parsed if match):
        size = len(list(group))
        last = names[start + size - 1][len(path) + 1 : -1]
        shape = tuple(int(i) + 1 for i in last.split(","))
        node, keys = top, path.split("/")
        for key in keys[:-1]:
            node = node.get("subspaces", {}).setdefault(key, {"type": "Dict", "subspaces": {}})
        if prod(shape) != size or any(key in ("", ".", "..") for key in keys):
            return _box_of((width,), dtype, lows, highs)
        rows = slice(start, start + size)
        node.get("subspaces", {})[keys[-1]] = _box_of(shape, dtype, lows[rows], highs[rows])
        start += size
    if names_of(leaves_of(top, what="observation", source=Path())) != tuple(names):
        return _box_of((width,), dtype, lows, highs)
    return top


def _box_of(shape: tuple[int, ...], dtype: np.dtype, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    bounds = {"low": low.reshape(shape).tolist(), "high": high.reshape(shape).tolist()}
    return {"type": "Box", "dtype": dtype.name, "shape": list(shape), **bounds}
