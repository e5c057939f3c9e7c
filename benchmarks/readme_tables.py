"""Writes the results in the README and in `docs/` from `benchmarks/results/*.json`.

    python benchmarks/readme_tables.py [--check] [--runs RUN ...] [--examples FOLDER ...]

With `--check` nothing is written; the exit code is 1 where a page says anything else than the results. `--runs` first
takes over the results and the picture of the demo's runs of seed 0 and 1, `--examples` the results of the examples.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import example_tables
import mode_tables
import steering_tables
import switching_tables
from gpu_tables import gpu_text
from mode_cases import LINES, SWITCHED_OFF
from page_tables import interval, markdown
from training_tables import training_text
from unbraid.core.runs import write_bytes, write_json, write_text

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MODES_PAGE, METHOD_PAGE, STEERING_PAGE = "docs/results_modes.md", "docs/method.md", "docs/steering.md"
EXPERIMENTS_PAGE, SWITCHING_PAGE, EXAMPLES_PAGE = "docs/experiments.md", "docs/switching.md", "docs/examples.md"
STUDIO_PAGE, SCALE_PAGE = "docs/studio.md", "docs/scale.md"
TITLE_OF = {"unbraid": "unbraid", "kmeans": "k-means on statistics"}


def load(name: str) -> dict[str, Any]:
    """One file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def steering_part(demo: dict[str, Any]) -> str:
    """Each mode beside its expert."""
    behaviour = demo["behaviour"]
    shown = ["goals", "return", "cost", "distance"]
    units = behaviour["units"]
    rows: list[list[str]] = []
    experts = {expert["name"]: expert["metrics"] for expert in behaviour["experts"]}
    for mode in behaviour["modes"]:
        name = mode["expert"]
        rows.append([f"expert {name}", *(interval(experts[name][m]) for m in shown)])
        rows.append([f"mode {mode['mode']}", *(interval(mode["metrics"][m]) for m in shown)])
        differences = [
            f"{interval(mode['difference'][m])}, {'as good' if mode['as_good'][m] else 'not shown'}" for m in shown
        ]
        rows.append(["mode minus expert", *differences])
    head = ["", *(f"{m} ({units[m]})" for m in shown)]
    return markdown(head, rows)


def agreement_part(demos: list[dict[str, Any]]) -> str:
    """NMI with the experts, for both seeds of the demo, beside the talk's."""
    rows: list[list[str]] = []
    for demo in demos:
        seed = str(demo["seed"])
        found = {
            (a["level"], a.get("window_steps")): a for a in demo["unbraid"]["agreement"] if a["evidence"] != "encoder"
        }
        steps = next(t for t in demo["unbraid"]["tables"] if t["window_steps"] == 1)["nmi"]
        talk = max((t["nmi"] for t in demo["talk"]["tables"]), key=lambda e: e["value"])
        cells = [interval(e, 3) for e in (talk, steps, found["window", 25]["nmi"], found["episode", None]["nmi"])]
        rows.append([seed, *cells, str(steps["n"])])
    head = ["seed", "the talk's best of 8, single steps", "unbraid, single steps", "25-step windows", "episodes", "n"]
    return markdown(head, rows)


def talk_part(long: dict[str, Any]) -> str:
    """The talk's method at its published sizes and steps."""
    rows = [
        [
            str(run["delta_steps"]),
            str(run["seed"]),
            f"{run['transition']['nmi']:.3f}",
            f"{run['window_25']['nmi']:.3f}",
            f"{run['episode']['nmi']:.3f}",
            " / ".join(f"{mode['goals']:.1f}" for mode in run["behaviour"]),
        ]
        for run in long["runs"]
    ]
    head = ["time step", "seed", "NMI, transitions", "NMI, 25 steps", "NMI, episodes", "goals of each mode"]
    return f"{markdown(head, rows)}\n\n{long['verdict']}"


def render() -> str:
    """Everything between the markers."""
    demos = [load("demo_seed0"), load("demo_seed1")]
    worlds = load("bench_worlds")
    parts = [
        f"Steering. Two experts, {demos[0]['data']['n_steps']:,} steps, {demos[0]['behaviour']['n_seeds']} paired "
        "seeds, 95 % intervals in brackets (`scripts/demo`, seed 0):",
        steering_part(demos[0]),
        "Telling the experts apart. NMI on held-out episodes (1 is perfect, 0 is chance), n episodes:",
        agreement_part(demos),
        "The talk's method at its published sizes for 50,000 gradient steps, K = 4 (`scripts/bench talk`):",
        talk_part(load("bench_talk")),
        modes_part(load("bench_modes")),
        fit_part(load("bench_fit")),
        "The world (`scripts/bench worlds`), 2 cores, control steps per second:",
        worlds_part(worlds),
    ]
    return "\n\n".join(parts)


