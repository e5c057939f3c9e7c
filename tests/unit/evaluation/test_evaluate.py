"""A policy measured: one row a seed, the mean with its interval, and worlds that do not fit are refused at once."""

import csv
import inspect
import io
import json
import sys

import gymnasium
import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from unbraid.core.errors import ConfigError, WorldError
from unbraid.evaluation.behaviour import require_new_metrics
from unbraid.evaluation.evaluate import (
    Evaluation,
    csv_text,
    evaluate,
    fresh_seeds,
    require_fitting_world,
    seeds_of,
)
from unbraid.evaluation.intervals import mean_interval, share_interval
from unbraid.steering.schedules import in_turn
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.collect import collect
from unbraid.worlds.controllers import from_predict
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(make_expert("forward"), ENV, seeds=[5, 9, 2], max_steps=20)


def test_one_value_a_seed_and_the_mean_with_its_interval(found):
    assert found.seeds == (5, 9, 2)
    assert list(found.rollouts.demos.seeds) == [5, 9, 2]
    offered = {"return", "cost", "length", "goals", "distance", "displacement", "energy", "smoothness"}
    assert set(found.values) == offered == set(found.units)
    returns = [float(episode.rewards.sum()) for episode in found.rollouts.demos]
    np.testing.assert_allclose(found.values["return"], returns)
    assert found.metrics["return"] == mean_interval(np.array(returns))
    assert found.metrics["return"].value == pytest.approx(np.mean(returns))
    assert found.values["length"].tolist() == [20, 20, 20]


def test_a_seed_gives_the_same_episode_whatever_is_beside_it(found):
    alone = evaluate(make_expert("forward"), ENV, seeds=[9], max_steps=20)
    assert {name: values[0] for name, values in alone.values.items()} == {
        name: values[1] for name, values in found.values.items()
    }
    other = evaluate(make_expert("forward"), ENV, seeds=[10], max_steps=20)
    assert other.values["return"][0] != found.values["return"][1]


def test_as_json_it_has_units_intervals_and_every_episode(found):
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["env_id"] == ENV
    assert [episode["seed"] for episode in content["episodes"]] == [5, 9, 2]
    assert content["episodes"][1]["distance"] == found.values["distance"][1]
    assert content["metrics"]["distance"]["n"] == 3
    assert content["units"]["distance"] == "m"
    assert set(content["units"]) == set(content["metrics"])


