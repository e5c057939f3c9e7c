"""Recording: what passed through the environment is what is kept, whatever becomes of the program."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from unbraid.core.errors import DataError, RunError, StorageError, WorldError
from unbraid.demos.check import check_demos
from unbraid.demos.loading import load_demos
from unbraid.demos.record import RecordDemos


class Counter(gymnasium.Env):
    """Observes (seed, step) in one array that it reuses; the action says how the episode ends."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.state = np.array([float(seed or 0), 0.0])
        return self.state, {}

    def step(self, action):
        self.state[1] += 1
        info = {} if self.state[0] == 9 else {"cost": 0.5}
        return self.state, float(self.state[1]), bool(action[0] > 1), bool(action[0] < -1), info


def _play(env: RecordDemos, seed: int, *actions: float) -> None:
    env.reset(seed=seed)
    for action in actions:
        env.step(np.array([action]))


def test_it_keeps_what_passed_through(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a", expert="left")
    _play(env, 1, 0, 0, 2)  # the world ends it
    env.expert = "right"
    _play(env, 2, 0, -2)  # a time limit does
    _play(env, 3, 0)  # the next reset does
    _play(env, 4, 0, 0)  # it is running
    demos = env.demos()
    assert demos.facts == {"left_out": ["The recording stops within its last episode, after 2 steps."]}
    assert demos.lengths.tolist() == [3, 2, 1, 2]
    assert demos.terminated.tolist() == [True, False, False, False]
    assert demos.seeds.tolist() == [1, 2, 3, 4]
    assert demos.episode(0).observations.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3]]
    assert demos.rewards.tolist() == [1, 2, 3, 1, 2, 1, 1, 2]
    assert demos.costs.tolist() == [0.5] * 8
    assert demos.actions.dtype == np.float32
    assert [demos.label_names[i] for i in demos.labels] == ["left", "right", "right", "right"]
    assert (demos.action_low, demos.action_high) == (-2, 2)
    env.step(np.array([0.0]))
    assert env.demos().lengths.tolist() == [3, 2, 1, 3]


def test_what_not_every_episode_has_is_left_out(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 9, 0, 2)
    env.expert = "late"
    _play(env, 1, 0, 2)
    demos = env.demos()
    assert demos.labels is None
    assert demos.label_names == ()


def test_a_step_without_a_cost_costs_nothing_once_any_step_told_one(tmp_path):
    """As in a rollout: many worlds tell a cost only where there is one."""
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 9, 0, 2)
    assert env.demos().costs is None
    _play(env, 1, 0, 2)
    assert env.demos().costs.tolist() == [0, 0, 0.5, 0.5]
    _play(env, 9, 0)
    assert env.demos().costs.tolist() == [0, 0, 0.5, 0.5, 0]


def test_it_saves_a_store_that_the_doctor_can_read(tmp_path):
    env = RecordDemos(gymnasium.make("Pendulum-v1", max_episode_steps=20), tmp_path / "recording")
    env.action_space.seed(0)
    for seed in range(3):
        env.reset(seed=seed)
        truncated = False
        while not truncated:
            *_, truncated, _ = env.step(env.action_space.sample())
    demos = load_demos(env.save(tmp_path / "pendulum"))
    assert demos.lengths.tolist() == [20, 20, 20]
    assert demos.facts == {"env_id": "Pendulum-v1"}
    env.close()
    assert load_demos(tmp_path / "recording").fingerprint() == demos.fingerprint()
    assert check_demos(demos).ok


