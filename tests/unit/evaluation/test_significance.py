"""P-values of claims and of their opposites, Holm over all of them, and the answer that follows."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy import stats

from unbraid.evaluation.betting import anytime_p
from unbraid.evaluation.claims import EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.evaluation.significance import (
    Doubts,
    alpha_of_a_side,
    answers_of,
    doubts_of,
    estimates_of,
    holm,
)

COSTS = np.array([3.0, 30, 5, 25, 26, 0, 0, 1, 2, 3] * 5)  # 2 of 10 above 25
EXPERT = np.random.default_rng(0).normal(20, 3, size=60)


def test_a_probability_by_betting_counts_the_episodes_beyond_the_threshold():
    above = (COSTS > 25).astype(float)
    assert above.mean() == 0.2
    found = doubts_of(ProbabilityClaim("cost", above=25, at_most=0.6), COSTS)
    assert found == Doubts(anytime_p(1 - above, 0.4)[-1], anytime_p(above, 0.6)[-1])
    assert found.of_false < 0.01
    assert found.of_true > 0.5
    opposite = doubts_of(ProbabilityClaim("cost", above=25, at_least=0.6), COSTS)
    assert opposite == Doubts(found.of_true, found.of_false)
    below = doubts_of(ProbabilityClaim("cost", below=25, at_least=0.1), COSTS)  # 25 itself is neither
    assert below.of_false == anytime_p((COSTS < 25).astype(float), 0.1)[-1]


def test_a_mean_by_betting_is_scaled_by_its_bounds():
    values = np.random.default_rng(1).uniform(-10, 10, size=80)
    found = doubts_of(MeanClaim("return", (-10, 30), at_most=10), values)
    assert found.of_false == pytest.approx(anytime_p(1 - (values + 10) / 40, 0.5)[-1])
    assert found.of_false < 0.01 < found.of_true
    again = doubts_of(MeanClaim("return", (-10, 30), at_least=10), values)
    assert again == Doubts(found.of_true, found.of_false)


def test_clopper_and_pearson_wait_for_their_n_and_never_look_beyond():
    claim = ProbabilityClaim("cost", above=25, at_most=0.1, method="clopper_pearson", n=30)
    assert doubts_of(claim, COSTS[:29]) == Doubts(1.0, 1.0)
    found = doubts_of(claim, COSTS[:30])
    assert found.of_true == pytest.approx(stats.binom.sf(5, 30, 0.1))
    assert found.of_false == pytest.approx(stats.binom.cdf(6, 30, 0.1))
    assert doubts_of(claim, COSTS) == found
    none = doubts_of(claim, np.zeros(30))
    assert none.of_false == pytest.approx(0.9**30)
    estimate = estimates_of(claim, np.zeros(30))["probability"]
    assert (estimate.value, estimate.low, estimate.n) == (0, 0, 30)
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 30))


def test_two_one_sided_tests_at_a_margin_in_units():
    mode = EXPERT + np.random.default_rng(2).normal(0.3, 1, size=60)
    claim = EquivalenceClaim("return", "forward", within=1, n=60)
    found = doubts_of(claim, mode, EXPERT)
    low = stats.ttest_rel(mode + 1, EXPERT, alternative="greater").pvalue
    high = stats.ttest_rel(mode - 1, EXPERT, alternative="less").pvalue
    assert found.of_false == pytest.approx(max(low, high))
    assert found.of_false < 0.001
    assert found.of_true == 1
    far = doubts_of(claim, mode + 3, EXPERT)
    assert far.of_false > 0.99
    assert far.of_true < 0.001
    assert doubts_of(claim, mode[:59], EXPERT[:59]) == Doubts(1.0, 1.0)
    assert estimates_of(claim, mode, EXPERT)["difference"].value == pytest.approx((mode - EXPERT).mean())
    assert estimates_of(claim, mode, EXPERT)["expert"].value == pytest.approx(EXPERT.mean())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_in_per_cent_is_of_the_expert_whatever_its_sign(sign):
    claim = EquivalenceClaim("return", "forward", within_percent=10, n=60)
    noise = np.random.default_rng(3).normal(0, 1, size=60)
    near = doubts_of(claim, sign * (EXPERT * 1.02 + noise), sign * EXPERT)
    assert near.of_false < 0.001
    assert near.of_true > 0.5
    for factor in (0.8, 1.2):
        far = doubts_of(claim, sign * (EXPERT * factor + noise), sign * EXPERT)
        assert far.of_true < 0.001
        assert far.of_false > 0.5
    wrong_sign = doubts_of(claim, -sign * EXPERT + noise, sign * EXPERT)
    assert wrong_sign.of_true < 0.001
    known = EquivalenceClaim("return", "forward", within_percent=10, n=60, bounds=(0, 99) if sign > 0 else (-99, 0))
    found = doubts_of(known, sign * (EXPERT * 1.02 + noise), sign * EXPERT)
    assert found.of_false == pytest.approx(near.of_false / 2)  # one sign to test, not two


@pytest.mark.parametrize("margin", [{"within": 4}, {"within_percent": 20}])
def test_equivalence_by_betting(margin):
    claim = EquivalenceClaim("return", "forward", method="betting", bounds=(0, 40), **margin)
    generator = np.random.default_rng(4)
    expert = np.clip(generator.normal(20, 3, size=400), 0, 40)
    near = doubts_of(claim, np.clip(expert + generator.normal(0, 1, size=400), 0, 40), expert)
    assert near.of_false < 0.01
    assert near.of_true == 1
    far = doubts_of(claim, np.clip(expert + 9, 0, 40), expert)
    assert far.of_true < 0.01
    assert far.of_false > 0.5
    difference = estimates_of(claim, expert + 1.0, expert)["difference"]
    assert difference.low < 1.0 < difference.high
    assert difference.unit_of_n == "paired seeds"


def test_what_the_bounds_alone_decide_needs_no_episode():
    """Lengths from 990 to 1000 are never a tenth below one another."""
    claim = EquivalenceClaim("length", "forward", within_percent=10, method="betting", bounds=(990, 1000))
    assert doubts_of(claim, np.full(1, 990.0), np.full(1, 1000.0)).of_false == 0


def test_pairs_that_never_vary_have_no_t_test_and_say_so():
    claim = EquivalenceClaim("length", "forward", within=1, n=20)
    found = doubts_of(claim, np.full(20, 1000.0), np.full(20, 1000.0))
    assert (found.of_false, found.of_true) == (1, 1)
    assert "State bounds, and use the method betting." in found.note
    assert doubts_of(claim, COSTS[:20], COSTS[20:40] + EXPERT[:20]).note is None


def test_holm_as_published():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_a_file_shares_its_alpha_and_a_lone_claim_has_all_of_it():
    assert (alpha_of_a_side(0.05, 1), alpha_of_a_side(0.05, 2)) == (0.05, 0.025)
    assert answers_of([Doubts(0.04, 1.0)], 0.05) == ["holds"]
    assert answers_of([Doubts(1.0, 0.04)], 0.05) == ["refuted"]
    assert answers_of([Doubts(0.06, 0.06)], 0.05) == ["not decided"]
    assert answers_of([Doubts(0.02, 1.0), Doubts(1.0, 1.0)], 0.05) == ["not decided"] * 2
    assert answers_of([Doubts(0.02, 1.0), Doubts(0.01, 1.0)], 0.05) == ["holds"] * 2  # the second step asks for less
    assert answers_of([Doubts(0.02, 1.0), Doubts(1.0, 0.01)], 0.05) == ["not decided", "refuted"]
    assert answers_of([Doubts(0.001, 0.002), Doubts(0.002, 0.001), Doubts(0.0, 0.0)], 0.05) == [
        "holds",
        "refuted",
        "not decided",
    ]


def test_a_table_of_outcomes_is_refused():
    with pytest.raises(TypeCheckError):
        doubts_of(ProbabilityClaim("cost", above=25, at_most=0.1), np.zeros((2, 2)))
