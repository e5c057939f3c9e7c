"""Run by test_lerobot.py in an environment of LeRobot's own, on a folder with a set called ours: says as JSON what
LeRobot makes of it, and has LeRobot make another."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # built for another torch: it then lacks two operators on images, which nothing here uses
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.dataset_tools import delete_episodes
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import dataset_to_policy_features, validate_frame


def opened(path: Path) -> dict[str, object]:
    """What LeRobot sees: every frame, a look one step back and ahead, a batch; and whether its own rules hold."""
    step = 1 / json.loads((path / "meta" / "info.json").read_text())["fps"]
    dataset = LeRobotDataset("unbraid/test", root=path, delta_timestamps={"action": [-step, 0.0, step]})
    plain = LeRobotDataset("unbraid/test", root=path)
    added = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    for frame in plain:
        own = {name: frame[name] for name in plain.features if name not in added}  # which torch has as float32
        own = {name: np.atleast_1d(v).astype(plain.features[name]["dtype"]) for name, v in own.items()}
        validate_frame(own | {"task": frame["task"]}, plain.features)
    batch = next(iter(torch.utils.data.DataLoader(plain, batch_size=2)))
    left = delete_episodes(plain, episode_indices=[1], output_dir=path.with_name("left"), repo_id="unbraid/left")
    return {
        "frames": [{k: v.tolist() if hasattr(v, "tolist") else v for k, v in frame.items()} for frame in plain],
        "dtypes": {name: str(plain[0][name].dtype) for name in ("observation.state", "action")},
        "padded": [frame["action_is_pad"].tolist() for frame in dataset],
        "episodes": plain.num_episodes,
        "batch": list(batch["observation.state"].shape),
        "names": plain.meta.names["observation.state"],
        "stats": {name: stats["mean"].tolist() for name, stats in plain.meta.stats.items()},
        "policy": {name: list(feature.shape) for name, feature in dataset_to_policy_features(plain.features).items()},
        "left": [left.num_episodes, left.num_frames],
    }


def made(path: Path) -> dict[str, object]:
    """A set that LeRobot writes: episode e, frame s."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
        "observation.environment_state": {"dtype": "float64", "shape": (1,), "names": ["wind"]},
        "action": {"dtype": "float32", "shape": (1,), "names": ["u"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create("unbraid/made", fps=10, root=path, use_videos=False, features=features)
    for episode, n_frames in enumerate((3, 1, 4)):
        for frame in range(n_frames):
            row = {
                "observation.state": np.array([episode, frame], np.float32),
                "observation.environment_state": np.array([frame / 8]),
                "action": np.array([episode + frame / 2], np.float32),
                "next.reward": np.array([frame], np.float32),
            }
            dataset.add_frame(row | {"task": ("push", "höher")[episode % 2]})
        dataset.save_episode()
    dataset.finalize()
    return {"frames": len(dataset)}


def framed() -> dict[str, object]:
    """A pandas data frame, which is not in unbraid's own environment, read by unbraid."""
    from unbraid import ReadOptions, demos_from_table

    frame = pd.DataFrame({"run": [0, 0, 1, 1], "x": [1.0, 2, 3, 4], "u": [0.5, np.nan, 1.5, 2.5]}, index=[3, 1, 4, 2])
    demos = demos_from_table(frame, ReadOptions(episode_column="run", obs_columns=("x",), action_columns=("u",)))
    return {"lengths": demos.lengths.tolist(), "x": demos.observations.tolist(), "u": demos.actions.tolist()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps({"opened": opened(folder / "ours"), "made": made(folder / "theirs"), "framed": framed()}))
