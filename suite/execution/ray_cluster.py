"""Connection to Ray: a cluster started here for the run, or the one that the user names.

Whoever reaches Ray's ports can run code. The cluster started here listens to this machine alone and
asks for Ray's token. It has no dashboard, reports nothing to Ray's makers and fetches no packages.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from types import ModuleType

from backbones.common.errors import UserError
from suite.data.base import one_line

CONNECT_TIMEOUT = 10.0  # seconds
EVERY_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # The executor reports dead workers in one line; Ray's own lines on them are dropped.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
OWN_CLUSTER = {  # Ray reads these when it is first imported
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # by which Ray means: listen on 127.0.0.1 alone
}


@contextmanager
def connected(address: str, cpus: int | None) -> Iterator[ModuleType]:
    """Connect Ray to the cluster at `address`; empty: to a new one on this machine with `cpus`.

    UserError if there is no cluster that answers.
    """
    own = not address and "ray" not in sys.modules
    with environment_variables(EVERY_CLUSTER | OWN_CLUSTER if own else EVERY_CLUSTER):
        import ray

        try:
            if address not in ("", "auto"):
                # Ray itself would try for minutes.
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
            ray.init(
                address=address or "local",
                num_cpus=None if address else cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # of almost any type, which changes with Ray's versions
            if not address:
                raise UserError(
                    f"Ray cannot be started here ({brief(error)}): use --executor local"
                ) from error
            raise UserError(
                f"no Ray cluster to work with at {address} ({brief(error)}): run this on a node of "
                "the cluster, with the same Ray, or leave --address out"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the time of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def room(ray: ModuleType, cpus: int, gpus: int) -> int:
    """Count the tasks of `cpus` and `gpus` each that the nodes of the cluster can run at a time."""
    count = 0
    for node in ray.nodes():
        if node["Alive"]:
            resources = node["Resources"]
            by_cpu = int(resources.get("CPU", 0)) // cpus
            by_gpu = int(resources.get("GPU", 0)) // gpus if gpus else by_cpu
            count += min(by_cpu, by_gpu)
    return count


def brief(error: Exception) -> str:
    """What Ray says on one line, or the last error that it quotes, without its advice."""
    quoted = re.findall(r"\w*Error: .+", str(error))
    return shorten(quoted[-1] if quoted else one_line(error), 300, placeholder=" ...")
