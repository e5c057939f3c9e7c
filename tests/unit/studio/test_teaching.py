"""Clips start alike, answers are learned from, kept and taken back."""

import json

import gymnasium
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, RunError, WorldError
from unbraid.studio.edits import Edit, Edits
from unbraid.studio.live import LiveRollout
from unbraid.studio.teaching import PREFERENCES_FILE, Teacher, _reader
from unbraid.switching.answers import load_answers
from unbraid.switching.preferences import Preferences
from unbraid.switching.situations import situation_reader
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

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
        asked = teacher.pair(SHOWN)
        assert asked["number"] == number
        found = teacher.answer(asked["pair"], "neither")
    assert found["n_answers"] == 3
    told = Teacher(model, ENV, run=run, demos=None).learned(SHOWN)
    assert told["n_answers"] == 3
    assert len(json.loads((run / PREFERENCES_FILE).read_text())["answers"]) == 3


def test_who_is_always_preferred_becomes_the_best(teacher):
    for _ in range(4):
        asked = teacher.pair(SHOWN)
        teacher.answer(asked["pair"], "left" if asked["clips"][0] == [0.0, 1.0] else "right")
    teacher.pair(SHOWN)
    modes = teacher.learned(SHOWN)["modes"]
    assert modes[1]["probability_best"] > 0.8 > modes[0]["probability_best"]
    assert sum(mode["probability_best"] for mode in modes) == pytest.approx(1)


def test_the_last_answer_is_taken_back(teacher, run):
    teacher.answer(teacher.pair(SHOWN)["pair"], "left")
    assert teacher.undo()["n_answers"] == 0
    assert json.loads((run / PREFERENCES_FILE).read_text())["answers"] == []
    assert teacher.undo()["n_answers"] == 0


def test_an_answer_counts_once_and_to_its_own_pair(teacher, run):
    """Two pages ask; each answer is credited to the clips that its page showed."""
    with pytest.raises(ConfigError, match="must be to a pair that waits"):
        teacher.answer("0", "left")
    alone, blends = teacher.pair(SHOWN), teacher.pair(SHOWN, blends=True)
    assert alone["pair"] != blends["pair"]
    for asked in (alone, blends):
        teacher.answer(asked["pair"], "left")
    said = json.loads((run / PREFERENCES_FILE).read_text())["answers"]
    assert [[answer["left"], answer["right"]] for answer in said] == [alone["clips"], blends["clips"]]
    for asked in (alone, blends):
        with pytest.raises(ConfigError, match="must be to a pair that waits"):
            teacher.answer(asked["pair"], "left")


def test_the_oldest_of_many_open_pairs_is_closed(teacher, monkeypatch):
    monkeypatch.setattr("unbraid.studio.teaching._MOST_OPEN", 2)
    first, second, third = (teacher.pair(SHOWN)["pair"] for _ in range(3))
    with pytest.raises(ConfigError, match="gave way to later ones"):
        teacher.answer(first, "left")
    assert [teacher.answer(pair, "left")["n_answers"] for pair in (second, third)] == [1, 2]


def test_modes_that_were_merged_are_one_clip_and_alone_cannot_be_compared(teacher):
    with pytest.raises(ConfigError, match="at least two modes"):
        teacher.pair(Edits(2).saying(Edit("merge", 1, 0)).shown)


def test_a_model_of_one_mode_is_said(run):
    alone = ModeModel(UnbraidConfig(n_modes=1, policy_hidden=(8,)), observation_size=60, action_size=2)
    with pytest.raises(ConfigError, match="at least two modes; this model has one"):
        Teacher(alone, ENV, run=run, demos=None)


def test_answers_of_another_model_are_not_mixed_in(model, run):
    (run / PREFERENCES_FILE).write_text(json.dumps(Preferences(5, 3).to_json()))
    with pytest.raises(RunError, match="must be of this model's modes"):
        Teacher(model, ENV, run=run, demos=None)


def test_another_world_needs_the_demonstrations(model, run, demos):
    with pytest.raises(ConfigError, match="--demos PATH"):
        Teacher(model, "Pendulum-v1", run=run, demos=None)
    assert Teacher(model, "Pendulum-v1", run=run, demos=demos).learned(SHOWN)["features"][0] == "constant"


def test_situations_are_read_in_the_order_of_the_model_whatever_the_order_of_the_data(model, demos, disordered):
    """The world shows its columns in the order that the model was fitted on."""
    one, other = (_reader(model, "Elsewhere-v0", d) for d in (demos, disordered))
    assert one.names == other.names
    np.testing.assert_array_equal(one.center, other.center)


def test_blends_are_clips_too_where_they_are_asked_for(teacher, run):
    clips = set()
    for _ in range(4):
        pair = teacher.pair(SHOWN, blends=True)
        assert all(sum(clip) == 1 for clip in pair["clips"])
        clips |= {tuple(clip) for clip in pair["clips"]}
        teacher.answer(pair["pair"], "both fine")
    assert clips <= {(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)}
    teacher._sliders = teacher._sliders[1:]  # the second mode, and what lies between
    assert teacher._clips().tolist() == [[0.0, 1.0], [0.5, 0.5]]
    said = json.loads((run / PREFERENCES_FILE).read_text())["answers"]
    assert {tuple(answer[side]) for answer in said for side in ("left", "right")} == clips
    assert {tuple(clip) for clip in teacher.pair(SHOWN)["clips"]} == {(1.0, 0.0), (0.0, 1.0)}


