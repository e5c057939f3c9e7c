"""The errors that unbraid raises on purpose.

UnbraidError
├── DataError         demonstrations are missing, damaged or do not fit together
├── ConfigError       a setting is impossible, or does not fit the data
├── ModelError        a saved model or checkpoint is missing, damaged or of another version
├── WorldError        an environment or a policy does not fit what it is used with
├── RunError          a run's folder is in the way, or lacks what is asked of it
└── StorageError      the disk, or the Hub, refused a write

Every message has three parts: what must hold, what came, what to do. The command line prints the message
without a traceback and exits with 2.
"""

__all__ = ["ConfigError", "DataError", "ModelError", "RunError", "StorageError", "UnbraidError", "WorldError"]


class UnbraidError(Exception):
    """Any error that unbraid expects: wrong input, not a bug."""


class DataError(UnbraidError):
    """Demonstrations are missing, damaged or do not fit together."""


class ConfigError(UnbraidError, ValueError):
    """A setting is impossible, or does not fit the data."""


class ModelError(UnbraidError):
    """A saved model or checkpoint is missing, damaged or of another version."""


class WorldError(UnbraidError):
    """An environment or a policy does not fit what it is used with."""


class RunError(UnbraidError):
    """A run's folder is in the way, or lacks what is asked of it."""


class StorageError(UnbraidError):
    """The disk, or the Hub, refused a write."""
