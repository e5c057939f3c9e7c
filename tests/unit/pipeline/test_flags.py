"""Flags that come twice add up, or are refused; nothing is dropped."""

from pathlib import Path

import pytest

from unbraid.core.errors import ConfigError
from unbraid.pipeline.flags import each_flag_once, given_flags
from unbraid.pipeline.requests import SwitchRequest


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ("steer run --away 0 --toward 2 --away 1=2 3 --json", "steer run --toward 2 --json --away 0 1=2 3"),
        ("steer run --away=0 --away=1", "steer run --away 0 1"),
        ("steer run --in-turn 0:x --in_turn 9:y", "steer run --in-turn 0:x 9:y"),
        ("fit --demos a --out r --demos b --weights 1 --weights=2", "fit --out r --demos a b --weights 1 2"),
        ("fit a --style off --style on", "fit a --style off --style on"),
        ("studio run --demos a --demos b", "studio run --demos a b"),
        ("fit a b --out c --seed=3", "fit a b --out c --seed=3"),
        ("fit a --seed 3 --seed 4", "fit a --seed 3 --seed 4"),
        ("steer run --context=-1,0 --blend 0=1", "steer run --context=-1,0 --blend 0=1"),
        ("", ""),
    ],
)
def test_values_of_modes_that_are_avoided_add_up_and_all_else_stays(given, due):
    assert each_flag_once(given.split()) == due.split()


@pytest.mark.parametrize("twice", ["--toward 0 --toward 1", "--blend 0=1 --blend 1=1", "--context 1 0 --context=0,1"])
def test_another_word_of_steering_that_comes_twice_is_refused(twice):
    name = twice.split()[0]
    with pytest.raises(ConfigError, match=f"{name} must be given once; it comes twice"):
        each_flag_once(["steer", "run", *twice.split()])


def test_flags_at_their_defaults_count_as_left_out():
    asked = SwitchRequest(Path("run"), steps=5, method="ppo", guard_episodes=7)
    assert given_flags(asked, ["guard_episodes", "method", "steps"]) == {"--steps": 5, "--guard-episodes": 7}


def test_a_home_folder_that_the_shell_left_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    given = ["fit", "~/pile", "--out=~/runs/a", "--env=~z", "x~/y", "--demos", "~/b", "--demos=~"]
    due = ["fit", "/home/ann/pile", "--out=/home/ann/runs/a", "--env=~z", "x~/y"]
    assert each_flag_once(given) == [*due, "--demos", "/home/ann/b", "/home/ann"]
    assert each_flag_once(["studio", "~/run"]) == ["studio", "/home/ann/run"]
