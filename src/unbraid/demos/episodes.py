"""Recorded episodes: `Episode` for one, `Demos` for a pile of them, both frozen and checked when made."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from operator import index as whole
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import require_generator
from unbraid.demos.fields import (
    chosen_numbers,
    kind_of,
    labels_of,
    require_flat,
    require_labels,
    require_names,
    require_rows,
    rows_of,
    said_partial,
    taken_bounds,
    taken_flag,
    taken_of_episodes,
    taken_one,
    taken_table,
)
from unbraid.demos.left_out import LARGE_SEEDS, seeds_that_fit, with_left_out

__all__ = ["Demos", "Episode", "require_demos", "split_numbers"]


@dataclass(frozen=True, eq=False, repr=False)
class Episode:
    """One recorded episode of T steps.

    Attributes:
        observations: (T + 1, obs), the last one seen after the last action.
        actions: (T, act).
        rewards: (T,), or None where none were recorded.
        costs: (T,), or None where none were recorded.
        terminated: the world ended it (as opposed to a time limit).
        seed: the seed that the world was reset with, or None.
        label: who acted, an index into `Demos.label_names`, or None. Only evaluation reads it.
    """

    observations: Float[np.ndarray, "steps_and_one obs"]
    actions: Float[np.ndarray, "step act"]
    rewards: Float[np.ndarray, "step"] | None = None
    costs: Float[np.ndarray, "step"] | None = None
    terminated: bool = False
    seed: int | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        _take_tables(self, "An episode's ")
        remedies = {
            "label": "It is an index into `label_names`: number the experts from 0 on, and give their names to "
            "Demos.from_episodes.",
            "seed": "Leave it out where the world was not reset with one.",
        }
        for name, remedy in remedies.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, taken_one(value, name, remedy))
        object.__setattr__(self, "terminated", taken_flag(self.terminated))
        require_flat(self.observations, self.actions, rows=("T + 1", "T"))
        if len(self.observations) != len(self.actions) + 1:
            raise DataError(
                "An episode must have one more observation than actions; got "
                f"{len(self.observations)} and {len(self.actions)}. Append the final observation, or drop the "
                "last action."
            )
        for name in ("rewards", "costs"):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.actions),):
                raise DataError(
                    f"An episode's {name} must be one number per action, shape ({len(self.actions)},); got "
                    f"{values.shape}. Record one per step, or leave them out."
                )

    @property
    def n_steps(self) -> int:
        """T, the number of actions."""
        return len(self.actions)

    def __repr__(self) -> str:
        """In a line: how large it is, and what is known of it."""
        known = [n for n in ("rewards", "costs") if getattr(self, n) is not None]
        told = [f"{n}={v}" for n in ("terminated", "seed", "label") if (v := getattr(self, n)) is not None]
        sizes = f"n_steps={self.n_steps}, observations={self.observations.shape}, actions={self.actions.shape}"
        return f"Episode({', '.join([sizes, *told])}{', with ' + ' and '.join(known) if known else ''})"


@dataclass(frozen=True, eq=False, repr=False)
class Demos:
    """A pile of episodes as flat arrays: episode after episode, in memory or memory-mapped.

    It is a sequence of episodes: ``len(demos)``, ``demos[0]``, ``demos[-1]``, ``for episode in demos``; and
    ``demos.select`` takes numbers, a slice or a mask.

    Attributes:
        observations: (sum of T + 1 over episodes, obs).
        actions: (sum of T over episodes, act).
        lengths: (episode,) the number of actions T of each.
        terminated: (episode,) whether the world ended it.
        rewards: (sum of T,), or None.
        costs: (sum of T,), or None.
        seeds: (episode,) the seeds that the world was reset with, or None.
        labels: (episode,) indices into `label_names`, or None. Only evaluation reads them.
        label_names: the experts' names.
        observation_names: a name for every column of `observations`, or empty.
        action_low, action_high: (act,) the actuators' bounds, or None where unknown.
        facts: what else is known of the source (JSON values), e.g. ``{"env_id": ...}``.
    """

    observations: Float[np.ndarray, "rows obs"]
    actions: Float[np.ndarray, "steps act"]
    lengths: Int[np.ndarray, "episode"]
    terminated: Bool[np.ndarray, "episode"]
    rewards: Float[np.ndarray, "steps"] | None = None
    costs: Float[np.ndarray, "steps"] | None = None
    seeds: Int[np.ndarray, "episode"] | None = None
    labels: Int[np.ndarray, "episode"] | None = None
    label_names: tuple[str, ...] = ()
    observation_names: tuple[str, ...] = ()
    action_low: Float[np.ndarray, "act"] | None = None
    action_high: Float[np.ndarray, "act"] | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        _take_tables(self, "The demonstrations' ")
        for name in ("lengths", "terminated", "seeds", "labels"):
            if (value := getattr(self, name)) is not None or name in ("lengths", "terminated"):
                object.__setattr__(self, name, taken_of_episodes(value, name))
        for name in ("label_names", "observation_names"):
            object.__setattr__(self, name, require_names(getattr(self, name), name))
        require_flat(self.observations, self.actions, rows=("rows", "steps"))
        require_rows(vars(self), self.lengths)
        for name in ("action_low", "action_high"):
            if (bound := getattr(self, name)) is None:
                continue
            if not isinstance(bound, np.ndarray):
                object.__setattr__(self, name, bound := taken_table(bound, name, "The demonstrations' "))
            if bound.shape != self.actions.shape[1:]:
                raise DataError(
                    f"`{name}` must hold one number for each of {self.actions.shape[1]} actuators; got shape "
                    f"{bound.shape}. Give all of them, or none."
                )
        if self.labels is not None:
            require_labels(self.labels, len(self.label_names))
        if self.observation_names and len(self.observation_names) != self.observations.shape[1]:
            raise DataError(
                f"`observation_names` must name all {self.observations.shape[1]} columns; got "
                f"{len(self.observation_names)} names. Name every column, or none."
            )

    @classmethod
    def from_episodes(
        cls,
        episodes: Iterable[Episode],
        *,
        label_names: Sequence[str] = (),
        observation_names: Sequence[str] = (),
        action_bounds: tuple[np.ndarray, np.ndarray] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> "Demos":
        """Lays episodes end to end. Rewards, costs, seeds and labels are kept where every episode has them; of what
        only some have, and of seeds that do not fit in 64 bits, none are kept, and `facts["left_out"]` says so. Where
        labels have no `label_names`, experts are called by their numbers.

        Raises:
            DataError: no episodes, what is no episode, or episodes of different widths.
        """
        if isinstance(episodes, str) or not isinstance(episodes, Iterable):
            raise DataError(f"Demonstrations must be made of Episodes; got {kind_of(episodes)}. Give a list of them.")
        episodes = list(episodes)
        strangers = [e for e in episodes if not isinstance(e, Episode)]
        if strangers:
            raise DataError(f"Demonstrations must be made of Episodes; got {kind_of(strangers[0])}. Make an Episode.")
        if not episodes:
            raise DataError("Demonstrations must hold at least one episode; got none. Record or select some.")
        widths = {(e.observations.shape[1], e.actions.shape[1]) for e in episodes}
        if len(widths) > 1:
            odd = next(
                i
                for i, e in enumerate(episodes)
                if e.observations.shape[1:] != episodes[0].observations.shape[1:]
                or e.actions.shape[1:] != episodes[0].actions.shape[1:]
            )
            raise DataError(
                "All episodes must have the same widths of observation and action; episode 0 has "
                f"{episodes[0].observations.shape[1]} and {episodes[0].actions.shape[1]}, episode {odd} has "
                f"{episodes[odd].observations.shape[1]} and {episodes[odd].actions.shape[1]}. Load them apart."
            )

        def joined(name: str) -> np.ndarray | None:
            parts = [getattr(e, name) for e in episodes]
            return None if any(p is None for p in parts) else np.concatenate(parts)

        low, high = (None, None) if action_bounds is None else taken_bounds(action_bounds)
        labels, names = labels_of([e.label for e in episodes], require_names(label_names, "label_names"))
        left_out = said_partial(episodes)
        seeds = [e.seed for e in episodes if e.seed is not None]
        kept_seeds = seeds_that_fit(seeds) if len(seeds) == len(episodes) else None
        if kept_seeds is None and len(seeds) == len(episodes):
            left_out.append(LARGE_SEEDS)
        return cls(
            observations=np.concatenate([e.observations for e in episodes]),
            actions=np.concatenate([e.actions for e in episodes]),
            lengths=np.array([e.n_steps for e in episodes], dtype=np.int64),
            terminated=np.array([e.terminated for e in episodes], dtype=bool),
            rewards=joined("rewards"),
            costs=joined("costs"),
            seeds=kept_seeds,
            labels=labels,
            label_names=names,
            observation_names=require_names(observation_names, "observation_names"),
            action_low=low,
            action_high=high,
            facts=with_left_out(facts or {}, *left_out) if left_out else facts or {},
        )

    @property
    def n_episodes(self) -> int:
        """The number of episodes."""
        return len(self.lengths)

    @property
    def n_steps(self) -> int:
        """The number of actions in all."""
        return len(self.actions)

    @property
    def observation_size(self) -> int:
        """The width of an observation."""
        return self.observations.shape[1]

    @property
    def action_size(self) -> int:
        """The width of an action."""
        return self.actions.shape[1]

    @cached_property
    def step_starts(self) -> Int[np.ndarray, "episode_and_one"]:
        """(episode + 1,) where each episode's actions start; the last entry is `n_steps`."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @cached_property
    def row_starts(self) -> Int[np.ndarray, "episode_and_one"]:
        """(episode + 1,) where each episode's observations start."""
        return self.step_starts + np.arange(self.n_episodes + 1)

    @cached_property
    def episode_of_step(self) -> Int[np.ndarray, "steps"]:
        """(steps,) the episode that each action belongs to."""
        return np.repeat(np.arange(self.n_episodes), self.lengths)

    @cached_property
    def row_of_step(self) -> Int[np.ndarray, "steps"]:
        """(steps,) the row of `observations` that each action was taken on: one definition, so that a state is never
        paired with another step's action."""
        return np.arange(self.n_steps) + self.episode_of_step

    def episode(self, index: SupportsIndex) -> Episode:
        """One episode, as views of the flat arrays; `demos[-1]` counts from the end, too."""
        number = taken_one(index, "number", "Number episodes from 0 on.")
        if not 0 <= number < self.n_episodes:
            raise DataError(f"The episode must lie in [0, {self.n_episodes}); got {number}. Choose one that exists.")
        steps = slice(int(self.step_starts[number]), int(self.step_starts[number + 1]))
        rows = slice(int(self.row_starts[number]), int(self.row_starts[number + 1]))
        return Episode(
            observations=self.observations[rows],
            actions=self.actions[steps],
            rewards=None if self.rewards is None else self.rewards[steps],
            costs=None if self.costs is None else self.costs[steps],
            terminated=bool(self.terminated[number]),
            seed=None if self.seeds is None else int(self.seeds[number]),
            label=None if self.labels is None else int(self.labels[number]),
        )

    def __len__(self) -> int:
        return self.n_episodes

    def __bool__(self) -> bool:
        """True, whatever it holds: `demos or other` asks whether there are demonstrations at all."""
        return True

    def __getitem__(self, index: SupportsIndex) -> Episode:
        """One episode; negative numbers count from the end, as in a list."""
        try:
            number = whole(index)
        except TypeError:
            raise DataError(
                f"An episode must be asked for by its number; got {index!r:.80}. Take several with `select`, which "
                "takes numbers, a slice or a mask."
            ) from None
        if not -self.n_episodes <= number < self.n_episodes:
            raise IndexError(  # as a list's, which ends loops
                f"The episode must lie in [{-self.n_episodes}, {self.n_episodes}); got {number}. Choose one of these."
            )
        return self.episode(number % self.n_episodes)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(i) for i in range(self.n_episodes))

    def __repr__(self) -> str:
        """In a line: how large it is, and what is known of it."""
        known = [n for n in ("rewards", "costs", "seeds", "labels") if getattr(self, n) is not None]
        return (
            f"Demos(n_episodes={self.n_episodes}, n_steps={self.n_steps}, observation_size={self.observation_size}, "
            f"action_size={self.action_size}{', with ' + ', '.join(known) if known else ''})"
        )

    def select(
        self, episodes: Sequence[int] | Int[np.ndarray, "chosen"] | Bool[np.ndarray, "episode"] | slice
    ) -> "Demos":
        """The chosen episodes, copied; `unbraid.demos.selection.Selection` copies nothing.

        Args:
            episodes: their numbers, in any order; a slice; or (episode,) true for those that are meant.

        Raises:
            DataError: episodes that do not exist, or not a true or false for each.
        """
        chosen = chosen_numbers(episodes, self.n_episodes)
        steps = rows_of(self.step_starts, chosen)
        return replace(
            self,
            observations=self.observations[rows_of(self.row_starts, chosen)],
            actions=self.actions[steps],
            lengths=self.lengths[chosen],
            terminated=self.terminated[chosen],
            rewards=None if self.rewards is None else self.rewards[steps],
            costs=None if self.costs is None else self.costs[steps],
            seeds=None if self.seeds is None else self.seeds[chosen],
            labels=None if self.labels is None else self.labels[chosen],
        )

    def shuffled(self, generator: np.random.Generator) -> "Demos":
        """The same episodes in random order: nothing in the order says who acted."""
        require_generator(generator)
        return self.select(generator.permutation(self.n_episodes))

    def without_labels(self) -> "Demos":
        """The same episodes, with nobody saying who acted: what the learner is given."""
        return replace(self, labels=None, label_names=())

    def split(self, *, held_out: float, generator: np.random.Generator) -> tuple["Demos", "Demos"]:
        """Splits by episode, never by step: (training, held out).

        Args:
            held_out: the share of episodes held out, in (0, 1); at least one episode stays on either side. Episodes
                of no steps are not held out: nothing could be scored on them.
            generator: draws the episodes.

        Raises:
            ConfigError: another share, fewer than two episodes with steps, or no generator.
        """
        training, left_out = split_numbers(self, held_out=held_out, generator=generator)
        return self.select(training), self.select(left_out)

    def fingerprint(self) -> str:
        """SHA-256 of what the learner sees (observations, actions, lengths, ends), in hex; not of labels."""
        digest = hashlib.sha256()
        for values in (self.observations, self.actions, self.lengths, self.terminated):
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            for start in range(0, len(values), 65536):
                digest.update(np.ascontiguousarray(values[start : start + 65536]).tobytes())
        return digest.hexdigest()


