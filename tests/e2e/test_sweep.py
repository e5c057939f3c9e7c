"""unbraid sweep: on a pool of processes and on Ray, with a worker that is killed, a fit that fails, and a resume."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TALK = ["--method", "talk"]


@pytest.fixture(scope="module")
def swept(unbraid, pile, tmp_path_factory):
    """A sweep of four fits, two of which ask for transitions longer than the demonstrations."""
    out = tmp_path_factory.mktemp("sweeps") / "swept"
    grid = ["delta_steps=1,500", "n_steps=20", "seed=0,1"]
    return out, unbraid("sweep", pile, "--out", out, *TALK, "--grid", *grid, "--held-out", 0.4, "--workers", 2)


def test_fits_that_fail_stop_no_others_and_say_why(swept):
    out, said = swept
    assert said.code == 3, said.err
    results = json.loads((out / "results.json").read_text())
    assert [trial["state"] for trial in results["trials"]] == ["done", "done", "failed", "failed"]
    assert "the longest has 60 steps" in results["trials"][2]["message"]
    assert results["trials"][2]["message"] in " ".join(said.out.split())
    assert "2 fits done, 2 failed" in said.out
    assert not (out / "trials" / "delta_steps=500,n_steps=20,seed=0").exists()


def test_a_table_a_figure_and_a_run_for_each_fit(swept, unbraid):
    out, _ = swept
    results = json.loads((out / "results.json").read_text())
    one, long = results["combinations"]
    score = one["scores"]["held_out_log_likelihood_nats"]
    of_fits = [trial["scores"]["held_out_log_likelihood_nats"] for trial in results["trials"][:2]]
    assert score["value"] == pytest.approx(sum(of_fits) / 2)
    assert (score["n"], score["unit_of_n"]) == (2, "training seeds")
    assert score["low"] < min(of_fits) < max(of_fits) < score["high"]
    assert (long["n_done"], long["n_fits"], long["scores"]) == (0, 2, {})
    first, second = csv.DictReader((out / "results.csv").read_text().splitlines())
    assert float(first["held_out_log_likelihood_nats_low"]) == pytest.approx(score["low"])
    assert (second["delta_steps"], second["n_done"], second["episode_nmi"]) == ("500", "0", "")
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    run = out / "trials" / "delta_steps=1,n_steps=20,seed=1"
    assert json.loads((run / "run.json").read_text())["config"]["seed"] == 1
    fitted = json.loads((run / "results.json").read_text())["fit"]["held_out_log_likelihood_nats"]["value"]
    assert fitted == of_fits[1]


def test_what_is_done_is_not_done_again(swept, unbraid, pile, monkeypatch):
    out, _ = swept

    def refuse(*args, **settings):
        raise AssertionError("a fit began again")

    monkeypatch.setattr("unbraid.pipeline.sweep.run_trials", refuse)
    grid = ["delta_steps=1", "n_steps=20", "seed=0,1"]
    words = [*TALK, "--grid", *grid, "--held-out", 0.4, "--json"]
    again = unbraid("sweep", pile, "--out", out, *words, "--resume")
    assert again.code == 0, again.err
    assert [trial["state"] for trial in json.loads(again.out)["trials"]] == ["done", "done"]
    swapped = [*TALK, "--grid", "seed=1,0", "delta_steps=1", "n_steps=20", "--held-out", 0.4, "--json"]
    turned = json.loads(unbraid("sweep", pile, "--out", out, *swapped, "--resume").out)
    assert [trial["name"] for trial in turned["trials"]] == [f"delta_steps=1,n_steps=20,seed={seed}" for seed in (1, 0)]
    refused = unbraid("sweep", pile, "--out", out, *words)
    assert refused.code == 2
    assert "must not exist yet; it does. The same command with --resume goes on with it" in refused.err
    other = unbraid("sweep", pile, "--out", out, *TALK, "--grid", *grid, "--held-out", 0.2, "--resume")
    assert other.code == 2
    assert "must be resumed with the held out that it was made with; they differ: held_out 0.4 -> 0.2." in other.err


def test_several_data_sets_are_swept_together_from_anywhere_and_resumed(unbraid, pile, tmp_path, monkeypatch):
    """Workers are other processes; and a sweep knows its data again, in the order in which they were named."""
    monkeypatch.chdir(pile.parent)
    assert unbraid("collect", tmp_path / "more", "--episodes", 2, "--max-steps", 60, "--seed", 1).code == 0
    asked = ["--out", tmp_path / "sweep", *TALK, "--held-out", 0.4, "--workers", 1, "--json"]
    grids = [["--grid", "n_steps=20", f"seed={seeds}"] for seeds in ("0", "0,1")]
    first = unbraid("sweep", pile.name, "--demos", tmp_path / "more", *asked, *grids[0])
    assert first.code == 0, first.err
    again = unbraid("sweep", pile.name, "--demos", tmp_path / "more", *asked, *grids[1], "--resume")
    assert [trial["state"] for trial in json.loads(again.out)["trials"]] == ["done", "done"]
    run = tmp_path / "sweep" / "trials" / "n_steps=20,seed=1"
    assert json.loads((run / "run.json").read_text())["reading"] == {"n_more_demos": 1}
    data = json.loads((run / "results.json").read_text())["data"]
    assert data["n_episodes"] + data["held_out_episodes"] == 6 + 4
    turned = unbraid("sweep", tmp_path / "more", "--demos", pile.name, *asked, *grids[1], "--resume")
    assert "must be resumed with the data fingerprint that it was made with" in turned.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grid", "n_mode=2"], "n_mode in --grid must be a setting of --method unbraid"),
        (["--grid", "seed=0", "--workers", "0"], "--workers must be at least 1; got 0"),
        (["--grid", "seed=0", "--device", "tpu9"], "The device must be one that torch can use here; 'tpu9' is not"),
        (["--grid", "seed=0", "--retries", "-1"], "--retries must be at least 0; got -1"),
        (["--grid", "n_modes=1,2"], "n_modes in --grid must be at least 2; got 1"),
        (
            ["--grid", "seed=0", "--held-out", "2"],
            "--held-out must be a share of the episodes, at least 0 and below 1;",
        ),
        (
            ["--grid", "seed=0", "--gpus-per-trial", "1"],
            "--gpus-per-trial must come with --ray or --ray-address; got 1",
        ),
        (["--grid", "seed=0", "--ray-address", "auto"], "--ray-address must be a Ray cluster that runs; got auto"),
        (["--grid", "seed=0", "--ray-address", "127.0.0.1:1"], "got 127.0.0.1:1: "),
        (["--grid", "seed=0", "--ray-address", "ray://127.0.0.1:many"], "got ray://127.0.0.1:many: Port could not be"),
    ],
)
def test_a_sweep_that_cannot_be_says_why_before_the_first_fit(unbraid, pile, tmp_path, words, message):
    said = unbraid("sweep", pile, "--out", tmp_path / "sweep", *words)
    assert said.code == 2
    assert message in said.err
    assert not (tmp_path / "sweep").exists()


def below(process_id):
    """Every process that a process has started, or one of those, with its command line."""
    found = {}
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
            found |= below(child)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes below /proc")
@pytest.mark.parametrize(
    ("words", "title"), [([], "unbraid.pipeline.trial"), (["--ray"], "ray::n_steps=600")], ids=["processes", "ray"]
)
def test_a_fit_whose_worker_is_killed_is_done_again(pile, tmp_path, words, title):
    out = tmp_path / "sweep"
    eager = {**os.environ, "RAY_worker_niceness": "0"}  # Ray's workers would wait for all other tests
    grid = ["--grid", "n_steps=600", "policy_hidden=8", "seed=0,1", "--checkpoint-every", "50", "--workers", "2"]
    command = [sys.executable, "-m", "unbraid", "sweep", str(pile), "--out", str(out), *TALK, *grid, *words, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=eager) as process:
        while process.poll() is None and not any(out.glob("trials/*seed=0/checkpoints/step_*")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)  # until there is something to go on from
        workers = [worker for worker, line in below(process.pid).items() if title in line]
        os.kill(workers[0], signal.SIGKILL)
        said, complaints = process.communicate(timeout=900)  # a machine may be busy
    assert process.returncode == 0, complaints
    found = json.loads(said)
    assert [trial["state"] for trial in found["trials"]] == ["done", "done"]
    for trial in found["trials"]:
        lines = (out / "trials" / trial["name"] / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["step"] == 600
