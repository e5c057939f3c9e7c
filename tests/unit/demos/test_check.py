"""The doctor: each fault is found, named with its episode and remedy, and a healthy data set has none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.check import check_demos, require_fit_ready
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.selection import Selection
from unbraid.demos.store import save_demos
from unbraid.training.origin import origin_of


def _healthy(n_episodes: int = 6, steps: int = 40, obs: int = 3) -> Demos:
    """Smooth random walks that start anew in every episode."""
    generator = np.random.default_rng(0)
    episodes = []
    for _ in range(n_episodes):
        actions = generator.uniform(-1, 1, (steps, 2))
        start = generator.normal(size=(1, obs))
        walk = np.concatenate([start, start + 0.1 * generator.normal(size=(steps, obs)).cumsum(axis=0)])
        episodes.append(Episode(walk, actions, rewards=generator.normal(size=steps)))
    return Demos.from_episodes(episodes, action_bounds=(np.full(2, -1.0), np.full(2, 1.0)))


def _changed(field: str, index, value, demos: Demos | None = None) -> Demos:
    demos = demos or _healthy()
    values = getattr(demos, field).copy()
    values[index] = value
    return replace(demos, **{field: values})


def _only(demos: Demos):
    """The one finding that a single fault must bring."""
    findings = check_demos(demos).findings
    assert len(findings) == 1, findings
    return findings[0]


def test_a_healthy_data_set_has_no_finding():
    report = check_demos(_healthy())
    assert report.findings == ()
    assert report.ok
    assert (report.n_episodes, report.n_steps) == (6, 240)
    assert report.saturated_shares == (0.0, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("field", "row", "column"), [("observations", 2 * 41 + 7, 1), ("actions", 87, 1)])
def test_values_that_are_not_finite(bad, field, row, column):
    finding = _only(_changed(field, (row, column), bad))
    assert (finding.severity, finding.code, finding.field, finding.episode) == ("error", "not-finite", field, 2)
    assert f"at step 7 in {field}[1]" in finding.message


def test_missing_rewards_name_the_field_alone():
    finding = _only(_changed("rewards", slice(45, 130), np.nan))
    assert (
        finding.message == "`rewards` must be finite; episode 1 holds nan at step 5 in rewards, and 2 other episodes."
    )


def test_columns_that_never_change_are_named():
    demos = _changed("observations", (slice(None), 2), 9.81)
    finding = _only(replace(demos, observation_names=("x", "y", "gravity")))
    assert (finding.severity, finding.code, finding.episode) == ("warning", "constant-column", None)
    assert "observations[2] (gravity) never does" in finding.message
    assert _only(_changed("actions", (slice(None), 1), 0.5)).field == "actions"


@pytest.mark.parametrize(("value", "severity"), [(-1e5, "warning"), (1e12, "error")])
def test_columns_that_explode(value, severity):
    finding = _only(_changed("observations", (3 * 41 + 2, 0), value))
    assert (finding.severity, finding.code, finding.episode) == (severity, "exploding-column", 3)
    assert finding.field == "observations"
    assert f"observations[0] should keep its magnitude; episode 3 holds {value:.6g}" in finding.message


def test_a_single_action_far_from_the_others_is_named():
    finding = _only(replace(_changed("actions", (45, 1), 50.0), action_low=None, action_high=None))
    assert (finding.severity, finding.code, finding.episode) == ("warning", "far-action", 1)
    assert finding.message.startswith("actions[1] should lie near its other values; episode 1 holds 50 at step 5.")


def test_actions_that_single_precision_would_round_are_named_as_a_fit_refuses_them():
    demos = replace(_healthy(), action_low=None, action_high=None)
    moved = replace(demos, actions=demos.actions + np.array([0.0, 1e6]))
    finding = _only(moved)
    assert (finding.severity, finding.code) == ("error", "rounded-action")
    assert finding.message.startswith("actions[1] must lie near 0 beside how much it varies")
    with pytest.raises(DataError, match="those of column 1 lie around 1e"):
        origin_of(moved)
    assert check_demos(replace(moved, actions=moved.actions.astype(np.float32))).findings == ()
    assert check_demos(replace(demos, actions=demos.actions + np.array([0.0, 900.0]))).findings == ()
    idle = replace(demos, actions=np.column_stack([demos.actions[:, 0], np.full(len(demos.actions), 1e6 + 0.1)]))
    assert [finding.code for finding in check_demos(idle).findings] == ["constant-column"]


def test_columns_too_large_for_single_precision():
    demos = _healthy()
    findings = check_demos(replace(demos, observations=demos.observations * [1, 1e30, 1])).findings
    assert [(f.severity, f.code) for f in findings] == [("error", "exploding-column")]


def test_actions_out_of_bounds():
    finding = _only(_changed("actions", ([41, 90], [1, 0]), [1.5, -1.1]))
    assert (finding.severity, finding.code, finding.episode) == ("error", "out-of-bounds", 1)
    assert "actions[1] must lie in [-1, 1]; episode 1 holds 1.5 at step 1, and 1 other episode (0.8%" in finding.message
    rounding = _changed("actions", (3, 0), np.nextafter(1.0, 2))
    assert check_demos(rounding).findings == ()


@pytest.mark.parametrize("low", [np.full(2, 1.0), None])
def test_bounds_that_make_no_sense(low):
    finding = _only(replace(_healthy(), action_low=low))
    assert (finding.severity, finding.code) == ("error", "bounds")


@pytest.mark.parametrize("known", [True, False])
def test_saturated_actuators_have_their_share(known):
    demos = _changed("actions", (slice(0, 180), 0), 1.0)
    demos = _changed("actions", (slice(0, 60), 0), -1.0, demos)
    demos = demos if known else replace(demos, action_low=None, action_high=None)
    finding = _only(demos)
    assert (finding.severity, finding.code, finding.field) == ("warning", "saturated-actuator", "actions[0]")
    assert "at one on 75% of the steps" in finding.message
    assert check_demos(demos).saturated_shares[0] == 0.75


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("shut", [-1.0, 0.0])
def test_a_gripper_of_two_values_is_not_saturated(shut, known):
    open_ = np.random.default_rng(1).random(240) < 0.5
    demos = _changed("actions", (slice(None), 0), np.where(open_, 1.0, shut))
    bounds = {"action_low": np.array([shut, -1.0])} if known else {"action_low": None, "action_high": None}
    demos = replace(demos, **bounds)
    report = check_demos(demos)
    assert report.findings == ()
    assert report.saturated_shares[0] == 0
    assert _only(_changed("actions", (7, 0), 0.5, demos)).code == "saturated-actuator"  # a third value: it is not


def test_episodes_of_no_steps():
    episodes = list(_healthy())
    empty = Episode(np.zeros((1, 3)), np.zeros((0, 2)), rewards=np.zeros(0))
    finding = _only(Demos.from_episodes([*episodes[:4], empty, episodes[4], empty]))
    assert (finding.severity, finding.code, finding.episode) == ("warning", "empty-episode", 4)
    assert "episode 4 has none, and 1 other episode." in finding.message


def test_episodes_of_no_steps_are_an_error_where_a_fit_refuses_them():
    first, second, third = list(_healthy())[:3]
    empty = Episode(np.zeros((1, 3)), np.zeros((0, 2)), rewards=np.zeros(0))
    enough = Demos.from_episodes([first, empty, second, third])
    assert check_demos(enough).ok
    require_fit_ready(enough, window_steps=None, n_modes=2)
    for too_few, left in (([first, empty], "is 1"), ([empty, empty], "is none")):
        errors = [f for f in check_demos(Demos.from_episodes(too_few)).findings if f.severity == "error"]
        assert [f.code for f in errors] == ["one-episode"]
        assert f"at least 2 episodes that have a step; there {left}." in errors[0].message
        with pytest.raises(DataError):
            require_fit_ready(Demos.from_episodes(too_few), window_steps=None, n_modes=2)


def test_duplicated_episodes():
    finding = _only(_healthy().select([0, 1, 2, 3, 1, 0]))
    assert (finding.severity, finding.code, finding.episode) == ("warning", "duplicated-episode", 4)
    assert "episode 4 repeats episode 1, number for number, and 1 other episode" in finding.message


def test_one_episode_and_none():
    assert _only(_healthy().select([0])).code == "one-episode"
    finding = _only(_healthy().select([0, 1]))
    assert (finding.severity, finding.code) == ("warning", "two-episodes")
    assert _only(_healthy().select([])).code == "no-episodes"


def test_repeated_final_observations():
    demos = _healthy()
    last = demos.row_starts[1:] - 1
    finding = _only(_changed("observations", last, demos.observations[last - 1], demos))
    assert (finding.severity, finding.code, finding.episode) == ("warning", "repeated-final-observation", 0)


def test_final_observations_that_belong_to_the_next_episode():
    """What an automatic reset leaves behind."""
    demos = _healthy(n_episodes=12, obs=8)
    last = demos.row_starts[1:] - 1
    following = np.roll(demos.observations[demos.row_starts[:-1]], -1, axis=0)
    finding = _only(_changed("observations", last, following, demos))
    assert (finding.severity, finding.code) == ("warning", "foreign-final-observation")


def test_errors_come_first_and_the_report_is_json():
    demos = _changed("observations", (slice(None), 2), 0.0)
    report = check_demos(_changed("actions", (0, 0), 3.0, demos))
    assert [f.severity for f in report.findings] == ["error", "warning"]
    assert not report.ok
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert said["ok"] is False
    assert said["findings"][0]["code"] == "out-of-bounds"
    assert set(said["findings"][0]) == {"severity", "code", "field", "message", "remedy", "episode"}


def test_a_hundred_thousand_steps_are_checked_to_the_last(tmp_path):
    """More than one block of them, as they lie in a store."""
    generator = np.random.default_rng(0)
    observations, actions = generator.normal(size=(100_100, 6)), generator.normal(size=(100_000, 2))
    for last, ok in ((0.0, True), (np.nan, False)):
        observations[-1, -1] = last
        demos = Demos(observations, actions, np.full(100, 1000), np.zeros(100, bool))
        report = check_demos(load_demos(save_demos(demos, tmp_path / str(ok))))
        assert report.ok == ok
        assert [f.episode for f in report.findings if f.severity == "error"] == ([] if ok else [99])


# What a fit cannot take


def test_a_healthy_data_set_is_ready():
    require_fit_ready(_healthy(), window_steps=40, n_modes=6)
    require_fit_ready(_healthy(), window_steps=None, n_modes=6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n_modes": 1}, r"n_modes must be at least 2; got 1\. With one mode"),
        ({"n_modes": 0}, r"n_modes must be at least 2; got 0"),
        ({"n_modes": 25}, r"n_modes must be at most the number of windows; got 25 modes for 24 windows of 10 steps"),
        ({"n_modes": 7, "window_steps": None}, "got 7 modes for 6 windows of whole episodes"),
        (
            {"n_modes": 7, "of_episodes": True},
            r"at most the number of episodes, as a mode needs one at least; got 7 modes for 6 episodes with",
        ),
        ({"window_steps": 0}, "A window must have at least 1 step; got 0"),
    ],
)
def test_impossible_settings(settings, says):
    with pytest.raises(ConfigError, match=says):
        require_fit_ready(_healthy(), **({"window_steps": 10, "n_modes": 2} | settings))


@pytest.mark.parametrize(
    ("demos", "says"),
    [
        (_healthy().select([0]), "A fit must have at least 2 episodes; got 1"),
        (_healthy(steps=9), r"steps of a window; 0 of 6 have \(the longest has 9 steps\)\. Use a window of at most 9"),
        (
            _changed("actions", (81, 0), np.nan),
            r"`actions` must be finite; episode 2 holds nan at step 1 in actions\[0\]",
        ),
        (_changed("observations", (41, 0), np.inf), "`observations` must be finite; episode 1 holds inf at step 0"),
        (replace(_healthy(), actions=np.zeros((240, 0)), action_low=None, action_high=None), "3 and 0 columns"),
    ],
)
def test_demonstrations_that_no_fit_can_take(demos, says):
    with pytest.raises(DataError, match=says):
        require_fit_ready(demos, window_steps=10, n_modes=2)


def test_what_a_fit_never_reads_does_not_stop_it():
    require_fit_ready(_changed("rewards", 0, np.nan), window_steps=10, n_modes=2)
    mixed = Demos.from_episodes([*_healthy(), *_healthy(1, steps=3)])
    require_fit_ready(mixed, window_steps=10, n_modes=2)


def test_of_chosen_episodes_the_others_may_be_broken_and_those_that_are_not_are_named_as_the_file_counts():
    demos = _healthy()
    values = demos.actions.copy()
    values[demos.step_starts[2] + 3, 0] = np.nan
    broken = replace(demos, actions=values)
    every = np.arange(demos.n_episodes)
    require_fit_ready(Selection(broken, every[every != 2]), window_steps=10, n_modes=2)
    with pytest.raises(DataError, match=r"`actions` must be finite; episode 2 holds nan at step 3"):
        require_fit_ready(Selection(broken, every[1:]), window_steps=10, n_modes=2)
    with pytest.raises(DataError, match=r"at least 2 episodes; got 1\."):
        require_fit_ready(Selection(demos, every[:1]), window_steps=10, n_modes=2)
