"""unbraid's own method: it finds who is who, each of its changes is a switch, and it never looks at a label."""

import dataclasses

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.training import joint, proposal
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit, learner_for


def same_partition(found, labels):
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(found.tolist()))


@pytest.fixture
def quick_proposal(monkeypatch):
    monkeypatch.setattr(proposal, "GRADIENT_STEPS", 20)
    monkeypatch.setattr(proposal, "BATCH", 128)


@pytest.mark.parametrize("n_labels", [2, 4])
def test_it_finds_who_is_who_on_new_episodes(reflexes, n_labels):
    """NMI 1 on held-out episodes, and every mode's policy is its expert's, from fewer than 200 gradient steps."""
    config = UnbraidConfig(
        n_modes=n_labels,
        n_steps=190,
        policy_batch=512,
        window_batch=32,
        policy_hidden=(64, 64),
        window_lengths=(10, 25),
    )
    training, held_out = (reflexes(n_labels=n_labels, n_per_label=8, seed=seed) for seed in (0, 1))
    model = fit(training, config)
    for evidence in ("combined", "encoder", "policy"):
        assert same_partition(model.predict(held_out, evidence=evidence), held_out.labels), evidence
    windows = model.predict(held_out, window_steps=20, stride_steps=20)
    assert same_partition(windows, held_out.labels.repeat(2))
    mode_of_label = {int(held_out.labels[e]): int(m) for e, m in enumerate(model.predict(held_out))}
    states = torch.from_numpy(held_out.observations[:200])
    for label, mode in mode_of_label.items():
        mean, deviation = model.action_distribution(states, model.contexts[mode].expand(200, -1))
        wanted = {0: states[:, 0], 1: -states[:, 0], 2: states[:, 1], 3: -states[:, 1]}[label]
        assert float((mean[:, 0] - wanted).square().mean()) < 0.1
        assert 0.05 < float(deviation.median()) < 0.3  # 0.1 is the truth


@pytest.mark.parametrize(
    "switch",
    [
        {"codes": "free"},
        {"evidence": "transitions"},
        {"start": "random"},
        {"sharing": "window"},
        {"hide_echoes": False},
        {"cross_fit": False},
    ],
    ids=str,
)
def test_each_change_can_be_switched_off(demos, tiny, switch, quick_proposal, monkeypatch):
    monkeypatch.setattr(joint, "RESCORE_EVERY", 4)
    model = fit(demos, tiny("unbraid", **({"start": "mixture", "n_steps": 10} | switch)))
    assert all(torch.isfinite(value).all() for n, value in model.state_dict().items() if not n.endswith("clip"))
    assert model.predict(demos).shape == (demos.n_episodes,)


def test_free_codes_are_asked_for_by_their_own_distances(demos, tiny):
    model = fit(demos, tiny("unbraid", codes="free", n_modes=3))
    assert float(model.contexts.diagonal().abs().max()) < 1e-5
    codes = model.codebook.codes().detach()
    torch.testing.assert_close(model.contexts, torch.cdist(codes, codes).square(), atol=1e-5, rtol=1e-3)


def test_simplex_codes_are_asked_for_by_the_not_hot_context_itself(demos, tiny):
    assert torch.equal(fit(demos, tiny("unbraid", n_modes=3)).contexts, 1 - torch.eye(3))


def test_neither_labels_nor_rewards_have_a_say(demos, tiny, same_weights, quick_proposal):
    config = tiny("unbraid", start="mixture")
    swapped = dataclasses.replace(demos, labels=demos.labels[::-1].copy())
    paid = dataclasses.replace(demos, rewards=np.arange(demos.n_steps, dtype=float), costs=np.ones(demos.n_steps))
    first, *others = (fit(given, config) for given in (demos, demos.without_labels(), swapped, paid))
    assert all(same_weights(first, other) for other in others)


def test_the_seed_suffices_and_matters(demos, tiny, same_weights, quick_proposal):
    first, again, other = (fit(demos, tiny("unbraid", start="mixture", seed=seed)) for seed in (1, 1, 2))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_a_fit_leaves_the_global_generators_alone(demos, tiny, quick_proposal):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(demos, tiny("unbraid", start="mixture"))
    assert torch.equal(torch.rand(3), expected)


def test_windows_of_the_encoder_lie_in_one_episode(tiny, reflexes):
    parts = [reflexes(n_per_label=1, n_steps=n, seed=n) for n in (4, 7, 26, 33)]
    demos = Demos.from_episodes([e for part in parts for e in part])
    learner = learner_for(demos, tiny("unbraid", window_lengths=(5, 30, 1000)))
    assert [length for length, _ in learner.window_starts] == [5, 30, 33]  # beyond every episode: the longest
    lengths = set()
    for _ in range(60):
        chosen = learner._windows()
        lengths.add(chosen.shape[1])
        of_step = learner.steps.episode_of_step[chosen]
        assert (of_step == of_step[:, :1]).all()
        assert all(len(set(row)) == len(row) for row in chosen.tolist())
    assert lengths == {5, 25}  # at most 25 steps of each


