"""A fit that is killed goes on from its checkpoint to the same last bit."""

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module", autouse=True)
def _small_search() -> None:
    """None here: the process that is killed searches as everybody's does."""


def lines_of(run):
    """The metrics, less what the clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "samples_per_s"} for line in lines]


@pytest.mark.parametrize("method", ["unbraid", "talk"])
def test_a_killed_fit_resumes_bit_for_bit(unbraid, pile, tmp_path, method):
    words = ["--method", method, "--n-steps", "600", "--checkpoint-every", "50", "--held-out", "0"]
    assert unbraid("fit", pile, "--out", tmp_path / "whole", *words).code == 0
    command = [sys.executable, "-m", "unbraid", "fit", str(pile), "--out", str(tmp_path / "killed"), *words]
    checkpoints = tmp_path / "killed" / "checkpoints"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(checkpoints.glob("step_*")):
            pass  # until the first checkpoint is there, and not a moment longer
        process.kill()
    assert not (tmp_path / "killed" / "model").exists(), "it was done before it could be killed"
    said = unbraid("fit", pile, "--out", tmp_path / "killed", *words, "--resume")
    assert said.code == 0, said.err
    whole, resumed = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "killed")
