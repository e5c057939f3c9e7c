"""The numbered examples, in small, on made-up recordings; the numbers mean nothing."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def _example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def two_cheetahs(tmp_path):
    """Two linear reflexes on noise, in HalfCheetah's widths."""
    draws, lengths, experts = np.random.default_rng(0), np.full(10, 40), np.arange(10) % 2
    obs = draws.normal(size=(400, 17)).astype(np.float32)
    gains = draws.normal(size=(2, 17, 6)) / 4
    act = np.concatenate([obs[40 * i : 40 * i + 40] @ gains[e] for i, e in enumerate(experts)])
    arrays = {"obs": obs, "act": act, "ep_len": lengths, "ep_expert": experts}
    path = tmp_path / "recorded.npz"
    np.savez(path, **arrays, expert_names=np.array(["slow", "fast"]))
    return path


def test_half_cheetah(two_cheetahs, tmp_path, capsys):
    example, out = _example("1_half_cheetah"), tmp_path / "out"
    small = ["--n-modes", "2", "--n-steps", "40", "--refine-steps", "10", "--episodes", "2", "--max-steps", "20"]
    results = example.main([str(two_cheetahs), str(out), *small])
    said = capsys.readouterr().out
    assert json.loads((out / "results.json").read_text()) == results
    assert "refined for 10 more gradient steps" in (out / "run" / "report" / "index.html").read_text()
    assert set(results["experts"]) == {"slow", "fast"}
    for name, of in results["experts"].items():
        assert (of["mode"]["n"], of["told"]["n"]) == (2, 2)
        assert of["of_expert"] == pytest.approx(of["mode"]["value"] / of["expert"])
        assert f"\n{name:8s}" in said
