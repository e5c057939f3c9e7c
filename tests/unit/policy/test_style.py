"""A style is a quantile: what is read becomes one, and one becomes what the policy is given."""

import jaxtyping
import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.policy.style import StyleReader, mode_shares, require_style, style_features, with_style


@pytest.fixture
def reader():
    """Mode 0 rises with energy, mode 1 falls; what is read is half of what the policy is given."""
    made = StyleReader(2, n_modes=2)
    latents = torch.linspace(-1, 1, 101)
    made.settle(0, latents, latents / 2, latents)
    made.settle(1, latents, latents / 2, -latents)
    return made


def test_a_reading_and_a_quantile_are_each_others_inverse(reader):
    readings = np.array([[-0.5, -0.5], [0.0, 0.0], [0.3, 0.3], [0.5, 0.5], [9.0, 9.0]])
    np.testing.assert_allclose(reader.quantiles(readings), [[0, 1], [0.5, 0.5], [0.8, 0.2], [1, 0], [1, 0]], atol=1e-6)
    torch.testing.assert_close(reader.latents_at(0.8), torch.tensor([0.6, -0.6]))
    torch.testing.assert_close(reader.latents_at(1.0), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(reader.latents_at(0.0), torch.tensor([-1.0, 1.0]))


@pytest.mark.parametrize("quantile", ["x", None, True, [0.5], np.array([0.5, 0.6])])
def test_what_is_no_number_is_no_style(quantile):
    with pytest.raises(ConfigError, match=r"A style must lie in \[0, 1\]; got "):
        require_style(quantile)
    assert require_style(np.float32(0.5)) == 0.5


def test_a_table_of_quantiles_is_read_row_by_row_as_one_number_is(reader):
    asked = [0.0, 0.05, 0.13, 0.5, 0.99, 1.0]
    found = reader.latents_at_each(torch.tensor(asked)[:, None])
    torch.testing.assert_close(found, torch.stack([reader.latents_at(q) for q in asked]), atol=1e-6, rtol=0)


def test_shares_are_those_of_a_mixture_and_never_below_zero():
    inverse = torch.linalg.pinv(1 - torch.eye(3))
    contexts = torch.tensor([[1.0, 0.0, 1.0], [0.5, 0.75, 0.75], [0.0, 0.0, 0.0], [0.0, 3.0, 3.0]])
    wanted = torch.tensor([[0, 1, 0], [0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])
    torch.testing.assert_close(mode_shares(contexts, inverse), wanted, atol=1e-6, rtol=0)


def test_demonstrations_that_read_alike_are_all_typical(reader):
    reader.settle(0, torch.zeros(4), torch.full((4,), 2.0), torch.arange(4.0))
    assert reader.quantiles(np.array([[3.0, 0.0]]))[0, 0] == 0.5


def test_a_blend_of_modes_has_the_blend_of_their_numbers(reader):
    of_modes = 1 - torch.eye(2)
    contexts = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.25, 0.75], [0.0, 0.0]])
    found = reader.latents_of(0.8, contexts, of_modes)
    torch.testing.assert_close(found[:, 0], torch.tensor([0.6, -0.6, 0.3, 0.0]), atol=1e-6, rtol=0)


def test_one_mode_alone_has_its_own_number():
    made = StyleReader(2, n_modes=1)
    assert float(made.latents_of(1.0, torch.zeros(3, 1), torch.zeros(1, 1))[2, 0]) == 1.0


def test_what_is_read_is_learned_from_pieces():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 10, generator=generator)
    wanted = 2 * features[:, 3] - features[:, 7] + 1
    made = StyleReader(2, n_modes=2)
    made.learn(1, features, wanted)
    read = features @ made.weights[1] + made.offsets[1]
    assert float((read - wanted).square().mean()) < 0.01
    assert (made.weights[0] == 0).all()


def test_a_column_that_never_moves_does_no_harm():
    made = StyleReader(1, n_modes=1)
    features = torch.cat([torch.linspace(-1, 1, 50)[:, None], torch.ones(50, 4)], dim=1)
    made.learn(0, features, features[:, 0])
    assert torch.isfinite(made.weights).all()
    assert float(features[0] @ made.weights[0] + made.offsets[0]) == pytest.approx(-1, abs=0.05)


def test_features_are_what_was_done_beside_what_is_expected():
    found = style_features(torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 7.0]]))
    assert found.tolist() == [[2, 3, 5, 7, 4, 9, 10, 21, 25, 49]]
    with pytest.raises(jaxtyping.TypeCheckError):
        style_features(torch.ones(2, 3), torch.ones(3, 3))


def test_a_style_that_is_not_told_is_not_a_style_of_0():
    states = torch.ones(2, 3)
    assert with_style(states, None).tolist() == [[1, 1, 1, 0, 0]] * 2
    assert with_style(states, torch.zeros(2, 1)).tolist() == [[1, 1, 1, 1, 0]] * 2


@pytest.mark.parametrize("quantile", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_style_outside_its_range_is_refused(quantile):
    with pytest.raises(ConfigError, match=r"must lie in \[0, 1\]; got .*0.5 is a mode's typical demonstration"):
        require_style(quantile)


def test_the_ends_are_styles():
    assert [require_style(q) for q in (0, 1)] == [0.0, 1.0]
