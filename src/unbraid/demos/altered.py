"""Whether an environment is what its id alone makes: its arguments may differ, and wrappers may stand around it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gymnasium.envs.registration import EnvSpec, registry

__all__ = ["ALTERED", "altered", "altered_from"]

ALTERED = "env_altered"
"""In the facts of demonstrations: how their environment differs from what its id alone makes."""
_ONLOOKERS = frozenset(
    {
        "ClipAction",
        "DataCollector",
        "HumanRendering",
        "Monitor",
        "OrderEnforcing",
        "PassiveEnvChecker",
        "RecordDemos",
        "RecordEpisodeStatistics",
        "RecordVideo",
        "RenderCollection",
        "TimeLimit",
    }
)
"""Wrappers, by the names of their classes, that leave what is seen, done and earned in a step as it was."""
_OF_PICTURES = frozenset(
    {
        "camera_id",
        "camera_name",
        "default_camera_config",
        "height",
        "max_geom",
        "render_mode",
        "visual_options",
        "width",
    }
)
"""Arguments that decide how an environment is drawn alone."""


def altered(spec: EnvSpec | None) -> str | None:
    """How an environment differs from what its id alone makes, as in ``Pendulum-v1 with g=2.0, in RescaleAction``.

    None where it does not, or where nothing is known of it. How long an episode may last makes no difference.

    Args:
        spec: the environment's own: it has the arguments that it was made with, and the wrappers around it.
    """
    return None if spec is None else altered_from(spec.id, spec.kwargs, [w.name for w in spec.additional_wrappers])


def altered_from(env_id: str, arguments: Mapping[str, Any], wrappers: Sequence[str]) -> str | None:
    """The same of what was noted of a specification.

    Args:
        env_id: the environment's id; where it is not registered here, its usual arguments are not known.
        arguments: what it was made with.
        wrappers: the names of those around it, the outermost last.
    """
    plain = registry.get(env_id)
    usual: Mapping[str, Any] = arguments if plain is None else plain.kwargs
    names = sorted(set(arguments) - _OF_PICTURES)
    others = [n for n in names if n not in usual or _text(arguments[n]) != _text(usual[n])]
    n_usual = 0 if plain is None else len(plain.additional_wrappers)
    around = [name for name in wrappers[n_usual:] if name not in _ONLOOKERS]
    if not others and not around:
        return None
    told = ", ".join(f"{name}={arguments[name]!r:.40}" for name in others)
    return env_id + (f" with {told}" if told else "") + (f", in {', in '.join(around)}" if around else "")


def _text(value: Any) -> str:
    """By which arguments are compared: a tuple is a list in a file."""
    return json.dumps(value, default=repr, sort_keys=True)
