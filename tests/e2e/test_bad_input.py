"""What a person gets wrong: a message that names the place and the remedy, exit code 2, and nothing lost."""

import errno
import os
import shutil

import gymnasium
import h5py
import numpy as np
import pytest

from unbraid.demos.store import load_demos, save_demos


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(said, *words):
    """Exit code 2, a message that says all of `words`, no traceback, nothing on stdout."""
    assert said.code == 2, said.err
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err, said.err
    assert said.out == ""


@pytest.fixture
def altered(pile, tmp_path):
    """Saves the pile again with some of its arrays changed."""

    def save(name="altered", **changes):
        from dataclasses import replace

        demos = load_demos(pile, in_memory=True)
        return save_demos(
            replace(demos, **{k: change(getattr(demos, k)) for k, change in changes.items()}), tmp_path / name
        )

    return save


@pytest.mark.parametrize("verb", [("check",), ("fit", "--out", "RUN")])
def test_a_missing_file(unbraid, tmp_path, verb):
    words = [str(tmp_path / "run") if word == "RUN" else word for word in verb[1:]]
    refused(unbraid(verb[0], tmp_path / "nowhere", *words), "nowhere", "exist")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file(unbraid, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    refused(unbraid("check", tmp_path / "notes.txt"), "notes.txt")
    (tmp_path / "folder").mkdir()
    refused(unbraid("check", tmp_path / "folder"), "folder")


def test_a_truncated_array(unbraid, pile, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(pile, cut)
    whole = (cut / "observations.npy").read_bytes()
    (cut / "observations.npy").write_bytes(whole[: len(whole) // 2])
    refused(unbraid("fit", cut, "--out", tmp_path / "run"), "observations.npy")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["cut.npz", "cut.hdf5"])
def test_a_truncated_archive(unbraid, tmp_path, name):
    whole = tmp_path / name
    arrays = {"observations": np.zeros((50, 3)), "actions": np.zeros((50, 2)), "rewards": np.zeros(50)}
    if name.endswith(".npz"):
        np.savez(whole, **arrays)
    else:
        with h5py.File(whole, "w") as file:
            for key, values in arrays.items():
                file[key] = values
    whole.write_bytes(whole.read_bytes()[:700])
    refused(unbraid("check", whole), name)


def test_not_a_number(unbraid, altered, tmp_path):
    def spoil(values):
        values = np.array(values)
        values[75, 3] = np.nan
        return values

    data = altered(observations=spoil)
    said = unbraid("check", data)
    assert said.code == 3
    assert "episode 1" in said.out
    refused(unbraid("fit", data, "--out", tmp_path / "run"), "finite", "pisode")
    assert not (tmp_path / "run").exists()


def test_one_episode(unbraid, pile, tmp_path):
    data = save_demos(load_demos(pile).select([0]), tmp_path / "one")
    refused(unbraid("fit", data, "--out", tmp_path / "run"), "episode")
    assert not (tmp_path / "run").exists()


def test_episodes_shorter_than_the_window(unbraid, tmp_path):
    said = unbraid("collect", tmp_path / "short", "--episodes", 3, "--max-steps", 6)
    assert said.code == 0
    refused(unbraid("fit", tmp_path / "short", "--out", tmp_path / "run"), "10", "6")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("n_modes", [1, 0, -3, 5000])
def test_an_impossible_number_of_modes(unbraid, pile, tmp_path, n_modes):
    refused(unbraid("fit", pile, "--out", tmp_path / "run", "--n-modes", n_modes), "modes", str(n_modes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [("--held-out", 1.5), ("--n-steps", 0), ("--n-steps", -5), ("--device", "abacus")])
def test_an_impossible_setting(unbraid, pile, tmp_path, wrong):
    refused(unbraid("fit", pile, "--out", tmp_path / "run", *wrong), str(wrong[1]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", [2, 99, -1])
def test_a_mode_that_does_not_exist(unbraid, fitted, mode):
    refused(unbraid("steer", fitted, "--toward", mode), "0 to 1", str(mode))


@pytest.mark.parametrize(
    ("env", "words"),
    [("Pendulum-v1", ("60", "3")), ("CartPole-v1", ("CartPole-v1",)), ("NoSuchWorld-v7", ("NoSuchWorld-v7",))],
)
def test_an_environment_that_does_not_fit(unbraid, fitted, tmp_path, env, words):
    refused(unbraid("steer", fitted, "--toward", 0, "--env", env, "--save", tmp_path / "kept"), *words)
    assert list(tmp_path.iterdir()) == []


def test_data_of_another_width(unbraid, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nudge.py").write_text(
        "import numpy as np\n\n\ndef act(observations):\n    return np.ones((len(observations), 1))\n"
    )
    made = unbraid(
        "collect", "other", "--env", "Pendulum-v1", "--experts", "nudge:act", "--episodes", 3, "--max-steps", 30
    )
    assert made.code == 0, made.err
    refused(unbraid("modes", fitted, "other"), "60", "3")


def test_an_expert_that_nobody_knows(unbraid, fitted):
    refused(unbraid("evaluate", fitted, "--experts", "sleeping"), "sleeping", "goal_seeking")


@pytest.mark.parametrize("verb", ["modes", "steer", "evaluate", "report"])
def test_a_folder_that_is_no_run(unbraid, pile, tmp_path, verb):
    words = {"modes": [pile], "steer": ["--toward", 0]}.get(verb, [])
    refused(unbraid(verb, tmp_path, *words), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_model(unbraid, fitted, pile, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    weights = run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(unbraid("modes", run, pile), "model", "whole")


def test_a_run_that_exists_is_untouched(unbraid, fitted, pile):
    before = contents(fitted)
    refused(unbraid("fit", pile, "--out", fitted, "--n-steps", 5), "must not exist", fitted.name)
    assert contents(fitted) == before


def test_a_pile_that_exists_is_untouched(unbraid, pile):
    before = contents(pile)
    refused(unbraid("collect", pile, "--episodes", 2, "--max-steps", 20), "must not exist")
    assert contents(pile) == before


def test_a_full_disk(unbraid, pile, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    write = os.fsync

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refused(unbraid("fit", pile, "--out", tmp_path / "run", "--n-steps", 5), "space")
    monkeypatch.setattr(os, "fsync", write)
    assert [path.name for path in tmp_path.iterdir() if path.name != "run"] == ["kept"]
    assert not list(tmp_path.rglob("*.part"))
    assert kept.read_text() == "mine"
    assert unbraid("fit", pile, "--out", tmp_path / "run2", "--n-steps", 5).code == 0


def test_the_message_of_an_environment_of_the_wrong_kind_names_the_remedy(unbraid, tmp_path):
    assert "CartPole-v1" in gymnasium.registry
    said = unbraid("collect", tmp_path / "pile", "--env", "CartPole-v1", "--episodes", 2)
    refused(said, "CartPole-v1", "ontinuous" if "ontinuous" in said.err else "Box")
    assert not (tmp_path / "pile").exists()
