"""Minari's sets: spaces, final observations, costs, labels and ids, and what it says of sets that are not whole."""

import json
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats import arrow, minari_arrow
from unbraid.demos.formats.minari import (
    FORMAT,
    read_minari,
    write_minari,
    write_minari_arrow,
    write_minari_arrow_parts,
    write_minari_parts,
)
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions

LENGTHS = (3, 1, 2)
NAMES = ("goal/at[0]", "goal/at[1]", "position[0,0]", "position[0,1]", "position[1,0]", "position[1,1]")


def _box(shape, low=-1.0, high=1.0, dtype="float32"):
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": dtype, "shape": list(shape), **bounds}


def _dict(**subspaces):
    return {"type": "Dict", "subspaces": subspaces}


OBSERVATION = _dict(goal=_dict(at=_box((2,))), position=_box((2, 2), -np.inf, np.inf, "float64"))


def _values(episode, n_rows, width, dtype):
    """Column i of row t of episode e is e + t / 10 + i / 100."""
    return (episode + np.arange(n_rows)[:, None] / 10 + np.arange(width) / 100).astype(dtype)


def _episode(index, n_steps):
    return {
        "observations": {
            "goal": {"at": _values(index, n_steps + 1, 2, np.float32)},
            "position": _values(index, n_steps + 1, 4, np.float64).reshape(-1, 2, 2),
        },
        "actions": _values(index, n_steps, 2, np.float32),
        "rewards": np.arange(n_steps) / 2,
        "terminations": np.arange(n_steps) == (n_steps - 1 if index == 1 else n_steps),
        "truncations": np.arange(n_steps) == (n_steps if index == 1 else n_steps - 1),
        "infos": {"cost": np.arange(n_steps + 1.0)},
    }


def _known(index, n_steps):
    return {"id": index, "total_steps": n_steps, "seed": 10 + index, "expert": "ann" if index else "öz"}


def _metadata(stored, **changes):
    text = {
        "data_format": stored,
        "minari_version": "0.5.4",
        "total_episodes": len(LENGTHS),
        "total_steps": sum(LENGTHS),
        "observation_space": json.dumps(OBSERVATION),
        "action_space": json.dumps(_box((2,), -1.0, 0.5)),
        "author": ["someone"],
        "env_spec": json.dumps({"id": "Door-v1", "kwargs": {}}),
    }
    return {key: value for key, value in (text | changes).items() if value is not None}


def _fill(group, tree):
    for name, values in tree.items():
        if isinstance(values, dict):
            _fill(group.require_group(name), values)
        elif values is not None:
            group.create_dataset(name, data=values)


def _column(values):
    if isinstance(values, dict):
        return pa.StructArray.from_arrays([_column(v) for v in values.values()], names=list(values))
    if values.ndim == 1:
        return pa.array(values)
    flat = values.reshape(len(values), -1)
    return pa.FixedSizeListArray.from_arrays(
        flat.ravel(), type=pa.list_(pa.from_numpy_dtype(flat.dtype), flat.shape[1])
    )


def _set(tmp_path, stored="hdf5", episode=_episode, **changes):
    """A set as Minari lays it out, written here without Minari and without our writer."""
    data = tmp_path / "door" / "data"
    data.mkdir(parents=True)
    (data / "metadata.json").write_text(json.dumps(_metadata(stored, **changes)))
    if stored == "hdf5":
        with h5py.File(data / "main_data.hdf5", "w") as file:
            for index, n_steps in enumerate(LENGTHS):
                group = file.create_group(f"episode_{index}")
                group.attrs.update(_known(index, n_steps) | {"options/who": f"w{index % 2}"})
                _fill(group, episode(index, n_steps))
        return data.parent
    for index, n_steps in enumerate(LENGTHS):
        folder = data / str(index)
        folder.mkdir()
        (folder / "metadata.json").write_text(
            json.dumps(_known(index, n_steps) | {"options": {"who": f"w{index % 2}"}})
        )
        tree = episode(index, n_steps)
        padded = {k: v for k, v in tree.items() if k in ("observations", "infos")}
        for name in ("actions", "rewards", "terminations", "truncations"):
            padded[name] = np.concatenate([tree[name], np.zeros_like(tree[name][:1])])
        table = pa.table({name: _column(values) for name, values in padded.items()})
        if stored == "arrow":
            with pa.OSFile(str(folder / "part-0.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        else:
            pq.write_table(table, folder / "part-0.parquet")
    return data.parent


STORED = pytest.mark.parametrize("stored", ["hdf5", "arrow", "parquet"])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"id": "Pendulum-v1", "kwargs": {"g": 2.0, "render_mode": "human"}}, "Pendulum-v1 with g=2.0"),
        ({"id": "Door-v1", "additional_wrappers": [{"name": "Monitor"}, {"name": "Tilted"}]}, "Door-v1, in Tilted"),
        ({"id": "Pendulum-v1", "kwargs": {}, "additional_wrappers": [3]}, None),
        ({"id": "unbraid/PointGoal1-v0", "kwargs": {"level": 1}, "additional_wrappers": "none"}, None),
        ({"id": "Door-v1", "kwargs": []}, None),
    ],
)
def test_an_environment_that_its_id_alone_does_not_make_is_told(tmp_path, spec, told):
    demos = load_demos(_set(tmp_path, env_spec=json.dumps(spec)))
    assert (demos.facts["env_id"], demos.facts.get("env_altered")) == (spec["id"], told)


