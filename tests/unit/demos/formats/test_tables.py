"""Tables: which columns are what, final rows, order, and what it says of tables that do not fit."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats import arrow, tables
from unbraid.demos.formats.tables import FORMAT, demos_from_table, read_table, write_table, write_table_parts
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions
from unbraid.demos.parts import joined_parts, parts_of

COLUMNS = {"episode_column": "run", "obs_columns": ("x", "y"), "action_columns": ("u",)}
EVERYTHING = ReadOptions(**COLUMNS, reward_column="r", cost_column="c", terminated_column="end", labels_from="who")


def _table(**changes):
    """Two episodes: "b" has 2 steps and a final row, "a" has 3 rows and none."""
    columns = {
        "run": ["b", "b", "b", "a", "a", "a"],
        "t": [0, 1, 2, 5, 6, 7],
        "x": [0.0, 0.1, 0.2, 1.0, 1.1, 1.2],
        "y": [7, 8, 9, 4, 5, 6],
        "u": [0.5, 1.5, None, 2.5, 3.5, 4.5],
        "r": [1.0, 2.0, None, 3.0, 4.0, 5.0],
        "c": [0.0, 1.0, None, 0.0, 0.0, 1.0],
        "end": [False, True, False, False, False, True],
        "who": ["öz", "öz", "öz", "ann", "ann", "ann"],
    }
    return pa.table({name: values for name, values in (columns | changes).items() if values is not None})


def _file(tmp_path, ending, table=None):
    path = tmp_path / f"left{ending}"
    table = _table() if table is None else table
    if ending == ".parquet":
        pq.write_table(table, path)
    else:
        rows = zip(*table.to_pydict().values(), strict=True)
        lines = [",".join("" if v is None else str(v) for v in row) for row in rows]
        path.write_text("\n".join([",".join(table.column_names), *lines, ""]), encoding="utf-8")
    return path


def _expect(demos):
    assert demos.lengths.tolist() == [2, 2]
    assert demos.observations.tolist() == [[0, 7], [0.1, 8], [0.2, 9], [1, 4], [1.1, 5], [1.2, 6]]
    assert demos.actions.tolist() == [[0.5], [1.5], [2.5], [3.5]]
    assert demos.rewards.tolist() == [1, 2, 3, 4]
    assert demos.costs.tolist() == [0, 1, 0, 0]
    assert demos.terminated.tolist() == [True, False]
    assert demos.label_names == ("ann", "öz")
    assert demos.labels.tolist() == [1, 0]
    assert demos.observation_names == ("x", "y")
    assert demos.facts == {"action_names": ["u"], "dropped_last_actions": True, "dropped_one_step_episodes": 0}


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_file_is_read_by_the_names_of_its_columns(tmp_path, ending):
    path = _file(tmp_path, ending)
    assert find_source(path).format is FORMAT
    _expect(load_demos(path, options=EVERYTHING))


def test_a_table_in_memory_is_read_likewise():
    _expect(demos_from_table(_table(), EVERYTHING))
    _expect(demos_from_table(_table().to_pydict(), EVERYTHING))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_rows_in_any_order_are_put_in_order_by_their_step(tmp_path, ending):
    shuffled = _table().take([5, 2, 3, 0, 4, 1])
    path = _file(tmp_path, ending, shuffled)
    demos = load_demos(path, options=ReadOptions(**COLUMNS, step_column="t"))
    assert demos.observations[:, 0].tolist() == [1, 1.1, 1.2, 0, 0.1, 0.2]  # by first appearance
    with pytest.raises(
        DataError, match=r"must stand together; episode a goes on at row 2, after another.*--step-column"
    ):
        load_demos(path, options=ReadOptions(**COLUMNS))


def test_an_episode_of_one_row_vanishes_unless_it_is_a_final_one():
    table = _table(run=["b", "b", "b", "a", "c", "c"])
    demos = demos_from_table(table, ReadOptions(**COLUMNS))
    assert demos.lengths.tolist() == [2, 1]
    assert demos.facts["dropped_one_step_episodes"] == 1
    alone = _table().slice(2, 1)
    assert demos_from_table(alone, ReadOptions(**COLUMNS)).lengths.tolist() == [0]
    with pytest.raises(DataError, match="must hold an episode of at least 2 rows, or a last row with empty actions"):
        demos_from_table(_table().slice(3, 1), ReadOptions(**COLUMNS))


def test_columns_may_be_named_by_their_beginning_or_hold_lists():
    lists = pa.array([[i, -i] for i in range(6)], type=pa.list_(pa.float32()))
    table = _table(x=None, y=None, obs_b=[1.0] * 6, obs_a=[2.0] * 6, pair=lists)
    demos = demos_from_table(table, ReadOptions(**COLUMNS | {"obs_columns": ("obs_*", "pair")}))
    assert demos.observation_names == ("obs_b", "obs_a", "pair[0]", "pair[1]")
    assert demos.observations[1].tolist() == [1, 2, 1, -1]


def _categorical(values, categories):
    return pa.DictionaryArray.from_arrays(pa.array([categories.index(v) for v in values], pa.int8()), categories)


@pytest.mark.parametrize("step_column", [None, "t"])
def test_categories_in_any_order_and_unused_ones_change_nothing(tmp_path, step_column):
    run = _categorical(["b", "b", "b", "a", "a", "a"], ["unused", "a", "other", "b"])
    who = _categorical(["öz", "öz", "öz", "ann", "ann", "ann"], ["nobody", "öz", "ann", "zoe"])
    table = _table(run=run, who=who, y=_categorical([7, 8, 9, 4, 5, 6], [4, 5, 6, 7, 8, 9, 10]))
    options = ReadOptions(**vars(EVERYTHING) | {"step_column": step_column})
    _expect(demos_from_table(table, options))
    _expect(read_table(_file(tmp_path, ".parquet", table), options))
    with pytest.raises(DataError, match=r"`run` of the table must say for every row .*row 4 is empty"):
        demos_from_table(_table(run=pa.array(["b", "b", "b", "a", None, "a"]).dictionary_encode()), options)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ms"), pa.timestamp("ns", "UTC"), pa.date32(), pa.time32("s"), pa.duration("us")], ids=str
)
def test_rows_may_be_ordered_by_dates_and_times(kind):
    table = _table(t=pa.array([0, 1, 2, 5, 6, 7], pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind))
    shuffled = table.take([5, 2, 3, 0, 4, 1])
    demos = demos_from_table(shuffled, ReadOptions(**COLUMNS, step_column="t"))
    assert demos.observations[:, 0].tolist() == [1, 1.1, 1.2, 0, 0.1, 0.2]
    with pytest.raises(DataError, match="`t` of the table must differ between the rows of an episode; episode a has "):
        demos_from_table(table.take([3, 3, 4]), ReadOptions(**COLUMNS, step_column="t"))


def test_rows_of_csv_may_be_ordered_by_timestamps_and_by_fractions(tmp_path):
    for name, times in (("a", ["2024-01-01 10:00:01", "2024-01-01 10:00:00.5"]), ("b", ["7", "6.5"])):
        (tmp_path / f"{name}.csv").write_text(f"run,x,y,u,t\n1,2,3,4,{times[0]}\n1,5,6,7,{times[1]}\n")
        demos = load_demos(tmp_path / f"{name}.csv", options=ReadOptions(**COLUMNS, step_column="t"))
        assert demos.observations.tolist() == [[5, 6], [2, 3]]
    (tmp_path / "c.csv").write_text("run,x,y,u,t\n1,2,3,4,first\n1,5,6,7,2\n")
    with pytest.raises(DataError, match=r"`t` of .*c\.csv must hold numbers; it holds string\. Choose another"):
        load_demos(tmp_path / "c.csv", options=ReadOptions(**COLUMNS, step_column="t"))


def test_decimals_are_numbers():
    decimals = pa.array([0, 1, 2, 10, 11, 12]).cast(pa.decimal128(21, 2))
    demos = demos_from_table(_table(x=decimals), ReadOptions(**COLUMNS))
    assert demos.observations[:, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert demos.observations.dtype == np.float64


def test_whole_numbers_of_many_values_are_taken_for_continuous_actions_and_that_is_said():
    table = pa.table({"run": [0] * 40, "x": np.zeros(40), "u": np.arange(40) % 34, "v": [0, 1] * 20})
    options = ReadOptions(episode_column="run", obs_columns=("x",), action_columns=("v", "u"))
    demos = demos_from_table(table, options)
    assert demos.actions[:3].tolist() == [[0, 0], [1, 1], [0, 2]]
    assert demos.actions.dtype == np.float64
    assert demos.facts["left_out"] == ["Actions are whole numbers, taken for continuous: `u` has 34 values."]
    few = table.set_column(2, "u", pa.array(np.arange(40) % 32))
    with pytest.raises(DataError, match=r"must be floating-point; got int64\. .* if they are continuous, convert them"):
        demos_from_table(few, options)
    flags = ReadOptions(episode_column="run", obs_columns=("x",), action_columns=("b",))
    with pytest.raises(DataError, match="must be floating-point; got bool"):
        demos_from_table(table.append_column("b", pa.array([True, False] * 20)), flags)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_table_in_another_encoding_is_told_so(tmp_path, name):
    (tmp_path / name).write_bytes("größe,x,u\n1,2,3\n".encode("latin-1"))
    with pytest.raises(DataError, match="it is no text in UTF-8, as a table must be: save it so"):
        load_demos(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_table_whose_columns_are_parted_otherwise_is_told_so(tmp_path, name):
    (tmp_path / name).write_text("run;x;u\n1;0,5;0,1\n")
    with pytest.raises(DataError, match="first line of the table, 'run;x;u', must name columns parted by commas: save"):
        load_demos(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"obs_columns": ("x", "speed")},
            r"--obs-columns must name a column of the table; there is no 'speed'. Choose",
        ),
        ({"obs_columns": ("z*",)}, r"--obs-columns must name a column of the table; there is no 'z\*'"),
        (
            {"obs_columns": ()},
            "whose columns must be named with --episode-column --obs-columns --action-columns; obs_co",
        ),
        ({"episode_column": None}, "episode_column is not given. Choose among run, t, x, y"),
        ({"step_column": "k"}, "--step-column must name a column of the table; there is no 'k'"),
        ({"labels_from": "k"}, "--labels-from must name a column"),
    ],
)
def test_options_that_do_not_fit_name_the_columns(changes, says):
    with pytest.raises(ConfigError, match=says):
        demos_from_table(_table(), ReadOptions(**COLUMNS | changes))


def test_what_is_no_table_is_refused():
    with pytest.raises(ConfigError, match="must be a data frame, an Arrow table or columns by name; got int"):
        demos_from_table(3, ReadOptions(**COLUMNS))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x": [0.0, None, 0.2, 1.0, 1.1, 1.2]}, "`x` of the table must hold a number in every row; row 1 is empty"),
        ({"u": [0.5, None, None, 2.5, 3.5, 4.5]}, "`u` of the table must hold .*it is empty at step 1 of episode 0"),
        ({"r": [1.0, 2.0, None, None, 4.0, 5.0]}, "`r` of the table must hold a number in every row; row"),
        ({"run": ["b", "b", "b", "a", None, "a"]}, "`run` of the table must say for every row .*row 4 is empty"),
        ({"run": ["b", "a", "b", "a", "a", "a"]}, "must stand together; episode b goes on at row 2"),
        ({"t": [0, 1, 2, 5, 5, 7]}, "`t` of the table must differ between the rows.*episode a has 5 twice"),
        ({"t": [0, 1, 2, 5, float("nan"), float("nan")]}, "`t` of the table must differ between the rows"),
        (
            {"who": ["öz", "öz", "öz", "ann", "öz", "ann"]},
            "`who` .*stay the same within an episode.* episode 1.* step 1",
        ),
        ({"who": ["öz", None, "öz", "ann", "ann", "ann"]}, "`who` .*must be there .* episode 0 .* step 1"),
        (
            {"end": [True, False, False, False, False, True]},
            "`end` .* true at an episode's end only.* middle of episode 0",
        ),
        ({"x": ["a", "b", "c", "d", "e", "f"]}, "`x` of the table must hold numbers; it holds string"),
        ({"u": ["a", "b", "c", "d", "e", "f"]}, "`u` of the table must hold numbers; it holds string"),
        ({"u": [1, 2, 3, 4, 5, 6]}, "`actions` of the table must be floating-point; got int64"),
        (
            {"x": [[1.0], [1.0, 2.0], [1.0], [1.0], [1.0], [1.0]]},
            "`x` of the table must hold lists of one length.* 1 to 2",
        ),
    ],
)
def test_rows_that_do_not_fit_are_named(changes, says):
    options = ReadOptions(**COLUMNS, reward_column="r", terminated_column="end", labels_from="who")
    if "t" in changes:
        options = ReadOptions(**COLUMNS, step_column="t")
    with pytest.raises(DataError, match=says):
        demos_from_table(_table(**changes), options)


def test_a_table_without_rows_is_no_data():
    with pytest.raises(DataError, match="must have rows; it has none"):
        demos_from_table(_table().slice(0, 0), ReadOptions(**COLUMNS))


def test_a_nan_in_the_middle_is_found_by_the_check(tmp_path):
    path = _file(tmp_path, ".csv", _table(x=[0.0, float("nan"), 0.2, 1.0, 1.1, 1.2]))
    report = check_demos(load_demos(path, options=ReadOptions(**COLUMNS)))
    assert "`observations` must be finite; episode 0 holds nan at step 1" in next(f.message for f in report.findings)


def test_csv_reads_the_same_whatever_its_numbers_look_like(tmp_path):
    path = tmp_path / "left.csv"
    path.write_text('﻿run,"x","y, z",u\n01,1,2,1\n01,1,2,\n1,1e3,-0,0\n1,1,nan,\n', encoding="utf-8")
    demos = load_demos(path, options=ReadOptions(**COLUMNS | {"obs_columns": ("x", "y, z")}))
    assert demos.lengths.tolist() == [1, 1]  # 01 and 1 are two episodes
    assert demos.actions.dtype == np.float64
    assert np.signbit(demos.observations[2, 1])
    assert demos.observation_names == ("x", "y, z")


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_true_and_false_are_observed_and_earned_as_numbers(tmp_path, ending):
    table = _table(y=[True, False, True, True, False, False], r=[False, True, None, True, True, False])
    demos = load_demos(_file(tmp_path, ending, table), options=ReadOptions(**COLUMNS, reward_column="r"))
    assert demos.observations[:, 1].tolist() == [1, 0, 1, 1, 0, 0]
    assert demos.rewards.tolist() == [0, 1, 1, 1]
    assert (demos.observations.dtype, demos.rewards.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"run,x,y,u\n1,true,3,4\n1,maybe,3,4\n", r"`x` of .* must hold numbers; line 3 holds 'maybe'\. Correct"),
        (b"run,x,y,u\n1,2,3,4\n1,2,3\n", "must be a whole CSV file; .*Expected 4 columns, got 3"),
        (b"run,x,y,u\n1,2,3,4\n1,2,three,4\n", r"`y` of .* must hold numbers; line 3 holds 'three'\. Correct"),
        (b'run,x,"a\n,",y,u\n1,2,"a\nb",3,4\n1,2,3,,u\n', r"`u` of .* must hold numbers; line 5 holds 'u'\. Correct"),
        (b"run,x,y,u\n" + 9000 * b"1,2,3,4\n" + b"\xf6,2,3,4\n", "CSV in UTF-8; line 9002 is not .* Save it so"),
        (b"run,x,x,u\n1,2,3,4\n", "must have different names; 'x' is there twice"),
        (b"run,x,y,u\n", "must have rows; it has none"),
    ],
)
def test_csv_that_does_not_fit_says_so(tmp_path, text, says):
    path = tmp_path / "left.csv"
    path.write_bytes(text)
    with pytest.raises(DataError, match=says):
        read_table(path, ReadOptions(**COLUMNS))


def test_other_files_are_not_taken_for_tables(tmp_path):
    for name, content in (
        ("a.csv", b"one\n1\n"),
        ("b.csv", b"\xff\xfe\x00"),
        ("c.txt", b"a,b\n1,2\n"),
        ("d.npz", b"PK\3\4"),
    ):
        (tmp_path / name).write_bytes(content)
        assert FORMAT.recognise(tmp_path / name) is None
    assert FORMAT.recognise(tmp_path) is None
    with pytest.raises(DataError, match="must be CSV in UTF-8"):
        read_table(tmp_path / "b.csv", ReadOptions(**COLUMNS))
    with pytest.raises(DataError, match="must be readable"):
        read_table(tmp_path / "none.csv", ReadOptions(**COLUMNS))


def test_a_truncated_parquet_file_is_told(tmp_path):
    path = _file(tmp_path, ".parquet")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="must be a whole Parquet file; it is truncated or damaged"):
        load_demos(path, options=ReadOptions(**COLUMNS))


def _demos(**changes):
    lengths = np.array([2, 0, 3])
    generator = np.random.default_rng(0)
    fields = {
        "observations": generator.normal(size=(8, 2)),
        "actions": generator.normal(size=(5, 2)).astype(np.float32),
        "lengths": lengths,
        "terminated": np.array([True, True, False]),
        "rewards": np.arange(5.0),
        "labels": np.array([1, 0, 1]),
        "label_names": ("ann", "öz"),
    }
    return Demos(**(fields | changes))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_what_we_write_others_can_read(tmp_path, ending):
    """Read as a stranger's table: without the notes that unbraid keeps."""
    names = ("x", 'the "y", z')
    path = write_table(_demos(observation_names=names, facts={"action_names": ["u", "v"]}), tmp_path / f"ours{ending}")
    options = ReadOptions(
        episode_column="episode",
        obs_columns=names,
        action_columns=("u", "v"),
        step_column="step",
        reward_column="reward",
        terminated_column="terminated",
        labels_from="label",
    )
    demos = read_table(path, options)
    assert demos.observations.tobytes() == _demos().observations.tobytes()
    np.testing.assert_array_equal(demos.actions.astype(np.float32), _demos().actions)
    for name in ("lengths", "terminated", "rewards", "labels"):
        np.testing.assert_array_equal(getattr(demos, name), getattr(_demos(), name))
    assert demos.label_names == ("ann", "öz")
    assert demos.facts == {"action_names": ["u", "v"]}
    other = read_table(path, ReadOptions(labels_from="episode"))
    assert other.label_names == ("0", "1", "2")


