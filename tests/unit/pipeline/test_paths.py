"""Top-down paths: the first rollout of everybody, beside what others left there."""

import numpy as np
import pytest

from unbraid.evaluation.evaluate import evaluate
from unbraid.pipeline.paths import save_paths
from unbraid.worlds.controllers import from_function
from unbraid.worlds.experts import make_expert


@pytest.fixture(scope="module")
def forward():
    return evaluate(make_expert("forward"), "unbraid/PointGoal1-v0", seeds=[3, 4], max_steps=5)


@pytest.fixture(scope="module")
def swinging():
    """In a world that tells nothing of places."""
    left = from_function(lambda observations: observations[:, :1] * 0 - 1)
    return evaluate(left, "Pendulum-v1", seeds=[3], max_steps=5)


def _panels(run):
    with np.load(run / "paths.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_first_rollout_of_everybody_is_kept(tmp_path, forward):
    save_paths(tmp_path, {"forward": forward}, [forward], {"talk/end/3": forward})
    found = _panels(tmp_path)
    assert {name.rpartition("/")[0] for name in found} == {"expert/forward", "mode/0", "talk/end/3"}
    track = forward.rollouts.tracks[0]
    for name in ("robot_xy", "goal_xy", "goal_reached", "hazards_xy", "vases_xy"):
        np.testing.assert_array_equal(found[f"mode/0/{name}"], track[name])


def test_a_world_that_tells_nothing_gives_no_pictures(tmp_path, swinging, forward):
    save_paths(tmp_path, {}, [swinging])
    assert list(tmp_path.iterdir()) == []
    save_paths(tmp_path, {"forward": forward}, [swinging])
    assert {name.rpartition("/")[0] for name in _panels(tmp_path)} == {"expert/forward"}


def test_measured_again_the_talks_paths_stay_and_the_modes_are_replaced(tmp_path, forward):
    save_paths(tmp_path, {"forward": forward}, [forward, forward], {"talk/end/0": forward})
    again = evaluate(make_expert("circling"), "unbraid/PointGoal1-v0", seeds=[9], max_steps=3)
    save_paths(tmp_path, {"circling": again}, [again])
    found = _panels(tmp_path)
    assert {name.rpartition("/")[0] for name in found} == {"expert/circling", "mode/0", "talk/end/0"}
    assert len(found["mode/0/robot_xy"]) == 4
    assert len(found["talk/end/0/robot_xy"]) == 6


def test_a_damaged_file_is_replaced(tmp_path, forward):
    (tmp_path / "paths.npz").write_bytes(b"PK\x03\x04 and no more")
    save_paths(tmp_path, {"forward": forward}, [])
    assert {name.rpartition("/")[0] for name in _panels(tmp_path)} == {"expert/forward"}
