"""Out of the lab, as the verb `export` calls it: ONNX, a `torch.export` program, and a folder or push for the Hub."""

from typing import Any

import gymnasium
import numpy as np

from unbraid.core.errors import ConfigError, WorldError
from unbraid.core.runs import require_free
from unbraid.evaluation.evaluate import require_fitting_world
from unbraid.pipeline.requests import ExportRequest
from unbraid.pipeline.unfinished import all_or_none
from unbraid.report.card import model_card
from unbraid.report.record import results_if_any
from unbraid.steering.export import export_onnx, export_program
from unbraid.training.model import ModeModel
from unbraid.worlds.making import make_world, spec_of

__all__ = ["export_stage"]


def export_stage(asked: ExportRequest) -> dict[str, Any]:
    """Writes what was asked for, and says how far it is from PyTorch; what goes to the Hub goes last."""
    files = [path for path in (asked.onnx, asked.program, asked.hub_folder) if path is not None]
    if not files and asked.push is None:
        raise ConfigError(
            "At least one of --onnx, --program, --hub-folder and --push must be given; none was. "
            "Name a file: --onnx policy.onnx."
        )
    require_free(*files)
    model = ModeModel.from_pretrained(asked.run)
    results = results_if_any(asked.run) or None
    data = {} if results is None else results.get("data") or {}
    beside: dict[str, Any] = {
        "action_bounds": _bounds(model, asked.env, data.get("env_id")),
        "observation_names": data.get("observation_names") or (),
    }
    found: dict[str, Any] = {"run": str(asked.run), "n_modes": model.n_modes, "evaluated": results is not None}
    with all_or_none() as made:
        if asked.onnx is not None:
            found["onnx"] = export_onnx(model, asked.onnx, **beside).to_json()
            made.append(asked.onnx)
        if asked.program is not None:
            found["program"] = export_program(model, asked.program, **beside).to_json()
            made.append(asked.program)
        if asked.hub_folder is not None:
            model.save_pretrained(asked.hub_folder, card=model_card(model, results, repo_id=asked.push))
            made.append(asked.hub_folder)
            found["hub_folder"] = str(asked.hub_folder)
        if asked.push is not None:
            card = model_card(model, results, repo_id=asked.push)
            found["pushed"] = model.push_to_hub(asked.push, card=card, private=True if asked.private else None)
    return found


def _bounds(model: ModeModel, asked: str | None, recorded: str | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The lowest and highest action of the environment that was named, or that the demonstrations came from; None where
    nothing is known of it, or it has none.

    Raises:
        WorldError: the environment that was named cannot be made, or does not fit.
    """
    if asked is not None:
        require_fitting_world(model, asked)
    name = asked or recorded
    if name is None:
        return None
    try:
        world = make_world(spec_of(name))
    except (gymnasium.error.Error, ImportError, WorldError) as error:
        if asked is None:
            return None
        raise WorldError(
            f"{name} must be possible to make here; {str(error).rstrip('.')}. Leave --env out to go without bounds."
        ) from error
    space = world.action_space
    world.close()
    if not isinstance(space, gymnasium.spaces.Box) or space.shape != (model.action_size,):
        return None
    bounded = np.isfinite(space.low).all() and np.isfinite(space.high).all()
    return (space.low, space.high) if bounded else None
