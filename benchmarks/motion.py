"""Do modes move as their experts do? The distributions of speed and of turning rate, step by step.

Each is compared by its Wasserstein-1 distance (scipy), which has the unit of what is compared: between a mode and its
expert on the same seeds; between the expert and itself on other seeds, which is as near as anything can come; and
between the expert and the one of the others that is nearest to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from page_tables import interval, markdown
from unbraid.evaluation.evaluate import fresh_seeds
from unbraid.steering.steered import SteeredPolicy
from unbraid.worlds.controllers import Controller
from unbraid.worlds.experts import make_expert
from unbraid.worlds.rollout import rollout

STEP_SECONDS = 0.02
UNITS = {"speed": "m/s", "turning": "rad/s"}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Moved = Mapping[str, np.ndarray]
"""What is compared -> (episodes x steps,)."""


def moved(track: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Speed (m/s) and turning rate (rad/s, positive to the left) in every step of an episode."""
    turned = np.diff(track["robot_heading_rad"])
    turned = (turned + np.pi) % (2 * np.pi) - np.pi
    return {
        "speed": np.linalg.norm(np.diff(track["robot_xy"], axis=0), axis=1) / STEP_SECONDS,
        "turning": turned / STEP_SECONDS,
    }


def motion(modes: Mapping[str, SteeredPolicy], *, env_id: str, noise: float, n: int, n_steps: int) -> dict[str, Any]:
    """expert -> speed, turning -> quantiles of both, and the three distances.

    Args:
        modes: expert -> the policy in the mode that it is matched with.
        env_id: where they act.
        noise: the standard deviation of the experts' action noise, as when they were recorded.
        n: rollouts of each.
        n_steps: the most steps of a rollout.
    """
    seeds, others = (fresh_seeds(n, seed=seed) for seed in (77, 78))

    def of(controller: Controller, on: Sequence[int]) -> dict[str, np.ndarray]:
        each = [moved(track) for track in rollout(controller, env_id, seeds=on, max_steps=n_steps).tracks]
        return {what: np.concatenate([episode[what] for episode in each]) for what in UNITS}

    experts = {name: of(make_expert(name, action_noise=noise), seeds) for name in modes}
    found: dict[str, Any] = {}
    for name, policy in modes.items():
        mode, again = of(policy, seeds), of(make_expert(name, action_noise=noise), others)
        found[name] = {
            what: {
                "mode": _quantiles(mode[what]),
                "expert": _quantiles(experts[name][what]),
                "from_expert": _distance(mode, experts[name], what),
                "expert_from_itself": _distance(again, experts[name], what),
                "expert_from_nearest": min(
                    _distance(other, experts[name], what) for who, other in experts.items() if who != name
                ),
            }
            for what in UNITS
        }
    return found


def _quantiles(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.quantile(values, QUANTILES)]


def _distance(one: Moved, other: Moved, what: str) -> float:
    return round(float(wasserstein_distance(one[what], other[what])), 5)


def motion_text(content: Mapping[str, Any]) -> str:
    """A table for each set of experts; `content` is case -> expert -> what -> distances and quantiles over seeds."""
    parts = []
    for case, experts in content.items():
        rows = [
            [
                name,
                what,
                *(" ".join(f"{value:.2f}" for value in of[who]) for who in ("mode", "expert")),
                interval(of["from_expert"], 3),
                *(f"{of[key]['value']:.3f}" for key in ("expert_from_itself", "expert_from_nearest")),  # no fit in them
            ]
            for name, of_what in experts.items()
            for what, of in ((f"{what} ({UNITS[what]})", of_what[what]) for what in UNITS)
        ]
        head = ["expert", "", "mode, quantiles", "expert, quantiles", "mode from expert", "expert from itself"]
        parts += [f"Of {case} experts:", markdown([*head, "expert from the nearest other"], rows)]
    return "\n\n".join(parts)