def test_each_half_is_scored_by_the_policy_of_the_other(demos, tiny):
    learner = learner_for(demos, tiny("unbraid"))
    for _ in range(3):
        learner.step()
    fold = learner.fold_of_episode
    assert sorted(torch.bincount(fold).tolist()) == [6, 6]
    for half in range(2):
        assert set(learner.steps.episode_of_step[learner.folds[half]].tolist()) == set(
            torch.nonzero(fold == half)[:, 0].tolist()
        )
        before = learner._rescored()
        with torch.no_grad():
            for parameter in learner.scorers[half].parameters():
                parameter.add_(torch.randn_like(parameter))
        changed = (learner._rescored() != before).any(1)
        assert torch.equal(changed, fold != half)


def test_without_cross_fitting_both_policies_see_everything(demos, tiny):
    learner = learner_for(demos, tiny("unbraid", cross_fit=False))
    assert [len(among) for among in learner.folds] == [demos.n_steps] * 2


def test_empty_episodes_fill_no_half(tiny, reflexes):
    """Two recorded episodes among many empty ones: one for each half."""
    empty = Episode(observations=np.zeros((1, 3), dtype=np.float32), actions=np.zeros((0, 2), dtype=np.float32))
    recorded = list(reflexes(n_per_label=1))
    for seed in range(5):
        demos = Demos.from_episodes([empty, recorded[0], empty, empty, recorded[1], empty])
        learner = learner_for(demos, tiny("unbraid", seed=seed))
        assert [len(among) for among in learner.folds] == [40, 40]
        learner.step()


def test_responsibilities_are_revised_until_near_the_end(demos, tiny, monkeypatch):
    monkeypatch.setattr(joint, "RESCORE_EVERY", 4)
    learner = learner_for(demos, tiny("unbraid", n_steps=20))
    revised = []
    for _ in range(20):
        before = learner.responsibilities
        learner.step()
        if learner.responsibilities is not before:
            revised.append(learner.taken - 1)
        torch.testing.assert_close(learner.responsibilities.sum(1), torch.ones(demos.n_episodes))
    assert revised == [4, 8, 12, 16]  # 0.85 x 20 = 17
    assert learner.usage().sum() == pytest.approx(1)


def test_the_rate_warms_up_and_comes_down_to_nothing(demos, tiny):
    learner = learner_for(demos, tiny("unbraid", n_steps=200))
    rates = []
    for learner.taken in range(200):
        rates.append(learner._schedule())
    assert rates[0] == pytest.approx(1 / 50)
    assert max(rates) == pytest.approx(rates[49])
    assert rates[-1] < 1e-3


def test_echoes_are_kept_from_the_search(reflexes, tiny):
    demos = reflexes(n_per_label=10, n_steps=80)
    observations = demos.observations.copy()
    for episode in range(demos.n_episodes):
        rows, steps = demos.row_starts, demos.step_starts
        after = slice(rows[episode] + 1, rows[episode + 1])
        observations[after, 2] = demos.actions[steps[episode] : steps[episode + 1], 1]
    echoing = dataclasses.replace(demos, observations=observations)
    assert learner_for(echoing, tiny("unbraid")).shown.tolist() == [1, 1, 0]
    assert learner_for(echoing, tiny("unbraid", hide_echoes=False)).shown.tolist() == [1, 1, 1]


TOO_LONG = r"At least 2 episodes must have the 50 steps of a window; 0 of 12 have .* Use a window of at most 40 steps"


@pytest.mark.parametrize(
    ("method", "settings", "error", "message"),
    [
        ("unbraid", {"n_modes": 1}, ConfigError, r"n_modes must be at least 2; got 1\. With one mode there is nothing"),
        ("talk", {"n_modes": 1}, ConfigError, r"n_modes must be at least 2; got 1\. With one mode there is nothing"),
        (
            "unbraid",
            {"n_modes": 97},
            ConfigError,
            r"at most the number of windows; got 97 modes for 96 .* Ask for fewer",
        ),
        (
            "talk",
            {"n_modes": 481},
            ConfigError,
            r"at most the number of windows; got 481 modes for 480 .* Ask for fewer",
        ),
        ("unbraid", {"window_lengths": (50, 60)}, DataError, TOO_LONG),
        ("talk", {"delta_steps": 50}, DataError, TOO_LONG),
    ],
)
def test_settings_that_do_not_fit_the_data_say_what_must_hold_and_what_to_do(
    demos, tiny, method, settings, error, message
):
    with pytest.raises(error, match=message):
        fit(demos, tiny(method, **settings))


@pytest.mark.parametrize("method", ["unbraid", "talk"])
def test_one_episode_is_refused(demos, tiny, method):
    with pytest.raises(DataError, match=r"at least 2 episodes, as some are held out; got 1\. Record more, or cut"):
        fit(demos.select([0]), tiny(method))


@pytest.mark.parametrize("method", ["unbraid", "talk"])
@pytest.mark.parametrize(("field", "row"), [("observations", 85), ("actions", 83)])
def test_a_number_that_is_none_is_found_by_its_episode(demos, tiny, method, field, row):
    values = getattr(demos, field).copy()
    values[row, 1] = np.nan
    with pytest.raises(DataError, match=rf"[Ee]pisode 2.*{field}\[1\]"):
        fit(dataclasses.replace(demos, **{field: values}), tiny(method))
