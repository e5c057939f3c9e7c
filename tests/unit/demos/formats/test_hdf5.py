"""HDF5 files that the disk has no room for."""

import contextlib

import numpy as np
import pytest

from unbraid.core.errors import StorageError
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.d4rl import write_d4rl
from unbraid.demos.formats.hdf5 import new_hdf5
from unbraid.demos.formats.minari import write_minari
from unbraid.demos.formats.robomimic import write_robomimic

resource = pytest.importorskip("resource", reason="there are no limits of a process here")
pytest.importorskip("h5py")


@pytest.fixture
def no_large_files():
    """No file of this process may have more than 200 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("no_large_files")
@pytest.mark.parametrize("write", [write_d4rl, write_robomimic, write_minari])
def test_a_full_disk_is_told_and_nothing_is_left(write, tmp_path):
    """HDF5 itself ends the process with a crash."""
    values = np.random.default_rng(0).normal(size=(2010, 30))
    lengths = np.full(10, 200)
    demos = Demos(
        observations=values, actions=values[:2000, :2].copy(), lengths=lengths, terminated=np.zeros(10, dtype=bool)
    )
    with pytest.raises(StorageError, match="must be writable; the system said: File too large"):
        write(demos, tmp_path / "demos")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_large_files")
def test_what_the_disk_refuses_can_be_read_again_until_it_is_told(tmp_path):
    values = np.random.default_rng(0).normal(size=(100, 1000))
    with contextlib.ExitStack() as opened:
        file, require_written = opened.enter_context(new_hdf5(tmp_path / "file"))
        for name in "abc":
            file.create_dataset(name, data=values)
        file.flush()
        assert all(np.array_equal(file[name][()], values) for name in "abc")
        with pytest.raises(OSError, match="File too large"):
            require_written()
        with pytest.raises(OSError, match="File too large"):
            opened.close()
