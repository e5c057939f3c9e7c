"""The stages that read and write data sets: what was asked for, in whatever format, and conversion between formats."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.progress import Advance, progress
from unbraid.core.runs import require_free
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.format import PART_STEPS, Format
from unbraid.demos.formats.recognise import format_for
from unbraid.demos.loading import Source, find_source, left_out, load_demos, load_parts
from unbraid.demos.options import ReadOptions
from unbraid.pipeline.places import MoreData
from unbraid.pipeline.requests import CheckRequest, ConvertRequest, FitRequest, ModesRequest, SweepRequest

__all__ = ["check_stage", "convert_stage", "load_asked", "naming", "reading_of", "require_share"]


def load_asked(asked: CheckRequest | FitRequest | ModesRequest | SweepRequest) -> Demos:
    """The demonstrations that a verb was asked to read: one data set, or several together."""
    more = asked.more
    return load_demos(asked.data, *more.demos, weights=more.weights or None, options=more.reading)


def reading_of(more: MoreData) -> dict[str, Any]:
    """How demonstrations were read, by the names of flags, as far as it was said: for `run.json`, so without paths."""
    reading = more.reading
    said = {field.name: getattr(reading, field.name) for field in fields(reading)}
    told: dict[str, Any] = {"n_more_demos": len(more.demos)} if more.demos else {}
    told |= {"weights": list(more.weights)} if more.weights else {}
    told |= {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in said.items()
        if value != getattr(ReadOptions(), name)
    }
    return {"reading": told} if told else {}


@contextmanager
def naming(source: Path) -> Generator[None]:
    """Names the file in every message about its contents."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def require_share(held_out: float) -> None:
    """Raises `ConfigError` for a share of held-out episodes that leaves none to learn from, or is none."""
    if not 0 <= held_out < 1:
        raise ConfigError(
            f"--held-out must be a share of the episodes, at least 0 and below 1; got {held_out:g}. 0.2 holds a fifth "
            "out, 0 none."
        )


def check_stage(asked: CheckRequest) -> dict[str, Any]:
    """What is wrong with a data set, and what its reader left out."""
    sources = [find_source(asked.data), *(find_source(one) for one in asked.more.demos)]
    demos = load_asked(asked)
    about = {"demos": str(asked.data), "recognised": [_recognised(source) for source in sources]}
    return about | {"left_out": list(left_out(demos)), **check_demos(demos).to_json()}


def convert_stage(asked: ConvertRequest) -> dict[str, Any]:
    """Writes a data set in another format, whole or not at all, a part of its episodes at a time."""
    require_free(asked.target)
    source, target = find_source(asked.source), format_for(asked.target, asked.to)
    assert target.write_parts is not None  # `format_for` refuses a format that is only read
    seen = _Seen(target)
    with progress("convert", None, "steps") as advance:
        parts = seen.passing(load_parts(source, options=asked.reading, n_steps=PART_STEPS), advance)
        target.write_parts(parts, asked.target)
    return {
        "source": str(asked.source),
        "recognised": _recognised(source),
        "target": str(asked.target),
        "format": target.name,
        "title": target.title,
        "n_episodes": seen.n_episodes,
        "n_steps": seen.n_steps,
        "left_out": list(seen.left_out),
        "not_held": list(seen.not_held),
    }


def _recognised(source: Source) -> dict[str, Any]:
    return {"path": str(source.path), "format": source.format.name, "title": source.format.title, "why": source.why}


@dataclass
class _Seen:
    """What passed on its way from one format to another."""

    target: Format
    n_episodes: int = 0
    n_steps: int = 0
    left_out: dict[str, None] = field(default_factory=dict[str, None])
    not_held: dict[str, None] = field(default_factory=dict[str, None])

    def passing(self, parts: Iterator[Demos], advance: Advance) -> Iterator[Demos]:
        """The parts as they are; sentences that more than one part gives rise to are said once."""
        for part in parts:
            self.n_episodes += part.n_episodes
            self.n_steps += part.n_steps
            self.left_out |= dict.fromkeys(left_out(part))
            self.not_held |= dict.fromkeys(self.target.not_held(part))
            yield part
            advance(part.n_steps)
        if self.n_episodes == 0:
            raise DataError("There must be an episode to convert; there is none. Record some.")
