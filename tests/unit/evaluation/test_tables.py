"""Modes held against labels: the same windows, the same counts and the same scores as by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.tables import agreement_entry, agreement_of_modes, confusion_entry, matching_of
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.model import ModeModel

NAMES = ("left", "right", "still")
LABELS = (0, 1, 2, 0, 1, 2, 2)


@pytest.fixture(scope="module")
def demos():
    """Seven episodes of three experts, 30 to 42 steps long, each expert at a place of its own."""
    generator = np.random.default_rng(0)
    episodes = []
    for index, label in enumerate(LABELS):
        n_steps = 30 + 2 * index
        observations = generator.normal(size=(n_steps + 1, 4)) + np.eye(4)[label]
        episodes.append(
            Episode(observations=observations, actions=generator.normal(size=(n_steps, 2)) + label, label=label)
        )
    return Demos.from_episodes(episodes, label_names=NAMES)


@pytest.fixture(scope="module", params=["unbraid", "talk"])
def model(request):
    """Four modes, untrained: what a table counts does not depend on whether it is any good."""
    config = UnbraidConfig(n_modes=4) if request.param == "unbraid" else TalkConfig(n_modes=4)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return ModeModel(config, observation_size=4, action_size=2).eval()


def _by_hand(model, demos, window_steps, evidence=None):
    """(labels, modes), one window after the other."""
    labels, modes = [], []
    for episode in range(demos.n_episodes):
        found = model.predict(demos.select([episode]), window_steps=window_steps, evidence=evidence)
        modes += found.tolist()
        labels += [LABELS[episode]] * len(found)
    return np.array(labels), np.array(modes)


@pytest.mark.parametrize("window_steps", [1, 10, 30])
def test_a_confusion_table_counts_every_window_once(model, demos, window_steps):
    entry = confusion_entry(model, demos, window_steps=window_steps, seed=0)
    labels, modes = _by_hand(model, demos, window_steps)
    counts = np.zeros((3, 4), dtype=int)
    np.add.at(counts, (labels, modes), 1)
    assert entry["counts"] == counts.tolist()
    assert counts.sum() == sum((n - window_steps) // 5 + 1 for n in demos.lengths)
    np.testing.assert_allclose(entry["percent"], 100 * counts / counts.sum(1, keepdims=True), atol=0.005)
    assert (entry["window_steps"], entry["n_modes"]) == (window_steps, 4)
    assert entry["nmi"]["value"] == pytest.approx(normalized_mutual_info_score(labels, modes))
    assert entry["purity"]["value"] == pytest.approx(counts.max(0).sum() / counts.sum())
    assert entry["ari"]["value"] == pytest.approx(adjusted_rand_score(labels, modes))
    for score in ("nmi", "ari", "accuracy", "purity"):
        assert (entry[score]["n"], entry[score]["unit_of_n"]) == (7, "episodes")
        if score in ("nmi", "ari") and len(set(modes)) == 1:  # nothing was told apart
            assert entry[score]["low"] is None
        else:
            assert entry[score]["low"] <= entry[score]["value"] <= entry[score]["high"]
    for expert, (row, shares) in enumerate(zip(entry["percent_estimates"], entry["percent"], strict=True)):
        np.testing.assert_allclose([cell["value"] for cell in row], shares, atol=0.005)
        assert {cell["n"] for cell in row} == {LABELS.count(expert)}


@pytest.mark.parametrize("window_steps", [None, 10])
@pytest.mark.parametrize("evidence", ["combined", "encoder", "policy"])
def test_agreement_is_that_of_the_evidence_that_was_asked_for(model, demos, window_steps, evidence):
    entry = agreement_entry(model, demos, window_steps=window_steps, evidence=evidence, seed=0)
    labels, modes = _by_hand(model, demos, window_steps, evidence)
    assert entry["nmi"]["value"] == pytest.approx(normalized_mutual_info_score(labels, modes))
    assert entry["ari"]["value"] == pytest.approx(adjusted_rand_score(labels, modes))
    assert entry["evidence"] == evidence
    assert entry["level"] == ("episode" if window_steps is None else "window")
    assert entry.get("window_steps") == window_steps


def test_the_seed_moves_the_interval_and_nothing_else(model, demos):
    first, same, other = (confusion_entry(model, demos, window_steps=10, seed=seed) for seed in (0, 0, 1))
    assert first == same
    intervals = [[entry.pop(name) for name in ("nmi", "ari", "accuracy", "purity")] for entry in (first, other)]
    cells = [[cell["value"] for row in entry.pop("percent_estimates") for cell in row] for entry in (first, other)]
    assert first == other
    assert cells[0] == cells[1]
    if intervals[0][0]["low"] is not None:
        assert intervals[0] != intervals[1]
    assert [score["value"] for score in intervals[0]] == [score["value"] for score in intervals[1]]


def test_a_mode_is_matched_with_the_expert_whose_episodes_it_holds(demos, monkeypatch):
    model = ModeModel(UnbraidConfig(n_modes=4), observation_size=4, action_size=2).eval()
    given = np.array([2, 3, 0, 2, 3, 0, 0])  # label 0 is in mode 2, label 1 in mode 3, label 2 in mode 0
    monkeypatch.setattr(ModeModel, "window_scores", lambda *arguments: np.eye(4)[given])
    assert matching_of(model, demos).tolist() == [2, -1, 0, 1]


@pytest.mark.parametrize(
    "score",
    [
        lambda model, demos: confusion_entry(model, demos, window_steps=1, seed=0),
        lambda model, demos: agreement_entry(model, demos, window_steps=1, evidence=None, seed=0),
        matching_of,
    ],
)
def test_demonstrations_without_labels_cannot_be_scored(model, demos, score):
    with pytest.raises(DataError, match=r"must have labels to be scored against; these have none\. Load"):
        score(model, demos.without_labels())
    partly = Demos.from_episodes([dataclasses.replace(episode, label=i or None) for i, episode in enumerate(demos)])
    with pytest.raises(DataError, match=r"have none\. Labels are left out: 1 of .* has none, episode 0 first\."):
        score(model, partly)


def test_windows_longer_than_every_episode_say_so(model, demos):
    with pytest.raises(DataError, match="At least one episode must have 43 steps; the longest has 42"):
        confusion_entry(model, demos, window_steps=43, seed=0)


def test_labels_are_read_here_and_nowhere_else(model, demos):
    """Other labels change the scores, and no mode."""
    entry = confusion_entry(model, demos, window_steps=10, seed=0)
    relabelled = dataclasses.replace(demos, labels=demos.labels[::-1].copy())
    other = confusion_entry(model, relabelled, window_steps=10, seed=0)
    assert np.sum(entry["counts"], axis=0).tolist() == np.sum(other["counts"], axis=0).tolist()
    assert entry["counts"] != other["counts"]


@pytest.mark.parametrize("window_steps", [None, 10])
def test_modes_that_were_read_already_agree_as_those_read_anew(model, demos, window_steps, monkeypatch):
    anew = agreement_entry(model, demos, window_steps=window_steps, evidence=None, seed=0)
    windows, modes = model.cut(demos, window_steps), model.predict(demos, window_steps=window_steps)
    monkeypatch.setattr(ModeModel, "window_scores", lambda *given: pytest.fail("it reads again"))
    assert agreement_of_modes(model, demos, windows, modes, window_steps=window_steps, seed=0) == anew
    with pytest.raises(DataError, match="must have labels to be scored against"):
        agreement_of_modes(model, demos.without_labels(), windows, modes, window_steps=window_steps, seed=0)


def test_an_agreement_names_the_evidence_that_the_method_has(demos):
    model = ModeModel(TalkConfig(n_modes=4), observation_size=4, action_size=2).eval()
    assert agreement_entry(model, demos, window_steps=10, evidence=None, seed=0)["evidence"] == "encoder"


def test_the_undecided_are_left_out_where_a_least_probability_is_asked(model, demos):
    sure = model.predict_proba(demos, window_steps=10).max(1)
    least = float(np.median(sure))
    said = model.predict(demos, window_steps=10, min_probability=least)
    entry = agreement_of_modes(model, demos, model.cut(demos, 10), said, window_steps=10, seed=0)
    labels, modes = _by_hand(model, demos, 10)
    decided = said >= 0
    assert 0 < decided.sum() < len(decided)
    assert entry["nmi"]["value"] == pytest.approx(normalized_mutual_info_score(labels[decided], modes[decided]))
    episodes = model.cut(demos, 10).episodes[decided]
    assert entry["nmi"]["n"] == len(np.unique(episodes))
