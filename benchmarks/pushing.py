"""A world of contact: a round pusher moves two discs on a table to two places, in one of four ways.

Friction alone moves a disc: it gives way along the line between the centres, and stays where it is left. So a disc
must be pushed from behind, and the pusher goes round it first. The four experts differ in which disc they push first,
and in which place they push it to (the other disc goes to the other place). Nothing was tuned on this world.
"""

import functools

import numpy as np

from unbraid.demos.episodes import Demos, Episode

PLANS = ((0, 0), (0, 1), (1, 0), (1, 1))  # the disc pushed first, the place that it is pushed to
PLACES = np.array([[-0.5, 0.75], [0.5, 0.75]])
SPEED, NOISE, MOST_STEPS = 0.06, 0.25, 180
PUSHER, DISC, THERE = 0.05, 0.1, 0.08
LABELS = tuple(f"disc {first} first, to place {place}" for first, place in PLANS)
NAMES = ("pusher_x", "pusher_y", "disc_0_x", "disc_0_y", "disc_1_x", "disc_1_y")


def apart(fixed: np.ndarray, moving: np.ndarray, least: float) -> np.ndarray:
    """Where `moving` comes to lie when it gives way until it is `least` away from `fixed`."""
    way = moving - fixed
    length = float(np.linalg.norm(way))
    return moving if length >= least else fixed + way * (least / max(length, 1e-6))


def wish(pusher: np.ndarray, disc: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A velocity of length up to 1: round the disc to the side away from the place, then through it to the place."""
    ahead = (place - disc) / max(float(np.linalg.norm(place - disc)), 1e-6)
    side = np.array([-ahead[1], ahead[0]])
    behind, beside = float((pusher - disc) @ -ahead), float((pusher - disc) @ side)
    near = PUSHER + DISC
    if behind > 0.3 * near and abs(beside) < 0.5 * behind:  # in the cone behind it: push, and keep to the line
        way = ahead - 3 * beside / near * side
    else:
        goal = disc - 1.5 * near * ahead
        if behind < 0.5 * near and abs(beside) < 1.3 * near:  # before it: out to the side first
            goal = goal + 1.8 * near * (1 if beside >= 0 else -1) * side
        way = (goal - pusher) / 0.15
    return way / max(float(np.linalg.norm(way)), 1.0)


def push(plan: tuple[int, int], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
    """One episode of a plan: observations (T + 1, 6), actions (T, 2), and whether both discs were brought."""
    pusher = generator.uniform([-0.6, -0.9], [0.6, -0.6])
    discs = generator.uniform([-0.6, -0.4], [0.6, 0.2], (2, 2))
    while np.linalg.norm(discs[0] - discs[1]) < 0.35:
        discs = generator.uniform([-0.6, -0.4], [0.6, 0.2], (2, 2))
    first, place = plan
    errands = [(first, PLACES[place]), (1 - first, PLACES[1 - place])]
    observations, actions = [np.concatenate([pusher, *discs])], []
    while errands and len(actions) < MOST_STEPS:
        which, where = errands[0]
        action = np.clip(wish(pusher, discs[which], where) + NOISE * generator.standard_normal(2), -1, 1)
        pusher = np.clip(pusher + SPEED * action, -1, 1)
        discs = np.stack([apart(pusher, disc, PUSHER + DISC) for disc in discs])
        nearer = int(np.linalg.norm(discs - pusher, axis=1).argmin())
        discs[1 - nearer] = apart(discs[nearer], discs[1 - nearer], 2 * DISC)
        if np.linalg.norm(discs[which] - where) < THERE:
            errands = errands[1:]
        observations.append(np.concatenate([pusher, *discs]))
        actions.append(action)
    return np.array(observations, np.float32), np.array(actions, np.float32), not errands


@functools.lru_cache(maxsize=4)
def pushing(n_episodes: int, seed: int) -> Demos:
    """`n_episodes` of each of the four experts."""
    generator = np.random.default_rng([seed, 83])
    episodes = []
    for i in range(n_episodes * len(PLANS)):
        label = i % len(PLANS)
        observations, actions, done = push(PLANS[label], generator)
        episodes.append(Episode(observations, actions, terminated=done, label=label))
    demos = Demos.from_episodes(episodes, label_names=LABELS, observation_names=NAMES)
    return demos.shuffled(np.random.default_rng([seed, 84]))
