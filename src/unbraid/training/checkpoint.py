"""Checkpoints: all that a learner is, as safetensors and JSON, so that training resumes bit for bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, ModelError
from unbraid.core.runs import differences, new_folder, write_bytes, write_json
from unbraid.training.config import UnbraidConfig, config_from_json
from unbraid.training.given import Given
from unbraid.training.model import ModeModel
from unbraid.training.ranks import Ranks

__all__ = [
    "Learner",
    "as_the_first",
    "given_in_checkpoint",
    "latest_checkpoint",
    "load_checkpoint",
    "model_in_checkpoint",
    "save_checkpoint",
]

_FORMAT, _VERSION = "unbraid-checkpoint", 1
_KEPT = 2
_SEEN_AND_DONE = ("observation", "action")


@runtime_checkable
class Learner(Protocol):
    """What a training loop drives and a checkpoint holds; one class a method."""

    @property
    def n_steps(self) -> int:
        """Gradient steps that were asked for."""
        ...

    @property
    def taken(self) -> int:
        """Gradient steps taken so far."""
        ...

    @property
    def samples_per_step(self) -> int:
        """Recorded steps that one gradient step learns from."""
        ...

    def step(self) -> dict[str, Tensor]:
        """One gradient step; "loss" and its named terms."""
        ...

    def usage(self) -> Tensor:
        """(mode,) the share of the data in each code."""
        ...

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights or buffers."""
        ...

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's, generators included."""
        ...

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, after modules and optimisers were restored."""
        ...


def save_checkpoint(learner: Learner, folder: Path, asked: dict[str, Any], beside: dict[str, Tensor]) -> Path:
    """Writes `folder/step_NNNNNNN/`, whole or not at all, and drops all but the newest two.

    Args:
        learner: between two steps.
        folder: the run's `checkpoints/`.
        asked: the config and the data's fingerprint: a resume with others is refused.
        beside: what `load_checkpoint` is to give back.

    Raises:
        StorageError: the disk refused; older checkpoints are untouched.
    """
    from safetensors.torch import save

    target = folder / f"step_{learner.taken:07d}"
    if not target.exists():
        with new_folder(target) as temporary:
            write_bytes(temporary / "state.safetensors", save(_tensors_of(learner, beside)))
            write_json(
                temporary / "state.json",
                {"format": _FORMAT, "version": _VERSION, "taken": learner.taken, "asked": asked},
            )
    for old in (*_oldest_first(folder)[:-_KEPT], *folder.glob(".step_*.part")):  # and what a killed run half wrote
        shutil.rmtree(old, ignore_errors=True)
    return target


def _tensors_of(learner: Learner, beside: dict[str, Tensor]) -> dict[str, Tensor]:
    """All that a learner is, and what stands beside it, as `_restore` reads it."""
    tensors = {f"state/{name}": value for name, value in learner.tensors().items()}
    tensors |= {f"beside/{name}": value for name, value in beside.items()}
    for name, module in learner.modules().items():
        tensors |= {f"module/{name}/{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in learner.optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{name}/{index}/{key}": value for key, value in state.items()}
    return {name: value.contiguous() for name, value in tensors.items()}


def as_the_first(learner: Learner, ranks: Ranks) -> None:
    """Puts the learners of all processes where the first one's is, be it at the start or after a resume."""
    from safetensors.torch import load, save

    if not ranks.in_group:
        return
    own = _tensors_of(learner, {"taken": torch.tensor(learner.taken)}) if ranks.is_first else {}
    tensors = load(ranks.shared(save(own)))
    if not ranks.is_first:
        _restore(learner, tensors, int(tensors["beside/taken"]))


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a run's `checkpoints/`, or None."""
    found = _oldest_first(folder)
    return found[-1] if found else None


def _oldest_first(folder: Path) -> list[Path]:
    """Those that `save_checkpoint` has written, and not what somebody has set aside under another name."""
    taken = {path: path.name.removeprefix("step_") for path in folder.glob("step_*")}
    return sorted((path for path in taken if taken[path].isdecimal()), key=lambda path: int(taken[path]))


