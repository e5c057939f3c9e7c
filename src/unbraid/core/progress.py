"""A progress bar for long work: on stderr, with rate and time left, and silent where stderr is no terminal."""

import contextlib
import contextvars
import sys
from collections.abc import Callable, Generator
from typing import Any, Protocol, runtime_checkable

__all__ = ["Advance", "by_totals", "progress", "silent_where"]


@runtime_checkable
class Advance(Protocol):
    """Says that `n` more units are done, with numbers to show beside the bar (the last ones stay)."""

    def __call__(self, n: int = 1, /, **fields: object) -> None: ...


def _advance_silently(n: int = 1, /, **fields: object) -> None:
    """For where nobody is looking."""


_is_shown = contextvars.ContextVar("_is_shown", default=False)  # or another is, and this one must not be


def by_totals(advance: Advance) -> Callable[[int], None]:
    """For work that says how much it has done in all so far: moves the bar by what is new."""
    done = 0

    def show(n_done: int) -> None:
        nonlocal done
        advance(n_done - done)
        done = n_done

    return show


@contextlib.contextmanager
def silent_where(nobody_looks: bool) -> Generator[None]:
    """No bar is shown until the block ends, if that is so: of several processes one alone shows how far they are."""
    token = _is_shown.set(nobody_looks or _is_shown.get())
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextlib.contextmanager
def progress(description: str, total: int | None, unit: str) -> Generator[Advance]:
    """Shows how far a piece of work is, until the block ends; silent within another's block.

    Usage: ``with progress("fitting", 1500, "steps") as advance: advance(1, loss=0.31)``.

    Args:
        description: what is being done, two or three words.
        total: how many units there are, or None where that is not known before.
        unit: what is counted, in the plural: it stands behind the rate, "812 steps/s".
    """
    if not sys.stderr.isatty() or _is_shown.get():
        yield _advance_silently
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[shown]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(description, total=total, rate="", shown="")
        latest: dict[str, object] = {}

        def advance(n: int = 1, /, **fields: object) -> None:
            latest.update(fields)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, advance=n, rate=_rate(speed, unit), shown=_shown(latest))

        token = _is_shown.set(True)
        try:
            yield advance
        finally:
            _is_shown.reset(token)


def _rate(speed: float | None, unit: str) -> str:
    if speed is None:
        return ""
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s"


def _shown(fields: dict[str, Any]) -> str:
    return " ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items())
