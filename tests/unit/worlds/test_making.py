"""Worlds by id, by specification, and by a function of anybody's."""

import dataclasses
import inspect

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RescaleAction, TimeLimit

from unbraid.core.errors import WorldError
from unbraid.evaluation.evaluate import evaluate
from unbraid.worlds.collect import collect
from unbraid.worlds.controllers import from_function
from unbraid.worlds.experts import make_expert
from unbraid.worlds.making import spec_of
from unbraid.worlds.rollout import rollout

PENDULUM = "Pendulum-v1"


def acting():
    return from_function(lambda observations: observations[:, :1])


def test_a_function_makes_what_its_id_makes():
    runs = [
        rollout(acting(), world, seeds=[1, 2], max_steps=9, n_envs=2)
        for world in (PENDULUM, gymnasium.spec(PENDULUM), lambda: gymnasium.make(PENDULUM))
    ]
    assert len({run.demos.fingerprint() for run in runs}) == 1
    assert [run.demos.facts for run in runs] == [{"env_id": PENDULUM, "max_steps": 9}] * 3


def test_what_its_id_alone_does_not_make_is_told():
    rescaled = "Pendulum-v1, in RescaleAction"
    lighter = dataclasses.replace(gymnasium.spec(PENDULUM), kwargs={"g": 1.0})
    for world, told in (
        (lambda: RescaleAction(gymnasium.make(PENDULUM), -1, 1), rescaled),
        (lighter, "Pendulum-v1 with g=1.0"),
    ):
        demos = collect([("a", acting())], env_id=world, n_episodes=1, max_steps=2, seed=0)
        assert (demos.facts["env_id"], demos.facts["env_altered"]) == (PENDULUM, told)
        assert evaluate(acting(), world, seeds=[1], max_steps=2).env_id == told


def test_the_limit_of_steps_is_that_of_what_is_made():
    assert spec_of(lambda: gymnasium.make(PENDULUM, max_episode_steps=7)).max_episode_steps == 7
    run = rollout(acting(), lambda: gymnasium.make(PENDULUM, max_episode_steps=7), seeds=[1, 2])
    assert run.demos.lengths.tolist() == [7, 7]
    bare = gymnasium.make(PENDULUM).unwrapped.__class__
    with pytest.raises(WorldError, match="PendulumEnv must have a limit of steps per episode"):
        rollout(acting(), bare, seeds=[1])
    assert rollout(acting(), bare, seeds=[1], max_steps=4).demos.n_steps == 4
    limited = rollout(acting(), lambda: Still(TimeLimit(TimeLimit(bare(), 3), 5)), seeds=[1])  # without a specification
    assert limited.demos.n_steps == 3


def test_a_specification_with_arguments():
    spec = dataclasses.replace(gymnasium.spec(PENDULUM), kwargs={"g": 1.0})
    assert spec_of(spec) is spec
    light, heavy = (rollout(acting(), world, seeds=[1], max_steps=5).demos.observations for world in (spec, PENDULUM))
    assert not np.array_equal(light, heavy)


OURS = "unbraid/PointGoal1-v0"


class Still(gymnasium.ActionWrapper):
    """Nothing moves."""

    def action(self, action):
        return np.zeros_like(action)


def test_a_function_may_make_one_of_our_worlds():
    """And what it wraps around it is used: not the many worlds side by side that the id alone stands for."""
    expert = make_expert("goal_seeking")
    by_id, made, still = (
        rollout(expert, world, seeds=[1, 2], max_steps=9)
        for world in (OURS, lambda: gymnasium.make(OURS), lambda: Still(gymnasium.make(OURS)))
    )
    assert made.demos.fingerprint() == by_id.demos.fingerprint()
    for name, told in by_id.tracks[1].items():
        np.testing.assert_array_equal(made.tracks[1][name], told)
    assert np.abs(np.diff(by_id.tracks[0]["robot_xy"], axis=0)).max() > 1e-3
    assert np.abs(np.diff(still.tracks[0]["robot_xy"], axis=0)).max() < 1e-9


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # Gymnasium's own, of a wrapper's bounds
def test_a_specification_of_ours_with_wrappers():
    rescaled = gymnasium.wrappers.RescaleAction(gymnasium.make(OURS), np.float32(-0.5), np.float32(0.5))
    found = rollout(make_expert("forward"), rescaled.spec, seeds=[1], max_steps=3).demos
    assert [end.tolist() for end in (found.action_low, found.action_high)] == [[-0.5, -0.5], [0.5, 0.5]]


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec, lambda _: None])
def test_an_environment_itself_is_refused_with_the_remedy(make):
    given = make(PENDULUM)
    with pytest.raises(WorldError, match=rf"got a {type(given).__name__}\. Pass the id, or a function such as `"):
        inspect.unwrap(spec_of)(given)


MODULE = """
import gymnasium
gymnasium.register("OfAModule-v0", lambda: gymnasium.make("Pendulum-v1"), max_episode_steps=5)
"""


def test_a_module_that_registers_an_environment_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_world_of_a_test.py").write_text(MODULE)
    (tmp_path / "a_broken_world_of_a_test.py").write_text("raise KeyError('assets')")
    try:
        run = rollout(acting(), "a_world_of_a_test:OfAModule-v0", seeds=[1])
        assert run.demos.n_steps == 5
        assert run.demos.facts["env_id"] == "a_world_of_a_test:OfAModule-v0"  # by which it is found again
    finally:
        gymnasium.registry.pop("OfAModule-v0", None)
    for name, said in (
        ("a_broken_world_of_a_test:X-v0", "a_broken_world_of_a_test must be importable; it raised KeyError: 'assets'"),
        ("a_world_of_a_test:Nope-v0", "'a_world_of_a_test:Nope-v0' is not: .* whether a_world_of_a_test registers it"),
        (":Nope-v0", "must be named module:Name-v0; got ':Nope-v0'"),
        ("a:b:Nope-v0", "must be named module:Name-v0; got 'a:b:Nope-v0'"),
    ):
        with pytest.raises(WorldError, match=said):
            spec_of(name)


