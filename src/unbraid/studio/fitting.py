"""What a fit has logged so far, as it comes: loss terms and the usage of codes."""

import json
import math
from pathlib import Path
from typing import Any

__all__ = ["moments_since"]

_MOST_BYTES = 1 << 20  # read at once; a page asks again for the rest
_FILES = {"unbraid": "metrics.jsonl", "talk": "metrics_talk.jsonl"}


def moments_since(run: Path, method: str, offset: int) -> dict[str, Any]:
    """The moments that were logged beyond a place in the log, and the place to go on from.

    A line that is still being written is left for the next time; one that is no JSON object is passed over. A log that
    has become shorter, as a fit's that began anew, is read from its start.

    Args:
        run: the run's folder.
        method: ``unbraid`` or ``talk``; another has no log.
        offset: bytes that were read before.
    """
    source = run / _FILES.get(method, "") if method in _FILES else None
    if source is None or not source.is_file():
        return {"moments": [], "offset": 0, "restarted": False}
    restarted = offset > source.stat().st_size
    start = 0 if restarted else offset
    with source.open("rb") as file:
        file.seek(start)
        block = file.read(_MOST_BYTES)
    whole = block[: block.rfind(b"\n") + 1]
    moments = [moment for line in whole.splitlines() if (moment := _moment(line)) is not None]
    return {"moments": moments, "offset": start + len(whole), "restarted": restarted}


def _moment(line: bytes) -> dict[str, Any] | None:
    try:
        moment = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(moment, dict):
        return None
    terms = {str(k): v for k, v in (moment.get("terms") or {}).items() if _is_number(v)}
    usage = [v for v in moment.get("code_usage") or [] if _is_number(v)]
    if not _is_number(moment.get("step")):
        return None
    told: dict[str, Any] = {"step": moment["step"], "terms": terms, "code_usage": usage}
    told |= {name: moment[name] for name in ("loss", "samples_per_s") if _is_number(moment.get(name))}
    return told | {name: moment[name] for name in ("delta_steps", "method") if isinstance(moment.get(name), int | str)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
