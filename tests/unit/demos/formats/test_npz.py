"""NPZ: what it takes, and what it says of what it does not."""

import errno
import os

import numpy as np
import pytest

from unbraid.core.errors import DataError, RunError, StorageError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.npz import read_npz, write_npz
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts

LENGTHS = np.array([3, 1, 4])


def _flat(**changes):
    """Two columns that spell (episode, step), T + 1 rows an episode."""
    rows = [(e, step) for e, t in enumerate(LENGTHS) for step in range(t + 1)]
    steps = [(e, step) for e, t in enumerate(LENGTHS) for step in range(t)]
    arrays = {
        "observations": np.array(rows, dtype=np.float64),
        "actions": np.array(steps, dtype=np.float32),
        "lengths": LENGTHS,
        "terminated": np.array([True, True, False]),
        "rewards": np.arange(8.0),
    }
    return {name: values for name, values in (arrays | changes).items() if values is not None}


def _file(tmp_path, **changes):
    path = tmp_path / "left.npz"
    np.savez(path, **_flat(**changes))
    return path


def test_flat_arrays_are_read(tmp_path):
    demos = load_demos(_file(tmp_path))
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert demos.lengths.tolist() == [3, 1, 4]
    assert demos.terminated.tolist() == [True, True, False]
    assert (demos.actions.dtype, demos.observations.dtype) == (np.float32, np.float64)
    assert demos.costs is None


def test_ends_stand_for_lengths_and_the_rest_has_defaults(tmp_path):
    path = _file(tmp_path, lengths=None, episode_ends=np.cumsum(LENGTHS), terminated=None, labels=np.array([0, 2, 1]))
    demos = read_npz(path)
    assert demos.lengths.tolist() == [3, 1, 4]
    assert not demos.terminated.any()
    assert demos.label_names == ("0", "1", "2")


def test_whole_numbers_and_foreign_byte_orders_become_native_floats(tmp_path):
    arrays = _flat()
    path = _file(
        tmp_path,
        observations=arrays["observations"].astype(int),
        actions=arrays["actions"].astype(">f4"),
        lengths=LENGTHS,
    )
    demos = read_npz(path)
    assert demos.observations.dtype == np.float64
    assert demos.actions.dtype.isnative
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)


