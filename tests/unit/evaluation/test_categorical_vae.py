"""The categorical VAE finds reflexes that no statistic of s or a shows; the seed suffices, labels are not read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation import categorical_vae as module
from unbraid.evaluation.baselines import kmeans_episodes
from unbraid.evaluation.categorical_vae import categorical_vae
from unbraid.evaluation.scores import agreement
from unbraid.modes.windows import cut_windows


def reflexes(n_per_label: int, *, seed: int, n_steps: int = 30) -> Demos:
    """Two experts that see the same and act alike on average: a = s or a = -s. Every fourth episode is shorter."""
    generator = np.random.default_rng(seed)

    def episode(i: int) -> Episode:
        n = n_steps - 7 * (i % 4 == 3)
        observations = np.column_stack([generator.normal(3, 2, size=n + 1), np.full(n + 1, 0.1)])
        actions = (1 - 2 * (i % 2)) * (observations[:-1, :1] - 3) + 0.2 * generator.normal(size=(n, 1))
        return Episode(observations, actions, label=i % 2)

    return Demos.from_episodes([episode(i) for i in range(2 * n_per_label)], label_names=("along", "against"))


def nmi_of(labels: np.ndarray, modes: np.ndarray) -> float:
    return agreement(labels, modes, np.arange(len(modes)), generator=np.random.default_rng(0), n_resamples=10).nmi.value


@pytest.mark.parametrize("window_steps", [pytest.param(None, marks=pytest.mark.slow), 20])
def test_opposite_reflexes_are_told_apart(window_steps: int | None) -> None:
    train, held_out = reflexes(20, seed=0), reflexes(10, seed=1)
    assert held_out.labels is not None
    labels = held_out.labels[cut_windows(held_out.lengths, window_steps).episodes]

    def nmi(n_gradient_steps: int) -> float:
        modes = categorical_vae(
            train, held_out, n_modes=2, window_steps=window_steps, seed=0, n_gradient_steps=n_gradient_steps
        )
        return nmi_of(labels, modes)

    assert nmi(300) > 0.9
    assert nmi(1) < 0.5  # it is learned, not given
    assert nmi_of(held_out.labels, kmeans_episodes(train, held_out, n_modes=2, seed=0)) < 0.5


def test_there_is_one_mode_for_every_window_that_is_cut() -> None:
    train, held_out = reflexes(3, seed=0), reflexes(3, seed=1, n_steps=90)  # held-out episodes are longer
    for window_steps, stride_steps in ((None, 5), (10, 5), (80, 3)):  # and windows longer than what trained
        modes = categorical_vae(
            train,
            held_out,
            n_modes=3,
            window_steps=window_steps,
            stride_steps=stride_steps,
            seed=0,
            n_gradient_steps=2,
        )
        assert modes.shape == (len(cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)),)
        assert set(modes.tolist()) <= {0, 1, 2}


def test_the_seed_suffices_and_matters_and_touches_no_other_and_labels_change_nothing() -> None:
    train, held_out = reflexes(4, seed=0), reflexes(4, seed=1)

    def modes(train: Demos, held_out: Demos, seed: int) -> list[int]:
        return categorical_vae(train, held_out, n_modes=4, window_steps=10, seed=seed, n_gradient_steps=5).tolist()

    before = torch.random.get_rng_state()
    first = modes(train, held_out, 0)
    torch.rand(3)
    unlabelled = replace(train, labels=None, label_names=())
    assert first == modes(train, held_out, 0) == modes(unlabelled, held_out.without_labels(), 0)
    assert len({tuple(modes(train, held_out, seed)) for seed in range(4)}) > 1
    torch.random.set_rng_state(before)
    modes(train, held_out, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_steps_are_read_in_order_and_within_their_span() -> None:
    starts, lengths = np.array([0, 100]), np.array([5, 1000])
    for offset in (0.0, 0.5, 1 - 1e-16):
        places = module._places(starts, lengths, np.full((2, 10), offset)).numpy()
        assert places.shape == (2, 10)
        assert (np.diff(places, axis=1) >= 0).all()
        assert (places >= starts[:, None]).all()
        assert (places < (starts + lengths)[:, None]).all()
    assert module._places(starts[:1], lengths[:1], np.full((1, 5), 0.5)).tolist() == [[0, 1, 2, 3, 4]]
    assert module._places(starts[1:], lengths[1:], np.full((1, 2), 0.5)).tolist() == [[350, 850]]


def test_the_divergence_is_that_from_the_uniform() -> None:
    found = module._divergence(torch.tensor([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0], [0.0, 0.0, -100.0, -100.0]]))
    np.testing.assert_allclose(found.numpy(), np.log([1, 4, 2]), atol=1e-5)


def test_the_policy_scores_actions_as_a_gaussian() -> None:
    policy = module._Policy(3, 2, 4)
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([0.5, -9.0]))  # the second is held at -4
        states, actions, codes = torch.randn(5, 6, 3), torch.randn(5, 6, 2), torch.eye(4)[[0, 1, 2, 3, 0]]
        mean = policy.mean(torch.cat([states, codes[:, None].expand(5, 6, 4)], dim=2))
        expected = torch.distributions.Normal(mean, torch.tensor([0.5, -4.0]).exp()).log_prob(actions).sum(-1)
        torch.testing.assert_close(policy(states, actions, codes), expected)


@pytest.mark.parametrize(("n_modes", "window_steps"), [(0, 10), (7, None), (2, 31)])
def test_too_many_modes_or_no_window_are_refused(n_modes: int, window_steps: int | None) -> None:
    demos = reflexes(3, seed=0)
    with pytest.raises(ConfigError, match=r"needs at least \d .* got 6 and \d+ and K = \d\. Use"):
        categorical_vae(demos, demos, n_modes=n_modes, window_steps=window_steps, seed=0)


def test_an_episode_without_steps_is_no_trajectory() -> None:
    demos = reflexes(2, seed=0)
    with_nothing = Demos.from_episodes([*demos.without_labels(), Episode(np.zeros((1, 2)), np.zeros((0, 1)))])
    with pytest.raises(ConfigError, match="got 4 and"):
        categorical_vae(with_nothing, demos, n_modes=5, seed=0)
    assert categorical_vae(with_nothing, with_nothing, n_modes=2, seed=0, n_gradient_steps=2).shape == (4,)


def test_a_wrong_shape_raises_in_the_tests() -> None:
    with pytest.raises(TypeCheckError):
        module._divergence(torch.zeros(3))
