"""A world in which order alone tells two experts apart: ten stations on a circle, visited in two orders.

One expert goes from each station to the next, the other to the third after it. Both see every station as often, and
the action is noise: no single step, and no set of steps whose order is lost, says who acts. Two steps in a row do. So
would a long transition: after h steps the first is h stations on, the second three times as many.
"""

import functools

import numpy as np

from unbraid.demos.episodes import Demos, Episode

STRIDES = (1, 3)
N_STATIONS, N_STEPS, NOISE = 10, 120, 0.1
LABELS = tuple(f"every station no. {stride}" if stride > 1 else "every station" for stride in STRIDES)


@functools.lru_cache(maxsize=4)
def rounds(n_episodes: int, seed: int) -> Demos:
    """`n_episodes` of each expert; observations are a station's place, with noise, and actions are noise."""
    generator = np.random.default_rng([seed, 83])
    episodes = []
    for i in range(n_episodes * len(STRIDES)):
        label = i % len(STRIDES)
        stations = generator.integers(N_STATIONS) + STRIDES[label] * np.arange(N_STEPS + 1)
        angles = 2 * np.pi * stations / N_STATIONS
        places = np.stack([np.cos(angles), np.sin(angles)], axis=1) + NOISE * generator.normal(size=(N_STEPS + 1, 2))
        actions = generator.normal(size=(N_STEPS, 1))
        episodes.append(Episode(places.astype(np.float32), actions.astype(np.float32), label=label))
    demos = Demos.from_episodes(episodes, label_names=LABELS, observation_names=("x", "y"))
    return demos.shuffled(np.random.default_rng([seed, 84]))