@pytest.mark.parametrize("names", [("x", "x"), ("step", "x"), ("", "x"), ("a\n", "x"), ("action_0", "x")])
def test_names_that_would_clash_become_numbers_and_come_back(tmp_path, names):
    path = write_table(_demos(observation_names=names), tmp_path / "ours.csv")
    header = path.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert len(set(header)) == len(header) == 9
    assert read_table(path, ReadOptions()).observation_names == names


def test_parts_become_one_file(tmp_path):
    for ending in (".parquet", ".csv"):
        path = write_table_parts(parts_of(_demos(), 1), tmp_path / f"ours{ending}")
        assert read_table(path, ReadOptions()).fingerprint() == _demos().fingerprint()
        for n_steps, lengths in ((1, [[2], [0], [3]]), (2, [[2, 0], [3]]), (9, [[2, 0, 3]])):
            parts = list(load_parts(find_source(path), n_steps=n_steps))
            assert [part.lengths.tolist() for part in parts] == lengths
            assert joined_parts(parts).fingerprint() == _demos().fingerprint()
            assert all(part.label_names == ("ann", "öz") for part in parts)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_an_episode_that_is_torn_between_batches_is_put_together(tmp_path, ending, monkeypatch):
    path = write_table(_demos(), tmp_path / f"ours{ending}")
    whole = tables._batches

    def torn(*arguments):
        for table in whole(*arguments):
            yield from (table.slice(row, 1) for row in range(table.num_rows))

    monkeypatch.setattr(tables, "_batches", torn)
    parts = list(load_parts(find_source(path), n_steps=2))
    assert [part.lengths.tolist() for part in parts] == [[2, 0], [3]]
    assert joined_parts(parts).fingerprint() == _demos().fingerprint()


