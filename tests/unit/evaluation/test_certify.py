"""`certify`: who acts, in which world, and what the certificate says of both."""

import hashlib
import json

import gymnasium
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, WorldError
from unbraid.evaluation.certificates import Terms
from unbraid.evaluation.certify import actors_of, certify, policy_facts
from unbraid.evaluation.claims import EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.evaluation.evaluate import evaluate
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import from_function
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"
TERMS = Terms(max_episodes=6, batch_episodes=3, max_steps=5)
MODEL = ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).eval()


def test_modes_and_experts_act_on_the_same_seeds():
    claims = [
        MeanClaim("length", (0, 10), at_most=7, mode=1),
        EquivalenceClaim("distance", "forward", within=0.1, mode=0, n=5),
    ]
    found = certify(MODEL, ENV, claims, TERMS)
    assert {entry.actor: len(entry.seeds) for entry in found.outcomes} == {
        "mode 1": 6,
        "mode 0": 5,
        "expert forward": 5,
    }
    for entry, actor in zip(
        found.outcomes, [steer(MODEL).toward(1), steer(MODEL).toward(0), make_expert("forward")], strict=True
    ):
        again = evaluate(actor, ENV, seeds=entry.seeds, max_steps=5).values
        for name, values in entry.values.items():
            np.testing.assert_array_equal(values, again[name])
    assert [result.n for result in found.results] == [6, 5]
    assert not found.all_hold
    assert found.environment["id"] == ENV
    assert found.environment["version"] == 0
    assert found.environment["made_by"] == "unbraid.worlds.point_goal:PointGoalEnv"
    assert {"unbraid", "gymnasium", "mujoco"} <= set(found.environment["packages"])


def test_the_fingerprint_is_that_of_the_weights_file(tmp_path):
    MODEL.save_pretrained(tmp_path / "model")
    expected = hashlib.sha256((tmp_path / "model" / "model.safetensors").read_bytes()).hexdigest()
    facts = policy_facts(MODEL)
    assert facts["weights_sha256"] == MODEL.fingerprint() == expected
    assert policy_facts(ModeModel.from_pretrained(tmp_path / "model")) == facts
    other = ModeModel(UnbraidConfig(n_modes=2, seed=1), observation_size=60, action_size=2).eval()
    assert policy_facts(other)["config_sha256"] != facts["config_sha256"]
    blended = policy_facts(steer(MODEL).blend({0: 0.5, 1: 0.5}))
    assert blended["instruction"]["blend"] == [[0, 0.5], [1, 0.5]]
    json.dumps(blended, allow_nan=False)


def test_bounds_on_one_side_alone_can_be_written():
    facts = policy_facts(steer(MODEL, action_bounds=(np.full(2, -np.inf), np.array([0.5, np.inf]))))
    assert json.loads(json.dumps(facts, allow_nan=False))["action_bounds"] == [[None, None], [0.5, None]]


def test_any_policy_can_be_certified_without_modes():
    claim = MeanClaim("length", (0, 10), at_least=4, mode=None)
    found = certify(make_expert("forward"), ENV, [claim], TERMS)
    assert found.outcomes[0].actor == "the policy"
    assert found.policy["weights_sha256"] is None
    blended = certify(steer(MODEL).blend({0: 0.5, 1: 0.5}), ENV, [claim], TERMS)
    assert blended.outcomes[0].values["length"].tolist() == [5.0] * len(blended.outcomes[0].seeds)


def test_experts_of_ones_own_go_by_their_names():
    still = from_function(lambda observations: observations[:, :2] * 0)
    claim = EquivalenceClaim("distance", "still", within=5, method="betting", bounds=(0, 10), mode=0)
    assert actors_of(MODEL, [claim], {"still": still})["expert still"] is still
    with pytest.raises(ConfigError, match=r"An expert must be one of goal_seeking, .*; got 'still'"):
        certify(MODEL, ENV, [claim], TERMS)


@pytest.mark.parametrize(
    ("policy", "claim", "env_id", "error", "said"),
    [
        (
            MODEL,
            ProbabilityClaim("cost", above=1, at_most=0.1, mode=2),
            ENV,
            ConfigError,
            "2",
        ),
        (
            MODEL,
            ProbabilityClaim("costs", above=1, at_most=0.1, mode=1),
            ENV,
            ConfigError,
            "metric must be one of return, cost, .*; got 'costs'. Correct its name",
        ),
        (
            MODEL,
            ProbabilityClaim("cost", above=1, at_most=0.1),
            ENV,
            ConfigError,
            r'must name a mode; "the policy: .*" names none.*certify\(steer\(model\)\.blend\(',
        ),
        (
            make_expert("forward"),
            ProbabilityClaim("cost", above=1, at_most=0.1, mode=1),
            ENV,
            ConfigError,
            "must be about a policy with modes",
        ),
        (
            from_function(lambda observations: observations[:, :1] * 0),
            ProbabilityClaim("cost", above=1, at_most=0.1),
            "Pendulum-v1",
            WorldError,
            r"what the claimed metric 'cost' needs; .* A cost is `info\['cost'\]`",
        ),
        (
            MODEL,
            ProbabilityClaim("cost", above=1, at_most=0.1, mode=1),
            "Nowhere-v0",
            WorldError,
            "must be registered with Gymnasium; 'Nowhere-v0' is not",
        ),
        (
            MODEL,
            ProbabilityClaim("cost", above=1, at_most=0.1, mode=1),
            "Pendulum-v1",
            WorldError,
            "must have 60 observation and 2 action columns",
        ),
    ],
)
def test_what_does_not_exist_is_named(policy, claim, env_id, error, said):
    with pytest.raises(error, match=said):
        certify(policy, env_id, [claim], TERMS)


def test_a_mode_of_a_policy_that_is_steered_already_is_refused():
    claim = MeanClaim(metric="length", mode=1, at_least=4.0, bounds=(0.0, 10.0))
    with pytest.raises(ConfigError, match="of which nothing was asked; this one is steered"):
        certify(steer(MODEL).blend({0: 1.0}), "unbraid/PointGoal1-v0", [claim])


def test_claims_may_be_the_objects_of_a_file():
    given = {"kind": "mean", "mode": 1, "metric": "length", "bounds": (0, 10), "at_most": 7}
    found = certify(MODEL, ENV, [given, MeanClaim("length", (0, 10), at_most=7, mode=1)], TERMS)
    assert found.claims[0] == found.claims[1]
    for wrong, said in (
        ({**given, "kind": "median"}, "Claim 1: A claim's kind must be one of probability, mean, equivalence"),
        ({"kind": "equivalence", "metric": "return", "mode": 0, "expert": 0, "within": 1, "n": 5}, "the expert's name"),
    ):
        with pytest.raises(ConfigError, match=said):
            certify(MODEL, ENV, [wrong], TERMS)


@pytest.mark.usefixtures("unchecked")
def test_an_environment_without_an_id_is_refused_before_the_first_episode():
    """A certificate names its environment; a function has no name that others could make it by."""
    made = []
    for env in (gymnasium.spec("Pendulum-v1"), lambda: made.append(1)):
        with pytest.raises(WorldError, match=r"by its id, which the certificate names; .*Register it with"):
            certify(MODEL, env, [MeanClaim("length", (0, 10), at_most=7, mode=1)], TERMS)
    assert made == []
