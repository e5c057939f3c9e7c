"""PointGoal against the original, step by step: set to every recorded state, one recorded action, the next record.

The records are of safety-gymnasium 1.0.0 on MuJoCo 2.3.3. Where a box touches a box (the robot's arrow a vase, a vase a
vase) the two MuJoCo versions find other contact points, so that a push differs in the fourth digit, and the
accelerometer, which feels the contact's force, may differ freely. Everything else is the same to rounding.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from unbraid.worlds.layout import Layout
from unbraid.worlds.point_goal_vector import PointGoalVectorEnv

DATA = Path(__file__).parent / "data" / "point_goal_traces"
EPISODES = {0: (0, 1), 1: (0, 1, 2, 3, 10, 11, 12, 13), 2: (0, 20, 21, 23)}
LIDAR = slice(12, None)
GOAL_LIDAR = slice(12, 28)


@dataclass(frozen=True, eq=False)
class Replay:
    """All recorded steps of a level's episodes side by side, and what ours did from the same states."""

    was: dict[str, np.ndarray]  # recorded: observation, qpos, qvel, reward, cost, event, lidar_before
    ours: dict[str, np.ndarray]
    rests: np.ndarray  # (step,) no vase moves, and none is touched as the step ends


def to_world(qpos, qvel, start_xy, start_heading):
    """The original bakes the start pose into the robot's body: from coordinates relative to it to the world's."""
    turn = np.array([[np.cos(start_heading), -np.sin(start_heading)], [np.sin(start_heading), np.cos(start_heading)]])
    qpos, qvel = qpos.copy(), qvel.copy()
    qpos[:, :2] = start_xy + qpos[:, :2] @ turn.T
    qpos[:, 2] += start_heading
    qvel[:, :2] = qvel[:, :2] @ turn.T
    return qpos, qvel


def recorded_steps(level):
    """One dictionary of arrays, all episodes' steps in a row."""
    steps = []
    with np.load(DATA / f"safety_point_goal{level}.npz", allow_pickle=False) as archive:
        for seed in EPISODES[level]:
            trace = {name: archive[f"{seed}/{name}"] for name in NAMES}
            qpos, qvel = to_world(trace["qpos"], trace["qvel"], trace["agent_xy"], float(trace["agent_rot"]))
            n_steps = len(trace["action"])
            moving = np.abs(qvel[:, 3:]).max(axis=1, initial=0.0) >= 1e-4
            moving = np.append(moving, moving[-1])
            steps.append(
                {
                    "hazards": np.repeat(trace["hazards"][None], n_steps, axis=0),
                    "vases": trace["vase_xyz"][:-1, :, :2],
                    "goal": trace["goal_xy"][:-1],
                    "qpos": qpos[:-1],
                    "qvel": qvel[:-1],
                    "action": trace["action"],
                    "next_qpos": qpos[1:],
                    "observation": trace["observation"][:-1],
                    "next_observation": trace["observation"][1:],
                    "reward": trace["reward"],
                    "cost": trace["cost"],
                    "event": (np.diff(trace["goal_xy"], axis=0) != 0.0).any(axis=1),
                    "rests": ~(moving[:-2] | moving[1:-1] | moving[2:]),
                }
            )
    return {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}


NAMES = (
    "hazards",
    "agent_xy",
    "agent_rot",
    "observation",
    "action",
    "reward",
    "cost",
    "goal_xy",
    "qpos",
    "qvel",
    "vase_xyz",
)


@functools.cache
def replayed(level):
    was = recorded_steps(level)
    n_steps = len(was["action"])
    env = PointGoalVectorEnv(n_steps, level, max_episode_steps=None)
    layouts = [
        Layout(
            robot_xy=was["qpos"][step, :2],
            robot_heading_rad=float(was["qpos"][step, 2]),
            goal_xy=was["goal"][step],
            hazards_xy=was["hazards"][step],
            vases_xy=was["vases"][step],
            vases_heading_rad=np.zeros(was["vases"].shape[1]),
        )
        for step in range(n_steps)
    ]
    options = {"layout": layouts, "qpos": was["qpos"], "qvel": was["qvel"]}
    before, _ = env.reset(seed=0, options=options)
    after, reward, _, _, info = env.step(was["action"])
    ours = {
        "observation": before,
        "next_observation": after,
        "next_qpos": env._physics.qpos,
        "reward": reward,
        "cost": info["cost"],
        "event": info["goal_reached"],
    }
    env.close()
    return Replay(was=was, ours=ours, rests=was["rests"])


def next_observation_error(replay):
    """(step, obs) absolute; the goal's lidar does not count where the goal has moved, since its new place is random."""
    error = np.abs(replay.ours["next_observation"] - replay.was["next_observation"])
    error[replay.was["event"], GOAL_LIDAR] = 0.0
    return error


levels = pytest.mark.parametrize("level", [0, 1, 2])


