"""The little language of `unbraid steer`: what is wanted, as flags, or as words: `200: toward 1 away 0=2`.

Without torch, and without a model: whether the modes exist is seen later.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from unbraid.core.errors import ConfigError

__all__ = ["Item", "Wanted", "context_of", "numbers_of_modes", "shares_of", "turns_of"]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of the policy, as it was typed; None or empty where it was not.

    Attributes:
        toward, strength: a mode, and how far towards it.
        away: modes that are avoided: 0, or 0=2.
        blend: between modes, in proportions: 1=.7,3=.3.
        context: one number per mode, instead.
        style: how the mode is done.
    """

    toward: int | None = None
    strength: float | None = None
    away: tuple[str, ...] = ()
    blend: str | None = None
    context: tuple[float, ...] | None = None
    style: float | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """What was given, by name."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) not in (None, ()))


@dataclass(frozen=True)
class Item:
    """What is wanted, with when or how often.

    Attributes:
        text: as it was typed.
        number: the step from which on it is wanted, or the share of episodes.
        wanted: what.
    """

    text: str
    number: float | int
    wanted: Wanted


def turns_of(given: Sequence[str]) -> tuple[Item, ...]:
    """The items of --in-turn, `STEP: words`, in the order of their steps.

    Raises:
        ConfigError: an item that is wrong, two of one step, or none for step 0; it quotes them.
    """
    items = [_item("--in-turn", text, "a step, a whole number from 0 on", _step) for text in given]
    items.sort(key=lambda item: item.number)
    for one, other in itertools.pairwise(items):
        if one.number == other.number:
            raise ConfigError(
                f"--in-turn must have one item for each step; {one.text!r} and {other.text!r} both begin at step "
                f"{one.number}. Leave one of them out, or give it another step."
            )
    if items[0].number != 0:
        raise ConfigError(
            f"--in-turn must have an item for step 0, where every episode begins; the first is {items[0].text!r}. "
            "Add one, as '0: toward 0'."
        )
    return tuple(items)


def shares_of(given: Sequence[str]) -> tuple[Item, ...]:
    """The items of --by-episode, `SHARE: words`, in the order given.

    Raises:
        ConfigError: an item that is wrong, or shares that don't sum to 1; it quotes them.
    """
    items = tuple(_item("--by-episode", text, "a share of episodes, above 0 and at most 1", _share) for text in given)
    total = sum(item.number for item in items)
    if abs(total - 1) > 1e-6:
        told = " and ".join(repr(item.text) for item in items)
        raise ConfigError(f"The shares of --by-episode must sum to 1; those of {told} sum to {total:g}. Give others.")
    return items


def numbers_of_modes(name: str, given: Sequence[str], default: float | None = None) -> dict[int, float]:
    """``0=2`` -> {0: 2.0}; without a number the default, where there is one.

    Args:
        name: how messages call the flag or the word.
        given: each a mode, alone or with a number.
        default: the number of a mode that is alone; None where each must have one.

    Raises:
        ConfigError: no mode or no number, or a mode twice.
    """
    found: dict[int, float] = {}
    for text in given:
        mode, equals, number = text.partition("=")
        try:
            key, value = int(mode), float(number) if equals or default is None else default
        except ValueError:
            example = "1=.7,3=.3" if default is None else "0, or 0=2"
            raise ConfigError(
                f"{name} must name modes and numbers, as in {example}; got {text!r}. Write it so."
            ) from None
        if key in found:
            raise ConfigError(f"{name} must name a mode once; mode {key} comes twice. Leave one of them out.")
        found[key] = value
    return found


def context_of(given: Sequence[str]) -> tuple[float, ...]:
    """The numbers of `--context`, with commas or spaces between them.

    Raises:
        ConfigError: what is no number.
    """
    try:
        return tuple(map(float, _apart(given)))
    except ValueError:
        raise ConfigError(
            f"--context must be numbers, one for each mode, as in --context 0.2,0.8; got {' '.join(given)!r:.80}. "
            "Write it so."
        ) from None


def _step(text: str) -> int:
    step = int(text)
    if step < 0:
        raise ValueError
    return step


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:  # so that NaN is refused
        raise ValueError
    return share


def _item(option: str, text: str, what: str, read: Callable[[str], float | int]) -> Item:
    number, colon, words = text.partition(":")
    example = "'200: toward 1'" if option == "--in-turn" else "'0.7: toward 1'"
    if not colon:
        raise ConfigError(
            f"{option} {text!r} must have a colon behind its number, as in {example}; it has none. Add it."
        )
    try:
        value = read(number)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r} must begin with {what}; got {number.strip()!r}. Write it as in {example}."
        ) from None
    try:
        return Item(text, value, _wanted(words.split()))
    except ConfigError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from None


def _wanted(words: Sequence[str]) -> Wanted:
    """The flags that words stand for."""
    values: dict[str, list[str]] = {}
    word = None
    for given in words:
        if given in _WORDS:
            if given in values and given != "away":  # `away` may be said of several modes, as its flag may
                raise ConfigError(f"{given} must be said once; it comes twice. Leave one of them out.")
            if word is not None:
                _require_value(word, values[word])
            word = given
            values.setdefault(word, [])
        elif word is None or (values[word] and given.lstrip("-")[:1].isalpha()):  # values are numbers
            raise ConfigError(f"A word must be one of {_KNOWN}, without dashes; got {given!r}. Correct it.")
        else:
            values[word].append(given)
    if word is None:
        raise ConfigError(f"What is wanted must stand behind the colon, in words of {_KNOWN}; nothing does. Add it.")
    _require_value(word, values[word])
    return Wanted(**{word: _read(word, texts) for word, texts in values.items()})


def _require_value(word: str, texts: Sequence[str]) -> None:
    if not texts:
        raise ConfigError(f"{word} must have a value, as in `{_WORDS[word][0]}`; it has none. Add it.")


def _read(word: str, texts: Sequence[str]) -> Any:
    example, read = _WORDS[word]
    try:
        return read(texts)
    except ValueError:
        raise ConfigError(f"{word} must be said as in `{example}`; got {' '.join(texts)!r}. Correct it.") from None


def _only(texts: Sequence[str]) -> str:
    (text,) = texts
    return text


def _apart(texts: Sequence[str]) -> tuple[str, ...]:
    """Values with commas or spaces between them."""
    return tuple(" ".join(texts).replace(",", " ").split())


_WORDS: Mapping[str, tuple[str, Callable[[Sequence[str]], Any]]] = {
    "toward": ("toward 1", lambda texts: int(_only(texts))),
    "strength": ("strength 1.5", lambda texts: float(_only(texts))),
    "away": ("away 0=2", _apart),
    "blend": ("blend 1=.7,3=.3", lambda texts: ",".join(_apart(texts))),
    "context": ("context 0.2,0.8", lambda texts: tuple(map(float, _apart(texts)))),
    "style": ("style 0.8", lambda texts: float(_only(texts))),
}
_KNOWN = ", ".join(_WORDS)
