"""The model card: every number in it stands in results.json, and the Hub can read it."""

import re
from typing import Any

import pytest
from huggingface_hub import ModelCard

import unbraid
from unbraid.report.card import model_card
from unbraid.report.claims import ONE_LABEL
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

SECTIONS = ("The demonstrations", "The modes", "What each mode does", "Agreement with the experts", "What holds")


@pytest.fixture(scope="module")
def model() -> ModeModel:
    return ModeModel(UnbraidConfig(n_modes=2, policy_hidden=(8,)), observation_size=60, action_size=2)


def _sections(text: str) -> dict[str, str]:
    found = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def _numbers(content: Any) -> list[float]:
    if isinstance(content, dict):
        return [number for value in content.values() for number in _numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in _numbers(value)]
    if isinstance(content, str):
        return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", content)]
    return [float(content)] if isinstance(content, int | float) else []


def test_it_has_a_section_for_everything_that_was_measured(model, results):
    card = ModelCard(model_card(model, results, repo_id="me/braid"))
    found = _sections(card.text)
    assert list(found) == [*SECTIONS, "Limits", "How to load it"]
    assert "100 episodes (100,000 steps) to learn from; 20 episodes held out" in found["The demonstrations"]
    assert "The evidence supports 2 modes" in found["The modes"]
    table = [line for line in found["What each mode does"].splitlines() if line.startswith("|")]
    assert table[0].startswith("|  | goals (per episode) | return (per episode) |")
    assert [row.split(" | ")[0] for row in table[2:]] == [
        "| mode 0, matched with forward",
        "| mode 1, matched with goal_seeking",
        "| expert goal_seeking",
        "| expert forward",
    ]
    assert table[2].startswith("| mode 0, matched with forward | 5.2 [4.5, 5.9] |")
    assert all(row.endswith("| n = 32 episodes |") for row in table[2:])
    assert "- Mode 0: as good as forward in goals, return, cost, distance, displacement." in card.text
    assert "| windows of 25 steps | combined | 0.987 [0.983, 0.991] | n = 20 episodes |" in card.text
    assert 'from_pretrained("me/braid", download=True)' in found["How to load it"]
    assert len({row.count(" | ") for row in table}) == 1


def test_every_number_stands_in_the_results(model, results):
    known = _numbers(results)
    text = _sections(ModelCard(model_card(model, results)).text)
    told = [
        n for name in SECTIONS for n in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text[name].replace("PointGoal1-v0", ""))
    ]
    assert len(told) > 60
    fixed = {"95", "0", "1"}  # of "95 % intervals" and of what NMI is
    for number in (n.rstrip(",") for n in told):
        places = len(number.partition(".")[2])
        value = float(number.replace(",", ""))
        assert number in fixed or any(abs(abs(value) - abs(k)) <= 0.51 * 10**-places for k in known), number


@pytest.mark.parametrize("part", ["data", "unbraid", "behaviour", "verdicts", "experts"])
def test_what_was_not_measured_is_not_told(model, results, part):
    del results[part]
    found = _sections(ModelCard(model_card(model, results)).text)
    lost = {"data": SECTIONS[:0], "unbraid": (SECTIONS[1], SECTIONS[3]), "verdicts": (SECTIONS[4],)}.get(part, ())
    assert [name for name in SECTIONS if name not in found] == list(lost)
    if part == "behaviour":
        assert "Not measured: no mode was rolled out" in found["What each mode does"]
        assert "|" not in found["What each mode does"]


def test_the_front_matter_says_the_same(model, results):
    data = ModelCard(model_card(model, results, repo_id="me/braid")).data
    assert data.model_name == "braid"
    assert data.metrics == ["nmi", "goals", "return", "cost", "distance", "displacement"]
    told = {result.metric_name: result for result in data.eval_results}
    assert len(told) == 2 + 2 * 5
    mode = results["behaviour"]["modes"][1]["metrics"]["goals"]
    name = next(name for name in told if name.startswith("goals of mode 1"))
    assert told[name].metric_value == mode["value"]
    assert name == "goals of mode 1, [11.9, 13.3], n = 32 episodes"
    assert {(r.dataset_name, r.dataset_type) for r in told.values()} == {("unbraid/PointGoal1-v0", "PointGoal1-v0")}
    assert {r.task_type for r in told.values()} == {"robotics"}


def test_what_is_not_estimable_is_no_result(model, results):
    results["behaviour"]["modes"][0]["metrics"]["goals"] = {"value": None, "low": None, "high": None, "n": 1}
    results["behaviour"]["modes"][1]["as_good"] |= {"cost": False, "goals": None}
    card = ModelCard(model_card(model, results))
    assert not [r for r in card.data.eval_results if r.metric_name.startswith("goals of mode 0")]
    assert "| mode 0, matched with forward | not estimable |" in card.text
    assert "in return, distance, displacement; not shown to be in cost; not judged in goals." in card.text


def test_what_does_not_hold_and_what_was_warned_of_is_told(model, results):
    results["verdicts"] = [{"text": "It flies.", "holds": False}, {"text": "It swims.", "holds": None}]
    results["unbraid"]["search"]["warnings"] = ["Mode 1 is empty. Ask for fewer."]
    text = model_card(model, results)
    assert "- Does not hold: It flies.\n- Not judged: It swims." in text
    assert "- Mode 1 is empty. Ask for fewer." in text


def test_a_name_breaks_no_table_and_is_no_markup(model, results):
    results["experts"] = ["a|b\n<script>", "forward"]
    results["behaviour"]["experts"][0]["name"] = "a|b\n<script>"
    card = ModelCard(model_card(model, results))
    assert "| expert a\\|b &lt;script> |" in card.text
    assert "<script>" not in card.text


def test_a_run_of_one_fit_has_a_card(model):
    estimate = {"value": -1.25, "low": -1.5, "high": -1.0, "n": 7, "unit_of_n": "episodes"}
    results = {"format": "unbraid-results", "version": 1, "experts": [], "data": {"n_episodes": 3, "env_id": None}}
    results |= {"unbraid": {"n_modes": 2}, "fit": {"held_out_log_likelihood_nats": estimate}}
    card = ModelCard(model_card(model, results))
    assert "3 episodes to learn from." in card.text
    said = "Log-likelihood of held-out actions under {}, nats a step: -1.25 [-1.50, -1.00], n = 7 episodes."
    assert said.format("the mode that explains an episode best") in card.text
    results["fit"]["log_likelihood_under"] = "changing_modes"
    assert said.format("modes that change as the demonstrations' do") in ModelCard(model_card(model, results)).text
    assert "Not evaluated" not in card.text
    assert card.data.eval_results is None


def test_without_results_it_says_that_nothing_was_measured(model):
    card = ModelCard(model_card(model))
    assert list(_sections(card.text)) == ["Not evaluated", "Limits", "How to load it"]
    assert card.data.eval_results is None
    assert "model-index" not in card.content


def test_it_is_public():
    assert unbraid.model_card is model_card


def test_scores_of_modes_that_change_say_what_labels_are(model, results):
    told = {kind.metric_name for kind in ModelCard(model_card(model, results)).data.eval_results}
    assert ONE_LABEL not in model_card(model, results)
    results["unbraid"]["over_time"] = {"episodes": []}
    card = ModelCard(model_card(model, results))
    assert ONE_LABEL in _sections(card.text)["Agreement with the experts"]
    assert {name for name in told if not name.startswith("NMI")} == {k.metric_name for k in card.data.eval_results}
