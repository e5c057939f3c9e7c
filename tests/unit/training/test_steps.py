"""The learner's view of demonstrations: every index leads to its own episode's own step."""

import mmap

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.selection import Selection
from unbraid.demos.store import save_demos
from unbraid.modes import stretches
from unbraid.modes.stretches import Stretches
from unbraid.training import steps as steps_module
from unbraid.training.steps import Steps


def test_every_action_finds_the_observation_it_was_taken_on(identities):
    demos = identities([3, 0, 5, 1])
    steps = Steps.of(demos)
    everything = torch.arange(steps.n_steps)
    assert steps.n_steps == 9
    assert steps.n_episodes == 4
    assert torch.equal(steps.observations(everything), steps.actions(everything))
    assert torch.equal(steps.episodes[everything].float(), steps.actions(everything)[:, 0])
    assert steps.observations(torch.tensor([[0, 3], [8, 7]])).shape == (2, 2, 2)


def test_transitions_stay_in_their_episode_and_steps_left_says_how_far_they_may_reach(identities):
    steps = Steps.of(identities([3, 0, 5, 1]))
    left = steps.steps_left(torch.arange(9))
    assert left.tolist() == [3, 2, 1, 5, 4, 3, 2, 1, 1]
    moved = steps.transitions(torch.arange(9), left)  # to each episode's last observation
    assert moved[:, 0].tolist() == [0] * 9
    assert moved[:, 1].tolist() == left.tolist()
    assert steps.transitions(torch.tensor([0, 3]), 2).tolist() == [[0, 2], [0, 2]]


def test_it_shares_memory_with_what_was_recorded(demos):
    assert Steps.of(demos).row_table.data_ptr() == demos.observations.ctypes.data


def test_a_memory_mapped_store_is_neither_copied_nor_warned_about(demos, tmp_path):
    save_demos(demos, tmp_path / "demos")
    mapped = load_demos(tmp_path / "demos")
    assert isinstance(mapped.observations, np.memmap)
    steps = Steps.of(mapped)
    assert steps.row_table.data_ptr() == mapped.observations.ctypes.data
    assert torch.equal(steps.row_table, torch.from_numpy(demos.observations))


def test_other_types_become_float32():
    episode = Episode(observations=np.ones((4, 2)), actions=np.ones((3, 1)))
    steps = Steps.of(Demos.from_episodes([episode]))
    assert steps.row_table.dtype == steps.action_table.dtype == torch.float32


def test_a_map_of_another_type_is_converted_as_it_is_read(tmp_path):
    episode = Episode(observations=np.random.default_rng(0).normal(size=(4, 2)), actions=np.ones((3, 1)))
    demos = Demos.from_episodes([episode])
    mapped, made = Steps.of(load_demos(save_demos(demos, tmp_path / "demos"))), Steps.of(demos)
    assert mapped.row_table.dtype == torch.float64
    assert mapped.observations(torch.arange(3)).dtype == torch.float32
    assert torch.equal(mapped.observations(torch.arange(3)), made.observations(torch.arange(3)))
    assert torch.equal(mapped.transitions(torch.arange(2), 2), made.transitions(torch.arange(2), 2))


def _what_is_read(steps):
    every = torch.arange(steps.n_steps)
    numbers = torch.arange(steps.n_steps + steps.n_episodes)
    return {
        "observations": steps.observations(every),
        "actions": steps.actions(every),
        "left": steps.steps_left(every),
        "transitions": steps.transitions(every, steps.steps_left(every)),
        "episodes": steps.episodes[every],
        "all observations": steps.nth_observations(numbers),
        "blocks of observations": torch.from_numpy(np.concatenate(list(steps.observation_blocks()))),
        "blocks of actions": torch.from_numpy(np.concatenate(list(steps.action_blocks()))),
    }


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4, 5], [1, 2, 4], [3], [0, 5]])
@pytest.mark.parametrize("told", [0, 1_000_000])
def test_a_view_is_read_as_a_copy_is(identities, monkeypatch, chosen, told):
    monkeypatch.setattr(stretches, "_TOLD_STEPS", told)
    monkeypatch.setattr(steps_module, "_BLOCK", 4)
    demos = identities([3, 0, 5, 1, 7, 2])
    copy = _what_is_read(Steps.of(demos.select(chosen)))
    for view in (Steps.of(Selection(demos, np.array(chosen))), Steps.of(demos).of_episodes(torch.tensor(chosen))):
        found = _what_is_read(view)
        for name, values in copy.items():
            assert torch.equal(found[name], values), name
        assert view.lengths.tolist() == demos.lengths[chosen].tolist()


def test_stretches_of_a_view_are_episodes_of_their_own(identities):
    demos = identities([3, 0, 5, 1, 7, 2])
    view = Steps.of(Selection(demos, np.array([2, 4])))
    part = view.of_stretches(Stretches(torch.tensor([2, 3, 4, 3])), torch.tensor([1, 3]))
    assert part.lengths.tolist() == [3, 3]
    assert part.observations(torch.arange(6)).tolist() == [[2, 2], [2, 3], [2, 4], [4, 4], [4, 5], [4, 6]]
    assert torch.equal(part.actions(torch.arange(6)), part.observations(torch.arange(6)))
    assert part.steps_left(torch.arange(6)).tolist() == [3, 2, 1, 3, 2, 1]


@pytest.mark.parametrize("most", [1, 4, 8, 100])
def test_parts_make_the_whole(identities, most):
    steps = Steps.of(identities([3, 0, 5, 1, 7, 2]))
    parts, behind = list(steps.parts(most)), 0
    for part, first in parts:
        assert first == behind
        assert torch.equal(
            part.actions(torch.arange(part.n_steps)), steps.actions(torch.arange(first, first + part.n_steps))
        )
        behind += part.n_steps
    assert behind == steps.n_steps
    assert sum(part.n_episodes for part, _ in parts) == 6
    assert len(parts) == {1: 5, 4: 3, 8: 3, 100: 1}[most]


def test_no_steps_at_all_are_refused(identities):
    with pytest.raises(DataError, match=r"at least one step; got none\. Record or select some\."):
        Steps.of(identities([0, 0]))


class _Told(list):
    """Stands for a map, and keeps what it was told."""

    def __len__(self):
        return 1000

    def madvise(self, advice):
        self.append(advice)


@pytest.mark.parametrize(("memory", "told"), [(1500, [mmap.MADV_RANDOM, mmap.MADV_NORMAL]), (2500, [])])
def test_only_a_file_larger_than_half_of_memory_is_not_read_on_around_every_step(identities, monkeypatch, memory, told):
    monkeypatch.setattr(steps_module, "_memory_bytes", lambda: memory)
    steps, given = Steps.of(identities([3, 2])), _Told()
    object.__setattr__(steps, "maps", (given,))
    with pytest.raises(ZeroDivisionError), steps.read_at_random():
        raise ZeroDivisionError
    assert list.__repr__(given) == repr(told)


def test_the_maps_of_a_store_are_told(demos, tmp_path, monkeypatch):
    steps = Steps.of(load_demos(save_demos(demos, tmp_path / "demos")))
    assert [type(own) for own in steps.maps] == [mmap.mmap] * 2
    assert Steps.of(demos).maps == ()
    monkeypatch.setattr(steps_module, "_memory_bytes", lambda: 0)
    with steps.read_at_random():
        assert torch.equal(steps.actions(torch.arange(3)), torch.from_numpy(demos.actions[:3]))
