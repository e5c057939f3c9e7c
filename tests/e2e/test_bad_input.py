"""Wrong input: what must hold, what came, what to do; exit code 2; and nothing lost, nothing half written."""

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from unbraid.core.errors import StorageError
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.formats.npz import write_npz
from unbraid.demos.loading import load_demos
from unbraid.demos.store import save_demos
from unbraid.pipeline.config import DemoConfig, DemoSizes


@pytest.fixture
def refused(unbraid, contents, tmp_path):
    """Calls `unbraid`, and sees that it refused: a message in three parts, no traceback, and no file touched."""

    def call(*arguments: object) -> str:
        before = contents(tmp_path)
        said = unbraid(*arguments)
        assert said.code == 2, said.err
        assert said.out == ""
        assert "Traceback" not in said.err
        message = said.err.removeprefix("unbraid: ").strip()
        assert message != said.err.strip(), "the program names itself"
        assert re.search(r"\b(must|need|needs)\b", message), f"what must hold: {message}"
        assert re.search(r"[;,.] ", message), f"what came, what to do: {message}"
        assert message.endswith((".", "`", "?")), f"a remedy, in a sentence: {message}"
        assert contents(tmp_path) == before, "something was written"
        return message

    return call


def _damaged_copy(pile: Path, to: Path, name: str, change) -> Path:
    shutil.copytree(pile, to)
    (to / name).write_bytes(change((to / name).read_bytes()))
    return to


def _npz(pile: Path, path: Path, **changed: np.ndarray) -> Path:
    write_npz(load_demos(pile, in_memory=True), path)
    if changed:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files} | changed
        np.savez(path, allow_pickle=False, **arrays)
    return path


def _d4rl(pile: Path, path: Path) -> Path:
    import h5py

    demos = load_demos(pile, in_memory=True)
    ends = np.zeros(demos.n_steps, dtype=bool)
    ends[demos.step_starts[1:] - 1] = True
    with h5py.File(path, "w") as file:
        file["observations"] = demos.observations[demos.row_of_step]
        file["next_observations"] = demos.observations[demos.row_of_step + 1]
        file["actions"] = demos.actions
        file["rewards"] = demos.rewards
        file["terminals"] = np.zeros(demos.n_steps, dtype=bool)
        file["timeouts"] = ends
    return path


def _made_of(episodes: list[Episode], path: Path) -> Path:
    save_demos(Demos.from_episodes(episodes), path)
    return path


def _episode(n_steps: int, seed: int = 0) -> Episode:
    generator = np.random.default_rng(seed)
    return Episode(observations=generator.normal(size=(n_steps + 1, 3)), actions=generator.normal(size=(n_steps, 2)))


# Data sets


@pytest.mark.parametrize("verb", ["check", "fit", "modes"])
@pytest.mark.parametrize("name", ["nowhere", "nowhere.npz", "nowhere.hdf5"])
def test_a_missing_file(refused, fitted, tmp_path, verb, name):
    data = tmp_path / name
    asked = {"check": [data], "fit": [data, "--out", tmp_path / "run"], "modes": [fitted, data]}[verb]
    assert f"{data} must exist; there is nothing there. Check the path" in refused(verb, *asked)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("notes.txt", b"hello", r"must be demonstrations in a format that is read here .* ends in '\.txt'"),
        ("notes.npz", b"hello", r"must be a whole \.npz archive; it is none, or damaged\. Restore it"),
        ("notes.h5", b"hello", r"must be a whole HDF5 file; it is truncated or damaged .*\. Restore it"),
        ("empty.npz", b"", r"must be a whole \.npz archive; it is truncated or damaged .*\. Restore it"),
    ],
)
def test_a_wrong_file(refused, tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content)
    for message in (refused("check", path), refused("fit", path, "--out", tmp_path / "run")):
        assert message.startswith(str(path))
        assert re.search(expected, message)


def test_a_folder_that_is_no_store(refused, tmp_path):
    message = refused("check", tmp_path)
    assert f"{tmp_path} must be demonstrations in a format that is read here (store, " in message
    assert "the folder holds nothing" in message


def test_a_conversion_that_cannot_be(refused, pile, tmp_path):
    assert "must not exist yet; it does" in refused("convert", pile, pile)
    assert "must exist; there is nothing there" in refused("convert", tmp_path / "no", tmp_path / "a")
    assert "A format must be one of store" in refused("convert", pile, tmp_path / "a", "--to", "hdf")
    assert "'.xyz' says none" in refused("convert", pile, tmp_path / "a.xyz")
    assert "must be read without mask (--mask)" in refused("convert", pile, tmp_path / "a", "--mask", "train")


def test_several_data_sets_that_do_not_fit(refused, pile, tmp_path):
    other = _made_of([_episode(5), _episode(5, seed=1)], tmp_path / "other")
    assert f"The columns of {other} must have names" in refused("check", pile, "--demos", other)
    assert "Weights must be numbers above 0, one for each of 2" in refused(
        "check", pile, "--demos", pile, "--weights", 1
    )


