"""What is wanted, in words: read as the flags are, and quoted where it is wrong."""

import pytest

from unbraid.core.errors import ConfigError
from unbraid.pipeline.words import Wanted, context_of, numbers_of_modes, shares_of, turns_of


def test_words_are_the_flags_without_dashes():
    items = turns_of(
        [
            "0: toward 0",
            " 200 :toward 1 strength 1.5  away 2=1.5 away 0 style .8",
            "300: blend 1=.5, 2=.5 away 0 3=2",
            "+400: context 1,0 -.5",
        ]
    )
    assert [(item.number, item.wanted) for item in items] == [
        (0, Wanted(toward=0)),
        (200, Wanted(toward=1, strength=1.5, away=("2=1.5", "0"), style=0.8)),
        (300, Wanted(blend="1=.5,2=.5", away=("0", "3=2"))),
        (400, Wanted(context=(1.0, 0.0, -0.5))),
    ]
    assert items[0].text == "0: toward 0"


def test_turns_come_in_the_order_of_their_steps_and_shares_as_given():
    assert [item.number for item in turns_of(["20: toward 1", "0: toward 0", "3: toward 1"])] == [0, 3, 20]
    assert [item.number for item in shares_of([".7: toward 1", ".1: away 1", "0.2: toward 0"])] == [0.7, 0.1, 0.2]


def test_what_was_given_is_named():
    assert Wanted().named == ()
    assert Wanted(toward=0, strength=1.0, away=("1",), context=(1.0,)).named == (
        "toward",
        "strength",
        "away",
        "context",
    )


WRONG = {
    "0 toward 0": "must have a colon behind its number, as in '200: toward 1'; it has none. Add it.",
    "1.5: toward 0": "must begin with a step, a whole number from 0 on; got '1.5'. Write it as in '200: toward 1'.",
    "-1: toward 0": "must begin with a step, a whole number from 0 on; got '-1'.",
    ": toward 0": "must begin with a step, a whole number from 0 on; got ''.",
    "0:": "What is wanted must stand behind the colon, in words of toward, strength, ",
    "0: towrd 1": "A word must be one of toward, strength, away, blend, context, style, without dashes; got 'towrd'.",
    "0: 1": "A word must be one of toward, .*; got '1'",
    "0: --toward 1": "without dashes; got '--toward'. Correct it.",
    "0: toward 1 awy 2": "without dashes; got 'awy'. Correct it.",
    "0: toward": "toward must have a value, as in `toward 1`; it has none. Add it.",
    "0: away toward 1": "away must have a value, as in `away 0=2`; it has none. Add it.",
    "0: toward one": "toward must be said as in `toward 1`; got 'one'. Correct it.",
    "0: toward 1 2": "toward must be said as in `toward 1`; got '1 2'. Correct it.",
    "0: toward 1 strength x": "strength must be said as in `strength 1.5`; got 'x'. Correct it.",
    "0: context 1,a": "context must be said as in `context 0.2,0.8`; got '1,a'. Correct it.",
    "0: toward 1 toward 2": "toward must be said once; it comes twice. Leave one of them out.",
}


@pytest.mark.parametrize(("item", "expected"), WRONG.items(), ids=WRONG)
def test_an_item_that_is_wrong_is_quoted_with_the_remedy(item, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        turns_of(["0: toward 0", item])
    assert str(caught.value).startswith(f"--in-turn {item!r}")


def test_turns_have_one_item_for_each_step_and_one_for_the_first():
    with pytest.raises(ConfigError, match=r"'7: toward 0' and '7: toward 1' both begin at step 7\. Leave one of"):
        turns_of(["0: toward 0", "7: toward 0", "7: toward 1"])
    with pytest.raises(ConfigError, match="item for step 0, where every episode begins; the first is '5: toward 0'"):
        turns_of(["9: toward 1", "5: toward 0"])


@pytest.mark.parametrize("share", ["0", "-.5", "1.5", "nan", "70%", "half"])
def test_a_share_that_is_none_is_quoted(share):
    expected = rf"--by-episode '{share}: toward 0' must begin with a share of episodes, above 0 .*; got '{share}'\."
    with pytest.raises(ConfigError, match=expected):
        shares_of([f"{share}: toward 0", ".5: toward 1"])


def test_shares_sum_to_1():
    with pytest.raises(ConfigError, match=r"those of '\.7: toward 0' and '\.2: away 0' sum to 0\.9\. Give others\."):
        shares_of([".7: toward 0", ".2: away 0"])


def test_numbers_of_modes_are_told_by_the_name_that_was_typed():
    assert numbers_of_modes("--away", ["0", "2=1.5"], default=1.0) == {0: 1.0, 2: 1.5}
    with pytest.raises(
        ConfigError, match=r"^blend must name modes and numbers, as in 1=\.7,3=\.3; got '1'\. Write it so"
    ):
        numbers_of_modes("blend", ["0=1", "1"])
    with pytest.raises(ConfigError, match=r"^away must name a mode once; mode 1 comes twice"):
        numbers_of_modes("away", ["1", "1=2"], default=1.0)


@pytest.mark.parametrize("given", [["1", "0", "-.5"], ["1,0,-.5"], ["1,", "0", ",-.5"]])
def test_a_context_has_commas_or_spaces(given):
    assert context_of(given) == (1.0, 0.0, -0.5)


def test_a_context_of_words_is_refused():
    with pytest.raises(ConfigError, match=r"--context must be numbers.*; got '1,x'\. Write"):
        context_of(["1,x"])
