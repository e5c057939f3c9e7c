"""What a fit may be asked: one frozen config a method. No torch here, so that `unbraid --help` is fast."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from unbraid.core.errors import ConfigError

__all__ = [
    "FLAGS",
    "METHODS",
    "FitConfig",
    "TalkConfig",
    "UnbraidConfig",
    "config_from_json",
    "config_to_json",
    "modes_of_episodes",
    "plain_setting",
]

_FEW_STEPS = 20_000
_WIDE, _COMPONENTS = 128, 48


@dataclass(frozen=True)
class TalkConfig:
    """The talk's method (Eloundou 2021): a VQ-VAE on state transitions and a Gaussian policy on its distances."""

    method: ClassVar[str] = "talk"

    n_modes: int = 4
    """K, the number of codes."""
    delta_steps: int = 1
    """The talk's time step: a transition is s[t + delta_steps] - s[t]."""
    objective: Literal["ratio", "product", "log_ratio", "sum"] = "log_ratio"
    """How the VQ loss and the policy's likelihood are joined; all four were published under one name."""
    context: Literal["squared_distances", "distances", "not_hot"] = "squared_distances"
    """What the policy is given beside the state while training."""
    commitment: float = 1.0
    """beta, the weight of the commitment term (1 in the talk's code, 0.25 in van den Oord et al. 2017)."""
    pairing: Literal["repaired", "published"] = "repaired"
    """Which action and transition a state is paired with: its own, or those of the talk's code (from the second
    episode on another step's action, and transitions of the first episode only)."""
    scaling: Literal["repaired", "published"] = "repaired"
    """Observations and transitions scaled by the training set's mean and deviation, or left as they come."""
    steering: Literal["repaired", "published"] = "repaired"
    """Not-hot contexts at run time on the scale of the distances that training saw, or 0 and 1."""
    encoder: Literal["transition", "mean", "window_mlp", "convolution", "lstm", "attention"] = "transition"
    """What is encoded: one transition, as in the talk; or a window of transitions that begins with it, read without
    order (mean) or in order (the others)."""
    window_steps: int = 25
    """The most transitions in such a window; an episode's last ones have fewer."""
    codebook: Literal["repaired", "published"] = "repaired"
    """Codes that start at latents of the data, where one that nothing used since the last batch starts again; or
    anywhere near 0, and left alone."""
    n_steps: int = 1500
    """Gradient steps."""
    batch_size: int = 500
    """Transitions in a batch."""
    steps_per_batch: int = 50
    """Gradient steps on one batch: an "epoch" of the talk."""
    learning_rate: float = 3e-4
    """AdaBelief's learning rate."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Widths of the policy's tanh layers (published: 256, 256)."""
    decoder_hidden: tuple[int, ...] = (64, 64)
    """Widths of the decoder's layers (published: 1000, 1000)."""
    seed: int = 0
    """The one seed of the fit."""

    def __post_init__(self) -> None:
        _take_plain(self)
        _require_possible(self)


