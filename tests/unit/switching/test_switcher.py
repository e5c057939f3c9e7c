"""A switcher: chosen, held, saved without pickle, and read again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, ModelError, RunError
from unbraid.evaluation.certify import policy_facts
from unbraid.evaluation.evaluate import evaluate
from unbraid.steering.steered import steer
from unbraid.switching.bandit import train_bandit
from unbraid.switching.guard import Guard
from unbraid.switching.options import OptionWorlds, Origin
from unbraid.switching.preferences import Preferences
from unbraid.switching.situations import situation_reader
from unbraid.switching.switcher import (
    LinearScores,
    PreferredModes,
    SmallNetwork,
    SwitchedPolicy,
    Switcher,
    load_switcher,
)
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

SITUATIONS = np.array([[0.0, 0.3], [1.0, -0.2], [0.0, 1.0], [1.0, 0.0]])
READER = situation_reader("observation", observations=SITUATIONS)


def network():
    generator = np.random.default_rng(0)
    shapes = ((4, 3), (4, 4), (2, 4))
    return SmallNetwork(
        tuple((generator.normal(size=s).astype(np.float32), np.zeros(s[0], dtype=np.float32)) for s in shapes)
    )


def preferred():
    known = Preferences(2, 3)
    return PreferredModes(known.answered(np.array([1.0, 0.5, 0.0]), 1, 0, "left"))


CHOOSERS = [network(), LinearScores(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])), preferred()]
GUARD = Guard((1,), 0.5, np.array([0.0, 1.0, 0.0]), np.array([0.0]), np.array([0.2, 3.0]), np.array([9, 9]), 0.05)


@pytest.mark.parametrize("chooser", CHOOSERS, ids=["network", "linear", "preferences"])
@pytest.mark.parametrize("guard", [None, GUARD], ids=["free", "guarded"])
def test_it_is_saved_and_read(tmp_path, chooser, guard):
    switcher = Switcher("ppo", READER, chooser, 2, 5, guard)
    switcher.save(tmp_path / "switcher")
    again = load_switcher(tmp_path / "switcher")
    assert (again.method, again.n_modes, again.horizon_steps) == ("ppo", 2, 5)
    rows = np.random.default_rng(1).normal(size=(50, 2))
    features = READER.read(rows)
    np.testing.assert_array_equal(again.chooser.scores(features), chooser.scores(features))
    np.testing.assert_array_equal(again.choose(rows), switcher.choose(rows))
    assert {path.suffix for path in (tmp_path / "switcher").iterdir()} <= {".json", ".safetensors"}
    with pytest.raises(RunError, match="must not exist"):
        switcher.save(tmp_path / "switcher")


def test_a_guard_limits_the_choice():
    free = Switcher("bandit", READER, LinearScores(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), 2, 5)
    assert free.choose(SITUATIONS).tolist() == [0, 0, 0, 0]
    assert replace(free, guard=GUARD).choose(SITUATIONS).tolist() == [0, 1, 0, 1]  # where it is icy, mode 1 alone


def test_a_mode_is_held(icy_road, haste_and_care):
    switcher = Switcher("bandit", READER, LinearScores(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])), 2, 5)
    found = evaluate(SwitchedPolicy(haste_and_care, switcher), icy_road, n_episodes=6, max_steps=40)
    assert found.metrics["cost"].value == 0
    for episode in found.rollouts.demos:
        actions = episode.actions[:, 0].reshape(8, 5)
        assert (actions == actions[:, :1]).all()
        np.testing.assert_array_equal(actions[:, 0] == 0.25, episode.observations[0:40:5, 0] == 1)


def test_a_hasty_horizon_follows_the_road_late(icy_road, haste_and_care):
    """Held for 10 steps, a mode outlasts the ice that it was chosen for."""
    switcher = Switcher("bandit", READER, LinearScores(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])), 2, 10)
    found = evaluate(SwitchedPolicy(haste_and_care, switcher), icy_road, n_episodes=6, max_steps=40)
    assert found.metrics["cost"].value > 0


def test_another_policy_is_refused(haste_and_care):
    switcher = Switcher("bandit", READER, LinearScores(np.zeros((2, 3))), 2, 5)
    with pytest.raises(ConfigError, match="2 modes; it has 3"):
        SwitchedPolicy([*haste_and_care, haste_and_care[0]], switcher)


def _model(seed, n_modes=2):
    torch.manual_seed(seed)
    return ModeModel(UnbraidConfig(n_modes=n_modes), observation_size=2, action_size=1).eval()


def test_what_it_was_learned_on_is_kept_and_another_model_is_refused(icy_road, tmp_path):
    model = _model(0)
    worlds = OptionWorlds(model, icy_road, horizon_steps=5, cost_weight=0.5, n_envs=2, max_steps=40)
    switcher, _ = train_bandit(worlds, READER, n_steps=40, seed=0)
    worlds.close()
    assert switcher.origin == Origin(model.fingerprint(), "IcyRoad", 0.5)
    switcher.save(tmp_path / "switcher")
    again = load_switcher(tmp_path / "switcher")
    assert again.origin == switcher.origin
    SwitchedPolicy(model, again)
    with pytest.raises(ConfigError, match=r"model that it was learned on, with weights_sha256 .* learn again\."):
        SwitchedPolicy(_model(1), again)
    path = tmp_path / "switcher" / "switcher.json"
    content = json.loads(path.read_text())
    del content["origin"]  # as switchers of before
    path.write_text(json.dumps(content))
    assert load_switcher(tmp_path / "switcher").origin is None
    SwitchedPolicy(_model(1), load_switcher(tmp_path / "switcher"))


def test_controllers_of_ones_own_have_no_weights(icy_road, haste_and_care):
    worlds = OptionWorlds(haste_and_care, icy_road, horizon_steps=5, n_envs=1, max_steps=40)
    assert worlds.origin == Origin(None, "IcyRoad", 0.0)
    assert not worlds.tells_costs
    worlds.hold(np.zeros(1, dtype=np.int64))
    assert worlds.tells_costs
    worlds.close()


def test_a_fingerprint_is_of_all_that_decides():
    linear = Switcher("bandit", READER, LinearScores(np.zeros((2, 3))), 2, 5)
    others = [
        replace(linear, chooser=LinearScores(np.ones((2, 3)))),
        replace(linear, chooser=preferred()),
        replace(linear, horizon_steps=6),
        replace(linear, guard=GUARD),
    ]
    assert len({one.fingerprint() for one in (linear, *others)}) == 5
    assert replace(linear, origin=Origin("a", "b", 0.0)).fingerprint() == linear.fingerprint()
    facts = policy_facts(SwitchedPolicy(_model(0), linear))
    assert facts["weights_sha256"] == _model(0).fingerprint()
    assert facts["rule"] == {"switcher_sha256": linear.fingerprint()}
    assert [part["instruction"]["mode"] for part in facts["parts"]] == [0, 1]


def test_a_policy_that_has_no_fingerprint_says_so(haste_and_care):
    class Own:
        def scores(self, features):
            return features[:, :2]

    linear = Switcher("bandit", READER, LinearScores(np.zeros((2, 3))), 2, 5)
    for policy in (SwitchedPolicy(_model(0), replace(linear, chooser=Own())), SwitchedPolicy(haste_and_care, linear)):
        assert policy_facts(policy)["weights_sha256"] is None


def test_it_predicts_as_stable_baselines_asks(icy_road):
    """A mode is held by what `state` carries, also beside another episode."""
    switcher = Switcher("bandit", READER, LinearScores(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])), 2, 5)
    policy = SwitchedPolicy(_model(0), switcher)
    clear, icy = np.array([0.0, 0.1]), np.array([1.0, 0.1])
    modes = [steer(_model(0)).toward(mode) for mode in (0, 1)]
    state, acted = None, []
    for _ in range(6):
        action, state = policy.predict(clear if state is None else icy, state, deterministic=True)
        acted.append(action)
    wanted = [modes[mode].predict(seen, deterministic=True)[0] for mode, seen in ((0, clear), (0, icy), (1, icy))]
    np.testing.assert_allclose(acted, [wanted[0], *[wanted[1]] * 4, wanted[2]], atol=1e-6)
    both, state = policy.predict(np.stack([icy, icy]), (np.array([[0.0, 3.0]] * 2),), np.array([False, True]))
    assert both.shape == (2, 1)
    assert state[0].tolist() == [[0.0, 2.0], [1.0, 4.0]]


def test_stable_baselines_evaluates_it(icy_road):
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    switcher = Switcher("bandit", READER, LinearScores(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])), 2, 5)
    worlds = vec_env.DummyVecEnv([icy_road, icy_road])
    returns, lengths = evaluation.evaluate_policy(
        SwitchedPolicy(_model(0), switcher), worlds, n_eval_episodes=4, return_episode_rewards=True, warn=False
    )
    assert lengths == [40] * 4
    assert np.isfinite(returns).all()


def test_without_a_model_it_does_not_know_how_wide_actions_are(haste_and_care):
    switcher = Switcher("bandit", READER, LinearScores(np.zeros((2, 3))), 2, 5)
    with pytest.raises(ConfigError, match="must know how many columns an action has, from a model; got a Steady"):
        SwitchedPolicy(haste_and_care, switcher).predict(np.zeros(2))


def test_a_chooser_of_ones_own_is_not_saved(tmp_path):
    class Own:
        def scores(self, features):
            return features[:, :2]

    with pytest.raises(ConfigError, match="must be a network"):
        Switcher("own", READER, Own(), 2, 5).save(tmp_path / "own")
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"version": 2}, "version 1"),
        ({"n_modes": 3}, "scores 2 modes, of 3"),
        ({"n_layers": 9}, "it lacks"),
        ({"horizon_steps": "long"}, "whole switcher"),
        ({"horizon_steps": 0}, "whole switcher"),
    ],
)
def test_a_damaged_switcher_is_refused(tmp_path, damage, said):
    Switcher("ppo", READER, network(), 2, 5).save(tmp_path / "switcher")
    path = tmp_path / "switcher" / "switcher.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(ModelError, match=said):
        load_switcher(tmp_path / "switcher")


def test_damaged_weights_are_refused(tmp_path):
    Switcher("ppo", READER, network(), 2, 5).save(tmp_path / "switcher")
    (tmp_path / "switcher" / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0 nothing")
    with pytest.raises(ModelError, match="must be readable"):
        load_switcher(tmp_path / "switcher")
    with pytest.raises(ModelError, match="no such file"):
        load_switcher(tmp_path)
