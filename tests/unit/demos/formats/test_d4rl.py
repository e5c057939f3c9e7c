"""D4RL's flat HDF5: final observations, ends, and what it says of files that are not that."""

import errno
import os

import h5py
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError, RunError, StorageError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.d4rl import read_d4rl, write_d4rl
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions

LENGTHS = (3, 1, 4)


def _flat(**changes):
    """Two columns that spell (episode, step); episode 1 ends by the world, the others by time."""
    steps = np.array([(e, step) for e, t in enumerate(LENGTHS) for step in range(t)], dtype=np.float64)
    ends = np.cumsum(LENGTHS) - 1
    tables = {
        "observations": steps,
        "next_observations": steps + np.array([0.0, 1.0]),
        "actions": steps.astype(np.float32),
        "rewards": np.arange(8.0),
        "terminals": np.isin(np.arange(8), ends[1]),
        "timeouts": np.isin(np.arange(8), ends[[0, 2]]),
    }
    return {name: values for name, values in (tables | changes).items() if values is not None}


def _file(tmp_path, **changes):
    path = tmp_path / "left.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in _flat(**changes).items():
            file[name] = values
    return path


def test_next_observations_give_the_final_ones(tmp_path):
    demos = load_demos(_file(tmp_path))
    assert demos.lengths.tolist() == [3, 1, 4]
    assert demos.terminated.tolist() == [False, True, False]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    np.testing.assert_array_equal(demos.observations[demos.row_of_step + 1], demos.actions + np.array([0.0, 1.0]))
    assert demos.rewards.tolist() == list(range(8))


def test_a_table_of_one_column_is_one_row_of_numbers(tmp_path):
    path = _file(tmp_path, rewards=np.arange(8.0)[:, None], costs=np.ones((8, 1)))
    for demos in (load_demos(path), *load_parts(find_source(path), n_steps=8)):
        assert demos.rewards.tolist() == list(range(8))
        assert demos.costs.tolist() == [1] * 8


def test_tables_that_are_not_read_are_named(tmp_path):
    more = {"infos/qpos": np.zeros((8, 3)), "infos/cost": np.ones(8), "metadata/algorithm": b"sac", "note": b"x"}
    path = _file(tmp_path, **more)
    demos = load_demos(path)
    assert demos.facts == {"left_out": ["These arrays are not read: infos/qpos, metadata/algorithm, note."]}
    assert demos.costs is not None
    assert load_demos(write_d4rl(load_demos(_file(tmp_path)), tmp_path / "ours.hdf5")).facts == {}


def test_without_next_observations_the_last_actions_go(tmp_path):
    demos = read_d4rl(_file(tmp_path, next_observations=None))
    assert demos.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert demos.observations[demos.row_starts[1:] - 1].tolist() == [[0, 2], [2, 3]]
    assert demos.rewards.tolist() == [0, 1, 4, 5, 6]
    assert not demos.terminated.any()
    assert demos.facts == {"dropped_last_actions": True, "dropped_one_step_episodes": 1}


def test_an_episode_cut_off_by_the_end_of_the_file_ends_there(tmp_path):
    timeouts = _flat()["timeouts"]
    timeouts[-1] = False
    demos = read_d4rl(_file(tmp_path, timeouts=timeouts))
    assert demos.lengths.tolist() == [3, 1, 4]
    assert not demos.terminated[-1]


def test_without_timeouts_it_asks_for_the_limit(tmp_path):
    path = _file(tmp_path, timeouts=None, terminals=np.array([0, 0, 0, 1, 0, 0, 0, 0.0]), next_observations=None)
    with pytest.raises(DataError, match=r"it has no `timeouts`\. Pass max_episode_steps"):
        read_d4rl(path)
    with pytest.raises(ConfigError, match="max_episode_steps must be at least 1; got 0"):
        read_d4rl(path, ReadOptions(max_episode_steps=0))
    assert load_demos(path, max_episode_steps=3).lengths.tolist() == [2, 2]  # 3 + 1, then 3 + 1, each less one
    assert read_d4rl(path, ReadOptions(max_episode_steps=100)).lengths.tolist() == [3, 3]


def test_a_limit_that_timeouts_make_needless_is_said(tmp_path):
    demos = load_demos(_file(tmp_path), max_episode_steps=2)
    assert demos.lengths.tolist() == [3, 1, 4]
    assert demos.facts["left_out"] == [
        "max_episode_steps is not used: `timeouts` mark where time limits ended episodes."
    ]


@pytest.mark.parametrize("name", ["costs", "cost", "infos/cost"])
def test_costs_are_found_where_people_put_them(tmp_path, name):
    assert read_d4rl(_file(tmp_path, **{name: np.arange(8) / 8})).costs.tolist() == (np.arange(8) / 8).tolist()


