"""Contexts: what the policy is conditioned on. One definition, for training and for steering.

A context has one number per mode. `not_hot` is 0 at the chosen mode and 1 elsewhere, which is what the squared
distances of a latent that lies on its code are when the codes stand on a simplex.
"""

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError

__all__ = ["every_not_hot", "not_hot", "require_mode"]


def require_mode(mode: int, n_modes: int) -> int:
    """The mode itself, as Python's int where it was NumPy's.

    Raises:
        ConfigError: the mode does not exist.
    """
    whole = isinstance(mode, (int, np.integer)) and not isinstance(mode, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not whole or not 0 <= mode < n_modes:
        raise ConfigError(
            f"The mode must be one of 0 to {n_modes - 1}; got {mode!r}. "
            "`unbraid evaluate RUN` measures what each one does."
        )
    return int(mode)


def not_hot(mode: int, n_modes: int) -> Float[np.ndarray, "mode"]:
    """0 at the chosen mode, 1 elsewhere.

    Source: Eloundou 2021, "Multiple Experts, Multiple Objectives": the context at run time.

    Raises:
        ConfigError: the mode does not exist.
    """
    context = np.ones(n_modes)
    context[require_mode(mode, n_modes)] = 0
    return context


def every_not_hot(n_modes: int) -> Float[np.ndarray, "mode mode"]:
    """All K not-hot contexts: row k asks for mode k."""
    return 1.0 - np.eye(n_modes)
