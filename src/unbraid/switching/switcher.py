"""A learned switcher: features of the situation -> a score for every mode; saved without pickle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, ModelError
from unbraid.core.runs import new_folder, read_json, write_bytes, write_json
from unbraid.switching.guard import Guard, guard_from_json
from unbraid.switching.options import controllers_of
from unbraid.switching.preferences import Preferences, preferences_from_json
from unbraid.switching.situations import SituationReader, reader_from_json

__all__ = ["Chooser", "LinearScores", "PreferredModes", "SmallNetwork", "SwitchedPolicy", "Switcher", "load_switcher"]

_FORMAT, _VERSION = "unbraid-switcher", 1
_REMEDY = "Make it again with `unbraid switch`."


@runtime_checkable
class Chooser(Protocol):
    """Scores every mode in every situation; the greatest is chosen."""

    def scores(self, features: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row mode"]:
        """A score for every mode; only their order matters."""
        ...


@final
@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """A perceptron with tanh between its layers, as Stable-Baselines3's policies have; without torch.

    Attributes:
        layers: (weights (out, in), biases (out,)) of every layer, as float32.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def scores(self, features: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row mode"]:
        """The last layer's outputs, logits of the modes."""
        values = features.astype(np.float32)
        for place, (weights, biases) in enumerate(self.layers):
            values = values @ weights.T + biases
            if place < len(self.layers) - 1:
                values = np.tanh(values)
        return values.astype(np.float64)


@final
@dataclass(frozen=True, eq=False)
class LinearScores:
    """What a linear bandit expects of every mode.

    Attributes:
        weights: (mode, feature).
    """

    weights: Float[np.ndarray, "mode feature"]

    def scores(self, features: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row mode"]:
        """The expected reward of every mode."""
        return features @ self.weights.T


@final
@dataclass(frozen=True, eq=False)
class PreferredModes:
    """What a person prefers.

    Attributes:
        preferences: learned from answers.
    """

    preferences: Preferences

    def scores(self, features: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row mode"]:
        """The mean utility of every mode."""
        return self.preferences.utilities(features)[0]


@final
@dataclass(frozen=True, eq=False)
class Switcher:
    """When to be in which mode.

    Attributes:
        method: how it was learned: ``ppo``, ``actor_critic``, ``bandit``, ``preferences``, or bandit and preferences.
        reader: what it sees of an observation.
        chooser: scores the modes.
        n_modes: how many there are.
        horizon_steps: how long a mode is held.
        guard: limits the choice where too much cost may come; None: it never is.
    """

    method: str
    reader: SituationReader
    chooser: Chooser
    n_modes: int
    horizon_steps: int
    guard: Guard | None = None

    def choose(self, observations: Float[np.ndarray, "row obs"]) -> Int[np.ndarray, "row"]:
        """The mode for every row: the best one that the guard allows.

        Raises:
            DataError: observations of the wrong width.
        """
        features = self.reader.read(observations)
        scores = self.chooser.scores(features)
        if self.guard is not None:
            scores = np.where(self.guard.allowed(features, self.n_modes), scores, -np.inf)
        return scores.argmax(axis=1)

    def save(self, folder: str | Path) -> None:
        """Writes a new folder: switcher.json, and weights.safetensors where there are any.

        Raises:
            RunError: the folder exists.
            StorageError: the disk refused.
        """
        with new_folder(Path(folder)) as temporary:
            self.write(temporary)

    def write(self, folder: Path) -> None:
        """`save`, into a folder that exists."""
        from safetensors.numpy import save

        content: dict[str, Any] = {
            "format": _FORMAT,
            "version": _VERSION,
            "method": self.method,
            "n_modes": self.n_modes,
            "horizon_steps": self.horizon_steps,
            "situation": self.reader.to_json(),
            "guard": None if self.guard is None else self.guard.to_json(),
        }
        tensors: dict[str, np.ndarray] = {}
        match self.chooser:
            case SmallNetwork(layers=layers):
                content |= {"kind": "network", "n_layers": len(layers)}
                for place, (weights, biases) in enumerate(layers):
                    tensors |= {f"{place}.weight": weights, f"{place}.bias": biases}
            case LinearScores(weights=weights):
                content |= {"kind": "linear"}
                tensors = {"weight": weights}
            case PreferredModes(preferences=preferences):
                content |= {"kind": "preferences", "preferences": preferences.to_json()}
            case other:
                raise ConfigError(
                    "A switcher that is saved must be a network, linear, or a person's preferences; got "
                    f"{type(other).__name__}. Use one of unbraid's."
                )
        if tensors:
            write_bytes(
                folder / "weights.safetensors", save({name: np.ascontiguousarray(t) for name, t in tensors.items()})
            )
        write_json(folder / "switcher.json", content)


def load_switcher(folder: str | Path) -> Switcher:
    """The switcher in a folder that `Switcher.save` wrote.

    Raises:
        ModelError: there is none, of another version, or damaged.
        DataError: its reader, guard or preferences are damaged.
    """
    folder = Path(folder)
    path = folder / "switcher.json"
    content = read_json(path, error=ModelError, remedy=_REMEDY)
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
        raise ModelError(f"{path} must say format {_FORMAT!r}, version {_VERSION}; it does not. {_REMEDY}")
    try:
        guard, n_modes = content["guard"], int(content["n_modes"])
        reader = reader_from_json(content["situation"], str(path))
        found = Switcher(
            method=str(content["method"]),
            reader=reader,
            chooser=_chooser_of(content, folder),
            n_modes=n_modes,
            horizon_steps=int(content["horizon_steps"]),
            guard=None if guard is None else guard_from_json(guard, str(path)),
        )
        shape = found.chooser.scores(np.zeros((1, len(reader.names)))).shape
        if shape != (1, n_modes) or found.horizon_steps < 1:
            raise ValueError(f"it scores {shape[1]} modes, of {n_modes}, and holds one for {found.horizon_steps} steps")
    except (KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ModelError(f"{folder} must be a whole switcher; {said:.200}. {_REMEDY}") from None
    return found


def _chooser_of(content: dict[str, Any], folder: Path) -> Chooser:
    if content["kind"] == "preferences":
        return PreferredModes(preferences_from_json(content["preferences"], str(folder / "switcher.json")))
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(folder / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / 'weights.safetensors'} must be readable; {error}. {_REMEDY}") from None
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError("its weights are not finite")
    if content["kind"] == "linear":
        return LinearScores(tensors["weight"])
    places = range(int(content["n_layers"]))
    return SmallNetwork(tuple((tensors[f"{place}.weight"], tensors[f"{place}.bias"]) for place in places))


@final
@dataclass(frozen=True, eq=False)
class SwitchedPolicy:
    """A policy that changes its mode by itself; it has `act`, so that `evaluate` and `rollout` take it.

    Attributes:
        policy: a model, `steer(model)`, or one controller without memory for every mode.
        switcher: chooses, every `horizon_steps`.
    """

    policy: Any
    switcher: Switcher

    def __post_init__(self) -> None:
        controllers = controllers_of(self.policy)
        if len(controllers) != self.switcher.n_modes:
            raise ConfigError(
                f"The policy must have the switcher's {self.switcher.n_modes} modes; it has {len(controllers)}. "
                "Use the run that it was learned on."
            )
        object.__setattr__(self, "_controllers", controllers)

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Any,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Any]:
        """Actions of every row's mode; the memory is (mode, steps that it is still held)."""
        memory = np.zeros((len(observations), 2)) if state is None else np.array(state)
        due = episode_start | (memory[:, 1] <= 0)
        if due.any():
            memory[due, 0] = self.switcher.choose(np.asarray(observations[due], dtype=np.float64))
            memory[due, 1] = self.switcher.horizon_steps
        memory[:, 1] -= 1
        actions = np.zeros_like(noise)
        for mode in np.unique(memory[:, 0]).tolist():
            rows = memory[:, 0] == mode
            actions[rows] = self._chosen(int(mode)).act(observations[rows], None, episode_start[rows], noise[rows])[0]
        return actions, memory

    def _chosen(self, mode: int) -> Any:
        controllers: Sequence[Any] = self._controllers  # pyright: ignore[reportAttributeAccessIssue]
        return controllers[mode]
