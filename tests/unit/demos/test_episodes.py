"""Episodes and piles of them: checked when made, and no state paired with another step's action."""

from dataclasses import FrozenInstanceError, replace

import jaxtyping
import numpy as np
import pytest
import torch

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
        ({"actions": np.zeros(3)}, r"must be flat tables, \(T \+ 1, obs\) and \(T, act\)"),
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
        Episode(np.zeros((4, 2), dtype=np.int64), np.zeros((3, 1)))


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
    assert Demos.from_episodes(episodes(None, None)).facts == {}


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


def test_it_is_a_sequence_of_episodes():
    demos = _counting((3, 1, 4))
    assert len(demos) == 3
    assert [demos[0].seed, demos[-1].seed, demos[np.int64(1)].seed] == [0, 2, 1]
    assert [episode.seed for episode in reversed(demos)] == [2, 1, 0]
    for index in (3, -4):
        with pytest.raises(IndexError, match=rf"must lie in \[-3, 3\); got {index}"):
            demos[index]
    assert bool(demos.select([]))
    assert len(demos.select([])) == 0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("index", [slice(0, 2), "0", 1.0, None])
def test_one_episode_is_asked_for_by_its_number(index):
    demos = _counting()
    with pytest.raises(DataError, match=r"by its number; got .* Take several with `select`"):
        demos[index]
    with pytest.raises(DataError, match="number must be a whole number"):
        demos.episode(index)


def test_episodes_are_chosen_by_numbers_a_slice_or_a_mask():
    demos = _counting((3, 1, 4, 2))
    for wanted in ([1, 3], range(1, 4, 2), slice(1, None, 2), np.array([False, True] * 2), [False, True, False, True]):
        assert demos.select(wanted).seeds.tolist() == [1, 3]
    assert demos.select(np.zeros(4, dtype=bool)).n_episodes == 0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (np.array([True, False]), "one for each of 3 episodes; got 2"),
        (np.array([0.7, 1.2]), "a list of whole numbers"),
        (1, "a list of whole numbers, .*; got an int"),
        ([[0, 1]], "a list of whole numbers"),
        (["a"], "a list of whole numbers, .*; got a list of str"),
        ([[0], [1, 2]], "a list of whole numbers"),
    ],
)
def test_what_chooses_no_episodes_is_refused(wanted, says):
    with pytest.raises(DataError, match=says):
        _counting().select(wanted)


def test_what_only_some_episodes_have_is_left_out_and_said():
    def of(**fields) -> Episode:
        return Episode(np.zeros((3, 1)), np.zeros((2, 1)), **fields)

    demos = Demos.from_episodes([of(label=0, rewards=np.ones(2)), of(rewards=np.ones(2)), of(seed=3), of(label=1)])
    assert demos.labels is demos.rewards is demos.seeds is None
    assert demos.facts["left_out"] == [
        "Rewards are left out: 2 of 4 episodes have none, episode 2 first.",
        "Seeds are left out: 3 of 4 episodes have none, episode 0 first.",
        "Labels are left out: 2 of 4 episodes have none, episode 1 first.",
    ]
    assert Demos.from_episodes([of(label=0), of(label=0)]).facts == {}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"actions": np.zeros((3, 1), dtype=np.int64)}, "actions must be continuous; got int64"),
        ({"actions": [[True], [False], [True]]}, "actions must be continuous; got bool"),
        ({"label": "ann"}, "label must be a whole number; got 'ann'. It is an index"),
        ({"label": 1.0}, "label must be a whole number; got 1.0"),
        ({"seed": 1.5}, "seed must be a whole number; got 1.5"),
        ({"seed": "q"}, "seed must be a whole number; got 'q'"),
        ({"terminated": np.zeros(3, dtype=bool)}, "terminated must be true or false; got array"),
        ({"terminated": "False"}, "terminated must be true or false; got 'False'"),
        ({"terminated": np.nan}, "terminated must be true or false; got nan"),
    ],
)
def test_a_field_of_an_episode_that_is_another_thing_is_refused(fields, says):
    with pytest.raises(DataError, match=says):
        Episode(**({"observations": np.zeros((4, 2)), "actions": np.zeros((3, 1))} | fields))


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_numbers_of_an_episode():
    """As `numpy.load` gives them: arrays without axes."""
    fields = {"label": np.array(1), "seed": np.uint8(7), "terminated": np.array(True)}
    episode = Episode(np.zeros((4, 2)), np.zeros((3, 1)), **fields)
    assert (episode.label, episode.seed, episode.terminated) == (1, 7, True)
    assert [type(v) for v in (episode.label, episode.seed, episode.terminated)] == [int, int, bool]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("told", [1, 1.0, np.float32(1), np.array([True]), np.array([[1.0]])])
