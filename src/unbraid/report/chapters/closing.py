"""What the run does not show, and how to make it again."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from unbraid.report.claims import as_good_counts
from unbraid.report.estimates import counted
from unbraid.report.record import RunRecord
from unbraid.report.sections import Code, Facts, Folded, Paragraph, Section
from unbraid.training.config import FLAGS, METHODS

__all__ = ["limits", "reproduction"]

_NO_CHOICE = {"sharing": "window"}
"""What a setting may be that its flag does not offer."""


def limits(record: RunRecord) -> Section:
    """What must not be read into this page."""
    seed = (record.asked.get("provenance") or {}).get("seed")
    said = [
        f"Training ran once, with seed {seed}: the intervals say how sure each number is about this trained model, not "
        "how much another training seed would change it. Run with another --seed to see."
        if seed is not None
        else "Training ran once: no interval here says how much another training seed would change the numbers."
    ]
    if not record.experts:
        said.append("The data has no labels of who acted, so nothing here says whether a mode is one expert.")
    if record.behaviour.get("modes"):
        n_good, n_compared = as_good_counts(record.results)
        said.append(
            f"“As good” was asked in {counted(n_compared, 'comparisons')} and held in {n_good}. It means as good as an "
            "expert's own controller by the metrics listed; it does not mean that every movement is alike."
            if n_compared
            else "No mode was compared with an expert, so nothing here says whether one is as good."
        )
    else:
        said.append("Nothing was rolled out, so nothing here says how the modes act when they are steered.")
    if record.talk:
        said.append(
            "The talk's method is repeated small and for a share of its published steps, stated over each table; "
            + (
                "the run at the published sizes is there to tell the one from the other. "
                if record.talk.get("published_sizes")
                else "what it would do at its published sizes is not shown here. "
            )
            + "The published tables have one seed and count samples of the training data; ours are not their samples."
        )
    return Section("limits", "Limits", tuple(Paragraph(sentence) for sentence in said))


def reproduction(record: RunRecord) -> Section:
    """The command, the versions and the data's fingerprint: what makes the run again."""
    origin = record.asked.get("provenance") or {}
    command = shlex.join(_command(record.asked))
    facts = [
        ("data fingerprint", str(origin.get("data_fingerprint") or "not recorded")),
        ("Python", str(origin.get("python") or "not recorded")),
        ("machine", str(origin.get("machine") or "not recorded")),
        *((name, str(version)) for name, version in (origin.get("versions") or {}).items()),
    ]
    settings = tuple(_flat(record.asked.get("config") or {}))
    folded = (Folded("Every setting of this run", (Facts(settings),)),) if settings else ()
    is_demo = record.asked.get("command") == "demo"
    named = "" if is_demo else "DATA stands for the path of the demonstrations, RUN for a new folder. "
    beside = _without_a_flag(record.asked)
    told = f"Settings that have no flag are given in Python, or by a sweep: {'; '.join(beside)}. " if beside else ""
    intro = (
        f"The command that makes this run. {named}{told}The same versions on the same kind of machine give the same "
        "numbers, times apart; results.json in the run's folder holds every number that is measured here."
    )
    return Section("reproduce", "Make it again", (Paragraph(intro), Code(command), Facts(tuple(facts)), *folded))


def _command(asked: Mapping[str, Any]) -> list[str]:
    """The words of the command; how the data was read, as far as that was said, stands behind its verb."""
    verb, reading = asked.get("command", "fit"), dict(asked.get("reading") or {})
    words = ["unbraid", verb] if verb == "demo" else ["unbraid", verb, "DATA"]
    more = [f"DATA_{number + 2}" for number in range(reading.pop("n_more_demos", 0))]
    changed = _changed(asked)
    flags = ({"demos": more} if more else {}) | reading
    flags |= {name: changed[name] for name in FLAGS if name in changed and _is_offered(name, changed[name])}
    flags |= {name: asked[name] for name in ("held_out",) if asked.get(name) is not None}
    seed = (asked.get("provenance") or {}).get("seed")
    flags |= {} if seed is None else {"seed": seed}
    flags |= {"quick": True} if (asked.get("config") or {}).get("quick") is True else {}
    flags |= {} if verb == "demo" else {"out": "RUN"}
    for name, value in flags.items():
        values = value if isinstance(value, list) else [] if value is True else [value]
        words += ["--" + name.replace("_", "-"), *map(str, values)]
    return words


def _changed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a fit that are not the method's defaults, and how many modes were asked for."""
    config = asked.get("config") or {}
    kind = METHODS.get(config.get("method", ""))
    defaults = {} if kind is None else {**asdict(kind()), "method": "unbraid"}
    known = {name: value for name, value in config.items() if name in defaults and name != "seed"}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return {name: known[name] for name in known if name == "n_modes" or plain[name] != defaults[name]}


def _without_a_flag(asked: Mapping[str, Any]) -> list[str]:
    """The same, of settings that the command cannot tell, as "learning_rate 0.001"."""
    unsaid = {name: value for name, value in _changed(asked).items() if not _is_offered(name, value)}
    return [f"{name} {value}" for name, value in _flat(unsaid)]


def _is_offered(name: str, value: Any) -> bool:
    return name in FLAGS and _NO_CHOICE.get(name) != value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            facts += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            facts.append((f"{prefix}{name}", text))
    return facts
