"""Executors by name."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from suite.evaluation.runner import Progress
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store

NAMES = ("local", "ray")


class Executor(Protocol):
    """Evaluates the shards of a run that are not on disk."""

    def __call__(
        self, prepared: Prepared, store: Store, progress: Progress, fail_fast: bool = False
    ) -> dict[str, str]:
        """Reasons of the cells that failed, by key; StoppedError at the first if `fail_fast`."""
        ...


def executor_of(name: str, address: str = "", workers: int = 0) -> Executor:
    """Choose the executor called `name`; `address` and `workers` are Ray's.

    UserError if there is no such executor, or it cannot be used as the options say.
    """
    if name not in NAMES:
        raise UserError(f"unknown executor '{name}': {nearest(name, NAMES)}")
    if name == "local":
        if address or workers:
            raise UserError(
                "--address and --workers are for workers elsewhere: "
                "add --executor ray, or leave them out"
            )
        # Executors are imported when chosen, since Ray is an optional package.
        from suite.execution.local import execute

        return execute
    if find_spec("ray") is None:
        raise UserError("--executor ray needs Ray, which is not installed: pip install 'ray>=2.52'")
    if workers < 0:
        raise UserError(
            f"--workers {workers} is no number of workers: "
            "give 1 or more, or 0 for as there is room"
        )
    # This process draws the gallery on the same kind of device as the workers', which a client
    # outside the cluster may not have.
    if "://" in address:
        raise UserError(
            f"--address {address} is a client's: "
            "start this on a node of the cluster, with --address auto"
        )
    from suite.execution.ray_executor import OnRay

    return OnRay(address, workers)