def test_a_file_of_pickles_is_never_read(refused, tmp_path):
    path = tmp_path / "pile.npz"
    np.savez(path, observations=np.array([{}, {}], dtype=object), actions=np.zeros((1, 1)))
    assert "it holds Python objects, which are never read" in refused("check", path)


@pytest.mark.parametrize("kept", [20, 200, -7])
def test_a_truncated_array_of_a_store(refused, pile, tmp_path, kept):
    data = _damaged_copy(pile, tmp_path / "pile", "actions.npy", lambda content: content[:kept])
    for message in (refused("check", data), refused("fit", data, "--out", tmp_path / "run")):
        assert f"{data / 'actions.npy'} must be" in message
        assert "Restore it from a copy, or write the demonstrations again." in message


def test_an_array_of_a_store_that_is_gone(refused, pile, tmp_path):
    shutil.copytree(pile, tmp_path / "pile")
    (tmp_path / "pile" / "lengths.npy").unlink()
    assert f"{tmp_path / 'pile' / 'lengths.npy'} must exist" in refused("check", tmp_path / "pile")


def test_a_truncated_index_of_a_store(refused, pile, tmp_path):
    data = _damaged_copy(pile, tmp_path / "pile", "demos.json", lambda content: content[:50])
    assert f"{data / 'demos.json'} must be JSON" in refused("check", data)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
