"""A process knows which of several it is, and takes no half-set variables for an answer."""

import pytest

from unbraid.core.processes import Place, own_place

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    def put(variables):
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def test_torchrun_says_which_it_is(environment):
    environment(TORCHRUN)
    assert own_place() == Place(rank=3, size=4, local_rank=1)
    assert not own_place().is_first


@pytest.mark.parametrize("change", [{"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "many"}, {"MASTER_ADDR": ""}])
def test_otherwise_it_is_the_only_one(environment, change):
    environment(TORCHRUN | change)
    assert own_place() == Place(rank=0, size=1, local_rank=0)
    assert own_place().is_first
