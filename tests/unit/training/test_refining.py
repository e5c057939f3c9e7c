"""Refining: the policy alone goes on, where that pays, and a fit that is cut short goes on to the same end."""

import dataclasses

import pytest
import torch

from unbraid.training import calibrated as room
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions
from unbraid.training.refining import PolicyRefiner, held_out_error
from unbraid.training.steps import Steps


@pytest.fixture
def judged(tiny):
    """A fit with a twin, which judges."""
    return tiny("unbraid", calibration="left_out")


@pytest.fixture
def eager(monkeypatch):
    """Refining pays even of few demonstrations, and where it takes nothing off."""
    monkeypatch.setattr("unbraid.training.config._FEW_STEPS", 0)
    monkeypatch.setattr(room, "LEAST_GAIN", -10.0)


def driven(demos, config):
    learner = learner_for(demos, config)
    assert isinstance(learner, CalibratedLearner)
    while learner.taken < learner.n_steps:
        learner.step()
    return learner


def without_policy(model):
    return {name: value for name, value in model.state_dict().items() if not name.startswith("policy")}


def test_only_the_policy_is_refined(demos, tiny):
    plain, refined = (fit(demos, tiny("unbraid", refine_steps=n)) for n in (0, 30))
    before, after = without_policy(plain), without_policy(refined)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(plain.policy.trunk[0].weight, refined.policy.trunk[0].weight)


@pytest.mark.parametrize(("hidden", "times"), [((64,), 1), ((128, 128), 1), ((128, 256), 0.5), ((512,), 0.25)])
def test_wider_layers_learn_at_a_rate_as_much_smaller(demos, tiny, hidden, times):
    """After one step of a warm-up of 50, the rate is a fiftieth of the highest."""
    model = fit(demos, tiny("unbraid", policy_hidden=hidden, refine_steps=0))
    batch = torch.zeros(2, model.observation_size), torch.zeros(2, model.action_size), torch.eye(2)
    refiner = PolicyRefiner(model.policy, lambda: batch, batch=2)
    refiner.begin("beta", 1000)
    refiner.step()
    assert refiner.optimizer.param_groups[0]["lr"] == pytest.approx(4e-3 * times / 50)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_imitates_better(reflexes, tiny, precision):
    """Experts without noise, beyond what a short joint fit of a small policy learns."""
    seen, unseen = (reflexes(n_per_label=12, noise=0.0, seed=seed) for seed in (0, 1))
    steps = Steps.of(unseen)
    errors = []
    for n_steps in (0, 300):
        asked = {"refine_steps": n_steps, "precision": precision}
        model = fit(seen, tiny("unbraid", **asked, starts="several", search_steps=100))
        modes = torch.from_numpy(model.predict(unseen))[unseen.episode_of_step]
        errors.append(held_out_error(model, model.policy, steps, modes))
    assert errors[1] < 0.5 * errors[0]


def test_auto_refines_where_the_error_on_what_was_left_out_falls(demos, judged, monkeypatch):
    for least_gain, few, refined in ((-10.0, 0, True), (-10.0, demos.n_steps, False), (1.0, 0, False)):
        monkeypatch.setattr(room, "LEAST_GAIN", least_gain)
        monkeypatch.setattr("unbraid.training.config._FEW_STEPS", few)
        learner = driven(demos, judged)
        joint = learner.first.n_steps
        assert learner.n_steps == joint * (1 + room.REFINE_STEPS_PER_STEP * refined)
        kind = "likelihood" if few else "beta"
        assert set(learner.pilot) == (set() if few else {"before", kind})
        assert len(set(learner.pilot.values())) == len(learner.pilot)
        facts = learner.finished().search["refining"]
        assert facts["n_steps"] == learner.n_steps - joint
        assert facts["loss"] == (kind if refined else None)


def test_a_pilot_leaves_no_trace(demos, judged, same_weights, monkeypatch):
    monkeypatch.setattr("unbraid.training.config._FEW_STEPS", 0)
    monkeypatch.setattr(room, "LEAST_GAIN", 1.0)
    piloted, asked = (fit(demos, dataclasses.replace(judged, refine_steps=n)) for n in ("auto", 0))
    assert same_weights(piloted, asked)
    assert piloted.calibration == asked.calibration


def test_nothing_is_refined_unseen_where_nothing_was_left_out(demos, tiny, eager):
    learner = driven(demos, tiny("unbraid", calibration="off"))
    assert learner.n_steps == learner.first.n_steps
    assert learner.pilot == {}


def test_the_twin_learns_as_the_first_does(demos, judged, monkeypatch):
    monkeypatch.setattr("unbraid.training.config._FEW_STEPS", demos.n_steps - 1)  # of which the twin sees a part
    learner = learner_for(demos, judged)
    assert (learner.first.loss_kind, learner.twin.loss_kind) == ("beta", "beta")


def test_the_asked_loss_is_taken(demos, judged, eager):
    learner = driven(demos, dataclasses.replace(judged, policy_loss="huber"))
    assert set(learner.pilot) == {"before", "huber"}
    assert learner.finished().search["refining"]["loss"] == "huber"


@pytest.mark.parametrize("stop_after", [10, 19, 20, 33])
def test_a_fit_that_stops_anywhere_ends_where_an_unbroken_one_does(
    demos, judged, eager, same_weights, fit_in_two, tmp_path, stop_after
):
    unbroken = fit(demos, judged, LoopOptions(run=tmp_path / "unbroken", log_every=1, checkpoint_every=stop_after))
    stopped = LoopOptions(run=tmp_path / "stopped", log_every=1, checkpoint_every=stop_after)
    went_on = fit_in_two(demos, judged, stopped, stop_after)
    assert same_weights(unbroken, went_on)
    assert went_on.calibration == unbroken.calibration
    assert went_on.search == unbroken.search


def test_the_metrics_say_where_the_joint_fit_ended(demos, judged, eager):
    lines = []
    fit(demos, judged, LoopOptions(log_every=7, on_log=lines.append))
    steps = [line["step"] for line in lines]
    joint = judged.n_steps
    assert joint in steps
    assert steps[-1] == joint * (1 + room.REFINE_STEPS_PER_STEP)
    for line in lines:
        assert ("encoder" in line["terms"]) == (line["step"] <= joint)


def test_a_policy_with_styles_is_refined_and_its_styles_stay(demos, tiny):
    learner = driven(demos, tiny("unbraid", style="on", refine_steps=10))
    plain = driven(demos, tiny("unbraid", style="on", refine_steps=0))
    assert torch.equal(plain.first.styles.means, learner.first.styles.means)
    assert not torch.equal(plain.model.policy.trunk[0].weight, learner.model.policy.trunk[0].weight)


def test_the_number_type_of_the_products_reaches_both_parts_of_the_fit(demos, tiny):
    """Weights differ after the joint fit, and again after refining; all of them are float32."""
    models = {
        (precision, n): fit(demos, tiny("unbraid", precision=precision, refine_steps=n))
        for precision in ("float32", "bfloat16")
        for n in (0, 10)
    }
    assert len({model.policy.trunk[0].weight.sum().item() for model in models.values()}) == 4
    assert {weights.dtype for model in models.values() for weights in model.parameters()} == {torch.float32}
