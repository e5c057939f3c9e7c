"""Least-squares policy iteration: where switching pays, it finds when, also where the reward comes later."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError
from unbraid.switching.least_squares import OptionLog, iterate_policy, log_options, train_least_squares
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import situation_reader

SITUATIONS = np.array([[0.0, 0.3], [1.0, -0.2], [0.0, 1.0], [1.0, 0.0]])
READER = situation_reader("observation", observations=SITUATIONS)


def made(icy_road, controllers):
    return OptionWorlds(controllers, icy_road, horizon_steps=5, cost_weight=1, n_envs=8, max_steps=40)


def test_it_learns_when_haste_pays(icy_road, haste_and_care):
    switcher = train_least_squares(made(icy_road, haste_and_care), READER, n_steps=4000)
    assert switcher.choose(SITUATIONS).tolist() == [0, 1, 0, 1]
    assert switcher.method == "least_squares"


def test_one_log_serves_every_weight(icy_road, haste_and_care):
    log = log_options(made(icy_road, haste_and_care), n_steps=4000, seed=1)
    assert log.n_steps == 4000
    assert len(log.modes) == 800
    chosen = [iterate_policy(log, READER, cost_weight=weight).choose(SITUATIONS).tolist() for weight in (0, 1, 1e3)]
    assert chosen[:2] == [[0, 0, 0, 0], [0, 1, 0, 1]]
    assert chosen[2][1] == chosen[2][3] == 1


def test_it_counts_what_comes_later():
    """Mode 1 pays 1 and ends at A; mode 0 pays nothing and leads to B, where whatever is chosen pays 10."""
    at_a, at_b = np.array([0.0, 0.0]), np.array([1.0, 0.0])
    modes = np.tile([0, 1, 0, 1], 50)
    observations = np.tile(np.stack([at_a, at_a, at_b, at_b]), (50, 1))
    after = np.tile(np.stack([at_b, at_a, at_a, at_a]), (50, 1))
    log = OptionLog(
        observations=observations,
        modes=modes,
        returns=np.tile([0.0, 1.0, 10.0, 10.0], 50),
        costs=np.zeros(200),
        next_observations=after,
        is_last=np.zeros(200, dtype=np.bool_),
        n_modes=2,
        horizon_steps=1,
        n_steps=200,
    )
    reader = situation_reader("observation", observations=observations)
    patient, greedy = (iterate_policy(log, reader, cost_weight=0, discount=d) for d in (0.9, 0.0))
    assert patient.choose(at_a[None]).tolist() == [0]
    assert greedy.choose(at_a[None]).tolist() == [1]


def test_the_seed_matters_and_suffices(icy_road, haste_and_care):
    def returns(seed):
        return log_options(made(icy_road, haste_and_care), n_steps=400, seed=seed).returns

    np.testing.assert_array_equal(returns(1), returns(1))
    assert (returns(1) != returns(2)).any()


def test_what_is_refused(icy_road, haste_and_care):
    worlds = made(icy_road, haste_and_care)
    with pytest.raises(ConfigError, match="at least 40"):
        log_options(worlds, n_steps=39)
    log = log_options(worlds, n_steps=80)
    for wrong in ({"cost_weight": -1.0}, {"discount": 1.0}):
        with pytest.raises(ConfigError, match="must be >= 0 and the discount"):
            iterate_policy(log, READER, **{"cost_weight": 0, **wrong})
    with pytest.raises(TypeCheckError):
        log_options(worlds, n_steps=80.5)
