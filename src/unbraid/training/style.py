"""How the styles of training demonstrations are learned beside the policy, and how the styles of others are read.

Every span (an episode, or a stretch of it that shares a mode) has a Gaussian style of one number. The policy gets a
draw of it beside the state and the context, and both learn together by the evidence lower bound. Three things keep the
mode in the code and out of the style: the context says the mode already, so that a style which repeats it costs and
gains nothing; the mean over a mode's spans is taken away before anybody sees a style; and styles tell at most
`STYLE_NATS` of their spans. Modes are read from what the policy does in any style, which it learns on other steps.
"""

from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.modes.timeline import timeline_of
from unbraid.modes.windows import Windows
from unbraid.policy.style import style_features, with_style
from unbraid.training.networks import ModeNetworks, window_sums
from unbraid.training.steps import Steps

__all__ = ["PIECE_STEPS", "STYLE_NATS", "UNTOLD", "SpanStyles", "style_readings", "style_readings_of_windows"]

STYLE_NATS = 2.0
"""The most that the styles tell of their spans, mean over spans, in nats: they can tell seven kinds apart, not more."""
UNTOLD = 0.25
"""The share of steps on which the policy learns what a mode does in any style, from which modes are read."""
PIECE_STEPS = 25
"""The steps of a piece of a demonstration from which the reading of styles is learned."""
_LIMIT_WEIGHT = 1.0
_LEARNING_RATE, _FIRST_LOG_VARIANCE, _FIRST_SPREAD = 2e-2, -2.0, 0.1
_CHUNK, _MOST_READ = 16384, 1e4  # of an absurd action, beside which a sum would lose what others say


