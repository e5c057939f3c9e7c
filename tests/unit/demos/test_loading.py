"""One door for every format: what it recognises, what it is told, and several sources together."""

from dataclasses import fields

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.d4rl import write_d4rl
from unbraid.demos.formats.npz import write_npz
from unbraid.demos.formats.recognise import format_for, format_named, formats
from unbraid.demos.formats.tables import demos_from_table
from unbraid.demos.loading import find_source, left_out, load_demos, load_parts
from unbraid.demos.options import ReadOptions
from unbraid.demos.store import save_demos


def _demos(n_episodes: int = 3, **changes) -> Demos:
    rng = np.random.default_rng(0)
    arrays = {
        "observations": rng.normal(size=(5 * n_episodes, 2)),
        "actions": rng.normal(size=(4 * n_episodes, 1)),
        "lengths": np.full(n_episodes, 4),
        "terminated": np.zeros(n_episodes, bool),
    }
    return Demos(**(arrays | changes))


def test_content_counts_and_not_the_ending(tmp_path):
    demos = _demos()
    written = {"d4rl": write_d4rl(demos, tmp_path / "a.npz"), "npz": write_npz(demos, tmp_path / "b.h5")}
    for name, path in written.items():
        assert find_source(path).format.name == name
        assert load_demos(path).fingerprint() == demos.fingerprint()


def test_formats_take_only_options_that_there_are():
    names = {field.name for field in fields(ReadOptions)}
    for format_ in formats():
        assert format_.options <= names, format_.name


def test_every_option_is_taken_by_a_format():
    taken = frozenset().union(*(format_.options for format_ in formats()))
    tables = {"episode_column", "obs_columns", "action_columns"}  # their module says which it takes
    assert {field.name for field in fields(ReadOptions)} - tables <= taken | tables


def test_an_option_that_a_format_does_not_take_is_refused(tmp_path):
    save_demos(_demos(), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"a is a store .* without mask \(--mask\); got 'train'\. .*no options"):
        load_demos(tmp_path / "a", options=ReadOptions(mask="train"))
    with pytest.raises(ConfigError, match="without mask"):
        load_parts(find_source(tmp_path / "a"), options=ReadOptions(mask="train"))


def test_the_target_says_its_format(tmp_path):
    for name, target in (("store", "pile"), ("npz", "pile.npz"), ("d4rl", "pile.HDF5")):
        assert format_for(tmp_path / target, None).name == name
    assert format_for(tmp_path / "pile.hdf5", "robomimic").name == "robomimic"
    with pytest.raises(ConfigError, match=r"The ending of .*pile\.xyz must say which format .*; '\.xyz' says none"):
        format_for(tmp_path / "pile.xyz", None)
    with pytest.raises(ConfigError, match=r"A format must be one of store, .*; got 'hdf'"):
        format_named("hdf")
    with pytest.raises(ConfigError, match="a recording of RecordDemos is only read"):
        format_for(tmp_path / "pile", "recording")


def test_parts_hold_whole_episodes(tmp_path):
    path = save_demos(_demos(5), tmp_path / "a")
    assert [part.n_episodes for part in load_parts(find_source(path), n_steps=8)] == [2, 2, 1]
    with pytest.raises(ConfigError, match="A part must have at least 1 step; got 0"):
        load_parts(find_source(path), n_steps=0)


def test_several_sources_are_read_together_each_with_what_its_format_takes(tmp_path):
    save_demos(_demos(2), tmp_path / "a")
    arrays = {"observations": np.zeros((8, 2)), "actions": np.zeros((8, 1)), "episode_ends": np.array([4, 8])}
    np.savez(tmp_path / "b.npz", **arrays)
    demos = load_demos(tmp_path / "a", tmp_path / "b.npz", drop_last_action=True)
    assert demos.lengths.tolist() == [4, 4, 3, 3]
    assert [source["title"] for source in demos.facts["sources"]] == [str(tmp_path / "a"), str(tmp_path / "b.npz")]
    assert load_demos(tmp_path / "a", tmp_path / "a", weights=(1.0, 1.0)).n_episodes == 4
    with pytest.raises(ConfigError, match="without mask"):
        load_demos(tmp_path / "a", tmp_path / "b.npz", options=ReadOptions(mask="train"))


