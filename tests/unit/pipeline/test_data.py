"""Conversion: there and back through every format, in parts, whole or not at all, and nothing lost in silence."""

import tracemalloc

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.demos.episodes import Demos
from unbraid.demos.formats import ogbench, padded, rows
from unbraid.demos.formats.recognise import formats
from unbraid.demos.loading import load_demos
from unbraid.demos.options import ReadOptions
from unbraid.demos.store import save_demos
from unbraid.pipeline import data
from unbraid.pipeline.data import check_stage, convert_stage, reading_of
from unbraid.pipeline.places import MoreData
from unbraid.pipeline.requests import CheckRequest, ConvertRequest

ENDINGS = {f.name: f.endings[0] if f.endings else "" for f in formats() if f.write is not None}


def _demos(n_episodes: int = 6, n_steps: int = 5, width: int = 3) -> Demos:
    rng = np.random.default_rng(0)
    return Demos(
        observations=rng.normal(size=(n_episodes * (n_steps + 1), width)),
        actions=rng.normal(size=(n_episodes * n_steps, 2)),
        lengths=np.full(n_episodes, n_steps),
        terminated=np.arange(n_episodes) % 2 == 0,
        labels=np.arange(n_episodes) % 2,
        label_names=("left", "right"),
        observation_names=tuple(f"ö{i}" for i in range(width)),
        facts={"env_id": "World-v0"},
    )


def _part_steps(monkeypatch, n_steps: int) -> None:
    for module in (data, ogbench, padded, rows):
        monkeypatch.setattr(module, "PART_STEPS", n_steps)


@pytest.mark.parametrize("name", sorted(ENDINGS))
def test_there_and_back_nothing_is_lost(tmp_path, monkeypatch, name):
    _part_steps(monkeypatch, 12)
    demos = _demos()
    source = save_demos(demos, tmp_path / "source")
    other = tmp_path / f"there{ENDINGS[name]}"
    there = convert_stage(ConvertRequest(source, other, to=name))
    assert (there["recognised"]["format"], there["format"]) == ("store", name)
    assert (there["n_episodes"], there["n_steps"], there["left_out"]) == (6, 30, [])
    back = convert_stage(ConvertRequest(other, tmp_path / "back"))
    assert (back["recognised"]["format"], back["format"]) == (name, "store")
    again = load_demos(tmp_path / "back")
    assert again.fingerprint() == demos.fingerprint()
    assert (again.facts, again.observation_names, again.label_names) == (
        demos.facts,
        demos.observation_names,
        demos.label_names,
    )
    assert again.labels.tolist() == demos.labels.tolist()


@pytest.mark.parametrize("name", ["store", "d4rl", "robomimic", "npz", "ogbench", "padded"])
def test_no_more_than_a_part_is_in_memory(tmp_path, monkeypatch, name):
    demos = _demos(n_episodes=100, n_steps=400, width=30)
    size = demos.observations.nbytes  # 9.6 MB
    source = save_demos(demos, tmp_path / "source")
    del demos
    _part_steps(monkeypatch, 1000)
    for come, go, to in ((source, tmp_path / "there", name), (tmp_path / "there", tmp_path / "back", "store")):
        tracemalloc.start()
        convert_stage(ConvertRequest(come, go, to=to))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size / 3, (come, to, peak)


def test_it_says_what_was_not_there_and_what_has_no_place(tmp_path):
    rows = np.arange(12.0).reshape(6, 2)
    np.savez(tmp_path / "a.npz", state=rows, action=rows, episode_ends=np.array([3, 6]), who=np.array(["l", "r"]))
    source = tmp_path / "a.npz"
    with pytest.raises(DataError, match=r"pass drop_last_action=True \(--drop-last-action\)"):
        convert_stage(ConvertRequest(source, tmp_path / "a.hdf5"))
    reading = ReadOptions(drop_last_action=True, labels_from="who")
    found = convert_stage(ConvertRequest(source, tmp_path / "a.hdf5", reading=reading))
    assert found["format"] == "d4rl"
    assert found["recognised"]["why"] == "an .npz archive with `action`, `state`, `episode_ends`"
    assert found["left_out"] == [
        "There are no final observations: each episode's last action is left out, with reward and cost."
    ]
    assert found["not_held"] == [
        "It has no place for labels, facts: kept in the group `unbraid`, where only unbraid looks."
    ]


