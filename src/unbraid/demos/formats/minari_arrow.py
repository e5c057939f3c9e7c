"""Minari with its data in Arrow or Parquet files: read as every Minari set, written as Arrow."""

from pathlib import Path

from unbraid.demos.formats.format import Format
from unbraid.demos.formats.minari import (
    minari_not_held,
    read_minari,
    read_minari_parts,
    stored_as,
    write_minari_arrow,
    write_minari_arrow_parts,
)

__all__ = ["FORMAT"]


def _recognise(path: Path) -> str | None:
    stored = stored_as(path)
    return f"`metadata.json` has a minari_version, and data in {stored}" if stored in ("arrow", "parquet") else None


FORMAT = Format(
    name="minari_arrow",
    title="a Minari set in Arrow files",
    endings=(),
    options=frozenset({"labels_from", "obs"}),
    recognise=_recognise,
    read=read_minari,
    write=write_minari_arrow,
    not_held=minari_not_held,
    read_parts=read_minari_parts,
    write_parts=write_minari_arrow_parts,
)
