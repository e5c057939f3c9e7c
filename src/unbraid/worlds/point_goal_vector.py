"""PointGoal as a Gymnasium vector environment: all robots step in one call of MuJoCo."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, UInt8

from unbraid.core.errors import WorldError
from unbraid.worlds.layout import Level, level_rules
from unbraid.worlds.painter import Painter
from unbraid.worlds.point_goal import check_render_mode
from unbraid.worlds.point_goal_physics import PointGoalPhysics, StepOutcome
from unbraid.worlds.point_goal_starts import EPISODE_SEEDS, checked_actions, start_for, starts_options
from unbraid.worlds.telling import FLOAT32_HOLDS

__all__ = ["PointGoalVectorEnv"]


class PointGoalVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many PointGoal worlds that step together; each does exactly what a `PointGoalEnv` with its seed does.

    Spaces, rewards and `info` are `PointGoalEnv`'s with a first axis `env`; `info` follows Gymnasium's vector
    convention (a mask "_cost" says in which worlds "cost" is meant; a step's keys are always there, 0 where they are
    not meant). All three autoreset modes exist: the next step
    resets (the default), the same step resets (with "final_obs" and "final_info"), or the user does, with
    `reset(options={"reset_mask": mask})`.

    `reset(options=...)` takes "layout" (one for all worlds, or a list of one or None per world), "qpos" and "qvel"
    (lists, or arrays of one row per world).
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 50,
        FLOAT32_HOLDS: True,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        level: int = 1,
        *,
        max_episode_steps: int | None = 1000,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        n_threads: int | None = None,
        render_mode: str | None = None,
        **picture: Any,
    ) -> None:
        """Makes the worlds; `reset` must come before the first step.

        Args:
            num_envs: how many worlds.
            level: 0, 1 or 2.
            max_episode_steps: truncates an episode after so many steps; None: never.
            autoreset_mode: what happens when an episode ends.
            n_threads: threads that share the physics; None: the available cores, at most one for 8 worlds.
            render_mode: None or "rgb_array".
            picture: `renderer`, `width` and `height`, as for `PointGoalEnv`.

        Raises:
            WorldError: no such level, render mode or renderer, or fewer than 1 world or thread.
        """
        self.rules = level_rules(level)
        for name, count in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
            if count is not None and not (isinstance(count, int | np.integer) and count >= 1):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise WorldError(f"{name} must be a whole number of at least 1; got {count!r:.40}. Ask for more.")
        self.num_envs = num_envs
        self.render_mode = check_render_mode(render_mode)
        self._painter = _painter(self.rules, picture)
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.rules.obs_width,), np.float64)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._physics = PointGoalPhysics(self.rules, num_envs, n_threads)
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._generator_seeds: list[int] = [-1] * num_envs
        self._is_over = np.zeros(num_envs, dtype=np.bool_)
        self._n_steps = np.full(num_envs, -1, dtype=np.int64)  # -1: never reset
        self._is_started = False

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # pyright: ignore
        """Every world's generator, from which the seeds of its unseeded episodes come."""
        return tuple(self._generator(row) for row in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # pyright: ignore
        """The seed of every world's generator."""
        return tuple(self._generator_seeds[row] for row in range(self.num_envs) if self._generator(row))

    @property
    def actuator_velocity(self) -> Float[np.ndarray, "env 2"]:
        """Every world's `PointGoalEnv.actuator_velocity`."""
        return self._physics.actuator_velocity

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, "env obs"], dict[str, Any]]:
        """Starts an episode in every world, or in those of `options["reset_mask"]`.

        Args:
            seed: one for each world; or an integer, world i takes seed + i; None: drawn from each world's generator.
            options: see the class; "reset_mask" is a boolean array (env,).

        Raises:
            WorldError: seeds or options do not fit.
        """
        remaining = dict(options or {})
        rows = np.flatnonzero(self._checked_mask(remaining.pop("reset_mask", None)))
        seeds = self._checked_seeds(seed)
        per_world = starts_options(remaining, self.num_envs)
        self._start(rows, [seeds[row] for row in rows.tolist()], [per_world[row] for row in rows.tolist()])
        self._is_started = bool((self._n_steps >= 0).all())
        return self._physics.observe(), self._start_info(rows)

    def step(self, actions: Any) -> tuple[
        Float[np.ndarray, "env obs"],
        Float[np.ndarray, " env"],
        Bool[np.ndarray, " env"],
        Bool[np.ndarray, " env"],
        dict[str, Any],
    ]:  # fmt: skip
        """One control step of 0.02 s of every world; worlds whose episode ended start a new one, as the mode says.

        Raises:
            WorldError: the actions' shape is wrong, they are not finite, or a world has no episode under way.
        """
        actions = checked_actions(actions, (self.num_envs, 2))
        self._require_episodes()
        over = np.flatnonzero(self._is_over)
        outcome = self._physics.step(actions)
        self._n_steps += 1
        if len(over):
            self._start(over, [None] * len(over), [{}] * len(over))
            outcome.reward[over] = 0.0
        if self.max_episode_steps is None:
            self._is_over = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            self._is_over = self._n_steps >= self.max_episode_steps
        truncated = self._is_over.copy()
        info = self._step_info(outcome, over)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and truncated.any():
            info = self._restart_at_once(info)
        return self._physics.observe(), outcome.reward, np.zeros_like(truncated), truncated, info

    def render(self) -> tuple[UInt8[np.ndarray, "height width 3"], ...] | None:
        """Every world's arena from above, (height, width, 3) of uint8 each; None without a render mode.

        Raises:
            WorldError: MuJoCo's renderer was asked for, and GL does not work here.
        """
        if self.render_mode is None:
            return None
        return tuple(self._painter.paint(self._physics.scene(row)) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Releases the physics' threads and the painter's GL context."""
        self._physics.close()
        self._painter.close()

    # Episodes ----------------------------------------------------------------------------------------------------

    def _start(
        self, rows: Int[np.ndarray, " row"], seeds: Sequence[int | None], options: Sequence[dict[str, Any]]
    ) -> None:
        starts = [
            start_for(self.rules, self._episode_seed(row, seed), option)
            for row, seed, option in zip(rows.tolist(), seeds, options, strict=True)
        ]
        self._physics.start(rows.tolist(), starts)
        self._n_steps[rows] = 0
        self._is_over[rows] = False

    def _restart_at_once(self, info: dict[str, Any]) -> dict[str, Any]:
        ended = self._is_over.copy()
        rows = np.flatnonzero(ended)
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row, observation in zip(rows.tolist(), self._physics.observe()[rows], strict=True):
            final_obs[row] = observation
        final_info: dict[str, Any] = {}
        for name in [name for name in info if not name.startswith("_")]:
            final_info[name] = np.where(_beside(ended, info[name]), info[name], 0).astype(info[name].dtype)
            final_info[f"_{name}"] = ended.copy()
            info[f"_{name}"] &= ~ended
            info[name][ended] = 0
        self._start(rows, [None] * len(rows), [{}] * len(rows))
        fresh = self._start_info(rows)
        for name in ("robot_xy", "robot_heading_rad", "goal_xy"):
            info[name][rows] = fresh[name][rows]
            info[f"_{name}"][rows] = True
        for name in ("hazards_xy", "vases_xy"):
            info[name], info[f"_{name}"] = fresh[name], fresh[f"_{name}"]
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": final_info,
            "_final_info": ended,
            **info,
        }

    def _episode_seed(self, row: int, seed: int | None) -> int:
        if seed is None:
            return int(self._generator(row).integers(EPISODE_SEEDS))
        self._generators[row] = None
        self._generator_seeds[row] = seed
        return seed

    def _generator(self, row: int) -> np.random.Generator:
        generator = self._generators[row]
        if generator is None:
            known = self._generator_seeds[row]
            generator, self._generator_seeds[row] = seeding.np_random(None if known < 0 else known)
            self._generators[row] = generator
        return generator

    # Infos -------------------------------------------------------------------------------------------------------

    def _where(self) -> dict[str, Any]:
        physics = self._physics
        return {
            "robot_xy": physics.robot_xy,
            "robot_heading_rad": physics.robot_heading_rad,
            "goal_xy": physics.goal_xy,
        }

    def _start_info(self, rows: Int[np.ndarray, " row"]) -> dict[str, Any]:
        values = {**self._where(), "hazards_xy": self._physics.hazards_xy, "vases_xy": self._physics.vases_xy}
        started = np.zeros(self.num_envs, dtype=np.bool_)
        started[rows] = True
        info: dict[str, Any] = {}
        for name, value in values.items():
            if len(rows) < self.num_envs:
                value[~started] = 0.0
            info[name], info[f"_{name}"] = value, started.copy()
        return info

    def _step_info(self, outcome: StepOutcome, restarted: Int[np.ndarray, " row"]) -> dict[str, Any]:
        stepped = np.ones(self.num_envs, dtype=np.bool_)
        stepped[restarted] = False
        info: dict[str, Any] = {}
        for name in ("cost", "cost_hazards", "cost_vases", "goal_reached"):
            value = getattr(outcome, name)
            if len(restarted):
                value[restarted] = 0
            info[name], info[f"_{name}"] = value, stepped.copy()
        for name, value in self._where().items():
            info[name], info[f"_{name}"] = value, np.ones(self.num_envs, dtype=np.bool_)
        if len(restarted):
            fresh = self._start_info(restarted)
            for name in ("hazards_xy", "vases_xy"):
                info[name], info[f"_{name}"] = fresh[name], fresh[f"_{name}"]
        return info

    # Checks ------------------------------------------------------------------------------------------------------

    def _require_episodes(self) -> None:
        if not self._is_started:
            raise WorldError("reset() must come before step(); it did not, in every world. Call reset(seed=...) first.")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._is_over.any():
            raise WorldError(
                f"Worlds must be reset when their episode is over; {np.flatnonzero(self._is_over).tolist()!s:.60} were "
                "not. Call reset(options={'reset_mask': mask}), or choose another autoreset_mode."
            )

    def _checked_mask(self, mask: Any) -> Bool[np.ndarray, " env"]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise WorldError(
                f"options['reset_mask'] must be a boolean array of shape ({self.num_envs},); got {mask!r:.80}. "
                "Pass terminations | truncations."
            )
        if not mask.any():
            raise WorldError("options['reset_mask'] must hold a True; it holds none. Leave out this reset.")
        return mask

    def _checked_seeds(self, seed: Any) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            seeds: list[int | None] = [int(seed) + row for row in range(self.num_envs)]
        else:
            given = seed if isinstance(seed, Sequence | np.ndarray) else [seed]
            fits = all(one is None or isinstance(one, int | np.integer) for one in given)
            seeds = [None if one is None else int(one) for one in given] if fits else []
        if len(seeds) != self.num_envs or any(one is not None and one < 0 for one in seeds):
            raise WorldError(
                f"Seeds must be {self.num_envs} integers >= 0 (or None); got {seed!r:.80}. Pass one for each world."
            )
        return seeds


def _painter(rules: Level, picture: dict[str, Any]) -> Painter:
    """The painter that keyword arguments of a world ask for."""
    unknown = sorted(set(picture) - {"renderer", "width", "height"})
    if unknown:
        raise WorldError(f"A world's picture must be set by renderer, width and height; got {unknown}. Correct these.")
    return Painter(rules, **picture)


def _beside(mask: Bool[np.ndarray, " env"], value: Any) -> Any:
    """The mask with as many axes as the value."""
    return mask.reshape(-1, *[1] * (value.ndim - 1))
