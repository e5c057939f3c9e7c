"""`ModeModel`: what a fit gives. Encoder, codebook, policy and normalisers in one piece, saved as one folder."""

import hashlib
import json
import tempfile
from functools import partial
from importlib import metadata
from numbers import Integral, Real
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import softmax
from torch.random import fork_rng

from unbraid.core.errors import ConfigError, DataError, ModelError
from unbraid.core.runs import kind_of_folder, new_folder, read_json, taken_path, write_bytes, write_json, write_text
from unbraid.core.shapes import require_finite
from unbraid.demos.episodes import Demos, require_demos
from unbraid.modes.calibration import NOT_SURE, Calibration, likeliest
from unbraid.modes.chain import filtered, log_evidence
from unbraid.modes.timeline import Timeline, timeline_of
from unbraid.modes.windows import Windows, cut_windows
from unbraid.training.columns import columns_in_order, names_in
from unbraid.training.config import FitConfig, config_from_json, config_to_json
from unbraid.training.hub import CARD, card_around, fetch, is_hub_id, push
from unbraid.training.limits import ActionBounds, bounds_from_json, bounds_to_json
from unbraid.training.networks import Evidence, ModeNetworks, in_parts
from unbraid.training.online import Belief, Observer, require_causal
from unbraid.training.origin import require_held
from unbraid.training.steps import Steps
from unbraid.training.style import style_readings_of_windows

__all__ = ["ModeModel"]

_FORMAT, _VERSION = "unbraid-model", 1
_AGAIN = "Copy the folder again, or fit again."


