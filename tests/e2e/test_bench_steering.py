"""The benchmark of steering: a tiny one from end to end, what it keeps, and how it judges."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench(module):
    return module("bench_steering")


@pytest.fixture(scope="module")
def tiny(bench):
    """Two weights and strengths in place of nine and four, and one avoided expert's coordinate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "WEIGHTS", (0.0, 0.5, 1.0))
        patch.setattr(bench, "RAISED", (1.5,))
        patch.setattr(bench, "MOVING", ("four",))  # six experts are the same in longer
        amounts = bench.Amounts(
            n_obeyed=2,
            n_moved=2,
            n_changed=2,
            n_blended=1,
            n_avoided=2,
            n_steps=60,
            changed_at=20,
            n_after=20,
            n_blend_steps=60,
        )
        patch.setattr(bench, "TINY", amounts)
        yield bench


def test_from_end_to_end(tiny, module, tmp_path, capsys, monkeypatch):
    asked = ["--quick", "--seeds", "3", "--folder", str(tmp_path / "kept"), "--models", str(tmp_path / "models")]
    tiny.main([*asked, "--out", str(tmp_path / "out.json")])
    content = json.loads((tmp_path / "out.json").read_text())
    assert set(content["obeyed"]) == {"goal_seeking", "forward", "circling", "hazard_seeking"}
    assert (len(content["changed"]), len(content["blends"]), len(content["avoided"])) == (12, 6, 2)
    assert all(0 <= of["mode"]["value"] <= 1 for of in content["obeyed"].values())
    moved = content["motion"]["four"]["forward"]["speed"]
    assert moved["from_expert"]["value"] > 0
    assert all(quantiles == sorted(quantiles) for quantiles in (moved["mode"], moved["expert"]))
    assert len(content["targets"]) == 4 + 12 + 6 + 2 * 3 * 2
    assert "targets" not in capsys.readouterr().out
    monkeypatch.setattr(tiny, "PARTS", dict.fromkeys(tiny.PARTS))  # nothing is computed again
    tiny.main([*asked, "--out", str(tmp_path / "again.json")])
    assert json.loads((tmp_path / "again.json").read_text()) == content
    text = module("steering_tables").steering_text(content)
    assert "**Away from goal_seeking.** 2 rollouts for each line." in text


def test_speed_and_turning_are_per_second_and_turning_wraps(module):
    motion = module("motion")
    track = {"robot_xy": np.array([[0, 0], [0.03, 0.04]]), "robot_heading_rad": np.array([3.1, -3.1])}
    moved = motion.moved(track)
    assert moved["speed"] == pytest.approx([2.5])
    assert moved["turning"] == pytest.approx([(2 * np.pi - 6.2) / 0.02])


def test_targets_can_be_missed(bench):
    content = json.loads((FOLDER / "results" / "bench_steering.json").read_text())
    before = [target["met"] for target in bench.targets(content)]
    assert before == [target["met"] for target in content["targets"]]
    for of in content["obeyed"].values():
        of["mode"]["value"] *= 0.9
    for of in content["changed"].values():
        of["later"]["value"] = 30
    for of in content["blends"].values():
        of["rank_correlation"]["of_seeds"][0] = 0.8
    for lines in content["avoided"].values():
        for row in list(lines["away"].values())[1:]:
            row["cost"]["value"], row["goals"]["value"] = 1e3, 1e3
    for of_strength in content["beside_left_out"].values():
        for of_seed in of_strength.values():
            of_seed[0]["better"] = False
    assert not any(target["met"] for target in bench.targets(content))


def test_better_is_less_of_it_at_no_lower_return(bench):
    def lines(cost, gain):
        jitter = np.arange(10) % 3
        away = {"cost": (10 + cost + jitter).tolist(), "return": (5 + gain + jitter).tolist()}
        return {"away": {"1.0": away}, "left_out": {"0.0": {"cost": [10.0] * 10, "return": [5.0] * 10}}}

    better = {
        (cost, gain): bench.beside_left_out(lines(cost, gain), "1.0", "cost")["better"]
        for cost in (-5, 0)
        for gain in (-5, -1, 3)
    }
    assert better == {(-5, -5): False, (-5, -1): True, (-5, 3): True, (0, -5): False, (0, -1): False, (0, 3): False}


def test_policies_that_blend_alike_are_ranked_by_what_they_do(bench):
    rising = [{"share": weight} for weight in bench.WEIGHTS]
    assert bench._rank(rising) == pytest.approx(1)
    assert bench._rank(rising[::-1]) == pytest.approx(-1)
    assert bench._rank([{"share": 0.5}] * len(bench.WEIGHTS)) == 0
