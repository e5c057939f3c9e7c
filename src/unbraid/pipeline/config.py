"""What the demo may be asked. No torch here, so that `unbraid --help` is fast."""

from dataclasses import dataclass
from pathlib import Path

from unbraid.pipeline.requests import Json

__all__ = ["DemoConfig", "DemoSizes"]


@dataclass(frozen=True)
class DemoSizes:
    """How much of everything the demo does."""

    episodes: int = 50
    """Demonstrations of each expert."""
    held_out_episodes: int = 40
    """Episodes of each expert, on fresh seeds, that no training sees."""
    max_steps: int = 1000
    """Steps in an episode."""
    talk_steps: int = 1500
    """Gradient steps of each of the eight fits of the talk's method."""
    fit_steps: int = 1500
    """Gradient steps of unbraid's own method."""
    paired_seeds: int = 200
    """Rollouts of every expert and every mode, on the same seeds."""
    talk_seeds: int = 16
    """Rollouts of every mode of the talk's method at its end."""


@dataclass(frozen=True)
class DemoConfig:
    """Repeat the talk's experiment, then solve it: about 3 minutes on 2 cores.

    Example: unbraid demo --seed 1 --out runs/demo1
    """

    out: Path = Path("runs/demo")
    """The run's folder; must not exist yet."""
    seed: int = 0
    """The one seed of everything."""
    quick: bool = False
    """A small version in under 40 s: fewer episodes, steps and rollouts. Its numbers are rougher."""

    json: Json = False

    @property
    def experts(self) -> tuple[str, ...]:
        """Who demonstrates: the talk's two."""
        return ("goal_seeking", "forward")

    @property
    def env_id(self) -> str:
        """Where."""
        return "unbraid/PointGoal1-v0"

    @property
    def sizes(self) -> DemoSizes:
        """How much, by `quick`."""
        if not self.quick:
            return DemoSizes()
        return DemoSizes(
            episodes=20,
            held_out_episodes=10,
            max_steps=500,
            talk_steps=200,
            fit_steps=600,
            paired_seeds=24,
            talk_seeds=4,
        )
