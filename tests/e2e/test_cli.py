"""Every verb of the command line: what it says, what it leaves behind, and how it ends."""

import csv
import dataclasses
import html
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

import unbraid as package
from unbraid import cli
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.options import ReadOptions
from unbraid.demos.store import save_demos
from unbraid.evaluation.evaluate import evaluate, fresh_seeds
from unbraid.evaluation.obedience import obedience, steps_until_obeyed
from unbraid.pipeline import requests
from unbraid.pipeline.config import DemoConfig
from unbraid.steering.schedules import in_turn
from unbraid.steering.steered import steer
from unbraid.training.model import ModeModel

VERBS = {
    "demo": DemoConfig,
    "collect": requests.CollectRequest,
    "check": requests.CheckRequest,
    "convert": requests.ConvertRequest,
    "fit": requests.FitRequest,
    "sweep": requests.SweepRequest,
    "modes": requests.ModesRequest,
    "steer": requests.SteerRequest,
    "evaluate": requests.EvaluateRequest,
    "certify": requests.CertifyRequest,
    "switch": requests.SwitchRequest,
    "report": requests.ReportRequest,
    "export": requests.ExportRequest,
    "studio": requests.StudioRequest,
}

_HELP = """
import runpy, sys
sys.argv = ["unbraid", "--help"]
try:
    runpy.run_module("unbraid", run_name="__main__")
except SystemExit as stopped:
    print("code", stopped.code)
print("heavy", [name for name in ("torch", "mujoco", "matplotlib", "sklearn", "scipy") if name in sys.modules])
"""


def _only_json(said) -> dict:
    """The one JSON object on stdout; nothing else there, and nothing on stderr."""
    lines = said.out.splitlines()
    assert len(lines) == 1
    assert said.err == ""
    found = json.loads(lines[0])
    assert isinstance(found, dict)
    return found


# Help


def test_help_names_every_verb_and_imports_nothing_heavy():
    said = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True, timeout=60)
    assert "code 0\nheavy []" in said.stdout
    assert "Start with `unbraid demo`." in said.stdout
    assert f"{{{','.join(VERBS)}}}" in said.stdout
    for verb in VERBS:
        assert f"• {verb} " in said.stdout


def _options(request_) -> list[dataclasses.Field]:
    """The fields of a request, those of the requests inside it in their place."""
    kinds = {"more": requests.MoreData, "reading": ReadOptions}
    return [
        option
        for field in dataclasses.fields(request_)
        for option in (_options(kinds[field.name]) if field.name in kinds else [field])
    ]


def _shown(option: dataclasses.Field) -> str:
    """How the help calls an option: by its flag, or by what stands in its place."""
    places = [own.metavar for own in getattr(option.type, "__metadata__", ()) if getattr(own, "metavar", None)]
    if places:
        return places[0]
    return "PATH" if "Positional" in str(option.type) else f"--{option.name.replace('_', '-')}"


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_says_what_it_does_and_what_every_option_means(unbraid, verb):
    said = unbraid(verb, "--help")
    assert said.code == 0
    told = " ".join(said.out.replace("│", " ").split())
    what = VERBS[verb].__doc__
    assert " ".join(what.split("Example:")[0].split()) in told
    assert f"Example: unbraid {verb}" in told
    for field in _options(VERBS[verb]):
        assert _shown(field) in told
    # An option without a word of explanation shows its default alone.
    assert not re.search(r"--[a-z-]+ (\S+ )?\((default|required)", told)


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_in_the_help_can_be_typed(verb, monkeypatch):
    monkeypatch.setattr(cli, "_run", lambda asked: 0 if isinstance(asked, VERBS[verb]) else 99)
    example = VERBS[verb].__doc__.split("Example: unbraid ")[1].splitlines()[0]
    assert cli.main(shlex.split(example)) == 0


def test_a_verb_must_be_named(unbraid):
    for said in (unbraid(), unbraid("frobnicate")):
        assert said.code == 2
        assert all(verb in said.err for verb in VERBS)


def test_every_public_name_is_there():
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        _ = package.frobnicate


def test_importing_the_package_brings_no_torch_and_no_mujoco():
    code = "import unbraid, sys, gymnasium; gymnasium.spec('unbraid/PointGoal1-v0'); print('torch' in sys.modules, "
    code += "'mujoco' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["False", "False"]


# The flow, verb by verb


def test_collect_writes_a_shuffled_pile_with_labels_apart(unbraid, tmp_path):
    said = unbraid("collect", tmp_path / "a", "--episodes", 4, "--max-steps", 5, "--experts", "forward", "circling")
    assert said.code == 0
    assert said.out.startswith("8 episodes, 40 steps of forward, circling, in random order.")
    demos = load_demos(tmp_path / "a")
    assert demos.label_names == ("forward", "circling")
    assert sorted(demos.labels) == [0] * 4 + [1] * 4
    assert list(demos.labels) != sorted(demos.labels)
    asked = ("--episodes", 4, "--max-steps", 5, "--experts", "forward", "circling")
    again = _only_json(unbraid("collect", tmp_path / "b", *asked, "--json"))
    assert again["data_fingerprint"] == demos.fingerprint()
    other = _only_json(unbraid("collect", tmp_path / "c", *asked, "--seed", 1, "--json"))
    assert other["data_fingerprint"] != demos.fingerprint()


def test_collect_takes_anybodys_policy_in_any_environment(unbraid, tmp_path, monkeypatch):
    (tmp_path / "swinging.py").write_text("def left(observations):\n    return observations[:, :1] * 0 - 1\n")
    monkeypatch.chdir(tmp_path)
    asked = ("--experts", "swinging:left", "--env", "Pendulum-v1", "--episodes", 2, "--max-steps", 7, "--json")
    found = _only_json(unbraid("collect", "pile", *asked))
    assert (found["n_episodes"], found["n_steps"], found["env_id"]) == (2, 14, "Pendulum-v1")
    assert (load_demos("pile").actions == -1).all()


