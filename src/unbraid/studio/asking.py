"""From sliders to a policy: what they ask of `steer`, and the line of Python that asks the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from unbraid.core.errors import ConfigError
from unbraid.steering.steered import SteeredPolicy
from unbraid.studio.edits import Shown
from unbraid.training.model import ModeModel

__all__ = ["STRONGEST", "Asked", "asked_of", "require_sliders", "shares_within"]

STRONGEST = 3.0
"""How far a slider goes, either way."""


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """A policy, and how it was asked for.

    Attributes:
        policy: what acts.
        words: for a person.
        line: the Python that gives the same policy.
    """

    policy: SteeredPolicy
    words: str
    line: str

    def to_json(self) -> dict[str, Any]:
        """What the page may copy: the instruction, the context where it is one, and the line."""
        context = self.policy.context
        told: dict[str, Any] = {"instruction": self.policy.instruction.to_json()}
        if self.policy.model.style_reader is not None:
            told["style"] = self.policy.style_quantile
        told["context"] = None if context is None else [round(float(value), 6) for value in context]
        return told | {"words": self.words, "python": self.line}


def require_sliders(sliders: Sequence[float], n_shown: int) -> None:
    """Raises `ConfigError` where sliders are not one number in [-3, 3] for every mode that is shown."""
    if len(sliders) != n_shown or not all(abs(value) <= STRONGEST for value in sliders):
        raise ConfigError(
            f"Sliders must be {n_shown} numbers in [-{STRONGEST:g}, {STRONGEST:g}], one per mode shown; got "
            f"{list(sliders)!s:.80}. Give those."
        )


def asked_of(
    policy: SteeredPolicy,
    sliders: Sequence[float],
    shown: Sequence[Shown],
    *,
    run: Path,
    style: float | None = None,
) -> Asked:
    """The policy that sliders ask for.

    One slider above 0 asks towards its mode, as strongly as it says; several ask for a blend in their proportions. A
    slider below 0 asks away from its mode. All at 0 ask for the average of all modes. What a person merged moves as
    one: its modes share what its slider says by their share of the data, a blend that has no strength of its own.

    Args:
        policy: of the model; what it was asked before is replaced.
        sliders: one per mode shown, in [-3, 3].
        shown: the modes as the page shows them.
        run: as the line of Python names it.
        style: how the mode is done, for a model with styles; None leaves the typical one.

    Raises:
        ConfigError: the wrong number of sliders, or a number out of its range.
    """
    require_sliders(sliders, len(shown))
    of_mode: dict[int, float] = {}
    for mode, value in zip(shown, sliders, strict=True):
        of_mode |= {k: round(value * share, 6) for k, share in shares_within(policy.model, mode.modes).items()}
    wanted = {k: value for k, value in sorted(of_mode.items()) if value > 0}
    calls: list[str] = []
    if len(wanted) == 1:
        ((k, value),) = wanted.items()
        policy = policy.toward(k, value)
        calls.append(f".toward({k})" if value == 1 else f".toward({k}, {_number(value)})")
    elif wanted:
        whole = sum(wanted.values())
        weights = {k: round(value / whole, 6) for k, value in wanted.items()}
        last = max(weights)
        weights[last] = 1.0 - sum(value for k, value in weights.items() if k != last)
        policy = policy.blend(weights)
        calls.append(".blend({" + ", ".join(f"{k}: {value!r}" for k, value in weights.items()) + "})")
    for k, value in sorted(of_mode.items()):
        if value < 0:
            policy = policy.away(k, -value)
            calls.append(f".away({k})" if value == -1 else f".away({k}, {_number(-value)})")
    if not calls:
        policy, calls = policy.toward(0, 0), [".toward(0, 0)"]
    words = _words(sliders, shown)
    if style is not None:
        policy = policy.style(style)
        calls.append(f".style({_number(style)})")
        words += f", style {style:g}"
    line = f"policy = steer(ModeModel.from_pretrained({str(run)!r})){''.join(calls)}"
    return Asked(policy, words, line)


def _number(value: float) -> str:
    """The number, to its last digit, as short as it can be written."""
    return repr(int(value)) if value == int(value) else repr(float(value))


def _words(sliders: Sequence[float], shown: Sequence[Shown]) -> str:
    """What sliders ask for, by the names that a person gave."""
    wanted = [(mode, value) for mode, value in zip(shown, sliders, strict=True) if value > 0]
    avoided = [(mode.name, -value) for mode, value in zip(shown, sliders, strict=True) if value < 0]
    words: list[str] = []
    if len(wanted) == 1:
        ((mode, value),) = wanted
        words.append(f"towards {_times(mode.name, value if len(mode.modes) == 1 else 1.0)}")
    elif wanted:
        whole = sum(value for _, value in wanted)
        words.append("between " + " + ".join(f"{100 * value / whole:.0f} % {mode.name}" for mode, value in wanted))
    words += [f"away from {_times(name, value)}" for name, value in avoided]
    return ", ".join(words) or "the average of all modes"


def _times(name: str, value: float) -> str:
    return name if value == 1 else f"{name} x {value:g}"


def shares_within(model: ModeModel, modes: Sequence[int]) -> dict[int, float]:
    """Mode -> its part in a shown mode that stands for several, by their shares of the data; they sum to 1."""
    weights = [max(float(model.shares[k]), 1e-6) for k in modes]
    return {k: weight / sum(weights) for k, weight in zip(modes, weights, strict=True)}