def test_flags_may_be_columns_of_numbers(tmp_path):
    flat = _flat()
    demos = read_d4rl(_file(tmp_path, terminals=flat["terminals"].astype(np.float32)[:, None]))
    assert demos.terminated.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"actions": None}, "must hold `observations` and `actions` at its top level.*`actions` is missing"),
        ({"terminals": None}, "must hold `terminals`; it is missing"),
        ({"rewards": np.zeros(7)}, r"`rewards` of .* must have 8 rows.*got shape \(7,\)"),
        ({"timeouts": np.zeros(9)}, r"`timeouts` of .* must have 8 rows.*got shape \(9,\)"),
        ({"timeouts": np.zeros((8, 2))}, "`timeouts` of .* must be one flag per step"),
        (
            {"timeouts": np.array([0, 0, 1, 0, 0, np.nan, 0, 1])},
            "`timeouts` of .* 0 or 1 at .* nan at row 5",
        ),
        ({"next_observations": np.zeros((8, 3))}, r"must be shaped like `observations`, \(8, 2\); got \(8, 3\)"),
        ({"actions": np.zeros((8, 1), dtype=np.int32)}, "This release covers continuous actions only"),
        ({"observations": np.zeros((8, 4, 4, 3)), "next_observations": None}, "`observations` of .* must be a table"),
        ({"unbraid/meta": np.frombuffer(b'{"version": 9}', np.uint8)}, "must have a version up to 1; it has 9"),
        ({"unbraid/meta": np.frombuffer(b"{", np.uint8)}, "`unbraid/meta` of .* must be JSON text"),
        (
            {"timeouts": np.zeros(8, bool)},
            r"Episode 0 of .*: `next_observations` of its step 2 must be `observations` of step 3",
        ),
    ],
)
def test_what_does_not_fit_says_so_and_names_the_file(tmp_path, changes, says):
    changes = dict(changes)
    if says.startswith("Episode 0"):
        changes["terminals"] = np.zeros(8, bool)
    with pytest.raises(DataError, match=says) as caught:
        read_d4rl(_file(tmp_path, **changes))
    assert "left.hdf5" in str(caught.value)


def test_shifted_rows_are_found_in_a_later_episode(tmp_path):
    following = _flat()["next_observations"]
    following[5] += 1
    with pytest.raises(DataError, match=r"Episode 2 of .* `next_observations` of its step 1 must be"):
        read_d4rl(_file(tmp_path, next_observations=following))


def test_other_layouts_say_what_is_there(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("other")
    with pytest.raises(DataError, match=r"a\.h5 must be demonstrations in a format .*; the HDF5 file holds other\."):
        load_demos(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"a\.h5 must hold `observations`.*it holds other\. Rename its tables"):
        read_d4rl(tmp_path / "a.h5")


@pytest.mark.parametrize("kept", [True, False])
def test_in_parts_it_reads_the_same_and_names_the_episode_of_the_file(tmp_path, kept):
    path = _file(tmp_path, **({} if kept else {"next_observations": None}))
    parts = list(load_parts(find_source(path), n_steps=1))
    assert [part.n_episodes for part in parts] == ([1, 1, 1] if kept else [1, 1])
    whole = load_demos(path)
    assert np.concatenate([part.observations for part in parts]).tolist() == whole.observations.tolist()
    assert all(part.facts == whole.facts for part in parts)
    following = _flat()["next_observations"]
    following[5] += 1
    path.unlink()
    with pytest.raises(DataError, match=r"Episode 2 of .* `next_observations` of its step 1 must be"):
        list(load_parts(find_source(_file(tmp_path, next_observations=following)), n_steps=1))


def test_a_table_of_python_objects_is_never_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in _flat().items():
            if name != "observations":
                file[name] = values
        file.create_dataset("observations", data=[b"pickled"] * 8, dtype=h5py.special_dtype(vlen=bytes))
    with pytest.raises(DataError, match=r"`observations` of .*a\.h5 must be"):
        load_demos(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for name, values in _flat(observations=np.zeros((8, 2), dtype="V16")).items():
            file[name] = values
    with pytest.raises(DataError, match=r"`observations` of .*b\.h5 must be floating-point; got \|V16"):
        load_demos(tmp_path / "b.h5")


def test_a_missing_number_in_the_middle_is_read_and_the_doctor_finds_it(tmp_path):
    flat = _flat()
    flat["observations"][5, 1] = flat["next_observations"][4, 1] = np.nan
    report = check_demos(load_demos(_file(tmp_path, **flat)))
    assert [(f.code, f.episode) for f in report.findings if f.severity == "error"] == [("not-finite", 2)]


def test_groups_where_tables_should_be_and_empty_files_say_so(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("observations")
        file["actions"] = np.zeros((2, 1))
    with pytest.raises(DataError, match=r"`observations` of .* must be a table; it is a group"):
        read_d4rl(tmp_path / "a.h5")
    path = _file(tmp_path, **{name: values[:0] for name, values in _flat().items()})
    with pytest.raises(DataError, match="must hold at least one step"):
        read_d4rl(path)
    path.unlink()
    path = _file(tmp_path, next_observations=None, timeouts=np.ones(8, bool))
    with pytest.raises(DataError, match="must hold an episode of at least 2 steps"):
        read_d4rl(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_says_so(tmp_path, share):
    path = _file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"left\.hdf5 must be a whole HDF5 file; it is truncated or damaged"):
        read_d4rl(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_d4rl(tmp_path / "no.hdf5")


def test_what_it_cannot_hold_is_refused(tmp_path):
    demos = Demos(np.zeros((4, 1)), np.zeros((2, 1)), np.array([2, 0]), np.zeros(2, bool))
    with pytest.raises(DataError, match="episode 1 has none"):
        write_d4rl(demos, tmp_path / "a.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_writing_never_overwrites_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    demos = Demos(np.zeros((3, 1)), np.zeros((2, 1)), np.array([2]), np.zeros(1, bool))
    path = write_d4rl(demos, tmp_path / "a.hdf5")
    with pytest.raises(RunError, match="must not exist yet"):
        write_d4rl(demos, path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_d4rl(demos, tmp_path / "b.hdf5")
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


@pytest.mark.parametrize(
    ("refusal", "says"), [(BlockingIOError, "another program writes it"), (PermissionError, "it may not be read")]
)
def test_a_file_that_another_program_writes_is_not_called_damaged(tmp_path, monkeypatch, refusal, says):
    path = _file(tmp_path)

    def refused(*_):
        raise refusal(11, "unable to lock file")

    monkeypatch.setattr(h5py, "File", refused)
    with pytest.raises(DataError, match=f"must be there to be read; {says}"):
        read_d4rl(path)
