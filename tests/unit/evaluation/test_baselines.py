"""K-means finds what statistics tell apart, the supervised bound what a look at (s, a) does; both repeat exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.baselines import kmeans_episodes, kmeans_windows, supervised_fit
from unbraid.evaluation.scores import agreement
from unbraid.modes.windows import cut_windows
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit

NAMES = ("left", "right", "wild")


def reflexes(n_per_label: int, *, seed: int, n_steps: int = 120) -> Demos:
    """Three experts that look alike in s and in the mean of a: a = s, a = -s, or noise; a fourth column is constant."""
    generator = np.random.default_rng(seed)

    def episode(label: int) -> Episode:
        observations = np.concatenate([generator.normal(size=(n_steps + 1, 2)), np.full((n_steps + 1, 1), 0.1)], 1)
        seen = observations[:-1, :1]
        actions = (seen, -seen, generator.normal(size=(n_steps, 1)))[label] + 0.1 * generator.normal(size=(n_steps, 1))
        return Episode(observations=observations, actions=actions, label=label)

    return Demos.from_episodes([episode(i % 3) for i in range(3 * n_per_label)], label_names=NAMES)


def speeds(n_per_label: int, *, seed: int) -> Demos:
    """Two experts whose states and actions differ in mean: what k-means can see."""
    generator = np.random.default_rng(seed)

    def episode(label: int) -> Episode:
        mean = 4.0 * label - 2
        return Episode(generator.normal(mean, size=(61, 2)), generator.normal(mean, size=(60, 1)))

    return Demos.from_episodes([episode(i % 2) for i in range(2 * n_per_label)])


def nmi_of(labels: np.ndarray, modes: np.ndarray) -> float:
    return agreement(labels, modes, np.arange(len(modes)), generator=np.random.default_rng(0), n_resamples=10).nmi.value


def test_kmeans_finds_what_statistics_tell_apart() -> None:
    train, held_out = speeds(6, seed=0), speeds(4, seed=1)
    windows = cut_windows(held_out.lengths, 20)
    modes = kmeans_windows(train, held_out, n_modes=2, window_steps=20, seed=0)
    assert modes.shape == (len(windows),)
    assert nmi_of(windows.episodes % 2, modes) == pytest.approx(1)
    assert nmi_of(np.arange(8) % 2, kmeans_episodes(train, held_out, n_modes=2, seed=0)) == pytest.approx(1)


def test_kmeans_is_blind_to_what_an_expert_does_with_what_it_sees() -> None:
    train, held_out = reflexes(4, seed=0), reflexes(4, seed=1)
    windows = cut_windows(held_out.lengths, 25)
    modes = kmeans_windows(train, held_out, n_modes=3, window_steps=25, seed=0)
    assert held_out.labels is not None
    assert nmi_of(held_out.labels[windows.episodes], modes) < 0.3


def test_kmeans_seed_suffices_and_labels_change_nothing() -> None:
    train, held_out = reflexes(4, seed=0), reflexes(2, seed=1)

    def modes(demos: Demos, seed: int) -> list[int]:
        return kmeans_windows(demos, held_out, n_modes=3, window_steps=25, seed=seed).tolist()

    assert modes(train, 0) == modes(train, 0) == modes(train.without_labels(), 0)
    assert len({tuple(modes(train, seed)) for seed in range(5)}) > 1


def test_kmeans_takes_episodes_of_different_lengths() -> None:
    demos = speeds(3, seed=0)
    longer = Episode(np.random.default_rng(9).normal(2, size=(100, 2)), np.full((99, 1), 2.0))
    mixed = Demos.from_episodes([*demos, longer])
    modes = kmeans_episodes(demos, mixed, n_modes=2, seed=0)
    assert modes.shape == (7,)
    assert modes[6] == modes[1]


@pytest.mark.parametrize(("n_modes", "window_steps"), [(0, 10), (7, None), (2, 61)])
def test_kmeans_without_enough_windows_is_refused(n_modes: int, window_steps: int | None) -> None:
    demos = speeds(3, seed=0)
    with pytest.raises(ConfigError, match="K-means needs"):
        kmeans_windows(demos, demos, n_modes=n_modes, window_steps=window_steps, seed=0)


SMALL = UnbraidConfig(n_steps=150, policy_batch=128, window_batch=32, policy_hidden=(32, 32))


def test_the_supervised_fit_reads_reflexes() -> None:
    bound = supervised_fit(reflexes(6, seed=0), SMALL)
    assert (bound.n_modes, bound.search) == (3, None)
    held_out = reflexes(4, seed=1)
    windows = cut_windows(held_out.lengths, 25)
    assert held_out.labels is not None
    found = bound.predict(held_out, window_steps=25, evidence="encoder")
    assert found.shape == (len(windows),)
    assert nmi_of(held_out.labels[windows.episodes], found) > 0.9
    assert bound.predict(held_out).tolist() == held_out.labels.tolist()


def test_told_what_a_fit_finds_in_its_order_the_supervised_fit_is_that_fit() -> None:
    demos = reflexes(6, seed=0)
    config = replace(SMALL, n_modes=3, refine_steps=5, search_steps=100)
    found = fit(demos.without_labels(), config)
    told = supervised_fit(replace(demos, labels=found.predict(demos)), config)
    assert nmi_of(found.predict(demos), np.asarray(demos.labels)) == pytest.approx(1)
    assert all(torch.equal(weights, told.state_dict()[name]) for name, weights in found.state_dict().items())


def test_the_supervised_fits_seed_suffices_and_matters_and_touches_no_other() -> None:
    demos = reflexes(1, seed=0, n_steps=30)

    def weights(seed: int) -> np.ndarray:
        return supervised_fit(demos, replace(SMALL, n_steps=3, seed=seed)).encoder.per_step[0].weight.detach().numpy()

    before = torch.random.get_rng_state()
    first, again, other = weights(0), weights(0), weights(1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_episodes_without_steps_have_no_say_in_the_supervised_fit() -> None:
    empty = Episode(np.zeros((1, 3)), np.zeros((0, 1)), label=0)
    demos = reflexes(2, seed=0, n_steps=30)
    demos = Demos.from_episodes([empty, *demos], label_names=demos.label_names)
    assert supervised_fit(demos, replace(SMALL, n_steps=3)).n_modes == 3


def test_the_supervised_fit_needs_labels_and_steps() -> None:
    demos = reflexes(1, seed=0, n_steps=12)
    nothing = Demos.from_episodes([Episode(np.zeros((1, 3)), np.zeros((0, 1)), label=0)], label_names=("left",))
    for unfit in (demos.without_labels(), replace(demos, labels=None), nothing):
        with pytest.raises(DataError, match="needs labelled episodes"):
            supervised_fit(unfit)


def test_a_wrong_shape_raises_in_the_tests() -> None:
    from unbraid.evaluation.scores import match_modes

    with pytest.raises(Exception, match="Type-check"):
        match_modes(np.zeros((2, 2, 2)))
