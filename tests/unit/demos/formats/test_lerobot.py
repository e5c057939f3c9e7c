"""LeRobotDataset v3: frames, labels and what is left out, and what it says of sets that are not whole."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats import arrow, lerobot, lerobot_write
from unbraid.demos.formats.lerobot import FORMAT, read_lerobot, write_lerobot, write_lerobot_parts
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, parts_of

FRAMES = (4, 1, 3)
TASKS = (1, 0, 1)


def _feature(dtype, *shape, names=None):
    return {"dtype": dtype, "shape": list(shape), "names": names}


FEATURES = {
    "observation.image": _feature("video", 96, 96, 3, names=["height", "width", "channel"]),
    "observation.state": _feature("float32", 2, names={"motors": ["x", "y"]}),
    "observation.environment_state": _feature("float64", 3),
    "action": _feature("float32", 2, names=["u", "v"]),
    "next.reward": _feature("float32", 1),
    "next.done": _feature("bool", 1),
    "next.success": _feature("bool", 1),
    "grip": _feature("float32", 1),
    **{name: _feature("int64", 1) for name in ("frame_index", "episode_index", "index", "task_index")},
    "timestamp": _feature("float32", 1),
}


def _rows():
    episode = np.repeat(np.arange(len(FRAMES)), FRAMES)
    frame = np.concatenate([np.arange(n) for n in FRAMES])
    pair = np.stack([episode, frame], axis=1)
    return {
        "observation.state": pair.astype(np.float32),
        "observation.environment_state": np.hstack([pair, pair[:, :1]]) / 8,
        "action": pair.astype(np.float32) + 100,
        "next.reward": frame.astype(np.float32),
        "next.done": frame == np.repeat(FRAMES, FRAMES) - 1,
        "next.success": np.zeros(len(frame), dtype=bool),
        "grip": (episode % 2).astype(np.float32) / 2,
        "frame_index": frame,
        "episode_index": episode,
        "index": np.arange(len(frame)),
        "task_index": np.repeat(TASKS, FRAMES),
        "timestamp": (frame / 10).astype(np.float32),
    }


def _column(values):
    if values.ndim == 1:
        return pa.array(values)
    kind = pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1])
    return pa.FixedSizeListArray.from_arrays(values.ravel(), type=kind)


def _info(**changes):
    return {
        "codebase_version": "v3.0",
        "robot_type": "arm",
        "total_episodes": len(FRAMES),
        "total_frames": sum(FRAMES),
        "total_tasks": 2,
        "fps": 10,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "features": FEATURES,
    } | changes


def _set(tmp_path, *, rows=None, episodes=None, **changes):
    """A set as LeRobot lays it out, written here without LeRobot and without our writer: two data files."""
    path = tmp_path / "left"
    for name in ("meta/episodes/chunk-000", "data/chunk-000"):
        (path / name).mkdir(parents=True)
    (path / "meta" / "info.json").write_text(json.dumps(_info(**changes)))
    (path / "meta" / "stats.json").write_text(json.dumps({"action": {"mean": [1, 2]}, "grip": {"mean": [0.5]}}))
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["push", "höher"]})
    pq.write_table(tasks, path / "meta" / "tasks.parquet")
    index = {
        "episode_index": [0, 1, 2],
        "length": list(FRAMES),
        "data/chunk_index": [0, 0, 0],
        "data/file_index": [0, 0, 1],
    }
    pq.write_table(pa.table(index | (episodes or {})), path / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    columns = {name: values for name, values in (_rows() | (rows or {})).items() if values is not None}
    for number, span in enumerate((slice(0, 5), slice(5, 8))):
        table = pa.table({name: _column(values[span]) for name, values in columns.items()})
        pq.write_table(table, path / "data" / "chunk-000" / f"file-00{number}.parquet")
    return path


def test_the_last_frame_becomes_the_final_observation(tmp_path):
    demos = load_demos(_set(tmp_path))
    assert demos.lengths.tolist() == [3, 2]
    assert demos.observation_names == (
        "observation.state[x]",
        "observation.state[y]",
        *(f"observation.environment_state[{i}]" for i in range(3)),
    )
    assert demos.observations[:, :2].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [2, 0], [2, 1], [2, 2]]
    assert demos.actions.tolist() == [[100, 100], [100, 101], [100, 102], [102, 100], [102, 101]]
    assert demos.rewards.tolist() == [0, 1, 2, 0, 1]
    assert not demos.terminated.any()
    assert demos.labels is None
    assert demos.facts["dropped_last_actions"] is True
    assert demos.facts["dropped_one_step_episodes"] == 1


def test_names_statistics_and_what_is_not_read_are_kept_as_facts(tmp_path):
    facts = read_lerobot(_set(tmp_path), ReadOptions()).facts
    assert facts["lerobot"]["fps"] == 10
    assert facts["lerobot"]["robot_type"] == "arm"
    assert facts["lerobot"]["features"]["action"]["names"] == ["u", "v"]
    assert facts["lerobot"]["stats"] == {"action": {"mean": [1, 2]}}
    assert facts["left_out"] == [
        "Images and videos are not read: observation.image.",
        "These features are not read: next.success, grip.",
        "The texts of 2 tasks are not read: --labels-from task_index keeps them where each episode has one.",
    ]


def test_the_text_of_the_only_task_is_kept_and_several_are_said(tmp_path):
    path = _set(tmp_path)
    by_task = read_lerobot(path, ReadOptions(labels_from="task_index"))
    assert not any("task" in line for line in by_task.facts["left_out"])
    written = write_lerobot(by_task, tmp_path / "several")
    assert read_lerobot(written, ReadOptions(labels_from="task_index")).label_names == ("push", "höher")
    pq.write_table(pa.table({"task_index": [0], "task": ["höher"]}), path / "meta" / "tasks.parquet")
    demos = read_lerobot(path, ReadOptions())
    assert demos.labels is None
    assert not any("task" in line for line in demos.facts["left_out"])
    written = write_lerobot(demos.select([1]), tmp_path / "one")
    assert pq.read_table(written / "meta" / "tasks.parquet").to_pydict()["__index_level_0__"] == ["höher"]
    episodes = pq.read_table(written / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
    assert episodes["tasks"] == [["höher"]]
    again = write_lerobot(read_lerobot(written, ReadOptions()), tmp_path / "again")
    assert pq.read_table(again / "meta" / "tasks.parquet").to_pydict()["__index_level_0__"] == ["höher"]
    pq.write_table(pa.table({"task_index": [0]}), path / "meta" / "tasks.parquet")
    said = read_lerobot(path, ReadOptions()).facts["left_out"][-1]
    assert said.startswith("Tasks are not read: ")
    assert "must have a task_index and a text for each; it has task_index." in said
    (path / "meta" / "tasks.parquet").unlink()
    assert "tasks" not in read_lerobot(path, ReadOptions()).facts["lerobot"]


def test_rewards_may_be_lists_of_one_number(tmp_path):
    rewards = np.arange(8, dtype=np.float32)[:, None]
    demos = read_lerobot(_set(tmp_path, rows={"next.reward": rewards}), ReadOptions())
    assert demos.rewards.tolist() == [0, 1, 2, 5, 6]


def test_tasks_and_features_that_stay_the_same_become_labels(tmp_path):
    path = _set(tmp_path)
    by_task = load_demos(path, options=ReadOptions(labels_from="task_index"))
    assert by_task.label_names == ("push", "höher")
    assert by_task.labels.tolist() == [1, 1]
    by_grip = load_demos(path, options=ReadOptions(labels_from="grip"))
    assert by_grip.label_names == ("0.0", "0.5")
    assert by_grip.labels.tolist() == [0, 0]
    with pytest.raises(
        DataError, match=r"`next.reward` of .* must stay the same within an episode.*changes in episode 0"
    ):
        load_demos(path, options=ReadOptions(labels_from="next.reward"))
    for unfit in ("who", "action"):
        with pytest.raises(ConfigError, match=rf"one number a frame; got '{unfit}'\. Choose among .*grip.*task_index"):
            load_demos(path, options=ReadOptions(labels_from=unfit))


def test_obs_chooses_features(tmp_path):
    path = _set(tmp_path)
    demos = load_demos(path, options=ReadOptions(obs=("grip", "observation.state")))
    assert demos.observation_names == ("grip[0]", "observation.state[x]", "observation.state[y]")
    assert demos.observations.dtype == np.float32
    for wrong in ("observation.image", "speed"):
        with pytest.raises(ConfigError, match=f"--obs must name features of .* got '{wrong}'"):
            read_lerobot(path, ReadOptions(obs=(wrong,)))


def test_parts_hold_whole_episodes_and_the_same_facts(tmp_path):
    source = find_source(_set(tmp_path))
    assert source.why == "`meta/info.json` has codebase_version v3.0"
    parts = list(load_parts(source, n_steps=1))
    assert [part.lengths.tolist() for part in parts] == [[3], [2]]
    assert parts[0].facts == parts[1].facts
    assert joined_parts(parts).fingerprint() == load_demos(source.path).fingerprint()


def test_it_is_recognised_by_its_content(tmp_path):
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text("{")
    assert FORMAT.recognise(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"codebase_version": "v2.1"},
            "`codebase_version` of .* must be v3.0; got 'v2.1'. Convert the set with LeRobot",
        ),
        ({"codebase_version": "v4.1"}, r"must be v3.0; got 'v4.1'\. That is newer .*use a newer unbraid"),
        ({"codebase_version": 3}, r"must be v3.0; got 3\. Give the folder"),
        ({"features": [1]}, "`features` of .* must describe each feature"),
        ({"features": {"observation.state": FEATURES["observation.state"]}}, "must have the feature `action`"),
        ({"features": {"action": FEATURES["action"]}}, "must have observation.state or observation.environment_state"),
        ({"total_frames": 9}, "must number the episodes from 0, 3 of 9 frames in all.*it holds 3 of 8 frames"),
        ({"data_path": "../{chunk_index}/{file_index}.parquet"}, r"`data_path` of .* below this folder; got '\.\./"),
        ({"data_path": None}, "`data_path` of .* got None"),
        ({"episodes": {"episode_index": [0, 2, 1]}}, "must number the episodes from 0"),
        ({"episodes": {"length": [4, 0, 4]}}, "none without frames"),
        ({"episodes": {"length": [3, 2, 3]}}, r"file-000\.parquet must hold the 5 frames of episodes 0 to 1 in order"),
        ({"rows": {"frame_index": np.arange(8)[::-1]}}, "of other episodes or in another order"),
        ({"rows": {"action": None}}, "must have a column `action`, as meta/info.json says"),
        ({"rows": {"action": np.zeros((8, 2), dtype=np.int64)}}, "This release covers continuous actions only"),
    ],
)
def test_a_set_that_does_not_fit_says_so(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        read_lerobot(_set(tmp_path, **changes), ReadOptions())


def test_empty_cells_and_lists_of_several_lengths_are_named(tmp_path):
    path = _set(tmp_path)
    file = path / "data" / "chunk-000" / "file-001.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("action")
    for values, says in (
        (
            [[1.0, 2.0], None, [1.0, 2.0]],
            r"`action` of .*file-001.parquet must hold a number in every row; row 1 is empty",
        ),
        ([[1.0, 2.0], [1.0], [1.0, 2.0]], r"`action` of .* must hold lists of one length; it holds lengths 1 to 2"),
        (["a", "b", "c"], "`action` of .* must hold numbers; it holds string"),
    ):
        pq.write_table(table.set_column(place, "action", pa.array(values)), file)
        with pytest.raises(DataError, match=says):
            read_lerobot(path, ReadOptions())


@pytest.mark.parametrize("file", ["data/chunk-000/file-001.parquet", "meta/episodes/chunk-000/file-000.parquet"])
def test_a_truncated_file_is_told(tmp_path, file):
    path = _set(tmp_path)
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="must be a whole parquet file; it is truncated or damaged"):
        read_lerobot(path, ReadOptions())
    (path / file).unlink()
    with pytest.raises(DataError, match=r"must exist; there is no such file|it holds none"):
        read_lerobot(path, ReadOptions())


def test_tasks_without_texts_are_told(tmp_path):
    path = _set(tmp_path)
    for tasks, says in (
        ({"task_index": [0, 1]}, "must have a task_index and a text for each; it has task_index"),
        ({"task_index": [0], "task": ["push"]}, "must name every task; task 1 has no text"),
    ):
        pq.write_table(pa.table(tasks), path / "meta" / "tasks.parquet")
        with pytest.raises(DataError, match=says):
            read_lerobot(path, ReadOptions(labels_from="task_index"))


def test_tasks_are_found_by_their_index_whatever_its_order_and_gaps(tmp_path):
    path = _set(tmp_path, rows={"task_index": np.repeat([4, 0, 2], FRAMES)})
    tasks = {"task_index": [5, 2, 4], "task": ["nobody's", "push", "pull"]}
    where = path / "meta" / "tasks.parquet"
    pq.write_table(pa.table(tasks), where)
    with pytest.raises(DataError, match="must name every task; task 0 has no text"):
        read_lerobot(path, ReadOptions(labels_from="task_index"))
    pq.write_table(pa.table({"task_index": [*tasks["task_index"], 0], "task": [*tasks["task"], "wait"]}), where)
    demos = read_lerobot(path, ReadOptions(labels_from="task_index"))
    assert demos.label_names == ("wait", "push", "pull", "nobody's")
    assert demos.labels.tolist() == [2, 1]
    pq.write_table(pa.table({"task_index": [4, 2, 0, 2], "task": list("abcd")}), where)
    with pytest.raises(DataError, match="one text for each task_index; one comes twice"):
        read_lerobot(path, ReadOptions(labels_from="task_index"))


def test_tasks_are_read_once(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        lerobot, "opened_arrow", lambda files, *a: opened.extend(files) or arrow.opened_arrow(files, *a)
    )
    read_lerobot(_set(tmp_path), ReadOptions(labels_from="task_index"))
    assert [file.name for file in opened].count("tasks.parquet") == 1


def test_files_may_be_links_to_elsewhere_as_those_of_a_download_cache(tmp_path):
    path = _set(tmp_path)
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted(path.rglob("*.*"))):
        if file.is_file():
            file.rename(blobs / str(number))
            file.symlink_to(blobs / str(number))
    assert load_demos(path).lengths.tolist() == [3, 2]


def test_episodes_of_one_frame_alone_are_no_data(tmp_path):
    path = _set(tmp_path, episodes={"length": [1, 1, 1]}, total_frames=3)
    with pytest.raises(DataError, match=r"must hold an episode of at least 2 frames.*its 3 episodes have fewer"):
        read_lerobot(path, ReadOptions())


def test_a_nan_in_the_middle_is_found_by_the_check(tmp_path):
    action = _rows()["action"]
    action[1, 1] = np.nan
    report = check_demos(read_lerobot(_set(tmp_path, rows={"action": action}), ReadOptions()))
    assert "`actions` must be finite; episode 0 holds nan at step 1" in next(f.message for f in report.findings)


def _demos(lengths=(3, 1, 2), **changes):
    lengths = np.array(lengths)
    generator = np.random.default_rng(0)
    fields = {
        "observations": generator.normal(size=(lengths.sum() + len(lengths), 3)),
        "actions": generator.normal(size=(lengths.sum(), 1)).astype(np.float32),
        "lengths": lengths,
        "terminated": np.arange(len(lengths)) % 2 == 1,
        "rewards": generator.normal(size=lengths.sum()),
        "labels": np.arange(len(lengths)) % 2,
        "label_names": ("ann", "öz"),
    }
    return Demos(**(fields | changes))


def test_named_columns_become_features_again(tmp_path):
    names = ("observation.state[x]", "observation.state[y]", "observation.wind[0]")
    path = write_lerobot(_demos(observation_names=names), tmp_path / "ours")
    features = json.loads((path / "meta" / "info.json").read_text())["features"]
    assert features["observation.state"] == {"dtype": "float64", "shape": [2], "names": ["x", "y"]}
    assert features["observation.wind"] == {"dtype": "float64", "shape": [1], "names": None}
    assert read_lerobot(path, ReadOptions()).observation_names == names
    wind = read_lerobot(path, ReadOptions(obs=("observation.wind",)))
    assert wind.observation_names == names[2:]
    np.testing.assert_array_equal(wind.observations, _demos().observations[:, 2:])


def test_statistics_are_those_of_the_frames(tmp_path):
    demos = _demos((3, 1, 2, 40))
    path = write_lerobot(demos, tmp_path / "ours")
    stats = json.loads((path / "meta" / "stats.json").read_text())
    frames = demos.observations[demos.row_of_step]
    np.testing.assert_allclose(stats["observation.state"]["mean"], frames.mean(axis=0))
    np.testing.assert_allclose(stats["observation.state"]["std"], frames.std(axis=0))
    assert stats["observation.state"]["max"] == frames.max(axis=0).tolist()
    assert stats["action"]["count"] == [46]
    assert stats["next.done"]["mean"] == [pytest.approx(4 / 46)]
    index = pq.read_table(path / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
    np.testing.assert_allclose(index["stats/action/q50"][3], np.median(demos.actions[6:], axis=0), rtol=1e-6)
    assert index["dataset_from_index"] == [0, 3, 4, 6]
    assert index["dataset_to_index"] == [3, 4, 6, 46]
    assert index["tasks"] == [["ann"], ["öz"], ["ann"], ["öz"]]


def test_files_are_cut_where_they_grow_large(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_write, "_FILE_MB", 1e-4)
    monkeypatch.setattr(lerobot_write, "_FILES_PER_CHUNK", 2)
    demos = _demos((3, 1, 2, 40))
    path = write_lerobot_parts(parts_of(demos, 1), tmp_path / "ours")
    data = sorted(file.relative_to(path).as_posix() for file in path.glob("data/*/*"))
    assert data == [f"data/chunk-00{c}/file-00{f}.parquet" for c, f in ((0, 0), (0, 1), (1, 0))]
    assert len(list(path.glob("meta/episodes/*/*"))) == 4
    again = read_lerobot(path, ReadOptions())
    assert again.fingerprint() == demos.fingerprint()
    assert again.labels.tolist() == demos.labels.tolist()


def test_a_set_that_lerobot_changed_is_not_given_other_final_observations(tmp_path):
    path = write_lerobot(_demos(), tmp_path / "ours")
    kept = path / "meta" / "unbraid" / "episodes.parquet"
    table = pq.read_table(kept)
    pq.write_table(table.set_column(table.column_names.index("length"), "length", pa.array([3, 2, 1])), kept)
    with pytest.raises(
        DataError, match=r"must belong to these episodes.*Remove .*unbraid to read it as LeRobot left it"
    ):
        read_lerobot(path, ReadOptions())


def test_it_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(DataError, match="must have a step to be written as a LeRobotDataset; episode 1 has none"):
        write_lerobot(_demos((2, 0)), tmp_path / "ours")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "ours").mkdir()
    with pytest.raises(RunError, match="must not exist yet"):
        write_lerobot(_demos(), tmp_path / "ours")
    named = replace(_demos(), observation_names=tuple(f"column {i}" for i in range(_demos().observation_size)))
    told = FORMAT.not_held(named)
    assert "final observations" in told[0]
    assert not any("names" in sentence for sentence in told)
    features = json.loads((write_lerobot(named, tmp_path / "named") / "meta" / "info.json").read_text())["features"]
    assert features["observation.state"]["names"] == list(named.observation_names)


def test_no_parts_are_no_set(tmp_path):
    with pytest.raises(DataError, match="must hold at least one episode; got none"):
        write_lerobot_parts(iter(()), tmp_path / "ours")
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    path = _set(tmp_path)
    monkeypatch.setattr(arrow, "find_spec", lambda name: None)
    for refused in (lambda: read_lerobot(path, ReadOptions()), lambda: write_lerobot(_demos(), tmp_path / "ours")):
        with pytest.raises(ConfigError, match=r"needs pyarrow; it is not installed.*pip install 'unbraid\[lerobot\]'"):
            refused()
