"""The chapter on the search for modes: every number that the search gave, in words that say what it means."""

from typing import Any

import pytest

from unbraid.report.chapters.search import search
from unbraid.report.claims import within_text
from unbraid.report.record import RunRecord
from unbraid.report.sections import KeyNumbers, Paragraph, Picture, Section, Table, Verdicts


@pytest.fixture
def found(results: dict[str, Any]) -> dict[str, Any]:
    return results["unbraid"]["search"]


def _section(found: dict[str, Any] | None, config: dict[str, Any] | None = None) -> Section | None:
    own = {"n_modes": 2} | ({} if found is None else {"search": found})
    return search(RunRecord(asked={"config": config or {}}, results={"unbraid": own}, moments=(), paths={}))


def _told(found: dict[str, Any], config: dict[str, Any] | None = None) -> Section:
    section = _section(found, config)
    assert section is not None
    return section


def _tables(section: Section) -> dict[str, Table]:
    return {block.caption: block for block in section.blocks if isinstance(block, Table)}


def _cells(table: Table) -> dict[str, tuple[str, ...]]:
    return {row.header: tuple(cell.text for cell in row.cells) for row in table.rows}


def _verdicts(section: Section) -> list[tuple[str, bool | None]]:
    (block,) = [block for block in section.blocks if isinstance(block, Verdicts)]
    return [(verdict.answer, verdict.holds) for verdict in block.verdicts]


def test_without_a_search_there_is_no_chapter():
    assert _section(None) is None
    assert search(RunRecord(asked={}, results={}, moments=(), paths={})) is None


def test_key_numbers(found: dict[str, Any]):
    (block,) = [block for block in _told(found).blocks if isinstance(block, KeyNumbers)]
    assert [number.text for number in block.numbers] == ["413", "17.4", "0.891", "0.413", "2.00 of 2"]
    assert "n = 100 episodes" in block.numbers[0].detail


def test_the_numbers_that_were_compared(found: dict[str, Any]):
    section = _told(found)
    table = _tables(section)["The numbers of modes that were compared"]
    assert _cells(table) == {
        "1 mode": ("0", "", "", "not estimable"),
        "2 modes": ("413", "413 ± 24", "yes", "0.890"),
        "3 modes": ("409", "-3.64 ± 2.17", "no", "0.800"),
    }
    assert [row.note for row in table.rows] == ["", "this model", ""]
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    assert "1 mode 0; 2 modes 413; 3 modes 409. This model has 2; the evidence supports 2." in picture.alt


def test_a_number_whose_neighbour_was_not_tried_is_not_judged(found: dict[str, Any]):
    found["counts"] = [found["counts"][0], {**found["counts"][2], "step_nats": None, "step_error": None}]
    cells = _cells(_tables(_told(found))["The numbers of modes that were compared"])
    assert cells["3 modes"][1:3] == ("not compared", "not compared")


def test_what_is_found_again_has_a_column_where_it_was_asked(found: dict[str, Any]):
    found["counts"][1] |= {"again_nats": 12.0, "again_error": 3.0}
    table = _tables(_told(found))["The numbers of modes that were compared"]
    place = table.columns.index("found again without them (nats per episode)")
    assert [cells[place] for cells in _cells(table).values()] == ["not asked", "12.0 ± 3.0", "not asked"]


def test_the_trimmed_mean_is_named_where_it_alone_is_clear(found: dict[str, Any]):
    found["counts"][1] |= {"step_error": 150.0, "trimmed_nats": 420.0, "trimmed_error": 12.0}
    found["counts"][1] |= {"again_nats": 12.0, "again_error": 3.0}
    cells = _cells(_tables(_told(found))["The numbers of modes that were compared"])["2 modes"]
    assert cells[1:3] == ("413 ± 150; trimmed mean 420 ± 12", "trimmed mean 12.0 ± 3.0")


def test_stability_has_a_column_only_where_it_was_measured(found: dict[str, Any]):
    for count in found["counts"]:
        del count["stability"]
    assert len(_tables(_told(found))["The numbers of modes that were compared"].columns) == 3


def test_what_tells_them_apart_in_plain_words(found: dict[str, Any]):
    table = _tables(_told(found))["What tells the modes apart"]
    assert _cells(table) == {
        "what is done": ("301", "73 %"),
        "where it leads over 100 steps": ("95", "23 %"),
        "where it leads over 1 step": ("0", "0 %"),
        "where it leads by the end": ("16", "4 %"),
    }
    assert table.rows[2].cells[1].heat_percent == 0.0
    found["gain_of_kind_nats"] = {"actions": -1.0, "a kind of later": 0.5}
    cells = _cells(_tables(_told(found))["What tells the modes apart"])
    assert cells == {"what is done": ("-1.00", "not estimable"), "a kind of later": ("0.50", "not estimable")}


@pytest.mark.parametrize(
    ("n_supported", "answer", "holds"), [(2, "supported", True), (3, "too few", False), (1, "too many", False)]
)
def test_the_verdict_is_about_the_number_that_the_model_has(
    found: dict[str, Any], n_supported: int, answer: str, holds: bool
):
    assert _verdicts(_told({**found, "n_supported": n_supported})) == [(answer, holds)]


def test_what_is_not_decided_is_neither_right_nor_wrong(found: dict[str, Any]):
    assert _verdicts(_told({**found, "is_decided": False})) == [("not decided", None)]
    assert _verdicts(_told({**found, "is_decided": True})) == [("supported", True)]


