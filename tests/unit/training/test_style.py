"""Styles: what varies between demonstrations of one mode is learned, read and steered; the code keeps the mode."""

import dataclasses
import json

import jaxtyping
import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.baselines import supervised_fit
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig, config_from_json, config_to_json
from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions
from unbraid.training.model import ModeModel
from unbraid.training.online import Observer
from unbraid.training.steps import Steps
from unbraid.training.style import STYLE_NATS, SpanStyles, style_readings


def vigorous(seed, *, n_per_label=16, n_steps=60, varying=True):
    """Two experts that act by opposite rules, each episode with a vigour of its own: demonstrations, (episode,) it."""
    generator = np.random.default_rng(seed)
    vigours = generator.uniform(0.5, 1.5, size=2 * n_per_label) if varying else np.ones(2 * n_per_label)

    def episode(number):
        observations = generator.normal(size=(n_steps + 1, 3)).astype(np.float32)
        actions = vigours[number] * (1 - 2 * (number % 2)) * observations[:-1, :2]
        actions = (actions + 0.2 * generator.normal(size=actions.shape)).astype(np.float32)
        return Episode(observations=observations, actions=actions, label=number % 2)

    return Demos.from_episodes([episode(n) for n in range(2 * n_per_label)], label_names=["there", "back"]), vigours


def small(**settings):
    asked = {"n_modes": 2, "n_steps": 500, "search_steps": 60, "policy_batch": 256, "window_batch": 32}
    asked |= {"policy_hidden": (32, 32), "window_lengths": (10, 25), "style": "on", "sharing": "episode"}
    return UnbraidConfig(**(asked | settings))


@pytest.fixture(scope="module")
def model():
    """Told who is who, for the search has tests of its own: mode k is the expert with label k."""
    return supervised_fit(vigorous(0)[0], small())


@pytest.fixture(scope="module")
def tiny_model(demos, tiny):
    return fit(demos, tiny("unbraid", style="on"))


def test_an_episode_of_no_steps_has_no_style(tiny_model, demos):
    empty = Episode(observations=np.zeros((1, 3), dtype=np.float32), actions=np.zeros((0, 2), dtype=np.float32))
    episodes = list(demos.without_labels())
    styles = tiny_model.styles(Demos.from_episodes([episodes[0], empty, *episodes[1:]]))
    assert np.isnan(styles[1])
    np.testing.assert_allclose(np.delete(styles, 1), tiny_model.styles(demos))


def explained(styles, values):
    return np.corrcoef(styles, values)[0, 1] ** 2


def test_the_style_of_a_new_episode_is_what_varies_within_its_mode(model):
    demos, vigours = vigorous(1)
    styles, modes = model.styles(demos), model.predict(demos)
    assert styles.shape == (32,)
    assert ((styles >= 0) & (styles <= 1)).all()
    assert (modes == demos.labels).all()
    for label in (0, 1):
        own = demos.labels == label
        assert explained(styles[own], vigours[own]) > 0.8
        assert np.corrcoef(styles[own], vigours[own])[0, 1] > 0  # the larger is the more energetic, in both modes


def test_a_style_says_nothing_of_the_mode(model):
    """Half of each mode's training demonstrations lie below its middle, whatever they look like beside the other's."""
    demos, _ = vigorous(0)
    styles, modes = model.styles(demos), model.predict(demos)
    for mode in (0, 1):
        own = styles[modes == mode]
        assert np.median(own) == pytest.approx(0.5, abs=0.05)
        np.testing.assert_allclose(np.sort(own), np.linspace(0, 1, len(own)), atol=0.05)


def test_windows_are_read_too(model):
    demos, vigours = vigorous(1)
    styles = model.styles(demos, window_steps=30, stride_steps=30)
    assert styles.shape == (64,)
    own = demos.labels.repeat(2) == 0
    assert explained(styles[own], vigours.repeat(2)[own]) > 0.6


def test_the_policy_does_what_is_asked_for(model):
    """From a style of 0.1 to one of 0.9 its answer to what it sees grows from that of calm episodes to wild ones'."""
    seen = np.random.default_rng(2).normal(size=(64, 3))
    for mode in (0, 1):
        policy = steer(model).toward(mode)
        slopes = []
        for style in (0.1, 0.3, 0.5, 0.7, 0.9):
            actions, _ = policy.style(style).predict(seen, deterministic=True)
            slopes.append(abs(float((actions * seen[:, :2]).sum() / np.square(seen[:, :2]).sum())))
        assert slopes == sorted(slopes)
        assert slopes[0] < 0.8 < 1.2 < slopes[-1]
        np.testing.assert_array_equal(
            policy.predict(seen, deterministic=True)[0], policy.style(0.5).predict(seen, deterministic=True)[0]
        )


