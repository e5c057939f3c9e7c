"""LeRobot opens what unbraid writes, and unbraid what LeRobot writes: LeRobot runs in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from unbraid.demos.episodes import Demos
from unbraid.demos.formats.lerobot import write_lerobot
from unbraid.demos.loading import load_demos
from unbraid.demos.options import ReadOptions

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-lerobot" / "bin" / "python"
pytestmark = pytest.mark.skipif(
    not (ROOT / ".venv-lerobot" / "unbraid-stamp").is_file(),
    reason="LeRobot's environment is not made; scripts/lerobot-env makes it",
)


def _demos() -> Demos:
    generator = np.random.default_rng(0)
    return Demos(
        observations=generator.normal(size=(11, 3)).astype(np.float32),
        actions=generator.normal(size=(8, 2)).astype(np.float32),
        lengths=np.array([3, 1, 4]),
        terminated=np.array([False, True, False]),
        rewards=generator.normal(size=8),
        costs=np.arange(8.0),
        labels=np.array([0, 1, 0]),
        label_names=("ann", "öz"),
        observation_names=("x", "y", "ω"),
        facts={"lerobot": {"fps": 20}},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    write_lerobot(_demos(), folder / "ours")
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    """What LeRobot says, in one run, as it takes long to import."""
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("lerobot_opens.py"), folder],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_lerobot_opens_what_we_write(folder, seen):
    demos, seen = _demos(), seen["opened"]
    frames = {name: np.array([frame[name] for frame in seen["frames"]]) for name in seen["frames"][0]}
    np.testing.assert_array_equal(frames["observation.state"], demos.observations[demos.row_of_step])
    np.testing.assert_array_equal(frames["action"], demos.actions)
    np.testing.assert_allclose(frames["next.reward"], demos.rewards, rtol=1e-6)  # LeRobot's tensors are float32
    np.testing.assert_array_equal(frames["next.cost"], demos.costs)
    assert frames["next.done"].tolist() == [False, False, True, True, False, False, False, True]
    assert frames["episode_index"].tolist() == demos.episode_of_step.tolist()
    assert frames["task"].tolist() == ["ann"] * 3 + ["öz"] + ["ann"] * 4
    np.testing.assert_allclose(frames["timestamp"][:3], [0, 0.05, 0.1])
    assert seen["dtypes"] == {"observation.state": "torch.float32", "action": "torch.float32"}
    assert seen["padded"][3] == [True, False, True]  # the one frame of episode 1 has no neighbours
    assert seen["padded"][1] == [False, False, False]
    assert seen["episodes"] == 3
    assert seen["batch"] == [2, 3]
    assert seen["names"] == ["x", "y", "ω"]
    assert seen["policy"] == {"observation.state": [3], "action": [2]}
    np.testing.assert_allclose(seen["stats"]["action"], demos.actions.mean(axis=0), rtol=1e-6)
    assert seen["left"] == [2, 7]  # LeRobot's own tools take the set apart
    without = load_demos(folder / "left")
    assert without.lengths.tolist() == [2, 3]  # and what they write has no final observations


def test_we_open_what_lerobot_writes(folder, seen):
    assert seen["made"] == {"frames": 8}
    demos = load_demos(folder / "theirs", options=ReadOptions(labels_from="task_index"))
    assert demos.lengths.tolist() == [2, 3]
    assert demos.observation_names == (
        "observation.state[x]",
        "observation.state[y]",
        "observation.environment_state[wind]",
    )
    assert demos.observations[:, 0].tolist() == [0, 0, 0, 2, 2, 2, 2]
    assert demos.observations[:, 2].tolist() == [0, 0.125, 0.25, 0, 0.125, 0.25, 0.375]
    assert demos.actions.tolist() == [[0], [0.5], [2], [2.5], [3]]
    assert demos.rewards.tolist() == [0, 1, 0, 1, 2]
    assert demos.label_names == ("push", "höher")
    assert demos.labels.tolist() == [0, 0]
    assert demos.facts["lerobot"]["stats"]["action"]["count"] == [8]


def test_a_pandas_data_frame_is_a_table(seen):
    assert seen["framed"] == {"lengths": [1, 1], "x": [[1], [2], [3], [4]], "u": [[0.5], [1.5]]}