def test_action_noise_is_what_was_asked(unbraid, tmp_path):
    asked = ("--experts", "forward", "--episodes", 2, "--max-steps", 5, "--action-noise", 0)
    assert unbraid("collect", tmp_path / "pile", *asked).code == 0
    assert np.ptp(load_demos(tmp_path / "pile").actions, axis=0).max() == 0


def test_check_of_a_good_pile(unbraid, pile):
    said = unbraid("check", pile)
    assert said.code == 0
    assert said.out.splitlines()[-1].startswith("6 episodes, 360 steps: 0 errors, ")
    found = _only_json(unbraid("check", pile, "--json"))
    assert found["ok"] is True
    assert found["demos"] == str(pile)


def test_convert_says_what_it_recognised_and_what_has_no_place(unbraid, pile, tmp_path):
    said = unbraid("convert", pile, tmp_path / "a.hdf5")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"{pile} is a store written by unbraid: it holds demos.json."
    assert lines[1].startswith("D4RL's flat HDF5: It has no place for seeds, labels, action bounds, names of columns, ")
    assert lines[2] == f"{tmp_path / 'a.hdf5'}: 6 episodes, 360 steps, as D4RL's flat HDF5."
    found = _only_json(unbraid("convert", tmp_path / "a.hdf5", tmp_path / "b", "--json"))
    assert (found["recognised"]["format"], found["format"]) == ("d4rl", "store")
    assert load_demos(tmp_path / "b").fingerprint() == load_demos(pile).fingerprint()
    said = unbraid("check", tmp_path / "a.hdf5", "--demos", tmp_path / "b", "--weights", 1, 1)
    assert "6 episodes, 360 steps" not in said.out
    assert "12 episodes, 720 steps: 0 errors" in said.out


def test_fit_leaves_a_run_with_all_that_was_promised(fitted, pile):
    asked = json.loads((fitted / "run.json").read_text())
    assert asked["command"] == "fit"
    assert asked["config"]["n_steps"] == 20
    assert asked["provenance"]["seed"] == 0
    assert str(pile) not in (fitted / "run.json").read_text()
    results = json.loads((fitted / "results.json").read_text())
    assert results["unbraid"]["gradient_steps"] == 20
    assert results["data"]["n_episodes"] + results["data"]["held_out_episodes"] == 6
    held_out = results["fit"]["held_out_log_likelihood_nats"]
    assert held_out["n"] == results["data"]["held_out_episodes"] == 2
    assert ModeModel.from_pretrained(fitted).n_modes == 2
    assert "<html" in (fitted / "report" / "index.html").read_text()
    assert [json.loads(line)["step"] for line in (fitted / "metrics.jsonl").read_text().splitlines()] == [20]


def test_the_command_on_the_page_makes_the_run_again_however_the_data_was_read(unbraid, pile, tmp_path):
    demos, source = load_demos(pile), tmp_path / "secret place" / "no ends.npz"
    source.parent.mkdir()
    rows, ends = demos.observations[demos.row_of_step], np.cumsum(demos.lengths)
    halves = {"near by": rows[:, :9], "far": rows[:, 9:]}
    np.savez(source, action=demos.actions, episode_ends=ends, **{f"obs/{name}": half for name, half in halves.items()})
    reading = ("--drop-last-action", "--obs", "obs/near by", "obs/far", "--demos", source, "--weights", 2, 1)
    again, words = None, ("fit", source, "--n-steps", 2, "--held-out", 0.4, "--seed", 3, *reading)
    for run in (tmp_path / "first", tmp_path / "second"):
        said = unbraid(*(again or words), "--out", run)
        assert said.code == 0, said.err
        page = (run / "report" / "index.html").read_text()
        assert "secret place" not in page + (run / "run.json").read_text()
        command = shlex.split(html.unescape(re.search(r"unbraid fit DATA [^<]*", page)[0]))
        assert command.count("DATA") == command.count("DATA_2") == 1
        again = [source if word.startswith("DATA") else word for word in command[1:] if word not in ("--out", "RUN")]
    assert command[command.index("--obs") + 1 :][:2] == ["obs/near by", "obs/far"]
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("first", "second")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("method", ["unbraid", "talk"])
@pytest.mark.usefixtures("undrawn")
def test_fit_answers_in_words_and_in_json_alike(unbraid, pile, tmp_path, method):
    asked = ("--method", method, "--n-steps", 10, "--n-modes", 3, "--seed", 4)
    said = unbraid("fit", pile, "--out", tmp_path / "a", *asked)
    assert said.code == 0
    assert said.out.startswith(f"3 modes after 10 gradient steps ({method}).")
    assert said.err == ""
    found = _only_json(unbraid("fit", pile, "--out", tmp_path / "b", *asked, "--json"))
    assert found["n_modes"] == 3
    assert found["fit"]["method"] == method
    assert Path(found["page"]) == tmp_path / "b" / "report" / "index.html"
    models = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in "ab"]
    assert models[0] == models[1]
    results = [json.loads((tmp_path / run / "results.json").read_text()) for run in "ab"]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def counted(unbraid, pile, tmp_path_factory):
    """(what it said, its run): a fit that was not told how many modes to find."""
    run = tmp_path_factory.mktemp("runs") / "counted"
    return unbraid("fit", pile, "--out", run, "--n-modes", "auto", "--n-steps", 2, "--held-out", 0), run