def test_modes_are_told_apart_as_without_styles(model):
    demos, _ = vigorous(1)
    without = supervised_fit(vigorous(0)[0], small(style="off"))
    for window_steps in (10, None):
        on, off = (m.predict(demos, window_steps=window_steps) for m in (model, without))
        assert (on == off).mean() > 0.98


def test_the_search_is_the_same(demos, tiny):
    on, off = (learner_for(demos, tiny("unbraid", style=style)).first for style in ("on", "off"))
    assert on.search_facts == off.search_facts
    assert torch.equal(on.responsibilities, off.responsibilities)


def test_what_modes_are_read_from_knows_no_style(model):
    """Other tables of styles change what the policy does, and nothing that is said of modes."""
    demos, _ = vigorous(1)
    before = model.window_scores(demos, model.cut(demos, None))
    kept = model.style_reader.latents.clone()
    act = steer(model).toward(0).style(0.9)
    first, _ = act.predict(np.ones(3), deterministic=True)
    model.style_reader.latents.mul_(-1)
    try:
        np.testing.assert_array_equal(model.window_scores(demos, model.cut(demos, None)), before)
        assert (act.predict(np.ones(3), deterministic=True)[0] != first).any()
    finally:
        model.style_reader.latents.copy_(kept)


def test_no_more_is_told_than_the_limit(model):
    nats = model.style_reader.nats
    assert (nats > 0.5).all()
    assert float(nats.mean()) < STYLE_NATS + 0.3


def test_where_nothing_varies_a_style_tells_next_to_nothing():
    demos, _ = vigorous(0, varying=False)
    told = supervised_fit(demos, small(n_steps=400))
    assert float(told.style_reader.nats.max()) < 0.4


def test_a_step_observed_is_what_the_filter_says(model):
    demos, _ = vigorous(1, n_per_label=1)
    before = model.switch_rate
    try:
        for model.switch_rate in (0.0, 0.03):
            wanted, observer = model.filter(demos), Observer(model, switch_rate=model.switch_rate)
            for number, start in enumerate(demos.step_starts[:-1]):
                belief, episode = None, demos.episode(number)
                for t in range(episode.n_steps):
                    belief = observer.observe(belief, episode.observations[t], episode.actions[t])
                    np.testing.assert_allclose(belief.probabilities, wanted[start + t], atol=1e-5)
    finally:
        model.switch_rate = before