def test_a_truncated_npz(refused, pile, tmp_path, share):
    path = _npz(pile, tmp_path / "pile.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refused("fit", path, "--out", tmp_path / "run")
    assert message.startswith(f"{path} must be a whole .npz archive; it is")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_hdf5(unbraid, refused, pile, tmp_path, share):
    path = _d4rl(pile, tmp_path / "pile.hdf5")
    assert unbraid("check", path).code == 0
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refused("fit", path, "--out", tmp_path / "run")
    assert message.startswith(f"{path} must be a whole HDF5 file; it is truncated or damaged")


def test_rows_that_do_not_fit_together(refused, pile, tmp_path):
    path = _npz(pile, tmp_path / "pile.npz", lengths=np.array([60, 60, 60, 60, 60, 59]))
    assert str(path) in refused("fit", path, "--out", tmp_path / "run")


@pytest.mark.parametrize("kind", ["npz", "hdf5", "store"])
def test_nan_is_found_in_its_episode_of_the_file(unbraid, refused, fitted, pile, tmp_path, kind):
    """The episode is counted as in the file, not as in the training share of it."""
    demos = load_demos(pile, in_memory=True)
    observations = np.array(demos.observations)
    observations[demos.row_starts[4] + 7, 3] = np.nan
    damaged = Demos.from_episodes(
        [
            Episode(observations=observations[a:b], actions=episode.actions, rewards=episode.rewards)
            for episode, a, b in zip(demos, demos.row_starts[:-1], demos.row_starts[1:], strict=True)
        ]
    )
    data = save_demos(damaged, tmp_path / "pile")
    if kind == "npz":
        data = _npz(tmp_path / "pile", tmp_path / "pile.npz")
    elif kind == "hdf5":
        data = _d4rl(tmp_path / "pile", tmp_path / "pile.hdf5")
    message = refused("fit", data, "--out", tmp_path / "run")
    assert message.startswith(f"{data}: `observations` must be finite; episode 4 holds nan at step 7 in observations[3")
    assert message.endswith("Leave the episode out, or repair the recording: a missing value is never guessed.")
    assert "holds nan" in refused("modes", fitted, data)
    assert unbraid("check", data).code == 3


@pytest.mark.parametrize("held_out", [0.2, 0])
def test_one_episode(refused, tmp_path, held_out):
    data = _made_of([_episode(50)], tmp_path / "pile")
    message = refused("fit", data, "--out", tmp_path / "run", "--held-out", held_out)
    assert message.startswith(f"{data}: A fit must have at least 2 episodes; got 1. Record more")


def test_episodes_shorter_than_the_window(refused, tmp_path):
    data = _made_of([_episode(7, seed) for seed in range(8)], tmp_path / "pile")
    message = refused("fit", data, "--out", tmp_path / "run", "--held-out", 0, "--method", "talk", "--delta-steps", 9)
    assert message.startswith(f"{data}: At least 2 episodes must have the 9 steps of a window; 0 of 8 have")
    assert "Use a window of at most 7 steps (--delta-steps), or record longer episodes." in message


def test_what_is_held_out_is_said_to_be_missing(unbraid, refused, tmp_path):
    data = _made_of([_episode(50, seed) for seed in range(2)], tmp_path / "pile")
    message = refused("fit", data, "--out", tmp_path / "run")
    told = "A fit must have at least 2 episodes; 1 of 2 is left after holding out 1. Use --held-out 0, or record more."
    assert message == f"{data}: {told}"
    assert "one can be held out; there are 2. Record more, or fit both" in unbraid("check", data).out
    six = _made_of([_episode(50, seed) for seed in range(6)], tmp_path / "six")
    message = refused("fit", six, "--out", tmp_path / "run", "--n-modes", 6)
    assert message.startswith(
        "n_modes must be at most the number of episodes that are fitted; 5 of 6 are left after holding out 1, for 6 "
        "modes. Use --held-out 0, ask for fewer modes"
    )


@pytest.mark.parametrize("n_modes", [5, 50])
def test_more_modes_than_episodes(refused, tmp_path, n_modes):
    """However long they are: the limit that is named is the one that there is."""
    data = _made_of([_episode(12, seed) for seed in range(4)], tmp_path / "pile")
    for held_out in (0, 0.25):
        message = refused("fit", data, "--out", tmp_path / "run", "--n-modes", n_modes, "--held-out", held_out)
        assert (
            f"n_modes must be at most the number of episodes, as a mode needs one at least; got {n_modes} modes for 4 "
            in message
        )


# Settings


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--n-modes", 1], r"n_modes must be at least 2; got 1\. With one mode there is nothing to tell apart"),
        (["--n-modes", 0], "n_modes must be at least 2; got 0"),
        (["--n-modes", -3], "n_modes must be at least 2; got -3"),
        (["--n-steps", 0], "n_steps must be at least 1; got 0"),
        (["--n-steps", -5], "n_steps must be at least 1; got -5"),
        (["--held-out", 1.5], r"--held-out must be a share of .*got 1\.5\. .*0 none"),
        (["--held-out", 1], r"--held-out must be a share of .*got 1\. .*0 none"),
        (["--held-out", -0.1], r"--held-out must be a share of .*got -0\.1\. .*0 none"),
        (["--held-out", "nan"], r"--held-out must be a share of .*got nan\. .*0 none"),
        (["--seed", -1], "seed must be at least 0; got -1"),
        (["--checkpoint-every", 0], "checkpoint_every must be a whole number of at least 1; got 0"),
        (["--method", "talk", "--delta-steps", 0], "must (be|have) at least 1( step)?; got 0"),
        (["--device", "abacus"], "must .*'?abacus"),
    ],
)
def test_an_impossible_setting_of_a_fit(refused, pile, tmp_path, asked, expected):
    assert re.search(expected, refused("fit", pile, "--out", tmp_path / "run", *asked))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--method", "magic"], "'unbraid',.*'talk'"),
        (["--n-modes", "two"], "--n-modes"),
        (["--n-mode", 2], "--n-mode"),
    ],
)
def test_what_cannot_be_parsed(unbraid, pile, tmp_path, asked, expected):
    said = unbraid("fit", pile, "--out", tmp_path / "run", *asked)
    assert said.code == 2
    assert re.search(expected, said.err, re.DOTALL)
    assert said.out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--episodes", 0], "--episodes must be a whole number from 1 to 10,000,000; got 0"),
        (["--max-steps", 0], "--max-steps must be a whole number of at least 1; got 0"),
        (["--seed", -1], "A seed must be a whole number of at least 0; got -1"),
        (["--action-noise", -1], "action noise must be finite and >= 0; got -1"),
        (["--experts", "nobody"], "An expert must be one of goal_seeking, .*; got 'nobody'"),
        (["--experts", "forward", "forward"], "a name of its own for each"),
        (["--experts"], "at least one source"),
        (["--experts", "no_such_module:policy"], "no_such_module must be importable; it raised ModuleNotFoundError"),
        (["--experts", "math:sin"], r"math:sin must accept observations of shape \(64, 60\); it raised TypeError: "),
        (["--env", "CartPole-v1"], r"actions of CartPole-v1 must be vectors of numbers.*Discrete\(2\)"),
        (["--env", "Pendulum-v1"], "The expert goal_seeking needs PointGoal's observations"),
        (["--env", "Nowhere-v0"], "must be registered with Gymnasium; 'Nowhere-v0' is not"),
    ],
)
def test_demonstrations_that_cannot_be_collected(refused, tmp_path, asked, expected):
    quick = [] if "--max-steps" in asked else ["--max-steps", 3]
    assert re.search(expected, refused("collect", tmp_path / "pile", *quick, *asked), re.DOTALL)


