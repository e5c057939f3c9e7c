"""Configs say what was asked: they survive JSON, and refuse what no fit can take."""

import dataclasses
import json
import subprocess
import sys

import pytest

from unbraid.core.errors import ConfigError
from unbraid.training.config import TalkConfig, UnbraidConfig, config_from_json, config_to_json


@pytest.mark.parametrize(
    "config",
    [TalkConfig(n_modes=3, policy_hidden=(7,)), UnbraidConfig(window_lengths=(3, 4)), UnbraidConfig(n_modes="auto")],
    ids=["talk", "unbraid", "auto"],
)
def test_json_gives_back_what_was_asked(config):
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config


def test_what_was_written_before_there_was_a_choice_is_done_as_it_was_then():
    before = config_to_json(UnbraidConfig(n_modes=3))
    for later in ("policy_context", "policy_layer_norm", "policy_l1"):
        del before[later]
    then = UnbraidConfig(n_modes=3, policy_context="input", policy_layer_norm="off", policy_l1=0.0)
    assert config_from_json(before) == then


@pytest.mark.parametrize("config", [TalkConfig(), UnbraidConfig()])
def test_a_config_never_changes(config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match=r"method must be one of \['talk', 'unbraid'\]; got 'magic'\. Name one"):
        config_from_json({"method": "magic"})


def test_a_misspelt_setting_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"n_mode must be a setting of TalkConfig; it is none\. Known: .*'n_modes'"):
        config_from_json({"method": "talk", "n_mode": 3})


@pytest.mark.parametrize("setting", ["start", "hide_echoes", "cross_fit"])
def test_settings_of_before_are_unknown(setting):
    with pytest.raises(ConfigError, match=rf"{setting} must be a setting of UnbraidConfig; it is none"):
        config_from_json({"method": "unbraid", setting: True})


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (UnbraidConfig, {"n_steps": 0}, r"n_steps must be at least 1; got 0\. The default is 'auto'\."),
        (UnbraidConfig, {"search_steps": 0}, r"search_steps must be at least 1; got 0\. The default is 500\."),
        (TalkConfig, {"delta_steps": 0}, r"delta_steps must be at least 1; got 0\. The default is 1\."),
        (TalkConfig, {"batch_size": -5}, r"batch_size must be at least 1; got -5\. The default is 500\."),
        (TalkConfig, {"steps_per_batch": 0}, r"steps_per_batch must be at least 1; got 0\."),
        (UnbraidConfig, {"window_lengths": ()}, r"window_lengths must be whole numbers of at least 1; got \(\)\."),
        (UnbraidConfig, {"window_lengths": (10, 0)}, r"window_lengths must be whole numbers of at least 1"),
        (UnbraidConfig, {"policy_hidden": (64, -1)}, r"policy_hidden must be whole numbers of at least 1"),
        (UnbraidConfig, {"learning_rate": 0.0}, r"learning_rate must be above 0; got 0\.0\."),
        (TalkConfig, {"learning_rate": float("nan")}, r"learning_rate must be above 0; got nan\."),
        (TalkConfig, {"window_steps": 0}, r"window_steps must be at least 1; got 0\. The default is 25\."),
        (TalkConfig, {"commitment": -1.0}, r"commitment must be at least 0; got -1\.0\. The default is 1\.0\."),
        (UnbraidConfig, {"weight_decay": float("inf")}, r"weight_decay must be at least 0; got inf\."),
        (UnbraidConfig, {"n_modes": True}, r"n_modes must be a whole number, or auto; got True\. The default is 2\."),
        (TalkConfig, {"n_modes": False}, r"n_modes must be a whole number; got False\. The default is 4\."),
        (UnbraidConfig, {"seed": -1}, r"seed must be at least 0; got -1\. The default is 0\."),
    ],
)
def test_what_no_fit_can_take_is_refused(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)


