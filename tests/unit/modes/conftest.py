"""Small piles of spans, in scaled units, whose experts differ in what they do or in where they end."""

import numpy as np
import pytest
import torch

from unbraid.modes.evidence import Recorded

SLOPES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_recorded(observations, actions):
    """Lists of (T + 1, obs) and (T, act) tables, one a span, as a search sees them."""
    lengths = [len(a) for a in actions]
    first = np.cumsum([0, *(n + 1 for n in lengths)])[:-1]
    return Recorded(
        torch.from_numpy(np.concatenate(observations).astype(np.float32)),
        torch.from_numpy(np.concatenate([start + np.arange(n) for start, n in zip(first, lengths, strict=True)])),
        torch.from_numpy(np.concatenate(actions).astype(np.float32)),
        torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)),
    )


def make_reflexes(n_experts, *, n_per_expert=8, n_steps=40, seed=0, noise=0.3):
    """(recorded, label of each span): expert k acts by a = b_k's, which moves nothing; states wander at random."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n_experts * n_per_expert) % n_experts
    observations, actions = [], []
    for label in labels:
        seen = generator.normal(size=(n_steps + 1, 3))
        done = np.stack([seen[:-1, :2] @ SLOPES[label], seen[:-1, :2] @ SLOPES[(label + 2) % 4]], axis=1)
        observations.append(seen)
        actions.append(done + noise * generator.normal(size=done.shape))
    return make_recorded(observations, actions), labels


def make_drifters(n_experts=2, *, n_per_expert=10, n_steps=40, seed=0, drift=0.05):
    """(recorded, label of each span): actions are the same noise for everybody, positions drift to different ends."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n_experts * n_per_expert) % n_experts
    observations, actions = [], []
    for label in labels:
        moves = 0.1 * generator.normal(size=(n_steps, 2))
        moves[:, 0] += drift * (1 if label == 0 else -1)
        places = np.concatenate([np.zeros((1, 2)), moves.cumsum(0)]) + 0.5 * generator.normal(size=2)
        observations.append(places)
        actions.append(generator.normal(size=(n_steps, 2)))
    return make_recorded(observations, actions), labels


def make_at_own_strengths(*, n_per_expert=24, n_steps=40, seed=0, noise=0.3):
    """(recorded, label of each span): two experts lean to either side of what they do, each episode as strongly as it
    will."""
    generator = np.random.default_rng(seed)
    labels = np.arange(2 * n_per_expert) % 2
    observations, actions = [], []
    for label in labels:
        seen, strength = generator.normal(size=(n_steps + 1, 3)), np.exp(0.85 * generator.uniform(-1, 1))
        done = np.stack([strength * seen[:-1, 0], (0.35, -0.35)[label] * seen[:-1, 1]], axis=1)
        observations.append(seen)
        actions.append(done + noise * generator.normal(size=done.shape))
    return make_recorded(observations, actions), labels


def same_partition(found, labels):
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(found.tolist()))


@pytest.fixture(scope="session")
def recorded_of():
    return make_recorded


@pytest.fixture(scope="session")
def reflexes():
    return make_reflexes


@pytest.fixture(scope="session")
def drifters():
    return make_drifters


@pytest.fixture(scope="session")
def at_own_strengths():
    return make_at_own_strengths


@pytest.fixture(scope="session")
def tells_apart():
    """Whether modes and labels are the same partition."""
    return same_partition
