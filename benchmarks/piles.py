"""The piles of demonstrations on which modes are told apart: for every training seed, a training and a held-out pile.

A seed decides the episodes where they are made here, and which of them are held out where they were recorded once.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import errands
import pushing
import reaching
import rounds
from unbraid.demos.episodes import Demos
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert

SHARED = Path(__file__).parents[2] / "shared" / "data"
AGENTS = Path(__file__).parent / "data"
TRAINING_SEED, HELD_OUT_SEED = 31_000, 32_000
Pile = tuple[Demos, Demos]


def point_goal(
    experts: Sequence[str],
    n_training: int | Sequence[int],
    seed: int,
    *,
    n_held_out: int = 24,
    n_steps: int = 1000,
    noise: float = 0.15,
    held_out_level: int = 1,
) -> Pile:
    """PointGoal1's experts, on layouts of their own; held-out episodes in another level where that is asked."""
    sources = [(name, make_expert(name, action_noise=noise)) for name in experts]
    training = collect(
        sources, env_id="unbraid/PointGoal1-v0", n_episodes=n_training, seed=TRAINING_SEED + seed, max_steps=n_steps
    )
    held_out = collect(
        sources,
        env_id=f"unbraid/PointGoal{held_out_level}-v0",
        n_episodes=n_held_out,
        seed=HELD_OUT_SEED + seed,
        max_steps=n_steps,
    )
    assert training.seeds is not None
    assert held_out.seeds is not None
    assert not set(training.seeds.tolist()) & set(held_out.seeds.tolist())
    return training, held_out


def half_cheetah(seed: int, folder: Path = SHARED) -> Pile:
    """Six trained policies, 7 episodes of each to train on and 3 held out."""
    with np.load(folder / "halfcheetah_experts" / "half_cheetah.npz", allow_pickle=False) as file:
        arrays = dict(file)
    lengths = arrays["ep_len"].astype(np.int64)
    names = tuple(str(name) for name in arrays["expert_names"])
    # T observations to T actions: the last action's result was not recorded, so that action is left out
    demos = demos_of(arrays["obs"], arrays["act"], lengths, arrays["ep_expert"], names)
    return split(demos, 0.3, seed)


def push_t(seed: int, folder: Path = SHARED, *, part: float = 0.5) -> Pile:
    """People who push a T to one of two hidden poses: the first part of each episode, a third of them held out."""
    states, actions, lengths, labels = [], [], [], []
    for label, name in enumerate(("pusht_center", "pusht_x356y356")):
        with np.load(folder / "pusht" / f"{name}.npz", allow_pickle=False) as file:
            state, action, ends = file["state"], file["action"], file["episode_ends"]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            n = max(int((end - start) * part), 2)
            s = state[start : start + n]
            states.append(np.column_stack([s[:, :4], np.sin(s[:, 4]), np.cos(s[:, 4])]))
            actions.append(action[start : start + n])
            lengths.append(n)
            labels.append(label)
    arrays = np.concatenate(states), np.concatenate(actions), np.array(lengths), np.array(labels)
    return split(demos_of(*arrays, ("center", "corner")), 1 / 3, seed)


def trained_agents(world: str, seed: int) -> Pile:
    """Agents trained to different stages or ends (`record_agents.py`); a third of the episodes held out."""
    with np.load(AGENTS / f"{world}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    demos = Demos(
        observations=arrays["observations"],
        actions=arrays["actions"],
        lengths=arrays["lengths"],
        terminated=np.zeros(len(arrays["lengths"]), dtype=bool),
        labels=arrays["labels"],
        label_names=tuple(str(name) for name in arrays["label_names"]),
    )
    return split(demos, 1 / 3, seed)


def reacher(seed: int, n_training: int = 100, elbow: reaching.Elbow = "nearest") -> Pile:
    """An arm with six hidden targets."""
    return reaching.reaching(n_training, 2 * seed, elbow), reaching.reaching(30, 2 * seed + 1, elbow)


def order(seed: int, n_training: int = 60) -> Pile:
    """Two objects, two places, four plans."""
    return errands.errands(n_training, 2 * seed), errands.errands(30, 2 * seed + 1)


