"""Small demonstrations of experts that look alike in s and in a, and differ in what they do with what they see."""

import dataclasses

import numpy as np
import pytest
import torch

from unbraid.demos.episodes import Demos, Episode
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.fit import fit

SLOPES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _small_search(monkeypatch):
    """A third of the width: EM, which solves for every feature, takes a moment."""
    monkeypatch.setattr("unbraid.modes.latents.WIDTH", 16)


def make_reflexes(*, n_labels=2, n_per_label=6, n_steps=40, seed=0, noise=0.1):
    """Expert k acts by a = b_k's (one of four directions in s), plus noise; states wander at random."""
    generator = np.random.default_rng(seed)

    def episode(label):
        observations = generator.normal(size=(n_steps + 1, 3)).astype(np.float32)
        seen = observations[:-1, :2]
        actions = np.stack([seen @ SLOPES[label], seen @ SLOPES[(label + 2) % 4]], axis=1)
        actions = (actions + noise * generator.normal(size=actions.shape)).astype(np.float32)
        return Episode(observations=observations, actions=actions, label=label)

    episodes = [episode(i % n_labels) for i in range(n_labels * n_per_label)]
    return Demos.from_episodes(episodes, label_names=[f"expert {k}" for k in range(n_labels)])


def make_clipped(demos, bound=0.5):
    """The same demonstrations by experts whose actions are clipped."""
    return dataclasses.replace(demos, actions=demos.actions.clip(-bound, bound))


def make_identities(lengths):
    """Every observation row and every action says which (episode, step) it is of."""

    def episode(number, n_steps):
        rows = np.stack([np.full(n_steps + 1, number), np.arange(n_steps + 1)], axis=1).astype(np.float32)
        return Episode(observations=rows, actions=rows[:-1].copy())

    return Demos.from_episodes([episode(number, n_steps) for number, n_steps in enumerate(lengths)])


def make_tiny(method, **settings):
    """The config of a fit that takes a moment."""
    if method == "talk":
        small = {"n_modes": 3, "n_steps": 20, "batch_size": 32, "steps_per_batch": 4}
        return TalkConfig(**(small | {"policy_hidden": (8,), "decoder_hidden": (8,)} | settings))
    small = {"n_modes": 2, "n_steps": 20, "policy_batch": 64, "window_batch": 16, "window_lengths": (5, 10)}
    small |= {"policy_hidden": (16, 16), "encoder_width": 16, "search_steps": 20, "starts": "random"}
    small |= {"calibration": "off"}  # which fits a second model beside the first
    small |= {"weight_decay": 0.5}
    return UnbraidConfig(**(small | settings))


def make_fit_in_two(demos, config, options, stop_after):
    """The model of a fit that stops at the first line of metrics after a step, and goes on from its checkpoint."""

    class Stop(Exception):
        pass

    def stop(line):
        if line["step"] > stop_after:
            raise Stop

    with pytest.raises(Stop):
        fit(demos, config, dataclasses.replace(options, on_log=stop))
    return fit(demos, config, dataclasses.replace(options, resume=True))


@pytest.fixture(scope="session")
def fit_in_two():
    return make_fit_in_two


@pytest.fixture(scope="session")
def reflexes():
    return make_reflexes


@pytest.fixture(scope="session")
def clipped():
    return make_clipped


@pytest.fixture(scope="session")
def identities():
    return make_identities


@pytest.fixture(scope="session")
def tiny():
    return make_tiny


@pytest.fixture(scope="session")
def demos():
    return make_reflexes()


@pytest.fixture(scope="session")
def same_weights():
    def same(one, other):
        first, second = one.state_dict(), other.state_dict()
        return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)

    return same
