"""What decides is what the modes differ in, and nothing else."""

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.modes.windows import cut_windows
from unbraid.studio.deciding import _scores_shown, _windows_as_episodes, deciding_inputs, input_groups
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit


@pytest.fixture(scope="module")
def pushes():
    """The first action is pushed up or down, by mode; the second action and all observations are noise."""
    generator = np.random.default_rng(0)

    def episode(sign):
        actions = 0.1 * generator.standard_normal((50, 2)) + [sign, 0.0]
        return Episode(generator.standard_normal((51, 3)).astype(np.float32), actions.astype(np.float32))

    return Demos.from_episodes([episode(sign) for sign in (-1, 1) * 6])


@pytest.fixture(scope="module")
def reader(pushes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.modes.latents.WIDTH", 16)
        config = UnbraidConfig(n_modes=2, n_steps=60, search_steps=40, policy_hidden=(16,), encoder_width=8)
        return fit(pushes, config)


def test_the_input_that_differs_comes_first_and_by_far(reader, pushes):
    found = deciding_inputs(reader, pushes)
    assert {entry.mode for entry in found} == {0, 1}
    for mode in (0, 1):
        first, second = [entry for entry in found if entry.mode == mode][:2]
        assert first.name == "action 0"
        assert first.lost_nats.low > 5 * abs(second.lost_nats.value)
        assert (first.lost_nats.n, first.lost_nats.unit_of_n) == (6, "episodes")


def test_columns_in_another_order_are_read_by_their_names(model, demos, disordered):
    """Their windows are read as those in order, and the inputs are named as they are."""
    (one, _), (other, _) = (_windows_as_episodes(model, d, 0) for d in (demos, disordered))
    whole = cut_windows(one.lengths, None)
    np.testing.assert_array_equal(model.window_scores(other, whole), model.window_scores(one, whole))
    found = [{(e.mode, e.name) for e in deciding_inputs(model, d)} for d in (demos, disordered)]
    assert found[0] == found[1]


def test_modes_that_were_merged_are_one(reader, pushes):
    """Nothing is told apart any more, so that what is lost is likelihood; and merging nothing changes nothing."""
    merged = deciding_inputs(reader, pushes, leads=(1, 1))
    assert {entry.mode for entry in merged} == {1}
    assert len(merged) == len({entry.name for entry in merged}) == 5
    assert merged[0].lost_nats.n == pushes.n_episodes
    assert deciding_inputs(reader, pushes, leads=(0, 1)) == deciding_inputs(reader, pushes)


def test_scores_of_merged_modes_are_added_as_likelihoods():
    scores = np.log([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    np.testing.assert_allclose(np.exp(_scores_shown(scores, np.array([0, 1, 0]))), [[0.5, 0.5], [0.9, 0.1]])


def test_the_seed_decides(reader, pushes):
    one, again, other = (deciding_inputs(reader, pushes, seed=seed) for seed in (0, 0, 1))
    assert one == again != other


def test_the_data_stays_as_it_was(reader, pushes):
    before = pushes.fingerprint()
    deciding_inputs(reader, pushes)
    assert pushes.fingerprint() == before


def test_columns_that_say_one_thing_are_one_input(demos):
    groups = input_groups(demos)
    assert groups["goal_lidar"] == list(range(12, 28))
    assert groups["gyro"] == [6, 7, 8]
    assert groups["action 1"] == [61]
    assert sorted(column for columns in groups.values() for column in columns) == list(range(62))


def test_episodes_shorter_than_a_window_are_read_whole(reader, pushes):
    short = Demos.from_episodes([Episode(e.observations[:11], e.actions[:10]) for e in pushes])
    found = deciding_inputs(reader, short)
    assert {entry.window_steps for entry in found} == {10}
    assert {entry.window_steps for entry in deciding_inputs(reader, pushes)} == {25}
    for mode in (0, 1):
        assert next(entry.name for entry in found if entry.mode == mode) == "action 0"


def test_episodes_without_steps_are_said(reader, pushes):
    empty = Demos.from_episodes([Episode(e.observations[:1], e.actions[:0]) for e in pushes])
    with pytest.raises(DataError, match="must have 1 steps"):
        deciding_inputs(reader, empty)


def test_neighbours_are_one_input_where_there_are_too_many():
    pile = Demos.from_episodes([Episode(np.zeros((3, 129), dtype=np.float32), np.zeros((2, 1), dtype=np.float32))])
    groups = input_groups(pile)
    assert len(groups) == 32 + 1
    assert groups["observation 0 to observation 4"] == [0, 1, 2, 3, 4]
    assert sorted(column for columns in groups.values() for column in columns) == list(range(130))
    assert len(input_groups(Demos.from_episodes([Episode(np.zeros((3, 128)), np.zeros((2, 1)))]))) == 129
