"""`certify(policy, env, claims)`: rolls out until every claim is decided or the episodes are used up."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unbraid.core.errors import ConfigError, WorldError
from unbraid.core.progress import progress
from unbraid.evaluation.behaviour import METRICS
from unbraid.evaluation.certificates import Certificate, Terms, sha256_of
from unbraid.evaluation.claims import Claim, EquivalenceClaim, claims_of
from unbraid.evaluation.decisions import Source, actor_of, decide, expert_of
from unbraid.evaluation.evaluate import evaluate
from unbraid.steering.steered import SteeredPolicy, steer
from unbraid.training.config import config_to_json
from unbraid.training.limits import bound_to_json
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import actor_named
from unbraid.worlds.making import spec_of

__all__ = ["actors_of", "certify", "environment_facts", "policy_facts", "simulated"]

_MADE_OF = ("unbraid", "gymnasium", "mujoco", "numpy", "torch")


@runtime_checkable
class _Composed(Protocol):
    """A policy that lets one of several act, as a `Schedule` does."""

    @property
    def policies(self) -> Sequence[Any]:
        """Who may act."""
        ...

    @property
    def rule(self) -> Mapping[str, Any] | None:
        """Who acts when, as a JSON object; None where it cannot be told."""
        ...


def certify(
    policy: SteeredPolicy | ModeModel | Controller,
    env_id: str,
    claims: Sequence[Claim | Mapping[str, Any]],
    terms: Terms | None = None,
    *,
    experts: Mapping[str, Controller] | None = None,
) -> Certificate:
    """Decides claims about a policy, by rollouts on seeds of their own.

    Every mode that a claim names acts on the same seeds, a batch of episodes at a time, until its claims are decided
    (`decisions.decide`). With a probability of at least 1 - alpha, no answer of the certificate is wrong.

    Args:
        policy: a model or a steered policy; or, for claims that name no mode, anything that can act: see
            `evaluate`.
        env_id: the id of any Gymnasium environment with vectors of numbers; a certificate names it, so that others can
            make it, too.
        claims: at least one; see `evaluation.claims`, where `load_claims` reads a file. Or JSON objects, as in a file.
        terms: alpha, the seed and how many episodes at most; by default `Terms()`.
        experts: name -> controller, for claims that name experts which are neither ours nor ``module:name``.

    Raises:
        ConfigError: claims that name what does not exist: a mode, a metric, an expert; an n above the most episodes.
        WorldError: the environment is not given by its id, does not fit, or tells nothing that a claimed metric needs.
        DataError: an episode's value is outside its claimed bounds, or not finite.
    """
    _require_id(env_id)
    terms, claims = terms or Terms(), claims_of(claims)
    _require_metrics_that_exist(claims)
    actors = actors_of(policy, claims, experts or {})
    environment = environment_facts(env_id)
    with progress("certify", terms.max_episodes, "episodes of each") as advance:
        source = simulated(actors, env_id, max_steps=terms.max_steps)
        outcomes, results = decide(claims, terms, source, on_batch=advance)
    return Certificate(terms, claims, policy_facts(policy), environment, outcomes, results)


def actors_of(
    policy: SteeredPolicy | ModeModel | Controller, claims: Sequence[Claim], experts: Mapping[str, Controller]
) -> dict[str, Controller]:
    """Who must act for some claims, by name.

    Raises:
        ConfigError: a mode or an expert that does not exist, or a mode of a policy that has none.
    """
    steered = steer(policy) if isinstance(policy, ModeModel) else policy
    actors: dict[str, Controller] = {}
    for claim in claims:
        name = actor_of(claim)
        if claim.mode is None:
            if isinstance(steered, SteeredPolicy) and not steered.instruction.asks:
                raise ConfigError(
                    f'A claim about a model must name a mode; "{claim.text}" names none. Add "mode": 0, 1, ..., or, '
                    "for a blend and the like, certify what acts: certify(steer(model).blend({0: 0.5, 1: 0.5}), ...)."
                )
            actors[name] = steered
        elif isinstance(steered, SteeredPolicy):
            if steered.instruction.asks:
                raise ConfigError(
                    f'"{claim.text}" must be about a policy of which nothing was asked; this one is steered. '
                    "Leave the mode out, to certify it as it is, or hand over the model."
                )
            actors[name] = steered.toward(claim.mode)
        else:
            raise ConfigError(
                f'"{claim.text}" must be about a policy with modes; {type(policy).__name__} has none. '
                "Leave the mode out."
            )
        if isinstance(claim, EquivalenceClaim):
            name = str(claim.expert)
            actors[expert_of(claim)] = experts[name] if name in experts else actor_named(name, handed_over=experts)
    return actors


def simulated(actors: Mapping[str, Controller], env_id: str, *, max_steps: int | None) -> Source:
    """Outcomes by rolling out."""

    def source(actor: str, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        return evaluate(actors[actor], env_id, seeds=seeds, max_steps=max_steps).values

    return source


def policy_facts(policy: SteeredPolicy | ModeModel | Controller) -> dict[str, Any]:
    """Who acts, as far as can be told: ``weights_sha256`` and ``config_sha256`` of its model, None without one.

    Of a policy that lets one of several act, as a `Schedule` or a `SwitchedPolicy` does, ``parts`` says the same of
    each, and ``rule`` who acts when.
    """
    if isinstance(policy, ModeModel):
        policy = steer(policy)
    if isinstance(policy, _Composed):
        parts, rule = [policy_facts(part) for part in policy.policies], policy.rule
        digests = {name: _of_parts([part[name] for part in parts]) for name in ("weights_sha256", "config_sha256")}
        digests = dict.fromkeys(digests) if rule is None else digests
        return {"kind": type(policy).__name__, **digests, "rule": rule, "parts": parts}
    if not isinstance(policy, SteeredPolicy):
        return {"kind": type(policy).__name__, "weights_sha256": None, "config_sha256": None}
    bounds = [bound_to_json(bound) for bound in (policy.action_low, policy.action_high)]
    return {
        "kind": "steered",
        "weights_sha256": policy.model.fingerprint(),
        "config_sha256": sha256_of(config_to_json(policy.model.config)),
        "n_modes": policy.model.n_modes,
        "instruction": policy.instruction.to_json(),
        "style": float(policy.style_quantile),
        "action_bounds": bounds,
    }


def _of_parts(digests: Sequence[str | None]) -> str | None:
    """The digest that all parts share, else one of all in order; None where a part has none."""
    if None in digests:
        return None
    return digests[0] if len(set(digests)) == 1 else sha256_of(list(digests))


def _require_id(env_id: object) -> None:
    """Raises `WorldError` for an environment that a certificate could not name."""
    if not isinstance(env_id, str):
        raise WorldError(
            f"The environment must be given by its id, which the certificate names; got a {type(env_id).__name__}. "
            "Register it with gymnasium.register, then give its id."
        )


def _require_metrics_that_exist(claims: Sequence[Claim]) -> None:
    """Raises `ConfigError` where a claim names a metric that nobody measures."""
    for claim in claims:
        if claim.metric not in METRICS:
            raise ConfigError(
                f"A claim's metric must be one of {', '.join(METRICS)}; got {claim.metric!r}. Correct its name."
            )


def environment_facts(env_id: str) -> dict[str, Any]:
    """Its id and version, what makes it, and the versions of the packages that are at work."""
    spec = spec_of(env_id)
    made_by = spec.entry_point if isinstance(spec.entry_point, str) else None
    packages = [*_MADE_OF] if made_by is None else [*_MADE_OF, made_by.split(":")[0].split(".")[0]]
    versions = {name: version for name in packages if (version := _version_of(name)) is not None}
    return {"id": env_id, "version": spec.version, "made_by": made_by, "packages": versions}


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
