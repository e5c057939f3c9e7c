"""The networks of a model: encoder, codebook, policy and normalisers, and what they make of recorded steps."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.modes.chain import bounded
from unbraid.modes.codebook import FreeCodebook, SimplexCodebook
from unbraid.modes.encoders import SpanSums, StepWindowEncoder, TransitionEncoder
from unbraid.modes.pieces import PaddedWindows, mean_over_pieces, padded
from unbraid.modes.sequence_encoders import SequenceEncoder
from unbraid.modes.windows import Windows
from unbraid.policy.contexts import every_not_hot
from unbraid.policy.gaussian import ActionPolicy, GaussianPolicy, TrunkShape, log_likelihoods_of_modes
from unbraid.policy.mixture import MixturePolicy
from unbraid.policy.normaliser import Normaliser
from unbraid.policy.squashed import TanhGaussianPolicy
from unbraid.policy.style import STYLE_INPUTS, TYPICAL_STYLE, StyleReader, with_style
from unbraid.training.config import FitConfig, TalkConfig, UnbraidConfig
from unbraid.training.steps import Steps

__all__ = [
    "DISTANCE_TEMPERATURE",
    "LEAST_NATS",
    "POLICY_SHARE",
    "STEP_SHARE",
    "STEP_WINDOW",
    "Evidence",
    "ModeNetworks",
    "Reader",
    "in_parts",
    "window_sums",
]

Evidence = Literal["combined", "encoder", "policy"]
"""What a mode is read from: the encoder's distances, the policy's likelihood, or the sum of both."""

Reader = tuple[StepWindowEncoder | SequenceEncoder | TransitionEncoder, SimplexCodebook | FreeCodebook]
"""What reads modes off windows: an encoder and the codes that its latents are near or far from."""

DISTANCE_TEMPERATURE = 0.1
"""What squared distances are divided by, to be nats."""
LEAST_NATS = -1e6
POLICY_SHARE = 0.45
STEP_SHARE = 0.25
STEP_WINDOW = 25
"""Over time, a step counts for a quarter of itself, since readings of neighbours err alike; the encoder reads it in
windows of 25 steps."""
_TALK_WIDTH = 64
"""Width of the layers of an encoder that reads windows of the talk's transitions."""
_CHUNK, _PART_STEPS = 16384, 300_000


