"""What a model reads of demonstrations over time, as a page shows it: for a few episodes, and in all."""

from typing import Any

import numpy as np

from unbraid.demos.episodes import Demos
from unbraid.evaluation.intervals import mean_interval
from unbraid.training.model import ModeModel

__all__ = ["over_time_entry"]

_SHOWN_EPISODES, _SHOWN_MOMENTS = 16, 120


def over_time_entry(model: ModeModel, demos: Demos) -> dict[str, Any]:
    """The rate of switching, the changes an episode with their interval over episodes, and a few episodes' timelines.

    Args:
        model: of experts that change within an episode, or not.
        demos: held-out demonstrations.

    Returns:
        a JSON object; of each shown episode the probabilities of the modes at up to 120 moments.
    """
    timeline = model.timeline(demos)
    with_steps = np.flatnonzero(demos.lengths)
    n_changes = np.bincount([c.episode for c in timeline.change_points], minlength=demos.n_episodes)[with_steps]
    shown: list[dict[str, Any]] = []
    for episode in with_steps[:_SHOWN_EPISODES].tolist():
        start, n_steps = int(demos.step_starts[episode]), int(demos.lengths[episode])
        edges = np.unique(np.linspace(0, n_steps, min(n_steps, _SHOWN_MOMENTS) + 1).astype(int))
        sums = np.add.reduceat(timeline.probabilities[start : start + n_steps], edges[:-1])
        points = [c.to_json() for c in timeline.change_points if c.episode == episode]
        shown.append(
            {
                "episode": episode,
                "n_steps": n_steps,
                "probabilities": (sums / np.diff(edges)[:, None]).round(3).tolist(),
                "change_points": points,
            }
        )
    return {
        "switch_rate": model.switch_rate,
        "changes_per_episode": mean_interval(n_changes.astype(np.float64), within=(0.0, np.inf)).to_json(),
        "episodes": shown,
    }
