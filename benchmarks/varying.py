"""Episodes of experts that vary within themselves: each is driven at a speed of its own, which nobody is told."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from unbraid.core.randomness import named_generator, named_seed
from unbraid.demos.episodes import Demos
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import ACTION_NOISE, make_expert
from unbraid.worlds.rollout import rollout

__all__ = ["SLOWEST", "SPEED", "TOP", "mean_speeds", "varying"]

SPEED = "speed_of_episode"
"""The name, in the facts of demonstrations, of what nobody is told: the share of top speed at which each is driven."""
SLOWEST, TOP = 0.25, 0.95
_FULL_THROTTLE = 0.6  # of the experts


@dataclass(frozen=True, eq=False)
class _AtSpeed:
    """An expert whose throttle is scaled in each row, with the noise of every expert.

    The actuator's force saturates far below the noise, so that on average it is 2 Phi(throttle / noise) - 1 of the
    most: the throttle that gives a share of the top speed follows from that.

    Attributes:
        expert: without noise and without memory.
        speeds: (env,) the share of the top speed at full throttle.
    """

    expert: Controller
    speeds: Float[np.ndarray, "env"]

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        """Throttle and turn."""
        means, _ = self.expert.act(observations, None, episode_start, np.zeros_like(noise))
        throttle = ACTION_NOISE * np.array([NormalDist().inv_cdf((1 + speed) / 2) for speed in self.speeds])
        scaled = means * np.column_stack([throttle / _FULL_THROTTLE, np.ones(len(throttle))])
        return np.clip(scaled + ACTION_NOISE * noise, -1.0, 1.0), None


def varying(names: tuple[str, ...], n_of_each: int, seed: int, *, n_steps: int = 500) -> Demos:
    """Every expert in PointGoal1, each episode at a speed between a quarter and nearly all of its top speed.

    Args:
        names: the experts.
        n_of_each: episodes of each.
        seed: decides the episodes and the speeds.
        n_steps: steps in an episode.
    """
    draws = named_generator(seed, "speeds")
    seeds = draws.choice(2**31, size=(len(names), n_of_each), replace=False)
    episodes, speeds = [], []
    for label, (name, own) in enumerate(zip(names, seeds, strict=True)):
        at = draws.uniform(SLOWEST, TOP, size=n_of_each)
        run = rollout(
            _AtSpeed(make_expert(name, action_noise=0.0), at),
            "unbraid/PointGoal1-v0",
            seeds=own.tolist(),
            max_steps=n_steps,
            n_envs=n_of_each,  # all side by side, so that each row keeps its speed
            noise_seed=named_seed(seed, "noise"),
        )
        episodes += [replace(episode, label=label) for episode in run.demos]
        speeds += at.tolist()
    order = draws.permutation(len(episodes))
    return Demos.from_episodes(
        [episodes[i] for i in order], label_names=names, facts={SPEED: [speeds[i] for i in order]}
    )


def mean_speeds(demos: Demos) -> Float[np.ndarray, "episode"]:
    """(episode,) the mean speed of the robot in m/s, as its velocimeter says."""
    velocity = demos.observations[demos.row_of_step, 3:5].astype(np.float64)
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    return np.bincount(demos.episode_of_step, speed, minlength=demos.n_episodes) / demos.lengths
