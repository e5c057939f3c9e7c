"""The chapter on unbraid's own method: what it says of how well the policy imitates."""

from typing import Any

import pytest

from unbraid.report.chapters.opening import asked, result
from unbraid.report.chapters.own import own_method, training
from unbraid.report.claims import ONE_LABEL
from unbraid.report.page import render
from unbraid.report.record import RunRecord
from unbraid.report.sections import Cards, KeyNumbers, Paragraph

MOMENT = {"step": 40, "loss": 1.5, "terms": {"policy": 1.5}, "samples_per_s": 1e4}


def _said(refining: dict[str, Any], **more: Any) -> str:
    results = {"unbraid": {"n_modes": 2, "search": {"refining": refining, **more}}}
    section = training(RunRecord(asked={}, results=results, moments=(MOMENT,), paths={}))
    assert section is not None
    return " ".join(block.text for block in section.sections[0].blocks if isinstance(block, Paragraph))


def test_the_error_on_what_was_left_out_is_told_with_what_followed():
    pilot = {"before": 0.214, "beta": 0.187, "huber": 0.199}
    refined = _said({"loss": "beta", "n_steps": 6000, "pilot": pilot})
    assert "off by 0.214 standard deviations" in refined
    assert "by 0.187 after a short pilot of refining the policy alone (beta loss)" in refined
    assert "refined for 6,000 more gradient steps" in refined
    assert "As asked, the policy was refined for 9 more" in _said({"n_steps": 9, "asked": True, "pilot": pilot})
    assert "So it was not refined." in _said({"loss": None, "n_steps": 0, "pilot": pilot})


def test_a_fit_without_a_pilot_says_nothing_of_it():
    assert "left out" not in _said({"loss": None, "n_steps": 0, "pilot": {}})


def test_the_head_of_the_policy_is_told_with_what_spoke_for_it():
    trial = {"gain_nats": 0.234, "standard_error": 0.031, "missed": (0.151, 0.147)}
    mixture = _said({}, policy_head={"head": "mixture", "trial": trial})
    assert "The policy is a mixture of five Gaussians for every state and mode." in mixture
    assert "was 0.23 nats (standard error 0.031) likelier by a mixture" in mixture
    assert "off by 0.151 and 0.147 standard deviations" in mixture
    trial |= {"gain_nats": -0.4, "standard_error": None}
    assert "was 0.4 nats less likely by a mixture" in _said({}, policy_head={"head": "gaussian", "trial": trial})
    assert _said({}, policy_head={"head": "gaussian"}).endswith("The policy is a Gaussian for every state and mode.")
    assert _said({}, policy_head={"head": "tanh"}).endswith("The policy is a tanh-Gaussian for every state and mode.")


@pytest.mark.parametrize(("encoder", "verdict"), [("window_mlp", "was taken (`window_mlp`)"), ("mean", "was kept")])
def test_an_encoder_that_sees_the_order_of_steps_is_told_with_what_spoke_for_it(encoder: str, verdict: str):
    trial = {"n_left_out": 16, "misread": {"mean": 7, "window_mlp": 0}}
    said = _said({}, encoder={"encoder": encoder, "trial": trial})
    assert "Of 16 demonstrations left out that the search was sure of" in said
    assert "misread 7, and one that does 0" in said
    assert verdict in said
    assert "order of steps" not in _said({}, encoder={"encoder": "mean"})


def _of(results: dict[str, Any]) -> RunRecord:
    return RunRecord(asked={}, results=results, moments=(), paths={})


def test_scores_of_agreement_are_told_of_where_there_are_some():
    def note(results: dict[str, Any]) -> str:
        block = asked(_of({"data": {"n_episodes": 48, "held_out_episodes": 12}} | results)).blocks[-1]
        assert isinstance(block, Paragraph)
        return block.text

    assert note({"unbraid": {"agreement": [{"level": "episode"}]}}).startswith("Scores of agreement come from 12 ep")
    assert note({"unbraid": {"n_modes": 2}}).startswith("What is said of unseen episodes comes from 12 episodes")


def test_one_mode_is_one():
    table = {"window_steps": 1, "percent": [[100.0], [100.0]], "nmi": 0.0}
    section = own_method(_of({"experts": ["one", "other"], "unbraid": {"n_modes": 1, "tables": [table]}}))
    assert section is not None
    titles = [card.title for block in section.blocks if isinstance(block, Cards) for card in block.cards]
    assert titles == ["1 mode, windows of 1 step"]


