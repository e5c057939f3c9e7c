"""The bar: silent without a terminal, and on stderr with one."""

import io
import sys

from unbraid.core.progress import progress, silent_where


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_is_silent_without_a_terminal(capsys):
    with progress("fitting", 10, "steps") as advance:
        advance(10, loss=0.25)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_it_shows_rate_and_fields_on_a_terminal_and_nothing_on_stdout(monkeypatch, capsys):
    terminal = _Terminal()
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("fitting", 10, "steps") as advance:
        for _ in range(5):
            advance(2, loss=0.25)
            advance(0, epoch=3)
    shown = terminal.getvalue()
    assert "fitting" in shown
    assert "10/10" in shown
    assert "steps/s" in shown
    assert "loss 0.25 epoch 3" in shown
    assert capsys.readouterr().out == ""


def test_a_bar_within_a_bar_is_silent_and_the_next_one_is_not(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("outside", 1, "steps") as advance:
        with progress("within", 1, "steps") as advance_within:
            advance_within(1)
        advance(1)
    with progress("afterwards", 1, "steps") as advance:
        advance(1)
    assert "outside" in terminal.getvalue()
    assert "within" not in terminal.getvalue()
    assert "afterwards" in terminal.getvalue()


def test_an_exception_passes_through():
    try:
        with progress("fitting", 10, "steps"):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return
    raise AssertionError


def test_where_nobody_looks_no_bar_is_shown(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with silent_where(True), progress("second process", 1, "steps") as advance:
        advance(1)
    with silent_where(False), progress("first process", 1, "steps") as advance:
        advance(1)
    assert "second process" not in terminal.getvalue()
    assert "first process" in terminal.getvalue()
