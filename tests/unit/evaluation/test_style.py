"""What a page shows of styles is what the model reads of episodes, and what its policy does."""

import json

import numpy as np
import pytest
import torch

from unbraid.evaluation.style import style_entry
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.fixture(scope="module")
def demos(of_lengths):
    """Nine episodes of 30, 0, 12, 30, ... steps."""
    return of_lengths([30, 0, 12] * 3)


@pytest.fixture(scope="module")
def model(demos):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ModeModel(UnbraidConfig(n_modes=3, style="on"), observation_size=3, action_size=2).eval()
    made.style_reader.weights.copy_(torch.linspace(-1, 1, 30).view(3, 10))  # it was never trained
    made.style_reader.nats.copy_(torch.tensor([0.5, 1.5, 2.5]))
    made.action_normaliser.scale.copy_(torch.tensor([2.0, 0.5]))
    return made


def test_it_is_what_the_model_reads_and_what_its_policy_does(model, demos):
    found = style_entry(model, demos)
    json.dumps(found, allow_nan=False)
    assert [mode["nats"] for mode in found["modes"]] == [0.5, 1.5, 2.5]
    modes, styles = (of_each[demos.lengths > 0] for of_each in (model.predict(demos), model.styles(demos)))
    with_steps = [demos.episode(e) for e in np.flatnonzero(demos.lengths).tolist()]
    sizes = np.array([np.sqrt(np.square(e.actions / [2.0, 0.5]).sum(1).mean()) for e in with_steps])
    assert sum(len(mode["episodes"]) for mode in found["modes"]) == 6  # the others have no steps
    for mode in found["modes"]:
        own = modes == mode["mode"]
        wanted = np.column_stack([styles[own], sizes[own]])
        np.testing.assert_allclose(np.array(mode["episodes"]).reshape(-1, 2), wanted, atol=1e-3)
        if not own.any():
            assert mode["style"] is None
            assert mode["sizes"] is None
            continue
        assert mode["style"]["n"] == own.sum()
        seen = np.concatenate([e.observations[:-1] for e, mine in zip(with_steps, own, strict=True) if mine])
        context = model.contexts[mode["mode"]].expand(len(seen), -1)
        for style, size in zip(mode["styles"], mode["sizes"], strict=True):
            mean, deviation = model.action_distribution(torch.from_numpy(seen), context, style)
            squares = (mean.square() + deviation.square()) / torch.tensor([4.0, 0.25])
            assert size == pytest.approx(float(squares.sum(1).mean().sqrt()), abs=1e-3)
        assert len(set(mode["sizes"])) > 1
