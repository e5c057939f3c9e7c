"""Codes on a simplex stay at distance 1 whatever training does; free codes start where a VQ-VAE's do."""

import itertools
import math

import jaxtyping
import pytest
import torch

from unbraid.modes.codebook import FreeCodebook, SimplexCodebook, code_usage, perplexity, squared_distances


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pairwise(codes):
    return [float((a - b).square().sum()) for a, b in itertools.combinations(codes.double(), 2)]


@pytest.mark.parametrize(("n_modes", "latent_size"), [(2, 2), (2, 8), (4, 8), (8, 8), (12, 12)])
def test_simplex_codes_are_at_squared_distance_one_after_any_updates(n_modes, latent_size):
    codebook = SimplexCodebook(n_modes, latent_size)
    optimizer = torch.optim.Adam(codebook.parameters(), lr=0.3)
    for _ in range(20):
        loss = codebook(torch.randn(16, latent_size)).sin().sum()  # anything that pushes the codes about
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert pairwise(codebook.codes().detach()) == pytest.approx([1.0] * math.comb(n_modes, 2), abs=1e-6)


def test_distances_of_a_quantised_latent_are_the_not_hot_vector():
    codebook = SimplexCodebook(4, 8)
    torch.testing.assert_close(codebook(codebook.codes()), 1 - torch.eye(4), atol=1e-6, rtol=0)


def test_expected_distances_under_responsibilities_are_one_minus_them():
    codebook = SimplexCodebook(5, 8)
    responsibilities = torch.softmax(torch.randn(7, 5), dim=1)
    expected = responsibilities @ codebook(codebook.codes())
    torch.testing.assert_close(expected, 1 - responsibilities, atol=1e-6, rtol=0)


def test_simplex_codes_move_continuously_with_their_matrix():
    codebook = SimplexCodebook(3, 8)
    before = codebook.codes().detach().clone()
    for _ in range(200):  # QR without its signs fixed flips a direction somewhere on such a way
        with torch.no_grad():
            codebook.matrix += 0.02 * torch.randn_like(codebook.matrix)
        after = codebook.codes().detach().clone()
        assert float((after - before).norm(dim=1).max()) < 0.3
        before = after


@pytest.mark.parametrize("kind", [SimplexCodebook, FreeCodebook])
def test_gradient_flows_to_codes_and_latents(kind):
    codebook = kind(3, 8)
    latents = torch.randn(5, 8, requires_grad=True)
    codebook(latents)[:, 0].sum().backward()
    (parameter,) = codebook.parameters()
    assert float(parameter.grad.abs().sum()) > 0
    torch.testing.assert_close(latents.grad, 2 * (latents - codebook.codes()[0]).detach(), atol=1e-5, rtol=1e-5)


def test_a_simplex_needs_as_many_dimensions_as_codes():
    with pytest.raises(ValueError, match="5 codes needs at least as many dimensions; got 4"):
        SimplexCodebook(5, 4)


@pytest.mark.parametrize("n_modes", [2, 5])
def test_free_codes_start_within_one_over_k(n_modes):
    codes = FreeCodebook(n_modes, 1000).codes().detach()
    assert float(codes.abs().max()) <= 1 / n_modes
    assert float(codes.max()) > 0.98 / n_modes
    assert float(codes.min()) < -0.98 / n_modes
    assert float(codes.mean()) == pytest.approx(0, abs=0.05 / n_modes)


def test_squared_distances_are_those_of_the_differences_and_never_negative():
    latents, codes = torch.randn(6, 4, 3), torch.randn(5, 3)
    expected = (latents[..., None, :] - codes).square().sum(-1)
    torch.testing.assert_close(squared_distances(latents, codes), expected, atol=1e-5, rtol=1e-5)
    assert float(squared_distances(codes * 1000, codes * 1000).min()) >= 0


def test_usage_and_perplexity():
    usage = code_usage(torch.tensor([0, 0, 2, 2, 2, 2, 0, 0]), 4)
    assert usage.tolist() == [0.5, 0, 0.5, 0]
    assert perplexity(usage) == pytest.approx(2)
    assert perplexity(torch.full((8,), 1 / 8)) == pytest.approx(8)
    assert perplexity(torch.tensor([0.0, 1.0])) == pytest.approx(1)
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert perplexity(torch.tensor([0.25, 0.75])) == pytest.approx(math.exp(entropy))
    assert code_usage(torch.zeros(0, dtype=torch.long), 3).tolist() == [0, 0, 0]


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        squared_distances(torch.zeros(4, 3), torch.zeros(2, 5))
