"""Ctrl-C while modules are imported: it waits until they are, and is heard then."""

import importlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from unbraid.core.interrupts import ctrl_c_after_imports

_BOUND_S = 60  # nothing waits as long, unless it has failed


@pytest.fixture(autouse=True)
def _heard():
    """As at a terminal: a shell that starts tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def swallower(tmp_path, monkeypatch):
    """The name of a module that is interrupted while it is imported, and takes that for a missing package."""

    def written(presses):
        press = "os.kill(os.getpid(), signal.SIGINT)\n    "
        (tmp_path / "swallower.py").write_text(
            f"import os, signal\nis_whole = False\ntry:\n    {press * presses}is_whole = True\nexcept BaseException:\n"
            "    pass\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "swallower", raising=False)
        return "swallower"

    return written


def test_a_press_within_an_import_is_heard_after_it(swallower):
    def work():
        with ctrl_c_after_imports():
            assert importlib.import_module(swallower(1)).is_whole
            threading.Event().wait(_BOUND_S)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_press_within_an_import_stops_at_once(swallower):
    with ctrl_c_after_imports():
        assert not importlib.import_module(swallower(2)).is_whole


def test_a_press_outside_of_imports_is_heard_at_once():
    def work():
        with ctrl_c_after_imports():
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(_BOUND_S)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_what_a_library_makes_of_a_press_is_a_press_again():
    def work():
        with ctrl_c_after_imports():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(_BOUND_S)
            except KeyboardInterrupt:
                raise RuntimeError("this file is damaged") from None

    with pytest.raises(KeyboardInterrupt) as told:
        work()
    assert isinstance(told.value.__cause__, RuntimeError)


def test_a_fault_without_a_press_is_a_fault():
    with pytest.raises(RuntimeError, match="damaged"), ctrl_c_after_imports():
        raise RuntimeError("this file is damaged")


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda signum, frame: None])
def test_whoever_hears_it_otherwise_goes_on_to(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with ctrl_c_after_imports():
            assert signal.getsignal(signal.SIGINT) is handler
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing():
    seen = []

    def look():
        with ctrl_c_after_imports():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


_INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "unbraid.pipeline.stages":
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except BaseException:
                pass
sys.meta_path.insert(0, Press())
from unbraid.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_command_stops_where_a_library_would_have_lost_it(tmp_path):
    told = ["collect", str(tmp_path / "pile"), "--experts", "forward", "--episodes", "1000"]
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, *told], capture_output=True, text=True, timeout=_BOUND_S, check=False
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("unbraid: Stopped")
