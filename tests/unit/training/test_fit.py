"""`fit`: defaults, devices, threads, and denormal numbers."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from unbraid.core.errors import ConfigError, RunError
from unbraid.demos.loading import load_demos
from unbraid.demos.selection import Selection
from unbraid.demos.store import save_demos
from unbraid.modes import stretches
from unbraid.training import calibrated, joint
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.training.talk import TalkLearner


def test_the_config_names_the_method(demos, tiny):
    assert isinstance(learner_for(demos, tiny("talk")), TalkLearner)
    assert isinstance(learner_for(demos, tiny("unbraid")), CalibratedLearner)


def test_a_model_keeps_what_was_asked_and_is_ready_to_use(demos, tiny):
    model = fit(demos, tiny("unbraid"))
    taken = {"policy_head": "gaussian", "encoder": "mean", "policy_layer_norm": "off"}  # without trials, of few steps
    assert model.config == tiny("unbraid", **taken)
    assert not model.training
    assert model.predict(demos).dtype.kind == "i"


def embedded(demos, n_columns, seed=0):
    """The same demonstrations, seen through many mixtures of the columns, with noise on each."""
    generator = np.random.default_rng(seed)
    seen = demos.observations @ generator.normal(size=(demos.observation_size, n_columns))
    return dataclasses.replace(demos, observations=(seen + 0.5 * generator.normal(size=seen.shape)).astype(np.float32))


def test_of_many_columns_modes_are_read_by_their_components(reflexes, tiny, tmp_path):
    """In demonstrations that nobody has seen, too; and so by a model that was saved."""
    pile = embedded(reflexes(n_per_label=20), 200)
    seen, unseen = pile.select(np.arange(24)), pile.select(np.arange(24, 40))
    model = fit(seen, tiny("unbraid", n_steps=300, search_steps=100))
    assert (model.observation_size, model.state_size, model.config.observation_components) == (200, 48, 48)
    assert model.search["components"] == {"n_columns": 200, "n_components": 48}
    told = unseen.labels[model.cut(unseen, 10).episodes]
    assert adjusted_rand_score(told, model.predict(unseen, window_steps=10)) > 0.9
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(unseen), model.predict_proba(unseen))


def test_whoever_asks_for_all_columns_has_them(reflexes, tiny):
    model = fit(embedded(reflexes(), 130), tiny("unbraid", observation_components=130))
    assert model.observation_normaliser.components is None
    assert model.state_size == 130
    assert "components" not in model.search


def test_a_models_config_says_what_was_taken_in_place_of_auto(demos, tiny):
    asked = dataclasses.replace(
        tiny("unbraid"), n_modes="auto", n_steps="auto", policy_batch="auto", weight_decay="auto", policy_head="auto"
    )
    asked = dataclasses.replace(asked, n_steps=20)  # "auto" would take 1,500
    taken = fit(demos, asked).config
    differ = {name for name, value in vars(asked).items() if value != getattr(taken, name)}
    assert differ == {"n_modes", "policy_batch", "weight_decay", "policy_layer_norm", "policy_head", "encoder"}
    assert "auto" not in {getattr(taken, name) for name in differ}


def test_a_run_that_holds_checkpoints_is_not_fitted_into(demos, tiny, tmp_path):
    options = LoopOptions(run=tmp_path / "run")
    fit(demos, tiny("unbraid"), options)
    with pytest.raises(RunError, match="must hold no checkpoints when a fit begins"):
        fit(demos, tiny("unbraid"), options)


def test_unbraids_own_method_is_the_default(demos, monkeypatch):
    """Which one is made, without the time to fit it."""
    made = []

    def noted(demos, config, device, **beside):
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


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("given", [np.zeros(4), 3, 0, "", {}])
def test_settings_that_are_none_are_refused_whatever_their_truth(demos, given):
    """Labels that are handed over second, as scikit-learn takes them, are not taken for a config, nor left aside."""
    with pytest.raises(ConfigError, match="config must be an object of UnbraidConfig or TalkConfig"):
        fit(demos, given)
    with pytest.raises(ConfigError, match="options must be an object of LoopOptions"):
        fit(demos, UnbraidConfig(), given)


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", ""])
def test_a_device_that_is_none_is_refused(demos, tiny, device):
    with pytest.raises(ConfigError, match=r"The device must be one that torch can use here; .* Use auto, cpu, or cuda"):
        fit(demos, tiny("unbraid"), LoopOptions(device=device))


def test_what_torch_says_of_a_device_ends_with_a_whole_word(demos, tiny):
    with pytest.raises(ConfigError) as refused:
        fit(demos, tiny("unbraid"), LoopOptions(device="gpu"))
    said = str(refused.value)
    assert said.endswith("...). Use auto, cpu, or cuda where there is a GPU.")
    assert said.partition(" ...")[0].endswith(",")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", ["talk", "unbraid"])
def test_a_gpu_learns_what_the_cpu_does(demos, tiny, method):
    """Not to the last bit; the first steps agree, and the model comes back to the CPU."""
    config = tiny(method, n_steps=5)
    on_cpu, on_gpu = (fit(demos, config, LoopOptions(device=device)) for device in ("cpu", "cuda"))
    assert on_gpu.device.type == "cpu"
    np.testing.assert_allclose(on_gpu.transform(demos), on_cpu.transform(demos), atol=1e-3)
    assert isinstance(on_gpu.to("cuda").transform(demos), np.ndarray)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"codes": "free"},
        {"style": "on"},
        {"encoder": "lstm"},
        {"policy_head": "mixture"},
        {"precision": "bfloat16"},
        {"calibration": "left_out", "refine_steps": 20},
    ],
)
def test_a_gpu_learns_the_same_by_graphs_and_kernel_by_kernel(demos, tiny, monkeypatch, settings):
    config = tiny("unbraid", n_steps=30, **settings)
    by_graphs = fit(demos, config, LoopOptions(device="cuda"))
    monkeypatch.setattr("unbraid.core.replay.WARM_UPS", 10**9)
    kernel_by_kernel = fit(demos, config, LoopOptions(device="cuda"))
    weights = zip(by_graphs.state_dict().items(), kernel_by_kernel.state_dict().values(), strict=True)
    for (name, one), other in weights:
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fit_on_a_gpu_that_was_stopped_goes_on_as_it_would_have(demos, tiny, fit_in_two, tmp_path):
    config = tiny("unbraid", n_steps=30, calibration="left_out", refine_steps=20)
    whole = fit(demos, config, LoopOptions(device="cuda"))
    options = LoopOptions(run=tmp_path, device="cuda", checkpoint_every=10, log_every=5)
    in_two = fit_in_two(demos, config, options, 20)
    np.testing.assert_allclose(in_two.transform(demos), whole.transform(demos), atol=1e-3)


def test_threads_and_arithmetic_are_as_they_were_after_a_fit(demos, tiny):
    """Denormal numbers, which made a prototype ten times slower, are flushed to 0 while it learns."""

    def arithmetic():
        return torch.get_num_threads(), float(torch.tensor([1e-38]) * 1e-3)

    seen, before = [], arithmetic()
    fit(demos, tiny("talk"), LoopOptions(n_threads=2, on_log=lambda line: seen.append(arithmetic())))
    assert seen == [(2, 0.0)]
    assert arithmetic() == before


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("unbraid", {"calibration": "left_out"}),
        ("unbraid", {"style": "on"}),
        ("unbraid", {"sharing": "window"}),
        ("unbraid", {"encoder": "lstm", "sharing": "changing"}),
        ("talk", {}),
        ("talk", {"pairing": "published", "delta_steps": 2}),
        ("talk", {"encoder": "mean"}),
    ],
)
def test_chosen_episodes_of_a_store_are_fitted_as_their_copy_is(
    demos, tiny, same_weights, monkeypatch, tmp_path, method, settings
):
    """Bit for bit, and with a number a step kept or not."""
    chosen, config = np.array([0, 1, 2, 4, 5, 7, 8, 9, 11]), tiny(method, **settings)
    copy = fit(demos.select(chosen), config)
    mapped = load_demos(save_demos(demos, tmp_path / "demos"))
    monkeypatch.setattr(stretches, "_TOLD_STEPS", 0)
    view = fit(Selection(mapped, chosen), config)
    assert same_weights(copy, view)
    assert (copy.search, copy.shares, copy.switch_rate) == (view.search, view.shares, view.switch_rate)
    assert (copy.calibration is None) == (view.calibration is None)
    if copy.calibration is not None and view.calibration is not None:
        assert copy.calibration.to_json() == view.calibration.to_json()


@pytest.mark.parametrize("settings", [{"calibration": "left_out"}, {"style": "on"}, {"sharing": "changing"}])
def test_what_is_read_at_the_end_is_read_of_a_part_where_there_is_much(demos, tiny, monkeypatch, settings):
    """Twelve episodes of forty steps: of five the end is about what it is of all, and training is the same."""
    whole = fit(demos, tiny("unbraid", **settings))
    for module in (joint, calibrated):
        monkeypatch.setattr(module, "MOST_READ_STEPS", 210)
    part = fit(demos, tiny("unbraid", **settings))
    trained = [name for name in whole.state_dict() if name.startswith(("policy.", "encoder.", "codebook."))]
    assert trained
    assert all(torch.equal(whole.state_dict()[name], part.state_dict()[name]) for name in trained)
    assert whole.shares == part.shares
    assert whole.search["encoder_shares"] == pytest.approx(part.search["encoder_shares"], abs=0.35)
    if whole.calibration is not None:
        assert part.calibration is not None
    if whole.style_reader is not None:
        assert not torch.equal(whole.style_reader.readings, part.style_reader.readings)
        assert torch.isfinite(part.style_reader.readings).all()


_WRONG_KINDS = """
import numpy as np, unbraid
from unbraid import Demos, Episode, UnbraidConfig, UnbraidError
from unbraid.training.model import ModeModel