def test_as_many_modes_as_the_evidence_supports(unbraid, counted):
    said, run = counted
    assert said.code == 0, said.err
    results = json.loads((run / "results.json").read_text())
    search = results["unbraid"]["search"]
    assert search["n_modes"] == search["n_supported"] == results["unbraid"]["n_modes"]
    assert said.out.startswith(f"{search['n_modes']} mode")
    assert said.out.splitlines()[1] == search["verdict"]
    assert json.loads((run / "run.json").read_text())["config"]["n_modes"] == "auto"
    model = ModeModel.from_pretrained(run)
    assert (model.n_modes, model.search) == (search["n_modes"], search)
    assert 'id="search"' in (run / "report" / "index.html").read_text()
    last = model.n_modes - 1
    assert unbraid("steer", run, "--toward", last, "--episodes", 1, "--max-steps", 3).code == 0


@pytest.mark.usefixtures("undrawn")
def test_what_the_search_said_and_warned_of_is_passed_on(unbraid, pile, tmp_path, monkeypatch):
    from unbraid.modes.found import Found

    told = {"verdict": "A made-up verdict.", "warnings": ["A made-up warning. Do this."], "n_modes": 2}
    monkeypatch.setattr(Found, "facts", lambda self: told)
    asked = ("--n-steps", 2, "--held-out", 0)
    said = unbraid("fit", pile, "--out", tmp_path / "a", *asked)
    verdict, changes, warning = said.out.splitlines()[1:4]
    assert (verdict, warning) == ("A made-up verdict.", "warning: A made-up warning. Do this.")
    assert changes.startswith("No change of expert is seen within an episode: a left-out episode gains ")
    found = _only_json(unbraid("fit", pile, "--out", tmp_path / "b", *asked, "--json"))
    assert found["search"]["warnings"][:1] == told["warnings"]  # two steps teach the encoder little: it may warn, too
    assert {name: found["search"][name] for name in ("verdict", "n_modes")} == {
        "verdict": told["verdict"],
        "n_modes": 2,
    }
    again = _only_json(unbraid("fit", pile, "--out", tmp_path / "c", "--method", "talk", *asked, "--json"))
    assert "search" not in again  # the talk's method has none


def test_the_talks_method_must_be_told_how_many(unbraid, pile, tmp_path):
    said = unbraid("fit", pile, "--out", tmp_path / "run", "--method", "talk", "--n-modes", "auto")
    assert said.code == 2
    assert said.err == (
        "unbraid: --n-modes must be a number for --method talk, which has no search that could count modes; got auto. "
        "Give a number, or leave --method talk out.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ("--method", "talk", "--style", "on", "--policy-head", "mixture"),
            "--style and --policy-head must come with --method unbraid, which alone reads such; got --method talk. ",
        ),
        (("--method", "talk", "--policy-loss", "huber"), "--policy-loss must come with --method unbraid"),
        (("--delta-steps", 5), "--delta-steps must come with --method talk, which alone reads such; got --method unb"),
    ],
)
def test_an_option_that_the_method_does_not_read_is_refused(unbraid, pile, tmp_path, asked, said):
    answer = unbraid("fit", pile, "--out", tmp_path / "run", *asked)
    assert answer.code == 2
    assert said in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["many", "1.5"])
def test_a_number_of_modes_is_a_number_or_auto(unbraid, pile, tmp_path, value):
    said = unbraid("fit", pile, "--out", tmp_path / "run", "--n-modes", value)
    assert said.code == 2
    assert "--n-modes" in said.err
    assert "auto" in said.err


@pytest.mark.usefixtures("undrawn")
def test_the_talks_time_step_is_what_was_asked(unbraid, pile, tmp_path):
    run = tmp_path / "run"
    asked = ("--method", "talk", "--delta-steps", 5, "--n-steps", 2, "--held-out", 0)
    assert unbraid("fit", pile, "--out", run, *asked).code == 0
    assert ModeModel.from_pretrained(run).config.delta_steps == 5
    results = json.loads((run / "results.json").read_text())
    assert "held_out_episodes" not in results["data"]
    assert "held_out_log_likelihood_nats" not in results["fit"]


@pytest.mark.parametrize(("method", "own"), [("unbraid", "mean"), ("talk", "transition")])
@pytest.mark.usefixtures("undrawn")
def test_the_encoder_is_what_was_asked(unbraid, pile, tmp_path, method, own):
    asked = ("--method", method, "--n-steps", 2, "--held-out", 0)
    assert unbraid("fit", pile, "--out", tmp_path / "own", *asked).code == 0
    assert ModeModel.from_pretrained(tmp_path / "own").config.encoder == own
    assert unbraid("fit", pile, "--out", tmp_path / "lstm", *asked, "--encoder", "lstm").code == 0
    assert ModeModel.from_pretrained(tmp_path / "lstm").config.encoder == "lstm"
    assert unbraid("modes", tmp_path / "lstm", pile, "--window-steps", 9).code == 0


@pytest.mark.usefixtures("undrawn")
def test_nothing_is_told_apart_where_one_expert_is_held_out(unbraid, tmp_path):
    """One mode for one expert would score 1: no agreement is better than that one."""
    pile = tmp_path / "pile"
    assert unbraid("collect", pile, "--experts", "forward", "--episodes", 3, "--max-steps", 30).code == 0
    found = _only_json(unbraid("fit", pile, "--out", tmp_path / "run", "--n-steps", 2, "--json"))
    assert "agreement" not in found
    assert "agreement" not in _only_json(unbraid("modes", tmp_path / "run", pile, "--json"))


