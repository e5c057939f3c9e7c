"""A person's preferences: the posterior, what to ask next, and a file of answers."""

import json

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy.optimize import minimize

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.switching.answers import load_answers
from unbraid.switching.preferences import ANSWERS, Preferences, random_pair

SITUATIONS = np.stack([np.ones(41), np.linspace(-1, 1, 41)], axis=1)


def person(features):
    """Mode 0 is good on the left, mode 1 on the right, mode 2 nowhere."""
    return np.stack([2 - 6 * features[:, 1], 2 + 6 * features[:, 1], np.full(len(features), -4.0)], axis=1)


def answer(utilities, left, right):
    if abs(utilities[left] - utilities[right]) < 0.5:
        return "both fine" if utilities[left] + utilities[right] > 0 else "neither"
    return "left" if utilities[left] > utilities[right] else "right"


def asked(n, *, seed=0, start=None):
    known = start or Preferences(3, 2)
    for _ in range(n):
        pair = known.next_pair(SITUATIONS, seed=seed)
        features = SITUATIONS[pair.situation]
        known = known.answered(
            features, pair.left, pair.right, answer(person(features[None])[0], pair.left, pair.right)
        )
    return known


def test_twelve_answers_find_the_best_mode():
    known = asked(12)
    truth = person(SITUATIONS).argmax(axis=1)
    assert (known.best(SITUATIONS) == truth).mean() > 0.9
    probable = known.probability_best(SITUATIONS)
    np.testing.assert_allclose(probable.sum(axis=1), 1.0)
    assert probable[0].argmax() == 0
    assert probable[-1].argmax() == 1
    assert min(probable[0, 0], probable[-1, 1]) > 0.75


def test_answers_make_it_surer_and_undo_takes_one_back():
    known = asked(6)
    _, before = Preferences(3, 2).utilities(SITUATIONS)
    _, after = known.utilities(SITUATIONS)
    assert (after < before).mean() > 0.9
    again = asked(7)
    np.testing.assert_array_equal(again.without_last().utilities(SITUATIONS)[0], known.utilities(SITUATIONS)[0])
    assert Preferences(3, 2).without_last().answers == ()


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_posterior_is_at_its_mode(noise):
    known = Preferences(2, 2, noise=noise)
    given = [("left", 0.3), ("right", -0.5), ("both fine", 0.0), ("neither", -0.9), ("left", -0.8)]
    for said, at in given:
        known = known.answered(np.array([1.0, at]), 0, 1, said)

    def minus_log_posterior(weights):
        weights = weights.reshape(2, 2)
        total = (weights**2).sum() / (2 * known.prior_deviation**2)
        for said, at in given:
            left, right = weights @ np.array([1.0, at])
            terms = np.exp([left, right, (left + right) / 2]) * [1, 1, known.tie]
            fine = 1 / (1 + np.exp(-(left + right) / 2))
            p = np.array([terms[0], terms[1], terms[2] * fine, terms[2] * (1 - fine)]) / terms.sum()
            total -= np.log((1 - noise) * p[ANSWERS.index(said)] + noise / 4)
        return total

    mean, deviation = known.utilities(np.eye(2))
    found = minimize(minus_log_posterior, mean.T.ravel(), tol=1e-12)
    np.testing.assert_allclose(mean.T.ravel(), found.x, atol=2e-3)
    assert (deviation > 0).all()


def log_probabilities(utilities, tie):
    """(draw, answer) of u_left and u_right, as the class says them."""
    left, right = utilities.T
    middle = (left + right) / 2
    terms = np.stack([np.exp(left), np.exp(right), tie * np.exp(middle)], axis=1)
    terms /= terms.sum(1, keepdims=True)
    fine = 1 / (1 + np.exp(-middle))
    return np.log(np.stack([terms[:, 0], terms[:, 1], terms[:, 2] * fine, terms[:, 2] * (1 - fine)], axis=1))


