"""What the verb `switch` tells of a switcher's rollouts."""

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.pipeline.switching import _time_in_modes
from unbraid.switching.situations import situation_reader
from unbraid.switching.switcher import LinearScores, Switcher


def test_the_time_in_a_mode_is_counted_in_steps_and_not_in_choices() -> None:
    def episode(n_steps: int) -> Episode:
        time = np.arange(n_steps + 1.0)[:, None]
        return Episode(observations=time, actions=np.zeros((n_steps, 1)))

    reader = situation_reader("observation", observations=np.array([[0.0], [20.0]]))  # less 10, over 10
    late = LinearScores(np.array([[0.0, 0.0], [0.5, 1.0]]))  # mode 1 from step 6 on
    switcher = Switcher("bandit", reader, late, 2, horizon_steps=10)
    shares, limited = _time_in_modes(switcher, Demos.from_episodes([episode(12), episode(10), episode(3)]))
    assert shares.tolist() == pytest.approx([23 / 25, 2 / 25])  # of four choices one is mode 1, held for two steps
    assert limited == 0
