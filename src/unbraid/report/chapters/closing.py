"""What the run does not show, and how to make it again."""

from collections.abc import Mapping
from typing import Any

from unbraid.report.claims import as_good_counts
from unbraid.report.estimates import counted
from unbraid.report.record import RunRecord
from unbraid.report.sections import Code, Facts, Folded, Paragraph, Section

__all__ = ["limits", "reproduction"]


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
    verb = record.asked.get("command", "fit")
    command = f"unbraid {verb}" if verb == "demo" else f"unbraid {verb} DATA"
    if origin.get("seed") is not None:
        command += f" --seed {origin['seed']}"
    facts = [
        ("data fingerprint", str(origin.get("data_fingerprint") or "not recorded")),
        ("Python", str(origin.get("python") or "not recorded")),
        ("machine", str(origin.get("machine") or "not recorded")),
        *((name, str(version)) for name, version in (origin.get("versions") or {}).items()),
    ]
    settings = tuple(_flat(record.asked.get("config") or {}))
    folded = (Folded("Every setting of this run", (Facts(settings),)),) if settings else ()
    intro = (
        "The command, with the settings below where they differ from the defaults. The same versions on the same kind "
        "of machine give the same numbers, times apart; results.json in the run's folder holds every number that is "
        "measured here."
    )
    return Section("reproduce", "Make it again", (Paragraph(intro), Code(command), Facts(tuple(facts)), *folded))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            facts += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            facts.append((f"{prefix}{name}", text))
    return facts
