"""What a person prefers, situation by situation, from answers to pairs of clips.

A mode's utility is linear in what is seen of the situation: u(s, k) = w_k . phi(s). A blend's is the average of its
modes'. Of two clips from the same start, a person says which is better, that both are fine, or that neither is. The
weights have a Gaussian prior; their posterior is approximated by a Gaussian, so that a utility has its uncertainty,
and the next pair is the one whose answer is expected to say most about which mode is best.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, cast, final, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, log_expit

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import named_generator
from unbraid.core.runs import refuse_existing, write_json

__all__ = [
    "ANSWERS",
    "Answer",
    "Answered",
    "Pair",
    "Preferences",
    "preferences_from_json",
    "random_pair",
]

Answer = Literal["left", "right", "both fine", "neither"]
"""What a person may say of two clips."""

ANSWERS: tuple[Answer, ...] = get_args(Answer)
"""The same, as values."""

_FORMAT, _VERSION = "unbraid-preferences", 1
_REMEDY = "Give a file that `Preferences.save` wrote."
_DRAWS, _OFFERED, _TARGETS = 256, 64, 64  # of the posterior and of the situations, for the expected information
_ROUNDS, _NEWTON_STEPS, _CLOSE = 30, 20, 1e-7


@dataclass(frozen=True)
class Answered:
    """One answer of a person.

    Attributes:
        features: (feature,) the situation that both clips start in.
        left, right: (mode,) each clip's weights over modes; they sum to 1.
        answer: what was said.
    """

    features: tuple[float, ...]
    left: tuple[float, ...]
    right: tuple[float, ...]
    answer: Answer


@dataclass(frozen=True)
class Pair:
    """Two clips to show next.

    Attributes:
        situation: a row of the situations that were offered.
        left, right: two of the clips that were offered; modes, where none were.
        information_nats: how much the answer is expected to say about the best mode of a situation.
    """

    situation: int
    left: int
    right: int
    information_nats: float


@final
@dataclass(frozen=True, eq=False)
class Preferences:
    """A person's answers, and what follows from them. Never changes: `answered` gives a new one.

    An answer is "left" in proportion to exp(u_left), "right" to exp(u_right), and one of the two ties to
    `tie` exp((u_left + u_right) / 2): Bradley and Terry's model with ties. A tie is "both fine" with the probability
    sigmoid of the two utilities' average, so that a utility of 0 is just acceptable. A share `noise` of the answers is
    drawn at random.

    Source: Bradley & Terry 1952, "Rank analysis of incomplete block designs"; ties by Davidson 1970; Laplace's
    approximation (MacKay 2003, chapter 27), its mode found by expectation-maximisation over which answers are noise.
    Departs: two kinds of ties; utilities that depend on the situation.

    Attributes:
        n_modes: K.
        n_features: of a situation; the first is usually the constant 1.
        answers: so far, in order.
        prior_deviation: of every weight, before the first answer.
        tie: how readily both are called the same; > 0.
        noise: the share of answers that say nothing, in [0, 1).
    """

    n_modes: int
    n_features: int
    answers: tuple[Answered, ...] = ()
    prior_deviation: float = 4.0
    tie: float = 3.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.n_modes < 2 or self.n_features < 1:
            raise ConfigError(
                f"Preferences need at least 2 modes and 1 feature; got {self.n_modes} and {self.n_features}. Give more."
            )
        if not (self.prior_deviation > 0 and self.tie > 0 and 0 <= self.noise < 1):
            raise ConfigError(
                "`prior_deviation` and `tie` must be above 0 and `noise` in [0, 1); got "
                f"{self.prior_deviation}, {self.tie} and {self.noise}. Leave them out for the defaults."
            )

    def answered(
        self,
        features: Float[np.ndarray, "feature"],
        left: int | Sequence[float],
        right: int | Sequence[float],
        answer: Answer,
    ) -> "Preferences":
        """The same with one more answer.

        Args:
            features: the situation that both clips start in.
            left, right: each clip's mode, or its weights over modes.
            answer: what was said.

        Raises:
            ConfigError: features of the wrong size or not finite, no such mode, weights that are no blend, or an
                answer that is none.
        """
        if answer not in ANSWERS:
            raise ConfigError(f"An answer must be one of {', '.join(ANSWERS)}; got {answer!r:.40}. Choose one.")
        self._require_features(np.asarray(features)[None])
        entry = Answered(tuple(float(value) for value in features), self._weights(left), self._weights(right), answer)
        return replace(self, answers=(*self.answers, entry))

    def without_last(self) -> "Preferences":
        """The same without the last answer; without any, the same."""
        return replace(self, answers=self.answers[:-1])

    @property
    def weights(self) -> Float[np.ndarray, "mode feature"]:
        """The posterior mean of every mode's weights."""
        return self._posterior[0].reshape(self.n_modes, self.n_features).copy()

    def utilities(
        self, features: Float[np.ndarray, "row feature"]
    ) -> tuple[Float[np.ndarray, "row mode"], Float[np.ndarray, "row mode"]]:
        """The posterior mean and deviation of every mode's utility, in logits: 0 is just acceptable.

        Raises:
            ConfigError: features of the wrong size, or not finite.
        """
        self._require_features(features)
        covariance = self._posterior[1]
        blocks = covariance.reshape(self.n_modes, self.n_features, self.n_modes, self.n_features)
        own = np.stack([blocks[mode, :, mode] for mode in range(self.n_modes)])
        variance = np.einsum("rf,kfg,rg->rk", features, own, features)
        return features @ self.weights.T, np.sqrt(np.maximum(variance, 0.0))

    def best(self, features: Float[np.ndarray, "row feature"]) -> Int[np.ndarray, "row"]:
        """The mode of the greatest mean utility; the first of equal ones.

        Raises:
            ConfigError: as `utilities`.
        """
        return self.utilities(features)[0].argmax(axis=1)

    def probability_best(
        self, features: Float[np.ndarray, "row feature"], *, seed: int = 0
    ) -> Float[np.ndarray, "row mode"]:
        """How probable it is of every mode that it is the best; from 1,000 draws of the posterior.

        Raises:
            ConfigError: as `utilities`.
        """
        self._require_features(features)
        drawn = self._drawn_utilities(features, 1000, named_generator(seed, "which mode is best"))
        winners = drawn.argmax(axis=2)
        return np.stack([(winners == mode).mean(axis=0) for mode in range(self.n_modes)], axis=1)

    def next_pair(
        self,
        features: Float[np.ndarray, "row feature"],
        *,
        clips: Float[np.ndarray, "clip mode"] | None = None,
        seed: int = 0,
    ) -> Pair:
        """The situation and the two clips whose answer is expected to say most about which mode is best, and where.

        The expected information between the answer and the best mode of a situation, on average over the situations,
        from draws of the posterior. What says most about the weights themselves (BALD, Houlsby et al. 2011) asks about
        rare situations, and whether modes are acceptable: it finds the best mode later than random pairs do.

        Source: Bickford Smith et al. 2023, "Prediction-oriented Bayesian active learning" (EPIG), arXiv 2304.08151.
        Departs: what is predicted is the best mode, not the next answer; at most 64 of the situations are offered and
        64 asked of, drawn anew each time.

        Args:
            features: the situations that can be shown.
            clips: each clip's weights over modes; by default every mode alone.
            seed: of the draws, and of which clip is on the left.

        Raises:
            ConfigError: no situations, fewer than two clips, or what `utilities` raises.
        """
        self._require_features(features)
        shown = np.eye(self.n_modes) if clips is None else np.asarray(clips, dtype=np.float64)
        if len(features) == 0 or len(shown) < 2 or shown.shape[1] != self.n_modes:
            raise ConfigError(
                "A pair needs at least one situation and two clips, each with a weight for every mode; got "
                f"{len(features)} situations and clips of shape {shown.shape}. Offer more."
            )
        generator = named_generator(seed, "next pair", len(self.answers))
        offered, targets = (
            generator.choice(len(features), size=min(n, len(features)), replace=False) for n in (_OFFERED, _TARGETS)
        )
        utilities = self._drawn_utilities(features[np.concatenate([offered, targets])], _DRAWS, generator)
        best = utilities[:, len(offered) :].argmax(axis=2)
        is_best = (best[:, :, None] == np.arange(self.n_modes)).reshape(_DRAWS, -1) * 1.0
        drawn = utilities[:, : len(offered)] @ shown.T
        pairs = list(combinations(range(len(shown)), 2))
        gains = np.stack([self._information(drawn[:, :, a], drawn[:, :, b], is_best) for a, b in pairs])
        gains /= len(targets)
        place, row = np.unravel_index(int(gains.argmax()), gains.shape)
        left, right = pairs[int(place)]
        if generator.random() < 0.5:
            left, right = right, left
        return Pair(int(offered[row]), left, right, float(gains[place, row]))

    def to_json(self) -> dict[str, Any]:
        """The settings and the answers as a JSON object; what follows is computed from them again."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "n_modes": self.n_modes,
            "n_features": self.n_features,
            "prior_deviation": self.prior_deviation,
            "tie": self.tie,
            "noise": self.noise,
            "answers": [
                {"features": list(a.features), "left": list(a.left), "right": list(a.right), "answer": a.answer}
                for a in self.answers
            ],
        }

    def save(self, path: str | Path) -> None:
        """Writes the answers into a new JSON file.

        Raises:
            RunError: the file exists.
            StorageError: the disk refused.
        """
        refuse_existing(Path(path))
        write_json(Path(path), self.to_json())

    def _weights(self, clip: int | Sequence[float]) -> tuple[float, ...]:
        if isinstance(clip, int | np.integer):
            if not 0 <= clip < self.n_modes:
                raise ConfigError(f"A mode must lie in [0, {self.n_modes}); got {clip}. Name one of them.")
            return tuple(float(mode == clip) for mode in range(self.n_modes))
        weights = tuple(float(weight) for weight in clip)
        if len(weights) != self.n_modes or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
            raise ConfigError(
                f"A clip must have {self.n_modes} weights >= 0 that sum to 1; got {list(weights)!s:.80}. "
                "Name one mode, or correct the weights."
            )
        return weights

    def _require_features(self, features: np.ndarray) -> None:
        if features.ndim != 2 or features.shape[1] != self.n_features or not np.isfinite(features).all():
            raise ConfigError(
                f"Situations must have {self.n_features} finite features each; got an array of shape "
                f"{features.shape}. Read them with the reader that the preferences were made for."
            )

    @cached_property
    def _posterior(self) -> tuple[Float[np.ndarray, "weight"], Float[np.ndarray, "weight weight"]]:
        """Mean and covariance of the weights, mode by mode."""
        size = self.n_modes * self.n_features
        precision = np.eye(size) / self.prior_deviation**2
        mean = np.zeros(size)
        if not self.answers:
            return mean, np.linalg.inv(precision)
        left, right = (
            np.stack([np.outer(getattr(a, side), a.features).ravel() for a in self.answers])
            for side in ("left", "right")
        )
        apart, level = left - right, (left + right) / 2
        said = np.array([ANSWERS.index(a.answer) for a in self.answers])
        meant = np.ones(len(said))  # the probability that an answer is no noise
        curvature = precision
        for _ in range(_ROUNDS):
            mean, curvature = self._fitted(mean, precision, (apart, level), said, meant)
            likely = np.exp(self._log_likelihood(apart @ mean, level @ mean))[said, np.arange(len(said))]
            before, kept = meant, (1 - self.noise) * likely
            meant = kept / (kept + self.noise / len(ANSWERS))
            if np.abs(meant - before).max() < _CLOSE:
                break
        return mean, np.linalg.inv(curvature)

    def _fitted(
        self,
        mean: Float[np.ndarray, "weight"],
        precision: Float[np.ndarray, "weight weight"],
        rows: tuple[Float[np.ndarray, "answer weight"], Float[np.ndarray, "answer weight"]],
        said: Int[np.ndarray, "answer"],
        meant: Float[np.ndarray, "answer"],
    ) -> tuple[Float[np.ndarray, "weight"], Float[np.ndarray, "weight weight"]]:
        """The posterior's mode and curvature, by Newton's method on a concave function, every answer weighted."""
        apart, level = rows
        is_tie = said >= 2

        def height(at: Float[np.ndarray, "weight"]) -> float:
            likely = self._log_likelihood(apart @ at, level @ at)[said, np.arange(len(said))]
            return float(meant @ likely - at @ precision @ at / 2)

        curvature = precision
        for _ in range(_NEWTON_STEPS):
            p_left, p_right = np.exp(self._log_likelihood(apart @ mean, level @ mean))[:2]
            fine = expit(level @ mean)
            slope = ((said == 0) * 1.0 - (said == 1) * 1.0 - (p_left - p_right)) / 2
            bend = (p_left + p_right - (p_left - p_right) ** 2) / 4
            slope_level = is_tie * ((said == 2) - fine)
            gradient = apart.T @ (meant * slope) + level.T @ (meant * slope_level) - precision @ mean
            curvature = (
                precision
                + (apart.T * (meant * bend)) @ apart
                + (level.T * (meant * is_tie * fine * (1 - fine))) @ level
            )
            move = np.linalg.solve(curvature, gradient)
            share, now = 1.0, height(mean)
            while share > 1e-6 and height(mean + share * move) < now:
                share /= 2
            mean = mean + share * move
            if np.abs(move).max() < _CLOSE:
                break
        return mean, curvature

    def _log_likelihood(
        self, apart: Float[np.ndarray, "*place"], level: Float[np.ndarray, "*place"]
    ) -> Float[np.ndarray, "answer *place"]:
        """The log-probability of every answer that is meant, in the order of `ANSWERS`.

        Args:
            apart: u_left - u_right.
            level: (u_left + u_right) / 2.
        """
        tie = np.full_like(apart, np.log(self.tie))
        together = np.logaddexp(np.logaddexp(apart / 2, -apart / 2), tie)
        return np.stack(
            [apart / 2 - together, -apart / 2 - together, tie - together + log_expit(level),
             tie - together + log_expit(-level)]
        )  # fmt: skip

    def _drawn_utilities(
        self, features: Float[np.ndarray, "row feature"], n: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "draw row mode"]:
        mean, covariance = self._posterior
        drawn = mean + generator.standard_normal((n, len(mean))) @ np.linalg.cholesky(covariance).T
        return (drawn.reshape(-1, self.n_features) @ features.T).reshape(n, self.n_modes, -1).transpose(0, 2, 1)

    def _information(
        self,
        left: Float[np.ndarray, "draw row"],
        right: Float[np.ndarray, "draw row"],
        is_best: Float[np.ndarray, "draw target"],
    ) -> Float[np.ndarray, "row"]:
        """The information between the answer and the best mode, summed over the situations that it is asked of.

        Args:
            left, right: the utilities of two clips in every situation.
            is_best: situation by situation, for every mode, whether it is the best there.
        """
        p = np.exp(self._log_likelihood(left - right, (left + right) / 2))
        p = (1 - self.noise) * p + self.noise / len(ANSWERS)
        together = p.transpose(0, 2, 1) @ is_best / len(left)  # (answer, row, target and mode)
        apart = p.mean(axis=1)[:, :, None] * is_best.mean(axis=0)
        return (together * np.log((together + 1e-30) / (apart + 1e-30))).sum(axis=(0, 2))


def random_pair(n_situations: int, n_clips: int, *, seed: int) -> Pair:
    """Any situation and any two clips: what asking cleverly is compared with.

    Raises:
        ConfigError: no situations, or fewer than two clips.
    """
    if n_situations < 1 or n_clips < 2:
        raise ConfigError(
            f"A pair needs at least one situation and two clips; got {n_situations} and {n_clips}. Offer more."
        )
    generator = named_generator(seed, "random pair")
    left, right = generator.choice(n_clips, size=2, replace=False)
    return Pair(int(generator.integers(n_situations)), int(left), int(right), 0.0)


def preferences_from_json(content: Any, where: str) -> Preferences:
    """What `Preferences.to_json` gave.

    Args:
        content: a JSON value.
        where: it came from, for the message.

    Raises:
        DataError: another format or a newer version, or parts that are missing or damaged.
    """
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
        raise DataError(f"{where} must say format {_FORMAT!r}, version {_VERSION}; it does not. {_REMEDY}")
    try:
        found = Preferences(
            int(content["n_modes"]),
            int(content["n_features"]),
            prior_deviation=float(content["prior_deviation"]),
            tie=float(content["tie"]),
            noise=float(content["noise"]),
        )
        for entry in content["answers"]:
            features = np.array(entry["features"], dtype=np.float64)
            found = found.answered(features, entry["left"], entry["right"], cast(Answer, entry["answer"]))
    except (KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{where} must be whole; {said:.300}. {_REMEDY}") from None
    return found
