"""The experts: each does what it is for, in PointGoal1, over 1000 steps on fresh layouts."""

import functools

import numpy as np
import pytest

from unbraid.core.errors import WorldError
from unbraid.worlds.experts import ACTION_NOISE, EXPERT_NAMES, make_expert
from unbraid.worlds.lidar import lidar_readings
from unbraid.worlds.rollout import rollout

POINT_GOAL = "unbraid/PointGoal1-v0"
SEEDS = list(range(70_000, 70_032))
STEP_S = 0.02


@functools.cache
def acted(name):
    return rollout(make_expert(name), POINT_GOAL, seeds=SEEDS)


def goals(name):
    return np.array([track["goal_reached"].sum() for track in acted(name).tracks])


def costs(name):
    return np.array([episode.costs.sum() for episode in acted(name).demos])


def paths_m(name):
    return np.array([np.linalg.norm(np.diff(t["robot_xy"], axis=0), axis=1).sum() for t in acted(name).tracks])


def displacements_m(name):
    return np.array([np.linalg.norm(t["robot_xy"][-1] - t["robot_xy"][0]) for t in acted(name).tracks])


def turns_rad(name):
    return np.array([t["robot_heading_rad"] for t in acted(name).tracks])


def test_goal_seeking_reaches_eleven_goals():
    assert goals("goal_seeking").mean() >= 11
    assert goals("goal_seeking").min() >= 4  # it is never lost


def test_careful_goal_seeking_has_under_half_the_cost_and_many_goals():
    assert costs("careful_goal_seeking").mean() < 0.5 * costs("goal_seeking").mean()
    assert goals("careful_goal_seeking").mean() >= 6


def test_slow_goal_seeking_is_slow():
    assert paths_m("slow_goal_seeking").mean() < 0.55 * paths_m("goal_seeking").mean()
    assert 5 <= goals("slow_goal_seeking").mean() < 0.7 * goals("goal_seeking").mean()


def test_forward_goes_straight_on():
    run = acted("forward")
    assert displacements_m("forward").min() > 27
    assert (displacements_m("forward") > 0.97 * paths_m("forward")).all()
    ahead = run.demos.observations[run.demos.row_of_step, 3].reshape(len(SEEDS), -1)
    assert (ahead[:, 100:] > 1.2).all()
    assert np.abs(turns_rad("forward")[:, -1] - turns_rad("forward")[:, 0]).max() < 1.5


def test_circling_turns_steadily_on_a_small_place():
    assert (paths_m("circling") > 20).all()
    assert (displacements_m("circling") < 3).all()
    turned = np.diff(turns_rad("circling")[:, ::100], axis=1)
    assert turned.min() > 2.0
    assert turned.max() < 4.5


def test_hazard_seeking_costs_far_more_than_any_other():
    others = [costs(name).mean() for name in EXPERT_NAMES if name != "hazard_seeking"]
    assert costs("hazard_seeking").mean() > 2 * max(others)
    assert goals("hazard_seeking").mean() < 1


def test_hazard_avoiding_keeps_clear_and_wants_no_goal():
    assert costs("hazard_avoiding").mean() < 0.5
    assert goals("hazard_avoiding").mean() < 1
    ends = [np.linalg.norm(t["hazards_xy"] - t["robot_xy"][-1], axis=1).min() for t in acted("hazard_avoiding").tracks]
    assert min(ends) > 0.5


def test_forward_turning_goes_three_steps_and_then_turns():
    run = rollout(make_expert("forward_turning", action_noise=0.0), POINT_GOAL, seeds=[1, 2, 3], max_steps=13)
    for episode in run.demos:
        is_forward = (episode.actions[:, 0] > 0.05) & (episode.actions[:, 1] == 0)
        is_turning = (episode.actions[:, 0] == 0) & (episode.actions[:, 1] > 0.5)
        assert "".join("F" if f else "T" if t else "?" for f, t in zip(is_forward, is_turning, strict=True)) == (
            "FFFTTTFFFTTTF"
        )


@pytest.mark.parametrize("level", [0, 2])
def test_goal_seeking_in_the_other_levels(level):
    run = rollout(make_expert("goal_seeking"), f"unbraid/PointGoal{level}-v0", seeds=SEEDS[:8], max_steps=500)
    assert np.mean([track["goal_reached"].sum() for track in run.tracks]) >= 3


