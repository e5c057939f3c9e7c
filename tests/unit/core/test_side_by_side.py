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


def test_what_trails_is_not_waited_for_before_the_next_call():
    go_on, done = threading.Event(), []

    def trailing():
        assert go_on.wait(10)
        done.append(threading.get_ident())

    together = SideBySide()
    _, there = together(threading.get_ident, threading.get_ident, trailing)
    assert done == []
    go_on.set()
    together.settle()
    assert done == [there]
    together.settle()
    assert done == [there]


def test_what_waits_behind_what_trails_is_done_by_the_thread_that_calls():
    go_on, done = threading.Event(), []
    together = SideBySide()
    together(lambda: None, lambda: None, lambda: done.append(go_on.wait(10)))

    def there():
        assert done == []
        go_on.set()
        return threading.get_ident()

    assert together(lambda: None, there) == (None, threading.get_ident())
    assert done == [True]


def test_the_next_call_ends_after_what_trails_and_raises_what_it_raises():
    def fails():
        raise ValueError("trailing")

    together, order = SideBySide(), []
    together(lambda: None, lambda: None, lambda: order.append("trailing"))
    together(lambda: None, lambda: None, fails)
    assert order == ["trailing"]
    with pytest.raises(ValueError, match="trailing"):
        together(lambda: None, lambda: None)
    assert together(lambda: 1, lambda: 2) == (1, 2)
