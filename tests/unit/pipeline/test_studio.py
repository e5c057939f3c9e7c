"""The verb finds the demonstrations of a run, and says where they are not the run's own."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.randomness import named_generator
from unbraid.core.runs import create_run, provenance, write_json
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.formats.tables_write import write_table
from unbraid.demos.joining import join_demos
from unbraid.demos.options import ReadOptions
from unbraid.demos.store import save_demos
from unbraid.pipeline.demo import keep_demonstrations
from unbraid.pipeline.requests import StudioRequest
from unbraid.pipeline.studio import desk_of
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"


@pytest.fixture(scope="module")
def demos():
    return collect([("forward", make_expert("forward"))], env_id=ENV, n_episodes=5, seed=0, max_steps=20)


@pytest.fixture
def run(tmp_path, demos):
    training, _ = demos.split(held_out=0.4, generator=named_generator(7, "held out"))
    known = provenance(seed=7, data_fingerprint=training.fingerprint())
    run = create_run(tmp_path / "run", {"command": "fit", "held_out": 0.4, "provenance": known})
    config = UnbraidConfig(n_modes=2, policy_hidden=(8,), encoder_width=4)
    ModeModel(config, observation_size=60, action_size=2).save_pretrained(run / "model")
    results = {"format": "unbraid-results", "version": 1, "data": {"env_id": ENV}}
    write_json(run / "results.json", results)
    return run


def test_the_fits_own_demonstrations_are_known_again_with_those_it_left_out(run, demos, tmp_path):
    save_demos(demos, tmp_path / "pile")
    desk = desk_of(StudioRequest(run, demos=(str(tmp_path / "pile"),)))
    assert desk.remarks == ()
    assert desk.demos.n_episodes == 5
    assert desk._held_out.n_episodes == 2
    assert desk.env_ids == (ENV, "unbraid/PointGoal2-v0")


def test_demonstrations_are_read_as_the_fit_read_them(run, demos, tmp_path):
    """What names columns, keys and splits for `fit` does so here: a table of others cannot be read without."""
    seen = [f"seen_{column}" for column in range(demos.observation_size)]
    write_table(replace(demos, observation_names=tuple(seen)), tmp_path / "left.csv")
    (tmp_path / "left.csv.json").unlink()  # what unbraid noted of it
    reading = ReadOptions(episode_column="episode", obs_columns=("seen_*",), action_columns=("action_*",))
    desk = desk_of(StudioRequest(run, demos=(str(tmp_path / "left.csv"),), reading=reading))
    assert desk.demos.n_episodes == 5
    assert desk.demos.observation_size == demos.observation_size
    with pytest.raises(ConfigError, match=r"need --demos, which was not given"):
        desk_of(StudioRequest(run, reading=reading))


def test_demonstrations_of_an_altered_world_are_neither_acted_again_nor_acted_in_unasked(run, demos, tmp_path):
    altered = replace(demos, facts={**demos.facts, "env_altered": f"{ENV}, in RescaleAction"})
    save_demos(altered, tmp_path / "pile")
    write_json(
        run / "results.json",
        {
            "format": "unbraid-results",
            "version": 1,
            "data": {"env_id": None, "env_altered": f"{ENV}, in RescaleAction"},
        },
    )
    desk = desk_of(StudioRequest(run, demos=(str(tmp_path / "pile"),)))
    assert any(f"recorded in {ENV}, in RescaleAction, which its id alone does not make" in one for one in desk.remarks)
    assert desk.episode(0)["from_above"] is None


def test_other_demonstrations_are_shown_and_said_to_be_others(run, demos, tmp_path):
    save_demos(replace(demos, actions=-demos.actions), tmp_path / "pile")
    desk = desk_of(StudioRequest(run, demos=(str(tmp_path / "pile"),)))
    assert "are not the demonstrations that the run was fitted on" in desk.remarks[0]
    assert desk._held_out is desk.demos


@pytest.mark.parametrize("weights", [(), (1.0, 2.0)])
def test_data_sets_that_were_fitted_together_are_known_again(run, demos, tmp_path, weights):
    sources = tuple(str(save_demos(demos.select(chosen), tmp_path / f"{chosen[0]}")) for chosen in ([0, 1, 2], [3, 4]))
    together = join_demos([demos.select([0, 1, 2]), demos.select([3, 4])], weights=weights or None)
    training, _ = together.split(held_out=0.4, generator=named_generator(7, "held out"))
    facts = json.loads((run / "run.json").read_text())
    facts["provenance"]["data_fingerprint"] = training.fingerprint()
    facts["reading"] = {"n_more_demos": 1, "weights": list(weights)}
    (run / "run.json").write_text(json.dumps(facts))
    desk = desk_of(StudioRequest(run, demos=sources, weights=weights))
    assert desk.remarks == ()
    assert desk.demos.n_episodes == together.n_episodes
    assert desk._held_out.n_episodes == together.n_episodes - training.n_episodes
    alone = desk_of(StudioRequest(run, demos=sources[:1]))
    told = "It read 2 data sets: name as many after --demos, in the order of the fit"
    assert f"{told}{', with --weights 1 2' if weights else ''}." in alone.remarks[0]


def test_columns_are_known_by_their_names(run, demos, tmp_path):
    """Renamed ones are refused at the start, as the model refuses them; those in another order are read."""
    import shutil

    model = ModeModel.from_pretrained(run)
    model.observation_names = demos.observation_names
    shutil.rmtree(run / "model")
    model.save_pretrained(run / "model")
    order = np.arange(demos.observation_size)[::-1]
    turned = tuple(demos.observation_names[column] for column in order)
    renamed = tuple(f"q{name}" for name in demos.observation_names)
    save_demos(replace(demos, observations=demos.observations[:, order], observation_names=turned), tmp_path / "turned")
    save_demos(replace(demos, observation_names=renamed), tmp_path / "renamed")
    assert desk_of(StudioRequest(run, demos=(str(tmp_path / "turned"),))).demos.n_episodes == 5
    with pytest.raises(DataError, match=r"renamed cannot be read .* must have the observation columns"):
        desk_of(StudioRequest(run, demos=(str(tmp_path / "renamed"),)))


@pytest.fixture
def narrow(tmp_path):
    """Demonstrations of three columns and one, which no model of PointGoal1 can read; their path."""
    save_demos(Demos.from_episodes([Episode(np.ones((4, 3)), np.ones((3, 1)))] * 3), tmp_path / "narrow")
    return tmp_path / "narrow"


def test_demonstrations_that_the_model_cannot_read_are_refused_at_the_start(run, narrow):
    with pytest.raises(DataError, match=r"narrow must hold .* of 60 observation and 2 action columns.* got 3 and 1\."):
        desk_of(StudioRequest(run, demos=(str(narrow),)))


def test_of_a_fit_that_goes_on_it_is_said_once_there_is_a_model_that_cannot_read_them(tmp_path, run, narrow):
    fitting = create_run(tmp_path / "fitting", {"command": "fit"})
    desk = desk_of(StudioRequest(fitting, demos=(str(narrow),)))
    (run / "model").rename(fitting / "model")
    assert any("got 3 and 1" in remark for remark in desk.about()["remarks"])


def test_without_demonstrations_it_says_how_to_give_them(run):
    desk = desk_of(StudioRequest(run))
    assert "--demos PATH" in desk.remarks[0]
    assert not desk.about()["has_demos"]


@pytest.fixture
def of_a_demo(run, demos, monkeypatch):
    """Makes the run a demo's; gives its folder and how often its experts acted again."""
    acted = []

    def collected(asked):
        acted.append(asked.seed)
        return demos, demos

    monkeypatch.setattr("unbraid.pipeline.studio.collect_demonstrations", collected)

    def make(fingerprint):
        facts = {"format": "unbraid-run", "version": 1, "command": "demo", "config": {"seed": 3, "quick": True}}
        write_json(run / "run.json", facts)
        data = {"env_id": ENV, "data_fingerprint": fingerprint}
        write_json(run / "results.json", {"format": "unbraid-results", "version": 1, "data": data})
        return run, acted

    return make


