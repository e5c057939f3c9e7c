"""Behaviour cloning by other packages, each in an environment of its own, for `bench_training.py` to time.

A peer's Python runs this file. It reads the demonstrations, makes the peer's learner and says ready; then it reads how
many gradient steps to take, a line at a time, takes them, and says what they took. All by the peer's public ways, with
its own defaults; only what would be no part of learning is off: progress bars, logs and files.

    .venv-imitation/bin/python benchmarks/training_peers.py imitation DATA.npz --hidden 256 256 --batch 1024
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Train = Callable[[int], object]


def imitation(observations: np.ndarray, actions: np.ndarray, hidden: list[int], batch: int) -> Train:
    """`imitation`'s BC: a Gaussian policy of tanh layers; its value network, which BC has no use for, has no layers."""
    import gymnasium
    from imitation.algorithms.bc import BC
    from imitation.data.types import Transitions
    from stable_baselines3.common.policies import ActorCriticPolicy

    sizes = observations.shape[1], actions.shape[1]
    spaces = [gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32) for size in sizes]
    nets = {"pi": hidden, "vf": []}
    infos, never = np.array([{}] * len(actions)), np.zeros(len(actions), dtype=bool)
    policy = ActorCriticPolicy(spaces[0], spaces[1], lambda _: 1e-3, net_arch=nets)  # type: ignore[arg-type]
    learner = BC(
        observation_space=spaces[0],
        action_space=spaces[1],
        rng=np.random.default_rng(0),
        policy=policy,
        demonstrations=Transitions(observations, actions, infos, np.roll(observations, -1, axis=0), never),
        batch_size=batch,
        optimizer_kwargs={"lr": 1e-3},
        device="cpu",
    )
    return lambda n_steps: learner.train(n_batches=n_steps, progress_bar=False, log_interval=sys.maxsize)


def d3rlpy(observations: np.ndarray, actions: np.ndarray, hidden: list[int], batch: int) -> Train:
    """d3rlpy's BC: a deterministic policy of ReLU layers, learned by squared errors."""
    import d3rlpy

    ends = np.zeros(len(actions), dtype=np.float32)
    ends[999::1000] = 1
    demos = d3rlpy.dataset.MDPDataset(observations, actions, np.zeros_like(ends), ends)
    encoder = d3rlpy.models.VectorEncoderFactory(hidden)
    learner = d3rlpy.algos.BCConfig(batch_size=batch, encoder_factory=encoder).create(device="cpu:0")
    quiet = d3rlpy.logging.NoopAdapterFactory()

    def train(n_steps: int) -> object:
        settings: dict[str, Any] = {"n_steps": n_steps, "n_steps_per_epoch": n_steps, "logger_adapter": quiet}
        return learner.fit(demos, show_progress=False, **settings)

    return train


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("imitation", "d3rlpy"))
    parser.add_argument("data", type=Path, help="observations and actions, an .npz")
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--batch", type=int, default=1024)
    asked = parser.parse_args()
    says, sys.stdout = sys.stdout, sys.stderr  # what a peer prints is no answer
    with np.load(asked.data, allow_pickle=False) as file:
        arrays = file["observations"], file["actions"]
    train = {"imitation": imitation, "d3rlpy": d3rlpy}[asked.peer](*arrays, asked.hidden, asked.batch)
    import torch

    torch.set_num_threads(1)
    about = {"version": metadata.version(asked.peer), "torch": metadata.version("torch")}
    print(json.dumps(about), file=says, flush=True)
    for line in sys.stdin:
        start, start_processor = time.perf_counter(), time.process_time()
        train(int(line))
        took = time.perf_counter() - start, time.process_time() - start_processor
        print(json.dumps(took), file=says, flush=True)


if __name__ == "__main__":
    main()
