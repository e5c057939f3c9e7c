"""A baseline that a mode-finder must beat: k-means on single state transitions, without actions and without context."""

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator, named_seed
from unbraid.demos.episodes import Demos
from unbraid.modes.windows import cut_windows

__all__ = ["kmeans_transitions"]

_MAX_FITTED, _CLIP = 20_000, 6.0


def kmeans_transitions(
    train: Demos,
    held_out: Demos,
    *,
    n_modes: int,
    window_steps: int | None = None,
    stride_steps: int = 5,
    seed: int,
) -> Int[np.ndarray, "window"]:
    """(window,) the k-means cluster that most steps of every held-out window fall in, by their s[t + 1] - s[t].

    Transitions are standardised by the training pile's and clipped to +-6 (a lidar that sees something appear jumps
    further, and would get clusters of its own); clusters are found on at most 20,000 of them, drawn at random, with 10
    starts. Of equally frequent clusters the first is taken.

    Source: MacQueen 1967; scikit-learn's `KMeans` (k-means++, Lloyd).

    Args:
        train: where clusters are found; labels are not read.
        held_out: what is assigned, window by window as `cut_windows` cuts it.
        n_modes: K.
        window_steps: steps in a window; None makes one window of each whole episode.
        stride_steps: steps between the starts of neighbouring windows.
        seed: of the transitions drawn and of the starts.

    Raises:
        ConfigError: fewer training steps than `n_modes`, or no held-out window.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    windows = cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)
    if not 1 <= n_modes <= train.n_steps or not len(windows):
        raise ConfigError(
            f"K-means of transitions needs at least {max(n_modes, 1)} training steps, 1 held-out window and K at "
            f"least 1; got {train.n_steps} and {len(windows)} and K = {n_modes}. Use fewer modes, more episodes or "
            "shorter windows."
        )
    scaler = StandardScaler()
    known = np.clip(scaler.fit_transform(_transitions(train)), -_CLIP, _CLIP)
    if len(known) > _MAX_FITTED:
        known = known[named_generator(seed, "k-means of transitions").choice(len(known), _MAX_FITTED, replace=False)]
    clusters = KMeans(
        n_modes,
        n_init=10,  # pyright: ignore[reportArgumentType]  # its stub allows "auto" alone
        random_state=named_seed(seed, "k-means of transitions") % 2**32,
    ).fit(known)
    new = np.clip(scaler.transform(_transitions(held_out)), -_CLIP, _CLIP)
    hits = np.eye(n_modes, dtype=np.int64)[clusters.predict(new)]
    running = np.concatenate([np.zeros((1, n_modes), dtype=np.int64), np.cumsum(hits, axis=0)])
    return (running[windows.starts + windows.lengths] - running[windows.starts]).argmax(1)


def _transitions(demos: Demos) -> Float[np.ndarray, "step obs"]:
    """(step, obs) s[t + 1] - s[t] of every step, none across an episode's end."""
    observations = demos.observations.astype(np.float64)
    return observations[demos.row_of_step + 1] - observations[demos.row_of_step]
