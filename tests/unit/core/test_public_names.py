"""What the public names say of arguments that are of another kind than they take."""

import numpy as np
import pytest
import torch

import unbraid
from unbraid import Demos, Episode, ModeModel, UnbraidConfig, UnbraidError

ENV = "unbraid/PointGoal1-v0"
NO_PATHS = [None, True, 3, [], b"x"]


def demos():
    generator = np.random.default_rng(0)
    episode = Episode(observations=generator.normal(size=(6, 3)), actions=generator.normal(size=(5, 1)))
    return Demos.from_episodes([episode, episode])


def model():
    torch.manual_seed(0)
    return ModeModel(UnbraidConfig(n_modes=2), observation_size=3, action_size=1).eval()


def of_fields(**fields):
    pile = demos()
    known = {name: getattr(pile, name) for name in ("observations", "actions", "lengths", "terminated")}
    return Demos(**(known | fields))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("given", NO_PATHS)
@pytest.mark.parametrize(
    "take",
    [
        ModeModel.from_pretrained,
        lambda path: model().save_pretrained(path),
        lambda path: unbraid.save_demos(demos(), path),
        lambda path: unbraid.export_onnx(model(), path),
        lambda path: unbraid.export_program(model(), path),
        lambda path: unbraid.RecordDemos(unbraid.PointGoalEnv(), path),
        unbraid.verify,
        unbraid.load_claims,
        unbraid.write_report,
    ],
)
def test_what_is_no_path_is_refused_as_such(take, given):
    with pytest.raises(UnbraidError, match=r"A path must be a text or a pathlib\.Path; got .*\. Give one, such as"):
        take(given)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: unbraid.model_card(None), r"A card must be of a model; got None\. Load it"),
        (
            lambda: unbraid.model_card(model(), "runs/first"),
            r"what a run's results\.json holds; got the path 'runs/first'",
        ),
        (lambda: unbraid.obedience(None, demos(), 0), r"must be a model; got None\. Load it"),
        (lambda: unbraid.join_demos(None), r"must come in a list; got None"),
        (lambda: unbraid.join_demos([demos(), demos()], weights=True), r"Weights must be numbers above 0.*; got True"),
        (lambda: unbraid.demos_from_table({"a": [1.0]}, None), r"Options must be ReadOptions; got NoneType"),
        (lambda: unbraid.collect(None, env_id=ENV, n_episodes=1, seed=0), r"a list of pairs.*; got None\. Write"),
        (lambda: unbraid.collect(["goal"], env_id=ENV, n_episodes=1, seed=0), r"a list of pairs.*; got \['goal'\]"),
        (lambda: unbraid.fresh_seeds(2, seed=None), r"A seed must be a whole number of at least 0; got None"),
        (lambda: unbraid.fresh_seeds(2, seed=0.5), r"A seed must be a whole number of at least 0; got 0\.5"),
        (lambda: unbraid.fresh_seeds(2, seed=0, avoid=3), r"`avoid` must hold seeds, whole numbers; got 3"),
        (lambda: unbraid.evaluate_runs(None, ENV), r"Policies must come in a list, .*; got None"),
        (lambda: unbraid.agreement([0], [0], [0], generator=0), r"must be a numpy\.random\.Generator; got 0"),
        (lambda: unbraid.stability(None, [0], generator=np.random.default_rng(0)), r"Modes must come in a list.* None"),
        (lambda: demos().split(held_out=None, generator=np.random.default_rng(0)), r"needs a share.*; got None and 2"),
        (lambda: Demos.from_episodes([demos()[0]], action_bounds=3), r"`action_bounds` must be \(low, high\).*; got 3"),
        (lambda: of_fields(lengths=None), r"`lengths` must hold one whole number for each episode"),
        (lambda: of_fields(terminated=None), r"`terminated` must hold true or false for each episode"),
        (lambda: of_fields(rewards=3), r"`rewards` must have 10 rows .*; got one number"),
        (lambda: of_fields(action_low="low"), r"action_low must be an array of numbers"),
        (lambda: model().predict(demos(), window_steps=True), r"window_steps must be a whole number .*; got True"),
        (lambda: model().predict(demos(), window_steps=2, stride_steps=None), r"stride_steps must be .*; got None"),
        (lambda: unbraid.steer(model()).toward(True), r"The mode must be one of 0 to 1; got True"),
        (lambda: unbraid.steer(model()).toward(1, True), r"A strength must be a number .*; got True"),
        (lambda: unbraid.steer(model()).blend({True: 1.0}), r"The mode must be one of 0 to 1; got True"),
    ],
)
def test_an_argument_of_another_kind_is_named(ask, said):
    with pytest.raises(UnbraidError, match=said):
        ask()


@pytest.mark.usefixtures("unchecked")
def test_bounds_may_be_lists():
    np.testing.assert_array_equal(of_fields(action_low=[-1.0], action_high=[1]).action_high, [1.0])
