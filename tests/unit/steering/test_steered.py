"""A steered policy: contexts, Stable-Baselines3's signature, and the same action whatever runs beside it."""

import copy
import inspect

import gymnasium
import jaxtyping
import numpy as np
import pytest
import torch

import unbraid
from unbraid.core.errors import ConfigError, DataError
from unbraid.steering.steered import steer
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.model import ModeModel


@pytest.fixture(scope="module", params=[UnbraidConfig(n_modes=3), TalkConfig(n_modes=3)], ids=["unbraid", "talk"])
def model(request):
    torch.manual_seed(0)
    return ModeModel(request.param, observation_size=60, action_size=2).eval()


@pytest.fixture(scope="module")
def observations():
    return np.random.default_rng(0).normal(size=(70, 60))


def test_toward_is_the_not_hot_context(model):
    assert steer(model).toward(1).context.tolist() == [1, 0, 1]


def test_each_mode_acts_in_a_way_of_its_own(model, observations):
    first, second = (steer(model).toward(mode).predict(observations, deterministic=True)[0] for mode in (0, 1))
    assert np.abs(first - second).max() > 1e-3


def gaussian(model, observations, mode):
    contexts = model.contexts[mode].expand(len(observations), -1)
    mean, deviation = model.action_distribution(torch.from_numpy(observations).float(), contexts)
    return mean.double().numpy(), deviation.double().numpy()


def drawn(policy, observations, noise):
    return policy.act(observations, None, np.zeros(len(observations), dtype=bool), noise)[0]


def test_a_blend_is_the_product_of_powers_of_its_modes(model, observations):
    policy, nothing = steer(model).blend({0: 0.25, 2: 0.75}), np.zeros((70, 2))
    (m0, s0), (m2, s2) = (gaussian(model, observations, mode) for mode in (0, 2))
    precision = 0.25 / s0**2 + 0.75 / s2**2
    mean = (0.25 * m0 / s0**2 + 0.75 * m2 / s2**2) / precision
    np.testing.assert_allclose(drawn(policy, observations, nothing), mean, atol=2e-5)
    spread = drawn(policy, observations, nothing + 1) - drawn(policy, observations, nothing)
    np.testing.assert_allclose(spread, precision**-0.5, rtol=1e-4)
    assert policy.context is None


def test_away_moves_actions_from_the_mode_to_the_other_side_of_what_is_wanted(model, observations):
    nothing = np.zeros((70, 2))
    (wanted, s1), (avoided, s0) = (gaussian(model, observations, mode) for mode in (1, 0))
    by_strength = [drawn(steer(model).toward(1).away(0, w), observations, nothing) for w in (0, 0.5, 1)]
    np.testing.assert_array_equal(by_strength[0], drawn(steer(model).toward(1), observations, nothing))
    moved = [(mean - wanted) * np.sign(wanted - avoided) for mean in by_strength[1:]]
    assert (moved[0] >= -1e-5).all()
    assert (moved[1] >= moved[0] - 1e-5).all()
    certain = np.minimum(1 / s0**2, 1 / s1**2)  # the avoided mode counts as no more certain than the wanted one
    precision = 1.5 / s1**2 - 0.5 * certain
    np.testing.assert_allclose(by_strength[1], (1.5 * wanted / s1**2 - 0.5 * avoided * certain) / precision, atol=1e-4)
    cut = (s0 < s1).any(axis=1)
    np.testing.assert_array_equal(steer(model).toward(1).away(0, 0.5).floored(observations), cut)


def test_away_from_nothing_in_particular_starts_from_the_average_of_all_modes(model, observations):
    every = [gaussian(model, observations, mode) for mode in range(3)]
    model.shares = [0.5, 0.25, 0.25]
    mean = 0.5 * every[0][0] + 0.25 * every[1][0] + 0.25 * every[2][0]
    base = steer(model).toward(1, strength=0)
    np.testing.assert_allclose(drawn(base, observations, np.zeros((70, 2))), mean, atol=1e-5)
    away = drawn(steer(model).away(1), observations, np.zeros((70, 2)))
    further = np.abs(away - every[1][0]) - np.abs(mean - every[1][0])
    assert (further > -1e-5).all()
    assert further.max() > 1e-3
    model.shares = [1 / 3] * 3


def test_a_strength_above_1_exaggerates_what_sets_the_mode_apart(model, observations):
    nothing = np.zeros((70, 2))
    base, once, twice = (drawn(steer(model).toward(1, strength=s), observations, nothing) for s in (0, 1, 2))
    np.testing.assert_array_equal(once, drawn(steer(model).toward(1), observations, nothing))
    assert (((twice - once) * np.sign(once - base)) >= -1e-5).all()
    assert np.abs(twice - once).max() > 1e-3


