"""Exported policies: the numbers that PyTorch gives, nothing of where they were made, and no torch to run."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import gymnasium
import jaxtyping
import numpy as np
import onnxruntime
import pytest
import torch

import unbraid
from unbraid.core.errors import ConfigError, ModelError, RunError
from unbraid.policy.normaliser import Normaliser
from unbraid.steering import export
from unbraid.steering.export import TOLERANCE, export_onnx, export_program
from unbraid.steering.steered import steer
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.model import ModeModel

ROOT = Path(__file__).parents[3]
OBSERVATIONS, ACTIONS, MODES = 3, 1, 3
FORMS = ("onnx", "pt2")
CONFIGS = {
    "unbraid": UnbraidConfig(n_modes=MODES, policy_hidden=(16, 16)),
    "styled": UnbraidConfig(n_modes=MODES, policy_hidden=(16, 16), style="on"),
    "bounded": UnbraidConfig(n_modes=MODES, policy_hidden=(16, 16)),
    "squashed": UnbraidConfig(n_modes=MODES, policy_hidden=(16, 16), policy_head="tanh"),
    "components": UnbraidConfig(n_modes=MODES, policy_hidden=(16, 16), observation_components=2),
    "talk": TalkConfig(n_modes=MODES, policy_hidden=(16,)),
}


def make_model(kind):
    """An untrained model that has seen something: normalisers that change much, contexts and styles of its own."""
    torch.manual_seed(3)
    model = ModeModel(CONFIGS[kind], observation_size=OBSERVATIONS, action_size=ACTIONS)
    rows = np.random.default_rng(0).normal([5.0, -2.0, 0.1], [4.0, 0.5, 0.01], (500, OBSERVATIONS))
    model.observation_normaliser = Normaliser.of(rows, floor=0.02, clip=6.0)
    if kind == "components":
        model.observation_normaliser.keep_components(rows, 2, floor=0.02)
    model.action_normaliser = Normaliser.of(np.random.default_rng(1).normal(0.3, 1.7, (500, ACTIONS)), floor=0.0)
    if kind == "talk":
        model.contexts.mul_(37.5).add_(0.25)
    if kind == "bounded":
        model.policy.hold_within(torch.full((ACTIONS,), -0.02), torch.full((ACTIONS,), torch.inf))
    if kind == "squashed":
        model.policy.hold_within(torch.full((ACTIONS,), -0.3), torch.full((ACTIONS,), 0.8))
        model.policy.trunk[-1].weight.data.mul_(0.3)  # within the bounds, where the slope says what noise does
    if model.style_reader is not None:
        model.style_reader.latents.copy_(model.style_reader.latents.pow(3) * torch.tensor([[1.0], [-1.0], [0.4]]))
    return model.eval()


@pytest.fixture(scope="module")
def models():
    return {kind: make_model(kind) for kind in CONFIGS}


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    """Both files of each model, and what was said of them."""
    folder = tmp_path_factory.mktemp("exported")
    told = {}
    for kind, model in models.items():
        told[kind, "onnx"] = export_onnx(
            model, folder / f"{kind}.onnx", action_bounds=(np.array([-2.0]), np.array([2.0]))
        )
        told[kind, "pt2"] = export_program(model, folder / f"{kind}.pt2", observation_names=("a", "b", "c"))
    return folder, told


@pytest.fixture(params=CONFIGS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def ask(folder):
    """(form, kind, inputs) -> (mean, log_std), as somebody without unbraid would."""
    sessions = {kind: session_of(folder, kind) for kind in CONFIGS}
    programs = {kind: torch.export.load(folder[0] / f"{kind}.pt2").module() for kind in CONFIGS}

    def answer(form, kind, inputs):
        if form == "onnx":
            return sessions[kind].run(["mean", "log_std"], inputs)
        return [out.numpy() for out in programs[kind](*map(torch.from_numpy, inputs.values()))]

    return answer


def session_of(folder, kind):
    return onnxruntime.InferenceSession(folder[0] / f"{kind}.onnx", providers=["CPUExecutionProvider"])


def observations_of(n, seed=5):
    return np.random.default_rng(seed).normal([5.0, -2.0, 0.1], [12.0, 1.5, 0.3], (n, OBSERVATIONS)).astype(np.float32)


def inputs_of(kind, observations, context, style=0.5):
    """Rows of inputs, in the graph's order."""
    n = len(observations)
    inputs = {"observation": observations, "context": np.tile(np.float32(context), (n, 1))}
    return {**inputs, "style": np.full((n, 1), style, dtype=np.float32)} if kind == "styled" else inputs


