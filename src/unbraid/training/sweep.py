"""A sweep: fits of every combination of some settings, done by workers that may be lost."""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, final, get_args, get_origin, get_type_hints, runtime_checkable

from unbraid.core.errors import ConfigError
from unbraid.training.config import METHODS, FitConfig, TalkConfig, UnbraidConfig

__all__ = ["Outcome", "State", "Trial", "Workers", "run_trials", "trials_of"]

_WORDS = {int: "a whole number", float: "a number"}

State = Literal["waiting", "running", "lost", "done", "failed"]


@final
@dataclass(frozen=True)
class Trial:
    """One fit of a sweep.

    Attributes:
        name: its settings, as ``n_modes=2,seed=0``; the name of its run's folder.
        settings: what the grid says, by setting.
        config: the method's config with them.
    """

    name: str
    settings: dict[str, Any]
    config: FitConfig


@final
@dataclass(frozen=True)
class Outcome:
    """How a trial ended: "done", or "failed" with what was said."""

    state: Literal["done", "failed"]
    message: str | None = None


@runtime_checkable
class Workers(Protocol):
    """Those who do trials, each one at a time."""

    @property
    def n_workers(self) -> int:
        """How many trials may run at once."""
        ...

    def start(self, name: str, order: dict[str, Any]) -> None:
        """Gives a trial to a worker that has none."""
        ...

    def next_ended(self) -> tuple[str, Outcome | None]:
        """Waits until a trial ends; its name, and how it ended: None where its worker was lost."""
        ...

    def stop(self) -> None:
        """Lets every worker keep what it has, and ends it."""
        ...


def trials_of(method: str, grid: Sequence[str]) -> tuple[Trial, ...]:
    """Every combination of the values of a grid, the last setting changing first.

    Args:
        method: "unbraid" or "talk".
        grid: settings of the method's config with their values, as ``n_modes=2,3,auto`` or, where a value is several
            numbers, ``policy_hidden=64x64,128x128x128``.

    Raises:
        ConfigError: a setting that does not exist or stands twice, or a value that it cannot have.
    """
    kind = METHODS[method]
    values: dict[str, list[Any]] = {}
    for entry in grid:
        name, equals, texts = entry.partition("=")
        if not equals or not name or not texts:
            raise ConfigError(f"--grid must be name=value,value,...; got {entry!r}. For example n_modes=2,3,4.")
        if name in values:
            raise ConfigError(f"A setting of --grid must be named once; got {name} twice. Join its values by commas.")
        values[name] = _values_of(kind, name, texts.split(","))
    if not values:
        raise ConfigError("--grid must name a setting with its values; got none. For example n_modes=2,3,4.")
    trials: list[Trial] = []
    for chosen in itertools.product(*values.values()):
        settings = dict(zip(values, chosen, strict=True))
        trials.append(Trial(_name_of(settings), settings, kind(**settings)))
    return tuple(trials)


def _name_of(settings: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={_text_of(value)}" for name, value in settings.items())


def _text_of(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _values_of(kind: type[TalkConfig] | type[UnbraidConfig], name: str, texts: Sequence[str]) -> list[Any]:
    """The values of one setting, each as the config has it."""
    known = [field.name for field in fields(kind)]
    if name not in known:
        others = [other.method for other in METHODS.values() if name in {field.name for field in fields(other)}]
        remedy = f"It is one of --method {others[0]}." if others else f"Known: {', '.join(known)}."
        raise ConfigError(f"{name} in --grid must be a setting of --method {kind.method}; it is none. {remedy}")
    hint = get_type_hints(kind)[name]
    found = [_value_of(name, hint, text) for text in texts]
    if len(set(found)) < len(found):
        raise ConfigError(f"The values of {name} in --grid must differ; got {','.join(texts)}. Name each once.")
    for value in found:
        kind(**{name: value})  # its own message says what a value may be
        if name == "n_modes" and isinstance(value, int) and value < 2:  # of which there may be one only in the end
            raise ConfigError(f"n_modes in --grid must be at least 2; got {value}. One mode has nothing to tell apart.")
    return found


def _value_of(name: str, hint: Any, text: str) -> Any:
    """A value from its text, as the first of a setting's types that takes it."""
    words: list[str] = []
    for own in get_args(hint) if get_origin(hint) not in (None, tuple, Literal) else (hint,):
        if get_origin(own) is Literal:
            if text in get_args(own):
                return text
            words.append(", ".join(map(str, get_args(own))))
            continue
        try:
            return tuple(int(part) for part in text.split("x")) if get_origin(own) is tuple else own(text)
        except ValueError:
            words.append("whole numbers with an x between them" if get_origin(own) is tuple else _WORDS[own])
    raise ConfigError(f"{name} in --grid must be {' or '.join(words)}; got {text!r}. Give such values.")


def run_trials(
    orders: Mapping[str, dict[str, Any]],
    workers: Workers,
    *,
    retries: int,
    on_change: Callable[[str, State], None],
) -> dict[str, Outcome]:
    """Has every trial done; one that fails stops no other, and one whose worker is lost is done again.

    Args:
        orders: what a worker is told, by the trial's name, in the order to begin.
        workers: who does it; stopped at the end, however that comes.
        retries: how often a trial is begun again after its worker was lost, at the most.
        on_change: called with a trial's name and what has become of it.

    Returns:
        How each ended, by name.
    """
    waiting, running, lost = deque(orders), 0, Counter[str]()
    outcomes: dict[str, Outcome] = {}
    try:
        while waiting or running:
            while waiting and running < workers.n_workers:
                name = waiting.popleft()
                workers.start(name, orders[name])
                running += 1
                on_change(name, "running")
            name, outcome = workers.next_ended()
            running -= 1
            if outcome is None:
                lost[name] += 1
                if lost[name] <= retries:
                    waiting.append(name)
                    on_change(name, "lost")
                    continue
                outcome = Outcome("failed", _lost(lost[name]))
            outcomes[name] = outcome
            on_change(name, outcome.state)
    finally:
        workers.stop()
    return outcomes


def _lost(times: int) -> str:
    often = "once" if times == 1 else f"{times} times"
    return (
        f"Its worker must live until the fit's end; it was lost {often}, as where memory runs out. Use fewer "
        "--workers, or allow more --retries."
    )
