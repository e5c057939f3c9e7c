"""Adapters: other people's policies and functions act as controllers, or it is said why they cannot."""

import numpy as np
import pytest

from unbraid.core.errors import WorldError
from unbraid.worlds.controllers import Controller, from_function, from_predict, load_controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

PENDULUM = "Pendulum-v1"


@pytest.fixture(scope="module")
def ppo():
    gymnasium = pytest.importorskip("gymnasium")
    sb3 = pytest.importorskip("stable_baselines3")
    env = gymnasium.make(PENDULUM)
    return sb3.PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0, device="cpu")


def test_a_policy_of_stable_baselines3_acts(ppo):
    seeds = [1, 2, 3]
    runs = [rollout(from_predict(ppo), PENDULUM, seeds=seeds, max_steps=12, n_envs=n) for n in (1, 3)]
    assert runs[0].demos.fingerprint() == runs[1].demos.fingerprint()
    episode = runs[0].demos.episode(2)
    expected, _ = ppo.predict(episode.observations[:-1], deterministic=True)
    np.testing.assert_allclose(episode.actions, expected, atol=1e-5)


def test_a_policy_may_draw_its_actions(ppo):
    run = rollout(from_predict(ppo, deterministic=False), PENDULUM, seeds=[1], max_steps=12)
    steady = rollout(from_predict(ppo), PENDULUM, seeds=[1], max_steps=12)
    assert not np.array_equal(run.demos.actions, steady.demos.actions)


def test_a_policy_made_for_another_world(ppo):
    with pytest.raises(
        WorldError, match=r"The policy must accept observations of shape \(64, 60\); .*made for this environment"
    ):
        rollout(from_predict(ppo), "unbraid/PointGoal1-v0", seeds=[1])


class Remembering:
    """A `predict` with memory, and a note of what it was asked."""

    def __init__(self, state=None):
        self.asked = []
        self.answer = state

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.asked.append((observation.shape, episode_start.copy(), deterministic))
        count = np.zeros((len(observation), 1)) if state is None else state
        count = np.where(episode_start[:, None], 0.0, count) + 1
        return 0.01 * count, count if self.answer is None else self.answer


def test_predict_is_called_as_stable_baselines3_says():
    policy = Remembering()
    run = rollout(from_predict(policy), PENDULUM, seeds=[4, 5, 6], max_steps=8, n_envs=2)
    shape, episode_start, deterministic = policy.asked[0]
    assert shape == (64, 3)  # padded, so that linear layers give the same for every number of rows
    assert episode_start.all()
    assert deterministic
    for episode in run.demos:
        np.testing.assert_allclose(episode.actions[:, 0], 0.01 * np.arange(1, 9), rtol=1e-6)


def test_states_that_are_not_covered():
    with pytest.raises(
        WorldError,
        match=r"state must be None, an array .*a schedule, such as in_turn\(\.\.\.\), or a SwitchedPolicy is a policy",
    ):
        rollout(from_predict(Remembering(state=(1, 2))), PENDULUM, seeds=[1])


class Recurrent:
    """States as sb3-contrib's recurrent policies have them, (layer, env, hidden), and one more beside them."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        n = len(observation)
        if state is None:
            state = ((np.zeros((2, n, 3), dtype=np.float32), np.zeros((2, n, 3), dtype=np.float32)), np.zeros(n, int))
        (hidden, cell), steps = state
        assert hidden.shape == cell.shape == (2, n, 3)
        assert (hidden.dtype, steps.dtype) == (np.float32, int)
        hidden = np.where(episode_start[None, :, None], 0.0, hidden + 0.01).astype(np.float32)
        steps = np.where(episode_start, 0, steps + 1)
        return hidden[1, :, 2:] + 0.1 * steps[:, None], ((hidden, cell), steps)


def test_states_of_several_arrays_are_kept_row_by_row():
    runs = [rollout(from_predict(Recurrent()), PENDULUM, seeds=[4, 5, 6], max_steps=6, n_envs=n) for n in (1, 2, 3)]
    for run in runs:
        assert run.demos.fingerprint() == runs[0].demos.fingerprint()
        for episode in run.demos:
            np.testing.assert_allclose(episode.actions[:, 0], 0.11 * np.arange(6), rtol=1e-5)


def test_answers_that_are_no_actions():
    for answer, message in (
        (np.zeros(64), r"got \(64,\)"),
        (np.zeros((1, 1)), "one row per"),
        (np.zeros((64, 3)), "column"),
        ("left", "numbers"),
    ):
        with pytest.raises(WorldError, match=message):
            rollout(from_function(lambda _, answer=answer: answer), PENDULUM, seeds=[1, 2])
    with pytest.raises(WorldError, match="must have `predict`"):
        from_predict(object())


MODULE = """
import numpy as np
from unbraid.worlds.experts import make_expert

def push(observations):
    return np.full((len(observations), 1), 0.5)

class Policy:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full((len(observation), 1), 0.25), None

class drawer:
    policy = Policy()

expert = make_expert("forward")
number = 3

def failing(observations):
    raise KeyError("mine")

class Failing:
    def act(self, observations, state, episode_start, noise):
        return failing(observations)

class Odd:
    def act(self, observations, state, episode_start, noise):
        return "left", None

failing_controller = Failing()
odd_controller = Odd()

class failing_policy:
    predict = staticmethod(lambda *_, **__: failing(0))
failing_policy = failing_policy()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_policies_of_a_test.py").write_text(MODULE)
    (tmp_path / "broken_policies_of_a_test.py").write_text("raise KeyError('weights')")
    return "my_policies_of_a_test"


def test_a_path_names_a_function_a_policy_or_a_controller(module):
    for name, action in (("push", 0.5), ("drawer.policy", 0.25)):
        run = rollout(load_controller(f"{module}:{name}"), PENDULUM, seeds=[1], max_steps=2)
        np.testing.assert_array_equal(run.demos.actions, np.full((2, 1), action))
    assert isinstance(load_controller(f"{module}:expert"), Controller)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_policies_of_a_test", "module:name"),
        (":push", "module:name"),
        ("my_policies_of_a_test:pull", "has no 'pull'"),
        ("my_policies_of_a_test:Policy", "it is a class"),
        ("my_policies_of_a_test:number", "it is a int"),
        ("no_such_module_of_a_test:push", "ModuleNotFoundError"),
        ("broken_policies_of_a_test:push", "KeyError: 'weights'"),
    ],
)
def test_paths_that_name_nothing_that_acts(module, path, message):
    with pytest.raises(WorldError, match=message):
        load_controller(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_policies_of_a_test:failing", "KeyError: 'mine'"),
        ("my_policies_of_a_test:failing_policy", "KeyError: 'mine'"),
        ("my_policies_of_a_test:failing_controller", "KeyError: 'mine'"),
        ("my_policies_of_a_test:odd_controller", "ValueError: .*'left'"),
        ("math:sin", "TypeError: "),
    ],
)
def test_what_a_policy_of_somebody_raises_is_said_with_its_name(module, path, message):
    with pytest.raises(WorldError, match=rf"^{path} must accept observations of shape .*; it raised {message}"):
        rollout(load_controller(path), PENDULUM, seeds=[1], max_steps=2)


def test_a_wrong_shape_raises():
    with pytest.raises(Exception, match=r"noise|type"):
        make_expert("forward").act(np.zeros((2, 60)), None, np.zeros(2, dtype=bool), np.zeros((3, 2)))
