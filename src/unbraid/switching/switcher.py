"""A learned switcher: features of the situation -> a score for every mode; saved without pickle."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, ModelError
from unbraid.core.runs import new_folder, read_json, write_bytes, write_json
from unbraid.evaluation.certificates import sha256_of
from unbraid.steering.steered import SteeredPolicy, as_taken, begins, observation_rows
from unbraid.switching.guard import Guard, guard_from_json
from unbraid.switching.options import Origin, controllers_of, weights_of
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
        origin: what it was learned on; None where that is not known, as of switchers saved before it was kept.
    """

    method: str
    reader: SituationReader
    chooser: Chooser
    n_modes: int
    horizon_steps: int
    guard: Guard | None = None
    origin: Origin | None = None

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
        content, weights = self._written()
        if weights:
            write_bytes(folder / "weights.safetensors", weights)
        write_json(folder / "switcher.json", content)

    def fingerprint(self) -> str:
        """A SHA-256 of all that decides what is chosen.

        Raises:
            ConfigError: a chooser that is not unbraid's.
        """
        content, weights = replace(self, origin=None)._written()
        return sha256_of([content, hashlib.sha256(weights).hexdigest()])

    def _written(self) -> tuple[dict[str, Any], bytes]:
        """What its two files hold; no bytes where there are no weights."""
        from safetensors.numpy import save

        content: dict[str, Any] = {
            "format": _FORMAT,
            "version": _VERSION,
            "method": self.method,
            "n_modes": self.n_modes,
            "horizon_steps": self.horizon_steps,
            "situation": self.reader.to_json(),
            "guard": None if self.guard is None else self.guard.to_json(),
            "origin": None if self.origin is None else asdict(self.origin),
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
        kept = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        return content, save(kept) if kept else b""


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
            origin=_origin_of(content.get("origin")),  # switchers of before have none
        )
        shape = found.chooser.scores(np.zeros((1, len(reader.names)))).shape
        if shape != (1, n_modes) or found.horizon_steps < 1:
            raise ValueError(f"it scores {shape[1]} modes, of {n_modes}, and holds one for {found.horizon_steps} steps")
    except (KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ModelError(f"{folder} must be a whole switcher; {said:.200}. {_REMEDY}") from None
    return found


def _origin_of(content: Any) -> Origin | None:
    if content is None:
        return None
    weights = content["weights_sha256"]
    return Origin(None if weights is None else str(weights), str(content["env_id"]), float(content["cost_weight"]))


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
    """A policy that changes its mode by itself; it has `act`, so that `evaluate` and `rollout` take it, and
    Stable-Baselines3's `predict`.

    Attributes:
        policy: a model, `steer(model)`, or one controller without memory for every mode.
        switcher: chooses, every `horizon_steps`.
        seed: of the sampled actions in `predict`.
    """

    policy: Any
    switcher: Switcher
    seed: int = 0

    def __post_init__(self) -> None:
        controllers = controllers_of(self.policy)
        if len(controllers) != self.switcher.n_modes:
            raise ConfigError(
                f"The policy must have the switcher's {self.switcher.n_modes} modes; it has {len(controllers)}. "
                "Use the run that it was learned on."
            )
        origin, weights = self.switcher.origin, weights_of(controllers)
        known = None if origin is None else origin.weights_sha256
        if None not in (known, weights) and known != weights:
            raise ConfigError(
                f"The switcher must act on the model that it was learned on, with weights_sha256 {known}; this model "
                f"has {weights}. Another model's modes are others: use the run that it was learned on, or learn again."
            )
        object.__setattr__(self, "_controllers", controllers)
        object.__setattr__(self, "_generator", np.random.default_rng(self.seed))

    @property
    def policies(self) -> Sequence[Any]:
        """Who acts in each mode."""
        return self._controllers  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def rule(self) -> Mapping[str, Any] | None:
        """What chooses, as a JSON object; None of a chooser of one's own, which has no fingerprint."""
        try:
            return {"switcher_sha256": self.switcher.fingerprint()}
        except ConfigError:
            return None

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Actions for one observation (obs,) or many (env, obs), as Stable-Baselines3's `predict`.

        Args:
            observation: in the environment's own units.
            state: what the last call gave: the mode, and how long it is still held; None before the first.
            episode_start: (env,) where an episode begins; without it, everywhere before the first call alone.
            deterministic: the mean action; otherwise sampled from a generator that `seed` seeds.

        Returns:
            The actions, shaped as the observations were, and the state.

        Raises:
            ConfigError: the modes are not steered policies, so that it is not known how wide actions are.
            DataError: observations of the wrong width, or not finite.
        """
        one = self.policies[0]
        if not isinstance(one, SteeredPolicy):
            raise ConfigError(
                f"`predict` must know how many columns an action has, from a model; got a {type(one).__name__} for "
                "mode 0. Use `act`, or `evaluate(policy, env)`, which does."
            )
        rows = observation_rows(observation)
        starts = begins(len(rows), state, episode_start)
        noise = np.zeros((len(rows), one.model.action_size))
        if not deterministic:
            noise = self._generator.standard_normal(noise.shape)  # pyright: ignore[reportAttributeAccessIssue]
        actions, memory = self.act(rows, None if state is None else state[0], starts, noise)
        actions = as_taken(actions, [policy for policy in self.policies if isinstance(policy, SteeredPolicy)])
        return (actions[0] if np.ndim(observation) == 1 else actions), (memory,)

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
            chosen = self.policies[int(mode)]
            actions[rows] = chosen.act(observations[rows], None, episode_start[rows], noise[rows])[0]
        return actions, memory
