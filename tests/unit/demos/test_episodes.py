"""Episodes and piles of them: checked when made, and no state paired with another step's action."""

from dataclasses import FrozenInstanceError, replace

import jaxtyping
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode


def _counting(lengths=(3, 1, 4), **fields) -> Demos:
    """Observation and action both spell (episode, step), so that every pairing can be read off."""
    episodes = []
    for e, t in enumerate(lengths):
        step = np.arange(t + 1.0)
        table = np.stack([np.full(t + 1, float(e)), step], axis=1)
        values = {"rewards": step[:-1] + 10 * e, "costs": step[:-1], "seed": e, "terminated": e == 1} | fields
        episodes.append(Episode(table, table[:-1].copy(), **values))
    return Demos.from_episodes(episodes)


def test_every_action_is_paired_with_its_own_observation():
    demos = _counting()
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    for e, episode in enumerate(demos):
        np.testing.assert_array_equal(episode.observations[:-1], episode.actions)
        assert episode.n_steps == demos.lengths[e]
        assert (episode.seed, episode.terminated) == (e, e == 1)
    chosen = demos.select([2, 0, 2])
    np.testing.assert_array_equal(chosen.observations[chosen.row_of_step], chosen.actions)
    assert chosen.lengths.tolist() == [4, 3, 4]
    assert chosen.seeds.tolist() == [2, 0, 2]
    np.testing.assert_array_equal(chosen.rewards, [20, 21, 22, 23, 0, 1, 2, 20, 21, 22, 23])


