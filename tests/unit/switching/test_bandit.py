"""Bandits: where switching pays, they find when to switch."""

import numpy as np
import pytest
from scipy.stats import norm

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


def learned_bandit(**settings):
    """Of two modes, after 30 decisions of the first and 6 of the second."""
    generator = np.random.default_rng(3)
    bandit = LinearBandit(2, 2, **settings)
    seen = [generator.normal(size=(n, 2)) for n in (30, 6)]
    for mode, rows in enumerate(seen):
        bandit.learn(rows, np.full(len(rows), mode), rows @ [0.2, -0.1] + 0.1 * generator.normal(size=len(rows)))
    covariances = [np.linalg.inv(settings.get("ridge", 1.0) * np.eye(2) + rows.T @ rows) for rows in seen]
    return bandit, covariances


def test_linucb_adds_the_deviation_of_what_it_expects_to_it():
    bandit, covariances = learned_bandit(width=0.1, ridge=2.0)
    situations = np.random.default_rng(4).normal(size=(60, 2))
    expected = [
        int(np.argmax([x @ w + 0.1 * np.sqrt(x @ c @ x) for w, c in zip(bandit.weights, covariances, strict=True)]))
        for x in situations
    ]
    assert set(expected) == {0, 1}
    assert bandit.choose(situations).tolist() == expected


def test_thompson_chooses_a_mode_as_often_as_it_is_likely_to_be_the_best():
    bandit, covariances = learned_bandit(width=0.1, rule="thompson")
    x = np.array([1.0, -1.0])
    gap = (bandit.weights[1] - bandit.weights[0]) @ x
    expected = norm.cdf(gap / (0.1 * np.sqrt(sum(x @ c @ x for c in covariances))))
    assert 0.05 < expected < 0.35 or 0.65 < expected < 0.95
    chosen = bandit.choose(np.tile(x, (20_000, 1)))
    assert chosen.mean() == pytest.approx(expected, abs=0.015)


def test_each_choice_is_remembered_beside_the_situation_that_it_was_made_in(icy_road, haste_and_care):
    worlds, reader = made(icy_road, haste_and_care)
    told = []
    _, history = train_bandit(worlds, reader, n_steps=400, seed=5, on_progress=told.append)
    assert sum(told) == history.n_steps == 400
    observations = worlds.begin(5)
    for first in range(0, len(history.modes), worlds.n_envs):
        now = slice(first, first + worlds.n_envs)
        np.testing.assert_array_equal(history.features[now], reader.read(observations))
        outcome = worlds.hold(history.modes[now])
        np.testing.assert_allclose(history.rewards[now], outcome.rewards)
        observations = outcome.observations


def test_the_regret_is_what_the_best_mode_would_have_brought_more(icy_road, haste_and_care):
    worlds, reader = made(icy_road, haste_and_care)
    switcher, history = train_bandit(worlds, reader, n_steps=400)
    expected = switcher.chooser.scores(history.features)
    missed = [max(row) - row[mode] for row, mode in zip(expected.tolist(), history.modes.tolist(), strict=True)]
    assert max(missed) > 0
    np.testing.assert_allclose(history.regret, np.cumsum(missed))


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
    assert train_bandit(worlds, reader, n_steps=79)[1].n_steps == 40  # at most so many, in whole rounds
    assert train_bandit(worlds, reader, n_steps=40)[1].n_steps == 40
    with pytest.raises(ConfigError, match="at least 40"):
        train_bandit(worlds, reader, n_steps=39)
