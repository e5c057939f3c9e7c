"""What the tests of every room share."""

import jaxtyping
import pytest
import scipy.linalg  # noqa: F401  (so that its BLAS is there to be limited, too)
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def _one_thread_for_algebra():
    """Tests run side by side, and matrices are small: threads of their own would only wait for one another."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def unchecked():
    """As users call it: the types of arguments are checked in the tests alone, before our own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