# Steering and measuring


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--toward", 7], r"The mode must be one of 0 to 1; got 7\. `unbraid evaluate RUN` measures"),
        (["--toward", -1], "The mode must be one of 0 to 1; got -1"),
        ([], "One of --toward, --away, --blend, --context, --in-turn and --by-episode must be given; none was"),
        (["--strength", 2, "--away", 0], "--strength must come with --toward; it came alone"),
        (["--in-turn", "0 toward 0"], "--in-turn '0 toward 0' must have a colon behind its number"),
        (["--in-turn", "-1: toward 0", "0: toward 1"], "--in-turn '-1: toward 0' must begin with a step"),
        (
            ["--in-turn", "0: toward 0", "9: toward 7"],
            "--in-turn '9: toward 7': The mode must be one of 0 to 1; got 7",
        ),
        (["--in-turn", "0: toward 0 style 2"], "--in-turn '0: toward 0 style 2': A model must have styles"),
        (["--in-turn", "0: style .5"], "'0: style .5': One of toward, away, blend and context must be given; none was"),
        (["--in-turn", "0: strength 2"], "'0: strength 2': strength must come with toward; it came alone"),
        (["--in-turn", "0: away x"], "'0: away x': away must name modes and numbers, as in 0, or 0=2; got 'x'"),
        (["--by-episode", "1: blend 0=1 context 1,0"], "0': Either blend or context must be given, not both"),
        (["--by-episode", ".5: toward 0", ".4: toward 1"], "'.5: toward 0' and '.4: toward 1' sum to 0.9. Give others"),
        (["--by-episode", "1: toward 0", "--in-turn", "0: toward 0"], "--in-turn must stand without --by-episode: its"),
        (
            ["--in-turn", "0: toward 0", "--toward", 0, "--strength", 1, "--away", 1, "--style", 0.5],
            "--in-turn must stand without --toward and --strength and --away and --style: its items say all that is "
            "wanted. Leave one of them out, or say it in the items, as in '0: toward 1 away 0'.",
        ),
        (["--by-episode", "1: toward 0", "--env", "Pendulum-v1"], "Pendulum-v1 must have 60 observation and 2 action"),
        (["--context", 1], "A context must have 2 finite numbers"),
        (["--context", 1, 0, 1], "A context must have 2 finite numbers"),
        (["--context", "nan", 1], "A context must have 2 finite numbers"),
        (["--context", "1,x"], "--context must be numbers, one for each mode, as in --context 0.2,0.8; got '1,x'"),
        (["--toward", 0, "--toward", 1], "--toward must be given once; it comes twice"),
        (["--away", "left"], r"--away must name modes and numbers, as in 0, or 0=2; got 'left'"),
        (["--away", "0=1", "0=2"], "--away must name a mode once; mode 0 comes twice"),
        (["--away", "0=-1"], r"A strength must be a number from 0 to 10,000; got -1\.0"),
        (["--toward", 0, "--away", 0], "wanted or avoided, not both; got both for mode 0"),
        (["--blend", "0=.5,1"], r"--blend must name modes and numbers, as in 1=\.7,3=\.3; got '1'"),
        (["--blend", "0=.5,1=.6"], "weights of a blend must be numbers >= 0 that sum to 1"),
        (["--blend", "0=1", "--context", 1, 0], "Either --blend or --context must be given, not both"),
        (
            ["--toward", 0, "--blend", "1=1"],
            "--toward must come with a --strength other than 1 beside --blend: at 1, the default, the mode takes its "
            r"place, and nothing is left of it\. Say how far towards the mode, as in --strength \.5, or leave one",
        ),
        (
            ["--toward", 0, "--context", 1, 0, "--strength", 1],
            "--toward must come with a --strength other than 1 beside",
        ),
        (
            ["--in-turn", "0: toward 0 blend 1=1"],
            "'0: toward 0 blend 1=1': toward must come with a strength other than",
        ),
        (["--toward", 0, "--env", "unbraid/PointGoal1-v0", "--strength", "inf"], "A strength must be a number from"),
        (["--toward", 0, "--strength", "1e39"], r"from 0 to 10,000; got 1e\+39\. 1 is the usual one"),
        (["--toward", 0, "--episodes", 0], "--episodes must be a whole number from 1"),
        (["--toward", 0, "--episodes", -1], "--episodes must be a whole number from 1 to 10,000,000; got -1"),
        (["--toward", 0, "--seed", -3], "A seed must be a whole number of at least 0; got -3"),
        (
            ["--toward", 0, "--env", "Pendulum-v1"],
            r"Pendulum-v1 must have 60 observation and 2 action columns, as the model was fitted on; it has 3 and 1\. "
            r"Use the environment that the demonstrations came from\.",
        ),
        (["--toward", 0, "--env", "unbraid/PointGoal0-v0"], "must have 60 observation .*; it has 28 and 2"),
        (["--toward", 0, "--max-steps", 0], "--max-steps must be a whole number of at least 1; got 0"),
        (["--toward", 0, "--env", "CartPole-v1"], "actions of CartPole-v1 must be vectors of numbers"),
        (["--toward", 0, "--env", "Nowhere-v0"], "must be registered with Gymnasium"),
        (["--toward", 0, "--env", "nowhere:Nowhere-v0"], "nowhere must be importable"),
    ],
)
def test_a_policy_that_cannot_be_steered_so(refused, fitted, tmp_path, asked, expected):
    quick = [] if "--max-steps" in asked else ["--max-steps", 3]
    kept = ("--save", tmp_path / "kept", "--picture", tmp_path / "mode.png")
    assert re.search(expected, refused("steer", fitted, *asked, *quick, *kept), re.DOTALL)


