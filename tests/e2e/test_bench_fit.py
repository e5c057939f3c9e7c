"""The benchmark of a fit's speed, tiny, from end to end; timings are reported and never judged here."""

import json
import sys

import pytest
import torch


@pytest.fixture
def bench_fit(module):
    return module("bench_fit")


def test_both_sides_are_timed_and_the_whole_is_the_sum_of_its_parts(bench_fit, tmp_path, monkeypatch, capsys):
    out = tmp_path / "bench_fit.json"
    monkeypatch.setattr(sys, "argv", ["bench_fit", "--quick", "--rounds", "2", "--steps", "2", "--out", str(out)])
    bench_fit.main()
    found = json.loads(out.read_text())
    for part in found["steps"].values():
        assert part["ratio"]["median"] == pytest.approx(
            part["samples_per_s"]["median"] / part["bare_samples_per_s"]["median"], rel=0.5
        )
        assert part["ratio_of_processor_time"]["median"] > 0
    seconds = {name: part["seconds"] for name, part in found["seconds"].items()}
    assert seconds["fit"] == pytest.approx(seconds["search"] + seconds["joint_steps"])
    assert seconds["fit_auto"] == pytest.approx(seconds["search_auto"] + seconds["joint_steps"])
    printed = capsys.readouterr().out
    assert "joint step:" in printed
    assert "policy step:" in printed


def test_the_bare_loop_has_the_same_loss(bench_fit, monkeypatch):
    """With the same batch of steps."""
    import piles
    from unbraid.training.config import UnbraidConfig
    from unbraid.training.fit import learner_for

    training, _ = piles.point_goal(piles.TWO, 3, 0, n_held_out=1, n_steps=60)
    learner = learner_for(
        training.without_labels(), UnbraidConfig(n_modes=2, search_steps=20, policy_batch=64, policy_loss="beta")
    ).first
    bare = bench_fit.BareLoop(learner)
    learner.responsibilities = torch.eye(2)[learner.responsibilities.argmax(1)]
    chosen = torch.arange(64)
    monkeypatch.setattr(torch, "randint", lambda *size, generator=None: chosen)
    ours, theirs = learner.policy_part(), bare.policy_loss()
    assert float(ours) == pytest.approx(float(theirs.detach()), rel=1e-4)
