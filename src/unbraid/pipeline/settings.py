"""From what the verb `fit` was asked to the config of its method."""

from dataclasses import replace

from unbraid.core.errors import ConfigError
from unbraid.pipeline.flags import given_flags
from unbraid.pipeline.requests import FitRequest
from unbraid.training.config import FLAGS, FitConfig, TalkConfig, UnbraidConfig

__all__ = ["config_of"]


def config_of(asked: FitRequest) -> FitConfig:
    """The method's config, with the settings that the verb offers.

    Raises:
        ConfigError: an option that the method does not read, or a setting that it cannot take.
    """
    _require_read(asked)
    if asked.method == "talk":
        if asked.n_modes == "auto":
            raise ConfigError(
                "--n-modes must be a number for --method talk, which has no search that could count modes; got auto. "
                "Give a number, or leave --method talk out."
            )
        config = TalkConfig(n_modes=asked.n_modes, delta_steps=asked.delta_steps, seed=asked.seed)
    else:
        config = UnbraidConfig(
            n_modes=asked.n_modes, seed=asked.seed, **{name: getattr(asked, name) for name in _read_by("unbraid")}
        )
    wanted = {"n_steps": asked.n_steps, "encoder": asked.encoder, "policy_hidden": asked.policy_hidden}
    return replace(config, **{name: value for name, value in wanted.items() if value is not None})


def _read_by(method: str) -> tuple[str, ...]:
    """The settings with a flag that this method alone reads."""
    return tuple(name for name, methods in FLAGS.items() if methods == (method,))


def _require_read(asked: FitRequest) -> None:
    """Raises `ConfigError` for options that were given and that the method does not read."""
    other = "talk" if asked.method == "unbraid" else "unbraid"
    given = given_flags(asked, _read_by(other))
    if given:
        raise ConfigError(
            f"{' and '.join(given)} must come with --method {other}, which alone reads such; got --method "
            f"{asked.method}. Leave {'it' if len(given) == 1 else 'them'} out, or take --method {other}."
        )
