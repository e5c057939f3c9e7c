"""What a run's numbers say, each as a sentence that holds or does not."""

from typing import Any

__all__ = ["JUDGED", "verdicts_of"]

JUDGED = ("goals", "return", "distance", "displacement")


def verdicts_of(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Sentences about modes, matching and behaviour, judged by the numbers in `results`."""
    return [_told_apart(results), _matched(results), *_as_good(results), _better_than_the_talk(results)]


def _told_apart(results: dict[str, Any]) -> dict[str, Any]:
    found = results["unbraid"]["agreement"]
    window = next(a for a in found if a.get("window_steps") == 25 and a["evidence"] == "combined")
    episode = next(a for a in found if a["level"] == "episode" and a["evidence"] == "combined")
    text = (
        f"unbraid tells the experts apart on held-out episodes: NMI {window['nmi']['value']:.3f} on 25-step windows "
        f"(target 0.98), {episode['nmi']['value']:.3f} on episodes (target 1)."
    )
    return {"text": text, "holds": window["nmi"]["value"] >= 0.98 and episode["nmi"]["value"] >= 1 - 1e-9}


def _matched(results: dict[str, Any]) -> dict[str, Any]:
    matched = [mode["expert"] for mode in results["behaviour"]["modes"]]
    named = ", ".join(f"mode {i} is {name or 'nobody'}" for i, name in enumerate(matched))
    holds = sorted(filter(None, matched)) == sorted(results["experts"])
    return {"text": f"Every expert has a mode of its own: {named}.", "holds": holds}


def _as_good(results: dict[str, Any]) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = []
    for mode in results["behaviour"]["modes"]:
        if mode["expert"] is None:
            verdicts.append({"text": f"Mode {mode['mode']} is matched with no expert.", "holds": None})
            continue
        judged = {name: mode["as_good"].get(name) for name in JUDGED}
        failing = [name for name, holds in judged.items() if not holds]
        beside = f"; not shown for {', '.join(failing)}" if failing else ""
        text = (
            f"Mode {mode['mode']}, from its not-hot context alone, is as good as {mode['expert']} in "
            f"{', '.join(name for name in JUDGED if name not in failing) or 'nothing'}{beside} "
            f"({results['behaviour']['n_seeds']} paired seeds, 95 % intervals within the margin)."
        )
        verdicts.append({"text": text, "holds": not failing})
    return verdicts


def _better_than_the_talk(results: dict[str, Any]) -> dict[str, Any]:
    own = next(t for t in results["unbraid"]["tables"] if t["window_steps"] == 1)["nmi"]["value"]
    best = max(table["nmi"]["value"] for table in results["talk"]["tables"])
    text = (
        f"On single steps unbraid's modes agree with the experts better than any of the talk's eight fits: NMI "
        f"{own:.3f} against at most {best:.3f}."
    )
    return {"text": text, "holds": own > best}
