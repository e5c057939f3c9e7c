"""AdaBelief against its published algorithm, number by number."""

import math

import pytest
import torch

from unbraid.training.adabelief import AdaBelief


def transcribed(start, gradients, *, lr, beta1=0.9, beta2=0.999, eps=1e-16):
    """Zhuang et al. 2020, algorithm 2, one number at a time, in Python's floats."""
    theta, m, s, way = start, 0.0, 0.0, []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
        m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
        theta -= lr * m_hat / (math.sqrt(s_hat) + eps)
        way.append(theta)
    return way


@pytest.mark.parametrize("gradients", [[1.0, -0.5, 0.25, 2.0, 2.0, -3.0], [0.3] * 10, [0.0, 0.0, 1e-3, 0.0]])
def test_it_takes_the_published_steps(gradients):
    parameter = torch.nn.Parameter(torch.tensor([0.7, -2.0], dtype=torch.float64))
    optimizer = AdaBelief([parameter], lr=1e-2)
    for gradient, *expected in zip(
        gradients, transcribed(0.7, gradients, lr=1e-2), transcribed(-2.0, gradients, lr=1e-2), strict=True
    ):
        parameter.grad = torch.full((2,), gradient, dtype=torch.float64)
        optimizer.step()
        assert parameter.tolist() == pytest.approx(expected, rel=1e-9)


def test_without_a_gradient_nothing_moves():
    still, moved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = AdaBelief([still, moved], lr=1e-2)
    optimizer.step()  # nobody has one
    for _ in range(3):
        moved.grad = torch.zeros(2)
        optimizer.step()
    assert still.tolist() == moved.tolist() == [1, 1]
    assert still not in optimizer.state


def test_it_finds_the_bottom_of_a_bowl():
    parameter = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = AdaBelief([parameter], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (parameter - torch.tensor([1.0, 1.0])).square().sum().backward()
        optimizer.step()
    assert parameter.tolist() == pytest.approx([1, 1], abs=0.02)
