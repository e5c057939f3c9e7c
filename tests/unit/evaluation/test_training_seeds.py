"""Several training seeds: their number is n, never that of the episodes."""

import inspect
import json

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.evaluation.evaluate import evaluate, fresh_seeds
from unbraid.evaluation.intervals import mean_interval
from unbraid.evaluation.training_seeds import across_seeds, evaluate_runs
from unbraid.steering.schedules import by_episode, in_turn
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import from_function, from_predict

ENV = "Pendulum-v1"


def pushing(torque: float):
    return from_function(lambda observations: np.full((len(observations), 1), torque))


def test_the_training_seed_is_the_unit():
    found = evaluate_runs([pushing(torque) for torque in (0.0, 1.0, 2.0)], ENV, n_episodes=40, max_steps=10)
    assert [run.seeds for run in found.runs] == [tuple(fresh_seeds(40, seed=0))] * 3
    means = np.array([run.values["return"].mean() for run in found.runs])
    assert found.values["return"].tolist() == means.tolist()
    assert found.metrics["return"] == mean_interval(means, unit_of_n="training seeds")
    assert (found.metrics["return"].n, found.metrics["energy"].value) == (3, pytest.approx(50 / 3))
    pooled = mean_interval(np.concatenate([run.values["energy"] for run in found.runs]))
    assert found.metrics["energy"].high - found.metrics["energy"].low > 5 * (pooled.high - pooled.low)
    assert found.metrics["energy"].low == 0  # Student's would be below
    assert found.summary["energy"].mean == found.metrics["energy"]
    assert found.summary["energy"].iqm.low is None  # 3 are too few for a bootstrap
    assert found.units["energy"] == "squared action"
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (
        content["metrics"]["energy"]["unit_of_n"]
        == content["summary"]["energy"]["iqm"]["unit_of_n"]
        == "training seeds"
    )
    assert len(content["runs"]) == len(content["values"]["energy"]) == 3


def test_a_metric_that_a_run_lacks_is_left_out_and_one_run_has_no_interval():
    own = evaluate(pushing(0.0), ENV, seeds=[1, 2], max_steps=3, metrics={"own": lambda episode: 1.0})
    found = across_seeds([own, evaluate(pushing(0.0), ENV, seeds=[1, 2], max_steps=3)])
    assert "own" not in found.values
    assert across_seeds([own]).metrics["own"].low is None


def test_runs_that_do_not_belong_together():
    a = evaluate(pushing(0.0), ENV, seeds=[1, 2], max_steps=3)
    with pytest.raises(DataError, match="at least one run; got none"):
        across_seeds([])
    for other in ({"seeds": [1, 2], "max_steps": 4}, {"seeds": [1], "max_steps": 3}):
        with pytest.raises(DataError, match="one environment, limit of steps and number of episodes; got"):
            across_seeds([a, evaluate(pushing(0.0), ENV, **other)])


def test_what_is_no_list_of_evaluations_is_refused():
    run = evaluate(pushing(0.0), ENV, n_episodes=2, max_steps=3)
    for given in (run, [run, 3.0], None):
        with pytest.raises(DataError, match="must be given as a list of what evaluate"):
            inspect.unwrap(across_seeds)(given)
    assert inspect.unwrap(across_seeds)(one for one in [run, run]).runs == (run, run)


def test_one_model_is_not_two_training_seeds():
    model = ModeModel(UnbraidConfig(n_modes=2), observation_size=3, action_size=1).eval()
    with pytest.raises(DataError, match=r"models 0 and 1 have the same weights\. Fit again with another seed"):
        evaluate_runs([steer(model).toward(0), steer(model).toward(1)], ENV, n_episodes=2, max_steps=3)


def _fit(seed):
    return ModeModel(UnbraidConfig(n_modes=2, seed=seed), observation_size=3, action_size=1).eval()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda policy: in_turn({0: policy, 2: steer(policy.model).toward(1)}),
        lambda policy: by_episode({policy: 1.0}),
        from_predict,
        lambda policy: from_predict(in_turn({0: policy})),
        lambda policy: _Several((policy,)),
    ],
)
def test_a_model_within_another_policy_is_seen(wrap):
    torch.manual_seed(0)
    model, other = _fit(0), _fit(0)
    with pytest.raises(DataError, match="models 0 and 1 have the same weights"):
        evaluate_runs([wrap(steer(model).toward(0)), steer(model).toward(1)], ENV, n_episodes=2, max_steps=3)
    found = evaluate_runs([wrap(steer(m).toward(0)) for m in (model, other)], ENV, n_episodes=2, max_steps=3)
    assert len(found.runs) == 2


class _Several:
    """As a `SwitchedPolicy`, which has its parts as `policies`."""

    def __init__(self, policies):
        self.policies = policies

    def act(self, observations, state, episode_start, noise):
        return self.policies[0].act(observations, None, episode_start, noise)[0], None
