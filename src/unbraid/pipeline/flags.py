"""Flags as they were given: more than once, of which the parser would take the last and say nothing; or not at all."""

import os
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from unbraid.core.errors import ConfigError

__all__ = ["each_flag_once", "given_flags"]

_ADD_UP = (
    *("--away", "--in-turn", "--by-episode"),
    *("--demos", "--weights", "--obs", "--obs-columns", "--action-columns", "--experts", "--grid", "--beside"),
)
"""Those that take several values."""
_ONCE = ("--toward", "--strength", "--blend", "--context", "--style")


def each_flag_once(given: Sequence[str]) -> list[str]:
    """The words of a command with all values of a flag that takes several behind its first, as they add up: `--away 0
    --away 1` is `--away 0 1`, and `--demos a --demos b` is `--demos a b`. A `~` that the shell left, as in `--out=~/a`,
    is the home folder: taken as it stands, it would become a folder of that name here.

    Raises:
        ConfigError: another flag that says what `steer` is to do comes twice; of the rest the last counts, as is usual.
    """
    given = [_at_home(word) for word in given]
    verb = given[0] if given else ""
    found, seen = list[str](), set[str]()
    of_flag: dict[str, list[str]] = {}
    own = found
    for word in given:
        if not word.startswith("--") or word == "--":
            own.append(word)
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if verb == "steer" and name in seen and name in _ONCE:
            raise ConfigError(f"{name} must be given once; it comes twice. Leave one of them out.")
        seen.add(name)
        if name in _ADD_UP:
            own = of_flag.setdefault(name, [name])
            own += [value] if equals else []
        else:
            own = found
            own.append(word)
    return found + [word for words in of_flag.values() for word in words]


def given_flags(asked: Any, names: Collection[str]) -> dict[str, Any]:
    """Flag -> value, of those fields of a request that are not at their defaults."""
    values = {field: getattr(asked, field.name) for field in fields(asked) if field.name in names}
    return {f"--{field.name.replace('_', '-')}": value for field, value in values.items() if value != field.default}


def _at_home(word: str) -> str:
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + equals + (os.path.expanduser(value) if value.startswith("~/") or value == "~" else value)
