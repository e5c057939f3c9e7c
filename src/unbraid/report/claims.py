"""What a run's results amount to, in a sentence: the same words for the page and the terminal."""

from collections.abc import Mapping
from typing import Any

from unbraid.report.estimates import (
    SCORE_DECIMALS,
    as_estimate,
    count_text,
    counted,
    decimals_of,
    estimate_text,
    interval_text,
    shared_n_text,
    spelled,
    value_text,
)

__all__ = [
    "ONE_LABEL",
    "SCORES",
    "again_text",
    "as_good_counts",
    "changes_text",
    "difference_texts",
    "headline",
    "likelihood_text",
    "match_of",
    "scores_text",
    "search_texts",
    "step_text",
    "steps_share_text",
    "within_text",
]

SCORES = {"nmi": "NMI", "ari": "ARI", "accuracy": "accuracy", "purity": "purity", "episode_nmi": "episode NMI"}
"""Scores of agreement by their key in `results.json`, in the words of a table."""

ONE_LABEL = (
    "Modes change within episodes here, while an episode has one label: what another expert does in it counts as "
    "wrong, so that scores against the labels may be low however well the changes were found."
)
"""What stands beside scores of modes that change within episodes."""


def changes_text(changes: Mapping[str, Any]) -> str:
    """Whether experts take over from one another within an episode, and what that explains of left-out ones."""
    error = _error_text(changes["gain_error"])
    gains = f"a left-out episode gains {value_text(changes['gain_nats'])} nats{error} where its mode may change"
    if changes["n_changes"]:
        told = counted(changes["n_changes"], "changes")
        return f"Experts take over from one another within episodes: {told}; {gains}."
    if changes.get("alike_nats") is not None:
        gains += f", and {value_text(changes['alike_nats'])} where all modes scatter alike, too"
    if changes.get("within_nats") is not None:
        gains += f"; {value_text(changes['within_nats'])} where it may not, but may be faster or slower as a whole, say"
    return f"No change of expert is seen within an episode: {gains}."


def within_text(within: Mapping[str, Any]) -> str:
    """How far the demonstrations of one mode differ among themselves, where it is much."""
    error = _error_text(within["gain_error"])
    alone = value_text(max(within["modes_nats"], 0.0))
    return (
        "Demonstrations of one mode differ among themselves: one number of each (a speed, say) explains "
        f"{value_text(within['gain_nats'])} nats{error} more of a left-out one, where the modes alone explain {alone}. "
        "Modes are told apart beside that number, and counted beside it. A fit with --style on learns it."
    )


def search_texts(search: Mapping[str, Any]) -> list[str]:
    """What a search says: the verdict, changes within episodes, and how far the episodes of a mode differ."""
    changes = [changes_text(search["changes"])] if search.get("changes") else []
    within = [within_text(search["within"])] if (search.get("within") or {}).get("is_modelled") else []
    return [search["verdict"], *changes, *within]


def scores_text(scored: Mapping[str, Any]) -> str:
    """The scores of a table in words: "NMI 0.551 [0.511, 0.591]; purity 0.612 [0.590, 0.634]; n = 20 episodes"."""
    scores = {words: scored[key] for key, words in SCORES.items() if scored.get(key) is not None}
    shared = shared_n_text(scores.values())
    if not shared:
        return "; ".join(f"{words} {estimate_text(score, SCORE_DECIMALS)}" for words, score in scores.items())
    said = [
        f"{words} {value_text(score, SCORE_DECIMALS)} {interval_text(score, SCORE_DECIMALS)}".strip()
        for words, score in scores.items()
    ]
    return "; ".join([*said, shared])


def _answer_text(as_good: bool | None) -> str:
    return {True: "as good", False: "not as good", None: "not judged"}[as_good]


def difference_texts(
    difference: Any, *, as_good: bool | None, margin: float | int | None
) -> tuple[str, str, str, str] | None:
    """A paired difference as (value, interval, margin, answer); the margin "" where there is none.

    None where the difference is not estimable.
    """
    estimate = as_estimate(difference)
    if estimate["value"] is None:
        return None
    allowed = "" if margin is None else f"margin ±{value_text(margin)}"
    return value_text(estimate), interval_text(estimate), allowed, _answer_text(as_good)


