"""Plain arrays, an episode at a time: folders and numbered keys, other names, and what does not fit."""

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.demos.check import check_demos
from unbraid.demos.formats.per_episode import read_per_episode
from unbraid.demos.loading import find_source, load_demos, load_parts
from unbraid.demos.options import ReadOptions

LENGTHS = (3, 1, 4)


def _episode(number: int, n_steps: int, n_rows: int | None = None) -> dict[str, np.ndarray]:
    rows = np.array([(number, step) for step in range(n_rows or n_steps + 1)], dtype=np.float64)
    return {"observations": rows, "actions": rows[:n_steps].astype(np.float32), "rewards": np.arange(float(n_steps))}


def _folder(tmp_path, numbers=(0, 1, 2), **changes):
    for number, n_steps in zip(numbers, LENGTHS, strict=True):
        arrays = _episode(number, n_steps)
        if number == numbers[-1]:
            arrays |= changes
        kept = {name: values for name, values in arrays.items() if values is not None}
        np.savez(tmp_path / f"episode_{number}.npz", **kept)
    return tmp_path


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    path = _folder(tmp_path, numbers=(0, 2, 10))
    assert find_source(path).format.name == "per_episode"
    demos = load_demos(path)
    assert demos.lengths.tolist() == [3, 1, 4]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step], demos.actions)
    assert demos.rewards.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert [part.n_episodes for part in load_parts(find_source(path), n_steps=4)] == [2, 1]


@pytest.mark.parametrize("key", ["{name}_{number}", "{number}/{name}"])
def test_numbered_arrays_of_one_archive_are_episodes(tmp_path, key):
    others = {"observations": "state", "actions": "act", "rewards": "reward"}
    arrays = {
        key.format(name=others[name], number=10 * number): values
        for number, n_steps in enumerate(LENGTHS)
        for name, values in _episode(number, n_steps).items()
    }
    np.savez(tmp_path / "a.npz", **arrays)
    demos = load_demos(tmp_path / "a.npz")
    assert demos.lengths.tolist() == [3, 1, 4]
    assert demos.observations[demos.row_starts[:-1], 0].tolist() == [0, 1, 2]
    assert demos.rewards is not None


def test_experts_that_are_only_numbered_get_numbers_for_names(tmp_path):
    for number in range(3):
        np.savez(tmp_path / f"{number}.npz", **_episode(number, 2), label=np.array(2 - number), seed=np.array(7))
    for demos in (load_demos(tmp_path), *load_parts(find_source(tmp_path), n_steps=1)):
        assert demos.label_names == ("0", "1", "2")
    assert load_demos(tmp_path).labels.tolist() == [2, 1, 0]
    assert load_demos(tmp_path).seeds.tolist() == [7, 7, 7]


def test_other_tables_can_be_observed(tmp_path):
    for number in range(2):
        episode = _episode(number, 2)
        np.savez(tmp_path / f"{number}.npz", pos=episode["observations"], grip=np.arange(3), action=episode["actions"])
    demos = load_demos(tmp_path, options=ReadOptions(obs=("grip", "pos")))
    assert demos.observation_names == ("grip", "pos_0", "pos_1")
    with pytest.raises(DataError, match=r"0\.npz must hold `observations` and `actions`; it holds pos, grip, action"):
        load_demos(tmp_path)


def test_without_final_observations_it_asks_and_then_drops_the_last_actions(tmp_path):
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", **_episode(number, 3, n_rows=3), terminated=np.array(True))
    with pytest.raises(DataError, match=r"0\.npz must have one more observation than actions; got 3 rows of each"):
        load_demos(tmp_path)
    demos = load_demos(tmp_path, drop_last_action=True)
    assert demos.lengths.tolist() == [2, 2]
    assert demos.rewards.tolist() == [0, 1, 0, 1]
    assert not demos.terminated.any()
    assert demos.facts == {"dropped_last_actions": True, "dropped_one_step_episodes": 0}


@pytest.mark.parametrize("n_steps", [(1, 3, 1, 2), (3, 2, 1)])
def test_an_episode_of_a_single_step_vanishes_with_it_and_is_counted(tmp_path, n_steps):
    for number, length in enumerate(n_steps):
        arrays = _episode(number, length, n_rows=length)
        np.savez(tmp_path / f"{number}.npz", **arrays, label=np.array(number), seed=np.array(10 + number))
    whole = load_demos(tmp_path, drop_last_action=True)
    options = ReadOptions(drop_last_action=True)
    parts = list(load_parts(find_source(tmp_path), options=options, n_steps=1))
    kept = [number for number, length in enumerate(n_steps) if length > 1]
    assert whole.lengths.tolist() == [n_steps[number] - 1 for number in kept]
    assert whole.labels.tolist() == kept
    assert whole.seeds.tolist() == [10 + number for number in kept]
    assert whole.facts == {"dropped_last_actions": True, "dropped_one_step_episodes": n_steps.count(1)}
    assert [part.lengths.tolist() for part in parts] == [[length] for length in whole.lengths]
    assert [(part.facts, part.label_names) for part in parts] == [(whole.facts, whole.label_names)] * 2


def test_single_steps_alone_are_no_data_without_final_observations(tmp_path):
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", **_episode(number, 1, n_rows=1))
    with pytest.raises(DataError, match="must hold an episode of at least 2 steps to drop last actions; its 2"):
        load_demos(tmp_path, drop_last_action=True)


