"""A sweep around fits that are made up: what it shows on a terminal, sums up, and does not do twice."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.core.runs import write_json, write_text
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.store import save_demos
from unbraid.pipeline.answers import say_sweep
from unbraid.pipeline.requests import SweepRequest
from unbraid.pipeline.sweep import sweep_stage
from unbraid.training.sweep import Outcome


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class MadeUpFits:
    """Writes what a fit writes; its score is ten times its number of modes, plus its seed. Four modes fail."""

    def __init__(self):
        self.names = []

    n_workers = 1

    def start(self, name, order):
        self.names.append(name)
        config, run = order["config"], Path(order["asked"]["out"])
        if config["n_modes"] == 4:
            return
        score = {"value": 10.0 * config["n_modes"] + config["seed"], "low": None, "high": None, "n": 1}
        write_json(run / "run.json", {"format": "unbraid-run", "version": 1, "config": config})
        nmi = {"level": "episode", "evidence": "combined", "nmi": score | {"value": 0.99 - 0.02 * config["seed"]}}
        fitted = {"held_out_log_likelihood_nats": score}
        write_json(
            run / "results.json",
            {"format": "unbraid-results", "version": 1, "fit": fitted, "unbraid": {"agreement": [nmi]}},
        )
        write_text(run / "report" / "index.html", "<p>made up</p>")

    def next_ended(self):
        failed = "n_modes=4" in self.names[-1]
        return self.names[-1], Outcome("failed", "Four is too many.") if failed else Outcome("done")

    def stop(self):
        pass


@pytest.fixture
def asked(tmp_path):
    episodes = [Episode(np.zeros((4, 2), np.float32), np.zeros((3, 1), np.float32)) for _ in range(3)]
    save_demos(Demos.from_episodes(episodes), tmp_path / "pile")
    return SweepRequest(tmp_path / "pile", tmp_path / "sweep", ("n_modes=2,3,4", "seed=0,1,2"))


@pytest.fixture
def fits(monkeypatch):
    made = MadeUpFits()
    monkeypatch.setattr("unbraid.pipeline.sweep._workers", lambda asked, n_trials: made)
    return made


def test_means_are_over_seeds_with_student_intervals(asked, fits):
    found = sweep_stage(asked)
    two, three, four = found["combinations"]
    score = two["scores"]["held_out_log_likelihood_nats"]
    assert (two["settings"], two["n_done"], score["n"]) == ({"n_modes": 2}, 3, 3)
    assert (score["value"], score["high"] - score["value"]) == pytest.approx((21, 4.3027 / 3**0.5), rel=1e-4)
    assert three["scores"]["held_out_log_likelihood_nats"]["value"] == pytest.approx(31)
    assert two["scores"]["episode_nmi"]["high"] == 1  # an NMI is at most that
    assert (four["n_done"], four["scores"]) == (0, {})
    assert json.loads((asked.out / "results.json").read_text())["trials"][-1]["message"] == "Four is too many."
    assert found["picture"] == str(asked.out / "results.png")


def test_where_nothing_is_fitted_no_picture_is_promised_or_left(asked, fits, capsys):
    sweep_stage(asked)
    found = sweep_stage(SweepRequest(asked.data, asked.out, ("n_modes=4", "seed=0,1"), resume=True))
    assert found["picture"] is None
    assert not (asked.out / "results.png").exists()
    say_sweep(found)
    assert "results.csv, results.json; a run for each fit" in capsys.readouterr().out


def test_a_resume_does_what_is_left_and_what_failed(asked, fits):
    sweep_stage(asked)
    fits.names.clear()
    (asked.out / "trials" / "n_modes=3,seed=1" / "report" / "index.html").unlink()  # as if it was killed before
    grown = SweepRequest(asked.data, asked.out, ("n_modes=2,3,4", "seed=0,1,2,3"), resume=True)
    assert len(sweep_stage(grown)["trials"]) == 12
    fours = [f"n_modes=4,seed={seed}" for seed in range(4)]
    assert fits.names == ["n_modes=2,seed=3", "n_modes=3,seed=1", "n_modes=3,seed=3", *fours]
    assert json.loads((asked.out / "sweep.json").read_text())["grid"] == list(grown.grid)


def test_a_terminal_shows_states_and_scores(asked, fits, monkeypatch):
    terminal = _Terminal()
    for name, value in {"COLUMNS": "160", "LINES": "40", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal)
    sweep_stage(asked)
    shown = terminal.getvalue()
    assert "n_modes=3,seed=1" in shown
    assert "31.000" in shown
    assert "3 failed, 6 done" in shown


def test_torchrun_has_no_sweep_to_start(asked, monkeypatch):
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="must run as one process; torchrun started several"):
        sweep_stage(asked)