def test_ends_may_be_numbers_as_replay_buffers_keep_them(told):
    assert Episode(np.zeros((4, 2)), np.zeros((3, 1)), terminated=told).terminated is True
    demos = replace(_counting((1, 2)), terminated=np.array([0, 1], dtype=np.float32))
    assert demos.terminated.tolist() == [False, True]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("how", [list, tuple, iter, np.array, lambda names: dict.fromkeys(names).keys()])
def test_names_may_come_in_any_row(how):
    episodes = [Episode(np.zeros((2, 2)), np.zeros((1, 1)), label=i) for i in (0, 1)]
    demos = Demos.from_episodes(episodes, label_names=how(["ann", "bob"]), observation_names=how(["x", "y"]))
    assert (demos.label_names, demos.observation_names) == (("ann", "bob"), ("x", "y"))
    assert Demos.from_episodes(episodes, label_names=None).label_names == ("0", "1")


@pytest.mark.usefixtures("unchecked")
def test_demos_take_lists():
    demos = Demos([[0.0], [1.0], [2.0]], [[0.5], [1.5]], [2], [1], seeds=[4], labels=[0], label_names=["ann"])
    assert (demos.lengths.dtype, demos.terminated.dtype, demos.seeds.dtype) == (np.int64, bool, np.int64)
    assert (demos[0].n_steps, demos[0].terminated, demos[0].seed, demos.label_names) == (2, True, 4, ("ann",))
    for fields, says in (
        ({"lengths": [2.0]}, "`lengths` must hold one whole number for each episode; got shape .* of float64"),
        ({"lengths": 2}, r"`lengths` must hold one whole number for each episode; got shape \(\)"),
        ({"terminated": ["no"]}, "`terminated` must hold true or false"),
        ({"terminated": [np.nan]}, "`terminated` must hold true or false"),
        ({"seeds": np.array([2**63], dtype=np.uint64)}, "`seeds` must fit in 64 bits with a sign"),
        ({"label_names": "ann"}, "`label_names` must be a list of texts; got 'ann'"),
        ({"observation_names": [1]}, r"`observation_names` must be a list of texts; got \(1,\)"),
        ({"observation_names": 1}, "`observation_names` must be a list of texts; got 1"),
    ):
        with pytest.raises(DataError, match=says):
            replace(demos, **fields)


def test_episodes_may_come_one_by_one():
    episodes = list(_counting())
    assert Demos.from_episodes(iter(episodes)).seeds.tolist() == [0, 1, 2]
    assert Demos.from_episodes(_counting()).fingerprint() == _counting().fingerprint()


def test_it_shows_itself_in_a_line():
    demos = _counting((3, 1))
    assert repr(demos) == (
        "Demos(n_episodes=2, n_steps=4, observation_size=2, action_size=2, with rewards, costs, seeds)"
    )
    assert repr(demos[1]) == (
        "Episode(n_steps=1, observations=(2, 2), actions=(1, 2), terminated=True, seed=1, with rewards and costs)"
    )


@pytest.mark.usefixtures("unchecked")
def test_decimals_of_more_than_64_bits_become_float64():
    wide = Episode(np.zeros((4, 2), dtype=np.longdouble), np.ones((3, 1), dtype=np.longdouble))
    assert (wide.observations.dtype, wide.actions.dtype) == (np.float64, np.float64)


@pytest.mark.usefixtures("unchecked")
def test_a_seed_is_no_generator_and_it_says_how_to_make_one():
    demos = _counting((2,) * 4)
    for draw in (demos.shuffled, lambda given: demos.split(held_out=0.5, generator=given)):
        for wrong in (0, None, np.random):
            with pytest.raises(ConfigError, match=r"must be a numpy\.random\.Generator; got .*default_rng\(0\)"):
                draw(wrong)


@pytest.mark.usefixtures("unchecked")
def test_what_can_be_made_a_table_is_told_how():
    seen, done = np.zeros((6, 3)), np.zeros((5, 1))
    with pytest.raises(
        DataError, match=r"got shapes \(6, 3\) and \(5,\)\. Numbers of one column .* values\.reshape\(-1, 1\)"
    ):
        Episode(observations=seen, actions=done[:, 0])
    with pytest.raises(DataError, match=r"got shapes \(6, 3, 1\) and \(5, 1\)\. Flatten what has more axes"):
        Episode(observations=seen[..., None], actions=done)
    for tensor in (torch.zeros(6, 3, requires_grad=True), torch.zeros(6, 3, dtype=torch.bfloat16)):
        with pytest.raises(DataError, match=r"must be an array of numbers; .*[^.]\. Convert it: tensor\.detach\(\)"):
            Episode(observations=tensor, actions=done)
