"""Two policies on the same layouts: differences pair by pair, how often one exceeds the other, and what is refused."""

import dataclasses
import inspect
import json

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.evaluation.evaluate import Evaluation, evaluate
from unbraid.evaluation.intervals import paired_difference, share_interval
from unbraid.evaluation.paired import BETTER, compare
from unbraid.worlds.controllers import from_function

ENV = "Pendulum-v1"


def pushing(torque: float):
    return from_function(lambda observations: np.full((len(observations), 1), torque))


@pytest.fixture(scope="module")
def found() -> tuple[Evaluation, Evaluation]:
    a, b = (evaluate(pushing(torque), ENV, n_episodes=12, max_steps=20) for torque in (0.0, 1.0))
    return a, b


def with_values(evaluation: Evaluation, **values: list[float]) -> Evaluation:
    return dataclasses.replace(evaluation, values={name: np.array(v, dtype=float) for name, v in values.items()})


def test_differences_and_how_often_one_exceeds_the_other(found):
    a, b = found
    compared = compare(a, b)
    assert compared.seeds == a.seeds
    assert set(compared.differences) == {"return", "length", "energy", "smoothness"}
    assert compared.differences["return"] == paired_difference(a.values["return"], b.values["return"])
    assert compared.differences["energy"].value == pytest.approx(-20)
    assert compared.exceeds["energy"].value == 0.0
    assert compared.improvement["energy"].value == 1.0
    assert compared.exceeds["length"].value == 0.5
    assert set(compared.improvement) == {"return", "energy", "smoothness"} <= set(BETTER)
    assert compared.improvement["return"] == compared.exceeds["return"]  # of these, more is better
    assert compared.improvement["return"].value != 0.5
    assert compared.units["energy"] == "squared action"
    back = compare(b, a)
    assert back.exceeds["return"].value == pytest.approx(1 - compared.exceeds["return"].value)
    assert back.differences["return"].value == pytest.approx(-compared.differences["return"].value)


def test_ties_count_half_and_certain_wins_have_a_width(found):
    a = with_values(found[0], cost=[1, 2, 3, 4] + [0] * 8, own=[1] * 12)
    b = with_values(found[0], cost=[0, 2, 4, 5] + [0] * 8, other=[1] * 12)
    compared = compare(a, b)
    assert set(compared.exceeds) == {"cost"}
    assert compared.exceeds["cost"].value == pytest.approx((1 + 0.5 * 9) / 12)
    less = compared.improvement["cost"]
    assert less.value == pytest.approx((2 + 0.5 * 9) / 12)
    assert (less.low, less.high) == pytest.approx((1 - compared.exceeds["cost"].high, 1 - compared.exceeds["cost"].low))
    every = share_interval(np.ones(12))
    assert every.high == 1.0
    assert every.low == pytest.approx(12 / (12 + 1.959964**2))


def test_it_is_json(found):
    content = json.loads(json.dumps(compare(*found).to_json(), allow_nan=False))
    assert set(content) == {"env_id", "seeds", "units", "differences", "exceeds", "improvement"}
    assert content["differences"]["return"]["unit_of_n"] == content["exceeds"]["return"]["unit_of_n"] == "paired seeds"


def test_one_episode_has_no_interval(found):
    a, b = (evaluate(pushing(torque), ENV, seeds=[3], max_steps=5) for torque in (0.0, 1.0))
    compared = compare(a, b)
    assert compared.differences["return"].low is compared.improvement["return"].high is None


def test_other_episodes_are_refused_with_the_remedy(found):
    a, b = found
    with pytest.raises(DataError, match=r"got 12 seeds and 12, of which 10 are the same at the same place\. Evaluate"):
        compare(a, dataclasses.replace(b, seeds=(b.seeds[1], b.seeds[0], *b.seeds[2:])))
    with pytest.raises(DataError, match=r"must be two evaluations; got a int\. Compare what evaluate"):
        inspect.unwrap(compare)(a, 3)
    with pytest.raises(DataError, match="must have the same environment; got Pendulum-v1 and Other-v0"):
        compare(a, dataclasses.replace(b, env_id="Other-v0"))
    with pytest.raises(DataError, match="must have the same most steps; got 20 and 19"):
        compare(a, evaluate(pushing(1.0), ENV, n_episodes=12, max_steps=19))
