"""Answers in a file, with and without how situations were read."""

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.switching.answers import load_answers, save_answers
from unbraid.switching.preferences import Preferences
from unbraid.switching.situations import situation_reader

KNOWN = Preferences(2, 5).answered(np.arange(5.0), 0, 1, "right")


def test_answers_come_back_with_their_reader_and_replace_what_was_there(tmp_path):
    path, reader = tmp_path / "answers.json", situation_reader("observation", observations=np.eye(4))
    for known in (Preferences(2, 5), KNOWN):
        save_answers(path, known, reader)
    found, read = load_answers(path)
    assert found.to_json() == KNOWN.to_json()
    assert read is not None
    assert read.to_json() == reader.to_json()


def test_answers_without_a_reader_are_answers(tmp_path):
    KNOWN.save(tmp_path / "answers.json")
    found, read = load_answers(tmp_path / "answers.json")
    assert found.to_json() == KNOWN.to_json()
    assert read is None


def test_a_file_that_is_none_is_named_with_a_remedy(tmp_path):
    with pytest.raises(DataError, match=r"answers\.json.*Restore it from a copy, or move it away and ask anew\."):
        load_answers(tmp_path / "answers.json")
