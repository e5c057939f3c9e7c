"""The run's own fit: the talk's table for it, its agreement with the experts, and how training went."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from unbraid.report.chapters.building import confusion_table, drawn, estimate_cell
from unbraid.report.claims import ONE_LABEL, SCORES, scores_text, steps_share_text
from unbraid.report.estimates import SCORE_DECIMALS, count_text, counted, estimate_text, n_text
from unbraid.report.figures import Agreement, Training, agreement_figure, code_usage_figure, loss_figure
from unbraid.report.published import PUBLISHED_GRADIENT_STEPS, published_by_setting
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Card, Cards, Cell, Paragraph, Picture, Row, Section, Table
from unbraid.report.style import MUTED, mode_color

__all__ = ["own_method", "training"]

_EVIDENCE = {"combined": "encoder and policy", "encoder": "encoder alone"}
_WHOSE = {"talk": "the talk's method"}


def own_method(record: RunRecord) -> Section | None:
    """Each expert's windows by mode, in the talk's tables, and the agreement of modes and experts at every level."""
    own = record.unbraid
    if not own.get("tables") and not own.get("agreement"):
        return None
    blocks: list[Block] = [Paragraph(_in_short(record))]
    if record.changes:
        blocks.append(Paragraph(ONE_LABEL))
    if own.get("tables"):
        blocks.append(Cards(tuple(_window_card(record, table) for table in own["tables"])))
    if record.experts:
        blocks += _agreement_picture(record)
    if own.get("agreement"):
        blocks.append(_agreement_table(record))
    return Section("own", _title(record), tuple(blocks))


def _title(record: RunRecord) -> str:
    if record.method != "unbraid":
        return "The talk's method in tables"
    return "Modes and experts" if _is_alone(record) else "unbraid's own method, the same tables"


def _is_alone(record: RunRecord) -> bool:
    """Whether nothing of the talk's stands beside it, with which it could be compared."""
    return record.method == "unbraid" and not record.talk


def _in_short(record: RunRecord) -> str:
    """What the tables show; of a talk's method, and beside one, what the method reads a mode off."""
    config = record.config
    if _is_alone(record):
        return (
            "Which mode the experts' windows are read as, on demonstrations that no training saw. The experts' labels "
            "are read for these tables alone."
        )
    if record.method == "unbraid":
        return (
            "unbraid keeps the talk's shape and asks what a code is for: a mode is told apart by what is done and by "
            "where it leads. It reads a window of consecutive steps, not one transition."
        )
    delta = counted(config.get("delta_steps", 1), "steps")
    if config.get("encoder", "transition") == "transition":
        read = f"one transition, from a state to that {delta} later"
    else:
        many = counted(config["window_steps"], "transitions") if "window_steps" in config else "many transitions"
        read = f"a window of up to {many} ({config['encoder']}), each from a state to that {delta} later"
    return (
        f"This fit is of the talk's method. It reads a mode off {read}; a mode is told apart by where its steps lead, "
        "as far as a code helps to draw the transition again, and no search counts modes."
    )


def _window_card(record: RunRecord, table: Mapping[str, Any]) -> Card:
    experts, own, steps = record.experts, record.unbraid, ""
    if not _is_alone(record) and own.get("gradient_steps") is not None:
        steps = steps_share_text(own["gradient_steps"], PUBLISHED_GRADIENT_STEPS)
    length = counted(table["window_steps"], "steps")
    here = confusion_table(
        record.method,
        experts,
        table["percent"],
        note=scores_text(table),
        counts=table.get("counts"),
        estimates=table.get("percent_estimates"),
    )
    n_modes = table.get("n_modes") or own.get("n_modes") or len(table["percent"][0])
    return Card(f"{counted(n_modes, 'modes')}, windows of {length}", steps, (here,))


def _level_text(entry: Mapping[str, Any]) -> str:
    if entry["level"] != "window":
        return str(entry["level"])
    return f"windows of {counted(entry['window_steps'], 'steps')}"


def _agreement_table(record: RunRecord) -> Table:
    agreement: Sequence[Mapping[str, Any]] = record.unbraid["agreement"]
    scores = [key for key in SCORES if any(entry.get(key) is not None for entry in agreement)]
    rows = tuple(
        Row(
            _level_text(entry),
            (
                Cell(_EVIDENCE.get(entry.get("evidence", ""), entry.get("evidence") or "all")),
                *(
                    estimate_cell(entry[key], SCORE_DECIMALS) if entry.get(key) is not None else Cell("not measured")
                    for key in scores
                ),
                Cell(_sample_size(entry, scores)),
            ),
        )
        for entry in agreement
    )
    return Table(
        caption=f"Agreement of {'unbraid' if record.method == 'unbraid' else 'the talk'}'s modes with the experts",
        corner="level",
        columns=("evidence", *(SCORES[key] for key in scores), "n"),
        rows=rows,
        note="In brackets: 95 % intervals. 1 is perfect; NMI and ARI are about 0 by chance.",
    )


