"""A small run: two experts in PointGoal1, six short episodes, and a model that was hardly trained."""

from dataclasses import replace
from pathlib import Path

import gymnasium
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
        config = UnbraidConfig(n_modes=2, n_steps=80, search_steps=20, policy_hidden=(16,), encoder_width=8)
        return fit(demos.without_labels(), config)


class Odd(gymnasium.Env):
    """A world of PointGoal1's widths; a change of what its second step gives is asked for by name."""

    metadata = {"render_fps": 30, "render_modes": []}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-9, 9, (60,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, **changes):
        self.changes = changes

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n_steps = 0
        return self.np_random.normal(size=60).astype(np.float32), {}

    def step(self, action):
        self.n_steps += 1
        told = {"observation": self.np_random.normal(size=60), "reward": 1.0, "cost": 0.5}
        told |= self.changes if self.n_steps == 2 else {}
        if "raises" in told:
            raise told["raises"]
        seen = told["observation"].astype(np.float32)
        return seen, told["reward"], False, False, {"cost": told["cost"]}


FAULTS = {
    "text": ({"cost": "high"}, r"The cost .* of Odd-v0 in step 2 of seed 5 must be one number; got 'high'"),
    "cost": ({"cost": float("nan")}, r"The cost .* of Odd-v0 in step 2 of seed 5 must be finite; got nan"),
    "reward": ({"reward": float("nan")}, "The reward of Odd-v0 in step 2 of seed 5 must be finite; got nan"),
    "none": ({"reward": None}, "The reward of Odd-v0 in step 2 of seed 5 must be one number; got None"),
    "observation": (
        {"observation": np.full(60, np.nan)},
        "The observation of Odd-v0 in step 2 of seed 5 must be finite.*; column 0 is nan",
    ),
    "width": ({"observation": np.zeros(3)}, "The observation of Odd-v0 in step 2 of seed 5 must be 60 numbers"),
    "raises": (
        {"raises": OSError("motor failed")},
        "Odd-v0 must step .*; in step 2 of seed 5 it raised OSError: motor failed",
    ),
}


@pytest.fixture
def odd():
    """Registers the world, for this test alone; gives its id."""

    def make(**changes):
        gymnasium.register("Odd-v0", Odd, kwargs=changes)
        return "Odd-v0"

    yield make
    gymnasium.registry.pop("Odd-v0", None)


@pytest.fixture(params=list(FAULTS))
def fault(request):
    """What the second step of an odd world gives, and what must be said of it."""
    return FAULTS[request.param]


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