@levels
def test_lidar_reads_what_was_recorded_in_every_state(level):
    replay = replayed(level)
    difference = np.abs(replay.ours["observation"] - replay.was["observation"])[:, LIDAR]
    assert difference.max() < 1e-12


@levels
def test_one_step_gives_the_recorded_pose_where_the_vases_rest(level):
    replay = replayed(level)
    error = np.abs(replay.ours["next_qpos"] - replay.was["next_qpos"]).max(axis=1)
    assert replay.rests.sum() >= 0.6 * len(replay.rests)
    assert error[replay.rests].max() < 1e-9


@levels
def test_one_step_gives_the_recorded_observation_where_the_vases_rest(level):
    replay = replayed(level)
    assert next_observation_error(replay)[replay.rests].max() < 1e-6


@levels
def test_reward_cost_and_goal_event_are_the_recorded_ones(level):
    replay = replayed(level)
    error = np.abs(replay.ours["reward"] - replay.was["reward"])
    assert error[replay.rests].max() < 1e-9
    assert error.max() < 5e-3
    np.testing.assert_array_equal(replay.ours["event"], replay.was["event"])
    np.testing.assert_array_equal(replay.ours["cost"], replay.was["cost"])


@pytest.mark.parametrize("level", [1, 2])
def test_a_push_goes_where_it_went(level):
    replay = replayed(level)
    pushed = ~replay.rests
    pose = np.abs(replay.ours["next_qpos"] - replay.was["next_qpos"]).max(axis=1)[pushed]
    observation = next_observation_error(replay)[pushed]
    assert pushed.sum() > 150
    assert pose.max() < 5e-3
    assert observation[:, LIDAR].max() < 2e-2  # a bin is 0.39 rad: a reading moves 2.5 times as much as the bearing
    assert (observation.max(axis=1) < 5e-3).mean() > 0.8  # the rest: the contact's force in the accelerometer
    assert np.median(observation.max(axis=1)) < 1e-4


@levels
def test_whole_episodes_from_their_start_alone_go_the_recorded_way(level):
    """All recorded actions in a row: rounding grows on the way (the original parts from itself by as much)."""
    with np.load(DATA / f"safety_point_goal{level}.npz", allow_pickle=False) as archive:
        traces = [{name: archive[f"{seed}/{name}"] for name in NAMES} for seed in EPISODES[level]]
    recorded = [to_world(one["qpos"], one["qvel"], one["agent_xy"], float(one["agent_rot"])) for one in traces]
    n_steps = max(len(one["action"]) for one in traces)
    actions = np.stack([np.pad(one["action"], ((0, n_steps - len(one["action"])), (0, 0))) for one in traces], axis=1)
    layouts = [
        Layout(
            robot_xy=qpos[0, :2],
            robot_heading_rad=float(qpos[0, 2]),
            goal_xy=one["goal_xy"][0],
            hazards_xy=one["hazards"],
            vases_xy=one["vase_xyz"][0, :, :2],
            vases_heading_rad=np.zeros(one["vase_xyz"].shape[1]),
        )
        for one, (qpos, _) in zip(traces, recorded, strict=True)
    ]
    env = PointGoalVectorEnv(len(traces), level, max_episode_steps=None)
    starts = {"qpos": [qpos[0] for qpos, _ in recorded], "qvel": [qvel[0] for _, qvel in recorded]}
    _, info = env.reset(seed=0, options={"layout": layouts, **starts})
    poses, in_hazard = [np.column_stack([info["robot_xy"], info["robot_heading_rad"]])], []
    for action in actions:
        *_, info = env.step(action)
        poses.append(np.column_stack([info["robot_xy"], info["robot_heading_rad"]]))
        in_hazard.append(info["cost_hazards"])
    env.close()
    for index, (one, (qpos, _)) in enumerate(zip(traces, recorded, strict=True)):
        ours, theirs = np.array(poses)[: len(qpos), index], qpos[:, :3]
        np.testing.assert_allclose(ours[:40, :2], theirs[:40, :2], atol=1e-3)
        np.testing.assert_allclose(ours[:40, 2], theirs[:40, 2], atol=0.02)  # the yaw servo amplifies rounding
        np.testing.assert_allclose(path_and_turn(ours), path_and_turn(theirs), rtol=0.005)
        distance = np.linalg.norm(theirs[1:, None, :2] - one["hazards"], axis=2).min(axis=1, initial=9.0)
        assert abs(np.array(in_hazard)[: len(distance), index].sum() - (distance <= 0.2).sum()) <= 1


def path_and_turn(poses):
    """Path length (m) and total turning (rad)."""
    steps = np.diff(poses, axis=0)
    return np.linalg.norm(steps[:, :2], axis=1).sum(), np.abs(steps[:, 2]).sum()


def test_the_traces_hold_goals_hazards_and_touched_vases():
    events = [replayed(level).was["event"].sum() for level in (0, 1, 2)]
    assert min(events) >= 2
    assert replayed(1).was["cost"].sum() > 100
    assert replayed(2).was["cost"].sum() > 100
