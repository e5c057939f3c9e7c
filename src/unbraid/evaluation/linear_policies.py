"""A baseline that a mode-finder must beat: a mixture of linear-Gaussian policies, fitted by plain EM in closed form.

An episode is one unit, acted by one mode; it is summed up once by what EM over linear regressions needs of it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos
from unbraid.modes.windows import Windows, cut_windows

__all__ = ["linear_policies"]

_N_RESTARTS, _MAX_ROUNDS, _TOLERANCE = 10, 100, 1e-6
_RIDGE, _VARIANCE_FLOOR, _SHARE_FLOOR = 1.0, 1e-3, 1e-9


@dataclass(frozen=True, eq=False)
class _Sums:
    """What EM needs of each episode; x is [s, 1], standardised, and a the standardised action.

    Attributes:
        xx: (episode, x, x) sum over its steps of x x'.
        xa: (episode, x, act) of x a'.
        aa: (episode, act, act) of a a'.
        counts: (episode,) its steps.
    """

    xx: Float[np.ndarray, "episode x x"]
    xa: Float[np.ndarray, "episode x act"]
    aa: Float[np.ndarray, "episode act act"]
    counts: Float[np.ndarray, "episode"]


@dataclass(frozen=True, eq=False)
class _Policies:
    """K policies a = B' [s, 1] + noise.

    Attributes:
        slopes: (mode, x, act) B.
        covariances: (mode, act, act) of the noise.
        log_shares: (mode,) of the episodes.
    """

    slopes: Float[np.ndarray, "mode x act"]
    covariances: Float[np.ndarray, "mode act act"]
    log_shares: Float[np.ndarray, "mode"]


def linear_policies(
    train: Demos,
    held_out: Demos,
    *,
    n_modes: int,
    window_steps: int | None = None,
    stride_steps: int = 5,
    seed: int,
) -> Int[np.ndarray, "window"]:
    """(window,) the linear-Gaussian policy under which every held-out window is likeliest.

    Training takes whole episodes as units: EM over K policies a = B [s, 1] + noise from 10 random starts (each mode
    from one episode of its own), the best by training likelihood. A window's score is the sum of its steps'
    log-likelihoods plus the log of the mode's share.

    Source: mixtures of linear regressions, DeSarbo and Cron 1988; EM, Dempster et al. 1977.
    Departs: a ridge of 1 on B (in standardised units) and a floor of 1e-3 under the noise's variance.

    Args:
        train: where policies are found; labels are not read.
        held_out: what is assigned, window by window as `cut_windows` cuts it.
        n_modes: K.
        window_steps: steps in a window; None makes one window of each whole episode.
        stride_steps: steps between the starts of neighbouring windows.
        seed: of the starts.

    Raises:
        ConfigError: fewer training episodes than `n_modes`, or no held-out window.
    """
    episodes = cut_windows(train.lengths)
    windows = cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)
    if not 1 <= n_modes <= len(episodes) or not len(windows):
        raise ConfigError(
            f"Linear policies need at least {max(n_modes, 1)} training episodes with steps, 1 held-out window and K "
            f"at least 1; got {len(episodes)} and {len(windows)} and K = {n_modes}. Use fewer modes, more episodes or "
            "shorter windows."
        )
    states, actions = train.observations[train.row_of_step].astype(np.float64), train.actions.astype(np.float64)
    of_states, of_actions = (states.mean(0), states.std(0) + 0.02), (actions.mean(0), actions.std(0) + 0.02)
    sums = _sums(_inputs(states, *of_states), (actions - of_actions[0]) / of_actions[1], episodes)
    generator = named_generator(seed, "linear policies")
    policies = max((_em(sums, n_modes, generator) for _ in range(_N_RESTARTS)), key=lambda found: found[0])[1]

    states = held_out.observations[held_out.row_of_step].astype(np.float64)
    scores = _step_scores(policies, _inputs(states, *of_states), (held_out.actions - of_actions[0]) / of_actions[1])
    running = np.concatenate([np.zeros((1, n_modes)), np.cumsum(scores, axis=0)])
    totals = running[windows.starts + windows.lengths] - running[windows.starts]
    return (totals + policies.log_shares).argmax(1)


def _em(sums: _Sums, n_modes: int, generator: np.random.Generator) -> tuple[float, _Policies]:
    """(log-likelihood, policies) where EM from one random start ends."""
    responsibilities = np.zeros((len(sums.counts), n_modes))
    responsibilities[generator.choice(len(sums.counts), n_modes, replace=False), np.arange(n_modes)] = 1
    policies, before = _maximise(sums, responsibilities), -np.inf
    for _ in range(_MAX_ROUNDS):
        joint = _episode_scores(policies, sums) + policies.log_shares
        peak = joint.max(1, keepdims=True)
        evidence = peak + np.log(np.exp(joint - peak).sum(1, keepdims=True))
        now = float(evidence.sum())
        if now - before < _TOLERANCE * abs(now):
            return now, policies
        policies, before = _maximise(sums, np.exp(joint - evidence)), now
    return before, policies


def _maximise(sums: _Sums, responsibilities: Float[np.ndarray, "episode mode"]) -> _Policies:
    """The M-step: weighted ridge regressions, their residuals' covariances, and shares."""
    xx = np.tensordot(responsibilities, sums.xx, axes=(0, 0))
    xa = np.tensordot(responsibilities, sums.xa, axes=(0, 0))
    aa = np.tensordot(responsibilities, sums.aa, axes=(0, 0))
    slopes = np.linalg.solve(xx + _RIDGE * np.eye(xx.shape[-1]), xa)
    crossed = np.swapaxes(slopes, 1, 2) @ xa
    residuals = aa - crossed - np.swapaxes(crossed, 1, 2) + np.swapaxes(slopes, 1, 2) @ xx @ slopes
    n_steps = np.maximum(responsibilities.T @ sums.counts, 1)
    covariances = residuals / n_steps[:, None, None] + _VARIANCE_FLOOR * np.eye(aa.shape[-1])
    return _Policies(slopes, covariances, np.log(np.maximum(responsibilities.mean(0), _SHARE_FLOOR)))


