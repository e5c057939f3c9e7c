"""Cards add up, and name what there is."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.intervals import mean_interval
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
    """Three windows of mode 0, one of mode 1: their mean, not the mean of the two modes; two episodes."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.0, 0.6, 0.4]])
    three = replace(catalogue, probabilities=np.pad(catalogue.probabilities, ((0, 0), (0, 1))))
    edits = Edits(3).saying(Edit("merge", 1, 0))
    confused = Confusion(probabilities, np.array([0, 0, 5, 5]), 10)
    both, nobody = cards_of(three, demos, edits.shown, confused, leads=edits.leads)
    assert (both["n_windows"], both["window_steps"]) == (4, 10)
    (taken,) = both["taken_for"]
    told = taken["probability"]
    assert (taken["mode"], told["value"], told["n"]) == (2, pytest.approx((3 * 0.2 + 0.4) / 4), 2)
    assert 0 <= told["low"] < told["value"] < told["high"] <= 1
    assert (nobody["n_windows"], nobody["taken_for"]) == (0, [])


def test_a_window_that_merged_modes_explain_best_together_is_theirs(catalogue, demos):
    three = replace(catalogue, probabilities=np.pad(catalogue.probabilities, ((0, 0), (0, 1))))
    edits = Edits(3).saying(Edit("merge", 1, 0))
    confused = Confusion(np.array([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8]]), np.array([0, 1]), 10)
    both, other = cards_of(three, demos, edits.shown, confused, leads=edits.leads)
    assert (both["n_windows"], other["n_windows"]) == (1, 1)
    assert both["taken_for"][0]["probability"]["value"] == pytest.approx(0.4)


def test_what_modes_are_taken_for_has_the_interval_of_a_ratio(catalogue, demos):
    """Of episodes with equally many windows it is the mean of theirs; an episode with more of them counts more."""
    two = replace(catalogue, probabilities=catalogue.probabilities[:, :2])
    shares, leads = np.array([0.1, 0.2, 0.2, 0.4, 0.3, 0.1]), (0, 1)
    probabilities = np.stack([1 - shares, shares], axis=1)

    def told(episodes):
        found = cards_of(two, demos, Edits(2).shown, Confusion(probabilities, np.array(episodes), 10), leads=leads)
        return found[0]["taken_for"][0]["probability"]

    expected = mean_interval(np.array([0.15, 0.3, 0.2]))
    equal = told([0, 0, 1, 1, 2, 2])
    assert (equal["value"], equal["low"], equal["n"]) == (
        pytest.approx(expected.value),
        pytest.approx(max(expected.low, 0)),
        3,
    )
    uneven = told([0, 0, 0, 0, 1, 2])
    assert uneven["value"] == pytest.approx(shares.mean())
    assert told([0] * 6) == {"value": pytest.approx(shares.mean()), "low": None, "high": None, "n": 1} | {
        "unit_of_n": "episodes"
    }


def test_speed_and_turning_are_read_where_columns_tell_them(demos):
    found, seen = motion_of(demos), demos.episode(3).observations[:-1].astype(float)
    assert found["speed (m/s)"][3] == pytest.approx(np.hypot(seen[:, 3], seen[:, 4]).mean())
    assert found["turning (rad/s)"][3] == pytest.approx(np.abs(seen[:, 8]).mean())
    bare = Demos.from_episodes([Episode(e.observations, e.actions) for e in demos])
    assert set(motion_of(bare)) == {"size of actions"}


def test_nothing_is_measured_of_a_mode_without_episodes():
    assert measured_of({"return": np.ones(3)}, np.zeros(3, dtype=bool)) == {}


def test_confusion_is_how_short_windows_are_read(model, demos):
    found = confusion(model, demos)
    np.testing.assert_array_equal(found.probabilities, model.predict_proba(demos, window_steps=10, stride_steps=10))
    np.testing.assert_array_equal(found.episodes, np.repeat(np.arange(8), 6))
    assert found.window_steps == 10


def test_episodes_shorter_than_a_window_are_read_whole(model, demos):
    short = Demos.from_episodes(
        [Episode(e.observations[:8], e.actions[:7]) for e in demos], observation_names=demos.observation_names
    )
    found = confusion(model, short)
    assert (len(found.probabilities), found.window_steps) == (demos.n_episodes, 7)


def test_no_episode_is_both_typical_and_borderline(catalogue, model, demos):
    edits = Edits(2).saying(Edit("merge", 1, 0))
    (card,) = cards_of(catalogue, demos, edits.shown, confusion(model, demos), leads=edits.leads)
    assert (len(card["typical"]), len(card["borderline"])) == (5, demos.n_episodes - 5)
    assert not set(card["typical"]) & set(card["borderline"])