@STORED
def test_dict_spaces_are_flattened_and_keep_their_names(tmp_path, stored):
    path = _set(tmp_path, stored)
    demos = read_minari(path, ReadOptions())
    assert demos.observation_names == NAMES
    assert demos.lengths.tolist() == list(LENGTHS)
    expected = [
        np.hstack([_values(e, t + 1, 2, np.float32), _values(e, t + 1, 4, float)]) for e, t in enumerate(LENGTHS)
    ]
    np.testing.assert_array_equal(demos.observations, np.concatenate(expected))
    np.testing.assert_array_equal(
        demos.actions, np.concatenate([_values(e, t, 2, np.float32) for e, t in enumerate(LENGTHS)])
    )
    assert demos.actions.dtype == np.float32
    assert demos.terminated.tolist() == [False, True, False]
    assert demos.seeds.tolist() == [10, 11, 12]
    assert demos.rewards.tolist() == [0, 0.5, 1, 0, 0, 0.5]
    assert demos.action_low.tolist() == [-1, -1]
    assert demos.action_high.tolist() == [0.5, 0.5]
    assert demos.facts["env_id"] == "Door-v1"
    assert demos.facts["minari"]["author"] == ["someone"]
    assert demos.labels is None


@STORED
def test_the_cost_of_a_step_stands_behind_that_of_the_reset(tmp_path, stored):
    assert read_minari(_set(tmp_path, stored), ReadOptions()).costs.tolist() == [1, 2, 3, 1, 1, 2]


def test_a_cost_of_the_steps_alone_is_taken_as_it_is(tmp_path):
    def episode(index, n_steps):
        return _episode(index, n_steps) | {"infos": {"cost": np.arange(float(n_steps))}}

    assert read_minari(_set(tmp_path, episode=episode), ReadOptions()).costs.tolist() == [0, 1, 2, 0, 0, 1]


def test_a_cost_that_an_episode_lacks_is_no_cost(tmp_path):
    def episode(index, n_steps):
        return _episode(index, n_steps) | ({"infos": {}} if index == 1 else {})

    assert read_minari(_set(tmp_path, episode=episode), ReadOptions()).costs is None


@STORED
def test_obs_chooses_keys_in_its_order(tmp_path, stored):
    path = _set(tmp_path, stored)
    demos = load_demos(path, options=ReadOptions(obs=("position", "goal")))
    assert demos.observation_names == NAMES[2:] + NAMES[:2]
    assert demos.observations[0].tolist() == pytest.approx([0, 0.01, 0.02, 0.03, 0, 0.01])
    with pytest.raises(ConfigError, match=r"--obs must name keys.*goal/at, position; got 'speed'"):
        read_minari(path, ReadOptions(obs=("speed",)))


@STORED
def test_labels_come_from_the_metadata_that_is_named(tmp_path, stored):
    path = _set(tmp_path, stored)
    demos = load_demos(path, options=ReadOptions(labels_from="expert"))
    assert demos.label_names == ("ann", "öz")
    assert demos.labels.tolist() == [1, 0, 0]
    nested = load_demos(path, options=ReadOptions(labels_from="options/who"))
    assert nested.labels.tolist() == [0, 1, 0]
    with pytest.raises(DataError, match=r"metadata of episode 0 .* must have 'skill'.*expert, id, options/who, seed"):
        load_demos(path, options=ReadOptions(labels_from="skill"))


