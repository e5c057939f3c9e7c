"""A table that changes while work goes on: on stderr, and only where that is a terminal."""

import contextlib
import sys
from collections.abc import Callable, Generator, Sequence

__all__ = ["Show", "live_table"]

Show = Callable[[Sequence[Sequence[str]], str], None]
"""Draws the table again: its rows, and a line below them."""


@contextlib.contextmanager
def live_table(title: str, columns: Sequence[str]) -> Generator[Show]:
    """Gives what shows rows until the block ends; as many, from the first on, as the terminal has room for.

    Args:
        title: what stands above.
        columns: their names.
    """
    if not sys.stderr.isatty():
        yield lambda rows, below: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    console = Console(stderr=True)

    def drawn(rows: Sequence[Sequence[str]], below: str) -> Table:
        table = Table(*columns, title=title, caption=below, title_justify="left", caption_justify="left")
        room = max(console.height - 7, 1)
        for row in rows[:room]:
            table.add_row(*row)
        return table

    with Live(drawn([], ""), console=console, transient=True, refresh_per_second=4) as live:
        yield lambda rows, below: live.update(drawn(rows, below))
