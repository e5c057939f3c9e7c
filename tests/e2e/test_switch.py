"""`unbraid switch`: a switcher is learned, guarded, saved, and used again."""

import json
import re
import shutil

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.store import save_demos
from unbraid.switching.answers import save_answers
from unbraid.switching.preferences import Preferences
from unbraid.switching.situations import situation_reader
from unbraid.switching.switcher import load_switcher

SHORT = ("--max-steps", 40, "--episodes", 3, "--horizon-steps", 5)


@pytest.fixture(scope="module")
def fitted(fitted, tmp_path_factory):
    """A run of our own, since `certify` adds to it."""
    return shutil.copytree(fitted, tmp_path_factory.mktemp("switched") / "run")


@pytest.fixture(scope="module")
def pendulum(unbraid, tmp_path_factory):
    """A run fitted on Pendulum, in which nothing costs."""
    folder = tmp_path_factory.mktemp("pendulum")
    draw = np.random.default_rng(0)
    episodes = [
        Episode(draw.normal(size=(21, 3)).astype(np.float32), np.full((20, 1), float(push), dtype=np.float32))
        for push in (-1, 1) * 3
    ]
    save_demos(Demos.from_episodes(episodes, facts={"env_id": "Pendulum-v1"}), folder / "pile")
    asked = ("--method", "talk", "--n-steps", 2, "--held-out", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.pipeline.stages.write_report", lambda run: run)
        said = unbraid("fit", folder / "pile", "--out", folder / "run", *asked)
    assert said.code == 0, said.err
    return folder / "run"


@pytest.fixture(scope="module")
def learned(unbraid, fitted, tmp_path_factory):
    """(the folder, what was said) of a bandit that learned a little."""
    out = tmp_path_factory.mktemp("switchers") / "bandit"
    said = unbraid(
        "switch", fitted, "--out", out, "--method", "bandit", "--steps", 800, "--cost-weight", 0.2, *SHORT, "--json"
    )
    assert said.code == 0, said.err
    return out, json.loads(said.out)


def test_a_bandit_is_learned_and_measured(learned):
    out, found = learned
    assert [actor["name"] for actor in found["actors"]] == ["switcher", "mode 0", "mode 1"]
    assert found["n_steps"] == 800
    assert found["regret"]["decision"][-1] == 160
    assert sum(found["shares"]) == pytest.approx(1)
    assert found["best_mode"] in ("mode 0", "mode 1")
    objective = {actor["name"]: actor["metrics"]["objective"]["value"] for actor in found["actors"]}
    assert found["gain"]["value"] == pytest.approx(objective["switcher"] - objective[found["best_mode"]])
    for actor in found["actors"]:
        of = {name: estimate["value"] for name, estimate in actor["metrics"].items()}
        assert of["objective"] == pytest.approx(of["return"] - 0.2 * of["cost"])
    files = {"switcher.json", "weights.safetensors", "results.json", "regret.png"}
    assert {path.name for path in out.iterdir()} == files
    assert (out / "regret.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((out / "results.json").read_text())
    assert {**kept, "switcher": str(out)} == {"format": "unbraid-switching", "version": 1, **found}


def test_it_is_used_again_on_the_same_episodes(unbraid, fitted, learned):
    out, found = learned
    said = unbraid("switch", fitted, "--use", out, "--cost-weight", 0.2, *SHORT, "--json")
    assert said.code == 0, said.err
    again = json.loads(said.out)
    assert again["actors"] == found["actors"]
    assert again["gain"] == found["gain"]


def test_what_it_was_learned_with_is_taken_where_nothing_else_is_asked(unbraid, fitted, learned):
    out, found = learned
    said = json.loads(unbraid("switch", fitted, "--use", out, *SHORT, "--json").out)
    assert (said["cost_weight"], said["env_id"], said["remarks"]) == (0.2, "unbraid/PointGoal1-v0", [])
    assert said["gain"] == found["gain"]
    elsewhere = ("--cost-weight", 0.5, "--env", "unbraid/PointGoal2-v0")
    said = unbraid("switch", fitted, "--use", out, *SHORT, *elsewhere).out
    assert "remark: The switcher was learned in unbraid/PointGoal1-v0, not in unbraid/PointGoal2-v0." in said
    assert "remark: The switcher was learned with a cost weight of 0.2." in said


def test_a_switcher_of_another_model_is_refused(unbraid, fitted, pile, learned, tmp_path, undrawn):
    other = tmp_path / "other"
    asked = ("--method", "talk", "--n-steps", 2, "--held-out", 0)
    assert unbraid("fit", pile, "--out", other, *asked).code == 0
    said = unbraid("switch", other, "--use", learned[0], *SHORT)
    assert said.code == 2
    assert f"{learned[0]}: The switcher must act on the model that it was learned on" in said.err
    old = shutil.copytree(learned[0], tmp_path / "old")
    content = json.loads((old / "switcher.json").read_text())
    del content["origin"]  # as switchers of before
    (old / "switcher.json").write_text(json.dumps(content))
    said = unbraid("switch", other, "--use", old, *SHORT)
    assert said.code == 0, said.err
    assert "remark: The switcher does not say what it was learned on" in said.out


def test_a_cost_weight_where_nothing_costs_is_refused(unbraid, pendulum, tmp_path):
    asked = ("switch", pendulum, "--method", "bandit", "--steps", 320, "--max-steps", 20, "--episodes", 2)
    said = unbraid(*asked, "--cost-weight", 0.5, "--out", tmp_path / "x")
    assert said.code == 2
    assert "needs an environment that tells costs, as info['cost']; Pendulum-v1 told none in any step." in said.err
    assert not (tmp_path / "x").exists()
    assert unbraid(*asked, "--out", tmp_path / "free").code == 0  # in the environment of the demonstrations
    said = unbraid("switch", pendulum, "--use", tmp_path / "free", "--episodes", 2, "--cost-weight", 1)
    assert (said.code, "Pendulum-v1 told none" in said.err) == (2, True)


def test_ppo_and_its_words(unbraid, fitted, tmp_path):
    pytest.importorskip("stable_baselines3", reason="the extra `switch` is not installed")
    said = unbraid("switch", fitted, "--out", tmp_path / "ppo", "--steps", 800, *SHORT)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "ppo switcher, after 800 steps: a mode for every 5 steps"
    assert lines[1].startswith("switcher: return ")
    assert re.search(r"objective, less that of mode [01], the best mode alone: ", said.out)
    assert (tmp_path / "ppo" / "weights.safetensors").exists()


def test_an_actor_critic(unbraid, fitted, tmp_path):
    said = unbraid(
        "switch", fitted, "--out", tmp_path / "x", "--method", "actor_critic", "--steps", 800, *SHORT, "--json"
    )
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["method"], found["n_steps"], len(found["shares"])) == ("actor_critic", 800, 2)
    used = unbraid("switch", fitted, "--use", tmp_path / "x", *SHORT, "--json")
    assert json.loads(used.out)["actors"] == found["actors"]


def test_from_both(unbraid, fitted, learned, tmp_path):
    """A person who insists on mode 1 overrules the environment; one who counts nothing does not."""
    known = Preferences(2, 12)
    for at in np.eye(12):
        known = known.answered(at, 1, 0, "left")
    known.save(tmp_path / "answers.json")
    asked = ("switch", fitted, "--method", "bandit", "--steps", 800, "--cost-weight", 0.2, *SHORT, "--json")
    answers = ("--answers", tmp_path / "answers.json", "--answers-weight")
    insisting, unheard = (
        json.loads(unbraid(*asked, *answers, weight, "--out", tmp_path / f"weight{weight}").out) for weight in (1000, 0)
    )
    assert insisting["method"] == "bandit and preferences"
    assert insisting["shares"][1] > 0.9
    assert unheard["actors"] == learned[1]["actors"]


def test_a_person_and_a_guard(unbraid, fitted, tmp_path):
    known = Preferences(2, 12).answered(np.ones(12), 0, 1, "left")
    known.save(tmp_path / "answers.json")
    claims = tmp_path / "claims.json"
    claims.write_text(json.dumps([{"kind": "probability", "mode": 1, "metric": "cost", "above": 50, "at_most": 0.5}]))
    certificate = tmp_path / "certificate.json"
    said = unbraid("certify", fitted, "--claims", claims, "--out", certificate, "--max-steps", 40, "--max-episodes", 64)
    assert said.code == 0, said.err
    asked = ("switch", fitted, "--method", "preferences", "--answers", tmp_path / "answers.json", *SHORT, "--json")
    free = json.loads(unbraid(*asked, "--out", tmp_path / "free").out)
    guarding = ("--guard", certificate, "--guard-episodes", 8, "--max-cost", 0.0, "--out", tmp_path / "guarded")
    guarded = json.loads(unbraid(*asked, *guarding).out)
    assert free["shares"] == [1.0, 0.0]
    assert free["guard"] is None
    assert guarded["guard"]["certified"] == [1]
    assert guarded["guarded"] == 1.0  # 8 episodes cannot show that no cost ever comes
    assert guarded["shares"] == [0.0, 1.0]
    using = ("switch", fitted, "--use", tmp_path / "guarded")
    assert unbraid(*using, *SHORT).out.count("guard: free where") == 1
    for beyond, said in (
        (("--max-steps", 41), "must be used in episodes of at most 40 steps"),
        (("--max-steps", 40, "--env", "unbraid/PointGoal2-v0"), "must be used in unbraid/PointGoal1-v0"),
    ):
        answer = unbraid(*using, "--episodes", 1, *beyond)
        assert (answer.code, said in answer.err) == (2, True), answer.err
    longer = unbraid(*asked, "--max-steps", 41, *guarding[:-1], tmp_path / "longer")
    assert (longer.code, "about episodes as long as those that are guarded" in longer.err) == (2, True), longer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Either --out or --use must be given"),
        (("--out", "x", "--use", "y"), "Either --out or --use must be given"),
        (("--out", "x", "--max-cost", 1.0), "must be given together"),
        (("--out", "x", "--answers", "a.json"), "--answers must come with --method preferences or bandit"),
        (("--out", "x", "--method", "preferences"), "--answers must be given with --method preferences"),
        (("--out", "x", "--answers-weight", 2), "--answers-weight must come with --method bandit and --answers"),
        (("--out", "x", "--explore", "thompson"), "--explore must come with --method bandit; got thompson"),
        (("--out", "x", "--alpha", 0.1), "--alpha must come with --guard"),
        (("--use", "x", "--method", "bandit"), "--method must come with --out, which learns; got bandit"),
        (("--use", "nowhere"), "must exist; there is no such file"),
        (("--out", "x", "--horizon-steps", 0), "`horizon_steps` must be a whole number of at least 1"),
        (("--out", "x", "--cost-weight", -1), "`cost_weight` must be a finite number >= 0"),
        (("--out", "x", "--env", "unbraid/PointGoal0-v0"), "must have 60 observation"),
    ],
)
def test_what_is_refused(unbraid, fitted, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    answer = unbraid("switch", fitted, *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_of_another_environment(unbraid, fitted, tmp_path):
    claims, certificate = tmp_path / "claims.json", tmp_path / "certificate.json"
    claims.write_text(json.dumps([{"kind": "probability", "mode": 1, "metric": "cost", "above": 50, "at_most": 0.5}]))
    short = ("--max-steps", 5, "--max-episodes", 64)
    assert unbraid("certify", fitted, "--claims", claims, "--out", certificate, *short).code == 0
    guarding = ("--guard", certificate, "--max-cost", 1, "--env", "unbraid/PointGoal2-v0")
    said = unbraid("switch", fitted, "--out", tmp_path / "x", "--method", "bandit", *guarding)
    assert said.code == 2
    assert "must be about unbraid/PointGoal2-v0" in said.err


def test_answers_of_another_run_and_a_certificate_without_costs(unbraid, fitted, tmp_path):
    Preferences(3, 12).save(tmp_path / "answers.json")
    asked = ("switch", fitted, "--out", tmp_path / "x", "--method")
    said = unbraid(*asked, "preferences", "--answers", tmp_path / "answers.json")
    assert (said.code, "must be about 2 modes and 12 features" in said.err) == (2, True)
    claims, certificate = tmp_path / "claims.json", tmp_path / "certificate.json"
    claims.write_text(
        json.dumps([{"kind": "probability", "mode": 1, "metric": "distance", "above": 50, "at_most": 0.5}])
    )
    short = ("--max-steps", 40, "--max-episodes", 64)
    assert unbraid("certify", fitted, "--claims", claims, "--out", certificate, *short).code == 0
    guarding = ("--guard", certificate, "--max-cost", 1)
    said = unbraid(*asked, "bandit", "--steps", 100, "--max-steps", 40, *guarding, "--horizon-steps", 5)
    assert said.code == 2
    assert "must certify an upper limit on the cost" in said.err


def test_answers_keep_how_situations_were_read(unbraid, fitted, tmp_path):
    """A scale of their own: what the numbers mean was settled when the person was asked."""
    reader = situation_reader("observation", observations=np.random.default_rng(0).normal(size=(9, 60)))
    save_answers(tmp_path / "answers.json", Preferences(2, 61).answered(np.ones(61), 0, 1, "left"), reader)
    asked = ("switch", fitted, "--method", "preferences", "--answers", tmp_path / "answers.json", *SHORT)
    assert unbraid(*asked, "--situation", "observation", "--out", tmp_path / "own").code == 0
    assert load_switcher(tmp_path / "own").reader.to_json() == reader.to_json()
    few = situation_reader("point_goal_few", observations=np.zeros((2, 60)))
    save_answers(tmp_path / "few.json", Preferences(2, 61), few)
    said = unbraid(*asked[:5], tmp_path / "few.json", *SHORT, "--situation", "observation", "--out", tmp_path / "x")
    assert said.code == 2
    assert "must read situations as observation, of 60 columns; it reads them as point_goal_few" in said.err
    assert "and --situation point_goal_few, or auto" in said.err


def test_auto_reads_situations_as_the_answers_say(unbraid, fitted, tmp_path):
    """The studio's file holds two features beside the constant, where auto would take eleven."""
    few = situation_reader("point_goal_few", observations=np.zeros((2, 60)))
    save_answers(tmp_path / "preferences.json", Preferences(2, 3).answered(np.ones(3), 0, 1, "left"), few)
    asked = ("switch", fitted, "--answers", tmp_path / "preferences.json", "--steps", 200, *SHORT)
    for method in ("preferences", "bandit"):
        said = unbraid(*asked, "--method", method, "--out", tmp_path / method)
        assert said.code == 0, said.err
        assert load_switcher(tmp_path / method).reader.kind == "point_goal_few"
    assert (tmp_path / "bandit" / "regret.png").exists()
    assert not (tmp_path / "preferences" / "regret.png").exists()
    said = unbraid(*asked, "--method", "preferences", "--situation", "point_goal", "--out", tmp_path / "x")
    assert said.code == 2
    assert "must read situations as point_goal, of 60 columns; it reads them as point_goal_few, of 60." in said.err
