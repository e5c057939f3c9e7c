"""The benchmark of a GPU, as far as a machine without one can see: that it asks for one, and its tables."""

import json
import sys

import pytest
import torch

from unbraid.core import replay


@pytest.fixture
def bench_gpu(module):
    return module("bench_gpu")


def test_it_says_that_it_needs_a_gpu(bench_gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench_gpu"])
    with pytest.raises(SystemExit) as stopped:
        bench_gpu.main()
    assert stopped.value.code == 2
    assert "there must be a GPU that PyTorch can use" in capsys.readouterr().err


def test_what_it_found_becomes_tables(bench_gpu):
    found = json.loads(bench_gpu.RESULT.read_text())
    table = bench_gpu.gpu_text(found)
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 4 + 16 + 6
    for row in found["steps"]:
        if row["side"] == "kernel by kernel":
            assert row["speed_up"]["value"] == 1.0


def test_graphs_are_recorded_late_only_inside_the_block(bench_gpu):
    n_before = replay.WARM_UPS
    with bench_gpu.graphs_after(bench_gpu.NEVER):
        assert replay.WARM_UPS == bench_gpu.NEVER
    assert n_before == replay.WARM_UPS
