"""robomimic's HDF5: keys, splits, final observations, images, and what it says of files that are not that."""

import json

import h5py
import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.check import check_demos
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.robomimic import read_robomimic, write_robomimic
from unbraid.demos.loading import find_source, left_out, load_demos, load_parts
from unbraid.demos.options import ReadOptions

LENGTHS = (3, 1, 4)


def _episode(number: int, n_steps: int) -> dict[str, np.ndarray]:
    """Positions spell (episode, step), the gripper is the step: T + 1 rows, of which `obs` and `next_obs` have T."""
    rows = np.array([(number, step) for step in range(n_steps + 1)], dtype=np.float64)
    grip = np.arange(n_steps + 1.0)
    return {
        "obs/pos": rows[:-1],
        "obs/grip": grip[:-1],
        "obs/image": np.zeros((n_steps, 4, 4, 3), dtype=np.uint8),
        "next_obs/pos": rows[1:],
        "next_obs/grip": grip[1:],
        "next_obs/image": np.zeros((n_steps, 4, 4, 3), dtype=np.uint8),
        "actions": rows[:-1].astype(np.float32),
        "rewards": np.arange(n_steps, dtype=np.float64),
        "dones": np.arange(n_steps) == n_steps - 1,
    }


def _file(tmp_path, change=lambda file: None, lengths=LENGTHS):
    path = tmp_path / "left.hdf5"
    with h5py.File(path, "w") as file:
        for number, n_steps in enumerate(lengths):
            for name, values in _episode(number, n_steps).items():
                file[f"data/demo_{number}/{name}"] = values
            file[f"data/demo_{number}"].attrs["num_samples"] = n_steps
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1})
        file["mask/train"] = np.array([b"demo_2", b"demo_0"])
        file["mask/wrong"] = np.array([b"demo_9"])
        change(file)
    return path


def _without(*names):
    def change(file):
        for name in names:
            for demo in file["data"].values():
                if name in demo:
                    del demo[name]

    return change


def test_a_table_of_one_column_is_one_row_of_numbers_and_what_is_not_read_is_named(tmp_path):
    def change(file):
        for demo in file["data"].values():
            n_steps = len(demo["rewards"])
            del demo["rewards"]
            demo["rewards"], demo["states"] = np.arange(float(n_steps))[:, None], np.zeros((n_steps, 9))

    demos = load_demos(_file(tmp_path, change))
    assert demos.rewards.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert left_out(demos) == ("Images are not read: image left out.", "These arrays are not read: states.")


def test_vectors_are_laid_side_by_side_and_named_and_images_left_out(tmp_path):
    path = _file(tmp_path)
    assert find_source(path).format.name == "robomimic"
    demos = load_demos(path)
    assert demos.lengths.tolist() == [3, 1, 4]
    assert demos.observation_names == ("grip", "pos_0", "pos_1")
    np.testing.assert_array_equal(demos.observations[demos.row_of_step, 1:], demos.actions)
    assert demos.observations[demos.row_starts[1:] - 1].tolist() == [[3, 0, 3], [1, 1, 1], [4, 2, 4]]
    assert demos.rewards.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert demos.terminated.all()
    assert demos.facts["env_args"] == {"env_name": "Lift", "type": 1}
    assert left_out(demos) == ("Images are not read: image left out.",)


