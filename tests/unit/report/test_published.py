"""The published tables that ship with the package."""

import pytest

from unbraid.report import PUBLISHED_GRADIENT_STEPS, published_tables
from unbraid.report.published import published_by_setting, published_source


def test_there_are_eight_for_two_time_steps_and_four_numbers_of_codes():
    settings = [(table.delta_steps, table.n_modes) for table in published_tables()]
    assert settings == [(delta, n_modes) for delta in (1, 5) for n_modes in (2, 3, 4, 5)]
    assert list(published_by_setting()) == settings


def test_every_row_has_one_share_per_code_and_sums_to_100_but_for_the_one_that_does_not():
    for table in published_tables():
        assert set(table.percent) == {"goal_seeking", "forward"}
        for expert, shares in table.percent.items():
            known_fault = (table.delta_steps, table.n_modes, expert) == (1, 5, "goal_seeking")
            assert len(shares) == table.n_modes
            assert sum(shares) == (99 if known_fault else 100)


def test_purity_is_what_the_table_says():
    for table in published_tables():
        shares = list(table.percent.values())
        majority = sum(max(column) for column in zip(*shares, strict=True))
        assert table.purity == pytest.approx(majority / sum(map(sum, shares)), abs=0.003)


def test_the_source_is_named():
    assert "Eloundou" in published_source()
    assert PUBLISHED_GRADIENT_STEPS == 50_000
