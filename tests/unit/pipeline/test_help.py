"""Help says each field in one paragraph."""

from dataclasses import dataclass, field
from typing import get_args

import pytest
from docstring_parser import parse

from unbraid import cli
from unbraid.cli import main
from unbraid.pipeline.help import say_fields_in_one_line


@dataclass
class Inner:
    """Within."""

    deep: int = 0
    """How deep: of two
    lines."""


@dataclass
class Base:
    """What others derive from."""

    shared: int = 0
    """Of all,
    it is said."""


@dataclass
class Request(Base):
    """Do it.

    And more.

    Example: unbraid do it
    """

    plain: int = 0
    """One line."""
    long: str = "a"
    """It begins here, and goes on; auto: as the
    evidence says. With (brackets), and
    `code` in a line."""
    silent: int = 0
    inner: Inner = field(default_factory=Inner)


def test_what_stands_on_several_lines_is_said_in_one():
    say_fields_in_one_line(Request)
    told = {p.arg_name: p.description for p in parse(Request.__doc__).params}
    assert told == {
        "plain": "One line.",
        "long": "It begins here, and goes on; auto: as the evidence says. With (brackets), and `code` in a line.",
    }
    assert parse(Request.__doc__).description == "Do it.\n\nAnd more.\n\nExample: unbraid do it"
    assert {p.description for p in parse(Base.__doc__).params} == {"Of all, it is said."}
    assert {p.description for p in parse(Inner.__doc__).params} == {"How deep: of two lines."}
    before = Request.__doc__
    say_fields_in_one_line(Request)
    assert Request.__doc__ == before


def test_help_says_so_of_every_verb(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert "K, how many modes to find" in capsys.readouterr().out
    for verb in get_args(cli._Request):
        request = get_args(verb)[0]
        told = parse(request.__doc__).params
        assert told, request
        assert not any("\n" in field.description for field in told)