@pytest.mark.parametrize("name", ["goal_seeking", "careful_goal_seeking", "slow_goal_seeking"])
def test_a_goal_out_of_sight_is_found_again(name):
    """In PointGoal2 a goal may lie beyond the lidar's 3 m; nobody may rest there, or turn on the spot for good."""
    run = rollout(make_expert(name), "unbraid/PointGoal2-v0", seeds=SEEDS[:24], max_steps=1000)
    unseen = (run.demos.observations[run.demos.row_of_step, 12:28].sum(axis=1) < 1e-6).reshape(24, 1000)
    assert unseen.any(axis=1).sum() >= 3  # it happens
    assert not unseen[:, -400:].all(axis=1).any()
    assert unseen.mean() < 0.1


def test_without_hazards_and_vases_a_goal_out_of_sight_is_not_looked_for():
    """PointGoal0's arena is smaller than the lidar's range: the only wish left is to rest."""
    seen = np.zeros((1, 28))
    actions, _ = make_expert("goal_seeking", action_noise=0.0).act(
        seen, None, np.zeros(1, dtype=bool), np.zeros((1, 2))
    )
    np.testing.assert_array_equal(actions, 0)


def test_experts_are_smooth_but_for_the_clock():
    """A step of a thousandth in what is seen moves 99 of 100 actions by less than 0.06; the least smooth is the careful
    one, at 0.050 to 0.054 from one draw to the next."""
    generator = np.random.default_rng(0)
    demos = acted("goal_seeking").demos
    seen = demos.observations[generator.choice(len(demos.observations), 4000)].astype(np.float64)
    nudged = np.clip(
        seen + 1e-3 * generator.standard_normal(seen.shape), a_min=np.where(seen >= 0, 0.0, -np.inf), a_max=None
    )
    quiet, starts = np.zeros((len(seen), 2)), np.zeros(len(seen), dtype=bool)
    for name in EXPERT_NAMES:
        expert = make_expert(name, action_noise=0.0)
        moved = np.abs(expert.act(nudged, None, starts, quiet)[0] - expert.act(seen, None, starts, quiet)[0])
        assert np.quantile(moved, 0.99) < 0.06, name


def test_the_goal_is_found_between_the_bins():
    """With noise off and the robot at rest, the throttle and the turn have the signs of the goal's place."""
    bearings = np.linspace(-np.pi, np.pi, 721)
    seen = np.zeros((721, 60))
    seen[:, 12:] = lidar_readings(np.full((721, 1), 1.0), bearings[:, None], np.zeros(1, dtype=int), 3)
    actions, _ = make_expert("goal_seeking", action_noise=0.0).act(
        seen, None, np.zeros(721, dtype=bool), np.zeros((721, 2))
    )
    quarter = np.abs(np.sin(2 * bearings)) > 0.05  # not within 1.5 degrees of an axis
    assert (np.sign(actions[quarter, 0]) == np.sign(np.cos(bearings[quarter]))).all()
    assert (np.sign(actions[quarter, 1]) == np.sign(np.sin(2 * bearings[quarter]))).all()


def test_the_noise_is_gaussian_of_the_level_asked_for():
    for level in (ACTION_NOISE, 0.05):
        run = rollout(make_expert("circling", action_noise=level), POINT_GOAL, seeds=SEEDS[:16], max_steps=200)
        np.testing.assert_allclose(run.demos.actions.std(axis=0), level, rtol=0.05)
        np.testing.assert_allclose(run.demos.actions.mean(axis=0), [0.6, 0.5], atol=0.02)
    with_noise, without = (
        rollout(make_expert("circling", action_noise=level), POINT_GOAL, seeds=[1], max_steps=9).demos.actions
        for level in (0.1, 0.0)
    )
    assert not np.array_equal(with_noise, without)


def test_experts_need_point_goal():
    with pytest.raises(WorldError, match="needs PointGoal's observations"):
        rollout(make_expert("forward"), "Pendulum-v1", seeds=[1])
    with pytest.raises(WorldError, match="hazard_seeking needs PointGoal's observations of 60"):
        rollout(make_expert("hazard_seeking"), "unbraid/PointGoal0-v0", seeds=[1])


def test_impossible_experts():
    with pytest.raises(WorldError, match="must be one of goal_seeking, forward"):
        make_expert("goal-seeking")
    for level in (-0.1, np.inf, np.nan):
        with pytest.raises(WorldError, match="noise"):
            make_expert("forward", action_noise=level)
