"""Makes environments side by side: of a registered id, of a specification, or by a function of anybody's."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, final

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import TimeLimit

from unbraid.core.errors import UnbraidError, WorldError
from unbraid.core.told import observed, one_number, reward_and_cost
from unbraid.demos.altered import ALTERED, altered, altered_from, wrappers_around
from unbraid.demos.spaces import remedy_for_actions
from unbraid.worlds.controllers import imported
from unbraid.worlds.telling import EVENTS, LAYOUT, STATES, SUCCESS

__all__ = ["Told", "World", "altered_of", "make_world", "make_worlds", "name_of", "spec_of", "step_limit"]

World = str | EnvSpec | Callable[[], Any]
"""An environment: the id that it is registered by, ``module:id`` where a module registers it, a `gymnasium.spec`, or a
function that makes a new one."""

_REPAIR = "Repair the environment, or sum it up in a wrapper"
_NOT_HERE = (gymnasium.error.Error, ImportError)
"""What Gymnasium raises where an environment is unknown, or lacks a package."""
_NO_COST = "None stands for none: sum it up in a wrapper, or remove it"
_TOLD_BY_RESET, _TOLD_BY_STEP = (*STATES, *LAYOUT), (*STATES, *EVENTS)


def spec_of(world: World) -> EnvSpec:
    """What Gymnasium makes the environment by; of a function, with the id and step limit of what it makes.

    Of ``module:id`` the module is imported first, as `gymnasium.make` does; the current folder is searched, too.

    Raises:
        WorldError: it is not registered, its module can't be imported, the function raises or makes no Gymnasium
            environment, or it is something else.
    """
    if isinstance(world, EnvSpec):
        return world
    if not (isinstance(world, str) or callable(world)):
        raise WorldError(
            "An environment must be given by its id, a gymnasium.spec, or a function that makes a new one, as many are "
            f"made; got a {type(world).__name__}. Pass the id, or a function such as "
            "`lambda: gymnasium.make('Pendulum-v1')`."
        )
    if callable(world):
        return _spec_of_function(world)
    module, colon, name = world.rpartition(":")
    if colon and (not module or not name or ":" in module):
        raise WorldError(
            f"An environment that a module registers must be named module:Name-v0; got {world!r}. Name both, once."
        )
    if module:
        imported(module)
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        remedy = (
            f"Check the name, and whether {module} registers it when it is imported."
            if module
            else "Check the name, or name the module that registers it, as in module:Name-v0."
        )
        raise WorldError(
            f"The environment must be registered with Gymnasium; {world!r} is not: {str(error).rstrip('.')}. {remedy}"
        ) from None


def name_of(world: World, spec: EnvSpec) -> str:
    """By which an environment is found again: the id that was given, with its module; else that of its spec."""
    return world if isinstance(world, str) else spec.id


def step_limit(spec: EnvSpec, max_steps: int | None) -> int | None:
    """The most steps of an episode: what was asked for, or the environment's own limit, whichever is less.

    None where only the environment knows: its constructor was given one.

    Raises:
        WorldError: there is none.
    """
    limits = [limit for limit in (max_steps, spec.max_episode_steps) if limit is not None]
    if not limits and "max_episode_steps" not in spec.kwargs:
        raise WorldError(f"{spec.id} must have a limit of steps per episode; it has none. Give max_steps.")
    return min(limits, default=None)


def _spec_of_function(make: Callable[[], Any]) -> EnvSpec:
    with _naming(getattr(make, "__name__", type(make).__name__), "be made by its function"):
        made = make()
    if not isinstance(made, gymnasium.Env):
        raise WorldError(
            f"A function that makes an environment must return a gymnasium.Env; it returned a {type(made).__name__}. "
            "Return a new environment at each call."
        )
    known = made.spec
    differs = altered(made)
    name = type(made.unwrapped).__name__ if known is None else known.id
    made.close()

    def entry(**_: Any) -> Any:
        return make()

    setattr(entry, ALTERED, differs)
    limit = _own_limit(made) if known is None else known.max_episode_steps
    return EnvSpec(id=name, entry_point=entry, max_episode_steps=limit, order_enforce=False, disable_env_checker=True)


def _own_limit(made: gymnasium.Env[Any, Any]) -> int | None:
    """The limit of steps of an environment without a specification: the least of the `TimeLimit`s around it."""
    limits = (wrapper for wrapper in wrappers_around(made) if isinstance(wrapper, TimeLimit))
    return min((limit._max_episode_steps for limit in limits), default=None)  # pyright: ignore[reportPrivateUsage]


def altered_of(spec: EnvSpec) -> str | None:
    """How an environment differs from what its id alone makes, that of a function's, too; None where it does not."""
    if hasattr(spec.entry_point, ALTERED):  # of a function
        return getattr(spec.entry_point, ALTERED)
    return altered_from(spec.id, spec.kwargs, [wrapper.name for wrapper in spec.additional_wrappers])


