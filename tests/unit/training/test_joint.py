"""unbraid's own method: it finds who is who, each of its changes is a switch, and it never looks at a label."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit, learner_for
from unbraid.training.joint import UnbraidLearner
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps


def same_partition(found, labels):
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(found.tolist()))


@pytest.mark.parametrize("n_labels", [2, 4])
def test_it_finds_who_is_who_on_new_episodes(reflexes, n_labels):
    """NMI 1 on held-out episodes, and every mode's policy is its expert's, from fewer than 200 gradient steps."""
    config = UnbraidConfig(
        n_modes=n_labels,
        n_steps=190,
        search_steps=60,
        policy_batch=256,
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
        assert 0.05 < float(deviation.median()) < 0.4  # 0.1 is the truth, and what the mean has yet to learn


def test_a_mode_acts_within_the_bounds_that_its_demonstrations_show(reflexes, clipped, tiny, tmp_path):
    demos = clipped(reflexes())
    config = tiny("unbraid", n_steps=150)
    model = fit(demos, config)
    states, contexts = 3 * torch.from_numpy(demos.observations), model.contexts[0].expand(len(demos.observations), -1)
    mean, deviation = model.action_distribution(states, contexts)
    assert float(mean.abs().max()) == pytest.approx(0.5)
    assert int((mean.abs() > 0.49999).sum()) > 1, "and lies on them where it would go beyond"
    assert bool((deviation > 0).all())
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert torch.equal(again.action_distribution(states, contexts)[0], mean)
    assert again.fingerprint() == model.fingerprint()


def test_actions_that_do_not_pile_up_have_no_bounds(demos, tiny):
    policy = learner_for(demos, tiny("unbraid")).model.policy
    assert policy.low is None
    assert policy.high is None


def test_the_talks_policy_knows_no_bounds(demos, clipped, tiny):
    assert learner_for(clipped(demos), tiny("talk")).model.policy.low is None


@pytest.mark.parametrize(
    "switch",
    [
        {},
        {"codes": "free"},
        {"evidence": "actions"},
        {"evidence": "transitions"},
        {"starts": "random"},
        {"sharing": "window"},
    ],
    ids=str,
)
def test_each_change_can_be_switched_off(demos, tiny, switch):
    model = fit(demos, tiny("unbraid", **({"starts": "several", "n_steps": 5, "search_steps": 5} | switch)))
    assert all(torch.isfinite(value).all() for n, value in model.state_dict().items() if not n.endswith("clip"))
    assert model.predict(demos).shape == (demos.n_episodes,)
    kinds = set(model.search["gain_of_kind_nats"])
    assert ("actions" in kinds) == (switch.get("evidence") != "transitions")
    assert ("transitions to the end" in kinds) == (switch.get("evidence") != "actions")
    assert model.search["n_spans"] == (48 if "sharing" in switch else 12)


def test_free_codes_are_asked_for_by_their_own_distances(demos, tiny):
    model = fit(demos, tiny("unbraid", codes="free", n_modes=3))
    assert float(model.contexts.diagonal().abs().max()) < 1e-5
    codes = model.codebook.codes().detach()
    torch.testing.assert_close(model.contexts, torch.cdist(codes, codes).square(), atol=1e-5, rtol=1e-3)


def test_simplex_codes_are_asked_for_by_the_not_hot_context_itself(demos, tiny):
    assert torch.equal(fit(demos, tiny("unbraid", n_modes=3)).contexts, 1 - torch.eye(3))


def test_neither_labels_nor_rewards_have_a_say(demos, tiny, same_weights):
    config = tiny("unbraid", starts="several", n_steps=5, search_steps=5)
    swapped = dataclasses.replace(
        demos,
        labels=demos.labels[::-1].copy(),
        rewards=np.arange(demos.n_steps, dtype=float),
        costs=np.ones(demos.n_steps),
    )
    first, *others = (fit(given, config) for given in (demos, demos.without_labels(), swapped))
    assert all(same_weights(first, other) for other in others)


def test_the_seed_suffices_and_matters(demos, tiny, same_weights):
    first, again, other = (
        fit(demos, tiny("unbraid", starts="several", n_steps=5, search_steps=5, seed=seed)) for seed in (1, 1, 2)
    )
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_a_fit_leaves_the_global_generators_alone(demos, tiny):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(demos, tiny("unbraid", starts="several", n_steps=5, search_steps=5))
    assert torch.equal(torch.rand(3), expected)


def test_windows_of_the_encoder_lie_in_one_episode(tiny, reflexes):
    parts = [reflexes(n_per_label=1, n_steps=n, seed=n) for n in (4, 7, 26, 33)]
    demos = Demos.from_episodes([e for part in parts for e in part])
    learner = learner_for(demos, tiny("unbraid", window_lengths=(5, 30, 1000))).first
    assert learner.windows.window_lengths == [5, 30, 33]  # beyond every episode: the longest
    lengths = set()
    for _ in range(60):
        chosen = learner.windows.drawn()
        lengths.add(chosen.shape[1])
        of_step = learner.steps.episodes[chosen]
        assert (of_step == of_step[:, :1]).all()
        assert all(len(set(row)) == len(row) for row in chosen.tolist())
    assert lengths == {5, 25}  # at most 25 steps of each


def test_empty_episodes_are_no_spans(tiny, reflexes):
    """Two recorded episodes among many empty ones are two spans, and the windows lie in them."""
    empty = Episode(observations=np.zeros((1, 3), dtype=np.float32), actions=np.zeros((0, 2), dtype=np.float32))
    recorded = list(reflexes(n_per_label=1))
    demos = Demos.from_episodes([empty, recorded[0], empty, empty, recorded[1], empty])
    learner = learner_for(demos, tiny("unbraid")).first
    assert learner.responsibilities.shape == (2, 2)
    assert learner.spans[torch.arange(80)].tolist() == [0] * 40 + [1] * 40
    learner.step()


def test_responsibilities_stay_what_the_search_found(demos, tiny):
    learner = learner_for(demos, tiny("unbraid")).first
    found = learner.responsibilities.clone()
    for _ in range(20):
        terms = learner.step()
    assert torch.equal(learner.responsibilities, found)
    assert set(terms) == {"loss", "policy", "encoder", "commitment"}
    assert learner.usage().tolist() == pytest.approx(found.mean(0).tolist(), abs=0.1)
    assert learner.usage().sum() == pytest.approx(1)


def paced(*, calm, wild):
    """Two experts that act by the same kind of rule: one with small actions, one with large ones."""
    generator = np.random.default_rng(0)

    def episode(number):
        observations = generator.normal(size=(31, 3)).astype(np.float32)
        scale = wild if number % 2 else calm
        actions = scale * observations[:-1, :2] + 0.05 * generator.normal(size=(30, 2))
        return Episode(observations=observations, actions=actions.astype(np.float32), label=number % 2)

    return Demos.from_episodes([episode(number) for number in range(16)], label_names=["even", "odd"])


@pytest.mark.parametrize(("calm", "wild", "first"), [(0.3, 2.0, 0), (2.0, 0.3, 1)])
def test_the_calmest_mode_comes_first(tiny, calm, wild, first):
    for seed in range(2):
        learner = learner_for(
            paced(calm=calm, wild=wild), tiny("unbraid", starts="several", search_steps=60, seed=seed)
        ).first
        assert learner.responsibilities.argmax(1).tolist() == [first, 1 - first] * 8


# As many modes as there are


@pytest.mark.parametrize("n_labels", [1, 2, 3])
def test_auto_gives_a_model_of_as_many_modes_as_are_supported(reflexes, tiny, tmp_path, same_weights, n_labels):
    demos = reflexes(n_labels=n_labels, n_per_label=24 // n_labels)
    config = tiny("unbraid", n_modes="auto", starts="several", search_steps=100)
    model = fit(demos, config)
    assert model.n_modes == model.config.n_modes == n_labels
    taken = {"policy_head": "gaussian", "encoder": "mean", "policy_layer_norm": "off"}
    assert model.config == dataclasses.replace(config, n_modes=n_labels, **taken)
    assert model.contexts.shape == (n_labels, n_labels)
    assert model.search["n_supported"] == model.search["n_modes"] == n_labels
    assert set(model.predict(demos).tolist()) <= set(range(n_labels))
    action, _ = steer(model).toward(0).predict(demos.observations[:5], deterministic=True)
    assert action.shape == (5, 2)
    assert np.isfinite(action).all()

    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert same_weights(again, model)
    assert again.config == model.config
    assert again.search == model.search == json.loads((tmp_path / "model" / "search.json").read_text())
    np.testing.assert_array_equal(steer(again).toward(0).predict(demos.observations[:5], deterministic=True)[0], action)


def test_codes_that_the_encoder_does_not_use_are_said_with_a_remedy(reflexes, tiny):
    demos = reflexes(n_labels=3, n_per_label=8)
    learner = learner_for(demos, tiny("unbraid", n_modes=3, starts="several", search_steps=100, n_steps=150)).first
    while learner.taken < learner.n_steps:
        learner.step()
    facts = learner.finished().search
    assert facts["warnings"] == []
    assert facts["encoder_perplexity"] == pytest.approx(3, abs=0.3)
    assert sum(facts["encoder_shares"]) == pytest.approx(1)
    assert sum(facts["window_shares"]) == pytest.approx(1)  # what is due, of the same windows
    with torch.no_grad():  # an encoder that says the same of everything
        last = learner.model.encoder.of_mean[-1]
        last.weight.zero_()
        last.bias.copy_(learner.model.codebook.codes()[1])
    facts = learner.finished().search
    assert facts["encoder_perplexity"] == pytest.approx(1)
    assert [said.split(" in ")[0] for said in facts["warnings"]] == [
        "The encoder reads mode 0",
        "The encoder reads mode 2",
    ]
    assert all("more gradient steps" in said for said in facts["warnings"])


def test_demonstrations_that_are_read_in_another_mode_than_they_were_put_in_are_said_with_a_remedy(reflexes, tiny):
    demos = reflexes(n_labels=2, n_per_label=8)
    learner = learner_for(demos, tiny("unbraid", n_modes=2, starts="several", search_steps=100, n_steps=150)).first
    while learner.taken < learner.n_steps:
        learner.step()
    put = learner.responsibilities.argmax(1)
    read = torch.from_numpy(learner.model.predict(demos))
    assert learner.finished().search["warnings"] == []
    assert (read == put).all()
    for n_misread, is_said in ((1, False), (2, True), (8, True)):
        moved = put.clone()
        moved[::2][:n_misread] = 1 - moved[::2][:n_misread]
        learner.responsibilities = torch.nn.functional.one_hot(moved, 2).float()
        said = [w for w in learner.finished().search["warnings"] if "another mode" in w]
        assert len(said) == is_said
        assert all(
            f"{n_misread} of 16 demonstrations that the search was sure of" in w and "more gradient steps" in w
            for w in said
        )
    learner.responsibilities = 0.5 + 0.3 * (learner.responsibilities - 0.5)  # what the search was not sure of
    assert not any("another mode" in w for w in learner.finished().search["warnings"])


def test_encoder_and_policy_learn_the_same_side_by_side_as_one_after_the_other(demos, tiny, same_weights):
    beside, after = (learner_for(demos, tiny("unbraid", n_modes=2)).first for _ in range(2))
    assert beside._side_by_side is not None
    after._side_by_side = None
    for _ in range(5):
        assert beside.step() == after.step()
    assert same_weights(beside.model, after.model)


def test_the_search_says_whether_the_number_asked_for_was_right(reflexes, tiny):
    demos = reflexes(n_labels=2, n_per_label=10)
    for asked, said in ((2, "supports 2 modes"), (3, "3 are too many, by 1")):
        learner = learner_for(demos, tiny("unbraid", n_modes=asked, starts="several", search_steps=100)).first
        assert said in learner.search_facts["verdict"]
        assert learner.model.n_modes == asked


def test_a_config_that_is_too_early_makes_no_model():
    with pytest.raises(ValueError, match="a fit finds it first"):
        ModeModel(UnbraidConfig(n_modes="auto"), observation_size=3, action_size=2)


# What is refused

TOO_LONG = r"At least 2 episodes must have the 50 steps of a window; 0 of 12 have .* Use a window of at most 40 steps"


@pytest.mark.parametrize(
    ("method", "settings", "error", "message"),
    [
        ("unbraid", {"n_modes": 1}, ConfigError, r"n_modes must be at least 2; got 1\. With one mode there is nothing"),
        ("talk", {"n_modes": 1}, ConfigError, r"n_modes must be at least 2; got 1\. With one mode there is nothing"),
        (
            "unbraid",
            {"n_modes": 13},
            ConfigError,
            r"at most the number of episodes, .*; got 13 modes for 12 episodes with steps\. Ask for fewer",
        ),
        (
            "unbraid",
            {"n_modes": 97, "sharing": "window"},
            ConfigError,
            r"at most the number of windows; got 97 modes for 96 .* Ask for fewer",
        ),
        (
            "talk",
            {"n_modes": 481},
            ConfigError,
            r"at most the number of windows; got 481 modes for 480 .* Ask for fewer",
        ),
        ("talk", {"delta_steps": 50}, DataError, TOO_LONG),
    ],
)
def test_settings_that_do_not_fit_the_data_say_what_must_hold_and_what_to_do(
    demos, tiny, method, settings, error, message
):
    with pytest.raises(error, match=message):
        fit(demos, tiny(method, **settings))


@pytest.mark.parametrize("n_steps", [1, 7])
def test_windows_are_no_longer_than_two_episodes(tiny, reflexes, n_steps):
    model = fit(
        reflexes(n_steps=n_steps, n_per_label=8), tiny("unbraid", window_lengths=(10, 25), calibration="left_out")
    )
    assert model.config.window_lengths == (n_steps,)
    assert all(torch.isfinite(weights).all() for weights in model.parameters())


def test_windows_of_which_some_fit_stay_as_they_were_asked(demos, tiny):
    config = tiny("unbraid", window_lengths=(40, 60))
    assert fit(demos, config).config.window_lengths == (40, 60)


@pytest.mark.parametrize("method", ["unbraid", "talk"])
def test_one_episode_is_refused(demos, tiny, method):
    with pytest.raises(DataError, match=r"at least 2 episodes; got 1\. Record more, or cut"):
        fit(demos.select([0]), tiny(method))


@pytest.mark.parametrize("method", ["unbraid", "talk"])
@pytest.mark.parametrize(("field", "row"), [("observations", 85), ("actions", 83)])
def test_a_number_that_is_none_is_found_by_its_episode(demos, tiny, method, field, row):
    values = getattr(demos, field).copy()
    values[row, 1] = np.nan
    with pytest.raises(DataError, match=rf"[Ee]pisode 2.*{field}\[1\]"):
        fit(dataclasses.replace(demos, **{field: values}), tiny(method))


def test_numbers_of_steps_and_of_a_batch_follow_the_demonstrations():
    config = UnbraidConfig()
    assert [config.sized_for(n).n_steps for n in (10, 100_000, 150_000, 10**8)] == [1500, 1500, 2250, 15_000]
    assert [config.sized_for(n).policy_batch for n in (10, 50_000, 10**8)] == [256, 500, 1024]
    assert [config.sized_for(n).weight_decay for n in (10, 20_000, 100_000)] == [0.5, 0.5, 0.1]
    assert [config.joint_loss_for(n) for n in (10, 20_000, 20_001)] == ["likelihood", "likelihood", "beta"]
    assert [config.sized_for(n).policy_layer_norm for n in (10, 20_000, 20_001)] == ["off", "off", "on"]
    asked = UnbraidConfig(n_steps=7, policy_batch=9, weight_decay=0.3, policy_loss="huber", policy_layer_norm="off")
    assert asked.sized_for(10**8) == asked
    assert asked.joint_loss_for(10) == "huber"


def test_more_modes_than_demonstrations_are_refused(demos):
    with pytest.raises(ConfigError, match=r"at least as many demonstrations as modes; got \d+ for 99 modes"):
        UnbraidLearner(Steps.of(demos), UnbraidConfig(n_modes=99))


# Experts that change within an episode


@pytest.fixture(scope="module")
def taking_over():
    """(demonstrations, the expert of each step): from about the middle of every episode, the other expert acts."""

    def make(seed, n_episodes=16, n_steps=100):
        generator = np.random.default_rng(seed)
        episodes, experts = [], []
        for first in np.arange(n_episodes) % 2:
            own = np.where(np.arange(n_steps) < generator.integers(30, 70), first, 1 - first)
            seen = generator.normal(size=(n_steps + 1, 3)).astype(np.float32)
            sign = np.where(own == 0, 1.0, -1.0)[:, None]
            done = sign * seen[:-1, :2] + 0.4 * generator.normal(size=(n_steps, 2))
            episodes.append(Episode(observations=seen, actions=done.astype(np.float32)))
            experts.append(own)
        return Demos.from_episodes(episodes), np.concatenate(experts)

    return make


def small(**settings):
    sizes = {"n_steps": 250, "search_steps": 60, "policy_batch": 256, "window_batch": 32, "learning_rate": 1e-2}
    return UnbraidConfig(**(sizes | {"policy_hidden": (32, 32), "window_lengths": (5, 10)} | settings))


def test_experts_that_take_over_are_told_apart_step_by_step(taking_over):
    (training, _), (held_out, experts) = taking_over(0), taking_over(1)
    model = fit(training, small())
    assert model.search["changes"]["within_episodes"]
    assert 14 <= model.search["changes"]["n_changes"] <= 18
    assert 1 / 200 < model.switch_rate < 1 / 50
    found = model.timeline(held_out)
    agreeing = (found.modes == experts).mean()
    assert max(agreeing, 1 - agreeing) > 0.98
    assert 14 <= len(found.change_points) <= 18


def test_it_is_for_the_asker_to_say_whether_experts_change(taking_over, demos, tiny):
    training, _ = taking_over(0)
    model = fit(training, small(sharing="episode", n_steps=5))
    assert (model.search["changes"], model.switch_rate) == (None, 0)
    quick = {"starts": "several", "n_steps": 5, "search_steps": 30}
    for sharing in ("auto", "changing"):
        told = fit(demos, tiny("unbraid", sharing=sharing, **quick)).search["changes"]
        assert (told["within_episodes"], told["n_changes"]) == (False, 0)


def test_the_bound_may_be_told_who_acts_at_every_step(taking_over):
    from unbraid.evaluation.baselines import supervised_fit

    (training, told), (held_out, experts) = taking_over(0), taking_over(1)
    model = supervised_fit(training, small(), labels_of_steps=told)
    assert (model.timeline(held_out).modes == experts).mean() > 0.98
    assert model.search is None
