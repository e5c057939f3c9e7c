"""The one training loop, for every method: progress, metrics, checkpoints, Ctrl-C."""

import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.numbers import require_whole
from unbraid.core.progress import progress
from unbraid.core.runs import saying_what_the_disk_refused, write_text
from unbraid.training.checkpoint import Learner, as_the_first, latest_checkpoint, load_checkpoint, save_checkpoint
from unbraid.training.config import plain_setting
from unbraid.training.pictures import PICTURES_FILE, picture_is_due, picture_writer
from unbraid.training.ranks import ONE_RANK, RESUME, Ranks

__all__ = ["LoopOptions", "computing", "run_loop"]

_RUN = "--out (in Python, run=)"


@final
@dataclass(frozen=True)
class LoopOptions:
    """How a fit is watched and kept, and where it runs. Nothing here changes what it learns, but for the last digits:
    on another device, with other threads or more processes sums are rounded otherwise."""

    run: Path | str | None = None
    """The run's folder, for `metrics.jsonl`, `pictures.jsonl`, checkpoints and TensorBoard; None keeps nothing."""
    resume: bool = False
    """Go on from the newest checkpoint in the run's folder, if there is one."""
    tensorboard: bool = False
    """Also write TensorBoard events into the run's folder (needs `pip install unbraid[tensorboard]`)."""
    log_every: int = 50
    """Gradient steps between two lines of metrics."""
    checkpoint_every: int = 500
    """Gradient steps between two checkpoints."""
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a resume must repeat: config and data fingerprint."""
    on_log: Callable[[dict[str, Any]], None] | None = None
    """Called with every line of metrics."""
    device: str = "auto"
    """Where it fits: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ..."""
    n_threads: int = 1
    """torch's threads while it fits. One is best for networks this small: two gain little on an idle machine and lose
    much on a busy one; and equal seeds give equal bits only on equal numbers of threads."""
    title: str = "fit"
    """What the progress bar calls it."""
    ranks: Ranks = ONE_RANK
    """The processes that fit together, each with these options; the first alone writes and calls."""

    def __post_init__(self) -> None:
        for name in ("log_every", "checkpoint_every", "n_threads"):
            value = plain_setting(getattr(self, name))
            object.__setattr__(self, name, require_whole(name, value, remedy="Leave it out for the default."))
        if self.run is not None and not isinstance(self.run, str | Path):
            raise ConfigError(f"run must be the path of a folder; got {self.run!r:.80}. Leave it out to keep nothing.")

    @property
    def folder(self) -> Path | None:
        """The run's folder as a path."""
        return None if self.run is None else Path(self.run)


def run_loop(learner: Learner, options: LoopOptions) -> None:
    """Drives a learner to its last step.

    Ctrl-C is heard between two steps: the state is saved, and the message says how to go on.

    Raises:
        KeyboardInterrupt: Ctrl-C, after saving.
        ConfigError: TensorBoard without a run's folder or without its package; a loss that is no longer finite.
        ModelError: a checkpoint that cannot be resumed.
        RunError: a new fit in a folder that holds another's checkpoints.
        StorageError: the disk refused.
    """
    ranks = options.ranks
    if not ranks.is_first:
        options = dataclasses.replace(options, run=None, tensorboard=False, on_log=None)
    checkpoints = None if options.folder is None else options.folder / "checkpoints"
    meter = _Meter(_newest_state(learner, checkpoints, options))
    as_the_first(learner, ranks)
    with (
        computing(options.n_threads),
        _writers(options, learner.taken) as writers,
        _interruptible(ranks) as interrupted,
    ):
        paint = picture_writer(learner, options.folder)
        while learner.taken < learner.n_steps:  # at the end of what it knew of, a learner may want more
            planned = learner.n_steps
            with progress(options.title, total=planned, unit="steps") as advance:
                advance(learner.taken)
                while learner.taken < planned:
                    meter.add(learner.step())
                    last, stop = learner.taken == planned, interrupted()
                    if ranks.is_first and (learner.taken % options.log_every == 0 or last):
                        line = meter.read(learner)
                        for write in writers:
                            write(line)
                        advance(meter.n_new, loss=line["loss"], samples_per_s=line["samples_per_s"])
                        meter = _Meter({})
                    if last or picture_is_due(
                        learner.taken, log_every=options.log_every, checkpoint_every=options.checkpoint_every
                    ):
                        paint()
                    if checkpoints is not None and (stop or learner.taken % options.checkpoint_every == 0 or last):
                        save_checkpoint(learner, checkpoints, options.asked, meter.tensors())
                    if stop:
                        raise KeyboardInterrupt(_how_to_go_on(learner, options))


