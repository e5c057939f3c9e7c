"""Where Minari keeps its episodes: one HDF5 file with a group for each, or a folder of Arrow or Parquet files for each.

::

    data/  metadata.json    data_format, spaces as JSON texts, total_episodes, total_steps, minari_version, ...
           main_data.hdf5   "hdf5": ``episode_0/{observations, actions, rewards, terminations, truncations, infos}``;
                            what is known of an episode (id, seed, options, ...) are the group's attributes
           0/part-0.arrow   "arrow", or .parquet: one row for each observation, so that the last row of actions,
           0/metadata.json  rewards and ends is padding; what is known of the episode stands beside it
"""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import read_json
from unbraid.demos.arrays import one_row
from unbraid.demos.episodes import Episode
from unbraid.demos.formats.arrow import numbers_of, opened_arrow, require_pyarrow
from unbraid.demos.formats.hdf5 import opened_hdf5, read_rows
from unbraid.demos.formats.minari_spaces import Leaf

__all__ = ["ArrowEpisodes", "Hdf5Episodes", "Head", "StoredEpisodes", "opened_episodes", "write_arrow", "write_hdf5"]

_REMEDY = "Restore it from a copy, or write it again."
_STEP_FIELDS = ("rewards", "terminations")


@dataclass(frozen=True)
class Head:
    """What is known of an episode without reading it.

    Attributes:
        n_steps: T, the number of its actions.
        has_cost: its ``infos`` hold ``cost``.
        metadata: by key; nested keys as "options/who".
    """

    n_steps: int
    has_cost: bool
    metadata: Mapping[str, Any]


@final
class Hdf5Episodes:
    """The groups of ``main_data.hdf5``."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path

    def _node(self, index: int, *names: str) -> Any:
        import h5py

        node = self._file
        for depth, name in enumerate((f"episode_{index}", *names)):
            node = node.get(name) if isinstance(node, h5py.Group) else None
            if node is None:
                raise _missing(index, names[:depth], self._path)
        return node

    def head(self, index: int) -> Head:
        """What is known of an episode without reading it."""
        group = self._node(index)
        rewards = self._node(index, "rewards")
        try:
            metadata = {str(key): _plain(value) for key, value in group.attrs.items()}
        except (OSError, RuntimeError) as error:
            raise DataError(f"{self._path} must be a whole HDF5 file; it is damaged ({error}). {_REMEDY}") from None
        has_cost = "infos" in group and "cost" in group["infos"]
        return Head(_length(rewards, index, self._path), has_cost, metadata)

    def arrays(
        self, index: int, head: Head, observation: Sequence[Leaf], action: Sequence[Leaf]
    ) -> dict[str, np.ndarray]:
        """observations (T + 1, obs), actions (T, act), rewards, terminations and, where there is one, costs (T,)."""
        arrays: dict[str, np.ndarray] = {}
        for field, leaves, n_rows in (
            ("observations", observation, head.n_steps + 1),
            ("actions", action, head.n_steps),
        ):
            columns = [
                _rows(
                    self._table(index, field, *leaf.path), leaf, n_rows, f"{field} of episode {index} of {self._path}"
                )
                for leaf in leaves
            ]
            arrays[field] = np.concatenate(columns, axis=1)
        arrays |= {name: _column(self._table(index, name), head, name, index, self._path) for name in _STEP_FIELDS}
        if head.has_cost:
            arrays["costs"] = _column(self._table(index, "infos", "cost"), head, "infos/cost", index, self._path)
        return arrays

    def _table(self, index: int, *names: str) -> np.ndarray:
        import h5py

        node = self._node(index, *names)
        if not isinstance(node, h5py.Dataset):
            raise _missing(index, names, self._path)
        return read_rows(node, self._path)

    def space(self, field: str) -> dict[str, Any]:
        """What the first episode's ``observations`` or ``actions`` look like, as a space without bounds."""
        import h5py

        def of(node: Any) -> dict[str, Any]:
            if isinstance(node, h5py.Group):
                return {"type": "Dict", "subspaces": {key: of(node[key]) for key in node}}
            return _unbounded(node.dtype, node.shape[1:])

        return of(self._node(0, field))


