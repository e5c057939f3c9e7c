"""The stage of guarantees, as the verb `certify` calls it: claims about a run's modes, and certificates seen to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unbraid.core.errors import ConfigError
from unbraid.core.runs import open_run, require_free, write_json
from unbraid.evaluation.certificates import Result, Terms
from unbraid.evaluation.certify import certify
from unbraid.evaluation.claims import load_claims
from unbraid.evaluation.verify import verify
from unbraid.pipeline.environment import environment_of, require_possible_numbers
from unbraid.pipeline.requests import CertifyRequest
from unbraid.report.page import write_report
from unbraid.report.record import results_if_any
from unbraid.training.model import ModeModel

__all__ = ["certify_stage"]


def certify_stage(asked: CertifyRequest) -> dict[str, Any]:
    """Decides a file's claims about a run and writes the certificate; or sees whether a certificate is true.

    Returns:
        A JSON object with ``ok``: whether every claim holds, or the certificate is verified.
    """
    if asked.verify is not None:
        return _verified(asked, asked.verify)
    if asked.run is None or asked.claims is None or asked.replay:
        given = {"a run": asked.run is not None, "--claims": asked.claims is not None, "--replay": asked.replay}
        raise ConfigError(
            "A run and --claims must be given to certify, or --verify a certificate (with a run: its weights, too; and "
            f"with --replay its episodes); got {' and '.join(word for word in given if given[word]) or 'neither'}. "
            "Write `unbraid certify RUN --claims claims.json`."
        )
    require_possible_numbers(asked)
    open_run(asked.run)
    out = asked.out or asked.run / "certificate.json"
    require_free(out)
    terms = Terms(
        alpha=asked.alpha,
        seed=asked.seed,
        max_episodes=asked.max_episodes,
        max_steps=asked.max_steps,
    )
    claims = load_claims(asked.claims, experts=_experts_of(asked.run))
    model = ModeModel.from_pretrained(asked.run)
    env_id = environment_of(asked.run, asked.env, model)
    certificate = certify(model, env_id, claims, terms)
    certificate.save(out)
    told = {
        "ok": certificate.all_hold,
        "alpha": terms.alpha,
        "max_steps": terms.max_steps,
        "weights_sha256": certificate.policy["weights_sha256"],
        "episodes": {outcomes.actor: len(outcomes.seeds) for outcomes in certificate.outcomes},
        "results": _with_sentences(certificate.results),
    }
    within = out.resolve().is_relative_to(asked.run.resolve())
    _onto_the_page(asked.run, {"file": _name_beside(out, asked.run), "within_run": within, "env_id": env_id, **told})
    return {**told, "certificate": str(out)}


def _onto_the_page(run: Path, entry: dict[str, Any]) -> None:
    """Adds what was certified to the run's results, and draws its page again; a run without results has no page."""
    found = results_if_any(run)
    if not found:
        return
    write_json(run / "results.json", found | {"certificates": [*(found.get("certificates") or []), entry]})
    write_report(run)


def _name_beside(path: Path, run: Path) -> str:
    """A file's path within the run's folder; of one elsewhere its name with its folder's, as pages name no machine's
    paths."""
    whole, within = path.resolve(), run.resolve()
    return whole.relative_to(within).as_posix() if whole.is_relative_to(within) else "/".join(whole.parts[-2:])


def _verified(asked: CertifyRequest, path: Path) -> dict[str, Any]:
    if asked.claims is not None or asked.out is not None:
        raise ConfigError(
            "--verify must stand alone, without --claims and --out: a certificate has its own. Drop them."
        )
    model = None
    if asked.run is not None:
        open_run(asked.run)
        model = ModeModel.from_pretrained(asked.run)
    found = verify(path, policy=model, replay=asked.replay)
    return {
        "ok": found.ok,
        "certificate": str(path),
        "alpha": found.certificate.terms.alpha,
        "max_steps": found.certificate.terms.max_steps,
        **found.to_json(),
        "results": _with_sentences(found.certificate.results),
    }


def _with_sentences(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [{"sentence": result.sentence, **result.to_json()} for result in results]


def _experts_of(run: Path) -> list[str]:
    """The names of the experts in a run's demonstrations, in the order of their labels."""
    return list(results_if_any(run).get("experts") or [])