def test_a_demos_demonstrations_are_read_as_they_were_kept(of_a_demo, demos):
    run, acted = of_a_demo(demos.fingerprint())
    keep_demonstrations(run, demos, demos)
    desk = desk_of(StudioRequest(run))
    assert (desk.remarks, acted) == ((), [])
    assert desk.demos.fingerprint() == demos.fingerprint()


def test_what_a_demo_did_not_keep_is_recorded_again_once(of_a_demo, demos):
    run, acted = of_a_demo(demos.fingerprint())
    for _ in range(2):
        assert desk_of(StudioRequest(run)).remarks == ()
    assert acted == [3]


@pytest.mark.parametrize("damaged", [False, True])
def test_what_a_demo_kept_is_passed_over_where_it_is_not_its_own(of_a_demo, demos, damaged):
    run, acted = of_a_demo(demos.fingerprint() if damaged else "another")
    keep_demonstrations(run, demos, demos)
    if damaged:
        (run / "demonstrations" / "training" / "demos.json").write_text("{}")
    desk = desk_of(StudioRequest(run))
    assert acted == [3]
    assert len(desk.remarks) == (0 if damaged else 1)


def test_of_a_demo_that_goes_on_they_are_recorded_without_a_word_and_left_to_it_to_keep(of_a_demo, demos):
    run, acted = of_a_demo(None)
    (run / "results.json").unlink()
    desk = desk_of(StudioRequest(run))
    assert (desk.remarks, acted) == ((), [3])
    assert desk.demos.fingerprint() == demos.fingerprint()
    assert not (run / "demonstrations").exists()


def test_a_world_that_does_not_fit_is_refused(run):
    with pytest.raises(ConfigError, match="has 28 observation"):
        desk_of(StudioRequest(run, env="unbraid/PointGoal0-v0"))
    with pytest.raises(ConfigError, match="cannot be made here"):
        desk_of(StudioRequest(run, env="unbraid/Nowhere-v0"))


def test_a_fit_that_goes_on_can_be_looked_at_and_its_worlds_are_those_that_fit_the_model_in_the_end(tmp_path, run):
    fitting = create_run(tmp_path / "fitting", {"command": "fit"})
    named = desk_of(StudioRequest(fitting, env="unbraid/PointGoal0-v0"))
    desk = desk_of(StudioRequest(fitting))
    told = desk.about()
    assert (told["has_model"], told["env_ids"]) == (False, [])
    assert named.about()["env_ids"] == ["unbraid/PointGoal0-v0"]
    (run / "model").rename(fitting / "model")
    ours = [ENV, "unbraid/PointGoal2-v0"]
    assert desk.about()["env_ids"] == named.about()["env_ids"] == ours
    assert "has 28 observation" in named.about()["remarks"][-1]