@final
class ArrowEpisodes:
    """The folders of Arrow or Parquet files."""

    def __init__(self, data: Path, data_format: str) -> None:
        self._data = data
        self._format = data_format

    def _table(self, index: int) -> Any:
        folder = self._data / str(index)
        files = sorted(folder.glob(f"*.{self._format}")) if folder.is_dir() else []
        if not files:
            raise DataError(
                f"{self._data} must hold an .{self._format} file in {index}/ for episode {index}; it has none. "
                f"{_REMEDY}"
            )
        return opened_arrow(files, self._format)

    def head(self, index: int) -> Head:
        """What is known of an episode without reading it."""
        path = self._data / str(index) / "metadata.json"
        metadata = read_json(path, error=DataError, remedy=_REMEDY)
        if not isinstance(metadata, dict) or not isinstance(metadata.get("total_steps"), int):
            raise DataError(f"{path} must say `total_steps`, a whole number; it does not. {_REMEDY}")
        schema = self._table(index).schema
        infos = schema.field("infos").type if "infos" in schema.names else None
        has_cost = infos is not None and infos.get_field_index("cost") >= 0
        return Head(metadata["total_steps"], has_cost, _flat(metadata))

    def arrays(
        self, index: int, head: Head, observation: Sequence[Leaf], action: Sequence[Leaf]
    ) -> dict[str, np.ndarray]:
        """observations (T + 1, obs), actions (T, act), rewards, terminations and, where there is one, costs (T,)."""
        path, table = self._data / str(index), self._table(index)

        def column(*names: str) -> np.ndarray:
            return numbers_of(table, names, where=f"episode {index} of {self._data}")

        arrays: dict[str, np.ndarray] = {}
        for field, leaves, pad in (("observations", observation, 0), ("actions", action, 1)):
            columns = [
                _rows(
                    column(field, *leaf.path).reshape(-1, *leaf.shape)[: table.num_rows - pad],
                    leaf,
                    head.n_steps + 1 - pad,
                    f"{field} of episode {index} of {self._data}",
                )
                for leaf in leaves
            ]
            arrays[field] = np.concatenate(columns, axis=1)
        arrays |= {name: _column(column(name)[: head.n_steps], head, name, index, path) for name in _STEP_FIELDS}
        if head.has_cost:
            arrays["costs"] = _column(column("infos", "cost"), head, "infos/cost", index, path)
        return arrays

    def space(self, field: str) -> dict[str, Any]:
        """What the first episode's ``observations`` or ``actions`` look like, as a space without bounds."""
        import pyarrow as pa

        def of(kind: Any) -> dict[str, Any]:
            if pa.types.is_struct(kind):
                return {"type": "Dict", "subspaces": {child.name: of(child.type) for child in kind}}
            if pa.types.is_fixed_size_list(kind):
                return _unbounded(np.dtype(kind.value_type.to_pandas_dtype()), (kind.list_size,))
            return {"type": str(kind)}

        schema = self._table(0).schema
        if field not in schema.names:
            raise _missing(0, (field,), self._data)
        return of(schema.field(field).type)


StoredEpisodes = Hdf5Episodes | ArrowEpisodes
"""Episodes by number, in one of the ways that Minari stores them."""


@contextmanager
def opened_episodes(data: Path, data_format: str) -> Generator[StoredEpisodes]:
    """The episodes below a ``data`` folder, open to be read.

    Raises:
        DataError: missing or damaged.
        ConfigError: pyarrow is needed, and not installed.
    """
    if data_format == "hdf5":
        with opened_hdf5(data / "main_data.hdf5") as file:
            yield Hdf5Episodes(file, data / "main_data.hdf5")
    else:
        require_pyarrow("minari")
        yield ArrowEpisodes(data, data_format)


def write_hdf5(
    file: Any, index: int, episode: Episode, leaves: Mapping[str, Sequence[Leaf]], metadata: Mapping[str, Any]
) -> None:
    """Puts one episode into an open HDF5 file.

    Args:
        file: the open file.
        index: the episode's number.
        episode: what to write.
        leaves: of "observations" and "actions".
        metadata: what is known of it.
    """
    group = file.create_group(f"episode_{index}")
    group.attrs.update({"id": index, "total_steps": episode.n_steps, **metadata})
    for field in ("observations", "actions"):
        start, table = 0, getattr(episode, field)
        for leaf in leaves[field]:
            rows = table[:, start : start + leaf.size].reshape(len(table), *leaf.shape)
            group.create_dataset("/".join((field, *leaf.path)), data=rows)
            start += leaf.size
    for name, values in _steps_of(episode).items():
        group.create_dataset(name, data=values)


