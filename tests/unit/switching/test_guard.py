"""A guard: free where the bound on the cost is low, certified modes elsewhere."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.evaluation.betting import confidence_sequence
from unbraid.evaluation.certificates import Terms
from unbraid.evaluation.certify import certify
from unbraid.evaluation.claims import EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.steering.steered import steer
from unbraid.switching.guard import Guard, certified_modes, episode_limit, guard_from_json, make_guard
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel


def decisions(n_episodes=200, n_each=10, seed=0):
    """A choice costs 0 where a feature is below 0.5, and 0 to 10 above."""
    generator = np.random.default_rng(seed)
    x = generator.random(n_episodes * n_each)
    costs = np.where(x < 0.5, 0.0, generator.integers(0, 11, size=len(x)))
    return {
        "features": np.stack([np.ones_like(x), x], axis=1),
        "costs": costs,
        "episodes": np.repeat(np.arange(n_episodes), n_each),
    }


def made(max_cost, **beside):
    return make_guard([1], max_cost, largest_cost=10.0, **{**decisions(), **beside})


def test_the_choice_is_free_where_little_cost_may_come():
    guard = made(1.0)
    allowed = guard.allowed(np.array([[1.0, 0.1], [1.0, 0.9]]), 3)
    assert allowed.tolist() == [[True, True, True], [False, True, False]]
    assert guard.bounds[0] < 1.0 < guard.bounds[-1]
    assert (guard.n > 50).all()


def test_the_bounds_hold():
    """Of 40 guards hardly one has a bound below the true mean cost of its group."""
    wrong = 0
    for seed in range(40):
        given = decisions(n_episodes=60, seed=seed)
        guard = make_guard([0], 1.0, largest_cost=10.0, **given, settings=(2, 0.05, seed))
        fresh = decisions(n_episodes=2000, seed=1000 + seed)
        group = guard.groups(fresh["features"])
        wrong += any(fresh["costs"][group == g].mean() > guard.bounds[g] for g in range(len(guard.bounds)))
    assert wrong <= 4


@pytest.mark.parametrize("n_groups", [1, 3])
def test_a_bound_is_that_of_one_decision_an_episode_of_the_half_that_made_no_group(n_groups):
    """One decision in an episode, so that nothing is drawn: the bounds share alpha, each of one side."""
    given = decisions(n_episodes=80, n_each=1)
    guard = make_guard([0], 1.0, largest_cost=10.0, **given, settings=(n_groups, 0.06, 0))
    features, costs = (given[name][40:] for name in ("features", "costs"))
    group = guard.groups(features)
    assert len(guard.bounds) == n_groups
    for place in range(n_groups):
        level = 0.06 / n_groups
        upper = confidence_sequence(costs[group == place] / 10, confidence=1 - 2 * level)[1]
        assert guard.bounds[place] == pytest.approx(10 * upper)
        assert guard.n[place] == (group == place).sum()


def test_few_episodes_give_high_bounds():
    few, many = (make_guard([1], 1.0, largest_cost=10.0, **decisions(n_episodes=n)) for n in (4, 400))
    assert (few.bounds > 9).all()
    assert (few.bounds > many.bounds).all()
    assert not few.allowed(np.array([[1.0, 0.1]]), 2).all()


def test_it_is_written_and_read():
    guard = made(1.0)
    again = guard_from_json(guard.to_json(), "a file")
    features = decisions(seed=3)["features"]
    np.testing.assert_array_equal(again.allowed(features, 2), guard.allowed(features, 2))
    assert again.max_steps is None
    assert guard_from_json(replace(guard, max_steps=40).to_json(), "a file").max_steps == 40
    for damage in (
        {"bounds": [1.0]},
        {"bounds": [*guard.bounds[1:].tolist(), np.nan]},
        {"weights": ["x"]},
        {"max_cost": None},
    ):
        with pytest.raises(DataError, match="whole guard"):
            guard_from_json({**guard.to_json(), **damage}, "a file")
    with pytest.raises(DataError, match="lacks"):
        guard_from_json({}, "a file")


ENV = "unbraid/PointGoal1-v0"
MODEL = ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).eval()


def test_a_certificate_of_shorter_episodes_is_refused(tmp_path):
    """Costs add up: little in 5 steps may be much in 1,000."""
    claim = ProbabilityClaim("cost", above=50, at_most=0.9, mode=1)
    path = tmp_path / "certificate.json"
    certify(MODEL, ENV, [claim], Terms(max_episodes=64, max_steps=5)).save(path)
    for guarded in (1, 5):
        assert certified_modes(path, MODEL, ENV, max_steps=guarded) == (1,)
    for guarded, said in ((6, 6), (None, 1000), (2000, 1000)):
        with pytest.raises(DataError, match=rf"about 5 steps, these have up to {said}\. Certify with --max-steps"):
            certified_modes(path, MODEL, ENV, max_steps=guarded)


def test_a_certificate_of_another_model_or_another_world_certifies_nothing(tmp_path):
    claim = ProbabilityClaim("cost", above=50, at_most=0.9, mode=1)
    path = tmp_path / "certificate.json"
    certify(MODEL, ENV, [claim], Terms(max_episodes=64, max_steps=5)).save(path)
    other = ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).eval()
    assert other.fingerprint() != MODEL.fingerprint()
    with pytest.raises(DataError, match=r"must be verified for this model; it is not: .*weights_sha256"):
        certified_modes(path, other, ENV, max_steps=5)
    with pytest.raises(DataError, match="must be about unbraid/PointGoal2-v0; it is about unbraid/PointGoal1-v0"):
        certified_modes(path, MODEL, "unbraid/PointGoal2-v0", max_steps=5)


HOLDS = ProbabilityClaim("cost", above=50, at_most=0.9, mode=1)
TERMS = Terms(max_episodes=64, max_steps=5)


@pytest.mark.parametrize(
    "claim",
    [
        HOLDS,
        ProbabilityClaim("cost", below=50, at_least=0.1, mode=1),
        MeanClaim("cost", bounds=(0, 5), at_most=4.9, mode=1),
    ],
)
def test_an_upper_limit_on_cost_that_holds_certifies_a_mode(claim, tmp_path):
    path = tmp_path / "certificate.json"
    certify(MODEL, ENV, [claim], TERMS).save(path)
    assert certified_modes(path, MODEL, ENV, max_steps=5) == (1,)


@pytest.mark.parametrize(
    "claim",
    [
        ProbabilityClaim("cost", below=-1, at_most=0.9, mode=1),
        ProbabilityClaim("cost", above=-1, at_least=0.1, mode=1),
        MeanClaim("cost", bounds=(-100, 5), at_least=-50, mode=1),
        ProbabilityClaim("length", above=50, at_most=0.9, mode=1),
    ],
)
def test_a_lower_limit_or_another_metric_does_not(claim, tmp_path):
    path = tmp_path / "certificate.json"
    certificate = certify(MODEL, ENV, [claim], TERMS)
    assert certificate.results[0].answer == "holds"
    certificate.save(path)
    with pytest.raises(ConfigError, match="must certify an upper limit"):
        certified_modes(path, MODEL, ENV, max_steps=5)


def test_equivalence_with_an_expert_is_no_limit(tmp_path):
    """Whatever the expert's cost is, the mode's may be, and no number is named."""
    path = tmp_path / "certificate.json"
    claim = EquivalenceClaim("cost", expert="itself", within=4, mode=1, method="betting", bounds=(0, 5))
    certificate = certify(MODEL, ENV, [claim], TERMS, experts={"itself": steer(MODEL).toward(1)})
    assert certificate.results[0].answer == "holds"
    certificate.save(path)
    with pytest.raises(ConfigError, match="must certify an upper limit"):
        certified_modes(path, MODEL, ENV, max_steps=5)


@pytest.mark.parametrize(
    "refuted",
    [
        ProbabilityClaim("cost", below=-1, at_least=0.9, mode=1),
        ProbabilityClaim("cost", above=50, at_least=0.9, mode=1),
        MeanClaim("cost", bounds=(0, 5), at_least=4.9, mode=1),
    ],
)
def test_a_mode_is_not_trusted_where_any_claim_about_its_cost_fails(refuted, tmp_path):
    path = tmp_path / "certificate.json"
    other = ProbabilityClaim("cost", above=50, at_most=0.9, mode=0)
    certificate = certify(MODEL, ENV, [HOLDS, other, refuted], TERMS)
    assert [result.answer for result in certificate.results] == ["holds", "holds", "refuted"]
    certificate.save(path)
    assert certified_modes(path, MODEL, ENV, max_steps=5) == (0,)


def test_an_episodes_limit_is_the_smaller_one():
    assert [episode_limit(ENV, steps) for steps in (None, 7, 2000)] == [1000, 7, 1000]


def test_what_is_refused():
    with pytest.raises(ConfigError, match="max_cost >= 0"):
        made(-1.0)
    with pytest.raises(ConfigError, match="certified"):
        make_guard([], 1.0, largest_cost=10.0, **decisions())
    with pytest.raises(DataError, match="at least 4 episodes"):
        made(1.0, **decisions(n_episodes=3))
    for settings in ((0, 0.05, 0), (4, 0.0, 0), (4, 1.0, 0)):
        with pytest.raises(ConfigError, match="A guard needs"):
            made(1.0, settings=settings)
    for limit in (np.inf, np.nan):
        with pytest.raises(ConfigError, match="A guard needs"):
            made(limit)
    for largest in (0, -1.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match=r"most that one held mode can cost, .* above 0; got .*step-cost"):
            make_guard([1], 1.0, **{**decisions(), "costs": 0 * decisions()["costs"]}, largest_cost=largest)
    with pytest.raises(DataError, match="costs in"):
        made(1.0, costs=decisions()["costs"] - 1)
    with pytest.raises(DataError, match="costs in"):
        made(1.0, costs=decisions()["costs"] + 5)


def test_a_certified_mode_may_always_be_chosen():
    features = np.array([[1.0, 0.0], [1.0, 1.0]])
    guard = Guard((0, 2), 0.0, np.array([0.0, 1.0]), np.zeros(0), np.array([1.0]), np.array([5]), 0.05)
    assert guard.allowed(features, 3).tolist() == [[True, False, True]] * 2
    assert replace(guard, max_cost=1.0).allowed(features, 3).all()  # the bound itself is low enough
