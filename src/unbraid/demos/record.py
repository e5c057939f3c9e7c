"""A Gymnasium wrapper that records what passes through it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsFloat, final

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from unbraid.core.errors import DataError, WorldError
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.store import save_demos

__all__ = ["RecordDemos"]


@final
class RecordDemos(gymnasium.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray]):
    """Records every episode of an environment with vector observations and continuous actions, in memory.

    Wrap, act as always, then call `demos()` or `save(path)`. An episode ends with `terminated`, with `truncated`, or
    with the next `reset`; the one that is running counts too, up to its last step. `info["cost"]` is recorded where
    every step of an episode has it. What is in memory is lost with the process: save long recordings now and then.

    Attributes:
        expert: who acts from the next reset on; set it to label the episodes, or leave it None.
    """

    def __init__(self, env: gymnasium.Env[np.ndarray, np.ndarray], *, expert: str | None = None) -> None:
        super().__init__(env)
        for name, space in (("observation", env.observation_space), ("action", env.action_space)):
            if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype.kind != "f":
                raise WorldError(
                    f"The {name} space must be a Box with one axis of floating-point numbers; got {space}. Wrap the "
                    "environment first, e.g. in gymnasium.wrappers.FlattenObservation."
                )
        self.expert = expert
        self._finished: list[Episode] = []
        self._experts: list[str | None] = []
        self._start(seed=None)

    def _start(self, *, seed: int | None) -> None:
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[float] = []
        self._costs: list[float] = []
        self._terminated = False
        self._seed = seed
        self._acting = self.expert

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; what was running is kept."""
        self._keep()
        observation, info = self.env.reset(seed=seed, options=options)
        self._start(seed=seed)
        self._observations.append(np.array(observation))
        return observation, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step, recorded.

        Raises:
            WorldError: there was no reset since the last episode ended.
        """
        if not self._observations:
            raise WorldError("An episode must begin with a reset; step came first. Call reset, then step.")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._actions.append(np.array(action, dtype=self.env.action_space.dtype))
        self._observations.append(np.array(observation))
        self._rewards.append(float(reward))
        if "cost" in info:
            self._costs.append(float(info["cost"]))
        self._terminated = bool(terminated)
        if terminated or truncated:
            self._keep()
        return observation, reward, bool(terminated), bool(truncated), info

    def _running(self) -> Episode | None:
        if not self._actions:
            return None
        return Episode(
            observations=np.stack(self._observations),
            actions=np.stack(self._actions),
            rewards=np.array(self._rewards),
            costs=np.array(self._costs) if len(self._costs) == len(self._actions) else None,
            terminated=self._terminated,
            seed=self._seed,
        )

    def _keep(self) -> None:
        episode = self._running()
        if episode is not None:
            self._finished.append(episode)
            self._experts.append(self._acting)
        self._start(seed=None)

    def demos(self) -> Demos:
        """All that was recorded so far.

        Labels are kept where every episode has an expert, seeds where every reset had one.

        Raises:
            DataError: nothing was recorded.
        """
        running = self._running()
        episodes = self._finished if running is None else [*self._finished, running]
        experts = self._experts if running is None else [*self._experts, self._acting]
        if not episodes:
            raise DataError("A recording must have a step; nothing was recorded. Call reset and step first.")
        names = sorted({name for name in experts if name is not None})
        if None not in experts:
            episodes = [replace(e, label=names.index(str(n))) for e, n in zip(episodes, experts, strict=True)]
        space, spec = self.env.action_space, self.env.spec
        bounds = (space.low, space.high) if isinstance(space, Box) else None
        return Demos.from_episodes(
            episodes,
            label_names=names if None not in experts else (),
            action_bounds=bounds,
            facts={} if spec is None else {"env_id": spec.id},
        )

    def save(self, path: Path) -> Path:
        """Writes all that was recorded so far as a store; `path` must not exist."""
        return save_demos(self.demos(), path)
