"""The benchmarks of switching and of preferences: tiny ones from end to end, and how they judge."""

import json

import pytest


@pytest.fixture(scope="module")
def benches(module):
    return {name: module(name) for name in ("bench_switching", "bench_preferences")}


def test_switching(benches, tmp_path, capsys):
    asked = ["--quick", "--who", "experts", "--seeds", "0", "--horizons", "10", "--folder", str(tmp_path)]
    asked += ["--methods", "bandit,actor_critic"]
    (tmp_path / "experts_0").mkdir()
    weighed = [{"return": [10.0, 12.0], "cost": [10.0, 10.0]}, {"return": [6.0, 6.0], "cost": [0.0, 0.0]}]
    worst = {"return": [0.0, 0.0], "cost": [0.0, 0.0]}
    (tmp_path / "experts_0" / "weighed.json").write_text(json.dumps([*weighed, worst]))
    assert benches["bench_switching"].main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["method"], entry["cost_weight"]) for entry in found["entries"]] == [
        (method, weight) for method in ("bandit", "actor_critic") for weight in (0.25, 0.5, 1.0)
    ]
    for entry in found["entries"]:
        assert entry["gain"]["value"] == pytest.approx(entry["objective"] - entry["best_alone"])
    assert len(list((tmp_path / "experts_0").iterdir())) == 8
    assert benches["bench_switching"].main(asked) == 0
    assert json.loads(capsys.readouterr().out) == found  # what is kept is not computed again


def test_where_the_two_best_tie(benches):
    modes = [{"return": [r], "cost": [c]} for r, c in ((26.0, 50.0), (18.0, 10.0), (-2.0, 0.0))]
    assert benches["bench_switching"].tie(modes) == pytest.approx(8 / 40)
    with pytest.raises(SystemExit, match="No two modes tie"):
        benches["bench_switching"].tie([{"return": [1.0], "cost": [0.0]}, {"return": [0.0], "cost": [1.0]}])


def test_preferences(benches, capsys):
    assert benches["bench_preferences"].main(["--quick"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_people"] == 2
    for how in ("informative", "random"):
        assert len(found[how]["right_by_click"]) == 5
        very_best, right = (found[how][f"{name}_at_the_end"]["value"] for name in ("very_best", "right"))
        assert 0 <= very_best <= right <= 1