@pytest.mark.parametrize("unit", [1e-22, 1e20])
def test_what_is_asked_for_has_no_regard_to_the_unit_of_actions(model, observations, unit):
    other, noise = copy.deepcopy(model), np.random.default_rng(1).normal(size=(70, 2))
    other.action_normaliser.scale *= unit
    for asked in (
        lambda policy: policy.toward(1),
        lambda policy: policy.toward(1, strength=1.5),
        lambda policy: policy.blend({0: 0.25, 2: 0.75}),
        lambda policy: policy.away(0),
        lambda policy: policy.toward(1).away(0, strength=2),
    ):
        mine, others = asked(steer(model)), asked(steer(other))
        np.testing.assert_allclose(
            drawn(others, observations, noise) / unit, drawn(mine, observations, noise), rtol=1e-5, atol=1e-5
        )
        np.testing.assert_array_equal(others.floored(observations), mine.floored(observations))


@pytest.mark.parametrize("weights", [{}, {0: 0.5}, {0: -0.5, 1: 1.5}, {0: 0.5, 7: 0.5}, {0: float("nan"), 1: 1.0}])
def test_a_blend_of_nothing_that_adds_up_is_refused(model, weights):
    with pytest.raises(ConfigError):
        steer(model).blend(weights)


@pytest.mark.parametrize("mode", [-1, 3])
def test_a_mode_that_does_not_exist_is_refused(model, mode):
    with pytest.raises(ConfigError, match=f"one of 0 to 2; got {mode}"):
        steer(model).toward(mode)


def test_a_corner_of_the_blends_is_the_mode_itself(model, observations):
    corner, mode = steer(model).blend({0: 0.0, 2: 1.0}), steer(model).toward(2)
    np.testing.assert_array_equal(corner.context, mode.context)
    noise = np.random.default_rng(1).normal(size=(70, 2))
    np.testing.assert_array_equal(drawn(corner, observations, noise), drawn(mode, observations, noise))


def test_a_context_of_ones_own_is_taken_as_it_is(model, observations):
    own = steer(model).with_context([1.0, 0.0, 1.0]).predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(own, steer(model).toward(1).predict(observations, deterministic=True)[0])


def test_steering_gives_a_new_policy_and_leaves_the_old(model):
    old = steer(model).toward(0)
    assert old.toward(1).context.tolist() == [1, 0, 1]
    assert old.context.tolist() == [0, 1, 1]


@pytest.mark.parametrize("context", [[0.0, 1.0], [0.0, float("nan"), 1.0], [0.0, 1e39, 1.0]])
def test_a_context_that_does_not_fit_is_refused(model, context):
    with pytest.raises(ConfigError, match="3 finite numbers"):
        steer(model).with_context(context)


def test_nothing_acts_before_a_mode_was_chosen(model, observations):
    with pytest.raises(ConfigError, match="toward"):
        steer(model).predict(observations)


@pytest.mark.parametrize("bad", [np.zeros((2, 59)), np.full((2, 60), np.nan), np.full((2, 60), 1e300)])
def test_observations_that_do_not_fit_are_refused(model, bad):
    with pytest.raises(DataError, match=r"must (have 60 numbers|be finite)"):
        steer(model).toward(0).predict(bad)


@pytest.mark.usefixtures("unchecked")
def test_what_a_reset_returns_is_no_observation(model):
    """Gymnasium's reset gives a pair, which older ones did not."""
    for given in ((np.zeros(60), {}), [np.zeros(60), np.zeros(59)]):
        with pytest.raises(DataError, match=r"must be an array of numbers; got a (tuple|list) of other things"):
            steer(model).toward(0).predict(given)


@pytest.mark.usefixtures("unchecked")
def test_a_tensor_of_a_graph_is_no_observation(model):
    with pytest.raises(DataError, match=r"must be an array of numbers; .* Hand it over on the CPU, detached\."):
        steer(model).toward(0).predict(torch.zeros(60, requires_grad=True))


def test_the_strongest_instructions_act_with_finite_numbers(model, observations):
    from unbraid.steering.instructions import MOST_STRENGTH

    strongest = steer(model).toward(0, MOST_STRENGTH)
    for policy in (
        strongest,
        strongest.away(1, MOST_STRENGTH).away(2, MOST_STRENGTH),
        strongest.away(1, MOST_STRENGTH),
    ):
        assert np.isfinite(policy.predict(observations)[0]).all()