TALK = {"method": "talk", "encoder": "lstm", "window_steps": 25, "delta_steps": 3}
SCORE = {"value": 0.03222472779810026, "low": None, "high": None, "n": 4, "unit_of_n": "episodes"}


def _scored(config: dict[str, Any], **own: Any) -> RunRecord:
    table = {"window_steps": 25, "percent": [[60.0, 40.0], [40.0, 60.0]], "nmi": SCORE}
    agreement = [{"level": "episode", "evidence": "combined", "nmi": SCORE}]
    told = {"n_modes": 2, "tables": [table], "agreement": agreement, **own}
    results = {"experts": ["one", "other"], "unbraid": told}
    return RunRecord(asked={"config": config}, results=results, moments=(MOMENT,), paths={})


def _page(record: RunRecord) -> str:
    sections = [own_method(record), training(record)]
    return render(record, tuple(section for section in sections if section is not None))


def test_a_fit_of_the_talks_method_is_told_as_such():
    page = _page(_scored(TALK))
    assert "This fit is of the talk&#39;s method." in page
    assert "a window of up to 25 transitions (lstm), each from a state to that 3 steps later" in page
    assert "The loss of the talk&#39;s method" in page
    for said in ("unbraid&#39;s", "unbraid, ", "The loss of unbraid", "what is done and by"):
        assert said not in page
    assert "one transition, from a state to that 1 step later" in _page(_scored({"method": "talk"}))
    own = _page(_scored({"method": "unbraid"}))
    assert "Modes and experts" in own
    assert "talk&#39;s method" not in own


def test_pictures_say_numbers_as_tables_do():
    page = _page(_scored({}))
    assert "unbraid, 25 steps 0.032 [interval not estimable], n = 4 episodes" in page
    assert "0.0322247" not in page


def test_scores_of_modes_that_change_say_what_labels_are():
    changing = _scored({}, over_time={"episodes": []})
    section, answer = own_method(changing), result(changing)
    assert section is not None
    assert answer is not None
    assert Paragraph(ONE_LABEL) in section.blocks
    (numbers,) = [block for block in answer.blocks if isinstance(block, KeyNumbers)]
    assert [number.label for number in numbers.numbers] == ["Episodes told apart (NMI)"]
    assert ONE_LABEL in numbers.numbers[0].detail
    kept = result(_scored({}))
    assert kept is not None
    (numbers,) = [block for block in kept.blocks if isinstance(block, KeyNumbers)]
    assert [number.label for number in numbers.numbers][1] == "Windows of 25 steps told apart (NMI)"
    assert "one label" not in numbers.numbers[0].detail


def test_one_expert_is_one():
    first = asked(_of({"experts": ["alone"], "data": {"n_episodes": 4}})).blocks[0]
    assert isinstance(first, Paragraph)
    assert "4 episodes of one expert, alone, shuffled" in first.text


def test_a_fit_alone_is_not_held_against_the_talk():
    table = {"window_steps": 10, "percent": [[90.0, 10.0], [0.0, 100.0]], "nmi": 0.7}
    alone = {"experts": ["one", "other"], "unbraid": {"n_modes": 2, "gradient_steps": 1500, "tables": [table]}}

    def told(results: dict[str, Any]) -> tuple[str, list[str]]:
        section = own_method(_of(results))
        assert section is not None
        cards = [card for block in section.blocks if isinstance(block, Cards) for card in block.cards]
        return section.title, [card.subtitle for card in cards]

    assert told(alone) == ("Modes and experts", [""])
    title, subtitles = told(alone | {"talk": {"tables": []}, "behaviour": {}} | {"talk": {"seconds": 1.0}})
    assert title == "unbraid's own method, the same tables"
    assert subtitles == ["1,500 gradient steps, 3 % of the published 50,000"]


def test_the_agreement_of_windows_stands_before_that_of_episodes():
    score = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 15, "unit_of_n": "episodes"}
    levels: list[dict[str, Any]] = [{"level": "episode"}, *({"level": "window", "window_steps": w} for w in (10, 50))]
    entries = [{**level, "evidence": e, "nmi": score} for e in ("combined", "encoder") for level in levels]
    section = own_method(_of({"experts": ["one", "other"], "unbraid": {"n_modes": 2, "agreement": entries}}))
    assert section is not None
    (picture,) = section.pictures()
    names = ["10 steps", "50 steps", "episode", "10 steps, encoder", "50 steps, encoder", "episode, encoder"]
    places = [picture.alt.index(f"unbraid, {name} 0.9") for name in names]
    assert places == sorted(places)
