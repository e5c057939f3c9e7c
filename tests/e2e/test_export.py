"""`unbraid export`: what it writes answers as the run's own policy, what it says, and the page that tells of it."""

import dataclasses
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from unbraid.demos.loading import load_demos
from unbraid.demos.store import save_demos
from unbraid.steering.steered import steer
from unbraid.training.model import ModeModel

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """A Hub in a folder: what was sent there, and what is fetched again."""
    folder = tmp_path / "hub"

    class Api:
        def __init__(self, token=None):
            assert token is None

        def create_repo(self, repo_id, *, private, exist_ok):
            folder.with_suffix(".json").write_text(json.dumps({"repo_id": repo_id, "private": private}))

        def upload_folder(self, *, repo_id, folder_path, **_):
            shutil.copytree(folder_path, folder)
            return SimpleNamespace(commit_url=f"https://hub.example/{repo_id}")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    return folder


@pytest.fixture(scope="module")
def exported(unbraid, fitted, tmp_path_factory):
    """All that can be written without a network, in one call; ONNX aside, which the page does below."""
    folder = tmp_path_factory.mktemp("exported")
    asked = ("--program", folder / "policy.pt2", "--hub-folder", folder / "hub")
    return folder, unbraid("export", fitted, *asked, "--json")


def test_it_answers_in_one_json_object(exported, fitted):
    folder, said = exported
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert (found["run"], found["n_modes"], found["evaluated"]) == (str(fitted), 2, True)
    told = found["program"]
    assert told["path"] == str(folder / "policy.pt2")
    assert told["inputs"] == {"observation": 60, "context": 2}
    assert told["n_checked"] == 1000
    assert 0 <= max(told["mean_difference"], told["log_std_difference"]) <= 1e-5
    assert not {"onnx", "pushed"} & set(found)
    assert {path.name for path in folder.iterdir()} == {"policy.pt2", "hub"}


def differences(answer, run, pile):
    """The largest difference in mean between an exported policy and the run's own, over modes and recorded states."""
    model, observations = ModeModel.from_pretrained(run), np.array(load_demos(pile).observations[:50])
    found = []
    for mode in range(2):
        told = answer(observations, np.tile(np.float32(model.contexts[mode]), (50, 1)))
        found.append(np.abs(told - steer(model).toward(mode).predict(observations, deterministic=True)[0]).max())
    return found


def test_the_program_acts_as_the_runs_own_policy(exported, fitted, pile):
    module = torch.export.load(exported[0] / "policy.pt2").module()
    assert max(differences(lambda *inputs: module(*map(torch.from_numpy, inputs))[0].numpy(), fitted, pile)) <= 1e-5


def test_the_folder_for_the_hub_is_a_model_with_a_card_of_the_results(exported, fitted):
    folder, results = exported[0] / "hub", json.loads((fitted / "results.json").read_text())
    assert {p.name for p in folder.iterdir()} == {"README.md", *(p.name for p in (fitted / "model").iterdir())}
    for path in (fitted / "model").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    card = ModelCard((folder / "README.md").read_text())
    assert results["unbraid"]["search"]["verdict"] in card.text
    assert f"{results['data']['held_out_episodes']} episodes held out" in card.text
    assert "no mode was rolled out" in card.text
    assert len(card.data.eval_results) == len(
        [a for a in results["unbraid"]["agreement"] if a["evidence"] == "combined"]
    )


def test_it_says_in_words_what_was_checked(unbraid, fitted, tmp_path):
    said = unbraid("export", fitted, "--program", tmp_path / "policy.pt2")
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(
        rf"{tmp_path}/policy\.pt2: observation \(60\), context \(2\) -> mean, log_std\n"
        r"Checked against PyTorch on 1,000 random inputs: off by at most \S+e-\d+ in mean and \S+e-\d+ in log_std\.\n",
        said.out.replace("0.0e+00", "0.0e-00"),
    )


def test_it_is_pushed_with_its_card(unbraid, fitted, sent):
    said = unbraid("export", fitted, "--push", "me/braid", "--private")
    assert (said.code, said.err) == (0, "")
    assert said.out == "Sent to https://hub.example/me/braid\n"
    assert json.loads(sent.with_suffix(".json").read_text()) == {"repo_id": "me/braid", "private": True}
    assert 'from_pretrained("me/braid", download=True)' in (sent / "README.md").read_text()


def test_a_model_without_results_is_told_to_be_one(unbraid, fitted, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "run" / "model")
    said = unbraid("export", tmp_path / "run", "--hub-folder", tmp_path / "hub")
    assert said.code == 0
    assert said.out.endswith("There is no results.json beside the model: the card says that nothing was measured.\n")
    assert "was not measured" in (tmp_path / "hub" / "README.md").read_text()