def test_answers_are_read_as_they_were_given(teacher, model, run):
    teacher.answer(teacher.pair(SHOWN)["pair"], "left")
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


class Shorter(gymnasium.Env):
    """A world of 60 columns that ends an episode after so many steps, and heeds actions from one step on."""

    metadata = {"render_fps": 30, "render_modes": []}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-9, 9, (60,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, falls=None, heeds=0):
        self.falls, self.heeds = falls, heeds

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen, self.n_steps = 0.1 * self.np_random.normal(size=60).astype(np.float32), 0
        return self.seen.copy(), {}

    def step(self, action):
        self.n_steps += 1
        if self.n_steps > self.heeds:
            self.seen[:2] = 0.9 * self.seen[:2] + action
        return self.seen.copy(), 0.0, self.n_steps == self.falls, False, {}


@pytest.fixture
def world(monkeypatch):
    """Registers the world, for this test alone; gives its id."""

    def make(max_episode_steps=None, **asked):
        monkeypatch.setattr("unbraid.studio.teaching._SITUATIONS", 4)
        gymnasium.register("Shorter-v0", Shorter, max_episode_steps=max_episode_steps, kwargs=asked)
        return "Shorter-v0"

    yield make
    gymnasium.registry.pop("Shorter-v0", None)


def taught(teacher, n):
    """Pairs that are answered, one after another."""
    for _ in range(n):
        asked = teacher.pair(SHOWN)
        yield asked
        teacher.answer(asked["pair"], "both fine")


@pytest.mark.parametrize("most", [1, 3, 50])
def test_clips_fit_into_the_episodes_of_a_world_that_are_short(model, run, demos, world, most):
    for asked in taught(Teacher(model, world(most), run=run, demos=demos), 6):
        first, last = asked["frames"][0], asked["frames"][-1]
        assert len(asked["frames"]) == max(1, most // 2) + 1
        assert not any(agent["over"] for agent in first)
        assert [agent["step"] for agent in last] == [first[0]["step"] + max(1, most // 2)] * 2
        assert first[0]["observation"] == first[1]["observation"]
        assert last[0]["observation"] != last[1]["observation"]


def test_where_a_world_sets_no_limit_the_demonstrated_episodes_do(model, run, demos, world):
    """They have 60 steps here."""
    for asked in taught(Teacher(model, world(), run=run, demos=demos), 3):
        assert len(asked["frames"]) == 31
        assert asked["frames"][-1][0]["step"] < 60


def test_no_clip_starts_when_all_is_over_and_a_film_ends_with_both_episodes(model, run, demos, world):
    for asked in taught(Teacher(model, world(100, falls=7), run=run, demos=demos), 5):
        assert not any(agent["over"] for agent in asked["frames"][0])
        assert [agent["step"] for agent in asked["frames"][-1]] == [7, 7]
        assert len(asked["frames"]) == 8 - asked["frames"][0][0]["step"]


def test_clips_that_are_the_same_are_not_asked_about(model, run, demos, world, monkeypatch):
    """Until its 30th step this world heeds nobody; clips of its first steps could not be told apart."""
    teacher = Teacher(model, world(60, heeds=30), run=run, demos=demos)
    monkeypatch.setattr("unbraid.studio.teaching._CLIP_STEPS", 4)
    monkeypatch.setattr(LiveRollout, "frame", lambda self: [agent.told() | {"action": None} for agent in self.agents])
    for asked in taught(teacher, 4):
        assert asked["frames"][-1][0]["step"] > 30
        left, right = asked["frames"][-1]
        assert left["observation"] != right["observation"]


def test_modes_that_always_do_the_same_are_said_and_not_asked_about(model, run, demos, world, monkeypatch):
    monkeypatch.setattr(LiveRollout, "frame", lambda self: [agent.told() | {"action": None} for agent in self.agents])
    with pytest.raises(ConfigError, match="needs two clips that differ"):
        Teacher(model, world(10, heeds=10), run=run, demos=demos).pair(SHOWN)


def test_no_world_stays_open_where_one_fails(model, run, demos, world, monkeypatch):
    """The third of those that situations are looked for in cannot be reset."""
    made, reset = [], Shorter.reset

    def fails(self, **asked):
        made.append(self)
        if len(made) == 3:
            raise RuntimeError("no licence")
        return reset(self, **asked)

    def closes(self):
        closed.add(self)

    closed = set()
    teacher = Teacher(model, world(10), run=run, demos=demos)
    monkeypatch.setattr(Shorter, "reset", fails)
    monkeypatch.setattr(Shorter, "close", closes)
    with pytest.raises(WorldError, match="no licence"):
        teacher.pair(SHOWN)
    assert closed == set(made)


def test_of_two_modes_that_do_the_same_one_is_left_out(teacher, monkeypatch):
    """With blends there are three clips; where the film of two is the same, another two are shown."""
    pairs, filmed = [], teacher._filmed

    def film(situation, clips):
        pairs.append(clips)
        found = filmed(situation, clips)
        return found | {"frames": [[one[0], one[0]] for one in found["frames"]]} if len(pairs) == 1 else found

    monkeypatch.setattr(teacher, "_filmed", film)
    asked = teacher.pair(SHOWN, blends=True)
    assert len(pairs) == 2
    assert pairs[0][1] not in pairs[1]
    assert asked["clips"] == [teacher._sliders[clip].tolist() for clip in pairs[1]]