def make_world(spec: EnvSpec, **how: Any) -> gymnasium.Env[Any, Any]:
    """One environment alone, unchecked: to look at its spaces, to draw it, or to step it by hand.

    Args:
        spec: what it is made by.
        how: what its constructor takes beside that, such as `render_mode`.

    Raises:
        WorldError: its constructor raises. (What Gymnasium says, and imports that fail, pass as they are.)
    """
    with _naming(spec.id, "be made", passing=_NOT_HERE):
        return gymnasium.make(spec, disable_env_checker=True, **how)


def make_worlds(spec: EnvSpec, n_envs: int, *, strict: bool = False) -> VectorEnv[Any, Any, Any]:
    """Environments side by side that wait, when an episode ends, until they are reset by hand.

    What their `reset` or `step` raises comes out as a `WorldError` that names them. `strict` as `Told` has it; our own,
    which are stepped as one, need no such check.

    Raises:
        WorldError: it cannot be made here, has other spaces than vectors of numbers, or an episode of it would hang on
            others: one environment is handed out for several, or a wrapper scales by what it has seen so far.
    """
    disabled = AutoresetMode.DISABLED
    try:
        with _naming(spec.id, "be made", passing=_NOT_HERE):
            if spec.namespace == "unbraid" and spec.vector_entry_point is not None and not spec.additional_wrappers:
                worlds = gymnasium.make_vec(spec, n_envs, "vector_entry_point", autoreset_mode=disabled)
            else:
                wrappers = (partial(Told, name=spec.id, strict=strict),)
                asked = {"autoreset_mode": disabled}
                worlds = gymnasium.make_vec(spec, n_envs, "sync", vector_kwargs=asked, wrappers=wrappers)
    except _NOT_HERE as error:
        raise WorldError(
            f"{spec.id} must be possible to make here; {str(error).rstrip('.')}. "
            "Install what it needs (Gymnasium's own: pip install 'gymnasium[mujoco]', 'gymnasium[box2d]', ...)."
        ) from error
    try:
        _require_vectors(spec.id, worlds)
        _require_apart(spec.id, getattr(worlds, "envs", ()))
    except WorldError:
        worlds.close()
        raise
    return worlds


def _require_vectors(name: str, worlds: VectorEnv[Any, Any, Any]) -> None:
    """Raises `WorldError` where observations or actions are no vectors of numbers."""
    seen, done = worlds.single_observation_space, worlds.single_action_space
    if not isinstance(seen, gymnasium.spaces.Box) or len(seen.shape) != 1:
        raise WorldError(
            f"The observations of {name} must be vectors of numbers, a one-dimensional Box; it has {seen}. Wrap it "
            "(gymnasium.wrappers.FlattenObservation), or choose another."
        )
    if not isinstance(done, gymnasium.spaces.Box) or len(done.shape) != 1 or done.dtype.kind != "f":
        raise WorldError(
            f"The actions of {name} must be vectors of numbers, a one-dimensional Box of floating-point numbers; it "
            f"has {done}. {remedy_for_actions(done)}"
        )


