"""Stable-Baselines3's PPO as a switcher: trained on options, and read into a small network of our own.

This needs the extra `switch`. What it learns needs neither Stable-Baselines3 nor torch.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from unbraid.core.errors import ConfigError
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import SituationReader
from unbraid.switching.switcher import SmallNetwork, Switcher

__all__ = ["network_of", "train_ppo", "train_switcher"]

_DISCOUNT = 0.95  # of one step of the environment; 0.99 and 0.98 were worse: what comes later drowns in noise
_BATCH = 64  # at most; it divides the choices of an update
_CLOSE = 1e-4


def train_switcher(
    worlds: OptionWorlds,
    reader: SituationReader,
    *,
    n_steps: int,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
    settings: dict[str, Any] | None = None,
) -> Switcher:
    """Learns when to be in which mode with PPO, and gives what it chooses when it does not explore.

    Args:
        worlds: where it acts; begun with `seed`.
        reader: what it sees.
        n_steps: of the environment, at most.
        seed: decides episodes, noise, weights and exploration.
        on_progress: called with the number of steps of every round.
        settings: of `stable_baselines3.PPO`, in place of the defaults here.

    Raises:
        ConfigError: Stable-Baselines3 is not installed, fewer steps than one update takes; or costs weigh, and no step
            told one.
    """
    agent = train_ppo(worlds, reader, n_steps=n_steps, seed=seed, on_progress=on_progress, settings=settings)
    network = network_of(agent)
    return Switcher("ppo", reader, network, worlds.n_modes, worlds.horizon_steps, origin=worlds.origin)


def train_ppo(
    worlds: OptionWorlds,
    reader: SituationReader,
    *,
    n_steps: int,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
    settings: dict[str, Any] | None = None,
) -> Any:
    """`train_switcher`, but the agent of Stable-Baselines3 itself."""
    sb3 = _stable_baselines3()
    decisions = n_steps // (worlds.horizon_steps * worlds.n_envs)
    held = int((settings or {}).get("n_steps", max(min(32, decisions), 1)))
    asked: dict[str, Any] = {
        "n_steps": held,
        "batch_size": max(size for size in range(1, _BATCH + 1) if (held * worlds.n_envs) % size == 0),
        "n_epochs": 10,
        "learning_rate": 1e-3,
        "gamma": _DISCOUNT**worlds.horizon_steps,
        "gae_lambda": 0.9,
        "ent_coef": 0.0,
        **(settings or {}),
    }
    rounds = decisions // held
    if rounds < 1:
        raise ConfigError(
            f"`n_steps` must be at least {held * worlds.horizon_steps * worlds.n_envs}, one update of PPO; got "
            f"{n_steps}. Give more."
        )
    agent = sb3.PPO("MlpPolicy", _vector_env(worlds, reader, seed, on_progress), seed=seed, device="cpu", **asked)
    if not asked.get("verbose") and asked.get("tensorboard_log") is None:
        agent.set_logger(_silent_logger())
    learned = agent.learn(rounds * held * worlds.n_envs)
    worlds.require_told_costs()
    return learned


def _silent_logger() -> Any:
    """Writes nothing; that of Stable-Baselines3, which nobody reads, leaves a folder among the temporary files."""
    from stable_baselines3.common.logger import Logger

    return Logger(None, [])


def network_of(agent: Any) -> SmallNetwork:
    """The network by which an agent of Stable-Baselines3 chooses (PPO or A2C with MlpPolicy and tanh).

    Raises:
        ConfigError: the agent's network is another one: it does not give the same scores.
    """
    import torch

    policy = agent.policy
    modules = [*getattr(policy.mlp_extractor, "policy_net", []), policy.action_net]
    linear = [module for module in modules if isinstance(module, torch.nn.Linear)]
    network = SmallNetwork(tuple((_array(one.weight), _array(one.bias)) for one in linear))
    probes = np.random.default_rng(0).normal(size=(64, linear[0].in_features)).astype(np.float32)
    with torch.no_grad():
        theirs = policy.get_distribution(torch.from_numpy(probes)).distribution.logits.numpy()
    ours = network.scores(probes)
    ours = ours - np.log(np.exp(ours - ours.max(1, keepdims=True)).sum(1, keepdims=True)) - ours.max(1, keepdims=True)
    if np.abs(ours - theirs).max() > _CLOSE:
        raise ConfigError(
            "An agent must have a perceptron with tanh as its policy; this one scores otherwise. "
            "Train PPO with MlpPolicy, without other activations or normalised inputs."
        )
    return network


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32).copy()


def _stable_baselines3() -> Any:
    try:
        import stable_baselines3
    except ImportError:
        raise ConfigError(
            "Learning with PPO needs Stable-Baselines3; it is not installed. Run `pip install 'unbraid[switch]'`, or "
            "choose --method bandit."
        ) from None
    return stable_baselines3


def _vector_env(
    worlds: OptionWorlds, reader: SituationReader, seed: int, on_progress: Callable[[int], None] | None
) -> Any:
    """Our worlds as Stable-Baselines3's `VecEnv`: it is defined here, since its base class needs the extra."""
    from stable_baselines3.common.vec_env import VecEnv

    class OptionVecEnv(VecEnv):
        def __init__(self) -> None:
            width = len(reader.names)
            super().__init__(
                worlds.n_envs,
                gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32),
                gymnasium.spaces.Discrete(worlds.n_modes),
            )
            self._modes = np.zeros(worlds.n_envs, dtype=np.int64)

        def reset(self) -> np.ndarray:
            return reader.read(worlds.begin(seed)).astype(np.float32)

        def step_async(self, actions: np.ndarray) -> None:
            self._modes = np.asarray(actions, dtype=np.int64)

        def step_wait(self) -> Any:
            found = worlds.hold(self._modes)
            if on_progress is not None:
                on_progress(int(found.n_steps.sum()))
            ended = found.terminated | found.truncated
            infos: list[dict[str, Any]] = [{} for _ in range(worlds.n_envs)]
            last = reader.read(found.final_observations).astype(np.float32)
            for row in np.flatnonzero(ended).tolist():
                infos[row] = {"terminal_observation": last[row], "TimeLimit.truncated": bool(found.truncated[row])}
            shown = reader.read(found.observations).astype(np.float32)
            return shown, found.rewards.astype(np.float32), ended, infos

        def close(self) -> None:
            worlds.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [None] * self.num_envs if attr_name == "render_mode" else [getattr(worlds, attr_name)]

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise AttributeError(f"{attr_name} cannot be set")

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            raise AttributeError(f"there is no method {method_name}")

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * self.num_envs

    return OptionVecEnv()