def test_far_from_zero_observations_are_float64(tmp_path):
    """float32 would round them to a metre."""
    model, origin = make_model("unbraid"), torch.tensor([1e7, 0.0, 1e7], dtype=torch.float64)
    near = inputs_of("unbraid", observations_of(20), model.contexts[1].numpy())
    mean, deviation = model.action_distribution(*map(torch.from_numpy, near.values()))
    model.observation_origin = origin
    export_onnx(model, tmp_path / "far.onnx")
    export_program(model, tmp_path / "far.pt2")
    far = near | {"observation": near["observation"] + origin.numpy()}
    session = onnxruntime.InferenceSession(tmp_path / "far.onnx", providers=["CPUExecutionProvider"])
    program = torch.export.load(tmp_path / "far.pt2").module()
    answers = [
        session.run(["mean", "log_std"], far),
        [o.numpy() for o in program(*map(torch.from_numpy, far.values()))],
    ]
    for found, log_std in answers:
        np.testing.assert_allclose(found, mean.numpy(), atol=1e-4)
        np.testing.assert_allclose(np.exp(log_std), deviation.numpy(), rtol=1e-4)


def steered(model, context):
    return steer(model).with_context(context)


@pytest.mark.parametrize("form", FORMS)
def test_a_thousand_inputs_get_what_pytorch_gives(models, ask, kind, form):
    model, draw = models[kind], np.random.default_rng(7)
    observations, rows = observations_of(1000), model.contexts.double().numpy()
    contexts = [*rows, draw.dirichlet(np.ones(MODES)) @ rows, draw.uniform(rows.min(), rows.max(), MODES)]
    for context in contexts:
        policy = steered(model, context)
        mean, log_std = ask(form, kind, inputs_of(kind, observations, context))
        np.testing.assert_allclose(mean, policy.predict(observations, deterministic=True)[0], atol=1e-5, rtol=0)
        noise = np.full((1000, ACTIONS), 1e-3 if kind == "squashed" else 1.0)  # of what is squashed, the slope is told
        drawn, _ = policy.act(observations.astype(float), None, np.zeros(1000, dtype=bool), noise)
        np.testing.assert_allclose(mean + noise * np.exp(log_std), drawn, atol=2e-5, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("style", [0.0, 0.13, 0.5, 0.99, 1.0])
def test_a_style_is_an_input_of_a_model_that_has_styles(models, ask, form, style):
    policy, observations = steer(models["styled"]).with_context([0.7, 0.3, 1.0]).style(style), observations_of(100)
    mean, _ = ask(form, "styled", inputs_of("styled", observations, policy.context, style))
    np.testing.assert_allclose(mean, policy.predict(observations, deterministic=True)[0], atol=1e-5, rtol=0)
    typical = policy.style(0.5).predict(observations, deterministic=True)[0]
    assert (np.abs(mean - typical).max() > 1e-3) == (style != 0.5)


def test_each_row_may_have_a_style_of_its_own_and_no_style_lies_outside(models, ask):
    row = observations_of(1)
    styles = np.array([[0.0], [0.37], [1.0], [-3.0], [7.0]], dtype=np.float32)
    inputs = inputs_of("styled", np.tile(row, (5, 1)), [0, 1, 1]) | {"style": styles}
    mean, _ = ask("onnx", "styled", inputs)
    policy = steer(models["styled"]).toward(0)
    wanted = [policy.style(s).predict(row, deterministic=True)[0][0] for s in (0.0, 0.37, 1.0, 0.0, 1.0)]
    np.testing.assert_allclose(mean, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2, 129])
def test_a_batch_has_any_number_of_rows(ask, kind, form, n):
    outputs = ask(form, kind, inputs_of(kind, observations_of(n), [0, 1, 1]))
    assert [out.shape for out in outputs] == [(n, ACTIONS)] * 2
    assert [out.dtype for out in outputs] == [np.float32] * 2


