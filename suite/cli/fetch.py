"""`fetch`: bring the full Fashion-MNIST to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    folder: Annotated[
        Path | None, typer.Option(help="Where to; empty: the cache folder, where it is looked for.")
    ] = None,
) -> int:
    """Download the full Fashion-MNIST (31 MB, checked by hash), which training and the full splits need."""
    from suite.data.images.fashion_mnist_files import download

    print(f"Fashion-MNIST is in {download(folder)}")
    return 0
