"""How fast a policy learns: beside a bare PyTorch loop, imitation and d3rlpy, and what the processor could do at most.

All learn 100,000 made-up steps of 60 numbers and 2 actions, in batches of 1,024, float32, on one thread, with networks
of the same hidden layers. Round by round, each side takes so many gradient steps, in an order that is drawn anew; a
ratio is of two sides' rates in the same round. Medians are over rounds, with 95 % intervals. Where others use the
machine, the best round is the nearest to an idle one, and the ratio of processor time is disturbed least.

- policy: unbraid's policy part and its optimiser; joint: its encoder and codebook, too, on the same thread
  (`bench_fit.py` has both on two threads, beside the same written by hand, and a whole fit's seconds).
- bare: behaviour cloning as one would write it by hand for data that is ready: scaled before, indexed into tensors that
  are there already, fused AdamW, a Gaussian with one deviation an action, no modes, nothing clipped, logged or checked.
- imitation, d3rlpy: behaviour cloning by these packages (`training_peers.py`), each in its own environment, which
  `scripts/bench-peers` makes.
- products: the matrix products of one step alone. limit: as many operations in one large product.

    python benchmarks/bench_training.py [--rounds 40] [--steps 20] [--peers imitation d3rlpy] [--quick]
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor, nn

import piles
from bench_fit import seconds
from machine import load_per_core
from training_tables import training_text
from unbraid.core.errors import UnbraidError
from unbraid.core.runs import provenance, write_json
from unbraid.evaluation.intervals import Estimate
from unbraid.policy.gaussian import perceptron
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import learner_for
from unbraid.training.loop import computing

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "bench_training.json"
BATCH, OBSERVATION_SIZE, ACTION_SIZE = 1024, 60, 2
NETWORKS = ((256, 256), UnbraidConfig().policy_hidden)
LARGE = 1024
PEERS = ("imitation", "d3rlpy")
ACTIVATIONS: dict[str, type[nn.Module]] = {"bare_relu": nn.ReLU, "bare_tanh": nn.Tanh, "bare_silu": nn.SiLU}
RATIOS: tuple[tuple[str, str, float | None], ...] = (
    ("policy", "bare_relu", 0.95),
    ("policy", "bare_tanh", 0.95),
    ("policy", "bare_silu", None),
    ("policy", "limit", 0.7),
    ("policy", "products", None),
    ("bare_relu", "limit", None),
    ("joint", "bare_relu", None),
    ("policy", "imitation", None),
    ("policy", "d3rlpy", None),
)
Side = Callable[[int], tuple[float, float]]
"""Takes so many gradient steps; seconds of the clock and of the processor."""


def made_up(n_episodes: int) -> piles.Demos:
    """Two experts who answer what they see in opposite ways: no step's cost depends on what is learned."""
    draws = np.random.default_rng(0)
    n_steps = 1001 * n_episodes
    seen = draws.normal(size=(n_steps, OBSERVATION_SIZE))
    labels = np.arange(n_episodes) % 2
    signs = np.repeat(2.0 * labels - 1, 1001)[:, None]
    done = 0.5 * signs * seen[:, :ACTION_SIZE] + 0.1 * draws.normal(size=(n_steps, ACTION_SIZE))
    return piles.demos_of(seen, done, np.full(n_episodes, 1001), labels, ("along", "against"))


