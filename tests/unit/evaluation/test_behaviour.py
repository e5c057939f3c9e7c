"""Metrics of rollouts, and modes beside their experts; what a world does not offer is absent, not zero."""

import json

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.behaviour import METRICS, UNITS, compare_modes, estimates_of, measure, units_of
from unbraid.evaluation.intervals import mean_interval, share_interval


def an_episode(n_steps: int, *, rewarded: bool = True) -> Episode:
    return Episode(
        observations=np.zeros((n_steps + 1, 2)),
        actions=np.zeros((n_steps, 1)),
        rewards=np.full(n_steps, 0.5) if rewarded else None,
        costs=np.arange(n_steps) % 2.0 if rewarded else None,
    )


def there_and_back(n_steps: int) -> dict[str, np.ndarray]:
    """A walk of 1 m per step along x, but for the last step, which goes back."""
    x = np.arange(n_steps + 1.0)
    x[-1] = x[-3]
    reached = np.zeros(n_steps, dtype=bool)
    reached[1::2] = True
    return {"robot_xy": np.stack([x, np.full(n_steps + 1, 9.0)], 1), "goal_reached": reached}


def test_known_values() -> None:
    measures = measure(Demos.from_episodes([an_episode(4), an_episode(6)]), [there_and_back(4), there_and_back(6)])
    assert {name: values.tolist() for name, values in measures.items()} == {
        "return": [2, 3],
        "cost": [2, 3],
        "length": [4, 6],
        "goals": [2, 3],
        "distance": [4, 6],
        "displacement": [2, 4],
        "energy": [0, 0],
        "smoothness": [0, 0],
    }


def test_energy_is_of_the_actuators_where_their_velocity_is_told_and_the_unit_says_so() -> None:
    actions = np.array([[1.0, -2.0], [0.5, 0.0], [-1.0, 3.0]])
    episode = Episode(observations=np.zeros((4, 1)), actions=actions)
    demos, velocity = Demos.from_episodes([episode]), np.array([[-2.0, 1.0], [4.0, 9.0], [1.0, -1.0]])
    told = [{"actuator_velocity": velocity}]
    assert measure(demos, told)["energy"].tolist() == [2 + 2 + 2 + 0 + 1 + 3]
    assert units_of(["energy", "length", "own"], told) == {"energy": "action x velocity", "length": "steps", "own": ""}
    assert measure(demos, [{}])["energy"].tolist() == [1 + 4 + 0.25 + 1 + 9]
    assert units_of(["energy"], [{}]) == {"energy": "squared action"}
    mixed = measure(Demos.from_episodes([episode, episode]), [*told, {}])
    assert set(mixed) == {"length", "smoothness"}  # two kinds of energy are not one metric


def test_smoothness_is_minus_the_mean_change_of_the_action() -> None:
    actions = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]])
    episode = Episode(observations=np.zeros((4, 1)), actions=actions)
    assert measure(Demos.from_episodes([episode]), [{}])["smoothness"].tolist() == [-2.5]
    assert "smoothness" not in measure(Demos.from_episodes([an_episode(1)]), [{}])


def test_success_is_what_the_world_told() -> None:
    demos = Demos.from_episodes([an_episode(4), an_episode(4)])
    assert measure(demos, [{"success": np.array(1.0)}, {"success": np.array(0.0)}])["success"].tolist() == [1, 0]
    assert "success" not in measure(demos, [{}, {}])


def test_shares_have_the_interval_of_shares() -> None:
    values = np.array([1.0, 1.0, 0.0])
    found = estimates_of({"success": values, "goals": values})
    assert found == {"success": share_interval(values), "goals": mean_interval(values, within=(0.0, np.inf))}


