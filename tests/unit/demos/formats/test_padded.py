"""Padded arrays: which axis is time, masks, final observations that are not there."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.formats.padded import FORMAT, read_padded, write_padded
from unbraid.demos.loading import find_source, left_out, load_demos, load_parts
from unbraid.demos.options import ReadOptions

LENGTHS = np.array([3, 1, 4])
BET = ("observations_seq", "actions_seq", "existence_mask")
PUSH = ("multimodal_push_observations", "multimodal_push_actions", "multimodal_push_masks")


def _arrays(lengths=LENGTHS):
    """(episode, time, column): two columns that spell (episode, step), 77 where an episode is over."""
    observations = np.full((len(lengths), 5, 2), 77.0)
    mask = np.zeros((len(lengths), 5))
    for episode, n_steps in enumerate(lengths):
        observations[episode, :n_steps] = [(episode, step) for step in range(n_steps)]
        mask[episode, :n_steps] = 1
    return observations, observations.astype(np.float32), mask


def _folder(tmp_path, arrays=None, names=BET, time_first=True):
    for name, values in zip(names, arrays or _arrays(), strict=True):
        np.save(tmp_path / f"{name}.npy", np.swapaxes(values, 0, 1) if time_first else values)
    return tmp_path


@pytest.mark.parametrize(("names", "time_first"), [(BET, True), (BET, False), (PUSH, False)])
def test_the_mask_tells_which_axis_is_time(tmp_path, names, time_first):
    path = _folder(tmp_path, names=names, time_first=time_first)
    assert find_source(path).format.name == "padded"
    demos = load_demos(path)
    assert demos.lengths.tolist() == [2, 3]
    assert demos.observations.tolist() == [[0, 0], [0, 1], [0, 2], [2, 0], [2, 1], [2, 2], [2, 3]]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert "no final observations" in left_out(demos)[0]
    assert [part.lengths.tolist() for part in load_parts(find_source(path), n_steps=1)] == [[2], [3]]


def test_where_both_axes_could_be_time_it_asks(tmp_path):
    path = _folder(tmp_path, tuple(values[:, :3] for values in _arrays((3, 3))))
    with pytest.raises(DataError, match=r"must tell which axis is time; with shape \(3, 2\), both could be"):
        load_demos(path)
    assert load_demos(path, options=ReadOptions(time_axis=0)).lengths.tolist() == [2, 2]
    assert load_demos(path, options=ReadOptions(time_axis=1)).lengths.tolist() == [1, 1, 1]
    with pytest.raises(ConfigError, match=r"time_axis .* must be 0 or 1; got 2"):
        load_demos(path, options=ReadOptions(time_axis=2))


def test_what_is_written_is_what_bet_expects(tmp_path):
    (tmp_path / "from").mkdir()
    demos = load_demos(_folder(tmp_path / "from"))
    path = write_padded(demos, tmp_path / "to")
    mask = np.load(path / "existence_mask.npy", allow_pickle=False)
    assert mask.sum(axis=0).tolist() == [2, 3]
    assert np.load(path / "observations_seq.npy", allow_pickle=False)[:, 1].tolist() == [[2, 0], [2, 1], [2, 2]]


def test_a_missing_number_in_the_middle_is_read_and_the_doctor_finds_it(tmp_path):
    observations, actions, mask = _arrays()
    observations[2, 1, 0] = np.nan
    findings = check_demos(load_demos(_folder(tmp_path, (observations, actions, mask)))).findings
    assert ("not-finite", 1) in [(f.code, f.episode) for f in findings]


def _changed(index, change):
    arrays = list(_arrays())
    arrays[index] = change(arrays[index])
    return tuple(arrays)


def _gap(mask):
    mask[0, 0] = mask[2, 2] = 0
    return mask


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (_changed(2, _gap), "The mask of .* must be ones, then zeros, along time; it has gaps"),
        (_changed(2, lambda m: m + 1), "`existence_mask` of .* must be a table of zeros and ones"),
        (
            _changed(1, lambda a: a[:, :4]),
            r"must agree in their first two axes; got \(5, 3, 2\), \(4, 3, 2\) and \(5, 3\)",
        ),
        (_changed(1, lambda a: a.astype(int)), "This release covers continuous actions only"),
        (_changed(0, lambda o: o[:, :, 0]), r"`observations_seq` of .* must be \(time, episode, column\) .* got shape"),
        (_changed(0, lambda o: o[..., None, None]), "`observations_seq` of .* got images"),
    ],
)
def test_what_does_not_fit_says_so_and_names_the_folder(tmp_path, arrays, says):
    with pytest.raises(DataError, match=says) as caught:
        read_padded(_folder(tmp_path, arrays))
    assert str(tmp_path) in str(caught.value)


def test_a_truncated_a_missing_and_a_pickled_array_say_so(tmp_path):
    path = _folder(tmp_path)
    content = (path / "actions_seq.npy").read_bytes()
    (path / "actions_seq.npy").write_bytes(content[:-10])
    with pytest.raises(DataError, match=r"actions_seq\.npy must be a whole \.npy array; it is truncated or damaged"):
        load_demos(path)
    np.save(path / "actions_seq.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(
        DataError, match=r"actions_seq\.npy must hold numbers; it holds Python objects, which are never"
    ):
        load_demos(path)
    (path / "actions_seq.npy").unlink()
    with pytest.raises(DataError, match=r"actions_seq\.npy must exist"):
        read_padded(path)


def test_episodes_of_one_step_alone_say_so(tmp_path):
    path = _folder(tmp_path, _arrays((1, 1, 1)))
    with pytest.raises(DataError, match="must hold an episode of at least 2 steps, as it has no final observations"):
        load_demos(path, options=ReadOptions(time_axis=0))


def test_a_newer_version_of_ours_says_so(tmp_path):
    (_folder(tmp_path) / "unbraid.json").write_text('{"version": 2}')
    with pytest.raises(DataError, match=r"`unbraid\.json` of .* must have a version up to 1; it has 2"):
        load_demos(tmp_path)


def test_rewards_and_ends_are_said_to_have_no_place():
    ended, went_on = (
        Episode(np.zeros((3, 2)), np.zeros((2, 1)), terminated=True),
        Episode(np.ones((3, 2)), np.ones((2, 1))),
    )
    place = "kept in files of their own beside the three, where only unbraid looks."
    (final,) = FORMAT.not_held(Demos.from_episodes([went_on]))
    assert "final observations" in final
    assert FORMAT.not_held(Demos.from_episodes([went_on, ended])) == (
        final,
        f"It has no place for how an episode ended: {place}",
    )
    rewarded = Demos.from_episodes([replace(went_on, rewards=np.zeros(2), costs=np.zeros(2))])
    assert FORMAT.not_held(rewarded) == (final, f"It has no place for rewards, costs: {place}")
