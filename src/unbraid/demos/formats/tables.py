"""Tables: Parquet or CSV files, or a data frame, with a row for each step and a column that says which episode it
belongs to.

What `read_table` takes, told by options: the columns of the episode (`episode_column`), of observations
(`obs_columns`) and of actions (`action_columns`); a name that ends in ``*`` stands for all columns that begin so, and
a column of lists for all numbers in them. Optional: `reward_column`, `cost_column`, `terminated_column`, and
`labels_from` for who acted, which must stay the same within an episode.

- A row holds what was seen, the action taken on it, and the reward and cost of that action.
- Rows stand episode after episode, each in order of time; or `step_column` says their order, by numbers, dates or
  times, and they may stand anyhow.
- Actions that are whole numbers throughout are taken for continuous where a column has more than 32 values, and said;
  else they are refused, as a choice among few would be.
- **A last row of an episode whose actions are empty holds its final observation. Where there is none, the last row's
  observation becomes the final one, and its action, reward and cost are left out**; such an episode does not count as
  terminated, and one of a single row vanishes. `facts` says so. No other cell may be empty.

`write_table` writes Parquet or CSV by the ending of the path, with final rows, and the rest (types, bounds, names,
facts) in the metadata of the Parquet file, or beside the CSV file in one that ends in ``.csv.json``; with it no
options are needed, and nothing is lost. CSV holds the shortest decimal numbers that give the same floating-point
numbers back.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.arrays import demos_from_arrays
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.arrow import columns_of, numbers_of, plain, require_pyarrow, saying_what_is_damaged
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.notes import bounds_from
from unbraid.demos.formats.tables_columns import Roles, csv_header, csv_types, described, naming_the_cell, roles_from
from unbraid.demos.formats.tables_write import table_not_held, write_table, write_table_parts
from unbraid.demos.left_out import with_left_out
from unbraid.demos.options import ReadOptions, require_options
from unbraid.demos.parts import parts_of, spans_of

__all__ = ["FORMAT", "demos_from_table", "read_table", "read_table_parts", "write_table", "write_table_parts"]

_MOST_CHOICES = 32


def _recognise(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PAR1":
                return "it begins as Parquet does"
        if path.suffix.lower() != ".csv":
            return None
        names = csv_header(path)
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return f"it ends in .csv, and its first line names {len(names)} columns" if len(names) > 1 else None


def demos_from_table(frame: Any, options: ReadOptions, *, source: str = "the table") -> Demos:
    """Demonstrations from a table in memory.

    Args:
        frame: a pandas or polars data frame, an Arrow table, or columns by name. In pandas NaN counts as empty.
        options: which columns are what.
        source: what messages call it.

    Raises:
        DataError: empty cells, an episode in two places, or what else does not fit.
        ConfigError: the columns are not named, or not there; or pyarrow is missing.
    """
    require_options(options)
    require_pyarrow("tables")
    import pyarrow as pa

    try:
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ConfigError(
            f"{source} must be a data frame, an Arrow table or columns by name; got {type(frame).__name__} ({error}). "
            "Convert it first."
        ) from None
    roles = roles_from(options, table.column_names, source)
    return _demos(table.select(list(roles.all())), roles, Path(source), None)


def read_table(path: Path, options: ReadOptions) -> Demos:
    """Demonstrations from a Parquet or CSV file, in memory.

    Args:
        path: the file.
        options: which columns are what; not needed for a file that `write_table` wrote.

    Raises:
        DataError: missing, truncated; empty cells, an episode in two places, or what else does not fit.
        ConfigError: the columns are not named, or not there; or pyarrow is missing.
    """
    require_pyarrow("tables")
    roles, ours = described(path, options)
    return _demos(_joined(_batches(path, roles, ours), path), roles, path, ours)


def read_table_parts(path: Path, options: ReadOptions, n_steps: int) -> Iterator[Demos]:
    """The same in parts of whole episodes, of about `n_steps` steps.

    A table that `write_table` wrote is read part after part. Of another one nothing is known until all is read: where
    an episode goes on, who acts, and whether there are final observations.
    """
    require_pyarrow("tables")
    roles, ours = described(path, options)
    if ours is None or ours["label_names"] is None:
        yield from parts_of(read_table(path, options), n_steps)
        return
    rest: list[Any] = []
    for batch in _batches(path, roles, ours):
        table = _joined([*rest, batch], path)
        spans = _spans(table, roles, n_steps)
        for first, last in spans[:-1]:
            yield _demos(table.slice(first, last - first), roles, path, ours)
        rest = [table.slice(spans[-1][0])]  # more of its last episode, or another that belongs to it, may come
    table = _joined(rest, path)
    for first, last in _spans(table, roles, n_steps):
        yield _demos(table.slice(first, last - first), roles, path, ours)


def _spans(table: Any, roles: Roles, n_steps: int) -> list[tuple[int, int]]:
    """(first, last + 1) of the rows that make up one part; a row of each episode is no step."""
    episode = table.column(roles.episode).to_numpy()
    starts = np.concatenate([[0], np.flatnonzero(episode[1:] != episode[:-1]) + 1, [len(episode)]])
    return [(int(starts[first]), int(starts[last])) for first, last in spans_of(np.diff(starts) - 1, n_steps)]


def _batches(path: Path, roles: Roles, ours: Mapping[str, Any] | None) -> Iterator[Any]:
    """The columns that are read, as tables of some rows; all rows at once where their types show only then."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    columns = list(roles.all())
    if path.suffix.lower() != ".csv":
        with saying_what_is_damaged(path, "Parquet"), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns):
                yield pa.Table.from_batches([batch]).select(columns)
        return
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    types = csv_types(roles, ours, path)
    convert = pa_csv.ConvertOptions(
        column_types=types,
        include_columns=columns,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with saying_what_is_damaged(path, "CSV"), naming_the_cell(path, types):
        if ours is None:
            yield pa_csv.read_csv(path, parse_options=parse, convert_options=convert)
            return
        with pa_csv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


def _joined(tables: Iterable[Any], path: Path) -> Any:
    import pyarrow as pa

    every = [table for table in tables if table.num_rows]
    if not every:
        raise DataError(f"{path} must have rows; it has none. Give another table.")
    return pa.concat_tables(every)


def _demos(table: Any, roles: Roles, path: Path, ours: Mapping[str, Any] | None) -> Demos:
    where = str(path)
    if table.num_rows == 0:
        raise DataError(f"{where} must have rows; it has none. Give another table.")
    table, codes = _in_order(table, roles, where)
    counts = np.bincount(codes)
    ends = np.cumsum(counts)
    final = _is_final(table, roles, codes, ends, where)
    kept = final | (counts > 1)
    if not kept.any():
        raise DataError(
            f"{where} must hold an episode of at least 2 rows, or a last row with empty actions; its {len(counts)} "
            "episodes have neither. Add what was seen last."
        )
    rows = np.repeat(kept, counts)
    steps = rows.copy()
    steps[ends - 1] = False
    names = _names(table, roles.observations, where)
    arrays = {"observations": columns_of(table, roles.observations, where=where)[rows], "lengths": counts[kept] - 1}
    acted = table.filter(steps)
    arrays["actions"] = columns_of(acted, roles.actions, where=where)
    for ours_name, name in (("rewards", roles.reward), ("costs", roles.cost)):
        if name is not None:
            arrays[ours_name] = numbers_of(acted, (name,), where=where)
    arrays["terminated"] = (_terminated(table, roles, ends, where) & final)[kept]
    first = table.take((ends - counts)[kept])
    if roles.seed is not None:
        arrays["seeds"] = numbers_of(first, (roles.seed,), where=where)
    label_names: tuple[str, ...] = () if ours is None else tuple(ours["label_names"] or ())
    if roles.label is not None:
        told = None if ours is None else ours["label_names"]
        labels, label_names = _labels(table, roles.label, codes, told, where)
        arrays["labels"] = labels[kept]
    arrays |= bounds_from(ours or {})
    if ours is None:
        facts: dict[str, Any] = {"action_names": _names(table, roles.actions, where)}
        arrays["actions"], told = _as_continuous(arrays["actions"], facts["action_names"])
        facts = with_left_out(facts, told) if told else facts
        if not final.all():
            facts |= {"dropped_last_actions": True, "dropped_one_step_episodes": int((~kept).sum())}
    else:
        facts, names = ours["facts"], list(ours["observation_names"])
    return demos_from_arrays(arrays, source=path, label_names=label_names, observation_names=tuple(names), facts=facts)


def _in_order(table: Any, roles: Roles, where: str) -> tuple[Any, Int[np.ndarray, "row"]]:
    """The table in order of episodes and time, and (row,) the number of the episode, by first appearance."""
    import pyarrow as pa

    column = plain(table.column(roles.episode))
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"`{roles.episode}` of {where} must say for every row which episode it is; row {row} is empty. Fill it."
        )
    encoded = column.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if roles.step is None:
        back = np.flatnonzero(np.diff(codes) < 0)
        jumps = np.flatnonzero(np.diff(codes, prepend=-1) > 1)
        if len(back) or len(jumps):
            row = int(back[0]) + 1 if len(back) else int(jumps[0])
            raise DataError(
                f"The rows of an episode of {where} must stand together; episode "
                f"{encoded.dictionary[int(codes[row])]} goes on "
                f"at row {row}, after another. Say which column counts the steps: --step-column"
            )
        return table, codes
    time = _times(table, roles.step, where)
    order = np.lexsort((time, codes))
    codes, time = codes[order], time[order]
    same = np.flatnonzero((np.diff(codes) == 0) & ~(np.diff(time) > 0))
    if len(same):
        row = int(same[0])
        twice = table.column(roles.step)[int(order[row])].cast(pa.string())
        raise DataError(
            f"`{roles.step}` of {where} must differ between the rows of an episode; episode "
            f"{encoded.dictionary[int(codes[row])]} has {twice} twice. Choose another column, or leave out what "
            "is double."
        )
    return table.take(order), codes


