"""The schedule of a learning rate."""

import pytest

from unbraid.core.schedule import scheduled


def test_the_rate_warms_up_and_comes_down_to_nothing():
    rates = [scheduled(taken, 200) for taken in range(200)]
    assert rates[0] == pytest.approx(1 / 50)
    assert max(rates) == pytest.approx(rates[49])
    assert rates[-1] < 1e-3
