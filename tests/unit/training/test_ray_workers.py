"""Ray's processes as workers: what is said where there is no Ray. tests/e2e/test_sweep.py has a cluster."""

import sys

import pytest

from unbraid.core.errors import ConfigError
from unbraid.training.ray_workers import RayWorkers

NOWHERE = {"address": None, "n_workers": 1, "n_local": 1, "gpus_per_trial": 0.0}


def test_without_ray_it_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--ray needs the package ray; it is not installed. Run `pip install"):
        RayWorkers(dict, **NOWHERE)
