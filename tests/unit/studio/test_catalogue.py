"""Episodes in every order, page by page."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.portraits import episodes_read, portraits_entry
from unbraid.studio.catalogue import Catalogue, catalogue_of, run_lengths
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit

APART = (0, 1)


@pytest.fixture(scope="module")
def catalogue(model, demos):
    return catalogue_of(model, demos)


def test_it_says_what_the_model_says(catalogue, model, demos):
    np.testing.assert_array_equal(catalogue.probabilities, model.predict_proba(demos))
    np.testing.assert_allclose(catalogue.returns, [e.rewards.sum() for e in demos])
    np.testing.assert_allclose(catalogue.costs, [e.costs.sum() for e in demos])
    assert [sum(n for _, n in runs) for runs in catalogue.stretches] == demos.lengths.tolist()


def test_episodes_are_read_as_the_page_of_the_fit_reads_them(catalogue, model, demos):
    for told in portraits_entry(model, demos, np.arange(demos.n_episodes))["modes"]:
        own = np.flatnonzero(catalogue.probabilities.argmax(1) == told["mode"])
        assert len(own) == told["n"]
        if len(own):
            assert own[np.abs(catalogue.oddness[own]).argmin()] == told["typical"][0]


def test_the_policy_reads_every_step_once_and_some_at_a_time(catalogue, model, demos, monkeypatch):
    monkeypatch.setattr("unbraid.training.networks._PART_STEPS", 1)
    taken, read = [], type(model).log_likelihoods
    monkeypatch.setattr(
        type(model), "log_likelihoods", lambda own, steps: taken.append(steps.n_steps) or read(own, steps)
    )
    windows, _, probabilities, oddness = episodes_read(model, demos)
    assert taken == demos.lengths.tolist()
    assert windows.episodes.tolist() == list(range(demos.n_episodes))
    np.testing.assert_allclose(probabilities, catalogue.probabilities, atol=1e-5)
    np.testing.assert_allclose(oddness, catalogue.oddness, atol=1e-3)


def test_the_modes_of_steps_are_those_of_the_strips(catalogue, demos):
    of_step = catalogue.modes_of_steps(APART)
    assert len(of_step) == demos.n_steps
    for episode, runs in enumerate(catalogue.stretches):
        assert run_lengths(of_step[demos.step_starts[episode] : demos.step_starts[episode + 1]]) == list(runs)
    assert set(catalogue.modes_of_steps((1, 1)).tolist()) == {1}


def test_the_oddest_of_a_mode_is_the_one_that_it_explains_worst(catalogue, model, demos):
    modes = model.predict(demos)
    scores = np.array([model.score(demos.select([e])) for e in range(demos.n_episodes)])
    for mode in np.unique(modes):
        own = np.flatnonzero(modes == mode)
        assert own[catalogue.oddness[own].argmax()] == own[scores[own].argmin()]


def test_columns_in_another_order_are_read_by_their_names(catalogue, model, disordered):
    found = catalogue_of(model, disordered)
    np.testing.assert_array_equal(found.oddness, catalogue.oddness)
    assert found.stretches == catalogue.stretches


def test_far_from_0_the_oddest_is_still_the_one_that_the_model_explains_worst():
    """As a fit of such data does: what lies far from 0 is moved before it is rounded to float32."""
    generator = np.random.default_rng(0)

    def episode(sign, pushed):
        actions = pushed * generator.standard_normal((40, 1)) + sign
        seen = 1e8 + np.cumsum(generator.standard_normal((41, 2)), axis=0)
        return Episode(seen, actions)

    demos = Demos.from_episodes([episode(-1 if e % 2 else 1, 0.6 if e == 6 else 0.1) for e in range(12)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.modes.latents.WIDTH", 16)
        config = UnbraidConfig(n_modes=2, n_steps=60, search_steps=20, policy_hidden=(16,), encoder_width=8)
        model = fit(demos, config)
    assert model.observation_origin is not None
    modes, found = model.predict(demos), catalogue_of(model, demos)
    likelihoods = model.log_likelihoods(model.steps_of(demos)).double().numpy().reshape(12, 40, 2).mean(1)
    scores = likelihoods[np.arange(12), modes]
    for mode in (0, 1):
        own = np.flatnonzero(modes == mode)
        np.testing.assert_array_equal(own[np.argsort(-found.oddness[own])], own[np.argsort(scores[own])])


@pytest.mark.parametrize("by", ["odd", "episode", "mode", "certainty", "return", "cost", "length"])
def test_every_order_holds_every_episode_and_can_be_turned_round(catalogue, by):
    forth, back = catalogue.order(by, APART), catalogue.order(by, APART, descending=True)
    assert sorted(forth.tolist()) == sorted(back.tolist()) == list(range(catalogue.n_episodes))


def test_the_orders_are_what_they_say(catalogue):
    assert (np.diff(catalogue.oddness[catalogue.order("odd", APART)]) <= 0).all()
    assert (np.diff(catalogue.probabilities.max(1)[catalogue.order("certainty", APART)]) >= 0).all()
    assert (np.diff(catalogue.returns[catalogue.order("return", APART)]) >= 0).all()
    assert (np.diff(catalogue.probabilities.argmax(1)[catalogue.order("mode", APART)]) >= 0).all()


def test_rows_have_merged_modes_and_notes(catalogue):
    rows = catalogue.page(np.array([2, 0]), (0, 0), {2: "look"})
    assert [(row["episode"], row["mode"], row["note"]) for row in rows] == [(2, 0, "look"), (0, 0, "")]
    assert all(row["stretches"] == [(0, 60)] and row["certainty"] == 1 for row in rows)


def test_an_order_by_what_was_not_recorded_is_refused(model, demos):
    bare = catalogue_of(model, Demos.from_episodes([Episode(e.observations, e.actions) for e in demos]))
    with pytest.raises(ConfigError, match="records it"):
        bare.order("return", APART)


def test_an_episode_without_steps_is_nobodys(model, demos):
    empty = Episode(demos.observations[:1], demos.actions[:0])
    found = catalogue_of(model, Demos.from_episodes([empty, Episode(*_first(demos))]))
    np.testing.assert_array_equal(found.probabilities[0], [0.5, 0.5])
    assert found.stretches[0] == ()


def test_other_data_is_refused(model):
    with pytest.raises(DataError, match="columns"):
        catalogue_of(model, Demos.from_episodes([Episode(np.zeros((3, 2), np.float32), np.zeros((2, 1), np.float32))]))


def test_where_modes_change_the_timeline_is_shown(model, demos):
    model.switch_rate = 0.05
    try:
        found, due = catalogue_of(model, demos), model.timeline(demos).modes
    finally:
        model.switch_rate = 0.0
    shown = [mode for runs in found.stretches for mode, n in runs for _ in range(n)]
    np.testing.assert_array_equal(shown, due)


def test_runs_of_modes():
    assert run_lengths(np.array([1, 1, 0, 2, 2, 2])) == [(1, 2), (0, 1), (2, 3)]
    assert run_lengths(np.array([], dtype=int)) == []


def test_a_wrong_shape_raises():
    with pytest.raises(TypeCheckError):
        Catalogue(np.zeros(3), ((),), np.zeros(1), np.ones(1, dtype=int), None, None)


def _first(demos):
    episode = demos.episode(0)
    return episode.observations, episode.actions
