"""Which columns of a table are what: as the options say, or as unbraid noted when it wrote the table."""

import csv
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.formats.arrow import saying_what_is_damaged
from unbraid.demos.formats.notes import notes_from
from unbraid.demos.formats.tables_write import notes_beside
from unbraid.demos.options import ReadOptions

__all__ = ["Roles", "csv_header", "csv_types", "described", "naming_the_cell", "roles_from"]

_REMEDY = "Restore it from a copy, or write it again."
_FLAGS = ("false", "False", "FALSE", "true", "True", "TRUE")


@dataclass(frozen=True)
class Roles:
    """Which columns are what."""

    episode: str
    observations: tuple[str, ...]
    actions: tuple[str, ...]
    step: str | None = None
    reward: str | None = None
    cost: str | None = None
    terminated: str | None = None
    seed: str | None = None
    label: str | None = None

    def all(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        single = (self.episode, self.step, self.reward, self.cost, self.terminated, self.seed, self.label)
        return tuple(dict.fromkeys((*self.observations, *self.actions, *(name for name in single if name is not None))))


def described(path: Path, options: ReadOptions) -> tuple[Roles, dict[str, Any] | None]:
    """Which columns of a file are what, and what unbraid noted on it; None where that is not there or not asked for.

    Raises:
        DataError: missing or damaged, two columns of one name, or notes that do not fit.
        ConfigError: the columns are not named, or not there.
    """
    names, ours = _described_csv(path) if path.suffix.lower() == ".csv" else _described_parquet(path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"The columns of {path} must have different names; {twice!r} is there twice. Rename one.")
    if ours is None or replace(options, labels_from=None) != ReadOptions():
        return roles_from(options, names, str(path)), None
    roles = _our_roles(ours, names, path)
    if options.labels_from is None:
        return roles, ours
    label = _one(options.labels_from, names, "labels_from", str(path))
    return replace(roles, label=label), ours | {"label_names": None}


def _described_parquet(path: Path) -> tuple[list[str], dict[str, Any] | None]:
    import pyarrow.parquet as pq

    with saying_what_is_damaged(path, "Parquet"):
        schema = pq.read_schema(path)
    text = (schema.metadata or {}).get(b"unbraid")
    return list(schema.names), None if text is None else _ours(text, "unbraid", path)


def _described_csv(path: Path) -> tuple[list[str], dict[str, Any] | None]:
    try:
        names = csv_header(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be CSV in UTF-8; {error}. Save it so.") from None
    except OSError as error:
        raise DataError(f"{path} must be readable; the system said: {error.strerror}. Check the path.") from None
    beside = notes_beside(path)
    return names, _ours(beside.read_bytes(), beside.name, path) if beside.is_file() else None


def _ours(text: bytes, where: str, path: Path) -> dict[str, Any]:
    notes = notes_from(text, where=where, source=path)
    return json.loads(text) | notes


def csv_header(path: Path) -> list[str]:
    """The names of a CSV file's columns, as its first line has them; none where it is empty."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _our_roles(ours: Mapping[str, Any], names: Sequence[str], path: Path) -> Roles:
    known = {field.name for field in fields(Roles)}
    noted = ours.get("columns")
    told: dict[str, Any] = {}
    if isinstance(noted, dict):
        told = {key: tuple(value) if isinstance(value, list) else value for key, value in noted.items()}
    missing = {"episode", "observations", "actions"} - set(told)
    if missing or not set(told) <= known or not isinstance(ours.get("dtypes"), dict):
        raise DataError(f"What unbraid noted on {path} must say which columns are what; it does not. {_REMEDY}")
    roles = Roles(**told)
    for name in roles.all():
        if name not in names:
            raise DataError(
                f"{path} must have the column {name!r}, as unbraid noted; it has {', '.join(names)}. {_REMEDY}"
            )
    return roles


def roles_from(options: ReadOptions, names: Sequence[str], source: str) -> Roles:
    """Which columns are what, as the options say."""
    asked = {name: getattr(options, name) for name in ("episode_column", "obs_columns", "action_columns")}
    for name, value in asked.items():
        if not value:
            flags = " ".join("--" + n.replace("_", "-") for n in asked)
            raise ConfigError(
                f"{source} is a table, whose columns must be named with {flags}; {name} is not given. Choose among "
                f"{', '.join(names)}."
            )
    optional = {
        "step": "step_column",
        "reward": "reward_column",
        "cost": "cost_column",
        "terminated": "terminated_column",
        "label": "labels_from",
    }
    singles = {role: getattr(options, name) for role, name in optional.items()}
    roles = Roles(
        _one(options.episode_column or "", names, "episode_column", source),
        _several(options.obs_columns, names, "obs_columns", source),
        _several(options.action_columns, names, "action_columns", source),
        **{role: _one(name, names, optional[role], source) for role, name in singles.items() if name is not None},
    )
    _require_apart(roles, source)
    return roles


def _require_apart(roles: Roles, source: str) -> None:
    """Raises `ConfigError` where what says whose a row is would also be seen or done in it."""
    for option, name in (("--episode-column", roles.episode), ("--labels-from", roles.label)):
        for others, several in (("--obs-columns", roles.observations), ("--action-columns", roles.actions)):
            if name in several:
                raise ConfigError(
                    f"{option} of {source} must be no observation or action; {name!r} is among the {others}, too. "
                    f"Leave it out there, or name another column with {option}."
                )


def _one(name: str, names: Sequence[str], option: str, source: str) -> str:
    if name not in names:
        raise ConfigError(
            f"--{option.replace('_', '-')} must name a column of {source}; there is no {name!r}. Choose among "
            f"{', '.join(names)}."
        )
    return name


def _several(asked: Iterable[str], names: Sequence[str], option: str, source: str) -> tuple[str, ...]:
    found: list[str] = []
    for name in asked:
        begins = name.endswith("*") and name not in names
        matching = [other for other in names if other.startswith(name[:-1])] if begins else []
        found += matching or [_one(name, names, option, source)]
    return tuple(dict.fromkeys(found))


def csv_types(roles: Roles, ours: Mapping[str, Any] | None, path: Path) -> dict[str, Any]:
    """The Arrow types of a CSV file's columns, so that they do not depend on what their numbers look like.

    Columns of others that may hold true and false do where their first row has such a word.
    """
    import pyarrow as pa

    dtypes = {} if ours is None else ours["dtypes"]
    single = ((roles.reward, "rewards"), (roles.cost, "costs"))
    told = {name: dtypes.get(key, "float64") for name, key in single if name is not None}
    told |= {name: dtypes.get("observations", "float64") for name in roles.observations}
    told |= {name: dtypes.get("actions", "float64") for name in roles.actions}
    if ours is not None and roles.step is not None:
        told[roles.step] = "float64"  # the step of others may be a date or a time, which shows only in all of its rows
    types = {name: pa.from_numpy_dtype(np.dtype(dtype)) for name, dtype in told.items()}
    if ours is None:
        flags = _written_as_flags(path) & {*roles.observations, roles.reward, roles.cost}
        types |= {name: pa.bool_() for name in flags if name is not None}
    types |= {name: pa.string() for name in (roles.episode, roles.label) if name is not None}
    return types | ({} if roles.seed is None else {roles.seed: pa.int64()})


def _written_as_flags(path: Path) -> set[str | None]:
    """The columns of a CSV file whose first row says true or false."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = next(csv.DictReader(file), {})
    return {name for name, cell in first.items() if cell in _FLAGS}


@contextmanager
def naming_the_cell(path: Path, types: Mapping[str, Any]) -> Generator[None]:
    """Says where a CSV file holds something else than a number, which pyarrow does not; what else it says, passes.

    Args:
        path: the file.
        types: the Arrow types of the columns that must hold numbers, or anything, by name.

    Raises:
        DataError: a cell holds no number of its column's type, or the file is no UTF-8.
    """
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid:
        _require_utf8(path)
        numbers = {n: _reader_of(t) for n, t in types.items() if not pa.types.is_string(t)}
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                for name, number in numbers.items():
                    if not _is_written_as(number, row.get(name)):
                        raise DataError(
                            f"`{name}` of {path} must hold numbers; line {reader.line_num} holds {row[name]!r:.60}. "
                            "Correct it, or leave it empty where an episode's last row has no action."
                        ) from None
        raise


def _require_utf8(path: Path) -> None:
    """Raises `DataError` that names the first line which is no UTF-8."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                told = f"line {number} is not ({error.reason})"
                raise DataError(f"{path} must be CSV in UTF-8; {told}. Save it so.") from None


def _reader_of(kind: Any) -> Callable[[str], int | float]:
    """What reads a cell of an Arrow type, or raises a ValueError."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return ("0", "1", *_FLAGS).index  # as pyarrow reads them
    return int if pa.types.is_integer(kind) else float


def _is_written_as(number: Callable[[str], int | float], cell: str | None) -> bool:
    try:
        return not cell or number(cell) is not None
    except ValueError:
        return False
