"""A person's answers in one file, beside how situations were read then, without which the numbers mean nothing."""

from pathlib import Path

from unbraid.core.errors import DataError
from unbraid.core.runs import read_json, write_json
from unbraid.switching.preferences import Preferences, preferences_from_json
from unbraid.switching.situations import SituationReader, reader_from_json

__all__ = ["load_answers", "save_answers"]

_READER = "situations"


def save_answers(path: Path, preferences: Preferences, reader: SituationReader) -> None:
    """Writes answers and their reader, in place of what lies there.

    Raises:
        StorageError: the disk refused.
    """
    write_json(path, {**preferences.to_json(), _READER: reader.to_json()})


def load_answers(path: Path) -> tuple[Preferences, SituationReader | None]:
    """The answers in a file, and their reader, where the file has one; `Preferences.save` writes none.

    Raises:
        DataError: no such file, not JSON, another format or a newer version, or parts that are missing or damaged.
    """
    content = read_json(path, error=DataError, remedy="Restore it from a copy, or move it away and ask anew.")
    found = preferences_from_json(content, str(path))
    reader = content.get(_READER)
    return found, None if reader is None else reader_from_json(reader, str(path))
