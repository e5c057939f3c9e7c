"""Models to the Hub and back: nothing but named files, no network unless asked, and errors that say what to do."""

import fnmatch
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from unbraid.core.errors import ConfigError, ModelError, StorageError
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.hub import CARD, HUB_FILES, card_around, is_hub_id
from unbraid.training.model import ModeModel


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = ModeModel(UnbraidConfig(n_modes=3, policy_hidden=(8,)), observation_size=4, action_size=2)
    made.search = {"verdict": "made up"}
    return made.eval()


@pytest.fixture
def on_the_hub(monkeypatch, tmp_path):
    """A Hub in a folder: what was asked of it, and what it holds."""
    asked = []

    class Api:
        def __init__(self, token=None):
            asked.append(("token", token))

        def create_repo(self, repo_id, *, private, exist_ok):
            asked.append(("create", repo_id, private, exist_ok))

        def upload_folder(self, *, repo_id, folder_path, commit_message, allow_patterns):
            asked.append(("upload", repo_id, commit_message))
            (tmp_path / "hub" / repo_id).mkdir(parents=True, exist_ok=True)
            for path in Path(folder_path).iterdir():
                if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    shutil.copy(path, tmp_path / "hub" / repo_id)
            return SimpleNamespace(commit_url=f"https://hub.example/{repo_id}/commit/1")

    def snapshot_download(repo_id, *, revision, allow_patterns, local_files_only):
        asked.append(("download", repo_id, revision, local_files_only))
        if not (tmp_path / "hub" / repo_id).exists():
            raise FileNotFoundError("no such repository.")
        cached = tmp_path / "cache" / repo_id
        cached.mkdir(parents=True, exist_ok=True)
        for name in allow_patterns:
            if (tmp_path / "hub" / repo_id / name).exists():
                shutil.copy(tmp_path / "hub" / repo_id / name, cached)
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(asked=asked, folder=tmp_path / "hub")


def test_what_is_pushed_comes_back_to_the_last_bit(model, on_the_hub, same_weights):
    address = model.push_to_hub("me/braid", private=True, token="mine")
    assert address == "https://hub.example/me/braid/commit/1"
    assert on_the_hub.asked[:2] == [("token", "mine"), ("create", "me/braid", True, True)]
    kind, repo_id, message = on_the_hub.asked[2]
    assert (kind, repo_id) == ("upload", "me/braid")
    assert message.startswith("unbraid ")
    assert message.endswith(": 3 modes")
    again = ModeModel.from_pretrained("me/braid", revision="v2", download=True)
    assert on_the_hub.asked[3] == ("download", "me/braid", "v2", False)
    assert same_weights(again, model)
    assert again.search == model.search


def test_only_named_files_travel(model, on_the_hub):
    model.push_to_hub("me/braid")
    sent = {path.name for path in (on_the_hub.folder / "me" / "braid").iterdir()}
    assert sent == {"config.json", "model.safetensors", "search.json", "README.md"}
    assert sent <= {*HUB_FILES, CARD}
    (on_the_hub.folder / "me" / "braid" / "weights.pkl").write_bytes(b"\x80")
    ModeModel.from_pretrained("me/braid", download=True)
    assert "weights.pkl" not in {path.name for path in Path("cache/me/braid").iterdir()}


def test_every_file_that_a_model_saves_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "calibration", SimpleNamespace(to_json=lambda: {}))
    model.save_pretrained(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(HUB_FILES)


def test_the_card_goes_along(model, on_the_hub):
    model.push_to_hub("me/braid")
    told = (on_the_hub.folder / "me" / "braid" / "README.md").read_text()
    assert told == card_around(model, repo_id="me/braid")
    model.push_to_hub("me/braid", card="a card of one's own\n")
    assert (on_the_hub.folder / "me" / "braid" / "README.md").read_text() == "a card of one's own\n"


def test_without_a_word_nothing_is_fetched(model, on_the_hub):
    model.push_to_hub("me/braid")
    ModeModel.from_pretrained("me/braid")
    assert on_the_hub.asked[-1] == ("download", "me/braid", None, True)


def test_huggingface_hub_itself_uses_no_network_then(monkeypatch, tmp_path):
    def refuse(*arguments, **named):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError, match=r"me/braid must be a folder with a model, or .*; it is neither\. Pass download"
    ):
        ModeModel.from_pretrained("me/braid")


