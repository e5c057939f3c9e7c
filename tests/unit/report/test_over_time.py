"""The chapter on changes within episodes, and what the chapter on the search says of them."""

import copy
from typing import Any

import pytest

from unbraid.report.chapters.over_time import over_time
from unbraid.report.chapters.search import search
from unbraid.report.record import RunRecord
from unbraid.report.sections import KeyNumbers, Picture, Section, Table, Verdicts

POINT = {"step": 31, "before": 1, "after": 0, "low_step": 28, "high_step": 33, "probability": 0.993}


@pytest.fixture
def found() -> dict[str, Any]:
    def episode(number: int, n_steps: int, n_points: int) -> dict[str, Any]:
        points = [POINT | {"episode": number}] * n_points
        likely = [[0.1, 0.9]] * 3 + [[1.0, 0.0]] * 5
        return {"episode": number, "n_steps": n_steps, "probabilities": likely, "change_points": points}

    changes = {"value": 1.25, "low": 0.75, "high": 1.75, "n": 8, "unit_of_n": "episodes"}
    return {
        "switch_rate": 0.004,
        "changes_per_episode": changes,
        "episodes": [episode(3, 60, 1), episode(5, 50, 0), episode(9, 60, 13)],
    }


def _record(own: dict[str, Any]) -> RunRecord:
    return RunRecord(asked={}, results={"unbraid": {"n_modes": 2} | own}, moments=(), paths={})


def _told(found: dict[str, Any]) -> Section:
    section = over_time(_record({"over_time": found}))
    assert section is not None
    return section


def test_an_episode_with_one_mode_throughout_has_no_chapter():
    assert over_time(_record({})) is None


def test_changes_are_counted_drawn_and_told(found: dict[str, Any]):
    section = _told(found)
    (numbers,) = [block for block in section.blocks if isinstance(block, KeyNumbers)]
    assert [number.text for number in numbers.numbers] == ["1.25", "250"]
    assert "n = 8 episodes" in numbers.numbers[0].detail
    assert "no interval" in numbers.numbers[1].detail
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    assert picture.alt.startswith("3 episodes as bars over time, coloured by mode; 14 changes are marked")
    assert picture.wide_png.startswith(b"\x89PNG")
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert len(table.rows) == 12
    assert "2 more changes are in the picture" in table.note
    first = table.rows[0]
    assert first.header == "episode 3"
    assert [(cell.text, cell.detail) for cell in first.cells] == [("31", "28 to 33"), ("1 to 0", ""), ("99 %", "")]


def test_without_a_change_among_the_shown_there_is_no_table(found: dict[str, Any]):
    for episode in found["episodes"]:
        episode["change_points"] = []
    assert not [block for block in _told(found).blocks if isinstance(block, Table)]


def test_an_episode_that_differs_as_a_whole_is_said_to(results: dict[str, Any]):
    told = {"gain_nats": 5.0, "gain_error": 0.7, "modes_nats": 20.0, "alike_nats": 4.0, "within_nats": 9.0}
    own = {**results["unbraid"]["search"], "changes": told | {"n_changes": 0}}
    section = search(_record({"search": own}))
    assert section is not None
    (block,) = [block for block in section.blocks if isinstance(block, Verdicts)]
    assert block.verdicts[1].text.endswith("; 9.00 where it may not, but may be faster or slower as a whole, say.")


@pytest.mark.parametrize(
    ("n_changes", "alike", "answer", "said"),
    [
        (
            41,
            8.0,
            "seen",
            "Experts take over from one another within episodes: 41 changes; a left-out episode gains 9.1",
        ),
        (
            0,
            None,
            "none seen",
            "No change of expert is seen within an episode: a left-out episode gains 9.10 nats (standard",
        ),
        (
            0,
            1.5,
            "none seen",
            "No change of expert is seen within an episode: a left-out episode gains 9.10 nats (standard",
        ),
    ],
)
def test_the_search_says_whether_experts_change(
    results: dict[str, Any], n_changes: int, alike: float | None, answer: str, said: str
):
    own = copy.deepcopy(results["unbraid"]["search"])
    told = {"gain_nats": 9.1, "gain_error": 0.4, "modes_nats": 30.0, "alike_nats": alike}
    own["changes"] = told | {"n_changes": n_changes}
    section = search(_record({"search": own}))
    assert section is not None
    (block,) = [block for block in section.blocks if isinstance(block, Verdicts)]
    assert [(v.answer, v.holds) for v in block.verdicts][1] == (answer, None)
    assert block.verdicts[1].text.startswith(said)
    assert ("1.50 where all modes scatter alike, too." in block.verdicts[1].text) == (alike == 1.5)
    unit = "stretches" if n_changes else "episodes"
    tables = [table for table in section.blocks if isinstance(table, Table) and "n = " in table.note]
    assert tables
    assert all(f"n = 100 {unit}" in table.note for table in tables)
