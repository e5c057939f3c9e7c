"""The one training loop, for every method: progress, metrics, checkpoints, Ctrl-C."""

import json
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from torch import Tensor

from unbraid.core.progress import progress
from unbraid.core.runs import saying_what_the_disk_refused, write_text
from unbraid.training.checkpoint import Learner, latest_checkpoint, load_checkpoint, save_checkpoint

__all__ = ["LoopOptions", "run_loop"]


@final
@dataclass(frozen=True)
class LoopOptions:
    """How a fit is watched and kept; nothing here changes what it learns."""

    run: Path | None = None
    """The run's folder, for `metrics.jsonl`, checkpoints and TensorBoard; None keeps nothing."""
    resume: bool = False
    """Go on from the newest checkpoint in the run's folder, if there is one."""
    tensorboard: bool = False
    """Also write TensorBoard events into the run's folder (needs `pip install unbraid[tensorboard]`)."""
    log_every: int = 50
    """Gradient steps between two lines of metrics."""
    checkpoint_every: int = 500
    """Gradient steps between two checkpoints."""
    metrics_name: str = "metrics.jsonl"
    """The metrics' file in the run's folder."""
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a resume must repeat: config and data fingerprint."""
    on_log: Callable[[dict[str, Any]], None] | None = None
    """Called with every line of metrics."""
    title: str = "fit"
    """What the progress bar calls it."""


def run_loop(learner: Learner, options: LoopOptions) -> None:
    """Drives a learner to its last step.

    Ctrl-C is heard between two steps: the state is saved, and the message says how to go on.

    Raises:
        KeyboardInterrupt: Ctrl-C, after saving.
        ModelError: a checkpoint that cannot be resumed.
        StorageError: the disk refused.
    """
    checkpoints = None if options.run is None else options.run / "checkpoints"
    if options.resume and checkpoints is not None and (newest := latest_checkpoint(checkpoints)):
        load_checkpoint(learner, newest, options.asked)
    writers = _writers(options, learner.taken)
    meter = _Meter()
    with progress(options.title, total=learner.n_steps, unit="steps") as advance, _interruptible() as interrupted:
        if learner.taken:
            advance(learner.taken)
        while learner.taken < learner.n_steps:
            meter.add(learner.step())
            last = learner.taken == learner.n_steps
            if learner.taken % options.log_every == 0 or last:
                line = meter.read(learner)
                for write in writers:
                    write(line)
                advance(meter.n_steps, loss=line["loss"], samples_per_s=line["samples_per_s"])
                meter = _Meter()
            wanted = interrupted() or learner.taken % options.checkpoint_every == 0 or last
            if checkpoints is not None and wanted:
                save_checkpoint(learner, checkpoints, options.asked)
            if interrupted() and not last:
                raise KeyboardInterrupt(_how_to_go_on(learner, options))


def _how_to_go_on(learner: Learner, options: LoopOptions) -> str:
    where = f"Stopped after step {learner.taken} of {learner.n_steps}."
    if options.run is None:
        return f"{where} Nothing was kept, since no run folder was named; name one with --out."
    return f"{where} All is saved; go on with the same command and --resume."


@contextmanager
def _interruptible() -> Generator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed since; a second press stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@final
class _Meter:
    """Means of the named terms since it was made; read once per line, so that no step waits for a number."""

    def __init__(self) -> None:
        self.n_steps = 0
        self._sums: dict[str, Tensor] = {}
        self._since = time.perf_counter()

    def add(self, terms: dict[str, Tensor]) -> None:
        self.n_steps += 1
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def read(self, learner: Learner) -> dict[str, Any]:
        seconds = max(time.perf_counter() - self._since, 1e-9)
        means = {name: float(value) / self.n_steps for name, value in self._sums.items()}
        return {
            "step": learner.taken,
            "samples_per_s": round(self.n_steps * learner.samples_per_step / seconds, 1),
            "loss": means.pop("loss"),
            "terms": means,
            "code_usage": [round(float(share), 6) for share in learner.usage()],
        }


def _writers(options: LoopOptions, taken: int) -> list[Callable[[dict[str, Any]], None]]:
    writers: list[Callable[[dict[str, Any]], None]] = []
    if options.on_log is not None:
        writers.append(options.on_log)
    if options.run is not None:
        writers.append(_metrics_file(options.run / options.metrics_name, taken))
        if options.tensorboard:
            writers.append(_tensorboard(options.run / "tensorboard"))
    return writers


def _metrics_file(path: Path, taken: int) -> Callable[[dict[str, Any]], None]:
    """Appends lines; on a resume it first drops those that come after the checkpoint."""
    kept = []
    if taken and path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= taken]
    write_text(path, "".join(f"{line}\n" for line in kept))

    def write(line: dict[str, Any]) -> None:
        with saying_what_the_disk_refused(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return write


def _tensorboard(folder: Path) -> Callable[[dict[str, Any]], None]:
    from unbraid.core.errors import ConfigError

    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise ConfigError(
            "--tensorboard needs the package tensorboard; it is not installed. "
            "Run `pip install 'unbraid[tensorboard]'`, or leave the option out."
        ) from None
    writer = SummaryWriter(str(folder))

    def write(line: dict[str, Any]) -> None:
        named = {"loss": line["loss"], "samples_per_s": line["samples_per_s"]}
        named |= {f"terms/{name}": value for name, value in line["terms"].items()}
        named |= {f"code_usage/{code}": share for code, share in enumerate(line["code_usage"])}
        for name, value in named.items():
            writer.add_scalar(name, value, line["step"])
        writer.flush()

    return write
