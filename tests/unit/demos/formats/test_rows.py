"""Arrays of archives, some rows at a time: as numpy writes them, read as numpy reads them, and damage is named."""

import zipfile
from io import BytesIO

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.demos.formats import rows
from unbraid.demos.formats.rows import Chunked, chunked, opened_rows, write_archive, write_npy

ARRAYS = {
    "a table": np.arange(12.0).reshape(6, 2),
    "column/x": np.arange(6, dtype=">i4"),
    "flags": np.arange(6) % 2 == 0,
    "no rows": np.zeros((0, 3), dtype=np.float32),
    "text": np.array("{}"),
}


def test_an_archive_is_numpy_s_own_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "PART_STEPS", 4)
    path = write_archive({name: chunked(values) for name, values in ARRAYS.items()}, tmp_path / "a.npz")
    with open(tmp_path / "b.npz", "wb") as file:
        np.savez(file, **ARRAYS)
    assert path.read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_is_numpy_s_own_byte_for_byte():
    values = np.arange(15.0).reshape(5, 3)
    ours, theirs = BytesIO(), BytesIO()
    write_npy(ours, Chunked(values.shape, values.dtype, iter((values[:2], values[2:]))))
    np.save(theirs, values, allow_pickle=False)
    assert ours.getvalue() == theirs.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_side_by_side(tmp_path, monkeypatch, save):
    monkeypatch.setattr(rows, "_READ_BYTES", 10)
    arrays = {
        "a": np.random.default_rng(0).normal(size=(50, 3)),
        "b": np.arange(50, dtype=">f4"),
        "f": np.asfortranarray(np.arange(100.0).reshape(50, 2)),
        "none": np.zeros((0, 2)),
    }
    save(tmp_path / "a.npz", **arrays)
    with opened_rows(tmp_path / "a.npz", arrays) as opened:
        assert {name: (array.like.shape, array.like.dtype) for name, array in opened.items()} == {
            name: (values.shape, values.dtype) for name, values in arrays.items()
        }
        for start, n_rows in ((0, 20), (20, 0), (20, 30)):
            for name in ("a", "b", "f"):
                np.testing.assert_array_equal(opened[name].next(n_rows), arrays[name][start : start + n_rows])
        assert opened["none"].next(0).shape == (0, 2)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_headers_of_every_version_are_read(tmp_path, version):
    values = np.arange(6.0).reshape(3, 2)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array(member, values, version=version)
    with opened_rows(tmp_path / "a.npz", ["a"]) as opened:
        np.testing.assert_array_equal(opened["a"].next(3), values)


def test_what_cannot_be_read_by_rows_says_so(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, objects=np.array([{}], dtype=object), number=np.array(3.0))
    with (
        pytest.raises(DataError, match=r"`objects` of .*a\.npz must hold numbers; it holds Python objects"),
        opened_rows(path, ["objects"]),
    ):
        pass
    with (
        pytest.raises(DataError, match=r"`number` of .*a\.npz must have a row for each step; it is a single value"),
        opened_rows(path, ["number"]),
    ):
        pass
    path.write_bytes(path.read_bytes()[:-30])
    with (
        pytest.raises(DataError, match=r"a\.npz must be a whole \.npz archive; it is truncated or damaged"),
        opened_rows(path, ["number"]),
    ):
        pass


def test_an_array_that_ends_before_its_header_says_is_named(tmp_path):
    file = BytesIO()
    np.save(file, np.zeros((6, 2)), allow_pickle=False)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", file.getvalue()[:-20])
    with opened_rows(tmp_path / "a.npz", ["a"]) as opened:
        assert len(opened["a"].next(4)) == 4
        with pytest.raises(DataError, match=r"truncated or damaged \(`a` ends before its last row\)"):
            opened["a"].next(2)