def test_inputs_and_outputs_have_the_promised_names_and_shapes(folder, kind):
    session = session_of(folder, kind)
    widths = {"observation": OBSERVATIONS, "context": MODES} | ({"style": 1} if kind == "styled" else {})
    assert {i.name: i.shape for i in session.get_inputs()} == {name: ["batch", w] for name, w in widths.items()}
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("mean", ["batch", 1]), ("log_std", ["batch", 1])]
    assert folder[1][kind, "onnx"].inputs == widths


def test_it_says_what_was_checked(folder, kind):
    for form, told in ((form, folder[1][kind, form]) for form in FORMS):
        assert told.n_checked == 1000
        assert 0 <= max(told.mean_difference, told.log_std_difference) <= TOLERANCE
        assert told.to_json() == dataclasses.asdict(told) | {"path": str(folder[0] / f"{kind}.{form}")}
        with pytest.raises(dataclasses.FrozenInstanceError):
            told.n_checked = 0


def test_whoever_has_no_torch_learns_which_context_asks_for_which_mode(models, folder, kind):
    stored = dict(session_of(folder, kind).get_modelmeta().custom_metadata_map)
    assert stored.pop("format") == "unbraid-policy"
    assert stored.pop("method") == models[kind].config.method
    assert stored.pop("head") == ("tanh" if kind == "squashed" else "gaussian")
    assert stored.pop("unbraid_version").count(".") == 2
    facts = {name: json.loads(value) for name, value in stored.items()}
    contexts = np.array(facts.pop("contexts"), dtype=np.float32)
    np.testing.assert_array_equal(contexts, models[kind].contexts.numpy())
    assert (contexts.max() > 30) == (kind == "talk")
    assert facts == {
        "version": 1,
        "n_modes": MODES,
        "shares": models[kind].shares,
        "observation_size": OBSERVATIONS,
        "action_size": ACTIONS,
        "styles": kind == "styled",
        "action_low": [-2.0],
        "action_high": [2.0],
    }


def facts_of(program):
    extra = {"unbraid.json": ""}
    torch.export.load(program, extra_files=extra)
    return json.loads(extra["unbraid.json"])


def test_a_program_says_the_same(models, folder, kind):
    facts = facts_of(folder[0] / f"{kind}.pt2")
    assert facts["contexts"] == models[kind].contexts.tolist()
    assert facts["observation_names"] == ["a", "b", "c"]
    assert "action_low" not in facts


def test_what_a_model_keeps_of_its_demonstrations_stands_beside_the_graph(tmp_path):
    model = make_model("unbraid")
    model.observation_names, model.action_bounds = ("x", "y", "z"), (np.array([-2.0]), np.array([1.5]))
    half, given = (np.array([-np.inf]), np.array([1.5])), (np.array([-1.0]), np.array([1.0]))
    for name, bounds, low in (("own", model.action_bounds, [-2.0]), ("half", half, None)):
        model.action_bounds = bounds
        facts = facts_of(export_program(model, tmp_path / f"{name}.pt2").path)
        assert facts["observation_names"] == ["x", "y", "z"]
        assert facts.get("action_low") == low
    facts = facts_of(export_program(model, tmp_path / "given.pt2", action_bounds=given).path)
    assert (facts["action_low"], facts["action_high"]) == ([-1.0], [1.0])


def test_neither_file_says_where_it_was_made_or_holds_a_pickle(folder, kind):
    onnx = (folder[0] / f"{kind}.onnx").read_bytes()
    with zipfile.ZipFile(folder[0] / f"{kind}.pt2") as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    for content in (onnx, *parts.values()):
        for told in (str(ROOT), str(Path.home()), ".py", "site-packages"):
            assert told.encode() not in content
        assert not content.startswith(b"\x80")  # how a pickle begins
        assert not content.startswith(b"PK")  # how what torch.save writes begins
    configs = [json.loads(content) for name, content in parts.items() if name.endswith("_config.json")]
    payloads = [entry for config in configs for entry in config["config"].values()]
    assert payloads
    assert not any(entry["use_pickle"] for entry in payloads)


def test_equal_models_give_equal_files(models, folder, tmp_path):
    export_program(models["talk"], tmp_path / "again.pt2", observation_names=("a", "b", "c"))
    assert (tmp_path / "again.pt2").read_bytes() == (folder[0] / "talk.pt2").read_bytes()


