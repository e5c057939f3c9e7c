"""What a page shows of demonstrations over time is what the timeline says."""

import json

import numpy as np
import pytest
import torch

from unbraid.evaluation.over_time import over_time_entry
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.fixture(scope="module")
def demos(of_lengths):
    """Twenty episodes of 150, 0, 30, 150, ... steps."""
    return of_lengths([(150, 0, 30)[i % 3] for i in range(20)])


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ModeModel(UnbraidConfig(n_modes=2), observation_size=3, action_size=2)
    made.switch_rate = 0.3
    told = np.where((np.arange(1230) // 40 % 2)[:, None] == np.arange(2), 0.0, -3.0)
    made.step_scores = lambda steps: told  # an untrained model has nothing to say
    return made


def test_it_is_what_the_timeline_says(model, demos):
    found = over_time_entry(model, demos)
    timeline = model.timeline(demos)
    assert len(timeline.change_points) > 0
    assert found["switch_rate"] == 0.3
    n_changes = found["changes_per_episode"]
    assert n_changes["n"] == 13  # the others have no steps
    assert n_changes["value"] * 13 == pytest.approx(len(timeline.change_points))
    assert len(found["episodes"]) == 13
    shown = {episode["episode"]: episode for episode in found["episodes"]}
    assert 1 not in shown
    first = np.array(shown[0]["probabilities"])
    assert first.shape == (120, 2)
    np.testing.assert_allclose(first.sum(1), 1, atol=2e-3)
    np.testing.assert_allclose(shown[2]["probabilities"], timeline.probabilities[150:180], atol=1e-3)
    own = [point.to_json() for point in timeline.change_points if point.episode == 0]
    assert shown[0]["change_points"] == own
    json.dumps(found, allow_nan=False)
