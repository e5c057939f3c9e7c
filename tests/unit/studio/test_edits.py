"""What a person said is kept, folded into what is shown, and taken back again."""

import json
import threading

import pytest

from unbraid.core.errors import ConfigError, RunError
from unbraid.studio.edits import EDITS_FILE, Edit, EditLog, Edits


def test_a_name_a_note_and_a_merge_are_shown():
    edits = Edits(3).saying(Edit("rename", 0, text="careful")).saying(Edit("merge", 2, 0))
    edits = edits.saying(Edit("note_mode", 0, text="slow")).saying(Edit("note_episode", 7, text="odd"))
    first, second = edits.shown
    assert (first.mode, first.modes, first.name, first.note) == (0, (0, 2), "careful", "slow")
    assert (second.mode, second.modes, second.name) == (1, (1,), "mode 1")
    assert edits.leads == (0, 1, 0)
    assert edits.episode_notes == {7: "odd"}


def test_modes_merged_into_one_that_is_merged_go_with_it():
    edits = Edits(4).saying(Edit("merge", 3, 2)).saying(Edit("merge", 2, 1))
    assert edits.leads == (0, 1, 1, 1)
    assert edits.saying(Edit("split", 3)).leads == (0, 1, 1, 3)


def test_an_empty_text_takes_a_name_and_a_note_away():
    edits = Edits(1).saying(Edit("rename", 0, text="a")).saying(Edit("rename", 0, text=""))
    edits = edits.saying(Edit("note_episode", 1, text="b")).saying(Edit("note_episode", 1))
    assert edits.shown[0].name == "mode 0"
    assert edits.episode_notes == {}


def test_undo_and_redo_go_back_and_forth_until_something_new_is_said():
    one = Edits(2).saying(Edit("rename", 0, text="a"))
    two = one.saying(Edit("rename", 0, text="b"))
    assert two.undo().shown == one.shown
    assert two.undo().redo() == two
    assert two.undo().saying(Edit("rename", 1, text="c")).redo().shown[0].name == "a"
    assert Edits(2).undo() == Edits(2) == Edits(2).redo()


@pytest.mark.parametrize(
    "edit",
    [
        Edit("rename", 1),
        Edit("rename", 1, text="mode 1"),
        Edit("rename", 0, text="a"),
        Edit("note_mode", 0),
        Edit("note_episode", 4),
    ],
)
def test_what_changes_nothing_is_no_edit_and_leaves_nothing_to_undo(tmp_path, edit):
    log = EditLog(tmp_path, 2)
    log.say(Edit("rename", 0, text="a"))
    log.say(Edit("rename", 0, text="b"))
    before = log.undo()
    assert log.say(edit) is before
    assert log.redo().shown[0].name == "b"


@pytest.mark.parametrize("name", ["careful", "Careful", "mode 2"])
def test_two_modes_have_no_name_in_common(name):
    edits = Edits(3).saying(Edit("rename", 0, text="careful"))
    with pytest.raises(ConfigError, match=r"must have names that differ; .* is another's already"):
        edits.saying(Edit("rename", 1, text=name))
    assert edits.saying(Edit("rename", 0, text="Careful")).shown[0].name == "Careful"


def test_a_mode_is_not_split_off_under_a_name_that_another_has_meanwhile():
    edits = Edits(2).saying(Edit("rename", 1, text="bold")).saying(Edit("merge", 1, 0))
    edits = edits.saying(Edit("rename", 0, text="bold"))
    with pytest.raises(ConfigError, match="Rename one of the two before"):
        edits.saying(Edit("split", 1))


def test_names_that_an_older_studio_gave_twice_are_still_read(tmp_path):
    log = EditLog(tmp_path, 2)
    content = log.say(Edit("rename", 0, text="a")).to_json()
    content["done"].append({**content["done"][0], "about": 1})
    (tmp_path / EDITS_FILE).write_text(json.dumps(content))
    again = EditLog(tmp_path, 2)
    assert [mode.name for mode in again.edits.shown] == ["a", "a"]
    assert again.say(Edit("note_mode", 0, text="slow")).shown[0].note == "slow"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit("rename", 2, text="x"), "lie in"),
        (Edit("rename", 0, text="x" * 61), "at most 60"),
        (Edit("rename", 0, text="a\nb"), "printable"),
        (Edit("note_mode", 0, text="x" * 2001), "at most 2000"),
        (Edit("note_episode", -1), "from 0"),
        (Edit("merge", 0, 0), "shown apart"),
        (Edit("merge", 0), "Give `into`"),
        (Edit("merge", 0, 5), "lie in"),
        (Edit("split", 0), "must be merged"),
        (Edit("rename", 0, 1), "Only a merge"),
    ],
)
def test_what_cannot_be_is_refused(edit, said):
    with pytest.raises(ConfigError, match=said):
        Edits(2).saying(edit)


def test_a_mode_that_is_merged_already_cannot_be_merged_or_merged_into():
    edits = Edits(3).saying(Edit("merge", 2, 0))
    for edit in (Edit("merge", 2, 1), Edit("merge", 1, 2)):
        with pytest.raises(ConfigError, match="shown apart"):
            edits.saying(edit)


def test_the_file_gives_back_what_was_said_and_undone(tmp_path):
    log = EditLog(tmp_path, 3)
    assert not (tmp_path / EDITS_FILE).exists()
    log.say(Edit("rename", 1, text="schräg"))
    log.say(Edit("merge", 2, 1))
    log.undo()
    again = EditLog(tmp_path, 3)
    assert again.edits == log.edits
    assert again.redo().leads == (0, 1, 1)


def test_a_refused_edit_changes_no_file(tmp_path):
    log = EditLog(tmp_path, 2)
    log.say(Edit("rename", 1, text="a"))
    before = (tmp_path / EDITS_FILE).read_bytes()
    with pytest.raises(ConfigError):
        log.say(Edit("rename", 9, text="a"))
    assert (tmp_path / EDITS_FILE).read_bytes() == before


def test_edits_from_several_threads_are_all_kept(tmp_path):
    log = EditLog(tmp_path, 2)
    threads = [threading.Thread(target=log.say, args=(Edit("note_episode", i, text="x"),)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert EditLog(tmp_path, 2).edits.episode_notes == dict.fromkeys(range(12), "x")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"n_modes": 5},
        {"done": [{"kind": "rename", "about": 9, "text": "x"}]},
        {"done": [{"kind": "fly", "about": 0}]},
        {"done": [{"colour": 1}]},
        {"done": None},
    ],
)
def test_a_damaged_file_is_named(tmp_path, change):
    content = EditLog(tmp_path, 2).say(Edit("rename", 0, text="a")).to_json()
    (tmp_path / EDITS_FILE).write_text(json.dumps(content | change))
    with pytest.raises(RunError, match=EDITS_FILE):
        EditLog(tmp_path, 2)
