"""Processes as workers: they are told on stdin, answer on stdout, may be killed, and stop where their stdin closes."""

import os
import signal
import sys

from unbraid.training.process_workers import ProcessWorkers
from unbraid.training.sweep import Outcome, run_trials

WORKER = """
import json, os, signal, sys
order = json.loads(sys.stdin.readline())
if order["do"] == "answer":
    said = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    print(json.dumps({"state": "failed", "message": json.dumps(said)}))
elif order["do"] == "die once" and not os.path.exists(order["marker"]):
    open(order["marker"], "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
elif order["do"] == "wait":
    open(order["marker"], "w").close()
    sys.stdin.read()
    open(order["marker"] + " stopped", "w").close()
else:
    print("something else that is said")
    print(json.dumps({"state": "done", "message": None}))
"""
COMMAND = [sys.executable, "-c", WORKER]


def test_orders_go_in_and_outcomes_come_out(tmp_path):
    orders = {
        "told": {"do": "answer"},
        "killed": {"do": "die once", "marker": str(tmp_path / "died")},
        "done": {"do": "nothing"},
    }
    changes = []
    workers = ProcessWorkers(COMMAND, 2, gpus=["5"])
    outcomes = run_trials(orders, workers, retries=1, on_change=lambda *change: changes.append(change))
    assert outcomes["told"] == Outcome("failed", '{"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "5"}')
    assert outcomes["killed"] == outcomes["done"] == Outcome("done")
    assert [state for name, state in changes if name == "killed"] == ["running", "lost", "running", "done"]


def test_a_process_that_is_killed_from_outside_is_lost(tmp_path):
    workers = ProcessWorkers(COMMAND, 1)
    workers.start("waits", {"do": "wait", "marker": str(tmp_path / "begun")})
    os.kill(workers.process_ids["waits"], signal.SIGKILL)
    assert workers.next_ended() == ("waits", None)
    assert workers.process_ids == {}


def test_stopping_closes_their_line_and_waits(tmp_path):
    workers = ProcessWorkers(COMMAND, 1)
    marker = tmp_path / "begun"
    workers.start("waits", {"do": "wait", "marker": str(marker)})
    while not marker.exists():
        os.sched_yield()
    workers.stop()
    assert (tmp_path / "begun stopped").exists()


def test_workers_take_gpus_in_turn():
    workers = ProcessWorkers(COMMAND, 3, gpus=["0", "1"])
    for name in "abc":
        workers.start(name, {"do": "answer"})
    said = sorted(outcome.message[-3:-2] for _, outcome in (workers.next_ended() for _ in "abc"))
    assert said == ["0", "0", "1"]