def test_observations_that_are_no_numbers_are_refused(model):
    with pytest.raises(DataError, match=r"must be an array of numbers; got .*\. Flatten it into one\."):
        steer(model).toward(0).predict(np.array(["left"] * 60))


def test_whole_numbers_are_numbers(model):
    policy = steer(model).toward(0)
    whole, _ = policy.predict(np.ones(60, dtype=np.int32), deterministic=True)
    np.testing.assert_array_equal(whole, policy.predict(np.ones(60), deterministic=True)[0])


def test_sampled_actions_spread_as_the_policy_says(model, observations):
    policy, rows = steer(model).toward(0), np.repeat(observations[:1], 4000, 0)
    actions, _ = policy.predict(rows)
    mean, deviation = model.action_distribution(
        torch.from_numpy(observations[:1]).float(), torch.from_numpy(policy.context[None]).float()
    )
    np.testing.assert_allclose(actions.mean(0), mean[0].numpy(), atol=0.1 * float(deviation.max()))
    np.testing.assert_allclose(actions.std(0), deviation[0].numpy(), rtol=0.06)


@pytest.fixture(scope="module")
def styled():
    torch.manual_seed(0)
    return ModeModel(UnbraidConfig(n_modes=3, style="on"), observation_size=60, action_size=2).eval()


def test_a_single_mode_of_a_mixture_acts_by_its_parts_and_a_product_by_its_gaussian(observations):
    torch.manual_seed(0)
    model = ModeModel(UnbraidConfig(n_modes=2, policy_head="mixture"), observation_size=60, action_size=2).eval()
    with torch.no_grad():
        model.policy.trunk[-1].weight.mul_(20)  # parts that lie apart
        model.policy.log_std_of_context.bias.fill_(-10)
    n, one = 4000, observations[:1]
    noise, never = np.random.default_rng(0).standard_normal((n, 2)), np.zeros(n, bool)
    seen, many = torch.from_numpy(one).float(), np.repeat(one, n, axis=0)
    mean, deviation = model.action_distribution(seen, model.contexts[:1])
    weights, means, _ = (values[0].detach().numpy() for values in model.policy.components(seen, model.contexts[:1]))

    sampled, _ = steer(model).toward(0).act(many, None, never, noise)
    apart = np.linalg.norm(sampled[:, None] - means, axis=2)  # an untrained model scales nothing
    nearest = np.bincount(apart.argmin(1), minlength=len(means)) / n
    np.testing.assert_allclose(nearest, np.exp(weights), atol=0.03)
    np.testing.assert_allclose(sampled.mean(0), mean[0], atol=0.1)
    np.testing.assert_allclose(sampled.std(0), deviation[0], rtol=0.1)
    still, _ = steer(model).toward(0).act(one, None, never[:1], np.zeros((1, 2)))
    np.testing.assert_allclose(still, mean, atol=1e-5)

    product = steer(model).toward(0).away(1)
    sampled, _ = product.act(many, None, never, noise)
    still, _ = product.act(one, None, never[:1], np.zeros((1, 2)))
    spread = (sampled - still) / noise
    np.testing.assert_allclose(spread, np.broadcast_to(spread[:1], spread.shape), rtol=1e-3)


def test_a_style_is_kept_whatever_comes_before_or_after(styled, observations):
    first = steer(styled).style(0.8).toward(1)
    then = steer(styled).toward(1).style(0.8)
    assert first.style_quantile == then.style_quantile == 0.8
    one, other, typical = (p.predict(observations, deterministic=True)[0] for p in (first, then, then.style(0.5)))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - typical).max() > 1e-4
    assert steer(styled).blend({0: 0.5, 2: 0.5}).style(1.0).predict(observations)[0].shape == (70, 2)


def test_a_style_gives_a_new_policy_and_leaves_the_old(styled):
    old = steer(styled).toward(0)
    assert old.style(0.2).style_quantile == 0.2
    assert old.style_quantile == 0.5


@pytest.mark.parametrize("quantile", [-0.01, 1.5, float("nan")])
def test_a_style_that_does_not_exist_is_refused(styled, quantile):
    with pytest.raises(ConfigError, match=r"A style must lie in \[0, 1\]; got"):
        steer(styled).style(quantile)


def test_a_model_without_styles_is_not_asked_for_one(model):
    with pytest.raises(ConfigError, match=r"must have styles; this one was fitted without\. Fit with style on"):
        steer(model).style(0.5)


