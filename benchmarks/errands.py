"""A world of order and outcome: two objects to carry to two places, in one of four ways.

An agent in a square moves by a noisy velocity; an object that it touches comes with it, until it lies in a place. The
four experts differ in which object they fetch first, and in which place they bring it to (the other object goes to the
other place). What they do next follows from the picture and their plan; the noise is larger than a step's wish, so that
a single step rarely gives the plan away.
"""

import functools

import numpy as np

from unbraid.demos.episodes import Demos, Episode

PLANS = ((0, 0), (0, 1), (1, 0), (1, 1))  # the object fetched first, the place it is brought to
PLACES = np.array([[-0.7, 0.7], [0.7, 0.7]])
SPEED, WISH, NOISE, REACH, MOST_STEPS = 0.08, 0.35, 0.5, 0.08, 160
LABELS = tuple(f"object {first} first, to place {place}" for first, place in PLANS)
NAMES = ("agent_x", "agent_y", "object_0_x", "object_0_y", "object_1_x", "object_1_y")


def errand(plan: tuple[int, int], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
    """One episode of a plan: observations (T + 1, 6), actions (T, 2), and whether both objects were brought."""
    agent = generator.uniform([-0.8, -0.9], [0.8, -0.5])
    objects = np.stack([generator.uniform(-0.6, 0.6, 2) * [1, 0.5] for _ in range(2)])
    while np.linalg.norm(objects[0] - objects[1]) < 0.3:
        objects = np.stack([generator.uniform(-0.6, 0.6, 2) * [1, 0.5] for _ in range(2)])
    first, place = plan
    errands = [(first, PLACES[place]), (1 - first, PLACES[1 - place])]
    observations, actions, carried = [np.concatenate([agent, *objects])], [], False
    while errands and len(actions) < MOST_STEPS:
        what, where = errands[0]
        way = (where if carried else objects[what]) - agent
        wish = WISH * way / max(float(np.linalg.norm(way)), 0.1)
        action = np.clip(wish + NOISE * generator.standard_normal(2), -1, 1)
        agent = np.clip(agent + SPEED * action, -1, 1)
        if carried:
            objects[what] = agent
            if np.linalg.norm(agent - where) < REACH:
                errands, carried = errands[1:], False
        elif np.linalg.norm(agent - objects[what]) < REACH:
            carried = True
        observations.append(np.concatenate([agent, *objects]))
        actions.append(action)
    return np.array(observations, np.float32), np.array(actions, np.float32), not errands


@functools.lru_cache(maxsize=4)
def errands(n_episodes: int, seed: int) -> Demos:
    """`n_episodes` of each of the four experts."""
    generator = np.random.default_rng([seed, 79])
    episodes = []
    for i in range(n_episodes * len(PLANS)):
        label = i % len(PLANS)
        observations, actions, done = errand(PLANS[label], generator)
        episodes.append(Episode(observations, actions, terminated=done, label=label))
    demos = Demos.from_episodes(episodes, label_names=LABELS, observation_names=NAMES)
    return demos.shuffled(np.random.default_rng([seed, 80]))