def _times(table: Any, name: str, where: str) -> np.ndarray:
    """(row,) numbers that order the rows: dates and times count in whole units since their beginning."""
    import pyarrow as pa

    column = table.column(name)
    if pa.types.is_temporal(column.type):
        whole = pa.int32() if column.type.bit_width == 32 else pa.int64()
        table = table.set_column(table.column_names.index(name), name, column.cast(whole))
    return numbers_of(table, (name,), where=where)


def _is_final(
    table: Any, roles: Roles, codes: Int[np.ndarray, "row"], ends: Int[np.ndarray, "episode"], where: str
) -> np.ndarray:
    """(episode,) whether the last row has empty actions, and so only shows what was seen last."""
    empty = np.stack([table.column(name).is_null().to_numpy() for name in roles.actions])
    wholly = np.atleast_1d(empty.all(axis=0))
    partly = np.flatnonzero(empty.any(axis=0) & ~wholly)
    within = np.ones(table.num_rows, dtype=bool)
    within[ends - 1] = False
    astray = partly if len(partly) else np.flatnonzero(wholly & within)
    if len(astray):
        row = int(astray[0])
        step = row - int(np.searchsorted(codes, codes[row]))
        name = roles.actions[int(empty[:, row].argmax())]
        raise DataError(
            f"`{name}` of {where} must hold a number in every row but an episode's last, where all actions may be "
            f"empty; it is empty at step {step} of episode {codes[row]} (counted from 0). Fill it, or leave the "
            "episode out."
        )
    return wholly[ends - 1]


