"""Whether an environment is what its id alone makes: its arguments may differ, and wrappers may stand around it."""

from typing import Any

from gymnasium.envs.registration import EnvSpec, registry

__all__ = ["ALTERED", "altered"]

ALTERED = "env_altered"
"""In the facts of demonstrations: how their environment differs from what its id alone makes."""
_ONLOOKERS = frozenset(
    {
        "ClipAction",
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
    if spec is None:
        return None
    plain = registry.get(spec.id)
    usual: dict[str, Any] = spec.kwargs if plain is None else plain.kwargs
    names = sorted({*usual, *spec.kwargs} - _OF_PICTURES)
    arguments = [n for n in names if repr(spec.kwargs.get(n)) != repr(usual.get(n))]
    n_usual = 0 if plain is None else len(plain.additional_wrappers)
    wrappers = [w.name for w in spec.additional_wrappers[n_usual:] if w.name not in _ONLOOKERS]
    if not arguments and not wrappers:
        return None
    told = ", ".join(f"{name}={spec.kwargs.get(name)!r:.40}" for name in arguments)
    return spec.id + (f" with {told}" if told else "") + (f", in {', in '.join(wrappers)}" if wrappers else "")