listed = Episode(observations=[[0.0, 1.0], [1.0, 2.0]], actions=[[1.0]], rewards=[2])
assert (listed.observations.shape, listed.actions.shape, listed.rewards.shape) == ((2, 2), (1, 1), (1,))
demos = Demos.from_episodes([listed] * 4)
model = ModeModel(UnbraidConfig(), observation_size=2, action_size=1).eval()
seen, acted = demos.observations, demos.actions
draws = np.random.default_rng(0)
wrong = {
    "fit a list": (lambda: unbraid.fit([listed]), "must be Demos; got a list of Episode. Load"),
    "fit nothing": (lambda: unbraid.fit(None), "must be Demos; got None. Load a file with load_demos"),
    "fit a path": (lambda: unbraid.fit("runs/pile"), "must be Demos; got the path 'runs/pile'"),
    "a dict": (lambda: unbraid.fit(demos, {"n_modes": 2}), "must be an object of UnbraidConfig or TalkConfig; got {'n"),
    "a class": (lambda: unbraid.fit(demos, UnbraidConfig), "got the class UnbraidConfig. Make one, as UnbraidConfig("),
    "options": (lambda: unbraid.fit(demos, None, "runs/first"), "options must be an object of LoopOptions; got 'runs"),
    "check": (lambda: unbraid.check_demos([listed]), "must be Demos; got a list of Episode"),
    "ragged": (lambda: Episode(observations=[[0.0, 1.0], [1.0]], actions=[[1.0]]), "must be an array of numbers"),
    "objects": (lambda: Episode(observations=seen.astype(object), actions=acted), "got an ndarray of object. Con"),
    "texts": (lambda: Episode(observations=seen.astype(str), actions=acted), "must be an array of numbers; got"),
    "complex": (lambda: Episode(observations=seen.astype(complex), actions=acted), "must be an array of numbers; got"),
    "label": (lambda: Episode(observations=[[0.0]], actions=np.zeros((0, 1)), label="a"), "must be a whole number"),
    "no episodes": (lambda: Demos.from_episodes([seen]), "must be made of Episodes; got an ndarray. Make an Episode"),
    "probability": (lambda: model.predict(demos, min_probability=None), "must be a number in [0, 1]; got None. Leave"),
    "a belief": (lambda: model.observe(np.zeros(2), [0, 0], [0]), "A belief must be None at an episode's first step"),
    "scores": (lambda: unbraid.agreement([0.5], [1], [0], generator=draws), "one whole number for each window; got"),
    "fits": (lambda: unbraid.stability(["a", "b"], [0], generator=draws), "one whole number for each window; got"),
}
for verb in ("predict", "predict_proba", "transform", "score", "timeline", "filter"):
    for given in (seen, [listed], listed):
        wrong[f"{verb} {type(given)}"] = (lambda v=verb, g=given: getattr(model, v)(g), "must be Demos; got")
for name, (call, said) in wrong.items():
    try:
        call()
    except UnbraidError as error:
        assert said in str(error), (name, str(error))
    else:
        raise AssertionError(name)
labels, rows = [0, 1, 0, 1, 1], [0, 1, 2, 3, 4]
assert unbraid.agreement(labels, labels, rows, generator=draws).ari.value == 1
assert unbraid.stability([labels, labels], rows, generator=draws).value == 1
"""


def test_what_is_of_another_kind_is_refused_with_a_remedy():
    """In a Python of its own: without the shape check, which would see it first."""
    said = subprocess.run([sys.executable, "-c", _WRONG_KINDS], check=False, capture_output=True, text=True)
    assert said.stderr == ""
