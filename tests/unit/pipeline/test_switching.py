"""The verb `switch`: what it needs is said before the work, and what it tells of a switcher's rollouts."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.pipeline.requests import SwitchRequest
from unbraid.pipeline.switching import _time_in_modes, switch_stage
from unbraid.switching.situations import situation_reader
from unbraid.switching.switcher import LinearScores, Switcher
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.mark.parametrize("method", ["ppo", "bandit", "actor_critic", "preferences"])
def test_of_one_mode_there_is_nothing_to_choose(
    tmp_path: Path, method: Literal["ppo", "bandit", "actor_critic", "preferences"]
) -> None:
    """`--n-modes auto` may find one: nothing is learned, for 100,000 steps, of which there is but one thing to do."""
    alone = ModeModel(UnbraidConfig(n_modes=1, policy_hidden=(8,)), observation_size=3, action_size=1)
    run = tmp_path / "run"
    alone.save_pretrained(run)
    answers = tmp_path / "answers.json" if method == "preferences" else None
    asked = SwitchRequest(run, out=tmp_path / "switcher", env="Pendulum-v1", method=method, answers=answers)
    with pytest.raises(ConfigError, match=r"needs at least 2 modes to choose among; .*run has 1\."):
        switch_stage(asked)


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