def test_without_final_observations_it_asks_and_then_drops_the_last_actions(tmp_path):
    steps = _flat()["actions"].astype(np.float64)
    path = _file(tmp_path, observations=steps)
    with pytest.raises(DataError, match=r"got 8 rows of `observations` for 8 actions in 3 episodes\. Append the final"):
        read_npz(path)
    demos = load_demos(path, drop_last_action=True)
    assert demos.lengths.tolist() == [2, 3]  # an episode of a single step vanishes
    np.testing.assert_array_equal(demos.observations, np.delete(steps, 3, axis=0))
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert demos.rewards.tolist() == [0, 1, 4, 5, 6]
    assert not demos.terminated.any()
    assert demos.facts == {"dropped_last_actions": True, "dropped_one_step_episodes": 1}
    for changes in ({"seeds": np.array([7, 8, 9])}, {"episode_ends": np.cumsum(LENGTHS), "lengths": None}):
        shorter = load_demos(_file(tmp_path, observations=steps, **changes), drop_last_action=True)
        assert shorter.fingerprint() == demos.fingerprint()
        assert shorter.seeds is None or shorter.seeds.tolist() == [7, 9]
    short = _file(tmp_path, observations=steps[:3], actions=steps[:3], lengths=np.ones(3, int), rewards=None)
    with pytest.raises(DataError, match="must hold an episode of at least 2 steps to drop last actions; its 3"):
        load_demos(short, drop_last_action=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"actions": None}, "must hold `observations` and `actions`; it holds observations, lengths"),
        ({"lengths": None}, "neither `lengths` nor `episode_ends`"),
        ({"lengths": np.array([3, 1, 5])}, "`lengths` of .* gives 9 steps in 3 episodes, and there are 8 rows"),
        ({"lengths": np.array([9, -1])}, "Episode 1 of .* must have at least 0 steps; `lengths` gives -1"),
        ({"lengths": None, "episode_ends": np.array([5, 3, 8])}, "Episode 1 of .* `episode_ends` gives -2"),
        ({"lengths": np.array([3.0, 1, 4])}, "`lengths` of .* must be one row of whole numbers; .* float64"),
        ({"observations": np.zeros((10, 2))}, "`observations` must have 11 rows for 3 episodes of 8 steps"),
        ({"observations": np.zeros((11, 2, 2))}, r"`observations` of .* must be a table .* got shape \(11, 2, 2\)"),
        ({"rewards": np.zeros(7)}, "`rewards` must have 8 rows"),
        ({"rewards": np.zeros((8, 2))}, "`rewards` of .* must be one row of numbers"),
        ({"labels": np.array(["ann", " ", "bea"])}, "`labels` of .* who acted .*; it is empty for episode 1. Name the"),
        ({"labels": np.array([0, 1, -1])}, "`labels` of .* by a whole number from 0 on; it gives episode 2 -1. .*drop"),
        ({"labels": np.array([0, 1.5, 1])}, "`labels` of .* by a whole number from 0 on; it gives episode 1 1.5"),
        (
            {"labels": None, "label": np.array([0, np.nan, 1])},
            "`label` of .* it gives episode 1 nan. Number",
        ),
        (
            {"labels": np.array([0, 2, 1]), "meta": np.array('{"label_names": ["ann", "bea"]}')},
            r"left.npz: `labels` must lie in \[0, 2\), .*; episode 1 has 2. Name every expert, or drop",
        ),
        ({"terminated": np.array(["no"] * 3)}, "`terminated` of .* must be boolean; got <U2"),
        ({"actions": np.zeros((8, 1), dtype=np.int64)}, "got int64. This release covers continuous .* convert them"),
        ({"actions": np.zeros((8, 1), dtype=bool)}, "got bool. This release covers continuous actions only; choose"),
        ({"actions": np.zeros((8, 1), dtype=complex)}, "`actions` of .* must be floating-point; got complex128"),
        ({"meta": np.array("{")}, "`meta` of .* must be JSON text"),
        ({"meta": np.array('{"version": 2}')}, "must have a version up to 1; it has 2"),
    ],
)
def test_what_does_not_fit_says_so_and_names_the_file(tmp_path, changes, says):
    with pytest.raises(DataError, match=says) as caught:
        read_npz(_file(tmp_path, **changes))
    assert "left.npz" in str(caught.value)


def test_arrays_that_nobody_asked_for_are_not_read(tmp_path):
    demos = load_demos(_file(tmp_path, infos=np.array([{}], dtype=object), img=np.zeros((8, 2, 2, 3), np.uint8)))
    assert demos.lengths.tolist() == [3, 1, 4]
    assert demos.facts["left_out"] == ["These arrays are not read: infos, img."]
    assert load_demos(write_npz(load_demos(_file(tmp_path)), tmp_path / "ours.npz")).facts == {}


def test_the_names_of_a_replay_buffer_of_diffusion_policies_are_taken(tmp_path):
    flat = _flat()
    arrays = {"data/state": flat["observations"], "data/action": flat["actions"], "data/img": np.zeros((8, 2, 2, 3))}
    np.savez(tmp_path / "a.npz", **arrays, **{"meta/episode_ends": np.cumsum(LENGTHS)})
    assert find_source(tmp_path / "a.npz").format.name == "npz"
    demos = load_demos(tmp_path / "a.npz")
    assert demos.lengths.tolist() == [3, 1, 4]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert demos.facts == {"left_out": ["These arrays are not read: data/img."]}


def test_a_folder_of_npy_files_is_read_by_the_same_rules(tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    for name, values in _flat(observations=np.asfortranarray(_flat()["observations"]), labels=np.eye(3)[0]).items():
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "img.npy", np.zeros((8, 2, 2, 3)))
    (folder / "notes.txt").write_text("by hand")
    source = find_source(folder)
    assert (source.format.name, source.why.partition(" with ")[0]) == ("npz", "a folder of .npy files")
    demos, flat = load_demos(folder), load_demos(_file(tmp_path))
    assert demos.fingerprint() == flat.fingerprint()
    assert demos.facts == {"left_out": ["These arrays are not read: img."]}
    assert [part.n_episodes for part in load_parts(source, n_steps=1)] == [1, 1, 1]
    content = (folder / "actions.npy").read_bytes()
    (folder / "actions.npy").write_bytes(content[:-4])
    with pytest.raises(DataError, match=r"actions\.npy must be a whole \.npy array; it is truncated"):
        load_demos(folder)
    np.save(folder / "actions.npy", np.array([{}]))
    with pytest.raises(DataError, match=r"actions\.npy must hold numbers; it holds Python objects"):
        load_demos(folder)


