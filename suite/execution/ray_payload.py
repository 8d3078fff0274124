"""All that a worker needs of a run, in a form that can be sent: models, images or where they lie, cells, and files.

A data set that holds its pixels is sent with them; one that reads files reads them where they lie,
so its path must mean the same on every machine.
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
from suite.data.loading import decode_pool as crew
from suite.plan.cells import code_digest
from suite.plan.prepare import Prepared
from suite.system.versions import package_version

PACKAGES = ("mamba-token-suite", "torch", "timm", "numba", "numpy", "pandas")


@dataclass(frozen=True)
class Parcel:
    """A run to be evaluated elsewhere.

    ``prepared``  with its models on the CPU
    ``files``     the methods that were given by file: its name as written, and its content
    ``folder``    the driver's working folder, in which relative paths have their meaning
    ``data``      hash of the data set's manifest
    """

    prepared: Prepared
    files: Mapping[str, bytes]
    folder: str
    data: str


def versions() -> dict[str, str | None]:
    """What must be the same wherever a run is evaluated."""
    return {
        **{name: package_version(name) for name in PACKAGES},
        "code of the suite": code_digest(("backbones", "methods", "suite")),
    }


def check_versions(wanted: Mapping[str, str | None]) -> None:
    """UserError unless this process has the versions `wanted`."""
    for name, have in versions().items():
        if have != wanted[name]:
            raise UserError(
                f"a worker has another {name} ({have}, not {wanted[name]}): install the same packages on every node"
            )


def packed(prepared: Prepared) -> Parcel:
    """`prepared` as it is sent."""
    models = prepared.models
    if prepared.device != "cpu":
        models = {name: copy.deepcopy(model).cpu() for name, model in models.items()}
    names = {cell.method.name for cell in prepared.cells}
    places = {name: Path(name.rpartition(":")[0]) for name in names if ".py:" in name}
    files = {str(place): place.read_bytes() for place in places.values()}
    return Parcel(
        replace(prepared, models=models, _data={}),
        files,
        os.getcwd(),
        prepared.dataset.manifest()["hash"],
    )


def opened(parcel: Parcel) -> Prepared:
    """The run in `parcel`, ready to be evaluated in this process."""
    if os.path.isdir(parcel.folder):
        os.chdir(parcel.folder)
    for place, content in parcel.files.items():
        copied = Path(tempfile.mkdtemp(prefix="suite-")) / Path(place).name
        copied.write_bytes(content)
        lend(Path(place), copied)
    prepared = parcel.prepared
    check_data(prepared.dataset, parcel.data)
    for cell in prepared.cells:
        cell.method.method  # noqa: B018 (a method's module may register scores that compositions name)
    torch.set_num_threads(prepared.threads)
    crew.limit(prepared.threads // 2)
    models = {name: model.to(prepared.device) for name, model in prepared.models.items()}
    return replace(prepared, models=models)


def check_data(dataset: Dataset, wanted: str) -> None:
    """UserError unless the files of `dataset` are here those that the driver saw."""
    mend = "put the data set at the same path on every node"
    try:
        found = dataset.manifest()["hash"]
    except OSError as error:
        raise UserError(
            f"a worker cannot read {error.filename} ({error.strerror}): {mend}"
        ) from error
    if found != wanted:
        raise UserError(
            f"a worker has other files in '{dataset.name}' than those the run began with: {mend}"
        )
