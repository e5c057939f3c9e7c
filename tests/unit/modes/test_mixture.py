"""The mixture's sums are the sums, its regressions the textbook's; it finds who is who where policies are linear."""

import numpy as np
import pytest
import torch

from unbraid.modes.evidence import Evidence
from unbraid.modes.mixture import (
    Predictors,
    alternating_halves,
    expectation_maximisation,
    fit_predictors,
    log_evidence,
    log_likelihoods,
    log_shares,
    scored,
    scored_across_halves,
    span_statistics,
    step_statistics,
)

SPANS, STEPS = 40, 25
FLOOR = 1e-3


def linear_policies(n_modes, seed=0, noise=0.3):
    """(features, evidence, spans, label of each span): every span acts by one of K random linear policies."""
    generator = np.random.default_rng(seed)
    slopes = generator.normal(size=(n_modes, 4, 2))
    labels = np.arange(SPANS) % n_modes
    features = np.concatenate([generator.normal(size=(SPANS * STEPS, 3)), np.ones((SPANS * STEPS, 1))], axis=1)
    of_step = np.repeat(np.arange(SPANS), STEPS)
    targets = np.einsum("sf,sft->st", features, slopes[labels[of_step]])
    targets = targets + noise * generator.normal(size=targets.shape)
    features, targets = (torch.from_numpy(x.astype(np.float32)) for x in (features, targets))
    return features, Evidence(targets, torch.ones(len(targets))), torch.from_numpy(of_step), labels


