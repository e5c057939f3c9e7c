"""Scores of contingency tables equal scikit-learn's; agreement carries intervals over episodes."""

import inspect
import json
import warnings

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from unbraid.core.errors import DataError
from unbraid.evaluation.scores import (
    accuracy,
    agreement,
    ari,
    confusion_estimates,
    confusion_percent,
    contingency_by_episode,
    match_modes,
    nmi,
    purity,
    stability,
)

SCORES = [nmi, ari, purity, accuracy]
labelings = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=60)


def table_of(labels: np.ndarray, modes: np.ndarray) -> np.ndarray:
    everything_in_one = np.zeros(len(labels), np.int64)
    return contingency_by_episode(labels, modes, everything_in_one, n_labels=5, n_modes=6).sum(0)


@given(labelings)
def test_scores_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, modes = np.array(pairs).T
    table = table_of(labels, modes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn thinks that many labels mean regression
        known = contingency_matrix(labels, modes)
        assert float(nmi(table)) == pytest.approx(normalized_mutual_info_score(labels, modes), abs=1e-9)
        assert float(ari(table)) == pytest.approx(adjusted_rand_score(labels, modes), abs=1e-9)
    assert float(purity(table)) == pytest.approx(known.max(0).sum() / len(labels))
    matched = known[linear_sum_assignment(-known)].sum()
    assert float(accuracy(table)) == pytest.approx(matched / len(labels))
    assert 0 <= float(nmi(table)) <= 1


@given(st.lists(labelings, min_size=1, max_size=6))
def test_many_tables_score_as_each_alone(batch: list[list[tuple[int, int]]]) -> None:
    tables = np.stack([table_of(*np.array(pairs).T) for pairs in batch])
    for score in SCORES:
        assert score(tables).shape == (len(batch),)
        assert score(tables).tolist() == pytest.approx([float(score(table)) for table in tables])
        assert score(tables[None]).shape == (1, len(batch))


@given(labelings, st.permutations(range(6)))
def test_the_modes_names_do_not_matter(pairs: list[tuple[int, int]], order: list[int]) -> None:
    labels, modes = np.array(pairs).T
    for score in SCORES:
        assert float(score(table_of(labels, np.array(order)[modes]))) == pytest.approx(
            float(score(table_of(labels, modes)))
        )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[50, 0], [0, 50]], (1, 1, 1, 1)),
        ([[0, 50], [50, 0]], (1, 1, 1, 1)),
        ([[25, 25], [25, 25]], (0, -1 / 98, 0.5, 0.5)),
        ([[50], [50]], (0, 0, 0.5, 0.5)),  # one mode only
        ([[50, 0, 0], [50, 0, 0]], (0, 0, 0.5, 0.5)),  # one mode used, two codes empty
        ([[7, 0], [0, 0]], (1, 1, 1, 1)),  # one label, one mode
        ([[5, 5]], (0, 0, 1, 0.5)),  # one label in two modes
    ],
)
def test_known_tables(table: list[list[int]], expected: tuple[float, ...]) -> None:
    scores = [float(score(np.array(table))) for score in SCORES]
    assert scores == pytest.approx(expected, abs=1e-12)


def test_the_talks_published_tables_have_their_published_scores() -> None:
    table = np.array([[13, 37, 8, 42], [100, 0, 0, 0]])
    assert float(nmi(table)) == pytest.approx(0.551, abs=5e-4)
    assert float(purity(table)) == pytest.approx(0.935)


def test_large_tables_of_one_label_and_one_mode_are_perfect_to_the_last_bit() -> None:
    assert float(ari(np.array([[99_991]]))) == 1.0


@pytest.mark.parametrize("score", SCORES)
def test_an_empty_table_is_refused(score) -> None:
    with pytest.raises(DataError, match="at least one window"):
        score(np.zeros((2, 3, 2), np.int64))


def test_a_wrong_shape_raises_in_the_tests() -> None:
    with pytest.raises(Exception, match="Type-check"):
        nmi(np.array([1, 2]))


def test_modes_match_labels_one_to_one() -> None:
    assert match_modes(np.array([[0, 60, 40], [55, 0, 45]])).tolist() == [1, 0, -1]
    assert match_modes(np.array([[9, 8], [9, 0]])).tolist() == [1, 0]  # not the greedy choice
    assert match_modes(np.array([[5, 0], [0, 5], [3, 3]])).tolist() == [0, 1]  # more labels than modes


def test_a_mode_that_shares_no_window_with_the_label_left_to_it_matches_none() -> None:
    assert match_modes(np.array([[50, 0], [50, 0]])).tolist() in ([0, -1], [1, -1])


