"""What a user hands to a PointGoal world: seeds, reset options and actions, checked at the border."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import WorldError
from unbraid.worlds.layout import Layout, Level, check_layout, draw_layout, finite_array
from unbraid.worlds.point_goal_physics import Start

__all__ = ["EPISODE_SEEDS", "checked_actions", "start_for", "starts_options"]

EPISODE_SEEDS = 2**63  # an episode's seed lies below
_OPTIONS = ("layout", "qpos", "qvel")


def checked_actions(actions: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Actions as float64.

    Raises:
        WorldError: a wrong shape, or NaN or infinity.
    """
    try:
        array = np.asarray(actions, dtype=np.float64)
    except (TypeError, ValueError):
        raise WorldError(f"Actions must be numbers of shape {shape}; got {actions!r:.80}. Pass an array.") from None
    if array.shape != shape:
        raise WorldError(f"Actions must have shape {shape}; got {array.shape}. Pass throttle and turn per world.")
    if not np.isfinite(array).all():
        raise WorldError(f"Actions must be finite; got {array!s:.80}. Check the policy for NaN.")
    return array


def start_for(rules: Level, seed: int, options: Mapping[str, Any] | None) -> Start:
    """How one world starts, from an episode's seed and the options of `reset`.

    Args:
        rules: the level.
        seed: of the episode, >= 0.
        options: None, or "layout" (a `Layout` or its fields), "qpos" and "qvel" (world coordinates), each optional.

    Raises:
        WorldError: an option is unknown, or does not fit the level.
    """
    options = options or {}
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise WorldError(f"Reset's options must be among {', '.join(_OPTIONS)}; got {unknown}. Correct the names.")
    given = options.get("layout")
    if given is not None and not isinstance(given, Layout | Mapping):
        raise WorldError(f"options['layout'] must be a Layout or a mapping; got {type(given).__name__}. Pass one.")
    layout = draw_layout(rules, seed) if given is None else check_layout(given, rules)
    qpos, qvel = options.get("qpos"), options.get("qvel")
    if qpos is not None:
        qpos = finite_array(qpos, (3 + 7 * rules.n_vases,), "options['qpos']")
        lengths = np.linalg.norm(qpos[3:].reshape(-1, 7)[:, 3:], axis=1)
        if (np.abs(lengths - 1.0) > 1e-6).any():
            raise WorldError(
                f"The vases' quaternions in options['qpos'] must have length 1; got {lengths!s:.80}. Normalise them."
            )
    if qvel is not None:
        qvel = finite_array(qvel, (3 + 6 * rules.n_vases,), "options['qvel']")
    return Start(seed=seed, layout=layout, qpos=qpos, qvel=qvel)


def starts_options(options: Mapping[str, Any], n_envs: int) -> list[dict[str, Any]]:
    """The options of a vector's `reset`, split among its worlds.

    Every option is None (for all), a sequence of one value or None per world, or, for the layout, one for all.

    Raises:
        WorldError: a sequence has another length than the vector.
    """
    per_world: list[dict[str, Any]] = [{} for _ in range(n_envs)]
    for name, given in options.items():
        if given is None:
            continue
        is_row = isinstance(given, Sequence) or (isinstance(given, np.ndarray) and given.ndim > 0)
        values: Sequence[Any] = [given] * n_envs
        if not isinstance(given, Layout | Mapping):
            values = list(given) if is_row else []
        if len(values) != n_envs:
            told = len(values) if is_row else repr(given)[:40]
            raise WorldError(
                f"options[{name!r}] must have one entry for each of {n_envs} worlds; got {told}. "
                "Pass None for worlds that need none."
            )
        for world, value in zip(per_world, values, strict=True):
            if value is not None:
                world[name] = value
    return per_world
