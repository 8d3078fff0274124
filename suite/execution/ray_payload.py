"""All that a worker needs of a run: models, data set, cells, and the code of users' files.

A data set with its pixels in memory is sent with them. One that reads files reads them where the
worker runs, so its path must mean the same on every machine.
"""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from backbones.common.errors import UserError
from backbones.common.labels import data_parts
from backbones.common.naming import bracketed
from backbones.common.user_files import in_file, lend, load
from suite.data.base import Dataset
from suite.data.loading import loader
from suite.plan.cells import code_digest
from suite.plan.prepare import Prepared
from suite.system.environment import package_version

PACKAGES = ("mamba-token-suite", "torch", "timm", "numba", "numpy", "pandas")
Versions = tuple[tuple[str, str | None], ...]
# Users' files: what names one, where it is on the driver's machine, and its content. No types of
# the suite's, since a worker reads them before it knows that it has the same suite.
Files = tuple[tuple[str, str, bytes], ...]


@dataclass(frozen=True)
class RunPayload:
    """A run to be evaluated in other processes.

    ``prepared``  with its models on the CPU
    ``data``      hash of the data set's manifest
    """

    prepared: Prepared
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
    return RunPayload(
        replace(prepared, models=models, seen={}), prepared.dataset.manifest()["hash"]
    )


def files_of(prepared: Prepared) -> Files:
    """The users' files that a run has methods, backbones or data from."""
    spec = prepared.spec
    names = [cell.method.name for cell in prepared.cells]
    names += [bracketed(text)[0] for text in (*spec.backbones, *spec.smaller)]
    files = []
    for name in dict.fromkeys([*names, data_parts(spec.data)[0]]):
        if named := in_file(name):
            files.append((name, str(named.path), named.path.read_bytes()))
    return tuple(files)


def run_files(folder: str, files: Files) -> None:
    """Run users' `files` as the driver did, from its working `folder` if that is here, too.

    A payload's objects may be of classes in them, so this comes before it is read.
    """
    if os.path.isdir(folder):  # not on another machine
        os.chdir(folder)
    copies: dict[str, Path] = {}
    named = []
    for name, original, content in files:
        if original not in copies:
            copies[original] = Path(tempfile.mkdtemp(prefix="suite-")) / Path(original).name
            copies[original].write_bytes(content)
        if one := in_file(name):
            # By path, so that names mean the same as in the driver.
            lend(one, Path(original), copies[original])
            named.append(one)
    for one in named:
        # A method's module may register scores that compositions name.
        load(one)


def opened(payload: RunPayload, gpu: int | None = None) -> Prepared:
    """Make the run in `payload` ready in this process, on its GPU number `gpu` if one is given."""
    prepared = payload.prepared
    check_data(prepared.dataset, payload.data)
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
