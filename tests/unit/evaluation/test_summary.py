"""Mean, median, interquartile mean and quantiles: known values, intervals, and none where there are too few values."""

import inspect
import json

import numpy as np
import pytest
from scipy import stats

from unbraid.core.errors import DataError
from unbraid.evaluation.intervals import mean_interval, share_interval
from unbraid.evaluation.summary import QUANTILES, fewest_for_quantile, summarise


def one(values, seed=0, **how):
    return summarise({"x": np.asarray(values)}, generator=np.random.default_rng(seed), **how)["x"]


@pytest.mark.parametrize("n", [1, 2, 5, 8, 101])
def test_values_are_those_of_numpy_and_scipy(n):
    values = np.random.default_rng(n).exponential(size=n)
    found = one(values)
    assert found.mean == mean_interval(values)
    assert found.median.value == pytest.approx(np.median(values))
    assert found.iqm.value == pytest.approx(stats.trim_mean(values, 0.25))
    assert tuple(found.quantiles) == QUANTILES
    for p, estimate in found.quantiles.items():
        assert estimate.value == pytest.approx(np.quantile(values, p))
        assert (estimate.n, estimate.unit_of_n) == (n, "episodes")


def test_the_bootstrap_is_that_of_a_plain_loop():
    values = np.random.default_rng(3).normal(size=40)
    found = one(values, n_resamples=3000)
    generator = np.random.default_rng(9)
    plain = [stats.trim_mean(generator.choice(values, 40), 0.25) for _ in range(3000)]
    low, high = np.quantile(plain, [0.021, 0.979])  # 40 values: the quantiles are moved outwards a little
    assert found.iqm.low == pytest.approx(low, abs=0.03)
    assert found.iqm.high == pytest.approx(high, abs=0.03)
    assert found.iqm.high - found.iqm.low < found.mean.high - found.mean.low + 0.2


@pytest.mark.parametrize("n", [6, 13, 72, 200])
def test_quantiles_have_the_exact_interval_of_scipy(n):
    values = np.random.default_rng(n).exponential(size=n)
    found = one(values)
    for p, estimate in {0.5: found.median, **found.quantiles}.items():
        exact = stats.quantile_test(values, p=p).confidence_interval(0.95)
        if estimate.low is None:
            assert np.isnan([exact.low, exact.high]).any()
        else:
            assert (estimate.low, estimate.high) == (exact.low, exact.high)


def test_a_mean_that_is_known_is_taken():
    known = share_interval(np.array([0.0, 1.0, 1.0]))
    assert one([0.0, 1.0, 1.0], means={"x": known}).mean is known


def test_too_few_values_have_no_interval():
    assert [fewest_for_quantile(p) for p in (0.5, 0.25, 0.75, 0.05, 0.95)] == [6, 13, 13, 72, 72]
    assert 0.95**72 <= 0.025 < 0.95**71
    for n, known in ((5, []), (6, [0.5]), (13, [0.5, 0.25, 0.75]), (72, [0.5, *QUANTILES])):
        found = one(np.arange(n))
        estimates = {0.5: found.median, **found.quantiles}
        assert [p for p, estimate in estimates.items() if estimate.low is not None] == known
        assert (found.iqm.low is None) is (n < 6)
    single = one([2.0])
    assert {e.low for e in (single.mean, single.median, single.iqm, *single.quantiles.values())} == {None}


def test_the_seed_matters_and_suffices_and_metrics_share_resamples():
    values = np.random.default_rng(0).normal(size=30)
    assert one(values).iqm == one(values).iqm
    assert one(values).iqm != one(values, seed=1).iqm
    beside = {"x": values, "y": 2 * values}
    both = summarise(beside, generator=np.random.default_rng(0))
    assert both["x"].iqm == one(values).iqm
    assert both["y"].iqm.high == pytest.approx(2 * both["x"].iqm.high)


def test_many_values_are_resampled_in_blocks_alike(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = one(values)
    monkeypatch.setattr("unbraid.evaluation.summary._BLOCK", 120)
    assert one(values).iqm == whole.iqm


def test_equal_values_have_no_width():
    found = one(np.full(80, 3))
    for estimate in (found.mean, found.median, found.iqm, *found.quantiles.values()):
        assert (estimate.value, estimate.low, estimate.high) == (3.0, 3.0, 3.0)


def test_it_is_json_with_quantiles_by_name():
    content = json.loads(json.dumps(one(np.arange(9.0), unit_of_n="training seeds").to_json(), allow_nan=False))
    assert set(content) == {"mean", "median", "iqm", "quantiles"}
    assert list(content["quantiles"]) == ["0.05", "0.25", "0.75", "0.95"]
    assert content["median"]["unit_of_n"] == "training seeds"


def test_what_cannot_be_summarised():
    ask, generator = inspect.unwrap(summarise), np.random.default_rng(0)
    assert ask({}, generator=generator) == {}
    with pytest.raises(DataError, match="must be finite"):
        ask({"x": np.array([1.0, np.nan])}, generator=generator)
    with pytest.raises(DataError, match="at least one value"):
        ask({"x": np.array([])}, generator=generator)
    with pytest.raises(DataError, match=r"same episodes; they have \[2, 3\]"):
        ask({"x": np.arange(2), "y": np.arange(3)}, generator=generator)
