"""Trains agents with Stable-Baselines3 and records them: the cases `lunar_lander` and `hopper` of `bench_modes.py`.

Some agents of a world were stopped at different stages of the same training; the others were paid for something else.
They act as they were trained, sampling their actions. The recordings lie beside this file (`data/WORLD.npz`), so that
nobody needs to train them again; this script is how they came about. It needs `pip install -c constraints.txt
'gymnasium[box2d]' stable-baselines3`, and a quarter of an hour for each world.

    python benchmarks/record_agents.py lunar_lander|hopper [--seed 0] [--out benchmarks/data/WORLD.npz]
"""

import argparse
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from unbraid.core.runs import new_file

N_ENVS, MAX_STEPS = 16, 250
PPO_SETTINGS = {"n_steps": 512, "batch_size": 512, "n_epochs": 6, "gamma": 0.995, "gae_lambda": 0.97, "ent_coef": 0.002}


@dataclass(frozen=True)
class Agent:
    """What an agent is paid for, given (observation, reward of the world), and how long it is trained."""

    pay: Callable[[np.ndarray, float], float]
    n_training_steps: int


@dataclass(frozen=True)
class World:
    """Where agents act: what makes it, given the steps of an episode, who acts, and how many episodes of each."""

    make: Callable[[int], gymnasium.Env]
    agents: Mapping[str, Agent]
    n_episodes: int


def pay_of_world(_: np.ndarray, reward: float) -> float:
    """The world's own reward: land between the flags; hop forwards as fast as possible."""
    return reward


def pay_for_hanging(observation: np.ndarray, _: float) -> float:
    """Stay at height 0.9 above the pad, upright."""
    x, y, _, _, angle = observation[:5]
    return float(1 - abs(y - 0.9) - 0.5 * abs(x) - 0.5 * abs(angle))


def pay_for_left(observation: np.ndarray, reward: float) -> float:
    """Come down on the left of the pad, upright and slowly."""
    x, y, vx, vy, angle = observation[:5]
    return float(1 - abs(x + 0.6) - 0.5 * abs(y) - 0.2 * (abs(vx) + abs(vy)) - 0.5 * abs(angle) + min(reward, 0) / 50)


def pay_for_speed(observation: np.ndarray, _: float) -> float:
    """Come down on the right, fast."""
    x, y, _, vy, angle = observation[:5]
    return float(-vy - abs(x - 0.4) - 0.3 * abs(angle) - 0.2 * y)


def pay_for_slowness(observation: np.ndarray, _: float) -> float:
    """Hop forwards at 0.5 m/s, without falling."""
    return float(1.5 - abs(observation[5] - 0.5))


def pay_for_backwards(observation: np.ndarray, _: float) -> float:
    """Hop backwards, without falling."""
    return float(1 + np.clip(-observation[5], -2, 2))


def pay_for_height(observation: np.ndarray, _: float) -> float:
    """Jump high on the spot, without falling."""
    return float(1 + 5 * max(observation[0] - 1.25, 0) - 0.3 * abs(observation[5]))


def lunar_lander(max_steps: int) -> gymnasium.Env:
    """A pilot lands."""
    return gymnasium.make("LunarLander-v3", continuous=True, max_episode_steps=max_steps)


def hopper(max_steps: int) -> gymnasium.Env:
    """One leg hops."""
    return gymnasium.make("Hopper-v5", max_episode_steps=max_steps)


WORLDS = {
    "lunar_lander": World(
        lunar_lander,
        {
            "early": Agent(pay_of_world, 80_000),
            "late": Agent(pay_of_world, 500_000),
            "hanging": Agent(pay_for_hanging, 160_000),
            "left": Agent(pay_for_left, 200_000),
            "fast": Agent(pay_for_speed, 100_000),
        },
        n_episodes=36,
    ),
    "hopper": World(
        hopper,
        {
            "early": Agent(pay_of_world, 100_000),
            "late": Agent(pay_of_world, 500_000),
            "slow": Agent(pay_for_slowness, 250_000),
            "backwards": Agent(pay_for_backwards, 250_000),
            "high": Agent(pay_for_height, 250_000),
        },
        n_episodes=24,
    ),
}


class Paid(gymnasium.Wrapper):
    """A world that pays for something else."""

    def __init__(self, world: World, pay: Callable[[np.ndarray, float], float]) -> None:
        super().__init__(world.make(2 * MAX_STEPS))
        self.pay = pay

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self.pay(observation, float(reward)), terminated, truncated, info


def trained(world: World, agent: Agent, seed: int) -> PPO:
    """The agent after its training."""
    env = DummyVecEnv([functools.partial(Paid, world, agent.pay)] * N_ENVS)
    env.seed(seed)
    return PPO("MlpPolicy", env, seed=seed, device="cpu", **PPO_SETTINGS).learn(agent.n_training_steps)


def recorded(world: World, policy: PPO, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Observations (T + 1, obs) and actions (T, act) of each episode, actions sampled; and each one's return."""
    env = world.make(MAX_STEPS)
    all_observations, all_actions, returns = [], [], []
    for episode in range(world.n_episodes):
        observation, _ = env.reset(seed=seed + episode)
        observations, actions, total, ended = [observation], [], 0.0, False
        while not ended:
            action = policy.predict(observation)[0]
            observation, reward, terminated, truncated, _ = env.step(action)
            observations.append(observation)
            actions.append(action)
            total, ended = total + float(reward), terminated or truncated
        all_observations.append(np.array(observations, np.float32))
        all_actions.append(np.array(actions, np.float32))
        returns.append(total)
    return all_observations, all_actions, returns


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=list(WORLDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="data/WORLD.npz beside this file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    world = WORLDS[asked.world]
    observations, actions, labels = [], [], []
    for i, (name, agent) in enumerate(world.agents.items()):
        policy = trained(world, agent, asked.seed + i)
        of_agent, acted, returns = recorded(world, policy, 40_000 + 1000 * i)
        lengths = [len(a) for a in acted]
        print(f"{name}: return {np.mean(returns):.0f}, {np.mean(lengths):.0f} steps an episode", flush=True)
        observations, actions, labels = observations + of_agent, actions + acted, labels + [i] * len(acted)
    arrays = {
        "observations": np.concatenate(observations),
        "actions": np.concatenate(actions),
        "lengths": np.array([len(a) for a in actions]),
        "labels": np.array(labels),
        "label_names": np.array(list(world.agents)),
    }
    out = asked.out or Path(__file__).parent / "data" / f"{asked.world}.npz"
    out.parent.mkdir(exist_ok=True)
    with new_file(out) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    main()
