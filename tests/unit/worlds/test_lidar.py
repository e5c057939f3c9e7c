"""The lidar: order, aliasing, range, and the nearest thing in a bin."""

import math

import jaxtyping
import numpy as np
import pytest

from unbraid.worlds.lidar import LIDAR_BINS, lidar_readings

BIN_RAD = 2.0 * math.pi / LIDAR_BINS


def read(distance_m, bearing_rad):
    """The 16 readings of one robot that sees things of one kind."""
    distances = np.atleast_2d(np.asarray(distance_m, dtype=np.float64))
    bearings = np.atleast_2d(np.asarray(bearing_rad, dtype=np.float64))
    return lidar_readings(distances, bearings, np.zeros(distances.shape[1], dtype=np.int64), 1)[0]


@pytest.mark.parametrize("index", range(LIDAR_BINS))
def test_a_thing_in_a_bin_shows_in_it_and_in_both_neighbours(index):
    alpha = 0.3
    readings = read(1.2, (index + alpha) * BIN_RAD)
    expected = np.zeros(LIDAR_BINS)
    expected[index] = 0.6
    expected[(index + 1) % LIDAR_BINS] = alpha * 0.6
    expected[(index - 1) % LIDAR_BINS] = (1.0 - alpha) * 0.6
    np.testing.assert_allclose(readings, expected, atol=1e-12)


def test_readings_follow_the_definition_on_random_worlds():
    rng = np.random.default_rng(3)
    distances = rng.uniform(0.0, 4.0, (7, 9))
    bearings = rng.uniform(-20.0, 20.0, (7, 9))
    kinds = np.array([0, 1, 1, 1, 1, 2, 2, 2, 2])
    expected = np.zeros((7, 3, LIDAR_BINS))
    for env in range(7):
        for thing in range(9):
            value = max(0.0, 3.0 - distances[env, thing]) / 3.0
            angle = bearings[env, thing] % (2.0 * math.pi)
            index = int(angle / BIN_RAD)
            alpha = angle / BIN_RAD - index
            row = expected[env, kinds[thing]]
            for where, reading in ((index, value), (index + 1, alpha * value), (index - 1, (1.0 - alpha) * value)):
                row[where % LIDAR_BINS] = max(row[where % LIDAR_BINS], reading)
    readings = lidar_readings(distances, bearings, kinds, 3)
    np.testing.assert_allclose(readings, expected.reshape(7, -1), atol=1e-12)


def test_the_nearest_of_a_kind_counts():
    np.testing.assert_allclose(read([2.4, 0.6], [0.5 * BIN_RAD, 0.5 * BIN_RAD])[0], 0.8)


def test_beyond_three_metres_nothing_is_seen():
    assert not read([3.0, 50.0], [0.1, 2.0]).any()


def test_a_whole_turn_and_a_hair_less_than_none_are_straight_ahead():
    for bearing in (0.0, 2.0 * math.pi, -2.0 * math.pi, -1e-17):
        readings = read(0.0, bearing)
        assert readings[0] == pytest.approx(1.0)
        assert readings[15] == pytest.approx(1.0)


def test_readings_are_continuous_across_bins():
    np.testing.assert_allclose(read(1.0, 4 * BIN_RAD - 1e-9), read(1.0, 4 * BIN_RAD + 1e-9), atol=1e-8)


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        lidar_readings(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(3, dtype=np.int64), 1)
