"""`verify(path)`: computes a certificate again from its outcomes; looks at the policy and the simulator if asked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError, UnbraidError
from unbraid.core.progress import progress
from unbraid.evaluation.certificates import Certificate, Outcomes, edited_parts, load_certificate
from unbraid.evaluation.certify import actors_of, environment_facts, policy_facts, simulated
from unbraid.evaluation.decisions import Source, decide, with_zeros
from unbraid.steering.steered import SteeredPolicy
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import Controller

__all__ = ["Verification", "verify"]

_NOT_COMPARED = (
    "The policy could not be compared with the one that acted, as one of them has no fingerprint (a function, an "
    "expert, anybody's controller). Only a replay tells whether it does the same."
)
_TOLERANCE = 1e-9  # relative: products and quantiles differ in their last bits between machines; answers may not


@dataclass(frozen=True, eq=False)
class Verification:
    """What was looked at, and what differs.

    Attributes:
        certificate: as the file has it.
        checked: what was looked at, in words.
        differences: in words, each with what the certificate has and what came out; empty where all is as it should be.
        remarks: what may explain a difference, as other versions of packages; and what could not be looked at.
    """

    certificate: Certificate
    checked: tuple[str, ...]
    differences: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """What was found, as a JSON object."""
        lists = {name: list(getattr(self, name)) for name in ("checked", "differences", "remarks")}
        return {"verified": self.ok, **lists}


def verify(
    path: str | Path,
    *,
    policy: SteeredPolicy | ModeModel | Controller | None = None,
    experts: Mapping[str, Controller] | None = None,
    replay: bool = False,
) -> Verification:
    """Sees whether a certificate is true to itself, and, as far as it is asked, to its policy and to the simulator.

    Args:
        path: its file.
        policy: the one that is said to have acted: its weights and settings are compared, where it has any (a remark
            says where it has not: a function, an expert).
        experts: as for `certify.certify`; for a replay.
        replay: roll out all its episodes again, and compare the outcomes bit for bit; needs `policy`.

    Raises:
        DataError: the file is no certificate.
        ConfigError: a replay without a policy.
        UnbraidError: a replay that cannot be made.
    """
    if replay and policy is None:
        raise ConfigError("A replay must have the policy that acted; there is none. Name its run, too.")
    certificate = load_certificate(path)
    checked = ["whether a part was edited", "whether every answer follows from the outcomes"]
    edited = [f"The {part}: edited since, as their SHA-256 says." for part in edited_parts(path)]
    differences = [*edited, *_recomputed(certificate)]
    remarks: list[str] = []
    if policy is not None:
        told, is_known = _policy_compared(certificate.policy, json.loads(json.dumps(policy_facts(policy))))
        differences += told
        if told or is_known:
            checked.append("whether the policy is the one that acted")
        else:
            remarks.append(_NOT_COMPARED)
    if replay and policy is not None:
        checked.append("whether every episode does again what it did")
        now = environment_facts(str(certificate.environment.get("id")))
        then = dict(certificate.environment)
        remarks += _compared("The version of ", then.pop("packages", {}), now.pop("packages"), "now it is")
        differences += _compared("The environment's ", then, now, "now it is")
        differences += _replayed(certificate, policy, experts or {})
    return Verification(certificate, tuple(checked), tuple(differences), tuple(remarks))


def _policy_compared(written: dict[str, Any], found: dict[str, Any]) -> tuple[list[str], bool]:
    """What differs between the policy that acted and this one, and whether fingerprints could tell.

    A function or an expert has none, and neither have certificates of before of a policy that is made of parts; then
    only their kinds are told apart.
    """
    is_known = found["weights_sha256"] is not None
    if "parts" in found and "parts" not in written:
        is_known = False
    told = (written, found) if is_known else ({"kind": written.get("kind")}, {"kind": found["kind"]})
    return list(_compared("The policy's ", *told, "this policy has")), is_known


def _recomputed(certificate: Certificate) -> Iterator[str]:
    """What differs between the results as written and those that follow from the outcomes."""
    try:
        outcomes, results = decide(certificate.claims, certificate.terms, _stored(certificate))
    except UnbraidError as error:
        yield f"The outcomes do not lead to an answer: {error}"
        return
    used = {entry.actor: len(entry.seeds) for entry in outcomes}
    for entry in certificate.outcomes:
        if used.get(entry.actor, 0) != len(entry.seeds):
            yield (
                f"The outcomes of {entry.actor}: {len(entry.seeds)} episodes in the certificate, "
                f"{used.get(entry.actor, 0)} are what its claims take."
            )
    for index, (written, found) in enumerate(zip_longest(certificate.results, results), start=1):
        if written is None or found is None:
            yield f"Claim {index}: {'no result' if written is None else 'a result without a claim'} in the certificate."
        else:
            yield from _compared(f"Claim {index}, ", written.to_json(), found.to_json(), "recomputed")


def _stored(certificate: Certificate) -> Source:
    """Outcomes as the certificate has them, as long as it has them for the seeds that its terms give."""
    by_actor = {entry.actor: entry for entry in certificate.outcomes}
    n_given = dict.fromkeys(by_actor, 0)

    def source(actor: str, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        entry = by_actor.get(actor, Outcomes(actor, (), {}))
        start = n_given.get(actor, 0)
        stop = start + len(seeds)
        if len(entry.seeds) < stop:
            raise DataError(
                f"{actor} must have at least {stop} episodes, as its claims are not decided before; there are "
                f"{len(entry.seeds)}. Certify again."
            )
        if list(entry.seeds[start:stop]) != list(seeds):
            raise DataError(f"The seeds of {actor} must be those that the terms give; they are others. Certify again.")
        n_given[actor] = stop
        return {name: values[start:stop] for name, values in entry.values.items()}

    return source


def _replayed(
    certificate: Certificate, policy: SteeredPolicy | ModeModel | Controller, experts: Mapping[str, Controller]
) -> Iterator[str]:
    """The first outcome of every actor that is not what it was."""
    terms = certificate.terms
    actors = actors_of(policy, certificate.claims, experts)
    source = simulated(actors, str(certificate.environment.get("id")), max_steps=terms.max_steps)
    with progress("replay", len(certificate.outcomes), "actors") as advance:
        for entry in certificate.outcomes:
            if entry.actor in actors and entry.seeds:
                yield from _first_difference(entry, source(entry.actor, entry.seeds))
            advance(1)


def _first_difference(entry: Outcomes, found: Mapping[str, np.ndarray]) -> Iterator[str]:
    found = with_zeros(found, len(entry.seeds))
    for name, values in entry.values.items():
        if name not in found:
            yield f"The outcomes of {entry.actor}: {name} in the certificate, replayed the environment tells none."
            continue
        differs = values != found[name]
        if differs.any():
            at = int(differs.argmax())
            yield (
                f"The outcomes of {entry.actor}: {name} of episode {at} (seed {entry.seeds[at]}) is "
                f"{float(values[at])!r} in the certificate, replayed {float(found[name][at])!r}; "
                f"{int(differs.sum())} of {len(values)} differ."
            )


def _compared(prefix: str, written: Any, found: Any, now: str) -> Iterator[str]:
    """Every leaf of two JSON objects that differs, numbers by more than rounding."""
    if isinstance(written, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*written, *found)):
            yield from _compared(f"{prefix}{name} ", written.get(name), found.get(name), now)
    elif not _same(written, found):
        yield f"{prefix.strip()}: {json.dumps(written)} in the certificate, {now} {json.dumps(found)}."


def _same(written: Any, found: Any) -> bool:
    if isinstance(written, float) and isinstance(found, float | int):
        return abs(written - found) <= _TOLERANCE * max(abs(written), abs(found))
    return written == found
