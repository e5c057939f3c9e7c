"""`fit`: demonstrations and a config in, a `ModeModel` out."""

import dataclasses
import json
from textwrap import shorten

import numpy as np
import torch

from unbraid.core.errors import ConfigError
from unbraid.core.progress import silent_where
from unbraid.demos.check import bounds_kept_to, require_fit_ready
from unbraid.demos.episodes import Demos, require_demos
from unbraid.demos.selection import Selection
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.checkpoint import given_in_checkpoint, latest_checkpoint
from unbraid.training.config import FitConfig, TalkConfig, UnbraidConfig, config_to_json, modes_of_episodes
from unbraid.training.given import Given, told_by_the_first
from unbraid.training.loop import LoopOptions, computing, run_loop
from unbraid.training.model import ModeModel
from unbraid.training.origin import origin_of
from unbraid.training.ranks import ONE_RANK, Ranks
from unbraid.training.steps import Steps
from unbraid.training.talk import TalkLearner

__all__ = ["fit", "learner_for", "require_usable"]


def learner_for(
    demos: Demos | Selection,
    config: FitConfig,
    device: str = "auto",
    *,
    ranks: Ranks = ONE_RANK,
    given: Given | None = None,
) -> TalkLearner | CalibratedLearner:
    """A learner that has not taken a step, for those who drive it themselves.

    Args:
        demos: demonstrations.
        config: the method and its settings.
        device: where to fit.
        ranks: the processes that fit together.
        given: modes that unbraid's own method then does not search for.

    Raises:
        DataError, ConfigError: the demonstrations or the config are not fit for it.
    """
    require_demos(demos, Selection)
    if isinstance(config, UnbraidConfig):
        config = _with_windows_that_fit(config, demos)
    shortest = config.delta_steps if isinstance(config, TalkConfig) else min(config.window_lengths)
    n_modes = 2 if config.n_modes == "auto" else config.n_modes
    require_fit_ready(demos, window_steps=shortest, n_modes=n_modes, of_episodes=modes_of_episodes(config))
    steps = Steps.of(demos, origin=origin_of(demos))
    place = _resolved(device, ranks)
    if isinstance(config, TalkConfig):
        return TalkLearner(steps, config, place, ranks=ranks)
    return CalibratedLearner(steps, config, place, ranks=ranks, given=given)


def _require_settings(config: FitConfig, options: LoopOptions) -> None:
    for name, value, kinds, example in (
        ("config", config, (UnbraidConfig, TalkConfig), "UnbraidConfig(n_modes=3)"),
        ("options", options, (LoopOptions,), "LoopOptions(run='runs/first')"),
    ):
        if not isinstance(value, kinds):
            told = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
            must = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigError(f"{name} must be an object of {must}; got {told:.80}. Make one, as {example}.")


def _with_windows_that_fit(config: UnbraidConfig, demos: Demos | Selection) -> UnbraidConfig:
    """With windows of the second longest episode where all are longer than that: a fit needs two with a window."""
    second = int(np.sort(demos.lengths)[-2]) if demos.n_episodes > 1 else 0
    if second == 0 or min(config.window_lengths) <= second:
        return config
    return dataclasses.replace(config, window_lengths=(second,))


def _resolved(device: str, ranks: Ranks) -> str:
    """The device itself; "auto" is CUDA where there is one. Of several processes each has a GPU of its own."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.in_group and device != "cpu":
        n_gpus, local = torch.cuda.device_count(), ranks.place.local_rank
        if device != "cuda" or local >= n_gpus:
            raise ConfigError(
                f"Each process must have a GPU of its own, or all must fit on the CPU; got --device {device}, {n_gpus} "
                f"GPUs on this machine, and a process that is number {local} here, from 0. Start as many processes "
                "with --nproc-per-node as there are GPUs, or pass --device cpu."
            )
        device = f"cuda:{local}"
    require_usable(device)
    return device


def require_usable(device: str) -> None:
    """Raises `ConfigError` for a device that torch cannot use here."""
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = shorten(str(error).splitlines()[0].rstrip("."), 120, placeholder=" ...")
        raise ConfigError(
            f"The device must be one that torch can use here; {device!r} is not (torch says: {said}). "
            "Use auto, cpu, or cuda where there is a GPU."
        ) from error


def _found_before(options: LoopOptions) -> Given | None:
    """The modes that a fit which is resumed has found, told to all processes."""
    found = None
    if options.ranks.is_first and options.resume and options.folder is not None:
        newest = latest_checkpoint(options.folder / "checkpoints")
        found = None if newest is None else given_in_checkpoint(newest, options.asked)
    return told_by_the_first(options.ranks, found)


def fit(demos: Demos | Selection, config: FitConfig | None = None, options: LoopOptions | None = None) -> ModeModel:
    """Finds the modes in demonstrations and learns one policy that can be steered between them.

    Args:
        demos: demonstrations, or some of their episodes; labels and rewards are not read. What is memory-mapped is read
            from its file as it is needed, and may be larger than memory.
        config: the method and its settings; unbraid's own, with its defaults, when None.
        options: where to keep metrics and checkpoints, and whether to resume.

    Returns:
        The model; its `config` is the one that was asked, with what was taken in place of "auto" (of `n_modes`,
        `n_steps`, `policy_batch`, `weight_decay`, `policy_layer_norm`, `policy_head`, `encoder` and, of wide
        observations, `observation_components`), and windows no longer than episodes allow.

    Raises:
        DataError, ConfigError: the demonstrations or the config are not fit for it.
        RunError: the run's folder holds the checkpoints of another fit, and is not resumed; or, of several processes,
            one stopped, or has other data.
        ModelError: a checkpoint that cannot be resumed.
        StorageError: the disk refused.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    require_demos(demos, Selection)
    config = UnbraidConfig() if config is None else config
    options = LoopOptions() if options is None else options
    _require_settings(config, options)
    ranks = options.ranks
    if (options.run is not None or ranks.in_group) and not options.asked:
        asked = {"config": config_to_json(config), "data": demos.fingerprint()}
        options = dataclasses.replace(options, asked=asked)
    for name, content in sorted(options.asked.items()):
        ranks.require_same(name, json.dumps(content))
    with silent_where(not ranks.is_first), computing(options.n_threads):
        learner = learner_for(demos, config, options.device, ranks=ranks, given=_found_before(options))
        with (learner.first if isinstance(learner, CalibratedLearner) else learner).steps.read_at_random():
            run_loop(learner, options)
        model = learner.finished().cpu().eval()
    whole = demos.demos if isinstance(demos, Selection) else demos
    model.observation_names, model.action_bounds = whole.observation_names, bounds_kept_to(whole)
    if ranks.in_group:
        model.search = ranks.shared_json(model.search)  # the first alone has searched
    return model
