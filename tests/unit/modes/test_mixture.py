"""The mixture finds who is who where policies are linear, repeats under its seed, and its sums are the sums."""

import numpy as np
import pytest
import torch

from unbraid.modes.mixture import fit_mixture, span_statistics

SPANS, STEPS = 40, 25


def linear_policies(n_modes, seed=0, noise=0.3):
    """(features, targets, spans, label of each span): every span acts by one of K random linear policies."""
    generator = np.random.default_rng(seed)
    slopes = generator.normal(size=(n_modes, 4, 2))
    labels = np.arange(SPANS) % n_modes
    features = np.concatenate([generator.normal(size=(SPANS * STEPS, 3)), np.ones((SPANS * STEPS, 1))], axis=1)
    of_step = np.repeat(np.arange(SPANS), STEPS)
    targets = np.einsum("sf,sft->st", features, slopes[labels[of_step]])
    targets = targets + noise * generator.normal(size=targets.shape)
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (features, targets)]
    return *tensors, torch.from_numpy(of_step), labels


def same_partition(found, labels):
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(found.tolist()))


@pytest.mark.parametrize("n_modes", [2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_linear_policies_are_recovered(n_modes, seed):
    features, targets, spans, labels = linear_policies(n_modes, seed)
    statistics = span_statistics(features, targets, spans)
    found = fit_mixture(statistics, n_modes, generator=np.random.default_rng(seed))
    assert same_partition(found.responsibilities.argmax(1), labels)
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(SPANS))
    assert found.evidence == found.evidences[0] == max(found.evidences)


def test_the_evidence_is_the_log_likelihood_per_step():
    """One mode explains all: the evidence is a ridge regression's log-likelihood, worked out by hand."""
    features, targets, spans, _ = linear_policies(1)
    found = fit_mixture(span_statistics(features, targets, spans), 1, generator=np.random.default_rng(0))
    phi, y = features.double(), targets.double()
    slopes = torch.linalg.solve(phi.T @ phi + 3 * torch.eye(4, dtype=torch.float64), phi.T @ y)
    residual = (y - phi @ slopes).square()
    variance = residual.mean(0) + 1e-3
    expected = (-0.5 * residual / variance - 0.5 * (2 * torch.pi * variance).log()).sum(1).mean()
    assert found.evidence == pytest.approx(float(expected), abs=1e-3)


def test_more_modes_than_there_are_still_sum_to_one():
    features, targets, spans, _ = linear_policies(2)
    found = fit_mixture(span_statistics(features, targets, spans), 6, generator=np.random.default_rng(0))
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(SPANS))
    assert torch.isfinite(found.responsibilities).all()


def test_spans_that_are_all_alike_are_no_error():
    statistics = span_statistics(torch.ones(60, 2), torch.zeros(60, 1), torch.arange(60) // 10)
    found = fit_mixture(statistics, 3, generator=np.random.default_rng(0))
    assert torch.isfinite(found.responsibilities).all()


def test_the_seed_suffices_and_matters():
    features, targets, spans, _ = linear_policies(4, noise=3.0)
    statistics = span_statistics(features, targets, spans)
    first, again, other = (
        fit_mixture(statistics, 3, generator=np.random.default_rng(seed)).responsibilities for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_statistics_are_the_sums_over_each_span():
    features, targets, _, _ = linear_policies(2)
    spans = torch.repeat_interleave(torch.arange(4), torch.tensor([1, 499, 300, 200]))
    found = span_statistics(features, targets, spans)
    assert found.counts.tolist() == [1, 499, 300, 200]
    for k in range(4):
        phi, y = features[spans == k].double(), targets[spans == k].double()
        torch.testing.assert_close(found.gram[k].double(), phi.T @ phi, atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(found.cross[k].double(), phi.T @ y, atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(found.square[k].double(), y.square().sum(0), atol=1e-3, rtol=1e-5)
