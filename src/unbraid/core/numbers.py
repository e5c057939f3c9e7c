"""The check of whole numbers that somebody asked for."""

from numbers import Integral

from unbraid.core.errors import ConfigError

__all__ = ["MOST_EPISODES", "require_whole"]

MOST_EPISODES = 10_000_000
"""No more are rolled out at once: their seeds are drawn, and held in memory, before the first of them."""


def require_whole(
    name: str, value: object, *, least: int = 1, most: int | None = None, remedy: str = "Give another number."
) -> int:
    """A whole number in its range, NumPy's too, as one of Python's.

    Args:
        name: how the message calls it: an option, or an argument.
        value: what was given.
        least, most: the range, both ends included.
        remedy: the message's last sentence.

    Raises:
        ConfigError: it is no whole number, or out of range.
    """
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if whole is None or whole < least or (most is not None and whole > most):
        span = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
        raise ConfigError(f"{name} must be a whole number {span}; got {value!r:.40}. {remedy}")
    return whole