@pytest.mark.parametrize("n", [1, 3, 64, 70])
def test_with_a_style_too_a_row_gets_the_same_action_whatever_runs_beside_it(styled, observations, n):
    policy = steer(styled).toward(2).style(0.7)
    all_, some = (policy.predict(rows, deterministic=True)[0] for rows in (observations, observations[:n]))
    np.testing.assert_array_equal(some, all_[:n])


def test_predict_has_the_shapes_of_stable_baselines(model, observations):
    policy = steer(model).toward(0)
    state = (np.ones(3),)
    one, handed_back = policy.predict(observations[0], state, np.array([True]), True)
    many, _ = policy.predict(observations, deterministic=True)
    assert one.shape == (2,)
    assert many.shape == (70, 2)
    assert handed_back is state
    np.testing.assert_array_equal(one, many[0])


@pytest.mark.parametrize("n", [1, 3, 64, 70])
def test_a_row_gets_the_same_action_whatever_runs_beside_it(model, observations, n):
    policy, noise = steer(model).toward(0), np.random.default_rng(1).normal(size=(70, 2))
    all_, _ = policy.act(observations, None, np.zeros(70, dtype=bool), noise)
    some, _ = policy.act(observations[:n], None, np.zeros(n, dtype=bool), noise[:n])
    np.testing.assert_array_equal(some, all_[:n])


def test_the_seed_of_sampled_actions_suffices_and_matters(model, observations):
    def drawn(seed):
        return steer(model, seed=seed).toward(0).predict(observations)[0]

    np.testing.assert_array_equal(drawn(0), drawn(0))
    assert (drawn(0) != drawn(1)).any()


def test_actions_are_clipped_to_the_bounds(model, observations):
    policy = steer(model, action_bounds=(np.full(2, -0.01), np.full(2, 0.01))).toward(0)
    assert np.abs(policy.predict(observations)[0]).max() <= 0.01


def test_actions_are_clipped_to_the_bounds_of_the_demonstrations_unless_others_are_given(model, observations):
    free = steer(model).toward(0).predict(observations, deterministic=True)[0]
    bounded = copy.deepcopy(model)
    bounded.action_bounds = (np.array([-0.01, -np.inf]), np.array([0.01, 0.02]))
    acted = steer(bounded).toward(0).predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(acted, np.clip(free, *bounded.action_bounds))
    given = steer(bounded, action_bounds=(np.full(2, -np.inf), np.full(2, np.inf))).toward(0)
    np.testing.assert_array_equal(given.predict(observations, deterministic=True)[0], free)


def test_stable_baselines_evaluates_it_as_it_is(model):
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    env = Monitor(gymnasium.make("unbraid/PointGoal1-v0", max_episode_steps=20))
    mean, _ = evaluate_policy(steer(model).toward(0), env, n_eval_episodes=2)
    assert np.isfinite(mean)


def test_a_wrong_shape_raises(model):
    with pytest.raises(jaxtyping.TypeCheckError):
        steer(model).toward(0).act(np.zeros(60), None, np.zeros(1, dtype=bool), np.zeros((1, 2)))


def test_it_is_public():
    assert unbraid.steer is steer


def test_bounds_are_clipped_to_and_may_be_one_number_for_all(model, observations):
    free = drawn(steer(model).toward(0), observations, np.zeros((70, 2)))
    for bounds in ((np.full(2, -0.01), np.full(2, 0.01)), (-0.01, 0.01)):
        policy = inspect.unwrap(steer)(model, action_bounds=bounds).toward(0)
        np.testing.assert_array_equal(policy.predict(observations, deterministic=True)[0], np.clip(free, -0.01, 0.01))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"action_bounds": (np.ones(2), -np.ones(2))}, "none of the lower above its higher; actuator 0 has 1 and -1"),
        ({"action_bounds": (np.array([-1, np.nan]), np.ones(2))}, "actuator 1 has nan and 1"),
        ({"action_bounds": (np.zeros(3), np.ones(3))}, "each one number or 2, one for each actuator"),
        ({"action_bounds": 1.0}, "must be \\(low, high\\)"),
        ({"action_bounds": ("a", "b")}, "must be \\(low, high\\)"),
        ({"seed": -1}, "`seed` must be a whole number >= 0; got -1"),
        ({"seed": "x"}, "`seed` must be a whole number >= 0; got 'x'"),
        ({"seed": 1.5}, "`seed` must be a whole number"),
    ],
)
def test_bounds_and_seeds_that_are_none_are_refused(model, asked, said):
    with pytest.raises(ConfigError, match=said):
        inspect.unwrap(steer)(model, **asked)