@pytest.mark.usefixtures("undrawn")
def test_a_picture_of_a_world_that_tells_nothing_keeps_nothing(unbraid, refused, tmp_path, monkeypatch):
    """Rollouts and picture are written together, or not at all."""
    (tmp_path / "swaying.py").write_text("def left(observations):\n    return observations[:, :1] * 0 - 1\n")
    monkeypatch.chdir(tmp_path)
    asked = ("--experts", "swaying:left", "--env", "Pendulum-v1", "--episodes", 3, "--max-steps", 12)
    assert unbraid("collect", "pile", *asked).code == 0
    assert unbraid("fit", "pile", "--out", "run", "--n-steps", 2, "--held-out", 0).code == 0
    kept = ("--save", "kept", "--picture", "mode.png", "--episodes", 1, "--max-steps", 3, "--env", "Pendulum-v1")
    assert "--picture needs a world that tells" in refused("steer", "run", "--toward", 0, *kept)


def test_a_film_without_what_makes_films(refused, fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    message = refused("steer", fitted, "--toward", 0, "--max-steps", 3, "--video", tmp_path / "film.mp4")
    assert message == "A film needs imageio_ffmpeg, which is not installed. Run `pip install 'unbraid[video]'`."


def test_a_place_that_is_taken(refused, fitted, pile, tmp_path):
    (tmp_path / "old.png").write_bytes(b"a picture")
    taken = tmp_path / "old.png"
    for option, path in (("--save", pile), ("--picture", taken), ("--video", taken)):
        message = refused("steer", fitted, "--toward", 0, "--max-steps", 3, option, path)
        assert message == f"{path} must not exist yet; it does. Name another one, or remove that one first."


@pytest.mark.parametrize(
    ("option", "name", "ending"), [("--picture", "a.jpg", ".png"), ("--video", "film.gif", ".mp4")]
)
def test_a_file_of_another_kind(refused, fitted, tmp_path, option, name, ending):
    message = refused("steer", fitted, "--toward", 0, option, tmp_path / name)
    assert message == f"{option} must name a file that ends in {ending}; got {name}. Name it so."


@pytest.mark.parametrize("window", [0, -5, 61])
def test_windows_that_do_not_exist(refused, fitted, pile, window):
    message = refused("modes", fitted, pile, "--window-steps", window)
    assert re.search("at least 1 step; got|the longest has 60", message)


def test_modes_of_data_of_another_width(refused, fitted, tmp_path):
    data = _made_of([_episode(30)], tmp_path / "pile")
    message = refused("modes", fitted, data)
    assert message.startswith(f"{data}: Demonstrations must have 60 observation and 2 action columns")
    assert "got 3 and 2. Load the matching data, or fit a model on these." in message


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--experts", "nobody"], "An expert must be one of goal_seeking, .*; got 'nobody'"),
        (["--episodes", 0], "--episodes must be a whole number from 1"),
        (["--seed", -1], "A seed must be a whole number of at least 0; got -1"),
        (["--env", "Pendulum-v1", "--experts", "forward"], "Pendulum-v1 must have 60 observation and 2 action columns"),
        (["--env", "Nowhere-v0"], "must be registered with Gymnasium"),
    ],
)
def test_an_evaluation_that_cannot_be_made(refused, fitted, tmp_path, asked, expected):
    shutil.copytree(fitted, tmp_path / "run")
    assert re.search(expected, refused("evaluate", tmp_path / "run", "--max-steps", 3, *asked))


def test_an_evaluation_of_a_run_that_is_not_finished_is_refused_before_the_work(refused, fitted, tmp_path, monkeypatch):
    shutil.copytree(fitted, tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    monkeypatch.setattr("unbraid.pipeline.stages.evaluate_all", None)
    message = refused("evaluate", tmp_path / "run")
    assert f"{tmp_path / 'run'} must hold results.json" in message
    assert "--resume" in message


# Runs


@pytest.mark.parametrize("verb", ["modes", "steer", "evaluate", "report"])
@pytest.mark.parametrize("kind", ["missing", "store", "file"])
def test_a_folder_that_is_no_run(refused, pile, tmp_path, verb, kind):
    run = {"missing": tmp_path / "nowhere", "store": pile, "file": tmp_path / "notes.txt"}[kind]
    (tmp_path / "notes.txt").write_text("hello")
    asked = {"modes": [pile], "steer": ["--toward", 0]}.get(verb, [])
    message = refused(verb, run, *asked)
    assert str(run) in message
    assert "unbraid fit" in message


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.safetensors", lambda content: content[:200]),
        ("model.safetensors", lambda content: b"hello"),
        ("config.json", lambda content: content[:40]),
        ("config.json", lambda content: content.replace(b'"version": 1', b'"version": 99')),
        ("config.json", lambda content: content.replace(b"n_modes", b"n_moods")),
    ],
)
def test_a_damaged_model(refused, fitted, pile, tmp_path, name, change):
    shutil.copytree(fitted, tmp_path / "run")
    path = tmp_path / "run" / "model" / name
    path.write_bytes(change(path.read_bytes()))
    for message in (refused("modes", tmp_path / "run", pile), refused("steer", tmp_path / "run", "--toward", 0)):
        assert str(tmp_path / "run" / "model") in message


