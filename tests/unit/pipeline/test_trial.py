"""A worker's part of a sweep: an order goes in as JSON, and whatever happens comes out as JSON."""

import json
from pathlib import Path

import pytest

from unbraid.core.errors import ConfigError
from unbraid.demos.options import ReadOptions
from unbraid.pipeline.places import MoreData
from unbraid.pipeline.requests import FitRequest
from unbraid.pipeline.trial import order_of, run_trial
from unbraid.training.config import TalkConfig


@pytest.fixture
def order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pile.csv").touch()
    more = MoreData(("minari:one",), (0.5, 0.5), ReadOptions(episode_column="e", obs_columns=("x", "y")))
    asked = FitRequest(Path("pile.csv"), Path("trials/seed=3"), resume=True, held_out=0.3, more=more)
    return json.loads(json.dumps(order_of(asked, TalkConfig(seed=3, policy_hidden=(8, 8)))))


def test_an_order_is_a_fit_at_absolute_paths(order, monkeypatch):
    asked = []
    monkeypatch.setattr("unbraid.pipeline.stages.fit_stage", lambda *given: asked.append(given))
    assert run_trial(order) == {"state": "done", "message": None}
    ((request, config),) = asked
    assert (request.data, request.out) == (Path.cwd() / "pile.csv", Path.cwd() / "trials" / "seed=3")
    assert (request.more.demos, request.more.weights) == (("minari:one",), (0.5, 0.5))
    assert request.more.reading == ReadOptions(episode_column="e", obs_columns=("x", "y"))
    assert (request.resume, request.held_out, request.out.parent.is_dir()) == (True, 0.3, True)
    assert config == TalkConfig(seed=3, policy_hidden=(8, 8))


@pytest.mark.parametrize(
    ("error", "message"),
    [(ConfigError("It must fit."), "It must fit."), (KeyError("x"), "A bug of ours; please report it: KeyError('x')")],
)
def test_what_goes_wrong_is_told(order, monkeypatch, capsys, error, message):
    def fail(*given):
        raise error

    monkeypatch.setattr("unbraid.pipeline.stages.fit_stage", fail)
    assert run_trial(order) == {"state": "failed", "message": message}
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, KeyError)


def test_a_stop_is_not_taken_for_a_failure(order, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("unbraid.pipeline.stages.fit_stage", stop)
    with pytest.raises(KeyboardInterrupt):
        run_trial(order)
