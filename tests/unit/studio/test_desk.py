"""The desk answers for a run: with everything at hand, without demonstrations, and while its fit goes on."""

import json

import pytest

from unbraid.core.errors import RunError
from unbraid.core.runs import create_run, write_json
from unbraid.studio.desk import Desk
from unbraid.studio.edits import Edit

ENV = "unbraid/PointGoal1-v0"


def test_it_says_what_there_is(desk, demos):
    told = desk.about()
    assert (told["run"], told["has_model"], told["n_episodes"]) == ("first", True, demos.n_episodes)
    assert told["env_ids"] == [ENV]
    assert [mode["name"] for mode in told["modes"]] == ["mode 0", "mode 1"]
    assert len({mode["color"] for mode in told["modes"]}) == 2
    json.dumps(told, allow_nan=False)


def test_pages_of_episodes_are_parts_of_one_order(desk):
    whole = desk.episodes("return", descending=True, offset=0, limit=100, mode=None)
    parts = [desk.episodes("return", descending=True, offset=at, limit=3, mode=None)["rows"] for at in (0, 3, 6)]
    assert [row for part in parts for row in part] == whole["rows"]
    assert desk.episodes("odd", descending=False, offset=99, limit=5, mode=None)["rows"] == []


def test_one_mode_can_be_looked_at_alone(desk):
    found = [desk.episodes("odd", descending=False, offset=0, limit=100, mode=mode) for mode in (0, 1, 7)]
    assert found[0]["n"] + found[1]["n"] == 8
    assert found[2]["n"] == 0
    assert {row["mode"] for row in found[0]["rows"]} <= {0}


def test_an_edit_shows_everywhere(desk):
    desk.edits.say(Edit("merge", 1, 0))
    desk.edits.say(Edit("rename", 0, text="both"))
    desk.edits.say(Edit("note_episode", 3, text="odd"))
    assert desk.episode(3)["note"] == "odd"
    assert {row["mode"] for row in desk.episodes("odd", descending=False, offset=0, limit=9, mode=None)["rows"]} == {0}
    (card,) = desk.cards()["cards"]
    assert (card["name"], card["n_episodes"]) == ("both", 8)
    assert {entry["mode"] for entry in desk.deciding()} == {0}
    desk.edits.undo()
    desk.edits.undo()
    desk.edits.undo()
    assert {entry["mode"] for entry in desk.deciding()} == {0, 1}


def test_every_edit_changes_the_mark_that_pages_know_it_by(desk, run, demos):
    marks = [desk.about()["mark"]]
    for change in (
        lambda: desk.say(Edit("note_episode", 3, text="odd")),
        lambda: desk.say(Edit("rename", 0, text="slow")),
        desk.edits.undo,
        lambda: desk.say(Edit("rename", 0, text="fast")),
    ):
        change()
        marks.append(desk.shown()["mark"])
    assert len(set(marks)) == 5
    assert Desk(run, demos=demos).shown()["mark"] == marks[-1]  # a server that is started anew says the same


def test_columns_and_profiles_are_of_the_modes_as_they_are_shown(desk):
    assert sorted(desk.telling()) == list(range(62))
    found = desk.profiles(desk.telling()[:2])
    cards = {card["mode"]: card for card in desk.cards()["cards"]}
    assert [own["mode"] for own in found] == [0, 1]
    for own in found:
        n = len(cards[own["mode"]]["typical"])
        assert (own["n_episodes"], own["steps"], len(own["columns"])) == (n, 60, 2) if n else (0, 0, 0)
    desk.edits.say(Edit("merge", 1, 0))
    assert desk.telling()[:3] == [0, 1, 3]  # one mode: no column tells it from others, and 2 is constant
    (both,) = desk.profiles([0])
    assert (both["mode"], both["n_episodes"]) == (0, 5)
    json.dumps(both, allow_nan=False)