@pytest.mark.parametrize("name", ["run.json", "results.json", "metrics.jsonl"])
def test_a_damaged_run_keeps_its_page(refused, fitted, tmp_path, name):
    shutil.copytree(fitted, tmp_path / "run")
    (tmp_path / "run" / name).write_text("{\n")
    assert str(tmp_path / "run" / name) in refused("report", tmp_path / "run")


@pytest.mark.parametrize("verb", ["fit", "demo", "collect"])
@pytest.mark.parametrize("kind", ["run", "folder", "file", "link"])
def test_what_exists_is_not_touched(refused, fitted, pile, tmp_path, verb, kind):
    out = tmp_path / "out"
    if kind == "run":
        shutil.copytree(fitted, out)
    elif kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("precious")
    else:
        out.symlink_to(tmp_path / "nowhere")
    asked = {"fit": [pile, "--out", out], "demo": ["--out", out], "collect": [out]}[verb]
    remedy = "Name another one, or remove that one first."
    if (verb, kind) == ("fit", "run"):  # whose work would be lost
        remedy = "The same command with --resume goes on with it and keeps what is done; or name another one."
    assert refused(verb, *asked) == f"{out} must not exist yet; it does. {remedy}"


@pytest.mark.parametrize(
    ("asked", "expected", "told"),
    [
        (["--n-steps", 30], "config", "n_steps 20 -> 30"),
        (["--n-modes", 3, "--seed", 1], "config", "n_modes 2 -> 3, seed 0 -> 1"),
        (["--held-out", 0.2], "held_out", "held_out 0.4 -> 0.2"),
        (["--method", "talk"], "config", "method unbraid -> talk"),
    ],
)
def test_a_fit_goes_on_with_what_it_began_with(refused, fitted, pile, tmp_path, asked, expected, told):
    shutil.copytree(fitted, tmp_path / "run")
    began = ["--n-steps", 20, "--held-out", 0.4]
    message = refused("fit", pile, "--out", tmp_path / "run", *began, *asked, "--resume")
    began = f"{tmp_path / 'run'} must be resumed with the {expected} that it was made with; they differ: {told}. Repeat"
    assert message.startswith(began)


def test_a_fit_goes_on_with_the_data_that_it_began_with(unbraid, refused, fitted, tmp_path):
    shutil.copytree(fitted, tmp_path / "run")
    assert unbraid("collect", tmp_path / "other", "--episodes", 3, "--max-steps", 60, "--seed", 1).code == 0
    began = ["--n-steps", 20, "--held-out", 0.4]
    for gone in ("nothing", "checkpoints", "model"):  # as where it was killed before there was either
        shutil.rmtree(tmp_path / "run" / gone, ignore_errors=True)
        message = refused("fit", tmp_path / "other", "--out", tmp_path / "run", *began, "--resume")
        assert "must be resumed with the data that it was made with" in message