def test_modes_of_episodes_and_of_windows(unbraid, fitted, pile):
    said = unbraid("modes", fitted, pile)
    assert said.code == 0
    assert re.match(r"mode 0: \d+ episodes, \d+\.\d %", said.out)
    assert "Agreement with goal_seeking, forward: NMI" in said.out
    found = _only_json(unbraid("modes", fitted, pile, "--json"))
    assert [entry["episode"] for entry in found["assignment"]] == list(range(6))
    assert sum(mode["share"] for mode in found["modes"]) == pytest.approx(1)
    assert sum(mode["n"] for mode in found["modes"]) == 6
    model, demos = ModeModel.from_pretrained(fitted), load_demos(pile)
    assert [entry["mode"] for entry in found["assignment"]] == model.predict(demos).tolist()
    assert all(0.5 <= entry["probability"] <= 1 for entry in found["assignment"])
    probabilities = [entry["probabilities"] for entry in found["assignment"]]
    np.testing.assert_allclose(probabilities, model.predict_proba(demos), rtol=1e-5)  # float32, other threads
    assert all(entry["probability"] == entry["probabilities"][entry["mode"]] for entry in found["assignment"])
    windows = _only_json(unbraid("modes", fitted, pile, "--window-steps", 25, "--json"))
    assert len(windows["assignment"]) == 6 * 8
    assert [entry["first_step"] for entry in windows["assignment"][:8]] == list(range(0, 40, 5))
    probabilities = [entry["probabilities"] for entry in windows["assignment"]]
    np.testing.assert_allclose(probabilities, model.predict_proba(demos, window_steps=25), rtol=1e-5)


def test_labelled_demonstrations_are_read_once(unbraid, fitted, pile, monkeypatch):
    reads = []
    scores = ModeModel.scores_of_windows
    monkeypatch.setattr(ModeModel, "scores_of_windows", lambda *given: reads.append(1) or scores(*given))
    assert _only_json(unbraid("modes", fitted, pile, "--json"))["agreement"] is not None
    assert len(reads) == 1


def test_windows_that_are_not_sure_get_no_mode(unbraid, fitted, pile):
    asked = ("modes", fitted, pile, "--window-steps", 10)
    sure = np.array([entry["probability"] for entry in _only_json(unbraid(*asked, "--json"))["assignment"]])
    least = float(np.median(sure))
    found = _only_json(unbraid(*asked, "--min-probability", least, "--beside", fitted, "--json"))
    unsure = np.array([entry["mode"] for entry in found["assignment"]]) == -1
    np.testing.assert_array_equal(unsure, sure < least)
    assert found["not_sure"] == {"min_probability": least, "share": unsure.mean()}
    assert sum(mode["n"] for mode in found["modes"]) == (~unsure).sum()
    assert found["stability"]["ari"]["value"] == 1
    said = unbraid(*asked, "--min-probability", least).out
    assert f"not sure: {100 * unsure.mean():.1f} %" in said
    assert "Agreement of the 10-step windows that are decided with goal_seeking, forward: " in said
    undecided = unbraid(*asked, "--min-probability", 1.0)
    assert "forward: not estimable, as those are not of several experts" in undecided.out
    assert _only_json(unbraid(*asked, "--min-probability", 1.0, "--json"))["agreement"] is None
    refused = unbraid(*asked, "--min-probability", 90)
    assert refused.code == 2
    assert "min_probability must lie in [0, 1]" in refused.err


def test_modes_that_change_within_episodes_say_where_they_do(unbraid, fitted, pile, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"switch_rate": 0.2}))
    demos = load_demos(pile)
    timeline = ModeModel.from_pretrained(tmp_path).timeline(demos)
    found = _only_json(unbraid("modes", tmp_path, pile, "--json"))
    assert found["shares_of_steps"] == [float((timeline.modes == mode).mean()) for mode in range(2)]
    assert found["change_points"] == [point.to_json() for point in timeline.change_points]
    path = np.concatenate([np.full(entry["n_steps"], entry["mode"]) for entry in found["stretches"]])
    np.testing.assert_array_equal(path, timeline.modes)
    assert len(found["stretches"]) == demos.n_episodes + len(timeline.change_points)
    assert all(0 <= entry["probability"] <= 1 for entry in found["stretches"])
    assert [e["first_step"] for e in found["stretches"] if e["episode"] == 0][1:] == [
        point.step for point in timeline.change_points if point.episode == 0
    ]
    said = unbraid("modes", tmp_path, pile).out
    n = len(timeline.change_points)
    assert f"within episodes: {n} change{'s' * (n != 1)}. Of the steps: mode 0 " in said
    assert "The mode of an episode, above, is the one that explains the whole of it best" in said
    assert "Modes change within episodes here, while an episode has one label" in said
    assert "within episodes" not in unbraid("modes", fitted, pile).out


def test_modes_pass_over_episodes_of_no_steps(unbraid, fitted, pile, tmp_path):
    demos = load_demos(pile)
    empty = Episode(observations=demos.observations[:1], actions=demos.actions[:0], label=0)
    episodes = [dataclasses.replace(episode, rewards=None, costs=None, seed=None) for episode in demos]
    mixed = save_demos(
        Demos.from_episodes([episodes[0], empty, *episodes[1:]], label_names=demos.label_names), tmp_path / "mixed"
    )
    found = _only_json(unbraid("modes", fitted, mixed, "--beside", fitted, "--json"))
    assert [entry["episode"] for entry in found["assignment"]] == [0, 2, 3, 4, 5, 6]
    assert found["stability"]["ari"]["value"] == 1


