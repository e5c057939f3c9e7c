"""Instructions that change within an episode, and from episode to episode."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.steering.schedules import by_episode, in_turn
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.rollout import first_noise, rollout

WORLD = "Pendulum-v1"


@pytest.fixture(scope="module")
def modes():
    torch.manual_seed(0)
    model = ModeModel(UnbraidConfig(n_modes=2), observation_size=3, action_size=1).eval()
    return [steer(model).toward(mode) for mode in (0, 1)]


def test_in_turn_each_acts_from_its_step_on(modes):
    one, other, both = (
        rollout(policy, WORLD, seeds=[1, 2, 3], max_steps=12)
        for policy in (modes[0], modes[1], in_turn({0: modes[0], 5: modes[1]}))
    )
    for alone, switched in zip(one.demos, both.demos, strict=True):
        np.testing.assert_array_equal(switched.actions[:5], alone.actions[:5])
        assert np.abs(switched.actions[5:] - alone.actions[5:]).max() > 1e-3
    assert np.abs(other.demos.actions - both.demos.actions).max() > 1e-3


@pytest.mark.parametrize("n_envs", [1, 3])
def test_by_episode_each_has_its_share_whatever_runs_beside(modes, n_envs):
    seeds = list(range(40))
    alone = [rollout(policy, WORLD, seeds=seeds, max_steps=3).demos for policy in modes]
    schedule = by_episode({modes[0]: 0.25, modes[1]: 0.75})
    mixed = rollout(schedule, WORLD, seeds=seeds, max_steps=3, n_envs=n_envs).demos
    of_whom = [
        [np.array_equal(own.actions, made.actions) for own in both] for *both, made in zip(*alone, mixed, strict=True)
    ]
    assert all(sum(found) == 1 for found in of_whom)
    assert sum(first for first, _ in of_whom) in range(4, 17)
    assert schedule.begins_with(first_noise(seeds, 1)).tolist() == [int(second) for _, second in of_whom]
    assert in_turn({0: modes[0], 2: modes[1]}).begins_with(first_noise(seeds, 1)).tolist() == [0] * 40


def test_predict_counts_the_steps_of_each_episode(modes):
    schedule, observations = in_turn({0: modes[0], 2: modes[1]}), np.random.default_rng(0).normal(size=(3, 3))
    expected = [policy.predict(observations, deterministic=True)[0] for policy in modes]
    state = None
    for step in range(3):
        starts = np.array([step == 0, step == 0, step in (0, 1)])  # the third begins again at step 1
        actions, state = schedule.predict(observations, state, starts, deterministic=True)
        whose = [int(step >= 2), int(step >= 2), 0]
        np.testing.assert_array_equal(actions, [expected[policy][row] for row, policy in enumerate(whose)])
    assert schedule.predict(observations[0])[0].shape == (1,)


def test_predict_samples_unless_it_is_told_not_to_and_its_seed_suffices(modes):
    seen = np.ones((4, 3))
    seeded = [in_turn({0: steer(modes[0].model, seed=seed).toward(0), 3: modes[1]}) for seed in (7, 7, 8)]
    first, same, other = (schedule.predict(seen)[0] for schedule in seeded)
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()
    assert len(np.unique(first)) == 4  # each row with noise of its own
    assert (seeded[0].predict(seen)[0] != first).all()
    certain, again = (seeded[0].predict(seen, deterministic=True)[0] for _ in range(2))
    np.testing.assert_array_equal(certain, again)
    np.testing.assert_allclose(certain, modes[0].predict(seen, deterministic=True)[0])


def test_a_state_that_was_given_is_not_changed(modes):
    schedule, seen = in_turn({0: modes[0], 2: modes[1]}), np.ones((2, 3))
    _, state = schedule.predict(seen)
    kept = state[0].copy()
    schedule.predict(seen, state, np.array([True, False]))
    np.testing.assert_array_equal(state[0], kept)


def test_each_of_three_has_its_share_of_episodes(modes):
    third = steer(modes[0].model).blend({0: 0.5, 1: 0.5})
    schedule = by_episode({modes[0]: 0.2, modes[1]: 0.5, third: 0.3})
    who = schedule.begins_with(np.random.default_rng(0).standard_normal((8000, 1)))
    np.testing.assert_allclose(np.bincount(who) / 8000, [0.2, 0.5, 0.3], atol=0.02)
    assert schedule.rule == {"shares": [0.2, 0.5, 0.3]}
    with pytest.raises(ConfigError, match="must be > 0 and sum to 1"):
        by_episode({})
    with pytest.raises(ConfigError, match="A schedule must be of steered policies"):
        by_episode({modes[0]: 0.5, steer(modes[0].model): 0.5})


@pytest.mark.parametrize("steps", [[], [1, 5], [-1, 0]])
def test_a_schedule_that_does_not_begin_is_refused(modes, steps):
    with pytest.raises(ConfigError, match="must begin at step 0"):
        in_turn(dict.fromkeys(steps, modes[0]))


@pytest.mark.parametrize("shares", [(0.5, 0.4), (0.0, 1.0), (float("nan"), 1.0)])
def test_shares_that_do_not_add_up_are_refused(modes, shares):
    with pytest.raises(ConfigError, match="must be > 0 and sum to 1"):
        by_episode(dict(zip(modes, shares, strict=True)))


@pytest.mark.usefixtures("unchecked")
def test_policies_that_are_not_steered_yet_and_schedules_of_schedules_are_refused(modes):
    for nobody in (steer(modes[0].model), in_turn({0: modes[0]})):
        with pytest.raises(ConfigError, match="A schedule must be of steered policies"):
            in_turn({0: nobody})
    with pytest.raises(ConfigError, match="at whole steps"):
        in_turn({0: modes[0], 1.5: modes[1]})


@pytest.mark.parametrize("kind", [bool, int, float])
def test_where_an_episode_begins_may_be_told_in_numbers(modes, kind):
    """Stable-Baselines3's own wrappers give ones and zeros."""
    schedule, seen = in_turn({0: modes[0], 1: modes[1]}), np.ones((2, 3))
    _, state = schedule.predict(seen, episode_start=np.array([1, 1]).astype(kind), deterministic=True)
    actions, state = schedule.predict(seen, state, np.array([0, 1]).astype(kind), deterministic=True)
    assert state[0][:, 0].tolist() == [2, 1]
    due = [mode.predict(seen, deterministic=True)[0] for mode in (modes[1], modes[0])]
    np.testing.assert_allclose(actions, [due[0][0], due[1][1]], rtol=1e-5)


