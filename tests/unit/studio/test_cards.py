"""Cards add up, and name what there is."""

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.studio.cards import cards_of, certified, confusion, measured_of, motion_of
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
        assert found[mode].sum() == pytest.approx(1.0 if (read == mode).any() else 0.0)
        assert found[mode, mode] >= found[mode].sum() / 2


def test_a_certificate_is_told_mode_by_mode_and_a_damaged_one_is_not(tmp_path):
    assert certified(tmp_path) == {}
    (tmp_path / "certificate.json").write_text("{}")
    assert certified(tmp_path) == {}