def _sample_size(entry: Mapping[str, Any], scores: Sequence[str]) -> str:
    first = next((entry[key] for key in scores if entry.get(key) is not None), None)
    return n_text(first).removeprefix("n = ")


def _agreement_picture(record: RunRecord) -> tuple[Picture, ...]:
    published = {setting: table.nmi for setting, table in published_by_setting().items()}
    rows = [
        Agreement(
            f"talk, K = {table['n_modes']}, time step {table['delta_steps']}",
            table["nmi"],
            MUTED,
            published.get((table["delta_steps"], table["n_modes"])),
        )
        for table in record.talk.get("tables") or []
        if table.get("nmi") is not None
    ]
    windows = [table for table in record.unbraid.get("tables") or [] if table.get("nmi") is not None]
    tabled = {table["window_steps"] for table in windows}
    color = mode_color(0)
    method = record.method
    rows += [
        Agreement(f"{method}, {counted(table['window_steps'], 'steps')}", table["nmi"], color) for table in windows
    ]
    measured = [
        entry
        for entry in record.unbraid.get("agreement") or []
        if entry.get("nmi") is not None
        and not (entry.get("evidence") == "combined" and entry.get("window_steps") in tabled)
    ]
    # of each kind of evidence windows first, as above, and whole episodes last
    measured.sort(key=lambda entry: (entry.get("evidence") == "encoder", entry["level"] != "window"))
    rows += [Agreement(_agreement_name(method, entry), entry["nmi"], color) for entry in measured]
    if not rows:
        return ()
    spoken = "; ".join(f"{row.name} {estimate_text(row.score, SCORE_DECIMALS)}" for row in rows)
    return (
        drawn(
            "agreement",
            lambda layout: agreement_figure(rows, layout),
            alt=f"Normalised mutual information with the experts, one dot with its interval per row: {spoken}.",
            caption="Who tells the experts apart, and at which level: NMI with the experts' labels, which training "
            "never saw.",
        ),
    )


def _agreement_name(method: str, entry: Mapping[str, Any]) -> str:
    level = counted(entry["window_steps"], "steps") if entry["level"] == "window" else entry["level"]
    return f"{method}, {level}{', encoder' if entry.get('evidence') == 'encoder' else ''}"


def training(record: RunRecord) -> Section | None:
    """Losses with their named terms, and the use of the codes, for every fit of the run."""
    own, talk = record.moments_of("unbraid"), record.moments_of("talk")
    sections: list[Section] = []
    if own:
        pictures = _pictures(record.method, [Training(record.method, own, color=mode_color(0))])
        told = (*_seen(record.unbraid), *_order(record.unbraid), *_head(record.unbraid), *_imitation(record.unbraid))
        blocks = (_speed(own), *told, *pictures)
        title = "unbraid's fit" if record.method == "unbraid" else "The fit of the talk's method"
        sections.append(Section(f"training-{'unbraid' if record.method == 'unbraid' else 'own'}", title, blocks))
    if talk:
        fits = _talk_fits(talk)
        title = f"The talk's method, {counted(len(fits), 'fits')}"
        sections.append(Section("training-talk", title, _pictures("talk", fits)))
    return Section("training", "How training went", (), tuple(sections)) if sections else None


def _speed(moments: Sequence[Mapping[str, Any]]) -> Paragraph:
    last = moments[-1]
    speed = last.get("samples_per_s")
    said = f" It saw {count_text(speed)} samples a second at the end." if speed is not None else ""
    return Paragraph(f"{counted(last['step'], 'gradient steps')}.{said}", tone="note")


def _seen(own: Mapping[str, Any]) -> tuple[Paragraph, ...]:
    """What the networks see of observations with many columns."""
    components = (own.get("search") or {}).get("components")
    if components is None:
        return ()
    return (
        Paragraph(
            f"An observation has {counted(components['n_columns'], 'columns')}. The networks see "
            f"{counted(components['n_components'], 'principal components')} of them, for so many columns would be "
            "learned by heart. (`--observation-components` asks for more or fewer.)"
        ),
    )


def _order(own: Mapping[str, Any]) -> tuple[Paragraph, ...]:
    """Whether the encoder sees the order of steps, where that was in question."""
    encoder = (own.get("search") or {}).get("encoder") or {}
    if "trial" not in encoder:
        return ()
    trial, taken = encoder["trial"], encoder["encoder"] != "mean"
    misread = trial["misread"]
    said = (
        f"Of {counted(trial['n_left_out'], 'demonstrations')} left out that the search was sure of, an encoder that "
        f"does not see the order of steps misread {misread['mean']}, and one that does {misread['window_mlp']}. "
    )
    verdict = "So that one was taken (`window_mlp`)." if taken else "So the first was kept."
    return (Paragraph(said + verdict),)


