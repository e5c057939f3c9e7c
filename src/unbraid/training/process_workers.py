"""Workers on this machine: a process for each trial, so that one that dies takes no other with it."""

import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from unbraid.training.sweep import Outcome

__all__ = ["STOPPED", "ProcessWorkers"]

STOPPED = 130
"""What a worker exits with that was asked to stop and has kept what it had."""
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class _Running:
    """A process, which of the places it has, and who hears what it says."""

    place: int
    process: "subprocess.Popen[str]"
    listener: threading.Thread


@final
class ProcessWorkers:
    """A new process for each trial, with one thread for its arithmetic.

    The process gets its order as a line of JSON on stdin, and says how it ended on stdout, as a line of JSON too. Its
    stdin stays open: where it closes, because this process stops or dies, the worker has to stop.
    """

    def __init__(self, command: Sequence[str], n_workers: int, gpus: Sequence[str] = ()) -> None:
        """Args:
        command: what starts a worker.
        n_workers: how many run at once.
        gpus: the GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; workers take them in turn.
        """
        self._command, self._n_workers, self._gpus = list(command), n_workers, list(gpus)
        self._running: dict[str, _Running] = {}
        self._ended: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    @property
    def n_workers(self) -> int:
        """How many trials may run at once."""
        return self._n_workers

    @property
    def process_ids(self) -> dict[str, int]:
        """The process that does each trial that runs."""
        return {name: own.process.pid for name, own in self._running.items()}

    def start(self, name: str, order: dict[str, Any]) -> None:
        """Starts a process for a trial."""
        place = min(set(range(self._n_workers)) - {own.place for own in self._running.values()})
        own = {"OMP_NUM_THREADS": "1"}
        own |= {"CUDA_VISIBLE_DEVICES": self._gpus[place % len(self._gpus)]} if self._gpus else {}
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | own,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which then stops the workers
        )
        listener = threading.Thread(target=self._listen, args=(name, process), daemon=True)
        self._running[name] = _Running(place, process, listener)
        listener.start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is lost already, which its end tells
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()

    def _listen(self, name: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        said = process.stdout.read()
        process.wait()
        self._ended.put((name, said))

    def next_ended(self) -> tuple[str, Outcome | None]:
        """Waits until a process ends."""
        name, said = self._ended.get()
        _close(self._running.pop(name))
        try:
            found = json.loads(said.splitlines()[-1])
            return name, Outcome(found["state"], found["message"])
        except (IndexError, ValueError, KeyError, TypeError):  # it was killed before, or while, it said so
            return name, None

    def stop(self) -> None:
        """Lets every process keep its newest state, and waits for it."""
        left = list(self._running.values())
        self._running.clear()
        for own in left:
            _hang_up(own.process)
        for own in left:
            try:
                own.process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                own.process.kill()
            _close(own)


def _hang_up(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _close(own: _Running) -> None:
    """Once the process has ended, or soon will."""
    assert own.process.stdout is not None
    own.listener.join()
    _hang_up(own.process)
    own.process.stdout.close()