def test_confusion_is_in_percent_of_each_label() -> None:
    percent = confusion_percent(np.array([[1, 3], [10, 0], [0, 0]]))
    assert percent.tolist() == [[25, 75], [100, 0], [0, 0]]


def test_confusion_has_intervals_over_each_labels_own_episodes() -> None:
    by_episode = np.zeros((12, 3, 2), np.int64)
    by_episode[:6, 0] = [[9, 1], [8, 2], [10, 0], [7, 3], [9, 1], [8, 2]]
    by_episode[6:11, 1] = [0, 5]  # no episode went wrong
    rows = confusion_estimates(by_episode, generator=np.random.default_rng(0))
    assert [[cell.value for cell in row] for row in rows] == confusion_percent(by_episode.sum(0)).tolist()
    first, second = rows[0]
    assert (first.n, first.unit_of_n) == (6, "episodes")
    assert 70 < first.low < first.value == 85 < first.high < 100
    assert (100 - first.high, 100 - first.low) == pytest.approx((second.low, second.high))
    assert [(cell.low, cell.high, cell.n) for cell in rows[1]] == [(0, 0, 5), (100, 100, 5)]
    assert [(cell.value, cell.low, cell.high, cell.n) for cell in rows[2]] == [(0, None, None, 0)] * 2
    again = confusion_estimates(by_episode, generator=np.random.default_rng(0))
    other = confusion_estimates(by_episode, generator=np.random.default_rng(1), n_resamples=150)
    assert rows == again
    assert rows != other


def test_contingency_counts_every_episode_apart() -> None:
    counts = contingency_by_episode(
        np.array([0, 0, 1, 1]), np.array([1, 1, 0, 1]), np.array([7, 7, 3, 3]), n_labels=2, n_modes=3
    )
    assert counts.tolist() == [[[0, 0, 0], [1, 1, 0]], [[0, 2, 0], [0, 0, 0]]]


def test_labels_and_modes_out_of_range_are_refused() -> None:
    zeros = np.zeros(3, np.int64)
    for labels, modes in ((zeros - 1, zeros), (zeros, zeros + 2)):
        with pytest.raises(DataError, match="must lie in"):
            contingency_by_episode(labels, modes, zeros, n_labels=2, n_modes=2)


def test_labels_and_modes_of_different_windows_are_refused() -> None:
    zeros = np.zeros(3, np.int64)
    unchecked = inspect.unwrap(contingency_by_episode)  # past the shape check, which only the tests have
    with pytest.raises(DataError, match="one entry per window; got 3, 2 and 3"):
        unchecked(zeros, zeros[1:], zeros, n_labels=1, n_modes=1)


