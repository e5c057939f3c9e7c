"""Many PointGoal worlds side by side: state, one control step of all, and what their robots sense, as arrays."""

# MuJoCo is a compiled module without types.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import mujoco.rollout
import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import WorldError
from unbraid.core.processes import available_cores
from unbraid.worlds.draw import Scene
from unbraid.worlds.layout import (
    CANDIDATES_PER_GOAL,
    GOALS_PER_BLOCK,
    Layout,
    Level,
    goal_candidates,
    next_goals,
)
from unbraid.worlds.lidar import lidar_readings
from unbraid.worlds.point_goal_model import ACTUATOR_GEAR, N_ROBOT_DOFS, N_SENSOR_READINGS, point_goal_models

__all__ = ["GOAL_RADIUS_M", "HAZARD_RADIUS_M", "PointGoalPhysics", "Start", "StepOutcome"]

_SUBSTEPS = 10
GOAL_RADIUS_M = 0.3
HAZARD_RADIUS_M = 0.2
_VASE_HALF_SIDE_M = 0.1
_VASE_START_HEIGHT_M = 0.09996  # a vase sinks that little into the floor
_MOVING_VASE_M_S = 1e-4

# A vase rests where it is slower than this and flat on the floor.
_REST_M_S = 1e-6
_REST_RAD_S = 1e-5
_FLAT_HEIGHT_M = 0.1001
# No point of the robot is farther from its centre than its arrow's corner, no point of a vase than its corner; a step
# (and the sensors' substep after it) moves the robot by 0.022 s of its speed, and 0.0007 m more at full throttle.
_REACH_M = (0.15**2 + 0.05**2 + 0.05**2) ** 0.5 + _VASE_HALF_SIDE_M * 3**0.5 + 0.01
_STEP_S = 0.025
_ACTUATED = (3, 8)  # among the sensors: the velocimeter's x, the gyro's z
_CONTROL_SPEC = int(mujoco.mjtState.mjSTATE_CTRL.value)


@dataclass(frozen=True, eq=False)
class Start:
    """How one world starts.

    Attributes:
        seed: decides every goal after the first; >= 0.
        layout: where everything stands.
        qpos: (3 + 7 vases,) robot x, y, heading, then x, y, z and a unit quaternion per vase, in world coordinates (m,
            rad); None: as the layout says.
        qvel: (3 + 6 vases,) velocities likewise (m/s, rad/s); None: at rest.
    """

    seed: int
    layout: Layout
    qpos: Float[np.ndarray, " position"] | None = None
    qvel: Float[np.ndarray, " velocity"] | None = None


@dataclass(frozen=True, eq=False)
class StepOutcome:
    """What one control step brought, for every world.

    Attributes:
        reward: (env,) decrease of the distance to the goal (m), and 1 more where it was reached.
        cost: (env,) 1 where a hazard or, in PointGoal2, a vase was hurt; else 0.
        cost_hazards: (env,) 1 where the robot is in a hazard.
        cost_vases: (env,) 1 where the robot touches a vase plus 1 where a vase moves, in PointGoal2; else 0.
        goal_reached: (env,) whether the goal was reached (and has moved).
    """

    reward: Float[np.ndarray, " env"]
    cost: Float[np.ndarray, " env"]
    cost_hazards: Float[np.ndarray, " env"]
    cost_vases: Float[np.ndarray, " env"]
    goal_reached: Bool[np.ndarray, " env"]


