"""Demonstrations of episodes of any lengths."""

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode


def make_of_lengths(lengths):
    """Noise: three observations and two actions at every step."""
    generator = np.random.default_rng(0)

    def episode(n):
        seen = generator.normal(size=(n + 1, 3)).astype(np.float32)
        return Episode(observations=seen, actions=generator.normal(size=(n, 2)).astype(np.float32))

    return Demos.from_episodes([episode(n) for n in lengths])


@pytest.fixture(scope="session")
def of_lengths():
    return make_of_lengths