def test_nothing_but_a_fit_can_be_resumed(refused, fitted, pile, tmp_path):
    shutil.copytree(fitted, tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text()) | {"command": "demo"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    asked = ("fit", pile, "--out", tmp_path / "run", "--n-steps", 20, "--held-out", 0.4, "--resume")
    assert "must be resumed with the command" in refused(*asked)


# A disk that is full


class _Disk:
    """A disk that takes so many files and then is full, until there is room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._room = 10**9
        self._sync = os.fsync
        monkeypatch.setattr(os, "fsync", self._write)

    def room_for(self, n_files: int) -> None:
        self._room = n_files

    def _write(self, handle: int) -> None:
        if self._room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= 1
        self._sync(handle)


@pytest.fixture
def disk(monkeypatch) -> _Disk:
    return _Disk(monkeypatch)


def _is_told_of_a_full_disk(said, path: Path) -> None:
    assert said.code == 2, said.err
    assert said.out == ""
    assert re.fullmatch(
        rf"unbraid: {re.escape(str(path))}\S* must be writable; the system said: No space left on device\. "
        r"Free some space, or write elsewhere with --out\. Nothing that existed before was changed\."
        r"( What was fitted is kept: once there is space, the same command with --resume goes on from it\.)?\n",
        said.err,
    ), said.err


@pytest.mark.parametrize("n_files", range(4))
def test_a_full_disk_while_collecting_leaves_nothing(unbraid, disk, tmp_path, n_files):
    disk.room_for(n_files)
    asked = ("collect", tmp_path / "pile", "--episodes", 1, "--max-steps", 3)
    _is_told_of_a_full_disk(unbraid(*asked), tmp_path)
    assert list(tmp_path.iterdir()) == []
    disk.room_for(99)
    assert unbraid(*asked).code == 0


@pytest.mark.usefixtures("undrawn")
def test_a_full_disk_at_any_moment_of_a_fit(unbraid, disk, pile, tmp_path):
    """Whatever file it is that no longer fits: what is there is whole, and the fit goes on from it."""
    (tmp_path / "beside").write_text("somebody else's")
    asked = ["fit", pile, "--n-steps", 4, "--checkpoint-every", 2]
    reference = tmp_path / "reference"
    assert unbraid(*asked, "--out", reference).code == 0
    told: list[str] = []
    for n_files in range(30):
        run = tmp_path / f"run{n_files}"
        disk.room_for(n_files)
        said = unbraid(*asked, "--out", run)
        if said.code == 0:
            break
        _is_told_of_a_full_disk(said, tmp_path)
        assert ("with --resume goes on" in said.err) == run.exists()
        told.append(said.err)
        assert not list(tmp_path.rglob("*.part"))
        assert not list(tmp_path.rglob(".*"))
        disk.room_for(99)
        assert unbraid(*asked, "--out", run, *(["--resume"] if run.exists() else [])).code == 0
        for name in ("model/model.safetensors", "results.json"):
            assert (run / name).read_bytes() == (reference / name).read_bytes()
    for part in ("run.json", "metrics.jsonl", "state.safetensors", "model.safetensors", "results.json", "index.html"):
        assert part in "".join(told), f"the disk was never full at {part}"
    assert (tmp_path / "beside").read_text() == "somebody else's"


@pytest.mark.usefixtures("undrawn")
def test_a_full_disk_at_a_line_of_metrics(unbraid, pile, tmp_path, monkeypatch):
    before = Path.open

    def full(path, mode="r", *arguments, **named):
        if mode == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return before(path, mode, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        said = unbraid("fit", pile, "--out", tmp_path / "run", "--n-steps", 2)
    _is_told_of_a_full_disk(said, tmp_path / "run" / "metrics.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_older_page_and_results(unbraid, disk, contents, fitted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    before = contents(run)
    disk.room_for(0)
    _is_told_of_a_full_disk(unbraid("evaluate", run, "--episodes", 1, "--max-steps", 2), run)
    _is_told_of_a_full_disk(unbraid("report", run), run)
    assert contents(run) == before


def test_a_full_disk_while_steering_leaves_nothing(unbraid, disk, fitted, tmp_path):
    disk.room_for(0)
    asked = ("steer", fitted, "--toward", 0, "--episodes", 1, "--max-steps", 2)
    _is_told_of_a_full_disk(unbraid(*asked, "--save", tmp_path / "kept"), tmp_path)
    _is_told_of_a_full_disk(unbraid(*asked, "--picture", tmp_path / "mode.png"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["collect", "repeat_talk", "evaluate_all"])
@pytest.mark.parametrize("failure", [StorageError("No room."), KeyboardInterrupt("kept; use --resume")])
def test_a_demo_that_does_not_finish_leaves_nothing(unbraid, tmp_path, monkeypatch, stage, failure):
    """It can't be resumed, and a folder in the way would only have to be removed by hand."""
    made: list[list[str]] = []

    def fails(*arguments, **named):
        made.append(sorted(path.name for path in (tmp_path / "out" / "run").iterdir()))
        raise failure

    tiny = DemoSizes(episodes=1, held_out_episodes=1, max_steps=20, fit_steps=2)
    monkeypatch.setattr(DemoConfig, "sizes", property(lambda asked: tiny))
    monkeypatch.setattr("unbraid.pipeline.demo.repeat_talk", lambda *arguments: None)
    monkeypatch.setattr(f"unbraid.pipeline.demo.{stage}", fails)
    said = unbraid("demo", "--out", tmp_path / "out" / "run")
    assert "run.json" in made[0]
    assert ("model" in made[0]) is (stage == "evaluate_all")
    assert list((tmp_path / "out").iterdir()) == []
    if isinstance(failure, KeyboardInterrupt):
        assert said.code == 130
        assert said.err.startswith("unbraid: Stopped; nothing was kept")
        assert "--resume" not in said.err
    else:
        assert (said.code, said.err) == (2, "unbraid: No room.\n")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(refused, pile, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "Choose a folder that you may write to" in refused("fit", pile, "--out", tmp_path / "locked" / "run")


def test_a_place_below_a_file(refused, pile, tmp_path):
    (tmp_path / "notes").write_text("hello")
    message = refused("fit", pile, "--out", tmp_path / "notes" / "run")
    assert f"{tmp_path / 'notes' / 'run'} must be writable; the system said:" in message


@pytest.mark.parametrize(
    ("verb", "work", "named"),
    [
        (("steer", "RUN", "--toward", 0, "--save", "KEPT", "--picture", "BELOW.png"), "steering.evaluate", "BELOW.png"),
        (("export", "RUN", "--program", "KEPT", "--onnx", "BELOW.onnx"), "export.export_program", "BELOW.onnx"),
        (("certify", "RUN", "--claims", "CLAIMS", "--out", "BELOW.json"), "guarantees.certify", "BELOW.json"),
        (("collect", "BELOW"), "stages.collect", "BELOW"),
        (("convert", "PILE", "BELOW.npz"), "data.load_parts", "BELOW.npz"),
    ],
)
def test_no_verb_works_for_what_it_cannot_write(refused, fitted, pile, tmp_path, monkeypatch, verb, work, named):
    def never(*arguments, **options):
        raise AssertionError("It must be refused before the work.")

    monkeypatch.setattr(f"unbraid.pipeline.{work}", never)
    (tmp_path / "notes").write_text("hello")
    (tmp_path / "claims.json").write_text('[{"kind":"probability","metric":"cost","above":1,"at_most":0.1,"mode":0}]')
    places = {"RUN": str(fitted), "PILE": str(pile), "KEPT": str(tmp_path / "kept"), "BELOW": str(tmp_path / "notes/x")}
    places["CLAIMS"] = str(tmp_path / "claims.json")
    asked = [re.sub("^(RUN|PILE|KEPT|BELOW|CLAIMS)", lambda found: places[found[0]], str(word)) for word in verb]
    below = named.replace("BELOW", places["BELOW"])
    assert f"{below} must be writable; the system said: {tmp_path / 'notes'} is not a folder." in refused(*asked)
    assert not (tmp_path / "kept").exists()


@pytest.mark.usefixtures("undrawn")
def test_what_fails_halfway_leaves_nothing_in_the_way(refused, fitted, tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise StorageError("The disk must have room; it has none. Free some.")

    monkeypatch.setattr("unbraid.pipeline.steering.write_bytes", fails)
    asked = ("steer", fitted, "--toward", 0, "--episodes", 1, "--max-steps", 2)
    refused(*asked, "--save", tmp_path / "kept", "--picture", tmp_path / "mode.png")
    monkeypatch.setattr("unbraid.pipeline.export.export_program", lambda model, path, **_: _Written(path))
    monkeypatch.setattr("unbraid.pipeline.export.model_card", fails)
    refused("export", fitted, "--program", tmp_path / "mode.pt2", "--hub-folder", tmp_path / "hub")
    assert list(tmp_path.iterdir()) == []


class _Written:
    def __init__(self, path: Path):
        path.write_text("a program")

    def to_json(self) -> dict[str, float]:
        return {}


def test_a_file_without_final_observations_goes_in_by_the_option_that_the_message_names(unbraid, refused, tmp_path):
    flat = tmp_path / "flat.npz"
    generator = np.random.default_rng(0)
    np.savez(
        flat, observations=generator.normal(size=(60, 3)), actions=generator.normal(size=(60, 2)), lengths=[30, 30]
    )
    assert "--drop-last-action" in refused("check", flat)
    said = unbraid("check", flat, "--drop-last-action")
    assert said.code == 0, said.err
    assert "58 steps" in said.out


def test_a_d4rl_file_without_timeouts_goes_in_by_the_option_that_the_message_names(unbraid, refused, tmp_path):
    import h5py

    generator = np.random.default_rng(0)
    with h5py.File(tmp_path / "flat.hdf5", "w") as file:
        file["observations"] = generator.normal(size=(60, 3))
        file["actions"] = generator.normal(size=(60, 2))
        file["rewards"] = np.zeros(60)
        file["terminals"] = np.zeros(60, dtype=bool)
    assert "--max-episode-steps" in refused("check", tmp_path / "flat.hdf5")
    said = unbraid("check", tmp_path / "flat.hdf5", "--max-episode-steps", 20)
    assert said.code == 0, said.err
    assert "3 episodes" in said.out


def test_a_world_that_lacks_what_it_needs_says_what_to_install(unbraid, refused, tmp_path, monkeypatch):
    import gymnasium

    def lacking(*arguments, **more):
        raise ModuleNotFoundError("No module named 'imageio'")

    monkeypatch.setattr(gymnasium, "make_vec", lacking)
    message = refused("collect", tmp_path / "pile", "--env", "Pendulum-v1", "--experts", "forward", "--episodes", 2)
    assert "imageio" in message
    assert "pip install" in message