def _episode_scores(policies: _Policies, sums: _Sums) -> Float[np.ndarray, "episode mode"]:
    """The log-likelihood of every episode's actions under every policy."""
    precisions = np.linalg.inv(policies.covariances)
    weighted = policies.slopes @ precisions  # tr(P B' xa) and tr(P B' xx B) as sums of elementwise products
    n_modes, n_episodes = len(precisions), len(sums.counts)
    quadratic = (weighted @ np.swapaxes(policies.slopes, 1, 2)).reshape(n_modes, -1)
    squares = (
        sums.aa.reshape(n_episodes, -1) @ precisions.reshape(n_modes, -1).T
        - 2 * sums.xa.reshape(n_episodes, -1) @ weighted.reshape(n_modes, -1).T
        + sums.xx.reshape(n_episodes, -1) @ quadratic.T
    )
    return -0.5 * (squares + sums.counts[:, None] * _log_normaliser(policies))


def _step_scores(
    policies: _Policies, inputs: Float[np.ndarray, "step x"], actions: Float[np.ndarray, "step act"]
) -> Float[np.ndarray, "step mode"]:
    """The log-likelihood of every step's action under every policy."""
    precisions = np.linalg.inv(policies.covariances)
    scores = np.empty((len(inputs), len(precisions)))
    for mode, (slopes, precision) in enumerate(zip(policies.slopes, precisions, strict=True)):
        residuals = actions - inputs @ slopes
        scores[:, mode] = -0.5 * (residuals @ precision * residuals).sum(1)
    return scores - 0.5 * _log_normaliser(policies)


def _log_normaliser(policies: _Policies) -> Float[np.ndarray, "mode"]:
    """log det(2 pi covariance)."""
    return np.linalg.slogdet(2 * np.pi * policies.covariances)[1]


def _inputs(
    states: Float[np.ndarray, "step obs"], centre: Float[np.ndarray, "obs"], scale: Float[np.ndarray, "obs"]
) -> Float[np.ndarray, "step x"]:
    """(step, obs + 1) standardised states, clipped to +-6, and a column of ones."""
    return np.column_stack([np.clip((states - centre) / scale, -6, 6), np.ones(len(states))])


def _sums(inputs: Float[np.ndarray, "step x"], actions: Float[np.ndarray, "step act"], episodes: Windows) -> _Sums:
    spans = [slice(s, s + n) for s, n in zip(episodes.starts.tolist(), episodes.lengths.tolist(), strict=True)]
    return _Sums(
        xx=np.stack([inputs[span].T @ inputs[span] for span in spans]),
        xa=np.stack([inputs[span].T @ actions[span] for span in spans]),
        aa=np.stack([actions[span].T @ actions[span] for span in spans]),
        counts=episodes.lengths.astype(np.float64),
    )
