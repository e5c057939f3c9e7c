"""Who acts in a world: the `Controller` protocol, and adapters for other people's policies and functions."""

import importlib
import math
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from unbraid.core.errors import UnbraidError, WorldError

__all__ = ["Controller", "as_controller", "from_function", "from_predict", "imported", "load_controller"]

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

    Its state may be an array (env, memory), or a tuple of arrays, which may hold tuples itself, whose first or second
    axis is that of the observations: so are those of sb3-contrib's recurrent policies, (layer, env, hidden).

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
    found: Any = imported(module_name)
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


def imported(module_name: str) -> Any:
    """A module of anybody's; the current folder is searched first.

    Raises:
        WorldError: it can't be imported.
    """
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
class _Leaf:
    """An array of a policy's state: along which axis it has the rows, its shape without them, and its type."""

    axis: int
    shape: tuple[int, ...]
    kind: np.dtype

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)


def _packed(state: Any, n_rows: int, form: list[Any]) -> Float[np.ndarray, "env memory"]:
    """A policy's state as one array; what `_unpacked` needs is put into `form`.

    Raises:
        WorldError: it is not made of arrays that have the rows along their first or second axis.
    """
    if isinstance(state, np.ndarray) and state.ndim == 2 and len(state) == n_rows:
        form[:] = []
        return state
    parts: list[np.ndarray] = []

    def read(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(read, part))
        axis = next((a for a in (0, 1) if np.shape(part)[a : a + 1] == (n_rows,)), None)
        if not isinstance(part, np.ndarray) or part.dtype.kind not in "biuf" or axis is None:
            found = (
                f"shape {part.shape} of {part.dtype}" if isinstance(part, np.ndarray) else f"a {type(part).__name__}"
            )
            raise WorldError(
                f"A policy's state must be None, an array (env, memory) or a tuple of arrays with one row for each of "
                f"{n_rows} observations; got {found}. Flatten it, or hand over what has `act`: a schedule, such as "
                "in_turn(...), or a SwitchedPolicy is a policy already."
            )
        rows = np.moveaxis(part, axis, 0)
        parts.append(rows.reshape(n_rows, -1).astype(np.float64))
        return _Leaf(axis, rows.shape[1:], part.dtype)

    form[:] = [read(state)]
    return np.concatenate([np.zeros((n_rows, 0)), *parts], axis=1)


def _unpacked(packed: Float[np.ndarray, "env memory"], form: list[Any]) -> Any:
    """The state that `_packed` had, for the rows that are there now."""
    if not form:
        return packed
    at = 0

    def write(part: Any) -> Any:
        nonlocal at
        if isinstance(part, tuple):
            return tuple(map(write, part))
        rows = packed[:, at : at + part.size].astype(part.kind)
        at += part.size
        return np.moveaxis(rows.reshape(-1, *part.shape), 0, part.axis)

    return write(form[0])


@dataclass(frozen=True)
class _Predicting:
    """`from_predict`."""

    policy: Any
    deterministic: bool
    what: str
    _form: list[Any] = field(default_factory=list[Any], compare=False, repr=False)  # of its states, not of an episode

    @property
    def policies(self) -> tuple[Any, ...]:
        """Who acts."""
        return (self.policy,)

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
                state=None if state is None else _unpacked(_padded(state), self._form),
                episode_start=_padded(episode_start),
                deterministic=self.deterministic,
            )
        packed = None if memory is None else _packed(memory, len(rows), self._form)
        return _as_actions(actions, n_rows, noise.shape[1]), None if packed is None else packed[:n_rows]


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

    @property
    def policies(self) -> tuple[Any, ...]:
        """Who acts."""
        return (self.controller,)

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
