"""What the style of a model says of demonstrations, as a page shows it: how actions grow where it is swept."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from unbraid.demos.episodes import Demos
from unbraid.evaluation.intervals import mean_interval
from unbraid.evaluation.one_mode import of_one_mode
from unbraid.modes.windows import Windows
from unbraid.training.model import ModeModel
from unbraid.training.networks import window_sums
from unbraid.training.style import STYLE_NATS

__all__ = ["style_entry"]

_SWEPT = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_MOST_STATES = 4096


def style_entry(model: ModeModel, demos: Demos) -> dict[str, Any]:
    """For every mode: what its styles tell, those of its held-out episodes, and the policy's actions at every style.

    Where modes change within an episode, stretches of one mode stand for episodes: those of 25 steps and more, or, of
    a mode that has none, its longest.

    The size of actions is their root mean square over the steps of an episode, each in deviations of the training
    demonstrations' and all added. The policy's is the expected one on states of the mode's held-out episodes, the same
    for all styles.

    Args:
        model: with styles.
        demos: held-out demonstrations; labels are not read.

    Returns:
        a JSON object; what can't be said without episodes of a mode is None.
    """
    assert model.style_reader is not None
    windows, modes = of_one_mode(model, demos)
    styles = model.styles_of(demos, windows, modes)
    scale = model.action_normaliser.scale.numpy().astype(np.float64)
    squares = torch.from_numpy(np.square(demos.actions / scale).sum(1, keepdims=True))
    sizes = np.sqrt(window_sums(squares, windows)[:, 0] / windows.lengths)
    found: list[dict[str, Any]] = []
    for mode in range(model.n_modes):
        own = modes == mode
        swept = None if not own.any() else _swept_sizes(model, demos, mode, windows, own)
        found.append(
            {
                "mode": mode,
                "nats": round(float(model.style_reader.nats[mode]), 4),
                "style": mean_interval(styles[own], within=(0.0, 1.0)).to_json() if own.any() else None,
                "styles": list(_SWEPT),
                "sizes": swept,
                "episodes": np.column_stack([styles[own], sizes[own]]).round(4).tolist(),
            }
        )
    unit = "stretches" if model.switch_rate > 0 else "episodes"
    return {"most_nats": STYLE_NATS, "unit": unit, "modes": found}


def _swept_sizes(
    model: ModeModel, demos: Demos, mode: int, windows: Windows, own: Bool[np.ndarray, "window"]
) -> list[float]:
    """The expected size of the policy's actions at every style of the sweep, on states of the chosen windows."""
    steps = np.concatenate(
        [np.arange(s, s + n) for s, n in zip(windows.starts[own], windows.lengths[own], strict=True)]
    )
    steps = steps[np.linspace(0, len(steps) - 1, min(len(steps), _MOST_STATES)).astype(int)]
    states = torch.from_numpy(np.asarray(demos.observations[demos.row_of_step[steps]], dtype=np.float64))
    contexts, scale = model.contexts[mode].expand(len(states), -1), model.action_normaliser.scale
    sizes: list[float] = []
    for style in _SWEPT:
        mean, deviation = model.action_distribution(states, contexts, style)
        squares = (mean.square() + deviation.square()) / scale.square()
        sizes.append(round(float(squares.sum(1).mean().sqrt()), 4))
    return sizes
