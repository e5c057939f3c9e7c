"""What many verbs are told: what stands behind them without a flag, by the name that the help gives it; how data are
read; and the flag that all verbs have."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from unbraid.demos.options import ReadOptions

__all__ = ["Data", "Json", "More", "MoreData", "Reading", "Run", "RunOrNone", "Target"]

Data = Annotated[Positional[Path], arg(metavar="DATA")]
"""Demonstrations that are read."""
Run = Annotated[Positional[Path], arg(metavar="RUN")]
"""A run's folder."""
RunOrNone = Annotated[Positional[Path | None], arg(metavar="[RUN]")]
"""The same, where it may be left out."""
Target = Annotated[Positional[Path], arg(metavar="TARGET")]
"""What is made."""
Json = Annotated[bool, arg(help="Print one JSON object on stdout and nothing else there.")]

Reading = Annotated[ReadOptions, arg(name="")]
"""What a reader is told: flags without a prefix, where a request has it as a field."""


@dataclass(frozen=True)
class MoreData:
    """What is read beside the first data set, and how all are read."""

    demos: tuple[str, ...] = ()
    """More data sets to read together with the first, their columns matched by name: paths, or ids such as
    minari:NAME."""
    weights: tuple[float, ...] = ()
    """The share of steps of each data set, in order: whole episodes of those that have too many are left out. By
    default all are kept."""
    reading: Reading = field(default_factory=ReadOptions)


More = Annotated[MoreData, arg(name="")]
"""The same, for verbs that read demonstrations."""
