"""Two pieces of work at once: what both give, what either raises, and when it returns."""

import threading

import pytest

from unbraid.core.side_by_side import SideBySide


def test_both_are_done_and_on_threads_of_their_own():
    here, there = SideBySide()(threading.get_ident, threading.get_ident)
    assert here == threading.get_ident()
    assert there != here


def test_they_run_at_once():
    first, second = threading.Event(), threading.Event()

    def here():
        first.set()
        return second.wait(10)

    def there():
        second.set()
        return first.wait(10)

    assert SideBySide()(here, there) == (True, True)


@pytest.mark.parametrize("which", ["here", "there"])
def test_what_either_raises_is_raised_once_both_are_done(which):
    done = []

    def fails():
        raise ValueError(which)

    def works():
        done.append(True)

    with pytest.raises(ValueError, match=which):
        SideBySide()(*((fails, works) if which == "here" else (works, fails)))
    assert done == [True]