def _terminated(table: Any, roles: Roles, ends: Int[np.ndarray, "episode"], where: str) -> np.ndarray:
    """(episode,) whether the world ended it: said at its last action, or at the observation after that."""
    if roles.terminated is None:
        return np.zeros(len(ends), dtype=bool)
    flags = numbers_of(table, (roles.terminated,), where=where, allow_empty=True)
    flags = np.nan_to_num(flags.astype(np.float64)) != 0
    said = flags[ends - 1] | flags[np.maximum(ends - 2, np.concatenate([[0], ends[:-1]]))]
    flags[ends - 1] = False
    flags[np.maximum(ends - 2, 0)] = False
    if flags.any():
        episode = int(np.searchsorted(ends, int(flags.argmax()), side="right"))
        raise DataError(
            f"`{roles.terminated}` of {where} must be true at an episode's end only; it is so in the middle of episode "
            f"{episode} (counted from 0). Split the episode there, or leave the column out."
        )
    return said


def _as_continuous(actions: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, str | None]:
    """(step, act) the actions, and a sentence where they become floating-point: whole numbers, of which a column has
    more values than a choice among few would have. (A table does not say which numbers are meant to be whole.)"""
    if actions.dtype.kind not in "iu" or actions.size == 0:
        return actions, None
    n_values = [len(np.unique(column)) for column in actions.T]
    most = int(np.argmax(n_values))
    if n_values[most] <= _MOST_CHOICES:
        return actions, None
    told = f"Actions are whole numbers, taken for continuous: `{names[most]}` has {n_values[most]} values."
    return actions.astype(np.float64), told


