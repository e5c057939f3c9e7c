"""What a mode-finder must beat (k-means on statistics) and what it can hope for (the same encoder, told the labels).

All take the same demonstrations and the same windows as the methods: windows of consecutive steps of one episode at a
stride of 5. Only the supervised bound reads labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import named_generator, named_seed
from unbraid.demos.episodes import Demos
from unbraid.modes.windows import Windows, cut_windows

__all__ = ["SupervisedBound", "kmeans_episodes", "kmeans_windows", "supervised_bound"]

_WINDOW_STEPS = (10, 25, 50, 100)
_N_WINDOWS, _N_SAMPLED_STEPS, _N_HIDDEN, _N_WARM_UP = 96, 25, 64, 50
_LEARNING_RATE, _GRADIENT_NORM = 2e-3, 5.0
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


@dataclass(frozen=True, eq=False)
class SupervisedBound:
    """A classifier of windows that was told who acted: what an encoder of this size can reach.

    Attributes:
        centre, scale: (obs + act,) how (s, a) is scaled; then clipped to +-6.
        weights, biases: of two per-step layers with ReLU, and, after the mean over the window's steps, of the layer
            that gives the labels' logits.
    """

    centre: Float[np.ndarray, "width"]
    scale: Float[np.ndarray, "width"]
    weights: tuple[Float[np.ndarray, "_ _"], ...]
    biases: tuple[Float[np.ndarray, "_"], ...]

    def predict(self, demos: Demos, *, window_steps: int | None, stride_steps: int = 5) -> Int[np.ndarray, "window"]:
        """(window,) the likeliest label of every window as `cut_windows` cuts them; None takes whole episodes.

        Every step of a window counts, where training sampled at most 25.
        """
        windows = cut_windows(demos.lengths, window_steps, stride_steps=stride_steps)
        features = _scaled(_steps(demos), self.centre, self.scale)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            features = np.maximum(features @ weight.T + bias, 0)
        pooled = np.empty((len(windows), features.shape[1]))
        for rows, steps in _blocks(windows):
            pooled[rows] = features[steps].mean(1)
        return (pooled @ self.weights[-1].T + self.biases[-1]).argmax(1)


def supervised_bound(train: Demos, *, seed: int, n_iterations: int = 1500) -> SupervisedBound:
    """Trains the encoder on true labels: per-step 64-64 ReLU on scaled (s, a), mean over the window, cross-entropy.

    AdamW at 2e-3 with 50 steps of warm-up and then a cosine, gradient norm 5; in every iteration 96 windows of 10,
    25, 50 or 100 steps (as far as episodes are that long), at most 25 sampled steps of each. About 10 s for 50,000
    steps on one core.

    Args:
        train: with labels.
        seed: of the initial weights and of the windows drawn.
        n_iterations: gradient steps.

    Raises:
        DataError: `train` has no labels, or no steps.
    """
    if train.labels is None or not train.n_steps:
        raise DataError(
            f"The supervised bound needs labelled episodes with steps; got {train.n_steps} steps, "
            f"{'no ' if train.labels is None else ''}labels. Collect demonstrations of known experts."
        )
    steps = _steps(train)
    centre, scale = steps.mean(0), steps.std(0) + 0.02
    label_of_step = train.labels[train.episode_of_step]
    arrays = _train_classifier(
        _scaled(steps, centre, scale),
        label_of_step,
        train.lengths,
        n_labels=len(train.label_names),
        seed=seed,
        n_iterations=n_iterations,
    )
    return SupervisedBound(centre, scale, weights=tuple(arrays[0::2]), biases=tuple(arrays[1::2]))


def _train_classifier(
    inputs: Float[np.ndarray, "step width"],
    label_of_step: Int[np.ndarray, "step"],
    lengths: Int[np.ndarray, "episode"],
    *,
    n_labels: int,
    seed: int,
    n_iterations: int,
) -> list[np.ndarray]:
    """Weight and bias of the three layers in turn."""
    import torch
    from torch import nn

    generator = named_generator(seed, "supervised bound", "windows")
    starts = {n: cut_windows(lengths, n, stride_steps=1).starts for n in (*_WINDOW_STEPS, int(lengths.max()))}
    choices = [n for n in _WINDOW_STEPS if len(starts[n])] or [int(lengths.max())]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(named_seed(seed, "supervised bound", "weights"))
        hidden = [nn.Linear(inputs.shape[1], _N_HIDDEN), nn.ReLU(), nn.Linear(_N_HIDDEN, _N_HIDDEN), nn.ReLU()]
        encoder, head = nn.Sequential(*hidden), nn.Linear(_N_HIDDEN, n_labels)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: _rate(i, n_iterations))
    table, labels = torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(label_of_step)
    for _ in range(n_iterations):
        n_steps = int(generator.choice(choices))
        first = generator.choice(starts[n_steps], _N_WINDOWS)
        steps = torch.as_tensor(first[:, None] + _sampled_offsets(n_steps, generator))
        logits = head(encoder(table[steps]).mean(1))
        loss = nn.functional.cross_entropy(logits, labels[steps[:, 0]])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        optimiser.step()
        schedule.step()
    return [parameter.detach().numpy().astype(np.float64) for parameter in parameters]


def _rate(iteration: int, n_iterations: int) -> float:
    """The learning rate's factor: up in a line, down in half a cosine."""
    if iteration < _N_WARM_UP:
        return (iteration + 1) / _N_WARM_UP
    done = (iteration - _N_WARM_UP) / max(n_iterations - _N_WARM_UP, 1)
    return 0.5 * (1 + float(np.cos(np.pi * min(done, 1.0))))


def _sampled_offsets(n_steps: int, generator: np.random.Generator) -> Int[np.ndarray, "window sampled"]:
    """(window, at most 25) which steps of each window are seen, without repetition."""
    if n_steps <= _N_SAMPLED_STEPS:
        return np.tile(np.arange(n_steps), (_N_WINDOWS, 1))
    return generator.random((_N_WINDOWS, n_steps)).argpartition(_N_SAMPLED_STEPS, axis=1)[:, :_N_SAMPLED_STEPS]


def _steps(demos: Demos) -> Float[np.ndarray, "step width"]:
    """(step, obs + act) every action beside the observation that it was taken on."""
    return np.concatenate([demos.observations[demos.row_of_step], demos.actions], axis=1, dtype=np.float64)


def _scaled(
    values: Float[np.ndarray, "step width"], centre: Float[np.ndarray, "width"], scale: Float[np.ndarray, "width"]
) -> Float[np.ndarray, "step width"]:
    return np.clip((values - centre) / scale, -6, 6)


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
