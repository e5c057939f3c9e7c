"""A Gymnasium wrapper that records what passes through it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsFloat, final

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from unbraid.core.errors import WorldError
from unbraid.core.runs import taken_path
from unbraid.core.told import one_number
from unbraid.demos.altered import altered, environment_facts
from unbraid.demos.episodes import Demos
from unbraid.demos.recording import RecordingWriter, read_recording
from unbraid.demos.spaces import remedy_for_actions
from unbraid.demos.store import save_demos

__all__ = ["RecordDemos"]


_SEEN_REMEDY = (
    "Wrap the environment first: in gymnasium.wrappers.FlattenObservation, and where that gives whole numbers, in "
    "DtypeObservation(env, numpy.float32) around it."
)


@final
class RecordDemos(gymnasium.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray]):
    """Records every episode of an environment with vector observations and continuous actions, into a folder.

    Wrap, and act as always. Every step is written as it happens, and the disk is told to keep each episode when it
    ends: when the program is killed, what was recorded until then can be read, with `unbraid.load_demos(path)` and by
    every verb. An episode ends with `terminated`, with `truncated`, or with the next `reset`; the one that is running
    counts too, up to its last step. `info["cost"]` is one number, or None where there is none; once a step told one,
    the cost of every step that tells none is 0.

    Attributes:
        expert: who acts from the next reset on; set it to label the episodes, or leave it None.
        path: the folder.
    """

    def __init__(
        self,
        env: gymnasium.Env[np.ndarray, np.ndarray],
        path: str | os.PathLike[str],
        *,
        expert: str | None = None,
        observation_names: Sequence[str] = (),
    ) -> None:
        """Args:
        env: what to record.
        path: the folder to make; must not exist.
        expert: who acts.
        observation_names: a name for every column of the observations, by which other data sets are matched.

        Raises:
            WorldError: what was given is no single environment; a space is no Box with one axis of floating-point
                numbers; not a name for each column.
            RunError: `path` exists already.
        """
        if not isinstance(env, gymnasium.Env):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WorldError(
                f"RecordDemos must wrap a single gymnasium.Env; got a {type(env).__name__}. Wrap each environment "
                "before they are put side by side, with a path of its own, and load the paths together."
            )
        super().__init__(env)
        spaces: dict[str, Box] = {}
        for name, space in (("observation", env.observation_space), ("action", env.action_space)):
            if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype.kind != "f":
                raise WorldError(
                    f"The {name} space must be a Box with one axis of floating-point numbers; got {space}. "
                    f"{remedy_for_actions(space) if name == 'action' else _SEEN_REMEDY}"
                )
            spaces[name] = space
        if observation_names and len(observation_names) != spaces["observation"].shape[0]:
            raise WorldError(
                f"There must be a name for each of {spaces['observation'].shape[0]} observations; got "
                f"{len(observation_names)}. Name every one, or none."
            )
        self.expert = expert
        self.path = taken_path(path)
        self._running = False
        acting, seen = spaces["action"], spaces["observation"]
        self._action_size, self._observation_size = acting.shape[0], seen.shape[0]
        self._writer = RecordingWriter(
            self.path,
            observation=(seen.dtype, seen.shape[0]),
            action=(acting.dtype, acting.shape[0]),
            action_bounds=(acting.low.astype(np.float64), acting.high.astype(np.float64)),
            observation_names=tuple(observation_names),
            facts=dict(environment_facts(None if env.spec is None else env.spec.id, altered(env))),
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; what was running is kept. A seed that does not fit in 64 bits is not.

        Raises:
            WorldError: the recording was closed, or the environment returned another observation than its space has.
            StorageError: the disk refused; what was recorded before stays readable.
        """
        self._writer.require_open()
        observation, info = self.env.reset(seed=seed, options=options)
        self._running = False
        seen = _row(observation, self._observation_size, "The observation")
        self._writer.reset(seen, seed=seed, expert=self.expert)
        self._running = True
        return observation, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step, recorded.

        Raises:
            WorldError: there was no reset since the last episode ended; the recording was closed; the action is not
                one number for each actuator; or the environment returned another observation than its space has, or a
                reward or cost that is not one number.
            StorageError: the disk refused; what was recorded before stays readable.
        """
        self._writer.require_open()
        if not self._running:
            raise WorldError("An episode must begin with a reset; step came first. Call reset, then step.")
        acted = _row(action, self._action_size, "The action")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._running = False  # where the step cannot be kept, the episode ends before it
        cost = info.get("cost")
        self._writer.step(
            acted,
            _row(observation, self._observation_size, "The observation"),
            reward=one_number(reward, "The reward", "Return one number from the environment's step"),
            cost=None if cost is None else one_number(cost, '`info["cost"]`', "Sum it up in a wrapper, or remove it"),
            terminated=bool(terminated),
            ended=bool(terminated or truncated),
        )
        self._running = not (terminated or truncated)
        return observation, reward, bool(terminated), bool(truncated), info

    def close(self) -> None:
        """Closes the environment and the recording."""
        self._writer.close()
        super().close()

    def demos(self) -> Demos:
        """All that was recorded so far.

        Labels are kept where every episode has an expert, seeds where every reset had one.

        Raises:
            DataError: nothing was recorded.
        """
        return read_recording(self.path)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes all that was recorded so far as a store; `path` must not exist.

        Raises:
            DataError: nothing was recorded.
            RunError, StorageError: as `save_demos`.
        """
        return save_demos(self.demos(), path)


def _row(values: Any, size: int, what: str) -> np.ndarray:
    """(size,) what was done or seen, as numbers."""
    row = np.asarray(values)
    if row.size != size or row.dtype.kind not in "biuf":
        raise WorldError(
            f"{what} must be {size} number{'' if size == 1 else 's'}, as its space says; got shape {row.shape} of "
            f"{row.dtype}. Give as many."
        )
    return row.reshape(size)
