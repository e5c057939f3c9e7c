"""What a mode-finder must beat (k-means on statistics) and what it can hope for (the same fit, told the labels).

All take the same demonstrations and the same windows as the methods: windows of consecutive steps of one episode at a
stride of 5. Only the supervised bound reads labels.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import named_seed
from unbraid.demos.episodes import Demos
from unbraid.modes.windows import Windows, cut_windows
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

__all__ = ["kmeans_episodes", "kmeans_windows", "supervised_fit"]

_BLOCK = 1 << 16


def kmeans_windows(
    train: Demos, held_out: Demos, *, n_modes: int, window_steps: int | None, stride_steps: int = 5, seed: int
) -> Int[np.ndarray, "window"]:
    """(window,) the k-means cluster of every held-out window, from its means and standard deviations of (s, a).

    The statistics are standardised by the training windows', the clusters found on them with 10 starts.

    Source: MacQueen 1967; scikit-learn's `KMeans` (k-means++, Lloyd).

    Args:
        train: where clusters are found; labels are not read.
        held_out: what is assigned, window by window as `cut_windows` cuts it.
        n_modes: K.
        window_steps: steps in a window; None makes one window of each whole episode.
        stride_steps: steps between the starts of neighbouring windows.
        seed: of the starts.

    Raises:
        ConfigError: fewer training windows than `n_modes`, or no held-out window.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    known = cut_windows(train.lengths, window_steps, stride_steps=stride_steps)
    new = cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)
    if not 1 <= n_modes <= len(known) or not len(new):
        raise ConfigError(
            f"K-means needs at least {max(n_modes, 1)} training windows and 1 held out, and K at least 1; got "
            f"{len(known)} and {len(new)} windows and K = {n_modes}. Use shorter windows or fewer modes."
        )
    scaler = StandardScaler()
    statistics = scaler.fit_transform(_statistics(train, known))
    clusters = KMeans(
        n_modes,
        n_init=10,  # pyright: ignore[reportArgumentType]  # its stub allows "auto" alone
        random_state=named_seed(seed, "k-means") % 2**32,
    ).fit(statistics)
    return np.asarray(clusters.predict(scaler.transform(_statistics(held_out, new))), dtype=np.int64)


def kmeans_episodes(train: Demos, held_out: Demos, *, n_modes: int, seed: int) -> Int[np.ndarray, "episode"]:
    """(episode,) the k-means cluster of every held-out episode that has steps: `kmeans_windows` on whole episodes."""
    return kmeans_windows(train, held_out, n_modes=n_modes, window_steps=None, seed=seed)


def supervised_fit(
    train: Demos, config: UnbraidConfig | None = None, *, labels_of_steps: Int[np.ndarray, "step"] | None = None
) -> ModeModel:
    """The upper bound: all of unbraid's own fit but the search for modes, in whose place it is told who acted.

    Args:
        train: with labels, or with those of its steps beside it; mode k is the expert with label k.
        config: of the fit; `n_modes` is the number of labels, whatever it says.
        labels_of_steps: the expert of every step, where experts change within an episode.

    Raises:
        DataError: `train` has no labels, or no steps.
    """
    import torch

    from unbraid.modes.assignment import stretches_of
    from unbraid.modes.stretches import Stretches
    from unbraid.training.calibrated import CalibratedLearner
    from unbraid.training.given import Given
    from unbraid.training.loop import LoopOptions, computing, run_loop
    from unbraid.training.steps import Steps

    if (train.labels is None and labels_of_steps is None) or not train.n_steps:
        raise DataError(
            f"The supervised bound needs labelled episodes with steps; got {train.n_steps} steps, "
            f"{'no ' if train.labels is None else ''}labels. Collect demonstrations of known experts."
        )
    if labels_of_steps is None:
        assert train.labels is not None
        labels, n_labels = train.labels[train.episode_of_step], len(train.label_names)
    else:
        labels, n_labels = labels_of_steps, int(labels_of_steps.max()) + 1
    stretches = stretches_of(labels, train.episode_of_step)
    first = np.flatnonzero(np.diff(stretches, prepend=-1))
    told = torch.nn.functional.one_hot(torch.from_numpy(labels[first].astype(np.int64)), n_labels).float()
    options = LoopOptions()
    with computing(options.n_threads):
        steps = Steps.of(train.without_labels())
        given = Given(Stretches(torch.from_numpy(np.bincount(stretches))), told)
        learner = CalibratedLearner(steps, config or UnbraidConfig(), given=given)
        run_loop(learner, options)
        return learner.finished().eval()


def _steps(demos: Demos) -> Float[np.ndarray, "step width"]:
    """(step, obs + act) every action beside the observation that it was taken on."""
    return np.concatenate([demos.observations[demos.row_of_step], demos.actions], axis=1, dtype=np.float64)


def _statistics(demos: Demos, windows: Windows) -> Float[np.ndarray, "window statistic"]:
    """(window, 2 (obs + act)) means, then standard deviations, over each window's steps."""
    values = _steps(demos)
    table = np.empty((len(windows), 2 * values.shape[1]))
    for rows, steps in _blocks(windows):
        block = values[steps]
        table[rows] = np.concatenate([block.mean(1), block.std(1)], axis=1)
    return table


def _blocks(windows: Windows) -> Iterator[tuple[Int[np.ndarray, "row"], Int[np.ndarray, "row step"]]]:
    """Windows of one length at a time, few enough for memory: their rows, and their steps' flat indices."""
    for n_steps in np.unique(windows.lengths):
        rows = np.flatnonzero(windows.lengths == n_steps)
        for some in np.array_split(rows, -(-len(rows) * int(n_steps) // _BLOCK)):
            yield some, windows.starts[some][:, None] + np.arange(n_steps)
