"""Writes a table: Parquet or CSV by the ending of the path, a row for each observation.

Columns: ``episode`` and ``step`` (both count from 0); the observations by their names, or ``obs_0``, ``obs_1``, ...;
the actions by ``facts["action_names"]``, or ``action_0``, ...; and where they are known ``reward``, ``cost``, ``seed``
and ``label``; ``terminated`` is true at the last action of an episode that the world ended. The last row of an episode
is its final observation: its action, reward and cost are empty.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.runs import new_file
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.arrow import require_pyarrow
from unbraid.demos.formats.format import PART_STEPS
from unbraid.demos.formats.notes import beside_the_format, bounds_noted, notes_text
from unbraid.demos.parts import parts_of

__all__ = ["notes_beside", "table_not_held", "write_table", "write_table_parts"]

_OURS = ("episode", "step", "reward", "cost", "terminated", "seed", "label")


def notes_beside(path: Path) -> Path:
    """The file that has what a CSV file has no place for."""
    return path.with_name(path.name + ".json")


def table_not_held(demos: Demos) -> tuple[str, ...]:
    """What is kept where other readers of tables do not look."""
    held = ("costs", "seeds", "labels", "observation_names")
    return beside_the_format(demos, place="the Parquet file's metadata, or in a .json beside the CSV file", held=held)


def write_table(demos: Demos, path: Path) -> Path:
    """Writes one table, whole or not at all.

    Raises:
        ConfigError: the path ends neither in .parquet nor in .csv, or pyarrow is not installed.
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already, or the notes beside it.
        StorageError: the disk refused; nothing is left behind.
    """
    return write_table_parts(parts_of(demos, PART_STEPS), path)


def write_table_parts(parts: Iterator[Demos], path: Path) -> Path:
    """The same from parts that have the same fields, names and facts."""
    require_pyarrow("tables")
    ending = path.suffix.lower()
    if ending not in (".parquet", ".csv"):
        raise ConfigError(f"A table must be written as .parquet or .csv; got {path.name}. Name the file so.")
    with ExitStack() as stack:
        temporary = stack.enter_context(new_file(path))
        # entered last, so renamed first: a CSV file is never seen without its notes
        beside = stack.enter_context(new_file(notes_beside(path))) if ending == ".csv" else None
        put: Callable[[Any], None] | None = None
        columns: dict[str, Any] = {}
        n_episodes = 0
        with ExitStack() as file:
            for part in parts:
                if put is None:
                    columns = _columns(part)
                    notes = _notes(part, columns)
                    put = _opened(temporary, _table(part, columns, 0).schema, notes, beside, file)
                put(_table(part, columns, n_episodes))
                n_episodes += part.n_episodes
        if put is None:
            raise DataError("Demonstrations must hold at least one episode; got none. Record or select some.")
    return path


def _opened(temporary: Path, schema: Any, notes: str, beside: Path | None, file: ExitStack) -> Callable[[Any], None]:
    """What appends a table to the new file."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    if beside is None:
        schema = schema.with_metadata({"unbraid": notes})
        writer = file.enter_context(pq.ParquetWriter(temporary, schema))
        return lambda table: writer.write_table(table.cast(schema))
    beside.write_text(notes, encoding="utf-8")
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(schema.names)
    sink = file.enter_context(pa.OSFile(str(temporary), "wb"))
    sink.write(header.getvalue().encode())
    rows = file.enter_context(pa_csv.CSVWriter(sink, schema, write_options=pa_csv.WriteOptions(include_header=False)))
    return rows.write_table


def _columns(demos: Demos) -> dict[str, Any]:
    """Which columns are what, as the reader wants to be told; names that would clash or break a line become numbers."""
    told = demos.facts.get("action_names")
    action_names = [str(name) for name in told] if isinstance(told, list) else []
    names = {
        "observations": (list(demos.observation_names), "obs", demos.observation_size),
        "actions": (action_names, "action", demos.action_size),
    }
    columns: dict[str, Any] = {"episode": "episode", "step": "step"}
    taken = set(_OURS)
    for key, (wanted, word, width) in names.items():
        usable = len(wanted) == width == len(set(wanted)) and not taken & set(wanted) and all(map(_is_plain, wanted))
        columns[key] = wanted if usable else [f"{word}_{i}" for i in range(width)]
        taken |= set(columns[key])
    if len(taken) < len(_OURS) + demos.observation_size + demos.action_size:
        columns |= {key: [f"{word}_{i}" for i in range(width)] for key, (_, word, width) in names.items()}
    present = {"reward": demos.rewards, "cost": demos.costs, "seed": demos.seeds, "label": demos.labels}
    return columns | {"terminated": "terminated"} | {key: key for key, values in present.items() if values is not None}


def _is_plain(name: str) -> bool:
    return name != "" and name == name.strip() and name.isprintable()


def _notes(demos: Demos, columns: Mapping[str, Any]) -> str:
    dtypes = {"observations": demos.observations.dtype.name, "actions": demos.actions.dtype.name}
    dtypes |= {n: v.dtype.name for n, v in (("rewards", demos.rewards), ("costs", demos.costs)) if v is not None}
    return notes_text(demos, columns=columns, dtypes=dtypes, **bounds_noted(demos))


def _table(demos: Demos, columns: Mapping[str, Any], first_episode: int) -> Any:
    """The rows of some episodes, as an Arrow table."""
    import pyarrow as pa

    rows_of = np.repeat(np.arange(demos.n_episodes), demos.lengths + 1)
    final = np.zeros(len(rows_of), dtype=bool)
    final[demos.row_starts[1:] - 1] = True

    def by_step(values: np.ndarray) -> Any:
        spread = np.zeros(len(rows_of), dtype=values.dtype)
        spread[~final] = values
        return pa.array(spread, mask=final)

    ends = np.maximum(demos.row_starts[1:] - 2, demos.row_starts[:-1])
    terminated = np.zeros(len(rows_of), dtype=bool)
    terminated[ends] = demos.terminated
    table: dict[str, Any] = {
        "episode": first_episode + rows_of,
        "step": np.arange(len(rows_of)) - demos.row_starts[:-1][rows_of],
    }
    table |= {name: np.ascontiguousarray(demos.observations[:, i]) for i, name in enumerate(columns["observations"])}
    table |= {name: by_step(np.ascontiguousarray(demos.actions[:, i])) for i, name in enumerate(columns["actions"])}
    table |= {name: by_step(v) for name, v in (("reward", demos.rewards), ("cost", demos.costs)) if v is not None}
    table["terminated"] = terminated
    if demos.seeds is not None:
        table["seed"] = demos.seeds[rows_of]
    if demos.labels is not None:
        named = _label_texts(demos.label_names)
        table["label"] = pa.array([named[label] for label in demos.labels[rows_of].tolist()], type=pa.string())
    return pa.table(table)


def _label_texts(names: Sequence[str]) -> list[str]:
    """The experts' names, or their numbers where two have the same."""
    return list(names) if len(set(names)) == len(names) else [str(i) for i in range(len(names))]
