"""Episodes in which one expert takes over from another at a step that nobody is told."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.randomness import named_generator, named_seed
from unbraid.demos.episodes import Demos
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

__all__ = ["EXPERT", "TakingOver", "changing", "spliced"]


EXPERT = "expert_of_step"
"""The name, in the facts of demonstrations, of what nobody is told: the expert of every step."""


@dataclass(frozen=True, eq=False)
class TakingOver:
    """The first controller until a step of each row's own, then the second; neither has a memory.

    Attributes:
        first, second: who acts.
        at: (env,) the step of the first action of the second.
    """

    first: Controller
    second: Controller
    at: Int[np.ndarray, "env"]

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        """The memory is the number of steps taken."""
        taken = np.zeros(len(observations)) if state is None else np.where(episode_start, 0.0, state[:, 0])
        first, _ = self.first.act(observations, None, episode_start, noise)
        second, _ = self.second.act(observations, None, episode_start, noise)
        return np.where((taken < self.at[: len(taken)])[:, None], first, second), taken[:, None] + 1


def changing(
    names: tuple[str, ...], n_of_each: int, seed: int, *, only_second: str | None = None, n_steps: int = 500
) -> Demos:
    """Every expert takes over from every other, in PointGoal1, at a step between a fifth and four fifths.

    Args:
        names: the experts.
        n_of_each: episodes of each ordered pair.
        seed: decides the episodes and the steps.
        only_second: an expert that takes over from others, and never comes first.
        n_steps: steps in an episode.
    """
    pairs = [(a, b) for a in range(len(names)) for b in range(len(names)) if a != b and names[a] != only_second]
    draws = named_generator(seed, "changes")
    seeds = draws.choice(2**31, size=(len(pairs), n_of_each), replace=False)
    episodes, modes = [], []
    for (a, b), own in zip(pairs, seeds, strict=True):
        at = draws.integers(n_steps // 5, 4 * n_steps // 5, size=n_of_each)
        controller = TakingOver(make_expert(names[a]), make_expert(names[b]), at)
        noise_seed = named_seed(seed, "noise")
        run = rollout(
            controller,
            "unbraid/PointGoal1-v0",
            seeds=own.tolist(),
            max_steps=n_steps,
            n_envs=n_of_each,
            noise_seed=noise_seed,
        )
        episodes += list(run.demos)
        modes += [np.where(np.arange(n_steps) < step, a, b) for step in at]
    order = draws.permutation(len(episodes))
    facts = {EXPERT: np.concatenate([modes[i] for i in order]).tolist(), "experts": names}
    return Demos.from_episodes([replace(episodes[i], label=None) for i in order], facts=facts)


def spliced(demos: Demos, seed: int) -> Demos:
    """The beginning of an episode of one expert, and the end of an episode of another, cut at one step of both.

    Every episode is the beginning of one and the end of one; which goes with which is drawn, and so is the step,
    between a fifth and four fifths of the shorter.

    Args:
        demos: labelled episodes, as many of each expert.
        seed: decides all that is drawn.
    """
    assert demos.labels is not None
    draws = named_generator(seed, "splices")
    partner = draws.permutation(demos.n_episodes)
    while len(alike := np.flatnonzero(demos.labels[partner] == demos.labels)):
        for i, j in zip(alike, draws.integers(demos.n_episodes, size=len(alike)), strict=True):
            partner[[i, j]] = partner[[j, i]]
    whole = list(demos)
    episodes, modes = [], []
    for first, second in enumerate(partner):
        a, b = whole[first], whole[int(second)]
        n = min(a.n_steps, b.n_steps)
        at = int(draws.integers(n // 5, 4 * n // 5))
        episodes.append(
            replace(
                a,
                observations=np.concatenate([a.observations[:at], b.observations[at : n + 1]]),
                actions=np.concatenate([a.actions[:at], b.actions[at:n]]),
                rewards=None,
                costs=None,
                label=None,
                seed=None,
            )
        )
        modes.append(np.where(np.arange(n) < at, demos.labels[first], demos.labels[second]))
    facts = {EXPERT: np.concatenate(modes).tolist(), "experts": demos.label_names}
    return Demos.from_episodes(episodes, facts=facts)
