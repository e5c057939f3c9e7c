"""A contextual bandit: which mode brings most over the next steps, from what the world gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import SituationReader
from unbraid.switching.switcher import LinearScores, Switcher

__all__ = ["BanditHistory", "LinearBandit", "train_bandit"]


@final
class LinearBandit:
    """A linear model of the reward of every mode, and how much is still unknown.

    `linucb` chooses the mode of the greatest upper confidence bound, theta_k . x + width sqrt(x' A_k^-1 x); `thompson`
    the greatest of theta ~ N(theta_k, width^2 A_k^-1).

    Source: Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation", Algorithm 1;
    Agrawal & Goyal 2013, "Thompson sampling for contextual bandits with linear payoffs".
    """

    def __init__(
        self,
        n_modes: int,
        n_features: int,
        *,
        rule: Literal["linucb", "thompson"] = "linucb",
        width: float = 0.5,
        ridge: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Knows nothing yet.

        Args:
            n_modes: how many to choose from.
            n_features: of a situation.
            rule: how it explores.
            width: how much it explores, in units of the reward; >= 0.
            ridge: pulls the weights to 0; > 0.
            seed: of Thompson's draws.

        Raises:
            ConfigError: numbers that are impossible.
        """
        if n_modes < 2 or n_features < 1 or width < 0 or ridge <= 0 or rule not in ("linucb", "thompson"):
            raise ConfigError(
                "A bandit needs at least 2 modes and 1 feature, a width >= 0, a ridge > 0 and the rule linucb or "
                f"thompson; got {n_modes}, {n_features}, {width}, {ridge} and {rule!r:.20}. Correct them."
            )
        self._rule, self._width = rule, width
        self._generator = named_generator(seed, "bandit")
        self._precision = np.stack([ridge * np.eye(n_features)] * n_modes)
        self._summed = np.zeros((n_modes, n_features))

    @property
    def weights(self) -> Float[np.ndarray, "mode feature"]:
        """What it expects of every mode: theta."""
        return np.linalg.solve(self._precision, self._summed[:, :, None])[:, :, 0]

    def choose(self, features: Float[np.ndarray, "row feature"]) -> Int[np.ndarray, "row"]:
        """A mode for every situation."""
        expected = features @ self.weights.T
        covariance = np.linalg.inv(self._precision)
        spread = np.sqrt(np.maximum(np.einsum("rf,kfg,rg->rk", features, covariance, features), 0.0))
        if self._rule == "linucb":
            return (expected + self._width * spread).argmax(axis=1)
        # every row's theta is drawn anew: its scores are Gaussian, mode by mode
        return (expected + self._width * spread * self._generator.standard_normal(spread.shape)).argmax(axis=1)

    def learn(
        self,
        features: Float[np.ndarray, "row feature"],
        modes: Int[np.ndarray, "row"],
        rewards: Float[np.ndarray, "row"],
    ) -> None:
        """Takes in what some choices brought."""
        for mode in np.unique(modes).tolist():
            rows = features[modes == mode]
            self._precision[mode] += rows.T @ rows
            self._summed[mode] += rows.T @ rewards[modes == mode]


@dataclass(frozen=True, eq=False)
class BanditHistory:
    """What a bandit chose while it learned, decision by decision.

    Attributes:
        features, modes, rewards: of every decision.
        regret: (decision,) the regret so far, by what is known at the end: the sum of the greatest expected reward
            less that of the mode that was chosen.
        n_steps: of the environment.
    """

    features: Float[np.ndarray, "decision feature"]
    modes: Int[np.ndarray, "decision"]
    rewards: Float[np.ndarray, "decision"]
    regret: Float[np.ndarray, "decision"]
    n_steps: int

    def regret_json(self, n_points: int = 200) -> dict[str, Any]:
        """The regret at some decisions, for a picture."""
        at = np.unique(np.linspace(0, len(self.regret) - 1, min(n_points, len(self.regret))).astype(np.int64))
        return {"decision": (at + 1).tolist(), "regret": [round(float(value), 4) for value in self.regret[at]]}


def train_bandit(
    worlds: OptionWorlds,
    reader: SituationReader,
    *,
    n_steps: int,
    seed: int = 0,
    rule: Literal["linucb", "thompson"] = "linucb",
    width: float = 0.5,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Switcher, BanditHistory]:
    """Learns from the rewards of held modes; what a mode does to later situations is left out of it.

    Args:
        worlds: where it acts; begun with `seed`.
        reader: what it sees.
        n_steps: of the environment, at most.
        seed: decides episodes, noise and draws.
        rule, width: as `LinearBandit`.
        on_progress: called with the number of steps of every round.

    Raises:
        ConfigError: fewer steps than one round takes; or costs weigh, and no step told one.
    """
    if n_steps < worlds.n_envs * worlds.horizon_steps:
        raise ConfigError(
            f"`n_steps` must be at least {worlds.n_envs * worlds.horizon_steps}, one mode held in every world; got "
            f"{n_steps}. Give more."
        )
    bandit = LinearBandit(worlds.n_modes, len(reader.names), rule=rule, width=width, seed=seed)
    features = reader.read(worlds.begin(seed))
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    done = 0
    while done + worlds.n_envs * worlds.horizon_steps <= n_steps:
        modes = bandit.choose(features)
        outcome = worlds.hold(modes)
        bandit.learn(features, modes, outcome.rewards)
        seen.append((features, modes, outcome.rewards))
        features = reader.read(outcome.observations)
        done += int(outcome.n_steps.sum())
        if on_progress is not None:
            on_progress(int(outcome.n_steps.sum()))
    worlds.require_told_costs()
    situations, chosen, rewards = (np.concatenate(part) for part in zip(*seen, strict=True))
    expected = situations @ bandit.weights.T
    missed = expected.max(axis=1) - expected[np.arange(len(chosen)), chosen]
    chooser = LinearScores(bandit.weights)
    switcher = Switcher("bandit", reader, chooser, worlds.n_modes, worlds.horizon_steps, origin=worlds.origin)
    return switcher, BanditHistory(situations, chosen, rewards, np.cumsum(missed), done)
