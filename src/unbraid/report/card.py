"""The model card: a run's `results.json` as Markdown for the Hugging Face Hub, and not a number more."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError
from unbraid.demos.fields import kind_of
from unbraid.report.claims import ONE_LABEL, likelihood_text
from unbraid.report.estimates import (
    SCORE_DECIMALS,
    as_estimate,
    counted,
    estimate_text,
    interval_text,
    n_text,
    shared_decimals,
    shared_n_text,
    value_text,
)
from unbraid.training.hub import card_around, hub
from unbraid.training.model import ModeModel

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["model_card"]

_Results = Mapping[str, Any]


def model_card(model: ModeModel, results: _Results | None = None, *, repo_id: str | None = None) -> str:
    """The text of a model card (a README.md with front matter).

    Args:
        model: what it is about.
        results: what the run's `results.json` holds; None where there is none, and then the card says so.
        repo_id: owner/name on the Hub, where it is known.

    Raises:
        ConfigError: the extra `hub` is not installed; or what was given is no model, or no results.
    """
    if not isinstance(model, ModeModel):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"A card must be of a model; got {kind_of(model)}. Load it: ModeModel.from_pretrained('runs/first')."
        )
    if results is not None and not isinstance(results, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"Results must be what a run's results.json holds; got {kind_of(results)}. Read the file with json.load."
        )
    if results is None:
        return card_around(model, repo_id=repo_id)
    parts = (_data, _modes, _behaviour, _agreement, _verdicts)
    sections = [section for section in (part(results) for part in parts) if section]
    env_id = (results.get("data") or {}).get("env_id")
    return card_around(model, sections, evaluations=_evaluations(results), repo_id=repo_id, env_id=env_id)


def _data(results: _Results) -> str:
    data = results.get("data") or {}
    said: list[str] = []
    if data.get("n_episodes"):
        steps = f" ({counted(data['n_steps'], 'steps')})" if data.get("n_steps") else ""
        said.append(f"{counted(data['n_episodes'], 'episodes')}{steps} to learn from")
    if data.get("held_out_episodes"):
        said.append(f"{counted(data['held_out_episodes'], 'episodes')} held out")
    if data.get("env_id"):
        said.append(f"recorded in `{_plain(data['env_id'])}`")
    if results.get("experts"):
        said.append(f"by {', '.join(_plain(name) for name in results['experts'])} (names that no fit reads)")
    lines = [f"{'; '.join(said)}." if said else ""]
    fitted = results.get("fit") or {}
    held_out = fitted.get("held_out_log_likelihood_nats")
    if held_out is not None:
        lines.append(f"Log-likelihood of held-out actions {likelihood_text(fitted)}: {estimate_text(held_out)}.")
    return _section("The demonstrations", lines)


def _modes(results: _Results) -> str:
    """What the search said of how many there are."""
    search = (results.get("unbraid") or {}).get("search") or {}
    warned = "\n".join(f"- {_plain(warning)}" for warning in search.get("warnings") or [])
    return _section("The modes", [_plain(search.get("verdict") or ""), warned])


def _behaviour(results: _Results) -> str:
    behaviour = results.get("behaviour") or {}
    modes = behaviour.get("modes") or []
    if not modes:
        return _section("What each mode does", ["Not measured: no mode was rolled out (`unbraid evaluate`)."])
    order = list(behaviour.get("metrics") or modes[0]["metrics"])
    units, experts = behaviour.get("units") or {}, behaviour.get("experts") or []
    decimals = shared_decimals((actor["metrics"] for actor in (*modes, *experts)), order)
    head = ["", *(f"{name} ({units[name]})" if units.get(name) else name for name in order), "n"]
    rows = [[_mode_name(mode), *_metrics(mode["metrics"], decimals)] for mode in modes]
    rows += [[f"expert {expert['name']}", *_metrics(expert["metrics"], decimals)] for expert in experts]
    told = f"Rollouts in `{_plain(behaviour.get('env_id') or 'its environment')}`, each mode from its context alone."
    judged = [_as_good(mode) for mode in modes if mode.get("expert") and mode.get("as_good")]
    note = "Means; in brackets 95 % intervals."
    return _section("What each mode does", [told, _table(head, rows), note, "\n".join(judged)])


def _mode_name(mode: _Results) -> str:
    return f"mode {mode['mode']}" + (f", matched with {mode['expert']}" if mode.get("expert") else "")


def _metrics(metrics: _Results, decimals: Mapping[str, int]) -> list[str]:
    """A cell for every metric, and what they were estimated from."""
    known = {name: metrics[name] for name in decimals if metrics.get(name) is not None}
    cells = [_cell(known[name], places) if name in known else "not measured" for name, places in decimals.items()]
    return [*cells, shared_n_text(known.values()) or "; ".join(f"{name}: {n_text(of)}" for name, of in known.items())]


def _cell(quantity: Any, places: int) -> str:
    return f"{value_text(quantity, places)} {interval_text(quantity, places)}".strip()


def _as_good(mode: _Results) -> str:
    names = {answer: [n for n, a in mode["as_good"].items() if a is answer] for answer in (True, False, None)}
    told = [f"as good as {_plain(mode['expert'])} in {', '.join(names[True]) or 'nothing'}"]
    told += [f"not shown to be in {', '.join(names[False])}"] if names[False] else []
    told += [f"not judged in {', '.join(names[None])}"] if names[None] else []
    return f"- Mode {mode['mode']}: {'; '.join(told)}."


def _agreement(results: _Results) -> str:
    entries = (results.get("unbraid") or {}).get("agreement") or []
    if not entries:
        return ""
    rows = [
        [_level(entry), entry.get("evidence") or "", _cell(entry["nmi"], SCORE_DECIMALS), n_text(entry["nmi"])]
        for entry in entries
    ]
    told = "Modes of held-out demonstrations beside the labels, which no fit reads. NMI: 1 is perfect, 0 is chance."
    caveat = ONE_LABEL if _changes(results) else ""
    return _section("Agreement with the experts", [told, caveat, _table(["", "evidence", "NMI", "n"], rows)])


def _changes(results: _Results) -> bool:
    """Whether modes change within episodes."""
    return bool((results.get("unbraid") or {}).get("over_time"))


def _level(entry: _Results) -> str:
    window = entry.get("window_steps")
    return f"{entry['level']}s" if window is None else f"windows of {counted(window, 'steps')}"


def _verdicts(results: _Results) -> str:
    words = {True: "Holds", False: "Does not hold", None: "Not judged"}
    said = [f"- {words[verdict.get('holds')]}: {_plain(verdict['text'])}" for verdict in results.get("verdicts") or []]
    return _section("What holds", ["\n".join(said)])


def _section(title: str, paragraphs: Sequence[str]) -> str:
    """A section, or "" where nothing is in it."""
    told = [paragraph for paragraph in paragraphs if paragraph]
    return "\n\n".join([f"## {title}", *told]) if told else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """A name on one line that breaks no table and is no markup."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _evaluations(results: _Results) -> list["EvalResult"]:
    """The agreement by all evidence, and what each mode does, as the Hub's front matter has it."""
    data, made = results.get("data") or {}, hub().EvalResult
    world = str(data.get("env_id") or "demonstrations")
    shared = {"task_type": "robotics", "dataset_name": world, "dataset_type": world.rpartition("/")[2]}
    found: list[EvalResult] = []
    agreement = (results.get("unbraid") or {}).get("agreement") or []
    for entry in [] if _changes(results) else agreement:  # the front matter has no room for a caveat
        if entry.get("evidence") == "combined" and as_estimate(entry["nmi"])["value"] is not None:
            name = f"NMI with the experts, held-out {_level(entry)}{_how_sure(entry['nmi'], SCORE_DECIMALS)}"
            found.append(made(**shared, metric_type="nmi", metric_name=name, metric_value=entry["nmi"]["value"]))
    behaviour = results.get("behaviour") or {}
    for mode in behaviour.get("modes") or []:
        for metric, quantity in mode["metrics"].items():
            if as_estimate(quantity)["value"] is not None:
                name = f"{metric} of mode {mode['mode']}{_how_sure(quantity)}"
                value = as_estimate(quantity)["value"]
                found.append(made(**shared, metric_type=metric, metric_name=name, metric_value=value))
    return found


def _how_sure(quantity: Any, places: int | None = None) -> str:
    said = [part for part in (interval_text(quantity, places), n_text(quantity)) if part]
    return f", {', '.join(said)}" if said else ""