def test_before_the_first_answer_a_utility_is_as_unsure_as_the_prior():
    mean, deviation = Preferences(3, 2, prior_deviation=2.0).utilities(np.array([[1.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(mean, 0.0)
    np.testing.assert_allclose(deviation, [[2.0] * 3, [10.0] * 3])


@pytest.mark.parametrize("said", ANSWERS)
def test_the_deviation_is_what_the_curvature_of_the_posterior_says(said):
    """By second differences of the log-posterior of two weights; of two answers, both meant."""
    known = Preferences(2, 1, prior_deviation=1.5, tie=2.0, noise=0.0)
    known = known.answered(np.array([1.0]), 0, 1, said).answered(np.array([1.0]), 0, 1, "left")
    mean, deviation = known.utilities(np.array([[1.0]]))

    def height(at):
        log_p = log_probabilities(at[None], 2.0)[0]
        return log_p[ANSWERS.index(said)] + log_p[0] - (at**2).sum() / (2 * 1.5**2)

    step = 1e-3 * np.eye(2)
    curvature = [
        [
            sum(i * j * height(mean[0] + i * a + j * b) for i in (1, -1) for j in (1, -1)) / (4 * 1e-6)
            for b in step
        ]
        for a in step
    ]  # fmt: skip
    expected = np.sqrt(np.diag(np.linalg.inv(-np.array(curvature))))
    np.testing.assert_allclose(deviation[0], expected, rtol=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_information_of_a_pair_is_that_between_its_answer_and_the_best_mode(noise):
    """From many draws of the prior, where 256 serve to choose. All situations are alike: each says the same."""
    known = Preferences(2, 1, prior_deviation=2.0, noise=noise)
    found = np.mean([known.next_pair(np.ones((20, 1)), seed=seed).information_nats for seed in range(20)])
    utilities = 2.0 * np.random.default_rng(0).standard_normal((200_000, 2))
    p = (1 - noise) * np.exp(log_probabilities(utilities, known.tie)) + noise / 4
    left_is_best = utilities[:, 0] > utilities[:, 1]
    joint = np.stack([(p * best[:, None]).mean(0) for best in (left_is_best, ~left_is_best)])
    expected = (joint * np.log(joint / np.outer(joint.sum(1), joint.sum(0)))).sum()
    assert found == pytest.approx(expected, rel=0.1)


def test_a_lone_lie_is_outvoted():
    features = np.array([1.0, 0.0])
    known = Preferences(2, 2)
    for said in ["left"] * 6 + ["right"] + ["left"] * 3:
        known = known.answered(features, 0, 1, said)
    mean, _ = known.utilities(features[None])
    believing = Preferences(2, 2, answers=known.answers, noise=0.0).utilities(features[None])[0]
    assert mean[0, 0] - mean[0, 1] > believing[0, 0] - believing[0, 1] > 0


def test_neither_says_that_both_are_bad():
    features = np.array([1.0, 0.0])
    fine, bad = (Preferences(2, 2).answered(features, 0, 1, said).utilities(features[None])[0] for said in ANSWERS[2:])
    assert (fine > 0).all()
    assert (bad < 0).all()


def test_blends_are_asked_about_and_tell_of_their_modes():
    clips = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    known = Preferences(3, 2)
    pair = known.next_pair(SITUATIONS, clips=clips)
    assert {pair.left, pair.right} == {0, 1}
    features = SITUATIONS[pair.situation]
    mean, _ = known.answered(features, [0.0, 0.5, 0.5], 0, "left").utilities(features[None])
    assert mean[0, 1] == pytest.approx(mean[0, 2])
    assert mean[0, 1] > 0 > mean[0, 0]


def test_the_next_pair_is_informative_and_depends_on_its_seed_alone():
    known = asked(8)
    pair = known.next_pair(SITUATIONS, seed=5)
    assert pair == known.next_pair(SITUATIONS, seed=5)
    assert pair.information_nats > 0
    assert pair.left != pair.right
    sides = {known.next_pair(SITUATIONS, seed=seed).left for seed in range(8)}
    assert len(sides) > 1
    # what was answered often is not asked again: modes 0 and 1 at the far left are settled
    settled = Preferences(2, 2)
    for _ in range(30):
        settled = settled.answered(np.array([1.0, -1.0]), 0, 1, "left")
    assert settled.next_pair(np.array([[1.0, -1.0], [1.0, 1.0]]), seed=0).situation == 1


def test_a_random_pair():
    pairs = [random_pair(10, 3, seed=seed) for seed in range(50)]
    assert pairs[0] == random_pair(10, 3, seed=0)
    assert all(pair.left != pair.right for pair in pairs)
    assert {pair.situation for pair in pairs} > {0, 9}
    with pytest.raises(ConfigError, match="two clips"):
        random_pair(10, 1, seed=0)


def test_answers_are_saved_and_read(tmp_path):
    known = asked(4)
    known.save(tmp_path / "answers.json")
    again, _ = load_answers(tmp_path / "answers.json")
    assert again.answers == known.answers
    np.testing.assert_array_equal(again.utilities(SITUATIONS)[0], known.utilities(SITUATIONS)[0])
    with pytest.raises(RunError, match="must not exist"):
        known.save(tmp_path / "answers.json")


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 9},
        {"n_modes": "many"},
        {"answers": [{"features": [1.0], "left": [1, 0, 0], "right": [0, 1, 0], "answer": "left"}]},
        {"answers": [{"features": [1.0, 0.0], "left": [1, 0, 0], "right": [0, 1, 0], "answer": "perhaps"}]},
        {"answers": [{"features": [1.0, 0.0], "left": [1, 0, 0], "answer": "left"}]},
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({**Preferences(3, 2).to_json(), **damage}))
    with pytest.raises(DataError, match="must"):
        load_answers(path)


def test_what_is_refused():
    known, features = Preferences(3, 2), np.array([1.0, 0.0])
    for left in (3, -1, [0.5, 0.5], [0.5, 0.6, -0.1], [0.5, 0.1, 0.1]):
        with pytest.raises(ConfigError, match="must"):
            known.answered(features, left, 0, "left")
    with pytest.raises(ConfigError, match="2 finite features"):
        known.answered(np.ones(3), 0, 1, "left")
    with pytest.raises(ConfigError, match="2 finite features"):
        known.utilities(np.array([[1.0, np.nan]]))
    with pytest.raises(ConfigError, match="at least one situation"):
        known.next_pair(np.zeros((0, 2)))
    with pytest.raises(ConfigError, match="at least 2 modes"):
        Preferences(1, 2)
    with pytest.raises(ConfigError, match="above 0"):
        Preferences(2, 2, tie=0.0)


def test_a_wrong_shape_raises():
    with pytest.raises(TypeCheckError):
        Preferences(2, 2).best(np.ones(2))
