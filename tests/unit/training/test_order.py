"""Experts whom order alone tells apart: an encoder that sees it is taken, and nowhere else."""

import dataclasses

import numpy as np
import pytest
import torch

from unbraid.demos.episodes import Demos, Episode
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit
from unbraid.training.given import Given
from unbraid.training.joint import UnbraidLearner
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.training.order import OrderTrial, in_order
from unbraid.training.reading import Reading
from unbraid.training.steps import Steps

N_STATIONS, N_STEPS = 10, 40


@pytest.fixture(scope="module")
def rounds():
    """Two experts go around ten stations, one of them from each to the third after it; their actions are noise."""
    draws = np.random.default_rng(0)

    def episode(label):
        stations = draws.integers(N_STATIONS) + (1, 3)[label] * np.arange(N_STEPS + 1)
        angles = 2 * np.pi * stations / N_STATIONS
        places = np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.05 * draws.normal(size=(N_STEPS + 1, 2))
        actions = draws.normal(size=(N_STEPS, 1))
        return Episode(places.astype(np.float32), actions.astype(np.float32), label=label)

    return Demos.from_episodes([episode(i % 2) for i in range(80)], label_names=["each", "every third"])


@pytest.fixture
def config():
    sizes = {"n_steps": 200, "policy_batch": 64, "policy_hidden": (8,), "encoder_width": 32, "learning_rate": 3e-3}
    return UnbraidConfig(n_modes=2, policy_head="gaussian", refine_steps=0, **sizes)


def taught(demos, modes, config):
    """A learner that was given modes, after all its steps, and its model."""
    responsibilities = torch.nn.functional.one_hot(torch.as_tensor(modes), 2).float()
    steps = Steps.of(demos)
    given = Given(steps.episodes, responsibilities, facts={"warnings": [], "changes": None})
    learner = CalibratedLearner(steps, config, given=given)
    while learner.taken < learner.n_steps:
        learner.step()
    return learner, learner.finished()


def test_where_order_alone_tells_an_encoder_that_sees_it_is_taken(rounds, config, tmp_path):
    learner, model = taught(rounds, rounds.labels, config)
    assert learner.order_trial is not None
    assert learner.order_trial.without.is_bad
    assert model.config == dataclasses.replace(config, encoder="window_mlp", **_taken(model))
    n_left_out = len(learner._left_out)
    assert model.search["encoder"]["encoder"] == "window_mlp"
    assert model.search["encoder"]["trial"] == {
        "n_left_out": n_left_out,
        "misread": {"mean": learner.order_trial.without.n_misread, "window_mlp": 0},
    }
    assert not any("another mode" in said for said in model.search["warnings"])
    windows = model.predict(rounds, window_steps=10, evidence="encoder")
    assert (windows == np.repeat(rounds.labels, len(windows) // len(rounds.labels))).mean() > 0.95
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(rounds), model.predict_proba(rounds))


def _taken(model):
    return {name: getattr(model.config, name) for name in ("weight_decay", "window_lengths", "policy_layer_norm")}


def test_where_the_mean_reads_well_it_stays_and_nothing_is_trained(demos, tiny, same_weights, monkeypatch):
    asked = {"calibration": "left_out", "n_steps": 150}
    mean = taught(demos, demos.labels, tiny("unbraid", encoder="mean", **asked))[1]
    monkeypatch.setattr("unbraid.training.order.in_order", None)
    auto = taught(demos, demos.labels, tiny("unbraid", **asked))[1]
    assert same_weights(mean, auto)
    assert auto.config == mean.config
    assert auto.search["encoder"] == mean.search["encoder"] == {"encoder": "mean"}


def test_where_order_does_not_help_the_mean_stays_and_is_said_to_fail(rounds, config, same_weights):
    modes = np.random.default_rng(1).integers(2, size=rounds.n_episodes)  # which nothing tells apart
    learner, model = taught(rounds, modes, dataclasses.replace(config, n_steps=60))
    assert learner.order_trial is not None
    assert not learner.order_trial.is_taken
    assert same_weights(model, taught(rounds, modes, dataclasses.replace(config, n_steps=60, encoder="mean"))[1])
    assert model.config.encoder == "mean"
    assert model.search["warnings"]
    assert not any("window_mlp" in said for said in model.search["warnings"])


@pytest.mark.parametrize("asked", [{"encoder": "mean"}, {"codes": "free"}, {"calibration": "off"}])
def test_it_is_not_tried_where_an_encoder_was_asked_for_or_shares_codes_or_nothing_is_left_out(rounds, config, asked):
    learner, model = taught(rounds, rounds.labels, dataclasses.replace(config, n_steps=30, **asked))
    assert learner.order_trial is None
    assert model.config.encoder == "mean"


def test_where_it_was_not_tried_it_is_proposed(rounds, config):
    model = taught(rounds, rounds.labels, dataclasses.replace(config, calibration="off"))[1]
    (said,) = [said for said in model.search["warnings"] if "another mode" in said]
    assert "window_mlp" in said


def test_of_a_long_fit_it_learns_for_a_part_of_the_steps(rounds, config, monkeypatch):
    learner, _ = taught(rounds, rounds.labels, dataclasses.replace(config, n_steps=30, encoder="mean"))
    taken, follow = [], UnbraidLearner.follow
    monkeypatch.setattr("unbraid.training.order._MOST_STEPS", 7)
    monkeypatch.setattr(UnbraidLearner, "follow", lambda self: (taken.append(self.n_steps), follow(self)))
    in_order(learner.first)
    assert taken == [7] * 7


def test_a_fit_that_is_resumed_takes_the_same_encoder(rounds, config, same_weights, fit_in_two, tmp_path):
    config = dataclasses.replace(config, search_steps=100)
    unbroken = fit(rounds, config)
    assert unbroken.config.encoder == "window_mlp"
    options = LoopOptions(run=tmp_path, log_every=10, checkpoint_every=50)
    went_on = fit_in_two(rounds, config, options, 110)
    once_more = fit(rounds, config, dataclasses.replace(options, resume=True))
    for model in (went_on, once_more):
        assert same_weights(model, unbroken)
        assert model.calibration == unbroken.calibration
        assert model.search == unbroken.search


@pytest.mark.parametrize(
    ("n_spans", "without", "seen", "is_taken"),
    [(20, 2, 0, False), (20, 9, 1, True), (20, 9, 3, False), (48, 5, 4, False), (48, 9, 3, False), (48, 16, 4, True)],
)
def test_it_is_taken_where_it_clearly_reads_what_is_read_badly_without(n_spans, without, seen, is_taken):
    assert OrderTrial(Reading(n_spans, without), Reading(n_spans, seen)).is_taken == is_taken