def write_arrow(
    data: Path, index: int, episode: Episode, leaves: Mapping[str, Sequence[Leaf]], metadata: Mapping[str, Any]
) -> None:
    """Puts one episode into a folder of its own; arguments as for `write_hdf5`, `data` being the folder above."""
    import pyarrow as pa

    folder = data / str(index)
    folder.mkdir()
    columns: dict[str, Any] = {}
    for field, pad in (("observations", 0), ("actions", 1)):
        table = np.pad(np.asarray(getattr(episode, field)), ((0, pad), (0, 0)))
        columns[field] = _struct(table, leaves[field])
    for name, values in _steps_of(episode).items():
        if name == "infos/cost":
            columns["infos"] = pa.StructArray.from_arrays([pa.array(values)], names=["cost"])
        else:
            columns[name] = pa.array(np.pad(values, (0, 1)))
    batch = pa.RecordBatch.from_pydict(columns)
    with pa.OSFile(str(folder / "part-0.arrow"), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    known = {"id": index, "total_steps": episode.n_steps, **metadata}
    (folder / "metadata.json").write_text(json.dumps(known), encoding="utf-8")


def _steps_of(episode: Episode) -> dict[str, np.ndarray]:
    """By name: rewards, ends, and the cost where it is known, which ``infos`` have for the reset as well."""
    last = np.arange(episode.n_steps) == episode.n_steps - 1
    steps = {
        "rewards": np.zeros(episode.n_steps) if episode.rewards is None else np.asarray(episode.rewards),
        "terminations": last & episode.terminated,
        "truncations": last & (not episode.terminated),
    }
    if episode.costs is not None:
        steps["infos/cost"] = np.pad(np.asarray(episode.costs), (1, 0))
    return steps


def _struct(table: np.ndarray, leaves: Sequence[Leaf]) -> Any:
    """An Arrow column of the rows of `table`, nested as the leaves' paths say."""
    import pyarrow as pa

    def of(depth: int, members: list[tuple[Leaf, np.ndarray]]) -> Any:
        if len(members) == 1 and len(members[0][0].path) == depth:
            values = members[0][1]
            kind = pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1])
            return pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(values).ravel(), type=kind)
        below: dict[str, list[tuple[Leaf, np.ndarray]]] = {}
        for leaf, values in members:
            below.setdefault(leaf.path[depth], []).append((leaf, values))
        return pa.StructArray.from_arrays([of(depth + 1, m) for m in below.values()], names=list(below))

    ends = np.cumsum([leaf.size for leaf in leaves])
    return of(0, list(zip(leaves, np.split(table, ends[:-1], axis=1), strict=True)))


def _rows(values: np.ndarray, leaf: Leaf, n_rows: int, what: str) -> np.ndarray:
    """(row, column) the values of one leaf; `what` starts with the field's name."""
    wanted = (n_rows, *leaf.shape)
    if values.shape != wanted:
        raise DataError(
            f"The {what} must have one row for each {'observation' if what.startswith('obs') else 'action'}, shape "
            f"{wanted}"
            f"{f' at {leaf.key}' if leaf.path else ''}; got {values.shape}. {_REMEDY}"
        )
    return values.reshape(n_rows, leaf.size)


def _column(values: np.ndarray, head: Head, name: str, index: int, path: Path) -> np.ndarray:
    """(T,) one number for each step; what ``infos`` hold for the reset is left out."""
    flat = one_row(values)
    if name.startswith("infos/") and flat.shape == (head.n_steps + 1,):
        return flat[1:]
    if flat.shape != (head.n_steps,):
        raise DataError(
            f"`{name}` of episode {index} of {path} must be one number for each of its {head.n_steps} steps; got shape "
            f"{values.shape}. {_REMEDY}"
        )
    return flat


def _length(node: Any, index: int, path: Path) -> int:
    shape = getattr(node, "shape", ())
    if not shape:
        raise DataError(f"`rewards` of episode {index} of {path} must be one row of numbers; it is not. {_REMEDY}")
    return int(shape[0])


def _missing(index: int, names: Sequence[str], path: Path) -> DataError:
    what = f"`{'/'.join(names)}` of episode {index}" if names else f"`episode_{index}`"
    return DataError(f"{path} must hold {what}; it is missing. {_REMEDY}")


def _unbounded(dtype: np.dtype, shape: Sequence[int]) -> dict[str, Any]:
    return {"type": "Box", "dtype": dtype.name, "shape": list(shape), "low": -np.inf, "high": np.inf}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _flat(metadata: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in metadata.items():
        flat |= _flat(value, f"{above}{key}/") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat
