"""Some episodes, by number: what a copy of them would be, without one."""

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos import selection
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.selection import Selection
from unbraid.demos.store import save_demos


@pytest.fixture
def mapped(tmp_path):
    """Six episodes of 3, 0, 5, 1, 7 and 2 steps."""
    generator = np.random.default_rng(0)
    lengths = (3, 0, 5, 1, 7, 2)
    episodes = [Episode(generator.normal(size=(n + 1, 2)), generator.normal(size=(n, 1)), label=0) for n in lengths]
    return load_demos(save_demos(Demos.from_episodes(episodes, label_names=("one",)), tmp_path / "demos"))


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4, 5], [1, 2, 4], [3], [0, 5], []])
def test_it_is_what_the_copy_is(mapped, monkeypatch, chosen):
    monkeypatch.setattr(selection, "_CHUNK_ROWS", 2)
    some, copy = Selection(mapped, np.array(chosen, dtype=np.int64)), mapped.select(chosen)
    assert some.fingerprint() == copy.fingerprint() == some.copied().fingerprint()
    assert some.lengths.tolist() == copy.lengths.tolist()
    for name in ("n_episodes", "n_steps", "observation_size", "action_size"):
        assert getattr(some, name) == getattr(copy, name), name
    assert some.without_labels().demos.labels is None


def test_a_split_is_that_of_demos(mapped):
    sides = Selection.split(mapped, held_out=0.3, generator=np.random.default_rng(1))
    copies = mapped.split(held_out=0.3, generator=np.random.default_rng(1))
    for side, copy in zip(sides, copies, strict=True):
        assert side.fingerprint() == copy.fingerprint()
        assert side.demos is mapped
    with pytest.raises(ConfigError, match="A split needs a share"):
        Selection.split(mapped, held_out=1.0, generator=np.random.default_rng(1))


@pytest.mark.parametrize("chosen", [[1, 0], [2, 2], [-1, 3], [4, 6]])
def test_numbers_that_do_not_rise_or_are_not_there_are_refused(mapped, chosen):
    with pytest.raises(DataError, match=r"Episodes must rise within \[0, 6\), each named once; got"):
        Selection(mapped, np.array(chosen))