def require_demos(given: object, *others: type) -> None:
    """Raises `DataError` where something is no `Demos`, nor of one of the other kinds that will do."""
    if isinstance(given, (Demos, *others)):
        return
    raise DataError(
        f"Demonstrations must be Demos; got {kind_of(given)}. Load a file with load_demos, or lay episodes end to end "
        "with Demos.from_episodes."
    )


def _take_tables(holder: "Episode | Demos", whose: str) -> None:
    """Makes the tables of steps arrays of numbers, or refuses them."""
    for name in ("observations", "actions", "rewards", "costs"):
        value = getattr(holder, name)
        if value is not None or name in ("observations", "actions"):
            values = taken_table(value, name, whose)
            if values is not value:
                object.__setattr__(holder, name, values)


def split_numbers(
    demos: Demos, *, held_out: float, generator: np.random.Generator
) -> tuple[Int[np.ndarray, "training"], Int[np.ndarray, "held_out"]]:
    """The numbers of the episodes on either side of a split, rising: see `Demos.split`."""
    require_generator(generator)
    with_steps = np.flatnonzero(demos.lengths)
    n_episodes = len(with_steps)
    if not isinstance(held_out, Real) or not 0 < held_out < 1 or n_episodes < 2:  # pyright: ignore[reportUnnecessaryIsInstance]
        without = f", and {demos.n_episodes - n_episodes} without a step" if n_episodes < demos.n_episodes else ""
        raise ConfigError(
            f"A split needs a share in (0, 1) and at least 2 episodes; got {held_out!r:.40} and {n_episodes}{without}. "
            "Choose another share, or record more."
        )
    order = with_steps[generator.permutation(n_episodes)]
    n_held = min(max(round(held_out * n_episodes), 1), n_episodes - 1)
    left_out = np.sort(order[:n_held])
    return np.setdiff1d(np.arange(demos.n_episodes), left_out), left_out
