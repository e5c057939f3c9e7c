"""Demonstrations as large as one asks: four experts in a linear world of 58 observations and 2 actions, as float32.

A hidden state of 6 numbers follows the actions; observations mix it with noise. An expert's actions are a squashed
linear function of the hidden state, with noise. Episodes have 200 to 300 steps, and experts take turns at random.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unbraid.demos.episodes import Demos
from unbraid.demos.writing import save_parts

N_EXPERTS, OBSERVATION_SIZE, ACTION_SIZE, MEAN_STEPS = 4, 58, 2, 250
_HIDDEN, _PART_EPISODES = 6, 400
_SHORTEST, _LONGEST = 200, 300


def part_of_world(n_episodes: int, generator: np.random.Generator) -> Demos:
    """Some episodes, in memory."""
    fixed = np.random.default_rng(0)  # the world and its experts are the same for every part
    experts = fixed.normal(size=(N_EXPERTS, _HIDDEN, ACTION_SIZE)).astype(np.float32)
    push = fixed.normal(size=(ACTION_SIZE, _HIDDEN)).astype(np.float32) * 0.4
    mixing = fixed.normal(size=(_HIDDEN, OBSERVATION_SIZE)).astype(np.float32)
    labels, lengths = (
        generator.integers(N_EXPERTS, size=n_episodes),
        generator.integers(_SHORTEST, _LONGEST + 1, n_episodes),
    )
    of_each, hidden = experts[labels], np.empty((_LONGEST + 1, n_episodes, _HIDDEN), np.float32)
    actions = np.empty((n_episodes, _LONGEST, ACTION_SIZE), np.float32)
    hidden[0] = generator.standard_normal(hidden[0].shape, np.float32)
    for t in range(_LONGEST):
        noise = generator.standard_normal((n_episodes, ACTION_SIZE), np.float32)
        actions[:, t] = np.tanh(np.einsum("eh,eha->ea", hidden[t], of_each)) + 0.3 * noise
        drift = generator.standard_normal((n_episodes, _HIDDEN), np.float32)
        hidden[t + 1] = 0.9 * hidden[t] + actions[:, t] @ push + 0.2 * drift
    steps = np.arange(_LONGEST) < lengths[:, None]
    rows = np.arange(_LONGEST + 1) <= lengths[:, None]
    observations = hidden.swapaxes(0, 1)[rows] @ mixing
    observations += 0.1 * generator.standard_normal(observations.shape, np.float32)
    return Demos(
        observations=observations,
        actions=actions[steps],
        lengths=lengths,
        terminated=np.zeros(n_episodes, bool),
        labels=labels,
        label_names=tuple(f"expert {k}" for k in range(N_EXPERTS)),
    )


def write_world(path: Path, n_steps: int, seed: int = 0) -> Path:
    """A store of about so many steps; no more than 100,000 of them are in memory at once."""

    def parts() -> Iterator[Demos]:
        n_episodes, generator = max(n_steps // MEAN_STEPS, 8), np.random.default_rng(seed + 1)
        for first in range(0, n_episodes, _PART_EPISODES):
            yield part_of_world(min(_PART_EPISODES, n_episodes - first), generator)

    return save_parts(parts(), path)
