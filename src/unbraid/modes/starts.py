"""Where a search for modes starts: proposals of several kinds, none of which knows the data it is for."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.modes.evidence import Recorded

__all__ = [
    "Start",
    "Starts",
    "described",
    "groups_of",
    "kmeans_groups",
    "merges",
    "proposals",
    "quiet",
    "single_threaded_and_quiet",
    "splits",
]

_KMEANS, _MIXTURES, _RANDOM = 3, 3, 2
_CERTAINTY, _RANDOM_BETA = 0.98, 0.02

Start = tuple[str, Float[Tensor, "span mode"], float]
"""(what proposed it, responsibilities, the inverse temperature at which EM sets out from there)."""
Starts = list[Start]


def described(recorded: Recorded) -> Float[np.ndarray, "span statistic"]:
    """A plain description of every span: means and deviations of states and actions, and what changed, standardised."""
    values = torch.cat([recorded.states, recorded.actions], dim=1).double()
    lengths = torch.bincount(recorded.spans)
    sums = torch.zeros(len(lengths), values.shape[1], dtype=torch.float64).index_add_(0, recorded.spans, values)
    squares = torch.zeros_like(sums).index_add_(0, recorded.spans, values.square())
    means = sums / lengths[:, None]
    deviations = (squares / lengths[:, None] - means.square()).clamp_min(0).sqrt()
    last = lengths.cumsum(0) - 1
    first = last - lengths + 1
    change = recorded.rows[recorded.row_of_step[last] + 1] - recorded.rows[recorded.row_of_step[first]]
    table = torch.cat([means, deviations, change.double()], dim=1)
    return ((table - table.mean(0)) / table.std(0, correction=0).clamp_min(1e-6)).numpy()


def groups_of(responsibilities: Float[Tensor, "span mode"]) -> bytes:
    """Each span's likeliest mode, numbered by who comes first: the same for the same groups in any order."""
    _, first, numbers = np.unique(responsibilities.argmax(1).numpy(), return_index=True, return_inverse=True)
    return first.argsort().argsort()[numbers].tobytes()


def proposals(
    latents: Float[np.ndarray, "span latent"],
    descriptions: Float[np.ndarray, "span statistic"],
    n_modes: int,
    generator: np.random.Generator,
    *,
    random_only: bool = False,
) -> Starts:
    """K groups of spans, each by another road: of latents (k-means, Gaussian mixtures, Ward's tree), of descriptions,
    and at random, with EM cooled down slowly.
    """
    n_spans = len(latents)
    found: Starts = []
    for _ in range(_RANDOM if not random_only else _KMEANS + _MIXTURES + _RANDOM):
        drawn = torch.as_tensor(generator.dirichlet(np.full(n_modes, 0.5), n_spans), dtype=torch.float32)
        found.append(("random", drawn, _RANDOM_BETA))
    if random_only or not 1 < n_modes <= n_spans:
        return found

    def propose(name: str, groups: Int[np.ndarray, "span"]) -> None:
        found.append((name, _softened(torch.as_tensor(groups, dtype=torch.long), n_modes), 1.0))

    with quiet():
        for _ in range(_KMEANS):
            propose("k-means of latents", _kmeans(latents, n_modes, generator))
        for _ in range(_MIXTURES):
            propose("Gaussian mixture of latents", _gaussians(latents, n_modes, generator))
        propose("Ward's tree of latents", _ward(latents, n_modes))
        propose("k-means of descriptions", _kmeans(descriptions, n_modes, generator))
    return found


def kmeans_groups(
    latents: Float[np.ndarray, "span latent"], n_groups: int, generator: np.random.Generator
) -> Float[Tensor, "span group"]:
    """Responsibilities of groups by k-means on latents, soft by a fiftieth."""
    with quiet():
        groups = _kmeans(latents, n_groups, generator)
    return _softened(torch.as_tensor(groups, dtype=torch.long), n_groups)


def splits(
    responsibilities: Float[Tensor, "span mode"],
    latents: Float[np.ndarray, "span latent"],
    generator: np.random.Generator,
) -> list[tuple[str, Float[Tensor, "span mode+1"], float]]:
    """K + 1 groups: each mode's spans in turn, split in two by their latents."""
    modes, n_modes = responsibilities.argmax(1), responsibilities.shape[1]
    found: Starts = []
    for mode in range(n_modes):
        own = torch.nonzero(modes == mode)[:, 0]
        if len(own) > 2:
            groups = modes.clone()
            with quiet():
                halves = _gaussians(latents[own.numpy()], 2, generator)
            groups[own[torch.as_tensor(halves) == 1]] = n_modes
            found.append(("a mode split", _softened(groups, n_modes + 1), 1.0))
    return found


def merges(responsibilities: Float[Tensor, "span mode"]) -> Float[Tensor, "pair span mode-1"]:
    """K - 1 modes: every pair of modes in turn made one, in the order of `itertools.combinations`."""
    n_modes = responsibilities.shape[1]
    found: list[Tensor] = []
    for first in range(n_modes):
        for second in range(first + 1, n_modes):
            kept = [mode for mode in range(n_modes) if mode != second]
            merged = responsibilities[:, kept].clone()
            merged[:, first] += responsibilities[:, second]
            found.append(merged)
    return torch.stack(found)


def _softened(groups: Int[Tensor, "span"], n_modes: int) -> Float[Tensor, "span mode"]:
    one_hot = torch.nn.functional.one_hot(groups, n_modes).float()
    return _CERTAINTY * one_hot + (1 - _CERTAINTY) / n_modes


def _kmeans(
    points: Float[np.ndarray, "span column"], n_modes: int, generator: np.random.Generator
) -> Int[np.ndarray, "span"]:
    from sklearn.cluster import KMeans

    kmeans = KMeans(
        n_modes,
        n_init=5,  # pyright: ignore[reportArgumentType]  # its stub allows "auto" alone
        random_state=int(generator.integers(2**31)),
    )
    return np.asarray(kmeans.fit_predict(points), dtype=np.int64)


def _gaussians(
    points: Float[np.ndarray, "span column"], n_modes: int, generator: np.random.Generator
) -> Int[np.ndarray, "span"]:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        n_modes, covariance_type="diag", reg_covar=1e-2, random_state=int(generator.integers(2**31))
    )
    return np.asarray(mixture.fit_predict(points), dtype=np.int64)


def _ward(points: Float[np.ndarray, "span column"], n_modes: int) -> Int[np.ndarray, "span"]:
    from sklearn.cluster import AgglomerativeClustering

    return np.asarray(AgglomerativeClustering(n_modes).fit_predict(points), dtype=np.int64)


@contextmanager
def single_threaded_and_quiet() -> Generator[None]:
    """Around two searches on two threads: the groupings within set warnings and threads for the whole program, and
    undo it in any order; here, all is as before in the end."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), quiet():
        yield


@contextmanager
def quiet() -> Generator[None]:
    """Spans that are all alike make fewer groups than were asked for; EM sets out from there anyway."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
