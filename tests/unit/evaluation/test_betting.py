"""Bets on a mean: what they are worth, the p-values they give, and the interval of means that they leave."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, DataError
from unbraid.evaluation.betting import FRACTIONS, anytime_p, capital, confidence_sequence

SOME = np.random.default_rng(0).beta(2, 5, size=60)


def test_the_capital_is_the_average_of_bets_that_are_each_worth_it_or_not():
    values = np.array([1.0, 0.0, 0.5])
    expected = [
        np.mean([np.prod([1 - f + f * x / 0.2 for x in values[:n]]) for f in FRACTIONS])
        for n in range(1, len(values) + 1)
    ]
    np.testing.assert_allclose(capital(values, 0.2), expected)
    np.testing.assert_allclose(capital(np.full(9, 0.2), 0.2), 1)
    assert len(FRACTIONS) == 21
    assert 0 < min(FRACTIONS) < 0.01 < 0.99 < max(FRACTIONS) < 1


def test_at_the_doubted_mean_a_bet_is_fair():
    """Over all eight outcomes of three tosses, weighed by their probabilities, the capital is 1."""
    tosses = np.array([[(i >> k) & 1 for k in range(3)] for i in range(8)], dtype=float)
    chances = np.prod(np.where(tosses == 1, 0.3, 0.7), axis=1)
    np.testing.assert_allclose(chances @ capital(tosses, 0.3), 1)
    assert (chances @ capital(tosses, 0.4) < 1).all()
    assert (chances @ capital(tosses, 0.2) > 1).all()


def test_many_repetitions_at_once_are_as_each_alone():
    rows = np.stack([SOME, SOME[::-1]])
    np.testing.assert_array_equal(anytime_p(rows, 0.2), [anytime_p(SOME, 0.2), anytime_p(SOME[::-1], 0.2)])


def test_a_p_value_never_rises_again_and_is_never_0():
    found = anytime_p(np.concatenate([np.ones(50), np.zeros(50)]), 0.5)
    assert (np.diff(found) <= 0).all()
    assert found[0] <= 1
    assert found[-1] == found[49] < 1e-9
    assert 0 < anytime_p(np.ones(5000), 0.01)[-1] < 1e-290
    assert anytime_p(np.zeros(5000), 0.01)[-1] == 1
    assert anytime_p(np.zeros(0), 0.5).shape == (0,)


def test_what_never_happens_is_rarer_than_1_in_10_after_39_episodes():
    """An exact test that looks once needs 29: 0.9^29 < 0.05. docs/guarantees.md says both."""
    assert int((anytime_p(np.ones(100), 0.9) <= 0.05).argmax()) + 1 == 39


def test_the_interval_narrows_and_mirrors():
    ends = [confidence_sequence(SOME[:n]) for n in (0, 10, 30, 60)]
    assert ends[0] == (0.0, 1.0)
    lows, highs = zip(*ends, strict=True)
    assert list(lows) == sorted(lows)
    assert list(highs) == sorted(highs, reverse=True)
    assert lows[-1] < SOME.mean() < highs[-1] < lows[-1] + 0.25
    low, high = confidence_sequence(1 - SOME)
    assert (1 - high, 1 - low) == pytest.approx(ends[-1], abs=1e-6)
    wider = confidence_sequence(SOME, confidence=0.999)
    assert wider[0] < lows[-1] < highs[-1] < wider[1]


def test_the_interval_ends_where_the_p_value_is_a_half_of_the_rest():
    low, high = confidence_sequence(SOME, confidence=0.9)
    assert anytime_p(SOME, low)[-1] == pytest.approx(0.05, rel=1e-4)
    assert anytime_p(1 - SOME, 1 - high)[-1] == pytest.approx(0.05, rel=1e-4)


def test_values_that_never_vary():
    assert confidence_sequence(np.zeros(100))[0] == 0
    assert 0.03 < confidence_sequence(np.zeros(100))[1] < 0.06
    assert confidence_sequence(np.ones(100))[1] == 1
    assert confidence_sequence(np.ones(100))[0] == pytest.approx(1 - confidence_sequence(np.zeros(100))[1], abs=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1.0, -0.1, np.nan])
def test_only_means_between_0_and_1_can_be_doubted(mean):
    with pytest.raises(ConfigError, match="must lie in"):
        capital(SOME, mean)


@pytest.mark.parametrize("bad", [-0.01, 1.01, np.nan])
def test_only_values_between_0_and_1_can_be_bet_on(bad):
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]"):
        anytime_p(np.array([0.5, bad]), 0.5)


def test_a_confidence_is_a_probability():
    with pytest.raises(ConfigError, match="`confidence` must lie in"):
        confidence_sequence(SOME, confidence=95.0)


def test_a_table_is_no_sequence():
    with pytest.raises(TypeCheckError):
        confidence_sequence(np.zeros((2, 3)))
