"""Out of the lab: a model's policy as one ONNX file, or as a program of `torch.export`; each is checked when written.

The graph holds normaliser, policy and the way back to the action's own units. Its inputs are float32: `observation`
(batch, obs) in the environment's own units, `context` (batch, mode), and, for a model with styles alone, `style`
(batch, 1), a quantile that is held to [0, 1]. Its outputs are `mean` and `log_std` (batch, act), of an action in its
own units, by the policy's ``head``:

- ``gaussian``: of the Gaussian itself;
- ``mixture``: of the whole mixture, as its moments are;
- ``tanh``: what the mean of u makes, where the action is m + h tanh(u / h), and the slope there times the deviation of
  u: the mean action of a steered policy, and its deviation to first order. Products of powers are of u, so blends and
  `away` cannot be made of these.

Since the context is an input, whoever runs it steers: towards a mode, between modes, or as they like (docs/deploy.md).

Beside the graph stand facts (format 1), for people without unbraid: in an ONNX file as metadata, each a JSON value
under its name; in a program as the extra file `unbraid.json`. They are ``format``, ``version``, ``unbraid_version``,
``method``, ``head``, ``n_modes``, ``contexts`` (row k asks for mode k), ``shares`` (of the demonstrations' steps, by
mode), ``observation_size``, ``action_size``, ``styles``; and, where they are known, ``observation_names``,
``action_low``, ``action_high``. Neither file holds a pickle, or says where it was made.
"""

import contextlib
import copy
import importlib
import json
import logging
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, ModelError
from unbraid.core.randomness import named_generator
from unbraid.core.runs import new_file, taken_path
from unbraid.policy.gaussian import ActionPolicy
from unbraid.policy.mixture import MixturePolicy
from unbraid.policy.squashed import TanhGaussianPolicy
from unbraid.policy.style import TYPICAL_STYLE, mode_shares, with_style
from unbraid.steering.steered import SteeredPolicy
from unbraid.training.model import ModeModel

__all__ = ["TOLERANCE", "Exported", "export_onnx", "export_program"]

TOLERANCE = 1e-5
"""The most that an exported policy may differ from PyTorch: of a mean, in units of the action's scale or of the mean
itself, whichever is larger; of a log-deviation as it is."""
_FORMAT, _VERSION = "unbraid-policy", 1
_N_CHECKED = 1000
_STYLES_CHECKED = (0.0, 0.13, TYPICAL_STYLE, 0.8, 1.0)
_FACTS_FILE = "unbraid.json"

_Inputs = dict[str, np.ndarray]
_Outputs = tuple[np.ndarray, np.ndarray]
_Bounds = tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]]
"""The lowest and the highest action."""