def as_good_counts(results: Mapping[str, Any]) -> tuple[int, int]:
    """How many comparisons of a mode with its expert say "as good", and how many were made."""
    modes = (results.get("behaviour") or {}).get("modes") or []
    answers = [answer for mode in modes for answer in (mode.get("as_good") or {}).values() if answer is not None]
    return sum(map(bool, answers)), len(answers)


def headline(results: Mapping[str, Any]) -> str:
    """The result in one line: how many experts, how many modes, and whether the modes are as good."""
    n_experts = len(results.get("experts") or ())
    n_modes = (results.get("unbraid") or {}).get("n_modes") or len((results.get("behaviour") or {}).get("modes") or [])
    modes = f"{spelled(n_modes).lower() if n_experts else spelled(n_modes)} mode{'' if n_modes == 1 else 's'}"
    if not n_modes:
        return "A run without modes"
    if not n_experts:
        n_episodes = (results.get("data") or {}).get("n_episodes")
        return f"{modes} found in {counted(n_episodes, 'episodes')}" if n_episodes else f"{modes} found"
    opening = f"{spelled(n_experts)} expert{'' if n_experts == 1 else 's'}, {modes}"
    n_good, n_compared = as_good_counts(results)
    if not n_compared:
        return opening
    if n_good == n_compared and set((match_of(results) or {}).values()) == set(results["experts"]):
        return f"{opening}: each mode as good as its expert"
    return f"{opening}: {n_good} of {n_compared} comparisons with an expert as good"


def match_of(results: Mapping[str, Any]) -> dict[int, str] | None:
    """The expert that each mode matches, None unless every mode has one."""
    modes = (results.get("behaviour") or {}).get("modes") or []
    match = {mode["mode"]: mode["expert"] for mode in modes if mode.get("expert") is not None}
    return match if match and len(match) == len(modes) else None


_TRIMMED = "trimmed mean "


def step_text(count: Mapping[str, Any]) -> str:
    """What the last of K modes adds, in nats, with its standard error: "113 ± 2"; "" where that was not compared. Where
    the trimmed mean decides, that, too."""
    step = _with_error(count.get("step_nats"), count.get("step_error"))
    trimmed = _with_error(count.get("trimmed_nats"), count.get("trimmed_error"))
    return f"{step}; {_TRIMMED}{trimmed}" if trimmed else step


def likelihood_text(fitted: Mapping[str, Any]) -> str:
    """What the log-likelihood of held-out episodes is, and its unit; `fitted` is what `results.json` says of a fit."""
    changing = fitted.get("log_likelihood_under") == "changing_modes"
    under = "modes that change as the demonstrations' do" if changing else "the mode that explains an episode best"
    return f"under {under}, nats a step"


def again_text(count: Mapping[str, Any]) -> str:
    """The same of modes found from a part of the episodes, scored on the others; "" where that was not asked."""
    again = _with_error(count.get("again_nats"), count.get("again_error"))
    return f"{_TRIMMED}{again}" if again and count.get("trimmed_nats") is not None else again


def _error_text(error: float | None) -> str:
    """A standard error in a sentence, which names it: everything in brackets beside it is a 95 % interval."""
    return "" if error is None else f" (standard error {value_text(error)})"


def _with_error(step: float | None, error: float | None) -> str:
    if step is None:
        return ""
    if error is None:
        return f"{value_text(step)}, standard error not estimable"
    decimals = decimals_of({"value": step, "low": error})
    return f"{value_text(step, decimals)} ± {value_text(error, decimals)}"


def steps_share_text(gradient_steps: int, published_gradient_steps: int) -> str:
    """The gradient steps taken, and their share of the published number."""
    share = 100.0 * gradient_steps / published_gradient_steps
    return (
        f"{count_text(gradient_steps)} gradient steps, {share:.3g} % of the published "
        f"{count_text(published_gradient_steps)}"
    )
