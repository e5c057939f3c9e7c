"""Two kinds of evidence of a mode: what is done, p(a[t] | s[t]), and where it leads, p(s[t + h] - s[t] | s[t]).

The second is the talk's transition with longer steps: h is a tenth and three tenths of a span, and all that is left of
it. What a kind is worth follows from the data: neighbouring steps say almost the same where transitions overlap or
hands move smoothly, so a step counts for one over the time in which its residuals are correlated; and all that is left
of a span is one observation.

Source: the talk's transitions, Eloundou 2021. Departs: of several lengths, and beside what is done.
"""

from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Evidence", "EvidenceKind", "Recorded", "correlation_time_steps", "kinds_of_evidence"]

_HORIZON_SHARES = (0.1, 0.3)
"""Horizons of the transitions, as shares of the median span."""
_N_COMPONENTS = 8
"""The most principal components that a transition is told in."""
ACTION_FLOOR, TRANSITION_FLOOR = 1e-3, 0.1
"""The least variance of a prediction, in units of the target's own. Where a transition is known to a third of its
deviation, more precision says how well the world was modelled, not who acted."""
_LEAST_CORRELATION, _MOST_LAGS = 0.05, 200


@final
@dataclass(frozen=True, eq=False)
class Recorded:
    """What a search sees of demonstrations, in scaled units.

    Attributes:
        rows: (row, obs) every observation; a stretch of T steps has T + 1 of them.
        row_of_step: (step,) the row that an action was taken on.
        actions: (step, act).
        spans: (step,) the stretch that shares one mode, 0, 0, ..., 1, 1, ..., without gaps: episodes, or windows.
    """

    rows: Float[Tensor, "row obs"]
    row_of_step: Int[Tensor, "step"]
    actions: Float[Tensor, "step act"]
    spans: Int[Tensor, "step"]

    @property
    def states(self) -> Float[Tensor, "step obs"]:
        """The observation of every step."""
        return self.rows[self.row_of_step]

    @property
    def lengths(self) -> Int[Tensor, "span"]:
        """The steps of every span."""
        return torch.bincount(self.spans)

    def of_spans(self, chosen: Int[Tensor, "chosen"]) -> "Recorded":
        """The chosen spans alone, in their order of time, numbered anew."""
        number = torch.full((int(self.spans[-1]) + 1,), -1)
        number[chosen] = torch.arange(len(chosen))
        kept = torch.nonzero(number[self.spans] >= 0)[:, 0]
        return Recorded(self.rows, self.row_of_step[kept], self.actions[kept], number[self.spans[kept]])

    def first_steps(self, n_steps: int) -> "Recorded":
        """The beginning of every span, at most so many steps of each."""
        kept = torch.arange(len(self.spans)) - (self.lengths.cumsum(0) - self.lengths)[self.spans] < n_steps
        if bool(kept.all()):
            return self
        return Recorded(self.rows, self.row_of_step[kept], self.actions[kept], self.spans[kept])


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """One kind of evidence, read from some demonstrations.

    Attributes:
        targets: (step, target) what a mode must predict from the state, of about unit variance.
        weights: (step,) how many independent observations a step counts for, in [0, 1]; 0 where there is no target.
    """

    targets: Float[Tensor, "step target"]
    weights: Float[Tensor, "step"]


@final
@dataclass(frozen=True, eq=False)
class EvidenceKind:
    """How one kind of evidence is read from demonstrations.

    Attributes:
        name: "actions", "transitions over h steps" or "transitions to the end".
        floor: the least variance of a prediction.
        n_targets: the width of what is predicted.
        share: what a step's weight is multiplied by, since residuals are correlated; in (0, 1].
        horizon_steps: h; None for actions, and for what is left of a span.
        columns: (target,) the action columns that are predicted; None for all of them, and for transitions.
        centre: (obs,) the mean transition; None for actions.
        directions: (obs, target) whitened principal components of a transition; None for actions.
    """

    name: str
    floor: float
    n_targets: int
    share: float = 1.0
    horizon_steps: int | None = None
    columns: Int[Tensor, "target"] | None = None
    centre: Float[Tensor, "obs"] | None = None
    directions: Float[Tensor, "obs target"] | None = None

    @property
    def says_something_of_a_step(self) -> bool:
        """Whether it is read from about a step's own time, and not from all that is left of a span."""
        return self.centre is None or self.horizon_steps is not None

    def read(self, recorded: Recorded) -> Evidence:
        """Targets and weights of every step."""
        if self.centre is None or self.directions is None:
            actions = recorded.actions if self.columns is None else recorded.actions[:, self.columns]
            return Evidence(actions, self.weights(recorded))
        moves = _transitions(recorded, self.horizon_steps)
        return Evidence((moves - self.centre) @ self.directions, self.weights(recorded))

    def weights(self, recorded: Recorded) -> Float[Tensor, "step"]:
        """How many independent observations each step counts for."""
        if self.centre is None:
            return torch.full((len(recorded.actions),), self.share)
        return _weights(recorded, self.horizon_steps) * self.share

    def thinned(self, recorded: Recorded, residuals: Float[Tensor, "step target"]) -> "EvidenceKind":
        """The same, where a step counts for at most one over the correlation time of what a model leaves unexplained.

        Args:
            recorded: the demonstrations.
            residuals: the targets less what a model of every span predicts.
        """
        if self.centre is not None and self.horizon_steps is None:
            return self  # one observation a span already
        weights = self.weights(recorded)
        most = 1 / correlation_time_steps(residuals, weights > 0, recorded.spans)
        return replace(self, share=self.share * min(1.0, most / float(weights.max())))


