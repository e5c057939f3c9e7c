"""A log is read as it grows."""

import json

import pytest

from unbraid.studio.fitting import Paths, logs_of, moments_since, pictures_since
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit
from unbraid.training.loop import LoopOptions

ENV = "unbraid/PointGoal1-v0"


def line(step, **more):
    return json.dumps({"step": step, "loss": 1.0, "terms": {"policy": 0.5}, "code_usage": [1.0]} | more) + "\n"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_what_is_new_comes_once(log, tmp_path):
    log.write_text(line(1) + line(2))
    first = moments_since(tmp_path, "own", 0)
    assert [m["step"] for m in first["moments"]] == [1, 2]
    with log.open("a") as file:
        file.write(line(3))
    second = moments_since(tmp_path, "own", first["offset"])
    assert [m["step"] for m in second["moments"]] == [3]
    assert moments_since(tmp_path, "own", second["offset"])["moments"] == []


def test_half_a_line_waits_for_its_other_half(log, tmp_path):
    whole = line(2)
    log.write_text(line(1) + whole[:9])
    first = moments_since(tmp_path, "own", 0)
    assert [m["step"] for m in first["moments"]] == [1]
    with log.open("a") as file:
        file.write(whole[9:])
    assert [m["step"] for m in moments_since(tmp_path, "own", first["offset"])["moments"]] == [2]


def test_a_log_that_began_anew_is_read_from_its_start(log, tmp_path):
    log.write_text(line(1))
    found = moments_since(tmp_path, "own", 10_000)
    assert found["restarted"]
    assert [m["step"] for m in found["moments"]] == [1]


@pytest.mark.parametrize("odd", ["no json", "[1]", '{"terms": {}}', '{"step": "x"}', '{"step": NaN}', "[" * 100_000])
def test_what_is_no_moment_is_passed_over(log, tmp_path, odd):
    log.write_text(odd + "\n" + line(4))
    assert [m["step"] for m in moments_since(tmp_path, "own", 0)["moments"]] == [4]


def test_numbers_that_json_has_no_word_for_are_left_out(log, tmp_path):
    log.write_text(line(1, loss=float("nan"), terms={"policy": float("inf"), "encoder": 1.0}))
    (moment,) = moments_since(tmp_path, "own", 0)["moments"]
    assert moment["terms"] == {"encoder": 1.0}
    assert "loss" not in moment


@pytest.mark.parametrize("name", ["talk", "../run", ""])
def test_a_log_that_is_not_there_is_empty(tmp_path, name):
    assert moments_since(tmp_path, name, 5) == {"moments": [], "offset": 0, "restarted": False}


def test_the_logs_that_there_are_are_named_by_their_methods(log, tmp_path):
    assert logs_of(tmp_path, "talk") == []
    log.write_text(line(1))
    assert logs_of(tmp_path, "talk") == [{"log": "own", "title": "the talk's method"}]
    (tmp_path / "metrics_talk.jsonl").write_text(line(1))  # as of a demo
    told = logs_of(tmp_path, "unbraid")
    assert [entry["log"] for entry in told] == ["own", "talk"]
    assert [entry["title"] for entry in told] == ["unbraid's method", "the talk's method"]


def picture(step, **more):
    own = {"mode": 0, "share": 1.0, "episode": 3, "first_step": 0, "every": 2, "demonstrated": [[0.5, 0.25]]}
    own |= {"mean": [[0.5, None]], "deviation": [[0.1, 0.1]]}
    return json.dumps({"step": step, "modes": [own | more]}) + "\n"


def test_pictures_come_once_and_whole(tmp_path):
    (tmp_path / "pictures.jsonl").write_text(picture(1) + picture(2)[:9])
    found = pictures_since(tmp_path, 0)
    (first,) = found["pictures"]
    assert (first["step"], first["modes"][0]["mean"]) == (1, [[0.5, None]])
    assert pictures_since(tmp_path, found["offset"])["pictures"] == []
    assert pictures_since(tmp_path / "none", 7) == {"pictures": [], "offset": 0, "restarted": False}


@pytest.mark.parametrize("odd", ['{"step": 1}', '{"step": 1, "modes": [3]}', '{"modes": []}', "[]"])
def test_what_is_no_picture_is_passed_over(tmp_path, odd):
    (tmp_path / "pictures.jsonl").write_text(odd + "\n" + picture(4, mean=[["x"]], share="all"))
    (found,) = pictures_since(tmp_path, 0)["pictures"]
    assert found["modes"][0]["mean"] == [[None]]
    assert "share" not in found["modes"][0]


@pytest.fixture
def fitting(demos, tmp_path):
    config = UnbraidConfig(n_modes=2, n_steps=40, search_steps=20, policy_hidden=(16,), refine_steps=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.modes.latents.WIDTH", 16)
        patch.setattr("unbraid.modes.latents.BATCH", 128)
        fit(demos.without_labels(), config, LoopOptions(run=tmp_path, checkpoint_every=20))
    return tmp_path


def test_a_fit_that_goes_on_shows_the_paths_of_its_newest_checkpoint(fitting, monkeypatch):
    monkeypatch.setattr("unbraid.studio.fitting._PATH_STEPS", 10)
    paths = Paths(fitting, ENV)
    first = paths.now()
    assert first["step"] == 40
    assert len(first["layout"]["hazards"]) == 8
    assert [own["mode"] for own in first["modes"]] == [0, 1]
    assert first["modes"][0]["path"][0] == first["modes"][1]["path"][0] == first["scene"]["robot"][:2]
    assert first["modes"][0]["path"] != first["modes"][1]["path"]
    assert paths.now() is first
    (fitting / "checkpoints" / "step_0000060").mkdir()  # half of one: what was drawn stays
    assert paths.now() == first


def test_without_checkpoints_or_one_of_our_worlds_there_are_no_paths(fitting, tmp_path):
    for run, env_id in ((tmp_path / "none", ENV), (fitting, None), (fitting, "Pendulum-v1")):
        assert Paths(run, env_id).now() == {"step": None, "modes": []}
