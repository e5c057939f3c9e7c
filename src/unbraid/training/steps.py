"""Demonstrations as the learner sees them: flat tensors and indices, no labels, no rewards."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos

__all__ = ["Steps"]


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Every recorded step, as tensors that share memory with the demonstrations where their type allows.

    Attributes:
        rows: (rows, obs) all observations, T + 1 per episode, float32.
        actions: (step, act) float32.
        row_of_step: (step,) the row that each action was taken on.
        episode_of_step: (step,) the episode of each action.
        lengths: (episode,) actions per episode.
    """

    rows: Float[Tensor, "rows obs"]
    actions: Float[Tensor, "step act"]
    row_of_step: Int[Tensor, "step"]
    episode_of_step: Int[Tensor, "step"]
    lengths: Int[np.ndarray, "episode"]

    @classmethod
    def of(cls, demos: Demos) -> "Steps":
        """The demonstrations' steps.

        Raises:
            DataError: there are none.
        """
        if demos.n_steps == 0:
            raise DataError("Demonstrations must hold at least one step; got none. Record or select some.")
        return cls(
            rows=_shared(demos.observations),
            actions=_shared(demos.actions),
            row_of_step=torch.from_numpy(demos.row_of_step),
            episode_of_step=torch.from_numpy(demos.episode_of_step),
            lengths=demos.lengths,
        )

    def of_stretches(self, stretch_of_step: Int[Tensor, "step"], chosen: Int[Tensor, "stretch"]) -> "Steps":
        """The steps of the chosen stretches (numbered from 0 in their order), each an episode of its own.

        The rows are shared; no transition may be read from what a stretch does not hold.
        """
        number = torch.full((int(stretch_of_step.max()) + 1,), -1)
        number[chosen] = torch.arange(len(chosen))
        stretches = number[stretch_of_step]
        kept = torch.nonzero(stretches >= 0)[:, 0]
        stretches = stretches[kept]
        return Steps(
            rows=self.rows,
            actions=self.actions[kept],
            row_of_step=self.row_of_step[kept],
            episode_of_step=stretches,
            lengths=torch.bincount(stretches, minlength=len(chosen)).numpy(),
        )

    @property
    def n_steps(self) -> int:
        """The number of actions in all."""
        return len(self.actions)

    @property
    def n_episodes(self) -> int:
        """The number of episodes."""
        return len(self.lengths)

    def observations(self, steps: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        """The observations that the chosen actions were taken on."""
        rows = self.rows.index_select(0, self.row_of_step[steps].flatten())  # indexing takes twice the time
        return rows.view(*steps.shape, rows.shape[1])

    @cached_property
    def steps_left(self) -> Int[Tensor, "step"]:
        """(step,) from each step to the end of its episode, itself included: T at the first, 1 at the last."""
        ends = torch.from_numpy(np.cumsum(self.lengths))
        return ends[self.episode_of_step] - torch.arange(self.n_steps)

    def transitions(
        self, steps: Int[Tensor, "*chosen"], delta_steps: int | Int[Tensor, "*chosen"]
    ) -> Float[Tensor, "*chosen obs"]:
        """s[t + delta_steps] - s[t] at the chosen steps, which must lie that far from their episode's end."""
        rows = self.row_of_step[steps]
        return self.rows[rows + delta_steps] - self.rows[rows]


def _shared(values: Float[np.ndarray, "row column"]) -> Float[Tensor, "row column"]:
    """A float32 tensor on the array's own memory where its type allows, be it a read-only map: nobody here writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
