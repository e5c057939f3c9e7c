"""Layouts and goals: keep-outs hold, the seed decides alone, and a given layout is checked."""

import numpy as np
import pytest

from unbraid.core.errors import WorldError
from unbraid.worlds.layout import (
    GOALS_PER_BLOCK,
    LEVELS,
    check_layout,
    draw_layout,
    goal_candidates,
    level_rules,
    next_goals,
)

ROBOT, GOAL, HAZARD, VASE = 0.4, 0.305, 0.18, 0.15
levels = pytest.mark.parametrize("rules", LEVELS, ids=["goal0", "goal1", "goal2"])


def things(layout):
    places = np.concatenate([layout.robot_xy[None], layout.goal_xy[None], layout.hazards_xy, layout.vases_xy])
    keep_outs = np.repeat([ROBOT, GOAL, HAZARD, VASE], [1, 1, len(layout.hazards_xy), len(layout.vases_xy)])
    return places, keep_outs


@levels
def test_every_layout_keeps_the_keep_outs(rules):
    for seed in range(60):
        places, keep_outs = things(draw_layout(rules, seed))
        assert (np.abs(places) <= (rules.half_side_m - keep_outs)[:, None]).all()
        apart = np.linalg.norm(places[:, None] - places[None], axis=2) - (keep_outs[:, None] + keep_outs)
        np.fill_diagonal(apart, 1.0)
        assert apart.min() >= 0.0


def test_places_fill_the_arena_and_headings_the_circle():
    layouts = [draw_layout(LEVELS[1], seed) for seed in range(400)]
    robots = np.array([layout.robot_xy for layout in layouts])
    headings = np.array([layout.robot_heading_rad for layout in layouts])
    assert np.abs(robots).max() > 1.05
    assert np.abs(robots.mean(axis=0)).max() < 0.12
    assert np.histogram(headings, bins=4, range=(0.0, 2.0 * np.pi))[0].min() > 70


def test_the_seed_decides_and_suffices():
    one, same, other = draw_layout(LEVELS[1], 5), draw_layout(LEVELS[1], 5), draw_layout(LEVELS[1], 6)
    np.testing.assert_array_equal(things(one)[0], things(same)[0])
    assert not np.isin(things(one)[0], things(other)[0]).any()


@levels
def test_goals_to_come_keep_clear_of_hazards_and_vases(rules):
    for seed in range(20):
        layout = draw_layout(rules, seed)
        places, keep_outs = things(layout)
        goal = layout.goal_xy[None]
        for block in range(2):
            candidates = goal_candidates(rules, layout, seed, block)
            for number in range(GOALS_PER_BLOCK):
                goal, last = next_goals(candidates[number : number + 1], goal), goal
                assert np.linalg.norm(goal - last) >= ROBOT + GOAL
                assert (np.linalg.norm(goal - places[2:], axis=1) >= keep_outs[2:] + GOAL).all()
                assert np.abs(goal).max() <= rules.half_side_m - GOAL


def test_a_goals_candidates_depend_on_seed_and_number_alone():
    layout = draw_layout(LEVELS[1], 0)
    lists = {(seed, block): goal_candidates(LEVELS[1], layout, seed, block) for seed in (0, 1) for block in (0, 1)}
    np.testing.assert_array_equal(lists[0, 1], goal_candidates(LEVELS[1], layout, 0, 1))
    firsts = np.concatenate([candidates[:, 0] for candidates in lists.values()])
    assert len(np.unique(firsts, axis=0)) == 4 * GOALS_PER_BLOCK


def test_where_no_candidate_is_clear_the_farthest_is_taken():
    candidates = np.array([[[0.1, 0.0], [0.0, 0.5], [-0.2, 0.0]]])
    np.testing.assert_array_equal(next_goals(candidates, np.zeros((1, 2))), [[0.0, 0.5]])


def test_the_first_clear_candidate_is_taken():
    candidates = np.array([[[0.1, 0.0], [0.0, 0.8], [-3.0, 0.0]]])
    np.testing.assert_array_equal(next_goals(candidates, np.zeros((1, 2))), [[0.0, 0.8]])


def test_there_are_three_levels():
    assert [level_rules(level).obs_width for level in (0, 1, 2)] == [28, 60, 60]
    for wrong in (3, -1, True):
        with pytest.raises(WorldError, match=r"level must be 0, 1 or 2; got .*\. Choose"):
            level_rules(wrong)


GIVEN = {
    "robot_xy": [0.0, 0.0],
    "robot_heading_rad": 1.0,
    "goal_xy": [1.0, 1.0],
    "hazards_xy": np.zeros((8, 2)),
    "vases_xy": [[1.0, -1.0]],
}


def test_a_given_layout_is_copied():
    layout = check_layout(GIVEN, LEVELS[1])
    GIVEN["hazards_xy"][0] = 7.0
    assert not layout.hazards_xy.any()
    GIVEN["hazards_xy"][0] = 0.0
    assert layout.robot_heading_rad == 1.0
    np.testing.assert_array_equal(layout.vases_heading_rad, [0.0])
    again = check_layout(layout, LEVELS[1])
    assert again.vases_xy is not layout.vases_xy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal_xy": [1.0]}, r"layout's goal_xy must have shape \(2,\); got \(1,\)\. Pass"),
        ({"goal_xy": [np.nan, 0.0]}, r"layout's goal_xy must be finite.*got \[nan.*\. Correct"),
        ({"robot_xy": [1e9, 0.0]}, "at most 1e\\+06"),
        ({"robot_xy": "here"}, "layout's robot_xy must be numbers; got 'here'. Pass"),
        ({"hazards_xy": np.zeros((3, 2))}, r"shape \(8, 2\); got \(3, 2\)"),
        ({"colour": 1}, r"must have the fields robot_xy.*\['colour'\] differ"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(change, message):
    with pytest.raises(WorldError, match=message):
        check_layout({**GIVEN, **change}, LEVELS[1])