@pytest.mark.usefixtures("undrawn")
def test_a_fit_holds_out_episodes_that_have_steps(unbraid, pile, tmp_path):
    demos = load_demos(pile)
    empty = Episode(observations=demos.observations[:1], actions=demos.actions[:0], label=0)
    episodes = [dataclasses.replace(episode, rewards=None, costs=None, seed=None) for episode in demos]
    names = demos.label_names
    many = save_demos(Demos.from_episodes([*episodes, *[empty] * 40], label_names=names), tmp_path / "many")
    found = _only_json(unbraid("fit", many, "--out", tmp_path / "run", "--n-steps", 2, "--held-out", 0.2, "--json"))
    assert found["fit"]["held_out_log_likelihood_nats"]["n"] == 1
    one = save_demos(Demos.from_episodes([*episodes[:2], *[empty] * 4], label_names=names), tmp_path / "one")
    said = unbraid("fit", one, "--out", tmp_path / "other", "--n-steps", 2)
    assert said.code == 2
    assert "1 of 2 is left after holding out 1" in said.err


def test_modes_beside_another_run_say_how_alike_they_are(unbraid, fitted, pile):
    said = unbraid("modes", fitted, pile, "--beside", fitted)
    assert "Stability, mean adjusted Rand index over pairs of 2 fits: 1" in said.out
    found = _only_json(unbraid("modes", fitted, pile, "--beside", fitted, fitted, "--json"))
    assert found["stability"] == {
        "n_fits": 3,
        "ari": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 6, "unit_of_n": "episodes"},
    }
    assert unbraid("modes", fitted, pile, "--beside", pile).code == 2


def test_steer_measures_keeps_and_draws(unbraid, fitted, tmp_path):
    asked = ("--toward", 1, "--episodes", 2, "--max-steps", 55)
    said = unbraid("steer", fitted, *asked, "--save", tmp_path / "kept", "--picture", tmp_path / "new" / "mode1.png")
    assert said.code == 0
    assert said.out.startswith("toward mode 1 in unbraid/PointGoal1-v0\n")
    assert re.search(r"^distance \(m\): .*, n = 2 episodes$", said.out, re.MULTILINE)
    assert (tmp_path / "new" / "mode1.png").read_bytes().startswith(b"\x89PNG")
    kept = load_demos(tmp_path / "kept")
    assert (kept.n_episodes, kept.n_steps) == (2, 110)
    assert kept.observation_names == ModeModel.from_pretrained(fitted).observation_names != ()
    found = _only_json(unbraid("steer", fitted, *asked, "--json"))
    assert [episode["seed"] for episode in found["episodes"]] == list(kept.seeds)
    returns = [float(episode.rewards.sum()) for episode in kept]
    assert [episode["return"] for episode in found["episodes"]] == pytest.approx(returns)
    assert (found["context"], found["floored"]) == ([1.0, 0.0], 0.0)
    same = _only_json(unbraid("steer", fitted, "--context", "1,0", *asked[2:], "--json"))
    obeyed = found.pop("obedience")
    assert (obeyed["mode"], obeyed["window_steps"]) == (1, 50)
    assert "obedience (share of 50-step windows that the encoder reads as mode 1): " in said.out
    assert same == found | {"instruction": "context [1.0, 0.0]"}
    other = _only_json(unbraid("steer", fitted, "--toward", 0, *asked[2:], "--json"))
    assert other["episodes"] != found["episodes"]


def test_steer_toward_away_and_between(unbraid, fitted, tmp_path):
    quick = ("--episodes", 2, "--max-steps", 8)
    asked = ("--blend", "0=.25,1=.75", "--toward", 1, "--strength", 1.5)
    said = unbraid("steer", fitted, *asked, *quick, "--video", tmp_path / "film.mp4")
    assert said.code == 0, said.err
    assert "obedience: not measured; it takes rollouts of 50 steps" in said.out
    assert said.out.startswith("toward mode 1 (strength 1.5), from 0.25 x mode 0 + 0.75 x mode 1 in ")
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4")) == (9, pytest.approx(9 / 50, abs=0.01))
    toward, away, twice = (
        _only_json(unbraid("steer", fitted, *asked, *quick, "--json"))
        for asked in (("--toward", 0), ("--away", 1), ("--away", "1=2"))
    )
    assert [found["instruction"] for found in (toward, away, twice)] == [
        "toward mode 0",
        "away from mode 1",
        "away from mode 1 (strength 2)",
    ]
    assert away["context"] is None
    assert 0 <= away["floored"] <= 1
    assert len({str(found["episodes"]) for found in (toward, away, twice)}) == 3
    both = [unbraid("steer", fitted, "--away", f"{mode}=50", *quick).out for mode in (0, 1)]
    cut = [said for said in both if "% of 16 steps what is avoided is more certain of its action than what" in said]
    assert cut  # one of the two modes is more certain than their average, or both are


