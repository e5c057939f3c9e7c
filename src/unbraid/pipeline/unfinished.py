"""What becomes of a run's folder when the work in it does not finish."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["removed_unless", "stopping_with"]


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
def stopping_with(advice: str) -> Generator[None]:
    """Says what was kept and how to go on where Ctrl-C stops the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(advice) from None
