"""The verb `steer`: an instruction in words becomes a policy, which is rolled out, measured, drawn and filmed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError
from unbraid.core.runs import require_free, write_bytes
from unbraid.demos.episodes import Demos
from unbraid.demos.store import save_demos
from unbraid.evaluation.evaluate import Evaluation, evaluate, fresh_seeds
from unbraid.evaluation.obedience import OBEYED_WINDOW, change_obeyed, floored_share, obedience, turn_of
from unbraid.pipeline.environment import environment_of, require_possible_numbers
from unbraid.pipeline.measured import collected_seeds
from unbraid.pipeline.requests import SteerRequest
from unbraid.pipeline.unfinished import all_or_none
from unbraid.pipeline.words import Wanted, context_of, numbers_of_modes, shares_of, turns_of
from unbraid.steering.instructions import BASE, Instruction
from unbraid.steering.schedules import Schedule, by_episode, in_turn
from unbraid.steering.steered import SteeredPolicy, steer
from unbraid.training.model import ModeModel
from unbraid.worlds.rollout import first_noise

__all__ = ["steer_stage", "unlearned"]


def steer_stage(asked: SteerRequest) -> dict[str, Any]:
    """Rolls a policy out under what was asked of it, and measures it; keeps episodes, picture and film where asked."""
    require_possible_numbers(asked)
    model = ModeModel.from_pretrained(asked.run)
    parts, env_id = _parts(model, asked), environment_of(asked.run, asked.env, model)
    require_free(*(path for path in (asked.save, asked.picture, asked.video) if path is not None))
    for option, path, ending in (("--picture", asked.picture, ".png"), ("--video", asked.video, ".mp4")):
        if path is not None and path.suffix.lower() != ending:
            raise ConfigError(f"{option} must name a file that ends in {ending}; got {path.name}. Name it so.")
    seeds = fresh_seeds(asked.episodes, seed=asked.seed, avoid=collected_seeds(asked.run))
    acting = _acting(parts, asked)
    found = evaluate(acting, env_id, seeds=seeds, max_steps=asked.max_steps)
    rollouts, told = found.rollouts.demos, _told(parts, asked, acting, found)
    files = {}  # made before any is written
    if asked.picture is not None:
        files[asked.picture] = _picture(found, _title(told, found.seeds[0]))
    if asked.video is not None:
        from unbraid.report.video import video

        files[asked.video] = video(env_id, next(iter(rollouts)))
    with all_or_none() as made:
        if asked.save is not None:
            save_demos(replace(rollouts, observation_names=model.observation_names), asked.save)
            made.append(asked.save)
        for path, content in files.items():
            write_bytes(path, content)
            made.append(path)
    return {**told, "warnings": unlearned(model, [part.policy.instruction for part in parts]), **found.to_json()}


def unlearned(model: ModeModel, instructions: Sequence[Instruction]) -> list[str]:
    """A warning for each mode that is asked for, or avoided, and that holds no demonstration."""
    asked = sorted({factor for instruction in instructions for factor in instruction.powers if factor != BASE})
    return [
        f"Mode {mode} holds no demonstration: what the policy does under it was never learned. Choose another, or fit "
        "again with fewer modes."
        for mode in asked
        if model.shares[mode] == 0
    ]


@dataclass(frozen=True)
class _Part:
    """One of the policies that act, and from which step on, or in which share of episodes."""

    number: float | int
    policy: SteeredPolicy
    style: float | None

    @property
    def words(self) -> str:
        """What is asked of it, for a person."""
        return _in_words(self.policy.instruction) + ("" if self.style is None else f", style {self.style:g}")


def _parts(model: ModeModel, asked: SteerRequest) -> list[_Part]:
    """Every policy that was asked for: one, unless instructions change."""
    flags: dict[str, Any] = {field.name: getattr(asked, field.name) for field in fields(Wanted)}
    if asked.context is not None:
        flags["context"] = context_of(asked.context)
    wanted = Wanted(**flags)
    given = {"--in-turn": asked.in_turn, "--by-episode": asked.by_episode}
    option = next((option for option, items in given.items() if items), None)
    if option is None:
        return [_Part(0, _steered(model, wanted, "--"), wanted.style)]
    beside = [f"--{name}" for name in wanted.named] + [o for o, items in given.items() if items and o != option]
    if beside:
        raise ConfigError(
            f"{option} must stand without {' and '.join(beside)}: its items say all that is wanted. Leave one of them "
            "out, or say it in the items, as in '0: toward 1 away 0'."
        )
    parts: list[_Part] = []
    for item in turns_of(asked.in_turn) if asked.in_turn else shares_of(asked.by_episode):
        try:
            parts.append(_Part(item.number, _steered(model, item.wanted, ""), item.wanted.style))
        except ConfigError as error:
            raise ConfigError(f"{option} {item.text!r}: {error}") from None
    return parts


def _steered(model: ModeModel, wanted: Wanted, dashes: str) -> SteeredPolicy:
    """The policy under what is wanted; `dashes` stand before its words in messages."""
    policy = steer(model)
    if wanted.blend is not None and wanted.context is not None:
        raise ConfigError(f"Either {dashes}blend or {dashes}context must be given, not both. Leave one of them out.")
    if wanted.strength is not None and wanted.toward is None:
        raise ConfigError(
            f"{dashes}strength must come with {dashes}toward; it came alone. Name a mode, or leave it out."
        )
    base = "blend" if wanted.blend is not None else "context" if wanted.context is not None else None
    if base is not None and wanted.toward is not None and wanted.strength in (None, 1):
        raise ConfigError(
            f"{dashes}toward must come with a {dashes}strength other than 1 beside {dashes}{base}: at 1, the default, "
            f"the mode takes its place, and nothing is left of it. Say how far towards the mode, as in {dashes}"
            "strength .5, or leave one of them out."
        )
    if wanted.blend is not None:
        policy = policy.blend(numbers_of_modes(f"{dashes}blend", wanted.blend.split(",")))
    if wanted.context is not None:
        policy = policy.with_context(wanted.context)
    if wanted.toward is not None:
        policy = policy.toward(wanted.toward, 1.0 if wanted.strength is None else wanted.strength)
    for mode, strength in numbers_of_modes(f"{dashes}away", wanted.away, default=1.0).items():
        policy = policy.away(mode, strength)
    if not policy.instruction.asks:
        names = [f"{dashes}{name}" for name in ("toward", "away", "blend", "context")]
        names += ["--in-turn", "--by-episode"] if dashes else []
        raise ConfigError(f"One of {', '.join(names[:-1])} and {names[-1]} must be given; none was. Name a mode.")
    return policy if wanted.style is None else policy.style(wanted.style)


def _acting(parts: Sequence[_Part], asked: SteerRequest) -> SteeredPolicy | Schedule:
    if asked.in_turn:
        return in_turn({int(part.number): part.policy for part in parts})
    if asked.by_episode:
        return by_episode({part.policy: part.number for part in parts})
    return parts[0].policy


def _told(
    parts: Sequence[_Part], asked: SteerRequest, acting: SteeredPolicy | Schedule, found: Evaluation
) -> dict[str, Any]:
    """What was asked, and how it was followed, in all and in every turn or by every policy."""
    rollouts = found.rollouts.demos
    if isinstance(acting, SteeredPolicy):
        return _part_told(parts[0], rollouts)
    if asked.in_turn:
        kind, every = "in_turn", _turns_told(parts, rollouts)
        words = [f"from step {told['first_step']} on: {told['instruction']}" for told in every[1:]]
        words = [every[0]["instruction"], *words]
    else:
        kind, every = "by_episode", _shares_told(parts, acting, found)
        words = [f"{100 * told['share']:g} % of episodes: {told['instruction']}" for told in every]
    n_floored = sum(told["floored"] * told["n_steps"] for told in every if told["n_steps"])
    return {
        "instruction": "; ".join(words),
        "context": None,
        "floored": n_floored / rollouts.n_steps,
        "n_steps": rollouts.n_steps,
        kind: every,
    }


def _part_told(part: _Part, rollouts: Demos | None) -> dict[str, Any]:
    """What one policy was asked, and how it was followed where it acted; None for what it then had no steps for."""
    policy, mode = part.policy, part.policy.instruction.mode
    obeyed: dict[str, Any] = {} if mode is None else {"obedience": None}
    if mode is not None and rollouts is not None and int(rollouts.lengths.max()) >= OBEYED_WINDOW:
        obeyed = {"obedience": obedience(policy.model, rollouts, mode, window_steps=OBEYED_WINDOW).to_json()}
    return {
        "instruction": part.words,
        "context": None if policy.context is None else policy.context.tolist(),
        "floored": None if rollouts is None else floored_share(policy, rollouts),
        "n_steps": 0 if rollouts is None else rollouts.n_steps,
        **obeyed,
        **({} if part.style is None else {"style": part.style}),
    }


def _turns_told(parts: Sequence[_Part], rollouts: Demos) -> list[dict[str, Any]]:
    """Of every turn; where it asks for another mode than the one before, also how soon that took effect."""
    every: list[dict[str, Any]] = []
    ends = [int(part.number) for part in parts[1:]]
    mode_before = None
    for part, end in zip(parts, [*ends, None], strict=True):
        turn, mode = turn_of(rollouts, int(part.number), end), part.policy.instruction.mode
        told = {"first_step": int(part.number), **_part_told(part, turn)}
        if every and mode is not None and mode != mode_before:
            change = None if turn is None else change_obeyed(part.policy.model, turn, mode)
            told["steps_until_obeyed"] = None if change is None else change.to_json()
        every.append(told)
        mode_before = mode
    return every


def _shares_told(parts: Sequence[_Part], acting: Schedule, found: Evaluation) -> list[dict[str, Any]]:
    """Of every policy, with the episodes that it got."""
    rollouts = found.rollouts.demos
    whose = acting.begins_with(first_noise(found.seeds, rollouts.action_size))
    every: list[dict[str, Any]] = []
    for index, part in enumerate(parts):
        own = np.flatnonzero(whose == index)
        told = _part_told(part, rollouts.select(own) if len(own) else None)
        seeds = [found.seeds[episode] for episode in own.tolist()]
        every.append({"share": part.number, "n_episodes": len(own), "seeds": seeds, **told})
    return every


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


def _title(told: dict[str, Any], seed: int) -> str:
    """A short one, for the episode of that seed."""
    if "in_turn" in told:
        return f"{len(told['in_turn'])} instructions in turn"
    return next((one["instruction"] for one in told.get("by_episode", []) if seed in one["seeds"]), told["instruction"])


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
