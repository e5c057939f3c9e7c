"""From outcomes to answers: who acts how often, when a claim is done, and what outcomes are refused."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError, WorldError
from unbraid.evaluation import decisions
from unbraid.evaluation.certificates import Terms
from unbraid.evaluation.claims import EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.evaluation.decisions import certificate_seeds, decide
from unbraid.evaluation.evaluate import fresh_seeds
from unbraid.evaluation.significance import doubts_of

SAFE = ProbabilityClaim("cost", above=25, at_most=0.3, mode=0)
UNSAFE = ProbabilityClaim("cost", above=25, at_most=0.3, mode=1)
CLOSE = ProbabilityClaim("cost", above=25, at_most=0.3, mode=2)
TERMS = Terms(max_episodes=100, batch_episodes=16)


class Actors:
    """Costs that depend on the seed alone: modes 0, 1 and 2 are above 25 in 2, 90 and 30 of 100 episodes."""

    def __init__(self, **changed):
        self.asked = Counter()
        self.changed = changed

    def __call__(self, actor, seeds):
        self.asked[actor] += len(seeds)
        share = {"mode 0": 0.02, "mode 1": 0.9, "mode 2": 0.3}.get(actor, 0.02)
        at = np.array([np.random.default_rng(seed).random() for seed in seeds])
        values = {"cost": np.where(at < share, 50.0, 10 * at), "length": np.full(len(seeds), 1000.0)}
        return values | self.changed


def test_every_claim_stops_when_it_is_decided():
    actors = Actors()
    outcomes, results = decide([SAFE, UNSAFE, CLOSE], TERMS, actors)
    assert [result.answer for result in results] == ["holds", "refuted", "not decided"]
    assert results[2].n == actors.asked["mode 2"] == 100
    for result, name in zip(results[:2], ("mode 0", "mode 1"), strict=True):
        assert result.n == actors.asked[name] < 100
        assert result.n % TERMS.batch_episodes == 0
    assert [entry.actor for entry in outcomes] == ["mode 0", "mode 1", "mode 2"]
    for entry in outcomes:
        assert list(entry.seeds) == certificate_seeds(TERMS)[: len(entry.seeds)]
        assert list(entry.values) == ["cost"]
    assert results[0].sentence == f"holds after {results[0].n} episodes: mode 0: P(cost > 25) <= 0.3"
    assert results[2].sentence.startswith("not decided after 100 episodes: ")


def test_an_answer_is_given_by_the_outcomes_up_to_it():
    outcomes, results = decide([SAFE, UNSAFE], TERMS, Actors())
    for claim, entry, result in zip([SAFE, UNSAFE], outcomes, results, strict=True):
        found = doubts_of(claim, entry.values["cost"])
        assert (result.p_false[0], result.p_true[0]) == (found.of_false, found.of_true)
        assert result.alpha == 0.025
        assert result.estimates["probability"].n == result.n
    assert decide([SAFE, UNSAFE], TERMS, Actors())[1] == results
    assert decide([SAFE, UNSAFE], Terms(seed=1, max_episodes=100), Actors())[1] != results


def test_claims_about_one_mode_share_its_episodes():
    other = MeanClaim("length", (0, 2000), at_least=900, mode=2)
    actors = Actors()
    outcomes, results = decide([CLOSE, other], TERMS, actors)
    assert actors.asked == {"mode 2": 100}
    assert set(outcomes[0].values) == {"cost", "length"}
    assert results[1].answer == "not decided" or results[1].n < 100


def test_alone_a_claim_needs_fewer_episodes_than_in_company():
    terms = Terms(max_episodes=60, batch_episodes=4)
    alone = decide([SAFE], terms, Actors())[1][0]
    together = decide([SAFE, CLOSE, CLOSE], terms, Actors())[1][0]
    assert alone.alpha == 0.05
    assert alone.n < together.n


def test_an_answer_may_come_late_and_is_never_withdrawn(monkeypatch):
    """Holm asks less of a claim when others are decided: of one that has its n, too."""
    exact = ProbabilityClaim("cost", above=25, at_most=0.3, mode=0, method="clopper_pearson", n=16)
    looks = iter([["not decided", "not decided"], ["holds", "refuted"], ["refuted", "refuted"]])
    monkeypatch.setattr(decisions, "answers_of", lambda doubts, alpha: next(looks))
    results = decide([exact, CLOSE], TERMS, Actors())[1]
    assert [(result.answer, result.n) for result in results] == [("holds", 16), ("refuted", 32)]
    looks = iter([["holds", "not decided"], ["refuted", "not decided"], ["refuted", "holds"]])
    results = decide([exact, CLOSE], TERMS, Actors())[1]
    assert [result.answer for result in results] == ["holds", "holds"]


def test_a_stated_n_is_waited_for_and_is_enough():
    exact = ProbabilityClaim("cost", above=25, at_most=0.3, mode=0, method="clopper_pearson", n=40)
    paired = EquivalenceClaim("cost", "forward", within=5, mode=2, n=21)
    actors = Actors()
    outcomes, results = decide([exact, paired], TERMS, actors)
    assert [result.n for result in results] == [40, 21]
    assert actors.asked == {"mode 0": 40, "mode 2": 21, "expert forward": 21}  # and not a whole batch more
    assert [entry.actor for entry in outcomes] == ["mode 0", "mode 2", "expert forward"]
    assert outcomes[1].seeds == outcomes[2].seeds
    assert results[0].answer == "holds"
    assert results[1].estimates["expert"].n == 21


def test_an_expert_is_paired_with_the_mode_seed_by_seed():
    def source(actor, seeds):
        at = np.array([np.random.default_rng(seed).normal(20, 6) for seed in seeds])
        return {"cost": at if actor == "expert forward" else at + 3 + 0.1 * np.arange(len(seeds))}

    near, far = (EquivalenceClaim("cost", "forward", within=within, mode=0, n=16) for within in (10, 1))
    outcomes, results = decide([near, far], TERMS, source)
    values = {entry.actor: entry.values["cost"] for entry in outcomes}
    np.testing.assert_allclose(values["mode 0"] - values["expert forward"], 3 + 0.1 * np.arange(16))
    assert [result.answer for result in results] == ["holds", "refuted"]
    for claim, result in zip((near, far), results, strict=True):
        found = doubts_of(claim, values["mode 0"], values["expert forward"])
        assert (result.p_false[0], result.p_true[0]) == (found.of_false, found.of_true)
        assert result.estimates["difference"].value == pytest.approx(3.75)
        assert result.estimates["expert"].value == pytest.approx(values["expert forward"].mean())


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_of_two_claims_about_a_mode_each_has_its_own_number_of_episodes(order):
    exact = ProbabilityClaim("cost", above=25, at_most=0.3, mode=2, method="clopper_pearson", n=20)
    outcomes, results = decide([CLOSE, exact][order], TERMS, Actors())
    assert [result.n for result in results][order] == [100, 20]
    assert len(outcomes[0].seeds) == 100


def test_what_has_its_number_of_episodes_is_done_decided_or_not():
    exact = ProbabilityClaim("cost", above=25, at_most=0.3, mode=2, method="clopper_pearson", n=20)
    told = []
    (result,) = decide([exact], TERMS, Actors(), on_batch=told.append)[1]
    assert (result.answer, sum(told)) == ("not decided", 32)


def test_a_value_on_its_bound_is_within_and_one_that_is_no_number_among_others_is_not():
    claim = MeanClaim("cost", (0, 50), at_most=40, mode=1)
    assert decide([claim], TERMS, lambda actor, seeds: {"cost": np.full(len(seeds), 50.0)})[1][0].answer == "refuted"
    seeds = certificate_seeds(TERMS)
    one = np.where(np.arange(16) == 3, np.inf, 1.0)
    with pytest.raises(DataError, match=rf"must be finite; the episode of seed {seeds[3]} has inf"):
        decide([SAFE], TERMS, Actors(cost=one))


def test_a_test_without_spread_says_why_it_is_not_decided():
    claim = EquivalenceClaim("length", "forward", within=5, mode=0, n=20)
    result = decide([claim], TERMS, Actors())[1][0]
    assert result.answer == "not decided"
    assert "do not vary" in result.note


def test_batches_are_told():
    told = []
    decide([CLOSE], Terms(max_episodes=40, batch_episodes=16), Actors(), on_batch=told.append)
    assert told == [16, 16, 8]


def test_seeds_are_fresh_reproducible_and_those_of_no_evaluation():
    seeds = certificate_seeds(Terms(max_episodes=500))
    assert seeds == certificate_seeds(Terms(max_episodes=500, alpha=0.01))
    assert not set(seeds) & set(fresh_seeds(500, seed=0))
    assert not set(seeds) & set(certificate_seeds(Terms(seed=1)))
    assert len(set(seeds)) == 500
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("claim", "changed", "error", "said"),
    [
        (
            MeanClaim("cost", (0, 20), at_most=5, mode=1),
            {},
            DataError,
            r"must hold for every episode; mode 1 has a cost of 50 on seed \d+, outside \[0, 20\]\. State bounds",
        ),
        (
            EquivalenceClaim("cost", "forward", within=5, mode=1, n=40, bounds=(0, 20)),
            {},
            DataError,
            "outside",
        ),
        (SAFE, {"cost": np.full(16, np.nan)}, DataError, r"The cost of mode 0 must be finite; .* seed \d+ has nan"),
        (
            ProbabilityClaim("goals", above=0, at_most=0.5, mode=0),
            {},
            WorldError,
            r"the claimed metric 'goals' needs; it does not \(it tells cost, length\)\. Goals are .*Claim another",
        ),
    ],
)
def test_outcomes_that_do_not_fit_are_refused(claim, changed, error, said):
    with pytest.raises(error, match=said):
        decide([claim], TERMS, Actors(**changed))


def test_what_cannot_be_decided_is_refused_before_an_episode():
    late = ProbabilityClaim("cost", above=25, at_most=0.3, method="clopper_pearson", n=101)
    actors = Actors()
    with pytest.raises(ConfigError, match=r"must be at most the most episodes, 100; got 101\. Allow more"):
        decide([late], TERMS, actors)
    with pytest.raises(ConfigError, match="at least one claim"):
        decide([], TERMS, actors)
    assert not actors.asked


class Sparse(Actors):
    """Tells a cost where a batch has one: of mode 0 in the last batches, of mode 1 never, of nobody if `silent`."""

    def __init__(self, silent=False):
        super().__init__()
        self.silent = silent

    def __call__(self, actor, seeds):
        values = super().__call__(actor, seeds)
        is_late = self.asked[actor] > 48
        costs = np.where(is_late & (np.arange(len(seeds)) % 4 == 0) & (actor == "mode 0"), 30.0, 0.0)
        return {"length": values["length"]} | ({"cost": costs} if costs.any() and not self.silent else {})


def test_a_cost_that_is_told_in_some_batches_alone_is_0_in_the_others():
    """In those before it was first told, too, and for whoever never has one."""
    claims = [
        ProbabilityClaim("cost", above=25, at_least=0.5, mode=0, method="clopper_pearson", n=100),
        MeanClaim("cost", (0, 40), at_most=30, mode=1),
    ]
    outcomes, results = decide(claims, TERMS, Sparse())
    costs = outcomes[0].values["cost"]
    assert costs[:48].tolist() == [0.0] * 48
    assert set(costs[48:]) == {0.0, 30.0}
    assert [result.answer for result in results] == ["refuted", "holds"]
    whole = {entry.actor: entry.values["cost"] for entry in outcomes}
    again = decide(claims, TERMS, lambda actor, seeds: {"cost": whole[actor][_at(outcomes, actor, seeds)]})
    assert again[1] == results  # and as if it had been told from the first


def _at(outcomes, actor, seeds):
    known = next(entry.seeds for entry in outcomes if entry.actor == actor)
    return [known.index(seed) for seed in seeds]


def test_a_cost_that_nobody_ever_tells_is_refused_at_the_end():
    actors = Sparse(silent=True)
    with pytest.raises(
        WorldError, match=r"the claimed metric 'cost' needs; it does not \(it tells length\)\. A cost is"
    ):
        decide([SAFE, MeanClaim("length", (0, 2000), at_least=900, mode=1)], TERMS, actors)
    assert actors.asked["mode 0"] > 0


@pytest.mark.usefixtures("unchecked")
def test_terms_of_numpys_numbers_can_be_written():
    terms = Terms(alpha=np.float32(0.5), seed=np.int64(3), max_episodes=np.int32(40))
    assert json.loads(json.dumps(dataclasses.asdict(terms))) == dataclasses.asdict(terms)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"alpha": 0.0}, "`alpha` must lie in"),
        ({"alpha": 5.0}, "`alpha` must lie in"),
        ({"alpha": "0.05"}, "`alpha` must lie in"),
        ({"max_episodes": 0}, "`max_episodes` must be a whole number from 1 to 10,000,000; got 0"),
        ({"max_episodes": 2.5}, "`max_episodes` must be a whole number from 1 to 10,000,000; got 2.5"),
        ({"max_episodes": 10_000_000_000_000}, "`max_episodes` must be a whole number from 1 to 10,000,000; got 1"),
        ({"max_episodes": None}, "`max_episodes` must be a whole number from 1 to 10,000,000; got None"),
        ({"batch_episodes": 0}, "`batch_episodes` must be a whole number of at least 1"),
        ({"max_steps": 0}, "`max_steps` must be a whole number of at least 1"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0; got -1"),
        ({"seed": "a"}, "`seed` must be a whole number of at least 0; got 'a'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_impossible_terms(terms, said):
    with pytest.raises(ConfigError, match=said):
        Terms(**terms)