def test_a_table_of_one_column_is_one_row_of_numbers(tmp_path):
    changes = {"rewards": np.arange(8.0)[:, None], "costs": np.ones((8, 1)), "terminated": np.ones((3, 1), bool)}
    path = _file(tmp_path, **changes, lengths=LENGTHS[:, None], labels=np.array([[1], [0], [1]]))
    for demos in (load_demos(path), joined_parts(load_parts(find_source(path), n_steps=1))):
        assert demos.rewards.tolist() == list(range(8))
        assert demos.costs.tolist() == [1] * 8
        assert demos.terminated.tolist() == [True] * 3
        assert demos.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "names", "kept"),
    [
        (np.array([True, False, True]), ("0", "1"), [1, 0, 1]),
        (np.array([7.0, 2000.0, 7.0]), ("7", "2000"), [0, 1, 0]),
        (np.array([3, 0, 3], dtype=np.uint8), ("0", "3"), [1, 0, 1]),
    ],
)
def test_labels_without_names_are_called_by_their_numbers(tmp_path, labels, names, kept):
    for changes, options in (({"labels": labels}, ReadOptions()), ({"who": labels}, ReadOptions(labels_from="who"))):
        demos = load_demos(_file(tmp_path, **changes), options=options)
        assert demos.labels.tolist() == kept
        assert demos.label_names == (names if labels.dtype != bool or "labels" in changes else ("False", "True"))


def test_seeds_that_do_not_fit_in_64_bits_are_left_out_and_said(tmp_path):
    path = _file(tmp_path, seeds=np.array([1, 2**63, 3], dtype=np.uint64))
    for demos in (load_demos(path), *load_parts(find_source(path), n_steps=1)):
        assert demos.seeds is None
        assert demos.facts == {"left_out": ["Seeds are left out: one does not fit in 64 bits with a sign."]}
    path = _file(tmp_path, seeds=np.array([1, 2**63 - 1, 3], dtype=np.uint64))
    assert load_demos(path).seeds.tolist() == [1, 2**63 - 1, 3]


def test_labels_may_be_text(tmp_path):
    demos = load_demos(_file(tmp_path, labels=np.array(["ö", "ann", "ö"])))
    assert (demos.labels.tolist(), demos.label_names) == ([1, 0, 1], ("ann", "ö"))


def test_other_names_keys_and_labels_are_taken(tmp_path):
    flat = _flat()
    path = tmp_path / "others.npz"
    np.savez(path, state=flat["observations"], act=flat["actions"], ep_len=LENGTHS, who=np.array(["é", "a", "é"]))
    assert find_source(path).format.name == "npz"
    demos = load_demos(path, options=ReadOptions(labels_from="who"))
    assert [demos.label_names[i] for i in demos.labels] == ["é", "a", "é"]
    demos = load_demos(_file(tmp_path, labels=np.full(3, -1), who=[7, 7, 8]), options=ReadOptions(labels_from="who"))
    assert demos.facts == {"left_out": ["These arrays are not read: labels."]}
    np.savez(
        path, pos=flat["observations"], grip=np.arange(11), act=flat["actions"], ep_len=LENGTHS, who=np.full(3, 0.5)
    )
    demos = load_demos(path, options=ReadOptions(obs=("grip", "pos")))
    assert demos.observation_names == ("grip", "pos_0", "pos_1")
    assert demos.observations[1].tolist() == [1, 0, 1]
    for options, says in (
        (ReadOptions(), "must hold `observations` and `actions`; it holds pos, grip, act, ep_len, who"),
        (ReadOptions(obs=("pos", "speed")), "must hold `speed`, which was asked for; it holds pos, grip, act"),
        (ReadOptions(obs=("pos",), labels_from="expert"), "must hold `expert`, which was asked for; it holds pos"),
        (ReadOptions(obs=("pos",), labels_from="who"), "`who` of .* must say who acted in each episode"),
    ):
        with pytest.raises(DataError, match=says):
            load_demos(path, options=options)


