"""A log is read as it grows."""

import json

import pytest

from unbraid.studio.fitting import moments_since


def line(step, **more):
    return json.dumps({"step": step, "loss": 1.0, "terms": {"policy": 0.5}, "code_usage": [1.0]} | more) + "\n"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_what_is_new_comes_once(log, tmp_path):
    log.write_text(line(1) + line(2))
    first = moments_since(tmp_path, "unbraid", 0)
    assert [m["step"] for m in first["moments"]] == [1, 2]
    with log.open("a") as file:
        file.write(line(3))
    second = moments_since(tmp_path, "unbraid", first["offset"])
    assert [m["step"] for m in second["moments"]] == [3]
    assert moments_since(tmp_path, "unbraid", second["offset"])["moments"] == []


def test_half_a_line_waits_for_its_other_half(log, tmp_path):
    whole = line(2)
    log.write_text(line(1) + whole[:9])
    first = moments_since(tmp_path, "unbraid", 0)
    assert [m["step"] for m in first["moments"]] == [1]
    with log.open("a") as file:
        file.write(whole[9:])
    assert [m["step"] for m in moments_since(tmp_path, "unbraid", first["offset"])["moments"]] == [2]


def test_a_log_that_began_anew_is_read_from_its_start(log, tmp_path):
    log.write_text(line(1))
    found = moments_since(tmp_path, "unbraid", 10_000)
    assert found["restarted"]
    assert [m["step"] for m in found["moments"]] == [1]


@pytest.mark.parametrize("odd", ["no json", "[1]", '{"terms": {}}', '{"step": "x"}', '{"step": NaN}', "[" * 100_000])
def test_what_is_no_moment_is_passed_over(log, tmp_path, odd):
    log.write_text(odd + "\n" + line(4))
    assert [m["step"] for m in moments_since(tmp_path, "unbraid", 0)["moments"]] == [4]


def test_numbers_that_json_has_no_word_for_are_left_out(log, tmp_path):
    log.write_text(line(1, loss=float("nan"), terms={"policy": float("inf"), "encoder": 1.0}))
    (moment,) = moments_since(tmp_path, "unbraid", 0)["moments"]
    assert moment["terms"] == {"encoder": 1.0}
    assert "loss" not in moment


@pytest.mark.parametrize("method", ["talk", "../run", ""])
def test_a_log_that_is_not_there_is_empty(tmp_path, method):
    assert moments_since(tmp_path, method, 5) == {"moments": [], "offset": 0, "restarted": False}
