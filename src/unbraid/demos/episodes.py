"""Recorded episodes: `Episode` for one, `Demos` for a pile of them, both frozen and checked when made."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.left_out import LARGE_SEEDS, seeds_that_fit, with_left_out

__all__ = ["Demos", "Episode", "require_demos", "require_labels", "require_rows", "split_numbers"]

_NUMBERS = "biuf"
"""NumPy's kinds of numbers: of true and false, whole ones, and decimals."""


@dataclass(frozen=True, eq=False)
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
        _take_arrays(self, "An episode's ")
        if self.label is not None and not isinstance(self.label, Integral):
            raise DataError(
                f"An episode's label must be a whole number, an index into `label_names`; got {self.label!r:.80}. "
                "Number the experts from 0 on, and give their names to Demos.from_episodes."
            )
        if self.observations.ndim != 2 or self.actions.ndim != 2:
            raise DataError(
                "An episode's observations and actions must be (T + 1, obs) and (T, act); got shapes "
                f"{self.observations.shape} and {self.actions.shape}. Flatten what has more axes."
            )
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


@dataclass(frozen=True, eq=False)
class Demos:
    """A pile of episodes as flat arrays: episode after episode, in memory or memory-mapped.

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
        _take_arrays(self, "The demonstrations' ")
        if self.observations.ndim != 2 or self.actions.ndim != 2:
            raise DataError(
                "Observations and actions must be flat tables (row, column); got shapes "
                f"{self.observations.shape} and {self.actions.shape}. Flatten what has more axes."
            )
        require_rows(vars(self), self.lengths)
        for name in ("action_low", "action_high"):
            bound = getattr(self, name)
            if bound is not None and bound.shape != self.actions.shape[1:]:
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
        episodes: Sequence[Episode],
        *,
        label_names: Sequence[str] = (),
        observation_names: Sequence[str] = (),
        action_bounds: tuple[np.ndarray, np.ndarray] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> "Demos":
        """Lays episodes end to end. Rewards, costs, seeds and labels are kept where every episode has them; seeds that
        do not fit in 64 bits are left out, and `facts["left_out"]` says so. Where labels have no `label_names`, experts
        are called by their numbers.

        Raises:
            DataError: no episodes, what is no episode, or episodes of different widths.
        """
        strangers = [e for e in episodes if not isinstance(e, Episode)]
        if strangers:
            raise DataError(f"Demonstrations must be made of Episodes; got {_kind_of(strangers[0])}. Make an Episode.")
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

        labels, names = _labels_of([e.label for e in episodes], label_names)
        seeds = [e.seed for e in episodes if e.seed is not None]
        kept_seeds = seeds_that_fit(seeds) if len(seeds) == len(episodes) else None
        if kept_seeds is None and len(seeds) == len(episodes):
            facts = with_left_out(facts or {}, LARGE_SEEDS)
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
            observation_names=tuple(observation_names),
            action_low=None if action_bounds is None else np.asarray(action_bounds[0], dtype=np.float64),
            action_high=None if action_bounds is None else np.asarray(action_bounds[1], dtype=np.float64),
            facts=facts or {},
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

    def episode(self, index: int) -> Episode:
        """One episode, as views of the flat arrays."""
        if not 0 <= index < self.n_episodes:
            raise DataError(f"The episode must lie in [0, {self.n_episodes}); got {index}. Choose one that exists.")
        steps = slice(int(self.step_starts[index]), int(self.step_starts[index + 1]))
        rows = slice(int(self.row_starts[index]), int(self.row_starts[index + 1]))
        return Episode(
            observations=self.observations[rows],
            actions=self.actions[steps],
            rewards=None if self.rewards is None else self.rewards[steps],
            costs=None if self.costs is None else self.costs[steps],
            terminated=bool(self.terminated[index]),
            seed=None if self.seeds is None else int(self.seeds[index]),
            label=None if self.labels is None else int(self.labels[index]),
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(i) for i in range(self.n_episodes))

    def select(self, episodes: Sequence[int] | Int[np.ndarray, "chosen"]) -> "Demos":
        """The chosen episodes in the given order, copied; `unbraid.demos.selection.Selection` copies nothing."""
        chosen = np.asarray(episodes, dtype=np.int64)
        out_of_range = (chosen < 0) | (chosen >= self.n_episodes)
        if out_of_range.any():
            raise DataError(
                f"Episodes must lie in [0, {self.n_episodes}); got {chosen[out_of_range][0]}. Choose some that exist."
            )
        steps = _rows(self.step_starts, chosen)
        return replace(
            self,
            observations=self.observations[_rows(self.row_starts, chosen)],
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
        f"Demonstrations must be Demos; got {_kind_of(given)}. Load a file with load_demos, or lay episodes end to end "
        "with Demos.from_episodes."
    )


def _kind_of(value: object) -> str:
    """What something is, for a message: "a list of Episode", "the text 'runs/pile'"."""
    if isinstance(value, str | PathLike):
        return f"the path {str(value)!r:.80}"
    kind = type(value).__name__
    if isinstance(value, list | tuple) and value:
        kind += f" of {type(value[0]).__name__}"
    return "None" if value is None else f"{'an' if kind[0] in 'AEIOUaeiou' or kind == 'ndarray' else 'a'} {kind}"


def _take_arrays(holder: "Episode | Demos", whose: str) -> None:
    """Makes arrays of lists of numbers, and refuses what is none; arrays stay what they are, mapped ones too."""
    for name in ("observations", "actions", "rewards", "costs"):
        value = getattr(holder, name)
        if value is None and name in ("rewards", "costs"):
            continue
        try:
            values = value if isinstance(value, np.ndarray) else np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths; a tensor on a GPU
            raise DataError(f"{whose}{name} must be an array of numbers; {error}. Give every row as many.") from None
        if values.dtype.kind not in _NUMBERS:
            raise DataError(
                f"{whose}{name} must be an array of numbers; got {_kind_of(value)} of {values.dtype}. Convert it, as "
                "with numpy.asarray(..., dtype=numpy.float64)."
            )
        if values is not value:
            object.__setattr__(holder, name, values)


def _labels_of(
    labels: Sequence[int | None], names: Sequence[str]
) -> tuple[Int[np.ndarray, "episode"] | None, tuple[str, ...]]:
    """(episode,) the labels where every episode has one, and the names; without any, each number is a name."""
    if any(label is None for label in labels):
        return None, tuple(names)
    numbers = np.asarray(labels, dtype=np.int64)
    if names or (numbers < 0).any():  # which is refused
        return numbers, tuple(names)
    distinct, indices = np.unique(numbers, return_inverse=True)
    return indices.reshape(-1).astype(np.int64), tuple(str(number) for number in distinct.tolist())


def split_numbers(
    demos: Demos, *, held_out: float, generator: np.random.Generator
) -> tuple[Int[np.ndarray, "training"], Int[np.ndarray, "held_out"]]:
    """The numbers of the episodes on either side of a split, rising: see `Demos.split`."""
    with_steps = np.flatnonzero(demos.lengths)
    n_episodes = len(with_steps)
    if not 0 < held_out < 1 or n_episodes < 2:
        without = f", and {demos.n_episodes - n_episodes} without a step" if n_episodes < demos.n_episodes else ""
        raise ConfigError(
            f"A split needs a share in (0, 1) and at least 2 episodes; got {held_out} and {n_episodes}{without}. "
            "Choose another share, or record more."
        )
    order = with_steps[generator.permutation(n_episodes)]
    n_held = min(max(round(held_out * n_episodes), 1), n_episodes - 1)
    left_out = np.sort(order[:n_held])
    return np.setdiff1d(np.arange(demos.n_episodes), left_out), left_out


def require_labels(labels: Int[np.ndarray, "episode"], n_names: int) -> None:
    """Raises `DataError` where a label is no index into so many names of experts."""
    astray = np.flatnonzero((labels < 0) | (labels >= n_names))
    if len(astray) == 0:
        return
    episode = int(astray[0])
    if labels[episode] < 0:
        raise DataError(
            f"`labels` must not be negative; episode {episode} has {labels[episode]}. Drop `labels` where it is not "
            "known of every episode who acted: nothing is learned from them."
        )
    there = f"lie in [0, {n_names}), one for every name in" if n_names else "be named in"
    raise DataError(
        f"`labels` must {there} `label_names`; episode {episode} has {labels[episode]}"
        f"{'' if n_names else ', and there are no names'}. Name every expert, or drop `labels`."
    )


def require_rows(arrays: Mapping[str, Any], lengths: Int[np.ndarray, "episode"]) -> None:
    """Raises `DataError` where an array has not the rows that (episode,) `lengths` ask of the array of its name."""
    if (lengths < 0).any():
        episode = int((lengths < 0).argmax())
        raise DataError(
            f"Every episode must have 0 steps or more; `lengths` gives episode {episode} {lengths[episode]}. Repair "
            "`lengths`."
        )
    n_episodes, n_steps = len(lengths), int(lengths.sum())
    rows = {"observations": n_steps + n_episodes, "actions": n_steps, "rewards": n_steps, "costs": n_steps}
    rows |= {"terminated": n_episodes, "seeds": n_episodes, "labels": n_episodes}
    for name, expected in rows.items():
        values = arrays.get(name)
        if values is not None and len(values) != expected:
            raise DataError(
                f"`{name}` must have {expected} rows for {n_episodes} episodes of {n_steps} steps in all "
                f"(observations have one row more than actions in every episode); got {len(values)}. "
                "Repair `lengths`, or append the final observations."
            )


def _rows(starts: Int[np.ndarray, "episode_and_one"], chosen: Int[np.ndarray, "chosen"]) -> Int[np.ndarray, "row"]:
    """The flat rows of the chosen episodes, in order."""
    lengths = starts[chosen + 1] - starts[chosen]
    offsets = np.repeat(starts[chosen] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return offsets + np.arange(lengths.sum())
