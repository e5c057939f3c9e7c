"""Work that is replayed on a GPU; on a CPU it is done as it is."""

import gc
import weakref

import pytest
import torch

from unbraid.core.replay import WARM_UPS, Replay, sent

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def counting(work):
    calls = []

    def counted(*inputs):
        calls.append(inputs)
        return work(*inputs)

    return counted, calls


def test_on_a_cpu_the_work_is_done_each_time():
    work, calls = counting(lambda a, b: (a + b, a - b))
    replay = Replay()
    for number in range(10):
        total, difference = replay(work, torch.tensor(float(number)), torch.tensor(1.0))
        assert (float(total), float(difference)) == (number + 1, number - 1)
    assert len(calls) == 10


def test_what_is_sent_to_the_cpu_is_itself():
    values = torch.arange(3)
    assert sent(values, torch.device("cpu")) is values


@needs_a_gpu
def test_on_a_gpu_the_work_is_recorded_once_for_each_shape():
    work, calls = counting(lambda a: (2 * a,))
    replay = Replay()
    for width in (2, 3):
        for number in range(10):
            (doubled,) = replay(work, torch.full((width,), float(number), device="cuda"))
            assert doubled.tolist() == [2.0 * number] * width
    assert len(calls) == 2 * (WARM_UPS + 1)


@needs_a_gpu
def test_what_a_replay_gave_is_not_overwritten_by_the_next():
    replay = Replay()
    given = [replay(lambda a: (a + 1,), torch.tensor(float(number), device="cuda"))[0] for number in range(8)]
    assert [float(value) for value in given] == [number + 1.0 for number in range(8)]


@needs_a_gpu
def test_gradients_of_replayed_work_add_up_where_they_are():
    weight = torch.nn.Parameter(torch.zeros(2, device="cuda"))

    def work(values):
        loss = (weight * values).sum()
        loss.backward()
        return (loss.detach(),)

    replay = Replay()
    for number in range(1, 9):
        replay(work, torch.tensor([float(number), 1.0], device="cuda"))
    assert weight.grad is not None
    assert weight.grad.tolist() == [36.0, 8.0]


@needs_a_gpu
def test_inputs_that_ask_for_a_gradient_are_not_recorded():
    work, calls = counting(lambda a: (a * 2,))
    replay, asks = Replay(), torch.ones(2, device="cuda", requires_grad=True)
    for _ in range(WARM_UPS + 3):
        (doubled,) = replay(work, asks)
        assert doubled.requires_grad
    assert len(calls) == WARM_UPS + 3


@needs_a_gpu
def test_what_is_sent_to_a_gpu_arrives():
    values = torch.randn(1000, 60)
    assert torch.equal(sent(values, torch.device("cuda")).cpu(), values)


def test_what_works_is_not_kept_alive():
    class Worker:
        def __init__(self):
            self.replay = Replay()

        def work(self, values):
            return (values + 1,)

    worker = Worker()
    worker.replay(worker.work, torch.zeros(1))
    gone = weakref.ref(worker)
    gc.disable()
    try:
        del worker
        assert gone() is None
    finally:
        gc.enable()
