"""Lets a controller act: one episode per seed, many side by side, in any Gymnasium environment.

An episode depends on its own seed alone: the world is reset with it, the action noise is drawn from a generator of its
own, and the controllers see no more than the rows they are given. So the same episodes come out of 1, 3 or 64
environments side by side.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import UnbraidError, WorldError
from unbraid.core.numbers import require_whole
from unbraid.core.randomness import named_generator
from unbraid.core.shapes import first_bad_row
from unbraid.demos.altered import environment_facts
from unbraid.demos.episodes import Demos, Episode
from unbraid.worlds.controllers import Controller, as_controller
from unbraid.worlds.making import World, altered_of, make_worlds, name_of, spec_of, step_limit
from unbraid.worlds.telling import EVENTS, FLOAT32_HOLDS, LAYOUT, STATES, successes_told, velocity_reader

__all__ = ["Rollouts", "first_noise", "require_limits", "rollout"]

_NOISE_STEPS = 256  # drawn at once for an episode; the stream does not depend on it


@dataclass(frozen=True, eq=False, repr=False)
class Rollouts:
    """Episodes that we produced.

    Attributes:
        demos: the episodes, in the order of the seeds; actions as executed (clipped). Observations and actions are
            float32, or float64 where their space is: what lies far from 0 is not rounded away. (PointGoal's, which
            never do, are float32.) Rewards and costs are float64.
        tracks: one dict per episode, of what the world told: `robot_xy`, `goal_xy` (T + 1, 2) and
            `robot_heading_rad` (T + 1,) where reset tells them too; `goal_reached`, `cost_hazards`, `cost_vases` (T,);
            `hazards_xy`, `vases_xy` (n, 2) as they were laid out; `actuator_velocity` (T, act) at the end of every
            step, and `success` (), whether the episode ended in success, where the world tells (see
            `unbraid.worlds.telling`). Empty for worlds that tell nothing.
    """

    demos: Demos
    tracks: tuple[dict[str, np.ndarray], ...]

    def __repr__(self) -> str:
        return f"Rollouts({self.demos.n_episodes} episodes, {self.demos.n_steps} steps)"


def rollout(
    controller: Any,
    env_id: World,
    *,
    seeds: Sequence[int],
    max_steps: int | None = None,
    n_envs: int = 64,
    noise_seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Rollouts:
    """Runs one episode per seed.

    Args:
        controller: who acts: a controller, anything with Stable-Baselines3's `predict`, asked for its deterministic
            action, or a function of the observations (env, obs).
        env_id: any Gymnasium environment with vectors of numbers as observations and as actions; a
            `gymnasium.spec` with changed `kwargs` where the environment takes arguments; or a function that makes a
            new one at each call.
        seeds: one reset seed per episode; equal seeds give equal episodes.
        max_steps: the most steps per episode; the environment's own limit holds beside it.
        n_envs: the most environments side by side; the episodes do not depend on it.
        noise_seed: seeds the action noise, together with the episode's own seed.
        on_progress: called after every step with the number of steps done so far in all episodes.

    Raises:
        WorldError: the environment does not exist, does not fit or raises, there are no seeds, or the controller's
            actions do not fit the environment.
        ConfigError: a limit of steps, or a number of environments, that is no whole number of at least 1.
    """
    seeds, acting = _checked_seeds(seeds), as_controller(controller)
    require_limits(max_steps, n_envs)
    spec = spec_of(env_id)
    limit = step_limit(spec, max_steps)
    # As few waves as n_envs allows, and equal ones: 100 episodes in 64 environments run as 50 and 50.
    n_slots = math.ceil(len(seeds) / math.ceil(len(seeds) / n_envs))
    worlds = make_worlds(spec, n_slots)
    try:
        run = _Run(acting, worlds, seeds=seeds, max_steps=limit, noise_seed=noise_seed)
        n_done = 0
        while run.is_live:
            n_done += run.step()
            if on_progress is not None:
                on_progress(n_done)
    finally:
        worlds.close()
    differs = None if isinstance(env_id, str) else altered_of(spec)
    return run.rollouts(environment_facts(name_of(env_id, spec), differs))


def require_limits(max_steps: int | None, n_envs: int) -> None:
    """Raises `ConfigError` for a limit of steps, or a number of environments, that is no whole number from 1 on."""
    require_whole("`n_envs`", n_envs)
    if max_steps is not None:
        require_whole("`max_steps`", max_steps)


def first_noise(seeds: Sequence[int], action_size: int, *, noise_seed: int = 0) -> Float[np.ndarray, "episode act"]:
    """(episode, act) the action noise of the first step of every episode that `rollout` runs on some seeds."""
    return np.stack([_noise_of(noise_seed, int(seed)).standard_normal(action_size) for seed in seeds])


def _noise_of(noise_seed: int, episode_seed: int) -> np.random.Generator:
    return named_generator(noise_seed, "noise", episode_seed)


def _checked_seeds(seeds: Any) -> list[int]:
    if not isinstance(seeds, Sequence | np.ndarray) or not all(isinstance(seed, int | np.integer) for seed in seeds):
        raise WorldError(f"Seeds must be a list of integers, one per episode; got {seeds!r:.40}. Write seeds=[0, 1].")
    if len(seeds) == 0:
        raise WorldError("A rollout needs at least one seed; got none. Give one seed per episode.")
    if min(seeds) < 0:
        raise WorldError(f"Seeds must be >= 0; got {min(seeds)}. Give others.")
    return [int(seed) for seed in seeds]


def _kept_as(space: Any, metadata: Mapping[str, Any]) -> np.dtype:
    """In which type the rows of a space are kept: float64 where float32 could not hold them, or the environment's
    `metadata` does not say that it can."""
    if space.dtype.kind == "f":
        fits = space.dtype.itemsize <= 4 or bool(metadata.get(FLOAT32_HOLDS))
    else:
        fits = bool(np.abs([space.low.astype(np.float64), space.high.astype(np.float64)]).max(initial=0.0) <= 2**24)
    return np.dtype(np.float32 if fits else np.float64)


def _action_bounds(worlds: VectorEnv[Any, Any, Any]) -> tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]]:
    space: Any = worlds.single_action_space
    return space.low, space.high


class _Tape:
    """What was seen in every slot since its episode began: name -> (slot, step, ...), growing as needed."""

    def __init__(self, n_slots: int, n_steps: int) -> None:
        self._n_slots = n_slots
        self._n_steps = n_steps
        self._fields: dict[str, np.ndarray] = {}

    def write(self, name: str, at: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> None:
        """Writes rows of `values` at (slots, steps)."""
        kept = self._fields.get(name)
        if kept is None:
            kept = np.zeros((self._n_slots, self._n_steps, *values.shape[1:]), values.dtype)
        while at[1].max() >= kept.shape[1]:  # more than once where a field is first told late in an episode
            kept = np.concatenate([kept, np.zeros_like(kept)], axis=1)
        kept[at] = values
        self._fields[name] = kept

    def write_told(self, names: Sequence[str], at: tuple[np.ndarray, np.ndarray], infos: Mapping[str, Any]) -> None:
        """Writes what `infos` tells of `names`; what it told before and does not tell now is zero."""
        for name in names:
            values = np.asarray(infos[name])[at[0]] if name in infos else np.empty((), dtype=object)
            if values.dtype != object:
                self.write(name, at, values.astype(np.float64) if np.issubdtype(values.dtype, np.number) else values)
            elif name in self._fields:
                kept = self._fields[name]
                self.write(name, at, np.zeros((len(at[0]), *kept.shape[2:]), kept.dtype))

    def has(self, name: str) -> bool:
        return name in self._fields

    def cut(self, name: str, slot: int, n_steps: int) -> np.ndarray:
        """A copy of a slot's first `n_steps` rows."""
        return self._fields[name][slot, :n_steps].copy()


