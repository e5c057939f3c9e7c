"""What is known of every episode: its mode, how sure that is, what it brought, how odd it is; sorted, by the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos
from unbraid.evaluation.portraits import episodes_read
from unbraid.modes.windows import cut_windows
from unbraid.training.model import ModeModel

__all__ = ["LONGEST_PAGE", "Catalogue", "Order", "catalogue_of", "run_lengths", "shown_as"]

Order = Literal["odd", "episode", "mode", "certainty", "return", "cost", "length"]
LONGEST_PAGE = 500
_STRETCH_STEPS = 25


@final
@dataclass(frozen=True, eq=False)
class Catalogue:
    """Episodes of a data set as a model reads them.

    Attributes:
        probabilities: (episode, mode) of each episode as a whole; rows sum to 1.
        stretches: for each episode, runs of one mode: (mode, steps), which add up to its length.
        oddness: (episode,) as `evaluation.portraits.episodes_read` says.
        lengths: (episode,) steps.
        returns, costs: (episode,) or None where none were recorded.
    """

    probabilities: Float[np.ndarray, "episode mode"]
    stretches: tuple[tuple[tuple[int, int], ...], ...]
    oddness: Float[np.ndarray, "episode"]
    lengths: Int[np.ndarray, "episode"]
    returns: Float[np.ndarray, "episode"] | None
    costs: Float[np.ndarray, "episode"] | None

    @property
    def n_episodes(self) -> int:
        """How many episodes there are."""
        return len(self.lengths)

    def shown(self, leads: Sequence[int]) -> Float[np.ndarray, "episode mode"]:
        """`probabilities` with those of merged modes added to the leading one's."""
        return shown_as(self.probabilities, leads)

    def modes_of_steps(self, leads: Sequence[int]) -> Int[np.ndarray, "step"]:
        """(step,) the mode of every step as the strips show it; merged modes as the leading one."""
        runs = np.array([(leads[mode], n) for own in self.stretches for mode, n in own], dtype=np.int64).reshape(-1, 2)
        return np.repeat(runs[:, 0], runs[:, 1])

    def order(self, by: Order, leads: Sequence[int], *, descending: bool = False) -> Int[np.ndarray, "episode"]:
        """The episodes in an order; equal ones by their number.

        By oddness the oddest come first, by certainty the least certain, by everything else the smallest; descending
        turns that round.

        Raises:
            ConfigError: an order by returns or costs that were not recorded.
        """
        shown = self.shown(leads)
        keys: dict[str, np.ndarray | None] = {
            "odd": -self.oddness,
            "episode": np.arange(self.n_episodes),
            "mode": shown.argmax(1) - 0.5 * shown.max(1),
            "certainty": shown.max(1),
            "return": self.returns,
            "cost": self.costs,
            "length": self.lengths,
        }
        key = keys[by]
        if key is None:
            raise ConfigError(f"An order by {by} needs data that records it; this does not. Choose another.")
        return np.argsort(-key if descending else key, kind="stable")

    def page(self, episodes: Int[np.ndarray, "chosen"], leads: Sequence[int], notes: Mapping[int, str]) -> list[Any]:
        """Rows of the page, one for each of some episodes."""
        shown = self.shown(leads)[episodes]
        rows: list[Any] = []
        for row, episode in enumerate(episodes.tolist()):
            rows.append(
                {
                    "episode": episode,
                    "mode": int(shown[row].argmax()),
                    "certainty": round(float(shown[row].max()), 4),
                    "oddness": round(float(self.oddness[episode]), 2),
                    "steps": int(self.lengths[episode]),
                    "return": None if self.returns is None else round(float(self.returns[episode]), 3),
                    "cost": None if self.costs is None else round(float(self.costs[episode]), 3),
                    "stretches": _joined([(leads[mode], n) for mode, n in self.stretches[episode]]),
                    "note": notes.get(episode, ""),
                }
            )
        return rows


def catalogue_of(model: ModeModel, demos: Demos) -> Catalogue:
    """Reads every episode that has steps; one without is nobody's (all modes alike).

    Where experts take over within an episode, its stretches are the model's `timeline`; elsewhere, how the model reads
    each 25 steps by themselves, which shows where an episode of one mode looks like another.

    Raises:
        DataError: data that does not fit the model.
    """
    whole, modes_read, probabilities_read, oddness_read = episodes_read(model, demos)
    probabilities = np.full((demos.n_episodes, model.n_modes), 1.0 / model.n_modes)
    oddness, modes = np.zeros(demos.n_episodes), np.zeros(demos.n_episodes, dtype=np.int64)
    probabilities[whole.episodes], oddness[whole.episodes] = probabilities_read, oddness_read
    modes[whole.episodes] = modes_read
    return Catalogue(
        probabilities=probabilities,
        stretches=_stretches(model, demos, modes),
        oddness=oddness,
        lengths=np.asarray(demos.lengths),
        returns=_sums(demos.rewards, demos),
        costs=_sums(demos.costs, demos),
    )


def shown_as(probabilities: Float[np.ndarray, "row mode"], leads: Sequence[int]) -> Float[np.ndarray, "row mode"]:
    """Probabilities of modes with those of merged ones added to the leading one's."""
    found = np.zeros_like(probabilities)
    for mode, lead in enumerate(leads):
        found[:, lead] += probabilities[:, mode]
    return found


def run_lengths(modes: Int[np.ndarray, "step"]) -> list[tuple[int, int]]:
    """Runs of equal modes: (mode, steps)."""
    if len(modes) == 0:
        return []
    edges = np.flatnonzero(np.diff(modes)) + 1
    starts = np.concatenate([[0], edges, [len(modes)]])
    return [(int(modes[a]), b - a) for a, b in pairwise(starts.tolist())]


def _stretches(
    model: ModeModel, demos: Demos, modes: Int[np.ndarray, "episode"]
) -> tuple[tuple[tuple[int, int], ...], ...]:
    if model.switch_rate > 0:
        of_step = model.timeline(demos).modes
    else:
        of_step = np.repeat(modes, demos.lengths)
        windows = cut_windows(demos.lengths, _STRETCH_STEPS, stride_steps=_STRETCH_STEPS)
        if len(windows):
            read = model.window_scores(demos, windows).argmax(1)
            rows = windows.starts[:, None] + np.arange(_STRETCH_STEPS)
            of_step[rows] = read[:, None]
    bounds = demos.step_starts
    return tuple(tuple(run_lengths(of_step[bounds[e] : bounds[e + 1]])) for e in range(demos.n_episodes))


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours of one mode as one."""
    found: list[tuple[int, int]] = []
    for mode, n in stretches:
        if found and found[-1][0] == mode:
            found[-1] = (mode, found[-1][1] + n)
        else:
            found.append((mode, n))
    return found


def _sums(values: np.ndarray | None, demos: Demos) -> Float[np.ndarray, "episode"] | None:
    if values is None:
        return None
    ends = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    return ends[demos.step_starts[1:]] - ends[demos.step_starts[:-1]]
