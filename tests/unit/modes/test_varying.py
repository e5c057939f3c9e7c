"""Modes that vary within themselves: the likelihood is the exact one, and EM finds lines that experts lie along."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from unbraid.modes.evidence import Evidence
from unbraid.modes.mixture import SteadyModes, span_statistics
from unbraid.modes.varying import VaryingModes, _fit_lines, _in_heaps, _Lines, _Numbers, _scored

FLOOR = 1e-3


@pytest.fixture
def spans_of_lines():
    return lines_of(np.random.default_rng(1).normal(size=60))


def lines_of(numbers):
    """(features, evidence, spans, label, number of each span): y = (B_k + z C_k)' phi and noise, 30 steps each."""
    generator = np.random.default_rng(0)
    n_spans, n_steps = len(numbers), 30
    labels = np.arange(n_spans) % 2
    centre, direction = generator.normal(size=(2, 3, 2)), generator.normal(size=(2, 3, 2))
    spans = np.repeat(np.arange(n_spans), n_steps)
    features = np.concatenate([generator.normal(size=(len(spans), 2)), np.ones((len(spans), 1))], axis=1)
    slopes = centre[labels] + numbers[:, None, None] * direction[labels]
    targets = np.einsum("sf,sft->st", features, slopes[spans]) + 0.2 * generator.normal(size=(len(spans), 2))
    features, targets = (torch.from_numpy(part.astype(np.float32)) for part in (features, targets))
    return features, Evidence(targets, torch.ones(len(targets))), torch.from_numpy(spans), labels, numbers


def one_hot(labels, share=0.98):
    sure = torch.nn.functional.one_hot(torch.as_tensor(labels), 2).float()
    return (share * sure + (1 - share) / 2)[None]


def latents_of(labels, numbers):
    return np.stack([2.0 * labels, numbers], axis=1).astype(np.float32)


def test_the_number_is_integrated_out_exactly(spans_of_lines):
    features, evidence, spans, _, _ = spans_of_lines
    generator = torch.Generator().manual_seed(0)
    centre, direction = (torch.randn(1, 2, 3, 2, generator=generator) for _ in range(2))
    variances = torch.rand(1, 2, 2, generator=generator) + 0.3
    statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
    found, numbers = _scored(statistics, [_Lines(centre, direction, variances)])
    for span in (0, 17):
        phi, y = features[spans == span].double(), evidence.targets[spans == span].double()
        for mode in range(2):
            mean = (phi @ centre[0, mode].double()).T.flatten()
            along = (phi @ direction[0, mode].double()).T.flatten()
            noise = variances[0, mode].double().repeat_interleave(len(phi))
            covariance = torch.diag(noise) + along[:, None] * along
            exact = multivariate_normal(mean.numpy(), covariance.numpy()).logpdf(y.T.flatten().numpy())
            assert found[0, span, mode] == pytest.approx(exact, rel=1e-4)
            # the posterior of z, by the regression of y - mean on what it moves
            precision = float((along**2 / noise).sum())
            expected = float((along * (y.T.flatten() - mean) / noise).sum()) / (1 + precision)
            assert numbers.mean[0, span, mode] == pytest.approx(expected, rel=1e-3, abs=1e-3)
            assert numbers.square[0, span, mode] == pytest.approx(expected**2 + 1 / (1 + precision), rel=1e-3)


def test_lines_are_the_regression_on_features_and_features_times_the_number(spans_of_lines):
    """With numbers that are known: the ridge is 3 observations' worth beside 900 of each mode."""
    features, evidence, spans, labels, numbers = spans_of_lines
    z = torch.from_numpy(numbers.astype(np.float32))[None, :, None].expand(-1, -1, 2)
    sure = one_hot(labels, share=1.0)
    lines = _fit_lines(span_statistics(features, evidence, spans, floor=FLOOR), sure, _Numbers(z, z.square()))
    for mode in range(2):
        own = np.isin(spans.numpy(), np.flatnonzero(labels == mode))
        phi = features.numpy()[own]
        both = np.concatenate([phi, phi * numbers[spans.numpy()[own], None]], axis=1)
        expected, *_ = np.linalg.lstsq(both, evidence.targets.numpy()[own], rcond=None)
        np.testing.assert_allclose(torch.cat([lines.centre, lines.direction], 2)[0, mode], expected, atol=0.05)
        assert lines.variances[0, mode].numpy() == pytest.approx(0.04, abs=0.02)