def test_tables_in_groups_are_read_by_their_path_and_what_is_no_number_is_named(tmp_path):
    def change(file):
        for demo in file["data"].values():
            for place in ("obs", "next_obs"):
                demo[f"{place}/eef/pos"] = demo[place]["pos"][:]
                demo[f"{place}/eef/camera/front"] = demo[place]["image"][:]
                del demo[place]["pos"]
            demo["obs/said"] = np.array([b"left"] * len(demo["actions"]))

    path = _file(tmp_path, change)
    demos = load_demos(path)
    assert demos.observation_names == ("eef/pos_0", "eef/pos_1", "grip")
    assert demos.episode(2).observations[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert left_out(demos) == (
        "Images are not read: eef/camera/front, image left out.",
        "These arrays are not read: obs/said.",
    )
    chosen = load_demos(path, options=ReadOptions(obs=("grip", "eef/pos")))
    assert chosen.observation_names == ("grip", "eef/pos_0", "eef/pos_1")
    with h5py.File(write_robomimic(demos, tmp_path / "again.hdf5")) as file:
        assert file["data/demo_0/next_obs/eef/pos"].shape == (3, 2)
    assert load_demos(tmp_path / "again.hdf5").fingerprint() == demos.fingerprint()


def test_keys_are_chosen_in_the_order_that_was_asked(tmp_path):
    demos = load_demos(_file(tmp_path), options=ReadOptions(obs=("pos", "grip")))
    assert demos.observation_names == ("pos_0", "pos_1", "grip")
    assert demos.observations[:2].tolist() == [[0, 0, 0], [0, 1, 1]]
    assert left_out(demos) == ()


def test_a_split_chooses_episodes(tmp_path):
    demos = load_demos(_file(tmp_path), options=ReadOptions(mask="train", obs=("pos",)))
    assert demos.observations[demos.row_starts[:-1], 0].tolist() == [0, 2]


def test_episodes_come_in_the_order_of_their_numbers(tmp_path):
    demos = load_demos(_file(tmp_path, lengths=(2,) * 11), options=ReadOptions(obs=("pos",)))
    assert demos.observations[demos.row_starts[:-1], 0].tolist() == list(range(11))


def test_without_next_observations_the_last_actions_go_and_it_says_so(tmp_path):
    path = _file(tmp_path, _without("next_obs"))
    demos = load_demos(path)
    assert demos.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(demos.observations[demos.row_of_step, 1:], demos.actions)
    assert demos.rewards.tolist() == [0, 1, 0, 1, 2]
    assert not demos.terminated.any()
    assert "each episode's last action is left out" in left_out(demos)[0]
    assert left_out(demos)[1] == "Episodes of one step are left out with it: 1."
    assert [part.n_episodes for part in load_parts(find_source(path), n_steps=1)] == [1, 1]


def test_what_not_every_episode_has_is_left_out_and_said(tmp_path):
    def change(file):
        del file["data/demo_2/next_obs"]
        for number in (0, 1):
            del file[f"data/demo_{number}/rewards"]

    demos = load_demos(_file(tmp_path, change))
    assert demos.rewards is None
    said = left_out(demos)
    assert "Rewards are left out: 2 of 3 episodes have none, episode 0 first." in said
    assert "Final observations (`next_obs`) are left out: 1 of 3 episodes has none, episode 2 first." in said


def test_groups_without_attributes_are_read(tmp_path):
    def change(file):
        del file["data"].attrs["env_args"]
        for demo in file["data"].values():
            del demo.attrs["num_samples"]

    assert load_demos(_file(tmp_path, change)).lengths.tolist() == [3, 1, 4]


def test_rewards_that_not_every_episode_has_are_left_out_in_every_part(tmp_path):
    def change(file):
        del file["data/demo_2/rewards"]

    path = _file(tmp_path, change)
    assert [part.rewards for part in load_parts(find_source(path), n_steps=1)] == [None, None, None]


def test_what_came_in_keys_goes_out_in_keys(tmp_path):
    demos = load_demos(_file(tmp_path))
    path = write_robomimic(demos, tmp_path / "again.hdf5")
    with h5py.File(path) as file:
        assert sorted(file["data/demo_0/obs"]) == ["grip", "pos"]
        assert file["data/demo_0/next_obs/pos"][-1].tolist() == [0, 3]
        assert json.loads(file["data"].attrs["env_args"]) == {"env_name": "Lift", "type": 1}
        assert file["data"].attrs["total"] == 8
        assert file["data/demo_2"].attrs["num_samples"] == 4
    again = load_demos(path)
    assert again.observations.tolist() == demos.observations.tolist()
    assert again.facts == demos.facts
    assert load_demos(path, options=ReadOptions(obs=("pos",))).observation_names == ("pos_0", "pos_1")


def test_a_missing_number_in_the_middle_is_read_and_the_doctor_finds_it(tmp_path):
    def change(file):
        file["data/demo_2/obs/pos"][2, 1] = np.nan
        file["data/demo_2/next_obs/pos"][1, 1] = np.nan

    findings = check_demos(load_demos(_file(tmp_path, change))).findings
    assert [(f.code, f.episode) for f in findings if f.severity == "error"] == [("not-finite", 2)]
    assert "observations[2] (pos_1)" in findings[0].message


def _replace(name, values):
    def change(file):
        del file[name]
        if values is not None:
            file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_replace("data/demo_1/actions", None), "`data/demo_1` of .* must hold `actions`; it is missing"),
        (_replace("data/demo_1/obs", None), "`data/demo_1` of .* must hold `obs`; it is missing"),
        (_replace("data/demo_1/actions", np.zeros(1)), r"`data/demo_1/actions` of .* got shape \(1,\)"),
        (
            _replace("data/demo_2/obs/pos", np.zeros((3, 2))),
            r"`pos` of .* must have as many rows as `grip`, 4; it has 3",
        ),
        (_replace("data/demo_2/obs/pos", None), r"`data/demo_2/obs`: .* must hold `pos`, which was asked for"),
        (_replace("data/demo_2/rewards", np.zeros(3)), r"`data/demo_2/rewards` of .* must have 4 rows.*\(3,\)"),
        (_replace("data/demo_2/actions", np.zeros((4, 3))), r"`actions` of .* must be equally wide in all.*\[2, 3\]"),
        (_replace("data/demo_2/actions", np.zeros((4, 2), int)), "This release covers continuous actions only"),
        (
            _replace("data/demo_2/next_obs/pos", np.zeros((4, 2))),
            "Episode 2 of .*: `next_obs` of its step 0 must be `obs` of step 1",
        ),
    ],
)
def test_what_does_not_fit_says_so_and_names_the_file(tmp_path, change, says):
    with pytest.raises(DataError, match=says) as caught:
        load_demos(_file(tmp_path, change))
    assert "left.hdf5" in str(caught.value)


