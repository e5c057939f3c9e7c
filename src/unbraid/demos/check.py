"""The doctor: what is wrong with a data set, each fault with its episode and its remedy.

`check_demos` looks at every row and reports; `require_fit_ready` raises for what a fit cannot take. Row counts (T + 1
observations for T actions) are checked already when `Demos` are made, so here alignment means that episodes are cut
where they truly ended.
"""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, require_demos
from unbraid.demos.far_values import first_faults, is_rounded
from unbraid.demos.findings import CheckReport, Finding
from unbraid.demos.selection import Selection

__all__ = ["bounds_kept_to", "check_demos", "require_fit_ready"]

_CHUNK_ROWS = 16384
_SAMPLE_ROWS = 10_000
_SATURATED_SHARE = 0.5
_EXPLODING_RATIO, _SURELY_EXPLODING_RATIO = 1e3, 1e6
_TOO_LARGE = 1e18  # its square is more than float32 can hold


def check_demos(demos: Demos) -> CheckReport:
    """Looks at every row of `demos`, in chunks, and says what is wrong.

    Codes: "no-episodes", "one-episode", "two-episodes", "empty-episode", "duplicated-episode", "not-finite",
    "constant-column", "exploding-column", "far-action", "rounded-action", "bounds", "out-of-bounds",
    "saturated-actuator", "repeated-final-observation", "foreign-final-observation".
    """
    require_demos(demos)
    if demos.n_episodes == 0:
        nothing = Finding("error", "no-episodes", "lengths", "There must be an episode; there is none.", "Record some.")
        return CheckReport((nothing,), 0, 0, ())
    findings = [*_about_episodes(demos), *_about_duplicates(demos)]
    with np.errstate(over="ignore", invalid="ignore"):
        for field in ("observations", "actions", "rewards", "costs"):
            values = getattr(demos, field)
            if values is not None and len(values):
                findings += _about_values(demos, field, values.reshape(len(values), -1))
        exploding = {finding.field for finding in findings if finding.code == "exploding-column"}
        findings += [finding for finding in _about_far_actions(demos) if finding.field not in exploding]
        findings += _about_rounded_actions(demos)
        findings += _about_bounds(demos)
        shares = _saturated_shares(demos)
        findings += _about_saturation(shares)
        findings += _about_final_observations(demos)
    findings.sort(key=lambda finding: finding.severity != "error")
    return CheckReport(tuple(findings), demos.n_episodes, demos.n_steps, tuple(float(share) for share in shares))


def require_fit_ready(
    demos: Demos | Selection, *, window_steps: int | None, n_modes: int, of_episodes: bool = False
) -> None:
    """Raises for demonstrations or settings that no fit can take; reads every row once.

    Args:
        demos: what is to be fitted; rewards and costs are not looked at, a fit never reads them. Of a selection,
            messages count the episodes of all its demonstrations.
        window_steps: the steps of a window, or None where each episode is one window. Episodes shorter than the
            window have no mode of their own and are tolerated, as long as two others are long enough.
        n_modes: K; at most the number of windows that do not overlap, or of episodes that have steps.
        of_episodes: whether modes are told apart by whole episodes, so that there is one for each at least.

    Raises:
        ConfigError: fewer than 2 modes, a window of no steps, more modes than windows or than episodes.
        DataError: fewer than 2 episodes, no actions, NaN or infinities, episodes shorter than the window.
    """
    require_demos(demos, Selection)
    if n_modes < 2:
        raise ConfigError(
            f"n_modes must be at least 2; got {n_modes}. With one mode there is nothing to tell apart: ask for 2 or "
            'more, or "auto".'
        )
    if window_steps is not None and window_steps < 1:
        raise ConfigError(f"A window must have at least 1 step; got {window_steps}. Ask for a longer one.")
    if demos.n_episodes < 2:
        raise DataError(
            f"A fit must have at least 2 episodes; got {demos.n_episodes}. Record more, or cut the recording where it "
            "starts anew."
        )
    if demos.action_size == 0 or demos.observation_size == 0:
        raise DataError(
            "A fit must have observations and continuous actions; got "
            f"{demos.observation_size} and {demos.action_size} columns. Record both."
        )
    enough = 1 if window_steps is None else window_steps
    n_long_enough = int((demos.lengths >= enough).sum())
    if n_long_enough < 2:
        second = int(np.sort(demos.lengths)[-2])
        remedy = "Record" if second == 0 else f"Use a window of at most {_steps(second)} (--delta-steps), or record"
        raise DataError(
            f"At least 2 episodes must have the {_steps(enough)} of a window; {n_long_enough} of {demos.n_episodes} "
            f"have (the longest has {_steps(int(demos.lengths.max()))}). {remedy} longer episodes."
        )
    n_with_steps = int(np.count_nonzero(demos.lengths))
    if of_episodes and n_modes > n_with_steps:
        raise ConfigError(
            f"n_modes must be at most the number of episodes, as a mode needs one at least; got {n_modes} modes for "
            f"{n_with_steps} episodes with steps. Ask for fewer modes, or bring more demonstrations."
        )
    n_windows = n_long_enough if window_steps is None else int((demos.lengths // window_steps).sum())
    if n_modes > n_windows:
        raise ConfigError(
            f"n_modes must be at most the number of windows; got {n_modes} modes for {n_windows} windows of "
            f"{window_steps or 'whole'} {'steps' if window_steps else 'episodes'}. Ask for fewer modes, or record more."
        )
    whole = demos.demos if isinstance(demos, Selection) else demos
    chosen = demos.episodes if isinstance(demos, Selection) else None
    for field in ("observations", "actions"):
        bad = _first_not_finite(whole, field, getattr(whole, field), chosen)
        if bad is not None:
            raise DataError(f"{bad.message} {bad.remedy}")


def bounds_kept_to(demos: Demos) -> tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]] | None:
    """(low, high) of actions, as declared; None where nothing is, or an action lies beyond: then either is at fault.
    Reads every action once."""
    bounds = _bounds(demos)
    if bounds is None or not np.isfinite(bounds).any() or _about_bounds(demos):
        return None
    return bounds


