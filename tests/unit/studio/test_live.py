"""Live agents do what a rollout does, and a change is heeded at once."""

from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError, WorldError
from unbraid.steering.steered import steer
from unbraid.studio.edits import Edit, Edits
from unbraid.studio.live import LiveRollout, live_observer
from unbraid.training.config import TalkConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.rollout import rollout

ENV = "unbraid/PointGoal1-v0"


@pytest.fixture
def live(model):
    made = LiveRollout(
        model, ENV, run=Path("run"), shown=Edits(2).shown, n_agents=2, seed=5, observer=live_observer(model)
    )
    yield made
    made.close()


def test_it_is_what_a_rollout_of_the_same_seed_does(live, model):
    live.ask(0, [0.0, 1.0])
    for _ in range(40):
        live.step()
    due = rollout(steer(model).toward(1), ENV, seeds=[5], max_steps=40)
    found = live.episode(0)
    np.testing.assert_array_equal(found.actions, due.demos.actions)
    np.testing.assert_array_equal(found.observations, due.demos.observations)
    told = live.frame()[0]
    assert told["return"] == pytest.approx(due.demos.rewards.sum(), abs=1e-3)
    assert told["scene"]["robot"][:2] == pytest.approx(due.tracks[0]["robot_xy"][-1], abs=1e-3)


def test_two_agents_start_alike_and_go_apart_when_asked_to(live):
    live.ask(1, [1.0, 0.0])
    first, second = live.frame()
    assert first == second
    for _ in range(3):
        live.step()
    assert live.frame()[0] == live.frame()[1]
    live.ask(0, [0.0, 3.0])
    live.step()
    assert live.frame()[0] != live.frame()[1]


def test_a_reset_of_the_same_seed_repeats_and_another_does_not(live):
    for _ in range(5):
        live.step()
    before = live.frame()
    for seed, same in ((5, True), (6, False)):
        live.reset(seed)
        assert live.frame()[0]["step"] == 0
        for _ in range(5):
            live.step()
        assert (live.frame() == before) is same


def test_the_mean_needs_no_noise(live):
    live.sampled = False
    live.ask(1, [1.0, 0.0])
    live.step()
    observations = live.episode(0).observations[:1]
    due, _ = steer(live._base.model).toward(0).predict(observations[0].astype(np.float64), deterministic=True)
    np.testing.assert_allclose(live.episode(0).actions[0], np.clip(due, -1, 1), atol=1e-4)


def test_the_posterior_is_a_distribution_and_follows_what_was_done(live, demos, model):
    live.step()
    assert sum(live.frame()[0]["posterior"]) == pytest.approx(1, abs=1e-3)
    observer, episode = live_observer(model), demos.episode(0)
    belief = None
    for observation, action in zip(episode.observations[:-1], episode.actions, strict=True):
        belief = observer.observe(belief, observation, action)
    assert belief.probabilities.max() < 1 - 1e-6  # so that it can change its mind


def test_the_talks_model_is_not_observed():
    talk = ModeModel(TalkConfig(n_modes=2), observation_size=60, action_size=2)
    assert live_observer(talk) is None


def test_new_names_are_used_at_once_and_other_modes_are_not(live):
    live.call(Edits(2).saying(Edit("rename", 1, text="bold")).shown)
    assert live.ask(0, [0.0, 1.0]).words == "towards bold"
    live.call(Edits(2).saying(Edit("merge", 1, 0)).shown)
    assert live.ask(0, [0.0, 1.0]).words == "towards bold"


@pytest.mark.parametrize(("env", "has"), [(ENV, True), ("Pendulum-v1", False)])
def test_costs_and_goals_are_told_where_the_world_has_them(model, env, has):
    if not has:
        world = gymnasium.make(env)
        model = ModeModel(model.config, observation_size=3, action_size=1)
        assert world.observation_space.shape == (3,)
    live = LiveRollout(model, env, run=Path("run"), shown=Edits(2).shown)
    live.step()
    for _ in range(2):
        (told,) = live.frame()
        assert (told["cost"], told["goals"]) == ((0.0, 0) if has else (None, None))
        live.reset(1)
    live.close()


