"""Flags that are given more than once: the parser would take the last of them, and say nothing of the others."""

from collections.abc import Sequence

from unbraid.core.errors import ConfigError

__all__ = ["each_flag_once"]

_ADD_UP = ("--away", "--in-turn", "--by-episode")


def each_flag_once(given: Sequence[str]) -> list[str]:
    """The words of a command with the values of `--away`, `--in-turn` and `--by-episode` behind the first of each, as
    they add up: `--away 0 --away 1` is `--away 0 1`.

    Raises:
        ConfigError: another flag comes twice.
    """
    before, of_flag = list[str](), dict[str, list[str]]()
    own = before
    for word in given:
        if not word.startswith("--") or word == "--":
            own.append(word)
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if name in of_flag and name not in _ADD_UP:
            raise ConfigError(
                f"{name} must be given once; it comes twice. Leave one of them out, or give several values behind one, "
                "where it takes several."
            )
        if name in _ADD_UP:
            own = of_flag.setdefault(name, [name])
            own += [value] if equals else []
        else:
            own = of_flag[name] = [word]
    return before + [word for words in of_flag.values() for word in words]