@pytest.fixture
def uneven():
    """(features, evidence, spans): spans of 1, 30, 12, 8, 20 and 9 steps that count for something between 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    spans = torch.repeat_interleave(torch.arange(6), torch.tensor([1, 30, 12, 8, 20, 9]))
    features = torch.randn(80, 3, generator=generator)
    targets = features @ torch.randn(3, 2, generator=generator) + torch.randn(80, 2, generator=generator)
    weights = torch.rand(80, generator=generator)
    weights[40:44] = 0
    return features, Evidence(targets, weights), spans


def drawn(n_starts, n_spans, n_modes, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.dirichlet(np.full(n_modes, 0.5), (n_starts, n_spans)).astype(np.float32))


def one_hot(modes, n_modes):
    return torch.nn.functional.one_hot(torch.as_tensor(modes), n_modes).float()


# Sums


def test_statistics_are_the_weighted_sums_over_each_span(uneven):
    features, evidence, spans = uneven
    found = span_statistics(features, evidence, spans, floor=FLOOR)
    upper = torch.triu_indices(3, 3)
    assert found.floor == FLOOR
    for k in range(6):
        phi, y = features[spans == k].double(), evidence.targets[spans == k].double()
        w = evidence.weights[spans == k].double()[:, None]
        torch.testing.assert_close(found.gram[k].double(), (phi.T @ (w * phi))[upper[0], upper[1]], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.cross[k].double(), phi.T @ (w * y), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.square[k].double(), (w * y.square()).sum(0), atol=1e-4, rtol=0)
        assert float(found.counts[k]) == pytest.approx(float(w.sum()), abs=1e-5)


def test_chosen_spans_have_their_own_statistics(uneven):
    features, evidence, spans = uneven
    chosen = torch.tensor([False, True, False, False, True, True])
    found = span_statistics(features, evidence, spans, floor=FLOOR).of_spans(chosen)
    kept = chosen[spans]
    alone = span_statistics(
        features[kept],
        Evidence(evidence.targets[kept], evidence.weights[kept]),
        torch.unique_consecutive(spans[kept], return_inverse=True)[1],
        floor=FLOOR,
    )
    for name in ("gram", "cross", "square", "counts"):
        torch.testing.assert_close(getattr(found, name), getattr(alone, name))


# Predictors


def ridge_by_hand(features, evidence, weights):
    """Slopes drawn to everybody's by 3 observations' worth, variances by one; all steps at once, in float64."""
    phi, y, own = features.double(), evidence.targets.double(), evidence.weights.double()
    ridge = 3 * torch.eye(phi.shape[1], dtype=torch.float64)

    def solved(w, towards):
        return torch.linalg.solve(phi.T @ (w[:, None] * phi) + ridge, phi.T @ (w[:, None] * y) + ridge @ towards)

    shared = solved(own, torch.zeros(phi.shape[1], y.shape[1], dtype=torch.float64))
    slopes = solved(own * weights, shared)
    prior = (own[:, None] * (y - phi @ shared).square()).sum(0) / own.sum()
    residual = ((own * weights)[:, None] * (y - phi @ slopes).square()).sum(0)
    return slopes, (residual + prior) / ((own * weights).sum() + 1) + FLOOR


def test_a_predictor_is_a_ridge_regression_towards_the_shared_solution(uneven):
    features, evidence, spans = uneven
    responsibilities = drawn(2, 6, 3)
    found = fit_predictors(span_statistics(features, evidence, spans, floor=FLOOR), responsibilities)
    for start in range(2):
        for mode in range(3):
            weights = responsibilities[start, :, mode].double()[spans]
            slopes, variances = ridge_by_hand(features, evidence, weights)
            torch.testing.assert_close(found.slopes[start, mode].double(), slopes, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(found.variances[start, mode].double(), variances, atol=1e-3, rtol=1e-3)


def test_a_mode_that_nobody_is_in_predicts_what_everybody_does(uneven):
    features, evidence, spans = uneven
    found = fit_predictors(span_statistics(features, evidence, spans, floor=FLOOR), one_hot([[0] * 6], 2))
    slopes, variances = ridge_by_hand(features, evidence, torch.zeros(80, dtype=torch.float64))
    torch.testing.assert_close(found.slopes[0, 1].double(), slopes, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.variances[0, 1].double(), variances, atol=1e-3, rtol=1e-3)


def test_a_perfect_prediction_has_the_least_variance():
    features = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    statistics = span_statistics(features, Evidence(features * 0, torch.ones(60)), torch.arange(60) // 10, floor=0.1)
    found = fit_predictors(statistics, torch.ones(1, 6, 1))
    assert float(found.variances.min()) == pytest.approx(0.1 + 0.1 / 61, rel=1e-4)


# Scores


def scores_by_hand(features, evidence, spans, predictors, start=0):
    """Step by step: the weighted log-density of its target under each mode's Gaussian."""
    columns = []
    for slopes, variances in zip(predictors.slopes[start].double(), predictors.variances[start].double(), strict=True):
        gaussian = torch.distributions.Normal(features.double() @ slopes, variances.sqrt())
        of_step = gaussian.log_prob(evidence.targets.double()).sum(1) * evidence.weights
        columns.append(torch.zeros(int(spans[-1]) + 1, dtype=torch.float64).index_add_(0, spans, of_step))
    return torch.stack(columns, dim=1)