@final
class ModeModel(ModeNetworks):
    """One model of K modes: networks, and the verbs for demonstrations.

    Attributes:
        calibration: temperatures that make probabilities come true; None where nothing was left out to fit them on.
        search: what the search for modes said, as JSON (see `modes.search.Found.facts`); None where there was none.
        switch_rate: the probability that a step changes the mode, as the demonstrations had it; 0 where an episode has
            one mode.
        observation_names: the names of the observation columns that it was fitted on, in order; empty where they had
            none. Demonstrations with names are read by these, whatever the order of their columns.
        action_bounds: the lowest and the highest action, as the demonstrations declare them and keep to them; or None.
    """

    def __init__(self, config: FitConfig, *, observation_size: int, action_size: int) -> None:
        """An untrained model; `fit` gives a trained one, `from_pretrained` a saved one."""
        super().__init__(config, observation_size=observation_size, action_size=action_size)
        self.search: dict[str, Any] | None = None
        self.switch_rate = 0.0
        self.observation_names: tuple[str, ...] = ()
        self.action_bounds: ActionBounds | None = None
        self.calibration: Calibration | None = None
        self._observer: Observer | None = None

    # What the model says of demonstrations

    def predict(
        self,
        demos: Demos,
        *,
        window_steps: int | None = None,
        stride_steps: int = 5,
        evidence: Evidence | None = None,
        min_probability: float = 0.0,
    ) -> Int[np.ndarray, "window"]:
        """The mode of every window, or of every episode; -1 where that is not sure enough.

        Args:
            demos: demonstrations with the widths that the model was fitted on; labels are not read.
            window_steps: steps in a window; None takes whole episodes.
            stride_steps: steps between windows.
            evidence: what to read the mode from; by default all that the method has.
            min_probability: a window whose likeliest mode is less probable than that (see `predict_proba`) gets -1.

        Returns:
            (window,) modes; -1 is "not sure", as scikit-learn's clusterers say of noise. Of whole episodes every
            one has its entry, at its own number; one of no steps has -1.

        Raises:
            ConfigError: an evidence that does not exist, a window or stride of no steps, or no probability.
            DataError: widths that don't fit, numbers that are not finite, or no windows of that length.
        """
        probabilities = self.predict_proba(
            demos, window_steps=window_steps, stride_steps=stride_steps, evidence=evidence
        )
        if not isinstance(min_probability, Real):
            raise ConfigError(
                f"min_probability must be a number in [0, 1]; got {min_probability!r:.80}. Leave it out, or give one."
            )
        modes = likeliest(probabilities, min_probability)
        return modes if window_steps is not None else _of_every_episode(demos, modes, NOT_SURE)

    def predict_proba(
        self,
        demos: Demos,
        *,
        window_steps: int | None = None,
        stride_steps: int = 5,
        evidence: Evidence | None = None,
    ) -> Float[np.ndarray, "window mode"]:
        """The probability of every mode, for every window or every episode.

        The softmax of `window_scores` over a temperature that follows from the window's length (`calibration`), so
        that of windows with a probability of 0.9 nine in ten are of that mode. The largest of a row is at what
        `predict` gives. A model without a calibration, as the talk's, takes 1 for all temperatures, and claims too
        much.

        Args:
            demos: demonstrations with the widths that the model was fitted on; labels are not read.
            window_steps: steps in a window; None takes whole episodes.
            stride_steps: steps between windows.
            evidence: what to read the mode from; by default all that the method has.

        Returns:
            (window, mode) in [0, 1]; rows sum to 1. Episodes of no steps have no row, unlike in `predict`: `cut` says
            which episode each is of.

        Raises:
            ConfigError: an evidence that does not exist, or a window or stride of no steps.
            DataError: widths that don't fit, numbers that are not finite, or no windows of that length.
        """
        windows = self.cut(demos, window_steps, stride_steps)
        return self.calibrated(self.window_scores(demos, windows, evidence), windows, evidence)

    def calibrated(
        self, scores: Float[np.ndarray, "window mode"], windows: Windows, evidence: Evidence | None = None
    ) -> Float[np.ndarray, "window mode"]:
        """The probabilities that `window_scores` stand for: see `predict_proba`."""
        if self.calibration is not None:
            scores = scores / self.calibration.of(evidence or self.own_evidence, windows.lengths)[:, None]
        return softmax(scores, axis=1)

    def transform(
        self, demos: Demos, *, window_steps: int | None = None, stride_steps: int = 5
    ) -> Float[np.ndarray, "window mode"]:
        """Squared distances of every window's (or episode's) latent to the K codes: the context, before a person.
        Rows, and what it raises, are as in `predict_proba`."""
        return self.window_distances(self.steps_of(demos), self.cut(demos, window_steps, stride_steps))

    def styles(
        self, demos: Demos, *, window_steps: int | None = None, stride_steps: int = 5
    ) -> Float[np.ndarray, "window"]:
        """The style of every window (or episode): a quantile among the training demonstrations of its own mode.

        0.5 is the mode's typical demonstration; 0.8 exceeds four fifths of those that were learned from. A larger style
        is the more energetic one, as far as styles go with the size of actions. Windows say less than whole episodes.
        Where modes change, a style is read of the steps that are in the mode of most of the window. Of whole episodes
        every one has its entry; one of no steps has NaN.

        Raises:
            ConfigError: a model without styles.
            DataError: widths that don't fit, numbers that are not finite, or no windows of that length.
        """
        self.require_styles()
        windows = self.cut(demos, window_steps, stride_steps)
        styles = self.styles_of(demos, windows, self.window_scores(demos, windows).argmax(1))
        return styles if window_steps is not None else _of_every_episode(demos, styles, np.nan)

    def styles_of(
        self, demos: Demos, windows: Windows, modes: Int[np.ndarray, "window"]
    ) -> Float[np.ndarray, "window"]:
        """The style of windows under modes that are given, as a quantile: see `styles`.

        Args:
            demos: demonstrations.
            windows: of theirs.
            modes: (window,) of each the mode that it is a style of.

        Raises:
            ConfigError: a model without styles.
            DataError: widths that don't fit, or numbers that are not finite.
        """
        reader = self.require_styles()
        read = in_parts(partial(style_readings_of_windows, self, self.switch_rate), self.steps_of(demos), windows)
        return reader.quantiles(read)[np.arange(len(modes)), modes]

    def score(self, demos: Demos) -> float:
        """Mean log-likelihood of an action, in nats.

        Where an episode has one mode (`switch_rate` 0), that of the mode whose policy explains the episode best. Where
        modes change, that of all sequences of modes together, each as probable as the chain of `timeline` has it: an
        episode of several experts is explained by no single mode.

        Raises:
            DataError: widths that don't fit, or numbers that are not finite.
        """
        windows, steps = self.cut(demos, None), self.steps_of(demos)
        if self.switch_rate > 0:
            totals = in_parts(self._under_chain, steps, windows)
        else:
            totals = self.window_log_likelihoods(steps, windows)
        return float(totals.max(1).sum() / demos.n_steps)

    def _under_chain(self, steps: Steps, episodes: Windows) -> Float[np.ndarray, "window one"]:
        """The log-likelihood of whole episodes, whose mode may change, in nats; `episodes` are all that have steps."""
        log_likelihoods = self.log_likelihoods(steps).double().numpy()
        return log_evidence(log_likelihoods, episodes.lengths, self.switch_rate)[:, None]

    def timeline(self, demos: Demos) -> Timeline:
        """The mode of every step, and where modes change: a sticky chain over `step_scores`, at `switch_rate`.

        Raises:
            DataError: widths that don't fit, or numbers that are not finite.
        """
        self._require_fitting(demos)
        return timeline_of(self.step_scores(self.steps_of(demos)), demos.lengths, self.switch_rate)

    def filter(self, demos: Demos) -> Float[np.ndarray, "step mode"]:
        """p(mode of the step | its episode up to it): what `observe` says of it while the episode goes on.

        As `timeline`, but the encoder reads a step in the window of the last 25 steps alone.

        Raises:
            ConfigError: a model of the talk's method, whose encoder reads steps that are still to come.
            DataError: widths that don't fit, or numbers that are not finite.
        """
        self._require_fitting(demos)
        require_causal(self)
        return filtered(self.step_scores_so_far(self.steps_of(demos)), demos.lengths, self.switch_rate)

    def observe(self, state: Belief | None, observation: ArrayLike, action: ArrayLike) -> Belief:
        """What is known of the mode of a robot that is running, after one more step; its first has no state before.

        The weights are those of the first call; take an `unbraid.training.online.Observer` where they still change.

        Args:
            state: what was known before; None at an episode's first step.
            observation: (obs,) what was seen: an array, or what NumPy makes one of, such as a list.
            action: (act,) what was done on it, likewise.

        Raises:
            ConfigError: a model of the talk's method.
            DataError: widths that don't fit, what is no number or not finite, or a state of another model.
        """
        if self._observer is None:
            self._observer = Observer(self, switch_rate=self.switch_rate)
        return self._observer.observe(state, observation, action)

    def window_scores(
        self, demos: Demos, windows: Windows, evidence: Evidence | None = None
    ) -> Float[np.ndarray, "window mode"]:
        """How well each mode explains each window, in nats; the largest is the mode.

        ``policy``: the sum over the window of log pi(a | s, k). ``encoder``: -d_k / 0.1. ``combined``: three tenths of
        the first added to the second: a learned policy errs the same way on neighbouring steps, so that a window's
        steps count for fewer than they are. The talk's method has its encoder alone, by default.

        Raises:
            ConfigError: an evidence that does not exist.
            DataError: widths that don't fit, or numbers that are not finite.
        """
        self._require_fitting(demos)
        kind = evidence or self.own_evidence
        return self.scores_of_windows(self.steps_of(demos), windows, (kind,))[kind]

    def cut(self, demos: Demos, window_steps: int | None, stride_steps: int = 5) -> Windows:
        """The windows of demonstrations that fit this model.

        Raises:
            ConfigError: a window or stride that is no whole number of steps, or of none.
            DataError: widths that don't fit, numbers that are not finite, or no windows of that length.
        """
        self._require_fitting(demos)
        for name, steps in (("window_steps", window_steps), ("stride_steps", stride_steps)):
            whole = isinstance(steps, Integral) and not isinstance(steps, bool)  # NumPy's are such, too
            if not whole and (steps is not None or name == "stride_steps"):
                raise ConfigError(f"{name} must be a whole number of steps; got {steps!r:.40}. Give one, such as 10.")
        windows = cut_windows(demos.lengths, window_steps, stride_steps=stride_steps)
        if len(windows) == 0:
            longest = int(demos.lengths.max(initial=0))
            raise DataError(
                f"At least one episode must have {window_steps or 1} steps; the longest has {longest}. "
                "Ask for a shorter window."
            )
        return windows

    def steps_of(self, demos: Demos) -> Steps:
        """Their steps as this model reads them: columns that have names stand in the order that it was fitted on.

        Raises:
            DataError: there are none, or columns that are missing or unknown.
        """
        require_demos(demos)
        origin = None if self.observation_origin is None else self.observation_origin.cpu().numpy()
        columns = columns_in_order(self.observation_names, demos.observation_names)
        return Steps.of(demos, columns=columns, origin=origin)

    def _require_fitting(self, demos: Demos) -> None:
        require_demos(demos)
        columns_in_order(self.observation_names, demos.observation_names)
        if (demos.observation_size, demos.action_size) != (self.observation_size, self.action_size):
            raise DataError(
                f"Demonstrations must have {self.observation_size} observation and {self.action_size} action columns, "
                f"as the model was fitted on; got {demos.observation_size} and {demos.action_size}. "
                "Load the matching data, or fit a model on these."
            )
        for name in ("observations", "actions"):
            require_finite(getattr(demos, name), f"The demonstrations' {name}", "`unbraid check` names the episode.")
            require_held(getattr(demos, name), name, demos.observation_names if name == "observations" else ())

    # Files

    def save_pretrained(self, path: str | Path, *, card: str | None = None) -> None:
        """Writes `config.json` and `model.safetensors` (normalisers inside) into a new folder; and `search.json` and
        `calibration.json`, where the model has them.

        Args:
            path: the folder.
            card: the text of a model card (see `unbraid.model_card`), to be written as `README.md`.

        Raises:
            RunError: the folder exists.
            StorageError: the disk refused.
        """
        with new_folder(taken_path(path)) as folder:
            content = {
                "format": _FORMAT,
                "version": _VERSION,
                "observation_size": self.observation_size,
                "action_size": self.action_size,
                "config": config_to_json(self.config),
                "switch_rate": self.switch_rate,
                "shares": self.shares,
                "observation_names": list(self.observation_names),
                "action_bounds": bounds_to_json(self.action_bounds),
            }
            write_json(folder / "config.json", content)
            if self.search is not None:
                write_json(folder / "search.json", self.search)
            if self.calibration is not None:
                write_json(folder / "calibration.json", self.calibration.to_json())
            write_bytes(folder / "model.safetensors", self._weights())
            if card is not None:
                write_text(folder / CARD, card)

    def fingerprint(self) -> str:
        """The SHA-256 of the weights as `save_pretrained` writes them: that of its `model.safetensors`."""
        return hashlib.sha256(self._weights()).hexdigest()

    def _weights(self) -> bytes:
        from safetensors.torch import save

        return save({name: value.contiguous() for name, value in self.state_dict().items()}, metadata={"format": "pt"})

    def push_to_hub(
        self, repo_id: str, *, card: str | None = None, private: bool | None = None, token: str | None = None
    ) -> str:
        """Sends what `save_pretrained` writes, and a card, to the Hugging Face Hub.

        Args:
            repo_id: owner/name; the repository is made where there is none.
            card: the text of the model card: `unbraid.model_card` tells of a run's results; by default one that says
                that nothing was measured.
            private: whether a new repository is; None leaves it to the Hub.
            token: by default that of `hf auth login`.

        Returns:
            the address of the commit.

        Raises:
            ConfigError: the extra `hub` is not installed, or the name is none.
            StorageError: the Hub, or the disk, refused.
        """
        told = card_around(self, repo_id=repo_id) if card is None else card
        with tempfile.TemporaryDirectory() as place:
            self.save_pretrained(Path(place) / "model", card=told)
            message = f"unbraid {metadata.version('unbraid')}: {self.n_modes} modes"
            return push(Path(place) / "model", repo_id, message=message, private=private, token=token)

    @classmethod
    @fork_rng(devices=[])  # a new model draws weights, which are read over: nobody's draws change
    def from_pretrained(cls, path: str | Path, *, revision: str | None = None, download: bool = False) -> "ModeModel":
        """The model in a folder that `save_pretrained` wrote (a run's folder will do: its `model/` is taken).

        Args:
            path: the folder; or, as a text for which there is none, owner/name of a model on the Hugging Face Hub.
            revision: of a model on the Hub: a branch, tag or commit.
            download: fetch a model of the Hub; otherwise only what was fetched before is looked at.

        Raises:
            ModelError: no model there, a newer version, or files that don't fit together.
            ConfigError: a model of the Hub, without the extra `hub`.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = taken_path(path)
        if isinstance(path, str) and is_hub_id(path) and not folder.exists():
            folder = fetch(path, revision=revision, download=download)
        folder = folder / "model" if (folder / "model" / "config.json").exists() else folder
        content = _read_model_config(folder / "config.json")
        try:
            made = cls(
                config_from_json(content["config"]),
                observation_size=content["observation_size"],
                action_size=content["action_size"],
            )
            made.switch_rate = float(content.get("switch_rate", 0.0))  # models of before had none, nor what follows
            made.shares = [float(share) for share in content.get("shares", made.shares)]
            made.observation_names = names_in(content.get("observation_names", []), made.observation_size)
            made.action_bounds = bounds_from_json(content.get("action_bounds"), made.action_size)
            made.load_state_dict(load_file(folder / "model.safetensors"))
            read = partial(read_json, error=ModelError, remedy=_AGAIN)
            if (folder / "search.json").exists():
                made.search = read(folder / "search.json")
            if (folder / "calibration.json").exists():
                made.calibration = Calibration.from_json(read(folder / "calibration.json"))
        except KeyError as error:
            raise ModelError(f"{folder} must hold a whole model; config.json lacks {error}. {_AGAIN}") from error
        except (TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise ModelError(f"{folder} must hold a whole model; {said:.200}. {_AGAIN}") from error
        return made.eval()


def _of_every_episode(demos: Demos, values: np.ndarray, otherwise: float | int) -> np.ndarray:
    """(episode,) the values of those that have steps, in their places."""
    found = np.full(demos.n_episodes, otherwise, dtype=values.dtype)
    found[demos.lengths > 0] = values
    return found


def _read_model_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        remedy = kind_of_folder(path.parent, wanted="model") or "`unbraid fit --out RUN` makes one."
        raise ModelError(f"{path} must exist; there is no model here. {remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} must be JSON; {error}. {_AGAIN}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ModelError(f"{path} must say format {_FORMAT!r}; it does not. This is not a model of unbraid's.")
    if content.get("version") != _VERSION:
        raise ModelError(
            f"{path} must have version {_VERSION}; it has {content.get('version')}. Use the unbraid that wrote it."
        )
    return content
