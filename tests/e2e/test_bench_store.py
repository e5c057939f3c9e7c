"""The benchmark of stores: its world can be told apart, its store is made in parts, and its lines are lines."""

import numpy as np
import pytest

from unbraid.demos.check import check_demos
from unbraid.demos.loading import load_demos


@pytest.fixture(scope="module")
def bench_store(module):
    return module("bench_store")


@pytest.fixture(scope="module")
def folder(bench_store, tmp_path_factory):
    return bench_store.write_world(tmp_path_factory.mktemp("world") / "store", 5000)


def test_the_world_is_sound_and_its_experts_differ(bench_store, folder):
    demos = load_demos(folder)
    assert check_demos(demos).ok
    assert demos.observations.dtype == demos.actions.dtype == np.float32
    assert demos.observation_size + demos.action_size == 60
    assert abs(demos.n_steps - 5000) < 1000
    assert set(demos.labels.tolist()) == set(range(4))
    other = bench_store.part_of_world(20, np.random.default_rng(5))
    assert other.fingerprint() != bench_store.part_of_world(20, np.random.default_rng(6)).fingerprint()
    assert other.fingerprint() == bench_store.part_of_world(20, np.random.default_rng(5)).fingerprint()


def test_rates_and_draws_from_blocks_are_measured(bench_store, folder):
    rates = bench_store.measure_rates(folder, folder, 2, 2)
    assert rates["ratio"]["median"] > 0
    assert len(rates["warming_up"]) == 2
    reads = bench_store.measure_reads(folder)
    assert min(reads.values()) >= 0
    blocks = bench_store.measure_blocks(folder, 4, 2)
    for name in ("whole", "blocks"):
        assert np.isfinite(blocks[name]["log_likelihood_of_unseen_nats"])
        assert set(blocks[name]["accuracy_of_unseen_windows"]) == {"10", "50"}
    assert bench_store.text_of_rates(rates, reads)
    assert bench_store.text_of_blocks(blocks)


def test_memory_that_no_file_holds_is_seen(bench_store):
    with bench_store.Watched() as watched:
        held = np.ones(12_000_000)
        watched.peak_gb = max(watched.peak_gb, bench_store.anonymous_gb())
    assert watched.peak_gb - watched.before_gb > 0.9 * held.nbytes / 1e9


def test_a_line_is_drawn_to_100_million_steps(bench_store):
    def size(n_steps, gb, seconds, rate):
        fit = {"peak_anonymous_gb": gb, "seconds": seconds + 10.0, "gradient_seconds": 10.0}
        return {"n_steps": n_steps, "fit": fit, "rates": {"warm": {"median": rate}}}

    found = bench_store.at_100_million([size(5_000_000, 1.0, 50.0, 40_000.0), size(50_000_000, 1.09, 500.0, 39_100.0)])
    assert found == pytest.approx(
        {"peak_anonymous_gb": 1.19, "seconds_beside_gradient_steps": 1000.0, "warm_samples_per_s": 38_100.0}
    )
