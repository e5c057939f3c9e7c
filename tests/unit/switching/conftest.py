"""A toy world in which no single mode is best: haste pays where the road is clear, and costs where it is icy."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest


class IcyRoad(gymnasium.Env):
    """Every five steps the road is clear or icy anew. Reward: the action. Cost: 1 where it is icy and the action > 0.5.

    Observation (2,): whether it is icy, and a number that means nothing.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, n_steps: int = 40, ends_at: int | None = None) -> None:
        self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.n_steps, self.ends_at, self.at = n_steps, ends_at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.is_icy = 0, bool(self.np_random.random() < 0.5)
        return self._seen(), {}

    def step(self, action):
        reward, cost = float(action[0]), float(self.is_icy and action[0] > 0.5)
        self.at += 1
        if self.at % 5 == 0:
            self.is_icy = bool(self.np_random.random() < 0.5)
        terminated = self.ends_at is not None and self.at >= self.ends_at
        return self._seen(), reward, terminated, self.at >= self.n_steps and not terminated, {"cost": cost}

    def _seen(self):
        return np.array([float(self.is_icy), float(self.np_random.normal())])


@dataclass(frozen=True)
class Steady:
    """Always the same action."""

    action: float

    def act(self, observations, state, episode_start, noise):
        return np.full_like(noise, self.action), None


@pytest.fixture
def icy_road():
    return IcyRoad


@pytest.fixture
def haste_and_care():
    """Mode 0 hurries, mode 1 takes care: with a cost weight of 1, 0 is best where it is clear, 1 where it is icy."""
    return [Steady(1.0), Steady(0.25)]
