"""Pictures come while a fit goes on, say what was done and what the policy would do, and leave the fit alone."""

import json

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions
from unbraid.training.pictures import (
    MOST_SHOWN_STEPS,
    PICTURES_FILE,
    Pictured,
    picture_is_due,
    picture_modes,
    picture_writer,
)


def pictures_of(run):
    return [json.loads(line) for line in (run / PICTURES_FILE).read_text().splitlines()]


@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_a_fit_is_the_same_whether_pictures_are_made_or_not(demos, tiny, same_weights, tmp_path, method):
    seen = fit(demos, tiny(method), LoopOptions(run=tmp_path, log_every=1, checkpoint_every=4))
    assert same_weights(seen, fit(demos, tiny(method)))
    assert [line["step"] for line in pictures_of(tmp_path)] == [1, 2, 4, 8, 12, 16, 20]


@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_a_fit_that_goes_on_has_the_pictures_of_an_unbroken_one(demos, tiny, fit_in_two, tmp_path, method):
    """Those that come after the checkpoint are made again, not twice."""
    fit(demos, tiny(method), LoopOptions(run=tmp_path / "unbroken", log_every=2, checkpoint_every=6))
    options = LoopOptions(run=tmp_path / "stopped", log_every=2, checkpoint_every=6)
    fit_in_two(demos, tiny(method), options, 9)
    assert pictures_of(tmp_path / "stopped") == pictures_of(tmp_path / "unbroken")


@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_what_was_done_is_the_demonstrations_and_the_policy_draws_near(demos, tiny, tmp_path, method):
    fit(demos, tiny(method, n_steps=300), LoopOptions(run=tmp_path, log_every=1, checkpoint_every=300))
    lines = pictures_of(tmp_path)
    assert sum(mode["share"] for mode in lines[-1]["modes"]) == pytest.approx(1, abs=1e-3)
    for mode in (own for own in lines[-1]["modes"] if own["share"] > 0):
        shown = len(mode["demonstrated"][0]) * mode["every"]
        assert 1 <= shown <= MOST_SHOWN_STEPS + mode["every"]
        rows = demos.step_starts[mode["episode"]] + mode["first_step"] + np.arange(0, shown, mode["every"])
        np.testing.assert_allclose(np.array(mode["demonstrated"]).T, demos.actions[rows][:, :4], rtol=1e-3, atol=1e-6)
        assert np.min(mode["deviation"]) > 0

    def errors(line):
        apart = [np.subtract(m["mean"], m["demonstrated"]) for m in line["modes"] if "mean" in m]
        return np.mean([np.square(one).mean() for one in apart])

    assert errors(lines[-1]) < errors(lines[0])


def test_each_modes_picture_is_of_a_demonstration_of_its_own(demos, tiny):
    learner = learner_for(demos, tiny("unbraid"))
    modes = learner.first.responsibilities.argmax(1)
    for picture in learner.pictures():
        assert int(modes[picture["episode"]]) == picture["mode"]


def test_a_mode_that_nobody_is_in_has_no_stretch(demos, tiny):
    learner = learner_for(demos, tiny("unbraid")).first
    learner.responsibilities = torch.zeros_like(learner.responsibilities)
    learner.responsibilities[:, 0] = 1
    first, second = learner.pictures()
    assert "mean" in first
    assert second == {"mode": 1, "share": 0.0}


def test_a_model_that_learns_styles_has_pictures_too(demos, tiny):
    learner = learner_for(demos, tiny("unbraid", style="on"))
    learner.step()
    assert all(np.isfinite(picture["mean"]).all() for picture in learner.pictures())


def test_a_policy_that_went_astray_is_told_without_numbers(demos, tiny):
    learner = learner_for(demos, tiny("unbraid")).first
    with torch.no_grad():
        next(learner.model.policy.parameters()).fill_(float("nan"))
    assert {value for column in learner.pictures()[0]["mean"] for value in column} == {None}


def test_they_are_due_with_every_checkpoint_and_as_the_steps_double_before_the_first():
    due = [n for n in range(1, 2001) if picture_is_due(n, log_every=50, checkpoint_every=500)]
    assert due == [50, 100, 200, 400, 500, 1000, 1500, 2000]
    assert [n for n in range(1, 9) if picture_is_due(n, log_every=50, checkpoint_every=2)] == [2, 4, 6, 8]


def test_without_a_run_or_pictures_nothing_is_written(demos, tiny, tmp_path):
    picture_writer(object(), tmp_path)()
    learner = learner_for(demos, tiny("talk"))
    assert isinstance(learner, Pictured)
    picture_writer(learner, None)()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_shape_raises(demos, tiny):
    learner = learner_for(demos, tiny("talk"))
    with pytest.raises(TypeCheckError):
        picture_modes(learner.model, learner.steps, [], contexts=torch.zeros(2), shares=torch.zeros(2))
