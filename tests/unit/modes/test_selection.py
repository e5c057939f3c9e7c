"""How many modes: gains must be significant and worth something, and the walk stops where they end."""

import numpy as np
import pytest

from unbraid.modes.selection import (
    CountEvidence,
    CountOfModes,
    HeldOut,
    Walk,
    WithinModes,
    are_as_good,
    are_clearly_better,
)

N_SPANS = 100
JITTER = np.where(np.arange(N_SPANS) % 2, 1.0, -1.0)  # mean 0, standard error 0.1005


class Fake:
    """Held-out evidence by a table of gains of the K-th mode over one fewer; who asked for what is noted."""

    def __init__(self, *gains, jitter=0.1):
        self.gains, self.jitter, self.asked = gains, jitter, []

    def __call__(self, n_modes):
        self.asked.append(n_modes)
        total = sum(self.gains[: n_modes - 1])
        shape = JITTER if n_modes % 2 else 0 * JITTER  # neighbours differ by one jitter
        return HeldOut(n_modes, -50 + total + self.jitter * shape)

    def walk(self, most=16):
        return Walk(self, most=most)


# Up from one


@pytest.mark.parametrize(
    ("gains", "n_supported"),
    [((0, 0, 0), 1), ((10, 0, 0, 0), 2), ((10, 5, 3, 0, 0), 4), ((-1, -1, -1), 1), ((10, -2, -2), 2)],
)
def test_the_walk_ends_where_the_gains_do(gains, n_supported):
    fake = Fake(*gains)
    count = fake.walk().whole()
    assert count.n_supported == n_supported
    assert count.n_spans == N_SPANS
    assert fake.asked == list(range(1, n_supported + 3))  # nothing twice, and fewer modes before more
    assert [c.n_modes for c in count.counts] == list(range(1, n_supported + 3))
    assert [c.supported for c in count.counts] == [k <= n_supported for k in range(1, n_supported + 3)]


@pytest.mark.parametrize(("gain", "n_supported"), [(0.0003, 1), (0.1, 2)])
def test_the_last_digit_of_a_sum_is_no_mode(gain, n_supported):
    # episodes that repeat one another gain one and the same, so that its standard error is 0
    assert Fake(gain, jitter=0).walk().whole().n_supported == n_supported


def test_one_more_may_add_nothing_where_two_more_do():
    assert Fake(10, 0, 10, 0, 0, 0).walk().whole().n_supported == 4
    assert Fake(10, 0, 0, 10, 0, 0).walk().whole().n_supported == 2


def test_the_walk_goes_no_further_than_it_may():
    fake = Fake(*[5.0] * 9)
    assert fake.walk(most=4).whole().n_supported == 4
    assert max(fake.asked) == 4


def test_what_each_number_adds_is_said():
    first, second, third = Fake(10, 5, 0, 0).walk().whole().counts[:3]
    assert (first.gain_nats, first.step_nats, first.step_error, first.supported) == (0, None, None, True)
    assert second.gain_nats == pytest.approx(10)
    assert (third.gain_nats, third.step_nats) == (pytest.approx(15), pytest.approx(5))
    assert third.step_error == pytest.approx(0.1 / np.sqrt(N_SPANS - 1))


# Around a number


@pytest.mark.parametrize(
    ("asked", "n_supported", "said"),
    [
        (3, 3, "The evidence supports 3 modes"),
        (2, 3, "2 are too few, by 1. Some modes hold several behaviours, or several habits of one expert."),
        (1, 3, "1 are too few, by 2. Some modes hold several behaviours, or several habits of one expert."),
        (4, 3, "4 are too many, by 1. Some modes are parts of one behaviour."),
        (6, 3, "6 are too many, by 3. Some modes are parts of one behaviour."),
    ],
)
def test_around_says_too_few_and_too_many_and_by_how_many(asked, n_supported, said):
    count = Fake(10, 8, 0, 0, 0, 0, 0).walk().around(asked)
    assert count.n_supported == n_supported
    assert said in count.verdict(asked)


def test_around_looks_no_further_than_it_must():
    fake = Fake(10, 8, 0, 0, 0, 0)
    fake.walk().around(3)
    assert sorted(fake.asked) == [1, 2, 3, 4]
    fake = Fake(10, 8, 0, 0, 0, 0)
    fake.walk().around(5)
    assert sorted(fake.asked) == [1, 2, 3, 4, 5]


def test_around_more_than_there_can_be():
    fake = Fake(10, 8, *[0.0] * 6)
    count = fake.walk(most=4).around(9)
    assert count.n_supported == 3
    assert "9 are too many, by 6" in count.verdict(9)


def test_what_is_plain_is_not_found_again():
    fake = Fake(10, 8, 0, 0)
    assert Walk(fake, None, most=9).whole().n_supported == 3
    assert Walk(fake, lambda n: pytest.fail(f"{n} modes found again"), most=9).whole().n_supported == 3