def load_checkpoint(learner: Learner, path: Path, asked: dict[str, Any]) -> dict[str, Tensor]:
    """Puts a freshly made learner where the checkpoint's was; returns what was saved `beside` it.

    Raises:
        ModelError: the checkpoint is damaged, or was made with another config or other data.
    """
    facts, tensors = _read(path)
    _require_asked(path, facts, asked)
    try:
        _restore(learner, tensors, int(facts["taken"]))
    except (KeyError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise ModelError(
            f"{path} must hold all that the fit needs; {said:.200}. Remove it, to go on from an older one."
        ) from error
    return _below(tensors, "beside/")


def given_in_checkpoint(path: Path, asked: dict[str, Any]) -> Given | None:
    """The modes that the fit of a checkpoint has found, which then need not be searched for again; None where it does
    not search.

    Raises:
        ModelError: the checkpoint is damaged, or was made with another config or other data.
    """
    facts, tensors = _read(path, "state/")
    _require_asked(path, facts, asked)
    try:
        return Given.of_tensors(_below(tensors, "state/"))
    except KeyError:
        return None


def _require_asked(path: Path, facts: dict[str, Any], asked: dict[str, Any]) -> None:
    known = facts.get("asked", {})
    differing = sorted(k for k in asked if known.get(k) != json.loads(json.dumps(asked[k])))
    if differing:
        raise ModelError(
            f"{path} must be resumed with the {' and '.join(differing)} that it was made with; they differ: "
            f"{differences(*({name: of.get(name) for name in differing} for of in (known, asked)))}. Repeat the first "
            "call's settings and data, or start a new run."
        )


def model_in_checkpoint(path: Path) -> ModeModel:
    """The model as it was when a checkpoint was written: to be looked at while the fit goes on.

    What a fit does at its end is not done to it: it is not calibrated, and of the talk's method it has not the contexts
    that a person steers with.

    Raises:
        ModelError: the checkpoint is damaged, gone, or holds no model of these methods.
    """
    facts, tensors = _read(path, "module/model/")
    weights = _below(tensors, "module/model/")
    try:
        n_modes, sizes = len(weights["contexts"]), [len(weights[f"{of}_normaliser.mean"]) for of in _SEEN_AND_DONE]
        config = replace(config_from_json(facts["asked"]["config"]), n_modes=n_modes)
        if isinstance(config, UnbraidConfig) and "observation_normaliser.components" in weights:
            n_components = weights["observation_normaliser.components"].shape[1]
            config = replace(config, observation_components=n_components)
        with torch.random.fork_rng(devices=[]):  # a new model draws weights, which are read over
            model = ModeModel(config, observation_size=sizes[0], action_size=sizes[1])
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        said = " ".join(str(error).split())
        raise ModelError(f"{path} must hold a model; {said:.200}. Use the unbraid that wrote it.") from error
    return model.eval()


def _read(path: Path, prefix: str = "") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is in a checkpoint: facts, and the tensors whose names begin with `prefix`; no others are read."""
    from safetensors import SafetensorError, safe_open

    try:
        facts = json.loads((path / "state.json").read_text(encoding="utf-8"))
        with safe_open(path / "state.safetensors", framework="pt") as file:
            names = [name for name in list(file.keys()) if name.startswith(prefix)]
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{path} must be a whole checkpoint; {error}. Remove it, to go on from an older one."
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT or facts.get("version") != _VERSION:
        raise ModelError(
            f"{path} must have format {_FORMAT}, version {_VERSION}; it has not. Use the unbraid that wrote it."
        )
    return facts, tensors


def _restore(learner: Learner, tensors: dict[str, Tensor], taken: int) -> None:
    for name, module in learner.modules().items():
        module.load_state_dict(_below(tensors, f"module/{name}/"))
    for name, optimizer in learner.optimizers().items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"optimizer/{name}/").items():
            index, _, field = key.partition("/")
            state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    learner.restore(_below(tensors, "state/"), taken)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
