"""Modes as options: a world whose action is a mode, held for some steps by the frozen policy.

Semi-Markov decisions: a choice lasts `horizon_steps`, its reward is the sum over them of reward - weight x cost, and
any learner of discrete actions learns on it.

Source: Sutton, Precup & Singh 1999, "Between MDPs and semi-MDPs: a framework for temporal abstraction".
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, final

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, WorldError
from unbraid.core.numbers import require_whole
from unbraid.core.randomness import N_SEEDS, named_generator
from unbraid.evaluation.evaluate import require_fitting_world
from unbraid.steering.steered import SteeredPolicy, steer
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import Controller
from unbraid.worlds.making import World, altered_of, make_worlds, spec_of, step_limit
from unbraid.worlds.rollout import require_limits

__all__ = ["OptionEnv", "OptionOutcome", "OptionWorlds", "Origin", "controllers_of", "weights_of"]

_WITHOUT_COSTS = (
    "--cost-weight (in Python, cost_weight=) needs an environment that tells costs, as info['cost']; {env_id} told "
    "none in {when}. Leave it out, or wrap the environment so that it tells them."
)


@final
@dataclass(frozen=True)
class Origin:
    """What a switcher was learned on, beside which it means nothing.

    Attributes:
        weights_sha256: of the model whose modes were chosen; None where others than a model's modes acted.
        env_id: the environment.
        cost_weight: lambda, what a unit of cost took off the reward.
    """

    weights_sha256: str | None
    env_id: str
    cost_weight: float


@dataclass(frozen=True, eq=False)
class OptionOutcome:
    """What a choice of mode brought, for every world.

    Attributes:
        observations: (env, obs) where the next choice is made; of a new episode, where one ended.
        rewards: (env,) the sum of reward - weight x cost.
        returns, costs: (env,) the two sums apart.
        n_steps: (env,) how many steps the mode was held; fewer where the episode ended.
        terminated, truncated: (env,) whether the episode ended, by the world or by its limit.
        final_observations: (env, obs) the episode's last observation where it ended; elsewhere `observations`.
    """

    observations: Float[np.ndarray, "env obs"]
    rewards: Float[np.ndarray, "env"]
    returns: Float[np.ndarray, "env"]
    costs: Float[np.ndarray, "env"]
    n_steps: Int[np.ndarray, "env"]
    terminated: Bool[np.ndarray, "env"]
    truncated: Bool[np.ndarray, "env"]
    final_observations: Float[np.ndarray, "env obs"]


def controllers_of(policy: ModeModel | SteeredPolicy | Sequence[Controller]) -> tuple[Controller, ...]:
    """One controller per mode: of a model, of a steered policy of which nothing was asked yet, or those given.

    Raises:
        ConfigError: fewer than two, a steered policy that was asked for something, or a controller that cannot act.
    """
    steered = steer(policy) if isinstance(policy, ModeModel) else policy
    if isinstance(steered, SteeredPolicy):
        if steered.instruction.asks:
            raise ConfigError(
                "A policy that is switched must not be asked for anything yet; this one is. Hand over the model, or "
                "`steer(model)`."
            )
        return tuple(steered.toward(mode) for mode in range(steered.model.n_modes))
    given = tuple(steered)
    if len(given) < 2 or not all(isinstance(one, Controller) for one in given):
        raise ConfigError(
            f"Switching needs at least two controllers with `act`; got {len(given)}. Give one for every mode."
        )
    return given


def weights_of(controllers: Sequence[Controller]) -> str | None:
    """The fingerprint of the one model whose modes the controllers are; None where they are something else."""
    models = [one.model for one in controllers if isinstance(one, SteeredPolicy)]
    is_one = len(models) == len(controllers) and all(model is models[0] for model in models)
    return models[0].fingerprint() if is_one else None


@final
class OptionWorlds:
    """Several worlds side by side, in each of which a mode is chosen and held for some steps.

    Episodes depend on `seed` alone. A world whose episode ended begins the next one, on a seed of its own.

    Attributes:
        env_id: by which the environment is known.
        tells_costs: whether any step told a cost so far; there are worlds that mention one only where it comes.
    """

    def __init__(
        self,
        policy: ModeModel | SteeredPolicy | Sequence[Controller],
        env: World,
        *,
        horizon_steps: int,
        cost_weight: float | int = 0.0,
        n_envs: int = 16,
        max_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        """Makes the worlds and begins the first episodes.

        Args:
            policy: a model, `steer(model)`, or one controller for every mode.
            env: any Gymnasium environment with vectors of numbers as observations and as actions.
            horizon_steps: H, how long a mode is held.
            cost_weight: lambda, what a unit of cost takes off the reward; >= 0.
            n_envs: worlds side by side.
            max_steps: the most steps in an episode; the environment's own limit holds beside it.
            seed: decides the episodes' seeds and the noise of the actions.

        Raises:
            ConfigError: a horizon, a weight or a number of worlds that is impossible, or what `controllers_of` raises.
            WorldError: the environment does not exist or does not fit.
        """
        _require_possible(horizon_steps, cost_weight, n_envs, max_steps)
        self._controllers = controllers_of(policy)
        spec = spec_of(env)
        if isinstance(policy, ModeModel | SteeredPolicy):
            require_fitting_world(policy if isinstance(policy, ModeModel) else policy.model, spec)
        self.horizon_steps, self.cost_weight, self.n_envs = horizon_steps, float(cost_weight), n_envs
        self.tells_costs = False
        self._limit, self.env_id = step_limit(spec, max_steps), altered_of(spec) or spec.id
        self._worlds: Any = make_worlds(spec, n_envs, strict=True)
        self.observation_space: Any = self._worlds.single_observation_space
        self._bounds = (self._worlds.single_action_space.low, self._worlds.single_action_space.high)
        self.begin(seed)

    @property
    def n_modes(self) -> int:
        """How many there are to choose from."""
        return len(self._controllers)

    @property
    def origin(self) -> Origin:
        """What a switcher that learns here is learned on."""
        return Origin(weights_of(self._controllers), self.env_id, self.cost_weight)

    def begin(self, seed: int) -> Float[np.ndarray, "env obs"]:
        """Begins anew in every world; the observations there."""
        self._draws, self._noise = named_generator(seed, "switching"), named_generator(seed, "switching noise")
        self._seeds = [int(s) for s in self._draws.integers(N_SEEDS, size=self.n_envs)]
        observations, _ = self._worlds.reset(seed=self._seeds)
        self._observations = np.array(observations, dtype=np.float64)
        self._age = np.zeros(self.n_envs, dtype=np.int64)
        self._memory: list[np.ndarray | None] = [None] * self.n_modes
        self._has_acted = np.zeros((self.n_modes, self.n_envs), dtype=np.bool_)  # in the episode that is under way
        return self._observations.copy()

    def hold(self, modes: Int[np.ndarray, "env"]) -> OptionOutcome:
        """Holds a mode in every world, until the horizon or the episode's end.

        Raises:
            ConfigError: a mode that does not exist.
            WorldError: an observation, reward or cost that is no finite number; it says in which step of which seed.
        """
        if modes.min() < 0 or modes.max() >= self.n_modes:
            raise ConfigError(f"Modes must lie in [0, {self.n_modes}); got {modes.tolist()!s:.80}. Choose among them.")
        n = self.n_envs
        returns, costs, n_steps = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64)
        ends = np.zeros((2, n), dtype=np.bool_)
        last = self._observations.copy()
        for _ in range(self.horizon_steps):
            is_live = ~ends.any(axis=0)
            if not is_live.any():
                break
            observations, rewards, terminated, truncated, infos = self._worlds.step(self._actions(modes))
            self._observations = np.array(observations, dtype=np.float64)
            self._age += 1
            self.tells_costs |= "cost" in infos
            returns += np.where(is_live, rewards, 0.0)
            costs += np.where(is_live, np.asarray(infos.get("cost", np.zeros(n)), dtype=np.float64), 0.0)
            n_steps += is_live
            last[is_live] = self._observations[is_live]
            over = np.zeros(n, dtype=np.bool_) if self._limit is None else self._age >= self._limit
            ends |= np.stack([terminated & is_live, (truncated | over) & ~terminated & is_live])
            self._renew(np.asarray(terminated | truncated))  # a world that ended cannot be stepped; what follows is cut
        self._follow(np.asarray(ends.any(axis=0)))
        return OptionOutcome(
            observations=self._observations.copy(),
            rewards=returns - self.cost_weight * costs,
            returns=returns,
            costs=costs,
            n_steps=n_steps,
            terminated=ends[0],
            truncated=ends[1],
            final_observations=last,
        )

    def require_told_costs(self) -> None:
        """Raises `ConfigError` where costs weigh, and none was told in any step so far."""
        if self.cost_weight > 0 and not self.tells_costs:
            raise ConfigError(_WITHOUT_COSTS.format(env_id=self.env_id, when="any step"))

    def close(self) -> None:
        """Ends the worlds."""
        self._worlds.close()

    def _actions(self, modes: Int[np.ndarray, "env"]) -> np.ndarray:
        """Every world's action, by the controller of its mode."""
        noise = self._noise.standard_normal((self.n_envs, len(self._bounds[0])))
        actions = np.zeros_like(noise)
        for mode in np.unique(modes).tolist():
            rows = np.flatnonzero(modes == mode)
            kept = self._memory[mode]
            begins = ~self._has_acted[mode, rows]  # what it kept is of an episode before
            chosen, memory = self._controllers[mode].act(
                self._observations[rows], None if kept is None else kept[rows], begins, noise[rows]
            )
            actions[rows], self._has_acted[mode, rows] = chosen, True
            if memory is not None:
                if kept is None:
                    kept = self._memory[mode] = np.zeros((self.n_envs, *memory.shape[1:]), memory.dtype)
                kept[rows] = memory
        return np.clip(actions.astype(np.float32), *self._bounds)

    def _follow(self, ended: Bool[np.ndarray, "env"]) -> None:
        """Gives the worlds whose episodes ended the next seeds, and begins there."""
        if ended.any():
            for row in np.flatnonzero(ended).tolist():
                self._seeds[row] = int(self._draws.integers(N_SEEDS))
            self._renew(ended)

    def _renew(self, rows: Bool[np.ndarray, "env"]) -> None:
        if rows.any():
            observations, _ = self._worlds.reset(seed=self._seeds, options={"reset_mask": rows})
            self._observations[rows] = np.asarray(observations, dtype=np.float64)[rows]
            self._age[rows] = 0
            self._has_acted[:, rows] = False


