"""`ModeModel`: what a fit gives. Encoder, codebook, policy and normalisers in one piece, saved as one folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError, ModelError
from unbraid.core.runs import new_folder, read_json, write_bytes, write_json
from unbraid.core.shapes import require_finite
from unbraid.demos.episodes import Demos
from unbraid.modes.chain import bounded, filtered
from unbraid.modes.codebook import FreeCodebook, SimplexCodebook
from unbraid.modes.encoders import SpanSums, StepWindowEncoder, TransitionEncoder
from unbraid.modes.timeline import Timeline, timeline_of
from unbraid.modes.windows import Windows, cut_windows
from unbraid.policy.contexts import every_not_hot
from unbraid.policy.gaussian import GaussianPolicy, log_likelihoods_of_modes
from unbraid.policy.normaliser import Normaliser
from unbraid.training.config import FitConfig, TalkConfig, config_from_json, config_to_json
from unbraid.training.steps import Steps

if TYPE_CHECKING:
    from unbraid.training.online import Belief, Observer

__all__ = [
    "DISTANCE_TEMPERATURE",
    "POLICY_SHARE",
    "STEP_SHARE",
    "STEP_WINDOW",
    "Evidence",
    "ModeModel",
]

Evidence = Literal["combined", "encoder", "policy"]
"""What a mode is read from: the encoder's distances, the policy's likelihood, or the sum of both."""

_FORMAT, _VERSION = "unbraid-model", 1
DISTANCE_TEMPERATURE = 0.1
"""What squared distances are divided by, to be nats."""
POLICY_SHARE = 0.3
STEP_SHARE = 0.25
STEP_WINDOW = 25
"""Over time, a step counts for a quarter of itself, since readings of neighbours err alike; the encoder reads it in
windows of 25 steps."""
_CHUNK = 16384
_AGAIN = "Copy the folder again, or fit again."


@final
class ModeModel(nn.Module):
    """One model of K modes.

    Attributes:
        config: what was asked of the fit.
        contexts: (mode, mode) row k is the context that asks the policy for mode k.
        n_modes, observation_size, action_size: K and the widths.
        search: what the search for modes said, as JSON (see `modes.search.Found.facts`); None where there was none.
        switch_rate: the probability that a step changes the mode, as the demonstrations had it; 0 where an episode has
            one mode.
    """

    contexts: Tensor

    def __init__(self, config: FitConfig, *, observation_size: int, action_size: int) -> None:
        """An untrained model; `fit` gives a trained one, `from_pretrained` a saved one."""
        super().__init__()
        if config.n_modes == "auto":
            raise ValueError("a model has a number of modes; a fit finds it first")
        self.config, self.n_modes = config, config.n_modes
        self.observation_size, self.action_size = observation_size, action_size
        self.search: dict[str, Any] | None = None
        self.switch_rate = 0.0
        self._observer: Observer | None = None
        self.observation_normaliser = Normaliser(observation_size)
        self.action_normaliser = Normaliser(action_size)
        self.register_buffer("contexts", torch.from_numpy(every_not_hot(self.n_modes)).float())
        if isinstance(config, TalkConfig):
            self.transition_normaliser = Normaliser(observation_size)
            self.encoder = TransitionEncoder(observation_size, latent_size=observation_size)
            self.codebook = FreeCodebook(self.n_modes, observation_size)
        else:
            latent_size = max(8, self.n_modes)
            self.encoder = StepWindowEncoder(
                observation_size, action_size, width=config.encoder_width, latent_size=latent_size
            )
            free = config.codes == "free"
            self.codebook = (FreeCodebook if free else SimplexCodebook)(self.n_modes, latent_size)
        self.policy = GaussianPolicy(
            observation_size,
            action_size,
            n_modes=self.n_modes,
            hidden=config.policy_hidden,
            activation="tanh" if isinstance(config, TalkConfig) else "silu",
            spread="state_independent" if isinstance(config, TalkConfig) else "context",
        )

    @property
    def device(self) -> torch.device:
        """Where its weights are. What goes in and what comes out is on the CPU."""
        return self.contexts.device

    @property
    def own_evidence(self) -> Evidence:
        """What the method reads a mode from when nobody says: the talk's its encoder, unbraid's both."""
        return "encoder" if isinstance(self.config, TalkConfig) else "combined"

    # What the model says of demonstrations

    def predict(
        self,
        demos: Demos,
        *,
        window_steps: int | None = None,
        stride_steps: int = 5,
        evidence: Evidence | None = None,
    ) -> Int[np.ndarray, "window"]:
        """The mode of every window, or of every episode.

        Args:
            demos: demonstrations with the widths that the model was fitted on; labels are not read.
            window_steps: steps in a window (METHOD, part 5: at stride 5); None takes whole episodes.
            stride_steps: steps between windows.
            evidence: what to read the mode from; by default all that the method has.

        Raises:
            DataError: widths that don't fit, or no windows of that length.
        """
        return self.window_scores(demos, self.cut(demos, window_steps, stride_steps), evidence).argmax(1)

    def predict_proba(
        self,
        demos: Demos,
        *,
        window_steps: int | None = None,
        stride_steps: int = 5,
        evidence: Evidence | None = None,
    ) -> Float[np.ndarray, "window mode"]:
        """The probability of every mode, for every window or every episode: the softmax of `window_scores`.

        The largest of a row is at what `predict` gives. The probabilities are not calibrated yet: one of 0.9 need not
        be right nine times in ten.

        Args:
            demos: demonstrations with the widths that the model was fitted on; labels are not read.
            window_steps: steps in a window; None takes whole episodes.
            stride_steps: steps between windows.
            evidence: what to read the mode from; by default all that the method has.

        Returns:
            (window, mode) in [0, 1]; rows sum to 1.

        Raises:
            ConfigError: an evidence that does not exist, or a window or stride of no steps.
            DataError: widths that don't fit, numbers that are not finite, or no windows of that length.
        """
        scores = self.window_scores(demos, self.cut(demos, window_steps, stride_steps), evidence)
        return torch.from_numpy(scores).softmax(1).numpy()

    def transform(
        self, demos: Demos, *, window_steps: int | None = None, stride_steps: int = 5
    ) -> Float[np.ndarray, "window mode"]:
        """Squared distances of every window's (or episode's) latent to the K codes: the context, before a person."""
        return self.window_distances(Steps.of(demos), self.cut(demos, window_steps, stride_steps))

    def score(self, demos: Demos) -> float:
        """Mean log-likelihood of an action, in nats, under the mode whose policy explains its episode best."""
        windows = self.cut(demos, None)
        totals = _window_sums(self.log_likelihoods(Steps.of(demos)), windows)
        return float(totals.max(1).sum() / demos.n_steps)

    def timeline(self, demos: Demos) -> Timeline:
        """The mode of every step, and where modes change: a sticky chain over `step_scores`, at `switch_rate`.

        Raises:
            DataError: widths that don't fit, or numbers that are not finite.
        """
        self._require_fitting(demos)
        return timeline_of(self.step_scores(Steps.of(demos)), demos.lengths, self.switch_rate)

    def filter(self, demos: Demos) -> Float[np.ndarray, "step mode"]:
        """p(mode of the step | its episode up to it): what `observe` says of it while the episode goes on.

        As `timeline`, but the encoder reads a step in the window of the last 25 steps alone.

        Raises:
            DataError: widths that don't fit, or numbers that are not finite.
        """
        self._require_fitting(demos)
        steps = Steps.of(demos)
        within = np.arange(steps.n_steps) - demos.step_starts[:-1][demos.episode_of_step]
        of_window = np.minimum(within + 1, STEP_WINDOW)
        windows = Windows(np.arange(steps.n_steps) + 1 - of_window, of_window, demos.episode_of_step)
        return filtered(self._scores(steps, self._read(steps, windows) / STEP_WINDOW), demos.lengths, self.switch_rate)

    def observe(
        self, state: "Belief | None", observation: Float[np.ndarray, "obs"], action: Float[np.ndarray, "act"]
    ) -> "Belief":
        """What is known of the mode of a robot that is running, after one more step; its first has no state before.

        The weights are those of the first call; take an `unbraid.training.online.Observer` where they still change.

        Raises:
            ConfigError: a model of the talk's method.
            DataError: widths that don't fit, or numbers that are not finite.
        """
        if self._observer is None:
            from unbraid.training.online import Observer  # which knows models

            self._observer = Observer(self)
        return self._observer.observe(state, observation, action)

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

    def _read(self, steps: Steps, windows: Windows) -> Float[np.ndarray, "window mode"]:
        """The encoder's log-probability of each mode, in nats."""
        scaled = torch.from_numpy(-self.window_distances(steps, windows) / DISTANCE_TEMPERATURE)
        return scaled.log_softmax(1).numpy()

    def _scores(self, steps: Steps, of_encoder: Float[np.ndarray, "step mode"]) -> Float[np.ndarray, "step mode"]:
        return STEP_SHARE * bounded(POLICY_SHARE * self.log_likelihoods(steps).double().numpy() + of_encoder)

    def cut(self, demos: Demos, window_steps: int | None, stride_steps: int = 5) -> Windows:
        """The windows of demonstrations that fit this model.

        Raises:
            DataError: widths that don't fit, numbers that are not finite, or no windows of that length.
        """
        self._require_fitting(demos)
        windows = cut_windows(demos.lengths, window_steps, stride_steps=stride_steps)
        if len(windows) == 0:
            longest = int(demos.lengths.max(initial=0))
            raise DataError(
                f"At least one episode must have {window_steps or 1} steps; the longest has {longest}. "
                "Ask for a shorter window."
            )
        return windows

    def _require_fitting(self, demos: Demos) -> None:
        if (demos.observation_size, demos.action_size) != (self.observation_size, self.action_size):
            raise DataError(
                f"Demonstrations must have {self.observation_size} observation and {self.action_size} action columns, "
                f"as the model was fitted on; got {demos.observation_size} and {demos.action_size}. "
                "Load the matching data, or fit a model on these."
            )
        for name in ("observations", "actions"):
            require_finite(getattr(demos, name), f"The demonstrations' {name}", "`unbraid check` names the episode.")

    def window_scores(
        self, demos: Demos, windows: Windows, evidence: Evidence | None = None
    ) -> Float[np.ndarray, "window mode"]:
        """How well each mode explains each window, in nats; the largest is the mode.

        ``policy``: the sum over the window of log pi(a | s, k). ``encoder``: -d_k / 0.1. ``combined``: three tenths of
        the first added to the second. The talk's method has its encoder alone, by default.

        Source: METHOD, part 2 (new data). Departs: three tenths, where the method adds all of it; a learned policy errs
        the same way on neighbouring steps, so that a window's steps count for fewer than they are.

        Raises:
            ConfigError: an evidence that does not exist.
            DataError: widths that don't fit, or numbers that are not finite.
        """
        self._require_fitting(demos)
        steps = Steps.of(demos)
        evidence = evidence or self.own_evidence
        if evidence not in get_args(Evidence):
            raise ConfigError(f"The evidence must be one of {get_args(Evidence)}; got {evidence!r}. Name one of them.")
        scores = np.zeros((len(windows), self.n_modes))
        if evidence != "encoder":
            share = POLICY_SHARE if evidence == "combined" else 1.0
            scores += share * _window_sums(self.log_likelihoods(steps), windows)
        if evidence != "policy":
            scores -= self.window_distances(steps, windows) / DISTANCE_TEMPERATURE
        return scores

    @torch.no_grad()
    def log_likelihoods(self, steps: Steps) -> Float[Tensor, "step mode"]:
        """log pi(a | s, k) of every step under every mode's context, in nats."""
        out = torch.empty(steps.n_steps, self.n_modes)
        for start in range(0, steps.n_steps, _CHUNK):
            chosen = torch.arange(start, min(start + _CHUNK, steps.n_steps))
            states = self.observation_normaliser(steps.observations(chosen))
            actions = self.action_normaliser(steps.actions[chosen])
            out[chosen] = log_likelihoods_of_modes(self.policy, states, actions, self.contexts).cpu()
        return out - float(self.action_normaliser.scale.log().sum())

    @torch.no_grad()
    def window_distances(self, steps: Steps, windows: Windows) -> Float[np.ndarray, "window mode"]:
        """Squared distances of each window to the codes; the talk's are the mean over the window's transitions."""
        if isinstance(self.encoder, TransitionEncoder):
            return self._mean_transition_distances(steps, windows, self.encoder)
        starts, lengths = torch.from_numpy(windows.starts), torch.from_numpy(windows.lengths)
        features = torch.empty(steps.n_steps, self.encoder.width)
        for start in range(0, steps.n_steps, _CHUNK):
            chosen = torch.arange(start, min(start + _CHUNK, steps.n_steps))
            states = self.observation_normaliser(steps.observations(chosen))
            features[chosen] = self.encoder.features(states, self.action_normaliser(steps.actions[chosen])).cpu()
        means = (SpanSums(features)(starts, lengths) / lengths[:, None]).to(torch.float32)
        return self.codebook(self.encoder.of_mean(means.to(self.device))).cpu().double().numpy()

    def _mean_transition_distances(
        self, steps: Steps, windows: Windows, encoder: TransitionEncoder
    ) -> Float[np.ndarray, "window mode"]:
        """The last steps of an episode, which have no s[t + dt], are read by the transition to its end, and only in
        windows that hold no other steps: there, a shorter transition says more than none."""
        assert isinstance(self.config, TalkConfig)
        starts, lengths = torch.from_numpy(windows.starts), torch.from_numpy(windows.lengths)
        distances = torch.empty(steps.n_steps, self.n_modes)
        for chosen in torch.arange(steps.n_steps).split(_CHUNK):
            reach = steps.steps_left[chosen].clamp_max(self.config.delta_steps)
            moved = self.transition_normaliser(steps.transitions(chosen, reach))
            distances[chosen] = self.codebook(encoder(moved)).cpu()
        full = (steps.steps_left >= self.config.delta_steps)[:, None].float()
        sums = SpanSums(torch.cat([distances * full, full], dim=1))(starts, lengths)
        of_all = SpanSums(distances)(starts, lengths) / lengths[:, None]
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:].clamp_min(1), of_all).numpy()

    def scaled_transitions(self, steps: Steps, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen obs"]:
        """The talk's input at the chosen steps."""
        assert isinstance(self.config, TalkConfig)
        return self.transition_normaliser(steps.transitions(chosen, self.config.delta_steps))

    @torch.no_grad()
    def action_distribution(
        self, observations: Float[Tensor, "batch obs"], contexts: Float[Tensor, "batch mode"]
    ) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
        """(mean, deviation) of pi(a | s, c) in the action's own units."""
        mean, log_std = self.policy(self.observation_normaliser(observations), contexts.to(self.device))
        return self.action_normaliser.undo(mean).cpu(), (log_std.exp() * self.action_normaliser.scale).cpu()

    # Files

    def save_pretrained(self, path: str | Path) -> None:
        """Writes `config.json` and `model.safetensors` (normalisers inside) into a new folder.

        Raises:
            RunError: the folder exists.
            StorageError: the disk refused.
        """
        from safetensors.torch import save

        with new_folder(Path(path)) as folder:
            content = {
                "format": _FORMAT,
                "version": _VERSION,
                "observation_size": self.observation_size,
                "action_size": self.action_size,
                "config": config_to_json(self.config),
                "switch_rate": self.switch_rate,
            }
            write_json(folder / "config.json", content)
            if self.search is not None:
                write_json(folder / "search.json", self.search)
            tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
            write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "ModeModel":
        """The model in a folder that `save_pretrained` wrote (a run's folder will do: its `model/` is taken).

        Raises:
            ModelError: no model there, a newer version, or files that don't fit together.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(path)
        folder = folder / "model" if (folder / "model" / "config.json").exists() else folder
        content = _read_model_config(folder / "config.json")
        try:
            made = cls(
                config_from_json(content["config"]),
                observation_size=content["observation_size"],
                action_size=content["action_size"],
            )
            made.switch_rate = float(content.get("switch_rate", 0.0))  # models of before had none
            made.load_state_dict(load_file(folder / "model.safetensors"))
            if (folder / "search.json").exists():
                made.search = read_json(folder / "search.json", error=ModelError, remedy=_AGAIN)
        except KeyError as error:
            raise ModelError(f"{folder} must hold a whole model; config.json lacks {error}. {_AGAIN}") from error
        except (TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
            said = " ".join(str(error).split())
            raise ModelError(f"{folder} must hold a whole model; {said:.200}. {_AGAIN}") from error
        return made.eval()


def _read_model_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"{path} must exist; there is no model here. `unbraid fit --out RUN` makes one.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} must be JSON; {error}. {_AGAIN}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ModelError(f"{path} must say format {_FORMAT!r}; it does not. This is not a model of unbraid's.")
    if content.get("version") != _VERSION:
        raise ModelError(
            f"{path} must have version {_VERSION}; it has {content.get('version')}. Use the unbraid that wrote it."
        )
    return content


def _window_sums(values: Float[Tensor, "step mode"], windows: Windows) -> Float[np.ndarray, "window mode"]:
    return SpanSums(values)(torch.from_numpy(windows.starts), torch.from_numpy(windows.lengths)).numpy()
