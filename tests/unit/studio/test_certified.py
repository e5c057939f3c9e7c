"""Cards show what was certified of this run's model, and of no other."""

import pytest

from unbraid.core.runs import write_json
from unbraid.evaluation.certificates import Certificate, Result, Terms
from unbraid.evaluation.claims import ProbabilityClaim
from unbraid.studio.certified import certified

WORLD = "unbraid/PointGoal1-v0"


def result(mode, limit=0.1):
    claim = f"mode {mode}: P(cost > 25) <= {limit}"
    return Result(claim, "holds", "betting", 32, 0.05, (0.0, 0.0), (1.0, 1.0), {})


def save(path, weights, modes=(1,), terms=None):
    claims = tuple(ProbabilityClaim("cost", above=25, at_most=0.1, mode=mode) for mode in modes)
    results = tuple(result(mode) for mode in modes)
    Certificate(terms or Terms(), claims, {"weights_sha256": weights}, {"id": WORLD}, (), results).save(path)


def note(run, *certificates):
    write_json(run / "results.json", {"format": "unbraid-results", "version": 1, "certificates": list(certificates)})


def noted(file, weights, *results):
    told = [{"sentence": one.sentence, **one.to_json()} for one in results]
    return {"file": file, "env_id": WORLD, "weights_sha256": weights, "results": told}


def test_where_nothing_was_certified_there_is_nothing(tmp_path):
    assert certified(tmp_path, "ours") == ({}, [])


def test_a_certificate_of_another_model_is_left_out_and_that_is_said(tmp_path):
    save(tmp_path / "certificate.json", "theirs")
    claims, left_out = certified(tmp_path, "ours")
    assert (claims, left_out) == ({}, ["certificate.json in the run's folder is of another model, and is not shown."])
    claims, left_out = certified(tmp_path, "theirs")
    assert (claims[1][0]["sentence"], left_out) == (result(1).sentence, [])


def test_a_certificate_that_was_written_elsewhere_is_shown_as_the_results_note_it(tmp_path):
    note(tmp_path, noted("c.json", "ours", result(0)), noted("old.json", "theirs", result(0, 0.2)))
    claims, left_out = certified(tmp_path, "ours")
    assert claims == {
        0: [{"sentence": result(0).sentence, "answer": "holds", "n": 32, "env_id": WORLD, "max_steps": None}]
    }
    assert left_out == ["A certificate that results.json notes (old.json) is of another model, and is not shown."]


def test_what_is_noted_and_lies_in_the_folder_is_told_once(tmp_path):
    save(tmp_path / "certificate.json", "ours", modes=(0, 1))
    note(tmp_path, noted("certificate.json", "ours", result(0), result(1)), noted("c.json", "ours", result(1, 0.3)))
    claims, left_out = certified(tmp_path, "ours")
    assert [len(claims[mode]) for mode in (0, 1)] == [1, 2]
    assert left_out == []


def test_a_note_of_before_that_says_not_where_episodes_were_cut_is_told_once(tmp_path):
    save(tmp_path / "certificate.json", "ours", terms=Terms(max_steps=300))
    note(tmp_path, noted("certificate.json", "ours", result(1)))
    assert len(certified(tmp_path, "ours")[0][1]) == 1
    note(tmp_path, noted("c.json", "ours", result(1)) | {"max_steps": 100})  # cut elsewhere it is another claim
    assert [claim["max_steps"] for claim in certified(tmp_path, "ours")[0][1]] == [100, 300]


@pytest.mark.parametrize("odd", ["no list", [3], [{"weights_sha256": "ours", "results": [{"claim": 3}, 4]}]])
def test_what_is_no_certificate_is_none(tmp_path, odd):
    write_json(tmp_path / "results.json", {"format": "unbraid-results", "version": 1, "certificates": odd})
    assert certified(tmp_path, "ours") == ({}, [])


def test_a_damaged_file_is_said(tmp_path):
    (tmp_path / "certificate.json").write_text("{}")
    claims, (said,) = certified(tmp_path, "ours")
    assert claims == {}
    assert said.startswith("No certificate can be read of certificate.json in the run's folder: ")
