"""`fit`: defaults, devices, threads, and denormal numbers."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions
from unbraid.training.talk import TalkLearner


def test_the_config_names_the_method(demos, tiny):
    assert isinstance(learner_for(demos, tiny("talk")), TalkLearner)
    assert isinstance(learner_for(demos, tiny("unbraid")), CalibratedLearner)


def test_a_model_keeps_what_was_asked_and_is_ready_to_use(demos, tiny):
    model = fit(demos, tiny("unbraid"))
    assert model.config == tiny("unbraid")
    assert not model.training
    assert model.predict(demos).dtype.kind == "i"


def test_unbraids_own_method_is_the_default(demos, monkeypatch):
    """Which one is made, without the time to fit it."""
    made = []

    def noted(given, config, device):
        made.append(config)
        raise InterruptedError

    monkeypatch.setattr("unbraid.training.fit.learner_for", noted)
    with pytest.raises(InterruptedError):
        fit(demos)
    assert made == [UnbraidConfig()]


@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_auto_is_the_cpu_where_there_is_no_gpu(demos, tiny, same_weights, monkeypatch, method):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    one, other = (fit(demos, tiny(method), LoopOptions(device=device)) for device in ("auto", "cpu"))
    assert same_weights(one, other)
    assert one.device.type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", ""])
def test_a_device_that_is_none_is_refused(demos, tiny, device):
    with pytest.raises(ConfigError, match=r"The device must be one that torch can use here; .* Use auto, cpu, or cuda"):
        fit(demos, tiny("unbraid"), LoopOptions(device=device))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_a_gpu_learns_what_the_cpu_does(demos, tiny, method):
    """Not to the last bit; the first steps agree, and the model comes back to the CPU."""
    config = tiny(method, n_steps=5)
    on_cpu, on_gpu = (fit(demos, config, LoopOptions(device=device)) for device in ("cpu", "cuda"))
    assert on_gpu.device.type == "cpu"
    np.testing.assert_allclose(on_gpu.transform(demos), on_cpu.transform(demos), atol=1e-3)
    assert isinstance(on_gpu.to("cuda").transform(demos), np.ndarray)


def test_threads_and_arithmetic_are_as_they_were_after_a_fit(demos, tiny):
    """Denormal numbers, which made a prototype ten times slower, are flushed to 0 while it learns."""

    def arithmetic():
        return torch.get_num_threads(), float(torch.tensor([1e-38]) * 1e-3)

    seen, before = [], arithmetic()
    fit(demos, tiny("talk"), LoopOptions(n_threads=2, on_log=lambda line: seen.append(arithmetic())))
    assert seen == [(2, 0.0)]
    assert arithmetic() == before
