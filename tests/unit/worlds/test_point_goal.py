"""One PointGoal world as a Gymnasium environment."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import unbraid
from unbraid.core.errors import WorldError
from unbraid.worlds.layout import LEVELS, draw_layout
from unbraid.worlds.point_goal import PointGoalEnv
from unbraid.worlds.point_goal_vector import PointGoalVectorEnv

levels = pytest.mark.parametrize("level", [0, 1, 2])


def test_importing_unbraid_registers_the_worlds_and_needs_neither_torch_nor_mujoco():
    script = (
        "import sys, unbraid, gymnasium\n"
        "worlds = [name for name in gymnasium.registry if name.startswith('unbraid/')]\n"
        "assert worlds == ['unbraid/PointGoal0-v0', 'unbraid/PointGoal1-v0', 'unbraid/PointGoal2-v0'], worlds\n"
        "assert not {'torch', 'mujoco', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_public_names_come_when_asked_for():
    assert unbraid.PointGoalEnv is PointGoalEnv
    assert "PointGoalVectorEnv" in dir(unbraid)
    with pytest.raises(AttributeError, match="no attribute 'PointGaol'"):
        _ = unbraid.PointGaol


@levels
def test_the_checker_finds_nothing_but_infinite_bounds(level):
    env = gymnasium.make(f"unbraid/PointGoal{level}-v0", render_mode="rgb_array")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    messages = [str(warning.message) for warning in caught]
    assert all("infinity" in message for message in messages), messages


@levels
def test_make_gives_one_world_and_make_vec_many(level):
    env = gymnasium.make(f"unbraid/PointGoal{level}-v0")
    assert isinstance(env.unwrapped, PointGoalEnv)
    assert env.spec.max_episode_steps == 1000
    many = gymnasium.make_vec(f"unbraid/PointGoal{level}-v0", num_envs=3)
    assert isinstance(many.unwrapped, PointGoalVectorEnv)
    assert many.unwrapped.max_episode_steps == 1000
    assert many.single_observation_space == env.observation_space
    assert many.single_action_space == env.action_space
    assert env.observation_space.shape == ((28,) if level == 0 else (60,))
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
    assert isinstance(gymnasium.make_vec(f"unbraid/PointGoal{level}-v0", 2, "sync"), gymnasium.vector.SyncVectorEnv)


@levels
def test_a_reset_reads_the_sensors_in_their_order(level):
    env = PointGoalEnv(level)
    observation, info = env.reset(seed=4)
    heading = info["robot_heading_rad"]
    np.testing.assert_allclose(observation[:3], [0.0, 0.0, 9.81], atol=1e-12)  # accelerometer
    np.testing.assert_array_equal(observation[3:9], 0.0)  # velocimeter, gyro
    np.testing.assert_allclose(observation[9:12], [-0.5 * np.sin(heading), -0.5 * np.cos(heading), 0.0], atol=1e-12)
    assert observation.dtype == np.float64
    for _ in range(5):
        observation, *_ = env.step([1.0, 1.0])
    assert observation[3] > 0.05  # forwards
    assert observation[8] > 0.3  # turning left
    assert abs(observation[5]) < 1e-9


def test_lidars_come_in_the_order_goal_hazards_vases():
    env = PointGoalEnv(1)
    layout = {
        "robot_xy": [0.0, 0.0],
        "robot_heading_rad": np.pi / 2,
        "goal_xy": [-1.5, 0.0],  # to the left: bin 4
        "hazards_xy": np.repeat([[0.0, -0.6]], 8, axis=0),  # behind: bin 8
        "vases_xy": [[2.4, 0.0]],  # to the right: bin 12
    }
    observation, info = env.reset(seed=0, options={"layout": layout})
    lidars = observation[12:].reshape(3, 16)
    values = lidars.max(axis=1)
    np.testing.assert_allclose(values, [0.5, 0.8, 0.2], atol=1e-9)
    for lidar, index in zip(lidars, (4, 8, 12), strict=True):
        assert max(lidar[index], lidar[index - 1]) == pytest.approx(lidar.max())
        assert np.delete(lidar, [index - 2, index - 1, index, index + 1]).max() == 0.0
    np.testing.assert_array_equal(info["goal_xy"], [-1.5, 0.0])
    np.testing.assert_array_equal(info["hazards_xy"], layout["hazards_xy"])


def test_a_seed_decides_everything_and_is_not_forgotten_by_chance():
    def play(env, seed):
        observations = [env.reset(seed=seed)[0]]
        for _ in range(3):
            for _ in range(4):
                observations.append(env.step([0.7, -0.3])[0])
            observations.append(env.reset()[0])
        return np.array(observations)

    first = play(PointGoalEnv(1), 9)
    np.testing.assert_array_equal(play(PointGoalEnv(1), 9), first)
    assert (play(PointGoalEnv(1), 10)[0] != first[0]).any()
    resets = first[[0, 5, 10, 15]]
    assert len(np.unique(resets, axis=0)) == 4


def test_info_says_what_happened():
    env = PointGoalEnv(2)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert set(info) == {
        "cost",
        "cost_hazards",
        "cost_vases",
        "goal_reached",
        "robot_xy",
        "robot_heading_rad",
        "goal_xy",
    }
    assert isinstance(reward, float)
    assert isinstance(info["cost"], float)
    assert isinstance(info["goal_reached"], bool)
    assert (terminated, truncated) == (False, False)
    assert info["robot_xy"].shape == info["goal_xy"].shape == (2,)


def test_an_episode_is_cut_when_asked():
    env = PointGoalEnv(0, 3)
    env.reset(seed=0)
    assert [env.step([0.0, 0.0])[3] for _ in range(3)] == [False, False, True]
    env.reset()
    assert not env.step([0.0, 0.0])[3]


def test_a_physical_state_can_be_given():
    env = PointGoalEnv(1)
    rng = np.random.default_rng(0)
    env.reset(seed=1)
    actions = rng.uniform(-1.0, 1.0, (30, 2))
    for action in actions[:15]:
        env.step(action)
    qpos, qvel = env._physics.qpos[0], env._physics.qvel[0]
    expected = [env.step(action)[0] for action in actions[15:]]
    env.reset(options={"layout": draw_layout(LEVELS[1], 1), "qpos": qpos, "qvel": qvel})
    got = [env.step(action)[0] for action in actions[15:]]
    np.testing.assert_array_equal(got, expected)


def test_a_reset_costs_under_a_millisecond():
    """In a process of its own, without the tests' shape checks, for which users do not pay."""
    script = (
        "import timeit, unbraid\n"
        "env = unbraid.PointGoalEnv(2)\n"
        "env.reset(seed=0)\n"
        "print(min(timeit.repeat(env.reset, number=5, repeat=20)) / 5)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert float(done.stdout) < 0.001


def test_pictures_come_in_the_size_asked_for():
    env = PointGoalEnv(1, render_mode="rgb_array", width=80, height=60)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (60, 80, 3)
    assert picture.dtype == np.uint8
    assert PointGoalEnv(1).render() is None


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan, 0.0], r"Actions must be finite; got \[nan.*\. Check the policy"),
        ([np.inf, 0.0], "Actions must be finite"),
        ([0.0, 0.0, 0.0], r"Actions must have shape \(2,\); got \(3,\)\. Pass"),
        ("left", r"Actions must be numbers of shape \(2,\); got 'left'\. Pass"),
    ],
)
def test_an_action_that_is_none_is_refused_and_changes_nothing(action, message):
    env = PointGoalEnv(1)
    env.reset(seed=0)
    before = env._physics.qpos
    with pytest.raises(WorldError, match=message):
        env.step(action)
    np.testing.assert_array_equal(env._physics.qpos, before)


def test_a_step_needs_a_reset():
    with pytest.raises(WorldError, match=r"reset\(\) must come before step\(\)"):
        PointGoalEnv(1).step([0.0, 0.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lay_out": {}}, r"options must be among layout, qpos, qvel; got \['lay_out'\]\. Correct"),
        ({"layout": 3}, "must be a Layout or a mapping; got int. Pass"),
        ({"qpos": np.zeros(9)}, r"options\['qpos'\] must have shape \(10,\); got \(9,\)"),
        ({"qpos": np.zeros(10)}, "quaternions .* must have length 1; got .*Normalise"),
        ({"qvel": np.full(9, np.inf)}, r"options\['qvel'\] must be finite"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    env = PointGoalEnv(1)
    with pytest.raises(WorldError, match=message):
        env.reset(seed=0, options=options)


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(WorldError, match=r"render_mode must be None or 'rgb_array'; got 'human'\. Choose"):
        PointGoalEnv(1, render_mode="human")
    with pytest.raises(WorldError, match="renderer must be"):
        PointGoalEnv(1, render_mode="rgb_array", renderer="x")
    with pytest.raises(WorldError, match="level must be"):
        PointGoalEnv(7)
