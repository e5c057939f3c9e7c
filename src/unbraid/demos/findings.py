"""What `demos.check` says: faults of a data set, each with its episode and its remedy."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["CheckReport", "Finding"]


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        severity: "error" for what makes results wrong, "warning" for what deserves a look.
        code: a short name of the kind of fault, e.g. "not-finite".
        field: the array, with the column where it is one column's fault.
        message: what must hold, and what came.
        remedy: what to do.
        episode: the first episode that has it, or None where the whole data set has it.
    """

    severity: Literal["error", "warning"]
    code: str
    field: str
    message: str
    remedy: str
    episode: int | None = None


@dataclass(frozen=True)
class CheckReport:
    """What `check_demos` found.

    Attributes:
        findings: errors first.
        n_episodes, n_steps: how much was looked at.
        saturated_shares: for each actuator, the share of steps on which it was at a bound; 0 where it has two values
            alone (a gripper that is open or shut): it is discrete, and has nowhere else to be.
    """

    findings: tuple[Finding, ...]
    n_episodes: int
    n_steps: int
    saturated_shares: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; there may be warnings."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"ok": self.ok} | asdict(self)