@final
class SpanStyles(nn.Module):
    """q(style) of every training span: Gaussians N(m_i - mean of its mode, v_i) with the prior N(0, 1).

    Source: the bound, Kingma and Welling 2014, arXiv 1312.6114, equation 3; free variational parameters for every span,
    as `modes.latents`; the limit is a one-sided form of Burgess et al. 2018, arXiv 1804.03599, equation 8.

    Attributes:
        shares: (span, mode) the responsibilities of the spans.
        means, log_variances: (span,) m_i and log v_i.
        optimizer: of both.
    """

    shares: Tensor

    def __init__(
        self, responsibilities: Float[Tensor, "span mode"], lengths: Int[Tensor, "span"], generator: torch.Generator
    ) -> None:
        """Styles that say next to nothing yet.

        Args:
            responsibilities: of every span; they stay.
            lengths: the steps of every span.
            generator: draws where the styles start.
        """
        super().__init__()
        self.register_buffer("shares", responsibilities.clone())  # a checkpoint holds no memory twice
        self._lengths = lengths
        self.means = nn.Parameter(_FIRST_SPREAD * torch.randn(len(lengths), generator=generator))
        self.log_variances = nn.Parameter(torch.full((len(lengths),), _FIRST_LOG_VARIANCE))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=_LEARNING_RATE, fused=True)

    def centred(self) -> Float[Tensor, "span mode"]:
        """(span, mode) the mean of each span's style under every mode: less the mean over that mode's spans."""
        of_mode = (self.shares * self.means[:, None]).sum(0) / self.shares.sum(0).clamp_min(1e-9)
        return self.means[:, None] - of_mode

    def told(
        self,
        states: Float[Tensor, "batch obs"],
        spans: Int[Tensor, "batch"],
        modes: Int[Tensor, "batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch input"]:
        """What the policy sees of random steps: a state, for the first quarter alone, for the rest with a draw of their
        span's style under the mode that was drawn for them."""
        n_untold = round(UNTOLD * len(spans))
        spans, modes = spans[n_untold:], modes[n_untold:]
        noise = torch.randn(len(spans), generator=generator)
        drawn = (self.centred()[spans, modes] + noise * (0.5 * self.log_variances[spans]).exp())[:, None]
        return torch.cat([with_style(states[:n_untold], None), with_style(states[n_untold:], drawn.to(states.device))])

    def divergences(self) -> Float[Tensor, "span"]:
        """(span,) KL(q | N(0, 1)) in nats: at least what a style tells of its span, in the mean over spans."""
        squares = (self.shares * self.centred().square()).sum(1)
        return 0.5 * (squares + self.log_variances.exp() - 1 - self.log_variances)

    def cost(self) -> Float[Tensor, ""]:
        """What the styles cost a step: all divergences, over all steps, and the whole of what lies above the limit."""
        divergences = self.divergences()
        above = (divergences.mean() - STYLE_NATS).clamp_min(0)
        return (1 - UNTOLD) * divergences.sum() / float(self._lengths.sum()) + _LIMIT_WEIGHT * above

    def follow(self, share: float) -> None:
        """Takes one step down the gradients that are there, at a share of the highest learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * share
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def settle(self, networks: ModeNetworks, steps: Steps, chosen: Int[Tensor, "chosen"]) -> None:
        """Lets the model's reader learn the styles from pieces of 25 steps, and fills its tables.

        Args:
            networks: whose reader it is.
            steps: those of the spans to learn from, an episode for each.
            chosen: which spans these are.
        """
        reader = networks.style_reader
        assert reader is not None
        lengths, every = steps.episodes.lengths, torch.arange(steps.n_steps)
        latents, divergences = self.centred()[chosen], self.divergences()[chosen]
        modes = self.shares.argmax(1)[chosen]
        n_pieces = (lengths + PIECE_STEPS - 1) // PIECE_STEPS
        first_piece, span_of_step = n_pieces.cumsum(0) - n_pieces, steps.episodes[every]
        piece_of_step = first_piece[span_of_step] + (every - steps.episodes.starts[span_of_step]) // PIECE_STEPS
        span_of_piece = torch.arange(len(lengths)).repeat_interleave(n_pieces)
        energies = steps.actions(every).square() / networks.action_normaliser.scale.cpu().square()
        energies = torch.zeros(len(lengths)).index_add_(0, span_of_step, energies.sum(1)) / lengths
        for mode in modes.unique().tolist():
            own, own_steps = modes == mode, torch.nonzero(modes[span_of_step] == mode)[:, 0]
            own_pieces = own[span_of_piece]
            sums = torch.zeros(len(span_of_piece), reader.weights.shape[1])
            for some in own_steps.split(_CHUNK):
                sums.index_add_(0, piece_of_step[some], _features(networks, steps, some, mode))
            means = sums / torch.bincount(piece_of_step)[:, None]
            reader.learn(mode, means[own_pieces], latents[span_of_piece[own_pieces], mode])
            of_spans = torch.zeros(len(modes), sums.shape[1]).index_add_(0, span_of_piece, sums)
            read = of_spans / lengths[:, None] @ reader.weights[mode].cpu() + reader.offsets[mode].cpu()
            reader.settle(mode, latents[own, mode], read[own], energies[own])
            reader.nats[mode] = divergences[own].mean()


@torch.no_grad()
def style_readings(networks: ModeNetworks, steps: Steps) -> Float[Tensor, "step mode"]:
    """(step, mode) whose mean over a window is the number that is read of its style, under each mode."""
    reader = networks.style_reader
    assert reader is not None
    weights, offsets = reader.weights.cpu(), reader.offsets.cpu()
    found = torch.empty(steps.n_steps, networks.n_modes)
    for chosen in torch.arange(steps.n_steps).split(_CHUNK):
        for mode in range(networks.n_modes):
            found[chosen, mode] = _features(networks, steps, chosen, mode) @ weights[mode] + offsets[mode]
    return found


def style_readings_of_windows(
    networks: ModeNetworks, switch_rate: float, steps: Steps, windows: Windows
) -> Float[np.ndarray, "window mode"]:
    """(window, mode) what is read of the style of each window under each mode, of whole episodes and their windows.

    Where modes change within an episode, the mean is over the steps in the mode, by their probability given the whole
    episode; over all steps, where the window has none.
    """
    readings = style_readings(networks, steps).clamp_(-_MOST_READ, _MOST_READ)
    means = window_sums(readings, windows) / windows.lengths[:, None]
    if switch_rate == 0:
        return means
    timeline = timeline_of(networks.step_scores(steps), steps.lengths, switch_rate)
    weights = torch.from_numpy(timeline.probabilities).to(readings)
    n_steps = window_sums(weights, windows)
    return np.where(n_steps > 0.5, window_sums(readings * weights, windows) / np.maximum(n_steps, 0.5), means)


def _features(
    networks: ModeNetworks, steps: Steps, chosen: Int[Tensor, "chosen"], mode: int
) -> Float[Tensor, "chosen feature"]:
    """The style's features of some steps under a mode."""
    expected, _ = networks.policy.moments(
        networks.policy_inputs(steps, chosen), networks.contexts[mode].expand(len(chosen), -1)
    )
    return style_features(networks.action_normaliser(steps.actions(chosen)), expected).cpu()
