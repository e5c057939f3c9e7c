"""The loop, driven by a learner of one number: lines, TensorBoard, Ctrl-C, and what it refuses."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.training.fit import fit
from unbraid.training.loop import LoopOptions, run_loop


class Counting:
    """A learner whose loss at step t is t, and whose step calls `at_step`."""

    samples_per_step = 10

    def __init__(self, n_steps=10, at_step=None):
        self.n_steps, self.taken, self.at_step = n_steps, 0, at_step or (lambda taken: None)

    def step(self):
        self.taken += 1
        self.at_step(self.taken)
        return {"loss": torch.tensor(float(self.taken)), "half": torch.tensor(self.taken / 2)}

    def usage(self):
        return torch.tensor([0.25, 0.75])

    def modules(self):
        return {}

    def optimizers(self):
        return {}

    def tensors(self):
        return {"taken": torch.tensor(self.taken)}

    def restore(self, tensors, taken):
        assert int(tensors["taken"]) == taken
        self.taken = taken


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def press_ctrl_c_at(step):
    return lambda taken: os.kill(os.getpid(), signal.SIGINT) if taken == step else None


def test_a_line_holds_the_means_since_the_last_one(tmp_path):
    seen = []
    run_loop(Counting(), LoopOptions(run=tmp_path, log_every=4, on_log=seen.append))
    assert [line["step"] for line in seen] == [4, 8, 10]
    assert [line["loss"] for line in seen] == [2.5, 6.5, 9.5]
    assert [line["terms"] for line in seen] == [{"half": 1.25}, {"half": 3.25}, {"half": 4.75}]
    assert seen[0]["code_usage"] == [0.25, 0.75]
    assert all(line["samples_per_s"] > 0 for line in seen)
    assert lines_of(tmp_path) == seen


def test_nothing_is_written_where_no_run_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_loop(Counting(), LoopOptions(log_every=2))
    assert list(tmp_path.iterdir()) == []


def test_a_resume_drops_lines_after_its_checkpoint_and_those_cut_short(tmp_path):
    options = LoopOptions(run=tmp_path, log_every=3, checkpoint_every=7)

    def killed(line):
        if line["step"] == 9:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_loop(Counting(), dataclasses.replace(options, on_log=killed))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 9, "loss": 1.0, "terms": {"half": 1.0}')  # ends in a brace, and is no line
        file.write(b"\n\xff\x00")  # what a loss of power may leave
    run_loop(Counting(), dataclasses.replace(options, resume=True))
    assert [(line["step"], line["loss"]) for line in lines_of(tmp_path)] == [(3, 2), (6, 5), (9, 8), (10, 10)]


def test_a_finished_run_resumed_stays_as_it_is(tmp_path):
    options = LoopOptions(run=tmp_path, log_every=5)
    run_loop(Counting(), options)
    before = (tmp_path / "metrics.jsonl").read_text()
    learner = Counting()
    run_loop(learner, dataclasses.replace(options, resume=True))
    assert learner.taken == 10
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_resume_where_nothing_was_saved_begins_anew(tmp_path):
    run_loop(Counting(), LoopOptions(run=tmp_path, resume=True))
    assert lines_of(tmp_path)[-1]["step"] == 10


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    options = LoopOptions(run=tmp_path, log_every=4)
    with pytest.raises(KeyboardInterrupt, match=r"Stopped after step 6 of 10\. All is saved; go on with .* --resume"):
        run_loop(Counting(at_step=press_ctrl_c_at(6)), options)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_0000006"]
    run_loop(Counting(), dataclasses.replace(options, resume=True))
    assert [(line["step"], line["loss"]) for line in lines_of(tmp_path)] == [(4, 2.5), (8, 6.5), (10, 9.5)]


def test_ctrl_c_without_a_run_says_that_nothing_was_kept():
    with pytest.raises(KeyboardInterrupt, match=r"after step 3 of 10\. Nothing was kept, .* --out \(in Python, run="):
        run_loop(Counting(at_step=press_ctrl_c_at(3)), LoopOptions())


def test_ctrl_c_in_the_last_step_is_heard_too(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="after step 10 of 10"):
        run_loop(Counting(at_step=press_ctrl_c_at(10)), LoopOptions(run=tmp_path))
    assert lines_of(tmp_path)[-1]["step"] == 10


def test_ctrl_c_while_a_line_is_written_is_not_said_to_be_saved_unless_it_is(tmp_path):
    """Pressed after the step was looked at: it is heard after the next step, which is saved."""

    def press(line):
        if line["step"] == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"after step 5 of 10\. All is saved"):
        run_loop(Counting(), LoopOptions(run=tmp_path, log_every=4, on_log=press))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_0000005"]


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def press_twice(taken):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run_loop(Counting(at_step=press_twice), LoopOptions(run=tmp_path))
    assert not (tmp_path / "checkpoints").exists()


def test_what_heard_ctrl_c_before_hears_it_again(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    run_loop(Counting(), LoopOptions())
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        run_loop(Counting(at_step=press_ctrl_c_at(1)), LoopOptions())
    assert signal.getsignal(signal.SIGINT) is before


def test_it_runs_in_another_thread_too():
    learner = Counting()
    thread = threading.Thread(target=run_loop, args=(learner, LoopOptions()))
    thread.start()
    thread.join()
    assert learner.taken == 10


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_longer_finite_stops_the_fit(tmp_path, value):
    learner = Counting()
    step = learner.step
    learner.step = lambda: step() | ({"half": torch.tensor(value)} if learner.taken == 6 else {})
    message = rf"The loss must stay finite; its half was {value} by step 8\. Lower learning_rate"
    with pytest.raises(ConfigError, match=message):
        run_loop(learner, LoopOptions(run=tmp_path, log_every=4, checkpoint_every=4))
    assert [line["step"] for line in lines_of(tmp_path)] == [4]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_0000004"]


@pytest.mark.parametrize("name", ["log_every", "checkpoint_every", "n_threads"])
def test_less_than_one_is_refused(name):
    with pytest.raises(
        ConfigError, match=rf"{name} must be a whole number of at least 1; got 0\. Leave it out for the default"
    ):
        LoopOptions(**{name: 0})


def events_in(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_gets_every_line_once_even_after_a_resume(tmp_path):
    options = LoopOptions(run=tmp_path, log_every=2, checkpoint_every=3, tensorboard=True)

    def killed(line):
        if line["step"] == 6:
            raise RuntimeError

    def later(line):
        killed(line | {"step": line["step"] - 2})

    with pytest.raises(RuntimeError):
        run_loop(Counting(), dataclasses.replace(options, on_log=later))
    run_loop(Counting(), dataclasses.replace(options, resume=True))
    found = events_in(tmp_path / "tensorboard")
    assert [step for step, _ in found["loss"]] == [2, 4, 6, 8, 10]
    assert [value for _, value in found["terms/half"]] == [0.75, 1.75, 2.75, 3.75, 4.75]
    assert set(found) == {"loss", "samples_per_s", "terms/half", "code_usage/0", "code_usage/1"}


def test_no_events_without_asking(tmp_path):
    run_loop(Counting(), LoopOptions(run=tmp_path))
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ConfigError, match=r"needs the package tensorboard; it is not installed\. Run `pip install"):
        run_loop(Counting(), LoopOptions(run=tmp_path, tensorboard=True))


def test_tensorboard_without_a_run_is_refused():
    with pytest.raises(
        ConfigError, match=r"--tensorboard needs a run's folder .*; none was named\. Name one with --out"
    ):
        run_loop(Counting(), LoopOptions(tensorboard=True))


def test_torch_is_left_as_it_was():
    """A fit takes denormal numbers for 0; whoever called it relies on IEEE arithmetic."""
    import torch

    from unbraid.training.loop import computing

    threads = torch.get_num_threads()
    tiny = torch.tensor([1.5e-38])
    with computing(1):
        assert float(tiny / 4) == 0
        with computing(2):
            assert torch.get_num_threads() == 2
        assert float(tiny / 4) == 0
        assert torch.get_num_threads() == 1
    assert float(tiny / 4) > 0
    assert torch.get_num_threads() == threads


_PATHS = """
import tempfile
from pathlib import Path
import numpy as np
from unbraid import LoopOptions
options = LoopOptions(run="runs/first", checkpoint_every=np.int64(7))
assert options.folder == Path("runs/first")
assert type(options.checkpoint_every) is int
assert LoopOptions().folder is None
for wrong in ({"run": 3}, {"log_every": "often"}, {"n_threads": 1.5}, {"n_threads": 0}):
    try:
        LoopOptions(**wrong)
    except ValueError as error:
        assert "must be" in str(error) and "Leave it out" in str(error), error
    else:
        raise AssertionError(wrong)
"""


def test_a_runs_folder_may_be_text_and_numbers_numpys():
    """In a Python of its own: without the shape check, which would see a wrong kind first."""
    said = subprocess.run([sys.executable, "-c", _PATHS], check=False, capture_output=True, text=True)
    assert said.stderr == ""


def test_a_fit_writes_into_a_folder_named_by_text(demos, tiny, tmp_path):
    fit(demos, tiny("unbraid", n_steps=2), LoopOptions(run=str(tmp_path / "run")))
    assert (tmp_path / "run" / "metrics.jsonl").exists()
