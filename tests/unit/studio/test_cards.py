"""Cards add up, and name what there is."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.studio.cards import Confusion, cards_of, confusion, measured_of, motion_of
from unbraid.studio.catalogue import catalogue_of
from unbraid.studio.edits import Edit, Edits


@pytest.fixture(scope="module")
def catalogue(model, demos):
    return catalogue_of(model, demos)


def test_the_cards_share_the_data_among_them(catalogue, model, demos):
    edits = Edits(2)
    cards = cards_of(catalogue, demos, edits.shown, confusion(model, demos), leads=edits.leads)
    assert [card["mode"] for card in cards] == [0, 1]
    assert sum(card["n_episodes"] for card in cards) == demos.n_episodes
    assert sum(card["share_of_steps"] for card in cards) == pytest.approx(1)
    modes = model.predict(demos)
    for card in cards:
        own = np.flatnonzero(modes == card["mode"])
        assert set(card["typical"]) | set(card["borderline"]) <= set(own.tolist())
        if len(own):
            returns = [demos.episode(e).rewards.sum() for e in own.tolist()]
            assert card["measured"]["return"]["value"] == pytest.approx(np.mean(returns))
            assert card["measured"]["speed (m/s)"]["n"] == len(own)


def test_merged_modes_have_one_card_with_everything(catalogue, model, demos):
    edits = Edits(2).saying(Edit("merge", 1, 0))
    (card,) = cards_of(catalogue, demos, edits.shown, confusion(model, demos), leads=edits.leads)
    assert (card["n_episodes"], card["modes"], card["taken_for"]) == (demos.n_episodes, [0, 1], [])


def test_merged_modes_are_taken_for_others_as_often_as_their_windows_say(catalogue, demos):
    """Three windows of mode 0, one of mode 1: their mean, not the mean of the two modes."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.0, 0.4, 0.6], [0.0, 0.0, 0.0]])
    three = replace(catalogue, probabilities=np.pad(catalogue.probabilities, ((0, 0), (0, 1))))
    edits = Edits(3).saying(Edit("merge", 1, 0))
    confused = Confusion(probabilities, np.array([3, 1, 0]))
    both, nobody = cards_of(three, demos, edits.shown, confused, leads=edits.leads)
    assert both["n_windows"] == 4
    assert both["taken_for"] == [{"mode": 2, "probability": pytest.approx((3 * 0.2 + 0.6) / 4)}]
    assert (nobody["n_windows"], nobody["taken_for"]) == (0, [{"mode": 0, "probability": 0.0}])


def test_speed_and_turning_are_read_where_columns_tell_them(demos):
    found, seen = motion_of(demos), demos.episode(3).observations[:-1].astype(float)
    assert found["speed (m/s)"][3] == pytest.approx(np.hypot(seen[:, 3], seen[:, 4]).mean())
    assert found["turning (rad/s)"][3] == pytest.approx(np.abs(seen[:, 8]).mean())
    bare = Demos.from_episodes([Episode(e.observations, e.actions) for e in demos])
    assert set(motion_of(bare)) == {"size of actions"}


def test_nothing_is_measured_of_a_mode_without_episodes():
    assert measured_of({"return": np.ones(3)}, np.zeros(3, dtype=bool)) == {}


def test_confusion_is_a_mean_of_probabilities(model, demos):
    found = confusion(model, demos)
    read = model.predict(demos, window_steps=10, stride_steps=10)
    for mode in (0, 1):
        row = found.probabilities[mode]
        assert row.sum() == pytest.approx(1.0 if (read == mode).any() else 0.0)
        assert row[mode] >= row.sum() / 2
        assert found.n_windows[mode] == (read == mode).sum()


def test_no_episode_is_both_typical_and_borderline(catalogue, model, demos):
    edits = Edits(2).saying(Edit("merge", 1, 0))
    (card,) = cards_of(catalogue, demos, edits.shown, confusion(model, demos), leads=edits.leads)
    assert (len(card["typical"]), len(card["borderline"])) == (5, demos.n_episodes - 5)
    assert not set(card["typical"]) & set(card["borderline"])
