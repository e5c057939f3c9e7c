"""Bandits: where switching pays, they find when to switch."""

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.evaluation.evaluate import evaluate
from unbraid.switching.bandit import LinearBandit, train_bandit
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import situation_reader
from unbraid.switching.switcher import SwitchedPolicy

SITUATIONS = np.array([[0.0, 0.3], [1.0, -0.2], [0.0, 1.0], [1.0, 0.0]])


def made(icy_road, controllers):
    worlds = OptionWorlds(controllers, icy_road, horizon_steps=5, cost_weight=1, n_envs=8, max_steps=40)
    return worlds, situation_reader("observation", observations=SITUATIONS)


@pytest.mark.parametrize("rule", ["linucb", "thompson"])
def test_it_learns_when_haste_pays(icy_road, haste_and_care, rule):
    worlds, reader = made(icy_road, haste_and_care)
    switcher, history = train_bandit(worlds, reader, n_steps=4000, seed=1, rule=rule)
    assert switcher.choose(SITUATIONS).tolist() == [0, 1, 0, 1]
    assert history.n_steps == 4000
    assert len(history.regret) == 800
    gained = np.diff(history.regret)
    assert gained[:100].mean() > 5 * gained[-200:].mean() >= 0  # it errs first, and then less and less
    policy = SwitchedPolicy(haste_and_care, switcher)
    objective = {}
    for name, actor in (("switched", policy), ("haste", haste_and_care[0]), ("care", haste_and_care[1])):
        found = evaluate(actor, icy_road, n_episodes=32, max_steps=40)
        objective[name] = found.values["return"] - found.values["cost"]
    assert (objective["switched"] >= np.maximum(objective["haste"], objective["care"]) - 1e-4).all()
    assert objective["switched"].mean() > max(objective["haste"].mean(), objective["care"].mean()) + 3


def test_the_seed_matters_and_suffices(icy_road, haste_and_care):
    def learned(seed):
        worlds, reader = made(icy_road, haste_and_care)
        return train_bandit(worlds, reader, n_steps=400, seed=seed, rule="thompson")[1]

    np.testing.assert_array_equal(learned(1).rewards, learned(1).rewards)
    assert (learned(1).features != learned(2).features).any()


def test_its_weights_are_those_of_ridge_regression():
    generator = np.random.default_rng(0)
    features, rewards = generator.normal(size=(50, 3)), generator.normal(size=50)
    modes = generator.integers(2, size=50)
    bandit = LinearBandit(2, 3, ridge=0.7)
    bandit.learn(features[:20], modes[:20], rewards[:20])
    bandit.learn(features[20:], modes[20:], rewards[20:])
    for mode in range(2):
        x, y = features[modes == mode], rewards[modes == mode]
        np.testing.assert_allclose(bandit.weights[mode], np.linalg.solve(x.T @ x + 0.7 * np.eye(3), x.T @ y))


def test_linucb_tries_what_it_knows_least():
    bandit = LinearBandit(2, 1, width=1.0)
    bandit.learn(np.ones((20, 1)), np.zeros(20, dtype=np.int64), np.full(20, 0.1))
    assert bandit.choose(np.ones((1, 1))).tolist() == [1]
    assert LinearBandit(2, 1, width=0.0).choose(np.ones((1, 1))).tolist() == [0]


def test_the_regret_for_a_picture(icy_road, haste_and_care):
    worlds, reader = made(icy_road, haste_and_care)
    _, history = train_bandit(worlds, reader, n_steps=400)
    told = history.regret_json(n_points=10)
    assert told["decision"][0] == 1
    assert told["decision"][-1] == len(history.modes)
    assert told["regret"][-1] == pytest.approx(history.regret[-1], abs=1e-4)


def test_what_is_refused(icy_road, haste_and_care):
    for wrong in ({"width": -1.0}, {"ridge": 0.0}):
        with pytest.raises(ConfigError, match="A bandit needs"):
            LinearBandit(2, 2, **wrong)
    with pytest.raises(ConfigError, match="A bandit needs"):
        LinearBandit(1, 2)
    worlds, reader = made(icy_road, haste_and_care)
    with pytest.raises(ConfigError, match="at least 40"):
        train_bandit(worlds, reader, n_steps=39)