class _Noise:
    """Standard normals, (slot, act), from one generator per episode."""

    def __init__(self, n_slots: int, action_size: int, seed: int) -> None:
        self._seed = seed
        self._generators: list[np.random.Generator] = [named_generator(seed)] * n_slots
        self._block = np.zeros((n_slots, _NOISE_STEPS, action_size))

    def begin(self, slot: int, episode_seed: int) -> None:
        self._generators[slot] = _noise_of(self._seed, episode_seed)

    def draw(self, slots: Int[np.ndarray, "live"], steps: Int[np.ndarray, "live"]) -> Float[np.ndarray, "live act"]:
        """The draws for these slots' steps, each of which is 0 or one more than the last."""
        within = steps % _NOISE_STEPS
        for slot in slots[within == 0].tolist():
            self._block[slot] = self._generators[slot].standard_normal(self._block.shape[1:])
        return self._block[slots, within]


class _Run:
    """Episodes in the making: a queue of seeds over slots that hold one environment each."""

    def __init__(
        self,
        controller: Controller,
        worlds: Any,
        *,
        seeds: list[int],
        max_steps: int | None,
        noise_seed: int,
    ) -> None:
        n_slots, n_rows = worlds.num_envs, min(max_steps or 1023, 1023) + 1
        self._controller, self._worlds, self._seeds, self._max_steps = controller, worlds, seeds, max_steps
        self._bounds = _action_bounds(worlds)
        spaces = (worlds.single_observation_space, worlds.single_action_space)
        self._seen_as, self._done_as = (_kept_as(space, worlds.metadata) for space in spaces)
        self._tape = _Tape(n_slots, n_rows)
        self._noise = _Noise(n_slots, len(self._bounds[0]), noise_seed)
        self._episode = np.arange(n_slots)  # which episode a slot holds; -1 where the queue had none left
        self._steps = np.zeros(n_slots, dtype=np.int64)
        self._memory: np.ndarray | None = None
        self._n_queued = n_slots
        self._done: dict[int, tuple[Episode, dict[str, np.ndarray]]] = {}
        self._layouts: dict[int, dict[str, np.ndarray]] = {}
        self._observations, infos = worlds.reset(seed=seeds[:n_slots])
        self._velocities = velocity_reader(worlds, len(self._bounds[0]))
        self._begin(np.arange(n_slots), infos)

    @property
    def is_live(self) -> bool:
        return len(self._done) < len(self._seeds)

    def step(self) -> int:
        """One step of every episode that is under way; returns how many that were."""
        slots = np.flatnonzero(self._episode >= 0)
        now = (slots, self._steps[slots])
        actions = np.zeros((len(self._episode), len(self._bounds[0])), dtype=self._bounds[0].dtype)
        actions[slots] = self._act(slots).astype(self._done_as)  # rounded first: what is recorded is what was executed
        actions = np.clip(actions, *self._bounds)
        self._observations, rewards, terminated, truncated, infos = self._worlds.step(actions)
        self._steps += 1
        self._tape.write("action", now, actions[slots].astype(self._done_as))
        self._tape.write("reward", now, np.asarray(rewards, dtype=np.float64)[slots])
        self._tape.write_told(("cost", *EVENTS), now, infos)
        if self._velocities is not None:
            self._tape.write("actuator_velocity", now, self._velocities()[slots])
        self._look(slots, infos)
        ended = np.asarray(terminated | truncated)
        if self._max_steps is not None:
            ended |= self._steps >= self._max_steps
        if ended.any():
            told = successes_told(infos)
            for slot in np.flatnonzero(ended & (self._episode >= 0)).tolist():
                self._finish(slot, terminated=bool(terminated[slot]), success=told.get(slot))
            if self.is_live:
                self._restart(ended)
        return len(slots)

    def _act(self, slots: Int[np.ndarray, "live"]) -> Float[np.ndarray, "live act"]:
        observations = self._observations[slots]
        if not np.issubdtype(observations.dtype, np.floating):
            observations = observations.astype(np.float64)
        try:
            actions, memory = self._controller.act(
                observations,
                None if self._memory is None else self._memory[slots],
                self._steps[slots] == 0,
                self._noise.draw(slots, self._steps[slots]),
            )
        except UnbraidError:
            self._require_finite(observations, slots)  # the likeliest cause, of which a controller knows no place
            raise
        expected = (len(slots), len(self._bounds[0]))
        if actions.shape != expected:
            raise WorldError(
                f"The controller's actions must have shape {expected} (environments, the world's actions); got "
                f"{actions.shape}. Check that it was made for {self._worlds.spec and self._worlds.spec.id}."
            )
        if (row := first_bad_row(actions)) is not None:
            self._require_finite(observations, slots)
            raise WorldError(
                f"The controller's actions must be finite; {self._place(int(slots[row]))}: {actions[row]}. Repair the "
                "controller."
            )
        if memory is not None:
            if self._memory is None or self._memory.shape[1:] != memory.shape[1:]:
                self._memory = np.zeros((len(self._episode), *memory.shape[1:]), memory.dtype)
            self._memory[slots] = memory
        return actions

    def _require_finite(self, observations: Float[np.ndarray, "live obs"], slots: Int[np.ndarray, "live"]) -> None:
        """Raises `WorldError` that says where the environment shows NaN or an infinity."""
        if (row := first_bad_row(observations)) is not None:
            column = int(np.isfinite(observations[row]).argmin())
            raise WorldError(
                f"The environment's observations must be finite; {self._place(int(slots[row]))}: column {column} is "
                f"{observations[row, column]}. Find out why the environment gives such numbers, or wrap it so that it "
                "does not."
            )

    def _place(self, slot: int) -> str:
        """Where a slot is, for a person."""
        episode = int(self._episode[slot])
        return f"episode {episode} (seed {self._seeds[episode]}), step {self._steps[slot]}"

    def _look(self, slots: Int[np.ndarray, "live"], infos: Mapping[str, Any]) -> None:
        at = (slots, self._steps[slots])
        self._tape.write("observation", at, np.asarray(self._observations)[slots].astype(self._seen_as))
        self._tape.write_told(STATES, at, infos)

    def _begin(self, slots: Int[np.ndarray, "live"], infos: Mapping[str, Any]) -> None:
        for slot in slots.tolist():
            self._noise.begin(slot, self._seeds[int(self._episode[slot])])
            self._layouts[slot] = {name: np.array(infos[name][slot]) for name in LAYOUT if name in infos}
        self._states_told = [name for name in STATES if name in infos]
        self._look(slots, infos)

    def _finish(self, slot: int, *, terminated: bool, success: float | None) -> None:
        index, n_steps = int(self._episode[slot]), int(self._steps[slot])
        episode = Episode(
            observations=self._tape.cut("observation", slot, n_steps + 1),
            actions=self._tape.cut("action", slot, n_steps),
            rewards=self._tape.cut("reward", slot, n_steps),
            costs=self._tape.cut("cost", slot, n_steps) if self._tape.has("cost") else None,
            terminated=terminated,
            seed=self._seeds[index],
        )
        track = {name: self._tape.cut(name, slot, n_steps + 1) for name in self._states_told}
        for name in (*EVENTS, "actuator_velocity"):
            track |= {name: self._tape.cut(name, slot, n_steps)} if self._tape.has(name) else {}
        track |= {} if success is None else {"success": np.array(success)}
        self._done[index] = (episode, track | self._layouts[slot])

    def _restart(self, ended: Bool[np.ndarray, "slot"]) -> None:
        """Gives the slots that ended the next seeds of the queue; those for which none is left idle from now on."""
        slots = np.flatnonzero(ended)
        upcoming = self._n_queued + np.arange(len(slots))
        self._episode[slots] = np.where(upcoming < len(self._seeds), upcoming, -1)
        self._n_queued = min(self._n_queued + len(slots), len(self._seeds))
        self._steps[slots] = 0
        seeds = [self._seeds[max(episode, 0)] for episode in self._episode]
        self._observations, infos = self._worlds.reset(seed=seeds, options={"reset_mask": ended})
        started = slots[self._episode[slots] >= 0]
        if len(started):
            self._begin(started, infos)

    def rollouts(self, told: dict[str, str]) -> Rollouts:
        """Everything, in the order of the seeds; `told` says in which environment."""
        done = [self._done[index] for index in range(len(self._seeds))]
        episodes = [episode for episode, _ in done]
        if self._tape.has("cost"):  # a world may mention a cost only where there is one
            episodes = [e if e.costs is not None else replace(e, costs=np.zeros(e.n_steps)) for e in episodes]
        tracks = [track for _, track in done]
        if any("success" in track for track in tracks):  # nor a success
            tracks = [{"success": np.array(0.0), **track} for track in tracks]
        facts = told | {"max_steps": self._max_steps}
        demos = Demos.from_episodes(episodes, action_bounds=self._bounds, facts=facts)
        return Rollouts(demos=demos, tracks=tuple(tracks))
