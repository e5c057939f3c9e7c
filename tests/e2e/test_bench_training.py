"""The benchmark of how fast a policy learns, tiny, from end to end; timings are reported and never judged here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(module):
    return module("bench_training")


def test_every_side_is_timed_and_a_missing_peer_is_said(bench, tmp_path, monkeypatch, capsys):
    def not_there(peer):
        if peer == "d3rlpy":
            raise bench.UnbraidError("d3rlpy must be installed to be measured; it cannot be: no such package.")
        return Path(sys.executable)  # which has no package imitation

    monkeypatch.setattr(bench, "environment_of", not_there)
    out = tmp_path / "bench_training.json"
    asked = ["--quick", "--rounds", "2", "--steps", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench_training", *asked])
    bench.main()
    found, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert set(found["networks"]) == {"60-256-256-2", "60-128-128-128-2"}
    for network in found["networks"].values():
        rates = network["samples_per_s"]
        assert set(rates) == {"policy", "joint", "bare_relu", "bare_tanh", "bare_silu", "products", "limit"}
        ratios = {(ratio["side"], ratio["to"]): ratio for ratio in network["ratios"]}
        best = ratios["policy", "limit"]["best"]
        assert best == pytest.approx(rates["policy"]["best"] / rates["limit"]["best"])
        assert ratios["policy", "bare_relu"]["processor"]["value"] > 0
        assert ratios["policy", "bare_relu"]["clock"]["low"] is None  # of two rounds
    assert "imitation must run to be measured; it does not: ModuleNotFoundError" in printed
    assert "d3rlpy must be installed to be measured" in printed


def test_a_step_has_as_many_operations_as_its_products(bench, monkeypatch):
    """A product of (a, b) and (b, c) takes 2 a b c."""
    counted = []
    monkeypatch.setattr(
        torch, "mm", lambda a, b, out: counted.append(2 * a.shape[0] * a.shape[1] * b.shape[1] + 0 * out.numel())
    )
    bench.Products([60, 256, 256, 2]).step()
    assert sum(counted) == 1024 * bench.operations([60, 256, 256, 2]) == 1024 * 457_728


def test_the_bare_loop_learns(bench):
    demos = bench.made_up(4)
    states = torch.as_tensor(demos.observations[demos.row_of_step])
    actions = 0.5 * states[:, :2]
    torch.manual_seed(0)
    loop = bench.BareLoop(states, actions, (16,), torch.nn.ReLU)

    def error():
        with torch.no_grad():
            return float((loop.network(states) - actions).square().mean())

    before = error()
    for _ in range(200):
        loop.step()
    assert error() < 0.5 * before


@pytest.mark.parametrize(("n", "low", "high"), [(5, None, None), (6, 0.0, 5.0), (40, 13.0, 26.0)])
def test_the_interval_of_a_median_lies_between_two_values(bench, n, low, high):
    """Tables of the sign test: from 6 values on the extremes, of 40 the 14th from either end."""
    estimate = bench.median_of(np.random.default_rng(0).permutation(n).astype(float))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == ((n - 1) / 2, low, high, n)


@pytest.mark.parametrize("peer", ["imitation", "d3rlpy"])
def test_a_peer_takes_steps(bench, peer):
    python = FOLDER.parent / f".venv-{peer}" / "bin" / "python"
    if not (python.parents[1] / "unbraid-stamp").is_file():
        pytest.skip(f"{peer}'s environment is not made; scripts/bench-peers {peer} makes it")
    with bench.peer_side(python, peer, bench.made_up(2), (8,)) as (take, about):
        assert about["version"]
        for _ in range(2):
            wall, processor = take(2)
            assert wall > 0
            assert processor > 0
