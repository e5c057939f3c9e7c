"""From claims and outcomes to answers, batch by batch: the same outcomes give the same answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unbraid.core.errors import ConfigError, DataError, WorldError
from unbraid.core.randomness import N_SEEDS, named_generator
from unbraid.evaluation.certificates import Outcomes, Result, Terms
from unbraid.evaluation.claims import Claim, EquivalenceClaim, ProbabilityClaim
from unbraid.evaluation.significance import Answer, Doubts, alpha_of_a_side, answers_of, doubts_of, estimates_of, holm

__all__ = ["SPARSE", "Source", "actor_of", "certificate_seeds", "decide", "expert_of", "with_zeros"]

Source = Callable[[str, Sequence[int]], Mapping[str, np.ndarray]]
"""(actor, seeds) -> metric -> (episode,): where outcomes come from, a simulator or a certificate."""


SPARSE = ("cost", "success")
"""Metrics that a world may mention only where there is something to tell: an episode without is 0."""


@dataclass
class _Case:
    """A claim in the making: whether it takes more episodes, how many it has used, and what speaks against it."""

    claim: Claim
    is_open: bool = True
    n: int = 0
    doubts: Doubts = field(default_factory=lambda: Doubts(1.0, 1.0))
    answer: Answer = "not decided"


def actor_of(claim: Claim) -> str:
    """Who acts for a claim: ``"mode 2"``, or ``"the policy"`` where it names no mode."""
    return "the policy" if claim.mode is None else f"mode {claim.mode}"


def expert_of(claim: EquivalenceClaim) -> str:
    """With whom it is compared: ``"expert forward"``."""
    return f"expert {claim.expert}"


def certificate_seeds(terms: Terms) -> list[int]:
    """The seeds of all the episodes that there may be, in order: drawn independently, and apart from `evaluate`'s.

    Claims are often made after a look at an evaluation; its episodes must not judge what they suggested. A seed may
    come twice (of 1,000, once in 4,000 certificates): drawn without replacement, they would not be independent, and
    bets on the next episode not fair. Certificates are verified by drawing them again.
    """
    drawn = named_generator(terms.seed, "certificate").integers(N_SEEDS, size=terms.max_episodes)
    return [int(seed) for seed in drawn]


def decide(
    claims: Sequence[Claim], terms: Terms, source: Source, *, on_batch: Callable[[int], None] | None = None
) -> tuple[tuple[Outcomes, ...], tuple[Result, ...]]:
    """Asks for outcomes batch by batch, until every claim is decided or no more are allowed.

    A claim is looked at when a batch is done, by all its episodes so far; once decided, it takes no more. An actor
    whose claims are all decided acts no more. What comes out is a function of the claims, the terms and the outcomes
    in the order of the seeds: this makes certificates, and verifies them.

    Args:
        claims: at least one.
        terms: what is settled.
        source: gives the outcomes of an actor on some seeds; asked once per batch and actor.
        on_batch: called with the number of episodes by which a batch went on.

    Raises:
        ConfigError: no claims, or an n above the most episodes.
        WorldError: the source lacks a claimed metric; one that worlds mention only now and then (`SPARSE`) in every
            batch of every actor, which shows when all is done.
        DataError: a value is outside its claimed bounds, or not finite.
    """
    _require_decidable(claims, terms)
    seeds, cases = certificate_seeds(terms), [_Case(claim) for claim in claims]
    metrics = _metrics_of_actors(claims)
    known = {actor: Outcomes(actor, (), {name: np.empty(0) for name in names}) for actor, names in metrics.items()}
    told, n_done = dict[str, None](), 0
    while n_done < terms.max_episodes and any(case.is_open for case in cases):
        n_before, n_done = n_done, min(n_done + terms.batch_episodes, terms.max_episodes)
        for actor, n_wanted in _wanted_of_actors([case.claim for case in cases if case.is_open], n_done).items():
            batch = seeds[n_before:n_wanted]
            found = source(actor, batch)
            told |= dict.fromkeys(found)
            known[actor] = _extended(known[actor], batch, found)
        for case in cases:
            if case.is_open:
                _require_within_bounds(case.claim, known, n_before=n_before)
                case.n = min(n_done, case.claim.n or n_done)
                case.doubts = doubts_of(case.claim, *_values(case, known))
        answers = answers_of([case.doubts for case in cases], terms.alpha)
        for case, answer in zip(cases, answers, strict=True):
            if case.answer == "not decided":  # an answer is never withdrawn, whatever the other claims do later
                case.answer = answer
            case.is_open = case.answer == "not decided" and case.n != case.claim.n
        if on_batch is not None:
            on_batch(n_done - n_before)
    for claim in claims:
        _require_told(claim.metric, told)
    return tuple(known.values()), _results(cases, terms, known)


def _results(cases: Sequence[_Case], terms: Terms, known: Mapping[str, Outcomes]) -> tuple[Result, ...]:
    doubts = [case.doubts for case in cases]
    false, true = holm([d.of_false for d in doubts]), holm([d.of_true for d in doubts])
    return tuple(
        Result(
            claim=case.claim.text,
            answer=case.answer,
            method=case.claim.method,
            n=case.n,
            alpha=alpha_of_a_side(terms.alpha, len(cases)),
            p_false=(case.doubts.of_false, false[index]),
            p_true=(case.doubts.of_true, true[index]),
            estimates=estimates_of(case.claim, *_values(case, known), confidence=1 - terms.alpha),
            note=case.doubts.note,
        )
        for index, case in enumerate(cases)
    )


def _actors_of(claim: Claim) -> list[str]:
    return [actor_of(claim), *([expert_of(claim)] if isinstance(claim, EquivalenceClaim) else [])]


def _wanted_of_actors(claims: Sequence[Claim], n_done: int) -> dict[str, int]:
    """Actor -> up to which episode some claims need it by now: not beyond a stated n."""
    wanted: dict[str, int] = {}
    for claim in claims:
        for actor in _actors_of(claim):
            wanted[actor] = max(wanted.get(actor, 0), min(claim.n or n_done, n_done))
    return wanted


def _metrics_of_actors(claims: Sequence[Claim]) -> dict[str, list[str]]:
    """Actor -> the metrics that some claims need of it; both in the order in which they are first named."""
    metrics: dict[str, list[str]] = {}
    for claim in claims:
        for actor in _actors_of(claim):
            names = metrics.setdefault(actor, [])
            if claim.metric not in names:
                names.append(claim.metric)
    return metrics


def with_zeros(found: Mapping[str, np.ndarray], n_episodes: int) -> dict[str, np.ndarray]:
    """Outcomes, with 0 in every episode for those metrics of `SPARSE` of which nothing was told."""
    return {name: np.zeros(n_episodes) for name in SPARSE} | dict(found)


def _require_told(metric: str, told: Iterable[str]) -> None:
    if metric not in told:
        raise WorldError(
            f"The environment must tell what the claimed metric {metric!r} needs; it does not (it tells "
            f"{', '.join(told) or 'nothing'}). {_NEEDS.get(metric, '')}Claim another metric, or another environment."
        )


def _extended(known: Outcomes, seeds: Sequence[int], found: Mapping[str, np.ndarray]) -> Outcomes:
    values: dict[str, np.ndarray] = {}
    whole = with_zeros(found, len(seeds))
    for name, before in known.values.items():
        if name not in SPARSE:  # which another batch may yet tell
            _require_told(name, found)
        new = np.asarray(whole[name], dtype=np.float64)
        if not np.isfinite(new).all():
            at = int(np.isfinite(new).argmin())
            raise DataError(
                f"The {name} of {known.actor} must be finite; the episode of seed {seeds[at]} has {new[at]}. Repair "
                "the environment, or claim another metric."
            )
        values[name] = np.concatenate([before, new])
    return Outcomes(known.actor, (*known.seeds, *seeds), values)


_NEEDS = {
    "cost": "A cost is `info['cost']`, 0.0 where there is none: let a wrapper tell that, too. ",
    "success": "Success is `info['is_success']`, False where there is none: let a wrapper tell that, too. ",
    "goals": "Goals are `info['goal_reached']`. ",
}


def _values(case: _Case, known: Mapping[str, Outcomes]) -> tuple[np.ndarray, np.ndarray | None]:
    """The outcomes that the claim has used, and the expert's on the same seeds."""
    claim = case.claim
    values = known[actor_of(claim)].values[claim.metric][: case.n]
    if not isinstance(claim, EquivalenceClaim):
        return values, None
    return values, known[expert_of(claim)].values[claim.metric][: case.n]


def _require_decidable(claims: Sequence[Claim], terms: Terms) -> None:
    if len(claims) == 0:
        raise ConfigError("There must be at least one claim; there is none. Make one.")
    for claim in claims:
        if (claim.n or 0) > terms.max_episodes:
            raise ConfigError(
                f'The n of "{claim.text}" must be at most the most episodes, {terms.max_episodes}; got '
                f"{claim.n}. Allow more (--max-episodes), or state a smaller n."
            )


def _require_within_bounds(claim: Claim, known: Mapping[str, Outcomes], *, n_before: int) -> None:
    if isinstance(claim, ProbabilityClaim) or claim.bounds is None:
        return
    low, high = claim.bounds
    for actor in _actors_of(claim):
        new = known[actor].values[claim.metric][n_before:]
        outside = (new < low) | (new > high)
        if outside.any():
            at = int(outside.argmax())
            raise DataError(
                f'The bounds of "{claim.text}" must hold for every episode; {actor} has a {claim.metric} of '
                f"{new[at]:g} on seed {known[actor].seeds[n_before + at]}, outside [{low:g}, {high:g}]. "
                "State bounds that no episode can leave, and certify again with another --seed."
            )
