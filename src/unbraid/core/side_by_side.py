"""Two pieces of work at once, on two threads of Python.

Networks as small as ours gain little from two threads within each operation, which must meet after every one, and lose
much where others are at work; two halves of a step meet once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, final

__all__ = ["SideBySide"]

_Here = TypeVar("_Here")
_There = TypeVar("_There")


@final
class SideBySide:
    """Does two pieces of work at once: call it with both. The second has a thread of its own while this lives.

    What they do must not depend on which is first.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, initializer=_denormals_are_zero)

    def __call__(self, here: Callable[[], _Here], there: Callable[[], _There]) -> tuple[_Here, _There]:
        """What both give, once both are done; raises what either raises."""
        begun = self._worker.submit(there)
        try:
            done = here()
        finally:
            begun.exception()  # waits: nobody may go on while the other still writes
        return done, begun.result()


def _denormals_are_zero() -> None:
    """The processor's setting is each thread's own."""
    from torch import set_flush_denormal

    set_flush_denormal(True)
