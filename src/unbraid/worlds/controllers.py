"""Who acts in a world: the `Controller` protocol, and adapters for other people's policies and functions."""

import importlib
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from unbraid.core.errors import UnbraidError, WorldError

__all__ = ["Controller", "as_controller", "from_function", "from_predict", "load_controller"]

# Linear layers are not bit-equal between batches of 1 and of 64 rows: rows are padded to a multiple of this.
_ROWS = 64


@runtime_checkable
class Controller(Protocol):
    """Acts in many environments at once.

    A controller keeps nothing between calls: what it must remember of an episode goes out as `state` and comes back
    with the next call, row by row.
    """

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        """Chooses an action for every row.

        Args:
            observations: (env, obs) what each environment shows now.
            state: (env, memory) what this controller returned for these episodes one step ago, or None at the very
                first call. Rows whose episode starts now hold nothing of use.
            episode_start: (env,) whether this is an episode's first step.
            noise: (env, act) standard normal draws, from one generator per episode: the only randomness that keeps
                an episode the same whatever runs beside it.

        Returns:
            (env, act) actions, clipped to the environment's bounds by whoever steps it; and the new memory, or None.
        """
        ...


def from_predict(policy: Any, *, deterministic: bool = True, what: str = "The policy") -> Controller:
    """A controller that asks anything with Stable-Baselines3's `predict`.

    Args:
        policy: has `predict(observation, state=None, episode_start=None, deterministic=False) -> (action, state)`.
        deterministic: handed to `predict`. When False the policy draws its actions from a generator of its own, and
            equal seeds no longer give equal episodes.
        what: how messages call it.

    Raises:
        WorldError: it has no `predict`. What it raises later, `act` raises as a WorldError.
    """
    if not callable(getattr(policy, "predict", None)):
        raise WorldError(
            f"A policy must have `predict`, as Stable-Baselines3's do; {type(policy).__name__} has none. Hand over the "
            "loaded policy, or wrap a function with from_function."
        )
    return _Predicting(policy, deterministic, what)


def from_function(function: Callable[[np.ndarray], np.ndarray], *, what: str = "The policy") -> Controller:
    """A controller without memory or noise that calls `function`: (env, obs) observations -> (env, act) actions.

    Each row's action must depend on that row alone; the function is called with rows added, up to a multiple of 64.
    What it raises, `act` raises as a WorldError that calls it `what`.
    """
    return _Calling(function, what)


def load_controller(path: str) -> Controller:
    """The controller that an import path names, ``module:name``; the current folder is searched first.

    Args:
        path: names a controller (it has `act`), a policy (it has `predict`), or a function of the observations
            (env, obs) that returns actions (env, act).

    Raises:
        WorldError: nothing of that name can be imported, or it cannot act. What it raises when it acts, `act` raises as
            a WorldError that names it.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise WorldError(f"A controller's path must look like module:name; got {path!r}. Name both.")
    found: Any = _import(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise WorldError(f"{module_name} must hold {name}; it has no {part!r}. Check the name.")
        found = getattr(found, part)
    controller = as_controller(found, what=path)
    return _Acting(controller, path) if controller is found else controller


def as_controller(policy: Any, *, what: str = "The policy") -> Controller:
    """Anything that can act, as a controller.

    Args:
        policy: a controller (it has `act`), a policy (it has `predict`; asked for its deterministic action), or a
            function of the observations (env, obs) that returns actions (env, act).
        what: how messages call it.

    Raises:
        WorldError: it cannot act.
    """
    if isinstance(policy, type):
        raise WorldError(
            f"{what} must be an object that can act; it is a class. Make an instance of {policy.__name__}."
        )
    if isinstance(policy, Controller):
        return policy
    if hasattr(policy, "predict"):
        return from_predict(policy, what=what)
    if callable(policy):
        function: Any = policy
        return from_function(function, what=what)
    raise WorldError(
        f"{what} must be a function of observations, or have `act` or `predict`; it is a {type(policy).__name__}. "
        "Name something that can act."
    )


def _import(module_name: str) -> Any:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # whatever a stranger's module raises while it is imported
        raise WorldError(
            f"{module_name} must be importable; it raised {type(error).__name__}: {error}. Run from the folder that "
            "holds it, or repair it."
        ) from error
    finally:
        sys.path.remove(folder)


@contextmanager
def _saying_who_raised(what: str, observations: np.ndarray) -> Generator[None]:
    """Turns whatever a stranger's policy raises into a `WorldError` that names it; our own errors pass."""
    try:
        yield
    except UnbraidError:
        raise
    except Exception as error:
        raise WorldError(
            f"{what} must accept observations of shape {observations.shape}; it raised {type(error).__name__}: "
            f"{str(error).rstrip('.')}. Check that it was made for this environment and takes many observations at "
            "once, or repair it."
        ) from error


def _padded(values: np.ndarray) -> np.ndarray:
    """The rows, with copies of the last added up to a multiple of 64."""
    return np.concatenate([values, np.repeat(values[-1:], -len(values) % _ROWS, axis=0)])


def _as_actions(values: Any, n_rows: int, n_columns: int) -> np.ndarray:
    """A policy's answer as (env, act) float64, without the rows that were added.

    Raises:
        WorldError: it is no table of numbers with a row for each observation and a column for each of the actions.
    """
    n_asked = n_rows + -n_rows % _ROWS
    try:
        actions = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise WorldError(f"Actions must be an array of numbers; got {values!r:.80}. Repair the policy.") from None
    if actions.shape != (n_asked, n_columns):
        raise WorldError(
            f"Actions must have shape ({n_asked}, {n_columns}), one row per observation and one column for each of the "
            f"world's actions; got {actions.shape}. Check that the policy was made for this world, and takes many "
            "observations at once."
        )
    return actions[:n_rows]


@dataclass(frozen=True)
class _Predicting:
    """`from_predict`."""

    policy: Any
    deterministic: bool
    what: str

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        n_rows, rows = len(observations), _padded(observations)
        with _saying_who_raised(self.what, rows):
            actions, memory = self.policy.predict(
                rows,
                state=None if state is None else _padded(state),
                episode_start=_padded(episode_start),
                deterministic=self.deterministic,
            )
        if memory is not None and not (isinstance(memory, np.ndarray) and memory.ndim == 2):
            raise WorldError(
                f"A policy's state must be None or an array (env, memory); got {type(memory).__name__}. Flatten it: "
                "policies with other states are not covered."
            )
        return _as_actions(actions, n_rows, noise.shape[1]), None if memory is None else memory[:n_rows]


@dataclass(frozen=True)
class _Calling:
    """`from_function`."""

    function: Callable[[np.ndarray], np.ndarray]
    what: str

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        rows = _padded(observations)
        with _saying_who_raised(self.what, rows):
            actions = self.function(rows)
        return _as_actions(actions, *noise.shape), None


@dataclass(frozen=True)
class _Acting:
    """A controller that an import path named."""

    controller: Controller
    path: str

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"] | None]:
        with _saying_who_raised(self.path, observations):
            actions, memory = self.controller.act(observations, state, episode_start, noise)
            return np.asarray(actions, dtype=np.float64), memory
