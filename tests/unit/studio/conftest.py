"""A small run: two experts in PointGoal1, six short episodes, and a model that was hardly trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unbraid.core.runs import create_run, provenance
from unbraid.studio.desk import Desk
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def demos():
    sources = [(name, make_expert(name)) for name in ("goal_seeking", "forward")]
    return collect(sources, env_id=ENV, n_episodes=4, seed=3, max_steps=60)


@pytest.fixture(scope="session")
def disordered(demos):
    """The same demonstrations, their columns in another order: what they say, they say by name."""
    order = np.random.default_rng(0).permutation(demos.observation_size)
    names = tuple(demos.observation_names[column] for column in order)
    return replace(demos, observations=np.asarray(demos.observations)[:, order], observation_names=names)


@pytest.fixture(scope="session")
def model(demos):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.modes.latents.WIDTH", 16)
        patch.setattr("unbraid.modes.latents.BATCH", 128)
        config = UnbraidConfig(n_modes=2, n_steps=30, search_steps=20, policy_hidden=(16,), encoder_width=8)
        return fit(demos.without_labels(), config)


@pytest.fixture(scope="session")
def _saved(model, tmp_path_factory) -> Path:
    run = create_run(tmp_path_factory.mktemp("studio") / "first", {"command": "fit", "provenance": provenance(seed=0)})
    model.save_pretrained(run / "model")
    lines = ['{"step": 10, "loss": 1.5, "terms": {"policy": 1.0}, "code_usage": [0.5, 0.5]}', "nonsense", '{"step": 20']
    (run / "metrics.jsonl").write_text("\n".join(lines))
    return run


@pytest.fixture
def run(_saved, tmp_path) -> Path:
    """A copy of the run, to be written to."""
    import shutil

    return Path(shutil.copytree(_saved, tmp_path / "first"))


@pytest.fixture
def desk(run, demos) -> Desk:
    return Desk(run, demos=demos, held_out=demos, env_ids=(ENV,), remarks=("A remark.",))
