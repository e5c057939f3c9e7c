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
from unbraid.core.interrupts import ctrl_c_after_imports
from unbraid.core.runs import saying_what_the_disk_refused
from unbraid.demos.options import ReadOptions
from unbraid.pipeline.places import MoreData
from unbraid.pipeline.requests import FitRequest
from unbraid.training.config import FitConfig, config_from_json, config_to_json
from unbraid.training.process_workers import STOPPED

__all__ = ["main", "order_of", "run_trial"]


def order_of(asked: FitRequest, config: FitConfig) -> dict[str, Any]:
    """What a worker is told: a fit of these demonstrations, with this config. It may work in another folder."""
    settings = asdict(asked)
    settings |= {"data": _anywhere(asked.data), "out": str(asked.out.absolute())}
    settings["more"]["demos"] = [_anywhere(Path(source)) for source in asked.more.demos]
    return {"asked": settings, "config": config_to_json(config)}


def _anywhere(source: Path) -> str:
    """A path from the root; an id, such as minari:NAME, as it is."""
    return str(source.absolute() if source.exists() else source)


def _asked_of(settings: dict[str, Any]) -> FitRequest:
    """The request that was written; JSON has made lists of its tuples."""
    more = settings["more"]
    reading: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in more["reading"].items()}
    read = MoreData(tuple(more["demos"]), tuple(more["weights"]), ReadOptions(**reading))
    built: dict[str, Any] = {"data": Path(settings["data"]), "out": Path(settings["out"]), "more": read}
    return FitRequest(**(settings | built))


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Fits as `unbraid fit` does, or goes on where a lost worker was; {"state": "done" or "failed", "message"}."""
    from unbraid.pipeline.stages import fit_stage
    from unbraid.training.loop import computing

    asked = _asked_of(order["asked"])
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
        with ctrl_c_after_imports():
            found = run_trial(order)
    except KeyboardInterrupt:
        return STOPPED
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
