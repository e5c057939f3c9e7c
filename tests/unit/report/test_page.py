"""The page: whole, self-contained, with every number that the results hold."""

import copy
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from unbraid.core.errors import RunError
from unbraid.report import write_report
from unbraid.report.page import standard_chapters
from unbraid.report.record import RunRecord
from unbraid.report.sections import Cell, Paragraph, Section

PICTURES = {"agreement", "behaviour", "mode_counts", "paths", "talk_paths", "talk_published_sizes"} | {
    f"{what}_{method}" for what in ("loss", "code_usage") for method in ("unbraid", "talk")
}
VOID = {"meta", "link", "img", "source", "wbr", "br"}


class Outline(HTMLParser):
    """Text, ids and links of a page; complains about tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def test_it_lies_in_the_runs_folder_beside_its_pictures(demo_run: Path, demo_page: str):
    report = demo_run / "report"
    assert (report / "index.html").read_text(encoding="utf-8") == demo_page
    names = {path.name for path in report.iterdir()} - {"index.html"}
    assert {name.removesuffix(".png") for name in names} == PICTURES
    assert all((report / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_it_fetches_nothing(demo_page: str):
    assert not re.search(r"https?://", demo_page)
    assert "<script" not in demo_page
    assert "@import" not in demo_page
    assert not re.search(r"url\(", demo_page)
    for _, attributes in Outline(demo_page).attributes:
        for key in ("src", "srcset", "href"):
            assert (attributes.get(key) or "#").startswith(("data:", "#"))


def test_it_is_well_formed_and_its_links_lead_somewhere(demo_page: str):
    outline = Outline(demo_page)
    ids = [attributes["id"] for _, attributes in outline.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {(attributes.get("href") or "") for tag, attributes in outline.attributes if tag == "a"}
    assert targets
    assert targets <= {f"#{name}" for name in ids}
    assert [tag for tag, _ in outline.attributes].count("h1") == 1
    images = [attributes for tag, attributes in outline.attributes if tag == "img"]
    assert len(images) == 10
    assert all(len(image["alt"] or "") > 40 for image in images)


def test_the_story_is_told_in_order(demo_page: str):
    anchors = re.findall(r'<section id="([^"]+)"', demo_page)
    chapters = ["asked", "result", "steering", "talk", "search", "own", "training", "limits", "reproduce"]
    assert [anchor for anchor in anchors if "-" not in anchor] == chapters
    assert anchors[4:7] == ["talk-tables", "talk-published-sizes", "talk-steering"]


def test_the_headline_is_the_answer(demo_page: str):
    assert "Two experts, two modes: each mode as good as its expert" in Outline(demo_page).words


@pytest.mark.parametrize(
    "said",
    [
        "100 episodes (100,000 steps) of two experts, goal_seeking and forward in unbraid/PointGoal1-v0",
        "1,500 gradient steps, 3 % of the published 50,000",
        "50,000 gradient steps, 100 % of the published 50,000",
        "NMI 0.044 [0.033, 0.055]",
        "NMI 0.086 [0.075, 0.097]",
        "NMI 0.114 [interval not estimable]",
        "NMI 0.295; purity 0.715; one seed",
        "a made-up verdict on whether more training changes the picture.",
        "0.987 [0.983, 0.991]",
        "0.932 [0.927, 0.936]",
        "1.000 [interval not estimable]",
        "93 [90, 97]",
        "12.6 [11.9, 13.3]",
        "12.4 [11.7, 13.1]",
        "0.226 [-0.144, 0.596], margin ±1.23: as good",
        "n = 32 episodes",
        "goals (per episode)",
        "distance (m)",
        "Each mode beside its expert on the same 32 seeds",
        "mode 3, at the end",
        "does not hold A made-up claim that fails.",
        "log_ratio",
        "small: 2 x 64 units, batch 500",
        "unbraid demo --seed 7",
        "5f0c3a-made-up",
        "collect.n_episodes 50",
        "fit.windows 10, 25, 50",
        "91,234 samples a second",
        "numpy 2.4.6",
    ],
)
def test_what_the_results_hold_the_page_says(demo_page: str, said: str):
    assert said in Outline(demo_page).words


def test_every_confusion_table_is_there_with_its_published_one(demo_page: str, results: dict[str, Any]):
    heat = [int(text) for text in re.findall(r'<td class=" heat[^>]*>\s*<span class="value">(\d+)</span>', demo_page)]
    shares = [round(share) for table in results["talk"]["tables"] for row in table["percent"] for share in row]
    assert len(heat) >= 2 * len(shares)
    first = heat[:8]
    assert first == [*shares[:4], 57, 43, 100, 0]


def test_the_same_run_gives_the_same_page(make_run: Callable[..., Path], results: dict[str, Any]):
    run = make_run({key: results[key] for key in ("format", "version", "experts", "data", "unbraid")})
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_a_minimal_run_shows_what_there_is(make_run: Callable[..., Path]):
    results = {"format": "unbraid-results", "version": 1, "data": {"n_episodes": 12}, "unbraid": {"n_modes": 3}}
    page = write_report(make_run(results)).read_text(encoding="utf-8")
    words = Outline(page).words
    assert "Three modes found in 12 episodes" in words
    assert "recorded without labels of who acted" in words
    assert "Nothing was rolled out" in words
    assert "talk" not in words
    assert "None" not in words


def test_an_empty_run_still_has_a_page(make_run: Callable[..., Path]):
    run = make_run({"format": "unbraid-results", "version": 1})
    (run / "run.json").write_text('{"format": "unbraid-run", "version": 1}')
    words = Outline(write_report(run).read_text(encoding="utf-8")).words
    assert "unbraid fit DATA" in words
    assert "None" not in words


def test_the_command_says_how_the_data_was_read(make_run: Callable[..., Path]):
    run = make_run({"format": "unbraid-results", "version": 1})
    reading = {
        "n_more_demos": 2,
        "weights": [2.0, 1.0, 1.0],
        "drop_last_action": True,
        "obs": ["a key", "b"],
        "mask": "x",
    }
    asked = {"format": "unbraid-run", "version": 1, "command": "fit", "reading": reading, "held_out": 0}
    (run / "run.json").write_text(json.dumps(asked | {"provenance": {"seed": 3}}))
    command = "unbraid fit DATA --demos DATA_2 DATA_3 --weights 2.0 1.0 1.0 --drop-last-action --obs 'a key' b --mask x"
    assert f"{command} --held-out 0 --seed 3" in Outline(write_report(run).read_text(encoding="utf-8")).words


@pytest.mark.parametrize(
    ("config", "command", "beside"),
    [
        ({"method": "unbraid", "n_modes": "auto", "n_steps": "auto", "policy_hidden": [128, 128, 128]}, "auto", ""),
        ({"method": "talk", "n_modes": 3, "delta_steps": 5, "n_steps": 1500}, "3 --method talk --delta-steps 5", ""),
        (
            {"method": "unbraid", "n_modes": 2, "policy_hidden": [64, 32], "style": "on", "learning_rate": 0.1},
            "2 --policy-hidden 64 32 --style on",
            "given in Python, or by a sweep: learning_rate 0.1.",
        ),
        ({"method": "unbraid", "n_modes": 2, "policy_hidden": []}, "2 --policy-hidden", ""),
        ({"method": "unbraid", "n_modes": 2, "sharing": "changing"}, "2 --sharing changing", ""),
        (
            {"method": "unbraid", "n_modes": 2, "sharing": "window"},  # `fit` does not offer it
            "2",
            "given in Python, or by a sweep: sharing window.",
        ),
    ],
)
def test_the_command_has_the_settings_that_differ(make_run: Callable[..., Path], config, command, beside):
    run = make_run({"format": "unbraid-results", "version": 1})
    asked = {"format": "unbraid-run", "version": 1, "command": "fit", "config": config | {"seed": 3}}
    (run / "run.json").write_text(json.dumps(asked | {"held_out": 0.2, "provenance": {"seed": 3}}))
    words = Outline(write_report(run).read_text(encoding="utf-8")).words
    told = shlex.split(words[words.index("unbraid fit DATA") :].split(" data fingerprint")[0])
    due = shlex.split(f"unbraid fit DATA --n-modes {command} --held-out 0.2 --seed 3 --out RUN")
    assert sorted(told) == sorted(due)
    assert beside in words
    assert ("given in Python" in words) == bool(beside)


def test_the_command_of_a_quick_demo_is_quick(make_run: Callable[..., Path]):
    run = make_run({"format": "unbraid-results", "version": 1})
    asked = {"format": "unbraid-run", "version": 1, "command": "demo", "config": {"seed": 3, "quick": True}}
    (run / "run.json").write_text(json.dumps(asked | {"provenance": {"seed": 3}}))
    assert "unbraid demo --seed 3 --quick" in Outline(write_report(run).read_text(encoding="utf-8")).words


def test_modes_that_were_measured_alone_are_compared_with_nobody(make_run: Callable[..., Path], results):
    behaviour = copy.deepcopy(results["behaviour"]) | {"experts": []}
    for mode in behaviour["modes"]:
        mode |= {"expert": None, "difference": None, "as_good": None, "margin": None}
    told = {key: results[key] for key in ("format", "version", "unbraid")} | {"behaviour": behaviour}
    words = Outline(write_report(make_run(told)).read_text(encoding="utf-8")).words
    assert "What each mode does on the same 32 seeds" in words
    assert "mode minus expert" not in words
    assert "0 comparisons" not in words
    assert "No mode was compared with an expert" in words


def test_names_are_escaped(make_run: Callable[..., Path], results: dict[str, Any]):
    evil = '<img src=x onerror="alert(1)">&$x$'
    named = copy.deepcopy(results)
    del named["talk"]
    named["experts"] = [evil, "forward"]
    named["behaviour"]["experts"][0]["name"] = evil
    named["behaviour"]["modes"][1]["expert"] = evil
    named["verdicts"] = [{"text": evil, "holds": None}]
    page = write_report(make_run(named)).read_text(encoding="utf-8")
    outline = Outline(page)
    assert "<img src=x" not in page
    assert not any("onerror" in attributes for _, attributes in outline.attributes)
    assert outline.words.count(evil) >= 4
    assert f"not judged {evil}" in outline.words


def test_a_mode_that_differs_is_said_to(make_run: Callable[..., Path], results: dict[str, Any]):
    behaviour = copy.deepcopy(results["behaviour"])
    behaviour["modes"][1]["as_good"]["cost"] = False
    behaviour["modes"][1]["metrics"]["goals"]["n"] = 31
    trimmed = {key: results[key] for key in ("format", "version", "experts")}
    run = make_run({**trimmed, "unbraid": {"n_modes": 2}, "behaviour": behaviour})
    words = Outline(write_report(run).read_text(encoding="utf-8")).words
    assert "Two experts, two modes: 9 of 10 comparisons with an expert as good" in words
    assert "margin ±1.23: not as good" in words
    assert "[11.9, 13.3], n = 31 episodes" in words


def test_two_modes_of_one_expert_are_no_success(results: dict[str, Any]):
    from unbraid.report.claims import headline

    merged = copy.deepcopy(results)
    merged["behaviour"]["modes"][1]["expert"] = "forward"
    assert headline(merged) == "Two experts, two modes: 10 of 10 comparisons with an expert as good"


def test_a_later_room_adds_its_chapter(make_run: Callable[..., Path]):
    def guard(record: RunRecord) -> Section:
        return Section("guard", "The guard", (Paragraph(f"{len(record.experts)} experts"),))

    run = make_run({"format": "unbraid-results", "version": 1})
    page = write_report(run, [*standard_chapters(), guard, lambda _: None]).read_text(encoding="utf-8")
    assert page.index('id="reproduce"') < page.index('id="guard"')


def test_nothing_is_half_written(make_run: Callable[..., Path]):
    def broken(record: RunRecord) -> Section:
        raise ZeroDivisionError(record.experts)

    run = make_run({"format": "unbraid-results", "version": 1})
    with pytest.raises(ZeroDivisionError):
        write_report(run, [*standard_chapters(), broken])
    assert not (run / "report").exists()
    before = write_report(run).read_bytes()
    with pytest.raises(ZeroDivisionError):
        write_report(run, [broken])
    assert [path.name for path in (run / "report").iterdir()] == ["index.html"]
    assert (run / "report" / "index.html").read_bytes() == before


def test_without_results_nothing_is_written(make_run: Callable[..., Path]):
    run = make_run({"format": "unbraid-results", "version": 1})
    (run / "results.json").unlink()
    with pytest.raises(RunError, match=r"results\.json"):
        write_report(run)
    assert not (run / "report").exists()


def test_importing_the_package_is_light():
    code = "import sys, unbraid.report; print({'matplotlib', 'jinja2', 'rich', 'torch', 'mujoco'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_run_may_be_named_by_text(make_run, results):
    run = make_run(results)
    assert write_report(str(run)) == run / "report" / "index.html"


def _luminance(colour: tuple[float, ...]) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_stands_on_a_coloured_cell_has_the_contrast_of_wcag_aa(theme: str):
    style = resources.files("unbraid.report").joinpath("templates/page.css").read_text(encoding="utf-8")
    root = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[("light", "dark").index(theme)]
    ink, card = (
        tuple(int(found[i : i + 2], 16) for i in (1, 3, 5))
        for found in (re.findall(rf"--{name}: (#[0-9a-f]{{6}})", root)[0] for name in ("ink", "card"))
    )
    heat = [int(part) for part in re.findall(r"--heat-color: (\d+), (\d+), (\d+)", root)[0]]
    for percent in range(0, 101, 10):
        alpha = float(Cell("", heat_percent=float(percent)).heat_alpha)
        ground = tuple(alpha * part + (1 - alpha) * below for part, below in zip(heat, card, strict=True))
        high, low = sorted((_luminance(ink), _luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5
    assert re.search(r"td\.heat \.detail \{ color: inherit; \}", style)
    assert not re.search(r"td\.h[eo][^{]*\{[^}]*color: #", style)
