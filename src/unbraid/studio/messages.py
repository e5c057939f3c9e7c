"""What the page may say, checked at the border: messages of a live session, and bodies of requests."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import N_SEEDS
from unbraid.studio.asking import STRONGEST
from unbraid.studio.edits import Kind
from unbraid.switching.preferences import Answer

__all__ = [
    "AnswerBody",
    "EditBody",
    "Message",
    "Pause",
    "Play",
    "Reset",
    "Sample",
    "Start",
    "Steer",
    "Step",
    "read_message",
    "said_of",
]


class _Said(BaseModel):
    """Nothing is converted, and nothing is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Slider = Annotated[float, Field(ge=-STRONGEST, le=STRONGEST, allow_inf_nan=False)]
_Seed = Annotated[int, Field(ge=0, lt=N_SEEDS)]


class Start(_Said):
    """Begin in a world, with one agent or two."""

    do: Literal["start"]
    env: Annotated[str, Field(max_length=200)]
    agents: Annotated[int, Field(ge=1, le=2)] = 1
    seed: _Seed = 0


class Play(_Said):
    """Go on, with so many steps a picture."""

    do: Literal["play"]
    steps_per_picture: Annotated[int, Field(ge=1, le=8)] = 1


class Pause(_Said):
    """Stand still."""

    do: Literal["pause"]


class Step(_Said):
    """One step, standing still."""

    do: Literal["step"]


class Reset(_Said):
    """Start over."""

    do: Literal["reset"]
    seed: _Seed


class Steer(_Said):
    """What one agent shall do from now on: one slider per mode shown, and a style."""

    do: Literal["steer"]
    agent: Annotated[int, Field(ge=0, le=1)] = 0
    sliders: Annotated[list[_Slider], Field(min_length=1, max_length=256)]
    style: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class Sample(_Said):
    """Whether actions are drawn, or the mean is taken."""

    do: Literal["sample"]
    sampled: bool


Message = Start | Play | Pause | Step | Reset | Steer | Sample
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="do")])


class EditBody(_Said):
    """One edit: see `edits.Edit`."""

    kind: Kind
    about: Annotated[int, Field(ge=0, lt=2**53)]
    into: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    text: Annotated[str, Field(max_length=2000)] = ""


class AnswerBody(_Said):
    """An answer to a pair of clips."""

    pair: Annotated[str, Field(max_length=40)]
    answer: Answer


def read_message(text: str) -> Message:
    """A message of a live session.

    Raises:
        ConfigError: it is none.
    """
    try:
        return _MESSAGES.validate_json(text)
    except ValidationError as error:
        said = said_of(
            [dict(one) for one in error.errors(include_url=False, include_input=False, include_context=False)]
        )
        raise ConfigError(f"A message must be one that the studio knows; {said}. Send another.") from None


def said_of(errors: list[dict[str, object]]) -> str:
    """What is wrong, for a person, without what was given."""
    told: list[str] = []
    for error in errors[:3]:
        place = error.get("loc")
        where = ".".join(str(part) for part in place) if isinstance(place, tuple | list) else ""
        told.append(f"{where}: {error.get('msg')}" if where else str(error.get("msg")))
    return "; ".join(told)[:300]
