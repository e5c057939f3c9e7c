"""Which values lie far beyond what is usual in their column."""

import numpy as np
import pytest

from unbraid.demos.far_values import Watch


def fence_of(table, n_blocks=3):
    watch = Watch(len(table), table.shape[1])
    blocks = np.array_split(table, n_blocks)
    assert [id(block) for block in watch.watched(blocks)] == [id(block) for block in blocks]
    return watch.fence()


@pytest.fixture
def table():
    return np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)


def test_ordinary_columns_have_no_fence(table):
    heavy = np.random.default_rng(1).standard_t(3, size=table.shape)
    assert fence_of(table) is None
    assert fence_of(heavy) is None


@pytest.mark.parametrize("value", [60.0, -1e3, 1e9])
def test_a_value_far_out_is_far_and_counts_for_the_last_of_the_usual_ones(table, value):
    table[700, 1] = value
    fence = fence_of(table)
    far = fence.is_far(table)
    assert np.argwhere(far).tolist() == [[700, 1]]
    tame = fence.within(table)
    assert tame.dtype == table.dtype
    assert np.array_equal(tame[~far], table[~far])
    assert abs(tame[700, 1]) < 4


def test_in_a_column_that_hardly_ever_changes_nothing_is_far(table):
    table[:, 2] = 0
    table[5, 2] = 1
    assert fence_of(table) is None


def test_a_fence_of_some_columns_leaves_the_others_alone(table):
    table[3, 0], table[4, 1] = 1e6, 1e6
    fence = fence_of(table).of_columns(np.array([True, False, False]))
    assert np.argwhere(fence.is_far(table)).tolist() == [[3, 0]]


def test_of_a_large_table_a_part_is_kept_and_all_is_looked_at():
    table = np.random.default_rng(0).normal(size=(250_001, 1))
    table[123_458] = 1e5  # between those that are kept
    watch = Watch(len(table), table.shape[1])
    for _ in watch.watched(np.array_split(table, 7)):
        pass
    assert np.array_equal(watch._kept, table[::3])
    assert watch.fence().is_far(table).sum() == 1


def test_of_wide_rows_fewer_are_kept():
    table = np.zeros((50_000, 500), dtype=np.float32)
    watch = Watch(*table.shape)
    for _ in watch.watched([table]):
        pass
    assert len(watch._kept) == 10_000


def test_a_handful_of_rows_can_be_judged():
    assert fence_of(np.arange(4.0)[:, None], n_blocks=1) is None
    assert fence_of(np.ones((1, 2)), n_blocks=1) is None