@final
@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from PyTorch.

    Attributes:
        path: the file.
        inputs: the width of every input, by name.
        n_checked: how many random inputs both were asked.
        mean_difference, log_std_difference: the largest of them, as `TOLERANCE` counts.
    """

    path: Path
    inputs: dict[str, int]
    n_checked: int
    mean_difference: float
    log_std_difference: float

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {**asdict(self), "path": str(self.path)}


def export_onnx(
    model: ModeModel,
    path: str | Path,
    *,
    action_bounds: _Bounds | None = None,
    observation_names: Sequence[str] = (),
) -> Exported:
    """Writes the policy as a new ONNX file, that onnxruntime runs alone, and checks it against PyTorch.

    Args:
        model: of any method.
        path: the new file.
        action_bounds: (low, high), each (act,): what the environment takes; kept beside the graph, which clips nothing.
            By default those that the model has, if all of them are finite.
        observation_names: a name for every observation column, to be kept, too; by default those that the model has.

    Raises:
        ConfigError: no model; the extra `onnx` is not installed, or too old; names or bounds that don't fit.
        ModelError: it differs from PyTorch by more than `TOLERANCE`; then no file is left.
        RunError: the file exists.
        StorageError: the disk refused.
    """
    _require_model(model)
    runtime = _onnxruntime()
    facts = _facts(model, action_bounds, observation_names)

    def write(program: torch.export.ExportedProgram, file: Path) -> None:
        names = ["mean", "log_std"]
        try:
            made = torch.onnx.export(
                program, output_names=names, dynamic_shapes=_dynamic(model), dynamo=True, verbose=False
            )
        except ImportError as error:  # PyTorch asks for a part of onnxscript that an older one has not
            raise ConfigError(
                f"An export to ONNX needs an onnxscript that goes with PyTorch {torch.__version__}, and this one "
                f"({metadata.version('onnxscript')}) does not: {error}. Run `pip install --upgrade onnxscript`."
            ) from None
        assert made is not None
        made.model.doc_string, made.model.producer_name = None, "unbraid"
        made.model.producer_version = metadata.version("unbraid")
        for node in made.model.graph:  # they say which lines of which file they came from
            node.metadata_props.clear()
        made.model.metadata_props.clear()
        made.model.metadata_props.update(
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
        )
        made.save(file, external_data=False)

    def answers(file: Path) -> Callable[[_Inputs], _Outputs]:
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = runtime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
        return lambda inputs: tuple(session.run(["mean", "log_std"], inputs))

    return _exported(model, taken_path(path), write, answers)


def export_program(
    model: ModeModel,
    path: str | Path,
    *,
    action_bounds: _Bounds | None = None,
    observation_names: Sequence[str] = (),
) -> Exported:
    """Writes the policy as a new program of `torch.export` (a .pt2), and checks it against the model.

    ``torch.export.load(path).module()(observation, context)`` gives (mean, log_std), without unbraid.

    Args:
        model: of any method.
        path: the new file; its name ends with .pt2.
        action_bounds: as `export_onnx`.
        observation_names: likewise.

    Raises:
        ConfigError: no model; a name that does not end with .pt2; names or bounds that don't fit.
        ModelError: it differs from the model by more than `TOLERANCE`; then no file is left.
        RunError: the file exists.
        StorageError: the disk refused.
    """
    _require_model(model)
    facts = _facts(model, action_bounds, observation_names)
    if taken_path(path).suffix != ".pt2":
        raise ConfigError(f"A program's name must end with .pt2, or torch will not load it; got {path}. Name it so.")

    def write(program: torch.export.ExportedProgram, file: Path) -> None:
        with file.open("wb") as out:
            torch.export.save(program, out, extra_files={_FACTS_FILE: json.dumps(facts)})

    def answers(file: Path) -> Callable[[_Inputs], _Outputs]:
        with file.open("rb") as stored:
            module = torch.export.load(stored).module()
        return lambda inputs: tuple(
            output.numpy() for output in module(*(torch.from_numpy(value) for value in inputs.values()))
        )

    return _exported(model, taken_path(path), write, answers)


@final
class _PolicyGraph(nn.Module):
    """What `ModeModel.action_distribution` computes, with the logarithm of the deviation; on the CPU, on copies."""

    inverse: Tensor
    log_scale: Tensor
    origin: Tensor | None

    def __init__(self, model: ModeModel) -> None:
        super().__init__()
        self.observation_normaliser = copy.deepcopy(model.observation_normaliser).cpu()
        self.action_normaliser = copy.deepcopy(model.action_normaliser).cpu()
        self.policy = copy.deepcopy(model.policy).cpu()
        self.style_reader = copy.deepcopy(model.style_reader)
        origin = model.observation_origin
        self.register_buffer("origin", None if origin is None else origin.cpu())
        self.register_buffer("log_scale", self.action_normaliser.scale.log())
        if self.style_reader is not None:
            self.style_reader.cpu()
            self.register_buffer("inverse", torch.linalg.pinv(model.contexts.cpu()))
        self.eval().requires_grad_(False)

    def forward(self, observation: Tensor, context: Tensor, style: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.origin is not None:
            observation = (observation - self.origin).float()
        states = self.observation_normaliser(observation)
        if self.style_reader is not None and style is not None:
            latents = self.style_reader.latents_at_each(style.clamp(0, 1)) * mode_shares(context, self.inverse)
            states = with_style(states, latents.sum(1, keepdim=True))
        mean, log_std = self.policy.moments(states, context)
        return self.action_normaliser.undo(mean), log_std + self.log_scale


def _widths(model: ModeModel) -> dict[str, int]:
    """The width of every input, in the graph's order."""
    widths = {"observation": model.observation_size, "context": model.n_modes}
    return widths if model.style_reader is None else {**widths, "style": 1}