def test_nothing_recorded_or_no_reset_says_so(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a")
    with pytest.raises(DataError, match="nothing was recorded"):
        env.demos()
    with pytest.raises(WorldError, match="must begin with a reset"):
        env.step(np.zeros(1))


@pytest.mark.parametrize(("name", "space"), [("action", Discrete(2)), ("observation", Box(0, 1, (2, 2)))])
def test_spaces_that_do_not_fit_are_refused(tmp_path, name, space):
    env = Counter()
    setattr(env, f"{name}_space", space)
    with pytest.raises(WorldError, match=f"The {name} space must be a Box with one axis"):
        RecordDemos(env, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_columns_can_be_named(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a", observation_names=("seed", "step"))
    _play(env, 1, 0, 2)
    assert env.demos().observation_names == ("seed", "step")
    with pytest.raises(WorldError, match="There must be a name for each of 2 observations; got 1"):
        RecordDemos(Counter(), tmp_path / "b", observation_names=("seed",))


def test_an_existing_folder_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="must not exist yet"):
        RecordDemos(Counter(), tmp_path / "a")


_RECORDS_UNTIL_IT_IS_KILLED = """
import os, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_record import Counter
from unbraid.demos.record import RecordDemos

env = RecordDemos(Counter(), sys.argv[1], expert="left")
for seed, n_steps in ((1, 3), (2, 2)):
    env.reset(seed=seed)
    for step in range(n_steps):
        env.step(np.array([2.0 if seed == 1 and step == n_steps - 1 else 0.0]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_that_is_killed_loses_nothing_it_recorded(tmp_path):
    here = str(Path(__file__).parent)
    killed = subprocess.run(
        [sys.executable, "-c", _RECORDS_UNTIL_IT_IS_KILLED, str(tmp_path / "a"), here], check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    demos = load_demos(tmp_path / "a")
    assert demos.lengths.tolist() == [3, 2]
    assert demos.terminated.tolist() == [True, False]
    assert demos.observations.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3], [2, 0], [2, 1], [2, 2]]
    assert demos.label_names == ("left",)
    assert demos.facts["left_out"] == ["The recording stops within its last episode, after 2 steps."]


@pytest.mark.parametrize("n_bytes", [1, 30])
def test_a_tail_that_was_cut_off_is_left_out_and_said(tmp_path, n_bytes):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0, 0, 2)
    _play(env, 2, 0, 0)
    whole = env.demos()
    rows = tmp_path / "a" / "rows.bin"
    os.truncate(rows, rows.stat().st_size - n_bytes)
    demos = load_demos(tmp_path / "a")
    assert demos.lengths.tolist() == [3, 1]
    assert demos.observations.tolist() == whole.observations[:-1].tolist()
    assert demos.facts["left_out"][0].startswith("The recording was cut off: its last ")
    assert "after 1 steps" in demos.facts["left_out"][1]


def test_rows_that_the_disk_never_wrote_are_left_out(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0, 2)
    with open(tmp_path / "a" / "rows.bin", "ab") as file:
        file.write(bytes(1000))
    demos = load_demos(tmp_path / "a")
    assert demos.lengths.tolist() == [2]
    assert demos.facts["left_out"] == ["The recording was cut off: its last 1000 bytes are no whole step."]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("recording.json", "{", r"recording\.json must be JSON"),
        ("recording.json", "{}", r"recording\.json must say format 'unbraid-recording'"),
        ("recording.json", '{"format": "unbraid-recording", "version": 2}', "must have version 1; it has 2"),
        ("recording.json", '{"format": "unbraid-recording", "version": 1}', "must say type and width of `observation`"),
        ("rows.bin", "x" * 500, r"rows\.bin must hold resets and steps, each of \d+ bytes"),
        ("rows.bin", "", "nothing was recorded"),
        ("experts.jsonl", "", r"experts\.jsonl must name expert 0; it names 0"),
        ("experts.jsonl", "{\n", r"experts\.jsonl must hold a name on every line"),
    ],
)
def test_a_damaged_recording_says_so(tmp_path, file, content, says):
    env = RecordDemos(Counter(), tmp_path / "a", expert="left")
    _play(env, 1, 0, 2)
    env.close()
    (tmp_path / "a" / file).write_text(content)
    with pytest.raises(DataError, match=says):
        load_demos(tmp_path / "a")


def test_a_full_disk_says_so_and_leaves_whole_rows(tmp_path, monkeypatch):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0, 0)
    write = os.write

    def full(file, content):
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return write(file, content[:-10])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StorageError, match="No space left on device"):
            env.step(np.zeros(1))
    with pytest.raises(WorldError, match="must begin with a reset"):  # a step is missing: the episode can't go on
        env.step(np.zeros(1))
    _play(env, 2, 0)
    assert env.demos().lengths.tolist() == [2, 1]


def test_a_reset_that_no_step_follows_is_no_episode(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0, 2)
    _play(env, 5)
    _play(env, 3, 0, -2)
    _play(env, 6)
    demos = env.demos()
    assert demos.seeds.tolist() == [1, 3]
    assert demos.observations.tolist() == [[1, 0], [1, 1], [1, 2], [3, 0], [3, 1], [3, 2]]
    assert "left_out" not in demos.facts


@pytest.mark.parametrize("seed", [2**63, 2**127 + 3])
def test_a_seed_that_does_not_fit_in_64_bits_is_not_kept_and_the_recording_goes_on(tmp_path, seed):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0, 2)
    _play(env, seed, 0, 2)
    demos = env.demos()
    assert demos.lengths.tolist() == [2, 2]
    assert demos.seeds is None
    assert demos.facts["left_out"] == ["Seeds are left out: one does not fit in 64 bits with a sign."]


def test_after_close_it_writes_nothing_into_any_file(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a", expert="left")
    _play(env, 1, 0, 0)
    env.close()
    with open(tmp_path / "other", "wb") as other:  # gets the number that the recording's file had
        other.write(b"theirs")
        other.flush()
        env.expert = "right"
        for act in (lambda: env.reset(seed=2), lambda: env.step(np.zeros(1))):
            with pytest.raises(WorldError, match=r"The recording .*a must be open to go on; it was closed\. Make"):
                act()
    env.close()
    assert (tmp_path / "other").read_bytes() == b"theirs"
    assert load_demos(tmp_path / "a").label_names == ("left",)
    assert (tmp_path / "a" / "experts.jsonl").read_text().count("\n") == 1


def test_the_remedies_for_spaces_are_those_that_help(tmp_path):
    class Spaced(gymnasium.Env):
        def __init__(self, observations, actions):
            self.observation_space, self.action_space = observations, actions

        def reset(self, *, seed=None, options=None):
            return self.observation_space.sample(), {}

        def step(self, action):
            assert action in self.action_space
            return self.observation_space.sample(), 0.0, True, False, {}

    vector = Box(-1.0, 1.0, (4,), np.float32)
    discrete = Spaced(vector, gymnasium.spaces.Discrete(3))
    with pytest.raises(WorldError, match=r"action space must .* got Discrete\(3\)\. A choice among few, as Discr"):
        RecordDemos(discrete, tmp_path / "discrete")
    square = Spaced(gymnasium.spaces.Discrete(5), Box(-1.0, 1.0, (2, 2), np.float32))
    with pytest.raises(WorldError, match=r"FlattenObservation.* DtypeObservation\(env, numpy\.float32\)"):
        RecordDemos(square, tmp_path / "square")
    seen = gymnasium.wrappers.DtypeObservation(gymnasium.wrappers.FlattenObservation(square), np.float32)
    with pytest.raises(WorldError, match=r"TransformAction\(env, function, action_space\)"):
        RecordDemos(seen, tmp_path / "square")
    acting = gymnasium.wrappers.TransformAction(seen, lambda action: action.reshape(2, 2), vector)
    env = RecordDemos(acting, tmp_path / "square")
    env.reset()
    env.step(np.zeros(4, dtype=np.float32))
    env.close()
    assert load_demos(tmp_path / "square").actions.shape == (1, 4)


@pytest.mark.parametrize(("cost", "kept"), [(np.array([0.25]), [0.25]), (None, None), (np.float32(0.5), [0.5])])
def test_a_cost_is_one_number_or_none(tmp_path, monkeypatch, cost, kept):
    monkeypatch.setattr(
        Counter, "step", lambda self, action: (self.state, np.array([1.0]), False, False, {"cost": cost})
    )
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0)
    demos = env.demos()
    assert (demos.costs.tolist() if demos.costs is not None else None) == kept
    assert demos.rewards.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cost": np.zeros(2)}, r'`info\["cost"\]` must be one number; .* shape \(2,\) of float64\. Sum it up'),
        ({"cost": "high"}, r'`info\["cost"\]` must be one number; got \'high\''),
        ({"reward": None}, "The reward must be one number; got None"),
        ({"observation": np.zeros(3)}, r"The observation must be 2 numbers, .*; got shape \(3,\) of float64"),
    ],
)
def test_what_is_no_number_ends_the_episode_before_it_and_says_so(tmp_path, monkeypatch, changes, says):
    returned = {"observation": np.zeros(2), "reward": 1.0, "cost": 0.0} | changes
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0)
    wrong = (returned["observation"], returned["reward"], False, False, {"cost": returned["cost"]})
    monkeypatch.setattr(Counter, "step", lambda self, action: wrong)
    with pytest.raises(WorldError, match=says):
        env.step(np.zeros(1))
    with pytest.raises(WorldError, match="must begin with a reset"):
        env.step(np.zeros(1))
    assert env.demos().lengths.tolist() == [1]


def test_an_action_of_another_width_is_refused_before_the_environment_sees_it(tmp_path):
    env = RecordDemos(Counter(), tmp_path / "a")
    _play(env, 1, 0)
    for wrong in (np.zeros(3), np.zeros(0), np.array(["left"])):
        with pytest.raises(WorldError, match="The action must be 1 number, as its space says; got shape"):
            env.step(wrong)
    env.step(np.array([[0.5]]))
    assert env.demos().observations[:, 1].tolist() == [0, 1, 2]


@pytest.mark.usefixtures("unchecked")
def test_environments_side_by_side_are_refused_with_what_to_do(tmp_path):
    worlds = gymnasium.make_vec("Pendulum-v1", 2)
    with pytest.raises(WorldError, match=r"must wrap a single gymnasium\.Env; got a .*Wrap each environment before"):
        RecordDemos(worlds, tmp_path / "recorded")
    worlds.close()
    assert not (tmp_path / "recorded").exists()
