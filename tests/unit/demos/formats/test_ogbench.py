"""OGBench's NPZ: the last action of an episode is of no meaning, and terminals mark its row."""

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.formats.ogbench import FORMAT, read_ogbench, write_ogbench
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts

LENGTHS = np.array([3, 0, 4])


def _flat(**changes):
    """Two columns that spell (episode, step); the actions that nobody took are 99."""
    rows = [(e, step) for e, t in enumerate(LENGTHS) for step in range(t + 1)]
    last = np.isin(np.arange(10), np.cumsum(LENGTHS + 1) - 1)
    observations = np.array(rows, dtype=np.float32)
    arrays = {
        "observations": observations,
        "actions": np.where(last[:, None], 99, observations).astype(np.float32),
        "terminals": last,
        "qpos": observations + 100,
        "button": np.arange(10),
    }
    return {name: values for name, values in (arrays | changes).items() if values is not None}


def _file(tmp_path, **changes):
    path = tmp_path / "left.npz"
    np.savez(path, **_flat(**changes))
    return path


def test_final_observations_are_kept_and_the_actions_there_are_not(tmp_path):
    path = _file(tmp_path, rewards=np.arange(10.0))
    assert find_source(path).format.name == "ogbench"
    demos = load_demos(path)
    assert demos.lengths.tolist() == [3, 0, 4]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert demos.actions.max() < 99
    assert demos.rewards.tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert not demos.terminated.any()
    assert demos.observations.dtype == np.float32
    assert demos.facts == {"left_out": ["These arrays are not read: qpos, button."]}
    assert load_demos(write_ogbench(demos, tmp_path / "ours.npz")).facts == demos.facts


def test_transitions_are_those_of_ogbench_itself(tmp_path):
    """What `ogbench.utils.load_dataset` makes of the file, computed anew from its description."""
    flat = _flat()
    within = ~flat["terminals"]
    following = np.roll(within, 1)
    following[0] = False
    demos = load_demos(_file(tmp_path))
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], flat["observations"][within])
    np.testing.assert_array_equal(demos.observations[demos.row_of_step + 1], flat["observations"][following])


def test_other_tables_can_be_observed(tmp_path):
    demos = load_demos(_file(tmp_path), options=ReadOptions(obs=("qpos", "button")))
    assert demos.observation_names == ("qpos_0", "qpos_1", "button")
    assert demos.observations[1].tolist() == [100, 101, 1]


def test_what_is_written_is_what_ogbench_expects(tmp_path):
    demos = load_demos(_file(tmp_path))
    with np.load(write_ogbench(demos, tmp_path / "a.npz"), allow_pickle=False) as archive:
        assert archive["terminals"].tolist() == _flat()["terminals"].tolist()
        assert len(archive["actions"]) == len(archive["observations"]) == 10
        assert (archive["actions"][archive["terminals"]] == 0).all()


def test_a_missing_number_in_the_middle_is_read_and_the_doctor_finds_it(tmp_path):
    observations = _flat()["observations"]
    observations[6, 1] = np.nan
    findings = check_demos(load_demos(_file(tmp_path, observations=observations))).findings
    assert ("not-finite", 2) in [(f.code, f.episode) for f in findings]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"observations": None}, "must hold `observations`, which was asked for; it holds actions, terminals"),
        ({"actions": None}, "must hold `actions`, as OGBench's files do; it holds observations"),
        ({"terminals": None}, "must hold `terminals`, as OGBench's files do"),
        (
            {"actions": np.zeros((9, 2))},
            r"`actions` of .* must have 10 rows, one for each observation; got shape \(9, 2\)",
        ),
        ({"actions": np.zeros((10, 2), int)}, "This release covers continuous actions only"),
        ({"unbraid/seeds": np.arange(4)}, "`seeds` must have 3 rows for 3 episodes of 7 steps"),
        ({"terminals": np.zeros(9)}, r"`terminals` of .* must be one flag for each of 10 observations; .*\(9,\)"),
        ({"terminals": np.array([0, np.nan] * 5)}, "`terminals` of .* 0 or 1 at every step; it is nan at row 1"),
        ({"terminals": np.zeros(10)}, "must mark the last row of every episode; the last of 10 rows is not marked"),
        ({"observations": np.zeros((10, 8, 8, 3), np.uint8)}, "to be observed; it holds images"),
        (
            {"observations": np.array([{}] * 10, dtype=object)},
            "`observations` of .* it holds Python objects",
        ),
        ({"unbraid/meta": np.array('{"version": 2}')}, "must have a version up to 1; it has 2"),
    ],
)
def test_what_does_not_fit_says_so_and_names_the_file(tmp_path, changes, says):
    with pytest.raises(DataError, match=says) as caught:
        read_ogbench(_file(tmp_path, **changes))
    assert "left.npz" in str(caught.value)


def test_in_parts_it_reads_the_same(tmp_path):
    observations = np.asfortranarray(_flat()["observations"])
    path = _file(tmp_path, observations=observations, rewards=np.arange(10.0), **{"unbraid/seeds": np.arange(3)})
    for options in (ReadOptions(), ReadOptions(obs=("button", "rewards"))):
        parts = list(load_parts(find_source(path), options=options, n_steps=1))
        together, whole = joined_parts(parts), load_demos(path, options=options)
        assert [part.lengths.tolist() for part in parts] == [[3], [0], [4]]
        assert together.fingerprint() == whole.fingerprint()
        assert (together.rewards.tolist(), together.seeds.tolist()) == (whole.rewards.tolist(), [0, 1, 2])
        assert together.observation_names == whole.observation_names


def test_a_truncated_file_says_so(tmp_path):
    path = _file(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"left\.npz must be a whole \.npz archive"):
        load_demos(path)


def test_how_an_episode_ended_is_said_to_have_no_place():
    went_on, ended = (
        Episode(np.zeros((3, 2)), np.zeros((2, 1)), rewards=np.zeros(2), terminated=terminated)
        for terminated in (False, True)
    )
    (filled,) = FORMAT.not_held(Demos.from_episodes([went_on]))
    assert "zeros are written there" in filled
    told, again = FORMAT.not_held(Demos.from_episodes([went_on, ended]))
    assert told == (
        "It has no place for how an episode ended: kept in arrays below `unbraid/`, where only unbraid looks."
    )
    assert again == filled
