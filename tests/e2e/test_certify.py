"""`unbraid certify`: claims in, a certificate out, and a certificate seen to."""

import json
import shutil

import pytest

SHORT = ("--max-steps", 5, "--max-episodes", 48)
FAR = {"kind": "probability", "mode": 0, "metric": "distance", "above": 10, "at_most": 0.5}
NEVER = {"kind": "probability", "mode": 1, "metric": "length", "below": 100, "at_most": 0.5}
LIKE = {"kind": "equivalence", "mode": 1, "metric": "distance", "expert": 1, "within": 1, "n": 16}


@pytest.fixture
def claims(tmp_path):
    def write(*entries):
        path = tmp_path / "claims.json"
        path.write_text(json.dumps(entries))
        return path

    return write


@pytest.fixture(scope="module")
def certified(unbraid, fitted, tmp_path_factory):
    """(the run, what was said): two claims that hold, in the run's own folder."""
    run = tmp_path_factory.mktemp("runs") / "certified"
    shutil.copytree(fitted, run)
    path = run.parent / "claims.json"
    path.write_text(json.dumps([FAR, LIKE]))
    return run, unbraid("certify", run, "--claims", path, *SHORT)


def test_claims_that_hold(certified):
    run, said = certified
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "holds after 32 episodes: mode 0: P(distance > 10) <= 0.5"
    assert lines[1].startswith("    probability: 0.000 [0.000, ")
    assert "holds after 16 pairs of episodes: mode 1: mean distance within 1 of expert forward's" in lines
    assert lines[-2] == "That is about episodes that are cut after 5 steps."
    assert lines[-1] == f"Some answer is wrong with a probability of at most 0.05. {run / 'certificate.json'}"
    (told,) = json.loads((run / "results.json").read_text())["certificates"]
    assert (told["file"], [result["answer"] for result in told["results"]]) == ("certificate.json", ["holds", "holds"])
    assert "mode 0: P(distance &gt; 10) &lt;= 0.5 after 32 episodes" in (run / "report" / "index.html").read_text()
    content = json.loads((run / "certificate.json").read_text())
    assert [entry["actor"] for entry in content["outcomes"]] == ["mode 0", "mode 1", "expert forward"]
    assert content["claims"][1]["expert"] == "forward"
    assert str(run) not in json.dumps(content)


def test_a_claim_that_is_refuted_and_one_that_is_not_decided(unbraid, fitted, claims, tmp_path):
    out = tmp_path / "new" / "certificate.json"
    close = {"kind": "mean", "mode": 0, "metric": "length", "at_most": 5.1, "bounds": [0, 10]}
    said = unbraid("certify", fitted, "--claims", claims(NEVER, close), *SHORT, "--out", out, "--json")
    assert said.code == 3
    assert said.err == ""
    found = json.loads(said.out)
    assert [result["answer"] for result in found["results"]] == ["refuted", "not decided"]
    assert found["results"][1]["sentence"].startswith("not decided after 48 episodes: mode 0: mean length <= 5.1")
    assert found["ok"] is False
    assert found["episodes"] == {"mode 1": 32, "mode 0": 48}
    assert found["certificate"] == str(out)
    assert out.exists()


def test_a_certificate_is_verified_alone_and_against_its_run(unbraid, certified):
    run, _ = certified
    path = run / "certificate.json"
    said = unbraid("certify", "--verify", path)
    assert said.code == 0, said.err
    assert said.out.endswith(
        f"{path} is verified. Looked at: whether a part was edited; whether every answer follows from the outcomes.\n"
    )
    found = json.loads(unbraid("certify", run, "--verify", path, "--replay", "--json").out)
    assert found["ok"] is found["verified"] is True
    assert len(found["checked"]) == 4


def test_an_edited_certificate_and_another_run_are_found_out(unbraid, certified, tmp_path):
    run, _ = certified
    content = json.loads((run / "certificate.json").read_text())
    content["results"][0]["answer"] = "refuted"
    content["policy"]["weights_sha256"] = "0" * 64
    (tmp_path / "edited.json").write_text(json.dumps(content))
    said = unbraid("certify", run, "--verify", tmp_path / "edited.json")
    assert said.code == 3
    assert "problem: The results: edited since, as their SHA-256 says." in said.out
    assert 'problem: Claim 1, answer: "refuted" in the certificate, recomputed "holds".' in said.out
    assert "problem: The policy's weights_sha256: " in said.out
    assert said.out.startswith(f"{tmp_path / 'edited.json'} is NOT verified. What it claims:\n")
    assert "edited.json is NOT verified. Looked at: " in said.out


@pytest.mark.parametrize(
    ("entries", "options", "said"),
    [
        ([FAR | {"mode": 7}], (), "7"),
        ([FAR | {"metric": "energie"}], (), "metric must be one of return, cost, "),
        ([FAR | {"at_most": 2}], (), "claims.json, claim 1: The probability must lie between 0 and 1"),
        ([{"kind": "mean", "mode": 0, "metric": "cost", "at_most": 2}], (), "must have 'bounds'; it has none. Add"),
        (
            [{"kind": "mean", "mode": 0, "metric": "length", "at_most": 2, "bounds": [0, 4]}],
            (),
            "mode 0 has a length of 5 on seed ",
        ),
        ([FAR], ("--env", "Pendulum-v1"), "must have 60 observation and 2 action columns"),
        ([FAR], ("--alpha", 5), "`alpha` must lie in (0, 1); got 5.0"),
        ([LIKE | {"n": 49}], (), "must be at most the most episodes, 48; got 49"),
        ([LIKE | {"expert": 2}], (), "Expert 2 must be one of the run's experts"),
        (
            [FAR],
            ("--replay",),
            "got a run and --claims and --replay. Write `unbraid certify RUN --claims",
        ),
        ([FAR], ("--verify", "certificate.json"), "--verify must stand alone"),
    ],
)
def test_wrong_input_is_refused_with_a_remedy_and_leaves_nothing(
    unbraid, fitted, claims, tmp_path, contents, entries, options, said
):
    path = claims(*entries)
    before = contents(fitted)
    found = unbraid("certify", fitted, "--claims", path, *SHORT, *options)
    assert found.code == 2
    assert found.out == ""
    assert said in found.err
    assert found.err.strip().endswith((".", "`"))
    assert contents(fitted) == before


def test_certificates_of_one_name_are_told_apart_on_the_page(unbraid, certified, claims, tmp_path):
    """By their folders, and no path of the machine."""
    run = tmp_path / "run"
    shutil.copytree(certified[0], run)
    for out in (tmp_path / "a" / "c.json", tmp_path / "b" / "c.json", run / "more" / "c.json"):
        assert unbraid("certify", run, "--claims", claims(FAR), *SHORT, "--out", out).code == 0
    told = json.loads((run / "results.json").read_text())["certificates"]
    assert [entry["file"] for entry in told[1:]] == ["a/c.json", "b/c.json", "more/c.json"]
    assert str(tmp_path) not in (run / "report" / "index.html").read_text()


def test_a_certificate_is_never_overwritten(unbraid, certified, claims):
    run, _ = certified
    found = unbraid("certify", run, "--claims", claims(FAR), *SHORT)
    assert found.code == 2
    assert f"{run / 'certificate.json'} must not exist yet" in found.err
    assert unbraid("certify").code == 2
    assert unbraid("certify", run).code == 2


def test_the_help_names_the_page(unbraid):
    assert "docs/guarantees.md" in unbraid("certify", "--help").out