# How each check works


def _chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    return (np.asarray(values[start : start + _CHUNK_ROWS]) for start in range(0, len(values), _CHUNK_ROWS))


def _column(demos: Demos, field: str, column: int) -> str:
    if field in ("rewards", "costs"):
        return field
    if field == "observations" and demos.observation_names:
        return f"observations[{column}] ({demos.observation_names[column]})"
    return f"{field}[{column}]"


def _steps(n_steps: int) -> str:
    return f"{n_steps} step" if n_steps == 1 else f"{n_steps} steps"


def _and_more(n_episodes: int) -> str:
    return "" if n_episodes < 2 else f", and {n_episodes - 1} other episode{'s' if n_episodes > 2 else ''}"


def _episodes_of(demos: Demos, field: str, rows: Int[np.ndarray, "row"]) -> Int[np.ndarray, "row"]:
    """(row,) the episode that each row of a field belongs to."""
    starts = demos.row_starts if field == "observations" else demos.step_starts
    return np.searchsorted(starts, rows, side="right") - 1


def _about_episodes(demos: Demos) -> list[Finding]:
    found: list[Finding] = []
    empty = np.flatnonzero(demos.lengths == 0)
    n_with_steps = demos.n_episodes - len(empty)
    if len(empty):
        message = f"Every episode should have a step; episode {empty[0]} has none{_and_more(len(empty))}."
        remedy = "A fit passes over them. To leave them out: `demos.select(numpy.flatnonzero(demos.lengths))`."
        found.append(Finding("warning", "empty-episode", "lengths", message, remedy, int(empty[0])))
    if n_with_steps < 2:
        of_steps = "" if demos.n_episodes == n_with_steps else " that have a step"
        message = f"There must be at least 2 episodes{of_steps}; there {'is 1' if n_with_steps else 'is none'}."
        remedy = "Record more, or cut the recording where it starts anew."
        found.append(Finding("error", "one-episode", "lengths", message, remedy))
    elif n_with_steps == 2:
        message = "There should be more than 2 episodes, so that one can be held out; there are 2."
        remedy = "Record more, or fit both: `unbraid fit --held-out 0`."
        found.append(Finding("warning", "two-episodes", "lengths", message, remedy))
    return found


