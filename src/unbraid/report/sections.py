"""What a report is made of: a tree of sections, each with blocks of its own and further sections below it.

A chapter is a function from a `RunRecord` to a `Section`, or to None where the run has nothing to say on it. The
template knows a block by its `kind`. Sections hold text as it is; the template escapes it.
"""

import base64
from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = [
    "Block",
    "Card",
    "Cards",
    "Cell",
    "Code",
    "Facts",
    "Folded",
    "KeyNumber",
    "KeyNumbers",
    "Paragraph",
    "Picture",
    "Row",
    "Section",
    "Table",
    "Verdict",
    "Verdicts",
]


_MOST_HEAT = 0.6


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `tone` "note" sets it smaller."""

    text: str
    tone: Literal["", "note"] = ""
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Code:
    """Lines to type, shown as they are."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller `detail` below it, and how it is coloured.

    Attributes:
        text: what it says.
        detail: said below, smaller: the interval.
        heat_percent: 0 to 100 for a cell whose colour shows its size, else None.
        tone: "good" or "bad" for an answer.
    """

    text: str
    detail: str = ""
    heat_percent: float | None = None
    tone: Literal["", "good", "bad"] = ""

    @property
    def heat_alpha(self) -> str:
        """How opaque the heat colour is, "0.000" to "0.600": the page's ink can be read on all of it."""
        return f"{_MOST_HEAT * min(max(self.heat_percent or 0.0, 0.0), 100.0) / 100.0:.3f}"


@dataclass(frozen=True)
class Row:
    """One row: its header, a `note` below the header, its cells; `swatch` is a mode's colour, as #rrggbb."""

    header: str
    cells: tuple[Cell, ...]
    note: str = ""
    swatch: str = ""
    starts_group: bool = False


@dataclass(frozen=True)
class Table:
    """A table; `corner` names its rows, `caption` what it holds. `dense` suits many small numbers."""

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    dense: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, drawn twice: for a wide page and for a phone's."""

    name: str
    alt: str
    caption: str
    wide_png: bytes
    narrow_png: bytes
    kind: ClassVar[str] = "picture"

    @property
    def wide_uri(self) -> str:
        """The wide drawing as a data URI."""
        return _data_uri(self.wide_png)

    @property
    def narrow_uri(self) -> str:
        """The narrow drawing as a data URI."""
        return _data_uri(self.narrow_png)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


@dataclass(frozen=True)
class KeyNumber:
    """A number worth reading first: what it is, the number, its interval and n."""

    label: str
    text: str
    detail: str = ""


@dataclass(frozen=True)
class KeyNumbers:
    """Key numbers side by side."""

    numbers: tuple[KeyNumber, ...]
    kind: ClassVar[str] = "key_numbers"


@dataclass(frozen=True)
class Verdict:
    """A claim, and whether it holds; None where that could not be said. `answer` says so in other words."""

    text: str
    holds: bool | None
    answer: str = ""


@dataclass(frozen=True)
class Verdicts:
    """Claims, one below the other."""

    verdicts: tuple[Verdict, ...]
    kind: ClassVar[str] = "verdicts"


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    facts: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Card:
    """Tables that belong together, side by side where there is room, below a title and a subtitle."""

    title: str
    subtitle: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Cards:
    """Cards in a grid that fits the page's width."""

    cards: tuple[Card, ...]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens when they want them."""

    summary: str
    blocks: "tuple[Block, ...]"
    kind: ClassVar[str] = "folded"


Block = Paragraph | Code | Table | Picture | KeyNumbers | Verdicts | Facts | Cards | Folded


@dataclass(frozen=True)
class Section:
    """One section: its title, its blocks, and the sections below it.

    Attributes:
        anchor: its name in links within the page: lower-case words joined by hyphens.
        title: its heading.
        blocks: what it shows, in order.
        sections: what comes below it, after its blocks.
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: "tuple[Section, ...]" = ()

    def pictures(self) -> tuple[Picture, ...]:
        """Every picture in this section and below it, in reading order."""
        own = [picture for block in self.blocks for picture in _pictures_in(block)]
        return tuple(own + [picture for section in self.sections for picture in section.pictures()])


def _pictures_in(block: Block) -> tuple[Picture, ...]:
    if isinstance(block, Picture):
        return (block,)
    if isinstance(block, Folded):
        return tuple(picture for inner in block.blocks for picture in _pictures_in(inner))
    return ()
