"""How a number is written: with its interval and its n, or as not estimable.

An estimate is ``{"value": x, "low": l, "high": h, "n": n, "unit_of_n": "episodes"}``; `low` and `high` are the ends
of its interval, null where none can be given. A bare number is an estimate that came without an interval.
"""

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "SCORE_DECIMALS",
    "as_estimate",
    "count_text",
    "counted",
    "decimals_of",
    "estimate_text",
    "in_percent",
    "interval_text",
    "n_text",
    "percent_text",
    "shared_decimals",
    "shared_n_text",
    "spelled",
    "value_text",
]

SCORE_DECIMALS = 3
"""Agreement scores lie in [0, 1] and differ in the third decimal."""

_SPELLED = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")


def spelled(count: int) -> str:
    """A count at a sentence's start: "Two", "Twelve", "13"."""
    return _SPELLED[count] if 0 <= count < len(_SPELLED) else str(count)


def counted(count: int, unit: str) -> str:
    """A count with its unit in the right number: ``(1, "episodes")`` -> "1 episode"."""
    return f"{count_text(count)} {unit.removesuffix('s') if count == 1 else unit}"


def count_text(count: float | int) -> str:
    """A count with its thousands apart: "50,000"."""
    return f"{count:,.0f}"


def as_estimate(quantity: Any) -> dict[str, Any]:
    """A mapping with value, low, high, n and unit_of_n from an estimate, a bare number or None."""
    given = dict(quantity) if isinstance(quantity, Mapping) else {"value": quantity}
    return {"value": None, "low": None, "high": None, "n": None, "unit_of_n": "samples", **given}


def decimals_of(quantity: Any) -> int:
    """As many decimals as show three digits of the largest of a value and its interval's ends, from 0 to 3."""
    estimate = as_estimate(quantity)
    sizes = [abs(estimate[key]) for key in ("value", "low", "high") if estimate[key] is not None]
    largest = max(sizes, default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2 if largest >= 1 else 3


def shared_decimals(actors: Iterable[Mapping[str, Any]], metrics: Iterable[str]) -> dict[str, int]:
    """The decimals that every metric needs in a table of several actors' metrics, in the order of `metrics`."""
    rows = list(actors)
    return {
        metric: min((decimals_of(row[metric]) for row in rows if row.get(metric) is not None), default=0)
        for metric in metrics
    }


def _number(number: float | int, decimals: int) -> str:
    text = f"{number:,.{decimals}f}"
    return text.removeprefix("-") if not any(digit in text for digit in "123456789") else text


def value_text(quantity: Any, decimals: int | None = None) -> str:
    """The value alone: "12.9", or "not estimable"."""
    value = as_estimate(quantity)["value"]
    return "not estimable" if value is None else _number(value, decimals_of(quantity) if decimals is None else decimals)


def interval_text(quantity: Any, decimals: int | None = None) -> str:
    """The interval alone: "[12.1, 13.6]", "[interval not estimable]", or "" where the value itself is not estimable."""
    estimate = as_estimate(quantity)
    if estimate["value"] is None:
        return ""
    if estimate["low"] is None or estimate["high"] is None:
        return "[interval not estimable]"
    places = decimals_of(quantity) if decimals is None else decimals
    return f"[{_number(estimate['low'], places)}, {_number(estimate['high'], places)}]"


def n_text(quantity: Any) -> str:
    """What it was estimated from: "n = 32 episodes", or "" where that was not recorded."""
    estimate = as_estimate(quantity)
    return "" if estimate["n"] is None else f"n = {counted(estimate['n'], estimate['unit_of_n'])}"


def shared_n_text(quantities: Iterable[Any]) -> str | None:
    """The `n_text` that all of them have, None where they differ."""
    texts = {n_text(quantity) for quantity in quantities}
    return texts.pop() if len(texts) == 1 else None


def estimate_text(quantity: Any, decimals: int | None = None) -> str:
    """All of it: "12.9 [12.1, 13.6], n = 32 episodes"."""
    words = " ".join(part for part in (value_text(quantity, decimals), interval_text(quantity, decimals)) if part)
    n = n_text(quantity)
    return f"{words}, {n}" if n else words


def in_percent(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """An estimate of a share, and its interval, in percent."""
    scaled = {end: None if estimate[end] is None else 100 * estimate[end] for end in ("value", "low", "high")}
    return {**estimate, **scaled}


def percent_text(share: float | int) -> str:
    """A share in whole percent; with a decimal where rounding would say "none" or "all" and be wrong."""
    if 0 < share < 0.05:
        return "<0.1"
    if 99.95 < share < 100:
        return ">99.9"
    return f"{share:.1f}" if 0 < share < 0.5 or 99.5 < share < 100 else f"{share:.0f}"
