"""What a switcher sees: features of PointGoal, or every column."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, DataError
from unbraid.switching.situations import reader_from_json, situation_reader
from unbraid.worlds.lidar import LIDAR_RANGE_M

WORLD = "unbraid/PointGoal1-v0"


def seen(*, goal_m=1.5, hazard_m=None, velocity=(0.0, 0.0), hazard_bin=0):
    """An observation with the goal ahead (bins 15 and 0), and a hazard in one bin where one is wanted."""
    observation = np.zeros(60)
    observation[3:5] = velocity
    observation[[12, 27]] = 1 - goal_m / LIDAR_RANGE_M
    if hazard_m is not None:
        observation[28 + hazard_bin] = 1 - hazard_m / LIDAR_RANGE_M
    return observation


def features(*observations):
    rows = np.stack(observations)
    reader = situation_reader("auto", observations=np.zeros((2, 60)), env_id=WORLD)
    return [dict(zip(reader.names, row, strict=True)) for row in reader.read(rows)]


def test_the_goal_and_the_speed():
    far, near, away = features(
        seen(goal_m=2.4), seen(goal_m=0.3, velocity=(1.5, 0.0)), seen(goal_m=0.3, velocity=(-1.5, 0.0))
    )
    assert far["constant"] == 1
    assert far["goal_distance"] == pytest.approx(0.8, abs=0.02)
    assert near["goal_distance"] == pytest.approx(0.1, abs=0.02)
    assert near["goal_near"] > 0.5 > far["goal_near"]
    assert near["speed"] == away["speed"] == pytest.approx(1.0)
    assert near["speed_to_goal"] == pytest.approx(1.0, abs=0.01)
    assert away["speed_to_goal"] == pytest.approx(-1.0, abs=0.01)


def test_a_hazard_counts_where_it_is():
    none, on_way, behind, beyond = features(
        seen(), seen(hazard_m=0.5), seen(hazard_m=0.5, hazard_bin=8), seen(goal_m=0.2, hazard_m=1.0)
    )
    for name in ("hazard_near", "hazard_ahead", "hazard_on_way", "hazard_on_way_far"):
        assert none[name] == 0
    assert on_way["hazard_near"] == pytest.approx(behind["hazard_near"])
    assert on_way["hazard_on_way"] > 0.2 > 1e-3 > behind["hazard_on_way"]
    assert beyond["hazard_on_way_far"] < 0.05 < on_way["hazard_on_way_far"]
    driving_there, driving_off = features(
        seen(hazard_m=0.5, velocity=(1.0, 0.0)), seen(hazard_m=0.5, velocity=(-1.0, 0.0))
    )
    assert driving_there["hazard_ahead"] > 0.2
    assert driving_off["hazard_ahead"] == pytest.approx(0, abs=1e-3)


def test_how_much_of_the_way_lies_in_hazards():
    def hazard(bearing_rad, distance_m, **asked):  # as the lidar shows it: in its bin, and aliased into the neighbours
        place = bearing_rad / (2 * np.pi / 16)
        share, bin_ = place % 1, int(place // 1)
        observation, value = seen(**asked), 1 - distance_m / LIDAR_RANGE_M
        for column, part in ((bin_, 1.0), (bin_ + 1, share), (bin_ - 1, 1 - share)):
            observation[28 + column % 16] = max(observation[28 + column % 16], part * value)
        return observation

    none, ahead, beside, grazed, far, beyond = features(
        seen(),
        hazard(0.0, 0.5),
        hazard(np.pi / 2, 0.5),
        hazard(np.arcsin(0.15 / 0.5), 0.5),
        hazard(0.0, 1.0),
        hazard(0.0, 1.4, goal_m=1.0),
    )
    for name in ("hazard_crossed", "hazard_crossed_far", "hazard_hit"):
        assert none[name] == beside[name] == beyond[name] == 0
    assert ahead["hazard_crossed_far"] == pytest.approx(0.5 / 0.4)  # all of it, with its margin
    assert ahead["hazard_crossed"] == pytest.approx(0.35 / 0.4)  # from 0.25 to 0.6 m
    assert grazed["hazard_crossed_far"] == pytest.approx(2 * np.sqrt(0.25**2 - 0.15**2) / 0.4)
    assert (far["hazard_crossed"], far["hazard_crossed_far"]) == (0, pytest.approx(0.45 / 0.4))  # from 0.75 to 1.2 m
    there, off = features(hazard(0.0, 0.4, velocity=(1.0, 0.0)), hazard(0.0, 0.4, velocity=(-1.0, 0.0)))
    assert there["hazard_hit"] == pytest.approx(0.25 / 0.4)  # from 0.15 to 0.4 m
    assert off["hazard_hit"] == 0


def lidar_of(bearing_rad, distance_m):
    """(bin,) what the lidar of Safety Gym shows of one thing: in its bin, and aliased into the neighbours."""
    place = bearing_rad / (2 * np.pi / 16) % 16
    share, bin_ = place % 1, int(place)
    shown, value = np.zeros(16), 1 - distance_m / LIDAR_RANGE_M
    shown[bin_], shown[(bin_ + 1) % 16], shown[(bin_ - 1) % 16] = value, share * value, (1 - share) * value
    return shown


def situation(*, goal, hazard=None, velocity=(0.0, 0.0)):
    """Goal and hazard by (angle, distance)."""
    observation = np.zeros(60)
    observation[3:5], observation[12:28] = velocity, lidar_of(*goal)
    if hazard is not None:
        observation[28:44] = lidar_of(*hazard)
    return observation


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.0, 3.5, 5.9])
def test_wherever_the_robot_looks_what_counts_is_where_things_lie_beside_the_goal(turn):
    """The same scene from a robot that has turned: the goal 1.5 m away, a hazard a little beside the way, 0.8 m off."""
    speed, course = 1.2, 0.5
    (found,) = features(
        situation(
            goal=(turn, 1.5),
            hazard=(turn + 0.2, 0.8),
            velocity=(speed * np.cos(turn + course), speed * np.sin(turn + course)),
        )
    )
    assert found["goal_distance"] == pytest.approx(1.5 / LIDAR_RANGE_M)
    assert found["goal_near"] == pytest.approx(np.exp(-1.5 / 0.5))
    assert found["speed"] == pytest.approx(speed / 1.5)
    assert found["speed_to_goal"] == pytest.approx(speed * np.cos(course) / 1.5, rel=0.02)
    beside_m, along_m = 0.8 * np.sin(0.2), 0.8 * np.cos(0.2)
    half_m = np.sqrt(0.25**2 - beside_m**2)
    crossed = min(along_m + half_m, 1.2) - (along_m - half_m)
    assert found["hazard_crossed_far"] == pytest.approx(crossed / 0.4, rel=0.1)
    assert found["hazard_crossed"] == pytest.approx((0.6 - (along_m - half_m)) / 0.4, abs=0.1)
    assert found["hazard_near"] == pytest.approx(np.exp(-0.6 / 0.25))  # from its edge
    (touched,) = features(situation(goal=(turn, 1.5), hazard=(turn + 0.2, 0.0)))
    assert touched["hazard_near"] == pytest.approx(np.exp(0.2 / 0.25))


def test_the_way_ends_at_the_goals_rim():
    """0.3 m before its middle: a hazard there is none on the way, and one behind a goal that is reached neither."""
    near, behind = features(
        situation(goal=(0.1, 0.9), hazard=(0.1, 0.7)), situation(goal=(0.1, 0.2), hazard=(0.1 + np.pi, 0.1))
    )
    assert near["hazard_crossed_far"] == pytest.approx((0.6 - 0.45) / 0.4, abs=0.03)
    assert behind["hazard_crossed_far"] == behind["hazard_crossed"] == 0


def test_few_features_are_two_of_them_scaled():
    rows = np.stack([seen(), seen(goal_m=0.5, hazard_m=0.4), seen(goal_m=2.0, hazard_m=0.6)])
    every, few = (situation_reader(kind, observations=rows) for kind in ("point_goal", "point_goal_few"))
    assert few.names == ("constant", "goal_distance", "hazard_on_way_far")
    for place, name in enumerate(few.names[1:], 1):
        whole = every.read(rows)[:, every.names.index(name)]
        assert np.corrcoef(few.read(rows)[:, place], whole)[0, 1] == pytest.approx(1)
        assert few.read(rows)[:, place].std() > whole.std()
    by_name = features(*rows)
    np.testing.assert_allclose(few.read(rows)[:, 0], 1.0)
    np.testing.assert_allclose(few.read(rows)[:, 1], [(row["goal_distance"] - 0.5) / 0.25 for row in by_name])


def test_features_are_of_the_size_of_1_in_the_world():
    from unbraid.worlds.experts import make_expert
    from unbraid.worlds.rollout import rollout

    found = rollout(make_expert("goal_seeking"), WORLD, seeds=range(4), max_steps=60).demos
    rows = np.concatenate([np.asarray(episode.observations, dtype=np.float64) for episode in found])
    read = situation_reader("auto", observations=rows, env_id=WORLD).read(rows)
    assert np.isfinite(read).all()
    assert np.abs(read).max() < 3
    assert (read[:, 1:].std(axis=0) > 0.01).all()


def test_any_other_world_is_read_column_by_column():
    rows = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    reader = situation_reader("auto", observations=rows, env_id="CartPole-v1", names=("place", "mass"))
    assert reader.names == ("constant", "place", "mass")
    scale = rows[:, 0].std()
    np.testing.assert_allclose(reader.read(rows), [[1, -2 / scale, 0], [1, 0, 0], [1, 2 / scale, 0]])
    assert reader.read(np.array([[1e9, 5.0]])).max() == 5
    assert reader.read(np.array([[-1e9, 4.0]])).tolist() == [[1, -5, -1]]  # what never moved has its own unit
    ours = situation_reader("auto", observations=np.random.default_rng(0).random((5, 60)), env_id="Other-v0")
    assert ours.kind == "observation"  # 60 columns alone are no PointGoal
    other = situation_reader("auto", observations=rows, env_id="unbraid/PointGoal0-v0")
    assert other.kind == "observation"  # it has no hazards


@pytest.mark.parametrize("kind", ["point_goal", "point_goal_few", "observation"])
def test_a_reader_is_written_and_read(kind):
    rows = np.random.default_rng(0).random((5, 60))
    reader = situation_reader(kind, observations=rows)
    again = reader_from_json(reader.to_json(), "a file")
    assert again.names == reader.names
    np.testing.assert_array_equal(again.read(rows), reader.read(rows))
    for damage in ({"kind": "other"}, {"names": ["constant"]}, {"scale": [0.0] * 60}, {"center": [0.0]}):
        with pytest.raises(DataError, match="must hold a reader"):
            reader_from_json({**reader.to_json(), **damage}, "a file")
    with pytest.raises(DataError, match="must hold a reader"):
        reader_from_json({}, "a file")


def test_what_is_refused():
    with pytest.raises(ConfigError, match="60 columns"):
        situation_reader("point_goal", observations=np.zeros((3, 28)))
    with pytest.raises(DataError, match="at least two"):
        situation_reader("auto", observations=np.zeros((1, 60)))
    with pytest.raises(DataError, match="60 numbers"):
        situation_reader("point_goal", observations=np.zeros((3, 60))).read(np.zeros((1, 59)))


def test_a_wrong_shape_raises():
    with pytest.raises(TypeCheckError):
        situation_reader("point_goal", observations=np.zeros((3, 60))).read(np.zeros(60))
