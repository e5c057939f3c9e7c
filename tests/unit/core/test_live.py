"""The table that changes: silent without a terminal, and no longer than the terminal with one."""

import io
import sys

from unbraid.core.live import live_table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_is_silent_without_a_terminal(capsys):
    with live_table("sweep", ("fit", "is")) as show:
        show([("seed=0", "running")], "1 running")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_it_shows_the_rows_that_there_is_room_for(monkeypatch, capsys):
    terminal = _Terminal()
    for name, value in {"COLUMNS": "100", "LINES": "12", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal)
    with live_table("sweep", ("fit", "is")) as show:
        show([(f"seed={seed}", "running") for seed in range(30)], "30 running")
    shown = terminal.getvalue()
    assert "seed=0 " in shown
    assert "seed=4 " in shown
    assert "seed=29" not in shown
    assert "30 running" in shown
    assert capsys.readouterr().out == ""