def test_steer_in_turn_acts_as_python_does_and_tells_of_every_turn(unbraid, fitted, tmp_path):
    items = ("70: toward 1 away 0=.5", "0: toward 0", "130: blend 0=.5,1=.5", "500: toward 1")
    asked = ("--in-turn", *items, "--episodes", 3, "--max-steps", 140)
    said = unbraid("steer", fitted, *asked, "--save", tmp_path / "kept", "--picture", tmp_path / "turns.png")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith(
        "toward mode 0; from step 70 on: toward mode 1, away from mode 0 (strength 0.5); from step "
    )
    places = [lines.index(line) for line in lines if re.match("steps? |from", line)]
    assert [lines[place] for place in places] == [
        "steps 0 to 69: toward mode 0",
        "steps 70 to 129: toward mode 1, away from mode 0 (strength 0.5)",
        "steps 130 to 499: between 0.5 x mode 0 + 0.5 x mode 1",
        "from step 500 on: toward mode 1; no rollout got so far",
    ]
    assert "reads as mode 0): " in lines[places[0] + 1]
    assert "reads as mode 1): " in lines[places[1] + 1]
    assert "    steps until 3 windows of 10 steps in a row are read as mode 1: " in lines[places[1] + 2]
    found = _only_json(unbraid("steer", fitted, *asked, "--json"))
    turns = found["in_turn"]
    assert [(turn["first_step"], turn["n_steps"]) for turn in turns] == [(0, 210), (70, 180), (130, 30), (500, 0)]
    assert ["obedience" in turn for turn in turns] == [True, True, False, True]
    assert ["steps_until_obeyed" in turn for turn in turns] == [False, True, False, True]
    assert turns[3]["obedience"] is turns[3]["steps_until_obeyed"] is turns[3]["floored"] is None
    assert found["floored"] == pytest.approx(sum(turn["floored"] * turn["n_steps"] for turn in turns[:3]) / 420)

    policy, kept = steer(ModeModel.from_pretrained(fitted)), load_demos(tmp_path / "kept")
    schedule = in_turn({0: policy.toward(0), 70: policy.toward(1).away(0, 0.5), 130: policy.blend({0: 0.5, 1: 0.5})})
    made = evaluate(schedule, found["env_id"], seeds=kept.seeds, max_steps=140).rollouts.demos
    np.testing.assert_array_equal(kept.actions, made.actions)
    until_130 = Demos.from_episodes([Episode(e.observations[:131], e.actions[:130]) for e in made])
    late = steps_until_obeyed(policy.model, until_130, 1, changed_at=70)
    assert turns[1]["steps_until_obeyed"]["steps"]["value"] == pytest.approx(late.mean())
    assert turns[1]["steps_until_obeyed"]["n_never"] == (late == 60).sum()


def test_steer_by_episode_tells_who_got_which_episodes(unbraid, fitted, tmp_path):
    asked = (
        "--by-episode",
        ".6: toward 0",
        ".3: toward 1 strength 2",
        ".1: away 1",
        "--episodes",
        6,
        "--max-steps",
        55,
    )
    said = unbraid("steer", fitted, *asked, "--picture", tmp_path / "first.png")
    assert said.code == 0, said.err
    assert said.out.startswith(
        "60 % of episodes: toward mode 0; 30 % of episodes: toward mode 1 (strength 2); 10 % of "
    )
    found = _only_json(unbraid("steer", fitted, *asked, "--json"))
    parts, seeds = found["by_episode"], [episode["seed"] for episode in found["episodes"]]
    assert [part["share"] for part in parts] == [0.6, 0.3, 0.1]
    assert sorted(seed for part in parts for seed in part["seeds"]) == sorted(seeds)
    assert len({part["n_episodes"] for part in parts}) > 1
    policy = steer(ModeModel.from_pretrained(fitted))
    for part, own in zip(parts, (policy.toward(0), policy.toward(1, 2.0), policy.away(1)), strict=True):
        assert f"{part['n_episodes']} of 6 episodes: {part['instruction']}\n" in said.out
        assert (part["n_episodes"], part["n_steps"]) == (len(part["seeds"]), 55 * len(part["seeds"]))
        if not part["seeds"]:
            assert part["floored"] is None
            continue
        alone = evaluate(own, found["env_id"], seeds=part["seeds"], max_steps=55)
        assert alone.table == [episode for episode in found["episodes"] if episode["seed"] in part["seeds"]]
        if "obedience" in part:
            read = obedience(policy.model, alone.rollouts, part["obedience"]["mode"])
            assert part["obedience"] == read.to_json()


@pytest.mark.usefixtures("undrawn")
def test_the_policy_learns_by_what_was_asked(unbraid, pile, tmp_path):
    kept = {}
    for asked in ([], ["--policy-loss", "likelihood"], ["--policy-loss", "huber"]):
        run = tmp_path / "_".join(["run", *asked])
        assert unbraid("fit", pile, "--out", run, "--n-steps", 5, "--held-out", 0, *asked).code == 0
        assert json.loads((run / "run.json").read_text())["config"]["policy_loss"] == (asked[1] if asked else "auto")
        kept[run.name] = (run / "model" / "model.safetensors").read_bytes()
    plain, by_name, huber = kept.values()
    assert plain == by_name != huber  # of few steps, auto is the likelihood


def test_a_style_is_fitted_listed_steered_and_shown(unbraid, pile, fitted, tmp_path):
    run = tmp_path / "run"
    assert unbraid("fit", pile, "--out", run, "--n-steps", 20, "--n-modes", 2, "--style", "on").code == 0
    assert json.loads((run / "run.json").read_text())["config"]["style"] == "on"
    assert "How each mode is done" in (run / "report" / "index.html").read_text()
    assert len(json.loads((run / "results.json").read_text())["unbraid"]["style"]["modes"]) == 2
    found = _only_json(unbraid("modes", run, pile, "--json"))
    model, demos = ModeModel.from_pretrained(run), load_demos(pile)
    np.testing.assert_allclose([entry["style"] for entry in found["assignment"]], model.styles(demos))
    asked = ("--toward", 1, "--episodes", 2, "--max-steps", 8, "--json")
    slow, typical, fast = (_only_json(unbraid("steer", run, *asked, "--style", s)) for s in (0.0, 0.5, 1.0))
    assert slow["style"] == 0.0
    assert slow["episodes"] != fast["episodes"]
    assert typical["instruction"] == "toward mode 1, style 0.5"
    plain = {name: value for name, value in typical.items() if name != "style"} | {"instruction": "toward mode 1"}
    assert _only_json(unbraid("steer", run, *asked)) == plain
    turns = ("--in-turn", "0: toward 1 style 0", "1: toward 1 style 1", *asked[2:])
    told = _only_json(unbraid("steer", run, *turns))["in_turn"]
    assert [(turn["instruction"], turn["style"]) for turn in told] == [
        ("toward mode 1, style 0", 0.0),
        ("toward mode 1, style 1", 1.0),
    ]
    assert not any("steps_until_obeyed" in turn for turn in told)  # the mode stays
    refused = unbraid("steer", run, *asked, "--style", 1.5)
    assert refused.code == 2
    assert "A style must lie in [0, 1]; got 1.5." in refused.err
    refused = unbraid("steer", fitted, *asked, "--style", 0.5)
    assert refused.code == 2
    assert "A model must have styles; this one was fitted without." in refused.err


