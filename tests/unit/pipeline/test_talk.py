"""The talk's experiment: its stages are moments of one fit, and its long run is told as it was measured."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from unbraid.pipeline.config import DemoConfig, DemoSizes
from unbraid.pipeline.talk import repeat_talk, talk_modes_in_the_world
from unbraid.training.config import TalkConfig
from unbraid.training.fit import fit
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert

SIZES = DemoSizes(max_steps=20, talk_steps=200, paired_seeds=3, talk_seeds=2)


@pytest.fixture(scope="module")
def demos():
    sources = [(name, make_expert(name)) for name in ("goal_seeking", "forward")]
    return collect(sources, env_id="unbraid/PointGoal1-v0", n_episodes=3, seed=0, max_steps=60)


@pytest.fixture(scope="module")
def asked():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DemoConfig, "sizes", property(lambda self: SIZES))
        patch.setattr("unbraid.pipeline.talk._N_MODES", (4,))
        patch.setattr("unbraid.pipeline.talk._DELTA_STEPS", (1,))
        yield DemoConfig(seed=3)


@pytest.fixture(scope="module")
def talk(asked, demos):
    return repeat_talk(asked, demos.without_labels(), demos)


def _weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_stages_are_moments_of_one_fit(talk, demos):
    assert list(talk.stages) == ["first_epoch", "midway", "end"]
    config = TalkConfig(n_modes=4, delta_steps=1, n_steps=200, seed=3)
    reference = _weights(fit(demos.without_labels(), config))
    end = _weights(talk.stages["end"])
    for name, value in reference.items():
        torch.testing.assert_close(end[name], value, rtol=0, atol=0)
    after_an_epoch = _weights(fit(demos.without_labels(), dataclasses.replace(config, n_steps=50)))
    first = _weights(talk.stages["first_epoch"])
    assert all(torch.equal(first[name], value) for name, value in after_an_epoch.items())
    assert any(not torch.equal(first[name], value) for name, value in _weights(talk.stages["midway"]).items())


def test_metrics_go_on_over_the_stages(talk, tmp_path):
    assert [line["step"] for line in talk.metrics] == [50, 100, 150, 200]
    talk.save_metrics(tmp_path)
    lines = (tmp_path / "metrics_talk.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(talk.metrics)
    assert {(line["method"], line["n_modes"], line["delta_steps"]) for line in talk.metrics} == {("talk", 4, 1)}


def test_the_table_is_of_single_transitions_with_its_share_of_the_published_steps(talk):
    (table,) = talk.entry["tables"]
    assert (table["n_modes"], table["delta_steps"], table["window_steps"]) == (4, 1, 1)
    assert (table["gradient_steps"], table["published_gradient_steps"]) == (200, 50_000)
    assert np.sum(table["counts"]) == 6 * 12
    assert table["seconds"] > 0


def test_the_long_run_is_told_as_it_was_measured(talk):
    from importlib import resources

    source = resources.files("unbraid.pipeline") / "data" / "bench_talk.json"
    measured = json.loads(source.read_text(encoding="utf-8"))
    told = talk.entry["published_sizes"]
    assert told["verdict"] == measured["verdict"]
    assert {(run["delta_steps"], run["seed"]) for run in told["runs"]} == {(1, 0), (1, 1), (5, 0), (5, 1)}
    for run, source_run in zip(told["runs"], measured["runs"], strict=True):
        assert run["nmi"] == source_run["transition"]["nmi"]
        assert run["curve"][-1]["step"] == run["gradient_steps"] == 50_000
        np.testing.assert_allclose(np.sum(run["percent"], axis=1), 100, atol=0.1)


def test_every_mode_of_every_stage_acts_on_the_same_seed(asked, talk):
    found = talk_modes_in_the_world(asked, talk)
    stages = ("first_epoch", "midway", "end")
    assert set(found.paths) == {f"talk/{stage}/{mode}" for stage in stages for mode in range(4)}
    assert len({evaluation.seeds[0] for evaluation in found.paths.values()}) == 1
    assert [len(found.paths[f"talk/{stage}/0"].seeds) for stage in stages] == [1, 1, 2]
    assert [entry["mode"] for entry in found.entries] == [0, 1, 2, 3]
    assert all("length" not in entry["metrics"] for entry in found.entries)
