"""The demo, from collecting to the page: in small for every change, in full where it is asked for (`-m slow`)."""

import html
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from unbraid.pipeline.config import DemoConfig, DemoSizes
from unbraid.pipeline.demo import run_demo
from unbraid.report.published import published_tables
from unbraid.training.model import ModeModel

TINY = DemoSizes(
    episodes=4,
    held_out_episodes=2,
    max_steps=150,
    talk_steps=100,
    fit_steps=120,
    paired_seeds=3,
    talk_seeds=2,
)
SETTINGS = [(delta_steps, n_modes) for delta_steps in (1, 5) for n_modes in (2, 3, 4, 5)]


def in_small(path, seed):
    """The results alone: the page is drawn once, as pictures take half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DemoConfig, "sizes", property(lambda self: TINY))
        patch.setattr("unbraid.pipeline.demo.write_report", lambda run: run / "report" / "index.html")
        run_demo(DemoConfig(out=path, seed=seed))
    return json.loads((path / "results.json").read_text())


@pytest.fixture(scope="module")
def said(unbraid, tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DemoConfig, "sizes", property(lambda self: TINY))
        return path, unbraid("demo", "--quick", "--out", path)


@pytest.fixture(scope="module")
def demo(said):
    path, answer = said
    assert answer.code == 0, answer.err
    return path, json.loads((path / "results.json").read_text())


def _every_estimate(value):
    if isinstance(value, dict):
        if "value" in value:
            yield value
        for below in value.values():
            yield from _every_estimate(below)
    elif isinstance(value, list):
        for below in value:
            yield from _every_estimate(below)


def test_it_prints_its_tables_and_where_its_page_is(said, demo):
    path, answer = said
    _, results = demo
    assert answer.err == ""
    assert answer.out.splitlines()[-1] == f"The page: {path / 'report' / 'index.html'}"
    for delta_steps, n_modes in SETTINGS:
        assert (
            f"K = {n_modes}, time step {delta_steps}: 100 gradient steps, 0.2 % of the published 50,000" in answer.out
        )
    assert answer.out.count("published: NMI") == 8
    told = " ".join(answer.out.split())
    words = {True: "holds", False: "does not hold", None: "not judged"}
    for verdict in results["verdicts"]:
        assert f"{words[verdict['holds']]}: {verdict['text']}" in told


def test_eight_fits_stand_beside_the_eight_published(demo):
    path, results = demo
    published = {(table.delta_steps, table.n_modes): table for table in published_tables()}
    found = [(table["delta_steps"], table["n_modes"]) for table in results["talk"]["tables"]]
    assert found == SETTINGS
    assert set(found) == set(published)
    page = (path / "report" / "index.html").read_text()
    for table in results["talk"]["tables"]:
        # Each expert's held-out transitions: two episodes of 150 steps, at stride 5.
        assert np.sum(table["counts"], axis=1).tolist() == [60, 60]
        np.testing.assert_allclose(table["percent"], 100 * np.array(table["counts"]) / 60, atol=0.01)
        assert np.shape(table["percent"]) == (2, table["n_modes"])
        assert table["gradient_steps"] == 100
        assert table["published_gradient_steps"] == 50_000
        assert (table["nmi"]["n"], table["nmi"]["unit_of_n"]) == (4, "episodes")
        assert f"{published[table['delta_steps'], table['n_modes']].nmi:.3f}" in page


def test_our_own_method_is_told_in_the_same_form(demo):
    _, results = demo
    own = results["unbraid"]
    assert (own["n_modes"], own["gradient_steps"]) == (2, 120)
    assert own["search"]["n_modes"] == 2
    assert own["search"]["counts"]
    assert [table["window_steps"] for table in own["tables"]] == [1, 10, 25, 50]
    told = {(entry["level"], entry.get("window_steps"), entry["evidence"]) for entry in own["agreement"]}
    levels = [("episode", None), *(("window", steps) for steps in (10, 25, 50))]
    assert told == {(*level, evidence) for level in levels for evidence in ("combined", "encoder")}


def test_every_mode_stands_beside_its_expert_with_intervals(demo):
    _, results = demo
    behaviour = results["behaviour"]
    metrics = {"goals", "return", "cost", "distance", "displacement"}
    assert [expert["name"] for expert in behaviour["experts"]] == ["goal_seeking", "forward"]
    assert [mode["mode"] for mode in behaviour["modes"]] == [0, 1]
    for actor in (*behaviour["experts"], *behaviour["modes"]):
        assert set(actor["metrics"]) == metrics
        assert {estimate["n"] for estimate in actor["metrics"].values()} == {3}
    assert sorted(mode["expert"] for mode in behaviour["modes"]) == ["forward", "goal_seeking"]
    for mode in behaviour["modes"]:
        experts = {expert["name"]: expert["metrics"] for expert in behaviour["experts"]}
        for name, difference in mode["difference"].items():
            by_hand = mode["metrics"][name]["value"] - experts[mode["expert"]][name]["value"]
            assert difference["value"] == pytest.approx(by_hand)
            inside = max(abs(difference["low"]), abs(difference["high"])) <= mode["margin"][name]
            assert mode["as_good"][name] is inside
    assert [entry["mode"] for entry in behaviour["talk_modes"]] == [0, 1, 2, 3]
    assert {entry["metrics"]["goals"]["n"] for entry in behaviour["talk_modes"]} == {2}


def test_no_number_comes_without_its_interval_and_its_n(demo):
    _, results = demo
    estimates = list(_every_estimate(results))
    assert len(estimates) > 100
    for estimate in estimates:
        assert estimate["n"] >= 1
        assert estimate["unit_of_n"]
        if estimate["low"] is not None:
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_the_long_run_of_the_talk_is_told_too(demo):
    path, results = demo
    long = results["talk"]["published_sizes"]
    assert long["gradient_steps"] == 50_000
    assert len(long["runs"]) == 4
    assert long["verdict"] in (path / "report" / "index.html").read_text()


def test_every_fit_leaves_its_metrics(demo):
    path, _ = demo
    own = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in own] == [50, 100, 120]
    talk = [json.loads(line) for line in (path / "metrics_talk.jsonl").read_text().splitlines()]
    steps = {(line["delta_steps"], line["n_modes"]): [] for line in talk}
    for line in talk:
        steps[line["delta_steps"], line["n_modes"]].append(line["step"])
        assert line["method"] == "talk"
        assert sum(line["code_usage"]) == pytest.approx(1, abs=1e-4)
        assert line["terms"]
    assert steps == {setting: [50, 100] for setting in SETTINGS}


def test_pictures_show_experts_modes_and_the_talks_stages(demo):
    path, _ = demo
    with np.load(path / "paths.npz", allow_pickle=False) as arrays:
        panels = {name.rpartition("/")[0] for name in arrays.files}
        starts = {tuple(arrays[f"{panel}/robot_xy"][0]) for panel in panels}
    talk = {f"talk/{stage}/{mode}" for stage in ("first_epoch", "midway", "end") for mode in range(4)}
    assert panels == {"expert/goal_seeking", "expert/forward", "mode/0", "mode/1"} | talk
    assert len(starts) == 1, "the same seed, so the same start for all"


def test_the_page_needs_nothing_but_itself(demo):
    path, results = demo
    page = (path / "report" / "index.html").read_text()
    addresses = re.findall(r"""(?:src|srcset|href|action|poster|data)\s*=\s*["']([^"']*)""", page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"<script|@import|url\((?![\"']?data:)", page)
    for verdict in results["verdicts"]:
        assert verdict["text"] in html.unescape(page)


