"""Whether an environment is what its id alone makes: its arguments may differ, and wrappers may stand around it."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import registry
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

__all__ = ["ALTERED", "altered", "altered_from", "environment_facts", "wrappers_around"]

ALTERED = "env_altered"
"""In the facts of demonstrations: how their environment differs from what its id alone makes."""
_OF_MAKING = (OrderEnforcing, PassiveEnvChecker)
"""What `gymnasium.make` itself puts around what is registered."""
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


def altered(env: gymnasium.Env[Any, Any]) -> str | None:
    """How an environment differs from what its id alone makes, as in ``Pendulum-v1 with g=2.0, in RescaleAction``.

    None where it does not, or where nothing is known of it. How long an episode may last makes no difference; nor do
    wrappers that whoever registered the id has put around it, which stand within those of `gymnasium.make`.
    """
    spec = env.spec
    if spec is None:
        return None
    ours = itertools.takewhile(lambda wrapper: not isinstance(wrapper, _OF_MAKING), wrappers_around(env))
    names = [wrapper.class_name() for wrapper in ours if not isinstance(wrapper, TimeLimit)]
    return altered_from(spec.id, spec.kwargs, names[::-1])


def wrappers_around(env: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Wrapper[Any, Any, Any, Any]]:
    """Those around an environment, the outermost first."""
    around: Any = env
    while isinstance(around, gymnasium.Wrapper):
        yield around
        around = around.env


def environment_facts(env_id: str | None, differs: str | None) -> dict[str, str]:
    """What demonstrations keep of their environment, as far as it is known: its id, and how it differs (`altered`)."""
    known = {"env_id": env_id, ALTERED: differs}
    return {name: value for name, value in known.items() if value is not None}


def altered_from(env_id: str, arguments: Mapping[str, Any], wrappers: Sequence[str]) -> str | None:
    """`altered`, of what a specification notes.

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
