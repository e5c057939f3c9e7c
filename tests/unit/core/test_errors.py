"""The exception tree, and that its drawing is true."""

import re

import pytest

from unbraid.core import errors


def _classes() -> dict[str, type[Exception]]:
    return {name: getattr(errors, name) for name in errors.__all__}


def test_the_docstring_draws_every_class_with_its_own_words():
    drawn = dict(re.findall(r"[├└]── (\w+) +(.+)", errors.__doc__ or ""))
    classes = _classes()
    assert set(drawn) == set(classes) - {"UnbraidError"}
    for name, words in drawn.items():
        assert classes[name].__doc__.rstrip(".").lower() == words.lower()


def test_every_error_is_expected_and_a_bad_setting_is_a_value_error_too():
    assert all(issubclass(error, errors.UnbraidError) for error in _classes().values())
    with pytest.raises(ValueError, match="n_modes"):
        raise errors.ConfigError("n_modes")