def test_what_a_reader_left_out_is_said(tmp_path):
    facts = {"dropped_last_actions": True, "dropped_one_step_episodes": 2, "left_out": ["Images."]}
    assert left_out(_demos(facts=facts)) == (
        "There are no final observations: each episode's last action is left out, with reward and cost.",
        "Episodes of one step are left out with it: 2.",
        "Images.",
    )
    assert left_out(_demos(facts={"left_out": 3, "dropped_one_step_episodes": "many"})) == ()


def test_what_a_reader_left_out_of_one_of_several_sources_is_said_with_its_name(tmp_path):
    observations = np.zeros((12, 2))
    for name in ("a", "b"):
        arrays = {"observations": observations, "actions": np.zeros((12, 1)), "lengths": np.array([8, 3, 1])}
        np.savez(tmp_path / f"{name}.npz", **arrays, seeds=np.array([1, 2, 3]))
    save_demos(_demos(), tmp_path / "c")
    paths = [str(tmp_path / name) for name in ("a.npz", "b.npz", "c")]
    dropped = "There are no final observations: each episode's last action is left out, with reward and cost."
    assert left_out(load_demos(*paths, drop_last_action=True)) == (
        f"{paths[2]} has no seeds: left out of all.",
        *(f"{p}: {s}" for p in paths[:2] for s in (dropped, "Episodes of one step are left out with it: 1.")),
    )
    assert left_out(load_demos(*paths[:2], drop_last_action=True)) == (
        dropped,
        *(f"{path}: Episodes of one step are left out with it: 1." for path in paths[:2]),
    )


def test_damage_is_told_by_the_kind_of_file(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"hello")
    (tmp_path / "a.npz").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"a\.h5 must be a whole HDF5 file"):
        load_demos(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"a\.npz must be a whole \.npz archive"):
        load_demos(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros(1), y=np.zeros(1))
    with pytest.raises(DataError, match=r"b\.npz must be demonstrations in .*; the archive holds x, y\. Ren"):
        load_demos(tmp_path / "b.npz")


@pytest.mark.parametrize("source", [["a", "b"], None, b"a"])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_path_is_told(source):
    with pytest.raises(DataError, match=r"must be a path, or an id .* one after another: load_demos\(first"):
        load_demos(source)


@pytest.mark.usefixtures("unchecked")
def test_options_take_a_text_for_one_name_and_any_list(tmp_path):
    assert ReadOptions(obs="xy", action_columns=["u"]) == ReadOptions(obs=("xy",), action_columns=("u",))
    assert ReadOptions(obs=None) == ReadOptions()
    table = {"run": [0, 0], "x": [1.0, 2.0], "y": [3.0, 4.0], "xy": [5.0, 6.0], "u": [1.0, None]}
    demos = demos_from_table(table, ReadOptions(episode_column="run", obs_columns="xy", action_columns="u"))
    assert demos.observations.tolist() == [[5], [6]]
    with pytest.raises(ConfigError, match="Options must be ReadOptions; got dict"):
        load_demos(save_demos(_demos(), tmp_path / "pile"), options={"obs": ("x",)})


@pytest.mark.parametrize(
    ("name", "says"), [("pile.zarr/.zgroup", "it is a zarr store, which is not read"), ("pile.pkl", "never read")]
)
def test_what_others_keep_and_is_not_read_here_is_told_with_what_to_do(tmp_path, name, says):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"{}")
    with pytest.raises(DataError, match=rf"{says}: put its arrays in an \.npz, with `numpy\.savez`"):
        load_demos(tmp_path / name.split("/")[0])


def test_parts_have_the_types_of_the_first_where_nothing_is_lost(tmp_path):
    rng = np.random.default_rng(0)
    wide = {"observations": rng.normal(size=(3, 2)), "actions": rng.normal(size=(2, 1))}
    narrow = {name: values.astype(np.float32) for name, values in wide.items()}
    for folder, episodes in (("widest_first", (wide, narrow)), ("narrowest_first", (narrow, wide))):
        (tmp_path / folder).mkdir()
        for number, arrays in enumerate(episodes):
            np.savez(tmp_path / folder / f"{number}.npz", **arrays)
    source = find_source(tmp_path / "widest_first")
    for name, target in (("lerobot", "frames"), ("d4rl", "flat.hdf5"), ("store", "pile")):
        write = format_named(name).write_parts
        assert load_demos(write(load_parts(source, n_steps=1), tmp_path / target)).fingerprint() == (
            load_demos(source.path).fingerprint()
        )
    with pytest.raises(DataError, match=r"the same type .*before number 1 have float32, and later ones float64"):
        list(load_parts(find_source(tmp_path / "narrowest_first"), n_steps=1))
