"""Transitions tell apart who drifts where, by a majority of steps; the seed suffices, labels are not read."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation import transition_kmeans as module
from unbraid.evaluation.scores import agreement
from unbraid.evaluation.transition_kmeans import kmeans_transitions
from unbraid.modes.windows import cut_windows


def drifters(n_per_label: int, *, seed: int, drift: float = 1.0, jump: float = 0.0) -> Demos:
    """Two experts that start anywhere and drift up or down, with noise; the second column jumps once, in episode 0."""
    generator = np.random.default_rng(seed)

    def episode(i: int) -> Episode:
        moves = (drift if i % 2 else -drift) + 0.8 * generator.normal(size=(30 + i % 3, 1))
        states = generator.normal(scale=50) + np.concatenate([np.zeros((1, 1)), np.cumsum(moves, axis=0)])
        other = np.full_like(states, 0.1)
        other[10:] += jump * (i == 0)
        return Episode(np.concatenate([states, other], axis=1), np.zeros((len(moves), 1)), label=i % 2)

    return Demos.from_episodes([episode(i) for i in range(2 * n_per_label)], label_names=("down", "up"))


def nmi_of(labels: np.ndarray, modes: np.ndarray) -> float:
    return agreement(labels, modes, np.arange(len(modes)), generator=np.random.default_rng(0), n_resamples=10).nmi.value


def test_opposite_drifts_are_told_apart() -> None:
    train, held_out = drifters(6, seed=0), drifters(5, seed=1)
    assert held_out.labels is not None
    assert nmi_of(held_out.labels, kmeans_transitions(train, held_out, n_modes=2, seed=0)) > 0.9
    windows = cut_windows(held_out.lengths, 15)
    modes = kmeans_transitions(train, held_out, n_modes=2, window_steps=15, seed=0)
    assert nmi_of(held_out.labels[windows.episodes], modes) > 0.9


def test_a_window_takes_the_cluster_of_most_of_its_steps() -> None:
    train, held_out = drifters(6, seed=0), drifters(5, seed=1)
    steps = kmeans_transitions(train, held_out, n_modes=2, window_steps=1, stride_steps=1, seed=0)
    windows = cut_windows(held_out.lengths, 9)
    expected = [np.bincount(steps[s : s + 9], minlength=2).argmax() for s in windows.starts]
    assert kmeans_transitions(train, held_out, n_modes=2, window_steps=9, seed=0).tolist() == expected
    assert held_out.labels is not None
    of_steps = held_out.labels[held_out.episode_of_step]
    assert 0.3 < nmi_of(of_steps, steps) < 0.9  # a single step is not enough


def test_a_rare_jump_gets_no_cluster_of_its_own() -> None:
    train, held_out = drifters(20, seed=0, drift=2.0, jump=60.0), drifters(5, seed=1, drift=2.0)
    assert held_out.labels is not None
    assert nmi_of(held_out.labels, kmeans_transitions(train, held_out, n_modes=2, seed=0)) > 0.9


def test_no_transition_crosses_an_episodes_end() -> None:
    demos = drifters(3, seed=0, drift=1.0)
    expected = [np.diff(episode.observations, axis=0) for episode in demos]
    np.testing.assert_allclose(module._transitions(demos), np.concatenate(expected))


def test_there_is_one_mode_for_every_window_that_is_cut() -> None:
    train, held_out = drifters(4, seed=0), drifters(3, seed=1)
    for window_steps, stride_steps in ((None, 5), (10, 5), (31, 3)):
        modes = kmeans_transitions(
            train, held_out, n_modes=3, window_steps=window_steps, stride_steps=stride_steps, seed=0
        )
        assert modes.shape == (len(cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)),)
        assert set(modes.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("max_fitted", [20_000, 60])
def test_the_seed_suffices_and_matters_and_labels_change_nothing(
    monkeypatch: pytest.MonkeyPatch, max_fitted: int
) -> None:
    monkeypatch.setattr(module, "_MAX_FITTED", max_fitted)
    train, held_out = drifters(5, seed=0), drifters(5, seed=1)

    def modes(train: Demos, held_out: Demos, seed: int) -> list[int]:
        return kmeans_transitions(train, held_out, n_modes=4, window_steps=10, seed=seed).tolist()

    unlabelled = replace(train, labels=None, label_names=())
    assert modes(train, held_out, 0) == modes(train, held_out, 0) == modes(unlabelled, held_out.without_labels(), 0)
    assert len({tuple(modes(train, held_out, seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(("n_modes", "window_steps"), [(0, 10), (200, None), (2, 33)])
def test_too_many_modes_or_no_window_are_refused(n_modes: int, window_steps: int | None) -> None:
    demos = drifters(3, seed=0)
    with pytest.raises(ConfigError, match=r"needs at least \d+ .* got 186 and \d+ and K = \d+\. Use"):
        kmeans_transitions(demos, demos, n_modes=n_modes, window_steps=window_steps, seed=0)
