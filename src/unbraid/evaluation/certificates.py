"""`Certificate`: what was claimed, what every episode did, and what follows; JSON that anyone can compute again."""

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.numbers import MOST_EPISODES, require_whole
from unbraid.core.runs import read_json, refuse_existing, taken_path, write_json
from unbraid.evaluation.claims import Claim, claim_from_json, claim_to_json
from unbraid.evaluation.intervals import Estimate
from unbraid.evaluation.significance import Answer

__all__ = ["Certificate", "Outcomes", "Result", "Terms", "edited_parts", "load_certificate", "sha256_of"]

_FORMAT, _VERSION = "unbraid-certificate", 1
_CONTENT = ("format", "version", "terms", "claims", "policy", "environment", "outcomes", "results", "sha256")
_REMEDY = "Give a file that `unbraid certify` wrote."


@dataclass(frozen=True)
class Terms:
    """What is settled before the first episode, and never changed after it.

    Attributes:
        alpha: the probability, at most, that any answer of the certificate is wrong; in (0, 1).
        seed: decides the episodes' seeds; another one gives a certificate on other episodes.
        max_episodes: the most episodes of each mode; then what is not decided stays so.
        batch_episodes: claims are looked at whenever that many more episodes are done.
        max_steps: the most steps per episode; the environment's own limit holds beside it.
    """

    alpha: float = 0.05
    seed: int = 0
    max_episodes: int = 1000
    batch_episodes: int = 32
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, Real) or not 0 < self.alpha < 1:
            raise ConfigError(f"`alpha` must lie in (0, 1); got {self.alpha!r:.40}. 0.05 is the usual choice.")
        whole = {"seed": require_whole("`seed`", self.seed, least=0, remedy="0 will do.")}
        for name in ("max_episodes", "batch_episodes", "max_steps"):
            value, most = getattr(self, name), MOST_EPISODES if name == "max_episodes" else None
            if name != "max_steps" or value is not None:
                whole[name] = require_whole(f"`{name}`", value, most=most)
        for name, value in {"alpha": float(self.alpha), **whole}.items():  # numbers of NumPy's could not be written
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What an actor did, episode by episode.

    Attributes:
        actor: ``"mode 2"``, ``"the policy"`` or ``"expert forward"``.
        seeds: the reset seed of every episode.
        values: metric -> (episode,), of the metrics that a claim names.
    """

    actor: str
    seeds: tuple[int, ...]
    values: dict[str, Float[np.ndarray, "episode"]]

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object; a float reads back as it was, bit for bit."""
        values = {name: found.tolist() for name, found in self.values.items()}
        return {"actor": self.actor, "seeds": list(self.seeds), "values": values}


@dataclass(frozen=True)
class Result:
    """What became of a claim.

    Attributes:
        claim: in words.
        answer: ``"holds"``, ``"refuted"`` or ``"not decided"``.
        method: ``"betting"``, ``"clopper_pearson"`` or ``"tost"``.
        n: the episodes that the answer rests on (pairs, for equivalence).
        alpha: the level that the adjusted p-values of either side were compared with.
        p_false: the p-value of "the claim is false", over this claim alone, and adjusted by Holm over all claims.
        p_true: the p-value of "the claim is true", likewise.
        estimates: what the claim is about, by name, with intervals at 1 - the certificate's alpha for this claim alone.
        note: why there is no answer, where the reason is not the number of episodes; else None.
    """

    claim: str
    answer: Answer
    method: str
    n: int
    alpha: float
    p_false: tuple[float, float]
    p_true: tuple[float, float]
    estimates: dict[str, Estimate]
    note: str | None = None

    @property
    def sentence(self) -> str:
        """The answer in words: never a bare number."""
        after = f"after {self.n} {'pairs of episodes' if 'difference' in self.estimates else 'episodes'}"
        return f"{self.answer} {after}: {self.claim}"

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            **{name: getattr(self, name) for name in ("claim", "answer", "method", "n", "alpha")},
            "p_false": dict(zip(("alone", "adjusted"), self.p_false, strict=True)),
            "p_true": dict(zip(("alone", "adjusted"), self.p_true, strict=True)),
            "estimates": {name: estimate.to_json() for name, estimate in self.estimates.items()},
            "note": self.note,
        }