def test_of_others_worlds_all_that_an_agent_sees_is_told_to_four_digits(model, monkeypatch):
    class Wide(gymnasium.Env):
        metadata: ClassVar = {"render_fps": 30}
        observation_space = gymnasium.spaces.Box(-9, 9, (30,), np.float64)
        action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.arange(30) * 1.23456e-4, {}

    monkeypatch.setattr("unbraid.studio.live.spec_of", lambda _: "Wide-v0")
    monkeypatch.setattr("unbraid.studio.live.make_world", lambda _: Wide())
    model = ModeModel(model.config, observation_size=30, action_size=1)
    live = LiveRollout(model, "Wide-v0", run=Path("run"), shown=Edits(2).shown)
    (told,) = live.frame()
    assert "scene" not in told
    assert len(told["observation"]) == 30
    assert told["observation"][:2] == [0.0, 0.0001235]
    live.close()


def test_the_layout_is_of_our_worlds(live):
    assert live.layout()["half_side_m"] == 1.5
    assert len(live.layout()["hazards"]) == 8
    assert live.steps_per_s == 50


def test_what_cannot_be_is_refused(live, model):
    for call, said in (
        (lambda: live.reset(-1), "A seed must"),
        (lambda: live.ask(2, [1.0, 0.0]), "An agent must"),
        (lambda: live.ask(0, [1.0]), "Sliders must"),
        (lambda: live.episode(0), "at least one step"),
        (lambda: LiveRollout(model, ENV, run=Path("run"), shown=Edits(2).shown, n_agents=3), "1 or 2 agents"),
    ):
        with pytest.raises(ConfigError, match=said):
            call()
    with pytest.raises(WorldError, match="must be registered with Gymnasium"):
        LiveRollout(model, "unbraid/Nowhere-v0", run=Path("run"), shown=Edits(2).shown)


def test_an_episode_ends_and_stays_ended(model):
    live = LiveRollout(model, ENV, run=Path("run"), shown=Edits(2).shown)
    live._worlds[0].env._max_episode_steps = 3
    for _ in range(5):
        live.step()
    assert live.is_over
    assert live.frame()[0]["step"] == 3
    live.reset(1)
    assert not live.is_over
    live.close()


def test_what_is_no_number_is_said_with_its_environment_and_step(model, odd, fault):
    changes, said = fault
    live = LiveRollout(model, odd(**changes), run=Path("run"), shown=Edits(2).shown, seed=5)
    live.step()
    with pytest.raises(WorldError, match=said):
        live.step()
    live.close()


def test_a_cost_that_is_none_is_none(model, odd):
    live = LiveRollout(model, odd(cost=None), run=Path("run"), shown=Edits(2).shown, seed=5)
    for due in (0.5, 0.5, 1.0):
        live.step()
        assert live.frame()[0]["cost"] == due
    live.close()


def test_a_world_that_cannot_be_made_or_reset_is_said(model, monkeypatch, odd):
    def fails(*_, **__):
        raise RuntimeError("no licence")

    env = odd()
    monkeypatch.setattr(gymnasium.spec(env).entry_point, "reset", fails)
    with pytest.raises(
        WorldError, match=r"Odd-v0 must reset .*; in the reset of seed 5 it raised RuntimeError: no licence"
    ):
        LiveRollout(model, env, run=Path("run"), shown=Edits(2).shown, seed=5)
    monkeypatch.setattr(gymnasium.spec(env).entry_point, "__init__", fails)
    with pytest.raises(WorldError, match=r"Odd-v0 must be made without an error .* RuntimeError: no licence"):
        LiveRollout(model, env, run=Path("run"), shown=Edits(2).shown, seed=5)


def test_what_was_made_is_closed_where_a_world_cannot_be_reset(model, monkeypatch, odd):
    def fails(*_, **__):
        raise RuntimeError("no licence")

    def closes(self):
        closed.add(self)

    env, closed = odd(), set()
    monkeypatch.setattr(gymnasium.spec(env).entry_point, "reset", fails)
    monkeypatch.setattr(gymnasium.spec(env).entry_point, "close", closes, raising=False)
    with pytest.raises(WorldError, match="no licence"):
        LiveRollout(model, env, run=Path("run"), shown=Edits(2).shown, n_agents=2)
    assert len(closed) == 2


def test_a_wrong_shape_raises(model):
    with pytest.raises(DataError, match=r"got an array of the shape \(2, 60\)"):
        live_observer(model).observe(None, np.zeros((2, 60)), np.zeros(2))
