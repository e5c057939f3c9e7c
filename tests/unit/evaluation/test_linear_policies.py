"""Linear policies are told apart by what they do with what they see; the seed suffices, labels are not read."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation import linear_policies as module
from unbraid.evaluation.linear_policies import linear_policies
from unbraid.evaluation.scores import agreement
from unbraid.modes.windows import cut_windows


def reflexes(n_per_label: int, *, seed: int, slopes: tuple[float, ...] = (1, -1), n_steps: int = 40) -> Demos:
    """Experts that see the same and act alike on average: a = slope * s[0]; s[1] is constant, the second action noise.

    Every fourth episode is shorter.
    """
    generator = np.random.default_rng(seed)

    def episode(i: int) -> Episode:
        n = n_steps - 7 * (i % 4 == 3)
        observations = np.column_stack([generator.normal(3, 2, size=n + 1), np.full(n + 1, 0.1)])
        noise = generator.normal(size=(n, 2)) * (0.3, 1)
        actions = np.column_stack([slopes[i % len(slopes)] * (observations[:-1, 0] - 3), np.zeros(n)]) + noise
        return Episode(observations, actions, label=i % len(slopes))

    names = [f"slope {slope}" for slope in slopes]
    return Demos.from_episodes([episode(i) for i in range(len(slopes) * n_per_label)], label_names=names)


def nmi_of(labels: np.ndarray, modes: np.ndarray) -> float:
    return agreement(labels, modes, np.arange(len(modes)), generator=np.random.default_rng(0), n_resamples=10).nmi.value


@pytest.mark.parametrize("slopes", [(1.0, -1.0), (1.0, -1.0, 0.0, 3.0)])
def test_opposite_reflexes_are_told_apart(slopes: tuple[float, ...]) -> None:
    train, held_out = reflexes(8, seed=0, slopes=slopes), reflexes(6, seed=1, slopes=slopes)
    assert held_out.labels is not None
    modes = linear_policies(train, held_out, n_modes=len(slopes), seed=0)
    assert nmi_of(held_out.labels, modes) > 0.9
    modes = linear_policies(train, held_out, n_modes=len(slopes), window_steps=20, seed=0)
    assert nmi_of(held_out.labels[cut_windows(held_out.lengths, 20).episodes], modes) > 0.9


def test_the_noise_tells_apart_too() -> None:
    """Same slope, correlated noise of opposite sign: one variance per action would not see it."""
    generator = np.random.default_rng(0)

    def pile(n: int) -> Demos:
        signs = np.array([1, -1] * n)
        noise = generator.normal(size=(2 * n, 30, 1))
        actions = np.concatenate([noise, signs[:, None, None] * noise], axis=2) + 0.3 * generator.normal(size=(30, 2))
        return Demos.from_episodes([Episode(generator.normal(size=(31, 2)), a) for a in actions])

    assert nmi_of(np.arange(16) % 2, linear_policies(pile(8), pile(8), n_modes=2, seed=0)) > 0.9


def test_where_steps_say_nothing_the_larger_share_decides() -> None:
    slopes = (1.0,) * 9 + (-1.0,)
    train, held_out = reflexes(4, seed=0, slopes=slopes), reflexes(4, seed=1, slopes=slopes)
    modes = linear_policies(train, held_out, n_modes=2, window_steps=1, stride_steps=1, seed=0)
    most = np.bincount(modes).argmax()
    dull = np.abs(held_out.observations[held_out.row_of_step, 0] - 3) < 0.05
    assert dull.sum() > 10
    assert (modes[dull] == most).all()
    assert (modes != most).sum() > 50


def test_there_is_one_mode_for_every_window_that_is_cut() -> None:
    train, held_out = reflexes(4, seed=0), reflexes(3, seed=1)
    for window_steps, stride_steps in ((None, 5), (10, 5), (35, 3)):
        modes = linear_policies(
            train, held_out, n_modes=3, window_steps=window_steps, stride_steps=stride_steps, seed=0
        )
        assert modes.shape == (len(cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)),)
        assert set(modes.tolist()) <= {0, 1, 2}


def test_the_seed_suffices_and_matters_and_labels_change_nothing() -> None:
    train, held_out = reflexes(6, seed=0), reflexes(6, seed=1)

    def modes(train: Demos, held_out: Demos, seed: int) -> list[int]:
        return linear_policies(train, held_out, n_modes=4, window_steps=10, seed=seed).tolist()

    unlabelled = replace(train, labels=None, label_names=())
    assert modes(train, held_out, 0) == modes(train, held_out, 0) == modes(unlabelled, held_out.without_labels(), 0)
    assert len({tuple(modes(train, held_out, seed)) for seed in range(4)}) > 1


def test_what_moves_the_units_moves_no_mode() -> None:
    train, held_out = reflexes(6, seed=0), reflexes(4, seed=1)

    def in_other_units(demos: Demos) -> Demos:
        return replace(demos, observations=1000 * demos.observations - 400, actions=100 * demos.actions + 50)

    before = linear_policies(train, held_out, n_modes=2, seed=0)
    after = linear_policies(in_other_units(train), in_other_units(held_out), n_modes=2, seed=0)
    assert nmi_of(before, after) == pytest.approx(1)


def test_a_step_scores_what_its_episode_does() -> None:
    """The sums that EM reads and the steps that windows add up give one log-likelihood, that of the Gaussian."""
    generator = np.random.default_rng(0)
    inputs, actions = generator.normal(size=(17, 3)), generator.normal(size=(17, 2))
    episodes = cut_windows(np.array([5, 0, 12]))
    sums = module._sums(inputs, actions, episodes)
    policies = module._maximise(sums, np.array([[0.9, 0.1], [0.2, 0.8]]))
    of_steps = module._step_scores(policies, inputs, actions)
    of_episodes = module._episode_scores(policies, sums)
    np.testing.assert_allclose(np.stack([of_steps[:5].sum(0), of_steps[5:].sum(0)]), of_episodes)
    residual = actions[3] - inputs[3] @ policies.slopes[1]
    covariance = policies.covariances[1]
    expected = -0.5 * (residual @ np.linalg.solve(covariance, residual) + np.log(np.linalg.det(covariance)))
    assert of_steps[3, 1] == pytest.approx(expected - np.log(2 * np.pi))


def test_more_rounds_of_em_are_never_less_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    demos = reflexes(8, seed=0, slopes=(1, -1, 0.5))
    inputs = np.column_stack([demos.observations[demos.row_of_step, :1], np.ones(demos.n_steps)])
    sums = module._sums(inputs, demos.actions, cut_windows(demos.lengths))
    monkeypatch.setattr(module, "_RIDGE", 1e-9)  # the ridge and the floor are no part of what is counted
    monkeypatch.setattr(module, "_VARIANCE_FLOOR", 1e-9)
    found: list[float] = []
    for rounds in (1, 2, 4, 8, 50):
        monkeypatch.setattr(module, "_MAX_ROUNDS", rounds)
        found.append(module._em(sums, 3, np.random.default_rng(4))[0])
    assert np.all(np.diff(found) >= -1e-6)
    assert found[-1] > found[0] + 1


@pytest.mark.parametrize(("n_modes", "window_steps"), [(0, 10), (7, None), (2, 41)])
def test_too_many_modes_or_no_window_are_refused(n_modes: int, window_steps: int | None) -> None:
    demos = reflexes(3, seed=0)
    with pytest.raises(ConfigError, match=r"need at least \d .* got 6 and \d+ and K = \d\. Use"):
        linear_policies(demos, demos, n_modes=n_modes, window_steps=window_steps, seed=0)


def test_an_episode_without_steps_is_no_unit() -> None:
    demos = reflexes(2, seed=0)
    with_nothing = Demos.from_episodes([*demos.without_labels(), Episode(np.zeros((1, 2)), np.zeros((0, 2)))])
    with pytest.raises(ConfigError, match="got 4 and"):
        linear_policies(with_nothing, demos, n_modes=5, seed=0)
    assert linear_policies(with_nothing, with_nothing, n_modes=2, seed=0).shape == (4,)


def test_a_wrong_shape_raises_in_the_tests() -> None:
    with pytest.raises(TypeCheckError):
        module._inputs(np.zeros((3, 2)), np.zeros(2), np.ones(3))
