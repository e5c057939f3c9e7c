"""torchrun: two processes, be they on two machines, fit as one does; one writes and speaks; --resume goes on."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
HERE = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "unbraid"]
_PATIENCE_S = 900  # a machine may be busy


@pytest.fixture(scope="module", autouse=True)
def _small_search() -> None:
    """None here: the processes search as everybody's do."""


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_curves(one, two):
    """To 1e-4 of the loss, or of 1 where the loss is near 0; and codes are used alike."""
    first, second = lines_of(one), lines_of(two)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for alone, together in zip(first, second, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4, abs=1e-4)
        assert together["terms"] == pytest.approx(alone["terms"], rel=1e-4, abs=1e-4)
        assert together["code_usage"] == alone["code_usage"]


def ends_or(seen, process):
    """Waits until something is seen, or the process ends."""
    while not seen():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            return


def children_of(process):
    """The ids of the processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


def test_two_machines_fit_the_talk_as_one_does_and_the_first_answers(unbraid, pile, tmp_path):
    words = ["--method", "talk", "--n-steps", "150", "--json"]
    alone = unbraid("fit", pile, "--out", tmp_path / "one", *words)
    meeting = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "localhost", "--master-port", free_port()]
    machines = [
        subprocess.Popen(
            [*TORCHRUN, *meeting, "--node-rank", rank, "-m", "unbraid", "fit", pile, "--out", tmp_path / "two", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    (first, complaints), (second, _) = (machine.communicate(timeout=_PATIENCE_S) for machine in machines)
    assert [machine.returncode for machine in machines] == [0, 0], complaints
    assert second == ""
    found = json.loads(first)
    told = json.loads(alone.out)["fit"]["held_out_log_likelihood_nats"]["value"]
    assert found["fit"]["held_out_log_likelihood_nats"]["value"] == pytest.approx(told, rel=1e-3)
    assert_same_curves(tmp_path / "one", tmp_path / "two")
    names = [sorted(path.name for path in (tmp_path / run).rglob("*")) for run in ("one", "two")]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes below /proc")
def test_a_fit_that_loses_a_process_resumes_to_what_one_process_fits(unbraid, pile, tmp_path):
    words = ["--n-steps", "300", "--checkpoint-every", "50", "--held-out", "0"]
    assert unbraid("fit", pile, "--out", tmp_path / "one", *words).code == 0
    command = [*HERE, "fit", str(pile), "--out", str(tmp_path / "two"), *words]
    checkpoints = tmp_path / "two" / "checkpoints"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        ends_or(lambda: any(checkpoints.glob("step_*")), process)
        os.kill(children_of(process)[-1], signal.SIGKILL)
        _, said = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode != 0
    assert not (tmp_path / "two" / "model").exists(), "it was done before it lost a process"
    assert "this is a bug of ours" not in said
    resumed = subprocess.run([*command, "--resume"], check=False, capture_output=True, text=True, timeout=_PATIENCE_S)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("2 modes after 300 gradient steps") == 1
    assert_same_curves(tmp_path / "one", tmp_path / "two")
