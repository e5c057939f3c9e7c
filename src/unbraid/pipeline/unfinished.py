"""What becomes of what a verb has made when its work does not finish."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from unbraid.core.errors import StorageError

__all__ = ["all_or_none", "removed_unless", "resumed_from", "stopping_with"]


@contextmanager
def removed_unless(worth_keeping: Callable[[], bool], run: Path) -> Generator[None]:
    """Removes a folder that this call made when the block fails before there is anything in it to go on from.

    So that the same command, with its mistake mended, finds no folder in its way.

    Args:
        worth_keeping: whether there is, asked after the failure.
        run: the folder; nothing in it may be anybody else's.
    """
    try:
        yield
    except BaseException:
        if not worth_keeping():
            shutil.rmtree(run, ignore_errors=True)
        raise


@contextmanager
def resumed_from(is_kept: Callable[[], bool]) -> Generator[None]:
    """Says that the same command goes on with what is kept, where the disk refuses a write and there is something.

    Args:
        is_kept: whether there is, asked after the failure.
    """
    try:
        yield
    except StorageError as error:
        if not is_kept():
            raise
        raise StorageError(
            f"{error} What was fitted is kept: once there is space, the same command with --resume goes on from it."
        ) from error


@contextmanager
def all_or_none() -> Generator[list[Path]]:
    """Gives a list for the files and folders that the block makes, each put in once it is there; all of them are
    removed when the block fails, so that the same command, with its mistake mended, finds nothing in its way."""
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in made:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


@contextmanager
def stopping_with(advice: str) -> Generator[None]:
    """Says what was kept and how to go on where Ctrl-C stops the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(advice) from None
