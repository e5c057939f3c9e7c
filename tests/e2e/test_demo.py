"""The demo, from collecting to the page: in small for every change, in full where it is asked for (`-m slow`)."""

import json

import numpy as np
import pytest

from unbraid.core.errors import RunError
from unbraid.pipeline.config import DemoConfig, DemoSizes
from unbraid.pipeline.demo import run_demo
from unbraid.report.published import published_tables
from unbraid.training.model import ModeModel

TINY = DemoSizes(
    episodes=4,
    held_out_episodes=2,
    max_steps=120,
    talk_steps=60,
    fit_steps=40,
    paired_seeds=3,
    talk_seeds=2,
)


def in_small(path, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DemoConfig, "sizes", property(lambda self: TINY))
        run_demo(DemoConfig(out=path, seed=seed))
    return json.loads((path / "results.json").read_text())


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "run"
    return path, in_small(path, 0)


def test_eight_fits_stand_beside_the_eight_published(demo):
    _, results = demo
    wanted = [(table.delta_steps, table.n_modes) for table in published_tables()]
    found = [(table["delta_steps"], table["n_modes"]) for table in results["talk"]["tables"]]
    assert sorted(found) == sorted(wanted)
    for table in results["talk"]["tables"]:
        np.testing.assert_allclose(np.sum(table["percent"], axis=1), 100, atol=0.05)
        assert table["gradient_steps"] == 60
        assert table["published_gradient_steps"] == 50_000
        assert table["nmi"]["n"] == 4


def test_every_mode_stands_beside_its_expert_with_intervals(demo):
    _, results = demo
    assert [e["name"] for e in results["behaviour"]["experts"]] == ["goal_seeking", "forward"]
    assert len(results["behaviour"]["modes"]) == 2
    for actor in (*results["behaviour"]["experts"], *results["behaviour"]["modes"]):
        assert set(actor["metrics"]) == {"goals", "return", "cost", "distance", "displacement"}
        for estimate in actor["metrics"].values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
            assert estimate["n"] == 3


def test_the_long_run_of_the_talk_is_told_too(demo):
    _, results = demo
    long = results["talk"]["published_sizes"]
    assert long["gradient_steps"] == 50_000
    assert len(long["runs"]) == 4
    assert long["verdict"]


def test_pictures_show_experts_modes_and_the_talks_stages(demo):
    path, _ = demo
    with np.load(path / "paths.npz") as arrays:
        panels = {name.rpartition("/")[0] for name in arrays.files}
    talk = {f"talk/{stage}/{mode}" for stage in ("first_epoch", "midway", "end") for mode in range(4)}
    assert panels == {"expert/goal_seeking", "expert/forward", "mode/0", "mode/1"} | talk


def test_the_page_needs_nothing_but_itself(demo):
    path, results = demo
    page = (path / "report" / "index.html").read_text()
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert results["verdicts"][0]["text"][:40] in page


def test_the_model_can_be_taken_away(demo):
    path, _ = demo
    assert ModeModel.from_pretrained(path).n_modes == 2


def test_the_run_says_nothing_of_who_and_where(demo):
    path, _ = demo
    assert str(path.parent) not in (path / "run.json").read_text()


def test_the_same_seed_gives_the_same_results_and_another_gives_others(demo, tmp_path):
    def without_clock(results):
        for table in results["talk"]["tables"]:
            table.pop("seconds", None)
        return results

    _, first = demo
    assert without_clock(in_small(tmp_path / "again", 0)) == without_clock(first)
    assert in_small(tmp_path / "other", 1)["behaviour"] != first["behaviour"]


def test_a_run_that_exists_is_left_alone(demo):
    path, _ = demo
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with pytest.raises(RunError, match="must not exist"):
        run_demo(DemoConfig(out=path))
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


@pytest.mark.slow
def test_in_full_every_verdict_holds_and_a_second_seed_agrees(tmp_path):
    found = []
    for seed in (0, 1):
        run_demo(DemoConfig(out=tmp_path / str(seed), seed=seed))
        found.append(json.loads((tmp_path / str(seed) / "results.json").read_text()))
    assert all(verdict["holds"] for results in found for verdict in results["verdicts"])
    matchings = [[mode["expert"] for mode in results["behaviour"]["modes"]] for results in found]
    assert matchings[0] == matchings[1]
    scores = [
        next(a for a in results["unbraid"]["agreement"] if a.get("window_steps") == 25 and a["evidence"] == "combined")
        for results in found
    ]
    assert abs(scores[0]["nmi"]["value"] - scores[1]["nmi"]["value"]) <= 0.01
