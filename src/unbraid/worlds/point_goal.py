"""PointGoal as a Gymnasium environment: a point robot that drives to goals, past hazards and vases."""

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, UInt8

from unbraid.core.errors import WorldError
from unbraid.worlds.draw import Scene
from unbraid.worlds.layout import level_rules
from unbraid.worlds.painter import Painter
from unbraid.worlds.point_goal_physics import PointGoalPhysics
from unbraid.worlds.point_goal_starts import EPISODE_SEEDS, checked_actions, start_for
from unbraid.worlds.telling import FLOAT32_HOLDS

__all__ = ["PointGoalEnv", "check_render_mode"]


class PointGoalEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One PointGoal world.

    Action (2,), float64 in [-1, 1]: throttle and turn; beyond, they are clipped. Observation (60,), or (28,) at level
    0, float64: accelerometer, velocimeter, gyro, magnetometer (3 each), then goal, hazard and vase lidar (16 each).
    Reward: decrease of the distance to the goal (m), and 1 when it is reached; then the goal moves and the episode goes
    on. `info` holds "cost" (0 or 1), "cost_hazards", "cost_vases", "goal_reached", "robot_xy" (2,), "robot_heading_rad"
    and "goal_xy" (2,); reset's `info` holds the last three, "hazards_xy" and "vases_xy".

    A reset's seed decides the layout and every goal to come; a reset without one draws the episode's seed from
    `np_random`. `reset(options={"layout": ..., "qpos": ..., "qvel": ...})` puts the world into a given layout (see
    `Layout`) and physical state (see `Start`).

    Source: openai/safety-gym (MIT) and PKU-Alignment/safety-gymnasium (Apache-2.0), SafetyPointGoal0, 1 and 2.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50, FLOAT32_HOLDS: True}  # noqa: RUF012

    def __init__(
        self,
        level: int = 1,
        max_episode_steps: int | None = None,
        *,
        render_mode: str | None = None,
        renderer: str = "top_down",
        width: int = 512,
        height: int = 512,
    ) -> None:
        """Makes the world; `reset` must come before the first step.

        Args:
            level: 0, 1 or 2.
            max_episode_steps: truncates after so many steps; None: never (Gymnasium's `make` wraps its own limit).
            render_mode: None or "rgb_array".
            renderer: "top_down", which needs no GL, or "mujoco", which does.
            width: of a picture (pixels).
            height: of a picture (pixels).

        Raises:
            WorldError: no such level, render mode or renderer.
        """
        self.rules = level_rules(level)
        self.render_mode = check_render_mode(render_mode)
        self._painter = Painter(self.rules, renderer=renderer, width=width, height=height)
        self.max_episode_steps = max_episode_steps
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.rules.obs_width,), np.float64)
        self._physics = PointGoalPhysics(self.rules, 1)
        self._n_steps: int | None = None

    @property
    def actuator_velocity(self) -> Float[np.ndarray, "2"]:
        """(2,) how fast the actuators of throttle and turn move now, as MuJoCo's `actuator_velocity` has it."""
        return self._physics.actuator_velocity[0]

    @property
    def scene(self) -> Scene:
        """What a picture of the world shows now: where everything is."""
        return self._physics.scene(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " obs"], dict[str, Any]]:
        """Starts an episode.

        Raises:
            WorldError: an option does not fit the level.
        """
        super().reset(seed=seed)
        episode_seed = int(self.np_random.integers(EPISODE_SEEDS)) if seed is None else int(seed)
        self._physics.start([0], [start_for(self.rules, episode_seed, options)])
        self._n_steps = 0
        info = {
            **self._where(),
            "hazards_xy": self._physics.hazards_xy[0],
            "vases_xy": self._physics.vases_xy[0],
        }
        return self._physics.observe()[0], info

    def step(self, action: Any) -> tuple[Float[np.ndarray, " obs"], float, bool, bool, dict[str, Any]]:
        """One control step of 0.02 s.

        Raises:
            WorldError: the action's shape is wrong, it is not finite, or no episode was started.
        """
        if self._n_steps is None:
            raise WorldError("reset() must come before step(); it did not. Call env.reset(seed=...) first.")
        outcome = self._physics.step(checked_actions(action, (2,))[None])
        self._n_steps += 1
        info = {
            "cost": float(outcome.cost[0]),
            "cost_hazards": float(outcome.cost_hazards[0]),
            "cost_vases": float(outcome.cost_vases[0]),
            "goal_reached": bool(outcome.goal_reached[0]),
            **self._where(),
        }
        is_over = self.max_episode_steps is not None and self._n_steps >= self.max_episode_steps
        return self._physics.observe()[0], float(outcome.reward[0]), False, is_over, info

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:  # pyright: ignore
        """The arena from above, (height, width, 3) of uint8; None without a render mode.

        Raises:
            WorldError: MuJoCo's renderer was asked for, and GL does not work here.
        """
        if self.render_mode is None:
            return None
        return self._painter.paint(self._physics.scene(0))

    def close(self) -> None:
        """Releases the physics' threads and the painter's GL context."""
        self._physics.close()
        self._painter.close()

    def _where(self) -> dict[str, Any]:
        physics = self._physics
        return {
            "robot_xy": physics.robot_xy[0],
            "robot_heading_rad": float(physics.robot_heading_rad[0]),
            "goal_xy": physics.goal_xy[0],
        }


def check_render_mode(render_mode: str | None) -> str | None:
    """The render mode, if it exists.

    Raises:
        WorldError: no such render mode.
    """
    if render_mode not in (None, "rgb_array"):
        raise WorldError(f"render_mode must be None or 'rgb_array'; got {render_mode!r}. Choose one.")
    return render_mode
