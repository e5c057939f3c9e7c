"""The four objectives by numbers worked out by hand, and gradients that stop where they should."""

import math

import jaxtyping
import pytest
import torch

from unbraid.training.objectives import joined, vq_terms

VQ = 2.0
PROBABILITIES = [[0.5, 0.25], [1.0, 0.1]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ratio", VQ / ((0.125 + 0.1) / 2 + 1e-6)),
        ("product", VQ * ((1 / 0.6 + 1 / 0.35) + (1 / 1.1 + 1 / 0.2)) / 2),
        ("log_ratio", math.log(VQ) - (math.log(0.125) + math.log(0.1)) / 2),
        ("sum", VQ - (math.log(0.125) + math.log(0.1)) / 2),
    ],
)
def test_the_objectives_are_the_published_formulas(name, expected):
    found = joined(name)(torch.tensor(VQ), torch.tensor(PROBABILITIES).log(), torch.mean)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["ratio", "product", "log_ratio", "sum"])
def test_less_reconstruction_error_and_more_likelihood_are_both_better(name):
    vq, log_probs = torch.tensor(VQ, requires_grad=True), torch.tensor(PROBABILITIES).log().requires_grad_()
    joined(name)(vq, log_probs, torch.mean).backward()
    assert float(vq.grad) > 0
    assert bool((log_probs.grad < 0).all())


def test_the_ratio_stays_finite_where_no_action_is_likely():
    assert float(joined("ratio")(torch.tensor(VQ), torch.full((4, 2), -1e3), torch.mean)) == pytest.approx(VQ / 1e-6)


@pytest.fixture
def four():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 3, generator=generator, requires_grad=True) for _ in range(4)]


def test_the_terms_are_means_over_batch_and_dimensions(four):
    x, decoded, z, e = (tensor.detach() for tensor in four)
    terms = vq_terms(x, decoded, z, e)
    assert float(terms.reconstruction) == pytest.approx(float((x - decoded).square().sum()) / 18, rel=1e-5)
    assert float(terms.codebook) == pytest.approx(float((z - e).square().sum()) / 18, rel=1e-5)
    assert float(terms.commitment) == float(terms.codebook)
    expected = float(terms.reconstruction + terms.codebook + 0.25 * terms.commitment)
    assert float(terms.total(0.25)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("term", "reached"),
    [("reconstruction", ["transitions", "decoded"]), ("codebook", ["quantised"]), ("commitment", ["latents"])],
)
def test_gradients_stop_where_they_should(four, term, reached):
    getattr(vq_terms(*four), term).backward()
    names = ("transitions", "decoded", "latents", "quantised")
    assert [n for n, tensor in zip(names, four, strict=True) if tensor.grad is not None] == reached


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        vq_terms(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 2), torch.zeros(5, 2))