def _names(table: Any, names: Sequence[str], where: str) -> list[str]:
    """A name for every number: the column's, or "column[0]", "column[1]", ... for a column of lists."""
    widths = [numbers_of(table.slice(0, 1), (n,), where=where, allow_empty=True).shape[1:] for n in names]
    return [f"{n}[{i}]" if w else n for n, w in zip(names, widths, strict=True) for i in range(w[0] if w else 1)]


def _labels(
    table: Any, name: str, codes: Int[np.ndarray, "row"], told: Sequence[str] | None, where: str
) -> tuple[Int[np.ndarray, "episode"], tuple[str, ...]]:
    """(episode,) who acted, and their names: those that were noted, or else those that occur."""
    column = plain(table.column(name))
    encoded = column.dictionary_encode()
    labels = encoded.indices.to_numpy(zero_copy_only=False)
    starts = np.searchsorted(codes, np.arange(codes[-1] + 1))
    wrong = np.flatnonzero(
        (labels != labels[starts][codes]) | column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    )
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"`{name}` of {where} must be there and stay the same within an episode to be its label; it does not in "
            f"episode {codes[row]} (counted from 0), at its step {row - starts[codes[row]]}. Name another column with "
            "--labels-from, or leave it out: nothing is learned from labels."
        )
    values = [str(value) for value in encoded.dictionary.to_pylist()]
    if told is None:
        names = [str(value) for value in sorted(encoded.dictionary.to_pylist())]
        places = [names.index(value) for value in values]
    else:
        names = list(told)
        places = [names.index(v) if v in names and len(set(names)) == len(names) else int(v) for v in values]
    return np.array(places, dtype=np.int64)[labels[starts].astype(np.int64)], tuple(names)


FORMAT = Format(
    name="tables",
    title="a table",
    endings=(".parquet", ".csv"),
    options=frozenset(
        {
            "action_columns",
            "cost_column",
            "episode_column",
            "labels_from",
            "obs_columns",
            "reward_column",
            "step_column",
            "terminated_column",
        }
    ),
    recognise=_recognise,
    read=read_table,
    write=write_table,
    not_held=table_not_held,
    read_parts=read_table_parts,
    write_parts=write_table_parts,
)
