"""The verb `switch`: what it needs is said before the work."""

import pytest

from unbraid.core.errors import ConfigError
from unbraid.pipeline.requests import SwitchRequest
from unbraid.pipeline.switching import switch_stage
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.mark.parametrize("method", ["ppo", "bandit", "actor_critic", "preferences"])
def test_of_one_mode_there_is_nothing_to_choose(tmp_path, method):
    """`--n-modes auto` may find one: nothing is learned, for 100,000 steps, of which there is but one thing to do."""
    alone = ModeModel(UnbraidConfig(n_modes=1, policy_hidden=(8,)), observation_size=3, action_size=1)
    run = tmp_path / "run"
    alone.save_pretrained(run)
    answers = tmp_path / "answers.json" if method == "preferences" else None
    asked = SwitchRequest(run, out=tmp_path / "switcher", env="Pendulum-v1", method=method, answers=answers)
    with pytest.raises(ConfigError, match=r"needs at least 2 modes to choose among; .*run has 1\."):
        switch_stage(asked)