def test_an_episode_of_no_steps_is_named_and_a_split_leaves_it_out(tmp_path):
    path = _file(tmp_path, lengths=(3, 0, 4))
    with pytest.raises(DataError, match=r"`data/demo_1` of .* must have a step.* Leave it out with a split \(--mask\)"):
        load_demos(path)
    assert load_demos(path, options=ReadOptions(mask="train")).lengths.tolist() == [3, 4]


def test_episodes_of_other_widths_are_named(tmp_path):
    def change(file):
        for place in ("obs", "next_obs"):
            del file[f"data/demo_2/{place}/pos"]
            file[f"data/demo_2/{place}/pos"] = np.zeros((4, 5))

    with pytest.raises(
        DataError, match=r"`data/demo_2/obs` of .* must be as wide as in the other episodes, 3 columns; .* 6"
    ):
        load_demos(_file(tmp_path, change))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (ReadOptions(obs=("image",)), "must be vectors to be observed; it holds images"),
        (ReadOptions(obs=("speed",)), "must hold `speed`, which was asked for; it holds grip, image, pos"),
        (ReadOptions(mask="valid"), "must hold the split `mask/valid`; it holds train, wrong"),
        (ReadOptions(mask="wrong"), "`mask/wrong` of .* must list episodes of the file; it lists demo_9"),
    ],
)
def test_what_was_asked_for_and_is_not_there_says_so(tmp_path, options, says):
    with pytest.raises(DataError, match=says):
        load_demos(_file(tmp_path), options=options)


def test_images_alone_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"must hold vectors; it holds image\. Images are not read"):
        load_demos(_file(tmp_path, _without("obs/pos", "obs/grip")))


def test_options_of_other_formats_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"robomimic's HDF5, which must be read without max_episode_steps .*--mask, --obs"
    ):
        load_demos(_file(tmp_path), max_episode_steps=3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_says_so(tmp_path, share):
    path = _file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"left\.hdf5 must be a whole HDF5 file; it is truncated or damaged"):
        load_demos(path)


def test_a_newer_version_of_ours_and_another_layout_say_so(tmp_path):
    meta = np.frombuffer(b'{"version": 9}', np.uint8)
    with pytest.raises(DataError, match=r"`unbraid/meta` of .* must have a version up to 1; it has 9"):
        load_demos(_file(tmp_path, lambda file: file.create_dataset("unbraid/meta", data=meta)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["other"] = 1
    with pytest.raises(DataError, match=r"must hold episodes as `data/demo_0`, .* it holds other"):
        read_robomimic(tmp_path / "a.h5")


def test_what_it_cannot_hold_is_refused(tmp_path):
    demos = Demos(np.zeros((4, 1)), np.zeros((2, 1)), np.array([2, 0]), np.zeros(2, bool))
    with pytest.raises(DataError, match="must have a step to be written as robomimic; episode 1 has none"):
        write_robomimic(demos, tmp_path / "a.hdf5")
    assert list(tmp_path.iterdir()) == []
