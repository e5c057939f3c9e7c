"""A continuous latent for every span, before anything is cut into modes: what a span needs, beyond its states, for its
actions and its outcomes to be predicted.

One network reads the state; every span has a small Gaussian latent of its own that mixes linear read-outs of it. All
are fitted together by the evidence lower bound, so that a span's latent says what sets its expert apart, and no more
than its steps support. Spans of one expert end up together. Nothing is decided early: where a mixture of K untrained
predictors is certain of an episode after a few steps, and never recovers, a latent moves on.

Source: the bound, Kingma and Welling 2014, arXiv 1312.6114, equation 3; free variational parameters for every span, as
in Bojanowski et al. 2018, arXiv 1707.05776 (there without variance).
"""

import math
import threading
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.schedule import scheduled
from unbraid.modes.evidence import Evidence, EvidenceKind, Recorded

__all__ = ["SpanLatents", "span_latents"]

LATENT_SIZE, WIDTH = 8, 48
BATCH, LEARNING_RATE, LATENT_LEARNING_RATE = 768, 5e-3, 2e-2
THIN_AT, THINNING_STEPS, WEIGHT_DECAY, CLIP_NORM = 0.4, 20_000, 0.01, 5.0
_SEEDED = threading.Lock()
"""torch's own generator is the whole program's, and two searches may run side by side."""


@final
@dataclass(frozen=True, eq=False)
class SpanLatents:
    """What the fit gives.

    Attributes:
        means: (span, latent) each span's latent.
        network: what reads the states; see `features_of`.
        kinds: the kinds of evidence, with shares that follow from how correlated the unexplained is.
        evidences: what each of them reads from the demonstrations.
    """

    means: Float[np.ndarray, "span latent"]
    network: nn.Module
    kinds: tuple[EvidenceKind, ...]
    evidences: tuple[Evidence, ...]

    @torch.no_grad()
    def features_of(self, states: Float[Tensor, "step obs"]) -> Float[Tensor, "step feature"]:
        """What the network makes of states, and 1: features in which every mode's predictions are linear."""
        return _with_one(self.network(states))


