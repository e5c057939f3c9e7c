"""Instructions that change: from step to step of an episode, or from episode to episode."""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError
from unbraid.policy.mixture import MixturePolicy
from unbraid.steering.steered import SteeredPolicy, as_taken, begins, number_of, observation_rows

__all__ = ["Schedule", "by_episode", "in_turn"]

_Choice = Callable[[Float[np.ndarray, "env"], Float[np.ndarray, "env"]], Int[np.ndarray, "env"]]


@final
class Schedule:
    """One of several policies acts in every step of every episode. Made by `in_turn` or `by_episode`.

    It has `predict` and `act` as a `SteeredPolicy` has. What it must know of an episode goes out as `state`, (env, 2):
    the steps taken, and a number in [0, 1) that was drawn when it began.
    """

    def __init__(self, policies: tuple[SteeredPolicy, ...], choose: _Choice, rule: dict[str, Any]) -> None:
        """`choose` takes the steps taken and the numbers drawn, and says which policy acts; `rule` says it as JSON."""
        self.policies, self._choose, self.rule = policies, choose, rule
        self._generator = np.random.default_rng(policies[0].seed)
        # A mixture draws its part by the noise's digits behind the first four; who acts must not hang on which part.
        is_mixture = any(isinstance(policy.model.policy, MixturePolicy) for policy in policies)
        self._digits = 8 if is_mixture else 4

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
            state: what the last call gave; None before the first.
            episode_start: (env,) where an episode begins; without it, everywhere before the first call alone.
            deterministic: the mean action; otherwise sampled from a generator that the first policy's seed seeds.

        Returns:
            The actions, shaped as the observations were, and the state.

        Raises:
            ConfigError, DataError: as `SteeredPolicy.act`.
        """
        rows = observation_rows(observation)
        starts = begins(len(rows), state, episode_start)
        noise = self._generator.standard_normal((len(rows), self.policies[0].model.action_size))
        memory = self._begun(None if state is None else state[0], starts, noise)
        actions, memory = self._acted(rows, memory, np.zeros_like(noise) if deterministic else noise)
        actions = as_taken(actions, self.policies)
        return (actions[0] if np.ndim(observation) == 1 else actions), (memory,)

    def act(
        self,
        observations: Float[np.ndarray, "env obs"],
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"]]:
        """Actions for many environments (worlds.controllers.Controller).

        Raises:
            ConfigError, DataError: as `SteeredPolicy.act`.
        """
        return self._acted(observations, self._begun(state, episode_start, noise), noise)

    def begins_with(self, noise: Float[np.ndarray, "env act"]) -> Int[np.ndarray, "env"]:
        """(env,) which of `policies` acts first; with `by_episode`, in the whole of each episode.

        Args:
            noise: of each episode's first step, as `worlds.rollout.first_noise` gives it.
        """
        memory = self._begun(None, np.ones(len(noise), dtype=bool), noise)
        return self._choose(memory[:, 0], memory[:, 1])

    def _begun(
        self,
        state: Float[np.ndarray, "env memory"] | None,
        episode_start: Bool[np.ndarray, "env"],
        noise: Float[np.ndarray, "env act"],
    ) -> Float[np.ndarray, "env memory"]:
        memory = np.zeros((len(noise), 2)) if state is None else state.copy()
        memory[episode_start, 0] = 0
        memory[episode_start, 1] = np.maximum(number_of(noise[episode_start], self._digits), 0)
        return memory

    def _acted(
        self,
        observations: Float[np.ndarray, "env obs"],
        memory: Float[np.ndarray, "env memory"],
        noise: Float[np.ndarray, "env act"],
    ) -> tuple[Float[np.ndarray, "env act"], Float[np.ndarray, "env memory"]]:
        chosen = self._choose(memory[:, 0], memory[:, 1])
        actions = np.zeros_like(noise)
        for index in np.unique(chosen).tolist():
            rows = chosen == index
            actions[rows], _ = self.policies[index].act(observations[rows], None, rows[rows], noise[rows])
        return actions, memory + np.array([1.0, 0.0])


def in_turn(policies: Mapping[int, SteeredPolicy]) -> Schedule:
    """Policies one after the other in every episode: `in_turn({0: steer(m).toward(1), 200: steer(m).toward(2)})`.

    Args:
        policies: first step -> who acts from then on; one must begin at step 0.

    Raises:
        ConfigError: nobody begins at step 0, a step that is negative or no whole number, or a policy of which nothing
            was asked, or that is a schedule itself.
    """
    _require_mapping("in_turn", policies, "{0: policy, 200: other}")
    whole = all(isinstance(step, Integral) and not isinstance(step, bool) for step in policies)  # NumPy's, too
    if not whole or not policies or min(policies) != 0:
        raise ConfigError(
            "The first policy of a schedule must begin at step 0, the others at whole steps; "
            f"got steps {list(policies)}. Give others."
        )
    at = {int(step): policy for step, policy in policies.items()}
    first_steps = sorted(at)
    _require_steered(list(policies.values()))
    turns = np.array(first_steps)
    return Schedule(
        tuple(at[step] for step in first_steps),
        lambda steps, drawn: np.searchsorted(turns, steps, side="right") - 1,
        {"first_steps": first_steps},
    )


def by_episode(policies: Mapping[SteeredPolicy, float]) -> Schedule:
    """One policy for the whole of each episode, drawn in proportions: `by_episode({p: 0.7, q: 0.3})`.

    Args:
        policies: who -> the share of episodes; > 0, and their sum is 1.

    Raises:
        ConfigError: shares that are not above 0, or don't sum to 1, or policies as for `in_turn`.
    """
    _require_mapping("by_episode", policies, "{policy: 0.7, other: 0.3}")
    shares = list(policies.values())
    are_numbers = all(isinstance(share, Real) for share in shares)
    if not (shares and are_numbers and min(shares) > 0 and abs(sum(shares) - 1) <= 1e-6):  # so that NaN is refused
        raise ConfigError(f"The shares of episodes must be > 0 and sum to 1; got {shares}. Give others.")
    _require_steered(list(policies))
    ends = np.cumsum(shares)[:-1]
    return Schedule(
        tuple(policies),
        lambda steps, drawn: np.searchsorted(ends, drawn, side="right"),
        {"shares": [float(share) for share in shares]},
    )


def _require_mapping(name: str, given: Any, example: str) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} must be given a mapping, as {example}; got {given!r:.80}. Write it so.")


def _require_steered(policies: list[SteeredPolicy]) -> None:
    for policy in policies:
        if not isinstance(policy, SteeredPolicy) or not policy.instruction.asks:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"A schedule must be of steered policies, as steer(model).toward(0); got {policy!r:.80}. "
                "Ask each for a mode."
            )
    sizes = {(policy.model.observation_size, policy.model.action_size) for policy in policies}
    if len(sizes) > 1:
        (first, other) = sorted(sizes)[:2]
        raise ConfigError(
            "The policies of a schedule must be of models with the same numbers of observation and action columns; got "
            f"{first[0]} and {first[1]}, and {other[0]} and {other[1]}. Take models of one environment."
        )
