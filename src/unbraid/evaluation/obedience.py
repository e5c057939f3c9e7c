"""Obedience: rollouts are read again, as if they were demonstrations; are they in the mode that was asked for?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError
from unbraid.core.numbers import require_whole
from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.fields import kind_of
from unbraid.evaluation.intervals import Estimate, bootstrap_counts, mean_interval
from unbraid.evaluation.scores import contingency_by_episode
from unbraid.modes.windows import cut_windows
from unbraid.policy.contexts import require_mode
from unbraid.steering.steered import SteeredPolicy
from unbraid.training.model import ModeModel
from unbraid.worlds.rollout import Rollouts

__all__ = [
    "OBEYED_WINDOW",
    "Change",
    "Obedience",
    "change_obeyed",
    "floored_share",
    "obedience",
    "obedience_entries",
    "steps_until_obeyed",
    "turn_of",
]

OBEYED_WINDOW = 50
"""Steps in the windows that obedience is read from."""

_TENTHS, _CONFIRMED, _CHANGE_WINDOW = 10, 3, 10


@dataclass(frozen=True, eq=False)
class Obedience:
    """How often the performed mode is the one that was asked for.

    Attributes:
        mode: what was asked for.
        window_steps: the windows that modes are read from, at stride 5.
        share: of windows in that mode, with an interval over episodes.
        over_time: the same for the windows that begin in each tenth of the longest episode, or None where none does.
        performed: (mode,) the share of windows in every mode.
    """

    mode: int
    window_steps: int
    share: Estimate
    over_time: tuple[Estimate | None, ...]
    performed: Float[np.ndarray, "mode"]

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "mode": self.mode,
            "window_steps": self.window_steps,
            "share": self.share.to_json(),
            "over_time": [None if part is None else part.to_json() for part in self.over_time],
            "performed": self.performed.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Change:
    """How soon a change of instruction took effect: see `steps_until_obeyed`.

    Attributes:
        mode: what was asked for from then on.
        window_steps: the windows that modes are read from, at every step.
        n_windows: how many of them in a row must be read as the mode.
        steps: the mean over the episodes that went on for long enough, with its interval.
        n_never: in how many of them it never did; these count as all steps that were left.
    """

    mode: int
    window_steps: int
    n_windows: int
    steps: Estimate
    n_never: int

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def obedience(
    model: ModeModel, rollouts: Demos | Rollouts, mode: int, *, window_steps: int = OBEYED_WINDOW
) -> Obedience:
    """The share of windows of rollouts that the encoder reads as the mode that was asked for.

    By the encoder alone: the policy's likelihood would know its own actions again.

    Args:
        model: reads the rollouts.
        rollouts: of a policy that was asked for the mode, or of an expert; `evaluate(...).rollouts` will do.
        mode: which.
        window_steps: in a window.

    Raises:
        ConfigError: a policy in place of a model, or the mode does not exist.
        DataError: no episode is as long as a window.
    """
    _require_model(model)
    require_mode(mode, model.n_modes)
    rollouts = rollouts.demos if isinstance(rollouts, Rollouts) else rollouts
    windows = model.cut(rollouts, window_steps)
    modes = model.scores_of_windows(model.steps_of(rollouts), windows, ("encoder",))["encoder"].argmax(1)
    obeyed = (modes == mode).astype(np.int64)
    within = windows.starts - rollouts.step_starts[windows.episodes]
    tenth = np.minimum(within * _TENTHS // max(int(rollouts.lengths.max()), 1), _TENTHS - 1)
    return Obedience(
        mode,
        window_steps,
        _share(obeyed, windows.episodes),
        tuple(
            _share(obeyed[tenth == part], windows.episodes[tenth == part]) if (tenth == part).any() else None
            for part in range(_TENTHS)
        ),
        np.bincount(modes, minlength=model.n_modes) / len(modes),
    )


def obedience_entries(
    model: ModeModel, modes: Sequence[Rollouts], experts: Mapping[str, Rollouts], expert_of_mode: Sequence[int]
) -> dict[str, Any] | None:
    """What `results.json` says of how every mode obeys, beside how its expert's own rollouts are read.

    Args:
        model: reads the rollouts.
        modes: of every mode, the rollouts of the policy that was asked for it.
        experts: of every expert, by name, those of itself.
        expert_of_mode: for every mode the place of its expert among them, or -1.

    Returns:
        ``window_steps`` and ``modes``, each as `Obedience.to_json` with the ``expert``'s name and ``expert_share``,
        both None where no expert is matched; None altogether where no rollout is as long as a window.
    """
    every = [*modes, *experts.values()]
    if min(int(rollouts.demos.lengths.max()) for rollouts in every) < OBEYED_WINDOW:
        return None
    entries: list[dict[str, Any]] = []
    for mode, (rollouts, index) in enumerate(zip(modes, expert_of_mode, strict=True)):
        name = list(experts)[index] if index >= 0 else None
        own = None if name is None else obedience(model, experts[name], mode).share.to_json()
        entries.append({**obedience(model, rollouts, mode).to_json(), "expert": name, "expert_share": own})
    return {"window_steps": OBEYED_WINDOW, "modes": entries}


def steps_until_obeyed(
    model: ModeModel, rollouts: Demos | Rollouts, mode: int, *, changed_at: int, window_steps: int = _CHANGE_WINDOW
) -> Int[np.ndarray, "episode"]:
    """How many steps after a change of instruction it takes effect, by the encoder alone.

    It has taken effect where the first of three consecutive windows begins that are all read as the new mode. An
    episode in which that never happens counts as all steps that were left.

    Args:
        model: reads the rollouts.
        rollouts: every one longer than the step of the change; `evaluate(...).rollouts` will do.
        mode: the new one.
        changed_at: the step of the first action under the new instruction.
        window_steps: in a window.

    Returns:
        (episode,) steps, from 0 to those that were left.

    Raises:
        ConfigError: a policy in place of a model, the mode does not exist, the step is no whole number from 0 on, or an
            episode is not longer than that by a window and two steps.
    """
    _require_model(model)
    require_mode(mode, model.n_modes)
    changed_at = require_whole("`changed_at`", changed_at, least=0, remedy="Give the step, counted from 0.")
    window_steps = require_whole("`window_steps`", window_steps)
    rollouts = rollouts.demos if isinstance(rollouts, Rollouts) else rollouts
    if int(rollouts.lengths.min()) < changed_at + window_steps + _CONFIRMED - 1:
        raise ConfigError(
            f"Rollouts must go on for {window_steps + _CONFIRMED - 1} steps after the change at step {changed_at}; the "
            f"shortest has {int(rollouts.lengths.min())}. Roll out for longer, or change earlier."
        )
    windows = cut_windows(rollouts.lengths, window_steps, stride_steps=1)  # the nth of an episode begins at step n
    modes = model.scores_of_windows(model.steps_of(rollouts), windows, ("encoder",))["encoder"].argmax(1)
    taken = rollouts.lengths - changed_at
    n_windows = rollouts.lengths - window_steps + 1
    for episode, obeyed in enumerate(np.split(modes == mode, np.cumsum(n_windows)[:-1])):
        after = obeyed[changed_at:]
        as_asked = np.convolve(after, np.ones(_CONFIRMED, dtype=np.int64), mode="valid") == _CONFIRMED
        if as_asked.any():
            taken[episode] = int(as_asked.argmax())
    return taken


def turn_of(rollouts: Demos, first_step: int, end: int | None = None) -> Demos | None:
    """The steps of one turn of every episode, as episodes; None where no episode gets that far.

    Args:
        rollouts: whole episodes; those that end before the turn are left out.
        first_step: of the turn.
        end: the first step of the next turn; None for the last turn.
    """
    rows = slice(first_step, None if end is None else end + 1)  # and what the turn's last action led to
    parts = [
        Episode(observations=episode.observations[rows], actions=episode.actions[first_step:end])
        for episode in rollouts
        if episode.n_steps > first_step
    ]
    return Demos.from_episodes(parts) if parts else None


def change_obeyed(model: ModeModel, turn: Demos, mode: int) -> Change | None:
    """How soon a change of instruction took effect; None where no episode goes on for 12 steps after it.

    Args:
        model: reads the rollouts.
        turn: from the change to the next one (`turn_of`).
        mode: the one that the change asks for.

    Raises:
        ConfigError: the mode does not exist.
    """
    require_mode(mode, model.n_modes)
    long_enough = np.flatnonzero(turn.lengths >= _CHANGE_WINDOW + _CONFIRMED - 1)
    if len(long_enough) == 0:
        return None
    turn = turn.select(long_enough)
    steps = steps_until_obeyed(model, turn, mode, changed_at=0)
    mean = mean_interval(steps, within=(0.0, float(turn.lengths.max())))
    return Change(mode, _CHANGE_WINDOW, _CONFIRMED, mean, int((steps == turn.lengths).sum()))


def floored_share(policy: SteeredPolicy, rollouts: Demos) -> float:
    """The share of the steps of rollouts in which what is avoided counted as less certain than it is.

    See `SteeredPolicy.floored`.
    """
    return float(np.concatenate([policy.floored(episode.observations[:-1]) for episode in rollouts]).mean())


def _require_model(model: object) -> None:
    """Raises `ConfigError` for the policy that acted, and for what else is no model."""
    if isinstance(model, SteeredPolicy):
        raise ConfigError("What reads rollouts must be a model; got a steered policy. Give its model: policy.model.")
    if not hasattr(model, "scores_of_windows"):
        raise ConfigError(
            f"What reads rollouts must be a model; got {kind_of(model)}. Load it: "
            "ModeModel.from_pretrained('runs/first')."
        )


def _share(obeyed: Int[np.ndarray, "window"], episodes: Int[np.ndarray, "window"]) -> Estimate:
    """With a bootstrap over episodes."""
    return bootstrap_counts(
        lambda summed: summed[..., 0, 1] / summed.sum((-2, -1)),
        contingency_by_episode(np.zeros_like(obeyed), obeyed, episodes, n_labels=1, n_modes=2),
        generator=named_generator(0, "obedience"),
        within=(0.0, 1.0),
    )
