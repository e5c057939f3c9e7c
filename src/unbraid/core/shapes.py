"""Axis names, and the checks of arrays that come from outside.

Axis names, used in every signature: ``episode``, ``step`` (T per episode), ``obs`` (width of an observation),
``act`` (width of an action), ``window``, ``mode`` (K), ``latent`` (D), ``env`` (environments side by side).
Observations have one row more than actions in every episode: T + 1 against T.
"""

import numpy as np

from unbraid.core.errors import DataError

__all__ = ["first_bad_row", "require_finite"]


def first_bad_row(values: np.ndarray) -> int | None:
    """The index of the first row of a (row, ...) array that holds NaN or an infinity; None where all is finite."""
    if values.size == 0:
        return None
    flat = values.reshape(len(values), -1)
    for start in range(0, len(flat), 65536):
        bad = ~np.isfinite(flat[start : start + 65536]).all(axis=1)
        if bad.any():
            return start + int(bad.argmax())
    return None


def require_finite(values: np.ndarray, what: str, remedy: str) -> None:
    """Raises `DataError` that names the first row which holds NaN or an infinity."""
    row = first_bad_row(values)
    if row is not None:
        entries = np.ravel(values[row])
        column = int(np.isfinite(entries).argmin())
        where = f" in column {column}" if len(entries) > 1 else ""
        raise DataError(f"{what} must be finite; row {row} holds {entries[column]}{where}. {remedy}")
