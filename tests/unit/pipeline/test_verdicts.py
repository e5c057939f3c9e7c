"""Every verdict is judged by the numbers, and says the number that it was judged by."""

import copy

import pytest

from unbraid.pipeline.verdicts import JUDGED, verdicts_of


def _estimate(value):
    return {"value": value, "low": None, "high": None, "n": 4, "unit_of_n": "episodes"}


@pytest.fixture
def results():
    """A run in which everything holds."""
    agreement = [
        {"level": "episode", "evidence": evidence, "nmi": _estimate(1.0)} for evidence in ("encoder", "combined")
    ]
    agreement += [
        {"level": "window", "window_steps": steps, "evidence": "combined", "nmi": _estimate(nmi)}
        for steps, nmi in ((10, 0.9), (25, 0.985))
    ]
    modes = [
        {"mode": mode, "expert": expert, "as_good": dict.fromkeys(JUDGED, True) | {"cost": False}}
        for mode, expert in enumerate(["forward", "goal_seeking"])
    ]
    return {
        "experts": ["goal_seeking", "forward"],
        "unbraid": {"agreement": agreement, "tables": [{"window_steps": 1, "nmi": _estimate(0.7)}]},
        "talk": {"tables": [{"nmi": _estimate(0.1)}, {"nmi": _estimate(0.3)}]},
        "behaviour": {"modes": modes, "n_seeds": 32},
    }


def _answers(results):
    return [verdict["holds"] for verdict in verdicts_of(results)]


def test_where_all_is_well_every_sentence_holds(results):
    said = verdicts_of(results)
    assert [verdict["holds"] for verdict in said] == [True] * 5
    assert "NMI 0.985 on 25-step windows" in said[0]["text"]
    assert "mode 0 is forward, mode 1 is goal_seeking" in said[1]["text"]
    assert "as good as forward in goals, return, distance, displacement (32 paired seeds" in said[2]["text"]
    assert "NMI 0.700 against at most 0.300" in said[4]["text"]


def test_the_windows_that_were_asked_for_decide(results):
    results["unbraid"]["agreement"][3]["nmi"] = _estimate(0.979)
    assert _answers(results) == [False, True, True, True, True]


def test_one_episode_that_is_mistaken_decides(results):
    results["unbraid"]["agreement"][1]["nmi"] = _estimate(0.99)
    assert _answers(results)[0] is False


def test_what_the_encoder_says_alone_does_not_decide(results):
    results["unbraid"]["agreement"][0]["nmi"] = _estimate(0.2)
    assert all(_answers(results))


def test_two_modes_of_one_expert_leave_the_other_without(results):
    results["behaviour"]["modes"][1]["expert"] = "forward"
    assert _answers(results)[1] is False


def test_a_mode_of_nobody_is_not_judged(results):
    results["behaviour"]["modes"][1] |= {"expert": None, "as_good": {}}
    said = verdicts_of(results)
    assert [verdict["holds"] for verdict in said] == [True, False, True, None, True]
    assert said[3]["text"] == "Mode 1 is matched with no expert."
    assert "mode 1 is nobody" in said[1]["text"]


@pytest.mark.parametrize("metric", JUDGED)
@pytest.mark.parametrize("answer", [False, None])
def test_a_metric_that_is_not_as_good_is_named(results, metric, answer):
    changed = copy.deepcopy(results)
    changed["behaviour"]["modes"][0]["as_good"][metric] = answer
    said = verdicts_of(changed)
    assert said[2]["holds"] is False
    assert f"not shown for {metric} (" in said[2]["text"]


def test_a_metric_that_was_not_measured_is_not_as_good(results):
    del results["behaviour"]["modes"][0]["as_good"]["goals"]
    assert _answers(results)[2] is False


def test_the_talks_best_fit_decides(results):
    results["talk"]["tables"][0]["nmi"] = _estimate(0.8)
    assert _answers(results)[4] is False