@dataclass(frozen=True, eq=False)
class Certificate:
    """Claims, outcomes and answers.

    Attributes:
        terms: what was settled before.
        claims: in the order of the results.
        policy: who acted: ``weights_sha256`` and more; see `certify.policy_facts`.
        environment: its id and version, and the versions of the packages that it is made of.
        outcomes: one entry per actor.
        results: one entry per claim.
    """

    terms: Terms
    claims: tuple[Claim, ...]
    policy: dict[str, Any]
    environment: dict[str, Any]
    outcomes: tuple[Outcomes, ...]
    results: tuple[Result, ...]

    @property
    def all_hold(self) -> bool:
        """Whether every claim holds."""
        return all(result.answer == "holds" for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object, with a SHA-256 of each of its parts, so that an edit shows, and where."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "terms": asdict(self.terms),
            "claims": [claim_to_json(claim) for claim in self.claims],
            "policy": self.policy,
            "environment": self.environment,
            "outcomes": [outcomes.to_json() for outcomes in self.outcomes],
            "results": [result.to_json() for result in self.results],
        }
        return content | {"sha256": _digests(content)}

    def save(self, path: str | Path) -> None:
        """Writes the certificate into a new file.

        Raises:
            RunError: the file exists; a certificate is never overwritten.
            StorageError: the disk refused.
        """
        path = taken_path(path)
        refuse_existing(path)
        write_json(path, self.to_json())


def sha256_of(content: Any) -> str:
    """The SHA-256 of a JSON value, written with sorted keys and no spaces."""
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(written.encode()).hexdigest()


def load_certificate(path: str | Path) -> Certificate:
    """The certificate in a file; nothing in it is believed yet: `verify.verify` looks.

    Raises:
        DataError: no such file, not JSON, another format or a newer version, or parts that are missing or damaged.
    """
    path = taken_path(path)
    content = _read(path)
    with _saying_what_is_damaged(path):
        if twice := _twice([entry["actor"] for entry in content["outcomes"]]):
            raise ValueError(f"it has the outcomes of {twice} twice")
        if others := [name for name in content if name not in _CONTENT]:
            raise ValueError(f"it has {others[0]!r}, of which no SHA-256 is kept")
        return Certificate(
            terms=Terms(**content["terms"]),
            claims=tuple(claim_from_json(entry) for entry in content["claims"]),
            policy=dict(content["policy"]),
            environment=dict(content["environment"]),
            outcomes=tuple(_outcomes_from_json(entry) for entry in content["outcomes"]),
            results=tuple(_result_from_json(entry) for entry in content["results"]),
        )


def edited_parts(path: str | Path) -> tuple[str, ...]:
    """The parts of a certificate's file that no longer have the SHA-256 which is written there.

    This shows accidents and careless edits. It is no signature: who edits may write a new SHA-256, too; then a replay
    is what tells.

    Raises:
        DataError: as `load_certificate`.
    """
    path = taken_path(path)
    content = _read(path)
    with _saying_what_is_damaged(path):
        written, found = content["sha256"], _digests(content)
        return tuple(part for part in dict.fromkeys((*found, *written)) if written.get(part) != found.get(part))


def _twice(names: list[Any]) -> Any:
    """The first name that occurs again; None where none does."""
    return next((name for at, name in enumerate(names) if name in names[:at]), None)


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, error=DataError, remedy=_REMEDY)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(f"{path} must say format {_FORMAT!r}; it does not. {_REMEDY}")
    if content.get("version") != _VERSION:
        raise DataError(
            f"{path} must have version {_VERSION}; it has {content.get('version')}. "
            "Use the unbraid that wrote it, or a newer one."
        )
    return content


@contextmanager
def _saying_what_is_damaged(path: Path) -> Generator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # a ConfigError is a ValueError
        said = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} must be a whole certificate; {said:.300}. {_REMEDY}") from None


def _digests(content: dict[str, Any]) -> dict[str, str]:
    """Part -> its SHA-256; what one actor did is a part."""
    parts: dict[str, Any] = {name: content[name] for name in ("terms", "claims", "policy", "environment", "results")}
    parts |= {f"outcomes of {entry['actor']}": entry for entry in content["outcomes"]}
    return {name: sha256_of(part) for name, part in parts.items()}


def _outcomes_from_json(entry: dict[str, Any]) -> Outcomes:
    values = {str(name): np.array(found, dtype=np.float64) for name, found in entry["values"].items()}
    seeds = tuple(int(seed) for seed in entry["seeds"])
    if any(found.shape != (len(seeds),) or not np.isfinite(found).all() for found in values.values()):
        raise ValueError(f"the outcomes of {entry['actor']} are not one finite number per seed")
    return Outcomes(str(entry["actor"]), seeds, values)


def _result_from_json(entry: dict[str, Any]) -> Result:
    if entry["answer"] not in get_args(Answer):
        raise ValueError(f"{entry['answer']!r} is not an answer")
    return Result(
        claim=str(entry["claim"]),
        answer=cast(Answer, entry["answer"]),
        method=str(entry["method"]),
        n=int(entry["n"]),
        alpha=float(entry["alpha"]),
        p_false=(float(entry["p_false"]["alone"]), float(entry["p_false"]["adjusted"])),
        p_true=(float(entry["p_true"]["alone"]), float(entry["p_true"]["adjusted"])),
        estimates={name: Estimate(**estimate) for name, estimate in entry["estimates"].items()},
        note=entry["note"],
    )