def test_em_finds_experts_whose_episodes_lie_along_lines(spans_of_lines):
    features, evidence, spans, labels, numbers = spans_of_lines
    statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
    varying = VaryingModes(statistics, latents_of(labels, numbers))
    begun = labels.copy()
    begun[::7] = 1 - begun[::7]
    refined = varying.refined(one_hot(begun))
    np.testing.assert_array_equal(refined[0].argmax(1).numpy(), labels)
    across = varying.scored_across_halves(refined)
    own = across[0].gather(1, torch.from_numpy(labels)[:, None])
    steady = SteadyModes(statistics).scored_across_halves(refined)[0].gather(1, torch.from_numpy(labels)[:, None])
    assert (own - steady).mean() > 10


def test_other_spans_are_scored_as_the_known_ones_are(spans_of_lines):
    features, evidence, spans, labels, numbers = spans_of_lines
    varying = VaryingModes([span_statistics(features, evidence, spans, floor=FLOOR)], latents_of(labels, numbers))
    responsibilities = one_hot(labels)
    some = spans < 5
    others = Evidence(evidence.targets[some], evidence.weights[some])
    found = varying.scored_of_others([others], features[some], spans[some], responsibilities[0])
    torch.testing.assert_close(found, varying.scored(responsibilities)[0, :5], rtol=1e-4, atol=1e-2)


def test_what_is_left_out_teaches_nothing(spans_of_lines):
    """Targets of one half made absurd: the other half's scores under it change, its own under the other do not."""
    features, evidence, spans, labels, numbers = spans_of_lines
    responsibilities, latents = one_hot(labels), latents_of(labels, numbers)
    from unbraid.modes.mixture import alternating_halves

    first = alternating_halves(responsibilities)[0] == 0
    spoilt = Evidence(torch.where(first[spans][:, None], 100.0, evidence.targets), evidence.weights)
    before, after = (
        VaryingModes([span_statistics(features, e, spans, floor=FLOOR)], latents).scored_across_halves(responsibilities)
        for e in (evidence, spoilt)
    )
    assert (after[0, first] < before[0, first] - 100).all()  # absurd targets under modes that are as they were
    half = VaryingModes([span_statistics(features, evidence, spans, floor=FLOOR)], latents)
    taught = half.scored(responsibilities * (~first)[None, :, None].float())
    torch.testing.assert_close(before[0, first], taught[0, first], rtol=1e-4, atol=1e-2)


def test_numbers_that_are_all_alike_lie_in_no_heaps_and_warn_of_nothing():
    assert not _in_heaps(np.ones(20))


def test_numbers_in_heaps_are_no_speed_that_varies():
    """Two or three experts in one mode, and one expert at speeds of its own."""
    generator = np.random.default_rng(2)
    in_heaps = np.where(np.arange(60) % 4 < 2, 1.0, -1.0) + 0.1 * generator.normal(size=60)
    in_three = 1.2 * (np.arange(60) // 2 % 3 - 1.0) + 0.1 * generator.normal(size=60)
    spread = generator.normal(size=60), generator.uniform(-2, 2, 60)
    for numbers, are in ((in_heaps, True), (in_three, True), (spread[0], False), (spread[1], False)):
        features, evidence, spans, labels, _ = lines_of(numbers)
        statistics = [span_statistics(features, evidence, spans, floor=FLOOR)]
        varying = VaryingModes(statistics, latents_of(labels, numbers))
        assert varying.lie_about_one_place(one_hot(labels)[0]) != are
    few = lines_of(spread[0][:18])  # nine of each mode
    statistics = [span_statistics(*few[:3], floor=FLOOR)]
    assert not VaryingModes(statistics, latents_of(few[3], few[4])).lie_about_one_place(one_hot(few[3])[0])
