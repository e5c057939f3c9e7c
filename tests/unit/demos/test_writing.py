"""A store written part after part: what comes out is what went in, and nothing is half there."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import DataError, RunError
from unbraid.demos import writing
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.store import save_demos
from unbraid.demos.writing import new_store, save_parts

LENGTHS = (5, 1, 8, 0, 3)


@pytest.fixture
def demos() -> Demos:
    generator = np.random.default_rng(0)
    episodes = [
        Episode(
            observations=generator.normal(size=(t + 1, 3)).astype(np.float32),
            actions=generator.normal(size=(t, 2)),
            rewards=generator.normal(size=t),
            terminated=t == 1,
            seed=7 + t,
            label=t % 2,
        )
        for t in LENGTHS
    ]
    return Demos.from_episodes(
        episodes,
        label_names=("even", "ödd"),
        observation_names=("x", "y", "漢"),
        action_bounds=(np.array([-1.0, -2.0]), np.array([1.0, 2.0])),
        facts={"env_id": "World-v0"},
    )


def _parts(demos: Demos) -> list[Demos]:
    return [demos.select([0, 1]), demos.select([]), demos.select([2]), demos.select([3, 4])]


def test_parts_make_the_same_files_as_the_whole(demos, tmp_path):
    whole, parts = save_demos(demos, tmp_path / "whole"), save_parts(_parts(demos), tmp_path / "parts")
    names = sorted(file.name for file in whole.iterdir())
    assert names == sorted(file.name for file in parts.iterdir())
    assert len(names) == 11
    for name in names:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    assert load_demos(parts).fingerprint() == demos.fingerprint()


def test_parts_are_asked_for_one_by_one_and_none_is_kept(demos, tmp_path):
    import gc
    import weakref

    alive: list[weakref.ref[Demos]] = []

    def parts():
        for part in _parts(demos):
            made = replace(part)
            alive.append(weakref.ref(made))
            yield made
            del made
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1

    save_parts(parts(), tmp_path / "store")
    assert len(alive) == 4


def test_a_header_has_room_for_any_number_of_rows(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        array = writing._GrowingArray(file, np.zeros((1, 58), np.float32), summed=False)
        short = array._header()
        array.n_rows = 10**15
        assert len(array._header()) == len(short)


def test_an_error_leaves_nothing_behind(demos, tmp_path):
    def parts():
        yield demos
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_parts(parts(), tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_folder_of_that_name_and_the_next_one_is_not_in_its_way(demos, tmp_path):
    source = save_demos(demos, tmp_path / "source")
    program = (
        "import sys, os, signal\n"
        "from unbraid.demos.loading import load_demos\n"
        "from unbraid.demos.writing import new_store\n"
        "with new_store(sys.argv[2]) as writer:\n"
        "    writer.append(load_demos(sys.argv[1]))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(source), str(tmp_path / "store")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "store").exists()
    left = [path.name for path in tmp_path.iterdir() if path.name != "source"]
    assert len(left) == 1
    assert left[0].startswith(".store.")
    assert left[0].endswith(".part")
    assert load_demos(save_parts([demos], tmp_path / "store")).n_steps == 17


def test_a_writer_counts_what_it_wrote(demos, tmp_path):
    with new_store(tmp_path / "store") as writer:
        for part in _parts(demos):
            writer.append(part)
        assert (writer.n_parts, writer.n_episodes, writer.n_steps) == (4, 5, 17)


def test_no_parts_and_a_folder_that_is_there_are_refused(demos, tmp_path):
    with pytest.raises(DataError, match="must get at least one part; it got none"):
        save_parts([], tmp_path / "store")
    assert os.listdir(tmp_path) == []
    save_demos(demos, tmp_path / "store")
    with pytest.raises(RunError, match="must not exist yet"):
        save_parts([demos], tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("actions", lambda d: replace(d, actions=d.actions.astype(np.float32))),
        ("observations", lambda d: replace(d, observations=d.observations[:, :2], observation_names=())),
        ("rewards", lambda d: replace(d, rewards=None)),
        ("costs", lambda d: replace(d, costs=np.zeros(d.n_steps))),
        ("label_names", lambda d: replace(d, label_names=("even", "odd"))),
        ("observation_names", lambda d: replace(d, observation_names=())),
        ("facts", lambda d: replace(d, facts={})),
        ("action_low", lambda d: replace(d, action_low=None)),
        ("action_high", lambda d: replace(d, action_high=np.array([1.0, 3.0]))),
    ],
)
def test_a_part_that_does_not_fit_the_first_is_named(demos, tmp_path, name, change):
    with pytest.raises(DataError, match=f"`{name}` must be alike in all parts; from episode 5 on"):
        save_parts([demos, change(demos)], tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
