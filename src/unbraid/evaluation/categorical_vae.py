"""A baseline that a mode-finder must beat: a variational autoencoder of trajectories whose latent is one of K codes.

An encoder reads a trajectory and names its code; a policy that is told the code says how likely the actions are.
"""

from itertools import pairwise
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator, named_seed
from unbraid.demos.episodes import Demos
from unbraid.modes.windows import Windows, cut_windows
from unbraid.policy.normaliser import Normaliser

__all__ = ["categorical_vae"]

_N_READ, _N_DECODED, _BATCH, _ENCODED_AT_ONCE = 64, 50, 16, 512
_LSTM_HIDDEN, _POLICY_HIDDEN = 32, 64
_LEARNING_RATE, _N_WARM_UP, _GRADIENT_NORM = 2e-3, 50, 5.0
_FIRST_TEMPERATURE, _LAST_TEMPERATURE = 1.0, 0.5
_SCALE_FLOOR, _CLIP, _LOG_STD_BOUNDS = 0.02, 6.0, (-4.0, 2.0)


def categorical_vae(
    train: Demos,
    held_out: Demos,
    *,
    n_modes: int,
    window_steps: int | None = None,
    stride_steps: int = 5,
    seed: int,
    n_gradient_steps: int = 1500,
) -> Int[np.ndarray, "window"]:
    """(window,) the likeliest code of every held-out window under a categorical VAE fitted to the training episodes.

    Encoder: a bidirectional LSTM over (s, a), pooled by attention, to K logits. Sample: Gumbel-softmax, one-hot
    forwards and soft backwards, its temperature falling from 1 to 0.5. Decoder: a Gaussian policy of the state and the
    code. Objective: the log-likelihood of an episode's actions minus KL(q || uniform).

    Source: Hsiao, Kuo and Sun 2019, "Learning a Multi-Modal Policy via Imitating Demonstrations with Mixed Behaviors"
    (arXiv 1903.10304); Jang, Gu and Poole 2017 for the Gumbel-softmax.
    Departs: for speed the encoder reads at most 64 steps, one at random in each of as many equal parts, and the
    log-likelihood is estimated from 50 such steps. Where windows are asked for, the encoder reads a random window of
    each training episode (the policy still answers for the whole of it), so that it is used on what it was trained on.

    Args:
        train: what is fitted; labels are not read.
        held_out: what is encoded, window by window as `cut_windows` cuts it.
        n_modes: K.
        window_steps: steps in a window; None makes one window of each whole episode.
        stride_steps: steps between the starts of neighbouring windows.
        seed: of the initial weights, of the steps drawn and of the codes sampled.
        n_gradient_steps: of 16 episodes each. About 20 s for 1500 on one core.

    Raises:
        ConfigError: fewer training episodes than `n_modes`, or no held-out window.
    """
    episodes = cut_windows(train.lengths)
    windows = cut_windows(held_out.lengths, window_steps, stride_steps=stride_steps)
    if not 1 <= n_modes <= len(episodes) or not len(windows):
        raise ConfigError(
            f"A categorical VAE needs at least {max(n_modes, 1)} training episodes with steps, 1 held-out window and K "
            f"at least 1; got {len(episodes)} and {len(windows)} and K = {n_modes}. Use fewer modes, more episodes or "
            "shorter windows."
        )
    of_states = Normaliser.of(train.observations, floor=_SCALE_FLOOR, clip=_CLIP)
    of_actions = Normaliser.of(train.actions, floor=_SCALE_FLOOR, clip=_CLIP)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(named_seed(seed, "categorical VAE", "torch"))
        encoder = _Encoder(train.observation_size + train.action_size, n_modes)
        policy = _Policy(train.observation_size, train.action_size, n_modes)
        _train(
            encoder,
            policy,
            _scaled(train, of_states, of_actions),
            episodes,
            read_steps=window_steps,
            n_gradient_steps=n_gradient_steps,
            generator=named_generator(seed, "categorical VAE", "steps"),
        )
    longest = int(episodes.lengths.max()) if window_steps is None else window_steps
    return _encode(encoder, torch.cat(_scaled(held_out, of_states, of_actions), dim=1), windows, min(longest, _N_READ))


