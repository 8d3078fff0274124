"""All that a worker needs of a run: models, data set, cells, and the files of methods.

A data set with its pixels in memory is sent with them. One that reads files reads them where the
worker runs, so its path must mean the same on every machine.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from backbones.common.errors import UserError
from methods.spec import lend
from suite.data.base import Dataset
from suite.data.loading import loader
from suite.plan.cells import code_digest
from suite.plan.prepare import Prepared
from suite.system.environment import package_version

PACKAGES = ("mamba-token-suite", "torch", "timm", "numba", "numpy", "pandas")
Versions = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class RunPayload:
    """A run to be evaluated in other processes.

    ``prepared``  with its models on the CPU
    ``files``     content of the methods given by file, by their path as the user wrote it
    ``folder``    the driver's working folder, to which paths are relative
    ``data``      hash of the data set's manifest
    """

    prepared: Prepared
    files: Mapping[str, bytes]
    folder: str
    data: str


def versions() -> Versions:
    """What must be the same in all processes that evaluate a run, by name."""
    # Packages alone do not tell two checkouts of the suite apart, so its code is hashed, too.
    packages = [(name, package_version(name)) for name in PACKAGES]
    return (*packages, ("code of the suite", code_digest(("backbones", "methods", "suite"))))


def check_versions(expected: Versions) -> None:
    """UserError unless this process has the versions `expected`."""
    installed = dict(versions())
    for name, version in expected:
        if installed[name] != version:
            raise UserError(
                f"a worker has another {name} ({installed[name]}, not {version}): "
                "install the same packages on every node"
            )


def packed(prepared: Prepared) -> RunPayload:
    """Pack `prepared` to be sent."""
    models = prepared.models
    if prepared.device != "cpu":
        # A worker without this process's GPU could not read tensors that are on it.
        models = {name: copy.deepcopy(model).cpu() for name, model in models.items()}
    files = {}
    for cell in prepared.cells:
        path, _, _ = cell.method.name.rpartition(":")
        if path.endswith(".py"):
            files[path] = Path(path).read_bytes()
    return RunPayload(
        replace(prepared, models=models, seen={}),
        files,
        os.getcwd(),
        prepared.dataset.manifest()["hash"],
    )


def opened(payload: RunPayload, gpu: int | None = None) -> Prepared:
    """Make the run in `payload` ready in this process, on its GPU number `gpu` if one is given."""
    if os.path.isdir(payload.folder):  # not on another machine
        os.chdir(payload.folder)
    for path, content in payload.files.items():
        # By path, so that cells find their method by the same name as the driver.
        copied = Path(tempfile.mkdtemp(prefix="suite-")) / Path(path).name
        copied.write_bytes(content)
        lend(Path(path), copied)
    prepared = payload.prepared
    check_data(prepared.dataset, payload.data)
    for cell in prepared.cells:
        # A method's module may register scores that compositions name, so all are imported now.
        cell.method.method  # noqa: B018
    # Several workers share a machine: each keeps to the threads that Ray reserved for it.
    torch.set_num_threads(prepared.threads)
    loader.limit_workers(prepared.threads // 2)
    if gpu is not None:
        torch.cuda.set_device(gpu)
    models = {name: model.to(prepared.device) for name, model in prepared.models.items()}
    return replace(prepared, models=models)


def check_data(dataset: Dataset, expected: str) -> None:
    """UserError unless the manifest of `dataset` has the hash `expected` here, too."""
    fix = "put the data set at the same path on every node"
    try:
        digest = dataset.manifest()["hash"]
    except OSError as error:
        raise UserError(
            f"a worker cannot read {error.filename} ({error.strerror}): {fix}"
        ) from error
    if digest != expected:
        raise UserError(
            f"a worker has other files in '{dataset.name}' than those the run began with: {fix}"
        )