def _kind(model: ModeModel, name: str) -> torch.dtype:
    """The type of an input: float64 for observations that float32 would round."""
    return torch.float64 if name == "observation" and model.observation_origin is not None else torch.float32


def _dynamic(model: ModeModel) -> dict[str, Any]:
    """A batch may have any number of rows."""
    batch = torch.export.Dim("batch")
    return {name: {0: batch} for name in _widths(model)}


def _exported(
    model: ModeModel,
    path: Path,
    write: Callable[[torch.export.ExportedProgram, Path], None],
    answers: Callable[[Path], Callable[[_Inputs], _Outputs]],
) -> Exported:
    """Traces, writes under a temporary name, reads that back, compares, and only then gives it its name."""
    with new_file(path) as file, _quiet():
        write(_traced(model), file)
        asked = _random_inputs(model)
        wanted, found = _of_pytorch(model, asked), answers(file)(asked)
        size = np.maximum(np.abs(wanted[0]), model.action_normaliser.scale.cpu().numpy())
        off = float((np.abs(found[0] - wanted[0]) / size).max()), float(np.abs(found[1] - wanted[1]).max())
        if not all(difference <= TOLERANCE for difference in off):  # so that NaN is refused
            raise ModelError(
                f"{path} must answer as PyTorch does, to {TOLERANCE}; on {_N_CHECKED} random inputs it differs by up "
                f"to {off[0]:.2g} in mean and {off[1]:.2g} in log_std. Nothing was written; fit again, or keep to "
                "PyTorch (ModeModel.from_pretrained), and report this model's config.json."
            )
    return Exported(path, _widths(model), _N_CHECKED, *off)


def _traced(model: ModeModel) -> torch.export.ExportedProgram:
    """The graph as a program that says nothing of files and lines, and keeps no example (which would be pickled)."""
    examples = tuple(torch.zeros(3, width, dtype=_kind(model, name)) for name, width in _widths(model).items())
    program = torch.export.export(_PolicyGraph(model), examples, dynamic_shapes=_dynamic(model))
    for node in program.graph.nodes:
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(name, None)
    program.example_inputs = None
    return program


def _random_inputs(model: ModeModel) -> _Inputs:
    """1,000 rows across what the data covered and beyond; contexts of modes, of blends, and of none of them."""
    draw, n = named_generator(model.config.seed, "export"), _N_CHECKED
    seen = model.observation_normaliser
    spread = draw.choice([1.0, 3.0, 10.0], (n, 1))
    offsets = spread * draw.standard_normal((n, model.observation_size)) * seen.scale.cpu().numpy()
    rows = model.contexts.cpu().double().numpy()
    blends = draw.dirichlet(np.full(model.n_modes, 0.7), n) @ rows
    others = draw.uniform(rows.min(), rows.max(), (n, model.n_modes))
    kind = np.arange(n)[:, None] % 3
    contexts = np.where(kind == 0, rows[draw.integers(model.n_modes, size=n)], np.where(kind == 1, blends, others))
    mean = seen.mean.cpu().double().numpy()
    mean = mean if model.observation_origin is None else mean + model.observation_origin.cpu().numpy()
    inputs = {"observation": mean + offsets, "context": contexts}
    if model.style_reader is not None:
        inputs["style"] = draw.choice(_STYLES_CHECKED, (n, 1))
    kinds = {name: np.float64 if _kind(model, name) == torch.float64 else np.float32 for name in inputs}
    return {name: value.astype(kinds[name]) for name, value in inputs.items()}


def _of_pytorch(model: ModeModel, inputs: _Inputs) -> _Outputs:
    """What a steered policy acts by: (mean, log-deviation)."""
    observations, contexts = torch.from_numpy(inputs["observation"]), torch.from_numpy(inputs["context"])
    if "style" not in inputs:
        mean, deviation = model.action_distribution(observations, contexts)
        return mean.numpy(), deviation.log().numpy()
    mean = np.empty((len(observations), model.action_size), dtype=np.float32)
    log_std = np.empty_like(mean)
    for style in _STYLES_CHECKED:
        rows = inputs["style"][:, 0] == np.float32(style)
        found = model.action_distribution(observations[rows], contexts[rows], style)
        mean[rows], log_std[rows] = found[0].numpy(), found[1].log().numpy()
    return mean, log_std


