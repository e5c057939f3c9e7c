"""What several chapters build alike: tables of estimates, confusion tables, pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from unbraid.report.claims import difference_texts
from unbraid.report.estimates import (
    count_text,
    interval_text,
    n_text,
    percent_text,
    shared_n_text,
    value_text,
)
from unbraid.report.sections import Cell, Picture, Row, Table
from unbraid.report.style import NARROW, WIDE, Layout, png

__all__ = ["confusion_table", "difference_cell", "drawn", "estimate_cell", "metrics_row"]


def drawn(name: str, draw: Callable[[Layout], Figure], *, alt: str, caption: str) -> Picture:
    """A picture in both widths; `draw` makes the figure for a layout."""
    return Picture(
        name=name,
        alt=alt,
        caption=caption,
        wide_png=png(draw(WIDE)),
        narrow_png=png(draw(NARROW)),
    )


def estimate_cell(quantity: Any, decimals: int | None = None, *, with_n: bool = False) -> Cell:
    """An estimate as a cell: its value, its interval below, and its n where the row does not say it."""
    parts = (interval_text(quantity, decimals), n_text(quantity) if with_n else "")
    return Cell(value_text(quantity, decimals), detail=", ".join(part for part in parts if part))


def metrics_row(
    header: str,
    metrics: Mapping[str, Any],
    decimals: Mapping[str, int],
    *,
    swatch: str = "",
    starts_group: bool = False,
) -> Row:
    """One actor's metrics as a row; the n that all share stands under its header, else in every cell.

    Args:
        header: who acted.
        metrics: estimates by metric.
        decimals: the metrics to show, in order, each with its decimals.
        swatch: a mode's colour.
        starts_group: whether a rule stands above.
    """
    estimates = [metrics.get(metric) for metric in decimals]
    shared = shared_n_text(estimate for estimate in estimates if estimate is not None)
    cells = tuple(
        Cell("not measured") if estimate is None else estimate_cell(estimate, places, with_n=shared is None)
        for estimate, places in zip(estimates, decimals.values(), strict=True)
    )
    return Row(header, cells, note=shared or "", swatch=swatch, starts_group=starts_group)


def confusion_table(
    caption: str,
    experts: Sequence[str],
    percent: Sequence[Sequence[float | int]],
    *,
    note: str = "",
    counts: Sequence[Sequence[int]] | None = None,
    estimates: Sequence[Sequence[Any]] | None = None,
) -> Table:
    """A confusion table: a row per expert, a column per code, cells in percent and coloured by it.

    Args:
        caption: what it is.
        experts: names, in the order of the rows.
        percent: each expert's share per code, in percent.
        note: said below.
        counts: the number of samples behind each cell; their sums are shown where given.
        estimates: each cell's share with its interval, in percent; shown where given.
    """

    def cell(index: int, code: int, share: float | int) -> Cell:
        detail = interval_text(estimates[index][code], 0) if estimates else ""
        return Cell(percent_text(share), detail=detail, heat_percent=float(share))

    rows = tuple(
        Row(
            experts[index] if index < len(experts) else f"expert {index}",
            tuple(cell(index, code, share) for code, share in enumerate(shares)),
            note=n_text(estimates[index][0]) if estimates else "",
        )
        for index, shares in enumerate(percent)
    )
    n_codes = max((len(shares) for shares in percent), default=0)
    return Table(
        caption=caption,
        corner="% in code",
        columns=tuple(str(code) for code in range(n_codes)),
        rows=rows,
        note="; ".join(part for part in (_samples_text(counts), note) if part),
        dense=True,
    )


def _samples_text(counts: Sequence[Sequence[int]] | None) -> str:
    if not counts:
        return ""
    sizes = [count_text(sum(row)) for row in counts]
    return f"n = {sizes[0]} samples each" if len(set(sizes)) == 1 else f"n = {' + '.join(sizes)} samples"


def difference_cell(difference: Any, *, as_good: bool | None, margin: float | int | None) -> Cell:
    """A paired difference as a cell: its interval, the margin, and whether the one lies within the other."""
    texts = difference_texts(difference, as_good=as_good, margin=margin)
    if texts is None:
        return Cell("not estimable")
    value, interval, allowed, answer = texts
    detail = ", ".join(part for part in (interval, allowed) if part)
    return Cell(value, detail=f"{detail}: {answer}", tone="" if as_good is None else "good" if as_good else "bad")
