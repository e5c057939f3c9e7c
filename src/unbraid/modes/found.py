"""What a search for modes gives, and what it says of it in words."""

import dataclasses
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.modes.codebook import code_usage, perplexity
from unbraid.modes.selection import CountOfModes, WithinModes

__all__ = ["Found"]

_STABLE = 0.5


@final
@dataclass(frozen=True, eq=False)
class Found:
    """What a search gives.

    Attributes:
        responsibilities: (span, mode) of all spans; rows sum to 1.
        count: what the evidence says of the number of modes.
        gain_of_kind: kind of evidence -> what the modes add to it held out, in nats a span.
        stability_of: number of modes -> the mean adjusted Rand index between the best and what else EM made of the
            starts, the eight likeliest of them; of each number that was tried, above one.
        of_rivals: the least adjusted Rand index between these modes and what else EM made of the starts that explains
            left-out spans as well; None where nothing does.
        merge_into: (mode,) the group of each mode; modes whose union explains left-out spans as well share one.
        silhouette: of the latents under the modes, in [-1, 1]; None with one mode.
        origin: what proposed the modes.
        within: how far the demonstrations of one mode differ among themselves; None with one mode. Where that is
            modelled, all the rest is of modes that vary within themselves.
    """

    responsibilities: Float[Tensor, "span mode"]
    count: CountOfModes
    gain_of_kind: dict[str, float]
    stability_of: dict[int, float]
    of_rivals: float | None
    merge_into: tuple[int, ...]
    silhouette: float | None
    origin: str
    within: WithinModes | None = None

    def ordered(self, order: Int[Tensor, "mode"]) -> "Found":
        """The same modes under other numbers: the first is the one that was `order[0]`."""
        groups = [self.merge_into[old] for old in order.tolist()]
        number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        return dataclasses.replace(
            self,
            responsibilities=self.responsibilities[:, order],
            merge_into=tuple(number[group] for group in groups),
        )

    def _alike(self) -> list[list[int]]:
        """Modes that merge, where the count supports all of them: two tests that differ."""
        if self.count.are_few or len(self.merge_into) > self.count.n_supported:
            return []
        groups = [[mode for mode, of in enumerate(self.merge_into) if of == group] for group in set(self.merge_into)]
        return sorted(group for group in groups if len(group) > 1)

    def facts(self) -> dict[str, Any]:
        """All but the responsibilities, as JSON, with the perplexity of the modes' shares and warnings in words."""
        n_modes = self.responsibilities.shape[1]
        shares = code_usage(self.responsibilities.argmax(1), n_modes)
        return {
            "n_modes": n_modes,
            "n_supported": self.count.n_supported,
            "verdict": self.count.verdict(self.responsibilities.shape[1]),
            "is_decided": not self.count.are_few and (self.count.open is None or n_modes < self.count.n_supported),
            "sureness_standard_errors": None if self.count.are_few else self.count.sureness,
            "n_spans": self.count.n_spans,
            "counts": [
                dataclasses.asdict(count) | {"stability": self.stability_of.get(count.n_modes)}
                for count in self.count.counts
            ],
            "gain_of_kind_nats": self.gain_of_kind,
            "shares": shares.tolist(),
            "perplexity": perplexity(shares),
            "stability": self.stability_of.get(n_modes),
            "agreement_of_rivals": self.of_rivals,
            "merge_into": list(self.merge_into),
            "silhouette": self.silhouette,
            "origin": self.origin,
            "within": None if self.within is None else self.within.facts(),
            "warnings": _warnings(shares, self.of_rivals, self._alike()),
        }


def _warnings(shares: Float[Tensor, "mode"], of_rivals: float | None, alike: list[list[int]]) -> list[str]:
    """What a person should know before they trust the modes, each with a remedy."""
    found: list[str] = []
    for mode in torch.nonzero(shares == 0)[:, 0].tolist():
        found.append(f"Mode {mode} holds no demonstration: the codes collapsed. Ask for fewer modes, or for auto.")
    if of_rivals is not None and of_rivals < _STABLE:
        found.append(
            f"Another start of the search leads elsewhere (adjusted Rand index {of_rivals:.2f}), to modes that explain "
            "left-out spans as well. Compare two seeds, or bring more demonstrations."
        )
    for modes in alike:
        told = f"{', '.join(map(str, modes[:-1]))} and {modes[-1]}"
        found.append(
            f"Modes {told} could be one: together they explain left-out spans as well, though fewer modes found anew "
            "do not. Look at them before you trust the difference, or bring more demonstrations."
        )
    return found