def test_what_not_every_episode_has_is_left_out_and_said(tmp_path):
    demos = load_demos(_folder(tmp_path, rewards=None, img=np.zeros((4, 2, 2, 3), np.uint8)))
    assert demos.rewards is None
    lacking = "Rewards are left out: 1 of 3 episodes has none, episode 2 first."
    assert demos.facts == {"left_out": [lacking, "These arrays are not read: img."]}


def test_arrays_of_an_archive_that_are_not_read_are_named_without_their_numbers(tmp_path):
    arrays = {f"{name}_{n}": v for n in range(2) for name, v in _episode(n, 3).items()} | {"note": np.zeros(2)}
    np.savez(tmp_path / "a.npz", **arrays, **{f"img_{n}": np.zeros((3, 2, 2, 3), np.uint8) for n in range(2)}, of_7=[0])
    assert load_demos(tmp_path / "a.npz").facts == {"left_out": ["These arrays are not read: note, of_7, img."]}


def test_an_episode_that_lacks_its_actions_is_named_and_not_passed_over(tmp_path):
    arrays = {f"{name}_{n}": v for n in range(4) for name, v in _episode(n, 3).items() if (name, n) != ("actions", 2)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(
        DataError, match=r"Episode 2 of .*a\.npz must hold `actions`, as others do; it holds observations_2"
    ):
        load_demos(tmp_path / "a.npz")


def test_labels_may_be_of_any_type_that_holds_whole_numbers(tmp_path):
    for number, label in enumerate((1.0, True, np.uint8(7))):
        np.savez(tmp_path / f"{number}.npz", **_episode(number, 2), label=np.array(label))
    assert load_demos(tmp_path).labels.tolist() == [0, 0, 1]
    assert load_demos(tmp_path).label_names == ("1", "7")
    np.savez(tmp_path / "1.npz", **_episode(1, 2), label=np.array(-1))
    with pytest.raises(DataError, match=r"`label` of .* must say who acted, .* from 0 on; it gives episode 1 -1"):
        load_demos(tmp_path)


def test_seeds_that_do_not_fit_in_64_bits_are_left_out_and_said(tmp_path):
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", **_episode(number, 2), seed=np.array(2**63 - 1 + number, dtype=np.uint64))
    for demos in (load_demos(tmp_path), *load_parts(find_source(tmp_path), n_steps=1)):
        assert demos.seeds is None
        assert demos.facts == {"left_out": ["Seeds are left out: one does not fit in 64 bits with a sign."]}


def test_a_missing_number_in_the_middle_is_read_and_the_doctor_finds_it(tmp_path):
    observations = _episode(2, 4)["observations"]
    observations[1, 1] = np.nan
    findings = check_demos(load_demos(_folder(tmp_path, observations=observations))).findings
    assert ("not-finite", 2) in [(f.code, f.episode) for f in findings]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"actions": None}, r"episode_2\.npz must hold `observations` and `actions`; it holds observations, rewards"),
        ({"observations": np.zeros((9, 2))}, r"episode_2\.npz: .* one more observation than actions; got 9 and 4"),
        ({"observations": np.zeros((5, 3))}, "must have the same widths .* episode 2 has 3 and 2"),
        ({"observations": np.zeros((5, 8, 8, 3), np.uint8)}, r"`observations` of .*episode_2\.npz .* it holds images"),
        ({"actions": np.zeros((4, 2), int)}, r"`actions` of .*episode_2\.npz .*continuous actions only"),
        ({"rewards": np.zeros(3)}, r"`rewards` of .*episode_2\.npz must have 4 rows, one for each action; it has 3"),
        ({"observations": np.array([{}], dtype=object)}, r"`observations` of .*episode_2\.npz .* Python objects"),
    ],
)
def test_what_does_not_fit_says_so_and_names_the_file(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        load_demos(_folder(tmp_path, **changes))


def test_a_truncated_episode_and_a_label_that_is_no_number_say_so(tmp_path):
    path = _folder(tmp_path)
    for number in range(3):
        np.savez(tmp_path / f"episode_{number}.npz", **_episode(number, 2), label=np.array("left"))
    with pytest.raises(DataError, match=r"`label` of .*episode_0\.npz must be one whole number; got shape \(\) of <U4"):
        load_demos(path)
    (path / "episode_1.npz").write_bytes((path / "episode_1.npz").read_bytes()[:-50])
    with pytest.raises(DataError, match=r"episode_1\.npz must be a whole \.npz archive"):
        load_demos(path)


def test_an_empty_folder_and_a_newer_version_of_ours_say_so(tmp_path):
    with pytest.raises(DataError, match=r"must hold an \.npz for each episode; it holds none"):
        read_per_episode(tmp_path)
    (_folder(tmp_path) / "unbraid.json").write_text('{"version": 2}')
    with pytest.raises(DataError, match=r"`unbraid\.json` of .* must have a version up to 1; it has 2"):
        load_demos(tmp_path)


def test_an_episode_whose_link_leads_nowhere_is_missed(tmp_path):
    path = _folder(tmp_path)
    elsewhere = tmp_path / "episode_1.kept"
    (path / "episode_1.npz").rename(elsewhere)
    (path / "episode_1.npz").symlink_to(elsewhere)
    assert load_demos(path).lengths.tolist() == [3, 1, 4]
    elsewhere.unlink()
    with pytest.raises(DataError, match=r"episode_1\.npz must exist; there is no such file"):
        load_demos(path)
