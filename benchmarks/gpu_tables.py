"""What `bench_gpu.py` found, as the tables of a page."""

from typing import Any

from page_tables import interval, markdown

PARTS = {"policy": "policy part", "joint": "joint step"}


def gpu_text(found: dict[str, Any]) -> str:
    """The machine, then whole fits, then gradient steps."""
    fits = [
        [
            row["data"],
            row["where"],
            f"{row['seconds']:.1f}",
            f"{row['refine_steps']:,}",
            f"{row['nmi']:.3f}",
        ]
        for row in found["fits"]
    ]
    steps = [
        [
            f"{'-'.join(map(str, row['hidden']))}, {row['batch']:,}",
            PARTS[row["part"]],
            row["side"],
            interval(row["microseconds"], 0),
            interval(row["speed_up"], 1),
            f"{row['first_steps_s']:.1f}",
        ]
        for row in found["steps"]
    ]
    n_rounds = found["steps"][0]["microseconds"]["n"]
    return "\n\n".join(
        [
            f"{found['gpu']}, torch {found['provenance']['versions']['torch']}. Whole fits, K given, one of each; on "
            "the CPU beside it by four threads. Seconds of the clock.",
            markdown(["data", "where", "seconds", "refining steps", "episode NMI, held out"], fits),
            f"Gradient steps: medians of {n_rounds} rounds, with 95 % intervals; the speed-up is over the same step, "
            "kernel by kernel, in the same round. The first 80 steps hold what is recorded or compiled.",
            markdown(["hidden layers, batch", "step", "how", "microseconds", "speed-up", "first 80 steps, s"], steps),
        ]
    )
