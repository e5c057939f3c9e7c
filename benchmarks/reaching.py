"""An arm that reaches for one of six hidden places: Gymnasium's Reacher, without the target in the observation.

Each place is an expert. The arm starts all but stretched out. With `elbow="nearest"` it takes the shorter way, which is
the same side of the elbow for all episodes of a place; with `elbow="either"` it goes on to the side to which it is bent
by chance, so that every expert has two habits that look nothing alike. Torque follows the angles' error and speed, with
noise.
"""

import functools
import math
from typing import Literal

import gymnasium
import numpy as np

from unbraid.demos.episodes import Demos, Episode

LINKS_M = (0.1, 0.11)
PLACES_M = tuple((r * math.cos(h), r * math.sin(h)) for r, h in ((0.17, 0.6), (0.12, 1.6), (0.18, 2.6)))
PLACES_M += tuple((r * math.cos(h), r * math.sin(h)) for r, h in ((0.13, 3.7), (0.17, 4.7), (0.12, 5.7)))
STIFFNESS, DAMPING, NOISE = 0.35, 0.06, 0.35
KEPT = [0, 1, 2, 3, 6, 7]
LABELS = tuple(f"place {i}" for i in range(len(PLACES_M)))
NAMES = ("cos_angle_0", "cos_angle_1", "sin_angle_0", "sin_angle_1", "velocity_0", "velocity_1")


Elbow = Literal["nearest", "either"]


def angles_for(place_m: tuple[float, float], now: np.ndarray, elbow: Elbow) -> np.ndarray:
    """The two joint angles (rad) that put the fingertip on a place: of both solutions the nearer one, or the one with
    the elbow bent to the side that it is now."""
    x, y = place_m
    bend = math.acos(
        np.clip((x * x + y * y - LINKS_M[0] ** 2 - LINKS_M[1] ** 2) / (2 * LINKS_M[0] * LINKS_M[1]), -1, 1)
    )
    solutions = []
    for bent in (bend, -bend):
        shoulder = math.atan2(y, x) - math.atan2(LINKS_M[1] * math.sin(bent), LINKS_M[0] + LINKS_M[1] * math.cos(bent))
        turned = now[0] + (shoulder - now[0] + math.pi) % (2 * math.pi) - math.pi
        solutions.append(np.array([turned, bent]))
    if elbow == "either":
        return solutions[0 if now[1] >= 0 else 1]
    return min(solutions, key=lambda s: float(np.abs(s - now).sum()))


@functools.lru_cache(maxsize=4)
def reaching(n_episodes: int, seed: int, elbow: Elbow = "nearest") -> Demos:
    """`n_episodes` of each of the six experts, 50 steps long."""
    env = gymnasium.make("Reacher-v5")
    generator = np.random.default_rng([seed, 77])
    episodes = []
    for i in range(n_episodes * len(PLACES_M)):
        label = i % len(PLACES_M)
        observation, _ = env.reset(seed=int(generator.integers(2**31)))
        data = env.unwrapped.data
        wanted = angles_for(PLACES_M[label], data.qpos[:2].copy(), elbow)
        observations, actions = [observation[KEPT]], []
        for _ in range(50):
            torque = STIFFNESS * (wanted - data.qpos[:2]) - DAMPING * data.qvel[:2]
            action = np.clip(torque + NOISE * generator.standard_normal(2), -1, 1)
            observation = env.step(action.astype(np.float32))[0]
            observations.append(observation[KEPT])
            actions.append(action)
        arrays = np.array(observations, np.float32), np.array(actions, np.float32)
        episodes.append(Episode(*arrays, terminated=False, label=label))
    demos = Demos.from_episodes(episodes, label_names=LABELS, observation_names=NAMES)
    return demos.shuffled(np.random.default_rng([seed, 78]))