def test_columns_keep_their_names_and_the_talks_contexts_their_scale(unbraid, pile, tmp_path, undrawn):
    names = tuple(f"column {i}" for i in range(60))
    save_demos(dataclasses.replace(load_demos(pile), observation_names=names), tmp_path / "pile")
    asked = ("--method", "talk", "--n-steps", 5, "--n-modes", 3, "--held-out", 0)
    assert unbraid("fit", tmp_path / "pile", "--out", tmp_path / "run", *asked).code == 0
    assert unbraid("export", tmp_path / "run", "--program", tmp_path / "policy.pt2").code == 0
    extra = {"unbraid.json": ""}
    torch.export.load(tmp_path / "policy.pt2", extra_files=extra)
    facts = json.loads(extra["unbraid.json"])
    assert facts["observation_names"] == list(names)
    contexts = ModeModel.from_pretrained(tmp_path / "run").contexts
    assert facts["contexts"] == contexts.tolist()
    assert set(contexts.flatten().tolist()) != {0.0, 1.0}


# Wrong input


def test_nothing_to_write_is_refused(unbraid, fitted):
    said = unbraid("export", fitted)
    assert said.code == 2
    assert said.err == (
        "unbraid: At least one of --onnx, --program, --hub-folder and --push must be given; none was. Name a file: "
        "--onnx policy.onnx.\n"
    )


@pytest.mark.parametrize(("option", "name"), [("--onnx", "a.onnx"), ("--program", "a.pt2"), ("--hub-folder", "a")])
def test_what_is_there_is_not_written_over(unbraid, fitted, tmp_path, option, name):
    (tmp_path / name).write_text("mine")
    said = unbraid("export", fitted, option, tmp_path / name)
    assert said.code == 2
    assert f"{name} must not exist yet; it does" in said.err
    assert (tmp_path / name).read_text() == "mine"


def test_nothing_is_written_where_something_is_in_the_way(unbraid, fitted, tmp_path):
    (tmp_path / "hub").mkdir()
    assert unbraid("export", fitted, "--program", tmp_path / "a.pt2", "--hub-folder", tmp_path / "hub").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("Pendulum-v1", "must have 60 observation and 2 action columns"),
        ("Nowhere-v0", "Nowhere-v0 must be possible to make here; .*Leave --env out"),
    ],
)
def test_an_environment_that_will_not_do_is_refused(unbraid, fitted, tmp_path, env, message):
    said = unbraid("export", fitted, "--program", tmp_path / "policy.pt2", "--env", env)
    assert said.code == 2
    assert re.search(message, said.err)
    assert list(tmp_path.iterdir()) == []


def test_a_recorded_environment_that_is_not_here_is_no_fault(unbraid, fitted, tmp_path):
    results = json.loads((fitted / "results.json").read_text())
    shutil.copytree(fitted / "model", tmp_path / "run" / "model")
    results["data"]["env_id"] = "elsewhere/Robot-v0"
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    assert unbraid("export", tmp_path / "run", "--program", tmp_path / "policy.pt2").code == 0
    extra = {"unbraid.json": ""}
    torch.export.load(tmp_path / "policy.pt2", extra_files=extra)
    assert json.loads(extra["unbraid.json"])["action_low"] == [-1, -1]  # as the demonstrations say


def test_damaged_results_are_refused(unbraid, fitted, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "run" / "model")
    (tmp_path / "run" / "results.json").write_text("[]")
    said = unbraid("export", tmp_path / "run", "--hub-folder", tmp_path / "hub")
    assert said.code == 2
    assert "results.json must be written by unbraid; it is not" in said.err
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(
    ("option", "package", "extra"), [("--onnx", "onnxscript", "onnx"), ("--hub-folder", "huggingface_hub", "hub")]
)
def test_a_missing_extra_says_what_to_install(unbraid, fitted, tmp_path, monkeypatch, option, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    said = unbraid("export", fitted, option, tmp_path / "written")
    assert said.code == 2
    assert f"pip install 'unbraid[{extra}]'" in said.err
    assert list(tmp_path.iterdir()) == []


# The page that tells of it


def test_every_block_of_the_page_runs_in_order(unbraid, fitted, pile, sent, tmp_path, monkeypatch):
    shutil.copytree(fitted, tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL):
        if kind == "python":
            exec(compile(block, "deploy.md", "exec"), names)
            continue
        for line in block.strip().splitlines():
            words = shlex.split(line)
            assert words[0] == "unbraid"
            said = unbraid(*words[1:])
            assert (said.code, said.err) == (0, ""), line
    assert np.isfinite(names["mean_return"])
    assert names["mean"].shape == (1, 2)
    policy = steer(names["model"])
    for name, asked in {
        "blended": policy.blend({0: 0.7, 1: 0.3}),
        "pushed": policy.toward(1).away(0, strength=2),
        "further": policy.blend({0: 0.7, 1: 0.3}).toward(1, strength=1.5),
        "others": policy.away(0),
    }.items():
        wanted = asked.predict(names["observation"][0], deterministic=True)[0]
        np.testing.assert_allclose(names[name], wanted, atol=1e-4, err_msg=name)
    assert names["model"].n_modes == 2
    session, facts = names["policy"], names["facts"]

    def answer(observations, contexts):
        return session.run(["mean"], {"observation": observations, "context": contexts})[0]

    assert max(differences(answer, fitted, pile)) <= 1e-5
    bounds = [json.loads(facts[name]) for name in ("action_low", "action_high")]
    assert bounds == [[-1, -1], [1, 1]]  # of the environment that the demonstrations came from