def run_apart(code):
    """In a Python of its own: without the shape check, which would see a wrong word first, and without torch."""
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("talk", '"objective": "quotient"', "objective must be one of ratio, product, log_ratio, sum; got 'quotient'."),
        (
            "unbraid",
            '"evidence": "policy"',
            "evidence must be one of both, actions, transitions; got 'policy'. The def",
        ),
        ("unbraid", '"starts": "few"', "starts must be one of several, random; got 'few'. The default is 'several'."),
        ("unbraid", '"n_modes": "many"', "n_modes must be a whole number, or auto; got 'many'. The default is 2."),
        ("talk", '"n_modes": 2.5', "n_modes must be a whole number; got 2.5. The default is 4."),
        (
            "unbraid",
            '"encoder": "gru"',
            "encoder must be one of auto, mean, window_mlp, convolution, lstm, attention; got 'gru'. The default is "
            "'auto'.",
        ),
        (
            "talk",
            '"encoder": "gru"',
            "encoder must be one of transition, mean, window_mlp, convolution, lstm, attention;",
        ),
        ("unbraid", '"seed": 1.5', "seed must be a whole number; got 1.5. The default is 0."),
        ("talk", '"seed": True', "seed must be a whole number; got True. The default is 0."),
        ("talk", '"delta_steps": "2"', "delta_steps must be a whole number; got '2'. The default is 1."),
        ("unbraid", '"learning_rate": "high"', "learning_rate must be a number; got 'high'. The default is 0.004."),
        (
            "unbraid",
            '"policy_hidden": 64',
            "policy_hidden must be whole numbers of at least 1; got 64.",
        ),
        ("talk", '"decoder_hidden": ("a",)', "decoder_hidden must be whole numbers of at least 1; got"),
        ("unbraid", '"policy_hidden": (64.0,)', "policy_hidden must be whole numbers of at least 1"),
        (
            "unbraid",
            '"window_lengths": 25',
            "window_lengths must be whole numbers of at least 1; got 25",
        ),
        ("unbraid", '"codes": "cube"', "codes must be one of simplex, free; got 'cube'. The default is 'simplex'."),
    ],
)
def test_a_word_that_is_no_choice_is_refused(kind, settings, message):
    code = f"from unbraid.training.config import *; config_from_json({{'method': '{kind}', {settings}}})"
    assert f"ConfigError: {message}" in run_apart(code).stderr


def test_wide_observations_are_seen_by_their_components():
    asked = UnbraidConfig()
    assert [asked.components_for(n) for n in (3, 128, 129, 1600)] == [None, None, 48, 48]
    assert asked.components_of(1600) is None, "a model of before sees all columns"
    told = UnbraidConfig(observation_components=10)
    assert [told.components_for(n) for n in (9, 10, 11)] == [None, None, 10]
    assert [told.components_of(n) for n in (9, 10, 11)] == [None, None, 10]


def test_configs_need_no_torch():
    """So that `unbraid --help` is fast."""
    assert run_apart("import sys, unbraid.training.config; sys.exit('torch' in sys.modules)").returncode == 0


_NUMPY = """
import json, numpy as np
from unbraid.training.config import *
config = UnbraidConfig(
    n_modes=np.int64(2), seed=np.int32(3), learning_rate=np.float32(0.5), weight_decay=np.float64(0.25),
    n_steps=np.array(7), policy_hidden=[np.int64(8), 9], window_lengths=np.array([10, 25]), style=np.str_("on"),
)
plain = dict(
    n_modes=2, seed=3, learning_rate=0.5, weight_decay=0.25, n_steps=7, policy_hidden=(8, 9),
    window_lengths=(10, 25), style="on",
)
assert config == UnbraidConfig(**plain)
assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config
assert {type(v) for v in (config.n_modes, config.seed, *config.policy_hidden, *config.window_lengths)} == {int}
talk = TalkConfig(n_modes=np.uint8(3), commitment=np.float32(0.5))
assert json.loads(json.dumps(config_to_json(talk)))["commitment"] == 0.5
"""


def test_numbers_of_numpy_become_pythons():
    assert run_apart(_NUMPY).stderr == ""
