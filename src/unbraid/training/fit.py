"""`fit`: demonstrations and a config in, a `ModeModel` out."""

import dataclasses

import torch

from unbraid.core.errors import ConfigError
from unbraid.demos.check import require_fit_ready
from unbraid.demos.episodes import Demos
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import FitConfig, TalkConfig, UnbraidConfig, config_to_json
from unbraid.training.loop import LoopOptions, computing, run_loop
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps
from unbraid.training.talk import TalkLearner

__all__ = ["fit", "learner_for"]


def learner_for(demos: Demos, config: FitConfig, device: str = "auto") -> TalkLearner | CalibratedLearner:
    """A learner that has not taken a step, for those who drive it themselves.

    Raises:
        DataError, ConfigError: the demonstrations or the config are not fit for it.
    """
    shortest = config.delta_steps if isinstance(config, TalkConfig) else min(config.window_lengths)
    n_modes = 2 if config.n_modes == "auto" else config.n_modes
    require_fit_ready(demos, window_steps=shortest, n_modes=n_modes)
    steps = Steps.of(demos)
    place = _resolved(device)
    if isinstance(config, TalkConfig):
        return TalkLearner(steps, config, place)
    return CalibratedLearner(steps, config, place)


def _resolved(device: str) -> str:
    """The device itself; "auto" is CUDA where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(
            f"The device must be one that torch can use here; {device!r} is not: {said:.120} "
            "Use auto, cpu, or cuda where there is a GPU."
        ) from error
    return device


def fit(demos: Demos, config: FitConfig | None = None, options: LoopOptions | None = None) -> ModeModel:
    """Finds the modes in demonstrations and learns one policy that can be steered between them.

    Args:
        demos: demonstrations; labels and rewards are not read.
        config: the method and its settings; unbraid's own, with its defaults, when None.
        options: where to keep metrics and checkpoints, and whether to resume.

    Returns:
        The model; its `config` is the one that was asked.

    Raises:
        DataError, ConfigError: the demonstrations or the config are not fit for it.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    config, options = config or UnbraidConfig(), options or LoopOptions()
    if options.run is not None and not options.asked:
        asked = {"config": config_to_json(config), "data": demos.fingerprint()}
        options = dataclasses.replace(options, asked=asked)
    with computing(options.n_threads):
        learner = learner_for(demos, config, options.device)
        run_loop(learner, options)
        return learner.finished().cpu().eval()