class Failing(gymnasium.Env):
    """Raises where it is told to."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, at, error=ValueError):
        self.at, self.error = at, error
        self.fail("made")

    def fail(self, where):
        if where == self.at:
            raise self.error("the motor failed.")

    def reset(self, *, seed=None, options=None):
        self.fail("reset")
        return np.zeros(3, dtype=np.float32), {}

    def step(self, action):
        self.fail("step")
        return np.zeros(3, dtype=np.float32), 0.0, False, False, {}


@pytest.mark.parametrize("error", [ValueError, AttributeError, gymnasium.error.InvalidAction])
@pytest.mark.parametrize(
    ("at", "does", "where"),
    [("made", "be made", ""), ("reset", "reset", "in the reset of seed 1 "), ("step", "step", "in step 1 of seed 1 ")],
)
def test_an_environment_that_raises_is_named(at, does, where, error):
    gymnasium.register("Failing-v0", Failing, kwargs={"at": at, "error": error}, max_episode_steps=4)
    said = rf"^The environment Failing-v0 must {does} without an error of its own; {where}it raised {error.__name__}: "
    if at == "made" and issubclass(error, gymnasium.error.Error):
        said = "^Failing-v0 must be possible to make here; "  # what Gymnasium says of what is not installed
    try:
        with pytest.raises(WorldError, match=said + "the motor failed") as caught:
            rollout(acting(), "Failing-v0", seeds=[1, 2])
    finally:
        del gymnasium.registry["Failing-v0"]
    assert isinstance(caught.value.__cause__, error)
    assert "failed.." not in str(caught.value)


def test_a_function_that_raises_is_named():
    def my_world():
        return Failing("made")

    with pytest.raises(WorldError, match="The environment my_world must be made by its function without an error"):
        spec_of(my_world)


def test_actions_that_are_not_covered_are_said():
    class Many(Failing):
        action_space = gymnasium.spaces.MultiDiscrete([3, 2])

    with pytest.raises(WorldError, match=r"one-dimensional Box of floating-point numbers; it has MultiDiscrete.*wrap"):
        rollout(acting(), lambda: Many(""), seeds=[1], max_steps=2)


def test_a_function_that_makes_no_environment():
    with pytest.raises(WorldError, match=r"must return a gymnasium\.Env; it returned a int"):
        spec_of(lambda: 3)


class Speaking(gymnasium.Wrapper):
    """Says in `info` what nobody reads, in a shape or of a type that hangs on the seed; and rewards as it is told."""

    def __init__(self, say, reward=float):
        super().__init__(gymnasium.make(PENDULUM))
        self.say, self.reward, self.seed = say, reward, 0

    def reset(self, *, seed=None, options=None):
        self.seed = seed
        observation, _ = super().reset(seed=seed, options=options)
        return observation, {"said": self.say(seed)}

    def step(self, action):
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, self.reward(reward), terminated, truncated, {"said": self.say(self.seed), "cost": 1}


@pytest.mark.parametrize(
    "say",
    [lambda seed: np.zeros(1 + seed), lambda seed: "left" if seed else 3, lambda seed: {"a": 1} if seed else 3],
    ids=["shapes", "types", "kinds"],
)
def test_what_nobody_reads_may_differ_between_environments(say):
    alone, beside = (
        rollout(acting(), lambda: Speaking(say), seeds=[0, 1, 2], max_steps=4, n_envs=n).demos for n in (1, 3)
    )
    assert alone.fingerprint() == beside.fingerprint()
    assert alone.costs.tolist() == [1.0] * 12


def test_a_reward_is_one_number_also_in_an_array():
    def of(reward):
        return rollout(acting(), lambda: Speaking(str, reward), seeds=[1, 2], max_steps=4).demos.rewards

    assert of(lambda reward: np.array([reward])).tolist() == of(float).tolist()
    with pytest.raises(WorldError, match=r"reward of Pendulum-v1 in step 1 of seed 1 must be one number; got None"):
        of(lambda reward: None)


def test_one_environment_that_is_handed_out_for_several_is_refused():
    only = gymnasium.make(PENDULUM)
    with pytest.raises(WorldError, match="must make a new environment at each call; it returned the same one again"):
        rollout(acting(), lambda: only, seeds=[1, 2, 3], max_steps=4)


@pytest.mark.parametrize("kind", [gymnasium.wrappers.NormalizeObservation, gymnasium.wrappers.NormalizeReward])
def test_a_wrapper_that_scales_by_what_it_has_seen_must_have_stopped(kind):
    """Else an episode would hang on how many run side by side, and on those before it."""

    def world(learns):
        made = kind(gymnasium.make(PENDULUM))
        made.update_running_mean = learns
        return gymnasium.wrappers.ClipAction(made)

    alone, beside = (
        rollout(acting(), lambda: world(False), seeds=[1, 2, 3], max_steps=4, n_envs=n).demos.observations.tolist()
        for n in (1, 3)
    )
    assert alone == beside
    with pytest.raises(WorldError, match=f"{kind.__name__} of Pendulum-v1 must not change what it scales by"):
        rollout(acting(), lambda: world(True), seeds=[1, 2, 3], max_steps=4)
