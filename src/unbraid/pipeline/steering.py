"""The verb `steer`: an instruction in words becomes a policy, which is rolled out, measured, drawn and filmed."""

from collections.abc import Mapping
from typing import Any

from unbraid.core.errors import ConfigError
from unbraid.core.runs import require_free, write_bytes
from unbraid.demos.store import save_demos
from unbraid.evaluation.evaluate import Evaluation, evaluate, fresh_seeds
from unbraid.evaluation.obedience import OBEYED_WINDOW, floored_share, obedience
from unbraid.pipeline.measured import collected_seeds
from unbraid.pipeline.requests import SteerRequest
from unbraid.pipeline.unfinished import all_or_none
from unbraid.steering.instructions import Instruction
from unbraid.steering.steered import SteeredPolicy, steer
from unbraid.training.model import ModeModel

__all__ = ["steer_stage"]


def steer_stage(asked: SteerRequest) -> dict[str, Any]:
    """Rolls a policy out under what was asked of it, and measures it; keeps episodes, picture and film where asked."""
    policy = _steered(ModeModel.from_pretrained(asked.run), asked)
    require_free(*(path for path in (asked.save, asked.picture, asked.video) if path is not None))
    for option, path, ending in (("--picture", asked.picture, ".png"), ("--video", asked.video, ".mp4")):
        if path is not None and path.suffix.lower() != ending:
            raise ConfigError(f"{option} must name a file that ends in {ending}; got {path.name}. Name it so.")
    seeds = fresh_seeds(asked.episodes, seed=asked.seed, avoid=collected_seeds(asked.run))
    found = evaluate(policy, asked.env, seeds=seeds, max_steps=asked.max_steps)
    files = {}  # made before any is written
    if asked.picture is not None:
        files[asked.picture] = _picture(found, _in_words(policy.instruction))
    if asked.video is not None:
        from unbraid.report.video import video

        files[asked.video] = video(asked.env, next(iter(found.rollouts.demos)))
    rollouts = found.rollouts.demos
    with all_or_none() as made:
        if asked.save is not None:
            save_demos(rollouts, asked.save)
            made.append(asked.save)
        for path, content in files.items():
            write_bytes(path, content)
            made.append(path)
    obeyed: dict[str, Any] = {}
    if policy.instruction.mode is not None:
        long_enough = int(rollouts.lengths.max()) >= OBEYED_WINDOW
        read = (
            obedience(policy.model, rollouts, policy.instruction.mode, window_steps=OBEYED_WINDOW)
            if long_enough
            else None
        )
        obeyed = {"obedience": None if read is None else read.to_json()}
    return {
        "instruction": _in_words(policy.instruction),
        "context": None if policy.context is None else policy.context.tolist(),
        "floored": floored_share(policy, rollouts),
        "n_steps": rollouts.n_steps,
        **obeyed,
        **({} if asked.style is None else {"style": asked.style}),
        **found.to_json(),
    }


def _steered(model: ModeModel, asked: SteerRequest) -> SteeredPolicy:
    policy = steer(model)
    if asked.blend is not None and asked.context is not None:
        raise ConfigError("Either --blend or --context must be given, not both. Leave one of them out.")
    if asked.blend is not None:
        policy = policy.blend(_numbers_of_modes("--blend", asked.blend.split(",")))
    if asked.context is not None:
        policy = policy.with_context(asked.context)
    if asked.toward is not None:
        policy = policy.toward(asked.toward, asked.strength)
    for mode, strength in _numbers_of_modes("--away", asked.away, default=1.0).items():
        policy = policy.away(mode, strength)
    if not policy.instruction.asks:
        raise ConfigError("One of --toward, --away, --blend and --context must be given; none was. Name a mode.")
    return policy if asked.style is None else policy.style(asked.style)


def _numbers_of_modes(
    option: str, given: tuple[str, ...] | list[str], default: float | None = None
) -> dict[int, float]:
    """``0=2`` -> {0: 2.0}; without a number the default, where there is one."""
    found: dict[int, float] = {}
    for text in given:
        mode, equals, number = text.partition("=")
        try:
            key, value = int(mode), float(number) if equals or default is None else default
        except ValueError:
            example = "1=.7,3=.3" if default is None else "0, or 0=2"
            raise ConfigError(f"{option} must name modes and numbers, as in {example}; got {text!r}.") from None
        if key in found:
            raise ConfigError(f"{option} must name a mode once; mode {key} comes twice. Leave one of them out.")
        found[key] = value
    return found


def _in_words(asked: Instruction) -> str:
    """What is asked, for a person: toward mode 2 (strength 1.5), away from mode 0."""

    def each(numbers: Mapping[int, float]) -> str:
        return " + ".join(f"{number:g} x mode {mode}" for mode, number in numbers.items())

    parts: list[str] = []
    if asked.mode is not None:
        parts.append(f"toward mode {asked.mode}" + ("" if asked.strength == 1 else f" (strength {asked.strength:g})"))
    if asked.blend:
        parts.append(("from " if asked.mode is not None else "between ") + each(dict(asked.blend)))
    if asked.context is not None:
        parts.append(f"context {[round(value, 3) for value in asked.context]}")
    parts += [f"away from mode {k}" + ("" if w == 1 else f" (strength {w:g})") for k, w in asked.away]
    return ", ".join(parts)


def _picture(found: Evaluation, title: str) -> bytes:
    """The first rollout from above, as a PNG."""
    from unbraid.report.paths import Panel, paths_figure
    from unbraid.report.record import PATH_ARRAYS, TopDownPath
    from unbraid.report.style import NARROW, png

    track = found.rollouts.tracks[0]
    missing = [name for name in PATH_ARRAYS if name not in track]
    if missing:
        raise ConfigError(f"--picture needs a world that tells {missing[0]}; {found.env_id} does not. Leave it out.")
    path = TopDownPath(**{name: track[name] for name in PATH_ARRAYS})
    return png(paths_figure([[Panel(title, path, note=f"seed {found.seeds[0]}")]], NARROW))
