"""What the tables of the pages are made of: numbers with their intervals, and rows."""

from collections.abc import Mapping
from typing import Any


def interval(estimate: Mapping[str, Any], decimals: int = 2) -> str:
    """A value with its 95 % interval."""
    if estimate["low"] is None:
        return f"{estimate['value']:.{decimals}f} (interval not estimable)"
    return f"{estimate['value']:.{decimals}f} [{estimate['low']:.{decimals}f}, {estimate['high']:.{decimals}f}]"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
