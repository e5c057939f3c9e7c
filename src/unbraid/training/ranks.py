"""Several processes that fit one model: each learns from its part of every batch, and all take the same step.

Every process draws the whole batch from the same generators and keeps its part, so that together they see what one
process would. Gradients are added up before each step; a loss is the mean over the whole batch. Files, bars and answers
are the first one's.
"""

import importlib
import json
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.processes import Place, own_place

__all__ = ["ONE_RANK", "RESUME", "Ranks", "ranks_of_torchrun"]

RESUME = "--resume (in Python, resume=True)"
"""How a fit goes on where it was stopped."""
_PATIENCE = timedelta(hours=24)
"""How long the others wait for the first, who searches for modes alone. One that dies is noticed at once, all the same:
its connections close, and torchrun stops the others."""
_GATHERING = timedelta(minutes=30)
"""How long they wait for one another at the start."""
_LOOKS_EVERY_S = 0.02


@final
@dataclass(frozen=True)
class Ranks:
    """The processes of a fit, as one of them sees them.

    Attributes:
        place: which of them this is.
        in_group: whether they are joined in torch's process group; if not, this is the only one, and nothing here
            does anything.
    """

    place: Place
    in_group: bool

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.place.is_first

    def part(self, n_rows: int) -> slice:
        """The rows of a batch that this process learns from: a part of nearly equal size for each.

        Raises:
            ConfigError: there are fewer rows than processes.
        """
        rank, size = self.place.rank, self.place.size
        if n_rows < size:
            raise ConfigError(
                f"A batch must hold a row for each process at least; got {n_rows} rows for {size} processes. Start "
                "fewer processes, or ask for larger batches (policy_batch and window_batch, or batch_size)."
            )
        return slice(n_rows * rank // size, n_rows * (rank + 1) // size)

    def share(self, n_rows: int) -> float:
        """How much of a batch of so many rows `part` is, in (0, 1]."""
        part = self.part(n_rows)
        return (part.stop - part.start) / n_rows

    def mean(self, values: Tensor) -> Float[Tensor, ""]:
        """The mean over the values of all processes; its gradient is this one's share of it (see `total`)."""
        if not self.in_group:
            return values.mean()
        own = values.sum()
        both = torch.stack([own.detach(), own.new_tensor(float(values.numel()))])
        self._add_up(both)
        own = own / both[1]
        return own + (both[0] / both[1] - own.detach())

    def total(self, modules: Iterable[nn.Module], *values: Tensor) -> tuple[Tensor, ...]:
        """Adds up over all processes: the gradients of the modules, in place, and the values, which it gives back.

        One message for all of them, as a step waits for each.
        """
        if not self.in_group:
            return values
        parameters = [p for module in modules for p in module.parameters()]
        tensors = [p.grad for p in parameters if p.grad is not None] + list(values)
        device = parameters[0].device
        flat = torch.cat([tensor.detach().to(device).flatten() for tensor in tensors])
        self._add_up(flat)
        added = [part.view(t.shape) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]
        n_gradients = len(tensors) - len(values)
        for tensor, sums in zip(tensors[:n_gradients], added, strict=False):
            tensor.copy_(sums)
        return tuple(sums.to(v) for v, sums in zip(values, added[n_gradients:], strict=True))

    def shared(self, content: bytes) -> bytes:
        """What the first process has, given to all; what the others bring is not looked at."""
        if not self.in_group:
            return content
        size = torch.tensor([len(content)])
        with _together():
            distributed.broadcast(size, 0)
        held = bytearray(content) if self.is_first else bytearray(int(size))
        if held:
            with _together():
                distributed.broadcast(torch.frombuffer(held, dtype=torch.uint8), 0)
        return bytes(held)

    def shared_json(self, found: Any) -> Any:
        """The same of what JSON holds: what the first has found, so that all decide alike."""
        return json.loads(self.shared(json.dumps(found).encode()))

    def shared_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same of named tensors."""
        from safetensors.torch import load, save

        return load(self.shared(save(tensors))) if self.in_group else tensors

    def require_same(self, what: str, content: str) -> None:
        """Raises `RunError` on a process whose content is not the first's."""
        if self.shared(content.encode()) != content.encode():
            raise RunError(
                f"All processes must fit with the same {what}; process {self.place.rank} has another than process 0. "
                "Give every machine the same data and the same command."
            )

    def _add_up(self, values: Tensor) -> None:
        with _together():
            distributed.all_reduce(values)


def _met(place: Place) -> distributed.Store:
    """Where the processes leave word for one another, once all of them are there.

    torchrun's store outlives its processes: after a restart (--max-restarts) it still has the addresses that those
    before left, and who reads these calls nobody. So the first process says a word that it has just made up, the others
    answer below it with one of theirs, and all go on below it once it has confirmed each answer: an old word has nobody
    who would.

    Raises:
        RuntimeError: not all came in time.
    """
    store, *_ = next(iter(distributed.rendezvous("env://", place.rank, place.size, timeout=_GATHERING)))
    own, until = uuid.uuid4().hex, time.monotonic() + _GATHERING.total_seconds()

    def look_again_soon(missing: int) -> None:  # and not `store.get`, which waits deaf to Ctrl-C
        if time.monotonic() > until:
            raise RuntimeError(f"process {missing} did not answer within {_GATHERING}")
        time.sleep(_LOOKS_EVERY_S)

    if place.is_first:
        word = own
        store.set("unbraid", word)
        for rank in range(1, place.size):
            while not store.check([f"{word}/{rank}"]):
                look_again_soon(rank)
            store.set(f"{word}/{store.get(f'{word}/{rank}').decode()}", "")
    else:
        word = ""
        while not store.check([f"{word}/{own}"]):
            look_again_soon(0)
            if store.check(["unbraid"]):
                word = store.get("unbraid").decode()
                store.set(f"{word}/{place.rank}", own)
    store.set_timeout(_PATIENCE)
    return distributed.PrefixStore(word, store)


ONE_RANK = Ranks(Place(), in_group=False)
"""The only process of a fit."""


@contextmanager
def _together() -> Generator[None]:
    """Says it in our words where another process is gone."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).splitlines()[0].rpartition("] ")[2]  # without the place in gloo's source
        raise RunError(
            f"All processes of a fit must run to its end; another one stopped ({said:.100}). See what that one said, "
            f"then run the same command with {RESUME}."
        ) from error


@contextmanager
def ranks_of_torchrun(device: str = "auto") -> Generator[Ranks]:
    """Joins the processes that torchrun started, until the block ends; without torchrun there is one.

    They talk by gloo between CPUs and by NCCL between GPUs.

    Args:
        device: where the fit will be, as in `LoopOptions`.

    Raises:
        RunError: the others cannot be reached.
    """
    place = own_place()
    if place.size == 1:
        yield ONE_RANK
        return
    # Imported while there is a group, it makes that a default of its functions, and the group outlives the block; a
    # thread of it that lets go of a tensor while Python ends then aborts the process.
    importlib.import_module("torch.distributed.nn")
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if on_cuda and place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    try:
        store = _met(place)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_cuda else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.size,
            timeout=_PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise RunError(
            f"The {place.size} processes must reach one another; torch said: {said:.200} Start them with torchrun, and "
            "see that --master-addr and --master-port name a machine and a port that all of them reach."
        ) from error
    try:
        yield Ranks(place, in_group=True)
    finally:
        distributed.destroy_process_group()
