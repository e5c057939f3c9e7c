"""The store: what goes in comes out, mapped and not read; what is damaged says so; nothing is lost."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import DataError, RunError, StorageError
from unbraid.demos import writing
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.parts import parts_of
from unbraid.demos.store import save_demos, write_spooled


@pytest.fixture
def demos() -> Demos:
    generator = np.random.default_rng(0)
    episodes = [
        Episode(
            observations=generator.normal(size=(t + 1, 3)).astype(np.float32),
            actions=generator.normal(size=(t, 2)),
            rewards=generator.normal(size=t),
            costs=generator.normal(size=t),
            terminated=t == 1,
            seed=7 + t,
            label=t % 2,
        )
        for t in (5, 1, 8)
    ]
    return Demos.from_episodes(
        episodes,
        label_names=("even", "ödd"),
        observation_names=("x", "y", "漢"),
        action_bounds=(np.array([-1.0, -np.inf]), np.array([1.0, np.inf])),
        facts={"env_id": "World-v0", "nested": {"a": [1, None]}},
    )


@pytest.fixture
def folder(demos, tmp_path):
    return save_demos(demos, tmp_path / "left")


def _same(one: Demos, other: Demos) -> None:
    for name in Demos.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, name
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            assert a == b, name


def _without_sums(folder) -> None:
    """Makes a store what it was before a sha256 stood with its small arrays."""
    index, labels = (json.loads((folder / f"{name}.json").read_text()) for name in ("demos", "labels"))
    for entry in index["arrays"].values():
        entry.pop("sha256", None)
    labels.pop("sha256", None)
    (folder / "demos.json").write_text(json.dumps(index))
    (folder / "labels.json").write_text(json.dumps(labels))


@pytest.mark.parametrize("in_memory", [False, True])
def test_what_goes_in_comes_out(demos, folder, in_memory):
    _same(demos, load_demos(folder, in_memory=in_memory))
    _same(demos, load_demos(str(folder), in_memory=in_memory))


def test_the_tables_are_mapped_read_only_and_behave_as_arrays(demos, folder):
    loaded = load_demos(folder)
    assert isinstance(loaded.observations, np.memmap)
    assert not loaded.observations.flags.writeable
    assert not isinstance(load_demos(folder, in_memory=True).observations, np.memmap)
    assert loaded.fingerprint() == demos.fingerprint()
    _same(demos.select([2, 0]), loaded.select([2, 0]))
    _same(loaded, load_demos(save_demos(loaded, folder.parent / "copy")))


def test_opening_reads_headers_only(tmp_path):
    """A store of 2 GB on paper (a sparse file) opens at once: nothing scans its rows."""
    small = Demos(np.zeros((3, 8)), np.zeros((2, 2)), np.array([2]), np.zeros(1, bool))
    folder = save_demos(small, tmp_path / "big")
    n = 20_000_000
    for name, shape in (("observations", (n + 1, 8)), ("actions", (n, 2))):
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        with open(folder / f"{name}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 8 * shape[0] * shape[1])
    np.save(folder / "lengths.npy", np.array([n]))
    index = json.loads((folder / "demos.json").read_text())
    del index["arrays"]["lengths"]["sha256"]
    index["arrays"]["observations"]["shape"], index["arrays"]["actions"]["shape"] = [n + 1, 8], [n, 2]
    (folder / "demos.json").write_text(json.dumps(index))
    opened = load_demos(folder)
    assert opened.n_steps == n
    assert opened.observations[n - 3 :].sum() == 0


def test_labels_are_kept_apart(demos, folder):
    assert "even" not in (folder / "demos.json").read_text()
    (folder / "labels.npy").unlink()
    (folder / "labels.json").unlink()
    _same(demos.without_labels(), load_demos(folder))


def test_labels_without_their_names_say_so(folder):
    (folder / "labels.json").unlink()
    with pytest.raises(DataError, match=r"labels\.json must exist.*or remove labels\.npy too"):
        load_demos(folder)


def test_a_full_disk_leaves_nothing_behind(demos, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"left must be writable; .*No space left.*Free some space"):
        save_demos(demos, tmp_path / "left")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_kept(demos, folder):
    with pytest.raises(RunError, match="left must not exist yet; it does"):
        save_demos(demos.select([0]), folder)
    _same(demos, load_demos(folder))


def test_facts_that_json_cannot_say_are_refused(demos, tmp_path):
    for facts in ({"a": {1}}, {"a": float("inf")}):
        with pytest.raises(DataError, match="`facts` must be JSON values"):
            save_demos(replace(demos, facts=facts), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no", "no must exist; there is nothing there"),
        ("table.xyz", r"table\.xyz must be demonstrations in a format that is read here \(store, .* ends in '\.xyz'"),
        ("empty", r"empty must be demonstrations in a format .*; the folder holds nothing\. Rename"),
    ],
)
def test_a_missing_or_wrong_file_says_so(tmp_path, name, says):
    (tmp_path / "table.xyz").write_text("1,2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=says):
        load_demos(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "minari"}, "must say format 'unbraid-demos'"),
        ({"version": 2}, "must have a version up to 1; it has 2. Use the unbraid that wrote it, or a newer one"),
        ({"version": "1"}, "must have a version up to 1; it has '1'"),
        ({"arrays": None}, "must list its `arrays`"),
        ({"arrays": {}}, "must list the array `observations`"),
        ({"observation_names": [1]}, "`observation_names` of .* must be a list of names"),
        ({"observation_names": ["x"]}, "left: `observation_names` must name all 3 columns; got 1"),
    ],
)
def test_a_wrong_or_newer_index_says_so(folder, change, says):
    index = json.loads((folder / "demos.json").read_text()) | change
    (folder / "demos.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=says):
        load_demos(folder)


def test_a_truncated_index_says_so(folder):
    (folder / "demos.json").write_text((folder / "demos.json").read_text()[:50])
    with pytest.raises(DataError, match=r"demos\.json must be JSON; .* Restore it"):
        load_demos(folder)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
@pytest.mark.parametrize("name", ["observations", "lengths", "labels"])
def test_a_truncated_array_says_so(folder, name, keep):
    path = folder / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=rf"{name}\.npy must be a whole \.npy array; it is truncated"):
        load_demos(folder)


@pytest.mark.parametrize("name", ["observations", "lengths", "labels"])
def test_bytes_behind_an_array_say_so(folder, name):
    """Numbers that were appended, or a second array in the same file, would not be read."""
    path = folder / f"{name}.npy"
    n_bytes = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(8))
    held = f"nothing behind it, {n_bytes} bytes by its header; it has {n_bytes + 8}. Restore it"
    with pytest.raises(DataError, match=rf"{name}\.npy must hold one array and {held}"):
        load_demos(folder)


@pytest.mark.parametrize(
    ("name", "others", "index"),
    [
        ("lengths", np.array([6, 0, 8]), "demos"),
        ("terminated", np.array([True, False, False]), "demos"),
        ("seeds", np.array([1, 2, 3]), "demos"),
        ("action_low", np.array([-2.0, -np.inf]), "demos"),
        ("labels", np.array([0, 1, 0]), "labels"),
    ],
)
def test_small_arrays_that_were_changed_say_so_unless_the_store_is_from_before(folder, name, others, index):
    assert not np.array_equal(np.load(folder / f"{name}.npy"), others)
    np.save(folder / f"{name}.npy", others)
    says = rf"{name}\.npy must hold the numbers that were written, whose sha256 {index}\.json keeps; it holds others"
    with pytest.raises(DataError, match=says):
        load_demos(folder)
    _without_sums(folder)
    np.testing.assert_array_equal(getattr(load_demos(folder), name), others)


def test_a_missing_array_says_so(folder):
    (folder / "costs.npy").unlink()
    with pytest.raises(DataError, match=r"costs\.npy must exist; there is no such file"):
        load_demos(folder)


def test_an_array_of_another_shape_or_kind_says_so(folder):
    np.save(folder / "actions.npy", np.zeros((15, 2)))
    with pytest.raises(
        DataError, match=r"actions\.npy must be as demos\.json lists it, shape \[14, 2\].*got shape \[15"
    ):
        load_demos(folder)


def test_lengths_that_do_not_fit_the_rows_say_so(folder):
    np.save(folder / "lengths.npy", np.array([5, 1, 9]))
    _without_sums(folder)
    with pytest.raises(DataError, match="left: `observations` must have 18 rows for 3 episodes of 15 steps"):
        load_demos(folder)


def test_python_objects_are_never_read(folder):
    np.save(folder / "actions.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects, which are never read"):
        load_demos(folder)


def test_big_tables_are_written_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_CHUNK_ROWS", 4)
    demos = Demos(np.asfortranarray(np.arange(22.0).reshape(11, 2)), np.ones((10, 1)), np.array([10]), np.ones(1, bool))
    _same(demos, load_demos(save_demos(demos, tmp_path / "a")))


def test_spooled_parts_are_written_as_one_and_leave_nothing_else(demos, tmp_path):
    path = tmp_path / "below" / "text"
    came = []

    def write(whole: Demos, path):
        came.append(
            (whole.fingerprint(), isinstance(whole.observations, np.memmap), whole.facts, whole.labels.tolist())
        )
        path.write_text("written")
        return path

    assert write_spooled(write, parts_of(demos, 3), path) == path
    assert came == [(demos.fingerprint(), True, demos.facts, demos.labels.tolist())]
    assert [child.name for child in path.parent.iterdir()] == ["text"]
    with pytest.raises(RunError, match="text must not exist yet"):
        write_spooled(write, parts_of(demos, 3), path)


def test_spooled_parts_that_fail_leave_nothing(demos, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="must hold at least one episode; got none"):
        write_spooled(save_demos, iter(()), tmp_path / "a")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"/a must be writable; the system said: No space left"):
        write_spooled(save_demos, parts_of(demos, 3), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_demos_is_told(demos, tmp_path):
    with pytest.raises(DataError, match="must be Demos; got a list of Episode"):
        save_demos([demos[0]], tmp_path / "pile")
    assert not list(tmp_path.glob("*"))
