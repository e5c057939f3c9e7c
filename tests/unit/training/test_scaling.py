"""What scales actions, and single ones that lie far beyond the others."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from unbraid.policy.normaliser import Normaliser
from unbraid.training.fit import fit
from unbraid.training.scaling import scaling_of_actions
from unbraid.training.steps import Steps


def with_action(demos, value, steps=(100,)):
    actions = demos.actions.copy()
    actions[list(steps), 0] = value
    return dataclasses.replace(demos, actions=actions)


def test_ordinary_actions_are_scaled_as_ever(demos):
    found = scaling_of_actions(Steps.of(demos))
    plain = Normaliser.of(demos.actions, floor=1e-3)
    assert found.warnings == []
    assert float(found.normaliser.clip) == 10.0
    torch.testing.assert_close(found.normaliser.mean, plain.mean)


@pytest.mark.parametrize("value", [1e2, -1e6, 1e30])
def test_a_fault_does_not_move_the_scale_and_is_said(demos, value):
    plain, found = (scaling_of_actions(Steps.of(own)) for own in (demos, with_action(demos, value)))
    torch.testing.assert_close(found.normaliser.scale, plain.normaliser.scale, rtol=0.01, atol=0)
    (warning,) = found.warnings
    assert warning.startswith("1 action lies far beyond all others of the same column (0)")
    scaled = found.normaliser(torch.tensor([[value, 0.0]]))
    assert scaled.abs().max() == found.normaliser.clip
    assert float(found.normaliser.clip) == 10.0


def test_what_experts_do_now_and_then_stays(reflexes):
    """One step of every episode, as a button that is pressed."""
    demos = reflexes(n_per_label=20, n_steps=2000)
    pressed = with_action(demos, 80.0, steps=demos.step_starts[:-1] + 3)
    found = scaling_of_actions(Steps.of(pressed))
    assert found.warnings == []
    assert float(found.normaliser.clip) == pytest.approx(1.5 * 80 / float(found.normaliser.scale[0]), rel=1e-3)


@pytest.mark.parametrize("value", [1e2, 1e6])
def test_modes_are_found_in_spite_of_a_fault(reflexes, tiny, value):
    demos = reflexes(n_per_label=12)
    model = fit(with_action(demos, value), tiny("unbraid", starts="several", search_steps=150, n_steps=100))
    assert adjusted_rand_score(demos.labels, model.predict(demos)) == 1.0
    assert "far beyond all others" in model.search["warnings"][0]


@pytest.mark.parametrize("evidence", ["combined", "policy", "encoder"])
@pytest.mark.parametrize("value", [1e6, 1e12, 1e30])
def test_a_fault_in_one_episode_changes_nothing_that_is_read_of_others(demos, tiny, value, evidence):
    model = fit(demos, tiny("unbraid"))
    faulty = with_action(demos, value, steps=(10,))
    others = model.cut(demos, 5).episodes > 0
    for n_steps, kept in ((5, others), (None, slice(1, None))):
        was, now = (model.predict_proba(d, window_steps=n_steps, evidence=evidence) for d in (demos, faulty))
        np.testing.assert_allclose(now[kept], was[kept], atol=1e-4)
        assert np.isfinite(now).all()
    assert np.isfinite(model.score(faulty))
    after = int(demos.lengths[0])
    for verb in ("timeline", "filter"):
        was, now = (getattr(model, verb)(d) for d in (demos, faulty))
        was, now = (own.probabilities if verb == "timeline" else own for own in (was, now))
        np.testing.assert_allclose(now[after:], was[after:], atol=1e-4)
        assert np.isfinite(now).all()


def test_a_fault_is_observed_as_it_is_filtered(demos, tiny):
    model = fit(demos, tiny("unbraid"))
    faulty, found, belief = with_action(demos, 1e30, steps=(10,)).select([0]), [], None
    for observation, action in zip(faulty.observations[:-1], faulty.actions, strict=True):
        belief = model.observe(belief, observation, action)
        found.append(belief.probabilities)
    np.testing.assert_allclose(np.array(found), model.filter(faulty), atol=1e-4)
