"""Many PointGoal worlds: they equal single ones, and keep Gymnasium's conventions of resets and infos."""

import inspect

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from unbraid.core.errors import WorldError
from unbraid.worlds.layout import LEVELS, draw_layout
from unbraid.worlds.point_goal import PointGoalEnv
from unbraid.worlds.point_goal_vector import PointGoalVectorEnv

modes = pytest.mark.parametrize("mode", list(AutoresetMode))


def assert_same(ours, theirs, where="info"):
    """Nested dictionaries of arrays are equal, keys, types and all; ours may hold what is meant in no world."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        unmeant = {name for name in set(ours) - set(theirs) if not name.startswith("_") and not ours[f"_{name}"].any()}
        ours = {name: value for name, value in ours.items() if name.removeprefix("_") not in unmeant}
        assert set(ours) == set(theirs), where
        for name in ours:
            assert_same(ours[name], theirs[name], f"{where}[{name}]")
    elif ours.dtype == object:
        assert [one is None for one in ours] == [one is None for one in theirs], where
        for one, other in zip(ours, theirs, strict=True):
            if one is not None:
                np.testing.assert_array_equal(one, other, err_msg=where)
    else:
        assert ours.dtype == theirs.dtype, where
        np.testing.assert_array_equal(ours, theirs, err_msg=where)


@modes
@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_vector_equals_single_environments_through_resets(mode, level):
    n_envs, n_steps = 3, 5
    ours = PointGoalVectorEnv(n_envs, level, max_episode_steps=n_steps, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: PointGoalEnv(level, n_steps)] * n_envs, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is mode
    rng = np.random.default_rng(0)
    assert_same(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    for step in range(3 * n_steps):
        actions = rng.uniform(-1.2, 1.2, (n_envs, 2))
        got, expected = ours.step(actions), theirs.step(actions)
        for part, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert_same(one, other, f"step {step}, part {part}")
        if mode is AutoresetMode.DISABLED and got[3].any():
            mask = got[3].copy()
            got, expected = ours.reset(options={"reset_mask": mask}), theirs.reset(options={"reset_mask": mask})
            assert_same(got[0], expected[0], f"reset after step {step}")
            assert_same(got[1], expected[1], f"reset after step {step}")


@modes
def test_worlds_that_end_at_different_times_equal_single_ones(mode):
    ours = PointGoalVectorEnv(3, 1, max_episode_steps=6, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: PointGoalEnv(1, 6)] * 3, autoreset_mode=mode)
    for env in (ours, theirs):
        env.reset(seed=[1, 2, 3])
    early = np.array([False, True, False])
    for step in range(14):
        actions = np.full((3, 2), 0.1 * step)
        got, expected = ours.step(actions), theirs.step(actions)
        for part, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert_same(one, other, f"step {step}, part {part}")
        over = got[3]
        if step == 2 or (mode is AutoresetMode.DISABLED and over.any()):
            mask = over | early if step == 2 else over
            again = [env.reset(options={"reset_mask": mask.copy()}) for env in (ours, theirs)]
            assert_same(again[0][0], again[1][0])
            assert_same(again[0][1], again[1][1])


def play(n_envs, seeds, n_threads=None, n_steps=150):
    """Observations and rewards of worlds that chase their goals."""
    env = PointGoalVectorEnv(n_envs, 1, n_threads=n_threads)
    observation, info = env.reset(seed=seeds)
    observations, rewards = [observation], []
    for _ in range(n_steps):
        offsets = info["goal_xy"] - info["robot_xy"]
        bearing = np.arctan2(offsets[:, 1], offsets[:, 0]) - info["robot_heading_rad"]
        bearing = np.arctan2(np.sin(bearing), np.cos(bearing))
        observation, reward, _, _, info = env.step(np.stack([0.04 * np.cos(bearing) ** 3, 2.0 * bearing], axis=1))
        observations.append(observation)
        rewards.append(reward)
    env.close()
    return np.array(observations), np.array(rewards)


def test_a_seeds_trajectory_does_not_depend_on_its_company_or_the_threads():
    many, rewards = play(64, list(range(100, 164)), n_threads=2)
    assert (rewards > 0.9).sum() > 30  # goals were reached
    for n_envs, n_threads in ((3, None), (1, None), (64, 1)):
        observations, these_rewards = play(n_envs, list(range(100, 100 + n_envs)), n_threads)
        np.testing.assert_array_equal(observations, many[:, :n_envs])
        np.testing.assert_array_equal(these_rewards, rewards[:, :n_envs])


def test_an_integer_seed_counts_up_and_a_list_is_taken_as_it_is():
    env = PointGoalVectorEnv(3, 1)
    counted, _ = env.reset(seed=7)
    listed, _ = env.reset(seed=[9, 8, 7])
    np.testing.assert_array_equal(counted, listed[::-1])
    assert env.np_random_seed == (9, 8, 7)
    assert len(env.np_random) == 3
    unseeded, _ = env.reset()
    assert (unseeded != listed).any(axis=1).all()
    mixed, _ = env.reset(seed=[7, None, 7])
    np.testing.assert_array_equal(mixed[0], mixed[2])


def test_never_seeded_worlds_differ():
    env = PointGoalVectorEnv(4, 1)
    observations, _ = env.reset()
    assert len(np.unique(observations, axis=0)) == 4


def test_one_of_the_worlds_can_be_put_somewhere():
    env = PointGoalVectorEnv(3, 1)
    plain, _ = env.reset(seed=0)
    layout = draw_layout(LEVELS[1], 77)
    given, info = env.reset(seed=0, options={"layout": [None, layout, None]})
    np.testing.assert_array_equal(given[[0, 2]], plain[[0, 2]])
    np.testing.assert_array_equal(info["hazards_xy"][1], layout.hazards_xy)
    everywhere, _ = env.reset(seed=0, options={"layout": layout})
    np.testing.assert_array_equal(everywhere, np.repeat(given[1:2], 3, axis=0))
    qvel = np.zeros((3, 9))
    qvel[2, 0] = 1.0
    pushed, _ = env.reset(seed=0, options={"qvel": qvel})
    np.testing.assert_array_equal(pushed[:2], plain[:2])
    assert np.linalg.norm(pushed[2, 3:5]) == pytest.approx(1.0)


def test_a_masked_reset_leaves_the_others_alone():
    env = PointGoalVectorEnv(3, 1)
    env.reset(seed=0)
    before = env.step(np.full((3, 2), 0.5))[0]
    mask = np.array([False, True, False])
    options = {"reset_mask": mask}
    after, info = env.reset(seed=42, options=options)
    np.testing.assert_array_equal(after[~mask], before[~mask])
    np.testing.assert_array_equal(after[1], PointGoalEnv(1).reset(seed=43)[0])
    np.testing.assert_array_equal(info["_robot_xy"], mask)
    assert not info["robot_xy"][~mask].any()
    assert set(options) == {"reset_mask"}


def test_what_was_returned_stays_as_it_was():
    env = PointGoalVectorEnv(2, 1)
    first, info = env.reset(seed=0)
    copies = first.copy(), info["robot_xy"].copy()
    observation, reward, *_, step_info = env.step(np.ones((2, 2)))
    kept = observation.copy(), reward.copy(), step_info["goal_xy"].copy()
    for _ in range(3):
        env.step(-np.ones((2, 2)))
    np.testing.assert_array_equal(first, copies[0])
    np.testing.assert_array_equal(info["robot_xy"], copies[1])
    for one, other in zip((observation, reward, step_info["goal_xy"]), kept, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pictures_of_all():
    env = gymnasium.make_vec("unbraid/PointGoal1-v0", 2, render_mode="rgb_array", width=32, height=48)
    env.reset(seed=0)
    pictures = env.render()
    assert [picture.shape for picture in pictures] == [(48, 32, 3)] * 2
    assert (pictures[0] != pictures[1]).any()
    assert PointGoalVectorEnv(1, 1).render() is None
    env.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1, 2]}, r"Seeds must be 3 integers >= 0 \(or None\); got \[1, 2\]\. Pass"),
        ({"seed": [1, 2, -3]}, "Seeds must be 3 integers >= 0"),
        ({"seed": -1}, "Seeds must be 3 integers >= 0"),
        ({"options": {"qvel": 1}}, r"options\['qvel'\] must have one entry for each of 3 worlds; got 1\."),
        ({"options": {"reset_mask": [True] * 3}}, r"must be a boolean array of shape \(3,\); got"),
        ({"options": {"reset_mask": np.zeros(3, dtype=bool)}}, "must hold a True; it holds none. Leave"),
        ({"options": {"qpos": [None, None]}}, r"options\['qpos'\] must have one entry for each of 3 worlds; got 2\."),
        ({"options": {"gravity": [None] * 3}}, None),
        ({"options": {"gravity": [1] * 3}}, r"must be among layout, qpos, qvel; got \['gravity'\]"),
    ],
)
def test_resets_that_do_not_fit_are_refused(arguments, message):
    env = PointGoalVectorEnv(3, 1)
    env.reset(seed=0)
    if message is None:
        env.reset(**arguments)  # asks nothing of any world
        return
    with pytest.raises(WorldError, match=message):
        env.reset(**arguments)


def test_steps_that_cannot_be_are_refused():
    env = PointGoalVectorEnv(2, 1, max_episode_steps=1, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(WorldError, match=r"reset\(\) must come before step\(\)"):
        env.step(np.zeros((2, 2)))
    env.reset(seed=0)
    with pytest.raises(WorldError, match=r"Actions must have shape \(2, 2\); got \(2,\)"):
        env.step(np.zeros(2))
    with pytest.raises(WorldError, match="Actions must be finite"):
        env.step(np.full((2, 2), np.nan))
    env.step(np.zeros((2, 2)))
    with pytest.raises(WorldError, match=r"must be reset when their episode is over; \[0, 1\] were not"):
        env.step(np.zeros((2, 2)))


def test_a_picture_is_set_by_three_words():
    with pytest.raises(WorldError, match=r"set by renderer, width and height; got \['heigth'\]"):
        PointGoalVectorEnv(2, 1, heigth=9)


@pytest.mark.parametrize("wrong", [{"num_envs": -1}, {"num_envs": 2.5}, {"max_episode_steps": 0}])
def test_numbers_of_worlds_and_steps_that_cannot_be_are_refused(wrong):
    make = inspect.unwrap(PointGoalVectorEnv.__init__)
    with pytest.raises(WorldError, match=rf"{next(iter(wrong))} must be a whole number of at least 1; got"):
        make(object.__new__(PointGoalVectorEnv), **wrong)


@pytest.mark.parametrize("seed", [1.5, "abc", [1.5, 2, 3]])
def test_seeds_that_are_no_integers_are_refused(seed):
    with pytest.raises(WorldError, match=r"Seeds must be 3 integers >= 0 \(or None\); got .* Pass one for each"):
        inspect.unwrap(PointGoalVectorEnv.reset)(PointGoalVectorEnv(3), seed=seed)
