"""Makes environments side by side: of a registered id, of a specification, or by a function of anybody's."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv

from unbraid.core.errors import WorldError

__all__ = ["World", "make_worlds", "spec_of"]

World = str | EnvSpec | Callable[[], Any]
"""An environment: the id that it is registered by, a `gymnasium.spec`, or a function that makes a new one."""


def spec_of(world: World) -> EnvSpec:
    """What Gymnasium makes the environment by; of a function, with the id and step limit of what it makes.

    Raises:
        WorldError: it is not registered, the function makes no Gymnasium environment, or it is something else.
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
    try:
        return gymnasium.spec(world)
    except (gymnasium.error.Error, ImportError) as error:
        raise WorldError(
            f"The environment must be registered with Gymnasium; {world!r} is not: {error} "
            "Check the name, or name the module that registers it, as in module:Name-v0."
        ) from None


def _spec_of_function(make: Callable[[], Any]) -> EnvSpec:
    made = make()
    if not isinstance(made, gymnasium.Env):
        raise WorldError(
            f"A function that makes an environment must return a gymnasium.Env; it returned a {type(made).__name__}. "
            "Return a new environment at each call."
        )
    known = made.spec
    name = type(made.unwrapped).__name__ if known is None else known.id
    made.close()

    def entry(**_: Any) -> Any:
        return make()

    limit = None if known is None else known.max_episode_steps
    return EnvSpec(id=name, entry_point=entry, max_episode_steps=limit, order_enforce=False, disable_env_checker=True)


def make_worlds(spec: EnvSpec, n_envs: int) -> VectorEnv[Any, Any, Any]:
    """Environments side by side that wait, when an episode ends, until they are reset by hand.

    Raises:
        WorldError: it cannot be made here, or has other spaces than vectors of numbers.
    """
    disabled = AutoresetMode.DISABLED
    try:
        if spec.namespace == "unbraid" and spec.vector_entry_point is not None and not spec.additional_wrappers:
            worlds = gymnasium.make_vec(spec, n_envs, "vector_entry_point", autoreset_mode=disabled)
        else:
            worlds = gymnasium.make_vec(spec, n_envs, "sync", vector_kwargs={"autoreset_mode": disabled})
    except (gymnasium.error.Error, ImportError) as error:
        raise WorldError(
            f"{spec.id} must be possible to make here; {str(error).rstrip('.')}. "
            "Install what it needs (Gymnasium's own: pip install 'gymnasium[mujoco]', 'gymnasium[box2d]', ...)."
        ) from error
    for space, what in ((worlds.single_observation_space, "observations"), (worlds.single_action_space, "actions")):
        fits = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
        if not fits or (what == "actions" and not np.issubdtype(space.dtype, np.floating)):
            worlds.close()
            raise WorldError(
                f"The {what} of {spec.id} must be vectors of numbers, a one-dimensional Box; it has {space}. Wrap it "
                "(gymnasium.wrappers.FlattenObservation), or choose another: discrete actions are not covered."
            )
    return worlds