def test_huggingface_hub_reads_its_own_cache(model, monkeypatch, tmp_path, same_weights):
    """The layout of the real one's cache, written by hand: fetched once, it is read without a network."""
    commit = "0" * 40
    kept = tmp_path / "cache" / "models--me--braid"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    (kept / "snapshots").mkdir()
    model.save_pretrained(kept / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert same_weights(ModeModel.from_pretrained("me/braid"), model)


def test_a_folder_of_that_name_comes_first(model, on_the_hub, same_weights):
    model.save_pretrained("me/braid")
    assert same_weights(ModeModel.from_pretrained("me/braid", download=True), model)
    assert on_the_hub.asked == []


@pytest.mark.parametrize("place", [Path("me/braid"), "me/braid/model", "/me/braid", "./me/braid", "braid", ""])
def test_a_place_on_the_disk_is_no_name_of_the_hub(on_the_hub, place):
    with pytest.raises(ModelError, match=r"must exist; there is no model here"):
        ModeModel.from_pretrained(place, download=True)
    assert on_the_hub.asked == []


def test_what_may_be_a_name():
    assert is_hub_id("me/a-model_v1.2")
    assert not any(map(is_hub_id, ["me", "a/b/c", "me/", "/me", "me/a b", "me/a\n", Path("me/braid")]))


def test_what_the_hub_does_not_have_is_said(model, on_the_hub):
    with pytest.raises(
        ModelError, match=r"me/nothing must be a model that the Hub gives you; it said: no such repository\. Look at"
    ):
        ModeModel.from_pretrained("me/nothing", download=True)


def test_half_a_model_on_the_hub_is_no_model(model, on_the_hub):
    model.push_to_hub("me/braid")
    (on_the_hub.folder / "me" / "braid" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="must hold a whole model"):
        ModeModel.from_pretrained("me/braid", download=True)


def test_a_hub_that_refuses_is_said(model, on_the_hub, monkeypatch):
    def refuse(*arguments, **named):
        raise OSError("401 Client Error:\n  who are you?")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(StorageError, match=r"must take me/braid; it said: 401 .* who are you\?\. Log in with `hf auth"):
        model.push_to_hub("me/braid")


@pytest.mark.parametrize("name", ["braid", "me/braid/2", "me/a braid"])
def test_a_name_that_is_none_is_refused(model, on_the_hub, name):
    with pytest.raises(ConfigError, match=r"must be owner/name; got .*\. Put your user name first"):
        model.push_to_hub(name)
    assert on_the_hub.asked == []


def test_without_the_extra_it_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    for verb in (lambda: model.push_to_hub("me/braid"), lambda: ModeModel.from_pretrained("me/braid")):
        with pytest.raises(ConfigError, match=r"not installed\. Run `pip install 'unbraid\[hub\]'`"):
            verb()
    with pytest.raises(ModelError, match="there is no model here"):  # a folder needs no Hub
        ModeModel.from_pretrained(tmp_path)


# The card of every model


def test_a_card_that_knows_of_no_results_says_so(model):
    card = ModelCard(card_around(model))
    assert card.data.library_name == "unbraid"
    assert "unbraid" in card.data.tags
    assert card.data.eval_results is None
    assert "what its modes do, and how well, was not measured" in card.text
    assert "# A policy with 3 modes" in card.text
    assert "found: 0, 1, 2. It takes 4 numbers" in card.text


def test_a_card_says_what_kind_of_model_it_is():
    styled = ModeModel(UnbraidConfig(n_modes=2, style="on"), observation_size=4, action_size=2)
    talk = ModeModel(TalkConfig(n_modes=2), observation_size=4, action_size=2)
    assert "takes a style, from 0 to 1" in card_around(styled)
    assert "that of the talk (Eloundou 2021)" in card_around(talk)
    assert "style" not in card_around(talk)


@pytest.mark.parametrize("env_id", [None, "unbraid/PointGoal1-v0"])
def test_its_five_lines_run(model, tmp_path, env_id):
    wide = model if env_id is None else ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2)
    card = card_around(wide, ["## Evaluated"], env_id=env_id)
    wide.save_pretrained(tmp_path / "model", card=card)
    assert (tmp_path / "model" / "README.md").read_text() == card
    lines = card.split("```python\n")[1].split("```")[0].replace("path/of/this/folder", str(tmp_path / "model"))
    assert len(lines.splitlines()) == 5
    names: dict[str, np.ndarray] = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["action"].shape == (2,)


def test_the_name_of_an_environment_stays_a_name(model):
    card = card_around(model, ["## Evaluated"], env_id='X-v0"); print("')
    assert 'gymnasium.make("X-v0\\"); print(\\"").reset' in card
