"""A run -> one self-contained HTML page that opens from disk, and its figures as PNG."""

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from unbraid.core.runs import taken_path, write_bytes, write_text
from unbraid.report.claims import headline

if TYPE_CHECKING:
    from markupsafe import Markup

    from unbraid.report.record import RunRecord
    from unbraid.report.sections import Section

__all__ = ["Chapter", "render", "standard_chapters", "write_report"]

Chapter = Callable[["RunRecord"], "Section | None"]


def standard_chapters() -> tuple[Chapter, ...]:
    """The page's chapters in the order of the story; a caller may add its own before it writes."""
    from unbraid.report.chapters import (
        closing,
        how_sure,
        opening,
        over_time,
        own,
        portraits,
        search,
        steering,
        style,
        talk,
    )

    return (
        opening.asked,
        opening.result,
        opening.seen_from_above,
        steering.obedience,
        steering.certificates,
        talk.talk_repeated,
        search.search,
        portraits.portraits,
        over_time.over_time,
        how_sure.how_sure,
        style.style,
        own.own_method,
        own.training,
        closing.limits,
        closing.reproduction,
    )


def write_report(run: str | Path, chapters: Sequence[Chapter] | None = None) -> Path:
    """Writes ``report/index.html`` and its figures into a run's folder; returns the page's path.

    Everything is drawn before anything is written, and every file is replaced as a whole: an older report stays as
    it was until the new one is ready.

    Args:
        run: the run's folder.
        chapters: what the page tells, in order; `standard_chapters` where None.

    Raises:
        RunError: `run` is no run's folder, has no results yet, or a file in it is damaged.
        StorageError: the disk refused.
    """
    from unbraid.report.record import read_record

    run = taken_path(run)
    record = read_record(run)
    told = [chapter(record) for chapter in (standard_chapters() if chapters is None else chapters)]
    sections = tuple(section for section in told if section is not None)
    html = render(record, sections)
    for picture in (picture for section in sections for picture in section.pictures()):
        write_bytes(run / "report" / f"{picture.name}.png", picture.wide_png)
    page = run / "report" / "index.html"
    write_text(page, html)
    return page


def render(record: "RunRecord", sections: "Sequence[Section]") -> str:
    """The page's HTML: everything in it, nothing fetched, every name escaped."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = resources.files("unbraid.report").joinpath("templates")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css")}
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = _breakable
    seed = (record.asked.get("provenance") or {}).get("seed")
    command = f"unbraid {record.asked.get('command', 'fit')}"
    return environment.get_template("page.html").render(
        title=headline(record.results),
        eyebrow=command if seed is None else f"{command}, seed {seed}",
        sections=sections,
    )


def _breakable(text: str) -> "Markup":
    """Text, escaped, that may wrap after an underscore: experts' names are long and columns narrow."""
    from markupsafe import Markup, escape

    return escape(text).replace("_", Markup("_<wbr>"))
