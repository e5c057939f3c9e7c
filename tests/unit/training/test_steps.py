"""The learner's view of demonstrations: every index leads to its own episode's own step."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.store import save_demos
from unbraid.training.steps import Steps


def test_every_action_finds_the_observation_it_was_taken_on(identities):
    demos = identities([3, 0, 5, 1])
    steps = Steps.of(demos)
    everything = torch.arange(steps.n_steps)
    assert steps.n_steps == 9
    assert steps.n_episodes == 4
    assert torch.equal(steps.observations(everything), steps.actions)
    assert torch.equal(steps.episode_of_step.float(), steps.actions[:, 0])
    assert steps.observations(torch.tensor([[0, 3], [8, 7]])).shape == (2, 2, 2)


def test_transitions_stay_in_their_episode_and_steps_left_says_how_far_they_may_reach(identities):
    steps = Steps.of(identities([3, 0, 5, 1]))
    assert steps.steps_left.tolist() == [3, 2, 1, 5, 4, 3, 2, 1, 1]
    moved = steps.transitions(torch.arange(9), steps.steps_left)  # to each episode's last observation
    assert moved[:, 0].tolist() == [0] * 9
    assert moved[:, 1].tolist() == steps.steps_left.tolist()
    assert steps.transitions(torch.tensor([0, 3]), 2).tolist() == [[0, 2], [0, 2]]


def test_it_shares_memory_with_what_was_recorded(demos):
    assert Steps.of(demos).rows.data_ptr() == demos.observations.ctypes.data


def test_a_memory_mapped_store_is_neither_copied_nor_warned_about(demos, tmp_path):
    save_demos(demos, tmp_path / "demos")
    mapped = load_demos(tmp_path / "demos")
    assert isinstance(mapped.observations, np.memmap)
    steps = Steps.of(mapped)
    assert steps.rows.data_ptr() == mapped.observations.ctypes.data
    assert torch.equal(steps.rows, torch.from_numpy(demos.observations))


def test_other_types_become_float32():
    episode = Episode(observations=np.ones((4, 2)), actions=np.ones((3, 1)))
    steps = Steps.of(Demos.from_episodes([episode]))
    assert steps.rows.dtype == steps.actions.dtype == torch.float32


def test_no_steps_at_all_are_refused(identities):
    with pytest.raises(DataError, match=r"at least one step; got none\. Record or select some\."):
        Steps.of(identities([0, 0]))