class PointGoalPhysics:
    """The worlds' state, and its one verb: `step`. What a world does depends on nothing that runs beside it.

    Departs: a vase slower than 1e-6 m/s on the floor is taken to rest; while the robot cannot reach any vase and all
    rest, the world runs on the model with parked vases.
    """

    def __init__(self, rules: Level, n_envs: int, n_threads: int | None = None) -> None:
        """Allocates n_envs worlds; each must be put somewhere by `start` before the first step.

        Args:
            rules: the level.
            n_envs: how many worlds.
            n_threads: threads that share the physics; None: the available cores, at most one for 8 worlds.

        Raises:
            WorldError: n_envs or n_threads is less than 1.
        """
        if n_envs < 1 or (n_threads is not None and n_threads < 1):
            raise WorldError(f"Worlds and threads must be at least 1; got {n_envs} and {n_threads}. Ask for more.")
        self.rules = rules
        self.n_envs = n_envs
        self.n_threads = n_threads or max(1, min(available_cores(), n_envs // 8))
        self._models = models = point_goal_models(rules.n_vases)
        self._data = [mujoco.MjData(models.free) for _ in range(self.n_threads)]
        self._rollout = mujoco.rollout.Rollout(nthread=self.n_threads if self.n_threads > 1 else 0)
        # Worlds that a thread takes at a time: enough to be worth the trip, few enough to share fairly.
        self._chunk_size = max(1, min(32, n_envs // (4 * self.n_threads)))
        self._allocate()

    def _allocate(self) -> None:
        n, models, rules = self.n_envs, self._models, self.rules
        self._state = np.zeros((n, models.n_state))
        self._sensors = np.zeros((n, N_SENSOR_READINGS))
        self._control = np.zeros((n, _SUBSTEPS + 1, 2))
        self._states_out = np.empty((n, _SUBSTEPS + 1, models.n_state))
        self._sensors_out = np.empty((n, _SUBSTEPS + 1, models.n_sensors))
        first = 1 + N_ROBOT_DOFS
        velocity = 1 + models.n_positions
        # Views of the state: they follow it.
        self._pose = self._state[:, 1:first]
        self._velocity = self._state[:, velocity : velocity + N_ROBOT_DOFS]
        self._vase_positions = self._state[:, first:velocity].reshape(n, rules.n_vases, 7)
        self._vase_velocities = self._state[:, velocity + N_ROBOT_DOFS :].reshape(n, rules.n_vases, 6)
        self._robot_columns = (slice(0, first), slice(velocity, velocity + N_ROBOT_DOFS))
        self._vases_rest = np.ones(n, dtype=np.bool_)
        # Things in the order goal, hazards, vases, and what the robot last saw of them.
        self._things = np.zeros((n, 1 + rules.n_hazards + rules.n_vases, 2))
        self._hazards = slice(1, 1 + rules.n_hazards)
        self._vases = slice(1 + rules.n_hazards, None)
        self._kinds = np.repeat([0, 1, 2], [1, rules.n_hazards, rules.n_vases])
        self._n_kinds = 1 if rules.level == 0 else 3
        self._offsets = np.zeros_like(self._things)
        self._distances = np.zeros(self._things.shape[:2])
        # The goals to come.
        self._starts: list[Start | None] = [None] * n
        self._goal_number = np.zeros(n, dtype=np.int64)
        self._block = np.full(n, -1, dtype=np.int64)  # -1: not drawn yet
        self._candidates = np.zeros((n, GOALS_PER_BLOCK, CANDIDATES_PER_GOAL, 2))

    # What is where -----------------------------------------------------------------------------------------------

    @property
    def robot_xy(self) -> Float[np.ndarray, "env 2"]:
        """(env, 2) the robots' centres (m), a copy."""
        return self._pose[:, :2].copy()

    @property
    def robot_heading_rad(self) -> Float[np.ndarray, " env"]:
        """(env,) the robots' headings, not wrapped, a copy."""
        return self._pose[:, 2].copy()

    @property
    def goal_xy(self) -> Float[np.ndarray, "env 2"]:
        """(env, 2) the goals' centres (m), a copy."""
        return self._things[:, 0].copy()

    @property
    def hazards_xy(self) -> Float[np.ndarray, "env hazard 2"]:
        """(env, hazard, 2) the hazards' centres (m), a copy."""
        return self._things[:, self._hazards].copy()

    @property
    def vases_xy(self) -> Float[np.ndarray, "env vase 2"]:
        """(env, vase, 2) the vases' centres (m), a copy."""
        return self._things[:, self._vases].copy()

    @property
    def qpos(self) -> Float[np.ndarray, "env position"]:
        """(env, position) MuJoCo's qpos, in world coordinates, a copy."""
        return self._state[:, 1 : 1 + self._models.n_positions].copy()

    @property
    def qvel(self) -> Float[np.ndarray, "env velocity"]:
        """(env, velocity) MuJoCo's qvel, in world coordinates, a copy."""
        return self._state[:, 1 + self._models.n_positions :].copy()

    @property
    def actuator_velocity(self) -> Float[np.ndarray, "env 2"]:
        """(env, 2) how fast throttle and turn move: gear x the forward speed (m/s) and the turning rate (rad/s)."""
        return ACTUATOR_GEAR * self._sensors[:, _ACTUATED]

    def scene(self, row: int) -> Scene:
        """What a picture shows of one world."""
        w, x, y, z = self._vase_positions[row, :, 3:].T
        return Scene(
            rules=self.rules,
            robot_xy=self._pose[row, :2].copy(),
            robot_heading_rad=float(self._pose[row, 2]),
            goal_xy=self._things[row, 0].copy(),
            hazards_xy=self._things[row, self._hazards].copy(),
            vases_xy=self._things[row, self._vases].copy(),
            vases_heading_rad=np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
        )

    # Starting ----------------------------------------------------------------------------------------------------

    def start(self, rows: Sequence[int], starts: Sequence[Start]) -> None:
        """Puts the worlds `rows` where `starts` say, and reads their sensors with no throttle given."""
        for row, start in zip(rows, starts, strict=True):
            self._place(row, start)
        self._look(np.asarray(rows, dtype=np.intp))
        models = self._models
        state = np.ascontiguousarray(self._state[rows])
        sensors = np.empty((len(rows), 1, models.n_sensors))
        self._roll(
            [models.free] * len(rows),
            state,
            np.zeros((len(rows), 1, 2)),
            np.empty((len(rows), 1, models.n_state)),
            sensors,
        )
        self._sensors[rows] = sensors[:, 0, :N_SENSOR_READINGS]

    def _place(self, row: int, start: Start) -> None:
        layout = start.layout
        self._state[row] = 0.0
        self._pose[row, :2] = layout.robot_xy
        self._pose[row, 2] = layout.robot_heading_rad
        vases = self._vase_positions[row]
        vases[:, :2] = layout.vases_xy
        vases[:, 2] = _VASE_START_HEIGHT_M
        vases[:, 3] = np.cos(0.5 * layout.vases_heading_rad)
        vases[:, 6] = np.sin(0.5 * layout.vases_heading_rad)
        if start.qpos is not None:
            self._state[row, 1 : 1 + self._models.n_positions] = start.qpos
        if start.qvel is not None:
            self._state[row, 1 + self._models.n_positions :] = start.qvel
        things = self._things[row]
        things[0] = layout.goal_xy
        things[self._hazards] = layout.hazards_xy
        things[self._vases] = vases[:, :2]
        self._vases_rest[row] = False  # the next step finds out
        self._starts[row] = start
        self._goal_number[row] = 0
        self._block[row] = -1

    # Stepping ----------------------------------------------------------------------------------------------------

    def step(self, actions: Float[np.ndarray, "env 2"]) -> StepOutcome:
        """One control step (0.02 s) of every world.

        Args:
            actions: (env, 2) throttle and turn, finite; MuJoCo clips them to [-1, 1].
        """
        before = self._distances[:, 0].copy()
        free = self._free_rows()
        self._integrate(actions, free)
        self._look()
        distances = self._distances
        reward = before - distances[:, 0]
        reached = distances[:, 0] <= GOAL_RADIUS_M
        in_hazard = (distances[:, self._hazards] <= HAZARD_RADIUS_M).any(axis=1)
        cost_hazards = np.where(in_hazard, 1.0, 0.0)
        cost_vases = self._settle_vases(free)
        if reached.any():
            rows = np.flatnonzero(reached)
            reward[rows] += 1.0
            self._move_goals(rows)
        return StepOutcome(
            reward=reward,
            cost=np.minimum(cost_hazards + cost_vases, 1.0),
            cost_hazards=cost_hazards,
            cost_vases=cost_vases,
            goal_reached=reached,
        )

    def observe(self) -> Float[np.ndarray, "env obs"]:
        """(env, 28 or 60): accelerometer, velocimeter, gyro, magnetometer (3 each); goal, hazard, vase lidar (16)."""
        offsets = self._offsets
        bearings = np.arctan2(offsets[..., 1], offsets[..., 0])
        bearings -= self._pose[:, 2:]
        readings = lidar_readings(self._distances, bearings, self._kinds, self._n_kinds)
        return np.concatenate([self._sensors, readings], axis=1)

    def close(self) -> None:
        """Ends the threads."""
        if self._rollout.rollout_ is not None:
            self._rollout.close()

    def _free_rows(self) -> Int[np.ndarray, " row"]:
        """The worlds whose vases are in play in the next step: a rule on each world's own state alone."""
        if not self.rules.n_vases:
            return np.empty(0, dtype=np.intp)
        nearest = self._distances[:, self._vases].min(axis=1)
        velocity = self._velocity
        speed = np.sqrt(velocity[:, 0] ** 2 + velocity[:, 1] ** 2)
        return np.flatnonzero((nearest < _REACH_M + _STEP_S * speed) | ~self._vases_rest)

    def _integrate(self, actions: Float[np.ndarray, "env 2"], free: Int[np.ndarray, " row"]) -> None:
        """Ten substeps, and the sensors that an eleventh reads before it moves."""
        models = np.full(self.n_envs, self._models.parked, dtype=object)
        models[free] = self._models.free
        self._control[:] = actions[:, None, :]
        self._roll(models.tolist(), self._state, self._control, self._states_out, self._sensors_out)
        last = self._states_out[:, _SUBSTEPS - 1]
        for columns in self._robot_columns:
            self._state[:, columns] = last[:, columns]
        self._state[free] = last[free]
        self._sensors[:] = self._sensors_out[:, _SUBSTEPS, :N_SENSOR_READINGS]

    def _roll(self, models: list[Any], state: Any, control: Any, states_out: Any, sensors_out: Any) -> None:
        self._rollout.rollout(
            models,
            self._data,
            state,
            control,
            control_spec=_CONTROL_SPEC,
            skip_checks=True,
            nstep=control.shape[1],
            state=states_out,
            sensordata=sensors_out,
            chunk_size=self._chunk_size,
        )

    def _look(self, rows: Any = slice(None)) -> None:
        """Takes the vases' places from the state, and measures from the robots to all things."""
        if self.rules.n_vases:
            self._things[rows, self._vases] = self._vase_positions[rows, :, :2]
        offsets = self._things[rows] - self._pose[rows, None, :2]
        self._offsets[rows] = offsets
        self._distances[rows] = np.sqrt(offsets[..., 0] ** 2 + offsets[..., 1] ** 2)

    def _settle_vases(self, free: Int[np.ndarray, " row"]) -> Float[np.ndarray, " env"]:
        """Notes whose vases rest now (and stops those), and what touched and moving vases cost."""
        cost = np.zeros(self.n_envs)
        if not len(free):
            return cost
        velocities = self._vase_velocities[free]
        speeds = np.sqrt((velocities[..., :3] ** 2).sum(axis=2)).max(axis=1)
        turning = np.abs(velocities[..., 3:]).max(axis=(1, 2))
        height = self._vase_positions[free, :, 2].max(axis=1)
        rest = (speeds < _REST_M_S) & (turning < _REST_RAD_S) & (height < _FLAT_HEIGHT_M)
        self._vases_rest[free] = rest
        self._vase_velocities[free[rest]] = 0.0
        if self.rules.vases_cost:
            touched = self._sensors_out[free, _SUBSTEPS, N_SENSOR_READINGS] > 0.0
            cost[free] = touched.astype(np.float64) + (speeds >= _MOVING_VASE_M_S)
        return cost

    # Goals -------------------------------------------------------------------------------------------------------

    def _move_goals(self, rows: Int[np.ndarray, " row"]) -> None:
        self._goal_number[rows] += 1
        blocks, places = np.divmod(self._goal_number[rows], GOALS_PER_BLOCK)
        stale = self._block[rows] != blocks
        for row, block in zip(rows[stale].tolist(), blocks[stale].tolist(), strict=True):
            start = self._starts[row]
            assert start is not None, "a world that was never started"
            self._candidates[row] = goal_candidates(self.rules, start.layout, start.seed, block)
            self._block[row] = block
        self._things[rows, 0] = next_goals(self._candidates[rows, places], self._things[rows, 0])
        offsets = self._things[rows, 0] - self._pose[rows, :2]
        self._offsets[rows, 0] = offsets
        self._distances[rows, 0] = np.sqrt(offsets[:, 0] ** 2 + offsets[:, 1] ** 2)
