"""Two pieces of work at once, on two threads of Python.

Networks as small as ours gain little from two threads within each operation, which must meet after every one, and lose
much where others are at work; two halves of a step meet once.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
        self._trailing: Future[object] | None = None

    def __call__(
        self, here: Callable[[], _Here], there: Callable[[], _There], trailing: Callable[[], object] | None = None
    ) -> tuple[_Here, _There]:
        """What both give, once both are done; raises what either raises.

        Args:
            here: done in the thread that calls.
            there: done in the other; or in the one that calls, where what trails keeps the other busy for longer.
            trailing: done in the other after that, and not waited for before the end of the next call, or `settle`:
                what it touches is its own until then.
        """
        begun = self._worker.submit(there)
        try:
            done = here()
        finally:
            waits = self._trailing is not None and begun.cancel()
            if not waits:
                begun.exception()  # nobody may go on while the other still writes
        also_done = there() if waits else begun.result()
        self.settle()
        if trailing is not None:
            self._trailing = self._worker.submit(trailing)
        return done, also_done

    def settle(self) -> None:
        """Waits for what trails; raises what it raises."""
        trailing, self._trailing = self._trailing, None
        if trailing is not None:
            trailing.result()


def _denormals_are_zero() -> None:
    """The processor's setting is each thread's own."""
    from torch import set_flush_denormal

    set_flush_denormal(True)
