"""Arrow, Parquet and CSV files of others: opened so that damage, or a missing pyarrow, is told in our words."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError

__all__ = ["columns_of", "numbers_of", "opened_arrow", "plain", "require_pyarrow", "saying_what_is_damaged"]


def require_pyarrow(extra: str) -> None:
    """Raises `ConfigError` where pyarrow is not installed, saying that ``unbraid[extra]`` brings it."""
    if find_spec("pyarrow") is None:
        raise ConfigError(
            "Reading and writing this format needs pyarrow; it is not installed. Install it: `pip install "
            f"'unbraid[{extra}]'`"
        )


@contextmanager
def saying_what_is_damaged(path: Path, kind: str) -> Generator[None]:
    """Turns what pyarrow says of a file that it cannot read into a `DataError`."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} must exist; there is no such file. Check the path.") from None
    except (pa.ArrowException, OSError) as error:
        said = str(error).strip().splitlines() or ["nothing more"]
        raise DataError(
            f"{path} must be a whole {kind} file; it is truncated or damaged ({said[0]:.160}). Restore it from a "
            "copy, or write it again."
        ) from None


def opened_arrow(files: Sequence[Path], kind: str, columns: Sequence[str] | None = None) -> Any:
    """The table that files of one schema make up, end to end: memory-mapped for "arrow", in memory for "parquet".

    Raises:
        DataError: a file is missing, truncated, or has other columns than the first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[Any] = []
    for path in files:
        with saying_what_is_damaged(path, kind):
            if kind == "arrow":
                with pa.memory_map(str(path)) as source:
                    table = pa.ipc.open_file(source).read_all()
                tables.append(table if columns is None else table.select(list(columns)))
            else:
                with pq.ParquetFile(path) as file:
                    tables.append(file.read(columns=None if columns is None else list(columns)))
        if not tables[-1].schema.equals(tables[0].schema):
            raise DataError(
                f"{path} must have the columns of {files[0].name}, of the same types; it has "
                f"{', '.join(tables[-1].schema.names)}. Write the set again."
            )
    return pa.concat_tables(tables)


def plain(column: Any) -> Any:
    """A column in one piece, its values in place: a dictionary may be in any order, with values that no row has."""
    import pyarrow as pa

    kind = column.type
    return (column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column).combine_chunks()


def numbers_of(table: Any, names: Sequence[str], *, where: str, allow_empty: bool = False) -> np.ndarray:
    """The numbers of a column, (row,) or, of a column of lists that are all as long, (row, width).

    Args:
        table: an Arrow table.
        names: the column's name; then those of the fields below it, where it is nested.
        where: what the table is, for the message.
        allow_empty: give NaN for empty cells of a column of single numbers.

    Raises:
        DataError: missing, empty cells, lists of several lengths, or no numbers.
    """
    import pyarrow as pa

    name = "/".join(names)
    if names[0] not in table.column_names:
        raise DataError(
            f"{where} must have a column `{names[0]}`; it has {', '.join(table.column_names)}. Name one that is there."
        )
    values = plain(pa.chunked_array(table.column(names[0]).chunks, table.schema.field(names[0]).type))
    values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    for child in names[1:]:
        if not pa.types.is_struct(values.type) or values.type.get_field_index(child) < 0:
            raise DataError(f"{where} must hold `{name}`; there is no `{child}` in it. Restore it from a copy.")
        values = values.field(child)
    n_rows, width = len(values), None
    if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        _require_full(values, name, where)
        lengths = np.unique(values.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise DataError(
                f"`{name}` of {where} must hold lists of one length; it holds lengths {lengths[0]} to {lengths[-1]}. "
                "Repair it, or choose another column."
            )
        width = int(lengths[0]) if len(lengths) else 0
        values = values.flatten()
    values = values.cast(pa.float64()) if pa.types.is_decimal(values.type) else values
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        if not (allow_empty and pa.types.is_null(kind)):
            raise DataError(f"`{name}` of {where} must hold numbers; it holds {kind}. Choose another column.")
        return np.full(n_rows, np.nan)
    if not allow_empty:
        _require_full(values, name, where)
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers if width is None else numbers.reshape(n_rows, width)


def columns_of(table: Any, names: Sequence[str], *, where: str) -> np.ndarray:
    """(row, column) the numbers of several columns side by side; arguments and errors as for `numbers_of`."""
    columns = [numbers_of(table, (name,), where=where) for name in names]
    return np.concatenate([c if c.ndim == 2 else c[:, None] for c in columns], axis=1)


def _require_full(values: Any, name: str, where: str) -> None:
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"`{name}` of {where} must hold a number in every row; row {row} is empty. Fill it, or leave the episode "
            "out."
        )
