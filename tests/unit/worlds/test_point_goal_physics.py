"""The physics: parked and free vases move the robot alike, costs are what they should be, threads change nothing."""

import numpy as np
import pytest

from unbraid.core.errors import WorldError
from unbraid.worlds.layout import LEVELS, Layout, draw_layout
from unbraid.worlds.point_goal_physics import PointGoalPhysics, Start


def started(level, seeds, n_threads=1):
    physics = PointGoalPhysics(LEVELS[level], len(seeds), n_threads)
    physics.start(range(len(seeds)), [Start(seed, draw_layout(LEVELS[level], seed)) for seed in seeds])
    return physics


def a_world(level=2, vase_xy=(0.6, 0.0)):
    """The robot at the origin, heading along x; a vase ahead, all else out of the way."""
    rules = LEVELS[level]
    vases = np.stack([np.linspace(-3.0, 3.0, rules.n_vases), np.full(rules.n_vases, 3.0)], axis=1)
    vases[0] = vase_xy
    return Layout(
        robot_xy=np.zeros(2),
        robot_heading_rad=0.0,
        goal_xy=np.array([0.0, -2.5]),
        hazards_xy=np.full((rules.n_hazards, 2), 9.0),
        vases_xy=vases,
        vases_heading_rad=np.zeros(rules.n_vases),
    )


@pytest.mark.parametrize("level", [1, 2])
def test_the_parked_models_robot_is_bit_equal_to_the_free_models(level, monkeypatch):
    n_envs, n_steps = 16, 120
    parked, free = started(level, range(n_envs)), started(level, range(n_envs))
    monkeypatch.setattr(free, "_free_rows", lambda: np.arange(n_envs))
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (n_envs, 2))
    untouched = np.ones(n_envs, dtype=bool)
    n_parked = 0
    for _ in range(n_steps):
        actions = np.clip(actions + 0.3 * rng.normal(size=actions.shape), -1.0, 1.0)
        n_parked += n_envs - len(parked._free_rows())
        ours, theirs = parked.step(actions), free.step(actions)
        nearest = np.linalg.norm(parked.vases_xy - parked.robot_xy[:, None], axis=2).min(axis=1)
        untouched &= nearest > 0.31  # farther than the two bodies reach
        for name in ("robot_xy", "robot_heading_rad"):
            np.testing.assert_array_equal(getattr(parked, name)[untouched], getattr(free, name)[untouched])
        np.testing.assert_array_equal(parked.qvel[untouched, :3], free.qvel[untouched, :3])
        np.testing.assert_array_equal(parked.observe()[untouched, :44], free.observe()[untouched, :44])
        np.testing.assert_array_equal(ours.cost[untouched], theirs.cost[untouched])
        np.testing.assert_allclose(parked.observe()[untouched], free.observe()[untouched], atol=1e-7)
    assert n_parked > 0.3 * n_envs * n_steps
    assert untouched.sum() >= 4


@pytest.mark.parametrize("level", [1, 2])
def test_parked_vases_stay_where_they_are(level):
    physics = started(level, range(8))
    for _ in range(15):  # they settle
        physics.step(np.zeros((8, 2)))
    assert len(physics._free_rows()) == 0
    before = physics.qpos
    for _ in range(20):
        physics.step(np.zeros((8, 2)))
    np.testing.assert_array_equal(physics.qpos[:, 3:], before[:, 3:])
    assert not physics.qvel[:, 3:].any()


def test_driving_into_a_vase_moves_it_and_costs_at_level_2_alone():
    for level in (1, 2):
        physics = PointGoalPhysics(LEVELS[level], 1)
        physics.start([0], [Start(0, a_world(level))])
        costs = []
        for _ in range(60):
            outcome = physics.step(np.array([[1.0, 0.0]]))
            costs.append((float(outcome.cost[0]), float(outcome.cost_vases[0])))
        assert physics.vases_xy[0, 0, 0] > 0.7
        if level == 1:
            assert set(costs) == {(0.0, 0.0)}
        else:
            assert {cost for cost, _ in costs} == {0.0, 1.0}
            assert max(vases for _, vases in costs) == 2.0  # touched, and moving


