"""Trains five agents in LunarLander (continuous) with Stable-Baselines3 and records them: `results`' lunar-lander case.

Two agents were stopped at different stages of the same training; the others were paid for something else: to hang in
the air, to land on the left, to come down fast. They act as they were trained, sampling their actions. The recording
lies beside this file (`data/lunar_lander.npz`), so that nobody needs to train them again; this script is how it came
about. It needs `pip install -c constraints.txt 'gymnasium[box2d]' stable-baselines3`, and a quarter of an hour.

    python benchmarks/record_lunar_lander.py [--seed 0] [--out benchmarks/data/lunar_lander.npz]
"""

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from unbraid.core.runs import new_file

N_ENVS, N_EPISODES, MAX_STEPS = 16, 36, 250


@dataclass(frozen=True)
class Agent:
    """What an agent is paid for, given (observation, reward of the world), and how long it is trained."""

    pay: Callable[[np.ndarray, float], float]
    n_training_steps: int


def pay_of_world(_: np.ndarray, reward: float) -> float:
    """The world's own reward: land between the flags."""
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


AGENTS = {
    "early": Agent(pay_of_world, 80_000),
    "late": Agent(pay_of_world, 500_000),
    "hanging": Agent(pay_for_hanging, 160_000),
    "left": Agent(pay_for_left, 200_000),
    "fast": Agent(pay_for_speed, 100_000),
}


class Paid(gymnasium.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray]):
    """The world, paying for something else."""

    def __init__(self, pay: Callable[[np.ndarray, float], float]) -> None:
        super().__init__(gymnasium.make("LunarLander-v3", continuous=True, max_episode_steps=MAX_STEPS * 2))
        self.pay = pay

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self.pay(observation, float(reward)), terminated, truncated, info


def trained(agent: Agent, seed: int) -> PPO:
    """The agent after its training."""
    env = DummyVecEnv([functools.partial(Paid, agent.pay)] * N_ENVS)
    env.seed(seed)
    settings = {"n_steps": 512, "batch_size": 512, "n_epochs": 6, "gamma": 0.995, "gae_lambda": 0.97, "ent_coef": 0.002}
    return PPO("MlpPolicy", env, seed=seed, device="cpu", **settings).learn(agent.n_training_steps)


def recorded(policy: PPO, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Observations (T + 1, 8) and actions (T, 2) of N_EPISODES episodes, sampled; and each one's return."""
    env = gymnasium.make("LunarLander-v3", continuous=True, max_episode_steps=MAX_STEPS)
    all_observations, all_actions, returns = [], [], []
    for episode in range(N_EPISODES):
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data" / "lunar_lander.npz")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    observations, actions, labels = [], [], []
    for i, (name, agent) in enumerate(AGENTS.items()):
        policy = trained(agent, asked.seed + i)
        of_agent, acted, returns = recorded(policy, 40_000 + 1000 * i)
        lengths = [len(a) for a in acted]
        print(f"{name}: return {np.mean(returns):.0f}, {np.mean(lengths):.0f} steps an episode", flush=True)
        observations, actions, labels = observations + of_agent, actions + acted, labels + [i] * len(acted)
    arrays = {
        "observations": np.concatenate(observations),
        "actions": np.concatenate(actions),
        "lengths": np.array([len(a) for a in actions]),
        "labels": np.array(labels),
        "label_names": np.array(list(AGENTS)),
    }
    asked.out.parent.mkdir(exist_ok=True)
    with new_file(asked.out) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    main()