def test_a_score_is_the_weighted_log_likelihood_of_the_spans_steps(uneven):
    features, evidence, spans = uneven
    statistics = span_statistics(features, evidence, spans, floor=FLOOR)
    predictors = fit_predictors(statistics, drawn(2, 6, 3))
    found = scored(statistics, predictors)
    for start in range(2):
        expected = scores_by_hand(features, evidence, spans, predictors, start)
        torch.testing.assert_close(found[start].double(), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("chunk", [7, 16384])
def test_scores_from_steps_equal_scores_from_statistics(uneven, monkeypatch, chunk):
    monkeypatch.setattr("unbraid.modes.mixture._CHUNK", chunk)
    features, evidence, spans = uneven
    second = Evidence(evidence.targets[:, :1].square(), evidence.weights.flip(0))
    evidences = [evidence, second]
    statistics = [span_statistics(features, e, spans, floor=FLOOR) for e in evidences]
    predictors = [fit_predictors(s, drawn(1, 6, 3)) for s in statistics]
    expected = sum(scored(s, p)[0] for s, p in zip(statistics, predictors, strict=True))
    found = log_likelihoods(evidences, features, spans, predictors)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


# Halves

# Every span has the same features, so that two spans may swap their targets, and all sums over everybody stay.
ALIKE_MODES = [0, 0, 0, 0, 1, 1, 1, 1, 2]
# The first of a mode is in one half, the second in the other; where it begins alternates with the mode.
ALIKE_HALVES = [1, 0, 1, 0, 0, 1, 0, 1, 1]


def alike(swapped=()):
    """(features, evidence, spans) of nine spans; the two that are named have each other's targets."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 2, generator=generator).repeat(9, 1)
    slopes = torch.randn(3, 2, 1, generator=generator)
    targets = [features[:12] @ slopes[mode] + 0.3 * torch.randn(12, 1, generator=generator) for mode in ALIKE_MODES]
    if swapped:
        one, other = swapped
        targets[one], targets[other] = targets[other], targets[one]
    return features, Evidence(torch.cat(targets), torch.ones(108)), torch.arange(108) // 12


@pytest.mark.parametrize(("swapped", "half"), [((0, 5), 1), ((1, 4), 0), ((2, 7), 1)])
def test_each_half_is_scored_by_what_the_other_taught(swapped, half):
    """Two spans of one half, of different modes, swap targets: only what that half teaches changes."""
    responsibilities = one_hot([ALIKE_MODES], 3)
    before, after = (
        scored_across_halves([span_statistics(*alike(given), floor=FLOOR)], responsibilities)[0][0]
        for given in ((), swapped)
    )
    changed = ((after - before).abs() > 0.05)[:, :2].any(1)
    for span, own_half in enumerate(ALIKE_HALVES):
        if span not in swapped:
            assert bool(changed[span]) == (own_half != half), span


def test_a_mode_of_one_span_is_unknown_to_the_half_that_scores_it():
    given = alike()
    statistics = span_statistics(*given, floor=FLOOR)
    found = scored_across_halves([statistics], one_hot([ALIKE_MODES], 3))[0][0]
    other_half = torch.tensor(ALIKE_HALVES) == 0
    taught = fit_predictors(statistics.of_spans(other_half), one_hot([ALIKE_MODES], 3)[:, other_half])
    torch.testing.assert_close(found[8, 2], scored(statistics, taught)[0, 8, 2], atol=1e-3, rtol=1e-4)
    fitted = scored(statistics, fit_predictors(statistics, one_hot([ALIKE_MODES], 3)))[0]
    assert float(fitted[8, 2]) > float(found[8, 2]) + 3  # whoever had seen it would know better


def test_every_start_has_its_own_halves_and_every_kind_its_own_scores():
    features, evidence, spans = alike()
    kinds = [evidence, Evidence(evidence.targets.square(), evidence.weights * 0.5)]
    statistics = [span_statistics(features, kind, spans, floor=FLOOR) for kind in kinds]
    starts = torch.cat([one_hot([ALIKE_MODES], 3), one_hot([[0, 1, 2] * 3], 3)])
    together = scored_across_halves(statistics, starts)
    for kind, of_kind in zip(statistics, together, strict=True):
        for start, of_start in zip(starts, of_kind, strict=True):
            alone = scored_across_halves([kind], start[None])[0][0]
            torch.testing.assert_close(of_start, alone, atol=1e-3, rtol=1e-4)
    assert not torch.allclose(together[0], together[1])


def test_halves_alternate_within_every_mode():
    """So that each half knows every mode; a lone span of a mode is in one of them."""
    modes = torch.tensor([[0, 1, 1, 0, 2, 0, 1, 0], [2, 2, 2, 2, 0, 0, 1, 1]])
    found = alternating_halves(one_hot(modes, 3) * 0.9 + 0.03)
    assert set(found.unique().tolist()) == {0, 1}
    for own_modes, halves in zip(modes, found, strict=True):
        for mode in range(3):
            own = halves[own_modes == mode]
            assert (own[1:] != own[:-1]).all()
    assert found[1, 4] != found[1, 6]  # nor does every mode begin with the same half


def test_halves_may_be_given():
    features, evidence, spans = alike()
    statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
    halves = (torch.arange(9) >= 4).long()[None]
    (found,) = scored_across_halves(statistics, one_hot([ALIKE_MODES], 3), halves)
    for half in range(2):
        there, other = halves[0] == half, halves[0] != half
        taught = fit_predictors(statistics[0].of_spans(other), one_hot([ALIKE_MODES], 3)[:, other])
        torch.testing.assert_close(
            found[0, there], scored(statistics[0].of_spans(there), taught)[0], atol=1e-2, rtol=1e-3
        )


def test_steps_of_a_mode_are_summed_up_as_if_they_were_one_span(uneven):
    """Each step learned from by as much as it is of the mode."""
    features, evidence, _ = uneven
    responsibilities = drawn(1, 80, 3)[0]
    found = step_statistics(features, evidence, responsibilities, floor=FLOOR)
    assert found.floor == FLOOR
    for mode in range(3):
        own = Evidence(evidence.targets, evidence.weights * responsibilities[:, mode])
        alone = span_statistics(features, own, torch.zeros(80, dtype=torch.long), floor=FLOOR)
        for name in ("gram", "cross", "square", "counts"):
            torch.testing.assert_close(getattr(found, name)[mode], getattr(alone, name)[0], atol=1e-4, rtol=1e-4)


def test_a_mixtures_evidence_weighs_modes_by_their_shares():
    """log sum_k share_k p_k of each span; a mode that nobody is in keeps a millionth."""
    responsibilities = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    torch.testing.assert_close(log_shares(responsibilities).exp(), torch.tensor([[0.75, 0.25, 1e-6]]))
    scores = torch.tensor([[-1.0, -2.0, 9.0], [0.0, 0.0, 0.0], [-3.0, 1.0, -9.0], [-500.0, -501.0, -499.0]])
    expected = (
        torch.tensor([0.75, 0.25, 1e-6]).double() * (scores.double() + torch.tensor([0.0, 0, 0, 500])[:, None]).exp()
    )
    expected = expected.sum(1).log() - torch.tensor([0.0, 0, 0, 500])
    torch.testing.assert_close(log_evidence(scores, responsibilities).double(), expected, atol=1e-5, rtol=1e-5)


def test_shared_variances_are_the_mean_by_weight_and_nothing_else_changes():
    variances = torch.tensor([[[1.0, 4.0], [3.0, 8.0]], [[2.0, 2.0], [6.0, 4.0]]])
    given = Predictors(torch.randn(2, 2, 3, 2), variances)
    found = given.with_shared_variances(torch.tensor([[3.0, 1.0], [10.0, 10.0]]))
    torch.testing.assert_close(found.variances, torch.tensor([[[1.5, 5.0]] * 2, [[4.0, 3.0]] * 2]))
    assert found.slopes is given.slopes


# EM


@pytest.mark.parametrize("first_beta", [1.0, 0.3])
def test_rounds_are_those_of_the_textbook_and_end_at_no_temperature(first_beta):
    """One start, fifteen rounds; the inverse temperature grows by 1.6 to 1."""
    features, evidence, spans, _ = linear_policies(3, noise=20.0)  # so much noise that shares stay soft
    statistics = span_statistics(features, evidence, spans, floor=FLOOR)
    start = drawn(1, SPANS, 3)
    expected = start
    for round_ in range(15):
        scores = scored(statistics, fit_predictors(statistics, expected))[0] + expected[0].mean(0).log()
        weights = (scores * min(first_beta * 1.6**round_, 1.0)).double()
        expected = (weights - weights.logsumexp(1, keepdim=True)).exp().float()[None]
    found = expectation_maximisation([statistics], start, first_beta=torch.tensor([first_beta]))
    assert float(expected.max(-1).values.mean()) < 0.95
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("n_modes", "seed"), [(2, 0), (2, 1), (4, 0), (4, 1)])
def test_linear_policies_are_recovered_from_random_starts(n_modes, seed, tells_apart):
    features, evidence, spans, labels = linear_policies(n_modes, seed)
    statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
    starts = drawn(20, SPANS, n_modes, seed)
    found = expectation_maximisation(statistics, starts, first_beta=torch.full((20,), 0.02))
    assert found.shape == (8, SPANS, n_modes)  # the best eight
    torch.testing.assert_close(found.sum(-1), torch.ones(8, SPANS))
    assert tells_apart(found[0].argmax(1), labels)


def mixture_log_likelihood(statistics, responsibilities):
    log_shares = responsibilities.mean(1).clamp_min(1e-6).log()[:, None]
    scores = sum(scored(s, fit_predictors(s, responsibilities)) for s in statistics)
    return (scores + log_shares).logsumexp(-1).sum(-1)


def test_the_best_comes_first_and_is_the_one_from_the_truth(tells_apart):
    features, evidence, spans, labels = linear_policies(3)
    statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
    wrong = np.roll(np.repeat(np.arange(3), 14)[:SPANS], 5)
    starts = torch.stack([one_hot(m, 3) * 0.98 + 0.02 / 3 for m in (wrong, np.arange(SPANS) // 20, labels)])
    found = expectation_maximisation(statistics, starts, first_beta=torch.ones(3))
    assert tells_apart(found[0].argmax(1), labels)
    worth = mixture_log_likelihood(statistics, found)
    assert (worth.argsort(descending=True, stable=True) == torch.arange(3)).all() or worth.max() - worth.min() < 0.1


def test_all_kinds_are_added_up(tells_apart):
    """Experts 0 and 1 differ in one kind, 1 and 2 in the other: only both tell three apart."""
    generator = torch.Generator().manual_seed(0)
    labels, spans = torch.arange(SPANS) % 3, torch.arange(SPANS * STEPS) // STEPS
    features = torch.cat([torch.randn(SPANS * STEPS, 1, generator=generator), torch.ones(SPANS * STEPS, 1)], dim=1)
    noise = 0.3 * torch.randn(2, SPANS * STEPS, 1, generator=generator)
    first = features[:, :1] * torch.tensor([1.0, -1.0, -1.0])[labels[spans], None] + noise[0]
    second = features[:, :1] * torch.tensor([1.0, 1.0, -1.0])[labels[spans], None] + noise[1]
    kinds = [span_statistics(features, Evidence(y, torch.ones(len(y))), spans, floor=FLOOR) for y in (first, second)]
    beta = torch.full((12,), 0.02)

    def found(statistics):
        return expectation_maximisation(statistics, drawn(12, SPANS, 3), first_beta=beta)[0].argmax(1)

    assert tells_apart(found(kinds), labels)
    assert not tells_apart(found(kinds[:1]), labels)
    assert not tells_apart(found(kinds[1:]), labels)


def test_more_modes_than_there_are_still_sum_to_one():
    features, evidence, spans, _ = linear_policies(2)
    statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
    found = expectation_maximisation(statistics, drawn(3, SPANS, 6), first_beta=torch.full((3,), 0.02))
    assert found.shape == (3, SPANS, 6)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, SPANS))


def test_spans_that_are_all_alike_are_no_error():
    alike = Evidence(torch.zeros(60, 1), torch.ones(60))
    statistics = [span_statistics(torch.ones(60, 2), alike, torch.arange(60) // 10, floor=FLOOR)]
    found = expectation_maximisation(statistics, drawn(2, 6, 3), first_beta=torch.ones(2))
    assert torch.isfinite(found).all()