@final
class _Readouts(nn.Module):
    """targets = (B_0 + sum_j z_j B_j)' phi(s): linear in the latent, linear in what the network makes of the state."""

    def __init__(self, observation_size: int, n_spans: int, n_targets: int) -> None:
        super().__init__()
        self.n_targets = n_targets
        layers = [nn.Linear(observation_size, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.Tanh()]
        self.trunk = nn.Sequential(*layers)
        self.means = nn.Parameter(torch.randn(n_spans, LATENT_SIZE) * 0.1)
        self.log_variances = nn.Parameter(torch.full((n_spans, LATENT_SIZE), -2.0))
        readouts = torch.randn(WIDTH + 1, LATENT_SIZE + 1, n_targets) * 0.1 / math.sqrt(WIDTH)
        readouts[:, 0] = 0
        self.readouts = nn.Parameter(readouts.flatten(1))
        self.log_stds = nn.Parameter(torch.zeros(n_targets))

    def features(self, states: Float[Tensor, "step obs"]) -> Float[Tensor, "step feature"]:
        return _with_one(self.trunk(states))

    def predictions(
        self, features: Float[Tensor, "step feature"], latents: Float[Tensor, "step latent"]
    ) -> Float[Tensor, "step target"]:
        read = (features @ self.readouts).view(len(features), LATENT_SIZE + 1, self.n_targets)
        return read[:, 0] + (read[:, 1:] * latents[:, :, None]).sum(1)


def _with_one(hidden: Float[Tensor, "step width"]) -> Float[Tensor, "step feature"]:
    return torch.cat([hidden, torch.ones(len(hidden), 1)], dim=1)


def span_latents(
    recorded: Recorded, kinds: tuple[EvidenceKind, ...], generator: np.random.Generator, *, n_steps: int
) -> SpanLatents:
    """Fits latents and read-outs to every kind of evidence at once.

    After two fifths of the steps the correlation of the residuals is measured, and each kind's weights are cut to what
    its steps are worth.

    Args:
        recorded: the demonstrations.
        kinds: what is to be predicted from each state.
        generator: draws weights, batches and noise.
        n_steps: gradient steps.
    """
    draws = torch.Generator().manual_seed(int(generator.integers(2**63)))
    states, lengths = recorded.states, torch.bincount(recorded.spans)
    sizes = [kind.n_targets for kind in kinds]
    parts = [kind.read(recorded).targets for kind in kinds]
    targets, weights = torch.cat(parts, dim=1), _weights(recorded, kinds)
    kind_of_target = torch.repeat_interleave(torch.arange(len(kinds)), torch.tensor(sizes))
    least_log_std = torch.cat([torch.full((n,), 0.5 * math.log(k.floor)) for n, k in zip(sizes, kinds, strict=True)])
    with _SEEDED, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        model = _Readouts(states.shape[1], len(lengths), targets.shape[1])
    optimizer = _optimizer(model)
    for taken in range(n_steps):
        if taken == int(THIN_AT * n_steps):
            kinds = _thinned(model, recorded, targets, kinds)
            weights = _weights(recorded, kinds)
        chosen = torch.randint(len(states), (BATCH,), generator=draws)
        spans = recorded.spans[chosen]
        means, log_variances = model.means[spans], model.log_variances[spans]
        noise = torch.randn(means.shape, generator=draws)
        seen, wanted, weighed = (table.index_select(0, chosen) for table in (states, targets, weights))
        predicted = model.predictions(model.features(seen), means + noise * (0.5 * log_variances).exp())
        log_stds = torch.maximum(model.log_stds, least_log_std)
        misfit = 0.5 * ((wanted - predicted) / log_stds.exp()).square() + log_stds
        divergence = 0.5 * (means.square() + log_variances.exp() - 1 - log_variances).sum(1) / lengths[spans]
        loss = ((misfit * weighed.index_select(1, kind_of_target)).sum(1) + divergence).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        rate = scheduled(taken, n_steps)
        for group in optimizer.param_groups:
            group["lr"] = group["highest"] * rate
        optimizer.step()
    evidences = tuple(Evidence(part, weight) for part, weight in zip(parts, weights.unbind(1), strict=True))
    return SpanLatents(model.means.detach().numpy().copy(), model.trunk, kinds, evidences)


def _optimizer(model: _Readouts) -> torch.optim.AdamW:
    """The latents move faster than the network, and are held by their prior alone."""
    latents = [model.means, model.log_variances]
    network = [*model.trunk.parameters(), model.readouts, model.log_stds]
    groups = [
        {"params": latents, "highest": LATENT_LEARNING_RATE, "weight_decay": 0.0},
        {"params": network, "highest": LEARNING_RATE, "weight_decay": WEIGHT_DECAY},
    ]
    return torch.optim.AdamW(groups, fused=True)


def _weights(recorded: Recorded, kinds: tuple[EvidenceKind, ...]) -> Float[Tensor, "step kind"]:
    return torch.stack([kind.weights(recorded) for kind in kinds], dim=1)


@torch.no_grad()
def _thinned(
    model: _Readouts, recorded: Recorded, targets: Float[Tensor, "step target"], kinds: tuple[EvidenceKind, ...]
) -> tuple[EvidenceKind, ...]:
    """Measured on spans spread evenly over all, about 20,000 steps of them."""
    n_spans = len(model.means)
    n_chosen = max(min(round(n_spans * THINNING_STEPS / len(targets)), n_spans), 1)
    chosen = torch.arange(n_chosen) * n_spans // n_chosen
    part, steps = recorded.of_spans(chosen), torch.nonzero(torch.isin(recorded.spans, chosen))[:, 0]
    residuals = targets[steps] - model.predictions(model.features(part.states), model.means[recorded.spans[steps]])
    of_kinds = residuals.split([kind.n_targets for kind in kinds], dim=1)
    return tuple(kind.thinned(part, of_kind) for kind, of_kind in zip(kinds, of_kinds, strict=True))
