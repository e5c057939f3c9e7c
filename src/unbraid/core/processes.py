"""What this process may use, and which of several it is, where torchrun (or another starter with its variables) started
several."""

import os
from dataclasses import dataclass
from typing import final

__all__ = ["Place", "available_cores", "own_place"]

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
@dataclass(frozen=True)
class Place:
    """A process among those that fit together.

    Attributes:
        rank: its number among all, from 0; the first writes and speaks.
        size: how many there are on all machines.
        local_rank: its number among those on its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0


def own_place() -> Place:
    """This process's place, read from the environment; the first of one, where nothing says otherwise.

    Source: the variables of torchrun (PyTorch's documentation of `torch.distributed.run`).
    """
    said = [os.environ.get(name, "") for name in _NEEDED]
    if not all(said) or not all(value.isdecimal() for value in said[:3]) or int(said[1]) < 2:
        return Place()
    return Place(rank=int(said[0]), size=int(said[1]), local_rank=int(said[2]))