def test_what_rollouts_did_is_read_from_the_results(desk, run):
    metrics = {"return": {"value": 1.0, "low": 0.5, "high": 1.5, "n": 3, "unit_of_n": "episodes"}}
    behaviour = {"units": {"return": "reward"}, "modes": [{"mode": 1, "metrics": metrics, "expert": "forward"}]}
    write_json(run / "results.json", {"format": "unbraid-results", "version": 1, "behaviour": behaviour})
    cards = desk.cards()["cards"]
    assert cards[0]["steered"] == {}
    assert cards[1]["steered"]["metrics"] == metrics


def test_cards_have_the_certificates_of_this_model_alone(desk, run):
    claim = {"claim": "mode 1: P(cost > 25) <= 0.1", "sentence": "holds", "answer": "holds", "n": 9}
    noted = [
        {"file": name, "env_id": ENV, "weights_sha256": weights, "results": [claim | {"n": n}]}
        for name, weights, n in (("a.json", desk.model.fingerprint(), 9), ("b.json", "another", 8))
    ]
    write_json(run / "results.json", {"format": "unbraid-results", "version": 1, "certificates": noted})
    told = desk.cards()
    assert [[claim["n"] for claim in card["certificate"]] for card in told["cards"]] == [[], [9]]
    assert "b.json" in told["left_out"][0]


def test_without_demonstrations_the_rest_works(run):
    desk = Desk(run, env_ids=(ENV,))
    assert not desk.about()["has_demos"]
    for call in (lambda: desk.episode(0), desk.cards, desk.deciding):
        with pytest.raises(RunError, match="--demos PATH"):
            call()
    live = desk.live(ENV, n_agents=1, seed=0)
    live.step()
    live.close()


def test_a_run_without_a_model_waits_for_it(tmp_path, run):
    fitting = create_run(tmp_path / "fitting", {"command": "fit"})
    desk = Desk(fitting)
    assert not desk.about()["has_model"]
    with pytest.raises(RunError, match="Let the fit finish"):
        desk.shown()
    (run / "model").rename(fitting / "model")
    assert desk.about()["has_model"]


@pytest.mark.parametrize(
    ("facts", "method"),
    [({"config": {"method": "talk"}}, "talk"), ({"config": {"seed": 0}}, "unbraid"), ({"config": 3}, "unbraid")],
)
def test_the_method_is_known_before_there_is_a_model(tmp_path, facts, method):
    assert Desk(create_run(tmp_path / "run", {"command": "fit", **facts})).method == method


def test_worlds_are_looked_for_once_there_is_a_model_that_they_must_fit(tmp_path, run):
    fitting, asked = create_run(tmp_path / "fitting", {"command": "fit"}), []

    def find():
        asked.append(1)
        return (ENV,), ("A remark.",)

    desk = Desk(fitting, find_worlds=find)
    assert (desk.about()["env_ids"], asked) == ([], [])
    (run / "model").rename(fitting / "model")
    for _ in range(2):
        told = desk.about()
        assert (told["env_ids"], told["remarks"], told["widths"]) == ([ENV], ["A remark."], (60, 2))
    assert asked == [1]


def test_only_worlds_that_are_offered_are_made(desk):
    with pytest.raises(RunError, match="must be one that the studio offers"):
        desk.live("os:Pendulum-v1", n_agents=1, seed=0)
    with pytest.raises(RunError, match="--env ID"):
        _ = Desk(desk.run).teacher


@pytest.mark.parametrize("episode", [-1, 8])
def test_an_episode_that_is_not_there_is_said(desk, episode):
    with pytest.raises(RunError, match="An episode must"):
        desk.episode(episode)


def test_pictures_are_kept_for_a_few_episodes_only(desk, monkeypatch):
    monkeypatch.setattr("unbraid.studio.desk._MOST_KEPT", 2)
    for episode in (0, 1, 2, 1):
        desk.episode(episode)
    assert list(desk._scenes) == [1, 2]