def test_styles_are_centred_in_every_mode_under_any_responsibilities():
    draws = torch.Generator().manual_seed(0)
    shares = torch.rand(9, 3, generator=draws)
    shares /= shares.sum(1, keepdim=True)
    styles = SpanStyles(shares, torch.full((9,), 7), draws)
    with torch.no_grad():
        styles.means.add_(5.0)
        styles.means[:4] += 3.0
    centred = styles.centred()
    torch.testing.assert_close((shares * centred).sum(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert (styles.divergences() >= 0).all()


def test_what_lies_above_the_limit_costs_all_of_it():
    styles = SpanStyles(torch.ones(4, 1), torch.full((4,), 1000), torch.Generator().manual_seed(0))
    with torch.no_grad():
        styles.means.copy_(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
        costs = []
        for log_variance in (-2.0, -12.0):
            styles.log_variances.fill_(log_variance)
            costs.append((float(styles.divergences().mean()), float(styles.cost())))
    (calm, cost_of_calm), (sharp, cost_of_sharp) = costs
    assert calm < STYLE_NATS < sharp
    assert cost_of_calm < 0.002  # a share of a step
    assert cost_of_sharp == pytest.approx(sharp - STYLE_NATS, abs=0.01)


def test_a_batch_has_steps_with_a_style_and_steps_without():
    styles = SpanStyles(torch.ones(2, 1), torch.full((2,), 10), torch.Generator().manual_seed(0))
    spans, modes = torch.tensor([0, 1] * 4), torch.zeros(8, dtype=torch.int64)
    seen = styles.told(torch.ones(8, 3), spans, modes, torch.Generator().manual_seed(1))
    assert seen.shape == (8, 5)
    assert seen[:, 3].tolist() == [0, 0] + [1] * 6
    assert (seen[:2, 4] == 0).all()
    assert len(set(seen[2:, 4].tolist())) == 6
    with pytest.raises(jaxtyping.TypeCheckError):
        styles.told(torch.ones(8, 3), spans[:4], modes, torch.Generator())


# Off, nothing is there


def test_off_adds_no_setting_no_weights_and_no_state(demos, tiny):
    assert UnbraidConfig().style == "off"
    assert "style" not in config_to_json(UnbraidConfig())
    assert config_to_json(small())["style"] == "on"
    assert config_from_json(json.loads(json.dumps(config_to_json(small())))) == small()
    off, on = (learner_for(demos, tiny("unbraid", style=style)).first for style in ("off", "on"))
    assert set(off.modules()) == {"model"}
    assert set(off.optimizers()) == {"all"}
    assert not [name for name in off.model.state_dict() if "style" in name]
    assert set(off.step()) == {"loss", "policy", "encoder", "commitment"}
    assert set(on.step()) == {"loss", "policy", "encoder", "commitment", "style"}
    assert off.model.policy.trunk[0].in_features == on.model.policy.trunk[0].in_features - 2
    for name, value in off.model.state_dict().items():  # what is drawn before the policy is the same
        if name.startswith(("encoder", "codebook")) and "matrix" not in name:
            assert value.shape == on.model.state_dict()[name].shape


def test_a_model_of_before_loads_as_it_was(demos, tiny, tmp_path, same_weights):
    plain = fit(demos, tiny("unbraid"))
    plain.save_pretrained(tmp_path / "plain")
    assert "style" not in (tmp_path / "plain" / "config.json").read_text()
    again = ModeModel.from_pretrained(tmp_path / "plain")
    assert same_weights(again, plain)
    assert again.style_reader is None


def test_without_styles_none_can_be_read_or_asked_for(demos, tiny):
    for method in ("unbraid", "talk"):
        plain = fit(demos, tiny(method))
        with pytest.raises(ConfigError, match="must have styles; this one was fitted without"):
            plain.styles(demos)
        with pytest.raises(ConfigError, match="must have styles; this one was fitted without"):
            steer(plain).toward(0).style(0.5)


# Files


def test_a_model_with_styles_comes_back_from_its_folder(tiny_model, demos, tmp_path, same_weights):
    tiny_model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert same_weights(again, tiny_model)
    assert again.config.style == "on"
    np.testing.assert_array_equal(again.styles(demos), tiny_model.styles(demos))
    asked = [steer(m).toward(1).style(0.8) for m in (again, tiny_model)]
    first, second = (policy.predict(demos.observations[:9], deterministic=True)[0] for policy in asked)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("stop_after", [1, 10])
def test_a_fit_with_styles_goes_on_bit_for_bit(demos, tiny, same_weights, fit_in_two, tmp_path, stop_after):
    config = tiny("unbraid", style="on")
    unbroken = fit(demos, config, LoopOptions(run=tmp_path / "unbroken", log_every=4, checkpoint_every=stop_after))
    stopped = LoopOptions(run=tmp_path / "stopped", log_every=4, checkpoint_every=stop_after)
    went_on = fit_in_two(demos, config, stopped, stop_after)
    assert same_weights(unbroken, went_on)
    terms = [json.loads(line)["terms"] for line in (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()]
    assert all(term["style"] > 0 for term in terms)


def test_the_seed_suffices_and_matters(demos, tiny, same_weights, tiny_model):
    again, other = (fit(demos, tiny("unbraid", style="on", seed=seed)) for seed in (0, 1))
    assert same_weights(tiny_model, again)
    assert not torch.equal(tiny_model.style_reader.latents, other.style_reader.latents)


@pytest.mark.parametrize("how", [{"codes": "free"}, {"sharing": "window"}, {"n_modes": 3}], ids=str)
def test_styles_go_with_every_other_setting(demos, tiny, how):
    found = fit(demos, tiny("unbraid", style="on", **how))
    assert found.styles(demos).shape == (demos.n_episodes,)
    assert all(torch.isfinite(v).all() for n, v in found.state_dict().items() if not n.endswith("clip"))
    assert np.isfinite(style_readings(found, Steps.of(demos)).numpy()).all()
    action, _ = steer(found).style(0.3).toward(1).predict(demos.observations[:5])
    assert np.isfinite(action).all()


def test_a_mode_with_one_demonstration_has_a_typical_style_only(demos, tiny):
    few = demos.select([0, 1, 3])
    told = supervised_fit(few, tiny("unbraid", style="on"))
    assert told.styles(few)[0] == 0.5


def test_where_modes_change_a_style_is_read_of_the_steps_in_the_mode(demos, tiny):
    model = fit(demos, tiny("unbraid", style="on"))
    whole, readings = model.styles(demos), style_readings(model, Steps.of(demos)).numpy()
    model.switch_rate = 0.02
    probabilities, modes = model.timeline(demos).probabilities, model.predict(demos)
    wanted = np.full((demos.n_episodes, 2), np.nan)
    for number, mode in enumerate(modes):
        steps = slice(*demos.step_starts[number : number + 2])
        wanted[number, mode] = np.average(readings[steps, mode], weights=probabilities[steps, mode])
    wanted = model.style_reader.quantiles(wanted)[np.arange(len(modes)), modes]
    found = model.styles(demos)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not np.allclose(found, whole)


def test_an_absurd_action_leaves_the_styles_of_other_episodes_alone(tiny_model, demos):
    actions = demos.actions.copy()
    actions[3] = 1e25
    found = tiny_model.styles(dataclasses.replace(demos, actions=actions))
    np.testing.assert_allclose(found[1:], tiny_model.styles(demos)[1:], atol=1e-4)
