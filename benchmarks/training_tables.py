"""What `bench_training.py` found, as the tables of a page."""

from typing import Any

from page_tables import interval, markdown

TITLES = {
    "policy": "unbraid, policy part (SiLU)",
    "joint": "unbraid, joint step",
    "bare_relu": "bare PyTorch, ReLU",
    "bare_tanh": "bare PyTorch, tanh",
    "bare_silu": "bare PyTorch, SiLU",
    "imitation": "imitation (tanh)",
    "d3rlpy": "d3rlpy (ReLU)",
    "products": "the step's matrix products",
    "limit": "limit: one large matrix product",
}


def training_text(found: dict[str, Any]) -> str:
    """The machine, then rates and ratios for every network, and what was not measured."""
    machine = found["machine"]
    parts = [
        f"Batches of {found['batch']:,} of {found['n_recorded_steps']:,} steps, {found['number_type']}, one thread; "
        f"{machine['processor']}, {machine['n_cores']} cores, {machine['instructions']}, torch "
        f"{found['provenance']['versions']['torch']}, {machine['load_per_core']:.1f} processes a core at the end. "
        f"{found['n_rounds']} rounds of {found['steps_per_round']} gradient steps; medians, with 95 % intervals."
    ]
    for sizes, network in found["networks"].items():
        rates = [
            [
                TITLES[side],
                interval_of_thousands(rate["clock"]),
                f"{rate['best'] / 1000:,.0f}",
                interval_of_thousands(rate["processor"]),
            ]
            for side, rate in network["samples_per_s"].items()
        ]
        parts.append(markdown([f"{sizes}, thousand samples", "a second", "best round", "a processor's second"], rates))
        ratios = [
            [
                f"{TITLES[ratio['side']]} / {TITLES[ratio['to']]}",
                interval(ratio["clock"]),
                f"{ratio['best']:.2f}",
                interval(ratio["processor"]),
                "" if ratio["target"] is None else f"{ratio['target']}",
            ]
            for ratio in network["ratios"]
        ]
        parts.append(markdown(["ratio", "by the clock", "best rounds", "processor time", "target"], ratios))
    missing = {peer: about["missing"] for peer, about in found["peers"].items() if "missing" in about}
    parts += [f"Not measured: {peer}. {why}" for peer, why in missing.items()]
    return "\n\n".join(parts)


def interval_of_thousands(estimate: dict[str, Any]) -> str:
    """A rate with its interval."""
    in_thousands = {name: estimate[name] and estimate[name] / 1000 for name in ("value", "low", "high")}
    return interval(in_thousands, 0)