@dataclass(frozen=True)
class UnbraidConfig:
    """unbraid's own method: modes told apart by what they do, codes on a simplex, one policy."""

    method: ClassVar[str] = "unbraid"

    n_modes: int | Literal["auto"] = 2
    """K, the number of modes to find; "auto" takes as many as the evidence on held-out episodes supports."""
    n_steps: int | Literal["auto"] = "auto"
    """Gradient steps of the joint fit; "auto" takes 1,500 for up to 100,000 recorded steps, and more for more."""
    search_steps: int = 500
    """Gradient steps of the search for modes, which comes first."""
    policy_batch: int | Literal["auto"] = "auto"
    """Steps in a batch of the policy; "auto" takes a hundredth of those recorded, at least 256 and at most 1024."""
    window_batch: int = 64
    """Windows in a batch of the encoder."""
    window_lengths: tuple[int, ...] = (10, 25, 50, 100)
    """Lengths of the encoder's training windows, in steps; where no two episodes have the steps of the shortest,
    windows are as long as the second longest episode."""
    learning_rate: float = 4e-3
    """AdamW's highest learning rate (warm-up over 50 steps, then a cosine to 0)."""
    weight_decay: float | Literal["auto"] = "auto"
    """AdamW's weight decay; "auto" takes 0.5 for up to 20,000 recorded steps, and as much less as there are more: of
    few, a smooth policy reads unseen episodes better, of many, one that imitates them."""
    policy_hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the policy's SiLU layers."""
    policy_head: Literal["auto", "gaussian", "mixture", "tanh"] = "auto"
    """What the policy says of an action: a Gaussian; a mixture of five, for actions with heavy tails or in several
    heaps, such as people's; a tanh-Gaussian, soft actor-critic's, between the bounds that the demonstrations keep.
    "auto" takes one of the first two, as demonstrations left out say; a Gaussian unasked with styles, without
    calibration, or for fewer than 500 gradient steps. A model that was fitted has one of the three; "auto" in an older
    one's file is a Gaussian."""
    policy_context: Literal["heads", "input"] = "heads"
    """Change 5 of the method: every mode has outputs of its own, which the context mixes, or the context is an input
    beside the state, as in the talk ("input": off; so it is in files that do not name it)."""
    policy_layer_norm: Literal["auto", "on", "off"] = "auto"
    """Whether the policy's hidden layers are normalised over their units; "auto": where there are more than 20,000
    recorded steps. Off in files that do not name it."""
    policy_l1: float = 5e-4
    """What the absolute values of its first layer's weights add to the policy's loss, each, so that columns that say
    little of what is done are left out; 0 in files that do not name it."""
    policy_loss: Literal["auto", "likelihood", "beta", "huber"] = "auto"
    """What a Gaussian learns by: the likelihood; the likelihood with gradients weighted with the deviation (beta);
    Huber's loss of the mean; "auto" takes the likelihood for up to 20,000 recorded steps, which reads unseen episodes
    better, and beta for more, which imitates better. A mixture learns by its likelihood."""
    refine_steps: int | Literal["auto"] = "auto"
    """Gradient steps that the policy takes alone after the joint fit; "auto" takes four times those of the joint fit
    where errors on demonstrations left out say that this pays, and else none; none for up to 20,000 recorded steps, and
    none without calibration."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the policy's matrix products while it learns; weights and losses are float32. bfloat16 is faster for layers of
    256 and more, on processors with AVX-512 BF16 or AMX and on GPUs, and much slower on others."""
    observation_components: int | Literal["auto"] = "auto"
    """How many principal components of an observation's scaled columns the networks see, in place of the columns;
    columns that are no more than that are seen as they are. "auto" takes 48 where there are more than 128 columns, such
    as an image's embedding, which are learned by heart otherwise, and else the columns. (A model that was fitted has a
    number, or sees the columns.)"""
    encoder: Literal["auto", "mean", "window_mlp", "convolution", "lstm", "attention"] = "auto"
    """How a window's steps are read: without their order, as a mean; or in order, by a perceptron on 25 steps side by
    side, a temporal convolution, an LSTM or attention. "auto" takes the mean, and the perceptron where more than a
    tenth of the demonstrations left out are misread with the mean, and not with the perceptron."""
    encoder_width: int = 64
    """Width of the encoder's layers."""
    codes: Literal["simplex", "free"] = "simplex"
    """Change 1 of the method: codes at equal distances, or anywhere (off)."""
    evidence: Literal["both", "actions", "transitions"] = "both"
    """Change 2: modes are told apart by what is done and by where it leads, or by one of them alone."""
    starts: Literal["several", "random"] = "several"
    """Change 3: the search for modes starts from proposals of several kinds, or at random (off)."""
    sharing: Literal["auto", "episode", "changing", "window"] = "auto"
    """Change 4, who shares a mode: all steps of an episode; those between two changes, where experts take over from one
    another within it; the first or the second as the evidence says ("auto"); or every window of 10 steps (off)."""
    calibration: Literal["left_out", "off"] = "left_out"
    """Whether probabilities are made to come true on a fifth of the demonstrations, which a second, smaller fit beside
    the first does not see. What "auto" says of `policy_head`, `refine_steps` and `encoder` is judged there, too."""
    style: Literal["off", "on"] = "off"
    """Beside the mode, one continuous number for every demonstration: what varies between those of one mode, such as
    their speed. The policy is then steered by it, too."""
    seed: int = 0
    """The one seed of the fit."""

    def __post_init__(self) -> None:
        _take_plain(self)
        _require_possible(self)
        if self.policy_head == "mixture" and self.policy_loss in ("beta", "huber"):
            raise ConfigError(
                f"A mixture must learn by its likelihood; got policy_loss {self.policy_loss!r}. Leave it at 'auto', or "
                "take the policy_head 'gaussian'."
            )

    def sized_for(self, n_recorded: int) -> "UnbraidConfig":
        """The same with numbers of gradient steps and of a batch, a decay and layers, for so many recorded steps.

        With few demonstrations, more steps, larger batches or less decay read unseen ones worse; with many, better
        (docs/experiments.md).
        """
        n_steps = round(1500 * min(max(n_recorded / 100_000, 1), 10)) if self.n_steps == "auto" else self.n_steps
        batch = min(max(n_recorded // 100, 256), 1024) if self.policy_batch == "auto" else self.policy_batch
        decay = 0.5 * min(_FEW_STEPS / n_recorded, 1) if self.weight_decay == "auto" else self.weight_decay
        norm = self.policy_layer_norm
        if norm == "auto":
            norm = "off" if self.are_few(n_recorded) else "on"
        return dataclasses.replace(
            self, n_steps=n_steps, policy_batch=batch, weight_decay=decay, policy_layer_norm=norm
        )

    def components_for(self, n_columns: int) -> int | None:
        """How many principal components a fit keeps of so many columns; None where it takes the columns."""
        is_open = self.observation_components == "auto" and n_columns > _WIDE
        return _COMPONENTS if is_open else self.components_of(n_columns)

    def components_of(self, n_columns: int) -> int | None:
        """How many of them a model has that was fitted with this config; None where it sees the columns."""
        asked = self.observation_components
        return None if asked == "auto" or asked >= n_columns else asked

    def joint_loss_for(self, n_recorded: int) -> Literal["likelihood", "beta", "huber"]:
        """What the policy learns by in the joint fit, for so many recorded steps."""
        if self.policy_head == "mixture":
            return "likelihood"
        if self.policy_loss != "auto":
            return self.policy_loss
        return "likelihood" if self.are_few(n_recorded) else "beta"

    def are_few(self, n_recorded: int) -> bool:
        """Whether of so many recorded steps a policy is learned that reads unseen episodes well, or imitates well."""
        return n_recorded <= _FEW_STEPS


FitConfig = TalkConfig | UnbraidConfig


def modes_of_episodes(config: FitConfig) -> bool:
    """Whether modes are first told apart by whole episodes, so that there must be an episode for each."""
    return isinstance(config, UnbraidConfig) and config.sharing != "window"


_AT_LEAST_ONE = (
    "n_steps",
    "search_steps",
    "delta_steps",
    "batch_size",
    "steps_per_batch",
    "policy_batch",
    "window_steps",
    "window_batch",
    "encoder_width",
    "observation_components",
)

_AT_LEAST_ZERO = ("seed", "commitment", "weight_decay", "refine_steps", "policy_l1")


def _take_plain(config: "FitConfig") -> None:
    """Takes NumPy's numbers for Python's, and lists for tuples: what can be compared, and written as JSON."""
    for name, value in list(vars(config).items()):
        object.__setattr__(config, name, plain_setting(value))


def plain_setting(value: Any) -> Any:
    """A setting without NumPy: its scalars as Python's numbers, its arrays and lists as tuples."""
    if hasattr(value, "tolist"):  # an array, or a scalar
        value = value.tolist()
    return tuple(plain_setting(each) for each in value) if isinstance(value, list | tuple) else value


def _require_possible(config: "FitConfig") -> None:
    """Raises `ConfigError` for a setting that no fit can take, whatever the data (n_modes is checked with them)."""
    settings: dict[str, Any] = vars(config)
    wrong: dict[str, str] = {}
    for name, hint in get_type_hints(type(config)).items():
        kinds, value = get_args(hint), settings.get(name)
        auto = Literal["auto"] in kinds
        if get_origin(hint) is Literal:
            if value not in kinds:
                wrong[name] = f"one of {', '.join(kinds)}"
        elif get_origin(hint) is tuple:
            whole = isinstance(value, tuple) and all(_is_number(v, int) and v >= 1 for v in value)
            if not whole or (name == "window_lengths" and not value):
                wrong[name] = "whole numbers of at least 1"
        elif name in settings and not (auto and value == "auto"):
            number, what = (float, "a number") if float in (hint, *kinds) else (int, "a whole number")
            if not _is_number(value, number):
                wrong[name] = f"{what}, or auto" if auto else what
    for name, value in settings.items():
        if name in wrong or value == "auto":
            continue
        if name in _AT_LEAST_ONE and value < 1:
            wrong[name] = "at least 1"
        elif name in _AT_LEAST_ZERO and not 0 <= value < math.inf:
            wrong[name] = "at least 0"
        elif name == "learning_rate" and not 0 < value < math.inf:
            wrong[name] = "above 0"
    for name, what in wrong.items():
        default = type(config).__dataclass_fields__[name].default
        raise ConfigError(f"{name} must be {what}; got {settings[name]!r:.80}. The default is {default!r}.")


def _is_number(value: Any, kind: type[int] | type[float]) -> bool:
    return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)


METHODS: dict[str, type[TalkConfig] | type[UnbraidConfig]] = {c.method: c for c in (TalkConfig, UnbraidConfig)}
"""The kinds of config, by method."""

FLAGS: dict[str, tuple[str, ...]] = {
    "method": tuple(METHODS),
    "n_modes": tuple(METHODS),
    "sharing": ("unbraid",),
    "encoder": tuple(METHODS),
    "style": ("unbraid",),
    "delta_steps": ("talk",),
    "n_steps": tuple(METHODS),
    "refine_steps": ("unbraid",),
    "policy_hidden": tuple(METHODS),
    "policy_head": ("unbraid",),
    "policy_loss": ("unbraid",),
    "precision": ("unbraid",),
    "observation_components": ("unbraid",),
}
"""The settings that `unbraid fit` has a flag for, beside the seed, in order; and the methods that read each."""

_BEFORE_A_CHOICE: dict[str, Any] = {"policy_context": "input", "policy_layer_norm": "off", "policy_l1": 0.0}
"""What was done where a file does not say."""

_LATER = ("style", "precision", "policy_head", "observation_components")
"""Settings that came later: left out at their defaults, so that files of fits without them stay as they were."""


def config_to_json(config: FitConfig) -> dict[str, Any]:
    """The config as a JSON object that `config_from_json` reads."""
    defaults = type(config)()
    settings = dataclasses.asdict(config)
    kept = {k: v for k, v in settings.items() if k not in _LATER or v != getattr(defaults, k)}
    return {"method": config.method, **kept}


def config_from_json(content: Any) -> FitConfig:
    """The config that was written.

    Raises:
        ConfigError: no JSON object, or an unknown method or setting.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"A config must be an object of settings; got {content!r:.40}. Write the settings by name.")
    kind = METHODS.get(str(content.get("method")))
    if kind is None:
        raise ConfigError(f"method must be one of {sorted(METHODS)}; got {content.get('method')!r}. Name one of them.")
    known = {f.name for f in dataclasses.fields(kind)}
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k != "method"}
    if kind is UnbraidConfig:
        settings = _BEFORE_A_CHOICE | settings
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigError(f"{unknown[0]} must be a setting of {kind.__name__}; it is none. Known: {sorted(known)}.")
    return kind(**settings)  # pyright: ignore[reportArgumentType]
