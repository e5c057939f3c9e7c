"""Ctrl-C while modules are imported: there it would be lost, or taken for a fault."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["ctrl_c_after_imports"]

_LOOKS_EVERY_S = 0.02


@contextmanager
def ctrl_c_after_imports() -> Generator[None]:
    """Lets a Ctrl-C that comes while modules are imported wait until they are; a second one stops at once.

    Some libraries swallow the exception while they are imported, others make an ImportError or a RuntimeError of it;
    Python itself drops it in the callbacks of its import locks. Where a library makes another exception of it outside
    of imports, that is a `KeyboardInterrupt` again when it leaves the block. Nothing changes where Ctrl-C has another
    handler or is ignored, outside of the main thread, and where there is no alarm clock (Windows).
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not hasattr(signal, "alarm"):
        yield
        return
    alarm_before = signal.getsignal(signal.SIGALRM)
    waits = is_heard = False

    def hear(signum: int, frame: FrameType | None) -> None:
        nonlocal waits, is_heard
        is_second = waits and signum == signal.SIGINT
        if is_second or not _is_importing(frame):
            stop_waiting()
            is_heard = True
            raise KeyboardInterrupt
        waits = True
        signal.signal(signal.SIGALRM, hear)
        signal.setitimer(signal.ITIMER_REAL, _LOOKS_EVERY_S)

    def stop_waiting() -> None:
        nonlocal waits
        if waits:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm_before)
        waits = False

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception as error:
        if is_heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        stop_waiting()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
