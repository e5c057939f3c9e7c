"""Latents: spans of different experts lie apart, those of one expert don't fall into groups."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from unbraid.modes.evidence import kinds_of_evidence
from unbraid.modes.latents import span_latents

STEPS = 150


def latents_of(recorded, seed=0, asked="both", n_steps=STEPS):
    return span_latents(recorded, kinds_of_evidence(recorded, asked), np.random.default_rng(seed), n_steps=n_steps)


def groups_of_two(means):
    return KMeans(2, n_init=5, random_state=0).fit_predict(means)


def test_two_experts_lie_apart(reflexes, tells_apart):
    recorded, labels = reflexes(2, seed=0)
    means = latents_of(recorded).means
    assert means.shape == (16, 8)
    found = groups_of_two(means)
    assert tells_apart(found, labels)
    assert silhouette_score(means, labels) > 0.5
    towards = means[labels == 0].mean(0) - means[labels == 1].mean(0)
    along = means @ towards  # one line tells them apart
    assert along[labels == 0].min() > along[labels == 1].max()


def test_one_expert_is_no_two_groups(reflexes):
    means = latents_of(reflexes(1, n_per_expert=16)[0]).means
    assert silhouette_score(means, groups_of_two(means)) < 0.35


def test_experts_that_end_elsewhere_lie_apart(drifters, tells_apart):
    recorded, labels = drifters()
    assert tells_apart(groups_of_two(latents_of(recorded, asked="transitions").means), labels)


def test_features_are_what_the_network_makes_of_states_and_one(reflexes):
    recorded, _ = reflexes(2)
    found = latents_of(recorded, n_steps=5)
    features = found.features_of(recorded.states)
    assert features.shape == (len(recorded.spans), 49)
    assert torch.equal(features[:, -1], torch.ones(len(features)))
    assert torch.equal(features[:, :-1], found.network(recorded.states).detach())
    assert not features.requires_grad


def test_kinds_come_back_with_shares_that_follow_from_the_data(recorded_of):
    """Hands that move smoothly say less a step than hands that jump."""
    generator = np.random.default_rng(0)
    observations = [generator.normal(size=(101, 2)) for _ in range(8)]
    phases = generator.uniform(0, 6, size=8)
    jumping = recorded_of(observations, [generator.normal(size=(100, 1)) for _ in range(8)])
    smooth = recorded_of(observations, [np.sin(np.arange(100) / 15 + p)[:, None] for p in phases])
    shares = [latents_of(pile, asked="actions", n_steps=20).kinds[0].share for pile in (jumping, smooth)]
    assert shares[0] == pytest.approx(1, abs=0.1)
    assert shares[1] < 0.2


def test_the_seed_suffices_and_matters(reflexes):
    recorded, _ = reflexes(2)
    first, again, other = (latents_of(recorded, seed, n_steps=10).means for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_the_global_generators_are_left_alone(reflexes):
    recorded, _ = reflexes(2)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    latents_of(recorded, n_steps=5)
    assert torch.equal(torch.rand(3), expected)
