"""Several data sets as one: columns by name, shares, and what not all have."""

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos
from unbraid.demos.joining import join_demos


def _demos(lengths=(2, 3), names=("x", "y"), width=2, act=1, **changes) -> Demos:
    """Observations spell the column's name."""
    n_steps = sum(lengths)
    spelled = np.array([float(ord(name[0])) for name in names] or [1.0] * width)
    arrays = {
        "observations": np.tile(spelled, (n_steps + len(lengths), 1)),
        "actions": np.zeros((n_steps, act)),
        "lengths": np.array(lengths),
        "terminated": np.zeros(len(lengths), bool),
        "observation_names": tuple(names),
    }
    return Demos(**(arrays | changes))


def test_columns_are_matched_by_name_and_what_is_beyond_is_said():
    joined = join_demos([_demos(), _demos(names=("z", "y", "x"))], titles=["a", "b"])
    assert joined.observation_names == ("x", "y")
    assert (joined.observations == [ord("x"), ord("y")]).all()
    assert joined.lengths.tolist() == [2, 3, 2, 3]
    assert joined.facts["left_out"] == ["b has columns that a has not: z left out."]


def test_one_data_set_is_what_it_was():
    demos = _demos()
    assert join_demos([demos]) is demos


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (_demos(names=("x", "z")), "b must have the columns of a; it lacks y. Choose the columns"),
        (_demos(names=()), "The columns of b must have names, .*; they have none. Name them in Python"),
        (_demos(names=("x", "x", "y")), "The columns of b must have names of their own to be matched; some share one"),
        (_demos(act=2), "The actions of b must be as wide as those of a, 1 columns; got 2"),
    ],
)
def test_what_does_not_fit_is_named(other, says):
    with pytest.raises(DataError, match=says):
        join_demos([_demos(), other], titles=["a", "b"])


def test_without_names_widths_must_agree():
    assert join_demos([_demos(names=()), _demos(names=())]).n_episodes == 4
    with pytest.raises(DataError, match="The observations of source 1 must be as wide as those of source 0, 2 columns"):
        join_demos([_demos(names=()), _demos(names=(), width=3)])
    with pytest.raises(DataError, match="There must be a data set to join"):
        join_demos([])


def test_what_not_all_have_is_left_out_and_said():
    labelled = {"labels": np.array([0, 1]), "label_names": ("left", "right"), "seeds": np.array([1, 2])}
    bounds = {"action_low": np.full(1, -1.0), "action_high": np.full(1, 1.0)}
    full = _demos(rewards=np.ones(5), costs=np.zeros(5), **labelled, **bounds)
    joined = join_demos([full, _demos(**bounds)], titles=["a", "b"])
    assert (joined.rewards, joined.costs, joined.seeds, joined.labels, joined.label_names) == (None,) * 4 + ((),)
    assert joined.action_low.tolist() == [-1]
    assert joined.facts["left_out"] == [
        "b has no rewards: left out of all.",
        "b has no costs: left out of all.",
        "b has no seeds: left out of all.",
        "b has no labels: left out of all.",
    ]
    other = join_demos([full, _demos(rewards=np.zeros(5))], titles=["a", "b"])
    assert other.rewards.tolist() == [1] * 5 + [0] * 5
    assert "b has other action bounds than a: left out of all." in other.facts["left_out"]


def test_experts_of_one_name_are_one_expert():
    one = _demos(labels=np.array([0, 1]), label_names=("left", "right"))
    other = _demos(labels=np.array([0, 1]), label_names=("right", "third"))
    joined = join_demos([one, other])
    assert [joined.label_names[i] for i in joined.labels] == ["left", "right", "right", "third"]


def test_facts_that_all_say_stay_and_the_others_are_kept_apart():
    joined = join_demos([_demos(facts={"env_id": "A", "seed": 1}), _demos(facts={"env_id": "A", "seed": 2})])
    assert joined.facts["env_id"] == "A"
    assert [source["facts"] for source in joined.facts["sources"]] == [{"seed": 1}, {"seed": 2}]
    assert [source["n_steps"] for source in joined.facts["sources"]] == [5, 5]


def test_a_weight_is_a_share_of_the_steps_and_no_episode_is_there_twice():
    big = _demos([10] * 40, names=("x", "y"), labels=np.zeros(40, int), label_names=("big",), seeds=np.arange(40))
    small = _demos([5] * 20, labels=np.zeros(20, int), label_names=("small",), seeds=np.arange(100, 120))
    joined = join_demos([big, small], weights=[1.0, 1.0])
    of_big = joined.labels == joined.label_names.index("big")
    assert joined.lengths[of_big].sum() == joined.lengths[~of_big].sum() == 100
    assert len(np.unique(joined.seeds)) == joined.n_episodes
    assert (np.diff(joined.seeds) > 0).all()  # in their order
    third = join_demos([big, small], weights=[1.0, 3.0])
    assert third.n_steps == 130  # 33 steps of big are nearest to 3 episodes
    assert join_demos([big, small], weights=[4.0, 1.0]).n_steps == 500  # both whole


def test_the_draw_is_always_the_same_and_the_generator_decides_another():
    big, small = _demos([10] * 40, seeds=np.arange(40)), _demos([10], seeds=np.array([99]))
    draws = [
        join_demos([big, small], weights=[3.0, 1.0], generator=generator).seeds.tolist()
        for generator in (None, None, np.random.default_rng(1), np.random.default_rng(1), np.random.default_rng(2))
    ]
    assert draws[0] == draws[1]
    assert draws[2] == draws[3]
    assert draws[2] != draws[4]


def test_every_data_set_keeps_an_episode():
    assert join_demos([_demos([100, 100]), _demos([1])], weights=[1.0, 1000.0]).n_episodes == 2


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan")), (1.0, 2.0, 3.0)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(
        ConfigError, match=r"one for each of 2 data sets; got .*. Give one for each, .*, or leave them out"
    ):
        join_demos([_demos(), _demos()], weights=weights)


def test_a_data_set_of_no_steps_has_no_share():
    with pytest.raises(DataError, match="Every data set that gets a weight must have a step"):
        join_demos([_demos(), _demos([0])], weights=[1.0, 1.0])


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_data_set_is_told():
    for wrong, came in ((["pile"], "the path 'pile'"), ([_demos(), _demos()[0]], "an Episode")):
        with pytest.raises(DataError, match=f"must be Demos; got {came}"):
            join_demos(wrong)
    with pytest.raises(DataError, match="must come in a list; got a Demos"):
        join_demos(_demos())
