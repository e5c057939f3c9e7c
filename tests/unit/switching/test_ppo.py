"""PPO on options: it learns when to switch, and its network is ours, number for number."""

import sys
import tempfile

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.switching.options import OptionEnv, OptionWorlds
from unbraid.switching.ppo import network_of, train_ppo, train_switcher
from unbraid.switching.situations import situation_reader

sb3 = pytest.importorskip("stable_baselines3", reason="the extra `switch` is not installed")

SITUATIONS = np.array([[0.0, 0.3], [1.0, -0.2], [0.0, 1.0], [1.0, 0.0]])


def made(icy_road, controllers):
    worlds = OptionWorlds(controllers, icy_road, horizon_steps=5, cost_weight=1, n_envs=8, max_steps=40)
    return worlds, situation_reader("observation", observations=SITUATIONS)


def test_it_learns_when_haste_pays(icy_road, haste_and_care):
    told = []
    worlds, reader = made(icy_road, haste_and_care)
    switcher = train_switcher(worlds, reader, n_steps=8000, seed=0, on_progress=told.append)
    assert switcher.choose(SITUATIONS).tolist() == [0, 1, 0, 1]
    assert 0.8 * 8000 <= sum(told) <= 8000
    assert switcher.method == "ppo"


def test_the_seed_matters_and_suffices(icy_road, haste_and_care):
    def scores(seed):
        worlds, reader = made(icy_road, haste_and_care)
        settings = {"n_epochs": 1, "n_steps": 5}
        switcher = train_switcher(worlds, reader, n_steps=400, seed=seed, settings=settings)
        return switcher.chooser.scores(reader.read(SITUATIONS))

    np.testing.assert_array_equal(scores(0), scores(0))
    assert (scores(0) != scores(1)).any()


def test_it_leaves_no_folder_among_the_temporary_files(icy_road, haste_and_care, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    worlds, reader = made(icy_road, haste_and_care)
    train_ppo(worlds, reader, n_steps=400, settings={"n_epochs": 1, "n_steps": 5})
    assert list(tmp_path.iterdir()) == []


def test_the_network_chooses_as_the_agent_does(icy_road, haste_and_care):
    worlds, reader = made(icy_road, haste_and_care)
    agent = train_ppo(worlds, reader, n_steps=2000, seed=0)
    network = network_of(agent)
    probes = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    theirs, _ = agent.predict(probes, deterministic=True)
    np.testing.assert_array_equal(network.scores(probes).argmax(axis=1), theirs)


def test_any_agent_of_theirs_trains_on_the_environment(icy_road, haste_and_care):
    env = OptionEnv(haste_and_care, icy_road, horizon_steps=5, cost_weight=1, max_steps=40)
    agent = sb3.A2C("MlpPolicy", env, seed=0, device="cpu").learn(20)
    assert env.action_space.contains(agent.predict(SITUATIONS[0], deterministic=True)[0])
    assert network_of(agent).scores(SITUATIONS).shape == (4, 2)


def test_another_network_is_refused(icy_road, haste_and_care):
    import torch

    env = OptionEnv(haste_and_care, icy_road, horizon_steps=5, max_steps=40)
    agent = sb3.PPO("MlpPolicy", env, device="cpu", policy_kwargs={"activation_fn": torch.nn.ReLU})
    with pytest.raises(ConfigError, match="perceptron with tanh"):
        network_of(agent)


def test_too_few_steps(icy_road, haste_and_care):
    with pytest.raises(ConfigError, match="at least 40"):
        train_switcher(*made(icy_road, haste_and_care), n_steps=39)


def test_without_the_extra(icy_road, haste_and_care, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ConfigError, match=r"unbraid\[switch\]"):
        train_switcher(*made(icy_road, haste_and_care), n_steps=400)
