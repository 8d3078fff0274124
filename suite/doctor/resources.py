"""The scan kernel, disk, images and weights that the default comparison uses."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from backbones.common.errors import UserError
from suite.doctor.check import Check

GIB = 1 << 30
DISK_NEEDED = 1 * GIB
DEFAULT_BACKBONE = "vim_nano"
DEFAULT_DATA = "fashion-clutter"
PROBE_LENGTH = 33  # odd, as patches and a class token mostly are
TOLERANCE = 1e-5


def cpu_scan() -> Check:
    """Whether the CPU's selective scan compiles here and agrees with the reference."""
    import torch

    from backbones.scan import selective_scan

    generator = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 2, 1, PROBE_LENGTH, 8, generator=generator)
    B, C = torch.randn(2, 2, 1, PROBE_LENGTH, 4, generator=generator)
    A = -torch.rand(2, 8, 4, generator=generator)
    scan = partial(selective_scan, u, delta, A, B, C, reverse=(False, True))
    try:
        y, exact = scan(kernel="cpu").y, scan(kernel="reference").y
    except UserError as refusal:
        return Check("broken", str(refusal), "pip install --force-reinstall numba")
    error = float((y - exact).abs().max() / exact.abs().max())
    if not error < TOLERANCE:  # nan too
        detail = f"differs from the reference by {error:.1e}"
        return Check("broken", detail, "--kernel reference until numba is another version")
    return Check("ok", f"agrees with the reference to {error:.0e}")


def disk(folder: Path) -> Check:
    """Room for runs below `folder`."""
    # Of the folder's own disk, which need not be the one that the suite is on.
    free = shutil.disk_usage(folder).free
    detail = f"{free / GIB:.1f} GiB free in {folder}"
    if free < DISK_NEEDED:
        fix = "free some space, or run in a folder on another disk"
        return Check("broken", detail, fix)
    return Check("ok", detail)


def bundled_images() -> Check:
    """The images of the default data set."""
    from suite.data import open_dataset

    counts = []
    for split in ("dev", "test"):
        # read, not only looked for: a damaged file is found here
        images = len(open_dataset(DEFAULT_DATA, split).labels)
        counts.append(f"{images:,} {split}")
    return Check("ok", f"{DEFAULT_DATA}: {', '.join(counts)}")


def full_images() -> Check:
    """All of Fashion-MNIST, needed for training only."""
    from suite.data.images.fashion_mnist_files import find_folder

    try:
        return Check("ok", str(find_folder()))
    except UserError:
        fix = "apt-get install dataset-fashion-mnist"
        return Check("missing", "only for training", fix)


def weights() -> Check:
    """The bundled weights."""
    from backbones.checkpoints.source import bundled

    names = bundled()
    if DEFAULT_BACKBONE in names:
        return Check("ok", ", ".join(names))
    fix = (
        f"install the released package again, or python -m suite train --recipe {DEFAULT_BACKBONE}"
    )
    return Check("missing", f"no weights of {DEFAULT_BACKBONE}", fix)
