"""The steps of AdamW."""

import pytest
import torch

from unbraid.core.schedule import scheduled
from unbraid.training.descent import CLIP_NORM, Descent


def test_a_step_is_adamws_of_clipped_gradients_at_a_share_of_the_rate():
    weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    descent = Descent(weights[:1], learning_rate=0.1, weight_decay=0.5)
    plain = torch.optim.AdamW(weights[1:], lr=0.1 * 0.25, weight_decay=0.5)
    for gradient in ([300.0, 400.0], [3.0, 4.0], [0.3, 0.4]):
        norm = torch.tensor(gradient).norm()
        weights[0].grad = torch.tensor(gradient)
        weights[1].grad = torch.tensor(gradient) * min(1.0, CLIP_NORM / float(norm))
        descent.step(0.25)
        plain.step()
    assert weights[0].grad is None
    torch.testing.assert_close(weights[0], weights[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_steps_are_those_of_the_cpu_and_gradients_keep_their_place():
    weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0], device=device)) for device in ("cpu", "cuda")]
    descents = [Descent([weight], learning_rate=0.1, weight_decay=0.5) for weight in weights]
    on_gpu, places = weights[1], set()
    on_gpu.grad = torch.zeros(2, device="cuda")
    for number in range(10):
        weights[0].grad = torch.tensor([float(number), 1.0])
        on_gpu.grad.add_(weights[0].grad.cuda())
        for descent in descents:
            descent.step(scheduled(number, 10))
        places.add(on_gpu.grad.data_ptr())
        assert on_gpu.grad.tolist() == [0.0, 0.0]
    assert len(places) == 1
    torch.testing.assert_close(weights[0], on_gpu.cpu())
