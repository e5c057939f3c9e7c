"""The not-hot context: 0 at the chosen mode, 1 elsewhere, and an error for a mode that does not exist."""

import numpy as np
import pytest

from unbraid.core.errors import ConfigError
from unbraid.policy.contexts import every_not_hot, not_hot, require_mode


def test_not_hot_is_zero_at_the_mode_and_one_elsewhere():
    assert not_hot(2, 4).tolist() == [1, 1, 0, 1]


def test_every_not_hot_has_each_as_a_row():
    np.testing.assert_array_equal(every_not_hot(4), [not_hot(k, 4) for k in range(4)])


@pytest.mark.parametrize("mode", [-1, 4, 100])
def test_a_mode_that_does_not_exist_is_refused(mode):
    message = rf"The mode must be one of 0 to 3; got {mode}\. `unbraid evaluate RUN` measures what each one does\."
    with pytest.raises(ConfigError, match=message):
        not_hot(mode, 4)
    with pytest.raises(ConfigError, match=message):
        require_mode(mode, 4)
    assert require_mode(3, 4) == 3