def _about_duplicates(demos: Demos) -> list[Finding]:
    first_with: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    rows, steps = demos.row_starts.tolist(), demos.step_starts.tolist()
    for i in np.flatnonzero(demos.lengths).tolist():
        digest = hashlib.blake2b(np.ascontiguousarray(demos.observations[rows[i] : rows[i + 1]]).data, digest_size=16)
        digest.update(np.ascontiguousarray(demos.actions[steps[i] : steps[i + 1]]).data)
        first = first_with.setdefault(digest.digest(), i)
        if first != i:
            pairs.append((first, i))
    if not pairs:
        return []
    message = (
        f"Every episode must be there once; episode {pairs[0][1]} repeats episode {pairs[0][0]}, number for number"
        f"{_and_more(len(pairs))}."
    )
    remedy = "Remove the copies: an episode that is both fitted and held out makes every score too good."
    return [Finding("warning", "duplicated-episode", "observations", message, remedy, pairs[0][1])]


def _rows_where(
    table: Float[np.ndarray, "row column"], wanted: Callable[[np.ndarray], Bool[np.ndarray, "rows_of_chunk"]]
) -> Int[np.ndarray, "found"]:
    """(found,) the rows of a table that are as wanted, looked for chunk by chunk."""
    found = [np.flatnonzero(wanted(chunk)) + i * _CHUNK_ROWS for i, chunk in enumerate(_chunks(table))]
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])


def _first_not_finite(
    demos: Demos, field: str, values: np.ndarray, chosen: Int[np.ndarray, "chosen"] | None = None
) -> Finding | None:
    """Of all episodes, or of the chosen ones."""
    table = values.reshape(len(values), -1)
    bad = _rows_where(table, lambda chunk: ~np.asarray(np.isfinite(chunk).all(axis=1)))
    episodes = _episodes_of(demos, field, bad)
    if chosen is not None:
        there = np.isin(episodes, chosen)
        bad, episodes = bad[there], episodes[there]
    if len(bad) == 0:
        return None
    row = int(bad[0])
    episode = int(episodes[0])
    start = (demos.row_starts if field == "observations" else demos.step_starts)[episode]
    column = int((~np.isfinite(table[row])).argmax())
    message = (
        f"`{field}` must be finite; episode {episode} holds {table[row, column]} at step {row - start} in "
        f"{_column(demos, field, column)}{_and_more(len(np.unique(episodes)))}."
    )
    remedy = "Leave the episode out, or repair the recording: a missing value is never guessed."
    return Finding("error", "not-finite", field, message, remedy, episode)


def _about_values(demos: Demos, field: str, table: Float[np.ndarray, "row column"]) -> list[Finding]:
    """NaN and infinities, columns that never change, columns that explode."""
    bad = _first_not_finite(demos, field, table)
    found = [] if bad is None else [bad]
    lowest, highest = _extremes(table, finite=bad is None)
    constant = np.flatnonzero(lowest == highest)
    if field in ("observations", "actions") and len(constant) and len(table) > 1:
        names = ", ".join(_column(demos, field, int(c)) for c in constant[:8])
        more = f" and {len(constant) - 8} more" if len(constant) > 8 else ""
        message = f"Every column should change; {names}{more} never {'do' if len(constant) > 1 else 'does'}."
        remedy = "Harmless if the sensor is idle in this task; otherwise see whether it was recorded."
        found.append(Finding("warning", "constant-column", field, message, remedy))
    return found + _about_explosions(demos, field, table, np.fmax(np.abs(lowest), np.abs(highest)))


def _extremes(
    table: Float[np.ndarray, "row column"], *, finite: bool
) -> tuple[Float[np.ndarray, "column"], Float[np.ndarray, "column"]]:
    """The lowest and highest finite value of each column; NaN where there is none."""
    low, high = [], []
    for chunk in _chunks(table):
        if not finite:
            chunk = np.where(np.isfinite(chunk), chunk, np.nan)
        low.append(np.fmin.reduce(chunk, axis=0))
        high.append(np.fmax.reduce(chunk, axis=0))
    return np.fmin.reduce(low, axis=0), np.fmax.reduce(high, axis=0)