def kinds_of_evidence(
    recorded: Recorded, asked: Literal["both", "actions", "transitions"] = "both"
) -> tuple[EvidenceKind, ...]:
    """The kinds of evidence that demonstrations hold; a transition over h steps counts for 1 / h of an observation.

    An action column that never changes (an idle gripper) is no evidence: what a network leaves of it is its own noise,
    which would be taken for a residual that is correlated over a long time.

    Args:
        recorded: the demonstrations.
        asked: which are wanted.
    """
    found = [] if asked == "transitions" else [_action_kind(recorded.actions)]
    if asked != "actions":
        median = float(torch.bincount(recorded.spans).double().median())
        horizons = sorted({max(1, round(share * median)) for share in _HORIZON_SHARES})
        found += [k for h in (*horizons, None) if (k := _transition_kind(recorded, h)) is not None]
    return tuple(found)


def _action_kind(actions: Float[Tensor, "step act"]) -> EvidenceKind:
    """What is done, in the columns that change; in all, where none does."""
    columns = torch.nonzero((actions != actions[:1]).any(0))[:, 0]
    if len(columns) in (0, actions.shape[1]):
        return EvidenceKind("actions", ACTION_FLOOR, actions.shape[1])
    return EvidenceKind("actions", ACTION_FLOOR, len(columns), columns=columns)


def _steps_left(recorded: Recorded) -> Int[Tensor, "step"]:
    return torch.bincount(recorded.spans).cumsum(0)[recorded.spans] - torch.arange(len(recorded.spans))


def _transitions(recorded: Recorded, horizon_steps: int | None) -> Float[Tensor, "step obs"]:
    """s[t + h] - s[t], shorter at a span's end; to the end without a horizon."""
    left = _steps_left(recorded)
    steps = left if horizon_steps is None else left.clamp_max(horizon_steps)
    return recorded.rows[recorded.row_of_step + steps] - recorded.rows[recorded.row_of_step]


def _weights(recorded: Recorded, horizon_steps: int | None) -> Float[Tensor, "step"]:
    """1 / h, and 0 where a transition is cut short by the span's end; 1 / T to the end."""
    if horizon_steps is None:
        return 1 / torch.bincount(recorded.spans)[recorded.spans].float()
    return (_steps_left(recorded) >= horizon_steps).float() / horizon_steps


def _transition_kind(recorded: Recorded, horizon_steps: int | None) -> EvidenceKind | None:
    """Principal components of transitions, whitened; those below a thousandth of the first are left out.

    None where no span is that long, or nothing moves.
    """
    moves, weights = _transitions(recorded, horizon_steps), _weights(recorded, horizon_steps)
    total = weights.sum()
    if total == 0:
        return None
    centre = (moves * weights[:, None]).sum(0) / total
    centred = moves - centre
    variances, directions = torch.linalg.eigh(((centred * weights[:, None]).T @ centred / total).double())
    kept = variances.argsort(descending=True)[:_N_COMPONENTS]
    kept = kept[variances[kept] > max(1e-3 * float(variances[kept[0]]), 1e-8)]
    if not len(kept):
        return None
    name = "transitions to the end" if horizon_steps is None else f"transitions over {horizon_steps} steps"
    whiten = (directions[:, kept] / variances[kept].sqrt()).float()
    return EvidenceKind(name, TRANSITION_FLOOR, len(kept), 1.0, horizon_steps, None, centre, whiten)


def correlation_time_steps(residuals: Float[Tensor, "step target"], there: Tensor, spans: Int[Tensor, "step"]) -> float:
    """1 + 2 sum over lags of the autocorrelation within spans, up to the lag where it falls below 0.05; at least 1.

    The mean over targets.

    Source: integrated autocorrelation time, Sokal 1997 (Monte Carlo methods in statistical mechanics), section 3.
    """
    scaled = residuals / residuals[there].square().mean(0).sqrt().clamp_min(1e-6)
    total = torch.ones(scaled.shape[1])
    going_on = torch.ones(scaled.shape[1], dtype=torch.bool)
    for lag in range(1, min(_MOST_LAGS, len(scaled))):
        pairs = (spans[lag:] == spans[:-lag]) & there[lag:] & there[:-lag]
        if pairs.sum() < 50:
            break
        correlation = (scaled[lag:] * scaled[:-lag] * pairs[:, None]).sum(0) / pairs.sum()
        going_on &= correlation > _LEAST_CORRELATION
        if not going_on.any():
            break
        total = total + 2 * correlation * going_on
    return float(total.mean())
