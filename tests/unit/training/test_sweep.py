"""A grid becomes trials, checked before the first begins; a lost one is done again, a failed one stops no others."""

from collections import deque

import pytest

from unbraid.core.errors import ConfigError
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.sweep import Outcome, run_trials, trials_of


def test_a_grid_is_every_combination_with_typed_values():
    trials = trials_of("unbraid", ["n_modes=2,auto", "learning_rate=1e-3", "policy_hidden=8x8,16", "seed=0,1"])
    assert len(trials) == 8
    assert trials[0].name == "n_modes=2,learning_rate=0.001,policy_hidden=8x8,seed=0"
    assert trials[1].config == UnbraidConfig(n_modes=2, learning_rate=1e-3, policy_hidden=(8, 8), seed=1)
    assert trials[-1].settings == {"n_modes": "auto", "learning_rate": 1e-3, "policy_hidden": (16,), "seed": 1}
    assert len({trial.name for trial in trials}) == 8
    (trial,) = trials_of("talk", ["delta_steps=5"])
    assert trial.config == TalkConfig(delta_steps=5)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["n_mods=2"], "n_mods in --grid must be a setting of --method unbraid; it is none. Known: n_modes, n_steps,"),
        (["delta_steps=1,5"], "must be a setting of --method unbraid; it is none. It is one of --method talk"),
        (["n_modes=2,few"], "n_modes in --grid must be a whole number or auto; got 'few'"),
        (["n_modes=2,1"], "n_modes in --grid must be at least 2; got 1. One mode has nothing to tell apart"),
        (["learning_rate=fast"], "learning_rate in --grid must be a number; got 'fast'"),
        (["codes=round"], "codes in --grid must be simplex, free; got 'round'"),
        (["policy_hidden=64-64"], "must be whole numbers with an x between them; got '64-64'"),
        (["seed=0,-1"], "seed must be at least 0; got -1. The default is 0"),
        (["seed=0,0"], "The values of seed in --grid must differ; got 0,0"),
        (["seed=0", "seed=1"], "A setting of --grid must be named once; got seed twice"),
        (["seed"], "--grid must be name=value,value,...; got 'seed'"),
        (["seed="], "--grid must be name=value,value,...; got 'seed='"),
        ([], "--grid must name a setting with its values; got none"),
    ],
)
def test_what_cannot_be_is_refused(grid, message):
    with pytest.raises(ConfigError) as caught:
        trials_of("unbraid", grid)
    assert message in str(caught.value)


class MadeUpWorkers:
    """Workers whose trials end in the order of their beginning, as it is written."""

    def __init__(self, n_workers, ends):
        self.n_workers, self.running, self.most, self.stopped = n_workers, deque(), 0, False
        self.ends = {name: deque(outcomes) for name, outcomes in ends.items()}
        self.orders = []

    def start(self, name, order):
        self.running.append(name)
        self.orders.append((name, order))
        self.most = max(self.most, len(self.running))

    def next_ended(self):
        name = self.running.popleft()
        outcome = self.ends[name].popleft()
        if isinstance(outcome, BaseException):
            raise outcome
        return name, outcome

    def stop(self):
        self.stopped = True


DONE, LOST = Outcome("done"), None
ORDERS = {name: {"of": name} for name in "abc"}


def test_a_failure_stops_no_other_and_a_lost_trial_is_done_again():
    workers = MadeUpWorkers(2, {"a": [Outcome("failed", "no"), DONE], "b": [LOST, DONE], "c": [DONE]})
    changes = []
    outcomes = run_trials(ORDERS, workers, retries=1, on_change=lambda *change: changes.append(change))
    assert outcomes == {"a": Outcome("failed", "no"), "b": DONE, "c": DONE}
    assert [name for name, _ in workers.orders] == ["a", "b", "c", "b"]
    assert all(order == ORDERS[name] for name, order in workers.orders)
    assert (workers.most, workers.stopped) == (2, True)
    of_b = [state for name, state in changes if name == "b"]
    assert of_b == ["running", "lost", "running", "done"]
    assert ("a", "failed") in changes


def test_a_trial_that_is_lost_too_often_has_failed():
    workers = MadeUpWorkers(1, {"a": [LOST] * 3, "b": [DONE], "c": [DONE]})
    outcomes = run_trials(ORDERS, workers, retries=2, on_change=lambda *change: None)
    assert outcomes["a"].state == "failed"
    assert "it was lost 3 times" in outcomes["a"].message
    assert outcomes["b"] == outcomes["c"] == DONE


def test_workers_are_stopped_whatever_happens():
    workers = MadeUpWorkers(1, {"a": [KeyboardInterrupt()], "b": [], "c": []})
    with pytest.raises(KeyboardInterrupt):
        run_trials(ORDERS, workers, retries=2, on_change=lambda *change: None)
    assert workers.stopped