class ModeNetworks(nn.Module):
    """Encoder, codebook, policy and normalisers of K modes; what they say of recorded steps and of windows of them.

    Attributes:
        config: what was asked of the fit.
        contexts: (mode, mode) row k is the context that asks the policy for mode k.
        shares: of the demonstrations' steps, one of each mode; they sum to 1. All alike until a fit says otherwise.
        n_modes, observation_size, action_size: K and the widths.
        state_size: the width of what the networks see of an observation: its columns, or their components.
        observation_origin: (obs,) float64, what is taken away from observations before anything else: see
            `training.origin`. None where nothing is.
    """

    contexts: Tensor
    observation_origin: Tensor | None

    def __init__(self, config: FitConfig, *, observation_size: int, action_size: int) -> None:
        """Untrained networks."""
        super().__init__()
        if config.n_modes == "auto":
            raise ValueError("a model has a number of modes; a fit finds it first")
        self.config, self.n_modes = config, config.n_modes
        self.shares = [1 / self.n_modes] * self.n_modes
        self.observation_size, self.action_size = observation_size, action_size
        n_components = None if isinstance(config, TalkConfig) else config.components_of(observation_size)
        self.state_size = observation_size if n_components is None else n_components
        self.observation_normaliser = Normaliser(observation_size, n_components)
        self.action_normaliser = Normaliser(action_size)
        self.register_buffer("observation_origin", None)
        self.register_load_state_dict_pre_hook(_with_origin)
        self.register_buffer("contexts", torch.from_numpy(every_not_hot(self.n_modes)).float())
        if isinstance(config, TalkConfig):
            self.transition_normaliser = Normaliser(observation_size)
            self.encoder = _encoder_of_transitions(config, observation_size)
            self.codebook = FreeCodebook(self.n_modes, observation_size)
        else:
            latent_size = max(8, self.n_modes)
            self.encoder = _encoder_of_steps(
                config.encoder, self.state_size, action_size, width=config.encoder_width, latent_size=latent_size
            )
            free = config.codes == "free"
            self.codebook = (FreeCodebook if free else SimplexCodebook)(self.n_modes, latent_size)
        styled = isinstance(config, UnbraidConfig) and config.style == "on"
        self.policy = _policy(config, self.state_size + (STYLE_INPUTS if styled else 0), action_size, self.n_modes)
        self.style_reader = StyleReader(action_size, n_modes=self.n_modes) if styled else None

    @property
    def reader(self) -> Reader:
        """What reads modes off windows."""
        return self.encoder, self.codebook

    @property
    def device(self) -> torch.device:
        """Where its weights are. What goes in and what comes out is on the CPU."""
        return self.contexts.device

    @property
    def own_evidence(self) -> Evidence:
        """What the method reads a mode from when nobody says: the talk's its encoder, unbraid's both."""
        return "encoder" if isinstance(self.config, TalkConfig) else "combined"

    def require_styles(self) -> StyleReader:
        """What reads styles; raises `ConfigError` of a model without."""
        if self.style_reader is None:
            raise ConfigError("A model must have styles; this one was fitted without. Fit with style on (--style on).")
        return self.style_reader

    def moved(self, observations: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch obs"]:
        """Observations in their own units -> float32 as the normaliser takes them: less the origin."""
        if self.observation_origin is None:
            return observations.float()
        return (observations.to(self.device).double() - self.observation_origin).float()

    # What they say of steps and of windows

    def step_scores(self, steps: Steps) -> Float[np.ndarray, "step mode"]:
        """What each step says of each mode, in nats, such that steps may be added up over a stretch.

        A quarter of: three tenths of log pi(a | s, k), and the encoder's log-probability of the mode in windows of 25
        steps (the whole of a shorter episode), shared out among a window's steps, the mean of the windows that hold
        the step.
        """
        lengths, ends = steps.lengths, np.cumsum(steps.lengths)
        short = np.minimum(lengths, STEP_WINDOW)
        n_windows = np.where(lengths > 0, lengths - short + 1, 0)
        of_window = np.repeat(short, n_windows)
        within = np.arange(n_windows.sum()) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
        starts = np.repeat(ends - lengths, n_windows) + within
        windows = Windows(starts, of_window, np.repeat(np.arange(len(short)), n_windows))
        read = self._read(steps, windows)
        held = np.column_stack([read / of_window[:, None], np.ones(len(starts))])
        sums = np.zeros((steps.n_steps + 1, self.n_modes + 1))
        sums[starts] += held  # no two windows begin at one step, or end
        sums[starts + of_window] -= held
        sums = sums[:-1].cumsum(0)
        of_encoder = sums[:, :-1] / sums[:, -1:].round()
        return self._scores(steps, of_encoder)

    def step_scores_so_far(self, steps: Steps) -> Float[np.ndarray, "step mode"]:
        """As `step_scores`, but the encoder reads a step in the one window of the 25 steps that end with it."""
        every = torch.arange(steps.n_steps)
        episodes = steps.episodes[every].numpy()
        of_window = np.minimum(steps.lengths[episodes] - steps.steps_left(every).numpy() + 1, STEP_WINDOW)
        windows = Windows(np.arange(steps.n_steps) + 1 - of_window, of_window, episodes)
        return self._scores(steps, self._read(steps, windows) / STEP_WINDOW)

    def _read(self, steps: Steps, windows: Windows) -> Float[np.ndarray, "window mode"]:
        """The encoder's log-probability of each mode, in nats."""
        scaled = torch.from_numpy(-self.window_distances(steps, windows) / DISTANCE_TEMPERATURE)
        return scaled.log_softmax(1).numpy()

    def _scores(self, steps: Steps, of_encoder: Float[np.ndarray, "step mode"]) -> Float[np.ndarray, "step mode"]:
        return STEP_SHARE * bounded(POLICY_SHARE * self.log_likelihoods(steps).double().numpy() + of_encoder)

    def scores_of_windows(
        self, steps: Steps, windows: Windows, kinds: Sequence[Evidence]
    ) -> dict[Evidence, Float[np.ndarray, "window mode"]]:
        """How well each mode explains each window, in nats, by each kind of evidence: see `ModeModel.window_scores`.

        Raises:
            ConfigError: an evidence that does not exist.
        """
        for kind in kinds:
            if kind not in get_args(Evidence):
                raise ConfigError(f"The evidence must be one of {get_args(Evidence)}; got {kind!r}. Name one of them.")
        nothing = np.zeros((len(windows), self.n_modes))
        policy = nothing if set(kinds) == {"encoder"} else self.window_log_likelihoods(steps, windows)
        encoder = nothing
        if set(kinds) != {"policy"}:
            encoder = -self.window_distances(steps, windows) / DISTANCE_TEMPERATURE
        scores: dict[Evidence, Float[np.ndarray, "window mode"]] = {"policy": policy, "encoder": encoder}
        scores["combined"] = POLICY_SHARE * policy + encoder
        return {kind: scores[kind] for kind in kinds}

    @torch.no_grad()
    def log_likelihoods(self, steps: Steps) -> Float[Tensor, "step mode"]:
        """log pi(a | s, k) of every step under every mode's context, in nats; in any style, where it has styles.

        An action that is absurd (a sensor's fault) counts for `LEAST_NATS` under every mode, in scaled units: beside
        a larger number, what other steps say would be lost in a sum.
        """
        out = torch.empty(steps.n_steps, self.n_modes)
        for start in range(0, steps.n_steps, _CHUNK):
            chosen = torch.arange(start, min(start + _CHUNK, steps.n_steps))
            states, actions = self.policy_inputs(steps, chosen), self.action_normaliser(steps.actions(chosen))
            out[chosen] = log_likelihoods_of_modes(self.policy, states, actions, self.contexts).cpu()
        return out.clamp_min_(LEAST_NATS) - float(self.action_normaliser.scale.log().sum())

    def policy_inputs(self, steps: Steps, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen input"]:
        """What the policy sees of the chosen steps beside the context: scaled states, in any style where there are
        styles."""
        states = self.observation_normaliser(steps.observations(chosen))
        return states if self.style_reader is None else with_style(states, None)

    def window_log_likelihoods(self, steps: Steps, windows: Windows) -> Float[np.ndarray, "window mode"]:
        """The sum of `log_likelihoods` over each window, in nats."""
        return in_parts(lambda part, own: window_sums(self.log_likelihoods(part), own), steps, windows)

    def window_distances(self, steps: Steps, windows: Windows) -> Float[np.ndarray, "window mode"]:
        """Squared distances of each window to the codes; the talk's are the mean over the window's transitions.

        An encoder that reads steps in their order reads at most as many at once as in training: the distances of a
        longer window are the mean over as few pieces as do (`modes.pieces`).
        """
        return in_parts(self._window_distances, steps, windows)

    @torch.no_grad()
    def _window_distances(self, steps: Steps, windows: Windows) -> Float[np.ndarray, "window mode"]:
        if isinstance(self.encoder, TransitionEncoder):
            return self._mean_transition_distances(steps, windows, self.encoder)
        if isinstance(self.encoder, SequenceEncoder) or isinstance(self.config, TalkConfig):
            return mean_over_pieces(
                windows, self.longest_read, self.n_modes, lambda read: self.codebook(self.latents(steps, read))
            )
        starts, lengths = torch.from_numpy(windows.starts), torch.from_numpy(windows.lengths)
        features = torch.empty(steps.n_steps, self.encoder.width)
        for start in range(0, steps.n_steps, _CHUNK):
            chosen = torch.arange(start, min(start + _CHUNK, steps.n_steps))
            states = self.observation_normaliser(steps.observations(chosen))
            features[chosen] = self.encoder.features(states, self.action_normaliser(steps.actions(chosen))).cpu()
        means = (SpanSums(features)(starts, lengths) / lengths[:, None]).to(torch.float32)
        return self.codebook(self.encoder.of_mean(means.to(self.device))).cpu().double().numpy()

    @property
    def longest_read(self) -> int:
        """The most steps that the encoder reads as one window: the longest that it was trained on."""
        if isinstance(self.config, UnbraidConfig):
            return max(STEP_WINDOW, *self.config.window_lengths)
        return self.config.window_steps

    def latents(self, steps: Steps, windows: PaddedWindows) -> Float[Tensor, "window latent"]:
        """A latent for each window, by an encoder of windows.

        The talk's reads transitions: those of a window's own steps that have one of full length, or, where none has,
        those to the episode's end.
        """
        encoder = self.encoder
        assert not isinstance(encoder, TransitionEncoder)
        if isinstance(self.config, TalkConfig):
            left, n_delta = steps.steps_left(windows.steps), self.config.delta_steps
            full = (left >= n_delta) & windows.mask
            mask = torch.where(full.any(1, keepdim=True), full, windows.mask)
            moved = self.transition_normaliser(steps.transitions(windows.steps, left.clamp_max(n_delta)))
            return encoder(moved, moved[..., :0], mask.to(self.device))
        states = self.observation_normaliser(steps.observations(windows.steps))
        actions = self.action_normaliser(steps.actions(windows.steps))
        return encoder(states, actions, windows.mask.to(self.device))

    def talk_windows(self, steps: Steps, chosen: Int[Tensor, "chosen"]) -> PaddedWindows:
        """The talk's windows that begin with the chosen transitions; shorter ones at an episode's end."""
        assert isinstance(self.config, TalkConfig)
        there = steps.steps_left(chosen) - self.config.delta_steps + 1
        return padded(chosen, there.clamp_max(self.config.window_steps))

    def _mean_transition_distances(
        self, steps: Steps, windows: Windows, encoder: TransitionEncoder
    ) -> Float[np.ndarray, "window mode"]:
        """The last steps of an episode, which have no s[t + dt], are read by the transition to its end, and only in
        windows that hold no other steps: there, a shorter transition says more than none."""
        assert isinstance(self.config, TalkConfig)
        starts, lengths = torch.from_numpy(windows.starts), torch.from_numpy(windows.lengths)
        distances = torch.empty(steps.n_steps, self.n_modes)
        for chosen in torch.arange(steps.n_steps).split(_CHUNK):
            reach = steps.steps_left(chosen).clamp_max(self.config.delta_steps)
            moved = self.transition_normaliser(steps.transitions(chosen, reach))
            distances[chosen] = self.codebook(encoder(moved)).cpu()
        full = (steps.steps_left(torch.arange(steps.n_steps)) >= self.config.delta_steps)[:, None].float()
        sums = SpanSums(torch.cat([distances * full, full], dim=1))(starts, lengths)
        of_all = SpanSums(distances)(starts, lengths) / lengths[:, None]
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:].clamp_min(1), of_all).numpy()

    def scaled_transitions(self, steps: Steps, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        """The talk's input at the chosen steps."""
        assert isinstance(self.config, TalkConfig)
        return self.transition_normaliser(steps.transitions(chosen, self.config.delta_steps))

    @torch.no_grad()
    def action_distribution(
        self,
        observations: Float[Tensor, "batch obs"],
        contexts: Float[Tensor, "batch mode"],
        style: float = TYPICAL_STYLE,
    ) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
        """(mean, deviation) of pi(a | s, c) in the action's own units; at a style, for a model that has styles."""
        return self.in_own_units(*self.policy.moments(*self._seen(observations, contexts, style)))

    @torch.no_grad()
    def free_distribution(
        self,
        observations: Float[Tensor, "batch obs"],
        contexts: Float[Tensor, "batch mode"],
        style: float = TYPICAL_STYLE,
        numbers: Float[Tensor, "batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
        """(mean, log_std) of the Gaussian that is drawn from, multiplied and averaged: of scaled actions, on the
        model's device; `free_in_own_units` and then `actions_of` make actions of what is drawn.

        Of a mixture, those of the part that `numbers` draw (`MixturePolicy.drawn`); without them, of the whole.
        """
        states, contexts = self._seen(observations, contexts, style)
        if numbers is not None and isinstance(self.policy, MixturePolicy):
            return self.policy.drawn(states, contexts, numbers.to(self.device))
        return self.policy(states, contexts)

    def free_in_own_units(
        self, mean: Float[Tensor, "batch act"], log_std: Float[Tensor, "batch act"]
    ) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
        """(mean, deviation) of what `actions_of` takes, of (mean, log_std) as `free_distribution` gives them."""
        if isinstance(self.policy, TanhGaussianPolicy):
            return mean.cpu(), log_std.exp().cpu()
        return self.in_own_units(mean, log_std)

    def in_own_units(
        self, mean: Float[Tensor, "batch act"], log_std: Float[Tensor, "batch act"]
    ) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
        """(mean, deviation) of actions in their own units, of a policy's (mean, log_std) in scaled ones."""
        return self.action_normaliser.undo(mean).cpu(), (log_std.exp() * self.action_normaliser.scale).cpu()

    @torch.no_grad()
    def actions_of(self, free: Float[np.ndarray, "batch act"]) -> Float[np.ndarray, "batch act"]:
        """Actions in their own units of values that `free_in_own_units` is of: themselves, unless they are squashed."""
        if not isinstance(self.policy, TanhGaussianPolicy):
            return free
        scaled = self.policy.acted(torch.from_numpy(free).to(self.device))
        return self.action_normaliser.undo(scaled).cpu().numpy()

    def _seen(
        self, observations: Float[Tensor, "batch obs"], contexts: Float[Tensor, "batch mode"], style: float
    ) -> tuple[Float[Tensor, "batch input"], Float[Tensor, "batch mode"]]:
        """What the policy sees."""
        states, contexts = self.observation_normaliser(self.moved(observations)), contexts.to(self.device)
        if self.style_reader is not None:
            states = with_style(states, self.style_reader.latents_of(style, contexts, self.contexts))
        return states, contexts


def _with_origin(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Makes room for the origin that saved weights come with, or takes away one that they come without."""
    assert isinstance(module, ModeNetworks)
    module.observation_origin = None
    if f"{prefix}observation_origin" in tensors:
        module.observation_origin = torch.zeros(module.observation_size, dtype=torch.float64, device=module.device)


def _policy(config: FitConfig, input_size: int, action_size: int, n_modes: int) -> ActionPolicy:
    """The policy with the head that was asked for; where none was, a Gaussian."""
    if isinstance(config, TalkConfig):
        shape = TrunkShape(config.policy_hidden, context_as="input")
        return GaussianPolicy(
            input_size, action_size, n_modes=n_modes, shape=shape, activation="tanh", spread="state_independent"
        )
    shape = TrunkShape(
        config.policy_hidden, config.policy_context, layer_norm=config.policy_layer_norm == "on", l1=config.policy_l1
    )
    heads = {"mixture": MixturePolicy, "tanh": TanhGaussianPolicy}
    return heads.get(config.policy_head, GaussianPolicy)(input_size, action_size, n_modes=n_modes, shape=shape)


def _encoder_of_transitions(
    config: TalkConfig, observation_size: int
) -> TransitionEncoder | StepWindowEncoder | SequenceEncoder:
    """The talk's encoder, of one transition or of a window of them; latents are as wide as an observation."""
    if config.encoder == "transition":
        return TransitionEncoder(observation_size, latent_size=observation_size)
    return _encoder_of_steps(config.encoder, observation_size, 0, width=_TALK_WIDTH, latent_size=observation_size)


def _encoder_of_steps(
    kind: str, observation_size: int, action_size: int, *, width: int, latent_size: int
) -> StepWindowEncoder | SequenceEncoder:
    if kind in ("auto", "mean"):
        return StepWindowEncoder(observation_size, action_size, width=width, latent_size=latent_size)
    return SequenceEncoder(kind, observation_size, action_size, width=width, latent_size=latent_size)


def in_parts(
    read: Callable[[Steps, Windows], Float[np.ndarray, "window mode"]], steps: Steps, windows: Windows
) -> Float[np.ndarray, "window mode"]:
    """What is read of windows; of more than 300,000 steps, of whole episodes with about so many at a time, so that
    memory holds no number a step for all of them.

    Args:
        read: from some steps and their windows to a row for each window.
        steps: all of them.
        windows: windows of theirs, in any order.
    """
    if steps.n_steps <= _PART_STEPS or not len(windows):
        return read(steps, windows)
    order = np.argsort(windows.starts, kind="stable")
    starts, rows = windows.starts[order], list[np.ndarray]()
    for part, first in steps.parts(_PART_STEPS):
        low, high = np.searchsorted(starts, [first, first + part.n_steps])
        if low < high:
            own = order[low:high]
            moved = Windows(windows.starts[own] - first, windows.lengths[own], windows.episodes[own])
            rows.append(read(part, moved))
    found = np.concatenate(rows)
    found[order] = found.copy()
    return found


def window_sums(values: Float[Tensor, "step mode"], windows: Windows) -> Float[np.ndarray, "window mode"]:
    """The sum over each window."""
    return SpanSums(values)(torch.from_numpy(windows.starts), torch.from_numpy(windows.lengths)).numpy()