@pytest.mark.parametrize(("again", "n_supported"), [((10, 8), 3), ((10, 0), 2), ((0, 8), 3), ((-1, -1), 2)])
def test_what_is_not_plain_must_be_found_again_from_halves(again, n_supported):
    """The third mode adds 5 standard errors, the second 100; only the third is asked for again."""
    once, twice = Fake(10, 0.5, 0, 0, jitter=1.0), Fake(*again)
    count = Walk(once, twice, most=9).whole()
    assert count.n_supported == n_supported
    assert twice.asked == [2, 3]
    third = count.counts[2]
    assert third.again_nats == pytest.approx(again[1])
    assert third.supported == (n_supported == 3)
    assert count.counts[1].again_nats is None


def test_what_is_not_found_again_leads_to_the_last_that_was_supported():
    """The fourth is not found again; the third added nothing, so that two are left, which are plain."""
    once, twice = Fake(10, 0, 0.5, 0, 0, jitter=1.0), Fake(10, 0, 0)
    count = Walk(once, twice, most=9).whole()
    assert count.n_supported == 2
    assert [c.supported for c in count.counts[:4]] == [True, True, False, False]
    assert Walk(once, Fake(10, 0, 0.5), most=9).whole().n_supported == 4


def test_a_number_that_adds_nothing_below_one_that_does_is_not_said_to():
    count = Fake(10, 0, 10, 0, 0, 0).walk().whole()
    assert [c.supported for c in count.counts[:4]] == [True, True, False, True]


def test_one_is_all_that_nothing_supports():
    count = Fake(0, 0, 0, 0).walk().around(3)
    assert count.n_supported == 1
    assert "3 are too many, by 2" in count.verdict(3)


# What is supported


@pytest.mark.parametrize(("gain", "supported"), [(0.29, False), (0.31, True)])
def test_a_mode_must_add_three_standard_errors(gain, supported):
    """The standard error of a jitter of 1 over 100 spans is 0.1005."""
    count = Fake(gain, 0, 0, jitter=1.0).walk().whole()
    assert (count.n_supported == 2) == supported


@pytest.mark.parametrize(("gain", "supported"), [(1.9, False), (2.2, True)])
def test_a_mode_must_add_a_fiftieth_of_all_so_far(gain, supported):
    count = Fake(100, gain, 0, 0, jitter=0.001).walk().whole()
    assert (count.n_supported == 3) == supported


class Steps:
    """Held-out evidence from what the second mode, and the third, add to each span."""

    def __init__(self, *steps):
        self.totals = [np.zeros(N_SPANS), *np.cumsum(steps, axis=0)]

    def __call__(self, n_modes):
        return HeldOut(n_modes, self.totals[min(n_modes, len(self.totals)) - 1])


def odd(step, value):
    """The same step, but for two spans."""
    return np.where(np.arange(N_SPANS) < 2, value, step)


@pytest.mark.parametrize(
    ("step", "supported", "by_trimmed"),
    [
        (5 + JITTER, True, False),  # all gain
        (odd(5 + JITTER, -150.0), True, True),  # nearly all do, and two lose more than all others gain a span
        (odd(5 + JITTER, 400.0), True, True),  # or two gain so much that nobody knows how much it is on average
        (odd(np.zeros(N_SPANS), 100.0) + (np.arange(N_SPANS) < 14) * 40.0, True, False),  # a rare mode
        (odd(0.25 + JITTER, -150.0), False, False),  # chance
    ],
)
def test_a_mode_means_something_to_all_spans_on_average_or_to_most(step, supported, by_trimmed):
    count = Walk(Steps(step), most=4).whole()
    assert (count.n_supported == 2) == supported
    second = count.counts[1]
    assert (second.trimmed_nats is not None) == by_trimmed
    assert second.step_nats == pytest.approx(step.mean())
    if by_trimmed:
        assert second.trimmed_nats == pytest.approx(5.0, abs=0.1)
        assert count.sureness == pytest.approx(second.trimmed_nats / second.trimmed_error)
        assert count.sureness > 3


@pytest.mark.parametrize(("gain", "supported"), [(4.0, False), (6.0, True)])
def test_what_means_something_to_most_must_be_a_twentieth_of_all_so_far(gain, supported):
    count = Walk(Steps(np.full(N_SPANS, 100.0), odd(gain + JITTER, -300.0)), most=4).whole()
    assert (count.n_supported == 3) == supported