def modes_part(modes: dict[str, Any]) -> str:
    """Every case in one line, how many targets are met, and the closed loops."""
    title = (
        "More worlds, more experts and other methods: NMI with the experts on held-out demonstrations, mean over "
        f"training seeds, worst in brackets (`scripts/bench modes`; all of it is in [{MODES_PAGE}]({MODES_PAGE})):"
    )
    return f"{title}\n\n{mode_tables.short_text(modes)}"


def modes_page(modes: dict[str, Any]) -> str:
    """Everything that the benchmark of modes found, as a page."""
    return (
        "<!-- Generated by benchmarks/readme_tables.py from benchmarks/results/bench_modes.json. -->\n\n"
        "# What each method tells apart\n\n"
        "`scripts/bench modes` measures it; `benchmarks/bench_modes.py` says how, and `benchmarks/piles.py` whose "
        f"demonstrations are mixed.\n\n{mode_tables.text_of(modes)}\n"
    )


def ablations_part(modes: dict[str, Any]) -> str:
    """What each idea buys, on the two cases on which all of it was tried."""
    shown = (("four", "25"), ("order", "episode"))
    names = {
        row: title for row, _, title in LINES if row in ("unbraid", "supervised", "kmeans", "talk_1", *SWITCHED_OFF)
    }
    evidence_of = {row: evidence for row, evidence, _ in reversed(LINES)}
    table = [["NMI, mean (worst of 3 seeds)", "four experts, 25 steps", "errands in four orders, episodes"]]
    for row, title in names.items():
        cells: list[str] = []
        for case, level in shown:
            found = modes["cases"][case]["rows"].get(row, {"nmi": {}})["nmi"].get(evidence_of[row], {}).get(level)
            cells.append(mode_tables.of_seeds(found) or "not run")
        if cells != ["not run", "not run"]:
            table.append([TITLE_OF.get(row, title), *cells])
    return mode_tables.markdown(table)


def quartiles(of: dict[str, float]) -> str:
    """A median with its quartiles."""
    return f"{of['median']:.2f} [{of['quartile_1']:.2f}, {of['quartile_3']:.2f}]"


def fit_part(fit: dict[str, Any]) -> str:
    """Samples per second beside a bare loop, and the seconds of a fit's parts."""
    rows = [
        [
            name,
            f"{part['samples_per_s']['median']:,.0f}",
            f"{part['bare_samples_per_s']['median']:,.0f}",
            quartiles(part["ratio"]),
            f"{part['ratio_of_processor_time']['median']:.2f}",
        ]
        for name, part in fit["steps"].items()
    ]
    head = ["step", "unbraid, samples/s", "bare loop", "ratio [quartiles]", "of processor time"]
    seconds = {name: f"{part['seconds']:.1f} s" for name, part in fit["seconds"].items()}
    return (
        f"The speed of a fit of four experts, {fit['n_training_steps']:,} steps, beside a bare PyTorch loop of the "
        f"same networks (`scripts/bench fit`): {seconds['fit']} with K given, {seconds['fit_auto']} with `auto`.\n\n"
        f"{markdown(head, rows)}"
    )


def studio_part(studio: dict[str, Any]) -> str:
    """What many clients who steer at once get of the studio."""
    pictures, answer, machine = studio["pictures_per_s"], studio["change_to_answer_s"], studio["machine"]
    rows = [
        ["pictures a second, the median client", f"{pictures['median']:.1f}"],
        ["the slowest client", f"{pictures['slowest']:.1f}"],
        ["a client alone", f"{pictures['alone']:.1f}"],
        ["from a slider to the next picture, median (ms)", f"{1000 * answer['median']:.0f}"],
        ["the same, 95 % of the time at most (ms)", f"{1000 * answer['p95']:.0f}"],
        ["the server's processor time for a picture (ms)", f"{studio['server_ms_per_picture']:.2f}"],
    ]
    busy = f"{machine['n_cores']} cores, {machine['load_per_core']:.1f} processes a core at the end"
    return markdown([f"{studio['clients']} clients, {busy}", ""], rows)