@pytest.mark.parametrize("told", [np.array([True]), np.array(["no", "yes"]), np.ones((2, 2))])
def test_where_an_episode_begins_must_be_told_of_each_row(modes, told):
    with pytest.raises(ConfigError, match="`episode_start` must say of each of 2 observations"):
        in_turn({0: modes[0]}).predict(np.ones((2, 3)), None, told)


def test_who_acts_does_not_hang_on_the_part_of_a_mixture_that_does():
    """Of two policies that are the same, the first actions are alike: numbers for the one are none for the other."""
    torch.manual_seed(0)
    config = UnbraidConfig(n_modes=2, policy_hidden=(8,), policy_head="mixture")
    model = ModeModel(config, observation_size=3, action_size=1).eval()
    with torch.no_grad():
        model.policy.trunk[-1].weight *= 20  # so that the parts lie apart
    one, same = steer(model).toward(0), steer(model).toward(0)
    schedule, noise = by_episode({one: 0.5, same: 0.5}), np.random.default_rng(0).standard_normal((4096, 1))
    who = schedule.begins_with(noise)
    actions, _ = one.act(np.ones((4096, 3)), None, np.ones(4096, dtype=bool), noise)
    apart = abs(actions[who == 0].mean() - actions[who == 1].mean())
    assert apart < 4 * actions.std() * np.sqrt(4 / 4096)
    assert 0.4 < who.mean() < 0.6


@pytest.mark.usefixtures("unchecked")
def test_steps_may_be_numpys_whole_numbers(modes):
    schedule = in_turn({np.int64(5): modes[1], 0: modes[0]})
    assert schedule.rule == {"first_steps": [0, 5]}
    assert all(type(step) is int for step in schedule.rule["first_steps"])
    with pytest.raises(ConfigError, match="whole steps"):
        in_turn({0: modes[0], 2.5: modes[1]})


def test_policies_of_models_with_other_widths_are_refused(modes):
    wider = steer(ModeModel(UnbraidConfig(n_modes=2), observation_size=3, action_size=2)).toward(0)
    for make in (lambda: in_turn({0: modes[0], 5: wider}), lambda: by_episode({wider: 0.5, modes[0]: 0.5})):
        with pytest.raises(ConfigError, match=r"must be of models with the same numbers .* got 3 and 1, and 3 and 2\."):
            make()


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_mapping_or_no_share_is_refused(modes):
    for make, said in (
        (lambda: by_episode([modes[0]]), "by_episode must be given a mapping"),
        (lambda: in_turn([modes[0]]), "in_turn must be given a mapping"),
        (lambda: by_episode({modes[0]: "a"}), "shares of episodes must be > 0"),
        (lambda: by_episode({modes[0]: None, modes[1]: 1.0}), "shares of episodes must be > 0"),
    ):
        with pytest.raises(ConfigError, match=said):
            make()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("state", [(np.zeros((3, 2)),), (np.zeros(2),), np.zeros((2, 2)), ()])
def test_a_state_of_other_environments_is_refused(modes, state):
    """As when one environment is looked at with the state of four."""
    with pytest.raises(ConfigError, match=r"`state` must be .* a tuple of one array \(2, 2\); got .*Hand it back"):
        in_turn({0: modes[0], 1: modes[1]}).predict(np.ones((2, 3)), state)
