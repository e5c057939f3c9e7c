"""Help as it is read: what stands behind a field of a request, in one paragraph."""

from dataclasses import is_dataclass
from inspect import cleandoc
from typing import Any, get_type_hints

from docstring_parser import parse, parse_from_object

__all__ = ["say_fields_in_one_line"]


def say_fields_in_one_line(*requests: type[Any]) -> None:
    """Lists the fields of requests in their docstrings, a line each, as tyro reads them best: of a docstring behind a
    field, whose lines are indented, it would keep every break.

    So it is of what a request derives from, and of fields that are such themselves. Done twice, it is done once.
    """
    for request in requests:
        for own in request.__mro__:
            if is_dataclass(own) and not parse(own.__doc__ or "").params:
                fields = parse_from_object(own).params
                said = [(p.arg_name, " ".join(p.description.split())) for p in fields if p.description]
                lines = ["", "", "Attributes:", *(f"    {name}: {text}" for name, text in said)] if said else []
                own.__doc__ = "\n".join([cleandoc(own.__doc__ or ""), *lines])
        hints = get_type_hints(request).values()
        say_fields_in_one_line(*(hint for hint in hints if isinstance(hint, type) and is_dataclass(hint)))
