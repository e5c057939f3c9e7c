"""Bounds of actions: found where demonstrations pile up, and held with a gradient that leads back inside."""

import numpy as np
import pytest
import torch

from unbraid.policy.bounds import LEAST_SHARE, Extremes, held_within
from unbraid.policy.gaussian import GaussianPolicy, TrunkShape, diagonal_log_prob
from unbraid.training.policy_losses import predicted

INF = np.inf


def bounds_of(actions, n_blocks=1):
    extremes = Extremes()
    seen = list(extremes.watched(np.array_split(actions.astype(np.float32), n_blocks)))
    assert np.array_equal(np.concatenate(seen), actions.astype(np.float32)), "blocks pass as they are"
    return extremes.bounds()


@pytest.mark.parametrize("n_blocks", [1, 7, 250])
def test_bounds_are_where_actions_pile_up_in_however_many_blocks(n_blocks):
    draws = np.random.default_rng(0).normal(size=(1000, 4))
    actions = np.column_stack([draws[:, 0].clip(-1, 0.5), draws[:, 1].clip(None, 1), draws[:, 2], draws[:, 3] > 9])
    low, high = bounds_of(actions, n_blocks)
    assert low.tolist() == [-1, -INF, -INF, -INF], "a column that never moves has none"
    assert high.tolist() == [0.5, 1, INF, INF]


def test_a_new_extreme_forgets_how_often_the_former_one_was_there():
    actions = np.concatenate([np.zeros(500), [1.0], np.linspace(0.1, 0.9, 499)])[:, None]
    low, high = bounds_of(actions, 4)
    assert (low[0], high[0]) == (0, INF)
    assert bounds_of(-actions, 4)[1][0] == 0


def test_rounding_takes_no_bound_away_and_an_action_beyond_does():
    actions = np.random.default_rng(0).normal(size=(1000, 1)).clip(-1, 1)
    for n_blocks in (1, 40):
        assert bounds_of(np.append(actions, [[1.0000001]], axis=0), n_blocks)[1][0] == pytest.approx(1)
        assert bounds_of(np.append(actions, [[1.01]], axis=0), n_blocks)[1][0] == INF


def test_the_largest_of_a_few_actions_is_no_pile():
    draws = np.random.default_rng(0).normal(size=(30, 1))
    assert bounds_of(draws) is None
    assert bounds_of(np.append(draws.clip(-0.3, 0.3), [[0.0]], axis=0)) is not None


def test_a_share_below_the_least_is_no_bound():
    actions = np.linspace(-1, 0.99, 1000)[:, None]
    actions[: round(1000 * LEAST_SHARE) - 1] = 1
    assert bounds_of(actions) is None
    actions[: round(1000 * LEAST_SHARE)] = 1
    assert bounds_of(actions)[1][0] == 1


def test_gradient_leads_back_inside_and_never_further_out():
    mean = torch.tensor([[-3.0, -3.0, -3.0, 0.2, 3.0, 3.0, 3.0, 3.0]], requires_grad=True)
    target = torch.tensor([[-2.0, -1.0, 0.5, 0.5, 2.0, 1.0, 0.5, 7.0]])
    held = held_within(mean, torch.full((8,), -1.0), torch.tensor([1.0, 1, 1, 1, 1, 1, 1, INF]))
    assert held.tolist() == [[-1, -1, -1, pytest.approx(0.2), 1, 1, 1, 3]]
    (held - target).square().sum().backward()
    assert mean.grad.tolist() == [[0, 0, -3, pytest.approx(-0.6), 0, 0, 1, -8]]
    with torch.no_grad():
        assert torch.equal(held_within(mean, torch.full((8,), -1.0), torch.ones(8)), mean.clamp(-1, 1))


def made(**bounds):
    torch.manual_seed(0)
    policy = GaussianPolicy(3, 2, n_modes=2, shape=TrunkShape((32,)), activation="silu", spread="context")
    if bounds:
        policy.hold_within(**bounds)
    return policy


def test_a_policys_bounds_are_saved_with_its_weights_and_without_them_nothing_is():
    low, high = torch.tensor([-0.1, -INF]), torch.tensor([0.1, 0.2])
    bounded, free = made(low=low, high=high), made()
    states, contexts = torch.randn(50, 3), torch.rand(50, 2)
    assert set(bounded.state_dict()) - set(free.state_dict()) == {"low", "high"}
    with torch.no_grad():
        wanted, _ = bounded(states, contexts)
        assert torch.equal(wanted, torch.minimum(torch.maximum(free(states, contexts)[0], low), high))
        free.load_state_dict(bounded.state_dict())
        assert torch.equal(free(states, contexts)[0], wanted)
        bounded.load_state_dict(made().state_dict())
        assert torch.equal(bounded(states, contexts)[0], made()(states, contexts)[0]), (
            "as they were before there were any"
        )


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_loaded_bounds_are_where_the_policy_is_and_fit_it():
    saved = made(low=torch.full((2,), -1.0), high=torch.ones(2)).state_dict()
    elsewhere = made().to("meta")
    elsewhere.load_state_dict(saved)
    assert elsewhere.low.device.type == elsewhere.high.device.type == "meta"
    with pytest.raises(RuntimeError, match="size mismatch for low"):
        made().load_state_dict(saved | {"low": torch.zeros(5)})


def test_bfloat16_holds_means_exactly():
    policy = made(low=torch.full((2,), -0.1001), high=torch.full((2,), 0.1001))
    mean, _ = predicted(policy, 5 * torch.randn(200, 3), torch.rand(200, 2), "bfloat16")
    assert mean.dtype == torch.float32
    assert float(mean.detach().max()) == float(torch.tensor(0.1001)), "not the nearest number of bfloat16"
    mean.sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in policy.parameters() if weight.grad is not None)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_clipped_expert_is_imitated_better_by_a_mean_that_is_held(seed):
    """Held-out error after as many steps, halved at least."""
    draws = torch.Generator().manual_seed(seed)
    states, slopes = torch.randn(3000, 3, generator=draws), 2 * torch.randn(3, 2, generator=draws)
    actions, contexts = (states @ slopes).clamp(-1, 1), torch.tensor([0.0, 1.0]).expand(3000, 2)
    errors = []
    for bounds in ({}, {"low": torch.full((2,), -1.0), "high": torch.ones(2)}):
        policy = made(**bounds)
        optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
        for _ in range(400):
            chosen = torch.randint(2000, (256,), generator=draws)
            mean, log_std = policy(states[chosen], contexts[chosen])
            losses = -diagonal_log_prob(actions[chosen], mean, log_std) * log_std.exp().detach()
            optimizer.zero_grad()
            losses.sum(1).mean().backward()
            optimizer.step()
        with torch.no_grad():
            errors.append(float((policy(states[2000:], contexts[2000:])[0] - actions[2000:]).abs().mean()))
    assert errors[1] < 0.5 * errors[0]
