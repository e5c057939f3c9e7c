"""The pages below docs: their links lead somewhere, their numbers are measured, their figures can be drawn again."""

import importlib
import io
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from torch.distributed.run import get_args_parser as torchrun_options

from unbraid.demos.formats.recognise import formats
from unbraid.pipeline.requests import FitRequest, SteerRequest, SweepRequest
from unbraid.pipeline.words import shares_of, turns_of
from unbraid.report.style import png
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.training.sweep import trials_of

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


def test_the_pages_name_files_that_are_there():
    for page in PAGES:
        for name in re.findall(r"`((?:benchmarks|scripts|docs|src)/[\w/.]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), (page.name, name)


def written():
    """Every text of the repository that names pages: pages, and the source; as one line each, less line breaks."""
    paths = [*PAGES, *ROOT.glob("*.md"), *sorted((ROOT / "src").rglob("*.py"))]
    return {path.relative_to(ROOT): " ".join(path.read_text(encoding="utf-8").split()) for path in paths}


def test_the_sections_that_are_named_are_there():
    """As `experiments.md, 15 and 16`, and `[method.md](method.md), "Heads"`."""
    title = re.compile(r"^(?:#+ |\*\*)(.*?)(?:$|\.\*\*)", re.MULTILINE)  # of a section, or in bold before a paragraph
    headings = {page.name: title.findall(page.read_text(encoding="utf-8")) for page in PAGES}
    numbers = {heading.split(".")[0] for heading in headings["experiments.md"]}
    n_found = 0
    for path, text in written().items():
        for some in re.findall(r"experiments\.md\)?, (\d+(?:(?:, | and )\d+)*)", text):
            assert set(re.findall(r"\d+", some)) <= numbers, (path, some)
            n_found += 1
        for page, section in re.findall(r'([\w_]+\.md)\)?, "([^"]+)"', text):
            assert section in headings[page], (path, page, section)
            n_found += 1
    assert n_found > 30


def test_the_sources_that_are_named_can_be_read():
    assert [path for path, text in written().items() if re.search(r"\bMETHOD\b(?!S)", text)] == []


def test_the_figures_show_the_results_as_they_are(monkeypatch):
    """Redraw them with `python benchmarks/method_figures.py` where results changed."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    drawn = importlib.import_module("method_figures").drawn()
    assert {"method_evidence", "method_style", "steering_away", "switching", "example_half_cheetah"} <= set(drawn)
    for name, figure in drawn.items():
        assert figure.axes
        for axes in figure.axes:
            assert axes.get_xlabel()
            assert axes.has_data()
        there = imread(ROOT / "docs" / "images" / f"{name}.png")
        now = imread(io.BytesIO(png(figure)))
        assert there.shape == now.shape, name
        assert (np.abs(there - now).max(axis=2) > 0.1).mean() < 5e-4, name  # a dot that moves is more than that
    for name in set(sys.modules) - before:
        if name in {path.stem for path in (ROOT / "benchmarks").glob("*.py")}:
            del sys.modules[name]


def test_every_way_to_steer_acts():
    page = (ROOT / "docs" / "steering.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(block, names)
    model = ModeModel(UnbraidConfig(n_modes=2), observation_size=3, action_size=1).eval()
    policies = names["examples"](model)
    assert len(policies) == 8
    assert len({float(policy.predict(np.ones(3), deterministic=True)[0][0]) for policy in policies}) >= 6


def test_every_command_to_steer_is_understood(unbraid, monkeypatch):
    page = (ROOT / "docs" / "steering.md").read_text(encoding="utf-8")
    asked = []
    monkeypatch.setattr("unbraid.cli._run", lambda request: asked.append(request) or 0)
    for line in re.findall(r"^    unbraid (.*)$", page, flags=re.MULTILINE):
        assert unbraid(*shlex.split(line)).code == 0, line
    assert all(isinstance(request, SteerRequest) for request in asked)
    assert [len(turns_of(request.in_turn)) for request in asked if request.in_turn] == [2]
    assert [len(shares_of(request.by_episode)) for request in asked if request.by_episode] == [2]


def commands_of_scale():
    """Every command of the page on scale, as a list of words."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    return [
        shlex.split(line) for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]


@pytest.mark.parametrize("words", commands_of_scale(), ids=" ".join)
def test_every_command_on_scale_is_one_that_torchrun_and_unbraid_understand(unbraid, monkeypatch, words):
    """test_parallel.py and test_sweep.py run such commands, on small piles."""
    if words[0] == "torchrun":
        understood = torchrun_options().parse_args(words[1:])
        assert (understood.module, understood.training_script) == (True, "unbraid")
        words = ["unbraid", *understood.training_script_args]
    asked = []
    monkeypatch.setattr("unbraid.cli._run", lambda request: asked.append(request) or 0)
    said = unbraid(*words[1:])
    assert said.code == 0, said.err
    (request,) = asked
    if isinstance(request, SweepRequest):
        assert len({trial.name for trial in trials_of(request.method, request.grid)}) >= 9
    else:
        assert isinstance(request, FitRequest)


def test_the_program_on_scale_fits(pile, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "pile").symlink_to(pile)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block.replace("n_modes=2", "n_modes=2, n_steps=20"), names)
    assert names["model"].n_modes == 2


@pytest.mark.usefixtures("undrawn")
def test_everything_on_the_page_of_formats_runs(unbraid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    names: dict = {}
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        if kind == "python":
            exec(compile(block, "formats.md", "exec"), names)
            continue
        for line in block.strip().splitlines():
            said = unbraid(*shlex.split(line)[1:])
            assert said.code == 0, (line, said.err)
    assert names["both"].facts["sources"][0]["n_steps"] == 2 * names["both"].facts["sources"][1]["n_steps"] == 360
    assert names["same"].observation_names == ("cos", "sin", "speed")
    assert names["alone"].observation_names == ("flat_0", "flat_1", "flat_2")


def test_the_page_of_formats_names_every_format_and_every_option():
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
    assert {format_.name for format_ in formats() if format_.write is not None} <= rows
    for format_ in formats():
        if format_.name in rows and format_.name != "tables":
            (row,) = re.findall(rf"^\| `{format_.name}` \|.*$", page, flags=re.MULTILINE)
            told = {name.replace("-", "_") for name in re.findall(r"--([a-z-]+)", row.split("|")[-2])}
            assert told == format_.options, format_.name


def test_shares_of_evidence_sum_to_one(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    figures = importlib.import_module("method_figures")
    gains = {
        "actions": 3.0,
        "transitions over 5 steps": 1.0,
        "transitions over 15 steps": -2.0,
        "transitions to the end": 4.0,
    }
    assert figures.shares_of(gains) == pytest.approx([3 / 8, 1 / 8, 4 / 8])
    del sys.modules["method_figures"]
