"""The environment of a run: asked for, named by its demonstrations, or ours where it fits; never another in silence."""

import dataclasses
import json

import pytest

from unbraid.core.errors import ConfigError, WorldError
from unbraid.pipeline.environment import environment_entry, environment_of, require_possible_numbers
from unbraid.pipeline.requests import CertifyRequest, CollectRequest, EvaluateRequest, SteerRequest, SwitchRequest
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel

OURS, PENDULUM = "unbraid/PointGoal1-v0", "Pendulum-v1"


def model_of(observation_size, action_size):
    return ModeModel(UnbraidConfig(), observation_size=observation_size, action_size=action_size).eval()


@pytest.fixture
def run(tmp_path):
    def write(data):
        (tmp_path / "results.json").write_text(json.dumps({"format": "unbraid-results", "version": 1, "data": data}))
        return tmp_path

    return write


def test_what_is_asked_for_comes_first_and_then_what_the_demonstrations_name(run):
    of_level_2 = run({"env_id": "unbraid/PointGoal2-v0"})
    assert environment_of(of_level_2, None, model_of(60, 2)) == "unbraid/PointGoal2-v0"
    assert environment_of(of_level_2, OURS, model_of(60, 2)) == OURS
    assert environment_of(run({"env_id": PENDULUM}), None, model_of(3, 1)) == PENDULUM


@pytest.mark.parametrize("data", [{}, {"env_id": None}, None])
def test_where_none_is_named_ours_is_taken_if_it_fits(run, data, tmp_path):
    assert environment_of(run(data), None, model_of(60, 2)) == OURS
    with pytest.raises(ConfigError, match=r"must be named: .* of 3 observation and 1 action columns .* Give --env\."):
        environment_of(tmp_path, None, model_of(3, 1))
    (tmp_path / "results.json").unlink()
    assert environment_of(tmp_path, None, model_of(60, 2)) == OURS


def test_one_whose_id_alone_does_not_make_it_must_be_named(run):
    entry = environment_entry({"env_id": PENDULUM, "env_altered": "Pendulum-v1, in RescaleAction"})
    for model in (model_of(3, 1), model_of(60, 2)):  # of ours' widths, too
        with pytest.raises(ConfigError, match=r"must be named: .* in Pendulum-v1, in RescaleAction, which its id"):
            environment_of(run(entry), None, model)
    assert environment_of(run(entry), PENDULUM, model_of(3, 1)) == PENDULUM


def test_one_that_does_not_fit_or_is_not_here_is_refused(run):
    with pytest.raises(WorldError, match="Pendulum-v1 must have 60 observation and 2 action columns"):
        environment_of(run({"env_id": PENDULUM}), None, model_of(60, 2))
    with pytest.raises(WorldError, match=r"'Elsewhere-v0' is not: .* demonstrations of .* came from: give --env"):
        environment_of(run({"env_id": "Elsewhere-v0"}), None, model_of(60, 2))


@pytest.mark.parametrize(
    ("request_of", "name", "value", "said"),
    [
        (SteerRequest, "episodes", -1, "--episodes must be a whole number from 1 to 10,000,000; got -1"),
        (EvaluateRequest, "episodes", 0, "--episodes must be a whole number from 1 to 10,000,000; got 0"),
        (SwitchRequest, "episodes", 3_000_000_000, "--episodes must be .*; got 3000000000"),
        (SwitchRequest, "guard_episodes", 0, "--guard-episodes must be a whole number from 1"),
        (
            CertifyRequest,
            "max_episodes",
            10_000_000_000_000,
            "--max-episodes must be a whole number from 1 to 10,000,000",
        ),
        (SteerRequest, "max_steps", 0, "--max-steps must be a whole number of at least 1; got 0"),
        (CollectRequest, "episodes", 0, "--episodes must be a whole number"),
    ],
)
def test_impossible_numbers_are_named_by_their_option(request_of, name, value, said, tmp_path):
    first = next(field.name for field in dataclasses.fields(request_of))
    needed = {"experts": ("forward",)} if request_of is CollectRequest else {}
    require_possible_numbers(request_of(**{first: tmp_path, **needed}))
    with pytest.raises(ConfigError, match=said):
        require_possible_numbers(request_of(**{first: tmp_path, **needed, name: value}))
