"""Claims about what a policy does, episode by episode: frozen, checked when they are made, read from a JSON file."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError
from unbraid.core.runs import read_json, taken_path

__all__ = [
    "Bounds",
    "Claim",
    "EquivalenceClaim",
    "MeanClaim",
    "ProbabilityClaim",
    "claim_from_json",
    "claim_to_json",
    "claims_of",
    "load_claims",
]

Bounds = tuple[float | int, float | int]


@dataclass(frozen=True)
class ProbabilityClaim:
    """ "mode 2: P(cost > 25) <= 0.1": how often an episode's metric lies beyond a threshold.

    Attributes:
        metric: a name in `evaluation.behaviour.METRICS`, per episode.
        above, below: one of the two, the threshold in the metric's unit: metric > above, or metric < below.
        at_most, at_least: one of the two, the probability, in (0, 1).
        mode: which mode acts; None for the policy as it is steered.
        method: ``"betting"`` may stop early; ``"clopper_pearson"`` is exact at one n that is stated here.
        n: how many episodes, for ``"clopper_pearson"``; None for ``"betting"``, which needs none.
    """

    metric: str
    above: float | int | None = None
    below: float | int | None = None
    at_most: float | int | None = None
    at_least: float | int | None = None
    mode: int | None = None
    method: str = "betting"
    n: int | None = None

    def __post_init__(self) -> None:
        _require_actor_and_metric(self)
        _require_one(self, "above", "below", "the threshold of the metric")
        probability = _require_one(self, "at_most", "at_least", "the probability")
        if not (probability > 0 and 0 < 1 - probability < 1):  # nor so near either that its complement is rounded to 1
            raise ConfigError(
                f"The probability must lie between 0 and 1, and be neither; got {probability}. No number of episodes "
                "shows that something never happens: name a small probability, as 0.01."
            )
        _require_choice("method", self.method, ("betting", "clopper_pearson"))
        _require_n(self.n, stated=self.method == "clopper_pearson", method=self.method, least=1)

    @property
    def text(self) -> str:
        """The claim in words."""
        event = f"{self.metric} > {self.above:g}" if self.above is not None else f"{self.metric} < {self.below:g}"
        return f"{_actor(self)}: P({event}) {_limit(self.at_most, self.at_least)}"


@dataclass(frozen=True)
class MeanClaim:
    """ "mode 1: mean distance <= 20": the mean of a metric over episodes, by betting; it may stop early.

    Attributes:
        metric: a name in `evaluation.behaviour.METRICS`, per episode.
        bounds: (lowest, highest) value that any episode can have, in the metric's unit. A mean cannot be bounded
            without: what one episode in a million may do would count without limit.
        at_most, at_least: one of the two, the mean, between the bounds.
        mode: which mode acts; None for the policy as it is steered.
        method: ``"betting"``, the only one.
    """

    metric: str
    bounds: Bounds
    at_most: float | int | None = None
    at_least: float | int | None = None
    mode: int | None = None
    method: str = "betting"

    def __post_init__(self) -> None:
        _require_actor_and_metric(self)
        _require_choice("method", self.method, ("betting",))
        low, high = _require_bounds(self.bounds)
        limit = _require_one(self, "at_most", "at_least", "the mean")
        scaled = (limit - low) / (high - low)
        if not (scaled > 0 and 0 < 1 - scaled < 1):  # to rounding, too
            raise ConfigError(
                f"The mean must lie between the bounds {low:g} and {high:g}, and be neither; got {limit:g}. "
                "Claim a mean that the bounds leave open, or state the widest values that an episode can have."
            )

    @property
    def n(self) -> int | None:
        """None: no number of episodes is settled before."""
        return None

    @property
    def text(self) -> str:
        """The claim in words."""
        within = f"values in [{self.bounds[0]:g}, {self.bounds[1]:g}]"
        return f"{_actor(self)}: mean {self.metric} {_limit(self.at_most, self.at_least)} ({within})"


@dataclass(frozen=True)
class EquivalenceClaim:
    """ "mode 0 is within 10 % of expert goal_seeking's return": the two means, paired on the same seeds.

    Attributes:
        metric: a name in `evaluation.behaviour.METRICS`, per episode.
        expert: whose mean it is compared with, a name; a number, in a file, is the run's expert of that label.
        within: how far the two means may lie apart, in the metric's unit; or
        within_percent: the same in per cent of the expert's mean, between 0 and 100.
        mode: which mode acts; None for the policy as it is steered.
        method: ``"tost"``, two one-sided t-tests at one n that is stated here; or ``"betting"``, for heavy tails and to
            stop early, which needs bounds.
        n: how many paired episodes, for ``"tost"``.
        bounds: (lowest, highest) value that any episode of either can have; for ``"betting"``.
    """

    metric: str
    expert: str | int
    within: float | int | None = None
    within_percent: float | int | None = None
    mode: int | None = None
    method: str = "tost"
    n: int | None = None
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        _require_actor_and_metric(self)
        if isinstance(self.expert, bool) or self.expert == "" or (isinstance(self.expert, int) and self.expert < 0):
            raise ConfigError(f"`expert` must be a name, or the number of a label; got {self.expert!r}. Name one.")
        margin = _require_one(self, "within", "within_percent", "the margin")
        if margin <= 0 or (self.within_percent is not None and margin >= 100):
            raise ConfigError(f"The margin must be above 0, and in per cent below 100; got {margin:g}. 10 % is usual.")
        _require_choice("method", self.method, ("tost", "betting"))
        _require_n(self.n, stated=self.method == "tost", method=self.method, least=2)
        if self.bounds is not None:
            low, high = _require_bounds(self.bounds)
            if self.within is not None and self.within >= high - low:
                raise ConfigError(
                    f"The margin must be less than the bounds lie apart, {high - low:g}; got {margin:g}, which holds "
                    "whatever happens. Claim a smaller one."
                )
        elif self.method == "betting":
            raise ConfigError(
                '`bounds` must be given for the method "betting"; there are none. State [lowest, highest], the widest '
                'values that an episode of either can have, or use "tost" with an n.'
            )

    @property
    def text(self) -> str:
        """The claim in words."""
        margin = f"{self.within:g}" if self.within is not None else f"{self.within_percent:g} %"
        return f"{_actor(self)}: mean {self.metric} within {margin} of expert {self.expert}'s"


Claim = ProbabilityClaim | MeanClaim | EquivalenceClaim

_KINDS: dict[str, type[Claim]] = {
    "probability": ProbabilityClaim,
    "mean": MeanClaim,
    "equivalence": EquivalenceClaim,
}


def load_claims(path: str | Path, *, experts: Sequence[str] = ()) -> tuple[Claim, ...]:
    """The claims in a file: a JSON list of objects with a ``kind``, and what `claim_from_json` says.

    Args:
        path: the file.
        experts: names in the order of their labels, for claims that name an expert by its number.

    Raises:
        ConfigError: no such file, not JSON, no list, or a claim that is wrong; it says which one.
    """
    path = taken_path(path)
    content = read_json(path, error=ConfigError, remedy='Write a list, as [{"kind": "probability", ...}].')
    if not isinstance(content, list) or not content:
        raise ConfigError(f"{path} must hold a list of claims, at least one; it does not. Write [{{...}}, ...].")
    return _each_read(content, experts, f"{path}, claim")


def claims_of(given: Sequence[Claim | Mapping[str, Any]]) -> tuple[Claim, ...]:
    """Claims, of which those that are JSON objects are read (`claim_from_json`).

    Raises:
        ConfigError: no list; what is neither a claim nor an object, or an object that is no claim; it says which one.
    """
    if isinstance(given, Mapping | str) or not isinstance(given, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"Claims must be given as a list; got a {type(given).__name__}. Write [claim], also for one.")
    return _each_read(given, (), "Claim")


def _each_read(given: Iterable[Any], experts: Sequence[str], what: str) -> tuple[Claim, ...]:
    claims: list[Claim] = []
    for number, entry in enumerate(given, start=1):
        try:
            claims.append(entry if isinstance(entry, Claim) else _named(claim_from_json(entry), experts))
        except ConfigError as error:
            raise ConfigError(f"{what} {number}: {error}") from None
    return tuple(claims)


def claim_to_json(claim: Claim) -> dict[str, Any]:
    """A claim as a JSON object, without the fields that are None; `claim_from_json` reads it back."""
    kind = next(name for name, of in _KINDS.items() if isinstance(claim, of))
    given = {name: value for name, value in asdict(claim).items() if value is not None}
    return {"kind": kind, **{name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}}


def claim_from_json(entry: Any) -> Claim:
    """A claim from a JSON object: ``kind`` (probability, mean or equivalence), and that kind's attributes.

    Raises:
        ConfigError: an unknown kind, an unknown or missing field, a value of the wrong type, or an impossible claim.
    """
    kinds = ", ".join(_KINDS)
    if not isinstance(entry, Mapping) or "kind" not in entry:
        raise ConfigError(
            f'A claim must be an object with a kind, one of {kinds}; got {_shown(entry):.80}. Add "kind".'
        )
    kind = entry["kind"]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(f"A claim's kind must be one of {kinds}; got {_shown(kind):.80}. Name one of them.")
    known = {field.name: field for field in fields(_KINDS[kind])}
    given = {name: value for name, value in entry.items() if name != "kind" and value is not None}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(
            f"A claim of the kind {kind} must have no other fields than {', '.join(known)}; it has {unknown[0]!r}. "
            "Leave that out, or correct its name."
        )
    for name, field in known.items():
        if field.default is MISSING and name not in given:
            raise ConfigError(f"A claim of the kind {kind} must have {name!r}; it has none. {_ADD[name]}")
    return _KINDS[kind](**{name: _plain(name, value) for name, value in given.items()})


def _named(claim: Claim, experts: Sequence[str]) -> Claim:
    """The claim with the name of the expert that it names by number."""
    if not isinstance(claim, EquivalenceClaim) or not isinstance(claim.expert, int):
        return claim
    if claim.expert >= len(experts):
        known = f"this run has {', '.join(experts)}" if experts else "this run names none"
        raise ConfigError(f"Expert {claim.expert} must be one of the run's experts; {known}. Give the expert's name.")
    return replace(claim, expert=experts[claim.expert])


def _shown(value: Any) -> str:
    """As JSON, with what JSON has no word for as Python writes it."""
    return json.dumps(value, default=repr)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_NUMBER = (_is_number, "a finite number")
_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "metric": (lambda value: isinstance(value, str), "a name"),
    "method": (lambda value: isinstance(value, str), "a name"),
    "expert": (lambda value: isinstance(value, str) or _is_count(value), "a name, or the number of a label"),
    "mode": (_is_count, "a whole number"),
    "n": (_is_count, "a whole number"),
    "bounds": (
        lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)),
        "[lowest, highest], two finite numbers",
    ),
    **dict.fromkeys(("above", "below", "at_most", "at_least", "within", "within_percent"), _NUMBER),
}
_ADD: Mapping[str, str] = {
    "metric": 'Name what is measured, as "metric": "cost".',
    "expert": 'Name whom to compare with, as "expert": "goal_seeking".',
    "bounds": 'Add "bounds": [lowest, highest], the widest values that an episode can have; without them no number of '
    "episodes bounds a mean.",
}


def _actor(claim: Claim) -> str:
    return "the policy" if claim.mode is None else f"mode {claim.mode}"


def _limit(at_most: float | int | None, at_least: float | int | None) -> str:
    return f"<= {at_most:g}" if at_most is not None else f">= {at_least:g}"


def _require_kinds(claim: Claim) -> None:
    """Makes numbers of NumPy's Python's, which JSON can hold; raises `ConfigError` for a value of the wrong kind."""
    for field in fields(claim):
        value = getattr(claim, field.name)
        if value is None and field.default is None:
            continue
        object.__setattr__(claim, field.name, _plain(field.name, value))


def _plain(name: str, value: Any) -> Any:
    """A field's value with Python's numbers; raises `ConfigError` where it is of the wrong kind."""

    def of(one: Any) -> Any:
        return one.item() if isinstance(one, np.number) else one

    plain = tuple(map(of, value)) if isinstance(value, list | tuple | np.ndarray) else of(value)
    fits, what = _TYPES[name]
    if not fits(plain):
        raise ConfigError(f"{name!r} must be {what}; got {_shown(value):.60}. Correct it.")
    return plain


def _require_actor_and_metric(claim: Claim) -> None:
    _require_kinds(claim)
    if claim.metric == "":
        raise ConfigError(f"`metric` must be a name; got none. {_ADD['metric']}")
    if claim.mode is not None and claim.mode < 0:
        raise ConfigError(f"`mode` must be at least 0; got {claim.mode}. Modes count from 0.")


def _require_one(claim: Claim, one: str, other: str, what: str) -> float:
    """The value of whichever of two fields is given."""
    given = [value for value in (getattr(claim, one), getattr(claim, other)) if value is not None]
    if len(given) != 1 or not math.isfinite(given[0]):
        raise ConfigError(
            f"Either `{one}` or `{other}` must be given, a finite number: {what}; got "
            f"{one}={getattr(claim, one)} and {other}={getattr(claim, other)}. Give one of them."
        )
    return float(given[0])


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(choices)}; got {value!r}. Choose one.")


def _require_bounds(bounds: Bounds) -> tuple[float, float]:
    low, high = bounds
    if not (low < high and math.isfinite(high - low)):
        raise ConfigError(
            f"`bounds` must be (lowest, highest), finite, the first below the second; got {low:g} and {high:g}. State "
            "the widest values that an episode can have."
        )
    return float(low), float(high)


def _require_n(n: int | None, *, stated: bool, method: str, least: int) -> None:
    if stated and (n is None or n < least):
        raise ConfigError(
            f'`n` must be stated for the method "{method}", at least {least} episodes; got {n}. Its answer is right '
            "only at an n that was settled before."
        )
    if not stated and n is not None:
        raise ConfigError(
            f'`n` must be left out for the method "{method}", which stops when it knows; got {n}. Leave it out.'
        )