def test_a_trifle_is_none_beside_a_mode_that_few_spans_hold():
    """Of what the second mode explains, the trimmed mean sees nothing: eight spans have it all."""
    rare, trifle = np.where(np.arange(N_SPANS) < 8, 500.0, 0.0), np.full(N_SPANS, 0.3) + 0.1 * JITTER
    assert Walk(Steps(rare + JITTER, trifle), most=4).whole().n_supported < 3
    steps = Steps(rare + (np.arange(N_SPANS) < 14) * 60.0, trifle)
    assert Walk(steps, most=4).whole().n_supported == 2
    assert Walk(Steps(rare + (np.arange(N_SPANS) < 14) * 60.0, 10 * trifle), most=4).whole().n_supported == 3


def test_the_mean_that_decides_is_told():
    """Both means are clear, and neither is plain: found again, the mean of all is not; the trimmed one is."""
    step = 0.5 + JITTER
    count = Walk(Steps(step), Steps(odd(0.5 + JITTER, -20.0)), most=4).whole()
    assert count.n_supported == 2
    second = count.counts[1]
    assert second.trimmed_nats == pytest.approx(0.5, abs=0.05)
    assert second.again_nats / second.again_error > 2
    plain = Walk(Steps(step), Steps(step), most=4).whole().counts[1]
    assert plain.trimmed_nats is None
    assert plain.again_nats == pytest.approx(0.5)


def test_most_spans_may_gain_the_same():
    """No error at all: no number of errors is told, rather than that of the mean, which is below nothing."""
    count = Walk(Steps(np.where(np.arange(N_SPANS) < 4, -500.0, 2.0)), most=4).whole()
    assert count.n_supported == 2
    assert count.sureness is None


def test_what_supports_a_mode_must_be_found_again():
    """The second gains by the trimmed mean alone; found again, it gains by the mean alone."""
    step = odd(0.5 + JITTER, -150.0)
    again = np.where(np.arange(N_SPANS) < 15, 6.0, -0.1)
    assert Walk(Steps(step), Steps(again), most=4).whole().n_supported == 1
    assert Walk(Steps(step), Steps(step), most=4).whole().n_supported == 2


# Words


def count_of(n_supported, step_nats=None, step_error=None):
    last = CountEvidence(n_supported, 0.0, step_nats, step_error, True)
    return CountOfModes(n_supported, 80, (last,))


def undecided(n_supported, nats, error, again=(None, None), n_spans=80, gain=None):
    """One mode more is not supported; with it, modes gain `gain` over one."""
    last = CountEvidence(n_supported, 0.0, None, None, True)
    more = CountEvidence(n_supported + 1, nats if gain is None else gain, nats, error, False, *again)
    return CountOfModes(n_supported, n_spans, (last, more))


@pytest.mark.parametrize(
    ("count", "is_open"),
    [
        (count_of(2, 8.0, 2.0), False),  # three were not tried
        (undecided(1, 40.0, 15.5), True),
        (undecided(1, 40.0, 41.0), True),  # no more than chance often gives, but who knows
        (undecided(3, 2.56, 3.09), True),  # one standard error more would be something
        (undecided(3, 2.5, 2.6, gain=400.0), False),  # beside 400 it would be nothing
        (undecided(3, 2.5, 2.4), False),
        (undecided(1, -16.3, 122.3), True),  # or much more, or much less
        (undecided(1, -9.0, 10.0), False),
        (undecided(3, 0.48, 0.86), False),  # nothing, or next to it
        (undecided(3, 9.0, 1.0, again=(0.5, 4.0)), True),
        (undecided(1, 3.0, 1.0), False),  # next to nothing
        (undecided(1, -9.0, 1.0), False),
        (undecided(1, 9.0, 1.0, again=(-0.2, 0.5)), False),  # found again from other spans, it adds nothing
        (undecided(1, 9.0, 1.0, again=(6.0, 4.0)), True),
        (undecided(1, 9.0, None), False),
    ],
)
def test_a_number_is_open_where_it_is_neither_supported_nor_ruled_out(count, is_open):
    assert (count.open is not None) == is_open