def _about_explosions(
    demos: Demos, field: str, table: Float[np.ndarray, "row column"], largest: Float[np.ndarray, "column"]
) -> list[Finding]:
    """Columns whose largest value dwarfs all but a hundredth of a sample of the others."""
    sample = np.abs(np.asarray(table[:: max(len(table) // _SAMPLE_ROWS, 1)], dtype=np.float64))
    usual = np.quantile(np.where(np.isfinite(sample), sample, 0.0), 0.99, axis=0)
    largest = np.nan_to_num(largest, nan=0.0)
    ratio = np.where(largest > _TOO_LARGE, np.inf, largest.astype(np.float64) / np.where(usual > 0, usual, 1.0))
    found: list[Finding] = []
    for column in np.flatnonzero(ratio > _EXPLODING_RATIO).tolist():
        row = _first_row(table, lambda chunk, c=column: np.abs(chunk[:, c]) == largest[c])
        episode = int(_episodes_of(demos, field, np.array([row]))[0])
        message = (
            f"{_column(demos, field, column)} should keep its magnitude; episode {episode} holds "
            f"{table[row, column]:.6g} where 99 % of the values lie within {usual[column]:.3g}."
        )
        severity = "error" if ratio[column] > _SURELY_EXPLODING_RATIO else "warning"
        remedy = "Leave the episode out, or look for a sensor fault, a change of units or a diverging simulation."
        found.append(Finding(severity, "exploding-column", field, message, remedy, episode))
    return found


def _first_row(
    table: Float[np.ndarray, "row column"], wanted: Callable[[np.ndarray], Bool[np.ndarray, "rows_of_chunk"]]
) -> int:
    for i, chunk in enumerate(_chunks(table)):
        hits = wanted(chunk)
        if hits.any():
            return i * _CHUNK_ROWS + int(hits.argmax())
    return 0


def _about_far_actions(demos: Demos) -> list[Finding]:
    """Single actions so far beyond the others that a fit takes them for faults."""
    if demos.n_steps == 0 or not np.isfinite(_extremes(demos.actions, finite=True)).all():
        return []
    found: list[Finding] = []
    for column, row in first_faults(demos.actions, demos.n_episodes, _CHUNK_ROWS).items():
        episode = int(_episodes_of(demos, "actions", np.array([row]))[0])
        message = (
            f"{_column(demos, 'actions', column)} should lie near its other values; episode {episode} holds "
            f"{demos.actions[row, column]:.6g} at step {row - demos.step_starts[episode]}. A fit takes it for the "
            "furthest of the others."
        )
        remedy = "Leave the episode out, or look for a fault of the recording."
        found.append(Finding("warning", "far-action", "actions", message, remedy, episode))
    return found


def _about_rounded_actions(demos: Demos) -> list[Finding]:
    """Columns of actions that lie so far from 0 that no fit takes them."""
    table = demos.actions
    if table.dtype.itemsize <= 4 or len(table) == 0:  # float32 has been rounded already
        return []
    first = np.asarray(table[0])  # so that a column that never changes has a deviation of 0
    mean = first + np.sum([(chunk - first).sum(0) for chunk in _chunks(table)], axis=0) / len(table)
    variance = np.sum([np.square(chunk - mean).sum(0) for chunk in _chunks(table)], axis=0) / len(table)
    return [
        Finding(
            "error",
            "rounded-action",
            "actions",
            f"{_column(demos, 'actions', column)} must lie near 0 beside how much it varies, as a fit computes with "
            f"float32; its values lie around {mean[column]:g}, and would be rounded.",
            "Take that number away from the column, and add it to what the policy does.",
        )
        for column in np.flatnonzero(is_rounded(mean, np.sqrt(variance))).tolist()
    ]


def _about_bounds(demos: Demos) -> list[Finding]:
    if demos.action_low is None and demos.action_high is None:
        return []
    bounds, size = _bounds(demos), demos.action_size
    if bounds is None:
        message = (
            f"Bounds must be a lower and a higher number for each of {size} actuators; got {demos.action_low} and "
            f"{demos.action_high}."
        )
        return [Finding("error", "bounds", "action_low", message, "Give the environment's action_space bounds.")]
    low, high = bounds
    slack = 1e-6 * np.maximum(1.0, np.minimum(np.abs(low), np.abs(high)))

    def outside(actions: np.ndarray) -> np.ndarray:
        return np.isfinite(actions) & ((actions < low - slack) | (actions > high + slack))

    rows = _rows_where(demos.actions, lambda chunk: np.asarray(outside(chunk).any(axis=1)))
    if len(rows) == 0:
        return []
    row, column = int(rows[0]), int(outside(demos.actions[rows[0]]).argmax())
    episodes = _episodes_of(demos, "actions", rows)
    message = (
        f"actions[{column}] must lie in [{low[column]:g}, {high[column]:g}]; episode {episodes[0]} holds "
        f"{demos.actions[row, column]:g} at step {row - demos.step_starts[episodes[0]]}"
        f"{_and_more(len(np.unique(episodes)))} ({len(rows) / demos.n_steps:.1%} of all steps)."
    )
    remedy = "Record the action that was applied (clip it, if the environment does), or correct the bounds."
    return [Finding("error", "out-of-bounds", f"actions[{column}]", message, remedy, int(episodes[0]))]


def _bounds(demos: Demos) -> tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]] | None:
    low, high = demos.action_low, demos.action_high
    if low is None or high is None or not (low < high).all():
        return None
    return low, high


def _saturated_shares(demos: Demos) -> Float[np.ndarray, "act"]:
    """For each actuator, the share of steps at a bound; where the bounds are unknown, at its own extremes.

    0 for one that never changes, or has two values alone.
    """
    if demos.n_steps == 0:
        return np.zeros(demos.action_size)
    lowest, highest = (e.astype(np.float64) for e in _extremes(demos.actions, finite=False))
    low, high = _bounds(demos) or (lowest, highest)
    slack = 1e-6 * np.maximum(1.0, np.where(np.isfinite(high - low), high - low, 1.0))
    at_bound = np.zeros(demos.action_size)
    between = np.zeros(demos.action_size, dtype=bool)  # whether there is a third value, between the two extremes
    for chunk in _chunks(demos.actions):
        at_bound += ((chunk <= low + slack) | (chunk >= high - slack)).sum(axis=0)
        between |= ((chunk > lowest) & (chunk < highest)).any(axis=0)
    return np.where(between, at_bound / demos.n_steps, 0.0)


def _about_saturation(shares: Float[np.ndarray, "act"]) -> list[Finding]:
    return [
        Finding(
            "warning",
            "saturated-actuator",
            f"actions[{actuator}]",
            f"An actuator should mostly work within its bounds; actions[{actuator}] is at one on "
            f"{shares[actuator]:.0%} of the steps.",
            "Let modes of unbraid's own method act by their mean: it reaches a bound, sampled actions often don't.",
        )
        for actuator in np.flatnonzero(shares > _SATURATED_SHARE).tolist()
    ]


def _about_final_observations(demos: Demos) -> list[Finding]:
    """Final observations that are copies of the one before, or belong to the next episode (an automatic reset)."""
    long = np.flatnonzero(demos.lengths >= 3)
    if len(long) < 2:
        return []
    last = demos.row_starts[long + 1] - 1
    final = _transition_sizes(demos, last - 1)
    steps = np.arange(0, demos.n_steps, max(demos.n_steps // _SAMPLE_ROWS, 1))
    sample = steps + _episodes_of(demos, "actions", steps)
    usual = _transition_sizes(demos, np.setdiff1d(sample, demos.row_starts[1:] - 2))
    if len(usual) == 0:
        return []
    found: list[Finding] = []
    repeated = final == 0
    if repeated.mean() > 0.5 and (usual == 0).mean() < 0.05:
        message = (
            "An episode's final observation must be what was seen after its last action; in "
            f"{repeated.sum()} of {len(long)} episodes it repeats the one before."
        )
        remedy = "Record the observation that the last step returned, or drop the last action of each episode."
        episode = int(long[repeated.argmax()])
        found.append(Finding("warning", "repeated-final-observation", "observations", message, remedy, episode))
    far = final > 10 * np.median(usual)
    if far.mean() > 0.8 and (usual > 10 * np.median(usual)).mean() < 0.01 and np.median(usual) > 0:
        message = (
            "An episode's final observation must be near the one before; in "
            f"{far.sum()} of {len(long)} episodes it jumps more than ten times as far as usual."
        )
        remedy = "It may be the next episode's first, after an automatic reset: record the final one, or drop it."
        episode = int(long[far.argmax()])
        found.append(Finding("warning", "foreign-final-observation", "observations", message, remedy, episode))
    return found


def _transition_sizes(demos: Demos, rows: Int[np.ndarray, "row"]) -> Float[np.ndarray, "row"]:
    """(row,) how far each of these observations is from the next, in standard deviations of the columns."""
    sample = np.asarray(demos.observations[:: max(len(demos.observations) // _SAMPLE_ROWS, 1)], dtype=np.float64)
    scale = np.where(np.isfinite(sample), sample, 0.0).std(axis=0)
    here = np.asarray(demos.observations[rows], dtype=np.float64)
    there = np.asarray(demos.observations[rows + 1], dtype=np.float64)
    moved = np.nan_to_num((there - here) / np.where(scale > 0, scale, 1.0), nan=1e6, posinf=1e6, neginf=1e6)
    return np.sqrt((moved**2).sum(axis=1))
