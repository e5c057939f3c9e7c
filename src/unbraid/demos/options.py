"""What a reader may be told, where a format leaves something open."""

from dataclasses import dataclass, fields, replace

from unbraid.core.errors import ConfigError

__all__ = ["ReadOptions", "require_options", "require_taken", "taken_by"]


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may be told, where a format leaves something open. What a format does not take is refused."""

    drop_last_action: bool = False
    """For files without final observations: leave out each episode's last action, with its reward and cost."""
    max_episode_steps: int | None = None
    """For D4RL's layout without `timeouts`: the time limit in steps that ended its episodes."""
    obs: tuple[str, ...] = ()
    """The keys that make up an observation, in this order, where a format has several (robomimic, NPZ, Minari's Dict
    spaces, LeRobot); by default all that hold numbers."""
    mask: str | None = None
    """For robomimic: the split under `mask/` whose episodes are read, e.g. train."""
    labels_from: str | None = None
    """The key or column that says who acted; without it a format that has none of its own gives no labels."""
    time_axis: int | None = None
    """For padded arrays where either axis could be time: which one is, 0 or 1."""
    episode_column: str | None = None
    """For tables: the column that says which episode a row belongs to."""
    obs_columns: tuple[str, ...] = ()
    """For tables: the columns of an observation, in order."""
    action_columns: tuple[str, ...] = ()
    """For tables: the columns of an action, in order."""
    step_column: str | None = None
    """For tables: the column that orders the rows of an episode; without it they are taken as they stand."""
    reward_column: str | None = None
    """For tables: the column of rewards, each that of the action in its row."""
    cost_column: str | None = None
    """For tables: the column of costs, each that of the action in its row."""
    terminated_column: str | None = None
    """For tables: the column that is true at the end of an episode that the world ended."""

    def __post_init__(self) -> None:
        for name in ("obs", "obs_columns", "action_columns"):  # a text is one name, not its letters
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value or ()))


def require_options(options: object) -> None:
    """Raises `ConfigError` where something is no `ReadOptions`."""
    if not isinstance(options, ReadOptions):
        raise ConfigError(
            f"Options must be ReadOptions; got {type(options).__name__}. Write unbraid.ReadOptions(obs=...)."
        )


def require_taken(options: ReadOptions, taken: frozenset[str], *, title: str, source: object) -> None:
    """Raises where an option is set that the format does not take.

    Args:
        options: what the reader was told.
        taken: the names of the options that the format takes.
        title: how the format is called.
        source: what is to be read; named in the message.

    Raises:
        ConfigError: an option is set that is not taken, or these are no options.
    """
    require_options(options)
    for field in fields(options):
        if getattr(options, field.name) != field.default and field.name not in taken:
            flag = "--" + field.name.replace("_", "-")
            takes = ", ".join("--" + name.replace("_", "-") for name in sorted(taken)) or "no options"
            raise ConfigError(
                f"{source} is {title}, which must be read without {field.name} ({flag}); got "
                f"{getattr(options, field.name)!r}. Leave it out: this format takes {takes}."
            )


def taken_by(options: ReadOptions, taken: frozenset[str]) -> ReadOptions:
    """The same options, less those that a format does not take."""
    return replace(options, **{field.name: field.default for field in fields(options) if field.name not in taken})