def in_rounds(seed: int, n_training: int = 40) -> Pile:
    """Ten stations on a circle, visited in two orders."""
    return rounds.rounds(n_training, 2 * seed), rounds.rounds(20, 2 * seed + 1)


def two_discs(seed: int, n_training: int = 60) -> Pile:
    """Two discs pushed to two places, four plans."""
    return pushing.pushing(n_training, 2 * seed), pushing.pushing(30, 2 * seed + 1)


def embedded(seed: int, n_training: int = 24) -> Pile:
    """Four experts of PointGoal1 for 250 steps, seen as an encoder of pictures would show them: through 512 columns.

    Scaled observations (60 columns) go through a random layer of tanh, 256 wide, and a random linear one; every column
    has noise of its own, about a twentieth of its deviation.
    """
    training, held_out = point_goal(FOUR, n_training, seed, n_steps=250)
    mean, deviation = training.observations.mean(0), training.observations.std(0) + 1e-6
    generator = np.random.default_rng([seed, 512])
    inner = generator.normal(size=(training.observation_size, 256)) / np.sqrt(training.observation_size)
    bias, outer = generator.normal(size=256), generator.normal(size=(256, 512)) / 16

    def seen(demos: Demos) -> Demos:
        columns = np.tanh((demos.observations - mean) / deviation @ inner + bias) @ outer
        columns += 0.05 * generator.normal(size=columns.shape)
        return replace(demos, observations=columns.astype(np.float32), observation_names=())

    return seen(training), seen(held_out)


def split(demos: Demos, held_out: float, seed: int) -> Pile:
    """A share of each expert's episodes held out, drawn by the seed; the rest shuffled."""
    generator = np.random.default_rng([seed, 81])
    assert demos.labels is not None
    kept: list[int] = []
    left_out: list[int] = []
    for label in range(len(demos.label_names)):
        own = generator.permutation(np.flatnonzero(demos.labels == label))
        n_out = max(1, round(held_out * len(own)))
        left_out += own[:n_out].tolist()
        kept += own[n_out:].tolist()
    return demos.select(generator.permutation(kept)), demos.select(np.sort(left_out))


def demos_of(
    observations: np.ndarray, actions: np.ndarray, lengths: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> Demos:
    """Demonstrations without a last observation: each episode's last action is left out, since what it led to is."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    kept = np.concatenate([np.arange(start, start + n - 1) for start, n in zip(starts, lengths, strict=True)])
    return Demos(
        observations=observations.astype(np.float32),
        actions=actions[kept].astype(np.float32),
        lengths=lengths - 1,
        terminated=np.zeros(len(lengths), dtype=bool),
        labels=labels.astype(np.int64),
        label_names=names,
    )


TWO = ("goal_seeking", "forward")
FOUR = (*TWO, "circling", "hazard_seeking")
SIX = (*FOUR, "careful_goal_seeking", "slow_goal_seeking")
OTHERS = ("hazard_avoiding", "forward_turning", "careful_goal_seeking", "slow_goal_seeking")

PILES: dict[str, Callable[[int], Pile]] = {
    "two": functools.partial(point_goal, TWO, 25),
    "four": functools.partial(point_goal, FOUR, 50),
    "four_short": functools.partial(point_goal, FOUR, 25),
    "six": functools.partial(point_goal, SIX, 25, noise=0.2),
    "half_cheetah": half_cheetah,
    "push_t": push_t,
    "reacher": reacher,
    "reacher_elbows": functools.partial(reacher, elbow="either"),
    "order": order,
    "lunar_lander": functools.partial(trained_agents, "lunar_lander"),
    "unbalanced": functools.partial(point_goal, FOUR, (20, 5, 2, 1)),
    "one": functools.partial(point_goal, TWO[:1], 50),
    "others": functools.partial(point_goal, OTHERS, 25),
    "pushing": two_discs,
    "embedded": embedded,
    "hopper": functools.partial(trained_agents, "hopper"),
    "forward_turning": functools.partial(point_goal, ("forward", "forward_turning"), 25),
    "rounds": in_rounds,
}
