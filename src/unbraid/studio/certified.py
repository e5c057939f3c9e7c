"""What was certified of a run's modes, for their cards: of this model alone, wherever the certificate was written."""

import re
from pathlib import Path
from typing import Any

from unbraid.core.errors import UnbraidError
from unbraid.evaluation.certificates import load_certificate
from unbraid.report.record import read_results

__all__ = ["certified"]

_OWN = "certificate.json"  # where `unbraid certify` writes unless told otherwise


def certified(run: Path, weights_sha256: str) -> tuple[dict[int, list[dict[str, Any]]], list[str]]:
    """The claims about each mode of a run's model and their answers, and what is left out, in sentences.

    `results.json` notes every certificate, those too that were written elsewhere; `RUN/certificate.json` is read
    beside it, as a run without results has no notes. A certificate of other weights says nothing of this model.

    Args:
        run: the run's folder.
        weights_sha256: of its model (`ModeModel.fingerprint`).

    Returns:
        Mode -> its claims, each with ``sentence``, ``answer``, ``n``, ``env_id`` and ``max_steps``; and sentences on
            what is left out.
    """
    noted, left_out = _noted(run), list[str]()
    entries = [(f"A certificate that results.json notes ({entry.get('file')!s:.80})", entry) for entry in noted]
    if (run / _OWN).exists():
        try:
            entries.append((f"{_OWN} in the run's folder", _of_file(run / _OWN)))
        except UnbraidError as error:
            left_out.append(f"No certificate can be read of {_OWN} in the run's folder: {error}")
    found: dict[int, list[dict[str, Any]]] = {}
    for name, entry in entries:
        if entry.get("weights_sha256") != weights_sha256:
            left_out.append(f"{name} is of another model, and is not shown.")
            continue
        for mode, claim in _claims(entry):
            known = found.setdefault(mode, [])
            if not any(_say_the_same(one, claim) for one in known):  # what is noted may lie in the folder, too
                known.append(claim)
    return found, list(dict.fromkeys(left_out))


def _say_the_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Notes of before do not say where episodes were cut."""
    unsaid = {"max_steps": None} if None in (one["max_steps"], other["max_steps"]) else {}
    return one | unsaid == other | unsaid


def _noted(run: Path) -> list[dict[str, Any]]:
    try:
        noted = read_results(run).get("certificates")
    except UnbraidError:  # there are none yet, or the page says elsewhere that they are damaged
        return []
    return [entry for entry in noted if isinstance(entry, dict)] if isinstance(noted, list) else []


def _of_file(path: Path) -> dict[str, Any]:
    """A certificate as `results.json` would note it."""
    certificate = load_certificate(path)
    return {
        "file": path.name,
        "env_id": certificate.environment.get("id"),
        "max_steps": certificate.terms.max_steps,
        "weights_sha256": certificate.policy.get("weights_sha256"),
        "results": [{"sentence": result.sentence, **result.to_json()} for result in certificate.results],
    }


def _claims(entry: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Modes and what is claimed of them; what is no result, and what is claimed of no mode, is passed over."""
    results = entry.get("results")
    found: list[tuple[int, dict[str, Any]]] = []
    for result in results if isinstance(results, list) else []:
        about = re.match(r"mode (\d{1,9}): ", str(result.get("claim"))) if isinstance(result, dict) else None
        if about is not None:
            told = {name: result.get(name) for name in ("sentence", "answer", "n")}
            found.append((int(about[1]), told | {name: entry.get(name) for name in ("env_id", "max_steps")}))
    return found
