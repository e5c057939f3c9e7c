"""What the tests of every room share."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """As users call it: the types of arguments are checked in the tests alone, before our own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
