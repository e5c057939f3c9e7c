"""One seed -> named, independent generators, so that adding a consumer never shifts another's draws."""

import zlib
from numbers import Integral

import numpy as np

from unbraid.core.errors import ConfigError

__all__ = ["N_SEEDS", "named_generator", "named_seed", "require_generator"]

N_SEEDS = 2**31
"""Seeds of episodes are drawn below this: some environments keep their seed in 32 bits, with a sign."""


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"A seed must be a whole number of at least 0; got {seed!r:.40}. Give another; 0 will do.")
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.SeedSequence([seed, *words, len(words)])  # the count, as zeros at the end would not matter


def named_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose, independent of every other name's under the same seed.

    Args:
        seed: the one seed of a run, >= 0.
        names: what it is for, e.g. ``"layout", 17``; strings enter by their CRC-32, integers >= 0 as they are.
    """
    return np.random.default_rng(_sequence(seed, names))


def named_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose, for generators that are not NumPy's (torch's `manual_seed`)."""
    return int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> np.uint64(1))


def require_generator(generator: object) -> None:
    """Raises `ConfigError` where something is no NumPy generator, such as a seed."""
    if not isinstance(generator, np.random.Generator):
        raise ConfigError(
            f"A generator must be a numpy.random.Generator; got {generator!r:.60}. Make one of a seed: "
            "numpy.random.default_rng(0)."
        )