def _newest_state(learner: Learner, checkpoints: Path | None, options: LoopOptions) -> dict[str, Tensor]:
    """Puts the learner where the newest checkpoint was, if it is to go on; what stood beside it."""
    newest = None if checkpoints is None else latest_checkpoint(checkpoints)
    if newest is None:
        return {}
    if not options.resume:
        raise RunError(
            f"{newest.parent} must hold no checkpoints when a fit begins; it holds {newest.name}. "
            f"Go on from it with {RESUME}, or name another run."
        )
    return load_checkpoint(learner, newest, options.asked)


def _how_to_go_on(learner: Learner, options: LoopOptions) -> str:
    where = f"Stopped after step {learner.taken} of {learner.n_steps}."
    if options.run is None:
        return f"{where} Nothing was kept, since no run folder was named; name one with {_RUN}."
    return f"{where} All is saved; go on with the same command and {RESUME}."


@contextmanager
def computing(n_threads: int) -> Generator[None]:
    """Lets torch use this many threads and take denormal numbers for 0 until the block ends; then all is as before.

    Denormal numbers make a step up to ten times slower. The processor's setting for them is the whole program's, and
    a library must not leave it changed: other code relies on IEEE arithmetic.
    """
    threads, flushing = torch.get_num_threads(), bool(torch.tensor([1.5e-38]) / 4 == 0)
    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushing)


@contextmanager
def _interruptible(ranks: Ranks) -> Generator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed since; a second press stops at once.

    Where several processes fit together, torchrun passes the one press on as a second; and the first process decides,
    which the others notice as they miss it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: object) -> None:
        if pressed.is_set() and not ranks.in_group:
            raise KeyboardInterrupt
        pressed.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: ranks.is_first and pressed.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


@final
class _Meter:
    """Means of the named terms since the last line; read once per line, so that no step waits for a number.

    A checkpoint keeps it, so that the next line is the same after a resume; the rate counts new steps alone.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._sums = dict(tensors)
        self.n_steps = int(self._sums.pop("n_steps", 0))
        self.n_new = 0
        self._since = time.perf_counter()

    def tensors(self) -> dict[str, Tensor]:
        return {"n_steps": torch.tensor(self.n_steps), **self._sums}

    def add(self, terms: dict[str, Tensor]) -> None:
        self.n_steps += 1
        self.n_new += 1
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def read(self, learner: Learner) -> dict[str, Any]:
        seconds = max(time.perf_counter() - self._since, 1e-9)
        means = {name: float(value) / self.n_steps for name, value in self._sums.items()}
        lost = [name for name, value in means.items() if not math.isfinite(value)]
        if lost:
            raise ConfigError(
                f"The loss must stay finite; its {lost[0]} was {means[lost[0]]} by step {learner.taken}. "
                "Lower learning_rate, or choose another objective."
            )
        return {
            "step": learner.taken,
            "samples_per_s": round(self.n_new * learner.samples_per_step / seconds, 1),
            "loss": means.pop("loss"),
            "terms": means,
            "code_usage": [round(float(share), 6) for share in learner.usage()],
        }


_Write = Callable[[dict[str, Any]], None]


@contextmanager
def _writers(options: LoopOptions, taken: int) -> Generator[list[_Write]]:
    writers: list[_Write] = []
    if options.on_log is not None:
        writers.append(options.on_log)
    folder = options.folder
    if folder is not None:
        writers.append(_metrics_file(folder / "metrics.jsonl", taken))
        _drop_overtaken(folder / PICTURES_FILE, taken)
    if not options.tensorboard:
        yield writers
        return
    if folder is None:
        raise ConfigError(f"--tensorboard needs a run's folder to write to; none was named. Name one with {_RUN}.")
    with _tensorboard(folder / "tensorboard", taken) as write:
        yield [*writers, write]


def _metrics_file(path: Path, taken: int) -> _Write:
    """Appends lines."""
    _drop_overtaken(path, taken)

    def write(line: dict[str, Any]) -> None:
        with saying_what_the_disk_refused(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return write


def _drop_overtaken(path: Path, taken: int) -> None:
    """On a resume, drops the lines that come after the checkpoint; otherwise begins a file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if taken and path.exists() else []
    kept = [line for line in lines if _step_of(line) <= taken]
    write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    """The step of a line of metrics; infinity where a kill cut the line short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


@contextmanager
def _tensorboard(folder: Path, taken: int) -> Generator[_Write]:
    """Writes events; on a resume those that come after the checkpoint are marked as overtaken."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise ConfigError(
            "--tensorboard needs the package tensorboard; it is not installed. "
            "Run `pip install 'unbraid[tensorboard]'`, or leave the option out."
        ) from None
    writer = SummaryWriter(str(folder), purge_step=taken + 1 if taken else None)

    def write(line: dict[str, Any]) -> None:
        named = {"loss": line["loss"], "samples_per_s": line["samples_per_s"]}
        named |= {f"terms/{name}": value for name, value in line["terms"].items()}
        named |= {f"code_usage/{code}": share for code, share in enumerate(line["code_usage"])}
        for name, value in named.items():
            writer.add_scalar(name, value, line["step"])
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
