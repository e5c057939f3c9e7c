"""Workers on a Ray cluster: on this machine, or on many that share a file system."""

import logging
import os
import socket
from collections.abc import Callable
from typing import Any, final
from urllib.parse import urlsplit

from unbraid.core.errors import ConfigError
from unbraid.training.sweep import Outcome

__all__ = ["RayWorkers"]

_REACHED_WITHIN_S = 10.0  # Ray itself goes on trying for minutes


@final
class RayWorkers:
    """One Ray task for each trial; Ray chooses where it runs."""

    def __init__(
        self,
        function: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        address: str | None,
        n_workers: int | None,
        n_local: int,
        gpus_per_trial: float,
    ) -> None:
        """Joins a cluster, or makes one on this machine.

        Args:
            function: does what an order says and tells how it ended, {"state": ..., "message": ...}; every machine can
                import it.
            address: the cluster's, as `ray.init` takes it; None makes one here.
            n_workers: how many trials may run at once; None takes one for each CPU of the cluster.
            n_local: how many CPUs a cluster that is made here has.
            gpus_per_trial: GPUs that a trial holds; a part, where several trials share one.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
            from ray import exceptions
        except ImportError:
            raise ConfigError(
                "--ray needs the package ray; it is not installed. Run `pip install 'unbraid[ray]'`, or leave it out."
            ) from None
        self._ray, self._errors = ray, exceptions
        asked: dict[str, Any] = {"address": "local", "num_cpus": n_workers or n_local, "include_dashboard": False}
        asked = asked if address is None else {"address": address}
        try:
            _require_somebody_listens(address)
            ray.init(**asked, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(
                f"--ray-address must be a Ray cluster that runs; got {address}: {said:.150} Start one with "
                "`ray start --head`, or leave the address out for one on this machine."
            ) from error
        self._n_workers = n_workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        self._task = ray.remote(num_cpus=1, num_gpus=gpus_per_trial, max_retries=0)(function)
        self._running: dict[Any, str] = {}

    @property
    def n_workers(self) -> int:
        """How many trials may run at once; Ray lets those wait that it has no place for."""
        return self._n_workers

    def start(self, name: str, order: dict[str, Any]) -> None:
        """Hands a trial to Ray."""
        self._running[self._task.options(name=name).remote(order)] = name

    def next_ended(self) -> tuple[str, Outcome | None]:
        """Waits until a task ends; one whose process or machine is gone was lost."""
        (ended, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        name = self._running.pop(ended)
        try:
            found = self._ray.get(ended)
        except self._errors.RayTaskError as error:
            return name, Outcome("failed", f"The worker must be able to run a fit; it said: {error.cause!r}.")
        except self._errors.RayError:
            return name, None
        return name, Outcome(found["state"], found["message"])

    def stop(self) -> None:
        """Interrupts what runs, which then keeps its newest state, and leaves the cluster."""
        for task in self._running:
            self._ray.cancel(task, force=False)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=60)
        self._ray.shutdown()


def _require_somebody_listens(address: str | None) -> None:
    """Raises `OSError` where an address with a port cannot be reached, `ValueError` where the port is none."""
    given = address or ""
    parts = urlsplit(given if "://" in given else f"//{given}")
    if parts.hostname is not None and parts.port is not None:
        socket.create_connection((parts.hostname, parts.port), _REACHED_WITHIN_S).close()