def test_episodes_of_no_steps_are_tolerated():
    demos = _counting((0, 2, 0))
    assert [e.n_steps for e in demos] == [0, 2, 0]
    assert demos.select([2, 0]).n_steps == 0
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"observations": np.zeros((3, 2))}, "one more observation than actions; got 3 and 3"),
        ({"actions": np.zeros(3)}, r"must be \(T \+ 1, obs\) and \(T, act\)"),
        ({"rewards": np.zeros(4)}, r"rewards must be one number per action, shape \(3,\); got \(4,\)"),
        ({"costs": np.zeros((3, 1))}, r"costs must be one number per action, shape \(3,\); got \(3, 1\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_an_episode_that_does_not_fit_together_says_so(fields, says):
    with pytest.raises(DataError, match=says):
        Episode(**({"observations": np.zeros((4, 2)), "actions": np.zeros((3, 1))} | fields))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"observations": np.zeros((6, 2))}, "`observations` must have 7 rows for 2 episodes of 5 steps in all"),
        ({"actions": np.zeros((4, 1))}, "`actions` must have 5 rows"),
        ({"actions": np.zeros(5)}, "must be flat tables"),
        ({"rewards": np.zeros(7)}, "`rewards` must have 5 rows"),
        ({"terminated": np.zeros(3, bool)}, "`terminated` must have 2 rows"),
        ({"seeds": np.zeros(1, int)}, "`seeds` must have 2 rows"),
        ({"lengths": np.array([6, -1])}, "must have 0 steps or more; `lengths` gives episode 1 -1"),
        ({"labels": np.array([0, 2]), "label_names": ("a", "b")}, r"`labels` must lie in \[0, 2\)"),
        ({"action_low": np.zeros(2)}, r"`action_low` must hold one number for each of 1 actuators; got shape \(2,\)"),
        ({"observation_names": ("x",)}, "must name all 2 columns; got 1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_demos_that_do_not_fit_together_say_so(fields, says):
    fitting = {
        "observations": np.zeros((7, 2)),
        "actions": np.zeros((5, 1)),
        "lengths": np.array([2, 3]),
        "terminated": np.zeros(2, bool),
    }
    Demos(**fitting)
    with pytest.raises(DataError, match=says):
        Demos(**(fitting | fields))


def test_a_wrong_shape_or_kind_raises():
    """The shape checks of the tests are on in this package."""
    with pytest.raises(jaxtyping.TypeCheckError):
        Episode(np.zeros((4, 2)), np.zeros((3, 1), dtype=np.int64))


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        _counting().facts = {}  # type: ignore[misc]


def test_different_widths_and_no_episodes_are_refused():
    one, other = (Episode(np.zeros((2, n)), np.zeros((1, 1))) for n in (2, 3))
    with pytest.raises(DataError, match="episode 0 has 2 and 1, episode 1 has 3 and 1"):
        Demos.from_episodes([one, other])
    with pytest.raises(DataError, match="at least one episode"):
        Demos.from_episodes([])


def test_an_episode_that_does_not_exist_is_refused():
    demos = _counting()
    for index in (-1, 3):
        with pytest.raises(DataError, match=rf"\[0, 3\); got {index}"):
            demos.episode(index)
        with pytest.raises(DataError, match=rf"\[0, 3\); got {index}"):
            demos.select([0, index])


def test_a_split_is_by_episode_and_by_the_generator_alone():
    demos = _counting((2,) * 20)
    fitted, held = demos.split(held_out=0.25, generator=np.random.default_rng(0))
    assert (fitted.n_episodes, held.n_episodes) == (15, 5)
    assert sorted([*fitted.seeds, *held.seeds]) == list(range(20))
    again = demos.split(held_out=0.25, generator=np.random.default_rng(0))[1]
    other = demos.split(held_out=0.25, generator=np.random.default_rng(1))[1]
    assert again.seeds.tolist() == held.seeds.tolist() != other.seeds.tolist()
    with pytest.raises(ConfigError, match=r"share in \(0, 1\)"):
        demos.split(held_out=1.0, generator=np.random.default_rng(0))


def test_shuffling_keeps_every_episode_whole():
    demos = _counting((3, 1, 4, 2))
    shuffled = demos.shuffled(np.random.default_rng(0))
    assert shuffled.seeds.tolist() != demos.seeds.tolist()
    assert sorted(shuffled.seeds.tolist()) == [0, 1, 2, 3]
    for episode in shuffled:
        np.testing.assert_array_equal(episode.observations, demos.episode(episode.seed).observations)


def test_the_fingerprint_is_of_what_the_learner_sees():
    demos = Demos.from_episodes(
        [Episode(np.zeros((3, 1)), np.zeros((2, 1)), label=i, rewards=np.full(2, float(i))) for i in (0, 1)],
        label_names=("a", "b"),
    )
    assert demos.fingerprint() == demos.without_labels().fingerprint()
    assert demos.without_labels().labels is None
    other = Demos.from_episodes([Episode(np.zeros((3, 1)), np.full((2, 1), i)) for i in (0.0, 1.0)])
    assert demos.fingerprint() != other.fingerprint()


def test_seeds_that_do_not_fit_in_64_bits_are_left_out_and_said():
    def episodes(*seeds: int | None) -> list[Episode]:
        return [Episode(np.zeros((3, 1)), np.zeros((2, 1)), seed=seed) for seed in seeds]

    demos = Demos.from_episodes(episodes(1, 2**63), facts={"env_id": "A"})
    assert demos.seeds is None
    assert demos.facts == {"env_id": "A", "left_out": ["Seeds are left out: one does not fit in 64 bits with a sign."]}
    assert Demos.from_episodes(episodes(-(2**63), 2**63 - 1)).seeds.tolist() == [-(2**63), 2**63 - 1]
    assert Demos.from_episodes(episodes(1, None)).facts == {}


@pytest.mark.parametrize(
    ("labels", "names", "says"),
    [
        ([0, -1], ("a", "b"), "`labels` must not be negative; episode 1 has -1. Drop `labels` where"),
        ([2, 0], ("a", "b"), r"`labels` must lie in \[0, 2\), .*; episode 0 has 2. Name every expert, or drop"),
        ([0, 0], (), "`labels` must be named in `label_names`; episode 0 has 0, and there are no names. Name every"),
    ],
)
def test_labels_that_name_nobody_are_refused_with_what_to_do(labels, names, says):
    steps = [Episode(np.zeros((3, 1)), np.zeros((2, 1)))] * 2
    with pytest.raises(DataError, match=says):
        replace(Demos.from_episodes(steps), labels=np.array(labels), label_names=names)


def test_episodes_of_no_steps_are_not_held_out():
    lengths = [0, 3, 0, 0, 4, 0, 5, 0]
    demos = Demos.from_episodes([Episode(observations=np.ones((n + 1, 2)), actions=np.ones((n, 1))) for n in lengths])
    for seed in range(8):
        fitted, held = demos.split(held_out=0.5, generator=np.random.default_rng(seed))
        assert held.lengths.all()
        assert (held.n_episodes, fitted.n_episodes) == (2, 6)
    with pytest.raises(ConfigError, match=r"at least 2 episodes; got 0.5 and 1, and 3 without a step"):
        demos.select([0, 1, 2, 3]).split(held_out=0.5, generator=np.random.default_rng(0))


def test_labels_without_names_are_called_by_their_numbers():
    def labelled(labels, **names):
        episodes = [Episode(observations=np.ones((2, 1)), actions=np.ones((1, 1)), label=label) for label in labels]
        return Demos.from_episodes(episodes, **names)

    numbered = labelled([7, 2, 7])
    assert numbered.labels.tolist() == [1, 0, 1]
    assert numbered.label_names == ("2", "7")
    assert labelled([1, 0], label_names=("a", "b")).labels.tolist() == [1, 0]
    for none in (labelled([None, None]), labelled([0, None]), labelled([0, None], label_names=("a",))):
        assert none.labels is None
