"""Whether experts take over from one another within an episode, and where: found where they do, denied where not."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from unbraid.modes import changes
from unbraid.modes.changes import Changes, _absorbed, _parts, changes_within, stretches_of_one_mode
from unbraid.modes.search import ModeSearch
from unbraid.modes.spans import SpanSource

STEPS = 60
SLOPES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A third of the width, and one restart of two: EM, which solves for every feature, takes a moment."""
    monkeypatch.setattr("unbraid.modes.latents.WIDTH", 16)
    monkeypatch.setattr("unbraid.modes.changes._SHARES_OF_TURN", (1 / 3, 1 / 2))


@pytest.fixture
def taking_over(recorded_of):
    """(recorded, expert of each step): from about the middle of every episode, another expert acts."""

    def make(n_experts=2, n_episodes=18, *, changing=True, n_steps=100, seed=0):
        generator = np.random.default_rng(seed)
        observations, actions, modes = [], [], []
        for episode in range(n_episodes):
            first = episode % n_experts
            second = (first + 1 + episode // n_experts % (n_experts - 1)) % n_experts if changing else first
            own = np.where(np.arange(n_steps) < generator.integers(30, 70), first, second)
            seen = generator.normal(size=(n_steps + 1, 3))
            done = np.stack([(seen[:-1, :2] * SLOPES[own]).sum(1), seen[:-1, 2]], axis=1)
            observations.append(seen)
            actions.append(done + 0.5 * generator.normal(size=done.shape))
            modes.append(own)
        return recorded_of(observations, actions), np.concatenate(modes)

    return make


search_of = partial(ModeSearch, n_steps=STEPS)


def source_of(recorded):
    """Episodes that lie end to end, in their own units."""
    same, lengths = torch.nn.Identity(), recorded.lengths
    first = lengths.cumsum(0) - lengths
    return SpanSource(recorded.rows, recorded.actions, first + torch.arange(len(lengths)), first, lengths, same, same)


def cut_of(recorded, turn_steps, seed=0, n_modes=2):
    """The stretch of every step."""
    draws = np.random.default_rng(seed)
    lengths = stretches_of_one_mode(source_of(recorded), search_of, n_modes, turn_steps, draws)
    return torch.arange(len(lengths)).repeat_interleave(lengths)


def purity(stretches, modes):
    """The share of steps whose expert is the commonest one of their stretch."""
    counts = np.zeros((int(stretches[-1]) + 1, modes.max() + 1))
    np.add.at(counts, (stretches.numpy(), modes), 1)
    return counts.max(1).sum() / len(modes)


@pytest.mark.parametrize("n_experts", [2, 3])
def test_experts_that_take_over_are_found_and_where(taking_over, n_experts):
    recorded, modes = taking_over(n_experts)
    found = changes_within(search_of(recorded, np.random.default_rng(0)), n_experts)
    assert found.are_there
    assert 15 < found.turn_steps < 150  # 50 is the truth
    cut = cut_of(recorded, found.turn_steps, n_modes=n_experts)
    assert purity(cut, modes) > 0.98
    assert 36 <= int(cut[-1]) + 1 <= 42  # two in each of 18 episodes
    assert (np.diff(cut.numpy()) >= 0).all()
    assert ((recorded.spans[1:] != recorded.spans[:-1]) <= (cut[1:] != cut[:-1])).all()  # no stretch in two episodes


def test_experts_that_keep_to_their_episode_do_not(taking_over):
    recorded, _ = taking_over(changing=False)
    found = changes_within(search_of(recorded, np.random.default_rng(0)), 2)
    assert not found.are_there
    assert found.turn_steps is None
    assert found.modes_nats > 10
    assumed = changes_within(search_of(recorded, np.random.default_rng(0)), 2, assumed=True)
    assert assumed.turn_steps > 1000


def test_a_part_in_which_all_hold_still_is_no_change_of_expert(recorded_of):
    """One of three scatters little. The others do so, too, in the second half of their episodes, where all do the same:
    there the first one's mode explains everybody best, and nobody took over."""
    generator = np.random.default_rng(0)
    observations, actions, n_steps = [], [], 100
    for episode in range(24):
        slope, is_calm = [1.5, -1.5, 0.0][episode % 3], episode % 3 == 2
        late = (np.arange(n_steps) >= generator.integers(40, 60)) | is_calm
        seen = generator.normal(size=(n_steps + 1, 3))
        noise = np.where(late, 0.05, 0.5)[:, None] * generator.normal(size=(n_steps, 2))
        moves = np.where(late, 0.0, slope) * seen[:-1, 0]
        observations.append(seen)
        actions.append(np.stack([moves, 0 * moves], axis=1) + noise)
    search = search_of(recorded_of(observations, actions), np.random.default_rng(0))
    groups = torch.nn.functional.one_hot(torch.arange(24) % 3).float()
    search.of_sample = lambda n_modes: groups
    found = changes_within(search, 3)
    assert dataclasses.replace(found, alike_nats=None).are_there  # what would be taken for a change of expert
    assert not found.are_there
    assert found.turn_steps is None


def test_an_episode_at_a_speed_of_its_own_is_no_change_of_expert(recorded_of):
    """One expert, at a speed that is drawn for the episode and wavers within it, in a slow mode and a fast one."""
    generator, n_steps = np.random.default_rng(0), 80
    speeds = np.exp(0.8 * generator.normal(size=40))
    observations, actions = [], []
    for speed in speeds:
        seen = generator.normal(size=(n_steps + 1, 2))
        now = speed + 0.7 * np.sin(2 * np.pi * np.arange(n_steps) / 40 + generator.uniform(0, 6))
        observations.append(seen)
        actions.append(now[:, None] * seen[:-1] + 0.7 * generator.normal(size=(n_steps, 2)))
    search = search_of(recorded_of(observations, actions), np.random.default_rng(0))
    groups = torch.nn.functional.one_hot(torch.from_numpy((speeds > 1.1).astype(np.int64))).float()
    search.of_sample = lambda n_modes: groups
    found = changes_within(search, 2)
    assert dataclasses.replace(found, within_nats=None).are_there  # what would be taken for a change of expert
    assert not found.are_there


def test_cutting_leaves_whole_what_does_not_change(taking_over):
    recorded, _ = taking_over(changing=False, n_episodes=8)
    cut = cut_of(recorded, 50.0)
    assert torch.equal(cut, recorded.spans)


@pytest.mark.parametrize("n_modes", [2, "auto"])
def test_parts_are_told_apart_by_twice_as_many_modes_and_whole_stretches_by_as_many(taking_over, monkeypatch, n_modes):
    """With no more modes than experts, what was never cut between two of them stays in one mode."""
    seen, glance = [], ModeSearch.glance

    def noted(search, n):
        found = glance(search, n)
        seen.append((len(found), n, found.shape[1]))
        return found

    monkeypatch.setattr(ModeSearch, "glance", noted)
    monkeypatch.setattr("unbraid.modes.changes._SHARES_OF_TURN", (1 / 2,))
    recorded, _ = taking_over(n_episodes=6)
    cut_of(recorded, 50.0, n_modes=n_modes)
    assert [n for _, n, _ in seen[:4]] == [n_modes, 2 * seen[0][2], n_modes, 2 * seen[2][2]]
    assert [n for _, n, _ in seen[4:]] == [n_modes, n_modes]
    assert seen[0][0] == 24  # four parts of each episode
    assert seen[-1][0] < 24


def test_there_are_no_more_modes_than_parts(taking_over):
    recorded, _ = taking_over(n_episodes=2)
    cut = cut_of(recorded, 200.0, n_modes=2)  # three parts at the most
    assert len(cut) == 200


def test_a_sample_teaches_where_to_cut_the_others(taking_over, monkeypatch):
    """With room for ten episodes of eighteen, all are cut; blocks as small as two episodes give the same cuts."""
    recorded, modes = taking_over()
    monkeypatch.setattr(changes, "MOST_STEPS", 1000)
    cut = cut_of(recorded, 50.0)
    assert purity(cut, modes) > 0.97


def test_a_generator_suffices(taking_over):
    recorded, _ = taking_over(n_episodes=6)
    first, again = (cut_of(recorded, 50.0, seed=3) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("gain", "error", "modes", "alike", "within", "there"),
    [
        (9.0, 1.0, 20.0, 8.0, 3.0, True),
        (9.0, 4.0, 20.0, None, None, False),  # could be chance
        (2.0, 0.1, 4.0, None, None, False),  # less than the price of a change
        (9.0, 1.0, 200.0, None, None, False),  # a trifle beside what tells modes apart
        (9.0, None, 20.0, None, None, False),  # one episode
        (9.0, 1.0, 20.0, 1.7, None, False),  # calmer modes in calmer moments
        (9.0, 1.0, 20.0, 8.0, 10.0, False),  # episodes that differ as a whole
    ],
)
def test_what_counts_as_changes(gain, error, modes, alike, within, there):
    found = Changes(gain, error, modes, alike_nats=alike, within_nats=within)
    assert found.are_there == there
    told = {"gain_nats": gain, "gain_error": error, "modes_nats": modes, "alike_nats": alike, "within_nats": within}
    assert found.facts() == {"within_episodes": there, **told}


@pytest.mark.parametrize("longest_steps", [1, 5, 7, 40])
def test_parts_are_equal_none_is_longer_than_by_a_fifth_and_none_is_of_two_spans(longest_steps):
    lengths = [1, 4, 5, 6, 7, 11, 12, 16, 23, 100]
    spans = np.repeat(np.arange(len(lengths)), lengths)
    parts = _parts(spans, longest_steps)
    assert set(np.diff(parts, prepend=-1).tolist()) <= {0, 1}  # numbered in the order of time, without gaps
    for span, n in enumerate(lengths):
        own = np.unique(parts[spans == span], return_counts=True)[1]
        assert own.max() - own.min() <= 1
        assert own.max() <= max(np.ceil(1.2 * longest_steps), 1)
        assert len(own) <= np.ceil(n / longest_steps)
    assert len(np.unique(parts)) == sum(len(np.unique(parts[spans == span])) for span in range(len(lengths)))


def test_a_short_stretch_has_the_mode_of_the_longer_of_its_neighbours_in_its_episode():
    """Half of all steps lie in stretches of 40 or more: short is less than 10."""
    stretches = [  # (episode, mode, steps), and the mode that it is given
        ((0, 2, 9), 0),  # short, at the episode's beginning
        ((0, 0, 40), 0),
        ((0, 1, 5), 2),  # the next is longer than the one before
        ((0, 2, 60), 2),
        ((1, 1, 9), 1),  # short, and alone in its episode
        ((2, 0, 10), 0),  # no shorter than that
        ((2, 1, 40), 1),
        ((2, 0, 3), 1),  # at its end, whatever the next episode begins with
        ((3, 2, 50), 2),
    ]
    episodes, path, told = (
        np.concatenate([np.full(given[2], value) for (given, mode) in stretches for value in [(*given, mode)[column]]])
        for column in (0, 1, 3)
    )
    np.testing.assert_array_equal(_absorbed(path, episodes), told)
