"""Ray itself: a cluster of this machine's own that begins and ends with the run, or the one a user names.

Ray's ports let whoever reaches them run code. The cluster begun here listens to this machine alone
and asks for Ray's token; no dashboard is begun, nothing is reported to Ray's makers, and no
packages are fetched by workers.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten
from types import ModuleType

from backbones.common.errors import UserError
from suite.data.base import one_line

ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # what Ray would print about workers that died; we say it in a line
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
PATIENCE = 10.0
OWN = {  # Ray reads them when it is first imported
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # by which Ray means: listen on 127.0.0.1 alone
}


@contextmanager
def connected(address: str, cpus: int | None) -> Iterator[ModuleType]:
    """Ray, connected to the cluster at `address`, or if that is empty to a new one on this machine with `cpus`.

    UserError if there is no cluster that answers.
    """
    with variables(ALWAYS if address or "ray" in sys.modules else ALWAYS | OWN):
        import ray

        try:
            if address not in ("", "auto"):  # Ray itself would try for minutes
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), PATIENCE).close()
            ray.init(
                address=address or "local",
                num_cpus=None if address else cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (
            Exception
        ) as error:  # Ray answers with almost any exception, which change with its versions
            if not address:
                raise UserError(
                    f"Ray cannot be started here ({brief(error)}): use --executor local"
                ) from error
            raise UserError(
                f"no Ray cluster to work with at {address} ({brief(error)}): run this on a node of the cluster, "
                f"with the same Ray, or leave --address out"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def variables(wanted: dict[str, str]) -> Iterator[None]:
    """The environment with the variables `wanted`, for a while."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def room(ray: ModuleType, cpus: int, gpus: int) -> int:
    """How many workers of `cpus` and `gpus` each the nodes of the cluster have room for."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    by_cpu = [int(have.get("CPU", 0)) // cpus for have in resources]
    by_gpu = [
        int(have.get("GPU", 0)) // gpus if gpus else count
        for have, count in zip(resources, by_cpu, strict=True)
    ]
    return sum(map(min, by_cpu, by_gpu))


def brief(error: Exception) -> str:
    """What Ray says, on one line, or the error that it tells of, without its advice."""
    told = re.findall(r"\w*Error: .+", str(error))
    return shorten(told[-1] if told else one_line(error), 300, placeholder=" ...")