def some_windows(share_wrong: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """20 episodes of 50 windows, two labels."""
    generator = np.random.default_rng(11)
    episodes = np.repeat(np.arange(20), 50)
    labels = episodes % 2
    wrong = generator.random(len(labels)) < share_wrong
    return labels, np.where(wrong, 1 - labels, labels), episodes


def test_agreement_has_intervals_over_episodes() -> None:
    result = agreement(*some_windows(0.1), generator=np.random.default_rng(0))
    assert result.contingency.sum() == 1000
    for name in ("nmi", "ari", "purity", "accuracy"):
        estimate = getattr(result, name)
        assert (estimate.n, estimate.unit_of_n) == (20, "episodes")
        assert estimate.low < estimate.value < estimate.high
    assert result.accuracy.value == pytest.approx(0.9, abs=0.03)
    assert result.nmi.value == pytest.approx(float(nmi(result.contingency)))


def test_agreements_seed_suffices_and_matters() -> None:
    def low(seed: int) -> float | None:
        return agreement(*some_windows(0.1), generator=np.random.default_rng(seed), n_resamples=200).nmi.low

    assert low(1) == low(1)
    assert low(1) != low(2)


def test_agreement_keeps_unused_modes_in_the_table() -> None:
    labels, modes, episodes = some_windows(0.0)
    result = agreement(labels, modes, episodes, generator=np.random.default_rng(0), n_labels=3, n_modes=5)
    assert result.contingency.shape == (3, 5)
    assert result.nmi.value == pytest.approx(1)


def test_modes_drawn_by_chance_are_compatible_with_no_agreement() -> None:
    generator = np.random.default_rng(2)
    result = agreement(
        np.arange(40) % 4, generator.integers(4, size=40), np.arange(40), generator=np.random.default_rng(0)
    )
    assert result.nmi.value > 0  # biased upwards
    assert result.nmi.low == 0
    assert result.ari.low is not None
    assert result.ari.low < 0


@pytest.mark.parametrize(("n_episodes", "known"), [(2, False), (4, False), (5, True)])
def test_few_episodes_give_no_interval(n_episodes: int, known: bool) -> None:
    episodes = np.repeat(np.arange(n_episodes), 10)
    result = agreement(episodes % 2, episodes % 2, episodes, generator=np.random.default_rng(0))
    alike = stability([episodes % 2, 1 - episodes % 2], episodes, generator=np.random.default_rng(0))
    for estimate in (result.nmi, result.ari, result.purity, result.accuracy, alike):
        assert (round(estimate.value, 9), estimate.n) == (1, n_episodes)
        assert (estimate.low is not None, estimate.high is not None) == (known, known)


@pytest.mark.parametrize("n_episodes", [8, 200])
def test_one_mode_or_one_label_has_the_same_agreement_whatever_the_episodes(n_episodes: int) -> None:
    """In resamples of few episodes, all of one label, one mode scores 1: that says nothing of the mode."""
    episodes, one = np.arange(n_episodes), np.zeros(n_episodes, dtype=np.int64)
    for labels, modes in ((episodes % 2, one), (one, episodes % 2)):
        result = agreement(labels, modes, episodes, generator=np.random.default_rng(0), n_labels=2, n_modes=2)
        assert (result.nmi.value, result.nmi.low, result.nmi.high) == (0, None, None)
        assert (result.ari.value, result.ari.low, result.ari.high) == (0, None, None)
        assert result.accuracy.low is not None


def test_agreement_is_json() -> None:
    result = json.loads(json.dumps(agreement(*some_windows(0.1), generator=np.random.default_rng(0)).to_json()))
    assert set(result) == {"nmi", "ari", "purity", "accuracy", "contingency"}
    assert result["nmi"]["n"] == 20


def test_stability_is_the_mean_ari_over_pairs_of_fits_whatever_their_numbers() -> None:
    labels, noisy, episodes = some_windows(0.1)
    finer = labels * 2 + (np.arange(len(labels)) % 2)  # each mode in two
    found = stability([labels, 1 - noisy, finer], episodes, generator=np.random.default_rng(0))
    pairs = [(labels, noisy), (labels, finer), (noisy, finer)]
    assert found.value == pytest.approx(np.mean([adjusted_rand_score(*pair) for pair in pairs]))
    assert (found.n, found.unit_of_n) == (20, "episodes")
    assert found.low < found.value < found.high
    again = stability([labels, 1 - noisy, finer], episodes, generator=np.random.default_rng(1))
    assert (again.value, again.low == found.low) == (found.value, False)


def test_fits_that_read_by_chance_are_not_stable() -> None:
    drawn = np.random.default_rng(3).integers(3, size=(3, 600))
    found = stability(list(drawn), np.arange(600) // 10, generator=np.random.default_rng(0))
    assert found.low < 0.02
    assert abs(found.value) < 0.02


def test_stability_needs_two_fits() -> None:
    labels, _, episodes = some_windows(0.1)
    with pytest.raises(DataError, match="at least two fits; got 1"):
        stability([labels], episodes, generator=np.random.default_rng(0))


def test_no_windows_are_refused() -> None:
    nothing = np.zeros(0, np.int64)
    with pytest.raises(DataError, match="at least one window"):
        agreement(nothing, nothing, nothing, generator=np.random.default_rng(0))


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        match_modes(np.zeros((2, 2, 2)))


@pytest.mark.parametrize("wrong", [[0.0, 1.0, 1.0], ["a", "b", "b"], [[0, 1, 1]], [None, 1, 1], [0.5, np.nan, 1.0]])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_list_of_whole_numbers_is_refused(wrong, place):
    """Else fractions would be cut off, and words be numbers."""
    given = [[0, 1, 1], [0, 1, 0], [0, 1, 2]]
    given[place] = wrong
    with pytest.raises(DataError, match="must be one whole number for each window"):
        agreement(*given, generator=np.random.default_rng(0))


def test_one_window_in_common_is_enough_for_a_match():
    assert match_modes(np.array([[1, 0, 0], [0, 0, 1]])).tolist() == [0, -1, 1]


@pytest.mark.parametrize("wrong", [[0, -1, 1], [-1, -1, -1], [0, 2, 0], [9, 0, 0]])
@pytest.mark.parametrize("what", ["labels", "modes"])
def test_a_window_without_a_label_or_a_mode_is_refused(what, wrong):
    """-1 is what `predict` gives a window that is not sure enough; it must not count for the last mode."""
    given = {"labels": np.array([0, 1, 1]), "modes": np.array([0, 1, 1]), what: np.array(wrong)}
    with pytest.raises(DataError, match=rf"The {what} must lie in \[0, 2\); got {min(wrong)} to {max(wrong)}"):
        contingency_by_episode(**given, episode_of_row=np.arange(3), n_labels=2, n_modes=2)