def _head(own: Mapping[str, Any]) -> tuple[Paragraph, ...]:
    """Whether the policy is a Gaussian or a mixture, and what spoke for it."""
    head = (own.get("search") or {}).get("policy_head") or {}
    if not head:
        return ()
    what = {"mixture": "a mixture of five Gaussians", "tanh": "a tanh-Gaussian"}.get(head["head"], "a Gaussian")
    if "trial" not in head:
        return (Paragraph(f"The policy is {what} for every state and mode."),)
    trial = head["trial"]
    better = "likelier" if trial["gain_nats"] >= 0 else "less likely"
    error = "" if trial["standard_error"] is None else f" (standard error {trial['standard_error']:.2g})"
    missed = " and ".join(f"{value:.3g}" for value in trial["missed"])
    return (
        Paragraph(
            f"The policy is {what} for every state and mode. Of demonstrations left out, an action inside its bounds "
            f"was {abs(trial['gain_nats']):.2g} nats{error} {better} by a mixture of five Gaussians than by one, after "
            f"a short trial of both; their mean actions were off by {missed} standard deviations."
        ),
    )


def _imitation(own: Mapping[str, Any]) -> tuple[Paragraph, ...]:
    """How far the policy errs on demonstrations that it did not see, and whether it was refined for that."""
    refining = (own.get("search") or {}).get("refining") or {}
    pilot = refining.get("pilot") or {}
    if "before" not in pilot:
        return ()
    tried = {name: error for name, error in pilot.items() if name != "before"}
    best = min(tried, key=lambda name: tried[name])
    said = (
        f"On demonstrations left out, a policy's mean action was off by {pilot['before']:.3g} standard deviations "
        f"after the joint fit, and by {tried[best]:.3g} after a short pilot of refining the policy alone ({best} "
        "loss). "
    )
    refined = f"the policy was refined for {counted(refining['n_steps'], 'more gradient steps')}"
    if refining.get("asked"):
        said += f"As asked, {refined}. "
    else:
        said += f"So {refined}. " if refining["n_steps"] else "So it was not refined. "
    return (Paragraph(said + "What is left is what limits a mode where errors add up over a long episode."),)


def _talk_fits(moments: Sequence[Mapping[str, Any]]) -> list[Training]:
    """One `Training` per number of codes and time step; the number sets the colour, the time step the dashes."""
    fits: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for moment in moments:
        fits.setdefault((moment.get("delta_steps", 1), moment.get("n_modes", 0)), []).append(moment)
    counts = sorted({n_modes for _, n_modes in fits})
    colors = colormaps["viridis"]
    shade = {n: to_hex(colors(0.85 * i / max(len(counts) - 1, 1))) for i, n in enumerate(counts)}
    return [
        Training(f"K = {n_modes}, time step {delta}" if n_modes else "talk", logged, shade[n_modes], dashed=delta != 1)
        for (delta, n_modes), logged in sorted(fits.items())
    ]


def _pictures(method: str, fits: Sequence[Training]) -> tuple[Picture, ...]:
    whose = _WHOSE.get(method, method)
    terms = ", ".join(dict.fromkeys(term for fit in fits for moment in fit.moments for term in moment["terms"]))
    ends = "; ".join(
        f"{fit.name} at {count_text(fit.moments[-1]['step'])} steps: "
        + ", ".join(f"{term} {value:.3g}" for term, value in fit.moments[-1]["terms"].items() if value is not None)
        for fit in fits
    )
    loss = drawn(
        f"loss_{method}",
        lambda layout: loss_figure(fits, layout),
        alt=f"The loss of {whose} and its terms ({terms}) against gradient steps. {ends}.",
        caption=f"The loss of {whose}, and each of its named terms: {terms}.",
    )
    using = [fit for fit in fits if sum(bool(moment.get("code_usage")) for moment in fit.moments) > 1]
    if not using:
        return (loss,)
    shares = "; ".join(
        f"{fit.name}: " + ", ".join(f"{100 * share:.0f} %" for share in _last_usage(fit)) for fit in using
    )
    usage = drawn(
        f"code_usage_{method}",
        lambda layout: code_usage_figure(using, layout),
        alt=f"Share of samples that each code of {whose} takes, over training. At the end, code by code: {shares}.",
        caption=f"Use of the codes of {whose} over training: a code that vanishes is dead.",
    )
    return (loss, usage)


def _last_usage(fit: Training) -> Sequence[float]:
    return next(moment["code_usage"] for moment in reversed(fit.moments) if moment.get("code_usage"))
