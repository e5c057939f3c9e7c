"""What stands behind a verb without a flag, by the name that the help gives it; and the flag that all verbs have."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

__all__ = ["Data", "Json", "Run", "RunOrNone", "Target"]

Data = Annotated[Positional[Path], arg(metavar="DATA")]
"""Demonstrations that are read."""
Run = Annotated[Positional[Path], arg(metavar="RUN")]
"""A run's folder."""
RunOrNone = Annotated[Positional[Path | None], arg(metavar="[RUN]")]
"""The same, where it may be left out."""
Target = Annotated[Positional[Path], arg(metavar="TARGET")]
"""What is made."""
Json = Annotated[bool, arg(help="Print one JSON object on stdout and nothing else there.")]
