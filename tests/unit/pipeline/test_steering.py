"""What is said of an instruction before anybody acts on it."""

import pytest
import torch

from unbraid.pipeline.steering import unlearned
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = ModeModel(UnbraidConfig(n_modes=3), observation_size=4, action_size=2).eval()
    made.shares = [0.6, 0.0, 0.4]
    return made


@pytest.mark.parametrize(
    ("asked", "n"),
    [
        (lambda policy: policy.toward(0), 0),
        (lambda policy: policy.toward(1), 1),
        (lambda policy: policy.toward(2).away(1), 1),
        (lambda policy: policy.away(0), 0),
        (lambda policy: policy.blend({0: 0.5, 1: 0.5}), 1),
        (lambda policy: policy.blend({0: 1.0, 1: 0.0}), 0),
    ],
)
def test_a_mode_without_demonstrations_is_said(model, asked, n):
    said = unlearned(model, [asked(steer(model)).instruction])
    assert len(said) == n
    assert all(warning.startswith("Mode 1 holds no demonstration") for warning in said)
