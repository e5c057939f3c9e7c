"""Pictures of modes while a fit goes on: a demonstrated stretch of each, and what the policy would do there by now."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.runs import saying_what_the_disk_refused
from unbraid.training.networks import ModeNetworks
from unbraid.training.steps import Steps

__all__ = ["MOST_SHOWN_STEPS", "PICTURES_FILE", "Pictured", "picture_is_due", "picture_modes", "picture_writer"]

PICTURES_FILE = "pictures.jsonl"
MOST_SHOWN_STEPS = 100
"""The longest stretch that is shown."""
_MOST_POINTS, _MOST_ACTIONS = 50, 4


@runtime_checkable
class Pictured(Protocol):
    """A learner whose modes can be looked at while it learns."""

    @property
    def taken(self) -> int:
        """Gradient steps taken so far."""
        ...

    def pictures(self) -> list[dict[str, Any]]:
        """What `picture_modes` says now. Draws nothing and changes nothing, so that the fit stays what it is."""
        ...


@torch.no_grad()
def picture_modes(
    networks: ModeNetworks,
    steps: Steps,
    stretches: Sequence[Int[Tensor, "step"] | None],
    *,
    contexts: Float[Tensor, "mode mode"],
    shares: Float[Tensor, "mode"],
) -> list[dict[str, Any]]:
    """One picture for each mode, as a JSON object.

    Args:
        networks: as they are now.
        steps: the demonstrations.
        stretches: of each mode, consecutive steps that show it, at most `MOST_SHOWN_STEPS`; None for a mode without.
        contexts: row k asks the policy for mode k.
        shares: of the data, by mode.

    Returns:
        ``mode``, ``share``; and, where there is a stretch: ``episode`` and ``first_step`` of it, in the order that
        the fit was given; ``every``, steps between two points; ``demonstrated``, ``mean`` and ``deviation``, for at
        most 4 columns of the action, a list of at most 50 numbers each, in the action's own units: what was done, and
        the policy in that mode on the same states.
    """
    found: list[dict[str, Any]] = []
    for mode, stretch in enumerate(stretches):
        told: dict[str, Any] = {"mode": mode, "share": round(float(shares[mode]), 4)}
        found.append(told)
        if stretch is None or len(stretch) == 0:
            continue
        every = -(-len(stretch) // _MOST_POINTS)
        chosen = stretch[::every]
        mean, deviation = _policy(networks, steps, chosen, contexts[mode])
        episode = int(steps.episodes[stretch[:1]])
        told |= {"episode": episode, "first_step": int(stretch[0] - steps.episodes.starts[episode]), "every": every}
        told |= {"demonstrated": _columns(steps.actions(chosen)), "mean": _columns(mean)}
        told["deviation"] = _columns(deviation)
    return found


def picture_writer(learner: object, run: Path | None) -> Callable[[], None]:
    """Appends the pictures of now to the run's `pictures.jsonl`; does nothing without a run, or pictures.

    The file must be there: what a resume takes back is dropped from it before.
    """
    if run is None or not isinstance(learner, Pictured):
        return lambda: None
    path = run / PICTURES_FILE

    def write() -> None:
        line = {"step": learner.taken, "modes": learner.pictures()}
        with saying_what_the_disk_refused(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n")

    return write


def picture_is_due(taken: int, *, log_every: int, checkpoint_every: int) -> bool:
    """With every checkpoint; and before the first one each time that the steps have doubled, as most changes then."""
    n_lines, rest = divmod(taken, log_every)
    is_early = taken < checkpoint_every and rest == 0 and n_lines > 0 and n_lines & (n_lines - 1) == 0
    return is_early or taken % checkpoint_every == 0


def _policy(
    networks: ModeNetworks, steps: Steps, chosen: Int[Tensor, "step"], context: Float[Tensor, "mode"]
) -> tuple[Float[Tensor, "step act"], Float[Tensor, "step act"]]:
    """Mean and deviation at the chosen steps under a context; of a model that is learning styles, in any style."""
    states = networks.policy_inputs(steps, chosen)
    contexts = context.to(states.device).expand(len(states), -1)
    return networks.in_own_units(*networks.policy.moments(states, contexts))


def _columns(rows: Float[Tensor, "step act"]) -> list[list[float | None]]:
    """Four digits of each number; null where it is not finite."""
    columns = rows[:, :_MOST_ACTIONS].T.tolist()
    return [[float(f"{value:.4g}") if math.isfinite(value) else None for value in column] for column in columns]