def _facts(model: ModeModel, action_bounds: _Bounds | None, observation_names: Sequence[str]) -> dict[str, Any]:
    """What stands beside the graph: JSON values."""
    facts: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "unbraid_version": metadata.version("unbraid"),
        "method": model.config.method,
        "head": _head(model.policy),
        "n_modes": model.n_modes,
        "contexts": model.contexts.cpu().tolist(),
        "shares": list(model.shares),
        "observation_size": model.observation_size,
        "action_size": model.action_size,
        "styles": model.style_reader is not None,
    }
    if isinstance(observation_names, str) or not all(isinstance(name, str) for name in observation_names):
        raise ConfigError(
            f"The names of observation columns must be a list of texts; got {observation_names!r:.80}. Give such."
        )
    if action_bounds is not None and np.shape(action_bounds)[:1] != (2,):
        raise ConfigError(
            f"The bounds of actions must be (low, high); got {action_bounds!r:.80}. Give the action space's own."
        )
    observation_names = observation_names or model.observation_names
    if action_bounds is None and model.action_bounds is not None and np.isfinite(model.action_bounds).all():
        action_bounds = model.action_bounds
    if observation_names:
        if len(observation_names) != model.observation_size:
            raise ConfigError(
                f"There must be a name for each of {model.observation_size} observation columns, or none; got "
                f"{len(observation_names)}. Name every column."
            )
        facts["observation_names"] = list(observation_names)
    for name, bound in zip(("action_low", "action_high"), () if action_bounds is None else action_bounds, strict=False):
        given = np.asarray(bound, dtype=np.float64)
        if given.shape != (model.action_size,) or not np.isfinite(given).all():
            raise ConfigError(
                f"{name} must be {model.action_size} finite numbers, one per action column; got {bound!s:.80}. "
                "Leave the bounds out where there are none."
            )
        facts[name] = given.tolist()
    if action_bounds is not None and (np.asarray(action_bounds[0]) > np.asarray(action_bounds[1])).any():
        raise ConfigError(
            f"action_low must be at most action_high in every column; got {facts['action_low']!s:.80} and "
            f"{facts['action_high']!s:.80}. Give the lowest action first."
        )
    return facts


def _require_model(model: object) -> None:
    """Raises `ConfigError` for what is no model; of a steered policy, it says the context that asks for the same."""
    if isinstance(model, ModeModel):
        return
    told = f"got a {type(model).__name__}. Load one: ModeModel.from_pretrained('runs/first')."
    if isinstance(model, SteeredPolicy):
        context = model.context
        how = "docs/deploy.md says how to make of its outputs what this one is asked for"
        if context is not None:
            how = f"then give the context {[round(value, 6) for value in context.tolist()]}, which asks for the same"
        told = f"got a steered policy, whose instruction would be lost. Export policy.model; {how}."
    raise ConfigError(f"What is exported must be a model, as its context is an input of the file; {told}")


def _head(policy: ActionPolicy) -> str:
    """What density of actions it has."""
    if isinstance(policy, MixturePolicy):
        return "mixture"
    return "tanh" if isinstance(policy, TanhGaussianPolicy) else "gaussian"


def _onnxruntime() -> Any:
    """onnxruntime, where what writes ONNX is there, too."""
    try:
        for name in ("onnx", "onnxscript"):
            importlib.import_module(name)
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ConfigError(
            f"An export to ONNX needs the packages onnx, onnxscript and onnxruntime; {error.name} is not installed. "
            "Run `pip install 'unbraid[onnx]'`."
        ) from None


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keeps the exporter's warnings, which a user can do nothing about, off the screen."""
    names = ("torch.onnx", "torch.export", "torch.__trace", "onnxscript", "onnx_ir")
    talkative = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in talkative]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in talkative:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(talkative, levels, strict=True):
                logger.setLevel(level)