def test_a_hazard_costs_within_a_fifth_of_a_metre():
    layout = a_world(1)
    layout.hazards_xy[0] = [0.5, 0.0]
    layout.vases_xy[0] = [9.0, 9.0]
    physics = PointGoalPhysics(LEVELS[1], 1)
    physics.start([0], [Start(0, layout)])
    for _ in range(50):
        outcome = physics.step(np.array([[0.5, 0.0]]))
        inside = np.linalg.norm(physics.robot_xy[0] - [0.5, 0.0]) <= 0.2
        assert outcome.cost[0] == outcome.cost_hazards[0] == float(inside)
    assert physics.robot_xy[0, 0] > 0.75


def test_throttle_saturates_and_actions_are_clipped():
    ends = []
    for throttle in (0.05, 1.0, 77.0):
        physics = PointGoalPhysics(LEVELS[0], 1)
        physics.start([0], [Start(0, draw_layout(LEVELS[0], 0))])
        for _ in range(10):
            physics.step(np.array([[throttle, 0.0]]))
        ends.append(physics.qpos[0])
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-12)
    np.testing.assert_array_equal(ends[1], ends[2])


def test_reaching_the_goal_pays_one_and_moves_it():
    layout = a_world(1, vase_xy=(0.0, 3.0))
    layout.goal_xy[:] = [0.6, 0.0]
    physics = PointGoalPhysics(LEVELS[1], 1)
    physics.start([0], [Start(3, layout)])
    for _ in range(60):
        before = physics.robot_xy[0]
        outcome = physics.step(np.array([[1.0, 0.0]]))
        if outcome.goal_reached[0]:
            break
    after = physics.robot_xy[0]
    closer = np.linalg.norm(before - [0.6, 0.0]) - np.linalg.norm(after - [0.6, 0.0])
    assert outcome.reward[0] == pytest.approx(1.0 + closer, abs=1e-12)
    assert np.linalg.norm(after - [0.6, 0.0]) <= 0.3 < np.linalg.norm(before - [0.6, 0.0])
    assert np.linalg.norm(physics.goal_xy[0] - [0.6, 0.0]) >= 0.705


def test_twenty_goals_are_the_same_whoever_reaches_them():
    """Two robots that drive differently meet the same goals: block after block, the seed decides alone."""
    met = []
    for turn_gain in (2.0, 0.9):
        physics = started(0, [11])
        goals = [physics.goal_xy[0]]
        for _ in range(4000):
            if physics.step(towards_goals(physics, turn_gain)).goal_reached[0]:
                goals.append(physics.goal_xy[0])
        met.append(np.array(goals))
    n_both = min(len(goals) for goals in met)
    assert n_both > 20
    np.testing.assert_array_equal(met[0][:n_both], met[1][:n_both])
    assert len(np.unique(met[0], axis=0)) == len(met[0])


def towards_goals(physics, turn_gain=2.0):
    offsets = physics.goal_xy - physics.robot_xy
    bearing = np.arctan2(offsets[:, 1], offsets[:, 0]) - physics.robot_heading_rad
    bearing = np.arctan2(np.sin(bearing), np.cos(bearing))
    return np.stack([0.05 * np.cos(bearing) ** 3, turn_gain * bearing], axis=1)


def test_threads_change_nothing():
    runs = []
    for n_threads in (1, 2, 3):
        physics = started(2, range(24), n_threads)
        for _ in range(60):
            outcome = physics.step(towards_goals(physics))
        runs.append((physics.qpos, physics.qvel, physics.observe(), outcome.reward))
        physics.close()
        physics.close()
    for run in runs[1:]:
        for ours, first in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(ours, first)


def test_nothing_less_than_one_world_or_thread():
    for n_envs, n_threads in ((0, None), (2, 0)):
        with pytest.raises(WorldError, match=r"must be at least 1; got .*\. Ask"):
            PointGoalPhysics(LEVELS[0], n_envs, n_threads)