@final
class OptionEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One world as a Gymnasium environment whose action is a mode, held for `horizon_steps`.

    Action: Discrete(n_modes). Observation: the world's. Reward: the sum over the steps of reward - cost_weight x cost.
    `info` holds "return" and "cost", the two sums apart, and "n_steps", how long the mode was held. Any agent of
    Stable-Baselines3 for discrete actions trains on it.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        policy: ModeModel | SteeredPolicy | Sequence[Controller],
        env: World,
        *,
        horizon_steps: int,
        cost_weight: float | int = 0.0,
        max_steps: int | None = None,
    ) -> None:
        """Makes the world; `reset` must come before the first step. Arguments and errors are `OptionWorlds`'s."""
        self._worlds = OptionWorlds(
            policy, env, horizon_steps=horizon_steps, cost_weight=cost_weight, n_envs=1, max_steps=max_steps
        )
        self.observation_space = self._worlds.observation_space
        self.action_space = gymnasium.spaces.Discrete(self._worlds.n_modes)
        self._is_live = self._has_warned = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed, options=options)
        observations = self._worlds.begin(int(self.np_random.integers(N_SEEDS)))
        self._is_live = True
        return self._shown(observations), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Holds a mode.

        Raises:
            WorldError: no episode is under way; or an observation, reward or cost that is no finite number.
            ConfigError: a mode that does not exist.
        """
        if not self._is_live:
            raise WorldError("reset() must come before step(), also after an episode's end. Call env.reset().")
        found = self._worlds.hold(np.array([int(action)]))
        terminated, truncated = bool(found.terminated[0]), bool(found.truncated[0])
        self._is_live = not (terminated or truncated)
        if not self._is_live:
            self._warn_of_no_costs()
        info = {"return": float(found.returns[0]), "cost": float(found.costs[0]), "n_steps": int(found.n_steps[0])}
        return self._shown(found.final_observations), float(found.rewards[0]), terminated, truncated, info

    def close(self) -> None:
        """Ends the world."""
        self._worlds.close()

    def _warn_of_no_costs(self) -> None:
        """Once, after the first episode, where a cost weighs and none was told: in others it may still come."""
        weighs = self._worlds.cost_weight > 0
        if weighs and not self._worlds.tells_costs and not self._has_warned:
            told = _WITHOUT_COSTS.format(env_id=self._worlds.env_id, when="the first episode")
            warnings.warn(told, UserWarning, stacklevel=3)
        self._has_warned = True

    def _shown(self, observations: Float[np.ndarray, "env obs"]) -> np.ndarray:
        return observations[0].astype(self.observation_space.dtype)


def _require_possible(horizon_steps: int, cost_weight: float | int, n_envs: int, max_steps: int | None) -> None:
    require_whole("`horizon_steps`", horizon_steps)
    require_limits(max_steps, n_envs)
    if isinstance(cost_weight, bool) or not isinstance(cost_weight, Real) or not 0 <= cost_weight < np.inf:
        raise ConfigError(f"`cost_weight` must be a finite number >= 0; got {cost_weight!r:.40}. Give another.")