def test_the_model_is_as_it_was(models, folder, kind):
    again = make_model(kind)
    for name, value in models[kind].state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert all(p.requires_grad for p in models[kind].policy.parameters())


@pytest.mark.parametrize(("write", "name"), [(export_onnx, "policy.onnx"), (export_program, "policy.pt2")])
def test_what_answers_otherwise_is_not_written(models, tmp_path, monkeypatch, capfd, write, name):
    """A graph that forgets the units of the deviation is one that a check must find; and nothing else is said."""
    real = export._PolicyGraph.__init__

    def forgetful(graph, model):
        real(graph, model)
        graph.log_scale.zero_()

    monkeypatch.setattr(export._PolicyGraph, "__init__", forgetful)
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(ModelError, match=rf"{name} must answer as PyTorch does, to 1e-05; on 1000 .* in log_std\."),
    ):
        write(models["talk"], tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_answers_with_no_numbers_is_not_written(tmp_path):
    model = make_model("talk")
    with torch.no_grad():
        model.policy.log_std.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"differs by up to .* in mean and nan in log_std\. Nothing was written"):
        export_program(model, tmp_path / "policy.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_check_sees_every_mode_and_every_style(models):
    asked = export._random_inputs(models["styled"])
    rows = {tuple(row) for row in models["styled"].contexts.tolist()}
    assert rows < {tuple(row) for row in asked["context"].tolist()}
    assert len({tuple(row) for row in asked["context"].tolist()}) > 600
    assert len(set(asked["style"].ravel().tolist())) == 5
    scaled = models["styled"].observation_normaliser(torch.from_numpy(asked["observation"]))
    assert float(scaled.abs().max()) == 6.0  # beyond what was seen, where it is clipped
    assert [len(value) for value in asked.values()] == [1000] * 3


def test_an_existing_file_is_not_written_over(models, tmp_path):
    for write, name in ((export_onnx, "policy.onnx"), (export_program, "policy.pt2")):
        (tmp_path / name).write_text("mine")
        with pytest.raises(RunError, match=r"must not exist yet; it does\. Name another one"):
            write(models["talk"], tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(models, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package} is not installed\. Run `pip install 'unbraid\[onnx\]'`\."):
        export_onnx(models["talk"], tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_program_needs_no_extra(models, tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    assert export_program(models["talk"], str(tmp_path / "policy.pt2")).path.exists()


@pytest.mark.parametrize("bad", [(np.zeros(2), np.ones(2)), (np.array([-np.inf]), np.array([np.inf]))])
def test_bounds_that_are_none_are_refused(models, tmp_path, bad):
    with pytest.raises(ConfigError, match="action_low must be 1 finite numbers, one per action column"):
        export_program(models["talk"], tmp_path / "policy.pt2", action_bounds=bad)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"action_bounds": 5.0}, r"bounds of actions must be \(low, high\); got 5\.0\. Give"),
        (
            {"action_bounds": (np.zeros(1), np.ones(1), np.ones(1))},
            r"must be \(low, high\); got \(array",
        ),
        ({"observation_names": "xyz"}, r"names of observation columns must be a list of texts; got 'xyz'\. Give"),
        ({"observation_names": (1, 2, 3)}, r"names of observation columns must be a list of texts; got \(1, 2, 3\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_pair_of_bounds_and_no_names_is_refused(models, tmp_path, asked, said):
    with pytest.raises(ConfigError, match=said):
        export_program(models["talk"], tmp_path / "policy.pt2", **asked)
    assert list(tmp_path.iterdir()) == []


def test_bounds_that_nothing_lies_between_are_refused(models, tmp_path):
    with pytest.raises(ConfigError, match=r"action_low must be at most action_high .* got \[1\.0\] and \[-1\.0\]"):
        export_program(models["talk"], tmp_path / "policy.pt2", action_bounds=(np.ones(1), -np.ones(1)))


def test_names_that_do_not_fit_are_refused(models, tmp_path):
    with pytest.raises(ConfigError, match=r"a name for each of 3 observation columns, or none; got 2\. Name every"):
        export_program(models["talk"], tmp_path / "policy.pt2", observation_names=("a", "b"))
    with pytest.raises(ConfigError, match=r"must end with \.pt2, or torch will not load it; got .*program\.zip"):
        export_program(models["talk"], tmp_path / "program.zip")


_WITHOUT_TORCH = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print([name for name in ("torch", "unbraid", "onnx") if name in sys.modules])
"""


def test_it_runs_with_onnxruntime_alone(models, folder):
    """The example, in Pendulum: the same return as a loop in PyTorch."""
    example = ROOT / "examples" / "onnx_policy.py"
    command = [sys.executable, "-c", _WITHOUT_TORCH, str(example), str(folder[0] / "unbraid.onnx"), "Pendulum-v1", "1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    spoken, loaded = said.stdout.splitlines()
    assert loaded == "[]"
    assert said.stderr == ""
    env = gymnasium.make("Pendulum-v1")
    policy = steer(models["unbraid"], action_bounds=(env.action_space.low, env.action_space.high)).toward(1)
    observation, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        action, _ = policy.predict(observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    assert float(spoken.removeprefix("mode 1: return ")) == pytest.approx(total, abs=0.1)


def test_the_example_fits_in_the_head():
    lines = [line for line in (ROOT / "examples" / "onnx_policy.py").read_text().splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("import ", '"""'))]) <= 15


def test_an_onnxscript_that_is_too_old_is_told(models, tmp_path, monkeypatch):
    def refuses(*_, **__):
        raise ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_2_99'")

    monkeypatch.setattr(torch.onnx, "export", refuses)
    with pytest.raises(ConfigError, match=r"torch_2_99'\. Run `pip install --upgrade onnxscript`\."):
        export_onnx(models["talk"], tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_shape_raises(models, tmp_path):
    with pytest.raises(jaxtyping.TypeCheckError):
        export_program(models["talk"], tmp_path / "policy.pt2", action_bounds=(np.zeros((1, 1)), np.zeros((1, 1))))


def recipe():
    """`product` of the page on deployment, as anybody copies it."""
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (function,) = re.findall(r"^(def product\(.*?\n)\n\n", page, flags=re.MULTILINE | re.DOTALL)
    names = {"np": np}
    exec(function, names)
    return names["product"]


@pytest.mark.parametrize("kind", ["unbraid", "styled", "bounded", "mixed", "talk"])
def test_blends_and_away_follow_from_the_outputs_as_the_page_says(models, kind):
    """The outputs are those of `action_distribution`, as the tests above say; of a mixture they cannot be traced while
    shapes are checked."""
    config = UnbraidConfig(n_modes=MODES, policy_hidden=(16, 16), policy_head="mixture")
    model = models[kind] if kind != "mixed" else ModeModel(config, observation_size=3, action_size=1).eval()
    (row,) = observations_of(1)
    outputs = model.action_distribution(torch.from_numpy(np.tile(row, (MODES, 1))), model.contexts)
    means, log_stds = outputs[0].numpy(), outputs[1].log().numpy()
    policy = steer(model)
    for asked, powers in (
        (policy.blend({0: 0.7, 1: 0.3}), [0.7, 0.3, 0.0]),
        (policy.toward(1).away(0, 2), [-2.0, 3.0, 0.0]),
    ):
        found, _ = recipe()(means, log_stds, powers)
        np.testing.assert_allclose(found, asked.predict(row, deterministic=True)[0], atol=1e-4)


def test_a_steered_policy_is_refused_with_the_context_that_asks_for_the_same(models, tmp_path):
    policy = steer(models["unbraid"])
    for write in (export_onnx, export_program):
        for given, said in (
            (policy.toward(1), r"would be lost\. Export policy\.model; then give the context \[1\.0, 0\.0, 1\.0\]"),
            (policy.away(1), r"Export policy\.model; docs/deploy\.md says how to make of its outputs"),
            ("runs/first", r"must be a model, .* got a str\. Load one"),
        ):
            with pytest.raises(ConfigError, match=said):
                inspect.unwrap(write)(given, tmp_path / "policy.pt2")
    assert list(tmp_path.iterdir()) == []


def test_they_are_public():
    assert unbraid.export_onnx is export_onnx
    assert unbraid.export_program is export_program
