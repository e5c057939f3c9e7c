"""Clips start alike, answers are learned from, kept and taken back."""

import json

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, RunError
from unbraid.studio.edits import Edit, Edits
from unbraid.studio.teaching import PREFERENCES_FILE, Teacher
from unbraid.switching.answers import load_answers
from unbraid.switching.preferences import Preferences
from unbraid.switching.situations import situation_reader

ENV = "unbraid/PointGoal1-v0"
SHOWN = Edits(2).shown


@pytest.fixture
def teacher(model, run, monkeypatch):
    for name, value in (("_SITUATIONS", 2), ("_LONGEST_START", 12), ("_CLIP_STEPS", 8)):
        monkeypatch.setattr(f"unbraid.studio.teaching.{name}", value)
    return Teacher(model, ENV, run=run, demos=None)


def test_both_clips_start_alike_and_go_apart(teacher):
    pair = teacher.pair(SHOWN)
    assert len(pair["frames"]) == 9
    left, right = pair["frames"][0]
    assert left["scene"] == right["scene"]
    assert pair["frames"][-1][0]["scene"] != pair["frames"][-1][1]["scene"]
    assert pair["information_nats"] > 0


def test_answers_are_learned_and_kept(teacher, model, run):
    for number in range(3):
        assert teacher.pair(SHOWN)["number"] == number
        found = teacher.answer(number, "neither")
    assert found["n_answers"] == 3
    told = Teacher(model, ENV, run=run, demos=None).learned(SHOWN)
    assert told["n_answers"] == 3
    assert len(json.loads((run / PREFERENCES_FILE).read_text())["answers"]) == 3


def test_who_is_always_preferred_becomes_the_best(teacher):
    for number in range(4):
        teacher.pair(SHOWN)
        left = teacher._asked.left
        teacher.answer(number, "left" if left == 1 else "right")
    teacher.pair(SHOWN)
    modes = teacher.learned(SHOWN)["modes"]
    assert modes[1]["probability_best"] > 0.8 > modes[0]["probability_best"]
    assert sum(mode["probability_best"] for mode in modes) == pytest.approx(1)


def test_the_last_answer_is_taken_back(teacher, run):
    teacher.pair(SHOWN)
    teacher.answer(0, "left")
    assert teacher.undo()["n_answers"] == 0
    assert json.loads((run / PREFERENCES_FILE).read_text())["answers"] == []
    assert teacher.undo()["n_answers"] == 0


def test_an_answer_counts_once_and_to_its_own_pair(teacher):
    with pytest.raises(ConfigError, match="must be to the last pair"):
        teacher.answer(0, "left")
    teacher.pair(SHOWN)
    teacher.answer(0, "left")
    with pytest.raises(ConfigError, match="must be to the last pair"):
        teacher.answer(0, "left")


def test_modes_that_were_merged_are_one_clip_and_alone_cannot_be_compared(teacher):
    with pytest.raises(ConfigError, match="at least two modes"):
        teacher.pair(Edits(2).saying(Edit("merge", 1, 0)).shown)


def test_answers_of_another_model_are_not_mixed_in(model, run):
    (run / PREFERENCES_FILE).write_text(json.dumps(Preferences(5, 3).to_json()))
    with pytest.raises(RunError, match="must be of this model's modes"):
        Teacher(model, ENV, run=run, demos=None)


def test_another_world_needs_the_demonstrations(model, run, demos):
    with pytest.raises(ConfigError, match="--demos PATH"):
        Teacher(model, "Pendulum-v1", run=run, demos=None)
    assert Teacher(model, "Pendulum-v1", run=run, demos=demos).learned(SHOWN)["features"][0] == "constant"


def test_blends_are_clips_too_where_they_are_asked_for(teacher, run):
    clips = set()
    for number in range(4):
        pair = teacher.pair(SHOWN, blends=True)
        assert all(sum(clip) == 1 for clip in pair["clips"])
        clips |= {tuple(clip) for clip in pair["clips"]}
        teacher.answer(number, "both fine")
    assert clips <= {(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)}
    teacher._sliders = teacher._sliders[1:]  # the second mode, and what lies between
    assert teacher._clips().tolist() == [[0.0, 1.0], [0.5, 0.5]]
    said = json.loads((run / PREFERENCES_FILE).read_text())["answers"]
    assert {tuple(answer[side]) for answer in said for side in ("left", "right")} == clips
    assert {tuple(clip) for clip in teacher.pair(SHOWN)["clips"]} == {(1.0, 0.0), (0.0, 1.0)}


def test_answers_are_read_as_they_were_given(teacher, model, run):
    teacher.pair(SHOWN)
    teacher.answer(0, "left")
    content = json.loads((run / PREFERENCES_FILE).read_text())
    assert content["situations"]["kind"] == "point_goal_few"
    assert len(content["answers"][0]["features"]) == len(content["situations"]["names"]) == 3
    assert load_answers(run / PREFERENCES_FILE)[0].answers == teacher._preferences.answers


def test_answers_of_before_about_other_features_go_on_with_those(model, run):
    """A file says how its situations were read; that holds for the next answers, too."""
    reader = situation_reader("observation", observations=np.eye(2, 60))
    known = Preferences(2, 61).answered(np.ones(61), 0, 1, "left")
    (run / PREFERENCES_FILE).write_text(json.dumps({**known.to_json(), "situations": reader.to_json()}))
    teacher = Teacher(model, ENV, run=run, demos=None)
    assert "--situation observation" in teacher.command
    assert teacher.undo()["n_answers"] == 0
    assert json.loads((run / PREFERENCES_FILE).read_text())["situations"] == reader.to_json()