def test_what_the_encoder_reads_has_a_column_where_it_was_measured(found: dict[str, Any]):
    table = _tables(_told({**found, "encoder_shares": [0.52, 0.48]}))["How the episodes are shared out"]
    assert _cells(table) == {"mode 0": ("53 %", "52 %"), "mode 1": ("47 %", "48 %")}
    assert "25-step windows" in table.columns[1]


def test_warnings_stand_below_the_verdict(found: dict[str, Any]):
    section = _told({**found, "warnings": ["A made-up warning. Do this."]})
    assert _verdicts(section) == [("supported", True), ("warning", False)]


def test_what_varies_within_modes_is_said_where_they_are_told_apart_beside_it(found: dict[str, Any]):
    within = {"gain_nats": 10.2, "gain_error": 1.1, "modes_nats": 20.0, "is_modelled": True}
    (block,) = [block for block in _told({**found, "within": within}).blocks if isinstance(block, Verdicts)]
    assert block.verdicts[1].text == within_text(within)
    assert (
        "explains 10.2 nats (standard error 1.10) more of a left-out one, where the modes alone explain 20"
        in within_text(within)
    )
    assert "standard error" not in within_text({**within, "gain_error": None})
    assert "alone explain 0." in within_text({**within, "modes_nats": -5e-6})  # one mode: rounding
    for unsaid in (None, {**within, "is_modelled": False}):
        assert _verdicts(_told({**found, "within": unsaid})) == [("supported", True)]


def test_modes_that_are_not_told_apart_are_named(found: dict[str, Any]):
    table = _tables(_told(found))["How the episodes are shared out"]
    assert _cells(table) == {"mode 0": ("53 %",), "mode 1": ("47 %",)}
    merging = {**found, "n_modes": 4, "shares": [0.4, 0.3, 0.2, 0.1], "merge_into": [0, 1, 0, 0]}
    table = _tables(_told(merging))["How the episodes are shared out"]
    assert [row.cells[1].text for row in table.rows] == [
        "not from modes 2, 3",
        "yes",
        "not from modes 0, 3",
        "not from modes 0, 2",
    ]
    table = _tables(_told({**found, "merge_into": [0, 1]}))["How the episodes are shared out"]
    assert len(table.columns) == 1


def test_one_mode_has_nothing_to_tell_apart(found: dict[str, Any]):
    one = {"n_modes": 1, "n_supported": 1, "shares": [1.0], "perplexity": 1.0, "stability": None, "silhouette": None}
    section = _told({**found, **one, "sureness_standard_errors": None})
    assert set(_tables(section)) == {"The numbers of modes that were compared"}
    assert not any(isinstance(block, KeyNumbers) for block in section.blocks)


def test_what_could_not_be_measured_is_said(found: dict[str, Any]):
    section = _told({**found, "stability": None, "silhouette": None, "sureness_standard_errors": None, "counts": []})
    (block,) = [block for block in section.blocks if isinstance(block, KeyNumbers)]
    assert [number.text for number in block.numbers] == [*["not estimable"] * 4, "2.00 of 2"]
    assert not any(isinstance(block, Picture) for block in section.blocks)


def _all_words(section: Section) -> str:
    words: list[str] = []
    for block in section.blocks:
        if isinstance(block, Paragraph):
            words.append(block.text)
        elif isinstance(block, Table):
            words += [block.caption, *block.columns, block.note]
        elif isinstance(block, KeyNumbers):
            words += [number.detail for number in block.numbers]
        elif isinstance(block, Picture):
            words += [block.alt, block.caption]
    return " ".join(words)


def test_what_shares_a_mode_is_called_by_its_name(found: dict[str, Any]):
    assert "nats per episode" in _all_words(_told(found))
    windows = _all_words(_told(found, {"sharing": "window"}))
    assert "n = 100 windows" in windows
    assert "(sharing window)" in windows
    changes = {"n_changes": 11, "gain_nats": 2.8, "gain_error": 0.6}
    stretches = _all_words(_told({**found, "changes": changes}))
    assert "n = 100 stretches" in stretches
    for words, unit in ((windows, "window"), (stretches, "stretch")):
        assert f"nats per {unit}" in words
        assert "per episode" not in words
        assert "100 episodes" not in words


def test_the_windows_that_are_due_stand_beside_those_that_are_read(found: dict[str, Any]):
    shares = {"window_shares": [0.09, 0.91], "encoder_shares": [0.08, 0.92]}
    table = _tables(_told({**found, **shares}))["How the episodes are shared out"]
    assert _cells(table) == {"mode 0": ("53 %", "9 %", "8 %"), "mode 1": ("47 %", "91 %", "92 %")}
    assert table.columns[1] == "share of 25-step windows that it holds"
    assert "far fewer windows than it holds" in table.note
    old = _tables(_told({**found, "encoder_shares": [0.08, 0.92]}))["How the episodes are shared out"]
    assert "a mode of short episodes has few windows, too" in old.note


def test_numbers_without_an_interval_say_so(found: dict[str, Any]):
    section = _told(found)
    (block,) = [block for block in section.blocks if isinstance(block, KeyNumbers)]
    assert ["standard error" in n.detail or "no interval" in n.detail for n in block.numbers] == [True] * 5
    notes = [block.note for block in section.blocks if isinstance(block, Table)]
    assert all("interval" in note for note in notes)