def _require_apart(name: str, worlds: Sequence[gymnasium.Env[Any, Any]]) -> None:
    """Raises `WorldError` where what happens in one episode would change another."""
    if len({id(world.unwrapped) for world in worlds}) < len(worlds):
        raise WorldError(
            f"A function that makes {name} must make a new environment at each call; it returned the same one again. "
            "Make it inside the function, as in `lambda: gymnasium.make('Pendulum-v1')`."
        )
    layer: Any = worlds[0] if worlds else None
    while isinstance(layer, gymnasium.Wrapper):
        if getattr(layer, "update_running_mean", False):
            raise WorldError(
                f"{type(layer).__name__} of {name} must not change what it scales by from episode to episode; it does, "
                "so that an episode would hang on those before it. Set its `update_running_mean` to False in a "
                "function that makes the environment with the statistics of training, or leave it out."
            )
        layer = layer.env


@contextmanager
def _naming(name: str, does: str, place: str = "", *, passing: tuple[type[Exception], ...] = ()) -> Generator[None]:
    """Turns what a stranger's environment raises into a `WorldError` that names it; our errors, and `passing`, pass."""
    try:
        yield
    except (UnbraidError, *passing):
        raise
    except Exception as error:
        raise WorldError(
            f"The environment {name} must {does} without an error of its own; {place and f'{place} '}it raised "
            f"{type(error).__name__}: {str(error).rstrip('.')}. Repair the environment, or tell whoever made it."
        ) from error


@final
class Told(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose own errors name it and the step, and which tells what is read of it alone.

    What else `info` holds may have other shapes and types in other environments; Gymnasium could not hold it then.

    The reward, and `info["cost"]` and success where they are told, are one number. None is "not told".
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, *, strict: bool = False) -> None:
        """Wraps an environment.

        Args:
            env: whose words are checked.
            name: how the messages call it.
            strict: also refuse observations that do not fit its space, and observations, rewards and costs that are
                not finite; the reward is a float then.
        """
        super().__init__(env)
        self._name, self._strict, self._seed, self._n_steps = name, strict, None, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode.

        Raises:
            WorldError: the environment raised, or shows what is refused.
        """
        self._seed, self._n_steps = seed, 0
        with _naming(self._name, "reset", f"in the reset of seed {seed}"):
            observation, info = self.env.reset(seed=seed, options=options)
        if self._strict:
            self._require_observed(observation, f"{self._name} in the reset of seed {seed}")
        return observation, {name: info[name] for name in _TOLD_BY_RESET if name in info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step.

        Raises:
            WorldError: the environment raised, or tells what is refused.
        """
        self._n_steps += 1
        step = f"in step {self._n_steps} of seed {self._seed}"
        with _naming(self._name, "step", step):
            observation, reward, terminated, truncated, info = self.env.step(action)
        place = f"{self._name} {step}"
        if self._strict:
            self._require_observed(observation, place)
            reward, cost = reward_and_cost(reward, info, place)
        else:
            reward, cost = one_number(reward, f"The reward of {place}", _REPAIR), info.get("cost")
            cost = None if cost is None else one_number(cost, f'The cost (`info["cost"]`) of {place}', _NO_COST)
        told = {name: info[name] for name in _TOLD_BY_STEP if name in info}
        told |= {name: value for name in SUCCESS if name in info and (value := _of_one(info[name])) is not None}
        return observation, reward, terminated, truncated, told if cost is None else {**told, "cost": cost}

    def _require_observed(self, observation: Any, place: str) -> None:
        observed(observation, math.prod(self.observation_space.shape or (1,)), place)


def _of_one(told: Any) -> float | None:
    """A number, also where it is an array of one; None of what is none, as NaN."""
    try:
        number = np.asarray(told)
    except ValueError:  # lists of several lengths
        return None
    if number.size != 1 or number.dtype.kind not in "biuf" or np.isnan(number).any():
        return None
    return float(number.reshape(()))
