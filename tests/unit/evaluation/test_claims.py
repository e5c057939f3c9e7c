"""Claims: what they say, what is refused when they are made, and how they are read from a file."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.evaluation.behaviour import METRICS
from unbraid.evaluation.claims import (
    EquivalenceClaim,
    MeanClaim,
    ProbabilityClaim,
    claim_from_json,
    claim_to_json,
    claims_of,
    load_claims,
)

SOME = {
    "mode 2: P(cost > 25) <= 0.1": ProbabilityClaim("cost", above=25, at_most=0.1, mode=2),
    "mode 0: P(goals < 1) >= 0.5": ProbabilityClaim(
        "goals", below=1, at_least=0.5, mode=0, method="clopper_pearson", n=50
    ),
    "the policy: mean distance <= 20.5 (values in [0, 60])": MeanClaim("distance", (0, 60), at_most=20.5),
    "mode 1: mean return >= -3 (values in [-9, 9])": MeanClaim("return", (-9, 9.0), at_least=-3, mode=1),
    "mode 0: mean return within 10 % of expert forward's": EquivalenceClaim(
        "return", "forward", within_percent=10, mode=0, n=200
    ),
    "mode 0: mean cost within 2.5 of expert 1's": EquivalenceClaim(
        "cost", 1, within=2.5, mode=0, method="betting", bounds=(0, 1000)
    ),
}


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpys_become_pythons():
    """Which JSON can hold: a certificate of them is saved."""
    claims = [
        ProbabilityClaim(metric="length", above=np.float32(5), at_most=np.float64(0.9), mode=np.int64(0)),
        MeanClaim("length", bounds=np.array([0, 9]), at_most=np.float32(2.5), mode=np.int8(1)),
        claim_from_json(
            {"kind": "mean", "metric": "length", "bounds": [np.int64(0), 9], "at_most": 4, "mode": np.int64(1)}
        ),
    ]
    for claim in claims:
        assert claim_from_json(json.loads(json.dumps(claim_to_json(claim)))) == claim
        assert type(claim.mode) is int
    assert claims[1].bounds == (0, 9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"above": "5"}, "'above' must be a finite number; got \"5\""),
        ({"above": 5, "mode": "0"}, "'mode' must be a whole number; got \"0\""),
        ({"above": 5, "mode": np.float64(1.5)}, "'mode' must be a whole number; got 1.5"),
        ({"above": True}, "'above' must be a finite number; got true"),
        ({"above": 5, "method": None}, "'method' must be a name; got null"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_values_of_the_wrong_kind_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        ProbabilityClaim(**{"metric": "length", "at_most": 0.9, **given})


@pytest.mark.parametrize("text", SOME)
def test_a_claim_says_what_it_is_and_comes_back_from_json(text):
    claim = SOME[text]
    assert claim.text == text
    assert claim_from_json(json.loads(json.dumps(claim_to_json(claim)))) == claim
    with pytest.raises(dataclasses.FrozenInstanceError):
        claim.metric = "length"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ProbabilityClaim("cost", at_most=0.1), "Either `above` or `below` must be given, .* the threshold"),
        (lambda: ProbabilityClaim("cost", above=1, below=2, at_most=0.1), "got above=1 and below=2. Give one of them"),
        (lambda: ProbabilityClaim("cost", above=1), "Either `at_most` or `at_least` must be given.*the probability"),
        (lambda: ProbabilityClaim("cost", above=float("nan"), at_most=0.1), "a finite number"),
        (lambda: ProbabilityClaim("cost", above=1, at_most=0), "between 0 and 1, and be neither; got 0.* 0.01"),
        (lambda: ProbabilityClaim("cost", above=1, at_most=10), "between 0 and 1"),
        (lambda: ProbabilityClaim("cost", above=1, at_most=1e-17), "neither; got 1e-17"),  # 1 - 1e-17 is 1
        (lambda: ProbabilityClaim("cost", above=1, at_most=0.1, n=50), "`n` must be left out .*stops when it knows"),
        (lambda: ProbabilityClaim("cost", above=1, at_most=0.1, method="clopper_pearson"), "`n` must be stated"),
        (lambda: ProbabilityClaim("cost", above=1, at_most=0.1, method="t"), "`method` must be one of betting, clo"),
        (lambda: ProbabilityClaim("cost", above=1, at_most=0.1, mode=-1), "`mode` must be at least 0; got -1"),
        (lambda: ProbabilityClaim("", above=1, at_most=0.1), "`metric` must be a name"),
        (lambda: MeanClaim("cost", (5, 1), at_most=3), "the first below the second; got 5 and 1. State the widest"),
        (
            lambda: MeanClaim("cost", (0, float("inf")), at_most=3),
            r"\'bounds\' must be \[lowest, highest\], two finite",
        ),
        (lambda: MeanClaim("cost", (0, 9), at_most=9), "must lie between the bounds 0 and 9, and be neither; got 9"),
        (lambda: MeanClaim("cost", (0, 1e300), at_most=9), "must lie between the bounds 0 and 1e.300, and be neither"),
        (lambda: MeanClaim("cost", (-1e308, 1e308), at_most=9), "finite, the first below the second; got -1e.308"),
        (lambda: MeanClaim("cost", (0, 9), at_most=2, method="tost"), "`method` must be one of betting; got 'tost'"),
        (lambda: EquivalenceClaim("cost", "forward", n=9), "Either `within` or `within_percent` must be given"),
        (lambda: EquivalenceClaim("cost", "forward", within=0, n=9), "margin must be above 0"),
        (lambda: EquivalenceClaim("cost", "forward", within_percent=100, n=9), "in per cent below 100; got 100"),
        (lambda: EquivalenceClaim("cost", "forward", within=1), "`n` must be stated .* at least 2 episodes; got None"),
        (lambda: EquivalenceClaim("cost", "forward", within=1, n=1), "at least 2 episodes; got 1"),
        (lambda: EquivalenceClaim("cost", "forward", within=1, method="betting"), "`bounds` must be given .*widest"),
        (lambda: EquivalenceClaim("cost", "", within=1, n=9), "`expert` must be a name"),
        (lambda: EquivalenceClaim("cost", -1, within=1, n=9), "`expert` must be a name, or the number of a label"),
        (
            lambda: EquivalenceClaim("cost", "forward", within=9, method="betting", bounds=(0, 9)),
            "less than the bounds lie apart, 9; got 9, which holds whatever happens",
        ),
    ],
)
def test_an_impossible_claim_is_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "median", "metric": "cost"}, "kind must be one of probability, mean, equivalence; got .* Name one"),
        ("mode 2: P(cost > 25) <= 0.1", "must be an object with a kind"),
        ({"metric": "cost"}, 'Add "kind"'),
        ({"kind": "mean", "metric": "cost", "atmost": 3}, "no other fields than metric, bounds.*; it has 'atmost'"),
        ({"kind": "mean", "metric": "cost", "at_most": 3}, "must have 'bounds'; it has none. Add .*lowest, highest"),
        ({"kind": "probability", "above": 3}, "must have 'metric'; it has none"),
        ({"kind": "equivalence", "metric": "cost"}, "must have 'expert'; it has none. Name whom"),
        ({"kind": "probability", "metric": "cost", "above": "3"}, "'above' must be a finite number; got \"3\""),
        ({"kind": "probability", "metric": "cost", "above": True}, "'above' must be a finite number; got true"),
        ({"kind": "probability", "metric": "cost", "mode": 1.5}, "'mode' must be a whole number; got 1.5"),
        ({"kind": "probability", "metric": 3}, "'metric' must be a name; got 3"),
        ({"kind": "mean", "metric": "cost", "bounds": [0, 1, 2]}, r"'bounds' must be \[lowest, highest\]"),
        ({"kind": "mean", "metric": "cost", "bounds": [0, None]}, r"'bounds' must be \[lowest, highest\]"),
    ],
)
def test_a_file_names_the_claim_that_is_wrong(tmp_path, entry, said):
    path = tmp_path / "claims.json"
    fine = {"kind": "probability", "metric": "cost", "above": 1, "at_most": 0.1}
    path.write_text(json.dumps([fine, entry]))
    with pytest.raises(ConfigError, match=said) as raised:
        load_claims(path)
    assert str(raised.value).startswith(f"{path}, claim 2: ")


@pytest.mark.parametrize("content", ["{}", "[]", "3", "not JSON", '{"claims": []}'])
def test_a_file_must_hold_a_list(tmp_path, content):
    path = tmp_path / "claims.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=str(path)):
        load_claims(path)
    with pytest.raises(ConfigError, match="must exist"):
        load_claims(tmp_path / "none.json")


def test_the_claims_of_the_docs_are_claims(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "guarantees.md").read_text(encoding="utf-8")
    block = re.search(r"^    \[\n.*?^    \]\n", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "claims.json"
    path.write_text(block[0])
    claims = load_claims(path, experts=["goal_seeking", "forward"])
    assert [claim.method for claim in claims] == ["betting", "clopper_pearson", "betting", "tost", "betting"]
    assert {claim.metric for claim in claims} <= set(METRICS)


def test_an_expert_may_be_named_by_the_number_of_its_label(tmp_path):
    path = tmp_path / "claims.json"
    path.write_text('[{"kind": "equivalence", "metric": "return", "expert": 1, "within_percent": 10, "n": 20}]')
    (claim,) = load_claims(path, experts=["goal_seeking", "forward"])
    assert claim.expert == "forward"
    with pytest.raises(ConfigError, match=r"Expert 1 must be one of the run's experts; this run has circling\."):
        load_claims(path, experts=["circling"])
    with pytest.raises(ConfigError, match="this run names none"):
        load_claims(path)


@pytest.mark.parametrize("lone", [MeanClaim("length", (0, 10), at_most=7), {"kind": "mean"}, "claims.json"])
def test_a_claim_that_stands_alone_is_told_to_be_a_list(lone):
    with pytest.raises(ConfigError, match=rf"must be given as a list; got a {type(lone).__name__}\. Write \[claim\]"):
        inspect.unwrap(claims_of)(lone)
