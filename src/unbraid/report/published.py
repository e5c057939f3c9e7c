"""The confusion tables that the talk published, as they ship with the package."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

__all__ = ["PUBLISHED_GRADIENT_STEPS", "PublishedTable", "published_by_setting", "published_source", "published_tables"]

PUBLISHED_GRADIENT_STEPS = 50_000
"""Gradient steps behind the published tables: 1000 epochs of at least 50 steps each."""


@dataclass(frozen=True)
class PublishedTable:
    """One published confusion table.

    Attributes:
        delta_steps: the time step of the state transition.
        n_modes: how many codes.
        percent: each expert's sampled transitions, in percent per code; the experts in published order.
        nmi: normalised mutual information, computed from the table (one seed; no interval can be given).
        purity: share of samples in the majority expert of their code, computed from the table.
    """

    delta_steps: int
    n_modes: int
    percent: dict[str, tuple[int, ...]]
    nmi: float
    purity: float


def _content() -> dict[str, Any]:
    text = resources.files("unbraid.report").joinpath("data", "memo_confusion.json").read_text(encoding="utf-8")
    return json.loads(text)


def published_source() -> str:
    """Where the tables were published, and what they count."""
    content = _content()
    return f"{content['source']}. {content['what']}"


def published_tables() -> list[PublishedTable]:
    """The eight published tables: time steps 1 and 5, each with 2 to 5 codes.

    Source: Eloundou, "Multiple Experts, Multiple Objectives", 2021.
    """
    content = _content()
    return [
        PublishedTable(
            delta_steps=table["delta_steps"],
            n_modes=table["n_modes"],
            percent={expert: tuple(table[expert]) for expert in content["experts"]},
            nmi=table["nmi"],
            purity=table["purity"],
        )
        for table in content["tables"]
    ]


def published_by_setting() -> dict[tuple[int, int], PublishedTable]:
    """The published tables by (delta_steps, n_modes)."""
    return {(table.delta_steps, table.n_modes): table for table in published_tables()}
