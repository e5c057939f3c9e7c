"""What the verbs may be asked: frozen, light to import, and the same as what the methods know."""

import dataclasses
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from unbraid.cli import main
from unbraid.pipeline import requests
from unbraid.pipeline.answers import say_collect
from unbraid.pipeline.config import DemoConfig
from unbraid.training.config import FLAGS, METHODS, TalkConfig, UnbraidConfig
from unbraid.worlds.experts import EXPERT_NAMES

REQUESTS = [getattr(requests, name) for name in requests.__all__ if name.endswith("Request")]


def test_the_flags_of_fit_are_the_settings_that_are_said_to_have_one():
    settings = {name: {f.name for f in dataclasses.fields(kind)} | {"method"} for name, kind in METHODS.items()}
    known = set().union(*settings.values()) - {"seed"}
    assert [f.name for f in dataclasses.fields(requests.FitRequest) if f.name in known] == list(FLAGS)
    for name, methods in FLAGS.items():
        assert set(methods) == {method for method, own in settings.items() if name in own}


@pytest.mark.parametrize("request_", [*REQUESTS, DemoConfig], ids=lambda kind: kind.__name__)
def test_a_request_never_changes_and_offers_json(request_):
    fields = {field.name: field for field in dataclasses.fields(request_)}
    assert fields["json"].default is False
    unset = [f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING]
    given = {name: Path("x") for name in unset}
    with pytest.raises(dataclasses.FrozenInstanceError):
        request_(**given).json = True


def test_requests_and_configs_import_nothing_heavy():
    code = "import sys, unbraid.pipeline.requests, unbraid.pipeline.config, unbraid.training.config; "
    code += "print([name for name in ('torch', 'mujoco', 'scipy', 'matplotlib') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "[]\n"


def test_defaults_are_those_of_the_methods():
    fields = {field.name: field.default for field in dataclasses.fields(requests.FitRequest)}
    assert typing.get_args(typing.get_type_hints(requests.FitRequest)["method"]) == (
        UnbraidConfig.method,
        TalkConfig.method,
    )
    assert fields["n_modes"] == UnbraidConfig().n_modes
    asked = typing.get_type_hints(requests.FitRequest)["n_modes"]
    assert asked == typing.get_type_hints(UnbraidConfig)["n_modes"]  # a number, or auto
    assert fields["delta_steps"] == TalkConfig().delta_steps
    assert fields["encoder"] is None  # each method's own
    kinds = typing.get_args(typing.get_type_hints(UnbraidConfig)["encoder"])
    offered = typing.get_type_hints(requests.FitRequest)["encoder"]
    assert set(typing.get_args(typing.get_args(offered)[0])) == set(kinds)
    assert set(typing.get_args(typing.get_type_hints(TalkConfig)["encoder"])) == {"transition", *kinds} - {"auto"}
    assert fields["seed"] == UnbraidConfig().seed
    assert set(requests.CollectRequest(Path("x")).experts) <= set(EXPERT_NAMES)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("modes", " RUN DATA\n"),
        ("convert", " DATA TARGET\n"),
        ("certify", " [RUN]\n"),
        ("collect", " TARGET\n"),
        ("sweep", " DATA\n"),
        ("export", " RUN\n"),
    ],
)
def test_help_names_what_stands_where(capsys, verb, said):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert capsys.readouterr().out.splitlines(keepends=True)[0].endswith(said)


def test_help_of_collect_names_every_expert(capsys):
    with pytest.raises(SystemExit):
        main(["collect", "--help"])
    words = set(re.split(r"\W+", capsys.readouterr().out))
    assert set(EXPERT_NAMES) <= words


def test_a_command_that_is_told_to_be_typed_can_be(capsys):
    say_collect({"n_episodes": 1, "n_steps": 3, "experts": ["forward"], "demos": "my pile"})
    assert capsys.readouterr().out == (
        "1 episode, 3 steps of forward, in random order.\nmy pile: look at it with `unbraid check 'my pile'`.\n"
    )
