"""One recorded episode as the page plays it: from above in our worlds, as plots of columns in any other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.telling import column_names, plotted, profile
from unbraid.studio.live import layout_of, top_down
from unbraid.worlds.making import make_world, spec_of

__all__ = ["MOST_COLUMNS", "columns_of", "profile_of", "scenes_of"]

MOST_COLUMNS = 8
_MOST_ROWS = 2000  # of a plot or a film; a longer episode is thinned


def columns_of(demos: Demos, episode: int, columns: Sequence[int]) -> list[list[float]]:
    """Chosen columns of an episode, one list of numbers for each; of a long one every n-th step.

    Raises:
        ConfigError: no such episode or column, or more than 8 columns.
    """
    table, _ = _table_of(demos, episode, columns)
    return [[plotted(value) for value in column] for column in table.T]


def profile_of(demos: Demos, episodes: Sequence[int], columns: Sequence[int]) -> dict[str, Any]:
    """How some columns run over time in some episodes, as `evaluation.telling.profile` says; an episode that ends early
    is in its first parts alone.

    Raises:
        ConfigError: no such episode or column, or more than 8 columns.
    """
    tables = [_table_of(demos, episode, columns) for episode in episodes]
    longest = max((int(demos.lengths[episode]) for episode in episodes), default=0)
    if not longest:
        return {"steps": 0, "columns": []}
    times = np.concatenate([np.arange(len(table)) * every for table, every in tables])
    return profile(np.concatenate([table for table, _ in tables]), times, longest)


def _table_of(demos: Demos, episode: int, columns: Sequence[int]) -> tuple[Float[np.ndarray, "row column"], int]:
    """Chosen columns of an episode, (row, column), and n, where every n-th step of a long one is a row.

    Raises:
        ConfigError: no such episode or column, or more than 8 columns.
    """
    found = _episode(demos, episode)
    if not 1 <= len(columns) <= MOST_COLUMNS or not all(0 <= c < len(column_names(demos)) for c in columns):
        raise ConfigError(
            f"Columns must be 1 to {MOST_COLUMNS} numbers in [0, {len(column_names(demos))}); got "
            f"{list(columns)!s:.60}. Choose some of these."
        )
    every = _every(found.n_steps)
    tables = [found.observations[:-1], found.actions]
    tables += [values[:, None] for values in (found.rewards, found.costs) if values is not None]
    table = np.concatenate([np.asarray(part[::every], dtype=np.float64) for part in tables], axis=1)
    return table[:, list(columns)], every


def scenes_of(demos: Demos, episode: int, env_id: str) -> dict[str, Any] | None:
    """The episode from above, by repeating its actions in its world; None where there is no such picture.

    The world is reset with the episode's seed. Where the recorded observations are not what the world then shows, the
    world is another one, and there is no picture.

    Raises:
        ConfigError: no such episode.
    """
    found = _episode(demos, episode)
    if found.seed is None or not env_id.startswith("unbraid/"):
        return None
    world: Any = make_world(spec_of(env_id))
    try:
        first, _ = world.reset(seed=int(found.seed))
        if first.shape != found.observations[0].shape or not np.allclose(first, found.observations[0], atol=1e-3):
            return None
        layout = layout_of(world)
        every, frames = _every(found.n_steps), [top_down(world)]
        for step, action in enumerate(found.actions, start=1):
            _, _, terminated, truncated, _ = world.step(action)
            if step % every == 0:
                frames.append(top_down(world))
            if terminated or truncated:
                break
        return {"layout": layout, "frames": frames, "every": every, "steps_per_s": world.metadata.get("render_fps", 30)}
    finally:
        world.close()


def _every(n_steps: int) -> int:
    return max(1, -(-n_steps // _MOST_ROWS))


def _episode(demos: Demos, episode: int) -> Episode:
    if not 0 <= episode < demos.n_episodes:
        raise ConfigError(f"An episode must lie in [0, {demos.n_episodes}); got {episode}. Choose one that is there.")
    return demos.episode(episode)