def store_part(store: dict[str, Any]) -> str:
    """What fits of stores larger than memory hold, and how fast they read."""
    rows: list[list[str]] = []
    for size in store["sizes"]:
        fit, rates, reads = size["fit"], size["rates"], size["reads"]
        cells = [f"{size['n_steps'] / 1e6:.0f} million, {size['gb']:.1f} GB", f"{fit['seconds']:.0f}"]
        cells += [f"{fit['peak_anonymous_gb']:.2f}", f"{fit['nmi_of_unseen_episodes']:.2f}"]
        cells += [f"{rates[name]['median']:,.0f}" for name in ("warm", "in_memory")]
        cells += [quartiles(rates["ratio"])]
        cells += [f"{rates[name]['median']:,.0f}" for name in ("cold", "cold_at_random")]
        rows.append([*cells, f"{reads['whole_gb_per_s']:.2f}"])
    head = ["steps", "fit (s)", "RssAnon, peak (GB)", "NMI, unseen episodes", "warm, samples/s"]
    head += ["the smallest, in memory", "ratio [quartiles]", "cold, read on around each", "cold, the places alone"]
    beyond, blocks = store["at_100_million_steps"], store["blocks"]
    scores = [f"{blocks[name]['log_likelihood_of_unseen_nats']:.3f}" for name in ("whole", "blocks")]
    lines = [
        f"A line through both says of 100 million steps: {beyond['peak_anonymous_gb']:.1f} GB of RssAnon, and "
        f"{beyond['seconds_beside_gradient_steps']:.0f} s beside the gradient steps.",
        "Drawn from some blocks of the file that change now and then, unseen episodes have "
        f"{scores[1]} nats a step, and {scores[0]} where it is drawn from the whole.",
    ]
    return f"{markdown([*head, 'in order (GB/s)'], rows)}\n\n{' '.join(lines)}"


def worlds_part(worlds: dict[str, Any]) -> str:
    """Control steps per second beside the bare limit."""
    rows = [
        [
            str(row["n_envs"]),
            f"{row['control_steps_per_s']['median']:,.0f}",
            f"{row['bare_rollout_per_s']['median']:,.0f}",
            f"{row['ratio_to_faster_bare']['median']:.2f}",
        ]
        for row in worlds["worlds"]
    ]
    return markdown(["environments", "unbraid", "MuJoCo alone", "ratio"], rows)


def take_over(run: Path) -> None:
    """Copies what a run of the demo found, less what other files hold already, and the picture of seed 0."""
    seed = json.loads((run / "run.json").read_text(encoding="utf-8"))["provenance"]["seed"]
    found = json.loads((run / "results.json").read_text(encoding="utf-8"))
    del found["talk"]["published_sizes"]
    write_json(RESULTS / f"demo_seed{seed}.json", {"seed": seed, **found})
    if seed == 0:
        write_bytes(ROOT / "docs" / "images" / "steering.png", (run / "report" / "paths.png").read_bytes())


def take_over_examples(folders: Sequence[Path]) -> None:
    """Copies what runs of the examples found, all seeds of one example together."""
    found = [json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in folders]
    for name, of_it in {"half_cheetah": "experts", "push_t": "covered"}.items():
        runs = sorted((run for run in found if of_it in run), key=lambda run: run["seed"])
        if runs:
            write_json(RESULTS / f"example_{name}.json", {"runs": runs})


def written(name: str) -> str:
    """What a page says now; nothing where there is none."""
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def within(page: str, name: str, text: str) -> str:
    """A page's text with another one between the markers of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the README differs")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders that `unbraid demo` wrote")
    parser.add_argument("--examples", type=Path, nargs="*", default=[], help="folders that the examples wrote")
    asked = parser.parse_args()
    for run in asked.runs:
        take_over(run)
    take_over_examples(asked.examples)
    modes = load("bench_modes")
    marked = {  # the markers around each part, and the page that has it
        "results": ("README.md", render()),
        "ablations": (METHOD_PAGE, ablations_part(modes)),
        "steering": (STEERING_PAGE, steering_tables.steering_text(load("bench_steering"))),
        "gpu": (SCALE_PAGE, gpu_text(load("bench_gpu"))),
        "training": (EXPERIMENTS_PAGE, training_text(load("bench_training"))),
        "switching": (SWITCHING_PAGE, switching_tables.switching_text(load("bench_switching"))),
        "preferences": (SWITCHING_PAGE, switching_tables.preferences_text(load("bench_preferences"))),
        "clients": (STUDIO_PAGE, studio_part(load("bench_studio"))),
        "store": (SCALE_PAGE, store_part(load("bench_store"))),
        "half_cheetah": (EXAMPLES_PAGE, example_tables.half_cheetah_text(load("example_half_cheetah")["runs"])),
        "push_t": (EXAMPLES_PAGE, example_tables.push_t_text(load("example_push_t")["runs"])),
    }
    wanted = {MODES_PAGE: modes_page(modes)}
    for name, (page, text) in marked.items():
        before = wanted[page] if page in wanted else written(page)
        wanted[page] = within(before, name, text)
    differ = False
    for name, text in wanted.items():
        if not asked.check:
            write_text(ROOT / name, text)
        elif (there := written(name)) != text:
            differ = True
            sys.stdout.writelines(difflib.unified_diff(there.splitlines(True), text.splitlines(True), name, "results"))
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