@STORED
def test_parts_hold_whole_episodes(tmp_path, stored):
    source = find_source(_set(tmp_path, stored))
    assert "a minari_version" in source.why
    parts = list(load_parts(source, options=ReadOptions(labels_from="expert"), n_steps=3))
    assert [part.lengths.tolist() for part in parts] == [[3], [1, 2]]
    assert all(part.label_names == ("ann", "öz") for part in parts)


def test_it_is_recognised_by_its_content(tmp_path):
    path = _set(tmp_path)
    assert FORMAT.recognise(path) == FORMAT.recognise(path / "data")
    assert minari_arrow.FORMAT.recognise(path) is None
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / "metadata.json").write_text("[1, 2")
    assert FORMAT.recognise(tmp_path) is None


def test_an_id_is_looked_up_where_minari_keeps_its_sets(tmp_path, monkeypatch):
    root = tmp_path / "root" / "D4RL"
    root.mkdir(parents=True)
    _set(root)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    assert load_demos("minari:D4RL/door").n_episodes == 3
    assert load_demos("D4RL/door").n_episodes == 3
    for wrong in ("minari:D4RL/window", "minari:../root/D4RL/door", "minari:"):
        with pytest.raises(
            DataError, match=r"root, which MINARI_DATASETS_PATH names\. Fetch it with `minari download`"
        ):
            load_demos(wrong)
    with pytest.raises(DataError, match="must exist"):
        load_demos("D4RL/window")
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".minari").mkdir()
    (tmp_path / "root").rename(tmp_path / ".minari" / "datasets")
    assert load_demos("minari:D4RL/door").n_episodes == 3
    with pytest.raises(
        DataError, match=r"no 'foo/bar-v0' in .*datasets, where Minari keeps .* by MINARI_DATASETS_PATH"
    ):
        load_demos("minari:foo/bar-v0")


@STORED
def test_without_spaces_the_data_show_them(tmp_path, stored):
    demos = read_minari(_set(tmp_path, stored, observation_space=None, action_space=None), ReadOptions())
    assert demos.observation_size == 6
    assert demos.observation_names[:2] == NAMES[:2]
    assert demos.action_low is None


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (_dict(goal=OBSERVATION, view=_box((64, 64, 3), 0, 255, "uint8")), "view is an image, 64x64x3"),
        (_dict(room={"type": "Discrete", "n": 3}, goal=OBSERVATION), "room is a Discrete space"),
        ({"type": "Discrete", "n": 3}, "it is a Discrete space. Choose another set"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_unless_left_out(tmp_path, space, says):
    def episode(index, n_steps):
        whole = _episode(index, n_steps)
        return whole | {"observations": {"goal": whole["observations"]}}

    path = _set(tmp_path, episode=episode, observation_space=json.dumps(space))
    with pytest.raises(DataError, match=r"must be a Box of real numbers.*" + says):
        read_minari(path, ReadOptions())
    if space["type"] == "Dict":
        assert read_minari(path, ReadOptions(obs=("goal",))).observation_names[0] == "goal/goal/at[0]"


@pytest.mark.parametrize("kind", ["Discrete", "MultiBinary"])
def test_choices_as_actions_are_refused_by_what_they_are(tmp_path, kind):
    path = _set(tmp_path, action_space=json.dumps({"type": kind, "n": 3}))
    with pytest.raises(DataError, match=rf"The action space of .* it is a {kind} space"):
        read_minari(path, ReadOptions(obs=("position",)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"total_episodes": 4}, r"must hold `episode_3`; it is missing"),
        ({"total_episodes": 0}, "`total_episodes` of .* must be at least 1; got 0"),
        ({"data_format": "zarr"}, "`data_format` of .* must be one of hdf5, arrow, parquet; got 'zarr'"),
        ({"observation_space": "{"}, "`observation_space` of .* must be JSON text"),
        ({"observation_space": json.dumps(["Box"])}, "must describe a space at its top"),
        (
            {"observation_space": json.dumps({"type": "Box", "shape": [2]})},
            "must give each Box a shape, a dtype, low and",
        ),
        ({"observation_space": json.dumps(_box((3,)))}, "`observations` of episode 0; it is missing"),
        ({"unbraid": {"version": 9}}, "`unbraid` of .* must have a version up to 1; it has 9"),
    ],
)
def test_metadata_that_do_not_fit_say_so(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        read_minari(_set(tmp_path, **changes), ReadOptions())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rewards": None}, "must hold `rewards` of episode 1; it is missing"),
        ({"actions": None}, "must hold `actions` of episode 1; it is missing"),
        ({"rewards": np.zeros(2)}, r"must have one row for each observation, shape \(3, 2\) at goal/at; got \(2, 2\)"),
        ({"actions": np.zeros((1, 3))}, r"actions of episode 1 .* shape \(1, 2\); got \(1, 3\)"),
        ({"terminations": np.zeros(4)}, r"`terminations` of episode 1 .* each of its 1 steps; got shape \(4,\)"),
        ({"infos": {"cost": np.zeros((2, 2))}}, r"`infos/cost` of episode 1 .* got shape \(2, 2\)"),
    ],
)
def test_an_episode_that_does_not_fit_is_named(tmp_path, change, says):
    def episode(index, n_steps):
        return _episode(index, n_steps) | (change if index == 1 else {})

    with pytest.raises(DataError, match=says):
        read_minari(_set(tmp_path, episode=episode), ReadOptions())