class BareLoop:
    """Behaviour cloning for tensors that are ready."""

    def __init__(self, states: Tensor, actions: Tensor, hidden: tuple[int, ...], activation: type[nn.Module]) -> None:
        """Takes data that is scaled."""
        self.states, self.actions = states, actions
        self.network = perceptron([states.shape[1], *hidden, actions.shape[1]], activation)
        self.log_std = nn.Parameter(torch.full((actions.shape[1],), -0.5))
        self.optimizer = torch.optim.AdamW([*self.network.parameters(), self.log_std], lr=1e-3, fused=True)
        self.chosen = torch.empty(BATCH, dtype=torch.long)
        self.state, self.action = states.new_empty(BATCH, states.shape[1]), actions.new_empty(BATCH, actions.shape[1])

    def step(self) -> None:
        """One gradient step down the negative log-likelihood of a batch, up to a constant."""
        torch.randint(len(self.states), (BATCH,), out=self.chosen)
        torch.index_select(self.states, 0, self.chosen, out=self.state)
        torch.index_select(self.actions, 0, self.chosen, out=self.action)
        misfit = ((self.action - self.network(self.state)) * (-self.log_std).exp()).square()
        loss = (0.5 * misfit + self.log_std).sum(-1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


class Products:
    """The matrix products of one step, there and back, into tensors that are there already."""

    def __init__(self, sizes: list[int]) -> None:
        """Draws what is multiplied."""
        self.weights = [torch.randn(after, before) for before, after in pairwise(sizes)]
        self.values, self.gradients = ([torch.randn(BATCH, size) for size in sizes] for _ in range(2))
        self.out = [torch.empty(BATCH, size) for size in sizes]
        self.of_weights = [torch.empty_like(weight) for weight in self.weights]

    def step(self) -> None:
        """Nobody asks for the gradient of what is seen, so that the first layer has two products, the others three."""
        for layer, weight in enumerate(self.weights):
            torch.mm(self.values[layer], weight.t(), out=self.out[layer + 1])
        for layer in reversed(range(len(self.weights))):
            torch.mm(self.gradients[layer + 1].t(), self.values[layer], out=self.of_weights[layer])
            if layer > 0:
                torch.mm(self.gradients[layer + 1], self.weights[layer], out=self.out[layer])


def operations(sizes: list[int]) -> int:
    """Floating-point operations that the matrix products of one step need for each sample."""
    of_layer = [before * after for before, after in pairwise(sizes)]
    return 2 * (3 * sum(of_layer) - of_layer[0])


def limit(sizes: list[int]) -> Side:
    """The time of so many steps' operations at the rate of a large square product."""
    factors, out = torch.randn(2, LARGE, LARGE), torch.empty(LARGE, LARGE)

    def take(n_steps: int) -> tuple[float, float]:
        share = n_steps * BATCH * operations(sizes) / (2 * LARGE**3)
        n_products = max(round(share), 1)
        wall, processor = seconds(lambda: torch.mm(factors[0], factors[1], out=out), n_products)
        return wall * share / n_products, processor * share / n_products

    return take


def stepping(step: Callable[[], object]) -> Side:
    """A side of one call for a step."""
    return lambda n_steps: seconds(step, n_steps)


def own_sides(demos: piles.Demos, hidden: tuple[int, ...]) -> dict[str, Side]:
    """Everything that runs in this process; the bare loops learn what our normalisers make of the data."""
    config = UnbraidConfig(n_modes=2, search_steps=20, policy_hidden=hidden, policy_batch=BATCH, sharing="episode")
    calibrated = learner_for(demos.without_labels(), config, "cpu")
    assert isinstance(calibrated, CalibratedLearner)
    learner = calibrated.first

    def policy() -> None:
        learner.policy_part()
        learner.follow()

    def joint() -> None:
        learner.policy_part()
        learner.encoder_part()
        learner.follow()

    scale_states, scale_actions = learner.model.observation_normaliser, learner.model.action_normaliser
    states = scale_states(torch.as_tensor(demos.observations[demos.row_of_step]))
    actions = scale_actions(torch.as_tensor(demos.actions))
    sizes = [OBSERVATION_SIZE, *hidden, ACTION_SIZE]
    bare = {name: stepping(BareLoop(states, actions, hidden, kind).step) for name, kind in ACTIVATIONS.items()}
    ours = {"policy": stepping(policy), "joint": stepping(joint)}
    return ours | bare | {"products": stepping(Products(sizes).step), "limit": limit(sizes)}


@contextlib.contextmanager
def peer_side(python: Path, peer: str, demos: piles.Demos, hidden: tuple[int, ...]) -> Generator[tuple[Side, Any]]:
    """A peer in a process of its own that has taken a step, and what it says of itself.

    Raises:
        UnbraidError: it does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, said = Path(folder) / "data.npz", Path(folder) / "said"
        np.savez(data, observations=demos.observations[demos.row_of_step], actions=demos.actions)
        command = [str(python), str(Path(__file__).with_name("training_peers.py")), peer, str(data)]
        command += ["--hidden", *map(str, hidden), "--batch", str(BATCH)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": folder}
        with said.open("w") as file, subprocess.Popen(command, stderr=file, env=environment, **pipes) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            answers, asks = process.stdout, process.stdin

            def answer() -> Any:
                line = answers.readline()
                if not line:
                    last = (said.read_text().splitlines() or ["it ended without a word"])[-1]
                    raise UnbraidError(f"{peer} must run to be measured; it does not: {last}.")
                return json.loads(line)

            def take(n_steps: int) -> tuple[float, float]:
                print(n_steps, file=asks, flush=True)
                wall, processor = answer()
                return wall, processor

            about = answer()
            take(1)
            yield take, about
            asks.close()


def environment_of(peer: str) -> Path:
    """The Python of a peer's environment, made where it is not there.

    Raises:
        UnbraidError: it cannot be made.
    """
    made = subprocess.run([ROOT / "scripts" / "bench-peers", peer], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        last = made.stderr.strip().splitlines()
        raise UnbraidError(f"{peer} must be installed to be measured; it cannot be: {' '.join(last[-2:])}")
    return ROOT / f".venv-{peer}" / "bin" / "python"


def median_of(values: np.ndarray) -> Estimate:
    """The median, with the interval between two of the values that holds it 95 % of the time, whatever they are of.

    Source: Thompson 1936, "On confidence ranges for the median".
    """
    ordered, rank = np.sort(values), int(binom.ppf(0.025, len(values), 0.5))
    ends = (float(ordered[rank - 1]), float(ordered[-rank])) if rank > 0 else (None, None)
    return Estimate(float(np.median(values)), *ends, n=len(values), unit_of_n="rounds")


def in_rounds(sides: dict[str, Side], n_rounds: int, n_steps: int) -> dict[str, np.ndarray]:
    """(round, clock or processor) seconds a step, for each side."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    order = np.random.default_rng(0)
    for side in sides.values():
        side(3)
    for _ in range(n_rounds):
        for name in order.permutation(list(sides)):
            times[name].append(sides[name](n_steps))
    return {name: np.array(of_side) / n_steps for name, of_side in times.items()}


def spread(values: np.ndarray, best: float) -> dict[str, Any]:
    """(round, clock or processor) rates or ratios: both medians, and that of the fastest rounds by the clock."""
    return {"clock": median_of(values[:, 0]).to_json(), "processor": median_of(values[:, 1]).to_json(), "best": best}


def compared(times: dict[str, np.ndarray]) -> dict[str, Any]:
    """Samples a second of each side, and ratios of rates."""
    fastest = {name: float(of_side[:, 0].min()) for name, of_side in times.items()}
    rates = {name: spread(BATCH / of_side, BATCH / fastest[name]) for name, of_side in times.items()}
    ratios = [
        {"side": side, "to": to, "target": target} | spread(times[to] / times[side], fastest[to] / fastest[side])
        for side, to, target in RATIOS
        if side in times and to in times
    ]
    return {"samples_per_s": rates, "ratios": ratios}


def measure(n_rounds: int, n_steps: int, peers: list[str], *, quick: bool) -> dict[str, Any]:
    """Every network, with every peer that there is; of those that are missing, why."""
    demos = made_up(4 if quick else 100)
    networks: dict[str, Any] = {}
    about: dict[str, Any] = {peer: {"missing": "not asked for"} for peer in PEERS}
    pythons: dict[str, Path] = {}
    for peer in peers:
        try:
            pythons[peer] = environment_of(peer)
        except UnbraidError as error:
            about[peer] = {"missing": str(error)}
    for hidden in NETWORKS:
        sizes = [OBSERVATION_SIZE, *hidden, ACTION_SIZE]
        with contextlib.ExitStack() as stack:
            sides = own_sides(demos, hidden)
            for peer, python in pythons.items():
                try:
                    sides[peer], about[peer] = stack.enter_context(peer_side(python, peer, demos, hidden))
                except UnbraidError as error:
                    about[peer] = {"missing": str(error)}
            found = compared(in_rounds(sides, n_rounds, n_steps))
        networks["-".join(map(str, sizes))] = {"operations_per_sample": operations(sizes), **found}
    sizes_of_run = {"n_recorded_steps": demos.n_steps, "batch": BATCH, "n_rounds": n_rounds, "steps_per_round": n_steps}
    return {**sizes_of_run, "n_threads": 1, "number_type": "float32", "peers": about, "networks": networks}


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else None,
        "n_cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load_per_core": load_per_core(),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="gradient steps of each side in a round")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--quick", action="store_true", help="few demonstrations, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    with computing(1):
        found = measure(asked.rounds, asked.steps, asked.peers, quick=asked.quick)
    result = {"benchmark": "training", "machine": machine(), **found, "provenance": provenance(seed=0)}
    print(training_text(result))
    write_json(asked.out, result)


if __name__ == "__main__":
    main()
