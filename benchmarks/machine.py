"""What is said of the machine beside a measurement."""

import os

__all__ = ["load_per_core"]


def load_per_core() -> float:
    """Processes that want to run, for each core, over the last minute."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)
