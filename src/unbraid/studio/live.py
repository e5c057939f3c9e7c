"""A live rollout: one or two agents in one layout, stepped by hand, steered while they act."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError, WorldError
from unbraid.core.randomness import N_SEEDS, named_generator
from unbraid.demos.episodes import Episode
from unbraid.evaluation.telling import plotted
from unbraid.steering.steered import SteeredPolicy, steer
from unbraid.steering.together import act_together
from unbraid.studio.asking import Asked, asked_of
from unbraid.studio.edits import Shown
from unbraid.training.model import ModeModel
from unbraid.training.online import Belief, Observer
from unbraid.worlds.making import Told, make_world, spec_of

__all__ = [
    "LIVE_SWITCH_RATE",
    "MOST_STEPS",
    "LiveRollout",
    "layout_of",
    "live_observer",
    "step_together",
    "top_down",
]

LIVE_SWITCH_RATE = 0.02
"""The probability of a change in a step that the re-encoding assumes: a person moves a slider every second or so."""
MOST_STEPS = 20_000
"""An episode of a world without a limit ends here, so that what is kept of it stays bounded."""


def live_observer(model: ModeModel) -> Observer | None:
    """What re-encodes agents that are steered, one for all; None for a model that cannot be observed (the talk's)."""
    try:
        return Observer(model, switch_rate=LIVE_SWITCH_RATE)
    except ConfigError:
        return None


def top_down(world: Any) -> dict[str, Any] | None:
    """What is drawn of one of our worlds, rounded to millimetres; None for others."""
    scene = getattr(world.unwrapped, "scene", None)
    if scene is None:
        return None
    heading = float(scene.robot_heading_rad)
    return {
        "robot": [*_rounded(scene.robot_xy), round(heading, 3)],
        "goal": _rounded(scene.goal_xy),
        "vases": [
            [*_rounded(xy), round(float(turn), 3)]
            for xy, turn in zip(scene.vases_xy, scene.vases_heading_rad, strict=True)
        ],
    }


def layout_of(world: Any) -> dict[str, Any] | None:
    """What does not move in one of our worlds; None for others."""
    scene = getattr(world.unwrapped, "scene", None)
    if scene is None:
        return None
    return {"hazards": [_rounded(xy) for xy in scene.hazards_xy], "half_side_m": float(scene.rules.half_side_m)}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


@final
class LiveRollout:
    """One or two agents that start alike; not safe to use from two threads at once.

    What they do is what `steer`'s policy does in `rollout`: the world is reset with the seed, and each action is the
    policy's, rounded to float32 and clipped to the world's bounds.
    """

    def __init__(
        self,
        model: ModeModel,
        env_id: str,
        *,
        run: Path,
        shown: Sequence[Shown],
        n_agents: int = 1,
        seed: int = 0,
        observer: Observer | None = None,
    ) -> None:
        """Makes the worlds and resets them.

        Args:
            model: who acts.
            env_id: of a world that fits the model.
            run: as the line of Python names it.
            shown: the modes as the page shows them.
            n_agents: 1 or 2.
            seed: of the reset, and of the noise.
            observer: what re-encodes; None for none.

        Raises:
            ConfigError: neither one agent nor two.
            WorldError: the world cannot be made here, or not reset.
        """
        if n_agents not in (1, 2):
            raise ConfigError(f"There must be 1 or 2 agents; got {n_agents}. Ask for one of these.")
        self.env_id, self.seed, self._run, self._shown = env_id, seed, run, tuple(shown)
        self._worlds: list[Any] = []
        self._base, self.sampled = steer(model), True
        with ExitStack() as unless_all_is_well:
            unless_all_is_well.callback(self.close)
            for _ in range(n_agents):
                self._worlds.append(_made(env_id))
            bounds: Any = self._worlds[0].action_space
            self._bounds = bounds.low, bounds.high
            self.agents = [_Agent(world, self._base, observer, self._bounds) for world in self._worlds]
            for index in range(n_agents):
                self.ask(index, [1.0 if i == 0 else 0.0 for i in range(len(self._shown))])
            self.reset(seed)
            unless_all_is_well.pop_all()

    @property
    def steps_per_s(self) -> float:
        """How many steps are a second of the world's own time."""
        return float(self._worlds[0].metadata.get("render_fps", 30))

    @property
    def most_steps(self) -> int | None:
        """After how many steps the world ends an episode; None where it sets no limit."""
        spec = self._worlds[0].spec
        return None if spec is None else spec.max_episode_steps

    @property
    def is_over(self) -> bool:
        """Whether all episodes ended."""
        return all(agent.is_over for agent in self.agents)

    def ask(self, agent: int, sliders: Sequence[float], style: float | None = None) -> Asked:
        """Steers one agent from its next step on.

        Raises:
            ConfigError: no such agent, or sliders out of range.
        """
        self._require_agent(agent)
        asked = asked_of(self._base, sliders, self._shown, run=self._run, style=style)
        self.agents[agent].asked = asked
        return asked

    def call(self, shown: Sequence[Shown]) -> None:
        """From now on says what is asked by new names; does nothing where other modes are shown than at the start."""
        if [mode.modes for mode in shown] == [mode.modes for mode in self._shown]:
            self._shown = tuple(shown)

    def reset(self, seed: int) -> None:
        """Starts over, all agents alike.

        Raises:
            ConfigError: a seed that is none.
            WorldError: what the world raised, or an observation that no policy can act on.
        """
        if not 0 <= seed < N_SEEDS:
            raise ConfigError(f"A seed must lie in [0, {N_SEEDS:,}); got {seed}. Give another.")
        self.seed = seed
        for agent in self.agents:
            agent.begin(seed)

    def step(self) -> None:
        """One step of every agent whose episode goes on.

        Raises:
            WorldError: what the world raised, or gave that is no number; it says in which step.
        """
        if (failed := step_together([self])[0]) is not None:
            raise failed

    @property
    def going(self) -> list["_Agent"]:
        """The agents whose episodes go on."""
        return [agent for agent in self.agents if not agent.is_over]

    def layout(self) -> dict[str, Any] | None:
        """What does not move in our worlds; None for others."""
        return layout_of(self._worlds[0])

    def frame(self) -> list[dict[str, Any]]:
        """What is drawn of each agent now."""
        return [agent.told() for agent in self.agents]

    def episode(self, agent: int) -> Episode:
        """What an agent did so far, for a film.

        Raises:
            ConfigError: no such agent, or it did nothing yet.
        """
        self._require_agent(agent)
        return self.agents[agent].episode(self.seed)

    def close(self) -> None:
        """Releases the worlds."""
        for world in self._worlds:
            world.close()

    def _require_agent(self, agent: int) -> None:
        if not 0 <= agent < len(self._worlds):
            raise ConfigError(f"An agent must lie in [0, {len(self._worlds)}); got {agent}. Choose one that is there.")


def step_together(rollouts: Sequence[LiveRollout]) -> list[Exception | None]:
    """One step of every agent of every rollout; the network is called for all of them at once.

    Returns:
        For each rollout what went wrong in it, be it its world's fault or our own; the others took their step.
    """
    failed: list[Exception | None] = [None] * len(rollouts)
    going = [(index, agent) for index, rollout in enumerate(rollouts) for agent in rollout.going]
    if not going:
        return failed
    noise = np.stack([agent.drawn(sampled=rollouts[index].sampled) for index, agent in going])
    observations = np.stack([agent.observation for _, agent in going])
    actions = act_together([agent.asked.policy for _, agent in going], observations, noise)
    for (index, agent), action in zip(going, actions, strict=True):
        try:
            agent.do(action)
        except Exception as error:  # of whatever kind, it must not stop the others
            failed[index] = error
    return failed


def _made(env_id: str) -> Any:
    try:
        return Told(make_world(spec_of(env_id)), env_id, strict=True)
    except WorldError:
        raise
    except Exception as error:  # a package that it needs may raise anything
        said = str(error).rstrip(".")
        raise WorldError(f"{env_id} must be possible to make here; {said:.200}. Install what it needs.") from None


class _Agent:
    """One world, who acts in it, and what was seen."""

    def __init__(
        self,
        world: Any,
        policy: SteeredPolicy,
        observer: Observer | None,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> None:
        self._world, self._observer, self._bounds = world, observer, bounds
        self.asked = Asked(policy, "", "")
        self._tells: set[str] = set()  # which of its world's words on a step were ever heard

    @property
    def n_steps(self) -> int:
        return len(self._actions)

    @property
    def observation(self) -> Float[np.ndarray, "obs"]:
        return self._observation.copy()

    def begin(self, seed: int) -> None:
        observation, _ = self._world.reset(seed=seed)
        self._observation = np.asarray(observation, dtype=np.float64)
        self._observations, self._actions = [self._observation.astype(np.float32)], list[np.ndarray]()
        self._noise = named_generator(0, "noise", seed)
        self._belief: Belief | None = None
        self.is_over, self._return, self._cost, self._goals = False, 0.0, 0.0, 0

    def drawn(self, *, sampled: bool) -> Float[np.ndarray, "act"]:
        """The noise of the next action; as much is drawn whether it is used or not."""
        noise = self._noise.standard_normal(len(self._bounds[0]))
        return noise if sampled else noise * 0.0

    def do(self, acted: Float[np.ndarray, "act"]) -> None:
        """One step of the world."""
        action = np.clip(acted.astype(np.float32), *self._bounds)
        if self._observer is not None:
            self._belief = self._observer.observe(self._belief, self._observation, action.astype(np.float64))
        observation, reward, terminated, truncated, info = self._world.step(action)
        self._observation = np.asarray(observation, dtype=np.float64)
        self._observations.append(self._observation.astype(np.float32))
        self._actions.append(action.astype(np.float32))
        self._return += reward
        self._cost += info.get("cost", 0.0)
        self._goals += int(np.any(info.get("goal_reached", False)))
        self._tells |= {"goal_reached", "cost"} & set(info)
        self.is_over = bool(terminated or truncated) or len(self._actions) >= MOST_STEPS

    def told(self) -> dict[str, Any]:
        belief = self._belief
        posterior = None if belief is None else [round(float(p), 4) for p in belief.probabilities]
        told: dict[str, Any] = {"step": len(self._actions), "over": self.is_over, "posterior": posterior}
        told["return"] = round(self._return, 3)
        told["cost"] = round(self._cost, 3) if "cost" in self._tells else None
        told["goals"] = self._goals if "goal_reached" in self._tells else None
        told["action"] = _rounded(self._actions[-1]) if self._actions else None
        seen = top_down(self._world)
        if seen is not None:
            return told | {"scene": seen}
        return told | {"observation": [plotted(value) for value in self._observation]}

    def episode(self, seed: int) -> Episode:
        if not self._actions:
            raise ConfigError("A film needs at least one step; none was made yet. Press play first.")
        return Episode(observations=np.stack(self._observations), actions=np.stack(self._actions), seed=seed)
