"""A switcher: chosen, held, saved without pickle, and read again."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, ModelError, RunError
from unbraid.evaluation.evaluate import evaluate
from unbraid.switching.guard import Guard
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
