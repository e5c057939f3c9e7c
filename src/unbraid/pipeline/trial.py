"""One fit of a sweep, as a worker does it: its order on stdin, how it ended on stdout, both JSON."""

import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unbraid.core.errors import UnbraidError
from unbraid.core.runs import saying_what_the_disk_refused
from unbraid.pipeline.requests import FitRequest
from unbraid.training.config import FitConfig, config_from_json, config_to_json
from unbraid.training.process_workers import STOPPED

__all__ = ["main", "order_of", "run_trial"]

_PATHS = ("data", "out")


def order_of(asked: FitRequest, config: FitConfig) -> dict[str, Any]:
    """What a worker is told: a fit of these demonstrations, with this config. Paths become absolute."""
    settings = {k: str(v.absolute()) if isinstance(v, Path) else v for k, v in asdict(asked).items()}
    return {"asked": settings, "config": config_to_json(config)}


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Fits as `unbraid fit` does, or goes on where a lost worker was; {"state": "done" or "failed", "message"}."""
    from unbraid.pipeline.stages import fit_stage
    from unbraid.training.loop import computing

    paths = {name: Path(order["asked"][name]) for name in _PATHS}
    asked = FitRequest(**(order["asked"] | paths))
    with saying_what_the_disk_refused(asked.out):
        asked.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with computing(1):
            fit_stage(asked, config_from_json(order["config"]))
    except UnbraidError as error:
        return {"state": "failed", "message": str(error)}
    except Exception as error:  # a bug of ours in one trial stops no other
        traceback.print_exc()
        return {"state": "failed", "message": f"A bug of ours; please report it: {error!r}"}
    return {"state": "done", "message": None}


def _stop_with_parent() -> None:
    """Waits until whoever ordered the trial closes stdin, or is gone; then stops as Ctrl-C does."""
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read, whose lock Python wants at its end
    os.kill(os.getpid(), signal.SIGINT)


def main() -> int:
    """Does the trial that the first line of stdin orders, until it is done or stdin closes."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        found = run_trial(order)
    except KeyboardInterrupt:
        return STOPPED
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
