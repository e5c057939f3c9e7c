"""What a reader left out, as sentences: `facts["left_out"]` keeps them, and `check` and `convert` say them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

__all__ = ["LARGE_SEEDS", "VANISHED", "said_of", "seeds_that_fit", "with_left_out"]

LARGE_SEEDS = "Seeds are left out: one does not fit in 64 bits with a sign."
VANISHED = "dropped_one_step_episodes"
"""The fact that counts episodes which vanished with their only action."""


def with_left_out(facts: Mapping[str, Any], *lines: str) -> dict[str, Any]:
    """The same facts, with more sentences on what was left out; one that is there is not repeated."""
    told = facts.get("left_out")
    return {**facts, "left_out": list(dict.fromkeys((*(told if isinstance(told, list) else ()), *lines)))}


def said_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on what the file had not, or a reader left out; on one of several sources with its title first."""
    said: list[str] = []
    if facts.get("dropped_last_actions") is True:
        said.append("There are no final observations: each episode's last action is left out, with reward and cost.")
    n_vanished = facts.get(VANISHED, 0)
    if isinstance(n_vanished, int) and n_vanished > 0:
        said.append(f"Episodes of one step are left out with it: {n_vanished}.")
    told, sources = facts.get("left_out"), facts.get("sources")
    said += [str(line) for line in told] if isinstance(told, list) else []
    for source in sources if isinstance(sources, list) else []:
        of_source = source.get("facts") if isinstance(source, dict) else None
        said += [f"{source.get('title')}: {line}" for line in said_of(of_source)] if isinstance(of_source, dict) else []
    return tuple(said)


def seeds_that_fit(seeds: Iterable[int]) -> Int[np.ndarray, "episode"] | None:
    """(episode,) seeds as we keep them, or None where one is too large: Gymnasium takes whole numbers of any size."""
    listed, kept = [int(seed) for seed in seeds], np.iinfo(np.int64)
    fit = all(kept.min <= seed <= kept.max for seed in listed)
    return np.array(listed, dtype=np.int64) if fit else None