def test_how_data_was_read_is_told_without_its_paths():
    assert reading_of(MoreData()) == {}
    reading = ReadOptions(drop_last_action=True, obs=("b", "a"), time_axis=0)
    told = reading_of(MoreData(("/home/me/more",), (2.0, 1.0), reading))["reading"]
    assert told == {"n_more_demos": 1, "weights": [2, 1], "drop_last_action": True, "obs": ["b", "a"], "time_axis": 0}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_that_is_damaged_behind_the_first_part_leaves_nothing(tmp_path, monkeypatch, save):
    monkeypatch.setattr(data, "PART_STEPS", 100)
    monkeypatch.setattr(rows, "_READ_BYTES", 500)
    demos = _demos(n_episodes=50, n_steps=100)
    save(tmp_path / "a.npz", **{n: getattr(demos, n) for n in ("observations", "actions", "lengths")})
    content = bytearray((tmp_path / "a.npz").read_bytes())
    middle = content.index(b"actions.npy") - 1000
    content[middle : middle + 4] = b"0123"
    (tmp_path / "a.npz").write_bytes(content)
    for to in ("store", "npz", "padded"):
        with pytest.raises(DataError, match=r"a\.npz must be a whole \.npz archive; it is truncated or damaged"):
            convert_stage(ConvertRequest(tmp_path / "a.npz", tmp_path / "b", to=to))
        assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("to", ["npz", "ogbench", "padded"])
def test_episodes_of_other_widths_are_named_and_leave_nothing(tmp_path, monkeypatch, to):
    monkeypatch.setattr(data, "PART_STEPS", 5)
    (tmp_path / "source").mkdir()
    for i, width in enumerate((2, 2, 3)):
        episode = {"observations": np.zeros((6, width)), "actions": np.zeros((5, 1))}
        np.savez(tmp_path / "source" / f"{i}.npz", **episode)
    with pytest.raises(DataError, match="`observations` must be alike in all parts; from episode 2 on it is"):
        convert_stage(ConvertRequest(tmp_path / "source", tmp_path / "there", to=to))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_failed_conversion_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "PART_STEPS", 2)
    lengths = np.array([2, 2, 0])
    demos = Demos(np.zeros((7, 1)), np.zeros((4, 1)), lengths, np.zeros(3, bool))
    source = save_demos(demos, tmp_path / "source")
    with pytest.raises(DataError, match="must have a step to be written as D4RL"):
        convert_stage(ConvertRequest(source, tmp_path / "a.hdf5"))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("name", ["store", "d4rl", "npz"])
def test_nothing_is_not_converted(tmp_path, name):
    source = save_demos(_demos().select([]), tmp_path / "source")
    with pytest.raises(DataError, match="There must be an episode to convert; there is none"):
        convert_stage(ConvertRequest(source, tmp_path / "a", to=name))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_target_that_is_there_or_in_no_format_is_refused_before_the_work(tmp_path):
    source = save_demos(_demos(), tmp_path / "source")
    with pytest.raises(RunError, match="source must not exist yet"):
        convert_stage(ConvertRequest(source, source))
    with pytest.raises(ConfigError, match="A format must be one of store"):
        convert_stage(ConvertRequest(source, tmp_path / "a", to="hdf"))


def test_check_says_what_it_recognised_and_reads_several(tmp_path):
    source = save_demos(_demos(), tmp_path / "source")
    other = convert_stage(ConvertRequest(source, tmp_path / "other.npz"))["target"]
    found = check_stage(CheckRequest(source, more=MoreData(demos=(other,), weights=(1.0, 1.0))))
    assert [of["format"] for of in found["recognised"]] == ["store", "npz"]
    assert found["n_episodes"] == 12
    assert found["left_out"] == []