class _Rows(HTMLParser):
    """The rows of the table of a page that has this label: [header, cell, cell, ...], as text."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._label, self._within = label, False
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self._within = (dict(attributes).get("aria-label") or "").startswith(self._label)
        elif self._within and tag == "tr":
            self.rows.append([])
        elif self._within and tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._within = self._within and tag != "table"

    def handle_data(self, data):
        if self._within and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def _says(cell: str, estimate: dict) -> None:
    """A cell's value and interval are the estimate's, up to the digits that it shows."""
    found = re.findall(r"-?\d+(?:\.\d+)?", cell.replace("−", "-").replace(",", " "))
    for text, number in zip(found, (estimate["value"], estimate["low"], estimate["high"]), strict=False):
        decimals = len(text.partition(".")[2])
        assert float(text) == pytest.approx(number, abs=0.5001 * 10**-decimals), cell
    assert len(found) >= 3


def test_the_numbers_of_the_page_are_those_of_the_results(demo):
    path, results = demo
    parser = _Rows("Each mode beside its expert")
    parser.feed((path / "report" / "index.html").read_text())
    head, *rows = parser.rows
    behaviour = results["behaviour"]
    order = [column.split(" (")[0] for column in head[1:]]
    assert order == behaviour["metrics"]
    experts = {expert["name"]: expert["metrics"] for expert in behaviour["experts"]}
    expected = []
    for mode in behaviour["modes"]:
        expected.append(mode["metrics"])
        if mode["expert"] is not None:
            expected += [experts[mode["expert"]], mode["difference"]]
    matched = {mode["expert"] for mode in behaviour["modes"]}
    expected += [metrics for name, metrics in experts.items() if name not in matched]
    assert len(rows) == len(expected)
    for row, estimates in zip(rows, expected, strict=True):
        assert "n = 3" in row[0]
        for cell, metric in zip(row[1:], order, strict=True):
            _says(cell, estimates[metric])


def test_the_model_can_be_taken_away(demo):
    path, _ = demo
    assert ModeModel.from_pretrained(path).n_modes == 2


def test_the_run_says_what_was_asked_and_nothing_of_who_and_where(demo):
    path, _ = demo
    text = (path / "run.json").read_text()
    assert str(path.parent) not in text
    asked = json.loads(text)
    assert asked["command"] == "demo"
    assert asked["config"]["quick"] is True
    assert asked["config"]["sizes"]["paired_seeds"] == 3
    assert asked["provenance"]["seed"] == 0


def test_the_same_seed_gives_the_same_results_and_another_gives_others(demo, tmp_path, monkeypatch):
    def without_clock(results):
        for table in results["talk"]["tables"]:
            table.pop("seconds")
        return results

    _, first = demo
    assert without_clock(in_small(tmp_path / "again", 0)) == without_clock(json.loads(json.dumps(first)))
    monkeypatch.setattr("unbraid.pipeline.talk._N_MODES", (4,))
    monkeypatch.setattr("unbraid.pipeline.talk._DELTA_STEPS", (1,))
    other = in_small(tmp_path / "other", 1)
    assert other["behaviour"] != first["behaviour"]
    assert other["data"]["data_fingerprint"] != first["data"]["data_fingerprint"]


def test_a_run_that_exists_is_left_alone(unbraid, contents, demo):
    path, _ = demo
    before = contents(path)
    answer = unbraid("demo", "--quick", "--out", path)
    assert answer.code == 2
    assert f"{path} must not exist yet" in answer.err
    assert contents(path) == before


@pytest.mark.usefixtures("undrawn")
def test_measuring_a_demo_again_keeps_what_it_told_of_the_talk(unbraid, demo, tmp_path):
    path, first = demo
    shutil.copytree(path, tmp_path / "run")
    asked = ("--experts", "goal_seeking", "forward", "--episodes", 2, "--max-steps", 10)
    assert unbraid("evaluate", tmp_path / "run", *asked).code == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["behaviour"]["n_seeds"] == 2
    assert results["behaviour"]["talk_modes"] == first["behaviour"]["talk_modes"]
    assert results["talk"] == first["talk"]
    assert any("(2 paired seeds" in verdict["text"] for verdict in results["verdicts"])
    assert not any("(3 paired seeds" in verdict["text"] for verdict in results["verdicts"])
    with (
        np.load(path / "paths.npz", allow_pickle=False) as old,
        np.load(tmp_path / "run" / "paths.npz", allow_pickle=False) as new,
    ):
        assert set(new.files) == set(old.files)
        for name in old.files:
            if name.startswith("talk/"):
                np.testing.assert_array_equal(new[name], old[name])
        assert len(new["mode/0/robot_xy"]) == 11


def test_quick_is_a_smaller_version_of_the_same():
    quick, full = DemoConfig(quick=True), DemoConfig()
    assert (quick.experts, quick.env_id) == (full.experts, full.env_id)
    for name in vars(TINY):
        assert 0 < getattr(quick.sizes, name) <= getattr(full.sizes, name)
    assert quick.sizes.episodes * quick.sizes.max_steps < full.sizes.episodes * full.sizes.max_steps


@pytest.mark.slow
def test_in_full_every_verdict_holds_and_a_second_seed_agrees(tmp_path):
    found = []
    for seed in (0, 1):
        run_demo(DemoConfig(out=tmp_path / str(seed), seed=seed))
        found.append(json.loads((tmp_path / str(seed) / "results.json").read_text()))
    assert all(verdict["holds"] for results in found for verdict in results["verdicts"])
    matchings = [[mode["expert"] for mode in results["behaviour"]["modes"]] for results in found]
    assert matchings[0] == matchings[1]
    for window_steps in (None, 25):
        scores = [
            next(
                entry["nmi"]["value"]
                for entry in results["unbraid"]["agreement"]
                if entry.get("window_steps") == window_steps and entry["evidence"] == "combined"
            )
            for results in found
        ]
        assert abs(scores[0] - scores[1]) <= 0.01
