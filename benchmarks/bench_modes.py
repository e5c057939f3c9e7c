"""What does each method tell apart? Mixed demonstrations of several worlds, read on held-out episodes.

Rows: unbraid (its combined evidence, its encoder alone, its policy's likelihood alone), the encoder told the true
labels (an upper bound), k-means, mixtures of linear policies, a VAE with a categorical latent, the talk's method
(published and repaired, in its small preset), and unbraid with one of its ideas switched off at a time. Every row is
given the same demonstrations, in one process and on one thread; unbraid has one default for all cases. Columns:
normalised mutual information (NMI) of the modes with the experts, for windows at stride 5 and for whole episodes; mean
over training seeds, in brackets the worst; and the seconds of the fit. A training seed decides the demonstrations and
the fit; settings were chosen on seeds 0 to 2, and the tables show seeds 3 to 5. Then the closed loop (each mode of
unbraid acts from its not-hot context alone, and is compared with its expert on the same 200 seeds), what is said of too
few and of too many modes, a rare expert, fewer demonstrations, and "auto".

Every result is kept in `--folder`, so that an interrupted run goes on where it was: run it again. When all are there,
`benchmarks/results/bench_modes.json` is written; until then, and with `--quick`, `bench_modes.json` in the folder.
Cases on recordings that are not in this repository (in the folder UNBRAID_DATA) are left out where those are absent.

    python benchmarks/bench_modes.py [--cases two,four] [--rows unbraid,kmeans] [--seeds 3,4,5] [--quick]
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from mode_cases import CASES, QUICK, ROWS, Sizes
from mode_rows import result_of
from mode_summary import N_THREADS, jobs_of, summary
from mode_tables import text_of
from unbraid.core.runs import write_text
from unbraid.training.loop import computing

RESULT = Path(__file__).parent / "results" / "bench_modes.json"


def json_text(content: Any) -> str:
    """JSON with every list of numbers on one line."""
    text = json.dumps(content, indent=2, allow_nan=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked; lists of names must be among those that exist."""

    def listed(names: Iterable[str]) -> Callable[[str], list[str]]:
        def names_in(text: str) -> list[str]:
            if unknown := sorted(set(text.split(",")) - set(names)):
                raise argparse.ArgumentTypeError(f"must be among {', '.join(names)}; got {unknown[0]}")
            return text.split(",")

        return names_in

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=listed(CASES), default=list(CASES), help=f"of {','.join(CASES)}")
    parser.add_argument("--rows", type=listed(ROWS), default=list(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[3, 4, 5])
    parser.add_argument("--closed-loop", action=argparse.BooleanOptionalAction, default=True, help="let modes act")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the numbers mean nothing"
    )
    parser.add_argument(
        "--keep-earlier", action="store_true", help="results of an earlier version of the source are named, and stay"
    )
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/bench_modes, or ..._quick)")
    parser.add_argument("--out", type=Path, help=f"the summary (benchmarks/results/{RESULT.name} when all is there)")
    asked = parser.parse_args(arguments)
    asked.rows = [row for row in asked.rows if asked.closed_loop or row != "closed_loop"]
    asked.folder = asked.folder or Path("runs/bench_modes_quick" if asked.quick else "runs/bench_modes")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    asked = parsed(arguments)
    sizes = QUICK if asked.quick else Sizes()
    jobs = jobs_of(asked.cases, asked.rows, asked.seeds, sizes)
    with computing(N_THREADS), threadpool_limits(N_THREADS):
        for i, job in enumerate(jobs):
            since = time.perf_counter()
            result_of(job, asked.folder)
            done = f"{job.case.name}, seed {job.seed}, {job.row}: {time.perf_counter() - since:.1f} s"
            print(f"[{i + 1}/{len(jobs)}] {done}", file=sys.stderr, flush=True)
    content = summary(asked.seeds, sizes, asked.folder, keep_earlier=asked.keep_earlier)
    content["markdown"] = text_of(content)
    print(content["markdown"])
    committed = content["complete"] and not asked.quick
    write_text(asked.out or (RESULT if committed else asked.folder / RESULT.name), json_text(content))


if __name__ == "__main__":
    main()