def test_episodes_without_attributes_have_neither_seeds_nor_labels(tmp_path):
    path = _set(tmp_path)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        for key in list(file["episode_1"].attrs):
            del file["episode_1"].attrs[key]
    demos = read_minari(path, ReadOptions())
    assert demos.n_episodes == 3
    assert demos.seeds is None
    with pytest.raises(DataError, match=r"metadata of episode 1 .* must have 'expert'.*it has none"):
        read_minari(path, ReadOptions(labels_from="expert"))


@STORED
def test_seeds_that_do_not_fit_in_64_bits_are_left_out_and_said(tmp_path, monkeypatch, stored):
    monkeypatch.setitem(globals(), "_known", lambda i, n: {"id": i, "total_steps": n, "seed": 2**63 + i if i else 7})
    path = _set(tmp_path, stored)
    whole = read_minari(path, ReadOptions())
    for demos in (whole, *load_parts(find_source(path), n_steps=1)):
        assert demos.seeds is None
        assert demos.facts["left_out"] == ["Seeds are left out: one does not fit in 64 bits with a sign."]
    assert whole.n_episodes == 3


@pytest.mark.parametrize(
    ("stored", "file", "kind"),
    [
        ("hdf5", "main_data.hdf5", "HDF5"),
        ("arrow", "1/part-0.arrow", "arrow"),
        ("parquet", "1/part-0.parquet", "parquet"),
    ],
)
def test_a_truncated_file_is_told(tmp_path, stored, file, kind):
    path = _set(tmp_path, stored)
    content = (path / "data" / file).read_bytes()
    (path / "data" / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{file} must be a whole {kind} file; it is truncated or damaged"):
        read_minari(path, ReadOptions())
    (path / "data" / file).unlink()
    with pytest.raises(DataError, match=r"must exist|must hold an \.(arrow|parquet) file in 1/ for episode 1"):
        read_minari(path, ReadOptions())


def test_arrow_files_that_are_not_as_they_say_are_told(tmp_path):
    path = _set(tmp_path, "arrow")
    known = path / "data" / "1" / "metadata.json"
    known.write_text(json.dumps(_known(1, 2)))
    with pytest.raises(DataError, match=r"observations of episode 1 .* shape \(3, 2\) at goal/at; got \(2, 2\)"):
        read_minari(path, ReadOptions())
    known.write_text("{}")
    with pytest.raises(DataError, match="must say `total_steps`"):
        read_minari(path, ReadOptions())


def test_a_nan_in_the_middle_is_found_by_the_check(tmp_path):
    def episode(index, n_steps):
        whole = _episode(index, n_steps)
        if index == 2:
            whole["actions"][1, 1] = np.nan
        return whole

    report = check_demos(read_minari(_set(tmp_path, episode=episode), ReadOptions()))
    assert "`actions` must be finite; episode 2 holds nan at step 1" in next(f.message for f in report.findings)


def test_a_dict_is_written_as_one_again(tmp_path):
    demos = read_minari(_set(tmp_path), ReadOptions(labels_from="expert"))
    for write in (write_minari, write_minari_arrow):
        path = write(demos, tmp_path / write.__name__)
        space = json.loads(json.loads((path / "data" / "metadata.json").read_text())["observation_space"])
        assert space["subspaces"]["goal"]["subspaces"]["at"]["shape"] == [2]
        assert space["subspaces"]["position"]["shape"] == [2, 2]
        assert read_minari(path, ReadOptions(obs=("position",))).observation_names == NAMES[2:]
        with pytest.raises(RunError, match="must not exist yet"):
            write(demos, path)


def test_it_refuses_episodes_of_no_steps(tmp_path):
    demos = Demos(np.zeros((1, 1)), np.zeros((0, 1)), np.array([0]), np.array([False]))
    with pytest.raises(DataError, match="must have a step to be written as Minari; episode 0 has none"):
        write_minari(demos, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write_parts", [write_minari_parts, write_minari_arrow_parts])
def test_no_parts_are_no_set(tmp_path, write_parts):
    with pytest.raises(DataError, match="must hold at least one episode; got none"):
        write_parts(iter(()), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_what_minari_has_no_place_for_is_said():
    demos = Demos(np.zeros((2, 1)), np.zeros((1, 1)), np.array([1]), np.array([False]), facts={"a": 1})
    zeros, kept = FORMAT.not_held(demos)
    assert "zeros are written" in zeros
    assert "facts" in kept
    rewarded = replace(demos, rewards=np.zeros(1), facts={})
    assert FORMAT.not_held(rewarded) == ()
    assert FORMAT.not_held(replace(rewarded, observation_names=("at[0]",))) == ()  # a Dict space has it
    (kept,) = FORMAT.not_held(replace(rewarded, observation_names=("at",)))
    assert "no place for names of columns" in kept


def test_without_pyarrow_arrow_files_say_what_to_install(tmp_path, monkeypatch):
    path = _set(tmp_path, "arrow")
    monkeypatch.setattr(arrow, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs pyarrow; it is not installed.*pip install 'unbraid\[minari\]'"):
        read_minari(path, ReadOptions())


def _ours():
    lengths = np.array(LENGTHS)
    generator = np.random.default_rng(0)
    return Demos(
        observations=generator.normal(size=(9, 6)),
        actions=generator.normal(size=(6, 2)).astype(np.float32),
        lengths=lengths,
        terminated=np.array([False, True, False]),
        rewards=generator.normal(size=6),
        costs=np.arange(6.0),
        seeds=np.arange(3),
        labels=np.array([0, 1, 0]),
        label_names=("ann", "öz"),
        observation_names=NAMES,
    )


@pytest.mark.parametrize("write", [write_minari, write_minari_arrow])
def test_minari_opens_what_we_write(tmp_path, monkeypatch, write):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demos = _ours()
    write(demos, tmp_path / "ours" / "room-v3")
    opened = minari.load_dataset("ours/room-v3")
    assert opened.spec.dataset_id == "ours/room-v3"
    assert opened.total_steps == 6
    for theirs, ours in zip(opened.iterate_episodes(), demos, strict=True):
        np.testing.assert_array_equal(theirs.observations["goal"]["at"], ours.observations[:, :2])
        np.testing.assert_array_equal(theirs.observations["position"].reshape(-1, 4), ours.observations[:, 2:])
        np.testing.assert_array_equal(theirs.actions, ours.actions)
        np.testing.assert_array_equal(theirs.rewards, ours.rewards)
        np.testing.assert_array_equal(np.ravel(theirs.infos["cost"])[1:], ours.costs)
        assert theirs.terminations[-1] == ours.terminated
        assert theirs.truncations[-1] != ours.terminated
    assert [known["seed"] for known in opened.storage.get_episode_metadata(range(3))] == [0, 1, 2]


@STORED
def test_we_open_what_minari_writes(tmp_path, monkeypatch, stored):
    minari = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    observation = spaces.Dict(
        {
            "goal": spaces.Dict({"at": spaces.Box(-9, 9, (2,), np.float32)}),
            "position": spaces.Box(-9, 9, (2, 2), np.float64),
        }
    )
    buffers = []
    for index, n_steps in enumerate(LENGTHS):
        known = {"seed": 10 + index, "options": {"who": f"w{index % 2}"}}
        buffers.append(EpisodeBuffer(**known, **_episode(index, n_steps)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks for a link to the code
        minari.create_dataset_from_buffers(
            "theirs/room-v0",
            buffers,
            observation_space=observation,
            action_space=spaces.Box(-1, 0.5, (2,), np.float32),
            data_format=stored,
        )
    demos = load_demos("minari:theirs/room-v0", options=ReadOptions(labels_from="options/who"))
    expected = read_minari(_set(tmp_path, stored), ReadOptions())
    assert demos.fingerprint() == expected.fingerprint()
    assert demos.observation_names == NAMES
    np.testing.assert_array_equal(demos.costs, expected.costs)
    np.testing.assert_array_equal(demos.seeds, expected.seeds)
    assert demos.label_names == ("w0", "w1")
    assert demos.labels.tolist() == [0, 1, 0]
