"""Several data sets as one: columns matched by name, and shares of the whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos, require_demos
from unbraid.demos.fields import kind_of
from unbraid.demos.left_out import VANISHED, with_left_out

__all__ = ["join_demos"]


def join_demos(
    demos: Sequence[Demos],
    *,
    weights: Sequence[float] | None = None,
    titles: Sequence[str] | None = None,
    generator: np.random.Generator | None = None,
) -> Demos:
    """The episodes of several data sets, one set behind the other, in memory.

    The first says which columns an observation has, and in which order; the columns of the others are matched to them
    by their names, and what others have beyond is left out. Where no data set names its columns, they must be equally
    many. Rewards, costs, seeds, labels and action bounds are kept where all have them (and agree on the bounds).
    `facts["left_out"]` says what was not.

    A weight is the share of the steps in the result, relative to the other weights. It is reached by leaving whole
    episodes out, drawn at random, of the data sets that have too many: none is repeated, so that no episode can be
    both fitted and held out. The shares are as near as whole episodes allow, and at least one episode of each stays.

    Args:
        demos: at least one.
        weights: one for each, above 0; by default all episodes are kept.
        titles: how messages call each; by default "source 0", ...
        generator: draws the episodes that stay; by default always the same ones.

    Raises:
        ConfigError: not one weight above 0 for each.
        DataError: no data sets, or what is none; other widths of actions; columns that a data set lacks, or that only
            some name.
    """
    if not isinstance(demos, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DataError(f"Demonstrations to join must come in a list; got {kind_of(demos)}. Write [demos, others].")
    called = list(titles) if titles is not None else [f"source {i}" for i in range(len(demos))]
    if len(demos) == 0 or len(called) != len(demos):
        raise DataError(f"There must be a data set to join, and a title for each; got {len(demos)} and {len(called)}.")
    for of in demos:
        require_demos(of)
    if weights is not None:
        demos = _weighted(demos, _checked(weights, len(demos)), generator or named_generator(0, "weights"))
    if len(demos) == 1:
        return demos[0]
    told: list[str] = []
    observations = [_matched(of, demos[0], (called[i], called[0]), told) for i, of in enumerate(demos)]
    for of, title in zip(demos, called, strict=True):
        if of.action_size != demos[0].action_size:
            raise DataError(
                f"The actions of {title} must be as wide as those of {called[0]}, {demos[0].action_size} columns; got "
                f"{of.action_size}. Load them apart."
            )
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(of, name) for of in demos]) for name in ("actions", "lengths", "terminated")
    }
    for name in ("rewards", "costs", "seeds"):
        lacking = [title for of, title in zip(demos, called, strict=True) if getattr(of, name) is None]
        arrays[name] = None if lacking else np.concatenate([getattr(of, name) for of in demos])
        if lacking and len(lacking) < len(demos):
            told.append(f"{lacking[0]} has no {name}: left out of all.")
    facts = _facts(demos, called)
    return Demos(
        observations=np.concatenate(observations),
        **arrays,
        **_labels(demos, called, told),
        **_bounds(demos, called, told),
        observation_names=demos[0].observation_names,
        facts=with_left_out(facts, *told) if told else facts,
    )


def _checked(weights: Sequence[float], n_sources: int) -> np.ndarray:
    try:
        shares = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        shares = np.array(np.nan)
    if shares.shape != (n_sources,) or not np.isfinite(shares).all() or (shares <= 0).any():
        raise ConfigError(
            f"Weights must be numbers above 0, one for each of {n_sources} data set{'s' * (n_sources > 1)}; got "
            f"{weights!r:.80}. Give one for each, in their order, or leave them out: then all episodes are kept."
        )
    return shares / shares.sum()


def _weighted(demos: Sequence[Demos], shares: np.ndarray, generator: np.random.Generator) -> list[Demos]:
    """The most steps in these shares that are there without repeating an episode."""
    n_steps = np.array([of.n_steps for of in demos])
    if (n_steps == 0).any():
        raise DataError("Every data set that gets a weight must have a step; one has none. Leave it out.")
    wanted = shares * (n_steps / shares).min()
    return [of.select(_drawn(of.lengths, want, generator)) for of, want in zip(demos, wanted, strict=True)]


def _drawn(
    lengths: Int[np.ndarray, "episode"], n_wanted: float, generator: np.random.Generator
) -> Int[np.ndarray, "chosen"]:
    """Episodes with about so many steps together, in the order in which they were."""
    order = generator.permutation(len(lengths))
    off = np.abs(np.cumsum(lengths[order]) - n_wanted)
    return np.sort(order[: int(off.argmin()) + 1])


def _matched(of: Demos, first: Demos, titles: tuple[str, str], told: list[str]) -> np.ndarray:
    """The observations of one data set with the columns of the first, in its order."""
    title, of_first = titles
    if of is first or (not of.observation_names and not first.observation_names):
        if of.observation_size != first.observation_size:
            raise DataError(
                f"The observations of {title} must be as wide as those of {of_first}, {first.observation_size} "
                f"columns, as no column has a name; got {of.observation_size}. Name the columns, or load them apart."
            )
        return of.observations
    unnamed = [t for t, demos in ((title, of), (of_first, first)) if not demos.observation_names]
    if unnamed:
        raise DataError(
            f"The columns of {unnamed[0]} must have names, as those of the other data set have; they have none. Name "
            "them in Python, save_demos(dataclasses.replace(demos, observation_names=...), path), and read that, or "
            "read them apart."
        )
    for t, demos in ((of_first, first), (title, of)):
        if len(set(demos.observation_names)) < len(demos.observation_names):
            raise DataError(
                f"The columns of {t} must have names of their own to be matched; some share one. Rename them."
            )
    missing = [name for name in first.observation_names if name not in of.observation_names]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"{title} must have the columns of {of_first}; it lacks {', '.join(missing[:5])}{more}. Choose the columns "
            "that both have, or load them apart."
        )
    beyond = [name for name in of.observation_names if name not in first.observation_names]
    if beyond:
        more = f" and {len(beyond) - 5} more" if len(beyond) > 5 else ""
        told.append(f"{title} has columns that {of_first} has not: {', '.join(beyond[:5])}{more} left out.")
    if of.observation_names == first.observation_names:
        return of.observations
    return of.observations[:, [of.observation_names.index(name) for name in first.observation_names]]


def _labels(demos: Sequence[Demos], titles: Sequence[str], told: list[str]) -> dict[str, Any]:
    lacking = [title for of, title in zip(demos, titles, strict=True) if of.labels is None]
    if lacking:
        if len(lacking) < len(demos):
            told.append(f"{lacking[0]} has no labels: left out of all.")
        return {}
    names = list(dict.fromkeys(name for of in demos for name in of.label_names))
    parts = [np.array([names.index(n) for n in of.label_names])[of.labels] for of in demos if of.labels is not None]
    return {"labels": np.concatenate(parts), "label_names": tuple(names)}


def _bounds(demos: Sequence[Demos], titles: Sequence[str], told: list[str]) -> dict[str, Any]:
    first = demos[0]
    for of, title in zip(demos, titles, strict=True):
        for name in ("action_low", "action_high"):
            ours, theirs = getattr(first, name), getattr(of, name)
            if (ours is None) != (theirs is None) or (ours is not None and not np.array_equal(ours, theirs)):
                told.append(f"{title} has other action bounds than {titles[0]}: left out of all.")
                return {}
    return {"action_low": first.action_low, "action_high": first.action_high}


def _facts(demos: Sequence[Demos], titles: Sequence[str]) -> dict[str, Any]:
    """What all say alike stays as it is; what each says alone is kept below `sources`, and so is what is counted."""
    alike = {
        k: v
        for k, v in demos[0].facts.items()
        if k not in (VANISHED, "sources") and all(k in of.facts and of.facts[k] == v for of in demos)
    }
    sources = [
        {"title": title, "n_episodes": of.n_episodes, "n_steps": of.n_steps}
        | {"facts": {k: v for k, v in of.facts.items() if k not in alike}}
        for of, title in zip(demos, titles, strict=True)
    ]
    return alike | {"sources": sources}