def test_evaluate_adds_experts_and_modes_to_the_run_and_report_draws_it_again(unbraid, fitted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    before = (run / "report" / "index.html").read_text()
    asked = ("--experts", "goal_seeking", "forward", "--episodes", 2, "--max-steps", 8)
    found = _only_json(unbraid("evaluate", run, *asked, "--json"))
    results = json.loads((run / "results.json").read_text())
    assert results["behaviour"] == found["behaviour"]
    assert results["unbraid"] == json.loads((fitted / "results.json").read_text())["unbraid"]
    assert [mode["mode"] for mode in results["behaviour"]["modes"]] == [0, 1]
    assert [expert["name"] for expert in results["behaviour"]["experts"]] == ["goal_seeking", "forward"]
    assert results["evaluation"] == found["evaluation"]
    with (run / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["actor"] for row in rows[::2]] == ["goal_seeking", "forward", "mode 0", "mode 1"]
    assert len({row["seed"] for row in rows}) == 2
    assert not {int(row["seed"]) for row in rows} & set(results["data"]["seeds"])
    mean = sum(float(row["return"]) for row in rows[4:6]) / 2
    assert found["evaluation"]["actors"][2]["summary"]["return"]["mean"]["value"] == pytest.approx(mean)
    episodes = json.loads((run / "evaluation.json").read_text())["actors"][3]["episodes"]
    assert [episode["energy"] for episode in episodes] == [float(row["energy"]) for row in rows[6:]]
    assert set(results["behaviour"]["metrics"]) == {"return", "cost", "length", "goals", "distance", "displacement"}
    after = (run / "report" / "index.html").read_text()
    assert "its expert" in after
    assert "its expert" not in before
    with np.load(run / "paths.npz", allow_pickle=False) as paths:
        panels = {name.rpartition("/")[0] for name in paths.files}
    assert panels == {"expert/goal_seeking", "expert/forward", "mode/0", "mode/1"}
    (run / "report" / "index.html").write_text("an older page")
    said = unbraid("report", run)
    assert said.code == 0
    assert said.out == f"The page: {run / 'report' / 'index.html'}\n"
    assert (run / "report" / "index.html").read_text() == after


@pytest.mark.usefixtures("undrawn")
def test_evaluate_without_experts_measures_the_modes_alone(unbraid, fitted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    said = unbraid("evaluate", run, "--episodes", 2, "--max-steps", 8)
    assert said.code == 0
    assert "mode 1" in said.out
    assert "Episodes of mode 1, n = 2 episodes" in said.out
    assert "energy (action x velocity)" in said.out
    assert "What each mode does" in said.out
    assert "\nTwo experts, two modes\n" in said.out  # as on the page: the data names two, and none was compared
    results = json.loads((run / "results.json").read_text())
    assert [mode["expert"] for mode in results["behaviour"]["modes"]] == [None, None]
    assert all(len(line) <= 110 for line in said.out.splitlines()[:-1])


@pytest.mark.usefixtures("undrawn")
def test_evaluate_takes_the_training_seed_as_the_unit_where_several_runs_are_given(unbraid, fitted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    asked = ("--episodes", 3, "--max-steps", 8)
    refused = unbraid("evaluate", run, "--beside", fitted, *asked)
    assert refused.code == 2
    assert "--beside needs --experts" in refused.err
    experts = ("--experts", "goal_seeking", "forward")
    same = unbraid("evaluate", run, "--beside", fitted, *experts, *asked)
    assert same.code == 2
    assert "models 0 and 1 have the same weights" in same.err
    others = [tmp_path / "other", tmp_path / "another"]
    for count, other in enumerate(others, start=1):
        shutil.copytree(fitted, other, ignore=shutil.ignore_patterns("model"))
        model = ModeModel.from_pretrained(fitted)
        model.encoder.state_dict()["of_mean.2.bias"].add_(1e-5 * count)  # another fit, whose policy is the same
        model.save_pretrained(other / "model")
    said = unbraid("evaluate", run, "--beside", *others, *experts, *asked)
    assert said.code == 0, said.err
    assert "Over training seeds, n = 3 training seeds" in said.out
    found = json.loads((run / "results.json").read_text())["evaluation"]
    assert [entry["expert"] for entry in found["training_seeds"]] == ["goal_seeking", "forward"]
    for entry in found["training_seeds"]:
        assert len(set(entry["modes"])) == 1  # the same policy thrice
        own = next(actor for actor in found["actors"] if actor["name"] == f"run 2, mode {entry['modes'][0]}")
        mean = entry["metrics"]["return"]
        assert (mean["n"], mean["low"]) == (3, pytest.approx(mean["value"]))
        assert mean["value"] == pytest.approx(own["summary"]["return"]["mean"]["value"])


@pytest.mark.usefixtures("undrawn")
def test_no_rollout_reuses_a_seed_of_the_demonstrations(unbraid, fitted, pile, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    results = json.loads((run / "results.json").read_text())
    assert results["data"]["seeds"] == sorted(load_demos(pile).seeds)
    results["data"]["seeds"] += fresh_seeds(2, seed=0)
    (run / "results.json").write_text(json.dumps(results))
    steered = _only_json(unbraid("steer", run, "--toward", 0, "--episodes", 2, "--max-steps", 3, "--json"))
    assert not {episode["seed"] for episode in steered["episodes"]} & set(fresh_seeds(2, seed=0))
    assert unbraid("evaluate", run, "--episodes", 2, "--max-steps", 3).code == 0
    with (run / "evaluation.csv").open(newline="") as file:
        seeds = [int(row["seed"]) for row in csv.DictReader(file)]
    assert not set(seeds) & set(fresh_seeds(2, seed=0))


def test_the_module_runs_as_a_program(pile):
    command = [sys.executable, "-m", "unbraid", "check", str(pile), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert said.returncode == 0
    assert said.stderr == ""
    assert json.loads(said.stdout)["ok"] is True


# How it ends


def test_a_fault_of_ours_exits_with_1_and_says_so(unbraid, pile, monkeypatch):
    def broken(data):
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr("unbraid.pipeline.data.check_stage", broken)
    said = unbraid("check", pile)
    assert said.code == 1
    assert "RuntimeError: a wheel came off" in said.err
    assert "this is a bug of ours; please report the lines above" in said.err
    assert said.out == ""


def test_a_no_exits_with_3_in_words_and_in_json(unbraid, tmp_path):
    """An answer, not an error: it goes to stdout."""
    from unbraid.demos.episodes import Demos, Episode
    from unbraid.demos.store import save_demos

    observations = np.random.default_rng(0).normal(size=(11, 3))
    observations[4, 1] = np.nan
    episode = Episode(observations=observations, actions=np.zeros((10, 1)))
    save_demos(Demos.from_episodes([episode, episode]), tmp_path / "pile")
    said = unbraid("check", tmp_path / "pile")
    assert said.code == 3
    assert "episode 0 holds nan at step 4 in observations[1]" in said.out
    assert said.err == ""
    as_json = unbraid("check", tmp_path / "pile", "--json")
    assert as_json.code == 3
    assert _only_json(as_json)["ok"] is False


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(unbraid, pile, monkeypatch):
    def interrupted(data):
        raise KeyboardInterrupt

    monkeypatch.setattr("unbraid.pipeline.data.check_stage", interrupted)
    said = unbraid("check", pile)
    assert said.code == 130
    assert said.err == "unbraid: Stopped. Run the same command again.\n"


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_before_the_first_step_leaves_no_run_in_the_way(unbraid, pile, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("unbraid.pipeline.stages.fit", interrupted)
        assert unbraid("fit", pile, "--out", tmp_path / "run", "--n-steps", 2).code == 130
    assert list(tmp_path.iterdir()) == []
    assert unbraid("fit", pile, "--out", tmp_path / "run", "--n-steps", 2).code == 0


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_after_the_last_step_loses_nothing(unbraid, pile, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    asked = ("fit", pile, "--out", tmp_path / "run", "--n-steps", 2)
    with monkeypatch.context() as patched:
        patched.setattr("unbraid.pipeline.stages._fit_results", interrupted)
        said = unbraid(*asked)
    assert said.code == 130
    assert "with --resume" in said.err
    model = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert unbraid(*asked, "--resume").code == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == model
    assert (tmp_path / "run" / "results.json").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_finished_fit_is_not_fitted_again(unbraid, fitted, pile, tmp_path, monkeypatch):
    """Be its checkpoints there or removed: it answers what it answered, and what was evaluated since stays."""
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    asked = ("fit", pile, "--out", run, "--n-steps", 20, "--held-out", 0.4, "--resume", "--json")
    monkeypatch.setattr("unbraid.pipeline.stages.fit", lambda *given: pytest.fail("it fits again"))
    before = json.loads((run / "results.json").read_text())
    before.pop("certificates", None)  # of a test before
    (run / "results.json").write_text(json.dumps(before | {"evaluation": {"n": 1}}))
    answers = [json.loads(unbraid(*asked).out)]
    assert json.loads((run / "results.json").read_text()) == before | {"evaluation": {"n": 1}}
    shutil.rmtree(run / "checkpoints")
    answers.append(json.loads(unbraid(*asked).out))
    (run / "results.json").unlink()
    answers.append(json.loads(unbraid(*asked).out))
    assert json.loads((run / "results.json").read_text()) == before
    assert answers == [{"run": str(run), "page": answers[0]["page"], **before["unbraid"], "fit": before["fit"]}] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another Ctrl-C")
@pytest.mark.usefixtures("undrawn")
def test_a_real_ctrl_c_in_a_fit_saves_and_resumes(unbraid, pile, tmp_path):
    run = tmp_path / "run"
    asked = ["fit", str(pile), "--out", str(run), "--method", "talk", "--n-steps", "1500"]
    metrics = run / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "unbraid", *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while process.poll() is None and not (metrics.exists() and metrics.read_text()):
            try:
                process.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    said = re.fullmatch(
        r"unbraid: Stopped after step (\d+) of 1500\. All is saved; go on with the same command and --resume "
        r"\(in Python, resume=True\)\.\n",
        err,
    )
    assert said, err
    assert (run / "checkpoints" / f"step_{int(said[1]):07d}").is_dir()
    assert not (run / "model").exists()
    refused = unbraid(*asked)
    assert refused.code == 2
    assert "must not exist yet" in refused.err
    resumed = unbraid(*asked, "--resume")
    assert resumed.code == 0, resumed.err
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(50, 1501, 50))
    assert ModeModel.from_pretrained(run).config.n_steps == 1500


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other pipes")
@pytest.mark.parametrize("asked", [("check", "PILE", "--json"), ("fit", "--help")])
def test_a_reader_who_has_seen_enough_is_no_fault(pile, asked):
    words = [str(pile) if word == "PILE" else word for word in asked]
    process = subprocess.Popen(
        [sys.executable, "-m", "unbraid", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=120) == 0