@final
class _Encoder(nn.Module):
    """q(code | trajectory): a bidirectional LSTM, attention over time, a linear layer."""

    def __init__(self, width: int, n_modes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, _LSTM_HIDDEN, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(2 * _LSTM_HIDDEN, 1)
        self.head = nn.Linear(2 * _LSTM_HIDDEN, n_modes)

    def forward(self, read: Float[Tensor, "trajectory step width"]) -> Float[Tensor, "trajectory mode"]:
        """Logits."""
        hidden = self.lstm(read)[0]
        return self.head((hidden * self.attention(hidden).softmax(1)).sum(1))


@final
class _Policy(nn.Module):
    """p(action | state, code): a Gaussian, its mean from two layers of 64, its deviations for all states alike."""

    def __init__(self, observation_size: int, action_size: int, n_modes: int) -> None:
        super().__init__()
        widths = (observation_size + n_modes, _POLICY_HIDDEN, _POLICY_HIDDEN, action_size)
        first, second, last = (nn.Linear(a, b) for a, b in pairwise(widths))
        self.mean = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
        self.log_std = nn.Parameter(torch.zeros(action_size))

    def forward(
        self,
        states: Float[Tensor, "trajectory step obs"],
        actions: Float[Tensor, "trajectory step act"],
        codes: Float[Tensor, "trajectory mode"],
    ) -> Float[Tensor, "trajectory step"]:
        """The log-likelihood of every action, in nats."""
        told = codes[:, None].expand(-1, states.shape[1], -1)
        deviation = self.log_std.clamp(*_LOG_STD_BOUNDS).exp()
        return (
            torch.distributions.Normal(self.mean(torch.cat([states, told], dim=2)), deviation).log_prob(actions).sum(2)
        )


def _train(
    encoder: _Encoder,
    policy: _Policy,
    scaled: tuple[Float[Tensor, "step obs"], Float[Tensor, "step act"]],
    episodes: Windows,
    *,
    read_steps: int | None,
    n_gradient_steps: int,
    generator: np.random.Generator,
) -> None:
    """Fits both in place: Adam, 50 steps of warm-up and a half cosine."""
    states, actions = scaled
    both = torch.cat(scaled, dim=1)
    longest = int(episodes.lengths.max())
    n_read = min(longest if read_steps is None else read_steps, _N_READ)
    parameters = [*encoder.parameters(), *policy.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=_LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: _rate(i, n_gradient_steps))
    for i in range(n_gradient_steps):
        drawn = generator.choice(len(episodes), _BATCH, replace=len(episodes) < _BATCH)
        starts, lengths = episodes.starts[drawn], episodes.lengths[drawn]
        spans = np.minimum(lengths, longest if read_steps is None else read_steps)
        first = starts + generator.integers(lengths - spans + 1)
        read = _places(first, spans, generator.random((_BATCH, n_read)))
        decoded = _places(starts, lengths, generator.random((_BATCH, min(longest, _N_DECODED))))
        logits = encoder(both[read])
        temperature = _FIRST_TEMPERATURE * (_LAST_TEMPERATURE / _FIRST_TEMPERATURE) ** (i / n_gradient_steps)
        codes = nn.functional.gumbel_softmax(logits, temperature, hard=True)
        log_likelihood = torch.as_tensor(lengths) * policy(states[decoded], actions[decoded], codes).mean(1)
        loss = (_divergence(logits) - log_likelihood).mean() / episodes.lengths.mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        optimiser.step()
        schedule.step()


def _rate(step: int, n_steps: int) -> float:
    """The learning rate's factor: up in a line, down in half a cosine."""
    return min((step + 1) / _N_WARM_UP, 1.0) * 0.5 * (1 + float(np.cos(np.pi * min(step / n_steps, 1.0))))


def _divergence(logits: Float[Tensor, "trajectory mode"]) -> Float[Tensor, "trajectory"]:
    """KL(q || uniform), in nats."""
    log_q = logits.log_softmax(1)
    return (log_q.exp() * log_q).sum(1) + float(np.log(logits.shape[1]))


def _places(
    starts: Int[np.ndarray, "span"], lengths: Int[np.ndarray, "span"], offsets: Float[np.ndarray, "span place"]
) -> Int[Tensor, "span place"]:
    """(span, place) flat indices of one step in each of as many equal parts of a span as there are places.

    Offsets in [0, 1) say where in its part each lies. In a span with fewer steps than places, steps come repeatedly.
    """
    within = (np.arange(offsets.shape[1]) + offsets) * (lengths[:, None] / offsets.shape[1])
    return torch.as_tensor(starts[:, None] + np.minimum(within.astype(np.int64), lengths[:, None] - 1))


@torch.no_grad()
def _encode(
    encoder: _Encoder, both: Float[Tensor, "step width"], windows: Windows, n_read: int
) -> Int[np.ndarray, "window"]:
    """(window,) the likeliest code, from the middle of each of `n_read` equal parts of a window."""
    modes = np.empty(len(windows), dtype=np.int64)
    for rows in np.array_split(np.arange(len(windows)), -(-len(windows) // _ENCODED_AT_ONCE)):
        middles = np.full((len(rows), n_read), 0.5)
        modes[rows] = encoder(both[_places(windows.starts[rows], windows.lengths[rows], middles)]).argmax(1).numpy()
    return modes


def _scaled(
    demos: Demos, of_states: Normaliser, of_actions: Normaliser
) -> tuple[Float[Tensor, "step obs"], Float[Tensor, "step act"]]:
    """Every step's state and action in the training pile's scales."""
    states = demos.observations[demos.row_of_step].astype(np.float32)
    return of_states(torch.from_numpy(states)), of_actions(torch.from_numpy(demos.actions.astype(np.float32)))
