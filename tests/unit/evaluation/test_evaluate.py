"""A policy measured: one row a seed, the mean with its interval, and worlds that do not fit are refused at once."""

import json

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, WorldError
from unbraid.evaluation.evaluate import Evaluation, evaluate, fresh_seeds, require_fitting_world
from unbraid.evaluation.intervals import mean_interval
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(make_expert("forward"), ENV, seeds=[5, 9, 2], max_steps=20)


def test_one_value_a_seed_and_the_mean_with_its_interval(found):
    assert found.seeds == (5, 9, 2)
    assert list(found.rollouts.demos.seeds) == [5, 9, 2]
    assert set(found.values) == {"return", "cost", "length", "goals", "distance", "displacement"}
    returns = [float(episode.rewards.sum()) for episode in found.rollouts.demos]
    np.testing.assert_allclose(found.values["return"], returns)
    assert found.metrics["return"] == mean_interval(np.array(returns))
    assert found.metrics["return"].value == pytest.approx(np.mean(returns))
    assert found.values["length"].tolist() == [20, 20, 20]


def test_a_seed_gives_the_same_episode_whatever_is_beside_it(found):
    alone = evaluate(make_expert("forward"), ENV, seeds=[9], max_steps=20)
    assert {name: values[0] for name, values in alone.values.items()} == {
        name: values[1] for name, values in found.values.items()
    }
    other = evaluate(make_expert("forward"), ENV, seeds=[10], max_steps=20)
    assert other.values["return"][0] != found.values["return"][1]


def test_as_json_it_has_units_intervals_and_every_episode(found):
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["env_id"] == ENV
    assert [episode["seed"] for episode in content["episodes"]] == [5, 9, 2]
    assert content["episodes"][1]["distance"] == found.values["distance"][1]
    assert content["metrics"]["distance"]["n"] == 3
    assert content["units"]["distance"] == "m"
    assert set(content["units"]) == set(content["metrics"])


def test_progress_counts_every_step(found):
    told: list[int] = []
    evaluate(make_expert("forward"), ENV, seeds=[1, 2], max_steps=4, on_progress=told.append)
    assert told == [2, 4, 6, 8]


def test_fresh_seeds_are_different_reproducible_and_their_own():
    seeds = fresh_seeds(1000, seed=0)
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == fresh_seeds(1000, seed=0)
    assert not set(seeds) & set(fresh_seeds(1000, seed=1))
    assert fresh_seeds(0, seed=0) == []
    with pytest.raises(ConfigError, match="A seed must be at least 0; got -1"):
        fresh_seeds(1, seed=-1)


def _model(observation_size: int, action_size: int) -> ModeModel:
    return ModeModel(UnbraidConfig(), observation_size=observation_size, action_size=action_size).eval()


@pytest.mark.parametrize(
    ("sizes", "env_id", "has"),
    [((60, 3), ENV, "60 and 2"), ((59, 2), ENV, "60 and 2"), ((60, 2), "Pendulum-v1", "3 and 1")],
)
def test_a_model_in_a_world_of_other_widths_is_refused_before_a_step(sizes, env_id, has):
    model = _model(*sizes)
    with pytest.raises(WorldError, match=rf"must have {sizes[0]} observation and {sizes[1]} action.*it has {has}\."):
        require_fitting_world(model, env_id)
    with pytest.raises(WorldError, match="as the model was fitted on"):
        evaluate(steer(model).toward(0), env_id, seeds=[0], max_steps=1)


def test_a_model_in_a_world_of_its_widths_acts():
    require_fitting_world(_model(3, 1), "Pendulum-v1")
    found = evaluate(steer(_model(3, 1)).toward(1), "Pendulum-v1", seeds=[0, 1], max_steps=3)
    assert set(found.values) == {"return", "length"}


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Nowhere-v0", "nowhere:Nowhere-v0"])
def test_what_is_no_world_of_vectors_is_left_to_the_rollout(env_id):
    require_fitting_world(_model(4, 1), env_id)
    with pytest.raises(WorldError, match=r"vectors of numbers|registered"):
        evaluate(steer(_model(4, 1)).toward(0), env_id, seeds=[0], max_steps=1)


def test_a_wrong_shape_raises(found):
    with pytest.raises(TypeCheckError):
        Evaluation(ENV, (1,), {"return": np.zeros((2, 2))}, {}, found.rollouts)