@pytest.mark.parametrize(
    ("count", "asked", "said"),
    [
        (
            undecided(1, 40.0, 15.5),
            None,
            "The evidence supports one behaviour, and does not rule out more: the last of 2 would add 40.0 nats a "
            "span (standard error 15.5), on 80 spans.",
        ),
        (
            undecided(1, 40.0, 15.5),
            3,
            "The evidence supports one behaviour, and does not rule out more: the last of 2 would add 40.0 nats a "
            "span (standard error 15.5), on 80 spans.",
        ),
        (
            undecided(1, 40.0, 5.5, again=(30.0, 16.0)),
            None,
            "The evidence supports one behaviour, and does not rule out more: found again from a part of the 80 spans, "
            "the last of 2 would add 30.0 nats a span (standard error 16.0).",
        ),
        (
            undecided(3, 2.56, 3.09),
            4,
            "The evidence supports 3 modes, and does not rule out more: the last of 4 would add 2.6 nats a span "
            "(standard error 3.1), on 80 spans.",
        ),
        (
            undecided(3, -0.2, 0.5),
            4,
            "The evidence supports 3 modes: 4 are too many, by 1. Some modes are parts of one behaviour.",
        ),
        (
            undecided(3, 40.0, 15.5),
            2,
            "The evidence supports 3 modes: 2 are too few, by 1. Some modes hold several behaviours, or several habits "
            "of one expert.",
        ),
        (
            undecided(1, 40.0, 15.5, n_spans=4),
            None,
            "4 spans are too few to count modes: that there is 1 may be chance. Bring more demonstrations, or say how "
            "many modes there are, where that is known.",
        ),
        (
            undecided(1, 40.0, 15.5, n_spans=4),
            2,
            "4 spans are too few to count modes: that there are 2 may be chance. Bring more demonstrations, or say how "
            "many modes there are, where that is known.",
        ),
        (count_of(1), None, "The evidence supports one behaviour: these demonstrations look like one."),
        (count_of(1), 1, "The evidence supports one behaviour: these demonstrations look like one."),
        (
            count_of(1),
            3,
            "The evidence supports one behaviour: 3 are too many, by 2. Some modes are parts of one behaviour.",
        ),
        (
            count_of(3, 8.0, 2.0),
            None,
            "The evidence supports 3 modes (the last of them by 4.0 standard errors, on 80 spans).",
        ),
        (
            count_of(3, 8.0, 2.0),
            3,
            "The evidence supports 3 modes (the last of them by 4.0 standard errors, on 80 spans).",
        ),
        (
            count_of(3, 8.0, 2.0),
            2,
            "The evidence supports 3 modes (the last of them by 4.0 standard errors, on 80 spans): 2 are too few, "
            "by 1. Some modes hold several behaviours, or several habits of one expert.",
        ),
        (
            count_of(3, 8.0, 2.0),
            5,
            "The evidence supports 3 modes (the last of them by 4.0 standard errors, on 80 spans): 5 are too many, "
            "by 2. Some modes are parts of one behaviour.",
        ),
    ],
)
def test_the_verdict_in_words(count, asked, said):
    assert count.verdict(asked) == said


def test_sureness_is_in_standard_errors():
    assert count_of(3, 8.0, 2.0).sureness == 4
    assert count_of(1).sureness is None
    assert count_of(2, 8.0, 0.0).sureness is None


# What varies within modes


@pytest.mark.parametrize(
    ("gain", "error", "modes", "there", "much"),
    [
        (6.0, 1.0, 20.0, True, True),
        (6.0, 2.5, 20.0, False, False),  # could be chance
        (3.5, 1.0, 20.0, True, False),  # little beside what the modes explain
        (1.5, 0.1, 20.0, False, False),  # next to nothing
        (6.0, None, 20.0, False, False),  # one span
    ],
)
def test_what_varies_within_modes_counts_beside_what_they_explain(gain, error, modes, there, much):
    found = WithinModes(gain, error, modes, is_modelled=much)
    assert (found.is_there, found.is_much) == (there, much)
    told = {"gain_nats": gain, "gain_error": error, "modes_nats": modes}
    assert found.facts() == told | {"is_modelled": much}


def test_an_odd_span_does_not_decide():
    """The mean of the middle four fifths, and the standard error of Yuen's trimmed mean."""
    gain = np.concatenate([np.linspace(-1, 3, 99), [4000.0]])
    found = WithinModes.of(gain, np.full(100, 8.0))
    assert found.gain_nats == pytest.approx(np.sort(gain)[10:90].mean())
    winsorised = np.clip(gain, *np.sort(gain)[[10, 89]])
    assert found.gain_error == pytest.approx(winsorised.std(ddof=1) / (0.8 * 10), rel=0.02)
    assert found.modes_nats == 8.0
    assert WithinModes.of(np.ones(1), np.ones(1)).gain_error is None


@pytest.mark.parametrize(
    ("mean", "so_far", "better"),
    [(1.0, 20.0, True), (0.2, 5.0, False), (1.0, 60.0, False), (-1.0, 20.0, False)],
)
def test_other_groups_must_be_clearly_better(mean, so_far, better):
    """By 2.5 standard errors, which are 0.125 here, and by a fiftieth; an odd span counts no more than others."""
    step = mean + JITTER
    step[0] = -5000.0
    assert are_clearly_better(step, np.full(N_SPANS, so_far)) == better


@pytest.mark.parametrize(("mean", "as_good"), [(0.1, True), (-0.1, False)])
def test_as_good_is_no_worse_for_all_but_odd_spans(mean, as_good):
    step = mean + JITTER
    step[0] = -5000.0 if as_good else 5000.0
    assert are_as_good(step) == as_good
