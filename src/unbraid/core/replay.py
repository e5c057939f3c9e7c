"""Work on a GPU that is done again and again: one launch for all of its kernels, in place of one for each.

A gradient step of networks as small as ours is some hundred kernels of a few microseconds each, and a GPU waits for
their launches.
"""

import gc
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor

__all__ = ["WARM_UPS", "Replay", "sent"]

WARM_UPS = 3
"""Calls before work is recorded: libraries set themselves up in the first ones, and gradients get their place."""
_MOST_GRAPHS = 16
"""Recordings of one work, one for each shapes of its inputs; beyond them, it is done as it is."""


@final
class Replay:
    """Does work on tensors; where those are on a GPU, by a CUDA graph once it has been done a few times (`WARM_UPS`).

    The work must read and write the same memory each time, but for its inputs: weights and gradients stay where they
    are (`zero_grad(set_to_none=False)`), numbers that change are tensors, and nothing is read back to the CPU.
    """

    def __init__(self) -> None:
        """Has seen no work yet. (It keeps none: work that is a method would keep its object alive.)"""
        self._n_done: dict[tuple[torch.Size, ...], int] = {}
        self._recorded: dict[tuple[torch.Size, ...], _Recording] = {}

    def __call__(self, work: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the work gives; inputs of which one is on the CPU, or asks for a gradient, are worked on as they are.

        Args:
            work: from tensors to tensors without a gradient; the same each time.
            inputs: what it is to work on.
        """
        if not all(own.is_cuda and not own.requires_grad for own in inputs):
            return work(*inputs)
        shapes = tuple(own.shape for own in inputs)
        recorded = self._recorded.get(shapes)
        if recorded is None:
            n_done = self._n_done[shapes] = self._n_done.get(shapes, 0) + 1
            if n_done <= WARM_UPS or len(self._recorded) >= _MOST_GRAPHS:
                return work(*inputs)
            recorded = self._recorded[shapes] = _Recording(work, inputs)
        return recorded(*inputs)


@final
class _Recording:
    """A CUDA graph of some work on inputs of these shapes, which lie where they lay when it was recorded."""

    def __init__(self, work: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(own.clone() for own in inputs)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile; this one may not, be it to free what a collection finds.
        with (
            _alone(),
            torch.cuda.device(inputs[0].device),
            torch.cuda.graph(self._graph, capture_error_mode="thread_local"),
        ):
            self._outputs = work(*self._inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for place, own in zip(self._inputs, inputs, strict=True):
            place.copy_(own)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)


_RECORDING = threading.Lock()


@contextmanager
def _alone() -> Generator[None]:
    """Without Python's search for garbage, and without another recording, until the block ends."""
    with _RECORDING:
        was_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device; the CPU goes on while they are on their way to a GPU."""
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
