"""How many modes: what one more adds to the evidence on spans left out, and where that ends.

One more mode is supported where it explains left-out spans better by more than three standard errors, and by more than
a fiftieth of all that modes explain so far: with enough data a difference of no account is significant, too. The mean
of all spans must say so, as it does of a rare mode, which means much to few; or the trimmed mean, and by a twentieth: a
mode that means something to most spans is one, though a few odd ones gain or lose more than all others.

What is left out is scored by predictors that never saw it, of groups that were found with it in sight; of enough
directions one always looks like two groups. So what is not plain (seven standard errors) is found again from half of
the spans (three quarters, where they are few), nothing of the others in sight, and must gain there, too, by two
standard errors of the same mean. Where either mean will do, the plain one is told.

Source: cross-validated likelihood for the number of components, Smyth 2000 (Statistics and Computing 10), with a
standard error over spans.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float

__all__ = [
    "CountEvidence",
    "CountOfModes",
    "HeldOut",
    "Walk",
    "WithinModes",
    "are_as_good",
    "are_clearly_better",
    "is_gain",
]

STANDARD_ERRORS, LEAST_SHARE, LEAST_TRIMMED_SHARE, PATIENCE = 3.0, 0.02, 0.05, 2
PLAIN_ERRORS, AGAIN_ERRORS = 7.0, 2.0
FEW_SPANS, OPEN_NATS = 10, 4.0
_ROUNDING_NATS = 0.01
"""Log-likelihoods are sums in float32: where episodes repeat one another, what a mode adds to each may be one and the
same last digit, whose standard error is 0."""
LEAST_WITHIN, MUCH_WITHIN, TRIMMED, CLEARLY_ERRORS = 0.1, 0.25, 0.1, 2.5
"""Trials of docs/experiments.md, 20."""


@final
@dataclass(frozen=True, eq=False)
class HeldOut:
    """The best K modes of a search.

    Attributes:
        n_modes: K.
        log_likelihoods: (span,) each span's under the mixture of the half that it is not in, in nats.
    """

    n_modes: int
    log_likelihoods: Float[np.ndarray, "span"]


@final
@dataclass(frozen=True)
class CountEvidence:
    """What K modes explain of left-out spans.

    Attributes:
        n_modes: K.
        gain_nats: over one mode, the mean of a span.
        step_nats: over K - 1 modes; None for one mode.
        step_error: its standard error over spans; None with one span.
        supported: whether the K-th mode is.
        again_nats: the same step, found from a part of the spans and scored on the others; None where not asked. The
            trimmed mean, where trimmed_nats is there.
        again_error: its standard error over spans.
        trimmed_nats: the trimmed mean of the step, where that decides; else None.
        trimmed_error: its standard error.
    """

    n_modes: int
    gain_nats: float
    step_nats: float | None
    step_error: float | None
    supported: bool
    again_nats: float | None = None
    again_error: float | None = None
    trimmed_nats: float | None = None
    trimmed_error: float | None = None

    @property
    def added(self) -> tuple[float, float] | None:
        """The step and its standard error, found again where that was asked; None where they are not known."""
        if self.again_nats is not None and self.again_error is not None:
            return self.again_nats, self.again_error
        return None if self.step_nats is None or self.step_error is None else (self.step_nats, self.step_error)


@final
@dataclass(frozen=True)
class CountOfModes:
    """What the evidence says of the number of modes.

    Attributes:
        n_supported: the number that it supports.
        n_spans: the spans that it rests on.
        counts: what was compared, by number.
    """

    n_supported: int
    n_spans: int
    counts: tuple[CountEvidence, ...]

    @property
    def are_few(self) -> bool:
        """Whether there are too few spans to count modes: a standard error over them says little."""
        return self.n_spans < FEW_SPANS

    @property
    def open(self) -> CountEvidence | None:
        """The next number, where the evidence neither supports it nor rules it out; None where it does either.

        A mode more than is supported is open where it adds more than its standard error, more than a few nats, and
        more than nothing beside all that modes explain: by groups found from other spans, where that was asked. It is
        open, too, where its standard error is as large as what it adds or takes, or larger, and one such error more
        would be as much.
        """
        following = next((c for c in self.counts if c.n_modes == self.n_supported + 1), None)
        if following is None or following.added is None:
            return None
        added, error = following.added
        may_add = added + error if abs(added) <= error else added
        return following if may_add > max(OPEN_NATS, LEAST_SHARE * following.gain_nats) else None

    @property
    def sureness(self) -> float | None:
        """How many standard errors separate the last mode that is supported from nothing; None for one mode."""
        last = next((c for c in self.counts if c.n_modes == self.n_supported), None)
        if last is None:
            return None
        nats, error = last.step_nats, last.step_error
        if last.trimmed_nats is not None:
            nats, error = last.trimmed_nats, last.trimmed_error
        return nats / error if nats is not None and error else None

    def verdict(self, asked: int | None = None) -> str:
        """One sentence, for people.

        Args:
            asked: the number that a person asked for; None where it was left open.
        """
        n, following = self.n_supported, self.open
        if self.are_few:
            there = "is 1" if (asked or n) == 1 else f"are {asked or n}"
            return (
                f"{self.n_spans} spans are too few to count modes: that there {there} may be chance. Bring more "
                "demonstrations, or say how many modes there are, where that is known."
            )
        found = "The evidence supports " + ("one behaviour" if n == 1 else f"{n} modes")
        if self.sureness is not None:
            found += f" (the last of them by {self.sureness:.1f} standard errors, on {self.n_spans} spans)"
        if asked is not None and asked < n:
            several = "Some modes hold several behaviours, or several habits of one expert"
            return f"{found}: {asked} are too few, by {n - asked}. {several}."
        if following is not None and following.added is not None:
            nats, error = following.added
            again = f"found again from a part of the {self.n_spans} spans, " if following.again_nats is not None else ""
            added = (
                f"{again}the last of {following.n_modes} would add {nats:.1f} nats a span (standard error {error:.1f})"
            )
            return f"{found}, and does not rule out more: {added}" + ("." if again else f", on {self.n_spans} spans.")
        if asked is not None and asked > n:
            return f"{found}: {asked} are too many, by {asked - n}. Some modes are parts of one behaviour."
        return f"{found}." if n > 1 else f"{found}: these demonstrations look like one."


@final
@dataclass(frozen=True)
class WithinModes:
    """How far the demonstrations of one mode differ among themselves, as far as one number of each explains it.

    Attributes:
        gain_nats: what a left-out span's log-likelihood gains where each has a number of its own within its mode (see
            `modes.varying`): a trimmed mean, since an odd span may gain more than all others together.
        gain_error: its standard error over spans; None with one span.
        modes_nats: what the modes explain without it, over one mode; a trimmed mean.
        is_modelled: whether modes are told apart, and counted, beside the number.
    """

    gain_nats: float
    gain_error: float | None
    modes_nats: float
    is_modelled: bool = False

    @classmethod
    def of(cls, gain: Float[np.ndarray, "span"], of_modes: Float[np.ndarray, "span"]) -> "WithinModes":
        """From what every span gains by a number of its own, and by the modes."""
        return cls(*_known(_trimmed(gain)), _trimmed(of_modes)[0])

    @property
    def is_there(self) -> bool:
        """Whether it is more than chance, and not nothing beside what the modes explain: a tenth of it."""
        return self._is_more_than(LEAST_WITHIN)

    @property
    def is_much(self) -> bool:
        """Whether it is more than chance, and a quarter of what the modes explain."""
        return self._is_more_than(MUCH_WITHIN)

    def _is_more_than(self, share: float) -> bool:
        if self.gain_error is None:
            return False
        return _is_above((self.gain_nats, self.gain_error), STANDARD_ERRORS, share * self.modes_nats)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)


@final
class Walk:
    """Compares neighbouring numbers of modes, and no more of them than the answer needs."""

    def __init__(
        self, held_out_of: Callable[[int], HeldOut], again_of: Callable[[int], HeldOut] | None = None, *, most: int
    ) -> None:
        """Args:
        held_out_of: finds the best K modes.
        again_of: finds K modes from a part of the spans, and scores the others; None takes what is not plain as it is.
        most: the largest K to try.
        """
        self._of, self._again_of, self._most = held_out_of, again_of, most
        self._known: dict[int, HeldOut] = {}
        self._again: dict[int, HeldOut] = {}

    def whole(self) -> CountOfModes:
        """From one mode up, until two more in a row add nothing."""
        return self._upwards(1)

    def around(self, asked: int) -> CountOfModes:
        """From the asked number up while more are supported; if it is not itself, down to where one is."""
        lowest = asked
        while lowest > 1 and not self._supported(lowest):
            lowest -= 1
        return self._upwards(lowest, patience=1 if lowest == asked else 0)

    def _upwards(self, lowest: int, patience: int = PATIENCE) -> CountOfModes:
        supported = n_modes = lowest
        while n_modes < min(supported + patience, self._most):
            n_modes += 1
            if self._supported(n_modes):
                supported = n_modes
        while supported > 1 and not self._confirmed(supported):
            supported -= 1
            while supported > 1 and not self._supported(supported):
                supported -= 1
        n_spans = len(self._held_out(1).log_likelihoods)
        counts = tuple(self._evidence(k, supported) for k in sorted(self._known))
        return CountOfModes(supported, n_spans, counts)

    def _held_out(self, n_modes: int) -> HeldOut:
        if n_modes not in self._known:
            self._known[n_modes] = self._of(n_modes)
        return self._known[n_modes]

    def _found_again(self, n_modes: int) -> HeldOut:
        if n_modes not in self._again:
            assert self._again_of is not None
            self._again[n_modes] = self._again_of(n_modes)
        return self._again[n_modes]

    def _step(self, n_modes: int) -> Float[np.ndarray, "span"]:
        fewer = self._held_out(n_modes - 1).log_likelihoods  # first: a mode of theirs split is a start of K modes
        return self._held_out(n_modes).log_likelihoods - fewer

    def _supported(self, n_modes: int) -> bool:
        """Whether the mode that comes last adds anything over one fewer."""
        return bool(self._clear_means(n_modes))

    def _clear_means(self, n_modes: int) -> list["_Mean"]:
        step = self._step(n_modes)
        return _clear_means(step, self._held_out(n_modes).log_likelihoods - self._held_out(1).log_likelihoods)

    def _confirmed(self, n_modes: int) -> bool:
        """Whether a supported mode is plain, or is found again from a part of the spans."""
        clear = self._clear_means(n_modes)
        if self._again_of is None or _above(self._step(n_modes), PLAIN_ERRORS, clear):
            return True
        return bool(_above(self._step_again(n_modes), AGAIN_ERRORS, clear))

    def _step_again(self, n_modes: int) -> Float[np.ndarray, "span"]:
        fewer = self._found_again(n_modes - 1).log_likelihoods  # first: a mode of theirs split is a start of K modes
        return self._found_again(n_modes).log_likelihoods - fewer

    def _evidence(self, n_modes: int, n_supported: int) -> CountEvidence:
        here = self._held_out(n_modes).log_likelihoods
        gain = float((here - self._held_out(1).log_likelihoods).mean())
        if n_modes - 1 not in self._known:
            return CountEvidence(n_modes, gain, None, None, supported=n_modes == 1)
        step, clear, step_again = self._step(n_modes), self._clear_means(n_modes), None
        enough = _above(step, PLAIN_ERRORS, clear)
        if {n_modes, n_modes - 1} <= set(self._again):
            step_again = self._step_again(n_modes)
            enough += _above(step_again, AGAIN_ERRORS, clear)
        decides = [*enough, *clear, _plain][0]
        again = (None, None) if step_again is None else _known(decides(step_again))
        trimmed = _known(_trimmed(step)) if decides is _trimmed else (None, None)
        supported = n_modes <= n_supported and bool(clear)
        return CountEvidence(n_modes, gain, *_known(_plain(step)), supported, *again, *trimmed)


def is_gain(step: Float[np.ndarray, "span"], so_far: Float[np.ndarray, "span"]) -> bool:
    """Whether a step is more than chance, and more than nothing beside all that modes explain so far, by the mean of
    spans or by their trimmed mean.

    Args:
        step: what a mode adds to each span's log-likelihood, in nats.
        so_far: what all modes add, this one with them.
    """
    return bool(_clear_means(step, so_far))


def are_clearly_better(step: Float[np.ndarray, "span"], so_far: Float[np.ndarray, "span"]) -> bool:
    """Whether other groups of spans explain more: as `is_gain`, by trimmed means and 2.5 standard errors. With a number
    for each span, many groups explain almost as much, and an odd span would decide among them.

    Args:
        step: what the other groups add to each span's log-likelihood, in nats.
        so_far: what the modes that they would replace add.
    """
    return _is_above(_trimmed(step), CLEARLY_ERRORS, LEAST_SHARE * _trimmed(so_far)[0])


def are_as_good(step: Float[np.ndarray, "span"]) -> bool:
    """Whether a trimmed mean of spans is explained no worse; see `are_clearly_better`."""
    return _trimmed(step)[0] >= 0


_Mean = Callable[[Float[np.ndarray, "span"]], tuple[float, float]]
"""A mean of spans, and its standard error."""


def _clear_means(step: Float[np.ndarray, "span"], so_far: Float[np.ndarray, "span"]) -> list[_Mean]:
    """By which means a step is more than chance, and its share of all more than nothing. (Of all, also where what a few
    spans gain is most of it, and trimmed away.)"""
    least = LEAST_SHARE * _plain(so_far)[0]
    least_trimmed = max(least, LEAST_TRIMMED_SHARE * _trimmed(so_far)[0])
    return [
        mean
        for mean, at_least in ((_plain, least), (_trimmed, least_trimmed))
        if _is_above(mean(step), STANDARD_ERRORS, at_least)
    ]


def _above(step: Float[np.ndarray, "span"], errors: float, means: list[_Mean]) -> list[_Mean]:
    """Those of some means by which a step is so many standard errors above nothing."""
    return [mean for mean in means if _is_above(mean(step), errors, 0.0)]


def _is_above(mean: tuple[float, float], errors: float, least: float) -> bool:
    """Whether a mean is more than so many of its standard errors, more than a least, and more than rounding."""
    return mean[0] > max(errors * mean[1], least, _ROUNDING_NATS)


def _known(mean: tuple[float, float]) -> tuple[float, float | None]:
    """A mean, and its standard error; None where one span tells none."""
    return mean[0], mean[1] if math.isfinite(mean[1]) else None


def _plain(values: Float[np.ndarray, "span"]) -> tuple[float, float]:
    """The mean, and its standard error."""
    return float(values.mean()), _standard_error(values)


def _trimmed(values: Float[np.ndarray, "span"]) -> tuple[float, float]:
    """The mean without the tenth that is highest and the tenth that is lowest, and its standard error.

    Source: Yuen 1974 (Biometrika 61), the winsorised deviation of a trimmed mean.
    """
    from scipy.stats import mstats, trim_mean

    if len(values) < 2:
        return float(values.mean()), math.inf
    error = mstats.trimmed_stde(values.astype(np.float64), (TRIMMED, TRIMMED), (True, True))
    return float(trim_mean(values, TRIMMED)), float(error)


def _standard_error(values: Float[np.ndarray, "span"]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
