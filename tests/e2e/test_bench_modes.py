"""The benchmark of modes: a tiny one from end to end, what it keeps, how it judges; and, marked slow, a true one."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "bench_modes.py"
ROWS = "unbraid,closed_loop,supervised,kmeans,talk_5"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_modes", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_modes"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_modes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bench):
    """What a tiny run leaves behind."""
    folder = tmp_path_factory.mktemp("bench_modes")
    bench.main(["--quick", "--cases", "two", "--seeds", "0", "--rows", ROWS, "--folder", str(folder)])
    return folder


@pytest.fixture
def content(folder):
    return json.loads((folder / "bench_modes.json").read_text())


def test_every_row_has_every_level_with_its_n_and_interval(content):
    rows = content["cases"]["two"]["rows"]
    assert list(rows) == ["unbraid", "supervised", "kmeans", "talk_5"]
    assert {row: list(rows[row]["nmi"]) for row in rows} == {
        "unbraid": ["encoder", "combined"],
        "supervised": ["labels"],
        "kmeans": ["statistics"],
        "talk_5": ["encoder"],
    }
    for row in rows.values():
        assert row["seconds"]["worst"] > 0
        for levels in row["nmi"].values():
            assert list(levels) == ["10", "25", "50", "100", "episode"]
            for numbers in levels.values():
                assert 0 <= numbers["low"][0] <= numbers["mean"] == numbers["worst"] <= numbers["high"][0] <= 1
                assert numbers["n_episodes"] == 8
    n_windows = {level: numbers["n_windows"] for level, numbers in rows["kmeans"]["nmi"]["statistics"].items()}
    assert n_windows == {"10": 8 * 39, "25": 8 * 36, "50": 8 * 31, "100": 8 * 21, "episode": 8}


def test_modes_act_beside_the_experts_that_they_are_matched_with(content):
    loop = content["cases"]["two"]["closed_loop"]
    assert list(loop["experts"]) == list(loop["modes"]) == ["goal_seeking", "forward"]
    for metric in ("goals", "return", "cost", "distance", "displacement"):
        assert loop["experts"]["forward"][metric]["n"] == 4
        compared = loop["modes"]["forward"][metric][0]
        there = loop["experts"]["forward"][metric]["value"]
        assert compared["difference"]["value"] == pytest.approx(compared["mode"] - there)
        assert compared["holds"] in (True, False)


def test_a_part_of_the_table_is_never_taken_for_the_whole(content):
    assert content["complete"] is False
    assert {target["case"] for target in content["targets"]} == {"two"}
    assert {target["n_seeds"] for target in content["targets"]} == {1}


def test_a_second_run_goes_on_from_what_is_kept(bench, folder, monkeypatch, capsys):
    def refused(job, folder):
        raise AssertionError(job)

    monkeypatch.setattr(bench, "RUNNERS", dict.fromkeys(bench.RUNNERS, refused))
    asked = ["--quick", "--cases", "two", "--rows", ROWS, "--folder", str(folder)]
    bench.main([*asked, "--seeds", "0"])
    printed = capsys.readouterr().out
    assert printed.strip() == json.loads((folder / "bench_modes.json").read_text())["markdown"].strip()
    assert "| unbraid, encoder alone " in printed
    assert "(1 of 3 seeds)" in printed
    with pytest.raises(AssertionError, match="seed=1"):
        bench.main([*asked, "--seeds", "0,1"])


def test_what_was_asked_otherwise_is_not_taken(bench, folder):
    job = bench.Job(bench.CASES["two"], "unbraid", 0, bench.QUICK)
    path = bench.path_of(job, folder)
    assert bench.stored_at(path, bench.asked_of(job)) is not None
    longer = dataclasses.replace(bench.QUICK, n_fit_steps=181)
    assert bench.stored_at(path, bench.asked_of(dataclasses.replace(job, sizes=longer))) is None
    more_rollouts = dataclasses.replace(job, sizes=dataclasses.replace(bench.QUICK, n_rollouts=5))
    assert bench.stored_at(path, bench.asked_of(more_rollouts)) is not None  # a fit has none


def test_each_ablation_switches_off_one_thing(bench):
    default = bench.config_of(bench.Job(bench.CASES["four"], "unbraid", 2, bench.QUICK))
    assert (default.n_modes, default.seed) == (4, 2)
    for row, changes in bench.SWITCHED_OFF.items():
        config = bench.config_of(bench.Job(bench.CASES["four"], row, 2, bench.QUICK))
        (name,) = changes
        assert getattr(config, name) != getattr(default, name)
        assert dataclasses.replace(config, **{name: getattr(default, name)}) == default


@pytest.mark.parametrize(
    ("per_seed", "met"),
    [
        ([0.98, 0.98, 0.98], True),
        ([0.961, 0.99, 0.99], True),
        ([0.959, 1.0, 1.0], False),
        ([0.979, 0.98, 0.98], False),
    ],
)
def test_a_target_is_met_by_the_mean_and_nearly_by_the_worst_seed(bench, per_seed, met):
    good = {level: bench.spread([1.0, 1.0, 1.0]) for level in bench.LEVELS}
    rows = {"unbraid": {"nmi": {"combined": good | {"25": bench.spread(per_seed)}}}}
    cases = {"two": {"rows": rows}, "four": {"rows": {}}}
    targets = {target["what"]: target["met"] for target in bench.targets_of(cases)}
    assert targets == {"NMI of 25-step windows >= 0.98": met, "NMI of episodes >= 1.0": True}


def test_a_mode_is_as_good_where_every_judged_metric_holds_with_every_seed(bench):
    def loop(holds):
        compared = [{"holds": value} if value is not None else None for value in holds]
        good = [{"holds": True}] * len(holds)
        return {
            "modes": {
                "forward": dict.fromkeys(bench.METRICS, good)
                | {"cost": [{"holds": False}] * len(holds), "goals": compared}
            }
        }

    def verdict(holds):
        cases = {"two": {"rows": {}, "closed_loop": loop(holds)}, "four": {"rows": {}}}
        (target,) = bench.targets_of(cases)
        return target["worst"], target["met"]

    assert verdict([True, True, True]) == (1.0, True)
    assert verdict([True, False, True]) == (0.75, False)
    assert verdict([True, True, None]) == (0.75, False)  # no mode was matched with the expert


def test_a_name_that_does_not_exist_is_refused(bench, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--rows", "unbraid,kmedians"])
    assert "kmedians" in capsys.readouterr().err


@pytest.mark.slow
def test_two_experts_are_told_apart(bench, tmp_path):
    asked = ["--cases", "two", "--seeds", "0", "--rows", "unbraid,kmeans", "--folder", str(tmp_path)]
    bench.main([*asked, "--out", str(tmp_path / "modes.json")])
    rows = json.loads((tmp_path / "modes.json").read_text())["cases"]["two"]["rows"]
    found = rows["unbraid"]["nmi"]["combined"]
    assert found["25"]["worst"] >= 0.96
    assert found["episode"]["worst"] == 1.0
    assert found["25"]["worst"] > rows["kmeans"]["nmi"]["statistics"]["25"]["worst"]