def test_a_missing_number_in_the_middle_is_read_and_the_doctor_finds_it(tmp_path):
    observations = _flat()["observations"]
    observations[7, 1] = np.nan
    findings = check_demos(load_demos(_file(tmp_path, observations=observations))).findings
    assert [(f.code, f.episode) for f in findings if f.severity == "error"] == [("not-finite", 2)]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"labels": np.array([0, 2, 1]), "costs": np.arange(8)}, ReadOptions()),
        (
            {"observations": np.arange(16.0).reshape(8, 2), "seeds": np.arange(3)},
            ReadOptions(drop_last_action=True),
        ),
        ({"pos": np.arange(22).reshape(11, 2), "grip": np.arange(11) > 3}, ReadOptions(obs=("grip", "pos"))),
        ({"observations": np.arange(8)}, ReadOptions(obs=("actions", "observations"), drop_last_action=True)),
        ({"observations": np.asfortranarray(np.arange(22.0).reshape(11, 2))}, ReadOptions()),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_in_parts_it_reads_the_same(tmp_path, changes, options, save):
    save(tmp_path / "left.npz", **_flat(**changes))
    source = find_source(tmp_path / "left.npz")
    parts = list(load_parts(source, options=options, n_steps=1))
    assert [part.n_episodes for part in parts] == ([1, 1] if options.drop_last_action else [1, 1, 1])
    together, whole = joined_parts(parts), load_demos(source.path, options=options)
    assert together.fingerprint() == whole.fingerprint()
    for name in ("rewards", "costs", "labels", "seeds"):
        np.testing.assert_array_equal(getattr(together, name), getattr(whole, name))
    for name in ("label_names", "observation_names", "facts"):
        assert [getattr(part, name) for part in parts] == [getattr(whole, name)] * len(parts)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": np.arange(4)}, "`seeds` must have 3 rows for 3 episodes of 8 steps"),
        ({"rewards": np.zeros(9)}, "`rewards` must have 8 rows"),
        ({"rewards": np.float64(1)}, "`rewards` of .* must have a row for each step; it is a single value"),
        (
            {"observations": np.zeros((8, 2)), "costs": np.zeros(7)},
            "`costs` of .* must have 8 rows, one for each action",
        ),
    ],
)
def test_what_does_not_fit_is_seen_before_the_first_part(tmp_path, changes, says):
    options = ReadOptions(drop_last_action=True)
    with pytest.raises(DataError, match=says):
        next(load_parts(find_source(_file(tmp_path, **changes)), options=options, n_steps=1))


def test_no_episodes_are_read_as_none(tmp_path):
    none = {"observations": np.zeros((0, 2)), "actions": np.zeros((0, 1)), "lengths": np.zeros(0), "rewards": None}
    assert load_demos(_file(tmp_path, **none, terminated=None)).n_episodes == 0


def test_python_objects_are_never_read(tmp_path):
    path = tmp_path / "left.npz"
    np.savez(path, **_flat(observations=np.array([np.zeros(2), np.zeros(3)], dtype=object)))
    with pytest.raises(DataError, match=r"`observations` of .*left\.npz must hold numbers; it holds Python objects"):
        read_npz(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_file_says_so(tmp_path, share, save):
    path = tmp_path / "left.npz"
    save(path, **_flat())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"left\.npz must be a whole \.npz archive; it is .*damaged"):
        read_npz(path)


def test_damage_inside_says_so(tmp_path):
    path = _file(tmp_path)
    content = bytearray(path.read_bytes())
    content[200:210] = b"0123456789"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"left\.npz must be a whole \.npz archive"):
        read_npz(path)


def test_a_missing_or_wrong_file_says_so(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_npz(tmp_path / "no.npz")
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="it is a single array"):
        read_npz(tmp_path / "one.npz")
    with pytest.raises(DataError, match="must hold `observations` and `actions`; it holds nothing"):
        read_npz(tmp_path)


def test_writing_never_overwrites_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    arrays = {name: values for name, values in _flat().items() if name != "meta"}
    demos = Demos(**arrays)
    path = write_npz(demos, tmp_path / "a.npz")
    with pytest.raises(RunError, match="must not exist yet"):
        write_npz(demos, path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_npz(demos, tmp_path / "b.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
