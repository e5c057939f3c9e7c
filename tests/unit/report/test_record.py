"""Reading a run's folder: what is there is read, what is damaged is named."""

import copy
import functools
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

from unbraid.core.errors import RunError
from unbraid.report import write_report
from unbraid.report.record import TopDownPath, read_record, read_results

BARE = {"format": "unbraid-results", "version": 1}


def test_everything_is_read(demo_run: Path):
    record = read_record(demo_run)
    assert record.experts == ("goal_seeking", "forward")
    assert len(record.moments_of("unbraid")) == 60
    assert len(record.moments_of("talk")) == 8 * 30
    assert record.paths["talk/end/3"].n_steps == 600
    assert record.paths["mode/0"].hazards_xy.shape == (8, 2)


def test_only_two_files_must_be_there(make_run: Callable[..., Path]):
    record = read_record(make_run(BARE))
    assert record.moments == ()
    assert record.paths == {}
    assert (record.experts, record.data, record.talk, record.unbraid, record.behaviour) == ((), {}, {}, {}, {})


def test_no_results_yet(make_run: Callable[..., Path]):
    run = make_run(BARE)
    (run / "results.json").unlink()
    with pytest.raises(RunError, match=r"must hold results\.json; it does not\. Let the run finish"):
        read_record(run)


def test_no_run_at_all(tmp_path: Path):
    with pytest.raises(RunError, match="must be a run's folder"):
        read_record(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "must be written by unbraid"),
        ({"format": "x"}, "must be written by unbraid"),
        ({**BARE, "version": 2}, "has 2"),
    ],
)
def test_results_of_another_kind(make_run: Callable[..., Path], results: Any, message: str):
    with pytest.raises(RunError, match=message):
        read_record(make_run(results))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("unbraid",), "unbraid"),
        (("unbraid", "search", "n_modes"), r"unbraid\.search\.n_modes"),
        (("unbraid", "tables", 1, "window_steps"), r"unbraid\.tables\[1\]\.window_steps"),
    ],
)
def test_a_key_that_results_lack_is_named_with_its_file(
    make_run: Callable[..., Path], results: dict[str, Any], path: tuple[str | int, ...], place: str
):
    content = copy.deepcopy(results)
    at: Any = content
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    run = make_run(content)
    found: Any = read_results(run) | {"added": 1}
    with pytest.raises(RunError, match=rf"results\.json must hold {place}; it does not\. Restore it from a copy, or"):
        functools.reduce(operator.getitem, path, found)
    assert json.loads(json.dumps(read_results(run))) == content


def test_a_section_of_another_kind_is_refused(make_run: Callable[..., Path]):
    with pytest.raises(RunError, match=r"results\.json must hold an object as data; it holds 'odd'\. Restore"):
        read_results(make_run({**BARE, "data": "odd"}))


def test_a_section_that_is_null_is_as_good_as_none(make_run: Callable[..., Path]):
    with pytest.raises(RunError, match=r"must hold fit; it does not"):
        read_results(make_run({**BARE, "fit": None}))["fit"]


def test_the_page_names_what_its_results_lack(make_run: Callable[..., Path], results: dict[str, Any]):
    content = copy.deepcopy(results)
    del content["unbraid"]["search"]["n_modes"]
    with pytest.raises(RunError, match=r"must hold unbraid\.search\.n_modes; it does not"):
        write_report(make_run(content))


def test_half_a_last_line_is_what_a_cut_off_fit_leaves(make_run: Callable[..., Path]):
    run = make_run(BARE)
    (run / "metrics.jsonl").write_text('{"step": 1, "terms": {"policy": 1.0}}\n{"step": 2, "ter')
    assert [moment["step"] for moment in read_record(run).moments_of("unbraid")] == [1]


@pytest.mark.parametrize("line", ["{oops", "[1, 2]"])
def test_a_damaged_line_is_named(make_run: Callable[..., Path], line: str):
    run = make_run(BARE)
    (run / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl must hold one JSON object a line; line 2"):
        read_record(run)


def _path_arrays(n_steps: int = 4) -> dict[str, np.ndarray]:
    return {
        "mode/0/robot_xy": np.zeros((n_steps + 1, 2)),
        "mode/0/goal_xy": np.zeros((n_steps + 1, 2)),
        "mode/0/goal_reached": np.zeros(n_steps, dtype=bool),
        "mode/0/hazards_xy": np.zeros((8, 2)),
        "mode/0/vases_xy": np.zeros((0, 2)),
    }


def test_paths_without_a_vase(make_run: Callable[..., Path]):
    run = make_run(BARE)
    np.savez(run / "paths.npz", **_path_arrays())
    assert read_record(run).paths["mode/0"].vases_xy.shape == (0, 2)


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("goal_xy", np.zeros((4, 2)), r"mode/0/goal_xy with shape \(5, 2\); it has \(4, 2\)"),
        ("hazards_xy", np.zeros(3), r"mode/0/hazards_xy with shape \(n, 2\)"),
        ("robot_xy", np.full((5, 2), np.nan), "finite numbers in mode/0/robot_xy"),
        ("vases_xy", np.full((1, 2), "a"), "finite numbers in mode/0/vases_xy"),
        ("goal_reached", np.zeros(0), "at least one step in mode/0"),
        ("goal_xy", None, "must hold mode/0/goal_xy; it does not"),
    ],
)
def test_damaged_paths_are_named(make_run: Callable[..., Path], key: str, array: np.ndarray | None, message: str):
    run = make_run(BARE)
    arrays = _path_arrays()
    if array is None:
        del arrays[f"mode/0/{key}"]
    else:
        arrays[f"mode/0/{key}"] = array
    np.savez(run / "paths.npz", **arrays)
    with pytest.raises(RunError, match=message):
        read_record(run)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_paths_that_are_no_archive(make_run: Callable[..., Path], content: bytes):
    run = make_run(BARE)
    (run / "paths.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"paths\.npz must be a NumPy archive"):
        read_record(run)


def test_a_run_of_a_newer_version(make_run: Callable[..., Path]):
    run = make_run(BARE)
    (run / "run.json").write_text(json.dumps({"format": "unbraid-run", "version": 9}))
    with pytest.raises(RunError, match="must have version 1; it has 9"):
        read_record(run)


def test_a_wrong_shape_raises():
    places = np.zeros((5, 2))
    with pytest.raises(jaxtyping.TypeCheckError):
        TopDownPath(places, places, np.zeros(4, dtype=bool), hazards_xy=np.zeros(8), vases_xy=places)