def test_a_stranger_s_table_is_read_at_once_and_given_in_parts(tmp_path):
    source = find_source(_file(tmp_path, ".csv"))
    parts = list(load_parts(source, options=EVERYTHING, n_steps=1))
    assert [part.lengths.tolist() for part in parts] == [[2], [2]]
    assert parts[0].facts == parts[1].facts


def test_no_parts_are_no_table(tmp_path):
    for ending in (".parquet", ".csv"):
        with pytest.raises(DataError, match="must hold at least one episode; got none"):
            write_table_parts(iter(()), tmp_path / f"ours{ending}")
    assert list(tmp_path.iterdir()) == []


def test_csv_is_written_with_its_notes_or_not_at_all(tmp_path):
    path = tmp_path / "ours.csv"
    (tmp_path / "ours.csv.json").write_text("{}")
    with pytest.raises(RunError, match=r"ours.csv.json must not exist yet"):
        write_table(_demos(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["ours.csv.json"]
    with pytest.raises(ConfigError, match=r"must be written as .parquet or .csv; got ours.xlsx"):
        write_table(_demos(), tmp_path / "ours.xlsx")


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        ("{", "must be JSON text"),
        (json.dumps({"version": 9}), "must have a version up to 1; it has 9"),
        (json.dumps({"version": 1}), "must say which columns are what; it does not"),
        (
            json.dumps({"columns": {"episode": "e", "observations": ["x"], "actions": ["u"]}, "dtypes": {}}),
            "must have the column 'x', as unbraid noted; it has e, u",
        ),
    ],
)
def test_notes_that_do_not_fit_say_so(tmp_path, notes, says):
    (tmp_path / "left.csv").write_text("e,u\n1,2\n")
    (tmp_path / "left.csv.json").write_text(notes)
    with pytest.raises(DataError, match=says):
        read_table(tmp_path / "left.csv", ReadOptions())


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    path = _file(tmp_path, ".parquet")
    monkeypatch.setattr(arrow, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs pyarrow; it is not installed.*pip install 'unbraid\[tables\]'"):
        load_demos(path, options=ReadOptions(**COLUMNS))


@pytest.mark.parametrize("width", [32, 64])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_csv_gives_back_every_number(width, data):
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    numbers = arrays.arrays(f"float{width}", (sum(lengths) + len(lengths), 2), elements=st.floats(width=width))
    observations = data.draw(numbers)
    demos = Demos(
        observations=observations,
        actions=observations[: sum(lengths)],
        lengths=np.array(lengths),
        terminated=np.zeros(len(lengths), dtype=bool),
    )
    with tempfile.TemporaryDirectory() as folder:
        again = read_table(write_table(demos, Path(folder) / "ours.csv"), ReadOptions())
    for name in ("observations", "actions"):
        kept, given_ = getattr(again, name), getattr(demos, name)
        assert kept.dtype == given_.dtype
        np.testing.assert_array_equal(kept, given_)
        np.testing.assert_array_equal(np.signbit(kept)[~np.isnan(kept)], np.signbit(given_)[~np.isnan(given_)])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"obs_columns": ("ep", "x")},
            r"--episode-column of .* must be no obs.*'ep' is among the --obs-columns",
        ),
        ({"action_columns": ("a", "ep")}, r"--episode-column .*'ep' is among the --action-columns"),
        ({"labels_from": "x"}, r"--labels-from .*'x' is among the --obs-columns, too\. Leave it out there"),
    ],
)
def test_whose_a_row_is_is_not_seen_in_it(tmp_path, ending, asked, said):
    path = tmp_path / f"table.{ending}"
    if ending == "csv":
        path.write_text("ep,x,a\n0,1,.5\n0,2,.6\n")
    else:
        pq.write_table(pa.table({"ep": [0, 0], "x": [1.0, 2.0], "a": [0.5, 0.6]}), path)
    options = ReadOptions(**{"episode_column": "ep", "obs_columns": ("x",), "action_columns": ("a",)} | asked)
    with pytest.raises(ConfigError, match=said):
        load_demos(path, options=options)


def test_a_label_that_is_nan_is_missing_and_names_nobody():
    for missing in (float("nan"), None):
        table = _table(who=pa.array([1.5] * 3 + [missing] * 3, type=pa.float64()))
        with pytest.raises(DataError, match=r"`who` of the table must be there .*; it does not in episode 1"):
            demos_from_table(table, ReadOptions(**COLUMNS, labels_from="who"))


def test_true_and_false_may_be_observed():
    demos = demos_from_table(_table(), ReadOptions(episode_column="run", obs_columns=("end",), action_columns=("u",)))
    assert demos.observations.ravel().tolist() == [0, 1, 0, 0, 0, 1]
    assert demos.observations.dtype == np.float64
