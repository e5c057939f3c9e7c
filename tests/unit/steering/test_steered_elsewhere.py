"""A steered policy in other hands, unchanged: Stable-Baselines3's evaluation, and Gymnasium's wrappers."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from unbraid.steering.schedules import in_turn
from unbraid.steering.steered import steer
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.model import ModeModel

WORLD, STEPS = "unbraid/PointGoal1-v0", 15


@pytest.fixture(scope="module", params=[UnbraidConfig(n_modes=2), TalkConfig(n_modes=2)], ids=["unbraid", "talk"])
def policy(request):
    torch.manual_seed(0)
    return steer(ModeModel(request.param, observation_size=60, action_size=2)).toward(0)


def make():
    return gymnasium.make(WORLD, max_episode_steps=STEPS)


def own_returns(policy, env, seeds):
    """What a plain loop gets in as many episodes; one without a seed goes on from the one before."""
    found = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action, _ = policy.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        found.append(total)
    return found


def test_evaluate_policy_in_a_plain_environment(policy):
    theirs, ours = make(), make()
    for env in (theirs, ours):
        env.reset(seed=4)
    returns, lengths = evaluate_policy(policy, theirs, n_eval_episodes=3, return_episode_rewards=True, warn=False)
    assert lengths == [STEPS] * 3
    np.testing.assert_allclose(returns, own_returns(policy, ours, [None] * 3), rtol=1e-6)


def test_evaluate_policy_in_environments_side_by_side(policy):
    """As a loop of one's own gets on the same seeds: what runs beside a row has no say."""
    worlds = DummyVecEnv([make, make])
    worlds.seed(11)
    returns, lengths = evaluate_policy(policy, worlds, n_eval_episodes=4, return_episode_rewards=True, warn=False)
    assert lengths == [STEPS] * 4
    alone = [own_returns(policy, make(), (seed, None)) for seed in (11, 12)]
    np.testing.assert_allclose(sorted(returns), sorted(alone[0] + alone[1]), rtol=1e-6)


class Shared(gymnasium.Wrapper):
    """Somebody corrects what a policy does: the action of a step is added to the policy's own."""

    def __init__(self, env, policy):
        super().__init__(env)
        self.policy, self.seen, self.state = policy, None, None

    def reset(self, **options):
        self.seen, facts = self.env.reset(**options)
        return self.seen, facts

    def step(self, action):
        own, self.state = self.policy.predict(self.seen, self.state, np.array([False]), deterministic=True)
        self.seen, *rest = self.env.step(np.clip(own + action, -1, 1))
        return self.seen, *rest


def test_a_wrapper_takes_it_as_its_policy(policy):
    env = gymnasium.wrappers.RecordEpisodeStatistics(Shared(gymnasium.wrappers.ClipAction(make()), policy))
    env.reset(seed=5)
    facts, steps = {}, 0
    while "episode" not in facts:
        *_, facts = env.step(np.zeros(2))
        steps += 1
    assert facts["episode"]["l"] == steps == STEPS
    bounded = steer(policy.model, action_bounds=(-np.ones(2), np.ones(2))).toward(0)
    assert facts["episode"]["r"] == pytest.approx(own_returns(bounded, make(), [5])[0], abs=1e-4)


class Strict(gymnasium.Wrapper):
    """Asks of an action what Gymnasium's tutorials ask."""

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.env.step(action)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_environment_that_takes_nothing_outside_its_space_takes_its_actions(policy, dtype):
    space = gymnasium.spaces.Box(dtype(-0.01), dtype(0.01), (2,), dtype)
    env = Strict(gymnasium.wrappers.TransformAction(make(), lambda action: action, space))
    bounded = steer(policy.model, action_bounds=(space.low, space.high))
    for acting in (bounded.toward(0), in_turn({0: bounded.toward(0), 5: bounded.toward(1)})):
        for deterministic in (True, False):
            evaluate_policy(acting, env, n_eval_episodes=1, deterministic=deterministic, warn=False)


def test_wrapped_observations_and_actions_reach_it_as_they_are(policy):
    """The types of the wrappers', not ours: float64 and float32, one row and many."""
    env = gymnasium.wrappers.TransformObservation(make(), lambda seen: seen.astype(np.float64), None)
    observation, _ = env.reset(seed=5)
    action, state = policy.predict(observation, deterministic=True)
    assert state is None
    assert env.action_space.contains(np.clip(action, -1, 1).astype(env.action_space.dtype))
    rows, _ = policy.predict(np.stack([observation.astype(np.float32)] * 3), deterministic=True)
    np.testing.assert_array_equal(rows, np.stack([action] * 3))