def test_a_bar_counts_every_step(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stderr", terminal)
    evaluate(make_expert("forward"), ENV, seeds=[1, 2], max_steps=4)
    assert "evaluate" in terminal.getvalue()
    assert "8/8" in terminal.getvalue()


class Wandering:
    """Acts by what it sees and by noise, as a sampled policy does."""

    def act(self, observations, state, episode_start, noise):
        return 0.1 * observations[:, : noise.shape[1]] + 0.3 * noise, None


@pytest.mark.parametrize("kind", ["steered, sampled", "steered, deterministic", "noise"])
@pytest.mark.parametrize(("env", "sizes"), [(ENV, (60, 2)), ("Pendulum-v1", (3, 1)), ("Reacher-v5", (10, 2))])
def test_the_same_episodes_from_1_3_and_64_side_by_side(env, sizes, kind):
    if kind == "noise":
        policy = Wandering()
    else:
        torch.manual_seed(0)
        policy = steer(_model(*sizes)).toward(1)
        policy = policy if kind == "steered, sampled" else from_predict(policy)
    one, three, many = (evaluate(policy, env, n_episodes=7, max_steps=12, n_envs=n) for n in (1, 3, 64))
    assert len(set(one.values["return"])) == 7
    for other in (three, many):
        assert other.rollouts.demos.fingerprint() == one.rollouts.demos.fingerprint()
        assert other.table == one.table
    assert one.units["energy"] == ("squared action" if env == "Pendulum-v1" else "action x velocity")


def test_sampled_and_deterministic_actions_differ():
    policy = steer(_model(3, 1)).toward(1)
    sampled, mean = (evaluate(p, "Pendulum-v1", n_episodes=2, max_steps=5) for p in (policy, from_predict(policy)))
    assert (sampled.values["smoothness"] < mean.values["smoothness"]).all()


def test_by_default_fresh_seeds_the_same_at_every_call():
    found = evaluate(Wandering(), "Pendulum-v1", n_episodes=3, max_steps=2)
    assert list(found.seeds) == fresh_seeds(3, seed=0)
    assert len(evaluate(Wandering(), "Pendulum-v1", max_steps=1).seeds) == 100
    demos = collect([("a", Wandering())], env_id="Pendulum-v1", n_episodes=30, seed=0, max_steps=1)
    assert not set(found.seeds) & set(demos.seeds.tolist())


def test_the_table_is_kept_as_csv_and_json(found, tmp_path):
    found.write_csv(tmp_path / "new" / "episodes.csv")
    with (tmp_path / "new" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == found.table
    assert list(rows[0]) == ["seed", *found.values]
    assert [row["seed"] for row in rows] == ["5", "9", "2"]
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["episodes"] == found.table
    assert content["summary"]["return"]["mean"] == content["metrics"]["return"]
    assert content["summary"]["return"]["median"]["value"] == float(np.median(found.values["return"]))
    assert content["summary"]["return"]["median"]["low"] is None  # of 3 episodes
    assert content["units"]["energy"] == "action x velocity"


def test_rows_that_lack_a_column_leave_it_empty():
    assert csv_text([{"seed": 1, "a": 0.5}, {"seed": 2, "b, c": 1.0}]) == 'seed,a,"b, c"\n1,0.5,\n2,,1.0\n'


def test_metrics_of_ones_own():
    own = {"last_reward": lambda episode: episode.rewards[-1], "long": lambda episode: episode.n_steps > 3}
    found = evaluate(Wandering(), "Pendulum-v1", seeds=[1, 2], max_steps=4, metrics=own)
    assert found.values["last_reward"].tolist() == [float(e.rewards[-1]) for e in found.rollouts.demos]
    assert found.values["long"].tolist() == [1.0, 1.0]
    assert found.metrics["long"].value == 1.0
    assert found.units["long"] == ""
    assert found.summary["last_reward"].iqm.n == 2


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"return": len}, "name of its own; got 'return'.*Taken: return, cost"),
        ({"seed": len}, "name of its own; got 'seed'"),
        ({"": len}, "name of its own; got ''"),
        ({"odd": lambda e: float("nan")}, r"'odd' must give one finite number .* episode 0 \(seed 5\) it gave nan"),
        ({"odd": lambda e: e.rewards}, r"'odd' .* it gave array"),
        ({"odd": lambda e: None}, "'odd' .* it gave None"),
        ({"odd": lambda e: e.nothing}, "'odd' .* raised AttributeError"),
    ],
)
def test_a_metric_that_cannot_be_is_refused(metrics, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(Wandering(), "Pendulum-v1", seeds=[5], max_steps=2, metrics=metrics)


def test_what_only_people_without_the_check_of_types_can_pass():
    with pytest.raises(ConfigError, match="'odd' must be a function of an episode; it is a int"):
        inspect.unwrap(require_new_metrics)({"odd": 3})
    for odd in (1.5, True, "1"):
        with pytest.raises(WorldError, match=f"Seeds must be integers >= 0; got {odd!r}"):
            inspect.unwrap(seeds_of)(None, [odd])
    assert seeds_of(None, np.array([3, 1])) == [3, 1]
    with pytest.raises(WorldError, match=r"Seeds must be a list of integers, .*; got 3\. Write seeds=\[3\]"):
        inspect.unwrap(seeds_of)(None, 3)
    with pytest.raises(ConfigError, match=r"must be given by name; got a list\. Write them as in metrics=\{"):
        inspect.unwrap(require_new_metrics)([len])


def test_it_is_shown_in_a_line(found):
    assert repr(found).startswith("Evaluation('unbraid/PointGoal1-v0', 3 episodes: mean return ")
    assert repr(found.rollouts) == "Rollouts(3 episodes, 60 steps)"


def test_a_model_is_not_a_policy_yet():
    with pytest.raises(WorldError, match=r"asked for a mode .*; got a model, .* Evaluate steer\(model\)\.toward"):
        evaluate(_model(3, 1), "Pendulum-v1", seeds=[1], max_steps=2)


class Broken(gymnasium.Env):
    """Six steps; what `name` names is NaN in the third."""

    def __init__(self, name):
        self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (3,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.name, self.at = name, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(3), {}

    def step(self, action):
        self.at += 1
        told = {"observation": np.zeros(3), "reward": 1.0, "cost": 0.0}
        if self.at == 3:
            told[self.name] = told[self.name] * np.nan
        return told["observation"], told["reward"], False, self.at == 6, {"cost": told["cost"]}


@pytest.mark.parametrize(("name", "metric"), [("reward", "return"), ("cost", "cost")])
def test_a_reward_that_is_no_number_is_named_by_seed_and_step(name, metric):
    with pytest.raises(WorldError, match=rf"'{metric}' must be finite .* of seed 7 it is nan: .* step 2 is nan"):
        evaluate(lambda rows: rows[:, :1], lambda: Broken(name), seeds=[7, 8], max_steps=6)


def test_an_observation_that_is_no_number_is_named_by_seed_and_step():
    """Whether the policy refuses it, or hands it on."""
    for policy in (steer(_model(3, 1)).toward(0), lambda rows: rows[:, :1]):
        with pytest.raises(WorldError, match=r"must be finite; episode 0 \(seed 7\), step 3: column 0 is nan"):
            evaluate(policy, lambda: Broken("observation"), seeds=[7, 8], max_steps=6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": []}, "at least one seed; got none"),
        ({"seeds": [1, 2, 1]}, "seed of its own.*; 1 occurs twice"),
        ({"seeds": [1, -2]}, "Seeds must be >= 0; got -2"),
        ({"seeds": [1, 2], "n_episodes": 3}, "got 2 seeds for n_episodes = 3"),
    ],
)
def test_episodes_that_cannot_be_asked_for(asked, message):
    with pytest.raises(WorldError, match=message):
        evaluate(Wandering(), "Pendulum-v1", max_steps=2, **asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n_episodes": 0}, "`n_episodes` must be a whole number from 1 to 10,000,000; got 0. 100 gives"),
        ({"n_episodes": -1}, "got -1"),
        ({"n_episodes": 2.5}, "`n_episodes` must be a whole number .*; got 2.5"),
        ({"n_episodes": 3_000_000_000}, "`n_episodes` must be .*; got 3000000000"),
        ({"n_envs": 0}, "`n_envs` must be a whole number of at least 1; got 0"),
        ({"max_steps": 2.5}, "`max_steps` must be a whole number of at least 1; got 2.5"),
        ({"max_steps": 0}, "`max_steps` must be a whole number of at least 1; got 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_numbers_that_cannot_be_are_named(asked, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(Wandering(), "Pendulum-v1", **{"max_steps": 2, **asked})
    with pytest.raises(ConfigError, match="`n_episodes` must be a whole number from 0"):
        fresh_seeds(-1, seed=0)


class Kilometres(gymnasium.Env):
    """A walk from 1e8 on, in float64; the action is how far."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.at = 1e8
        return np.array([self.at]), {}

    def step(self, action):
        self.at += float(action[0])
        return np.array([self.at]), 0.0, False, False, {}


def test_a_metric_of_ones_own_sees_what_the_environment_showed():
    """Though float32 could not tell neighbouring steps apart."""
    metrics = {"gone": lambda episode: float(episode.observations[-1, 0] - episode.observations[0, 0])}
    quarter = lambda rows: np.full((len(rows), 1), 0.25)  # noqa: E731
    found = evaluate(quarter, Kilometres, seeds=[1, 2], max_steps=6, metrics=metrics)
    assert found.values["gone"].tolist() == [1.5, 1.5]


class Failing(Kilometres):
    def __init__(self):
        raise ValueError("no licence")


def test_an_environment_that_raises_is_not_called_a_bug_of_ours():
    gymnasium.register("Failing-v0", Failing, max_episode_steps=3)
    try:
        for look in (
            lambda: require_fitting_world(_model(1, 1), "Failing-v0"),
            lambda: evaluate(steer(_model(1, 1)).toward(0), "Failing-v0", seeds=[0]),
        ):
            with pytest.raises(
                WorldError, match=r"Failing-v0 must be made without .* ValueError: no licence"
            ) as caught:
                look()
            assert isinstance(caught.value.__cause__, ValueError)
    finally:
        del gymnasium.registry["Failing-v0"]


class Discrete(Kilometres):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.MultiDiscrete([3, 2])


def test_actions_that_are_no_box_are_called_so():
    with pytest.raises(WorldError, match=r"one-dimensional Box of floating-point numbers; it has MultiDiscrete"):
        evaluate(steer(_model(1, 1)).toward(0), Discrete, seeds=[0], max_steps=3)


def test_a_policy_that_gives_nan_is_named_by_episode_and_step():
    with pytest.raises(WorldError, match=r"must be finite; episode 0 \(seed 1\), step 0"):
        evaluate(lambda observations: np.full((len(observations), 1), np.nan), "Pendulum-v1", seeds=[1], max_steps=2)


def test_what_cannot_act_is_refused():
    with pytest.raises(WorldError, match="must be a function of observations, or have `act` or `predict`; it is a int"):
        evaluate(3, "Pendulum-v1", seeds=[1])


def test_the_environment_may_be_made_by_a_function():
    by_id = evaluate(Wandering(), "Pendulum-v1", seeds=[1, 2], max_steps=3)
    made = evaluate(Wandering(), lambda: gymnasium.make("Pendulum-v1"), seeds=[1, 2], max_steps=3)
    assert made.env_id == "Pendulum-v1"
    assert made.table == by_id.table
    with pytest.raises(WorldError, match="Pendulum-v1 must have 4 observation and 1 action"):
        evaluate(steer(_model(4, 1)).toward(0), lambda: gymnasium.make("Pendulum-v1"), seeds=[1], max_steps=3)


def test_fresh_seeds_avoid_those_of_the_collection():
    plain = fresh_seeds(5, seed=0)
    avoiding = fresh_seeds(5, seed=0, avoid=np.array(plain[:2]))
    assert avoiding[2:] == plain[2:]
    assert not set(avoiding[:2]) & set(plain)
    assert len(set(avoiding)) == 5
    assert avoiding == fresh_seeds(5, seed=0, avoid=plain[:2])


def test_fresh_seeds_are_different_reproducible_and_their_own():
    seeds = fresh_seeds(1000, seed=0)
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == fresh_seeds(1000, seed=0)
    assert not set(seeds) & set(fresh_seeds(1000, seed=1))
    assert fresh_seeds(0, seed=0) == []
    with pytest.raises(ConfigError, match="A seed must be a whole number of at least 0; got -1"):
        fresh_seeds(1, seed=-1)


def _model(observation_size: int, action_size: int) -> ModeModel:
    return ModeModel(UnbraidConfig(), observation_size=observation_size, action_size=action_size).eval()


@pytest.mark.parametrize(
    ("sizes", "env_id", "has"),
    [((60, 3), ENV, "60 and 2"), ((59, 2), ENV, "60 and 2"), ((60, 2), "Pendulum-v1", "3 and 1")],
)
def test_a_model_in_a_world_of_other_widths_is_refused_before_a_step(sizes, env_id, has):
    model = _model(*sizes)
    with pytest.raises(WorldError, match=rf"must have {sizes[0]} observation and {sizes[1]} action.*it has {has}\."):
        require_fitting_world(model, env_id)
    with pytest.raises(WorldError, match="as the model was fitted on"):
        evaluate(steer(model).toward(0), env_id, seeds=[0], max_steps=1)
    with pytest.raises(WorldError, match="as the model was fitted on"):
        evaluate(in_turn({0: steer(model).toward(0)}), env_id, seeds=[0], max_steps=1)


def test_a_model_in_a_world_of_its_widths_acts():
    require_fitting_world(_model(3, 1), "Pendulum-v1")
    found = evaluate(steer(_model(3, 1)).toward(1), "Pendulum-v1", seeds=[0, 1], max_steps=3)
    assert set(found.values) == {"return", "length", "energy", "smoothness"}


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Nowhere-v0", "nowhere:Nowhere-v0"])
def test_what_is_no_world_of_vectors_is_left_to_the_rollout(env_id):
    require_fitting_world(_model(4, 1), env_id)
    with pytest.raises(WorldError, match=r"vectors of numbers|registered|nowhere must be importable"):
        evaluate(steer(_model(4, 1)).toward(0), env_id, seeds=[0], max_steps=1)


def test_a_wrong_shape_raises(found):
    with pytest.raises(TypeCheckError):
        Evaluation(ENV, (1,), {"return": np.zeros((2, 2))}, {}, found.rollouts)


class Succeeding(Kilometres):
    """Succeeds in every episode."""

    def step(self, action):
        *found, info = super().step(action)
        return (*found, {**info, "is_success": True})


def test_a_share_is_not_beyond_doubt_because_all_episodes_are_alike():
    found = evaluate(Wandering(), Succeeding, n_episodes=10, max_steps=2)
    expected = share_interval(np.ones(10))
    assert found.metrics["success"] == expected == found.summary["success"].mean
    assert expected.low < 0.75 < expected.high == 1.0
    assert found.summary["length"].mean == found.metrics["length"] == mean_interval(found.values["length"])
