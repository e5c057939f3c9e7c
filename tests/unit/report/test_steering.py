"""The chapters on obedience and on certificates."""

from typing import Any

from unbraid.report.chapters.steering import certificates, obedience
from unbraid.report.record import RunRecord
from unbraid.report.sections import Facts, Table, Verdicts


def _share(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.005, "n": 24, "unit_of_n": "episodes"}


def _record(**results: Any) -> RunRecord:
    return RunRecord(asked={}, results=results, moments=(), paths={})


def _result(answer: str) -> dict[str, Any]:
    claim = "mode 0: P(cost > 25) <= 0.1"
    return {
        "sentence": f"{answer} after 64 episodes: {claim}",
        "answer": answer,
        "estimates": {"probability": _share(0.03)},
    }


def test_a_run_without_them_has_no_such_chapters():
    assert obedience(_record()) is None
    assert obedience(_record(behaviour={"obedience": None})) is None
    assert certificates(_record()) is None


def test_obedience_stands_beside_what_the_experts_own_rollouts_are_read_as():
    over_time = [None, _share(0.9), None, _share(0.97)]
    matched = {"mode": 0, "share": _share(0.95), "over_time": over_time, "expert": "forward"}
    alone = {"mode": 1, "share": _share(0.8), "over_time": over_time, "expert": None, "expert_share": None}
    modes = [{**matched, "expert_share": _share(0.96)}, alone]
    section = obedience(_record(behaviour={"obedience": {"window_steps": 50, "modes": modes}}))
    assert section is not None
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [cell.text for cell in table.rows[0].cells] == ["0.950", "0.900", "0.970", "0.960"]
    assert table.rows[0].note == "forward"
    assert {cell.detail.partition("], ")[2] for cell in table.rows[0].cells} == {"n = 24 episodes"}
    assert "0.940" in table.rows[0].cells[0].detail
    assert table.columns[2] == "last tenth with any"  # no window may begin in the last ones
    assert table.rows[1].cells[-1].text == "no expert is matched"


def test_every_answer_of_a_certificate_is_told_with_what_it_rests_on():
    entry = {"file": "certificate.json", "env_id": "World-v0", "alpha": 0.05, "weights_sha256": "ab12"}
    entry |= {"episodes": {"mode 0": 64}, "results": [_result(a) for a in ("holds", "refuted", "not decided")]}
    section = certificates(_record(certificates=[entry]))
    assert section is not None
    (own,) = section.sections
    (verdicts,) = [block for block in own.blocks if isinstance(block, Verdicts)]
    assert [verdict.holds for verdict in verdicts.verdicts] == [True, False, None]
    assert [verdict.answer for verdict in verdicts.verdicts] == ["holds", "refuted", "not decided"]
    assert (
        verdicts.verdicts[0].text
        == "mode 0: P(cost > 25) <= 0.1 after 64 episodes (probability 0.030 [0.020, 0.035], n = 24 episodes)"
    )
    (facts,) = [block for block in own.blocks if isinstance(block, Facts)]
    assert dict(facts.facts)["alpha"] == "0.05"
    assert dict(facts.facts)["episodes"] == "mode 0: 64 episodes"


def test_a_certificate_says_where_its_episodes_are_cut_and_how_it_is_verified_from_anywhere():
    told = {"env_id": "World-v0", "alpha": 0.05, "weights_sha256": "ab12", "episodes": {"mode 0": 64}, "results": []}
    kept = told | {"file": "certificate.json", "max_steps": 20, "within_run": True}
    entries = [kept, told | {"file": "a/my b.json", "max_steps": None, "within_run": False}]
    section = certificates(_record(certificates=entries))
    assert section is not None
    cut, whole = (dict(facts.facts) for own in section.sections for facts in own.blocks if isinstance(facts, Facts))
    assert cut["episodes are cut after"] == "20 steps"
    assert cut["see for yourself"] == "unbraid certify RUN --verify RUN/certificate.json --replay"
    assert "episodes are cut after" not in whole
    assert whole["see for yourself"] == "unbraid certify RUN --verify 'a/my b.json' --replay"
