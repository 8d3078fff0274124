"""The scan kernel, disk, images and weights that the default comparison uses."""

from __future__ import annotations

import shutil
from pathlib import Path

from backbones.common.errors import UserError
from suite.doctor.check import Check

GIB = 1 << 30
DISK_NEEDED = 1 * GIB
DEFAULT_BACKBONE = "vim_nano"
DEFAULT_DATA = "fashion-clutter"
PROBE_LENGTH = 33
TOLERANCE = 1e-5


def cpu_scan() -> Check:
    """Whether the CPU's selective scan compiles here and agrees with the reference."""
    import torch

    from backbones.scan import selective_scan

    generator = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 2, 1, PROBE_LENGTH, 8, generator=generator)
    B, C = torch.randn(2, 2, 1, PROBE_LENGTH, 4, generator=generator)
    A = -torch.rand(2, 8, 4, generator=generator)
    try:
        got, expected = (
            selective_scan(u, delta, A, B, C, reverse=(False, True), kernel=kernel).y
            for kernel in ("cpu", "reference")
        )
    except UserError as refusal:
        return Check(
            "cpu scan kernel", "broken", str(refusal), "pip install --force-reinstall numba"
        )
    error = float((got - expected).abs().max() / expected.abs().max())
    if not error < TOLERANCE:
        detail = f"differs from the reference by {error:.1e}"
        return Check(
            "cpu scan kernel", "broken", detail, "--kernel reference until numba is another version"
        )
    return Check("cpu scan kernel", "ok", f"agrees with the reference to {error:.0e}")


def disk(folder: Path) -> Check:
    """Room for runs below `folder`."""
    free = shutil.disk_usage(folder).free
    detail = f"{free / GIB:.1f} GiB free in {folder}"
    if free < DISK_NEEDED:
        return Check(
            "disk", "broken", detail, "free some space, or run in a folder on another disk"
        )
    return Check("disk", "ok", detail)


def bundled_images() -> Check:
    """The images of the default data set."""
    from suite.data import open_dataset

    counts = {split: len(open_dataset(DEFAULT_DATA, split).labels) for split in ("dev", "test")}
    listed = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    return Check("bundled images", "ok", f"{DEFAULT_DATA}: {listed}")


def full_images() -> Check:
    """The whole of Fashion-MNIST, needed for training only."""
    from suite.data.images.fashion_mnist_files import find_folder

    try:
        return Check("full fashion-mnist", "ok", str(find_folder()))
    except UserError:
        return Check(
            "full fashion-mnist",
            "missing",
            "only for training",
            "apt-get install dataset-fashion-mnist",
        )


def weights() -> Check:
    """The weights in the box."""
    from backbones.checkpoints.source import bundled

    names = bundled()
    if DEFAULT_BACKBONE in names:
        return Check("bundled weights", "ok", ", ".join(names))
    mend = (
        f"install the released package again, or python -m suite train --recipe {DEFAULT_BACKBONE}"
    )
    return Check("bundled weights", "missing", f"no weights of {DEFAULT_BACKBONE}", mend)