def test_no_interval_reaches_where_no_value_can_lie() -> None:
    values = np.array([0.0, 1.0, 0.0])
    found = estimates_of({"goals": values, "smoothness": -values, "return": values, "cost": values})
    plain = mean_interval(values)
    assert (found["goals"].low, found["goals"].high) == (0, plain.high)
    assert (found["smoothness"].low, found["smoothness"].high) == (-plain.high, 0)
    assert found["return"] == plain  # of this it is not known
    assert plain.low < 0
    assert found["cost"] == found["goals"]
    assert estimates_of({"cost": values - 0.1})["cost"] == mean_interval(values - 0.1)  # of a world that pays back


def test_every_metric_has_a_unit() -> None:
    assert list(METRICS) == list(UNITS)


def test_what_a_world_does_not_offer_is_absent() -> None:
    own = {"length", "energy", "smoothness"}
    assert set(measure(Demos.from_episodes([an_episode(4, rewarded=False)]), [{}])) == own
    some = measure(Demos.from_episodes([an_episode(4), an_episode(4)]), [there_and_back(4), {}])
    assert set(some) == {"return", "cost"} | own


def test_there_must_be_a_track_for_every_episode() -> None:
    with pytest.raises(DataError, match="one track per episode"):
        measure(Demos.from_episodes([an_episode(4)]), [])


def test_modes_stand_beside_the_experts_that_they_match() -> None:
    noise = np.random.default_rng(0).normal(size=100)
    goal = {"return": 10 + noise, "distance": 14 + noise}
    forward = {"return": -12 + noise}
    modes = [{"return": -12.1 + noise, "distance": 3 + noise}, {"return": 8 + noise, "distance": 14 - noise}, goal]
    table = compare_modes(modes, {"goal": goal, "forward": forward}, np.array([1, 0, -1]))
    assert table.metrics == ("return", "distance")
    assert [m.expert for m in table.modes] == ["forward", "goal", None]
    first, second, third = (m.equivalence for m in table.modes)
    assert first["return"].holds is True
    assert first["return"].margin == pytest.approx(0.1 * abs(forward["return"].mean()))
    assert set(first) == {"return"}  # the forward expert has no distance
    assert second["return"].holds is False
    assert second["return"].difference.value == pytest.approx(-2)
    assert second["distance"].holds is True
    assert third == {}
    assert table.modes[2].metrics["return"].n == 100


def test_the_margin_knows_the_range_between_experts() -> None:
    values = np.random.default_rng(0).normal(size=50)
    values -= values.mean()
    table = compare_modes(
        [{"goals": values}], {"still": {"goals": values}, "goal": {"goals": values + 13}}, np.array([0])
    )
    assert table.modes[0].equivalence["goals"].margin == pytest.approx(0.26)


def test_one_rollout_is_not_estimable() -> None:
    one = {"return": np.array([1.0])}
    table = compare_modes([one], {"goal": one}, np.array([0]))
    assert table.modes[0].equivalence["return"].holds is None
    assert table.experts[0].metrics["return"].low is None


def test_a_table_is_json() -> None:
    values = {"return": np.arange(5.0), "own": np.arange(5)}
    result = json.loads(
        json.dumps(compare_modes([values, values], {"goal": values}, np.array([0, -1])).to_json(), allow_nan=False)
    )
    assert result["metrics"] == ["return", "own"]
    assert result["units"] == {"return": "reward", "own": ""}
    assert result["experts"][0]["name"] == "goal"
    assert set(result["modes"][0]) == {"mode", "expert", "metrics", "difference", "as_good", "margin"}
    assert result["modes"][0]["as_good"] == {"return": True, "own": True}
    assert result["modes"][1]["expert"] is None
    assert result["modes"][1]["difference"] == {}


@pytest.mark.parametrize("matching", [[0, 0], [1], [-2], []])
def test_a_matching_that_does_not_fit_is_refused(matching: list[int]) -> None:
    one = {"return": np.arange(3.0)}
    with pytest.raises(DataError, match="matching must give"):
        compare_modes([one], {"goal": one}, np.array(matching, dtype=np.int64))
